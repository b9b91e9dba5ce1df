//! Somebody with a Matrix client: logged in, always syncing, accepting every invite.

mod sync;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{self, Client};
use crate::wait;
use sync::Seen;

const V3: [&str; 3] = ["_matrix", "client", "v3"];

/// An event of a room, as this person's client was given it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The room.
    pub room: String,
    /// The event's id.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// Its type, such as `m.room.message`.
    pub kind: String,
    /// `origin_server_ts`: milliseconds since 1970.
    pub ts: u64,
    /// The state key, if it is a state event.
    pub state_key: Option<String>,
    /// Its content.
    pub content: Value,
    /// The event as a whole.
    pub raw: Value,
    /// When this client got it.
    pub arrived: Instant,
}

impl Event {
    fn read(room: &str, raw: &Value) -> Self {
        let text = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
        Self {
            room: room.to_owned(),
            id: text("event_id"),
            sender: text("sender"),
            kind: text("type"),
            ts: raw["origin_server_ts"].as_u64().unwrap_or(0),
            state_key: raw["state_key"].as_str().map(str::to_owned),
            content: raw["content"].clone(),
            raw: raw.clone(),
            arrived: Instant::now(),
        }
    }

    /// Returns the body of a message, empty for anything else (and for what was redacted).
    #[must_use]
    pub fn body(&self) -> &str {
        if self.kind == "m.room.message" { self.content["body"].as_str().unwrap_or_default() } else { "" }
    }

    /// Returns whether it is a message of this `msgtype`, such as `m.notice`.
    #[must_use]
    pub fn is_message(&self, msgtype: &str) -> bool {
        self.kind == "m.room.message" && self.content["msgtype"] == msgtype
    }

    /// Returns the content it means: the new one if it is an edit (`m.replace`).
    #[must_use]
    pub fn newest_content(&self) -> &Value {
        match self.content.get("m.new_content") {
            Some(new) => new,
            None => &self.content,
        }
    }
}

/// A read receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The room.
    pub room: String,
    /// The event up to which was read.
    pub event: String,
    /// Who read.
    pub user: String,
    /// Such as `m.read`.
    pub kind: String,
}

struct Login {
    name: String,
    id: String,
    password: String,
    client: Client,
    seen: Arc<Seen>,
    syncing: tokio::task::AbortHandle,
}

impl Drop for Login {
    fn drop(&mut self) {
        self.syncing.abort();
    }
}

/// Somebody with a Matrix client. Clones are the same person.
#[derive(Clone)]
pub struct Person {
    login: Arc<Login>,
}

impl Person {
    /// Registers a user on the homeserver at `base` by its shared secret and starts syncing.
    ///
    /// `name` is what transcripts show, `localpart` the user's name there.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn register(base: &str, secret: &str, name: &str, localpart: &str) -> Result<Self> {
        let password = format!("{localpart}-password");
        let (id, _device, token) = client::register(base, secret, localpart, &password).await?;
        let client = Client::new(client::http(), base, &token)?;
        let seen = Arc::new(Seen::default());
        let syncing = tokio::spawn(sync::run(client.clone(), id.clone(), Arc::clone(&seen))).abort_handle();
        let name = name.to_owned();
        Ok(Self { login: Arc::new(Login { name, id, password, client, seen, syncing }) })
    }

    /// Returns the name transcripts show.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.login.name
    }

    /// Returns the Matrix id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.login.id
    }

    /// Returns the password, for logging in by another client.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.login.password
    }

    /// Returns the client, for calls this type has no word for.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.login.client
    }

    /// Sends a text and returns the event's id.
    ///
    /// # Errors
    /// The homeserver can't be reached or refuses.
    pub async fn send_text(&self, room: &str, text: &str) -> Result<String> {
        self.send(room, "m.room.message", &json!({"msgtype": "m.text", "body": text})).await
    }

    /// Sends any event and returns its id. Repeats itself while the homeserver can't be reached, with the same
    /// transaction id, as clients do.
    ///
    /// # Errors
    /// The homeserver refuses, or stays away.
    pub async fn send(&self, room: &str, kind: &str, content: &Value) -> Result<String> {
        self.put_once(&["rooms", room, "send", kind], content).await
    }

    /// Removes an event and returns the removal's id.
    ///
    /// # Errors
    /// As [`Person::send`].
    pub async fn redact(&self, room: &str, event: &str) -> Result<String> {
        self.put_once(&["rooms", room, "redact", event], &json!({})).await
    }

    async fn put_once(&self, path: &[&str], content: &Value) -> Result<String> {
        let transaction = client::new_transaction();
        let path = [&V3, path, &[transaction.as_str()]].concat();
        let answer = wait::until("the homeserver takes an event", wait::STEP, || async {
            match self.client().put(&path, content).await {
                Ok(answer) => Ok(Some(answer)),
                Err(error) if client::refusal(&error).is_some_and(|r| !r.status.is_server_error()) => Err(error),
                Err(_) => Ok(None),
            }
        })
        .await?;
        Ok(answer["event_id"].as_str().context("no event_id")?.to_owned())
    }

    /// Creates a room as `POST /createRoom` takes it and returns its id.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn create_room(&self, settings: &Value) -> Result<String> {
        let answer = self.client().post(&[&V3[..], &["createRoom"]].concat(), settings).await?;
        Ok(answer["room_id"].as_str().context("no room_id")?.to_owned())
    }

    /// Creates a direct chat with `user`, as clients do, and returns its id.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn create_dm(&self, user: &str) -> Result<String> {
        self.create_room(&json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [user]})).await
    }

    /// Like [`Person::create_dm`], encrypted from the start: the default of newer clients.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn create_encrypted_dm(&self, user: &str) -> Result<String> {
        self.create_room(&json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [user],
            "initial_state": [{"type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]}))
            .await
    }

    /// Invites somebody.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn invite(&self, room: &str, user: &str) -> Result<()> {
        let path = [&V3[..], &["rooms", room, "invite"]].concat();
        self.client().post(&path, &json!({"user_id": user})).await.map(drop)
    }

    /// Joins a room.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn join(&self, room: &str) -> Result<()> {
        self.client().post(&[&V3[..], &["rooms", room, "join"]].concat(), &json!({})).await.map(drop)
    }

    /// Removes somebody from a room.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn kick(&self, room: &str, user: &str) -> Result<()> {
        let path = [&V3[..], &["rooms", room, "kick"]].concat();
        self.client().post(&path, &json!({"user_id": user})).await.map(drop)
    }

    /// Bans somebody from a room.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn ban(&self, room: &str, user: &str) -> Result<()> {
        let path = [&V3[..], &["rooms", room, "ban"]].concat();
        self.client().post(&path, &json!({"user_id": user})).await.map(drop)
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.client().post(&[&V3[..], &["rooms", room, "leave"]].concat(), &json!({})).await.map(drop)
    }

    /// Marks a room as read up to an event, for all to see.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn read_up_to(&self, room: &str, event: &str) -> Result<()> {
        let path = [&V3[..], &["rooms", room, "receipt", "m.read", event]].concat();
        self.client().post(&path, &json!({})).await.map(drop)
    }

    /// Returns a room's current state event, or `None` if there is none.
    ///
    /// # Errors
    /// The homeserver can't be reached, or this person is not in the room.
    pub async fn find_state(&self, room: &str, kind: &str, key: &str) -> Result<Option<Value>> {
        let path = [&V3[..], &["rooms", room, "state", kind, key]].concat();
        match self.client().get(&path).await {
            Ok(content) => Ok(Some(content)),
            Err(error) if client::refusal(&error).is_some_and(|r| r.errcode == "M_NOT_FOUND") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a piece of a room's state; returns the event's id.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn set_state(&self, room: &str, kind: &str, key: &str, content: &Value) -> Result<String> {
        let path = [&V3[..], &["rooms", room, "state", kind, key]].concat();
        let answer = self.client().put(&path, content).await?;
        Ok(answer["event_id"].as_str().context("no event_id")?.to_owned())
    }

    /// Returns who has joined a room, sorted.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn members(&self, room: &str) -> Result<Vec<String>> {
        let answer = self.client().get(&[&V3[..], &["rooms", room, "joined_members"]].concat()).await?;
        let joined = answer["joined"].as_object().context("no joined")?;
        let mut members: Vec<String> = joined.keys().cloned().collect();
        members.sort();
        Ok(members)
    }

    /// Returns a room's events from the first to the last, as the homeserver has them now: the truth of what is in
    /// the room, whatever this client was told before.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn history(&self, room: &str) -> Result<Vec<Event>> {
        let path = [&V3[..], &["rooms", room, "messages"]].concat();
        let mut from: Option<String> = None;
        let mut events = Vec::new();
        loop {
            let mut query = vec![("dir", "b"), ("limit", "500")];
            if let Some(from) = &from {
                query.push(("from", from));
            }
            let page = self.client().call(Method::GET, &path, &query, None).await?;
            let chunk = page["chunk"].as_array().context("no chunk")?;
            events.extend(chunk.iter().map(|raw| Event::read(room, raw)));
            match page["end"].as_str() {
                Some(end) if !chunk.is_empty() => from = Some(end.to_owned()),
                _ => break,
            }
        }
        events.reverse();
        Ok(events)
    }

    /// Returns what this client was given of a room so far, in order.
    #[must_use]
    pub fn events(&self, room: &str) -> Vec<Event> {
        self.login.seen.all(|event| event.room == room)
    }

    /// Returns the rooms this client has joined.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        self.login.seen.rooms()
    }

    /// Waits until this client was given an event that `wanted` accepts (also one given before) and returns the first.
    ///
    /// # Errors
    /// None came within `limit`; the text names `what` and the last events.
    pub async fn wait_event(&self, what: &str, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        self.login
            .seen
            .wait(limit, |state| state.events.iter().find(|event| wanted(event)).cloned())
            .await
            .with_context(|| format!("{} waited {} s in vain: {what}\n{}", self.name(), limit.as_secs(), self.recent()))
    }

    /// Waits for a message in `room` whose body contains `text` and that this person did not send.
    ///
    /// # Errors
    /// As [`Person::wait_event`].
    pub async fn wait_text(&self, room: &str, text: &str) -> Result<Event> {
        let what = format!("a message with {text:?}");
        self.wait_event(&what, wait::STEP, |e| e.room == room && e.sender != self.id() && e.body().contains(text)).await
    }

    /// Waits for a read receipt that `wanted` accepts.
    ///
    /// # Errors
    /// None came within `limit`; the text names `what`.
    pub async fn wait_receipt(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Receipt) -> bool,
    ) -> Result<Receipt> {
        self.login
            .seen
            .wait(limit, |state| state.receipts.iter().find(|receipt| wanted(receipt)).cloned())
            .await
            .with_context(|| format!("{} waited {} s in vain: {what}", self.name(), limit.as_secs()))
    }

    /// Shows that this person types in a room for at most `lasting`, or has stopped.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn type_in(&self, room: &str, lasting: Option<Duration>) -> Result<()> {
        let path = [&V3[..], &["rooms", room, "typing", self.id()]].concat();
        let body = match lasting {
            Some(lasting) => json!({"typing": true, "timeout": lasting.as_millis()}),
            None => json!({"typing": false}),
        };
        self.client().put(&path, &body).await.map(drop)
    }

    /// Returns how often this client was told who types in a room.
    #[must_use]
    pub fn typing_told(&self, room: &str) -> usize {
        self.login.seen.typing(room).len()
    }

    /// Waits until this client, after the first `before` times, is told that `user` types in a room, or that they do not.
    ///
    /// # Errors
    /// It is not within `limit`.
    pub async fn wait_typing(&self, room: &str, user: &str, on: bool, before: usize, limit: Duration) -> Result<()> {
        let told = |state: &sync::State| {
            let in_room = state.typing.iter().filter(|(other, _)| other == room).skip(before);
            in_room.into_iter().any(|(_, users)| users.iter().any(|other| other == user) == on).then_some(())
        };
        self.login.seen.wait(limit, told).await.with_context(|| {
            let told = self.login.seen.typing(room);
            format!("{} waited {} s in vain: {user} types: {on}; was told {told:?}", self.name(), limit.as_secs())
        })
    }

    /// Waits until somebody's membership of a room is as said (`join`, `leave`, ...).
    ///
    /// # Errors
    /// As [`Person::wait_event`].
    pub async fn wait_member(&self, room: &str, user: &str, membership: &str) -> Result<Event> {
        let what = format!("{user} has membership {membership} in {room}");
        self.wait_event(&what, wait::STEP, |e| {
            e.room == room
                && e.kind == "m.room.member"
                && e.state_key.as_deref() == Some(user)
                && e.content["membership"] == membership
        })
        .await
    }

    /// Returns a room as this person sees it, a line per message.
    #[must_use]
    pub fn transcript(&self, room: &str) -> String {
        let lines: Vec<String> = self.events(room).iter().filter_map(describe).collect();
        lines.join("\n")
    }

    fn recent(&self) -> String {
        let events = self.login.seen.all(|_| true);
        let tail = &events[events.len().saturating_sub(15)..];
        let lines: Vec<String> =
            tail.iter().map(|e| format!("  {} {} {}: {}", e.room, e.sender, e.kind, e.content)).collect();
        format!("the last events seen:\n{}\nsync: {}", lines.join("\n"), self.login.seen.trouble())
    }
}

fn describe(event: &Event) -> Option<String> {
    let who = event.sender.trim_start_matches('@').split(':').next().unwrap_or_default();
    match event.kind.as_str() {
        "m.room.message" => Some(format!("{who}: {}", event.body())),
        "m.room.member" => Some(format!(
            "-- {} is now {}",
            event.state_key.as_deref().unwrap_or_default(),
            event.content["membership"].as_str().unwrap_or_default()
        )),
        "m.room.redaction" => Some(format!("-- {who} removed a message")),
        _ => None,
    }
}
