//! Acting as people's own accounts (double puppets).
//!
//! A person is a puppet of this process once [`Matrix::try_puppet`] found their token good. From then on every request
//! made as their user id goes out with that token; the rest of the Matrix side need not know. What is sent as them is
//! noted under a mark before it is tried, and the mark stands in its content: so the event is known when it comes back
//! ([`Matrix::echo_of`]), whatever it is. A refused token ends it at once, in the database too; who told the bridge of
//! the token hears of it by [`Matrix::lost_puppet`].
//!
//! With a token for everybody (a registration's) the requests name the bridge's device on that account, because only then
//! Synapse keeps transaction ids in its database; a person's own token has a device of its own.

use super::client::{Client, Pace, Who};
use super::error::{MatrixError, Result};
use super::{DEVICE, Matrix};
use crate::store::StoreError;
use http::Method;
use ruma::api::client::account::whoami;
use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Where the mark stands in what is sent as a person.
pub const PUPPET_MARK: &str = "org.matrix-whatsapp.puppet";

/// With what the bridge acts as somebody.
#[derive(Clone)]
pub enum PuppetToken {
    /// A registration's token that may name any user of their homeserver.
    Shared(String),
    /// Their own access token.
    Own(String),
}

/// The people this process acts as.
#[derive(Default)]
pub(super) struct Puppets {
    ready: Mutex<HashMap<OwnedUserId, Arc<Puppet>>>,
    lost: Notify,
}

/// Somebody the process acts as.
pub(super) struct Puppet {
    pub(super) client: Client,
    /// Whether requests have to name the user.
    names_user: bool,
    /// Whether their homeserver is another one than the bridge's.
    pub(super) is_elsewhere: bool,
}

impl Puppet {
    /// How the request names who makes it.
    pub(super) fn who<'a>(&self, who: Who<'a>) -> Who<'a> {
        if self.names_user { who } else { Who::Service }
    }
}

fn database(error: &StoreError) -> MatrixError {
    MatrixError::Unreachable { why: error.to_string() }
}

impl Matrix {
    /// Acts as `user` from now on, if the token is good and theirs. `elsewhere` is the address of their homeserver when it
    /// is not the bridge's.
    ///
    /// # Errors
    /// [`MatrixError::PuppetRefused`] when the homeserver refuses the token; [`MatrixError::Forbidden`] when it is somebody
    /// else's, or may not act as them; others when the homeserver is not there.
    pub async fn try_puppet(&self, user: &UserId, elsewhere: Option<&str>, token: &PuppetToken) -> Result<()> {
        let (text, names_user) = match token {
            PuppetToken::Shared(text) => (text, true),
            PuppetToken::Own(text) => (text, false),
        };
        let address = elsewhere.unwrap_or(&self.settings().address);
        let client = Client::new(address, text).map_err(|_| MatrixError::Refused {
            status: 400,
            errcode: "M_INVALID_PARAM".into(),
            message: "the HTTP client could not be set up".into(),
        })?;
        let puppet = Puppet { client, names_user, is_elsewhere: elsewhere.is_some() };
        let asked = puppet.client.ask(puppet.who(Who::User(user)), Pace::Ordinary, whoami::v3::Request::new()).await;
        let who = match asked {
            Ok(answer) => answer.user_id,
            Err(MatrixError::TokenRefused) => return Err(MatrixError::PuppetRefused),
            Err(error) if puppet.is_elsewhere => return Err(away(error)),
            Err(error) => return Err(self.weigh(error).await),
        };
        if who != user {
            return Err(MatrixError::Forbidden {
                errcode: "M_FORBIDDEN".into(),
                message: "another user's token".into(),
            });
        }
        if names_user {
            let name = json!({ "display_name": "WhatsApp bridge" });
            let made = puppet.client.ask_json(Who::User(user), Method::PUT, &["devices", DEVICE], Some(&name)).await;
            match made {
                Err(error) if puppet.is_elsewhere => return Err(away(error)),
                Err(error) => return Err(self.weigh(error).await),
                Ok(_) => {}
            }
        }
        self.puppets().insert(user.to_owned(), Arc::new(puppet));
        Ok(())
    }

    fn puppets(&self) -> std::sync::MutexGuard<'_, HashMap<OwnedUserId, Arc<Puppet>>> {
        self.shared.puppets.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process acts as this person.
    pub fn is_puppet(&self, user: &UserId) -> bool {
        self.puppets().contains_key(user)
    }

    /// Whether requests as this user name the bridge's device.
    pub(super) fn names_device(&self, user: &UserId) -> bool {
        self.puppets().get(user).is_none_or(|puppet| puppet.names_user)
    }

    /// Whether the process acts as this person at another homeserver than the bridge's.
    pub fn is_puppet_elsewhere(&self, user: &UserId) -> bool {
        self.puppets().get(user).is_some_and(|puppet| puppet.is_elsewhere)
    }

    /// Acts as this person no more, until [`Matrix::try_puppet`].
    pub fn drop_puppet(&self, user: &UserId) {
        self.puppets().remove(user);
    }

    /// Returns when a puppet's token was refused; what it is about stands in the database.
    pub async fn lost_puppet(&self) {
        self.shared.puppets.lost.notified().await;
    }

    pub(super) fn find_puppet(&self, who: &Who<'_>) -> Option<(OwnedUserId, Arc<Puppet>)> {
        let (Who::User(user) | Who::Device(user)) = who else { return None };
        self.puppets().get(*user).map(|puppet| ((*user).to_owned(), puppet.clone()))
    }

    /// What a puppet's failed request means. A refused token is theirs and says nothing of the homeserver.
    pub(super) async fn weigh_puppet(&self, user: &UserId, puppet: &Puppet, error: MatrixError) -> MatrixError {
        match error {
            MatrixError::TokenRefused => {
                self.lose_puppet(user).await;
                MatrixError::PuppetRefused
            }
            error if puppet.is_elsewhere => away(error),
            error => self.weigh(error).await,
        }
    }

    /// Ends a puppet whose token is refused and notes it, so that they are told.
    pub async fn lose_puppet(&self, user: &UserId) {
        self.drop_puppet(user);
        match self.store().lose_puppet(user.as_str()).await {
            Ok(true) => tracing::warn!(mx.user_id = %user, "the token of a double puppet is refused"),
            Ok(false) => return,
            // Noticed again when they are tried again.
            Err(error) => return tracing::error!(%error, "the loss of a double puppet was not noted"),
        }
        self.shared.puppets.lost.notify_one();
    }

    /// Notes what is about to be sent as a puppet and gives its mark; none for the bot and ghosts.
    pub(super) async fn mark_puppet(&self, room: &RoomId, user: &UserId, txn: &str) -> Result<Option<String>> {
        if !self.is_puppet(user) {
            return Ok(None);
        }
        let mark = self.store().derive().puppet_mark(txn);
        let put = self.store().put_puppet_send(&mark, room.as_str(), user.as_str()).await;
        put.map_err(|error| database(&error))?;
        fail::fail_point!("puppet.after_mark", |_| std::process::abort());
        Ok(Some(mark))
    }

    /// Notes the event that a marked send has made.
    pub(super) async fn note_puppet(&self, mark: Option<String>, event: &EventId) -> Result<()> {
        let Some(mark) = mark else { return Ok(()) };
        fail::fail_point!("puppet.after_send", |_| std::process::abort());
        self.store().puppet_has_sent(&mark, event.as_str()).await.map_err(|error| database(&error))?;
        fail::fail_point!("puppet.after_note", |_| std::process::abort());
        Ok(())
    }

    /// Takes an event away as a puppet, with a mark in the removal: what stands in the body besides the reason becomes its
    /// content (observed with Synapse 1.163).
    pub(super) async fn redact_as_puppet(
        &self,
        room: &RoomId,
        user: &UserId,
        event: &EventId,
        txn: &str,
        mark: &str,
    ) -> Result<OwnedEventId> {
        let path = ["rooms", room.as_str(), "redact", event.as_str(), txn];
        let body = json!({ PUPPET_MARK: mark });
        let answer = self.ask_json(Who::Device(user), Method::PUT, &path, Some(&body)).await?;
        let event = answer["event_id"].as_str().and_then(|event| EventId::parse(event).ok());
        event.ok_or_else(|| MatrixError::Refused {
            status: 200,
            errcode: String::new(),
            message: "the answer has an unexpected form".into(),
        })
    }

    /// The mark in an event's content, when the event is an echo of what this bridge sent as its sender: the mark is noted
    /// for this room and sender, and for this event or none yet. A copy somebody makes of such an event is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn echo_of(
        &self,
        room: &str,
        sender: &str,
        event: &str,
        content: &Value,
    ) -> std::result::Result<Option<String>, StoreError> {
        let Some(mark) = content.get(PUPPET_MARK).and_then(Value::as_str).filter(|mark| mark.len() <= 64) else {
            return Ok(None);
        };
        if mark.contains('\0') {
            return Ok(None);
        }
        let noted = self.store().find_puppet_send(mark).await?.filter(|noted| {
            noted.room == room && noted.mxid == sender && noted.event_id.as_deref().is_none_or(|known| known == event)
        });
        Ok(noted.map(|_| mark.to_owned()))
    }

    /// A request without a type of its own; see [`Client::ask_json`].
    pub(super) async fn ask_json(
        &self,
        who: Who<'_>,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value> {
        match self.find_puppet(&who) {
            Some((user, puppet)) => match puppet.client.ask_json(puppet.who(who), method, path, body).await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.weigh_puppet(&user, &puppet, error).await),
            },
            None => match self.client().ask_json(who, method, path, body).await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.weigh(error).await),
            },
        }
    }

    /// One kind of a person's account data, of a room or of all; `null` when there is none.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn find_account_data(&self, user: &UserId, room: Option<&RoomId>, kind: &str) -> Result<Value> {
        let path = account_data(user, room, kind);
        match self.ask_json(Who::User(user), Method::GET, &path, None).await {
            Err(MatrixError::NotFound) => Ok(Value::Null),
            answer => answer,
        }
    }

    /// Sets one kind of a person's account data. Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn set_account_data(
        &self,
        user: &UserId,
        room: Option<&RoomId>,
        kind: &str,
        content: &Value,
    ) -> Result<()> {
        self.ask_json(Who::User(user), Method::PUT, &account_data(user, room, kind), Some(content)).await.map(drop)
    }

    /// Puts a room among a puppet's direct chats with somebody (CS-API, "m.direct"). Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn add_direct_chat(&self, user: &UserId, with: &UserId, room: &RoomId) -> Result<()> {
        let mut direct = self.find_account_data(user, None, "m.direct").await?;
        if !direct.is_object() {
            direct = json!({});
        }
        let rooms = &mut direct[with.as_str()];
        match rooms.as_array_mut() {
            Some(rooms) if rooms.iter().any(|known| *known == room.as_str()) => return Ok(()),
            Some(rooms) => rooms.push(room.as_str().into()),
            None => *rooms = json!([room]),
        }
        self.set_account_data(user, None, "m.direct", &direct).await
    }

    /// Silences a room for a puppet, or no longer: a push rule of the room, under which mentions still notify (CS-API, "Push
    /// rules"). Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn set_muted(&self, user: &UserId, room: &RoomId, muted: bool) -> Result<()> {
        if !muted {
            // The other way in which clients mute a room.
            self.set_or_delete(user, &["pushrules", "global", "override", room.as_str()], None).await?;
        }
        let path = ["pushrules", "global", "room", room.as_str()];
        let rule = json!({ "actions": [] });
        self.set_or_delete(user, &path, muted.then_some(&rule)).await
    }

    /// Puts a tag of a puppet on a room, or takes it off. Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn set_tag(&self, user: &UserId, room: &RoomId, tag: &str, set: bool) -> Result<()> {
        let path = ["user", user.as_str(), "rooms", room.as_str(), "tags", tag];
        self.set_or_delete(user, &path, set.then_some(&json!({}))).await
    }

    async fn set_or_delete(&self, user: &UserId, path: &[&str], content: Option<&Value>) -> Result<()> {
        let method = if content.is_some() { Method::PUT } else { Method::DELETE };
        match self.ask_json(Who::User(user), method, path, content).await {
            Ok(_) => Ok(()),
            Err(MatrixError::NotFound) if content.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Marks a room as read by a puppet up to an event, on all their devices. Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there or they are not in the room.
    pub async fn mark_read_fully(&self, room: &RoomId, user: &UserId, event: &EventId) -> Result<()> {
        let body = json!({ "m.fully_read": event, "m.read": event });
        self.ask_json(Who::User(user), Method::POST, &["rooms", room.as_str(), "read_markers"], Some(&body))
            .await
            .map(drop)
    }
}

fn account_data<'a>(user: &'a UserId, room: Option<&'a RoomId>, kind: &'a str) -> Vec<&'a str> {
    match room {
        Some(room) => vec!["user", user.as_str(), "rooms", room.as_str(), "account_data", kind],
        None => vec!["user", user.as_str(), "account_data", kind],
    }
}

/// Another homeserver that is not there says nothing of the bridge's own.
fn away(error: MatrixError) -> MatrixError {
    match error {
        MatrixError::Unreachable { .. } | MatrixError::Limited { .. } => {
            MatrixError::PuppetAway { why: error.to_string() }
        }
        fault if fault.is_inner_fault() => MatrixError::PuppetAway { why: fault.to_string() },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::homeserver_double::{Double, fault, fine};
    use crate::store::puppets::PuppetMode;
    use crate::verdict::{Gate, Verdict};
    use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
    use wiremock::{Mock, MockBuilder, ResponseTemplate};

    const ALICE: &str = "@alice:test.local";
    const SEND: &str = "/_matrix/client/v3/rooms/!r:test.local/send/m.room.message/t1";

    fn alice() -> OwnedUserId {
        ALICE.try_into().unwrap()
    }

    fn with(token: &str, verb: &str, at: &str) -> MockBuilder {
        Mock::given(method(verb)).and(path(at)).and(header("authorization", format!("Bearer {token}")))
    }

    async fn whoami(double: &Double, token: &str, user: &str) {
        let answer = fine(json!({ "user_id": user }));
        with(token, "GET", "/_matrix/client/v3/account/whoami").respond_with(answer).mount(&double.server).await;
    }

    async fn send_as_alice(matrix: &Matrix) -> Result<OwnedEventId> {
        let (room, content) = (RoomId::parse("!r:test.local").unwrap(), json!({ "body": "hi" }));
        matrix.send(&room, &alice(), "m.room.message", "t1", &content, None).await
    }

    #[tokio::test]
    async fn a_shared_token_names_the_person_and_the_bridges_device_and_an_own_one_neither() {
        for (token, named) in [(PuppetToken::Shared("shared".into()), true), (PuppetToken::Own("own".into()), false)] {
            let double = Double::start().await;
            let text = if named { "shared" } else { "own" };
            whoami(&double, text, ALICE).await;
            let device = with(text, "PUT", "/_matrix/client/v3/devices/WABRIDGE").and(query_param("user_id", ALICE));
            device.respond_with(fine(json!({}))).expect(u64::from(named)).mount(&double.server).await;
            let send = with(text, "PUT", SEND);
            let send = match named {
                true => send.and(query_param("user_id", ALICE)).and(query_param("device_id", DEVICE)),
                false => send.and(query_param_is_missing("user_id")).and(query_param_is_missing("device_id")),
            };
            send.respond_with(fine(json!({ "event_id": "$e" }))).expect(1).mount(&double.server).await;
            let matrix = double.matrix().await;
            matrix.try_puppet(&alice(), None, &token).await.unwrap();
            assert!(matrix.is_puppet(&alice()));
            assert_eq!(send_as_alice(&matrix).await.unwrap(), "$e");
            let body = &double.bodies("PUT", "v3/rooms/!r:test.local/send/m.room.message/t1").await[0];
            let echo = async |room: &str, sender: &str, event: &str| {
                matrix.echo_of(room, sender, event, body).await.unwrap().is_some()
            };
            assert!(echo("!r:test.local", ALICE, "$e").await);
            assert!(!echo("!r:test.local", ALICE, "$copy").await, "a copy is hers");
            assert!(!echo("!other:test.local", ALICE, "$e").await);
            assert!(!echo("!r:test.local", "@bob:test.local", "$e").await);
            let forged = json!({ PUPPET_MARK: "never noted" });
            assert!(matrix.echo_of("!r:test.local", ALICE, "$e", &forged).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_refused_token_ends_the_puppet_and_says_nothing_of_the_homeserver() {
        let double = Double::start().await;
        whoami(&double, "own", ALICE).await;
        let refused = fault(401, "M_UNKNOWN_TOKEN");
        with("own", "PUT", SEND).respond_with(refused).expect(1).mount(&double.server).await;
        let matrix = double.matrix().await;
        matrix.store().put_puppet(ALICE, &PuppetMode::Token(vec![1])).await.unwrap();
        matrix.try_puppet(&alice(), None, &PuppetToken::Own("own".into())).await.unwrap();
        let error = send_as_alice(&matrix).await.unwrap_err();
        assert_eq!(error, MatrixError::PuppetRefused);
        assert!(matches!(error.verdict(), Verdict::Away { .. }));
        assert!(!matrix.is_puppet(&alice()) && matrix.is_reachable());
        assert_eq!(matrix.store().untold_puppets().await.unwrap().len(), 1);
        // Whoever waits for losses is woken, also when it asks later.
        matrix.lost_puppet().await;
    }

    #[tokio::test]
    async fn tokens_of_others_and_bad_ones_make_no_puppet() {
        let double = Double::start().await;
        whoami(&double, "bobs", "@bob:test.local").await;
        let refused = fault(401, "M_UNKNOWN_TOKEN");
        with("bad", "GET", "/_matrix/client/v3/account/whoami").respond_with(refused).mount(&double.server).await;
        let matrix = double.matrix().await;
        let attempt = async |token: &str| matrix.try_puppet(&alice(), None, &PuppetToken::Own(token.into())).await;
        assert!(matches!(attempt("bobs").await, Err(MatrixError::Forbidden { .. })));
        assert_eq!(attempt("bad").await, Err(MatrixError::PuppetRefused));
        assert!(!matrix.is_puppet(&alice()) && matrix.is_reachable());
    }

    #[tokio::test]
    async fn another_homeserver_that_is_away_is_not_the_bridges_own() {
        let (double, other) = (Double::start().await, Double::start().await);
        whoami(&other, "own", ALICE).await;
        with("own", "PUT", SEND).respond_with(ResponseTemplate::new(502)).mount(&other.server).await;
        let matrix = double.matrix().await;
        let token = PuppetToken::Own("own".into());
        matrix.try_puppet(&alice(), Some(&other.server.uri()), &token).await.unwrap();
        let error = send_as_alice(&matrix).await.unwrap_err();
        assert!(matches!(&error, MatrixError::PuppetAway { .. }), "{error:?}");
        assert_ne!(error.verdict(), Verdict::Blocked(Gate::Homeserver));
        assert!(matrix.is_puppet_elsewhere(&alice()) && matrix.is_reachable());
    }

    #[tokio::test]
    async fn a_room_is_put_among_the_direct_chats_once() {
        let double = Double::start().await;
        whoami(&double, "own", ALICE).await;
        let at = "/_matrix/client/v3/user/@alice:test.local/account_data/m.direct";
        let known = json!({ "@carol:test.local": ["!c"], "@whatsapp_1:test.local": ["!old"] });
        with("own", "GET", at).respond_with(fine(known)).mount(&double.server).await;
        with("own", "PUT", at).respond_with(fine(json!({}))).expect(1).mount(&double.server).await;
        let matrix = double.matrix().await;
        matrix.try_puppet(&alice(), None, &PuppetToken::Own("own".into())).await.unwrap();
        for room in ["!new", "!old"] {
            let room = RoomId::parse(room).unwrap();
            matrix.add_direct_chat(&alice(), &matrix.ghost_id("1"), &room).await.unwrap();
        }
        let want = json!({ "@carol:test.local": ["!c"], "@whatsapp_1:test.local": ["!old", "!new"] });
        assert_eq!(double.bodies("PUT", "v3/user/@alice:test.local/account_data/m.direct").await, [want]);
    }
}
