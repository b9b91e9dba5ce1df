//! Rooms of chats: made when first needed, with the right people in them.
//!
//! A room is made under the chat's fixed alias, so a kill between making and noting it makes no second one: the
//! next try finds the alias taken and adopts the room. Membership is noted when reached; a memory of it spares
//! the look-ups.

use super::Bridge;
use super::budget::{Cost, at_once};
use super::people::{Facts, Halt};
use crate::ids::{ChatId, GhostId, LoginId, PortalId};
use crate::matrix::rooms::{BridgedChat, RoomRecipe};
use crate::store::StoreError;
use crate::store::logins::Login;
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::Verdict;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rooms remembered; found again in the database when dropped.
const MEMORY: usize = 10_000;

/// What this process knows of rooms.
#[derive(Default)]
pub struct Rooms {
    known: Mutex<HashMap<PortalId, Arc<Known>>>,
    /// How often something was forgotten: what was read before is not remembered after it.
    forgotten: AtomicU64,
    /// Rooms in the making: two makers of one room would each take it for a wreck of an earlier try.
    making: Mutex<HashMap<PortalId, Arc<tokio::sync::Mutex<()>>>>,
}

/// What a room is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Something that was said.
    Message,
    /// What is known of the chat.
    Settlement,
}

/// A room that exists, and who is known to be in it.
pub struct Known {
    /// The portal as it was read.
    pub portal: Portal,
    /// The room.
    pub room: OwnedRoomId,
    joined: Mutex<HashSet<OwnedUserId>>,
}

impl Known {
    /// Forgets that somebody is in the room.
    pub(super) fn forget_member(&self, user: &UserId) {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).remove(user);
    }
}

impl Bridge {
    /// A portal's room that exists, without making or changing anything.
    ///
    /// # Errors
    /// [`Halt`] when it has none.
    pub(super) async fn known_room(&self, portal: &Portal) -> Result<Arc<Known>, Halt> {
        let room = room_id(portal.room.as_deref().unwrap_or_default())?;
        match self.remembered_room(portal.id).filter(|known| known.room == room) {
            Some(known) => Ok(known),
            None => Ok(Arc::new(Known { portal: portal.clone(), room, joined: Mutex::default() })),
        }
    }

    /// The portal's chat, perhaps under the id it had before its LID was learnt.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chat_of(&self, id: PortalId) -> Result<ChatId, StoreError> {
        match self.remembered_room(id) {
            Some(known) => Ok(known.portal.chat.clone()),
            None => Ok(self.store().load_portal(id).await?.chat),
        }
    }

    fn remembered_room(&self, id: PortalId) -> Option<Arc<Known>> {
        self.shared.rooms.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The portal's room, made and with its owner invited when new.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn ready_room(&self, id: PortalId, login: &LoginId) -> Result<Arc<Known>, Halt> {
        self.ready_room_for(id, login, Wish::Message).await
    }

    /// As [`Bridge::ready_room`], to show in it what is known of the chat.
    ///
    /// # Errors
    /// As there, and when the room was given up since the work on it began: that makes none anew.
    pub(super) async fn ready_room_to_settle(&self, id: PortalId, login: &LoginId) -> Result<Arc<Known>, Halt> {
        self.ready_room_for(id, login, Wish::Settlement).await
    }

    async fn ready_room_for(&self, id: PortalId, login: &LoginId, wish: Wish) -> Result<Arc<Known>, Halt> {
        loop {
            if let Some(known) = self.remembered_room(id) {
                return Ok(known);
            }
            let before = self.shared.rooms.forgotten.load(Ordering::SeqCst);
            let known = self.find_or_make_room(id, login, wish).await?;
            {
                let mut rooms = self.shared.rooms.known.lock().unwrap_or_else(PoisonError::into_inner);
                if self.shared.rooms.forgotten.load(Ordering::SeqCst) == before {
                    if rooms.len() >= MEMORY {
                        rooms.clear();
                    }
                    rooms.insert(id, known.clone());
                    return Ok(known);
                }
            }
            // Perhaps it was this one's room that was forgotten.
            if self.store().load_portal(id).await?.room == known.portal.room {
                return Ok(known);
            }
        }
    }

    async fn find_or_make_room(&self, id: PortalId, login: &LoginId, wish: Wish) -> Result<Arc<Known>, Halt> {
        let mut portal = self.store().load_portal(id).await?;
        let making = match portal.room {
            Some(_) => None,
            None => {
                self.spend(Cost::Room).await;
                Some(self.making_of(id))
            }
        };
        let _making = match &making {
            Some(making) => {
                let turn = making.lock().await;
                portal = self.store().load_portal(id).await?;
                Some(turn)
            }
            None => None,
        };
        let room = match &portal.room {
            Some(room) => room_id(room)?,
            None => {
                let owner = self.owner_of(login).await?;
                if portal.receiver.as_ref().is_some_and(|receiver| receiver != login) {
                    let why = "the chat belongs to a former owner of this account and has no room";
                    return Err(Halt::Verdict(Verdict::Never { tell: String::new(), why: why.into() }));
                }
                if !self.lets_in(&portal).await? {
                    return Err(super::filter::kept_out());
                }
                if wish == Wish::Settlement && !self.store().is_unsettled(&portal).await? {
                    let why = "the room was given up meanwhile; the next message makes another".into();
                    return Err(Halt::Verdict(Verdict::Later { why }));
                }
                // A message may wait for this turn.
                let room = at_once(self.make_room(&portal, &owner)).await?;
                fail::fail_point!("from_wa.after_room", |_| std::process::abort());
                match portal.kind {
                    PortalKind::Group | PortalKind::Channel => {
                        self.store().put_new_room(&portal, room.as_str()).await?
                    }
                    _ => self.store().set_portal_room(id, room.as_str()).await?,
                }
                portal.room = Some(room.to_string());
                if portal.kind == PortalKind::Direct {
                    self.watch_new(login, &portal.chat);
                }
                if portal.kind == PortalKind::Group {
                    // Its picture has waited for it.
                    self.store().ring_groups();
                }
                if portal.kind == PortalKind::Channel {
                    self.store().ring_channels();
                }
                self.wake_spaces();
                room
            }
        };
        self.call_back(&portal, &room, login).await?;
        Ok(Arc::new(Known { portal, room, joined: Mutex::default() }))
    }

    /// Whether this process knows that a portal has a room.
    pub(super) fn is_known_room(&self, id: PortalId) -> bool {
        self.shared.rooms.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Whose turn it is to make a portal's room.
    pub(super) fn making_of(&self, id: PortalId) -> Arc<tokio::sync::Mutex<()>> {
        let mut making = self.shared.rooms.making.lock().unwrap_or_else(PoisonError::into_inner);
        // Those nobody holds any more.
        if making.len() >= MEMORY {
            making.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        making.entry(id).or_default().clone()
    }

    /// Invites the owner again who left: a message for them is worth it, and they may have left by mistake.
    async fn call_back(&self, portal: &Portal, room: &RoomId, login: &LoginId) -> Result<(), Halt> {
        let owner = self.owner_of(login).await?;
        let has_left = self.store().find_membership(portal.id, &owner.mxid).await?.as_deref() == Some("leave");
        let is_theirs = portal.receiver.as_ref() == Some(login);
        // A status room they left is left to them: posts are not for them alone.
        if has_left && is_theirs && portal.kind != PortalKind::Status {
            self.matrix().invite(room, &user_id(&owner.mxid)?).await?;
            self.store().set_membership_in_room(portal.id, room.as_str(), &owner.mxid, "invite").await?;
        }
        self.bring_owner(portal, room, &owner).await
    }

    async fn owner_of(&self, login: &LoginId) -> Result<Login, Halt> {
        self.store().find_login(login).await?.ok_or_else(|| {
            Halt::Verdict(Verdict::Never { tell: String::new(), why: "the login of a row is gone".into() })
        })
    }

    async fn make_room(&self, portal: &Portal, owner: &Login) -> Result<OwnedRoomId, Halt> {
        match portal.kind {
            PortalKind::Group => self.make_group_room(portal, owner).await,
            PortalKind::Status => self.make_status_room(portal, owner).await,
            PortalKind::Channel => self.make_channel_room(portal, owner).await,
            PortalKind::Direct | PortalKind::Own => self.make_direct_room(portal, owner).await,
        }
    }

    async fn make_direct_room(&self, portal: &Portal, owner: &Login) -> Result<OwnedRoomId, Halt> {
        let peer = GhostId::new(portal.chat.as_str());
        let ghost = self.ready_ghost(&peer, Facts::default()).await?;
        let name = if portal.kind == PortalKind::Own {
            Some("WhatsApp: notes to yourself".to_owned())
        } else {
            // Clients that see the room's alias and no name show the alias.
            self.name_of_chat(&owner.id, &peer).await?
        };
        let owner_id = user_id(&owner.mxid)?;
        // The chat's id holds a phone number or a LID: what anybody in the room can read shows the keyed name.
        let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: name.as_deref() };
        let mut state = self.matrix().bridge_state(&chat);
        state.push(self.matrix().functional_members());
        state.push(super::timers::features(portal.kind));
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&portal.alias)),
            name,
            is_direct: true,
            invite: vec![owner_id, ghost],
            state,
            ..RoomRecipe::default()
        };
        Ok(self.matrix().create_room(&recipe).await?)
    }

    /// Sees to it that one of our users is in the room.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn ready_member(&self, known: &Known, user: &UserId) -> Result<(), Halt> {
        if known.joined.lock().unwrap_or_else(PoisonError::into_inner).contains(user) {
            return Ok(());
        }
        let reached = self.store().find_membership(known.portal.id, user.as_str()).await?;
        if reached.as_deref() != Some("join") {
            self.bring_in(known, user).await?;
        }
        known.joined.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned());
        Ok(())
    }

    /// Invites and joins one of our users, whatever was noted before.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn bring_in(&self, known: &Known, user: &UserId) -> Result<(), Halt> {
        self.spend(Cost::Membership).await;
        match known.portal.kind {
            // Nobody but owners was invited when it was made.
            PortalKind::Group => self.matrix().invite_and_join(&known.room, user).await?,
            _ => self.matrix().ensure_joined(&known.room, user).await?,
        }
        let (portal, room) = (known.portal.id, known.room.as_str());
        Ok(self.store().set_membership_in_room(portal, room, user.as_str(), "join").await?)
    }

    /// Forgets what this process knows of rooms; found again in the database.
    pub(super) fn forget_rooms(&self) {
        let mut known = self.shared.rooms.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.rooms.forgotten.fetch_add(1, Ordering::SeqCst);
        known.clear();
    }

    /// Gives the room of a direct chat its name, also in what it says of the chat it mirrors.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn name_room(&self, room: &str, name: &str) -> Result<(), Halt> {
        let (id, bot) = (room_id(room)?, self.matrix().bot());
        let portal = self.store().find_portal_by_room(room).await?;
        let keeps_name = match &portal {
            Some(portal) => self.is_plumbed(portal).await?,
            None => false,
        };
        if !keeps_name {
            self.matrix().send_state(&id, bot, "m.room.name", "", &json!({ "name": name })).await?;
        }
        let Some(portal) = portal else { return Ok(()) };
        let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: Some(name) };
        for state in self.matrix().bridge_state(&chat) {
            self.matrix().send_state(&id, bot, &state.event_type, &state.state_key, &state.content).await?;
        }
        Ok(())
    }

    /// Forgets what this process knows of a portal's room.
    pub fn forget_room(&self, id: PortalId) {
        let mut known = self.shared.rooms.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.rooms.forgotten.fetch_add(1, Ordering::SeqCst);
        known.remove(&id);
    }
}

/// Parses a stored room id.
///
/// # Errors
/// A final verdict when it is none.
pub fn room_id(text: &str) -> Result<OwnedRoomId, Halt> {
    RoomId::parse(text)
        .map_err(|_| Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored room id is none".into() }))
}

/// Parses a stored user id.
///
/// # Errors
/// A final verdict when it is none.
pub fn user_id(text: &str) -> Result<OwnedUserId, Halt> {
    UserId::parse(text)
        .map_err(|_| Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored user id is none".into() }))
}
