//! Opening chats that nobody has written in yet: by number, by inviting a ghost, by joining or making a group.

use super::Bridge;
use super::budget::Cost;
use super::from_matrix::Event;
use super::people::{Facts, Halt};
use super::rooms::room_id;
use crate::config::Level;
use crate::ids::{ChatId, GhostId};
use crate::store::StoreError;
use crate::store::inbox::InboxRow;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::groups::{GroupFailure, GroupRead};
use ruma::{OwnedRoomId, UserId};

impl Bridge {
    /// The login somebody does things with that name none: the one they prefer, else the first that is connected, else the
    /// first that is linked.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub async fn usual_login(&self, mxid: &str) -> Result<Option<Login>, Halt> {
        let mut logins = self.store().logins_of(mxid).await?;
        logins.retain(|login| login.state == LoginState::Linked);
        let preferred = self.store().find_preferred_login(mxid).await?;
        let chosen = logins.iter().position(|login| preferred.as_ref() == Some(&login.id));
        let connected = || logins.iter().position(|login| self.is_connected(login));
        let at = chosen.or_else(connected).unwrap_or(0);
        Ok((!logins.is_empty()).then(|| logins.swap_remove(at)))
    }

    /// The room of a login's chat with a person, made when it is new.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn open_direct(&self, login: &Login, person: &GhostId) -> Result<OwnedRoomId, Halt> {
        let portal = self.direct_chat(login, person).await?;
        Ok(self.ready_room(portal.id, &login.id).await?.room.clone())
    }

    /// A login's chat with a person, perhaps without a room yet.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn direct_chat(&self, login: &Login, person: &GhostId) -> Result<Portal, StoreError> {
        let chat = ChatId::new(person.as_str());
        let kind = if *person == login.own { PortalKind::Own } else { PortalKind::Direct };
        let mut tx = self.store().begin("opening.direct").await?;
        let portal = self.store().find_or_make_portal_in(&mut tx, &chat, Some(&login.id), &login.mxid, kind).await?;
        self.store().join_portal_in(&mut tx, portal.id, &login.id).await?;
        tx.commit().await?;
        Ok(portal)
    }

    /// The room of a group a login's account is in, made when it is new; none when it is not in it. Its people follow.
    ///
    /// # Errors
    /// [`Halt`] when WhatsApp, database or homeserver fail.
    pub async fn open_group(&self, login: &Login, chat: &ChatId) -> Result<Option<OwnedRoomId>, Halt> {
        self.spend(Cost::Request(&login.id)).await;
        match self.whatsapp().read_group(&login.id, chat).await {
            Ok(GroupRead::Stored) => {}
            Ok(GroupRead::Gone) => return Ok(None),
            Err(GroupFailure::Offline) => return Err(Halt::Verdict(Verdict::Blocked(Gate::Login(login.id.clone())))),
            Err(GroupFailure::Later(why)) => return Err(Halt::Verdict(Verdict::Away { why })),
            Err(GroupFailure::Store(error)) => return Err(error.into()),
        }
        let groups = self.store().groups_of(&login.id).await?;
        let Some((portal, _)) = groups.into_iter().find(|(_, known)| known == chat.as_str()) else { return Ok(None) };
        Ok(Some(self.ready_room(portal, &login.id).await?.room.clone()))
    }

    /// Somebody invited a ghost into a room that is no chat's: the ghost says where the chat with it is, and leaves.
    pub(super) async fn ghost_was_invited(&self, row: &InboxRow, event: &Event) -> Result<(), Halt> {
        let about = event.state_key.as_deref().unwrap_or_default();
        let settled = self.store().settle_row(row.seq);
        let Ok(user) = UserId::parse(about) else { return Ok(settled.await?) };
        let room = room_id(&event.room_id)?;
        let person = match self.matrix().ghost_tail(&user) {
            Some(tail) => self.store().find_ghost_by_localpart(tail).await?,
            None => None,
        };
        let login = self.usual_login(&event.sender).await?;
        let may = self.config().bridge.level_of(&event.sender) >= Level::User;
        let (Some(person), Some(login), true) = (person, login, may) else {
            self.matrix().leave(&room, &user).await?;
            return Ok(settled.await?);
        };
        // In a room with others it waits for `create-group`.
        let is_direct = event.content.get("is_direct").and_then(serde_json::Value::as_bool) == Some(true);
        self.ready_ghost(&person, Facts::default()).await?;
        self.matrix().join(&room, &user).await?;
        let members = self.matrix().joined_members_as(&room, &user).await?;
        if !is_direct && members.len() > 2 {
            return Ok(settled.await?);
        }
        let chat = self.open_direct(&login, &person).await?;
        let tell = format!("Our WhatsApp chat is here: https://matrix.to/#/{chat}");
        let txn = self.store().derive().notice_txn(&event.event_id, "opened");
        let content = crate::convert::notice(&tell);
        self.matrix().send(&room, &user, "m.room.message", &txn, &content, None).await?;
        self.matrix().leave(&room, &user).await?;
        Ok(settled.await?)
    }

    /// The people on WhatsApp whose ghosts are in a room, as the bot sees it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn people_in_room(&self, room: &ruma::RoomId) -> Result<Vec<GhostId>, Halt> {
        let mut people = Vec::new();
        for member in self.matrix().joined_members(room).await? {
            if let Some(tail) = self.matrix().ghost_tail(&member)
                && let Some(person) = self.store().find_ghost_by_localpart(tail).await?
            {
                people.push(person);
            }
        }
        Ok(people)
    }
}
