//! A chat's room deleted by its owner: everybody is taken out, and what the bridge knows of the room is forgotten.
//!
//! WhatsApp keeps the chat: its next message makes a new room. Each step may be repeated, the row that knows the room goes last.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::matrix::error::MatrixError;
use crate::store::portals::Portal;
use std::collections::BTreeSet;

impl Bridge {
    /// Takes everybody out of a direct chat's room and forgets it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; repeating goes on where it was.
    pub async fn delete_room(&self, portal: &Portal) -> Result<(), Halt> {
        let Some(text) = &portal.room else { return Ok(()) };
        let (room, bot) = (room_id(text)?, self.matrix().bot());
        let members = match self.matrix().joined_members(&room).await {
            Ok(members) => members,
            // The bot has left already.
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => BTreeSet::new(),
            Err(error) => return Err(error.into()),
        };
        for member in members.iter().filter(|member| *member != bot) {
            if self.matrix().is_ours(member) {
                self.matrix().leave(&room, member).await?;
                continue;
            }
            match self.matrix().kick(&room, member, "This chat's room was deleted by its owner.").await {
                // They outrank the bot: the room is theirs then.
                Ok(()) | Err(MatrixError::Forbidden { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.matrix().leave(&room, bot).await?;
        fail::fail_point!("states.room_deleted", |_| super::states::die_here());
        self.forget_room(portal.id);
        let alias = self.store().derive().alias(&portal.chat, portal.receiver.as_ref(), text);
        self.store().forget_portal_messages(portal.id).await?;
        self.store().forget_portal_room(portal.id, text, &alias).await?;
        self.wake_spaces();
        Ok(())
    }
}
