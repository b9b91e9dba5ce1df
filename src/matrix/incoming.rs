//! What an event from the homeserver means to the bridge, told from its head alone. Pure.
//!
//! Taken are things people do: messages of every kind, reactions, redactions, votes, pins, positions, what happens to the
//! membership of our users, a person going away, a room replaced. Dropped are echoes of the bot and the ghosts,
//! and everything else. An event whose head can not be read is kept as failed, so that the rest of its
//! transaction crosses. The content is not looked into (but for membership); it goes into the inbox as it came.

use super::{LONGEST_ID, Matrix};
use crate::derive::body_hash;
use crate::ids::Lane;
use crate::store::inbox::{Arrival, Source};
use ruma::UserId;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Kind of inbox rows whose body is one event: the JSON as it came, `room_id` included.
pub const EVENT: &str = "event";
/// As [`EVENT`], of redactions: who works on a message looks for one of it among those that wait behind it.
pub const REDACTION: &str = "redaction";
/// Kind of inbox rows whose body is a [`ReadMark`] as JSON.
pub const RECEIPT: &str = "receipt";

/// Event types that are taken. The `/sync` filter names the same ones.
pub const TAKEN: [&str; 24] = [
    "m.room.message",
    "m.room.encrypted",
    "m.room.redaction",
    "m.room.member",
    "m.room.tombstone",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.sticker",
    "m.reaction",
    "m.poll.start",
    "m.poll.response",
    "m.poll.end",
    "org.matrix.msc3381.poll.start",
    "org.matrix.msc3381.poll.response",
    "org.matrix.msc3381.poll.end",
    "m.room.pinned_events",
    "m.beacon_info",
    "m.beacon",
    "org.matrix.msc3672.beacon_info",
    "org.matrix.msc3672.beacon",
    "com.beeper.disappearing_timer",
];

/// One person has read a room up to an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct ReadMark {
    /// The room.
    pub room_id: String,
    /// Who has read.
    pub user_id: String,
    /// The newest event read.
    pub event_id: String,
    /// When, in milliseconds since 1970; 0 when not told.
    #[serde(default)]
    pub ts: i64,
}

/// Something for the inbox.
#[derive(Debug, Clone)]
pub(crate) struct Sorted {
    /// What is stored.
    pub(crate) arrival: Arrival,
    /// Why nobody can work on it; it is then kept as failed.
    pub(crate) fault: Option<&'static str>,
}

/// The part of an event that decides.
#[derive(Deserialize)]
struct Head<'a> {
    event_id: String,
    room_id: Option<String>,
    sender: String,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    unsigned: HeadUnsigned<'a>,
}

#[derive(Deserialize, Default)]
struct HeadUnsigned<'a> {
    #[serde(borrow)]
    prev_content: Option<&'a RawValue>,
}

/// State that every room has from its beginning: without something it took the place of it is how somebody made a room, and
/// the rooms of groups are made by the bridge.
const INITIAL: [&str; 3] = ["m.room.name", "m.room.power_levels", "m.room.join_rules"];

#[derive(Deserialize)]
struct Membership {
    membership: String,
}

impl Matrix {
    /// Sorts one event. `room` is the room it was told of, where the event itself does not say (`/sync`).
    pub(crate) fn sort_event(&self, raw: &RawValue, room: Option<&str>) -> Option<Sorted> {
        let head: Head<'_> = match serde_json::from_str(raw.get()) {
            Ok(head) => head,
            Err(_) => return Some(self.keep_as_failed(raw, "the event's head can not be read")),
        };
        let Some(room) = room.or(head.room_id.as_deref()) else {
            return Some(self.keep_as_failed(raw, "the event names no room"));
        };
        if !sound(room) || !sound(&head.sender) {
            return Some(self.keep_as_failed(raw, "the event's room or sender is no valid id"));
        }
        let Ok(sender) = <&UserId>::try_from(head.sender.as_str()) else {
            return Some(self.keep_as_failed(raw, "the event's sender is no valid id"));
        };
        if self.is_ours(sender) || !TAKEN.contains(&head.kind.as_str()) {
            return None;
        }
        if INITIAL.contains(&head.kind.as_str()) && head.unsigned.prev_content.is_none() {
            return None;
        }
        if head.kind == "m.room.member" {
            let content = head.content.and_then(|raw| serde_json::from_str::<Membership>(raw.get()).ok());
            let (Some(content), Some(about)) = (content, head.state_key.as_deref()) else {
                return Some(self.keep_as_failed(raw, "the membership event can not be read"));
            };
            if content.membership == "join" {
                self.shared.renames.note(room);
            }
            if !self.membership_matters(about, &content.membership) {
                return None;
            }
        }
        Some(Sorted {
            arrival: Arrival {
                dedup: self.store().derive().mx_dedup(&["event", &head.event_id]),
                lane: Lane::from_person(room, &head.sender),
                source: Source::Matrix,
                login: None,
                portal: None,
                kind: if head.kind == "m.room.redaction" { REDACTION } else { EVENT },
                body: with_room(raw, room, head.room_id.is_some()),
                seq: None,
            },
            fault: None,
        })
    }

    /// Sorts an invitation to the bot as `/sync` tells it: a stripped event without an id, last of the room's
    /// invite state. It gets an id of our own making, fixed for this place in `/sync`; a transaction may
    /// bring the same invitation later under its real one, so accepting has to be harmless to repeat.
    pub(crate) fn sort_invite(&self, stripped: &[&RawValue], room: &str, since: &str) -> Option<Sorted> {
        #[derive(Deserialize)]
        struct Stripped {
            sender: String,
            #[serde(rename = "type")]
            kind: String,
            state_key: Option<String>,
            content: serde_json::Value,
        }
        let invite =
            stripped.iter().rev().filter_map(|raw| serde_json::from_str::<Stripped>(raw.get()).ok()).find(|event| {
                event.kind == "m.room.member" && event.state_key.as_deref() == Some(self.bot().as_str())
            })?;
        let dedup = self.store().derive().mx_dedup(&["invite", room, since]);
        let event = serde_json::json!({
            "type": invite.kind,
            "event_id": format!("$from-sync-{dedup}"),
            "room_id": room,
            "sender": invite.sender,
            "state_key": invite.state_key,
            "content": invite.content,
            "unsigned": { "invite_room_state": stripped },
        });
        let raw = serde_json::value::to_raw_value(&event).ok()?;
        let mut sorted = self.sort_event(&raw, Some(room))?;
        sorted.arrival.dedup = dedup;
        Some(sorted)
    }

    /// Whether a stored event invites the bot.
    pub(crate) fn is_invite(&self, body: &[u8]) -> bool {
        serde_json::from_slice::<Head<'_>>(body).is_ok_and(|head| {
            let membership = head.content.and_then(|raw| serde_json::from_str::<Membership>(raw.get()).ok());
            head.kind == "m.room.member"
                && head.state_key.as_deref() == Some(self.bot().as_str())
                && membership.is_some_and(|content| content.membership == "invite")
        })
    }

    /// Sorts one ephemeral event: public read marks of people, and nothing else (see [`super::signals`] for those that
    /// are not stored). What can not be read is dropped,
    /// as the homeserver itself does with ephemeral events.
    pub(crate) fn sort_ephemeral(&self, raw: &RawValue, room: Option<&str>) -> Vec<Sorted> {
        #[derive(Deserialize)]
        struct Ephemeral<'a> {
            room_id: Option<String>,
            #[serde(rename = "type")]
            kind: String,
            #[serde(borrow)]
            content: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Read {
            #[serde(rename = "m.read", default)]
            by: BTreeMap<String, serde_json::Value>,
        }
        let Ok(event) = serde_json::from_str::<Ephemeral<'_>>(raw.get()) else { return Vec::new() };
        let Some(room) = room.or(event.room_id.as_deref()).filter(|room| sound(room)) else { return Vec::new() };
        if event.kind != "m.receipt" {
            return Vec::new();
        }
        let Ok(marks) = serde_json::from_str::<BTreeMap<String, Read>>(event.content.get()) else { return Vec::new() };
        let mut sorted = Vec::new();
        for (event_id, read) in marks {
            for (user, detail) in read.by {
                let stranger = <&UserId>::try_from(user.as_str()).is_ok_and(|id| !self.is_ours(id));
                if !stranger || !sound(&user) {
                    continue;
                }
                let ts = detail.get("ts").and_then(serde_json::Value::as_i64).unwrap_or(0);
                let dedup = self.store().derive().mx_dedup(&["receipt", room, &user, &event_id]);
                let lane = Lane::read_marks(room, &user);
                let mark = ReadMark { room_id: room.to_owned(), user_id: user, event_id: event_id.clone(), ts };
                let body = serde_json::json!(mark).to_string().into_bytes();
                let arrival = Arrival {
                    dedup,
                    lane,
                    source: Source::Matrix,
                    login: None,
                    portal: None,
                    kind: RECEIPT,
                    body,
                    seq: None,
                };
                sorted.push(Sorted { arrival, fault: None });
            }
        }
        sorted
    }

    /// Whether a change of `about`'s membership is the bridge's business.
    fn membership_matters(&self, about: &str, membership: &str) -> bool {
        let ours = <&UserId>::try_from(about).is_ok_and(|user| self.is_ours(user));
        ours || matches!(membership, "leave" | "ban")
    }

    fn keep_as_failed(&self, raw: &RawValue, fault: &'static str) -> Sorted {
        #[derive(Deserialize)]
        struct Id {
            event_id: String,
        }
        // The same event comes again with another age, so the text is only the second best name for it.
        let name =
            serde_json::from_str::<Id>(raw.get()).map_or_else(|_| body_hash(raw.get().as_bytes()), |id| id.event_id);
        Sorted {
            arrival: Arrival {
                dedup: self.store().derive().mx_dedup(&["event", &name]),
                lane: Lane::new("x:unreadable"),
                source: Source::Matrix,
                login: None,
                portal: None,
                kind: EVENT,
                body: raw.get().as_bytes().to_vec(),
                seq: None,
            },
            fault: Some(fault),
        }
    }
}

/// Whether an id can be bound as text and indexed on every database.
fn sound(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && !id.contains('\0')
}

/// The event's JSON with its room. Spliced as text, so that everything else stays as it came.
fn with_room(raw: &RawValue, room: &str, named: bool) -> Vec<u8> {
    let text = raw.get();
    match text.split_once('{') {
        Some((_, rest)) if !named => {
            let room = serde_json::Value::from(room);
            let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
            format!("{{\"room_id\":{room}{comma}{rest}").into_bytes()
        }
        _ => text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::homeserver_double::matrix_at;
    use serde_json::{Value, json};

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn event(sender: &str, kind: &str) -> Value {
        json!({ "event_id": "$1", "room_id": "!r:test.local", "sender": sender, "type": kind, "content": {} })
    }

    fn member(sender: &str, about: &str, membership: &str) -> Value {
        json!({ "event_id": "$1", "room_id": "!r:test.local", "sender": sender, "type": "m.room.member",
                "state_key": about, "content": { "membership": membership } })
    }

    #[tokio::test]
    async fn what_people_do_is_taken_and_echoes_are_dropped() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let (alice, ghost, bot) = ("@alice:test.local", "@whatsapp_1:test.local", "@whatsappbot:test.local");
        let taken = |value: &Value| matrix.sort_event(&raw(value), None).is_some_and(|sorted| sorted.fault.is_none());
        for kind in TAKEN.iter().filter(|kind| **kind != "m.room.member") {
            let mut changed = event(alice, kind);
            changed["unsigned"] = json!({ "prev_content": {} });
            assert!(taken(&changed), "{kind}");
            // How somebody makes a room of theirs is nothing for WhatsApp.
            assert_eq!(taken(&event(alice, kind)), !INITIAL.contains(kind), "{kind} at first");
            assert!(!taken(&event(ghost, kind)), "{kind} of a ghost");
            assert!(!taken(&event(bot, kind)), "{kind} of the bot");
        }
        assert!(!taken(&event(alice, "m.room.server_acl")));
        assert!(taken(&member(alice, bot, "invite")));
        assert!(taken(&member(alice, ghost, "invite")));
        assert!(taken(&member(alice, ghost, "leave")));
        assert!(taken(&member(alice, alice, "leave")));
        assert!(taken(&member("@bob:test.local", alice, "ban")));
        assert!(!taken(&member(alice, alice, "join")));
        assert!(!taken(&member(alice, "@bob:test.local", "invite")));
        assert!(!taken(&member(bot, alice, "leave")), "what the bot does is known already");
    }

    #[tokio::test]
    async fn the_body_is_the_event_as_it_came_with_its_room() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let text =
            r#" {"type":"m.room.message","event_id":"$1","sender":"@a:x","content":{"body":"\u0000","n":1e400} }"#;
        let odd: Box<RawValue> = serde_json::from_str(text).unwrap();
        let sorted = matrix.sort_event(&odd, Some("!r:test.local")).unwrap();
        assert!(sorted.fault.is_none());
        let body = String::from_utf8(sorted.arrival.body).unwrap();
        assert_eq!(body, format!("{{\"room_id\":\"!r:test.local\",{}", &text.trim_start()[1..]));
        let told = event("@a:x", "m.room.message");
        assert_eq!(matrix.sort_event(&raw(&told), None).unwrap().arrival.body, told.to_string().into_bytes());
    }

    #[tokio::test]
    async fn an_unreadable_head_is_kept_as_failed_under_its_own_name() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let mut nameless = event("@alice:test.local", "m.room.message");
        nameless.as_object_mut().unwrap().remove("sender");
        let again = {
            let mut again = nameless.clone();
            again["unsigned"] = json!({ "age": 5 });
            again
        };
        let first = matrix.sort_event(&raw(&nameless), None).unwrap();
        assert!(first.fault.is_some());
        assert_eq!(first.arrival.dedup, matrix.sort_event(&raw(&again), None).unwrap().arrival.dedup);
        for broken in [
            json!(null),
            json!([]),
            json!({}),
            event("alice", "m.room.message"),
            event("@a\0:x", "m.room.message"),
            event(&format!("@{}:x", "a".repeat(300)), "m.room.message"),
            json!({ "event_id": "$2", "sender": "@a:x", "type": "m.room.message" }),
            json!({ "event_id": "$3", "room_id": "!r", "sender": "@a:x", "type": "m.room.member", "content": {} }),
        ] {
            assert!(matrix.sort_event(&raw(&broken), None).unwrap().fault.is_some(), "{broken}");
        }
    }

    #[tokio::test]
    async fn public_read_marks_of_people_are_taken() {
        let (matrix, store) = matrix_at("http://127.0.0.1:9").await;
        let told = json!({ "type": "m.receipt", "room_id": "!r:test.local", "content": { "$1": {
            "m.read": { "@alice:test.local": { "ts": 7 }, "@whatsapp_1:test.local": { "ts": 8 } },
            "m.read.private": { "@bob:test.local": { "ts": 9 } },
        } } });
        let sorted = matrix.sort_ephemeral(&raw(&told), None);
        assert_eq!(sorted.len(), 1);
        let arrival = &sorted[0].arrival;
        let body: ReadMark = serde_json::from_slice(&arrival.body).unwrap();
        let want = ReadMark {
            room_id: "!r:test.local".into(),
            user_id: "@alice:test.local".into(),
            event_id: "$1".into(),
            ts: 7,
        };
        assert_eq!(body, want);
        assert_eq!(arrival.lane, Lane::read_marks("!r:test.local", "@alice:test.local"));
        assert_eq!(arrival.dedup, store.derive().mx_dedup(&["receipt", "!r:test.local", "@alice:test.local", "$1"]));
        let typing = json!({ "type": "m.typing", "room_id": "!r:test.local", "content": { "user_ids": [] } });
        assert!(matrix.sort_ephemeral(&raw(&typing), None).is_empty());
        assert!(matrix.sort_ephemeral(&raw(&json!(7)), None).is_empty());
    }

    #[tokio::test]
    async fn an_invitation_of_the_bot_out_of_sync_reads_like_an_event() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let stripped = [
            raw(&json!({ "type": "m.room.create", "state_key": "", "sender": "@alice:test.local", "content": {} })),
            raw(
                &json!({ "type": "m.room.member", "state_key": "@whatsappbot:test.local", "sender": "@alice:test.local",
                         "content": { "membership": "invite", "is_direct": true } }),
            ),
        ];
        let stripped: Vec<&RawValue> = stripped.iter().map(AsRef::as_ref).collect();
        let sorted = matrix.sort_invite(&stripped, "!r:test.local", "s1").unwrap();
        assert!(sorted.fault.is_none());
        let body: Value = serde_json::from_slice(&sorted.arrival.body).unwrap();
        assert_eq!(body["content"]["is_direct"], true);
        assert_eq!(body["room_id"], "!r:test.local");
        assert_eq!(body["unsigned"]["invite_room_state"][0]["type"], "m.room.create");
        assert!(body["event_id"].as_str().unwrap().starts_with('$'));
        assert!(matrix.is_invite(&sorted.arrival.body));
        assert!(!matrix.is_invite(event("@alice:test.local", "m.room.message").to_string().as_bytes()));
        assert!(matrix.sort_invite(&stripped[..1], "!r:test.local", "s1").is_none());
    }
}
