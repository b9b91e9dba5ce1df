//! Rooms of people's own that become the room of a chat, and stop being it.
//!
//! The room keeps its people, its powers and its look: name, topic and picture follow the chat's only once those change. What a
//! command does is written down in one transaction, and the rest may be repeated; for a group it is the work that keeps
//! every group's room true.

use super::Bridge;
use super::from_matrix::Event;
use super::groups::Did;
use super::people::{Facts, Halt};
use super::rooms::{room_id, user_id};
use crate::ids::{GhostId, PortalId};
use crate::matrix::error::MatrixError;
use crate::matrix::rooms::BridgedChat;
use crate::store::deletions::{Doomed, Farewell, Telling};
use crate::store::logins::Login;
use crate::store::plumbing::Plumbed;
use crate::store::portals::{Portal, PortalKind};
use ruma::RoomId;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the bot writes into a chat's room, beside events of people.
const WRITTEN: [&str; 7] = [
    "m.bridge",
    "uk.half-shot.bridge",
    "io.element.functional_members",
    "com.beeper.room_features",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
];

/// What somebody is to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether they are in it.
    pub is_in: bool,
    /// Whether they may change the powers in it.
    pub rules: bool,
}

/// What giving a room to a chat came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plumb {
    /// The room is the chat's.
    Here,
    /// The chat has another room.
    Elsewhere(String),
}

impl Bridge {
    /// What somebody is to a room; none when the bot is not in it.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails.
    pub(crate) async fn standing_in(&self, room: &RoomId, mxid: &str) -> Result<Option<Standing>, Halt> {
        let is_there = match self.matrix().membership(room, self.matrix().bot()).await {
            Ok(membership) => membership.as_deref() == Some("join"),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        if !is_there {
            return Ok(None);
        }
        let theirs = self.matrix().membership(room, &user_id(mxid)?).await?;
        let rules = self.rules_room(room, mxid).await?;
        Ok(Some(Standing { is_in: theirs.as_deref() == Some("join"), rules }))
    }

    /// Why a room can't become a chat's, in words; none when it can.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(crate) async fn why_no_chat_room(&self, room: &RoomId) -> Result<Option<String>, Halt> {
        if self.store().find_portal_by_room(room.as_str()).await?.is_some() {
            return Ok(Some("This room is a WhatsApp chat already. `unbridge` ends that.".into()));
        }
        if self.store().is_being_left(room.as_str()).await? {
            let text = "I am still on my way out of this room, which was a chat's until now. Say it again in a minute.";
            return Ok(Some(text.into()));
        }
        if self.matrix().get_state(room, "m.room.encryption", "").await?.is_some() {
            let text = "This room is encrypted, and I can't read encrypted messages yet. Take a room that is not.";
            return Ok(Some(text.into()));
        }
        let create = self.matrix().get_state(room, "m.room.create", "").await?.unwrap_or_default();
        if create["type"] == "m.space" {
            return Ok(Some("This is a space, no room to talk in.".into()));
        }
        if self.matrix().get_state(room, "m.room.tombstone", "").await?.is_some() {
            return Ok(Some("This room is closed; it goes on in another one.".into()));
        }
        if self.store().management_rooms().await?.iter().any(|(_, known)| known == room.as_str()) {
            let text = "In this room somebody talks to me alone, and commands need no prefix. If it shall be a chat's, say \
                        `set-management-room` in another room with me first.";
            return Ok(Some(text.into()));
        }
        let powers = self.matrix().get_state(room, "m.room.power_levels", "").await?.unwrap_or_default();
        let bot = self.matrix().bot();
        let (has, needs) = (power_of(&powers, bot.as_str()), power_needed(&powers));
        if has < needs {
            return Ok(Some(format!(
                "I need the power {needs} in this room, to bring people in and to say what it shows: give it to {bot}, then say \
                 it again."
            )));
        }
        let talk = power_to_talk(&powers);
        if power_of(&powers, "") < talk {
            return Ok(Some(format!(
                "Who speaks in this room needs the power {talk}, and the people of WhatsApp come without any. Let everybody \
                 speak, then say it again."
            )));
        }
        Ok(None)
    }

    /// Gives a room to a chat that has none, or with `overwrite` takes the chat out of the room it has. The same command again
    /// changes nothing.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(crate) async fn plumb(
        &self,
        login: &Login,
        id: PortalId,
        room: &RoomId,
        cause: &str,
        overwrite: bool,
    ) -> Result<Plumb, Halt> {
        let portal = self.store().load_portal(id).await?;
        if portal.kind == PortalKind::Group {
            // What the group looks like is what the room's own look is kept against.
            self.known_facts(&portal, login).await?;
        }
        {
            let making = self.making_of(id);
            let _turn = making.lock().await;
            let portal = self.store().load_portal(id).await?;
            match portal.room.as_deref() {
                Some(now) if now == room.as_str() => {}
                Some(other) if !overwrite => return Ok(Plumb::Elsewhere(other.to_owned())),
                other => {
                    if other.is_some() {
                        self.leave_for(id, room, cause).await?;
                    }
                    self.take_over(login, &portal, room, cause).await?;
                }
            }
        }
        fail::fail_point!("plumbing.after_room", |_| super::states::die_here());
        let portal = self.store().load_portal(id).await?;
        self.dress_as(login, &portal, room).await?;
        if portal.kind == PortalKind::Direct {
            let ghost = self.ready_ghost(&GhostId::new(portal.chat.as_str()), Facts::default()).await?;
            let known = self.known_room(&portal).await?;
            self.ready_member(&known, &ghost).await?;
        } else {
            self.store().mark_group_stale(id).await?;
        }
        self.store().ring_groups();
        self.wake_spaces();
        Ok(Plumb::Here)
    }

    /// Has a chat forget its room, which is told where it goes on and left with its people in it.
    async fn leave_for(&self, id: PortalId, room: &RoomId, cause: &str) -> Result<(), Halt> {
        let farewell = Farewell::GoesOn(room.to_string());
        let cause = format!("{cause}/left");
        self.begin_deletion(&cause, Telling::Quiet, room, Doomed::Of(id), &farewell).await
    }

    async fn take_over(&self, login: &Login, portal: &Portal, room: &RoomId, cause: &str) -> Result<(), Halt> {
        let facts = self.group_facts(portal.id).await?;
        let plumbed = Plumbed {
            room: room.to_string(),
            mxid: login.mxid.clone(),
            cause: cause.to_owned(),
            name: facts.as_ref().map(crate::convert::group::GroupFacts::name),
            topic: facts.as_ref().map(crate::convert::group::GroupFacts::topic),
        };
        let mut tx = self.store().begin("plumbing.take_over").await?;
        self.store().forget_members_in(&mut tx, portal.id).await?;
        self.store().room_stays_in(&mut tx, room.as_str()).await?;
        self.store().put_new_room_in(&mut tx, portal, room.as_str()).await?;
        self.store().put_plumbed_in(&mut tx, portal.id, &plumbed).await?;
        tx.commit().await?;
        self.forget_room(portal.id);
        Ok(())
    }

    /// Says in the room which chat it mirrors.
    async fn dress_as(&self, login: &Login, portal: &Portal, room: &RoomId) -> Result<(), Halt> {
        let name = match portal.kind {
            PortalKind::Group => Some(self.group_facts(portal.id).await?.unwrap_or_default().name()),
            _ => self.name_of_chat(&login.id, &GhostId::new(portal.chat.as_str())).await?,
        };
        self.dress_room(portal, room, name.as_deref()).await
    }

    /// Writes on a room, which the bridge has not made itself, whose chat it mirrors; `name` is the chat's.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails; it may be repeated.
    pub(super) async fn dress_room(&self, portal: &Portal, room: &RoomId, name: Option<&str>) -> Result<(), Halt> {
        let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: name };
        let mut state = self.matrix().bridge_state(&chat);
        state.push(self.matrix().functional_members());
        state.push(super::timers::features(portal.kind));
        let bot = self.matrix().bot();
        for piece in state {
            self.matrix().send_state(room, bot, &piece.event_type, &piece.state_key, &piece.content).await?;
        }
        Ok(())
    }

    /// Whether a chat's room is one that somebody has brought along.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn is_plumbed(&self, portal: &Portal) -> Result<bool, Halt> {
        Ok(self.store().find_plumbed(portal.id).await?.is_some())
    }

    /// Whether a change of membership concerns neither bridge nor group: of somebody on Matrix, in a room of people's own.
    pub(super) async fn is_move_of_others(&self, event: &Event, portal: &Portal) -> Result<bool, Halt> {
        let about = event.state_key.as_deref().unwrap_or_default();
        let is_ours = ruma::UserId::parse(about).is_ok_and(|user| self.matrix().is_ours(&user));
        Ok(!is_ours && self.is_plumbed(portal).await?)
    }

    /// Whether the bridge has made a room.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails.
    pub(crate) async fn is_own_room(&self, room: &RoomId) -> Result<bool, Halt> {
        Ok(!self.is_of_others(room).await?)
    }

    /// Gives somebody the highest power in a room the bridge has made, before the bot leaves it.
    pub(super) async fn crown_in(&self, room: &RoomId, mxid: &str) -> Result<(), Halt> {
        if self.is_own_room(room).await?
            && let Some(mut powers) = self.matrix().get_state(room, "m.room.power_levels", "").await?
            && power_of(&powers, mxid) < 100
        {
            powers["users"][mxid] = json!(100);
            self.matrix().send_state(room, self.matrix().bot(), "m.room.power_levels", "", &powers).await?;
        }
        Ok(())
    }

    /// Ends that a group is shown in a room whose bringer is in the group no more: it is theirs to rule and not theirs to read.
    /// What came of it; none when the room may stay.
    pub(super) async fn end_without_bringer(&self, portal: &Portal, logins: &[Login]) -> Result<Option<Did>, Halt> {
        let Some(plumbed) = self.store().find_plumbed(portal.id).await? else { return Ok(None) };
        if portal.room.as_deref() != Some(plumbed.room.as_str())
            || logins.iter().any(|login| login.mxid == plumbed.mxid)
        {
            return Ok(None);
        }
        if self.has_young_rows(portal.id).await? {
            // What was said while they were in it is theirs to read.
            return Ok(Some(Did::Failed));
        }
        let words = "Who bridged this room to the WhatsApp group is in the group no more, so it is bridged no longer: the people of \
                     WhatsApp leave it, and so do I. Whoever is in the group still gets a room of their own with its next message.";
        self.unplumb(portal, &plumbed.mxid, &format!("{}/ended", plumbed.cause), words).await?;
        Ok(Some(Did::All))
    }

    /// Who shall rule a room that its chat leaves: who asks for that if they are in it, else those whose chat it is.
    async fn heirs_of(&self, portal: &Portal, room: &RoomId, mxid: &str) -> Result<BTreeSet<String>, Halt> {
        let people = self.people_in(room).await?;
        let is_in = |mxid: &str| people.iter().any(|person| *person == mxid);
        if is_in(mxid) {
            return Ok(BTreeSet::from([mxid.to_owned()]));
        }
        let logins = match &portal.receiver {
            Some(receiver) => self.store().find_login(receiver).await?.into_iter().collect(),
            None => self.store().logins_in(portal.id).await?,
        };
        Ok(logins.into_iter().map(|login| login.mxid).filter(|owner| is_in(owner)).collect())
    }

    /// Ends that a room is a chat's. In a room of the bridge's own somebody is given its highest power first, else nobody had it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(crate) async fn unplumb(&self, portal: &Portal, mxid: &str, cause: &str, words: &str) -> Result<(), Halt> {
        let Some(text) = &portal.room else { return Ok(()) };
        let room = room_id(text)?;
        for heir in self.heirs_of(portal, &room, mxid).await? {
            self.crown_in(&room, &heir).await?;
        }
        match self.say(&room, words, cause, "answer").await {
            // Nobody is there to be told.
            Ok(_) | Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        fail::fail_point!("plumbing.before_end", |_| super::states::die_here());
        self.begin_deletion(cause, Telling::Quiet, &room, Doomed::Of(portal.id), &Farewell::Stays).await
    }
}

/// The power somebody has by a room's power levels (specification, "m.room.power_levels"); who made a room of version 12 or
/// later has more.
pub(super) fn power_of(powers: &Value, mxid: &str) -> i64 {
    let default = powers["users_default"].as_i64().unwrap_or(0);
    powers["users"].get(mxid).and_then(Value::as_i64).unwrap_or(default)
}

/// The power the bot needs in a chat's room (specification, "m.room.power_levels").
fn power_needed(powers: &Value) -> i64 {
    let state = powers["state_default"].as_i64().unwrap_or(50);
    let events = WRITTEN.iter().map(|kind| powers["events"].get(*kind).and_then(Value::as_i64).unwrap_or(state));
    let invite = powers["invite"].as_i64().unwrap_or(0);
    let others = ["kick", "redact"].map(|what| powers[what].as_i64().unwrap_or(50));
    events.chain([invite]).chain(others).max().unwrap_or(50)
}

/// The power whoever says something needs.
fn power_to_talk(powers: &Value) -> i64 {
    let default = powers["events_default"].as_i64().unwrap_or(0);
    powers["events"].get("m.room.message").and_then(Value::as_i64).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bot_needs_the_greatest_power_of_what_it_does() {
        assert_eq!(power_needed(&Value::Null), 50);
        assert_eq!(power_needed(&json!({ "invite": 70 })), 70);
        assert_eq!(power_needed(&json!({ "state_default": 0, "kick": 0, "redact": 5 })), 5);
        assert_eq!(power_needed(&json!({ "events": { "m.room.avatar": 90, "m.room.pinned_events": 100 } })), 90);
        assert_eq!(power_to_talk(&json!({ "events_default": 10 })), 10);
        assert_eq!(power_to_talk(&json!({ "events_default": 10, "events": { "m.room.message": 0 } })), 0);
        assert_eq!(power_of(&json!({ "users": { "@a:b": 50 }, "users_default": 10 }), "@a:b"), 50);
        assert_eq!(power_of(&json!({ "users": { "@a:b": 50 }, "users_default": 10 }), "@c:b"), 10);
    }
}
