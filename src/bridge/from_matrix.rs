//! One row from Matrix: a message for WhatsApp, a command, or an invitation.
//!
//! Who may do what is decided here and in the configuration's permission table, in one place: only the owner of a
//! direct chat's login speaks through it; commands need the level they name.

use super::begun::GoesOn;
use super::group_changes::SHAPING;
use super::outcomes::refuse_former;
use super::outgoing::{self, Saying};
use super::people::Halt;
use super::pins::PINNED;
use super::relay::{relay_logged_out, words_before};
use super::{Bridge, CommandCall};
use crate::config::Level;
use crate::convert::outgoing::{Plan, plan};
use crate::matrix::incoming::{EVENT, RECEIPT, REDACTION};
use crate::store::StoreError;
use crate::store::chat_rooms::ChatRoom;
use crate::store::inbox::InboxRow;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::Verdict;
use ruma::RoomId;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

/// What is said of a reaction, a deletion or the like whose target WhatsApp does not know.
pub(super) const NOTHING_THERE: &str = "What it is about is not on WhatsApp.";
/// How far ahead in its lane a message is looked for among what was taken back, in rows.
const LOOK_AHEAD: i64 = 64;

/// The parts of an event that decide what it is.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where.
    pub room_id: String,
    /// Who.
    pub sender: String,
    /// Its id.
    pub event_id: String,
    /// Its content.
    #[serde(default)]
    pub content: Value,
    /// Its state key, for state.
    pub state_key: Option<String>,
    /// When it was sent, milliseconds since 1970.
    #[serde(default)]
    pub origin_server_ts: i64,
    /// What a redaction takes away, in room versions before 11.
    redacts: Option<String>,
    /// What the homeserver adds.
    #[serde(default)]
    unsigned: Unsigned,
}

/// What a homeserver adds to an event.
#[derive(Debug, Default, Deserialize)]
struct Unsigned {
    prev_content: Option<Value>,
}

impl Event {
    /// A message somebody wants said in a room in which it does not stand (yet).
    pub(super) fn said(room: &str, sender: &str, event_id: &str, content: Value, ts: i64) -> Self {
        Self {
            kind: "m.room.message".into(),
            room_id: room.into(),
            sender: sender.into(),
            event_id: event_id.into(),
            content,
            state_key: None,
            origin_server_ts: ts,
            redacts: None,
            unsigned: Unsigned::default(),
        }
    }

    /// For state: the content it took the place of, as the homeserver tells it.
    pub fn previous(&self) -> Option<&Value> {
        self.unsigned.prev_content.as_ref()
    }

    /// The content, with what a redaction takes away where room version 11 has it.
    pub fn content_with_redacts(&self) -> Value {
        let mut content = self.content.clone();
        if let (Some(redacts), Some(fields)) = (&self.redacts, content.as_object_mut()) {
            fields.entry("redacts").or_insert_with(|| redacts.as_str().into());
        }
        content
    }
}

/// A read mark as the intake stored it.
#[derive(Debug, Deserialize)]
struct ReadMark {
    room_id: String,
    user_id: String,
    event_id: String,
}

/// A row that can not work; `tell` is for the person.
pub(super) fn never(tell: impl Into<String>, why: impl Into<String>) -> Halt {
    Halt::Verdict(Verdict::Never { tell: tell.into(), why: why.into() })
}

impl Bridge {
    /// Works on one row from Matrix; `more` says whether others stand behind it in its lane.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn from_matrix(&self, row: &InboxRow, more: bool) -> Result<Verdict, StoreError> {
        fail::fail_point!("from_mx.poison", |_| std::process::abort());
        let worked = match row.kind.as_str() {
            EVENT | REDACTION => self.event(row, more).await,
            RECEIPT => self.read_mark(row).await,
            other => Err(never("", format!("unknown kind of row {other}"))),
        };
        match worked {
            Ok(()) => Ok(Verdict::Done),
            Err(halt) => halt.into_verdict(),
        }
    }

    async fn event(&self, row: &InboxRow, more: bool) -> Result<(), Halt> {
        let event: Event =
            serde_json::from_slice(&row.body).map_err(|_| never("", "a stored event can not be read"))?;
        if self.is_echo(&event).await? || self.config().bridge.level_of(&event.sender) == Level::Block {
            return Ok(self.store().settle_row(row.seq).await?);
        }
        if event.kind == "m.room.member" {
            if event.state_key.as_deref() != Some(event.sender.as_str())
                && let Some(portal) = self.store().find_portal_by_room(&event.room_id).await?
                && portal.kind == PortalKind::Group
                && !self.is_move_of_others(&event, &portal).await?
            {
                let login = self.login_of(&portal, None, &event.sender).await?;
                return match self.speaker(&portal, login, &event.sender) {
                    Ok(login) if login.state != LoginState::Linked => {
                        self.undo_move(row, &event, &portal).await?;
                        Err(logged_out())
                    }
                    Ok(login) => self.move_in_group(row, &event, &portal, &login).await,
                    Err(_) => {
                        self.undo_move(row, &event, &portal).await?;
                        Ok(self.store().settle_row(row.seq).await?)
                    }
                };
            }
            return self.membership(row, &event).await;
        }
        match self.store().find_chat_room(&event.room_id, &event.event_id).await? {
            Some(mut place) => {
                let login = place.login.take();
                let login = self.login_of(&place.portal, login, &event.sender).await?;
                self.said_in_portal(row, &event, &place, login, more).await
            }
            None => self.said_to_bot(row, &event).await,
        }
    }

    /// Somebody invited one of our users: the bot joins and its room becomes the inviter's management room.
    async fn membership(&self, row: &InboxRow, event: &Event) -> Result<(), Halt> {
        let membership = event.content.get("membership").and_then(Value::as_str);
        let invites = membership == Some("invite");
        if membership == Some("leave") && event.state_key.as_deref() == Some(event.sender.as_str()) {
            self.leave_group_too(event).await?;
            self.left(event).await?;
        }
        let bot = self.matrix().bot();
        let about = event.state_key.as_deref().and_then(|about| ruma::UserId::parse(about).ok());
        if invites && about.is_some_and(|user| user != *bot && self.matrix().is_ours(&user)) {
            if self.store().find_portal_by_room(&event.room_id).await?.is_some() {
                return Ok(self.store().settle_row(row.seq).await?);
            }
            return self.ghost_was_invited(row, event).await;
        }
        if invites && event.state_key.as_deref() == Some(bot.as_str()) {
            let room = RoomId::parse(&event.room_id).map_err(|_| never("", "an event's room id is none"))?;
            if self.config().bridge.level_of(&event.sender) < Level::Commands {
                self.matrix().leave(&room, bot).await?;
                return Ok(self.store().settle_row(row.seq).await?);
            }
            self.matrix().join(&room, bot).await?;
            let create = self.matrix().get_state(&room, "m.room.create", "").await?.unwrap_or_default();
            if create["type"] == "m.space" {
                let prefix = &self.config().bridge.command_prefix;
                let hello = format!(
                    "I am in your space. To put a WhatsApp group into it, say `{prefix} add-to-space {room}` in the group's \
                     room. I need the power to change what is in the space."
                );
                let told = self.management_room(&event.sender).await?;
                self.say(&told, &hello, &event.event_id, "space").await?;
            } else if self.matrix().get_state(&room, "m.room.encryption", "").await?.is_some() {
                self.move_to_unencrypted(event).await?;
            } else if self.matrix().joined_members(&room).await?.len() > 2 {
                // Words there are not for the bot alone, and its words about an account are not for everybody.
                let prefix = &self.config().bridge.command_prefix;
                let hello = format!(
                    "Hello, I'm the WhatsApp bridge. Here I listen to words behind `{prefix}` only, such as \
                     `{prefix} help`. To link your WhatsApp account, start a chat with me alone."
                );
                self.say(&room, &hello, &event.room_id, "hello").await?;
            } else {
                self.store().set_management_room(&event.sender, room.as_str()).await?;
                let prefix = &self.config().bridge.command_prefix;
                let hello = format!(
                    "Hello, I'm the WhatsApp bridge. Say `login qr` to link your WhatsApp account, or `help` for \
                     everything I can do. In other rooms, put `{prefix}` before a command."
                );
                self.say(&room, &hello, &event.room_id, "hello").await?;
            }
        }
        Ok(self.store().settle_row(row.seq).await?)
    }

    /// Somebody left a room: messages of their chat invite them again, and what the bot has to say needs a new room.
    async fn left(&self, event: &Event) -> Result<(), Halt> {
        if self.store().find_management_room(&event.sender).await?.as_deref() == Some(event.room_id.as_str()) {
            self.store().set_management_room(&event.sender, "").await?;
        }
        if let Some(portal) = self.store().find_portal_by_room(&event.room_id).await? {
            self.store().set_membership(portal.id, &event.sender, "leave").await?;
            self.forget_room(portal.id);
        }
        self.left_space(&event.room_id, &event.sender).await
    }

    /// An encrypted room can not be read yet: say so there, and go on in a fresh unencrypted one.
    async fn move_to_unencrypted(&self, event: &Event) -> Result<(), Halt> {
        let known = self.store().find_management_room(&event.sender).await?;
        let fresh = match known.filter(|known| *known != event.room_id) {
            Some(known) => known,
            None => self.new_management_room(&event.sender).await?.to_string(),
        };
        let room = RoomId::parse(&event.room_id).map_err(|_| never("", "an event's room id is none"))?;
        let tell = format!(
            "This room is encrypted and I can't read encrypted messages yet. I have invited you to an unencrypted \
             room; please write to me there: https://matrix.to/#/{fresh}"
        );
        self.say(&room, &tell, &event.event_id, "encrypted").await?;
        Ok(())
    }

    async fn said_to_bot(&self, row: &InboxRow, event: &Event) -> Result<(), Halt> {
        let level = self.config().bridge.level_of(&event.sender);
        let managed =
            self.store().find_management_room(&event.sender).await?.as_deref() == Some(event.room_id.as_str());
        if event.kind == "m.room.encrypted" && level >= Level::Commands {
            self.move_to_unencrypted(event).await?;
        } else if let Some(words) = self.command_words(event, managed) {
            return self.command(row, event, words).await;
        }
        refuse_former(row, event, self.store().given_up_at(&event.room_id).await?)?;
        Ok(self.store().settle_row(row.seq).await?)
    }

    /// The command in a message: behind the prefix anywhere, bare in the management room.
    pub(super) fn command_words(&self, event: &Event, managed: bool) -> Option<String> {
        if event.kind != "m.room.message" || event.content.get("msgtype").and_then(Value::as_str) != Some("m.text") {
            return None;
        }
        let body = event.content.get("body").and_then(Value::as_str)?.trim();
        match body.strip_prefix(self.config().bridge.command_prefix.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => Some(rest.trim().to_owned()),
            _ => managed.then(|| body.to_owned()),
        }
    }

    async fn command(&self, row: &InboxRow, event: &Event, words: String) -> Result<(), Halt> {
        let runner = self.shared.commands.get().ok_or_else(|| never("", "no commands are put in"))?;
        let call = CommandCall {
            room: event.room_id.clone(),
            sender: event.sender.clone(),
            words,
            event_id: event.event_id.clone(),
            reply_to: event
                .content
                .pointer("/m.relates_to/m.in_reply_to/event_id")
                .and_then(Value::as_str)
                .map(str::to_owned),
        };
        // A task of its own, with a stack of its own: what commands do goes deep. It ends with the row's work.
        let running = AbortOnDropHandle::new(tokio::spawn(runner(call).in_current_span()));
        let verdict = match running.await {
            Ok(verdict) => verdict,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => return Err(Halt::Verdict(Verdict::Later { why: "a command was stopped".into() })),
        };
        match verdict {
            Verdict::Done => Ok(self.store().settle_row(row.seq).await?),
            other => Err(Halt::Verdict(other)),
        }
    }

    async fn said_in_portal(
        &self,
        row: &InboxRow,
        event: &Event,
        place: &ChatRoom,
        login: Option<Login>,
        more: bool,
    ) -> Result<(), Halt> {
        let portal = &place.portal;
        if let Some(words) = self.command_words(event, false) {
            return self.command(row, event, words).await;
        }
        if let Some(words) = self.retry_wish(event).await? {
            return self.command(row, event, words).await;
        }
        refuse_former(row, event, place.given_up_at)?;
        if super::channels::has_no_timer(portal, event) {
            return Ok(self.store().settle_row(row.seq).await?);
        }
        if event.kind == super::timers::STATE {
            return self.timer_event(row, event, portal, login).await;
        }
        if self.relay_unvote(row, event, portal).await? {
            return Ok(());
        }
        let is_shaping = portal.kind == PortalKind::Group
            && SHAPING.contains(&event.kind.as_str())
            && event.state_key.as_deref() == Some("");
        if portal.kind == PortalKind::Direct
            && SHAPING.contains(&event.kind.as_str())
            && event.state_key.as_deref() == Some("")
            && self.is_plumbed(portal).await?
        {
            // A chat of two has no looks and no powers; the room of one's own has them for itself.
            return Ok(self.store().settle_row(row.seq).await?);
        }
        let (login, relayed) = match self.speaker(portal, login, &event.sender) {
            Ok(login) => (login, None),
            Err(_) if event.state_key.as_deref() == Some("") && self.is_plumbed(portal).await? => {
                // What a room of people's own is like is theirs to say.
                return Ok(self.store().settle_row(row.seq).await?);
            }
            Err(refused) => match self.relay_for(event, portal).await? {
                Some((login, relayed)) => (login, Some(relayed)),
                None => {
                    if is_shaping {
                        self.put_back(portal).await?;
                    }
                    return Err(refused);
                }
            },
        };
        if event.kind == "m.room.encrypted" {
            let tell = match relayed.is_some() {
                true => {
                    "This room is encrypted, and the bridge can't read encrypted messages yet, so nothing reaches WhatsApp."
                }
                false => {
                    "This room is encrypted, and the bridge can't read encrypted messages yet. Please write from your phone."
                }
            };
            return Err(never(tell, "an encrypted event in a portal"));
        }
        if let LoginState::LoggedOut { .. } = login.state {
            if is_shaping {
                self.put_back(portal).await?;
            }
            return Err(if relayed.is_some() { relay_logged_out() } else { logged_out() });
        }
        let (login, relayed) = match place.is_begun {
            false => (login, relayed),
            true => match self.goes_on_through(row, event, portal, login, relayed).await? {
                GoesOn::Through(through) => *through,
                GoesOn::IsThere => return Ok(self.store().settle_row(row.seq).await?),
            },
        };
        let wa_id = self.store().derive().wa_message(&login.id, &event.event_id, 0);
        // The same secret on every try: votes and encrypted edits of receivers hang on it.
        let secret = self.store().derive().wa_message_secret(&login.id, &wa_id);
        let (timer, is_relayed) = (place.timer, relayed.is_some());
        let saying = Saying { row, event, portal, login: &login, secret, timer, is_relayed };
        if more && self.is_taken_back(&saying).await? {
            return self.forget_unsent(&saying, wa_id).await;
        }
        self.expect_outcome(row, event).await?;
        if portal.kind == PortalKind::Channel {
            return self.said_in_channel(&saying, wa_id).await;
        }
        if is_shaping {
            return self.shape_group(&saying).await;
        }
        self.refuse_blocked(&saying, place.is_blocked)?;
        if relayed.is_none()
            && let Some(plan) = states_of(event)?
        {
            if portal.kind == PortalKind::Status {
                return Err(never(
                    "Status posts can't be pinned, and a live location can't be one.",
                    "a state in a status room",
                ));
            }
            return match &plan {
                Plan::Pins { pinned } => self.pins_into_whatsapp(&saying, pinned).await,
                live => self.live_into_whatsapp(&saying, live).await,
            };
        }
        let (plan, label) = match &relayed {
            Some(who) => match self.relayed(&saying, who).await? {
                Some(said) => said,
                None => return Ok(()),
            },
            None => (outgoing::plan_of(event)?, None),
        };
        if portal.kind == PortalKind::Status {
            return self.said_in_status(&saying, wa_id, &plan).await;
        }
        match &plan {
            Plan::Album(drafts) => return self.send_album(&saying, drafts).await,
            Plan::Redact { target } => {
                let parts = self.store().parts_of_event(portal.id, target).await?;
                if parts.len() > 1 {
                    return self.delete_album(&saying, &parts).await;
                }
            }
            _ => {}
        }
        match self.outgoing_of(&saying, &plan).await? {
            Some(outgoing) => {
                let label = match &plan {
                    Plan::Message(draft) => label.or_else(|| words_before(&saying, draft, &outgoing.message)),
                    _ => label,
                };
                if let Some(label) = label {
                    self.send_label(&saying, label, 0).await?;
                }
                self.send_to_whatsapp(&saying, wa_id, outgoing).await
            }
            None => self.settle_unsent(row, NOTHING_THERE).await,
        }
    }

    /// The login of a direct chat; in a group or a channel the one somebody has there, a linked one before others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn login_of(&self, portal: &Portal, login: Option<Login>, sender: &str) -> Result<Option<Login>, Halt> {
        if !matches!(portal.kind, PortalKind::Group | PortalKind::Channel) {
            return Ok(login);
        }
        let mut logins = self.store().logins_in(portal.id).await?;
        logins.retain(|login| login.mxid == sender);
        if logins.len() > 1 {
            let preferred = self.store().find_preferred_login(sender).await?;
            // Linked ones first, and of those the one they prefer.
            logins.sort_by_key(|login| (login.state != LoginState::Linked, preferred.as_ref() != Some(&login.id)));
        }
        Ok(logins.into_iter().next())
    }

    /// The portal's login, when it is theirs to speak through.
    pub(super) fn speaker(&self, portal: &Portal, login: Option<Login>, sender: &str) -> Result<Login, Halt> {
        match login {
            Some(login) if login.mxid == sender && self.config().bridge.level_of(sender) >= Level::User => Ok(login),
            _ if portal.kind == PortalKind::Group => Err(never(
                "No WhatsApp account of yours is in this group, so you can't write here.",
                "the sender has no login in the group",
            )),
            _ if portal.kind == PortalKind::Channel => Err(never(
                "No WhatsApp account of yours follows this channel, so nothing you do here reaches it.",
                "the sender has no login that follows the channel",
            )),
            _ => Err(never(
                "Only the owner of this WhatsApp account can write here.",
                "the sender does not own the chat's login",
            )),
        }
    }

    /// Whether a message that had to wait was taken back before it left.
    async fn is_taken_back(&self, saying: &Saying<'_>) -> Result<bool, Halt> {
        if saying.event.kind == "m.room.redaction" {
            return Ok(false);
        }
        let later = self.store().waiting_bodies(&saying.row.lane, REDACTION, LOOK_AHEAD).await?;
        Ok(later.iter().any(|later| outgoing::redacts(later, &saying.event.event_id)))
    }

    async fn read_mark(&self, row: &InboxRow) -> Result<(), Halt> {
        let mark: ReadMark =
            serde_json::from_slice(&row.body).map_err(|_| never("", "a stored read mark can not be read"))?;
        let place = self.store().find_chat_room(&mark.room_id, "").await?;
        let Some(ChatRoom { portal, login, .. }) = place else { return Ok(self.store().settle_row(row.seq).await?) };
        let login = self.login_of(&portal, login, &mark.user_id).await?;
        // Nobody is told that a status post was seen.
        if portal.kind != PortalKind::Status
            && let Ok(login) = self.speaker(&portal, login, &mark.user_id)
            && login.state == LoginState::Linked
        {
            if portal.kind == PortalKind::Channel {
                self.look_later(&login.id, &portal);
            }
            return self.read_mark_into_whatsapp(row, &portal, &login.id, &mark.event_id).await;
        }
        Ok(self.store().settle_row(row.seq).await?)
    }
}

/// What somebody hears who is not linked any more.
fn logged_out() -> Halt {
    never(
        "You are logged out of WhatsApp. Say `login qr` to the bridge bot, then `retry` here.",
        "the login is logged out",
    )
}

/// What a piece of room state wants: pins, or a live location. A state event of another key than its own is none.
fn states_of(event: &Event) -> Result<Option<Plan>, Halt> {
    let is_state = match event.kind.as_str() {
        PINNED => event.state_key.as_deref() == Some(""),
        "m.beacon_info" | "org.matrix.msc3672.beacon_info" => event.state_key.as_deref() == Some(&event.sender),
        "m.beacon" | "org.matrix.msc3672.beacon" => true,
        _ => return Ok(None),
    };
    if !is_state {
        return Err(never("", "a state event under another key than its own"));
    }
    plan(&event.kind, &event.content)
        .map(Some)
        .map_err(|refusal| never(refusal.tell, "a live location can not be read"))
}
