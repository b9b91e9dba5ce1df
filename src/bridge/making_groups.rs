//! A room that becomes a group: its people, name and topic are the group's, and it is the group's room from then on.
//!
//! What is asked of WhatsApp is written down first, with the room and the name. WhatsApp takes no name of the request, so
//! a try whose end is not known is looked for: a group of this name that the account has made since. While it is open no
//! other room is made for a group of this name (`must_wait_for_room`).

use super::Bridge;
use super::people::Halt;
use super::rooms::{room_id, user_id};
use crate::convert::group::GroupFacts;
use crate::ids::{ChatId, GhostId, PortalId};
use crate::matrix::error::MatrixError;
use crate::store::group_wishes::GroupWish;
use crate::store::logins::{Login, LoginState};
use crate::verdict::Verdict;
use crate::whatsapp::group_acts::{ActFailure, GroupAct};
use crate::whatsapp::groups::{GroupFailure, GroupRead};
use ruma::{OwnedUserId, RoomId};
use serde_json::Value;
use std::collections::BTreeSet;

/// How far WhatsApp's clock may be off, milliseconds.
const SLACK: i64 = 60_000;
/// How long a room waits for its group, milliseconds: the command is tried again until it has an end.
const AWAITED: i64 = 10 * 60 * 1000;

/// What making a room a group came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The room is the group's.
    Here,
    /// The group has another room already.
    Elsewhere(String),
    /// The room can't be one: words for who asked.
    Unfit(String),
    /// Nobody from WhatsApp is in it.
    Alone,
    /// WhatsApp refused, or is not there; nothing was made.
    Refused(ActFailure),
    /// It is not known whether it was made; the next try looks first.
    Unknown,
}

impl Bridge {
    /// Makes a room a group of a login's account, with the people who are in it. A repeat makes no second group.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(crate) async fn make_group_of(
        &self,
        login: &Login,
        room: &RoomId,
        subject: &str,
        cause: &str,
    ) -> Result<Made, Halt> {
        let wish = self.store().find_group_wish(&login.id, room.as_str(), subject).await?;
        let chat = match wish.as_ref().and_then(|wish| wish.chat.clone()) {
            Some(chat) => chat,
            None => {
                if let Some(unfit) = self.why_no_group(room, &login.mxid).await? {
                    return Ok(Made::Unfit(unfit));
                }
                let people = self.future_members(room, login).await?;
                if people.is_empty() {
                    return Ok(Made::Alone);
                }
                match self.find_or_make_group(login, room, subject, cause, wish, &people).await? {
                    Ok(chat) => chat,
                    Err(made) => return Ok(made),
                }
            }
        };
        self.become_room_of(login, room, &chat).await
    }

    /// The group of an earlier try, or a new one.
    async fn find_or_make_group(
        &self,
        login: &Login,
        room: &RoomId,
        subject: &str,
        cause: &str,
        before: Option<GroupWish>,
        people: &[GhostId],
    ) -> Result<Result<ChatId, Made>, Halt> {
        let event = match before {
            Some(wish) => {
                match self.whatsapp().read_groups(&login.id).await {
                    Ok(()) => {}
                    Err(GroupFailure::Store(error)) => return Err(error.into()),
                    Err(_) => return Ok(Err(Made::Unknown)),
                }
                if let Some(chat) = self.made_since(login, &wish).await? {
                    self.store().group_was_made(&wish.event, &chat).await?;
                    return Ok(Ok(chat));
                }
                wish.event
            }
            None => {
                let wish = GroupWish {
                    event: cause.to_owned(),
                    login: login.id.clone(),
                    room: room.to_string(),
                    subject: subject.to_owned(),
                    asked_at: self.store().clock().now_ms(),
                    chat: None,
                };
                self.store().put_group_wish(&wish).await?;
                wish.event
            }
        };
        match self.whatsapp().create_group(&login.id, subject, people).await {
            Ok(chat) => {
                fail::fail_point!("groups.after_create", |_| super::states::die_here());
                self.store().group_was_made(&event, &chat).await?;
                Ok(Ok(chat))
            }
            Err(ActFailure::Unknown(why)) => {
                tracing::warn!(why, "it is not known whether a group was made");
                Ok(Err(Made::Unknown))
            }
            Err(failure) => {
                self.store().drop_group_wish(room.as_str()).await?;
                Ok(Err(Made::Refused(failure)))
            }
        }
    }

    /// A group of this name that the account has made since, and that has no room.
    async fn made_since(&self, login: &Login, wish: &GroupWish) -> Result<Option<ChatId>, Halt> {
        for (id, chat) in self.store().groups_of(&login.id).await? {
            let Some(facts) = self.group_facts(id).await? else { continue };
            let is_own = facts.made_by == login.own.as_str() || facts.made_by == login.pn.as_str();
            if is_own
                && facts.subject == wish.subject
                && facts.made_at >= wish.asked_at.saturating_sub(SLACK)
                && self.store().load_portal(id).await?.room.is_none()
            {
                return Ok(Some(ChatId::new(chat)));
            }
        }
        Ok(None)
    }

    /// Why a room can not be made a group by somebody, in words; none when it can.
    async fn why_no_group(&self, room: &RoomId, mxid: &str) -> Result<Option<String>, Halt> {
        if self.store().find_portal_by_room(room.as_str()).await?.is_some() {
            return Ok(Some(
                "This room is a WhatsApp chat already. Say it in a room of your own with the people.".into(),
            ));
        }
        if self.matrix().get_state(room, "m.room.encryption", "").await?.is_some() {
            let text = "This room is encrypted, and I can't read encrypted messages yet. Make a room that is not, and invite \
                        the people and me.";
            return Ok(Some(text.into()));
        }
        let create = self.matrix().get_state(room, "m.room.create", "").await?.unwrap_or_default();
        if create["type"] == "m.space" {
            return Ok(Some("This is a space, no room to talk in.".into()));
        }
        // Whoever makes it a group decides who rules there.
        let theirs = self.matrix().membership(room, &user_id(mxid)?).await?;
        if theirs.as_deref() != Some("join") || !self.may_set_state(room, mxid, &create, "m.room.power_levels").await? {
            return Ok(Some("Only who may change the powers in this room can make it a group.".into()));
        }
        let powers = self.matrix().get_state(room, "m.room.power_levels", "").await?.unwrap_or_default();
        let bot = self.matrix().bot();
        if powers["users"][bot.as_str()].as_i64() != Some(100) {
            return Ok(Some(format!(
                "I have to be an administrator of this room to make it a group: give {bot} the power 100, then say it again."
            )));
        }
        Ok(None)
    }

    /// The people on WhatsApp in a room: contacts, and others who use the bridge.
    async fn future_members(&self, room: &RoomId, login: &Login) -> Result<Vec<GhostId>, Halt> {
        let mut people: BTreeSet<GhostId> = self.people_in_room(room).await?.into_iter().collect();
        for member in self.matrix().joined_members(room).await? {
            if self.matrix().is_ours(&member) || member.as_str() == login.mxid {
                continue;
            }
            let logins = self.store().logins_of(member.as_str()).await?;
            if let Some(other) = logins.into_iter().find(|other| other.state == LoginState::Linked) {
                people.insert(other.own);
            }
        }
        Ok(people.into_iter().filter(|person| *person != login.own).collect())
    }

    /// Makes a room the one of a group, and has it settled as the others are.
    async fn become_room_of(&self, login: &Login, room: &RoomId, chat: &ChatId) -> Result<Made, Halt> {
        // First of all: once it is the group's, the room is given the topic that the group is known to have.
        if let Some(topic) = self.matrix().get_state(room, "m.room.topic", "").await?
            && let Some(topic) = topic["topic"].as_str().filter(|topic| !topic.trim().is_empty())
            && let Err(failure) =
                self.whatsapp().change_group(&login.id, chat, GroupAct::Description(topic.to_owned())).await
        {
            tracing::warn!(%failure, "a group made of a room did not get its topic");
        }
        fail::fail_point!("groups.before_adoption", |_| super::states::die_here());
        match self.whatsapp().read_group(&login.id, chat).await {
            Ok(GroupRead::Stored) => {}
            Ok(GroupRead::Gone) => {
                self.store().drop_group_wish(room.as_str()).await?;
                return Ok(Made::Refused(ActFailure::Refused(404)));
            }
            Err(GroupFailure::Store(error)) => return Err(error.into()),
            Err(_) => return Ok(Made::Unknown),
        }
        let groups = self.store().groups_of(&login.id).await?;
        let Some((id, _)) = groups.into_iter().find(|(_, known)| known == chat.as_str()) else {
            return Ok(Made::Unknown);
        };
        if let Some(other) = self.take_room(id, room).await? {
            self.store().drop_group_wish(room.as_str()).await?;
            return Ok(Made::Elsewhere(other));
        }
        fail::fail_point!("groups.after_adoption", |_| super::states::die_here());
        self.dress(id, room).await?;
        self.send_away_strangers(id, room).await?;
        self.store().mark_group_stale(id).await?;
        self.store().mark_group_unsettled(id).await?;
        self.store().drop_group_wish(room.as_str()).await?;
        self.wake_spaces();
        Ok(Made::Here)
    }

    /// Says in the room which chat it mirrors.
    async fn dress(&self, id: PortalId, room: &RoomId) -> Result<(), Halt> {
        let portal = self.store().load_portal(id).await?;
        let name = self.group_facts(id).await?.unwrap_or_default().name();
        self.dress_room(&portal, room, Some(&name)).await
    }

    /// Takes contacts out whom WhatsApp did not let into the group.
    async fn send_away_strangers(&self, id: PortalId, room: &RoomId) -> Result<(), Halt> {
        for person in self.people_in_room(room).await? {
            let Some(ghost) = self.store().find_ghost(&person).await? else { continue };
            let user = self.matrix().ghost_id(&ghost.localpart);
            if self.store().role_of(id, &person).await? == 0 {
                self.matrix().leave(room, &user).await?;
            } else {
                self.store().set_membership(id, user.as_str(), "join").await?;
            }
        }
        Ok(())
    }

    /// Whether a group's room is not made now, because a room of somebody's is becoming it.
    ///
    /// # Errors
    /// [`Halt`] when it has to wait, or the database fails.
    pub(super) async fn must_wait_for_room(&self, id: PortalId, facts: &GroupFacts) -> Result<(), Halt> {
        let since = self.store().clock().now_ms().saturating_sub(AWAITED);
        if self.store().is_group_awaited(id, &facts.subject, since).await? {
            return Err(Halt::Verdict(Verdict::Away { why: "a room of somebody's is becoming this group".into() }));
        }
        Ok(())
    }

    /// Who can not be given another power in a room: its makers, from version 12 on, and who stands where the bot does.
    /// With each the power they have, as far as it is one that can be written.
    pub(super) async fn above_the_bot(
        &self,
        room: &RoomId,
        powers: &Value,
    ) -> Result<Vec<(OwnedUserId, Option<i64>)>, Halt> {
        let mut above = Vec::new();
        let bot = self.matrix().bot();
        for (mxid, power) in powers["users"].as_object().into_iter().flatten() {
            if let (Some(power @ 100..), false) = (power.as_i64(), mxid == bot.as_str()) {
                above.push((user_id(mxid)?, Some(power)));
            }
        }
        let create = match self.matrix().get_state(room, "m.room.create", "").await {
            Ok(create) => create.unwrap_or_default(),
            Err(MatrixError::NotFound) => Value::Null,
            Err(error) => return Err(error.into()),
        };
        let version: u32 = create["room_version"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0);
        if version >= 12 {
            let others = create["additional_creators"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let others: Vec<String> = others.map(str::to_owned).collect();
            for maker in self.matrix().creator_of(room).await?.into_iter().chain(others) {
                above.push((user_id(&maker)?, None));
            }
        }
        Ok(above)
    }
}

impl Bridge {
    /// Gives a portal this room, unless it has one; then that one.
    async fn take_room(&self, id: PortalId, room: &RoomId) -> Result<Option<String>, Halt> {
        let making = self.making_of(id);
        let _turn = making.lock().await;
        let portal = self.store().load_portal(id).await?;
        match portal.room {
            Some(other) if room_id(&other)? != room => Ok(Some(other)),
            Some(_) => Ok(None),
            None => {
                self.store().set_portal_room(id, room.as_str()).await?;
                self.forget_room(id);
                Ok(None)
            }
        }
    }
}
