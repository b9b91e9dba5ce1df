//! Status posts: one room per login, where what its contacts post is shown until WhatsApp shows it no longer.
//!
//! The owner reads there and can not write. Nobody is told that a post was seen. Posts and what they said go after a day,
//! as disappearing messages do.

use super::Bridge;
use super::effects::Scene;
use super::people::Halt;
use super::rooms::user_id;
use crate::matrix::rooms::{BridgedChat, RoomRecipe};
use crate::store::chat_marks::{ChatMark, MarkKind};
use crate::store::logins::Login;
use crate::store::portals::Portal;
use ruma::OwnedRoomId;

/// How long WhatsApp shows a post, milliseconds.
const LIFE: i64 = 24 * 3600 * 1000;
/// Power of the owner in their status room: less than writing needs.
const READER: i64 = -1;

impl Bridge {
    /// Makes a login's status room, muted for its owner where the bridge acts as them; what they do with it later counts.
    pub(super) async fn make_status_room(&self, portal: &Portal, owner: &Login) -> Result<OwnedRoomId, Halt> {
        let name = "WhatsApp status";
        let owner_id = user_id(&owner.mxid)?;
        let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: Some(name) };
        let mut state = self.matrix().bridge_state(&chat);
        state.push(self.matrix().functional_members());
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&portal.alias)),
            name: Some(name.to_owned()),
            topic: Some("Status posts of your WhatsApp contacts. They go after 24 hours.".to_owned()),
            invite: vec![owner_id.clone()],
            powers: vec![(owner_id, READER)],
            state,
            ..RoomRecipe::default()
        };
        let room = self.matrix().create_room(&recipe).await?;
        // As old as can be: whatever the phone says is newer.
        let (login, chat) = (owner.id.clone(), portal.chat.clone());
        let mark = ChatMark { login, chat, kind: MarkKind::Mute, value: -1, ts: 0 };
        self.store().put_chat_mark(&mark).await?;
        Ok(room)
    }

    /// Whether a row is about a status post whose day was over before it was shown.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn is_bygone_status(&self, scene: &Scene<'_>) -> Result<bool, Halt> {
        if self.store().clock().now_ms() < scene.arrival.ts_ms.saturating_add(LIFE) || !self.is_status(scene).await? {
            return Ok(false);
        }
        // One that was begun is finished: only then it is known what has to be removed.
        Ok(self.store().find_message(&scene.key(0)).await?.is_none())
    }

    /// Records when a status post goes, before it is shown; false for what is said elsewhere.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn note_end_of_status(&self, scene: &Scene<'_>) -> Result<bool, Halt> {
        if !self.is_status(scene).await? {
            return Ok(false);
        }
        let mut tx = self.store().begin("status.note_end").await?;
        self.store().put_expiry_in(&mut tx, &scene.key(0), scene.arrival.ts_ms.saturating_add(LIFE)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether a message is one of a login's status room.
    ///
    /// # Errors
    /// When the database fails.
    async fn is_status(&self, scene: &Scene<'_>) -> crate::store::Result<bool> {
        Ok(self.chat_of(scene.portal).await?.is_status())
    }
}
