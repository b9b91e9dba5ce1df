//! Typing and presence: what the homeserver tells of people's, and how ghosts show theirs.
//!
//! Droppable in both directions: what is told goes through one bounded channel and is never stored. A repeated
//! transaction does not bring it again.

use super::client::Who;
use super::error::Result;
use super::intake::Intake;
use super::{LONGEST_ID, Matrix};
use ruma::api::client::presence::set_presence;
use ruma::api::client::typing::create_typing_event;
use ruma::api::client::typing::create_typing_event::v3::{Typing, TypingInfo};
use ruma::presence::PresenceState;
use ruma::{RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::mpsc;

/// Signals waiting for the floor above.
pub(super) const SIGNALS: usize = 256;
/// People looked at in one typing notification: who types beside so many others is not worth showing.
const MOST_TYPING: usize = 50;

/// Something the homeserver tells that is shown for a while or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Who types in a room now, ghosts and bot left out; empty when nobody does any more.
    Typing {
        /// The room.
        room: String,
        /// Who.
        people: Vec<String>,
    },
    /// Somebody is there, or is not.
    Presence {
        /// Who.
        user: String,
        /// Whether they are.
        online: bool,
    },
}

impl Matrix {
    /// Shows that a ghost types for at most `lasting`, or that it has stopped.
    ///
    /// # Errors
    /// When the homeserver is not there or the ghost is not in the room.
    pub async fn show_typing(&self, room: &RoomId, as_user: &UserId, lasting: Option<Duration>) -> Result<()> {
        let state = lasting.map_or(Typing::No, |lasting| Typing::Yes(TypingInfo::new(lasting)));
        let request = create_typing_event::v3::Request::new(as_user.to_owned(), room.to_owned(), state);
        self.ask(Who::User(as_user), request).await.map(drop)
    }

    /// Shows a ghost as online or offline, with a text beside it.
    ///
    /// # Errors
    /// When the homeserver is not there or the ghost has no account.
    pub async fn show_presence(&self, as_user: &UserId, online: bool, text: Option<String>) -> Result<()> {
        let state = if online { PresenceState::Online } else { PresenceState::Offline };
        let mut request = set_presence::v3::Request::new(as_user.to_owned(), state);
        request.status_msg = text;
        self.ask(Who::User(as_user), request).await.map(drop)
    }

    /// Reads one ephemeral event; none when it is no signal of people's.
    pub(super) fn read_signal(&self, raw: &RawValue) -> Option<Told> {
        #[derive(Deserialize)]
        struct Ephemeral<'a> {
            room_id: Option<String>,
            sender: Option<String>,
            #[serde(rename = "type")]
            kind: String,
            #[serde(borrow)]
            content: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Typists {
            user_ids: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Presence {
            presence: String,
        }
        let event: Ephemeral<'_> = serde_json::from_str(raw.get()).ok()?;
        let is_a_person = |user: &String| {
            user.len() <= LONGEST_ID
                && !user.contains('\0')
                && <&UserId>::try_from(user.as_str()).is_ok_and(|user| !self.is_ours(user))
        };
        match event.kind.as_str() {
            "m.typing" => {
                let room = event.room_id.filter(|room| room.len() <= LONGEST_ID && !room.contains('\0'))?;
                let told: Typists = serde_json::from_str(event.content.get()).ok()?;
                let people = told.user_ids.into_iter().filter(is_a_person).take(MOST_TYPING).collect();
                Some(Told::Typing { room, people })
            }
            "m.presence" => {
                let told: Presence = serde_json::from_str(event.content.get()).ok()?;
                // Idle is not there: an idle person's phone shall go on to ring.
                let online = told.presence == "online";
                event.sender.filter(is_a_person).map(|user| Told::Presence { user, online })
            }
            _ => None,
        }
    }
}

impl Intake {
    /// Where signals come out; none from the second call on.
    pub fn take_signals(&self) -> Option<mpsc::Receiver<Told>> {
        self.heard().lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::homeserver_double::{Double, fine, matrix_at};
    use serde_json::{Value, json};

    const GHOST: &str = "@whatsapp_1:test.local";

    fn typing(users: &Value) -> Value {
        json!({ "type": "m.typing", "room_id": "!r:test.local", "content": { "user_ids": users } })
    }

    #[tokio::test]
    async fn peoples_typing_and_presence_are_read_and_our_own_is_not() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let read = |value: &Value| matrix.read_signal(&serde_json::value::to_raw_value(value).unwrap());
        let told = |people: &[&str]| {
            let people = people.iter().map(|user| (*user).to_owned()).collect();
            Some(Told::Typing { room: "!r:test.local".into(), people })
        };
        assert_eq!(read(&typing(&json!(["@alice:test.local", GHOST]))), told(&["@alice:test.local"]));
        assert_eq!(read(&typing(&json!([GHOST]))), told(&[]), "an end looks the same");
        assert_eq!(read(&typing(&json!(["no id", "@a\u{0}:x"]))), told(&[]));
        assert_eq!(read(&typing(&json!(7))), None);
        let presence = |user: &str, state: &str| {
            read(&json!({ "type": "m.presence", "sender": user, "content": { "presence": state } }))
        };
        let is = |online| Some(Told::Presence { user: "@alice:test.local".into(), online });
        assert_eq!(presence("@alice:test.local", "online"), is(true));
        assert_eq!(presence("@alice:test.local", "unavailable"), is(false));
        assert_eq!(presence(GHOST, "online"), None);
        assert_eq!(read(&json!({ "type": "m.receipt", "content": {} })), None);
        assert_eq!(read(&json!(7)), None);
    }

    #[tokio::test]
    async fn a_ghost_types_for_a_while_and_comes_and_goes() {
        let double = Double::start().await;
        let typing = format!("v3/rooms/!r:test.local/typing/{GHOST}");
        let presence = format!("v3/presence/{GHOST}/status");
        double.as_user("PUT", &typing, GHOST, fine(json!({})), 2).await;
        double.as_user("PUT", &presence, GHOST, fine(json!({})), 1).await;
        let matrix = double.matrix().await;
        let (room, ghost) = (RoomId::parse("!r:test.local").unwrap(), matrix.ghost_id("1"));
        matrix.show_typing(&room, &ghost, Some(Duration::from_secs(20))).await.unwrap();
        matrix.show_typing(&room, &ghost, None).await.unwrap();
        matrix.show_presence(&ghost, false, Some("last seen".into())).await.unwrap();
        let said = double.bodies("PUT", &typing).await;
        assert_eq!(said, [json!({ "typing": true, "timeout": 20_000 }), json!({ "typing": false })]);
        let said = double.bodies("PUT", &presence).await;
        assert_eq!(said, [json!({ "presence": "offline", "status_msg": "last seen" })]);
    }
}
