//! A chat's room given up: everybody is taken out, or the bridge leaves it to its people; and what the bridge knows of it is
//! forgotten.
//!
//! WhatsApp keeps the chat, or its next message begins it anew with a new room. Each step may be repeated, the row that knows
//! the room goes last. What is deleted by command goes another way (`deletions`).

use super::Bridge;
use super::budget::Cost;
use super::people::Halt;
use super::rooms::room_id;
use crate::matrix::error::MatrixError;
use crate::store::portals::Portal;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ruma::{OwnedUserId, RoomId};
use std::collections::BTreeSet;

/// People taken out of one room at the same time.
const PEOPLE: usize = 4;
/// How often it is looked who is in a room before the bot leaves it.
const LOOKS: usize = 5;
/// What is said to people who are taken out.
const GONE: &str = "This chat's room was deleted.";

impl Bridge {
    /// Takes everybody out of a chat's room and forgets it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; repeating goes on where it was.
    pub async fn delete_room(&self, portal: &Portal) -> Result<(), Halt> {
        self.empty_chat_room(portal).await?;
        match &portal.room {
            Some(room) => self.forget_room_of(portal, room).await,
            None => Ok(()),
        }
    }

    /// Takes everybody out of a chat's room; a room the bridge has not made stays with its people. Behind it comes
    /// [`Bridge::forget_room_of`].
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails; it may be repeated.
    pub(super) async fn empty_chat_room(&self, portal: &Portal) -> Result<(), Halt> {
        let Some(text) = &portal.room else { return Ok(()) };
        let room = room_id(text)?;
        let stays = self.is_of_others(&room).await?;
        if stays {
            self.undress(&room, &portal.alias).await?;
        }
        self.empty_room(&room, stays).await?;
        fail::fail_point!("states.room_deleted", |_| super::states::die_here());
        Ok(())
    }

    /// Takes the bridge's own people out of a room, and the others too unless it stays theirs; the bot last.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails; repeating goes on where it was.
    pub(super) async fn empty_room(&self, room: &RoomId, stays: bool) -> Result<(), Halt> {
        let bot = self.matrix().bot();
        let mut may_stay = BTreeSet::new();
        // Work that was under way brings people in behind the first look; without the bot nobody takes them out any more.
        for _ in 0..LOOKS {
            let mut members = self.people_in(room).await?;
            if members.is_empty() {
                return Ok(());
            }
            if !stays {
                // Who never came has an invitation that leads nowhere.
                members.extend(self.matrix().invited_members(room).await?);
            }
            members.retain(|member| member != bot && (!stays || self.matrix().is_ours(member)));
            members.retain(|member| !may_stay.contains(member));
            if members.is_empty() {
                break;
            }
            self.take_all_out_of(room, &members).await?;
            // The homeserver has its reasons.
            may_stay.extend(members.into_iter().filter(|member| !self.matrix().is_ours(member)));
        }
        Ok(self.matrix().leave(room, bot).await?)
    }

    async fn take_all_out_of(&self, room: &RoomId, members: &BTreeSet<OwnedUserId>) -> Result<(), Halt> {
        let mut members = members.iter();
        let mut going = FuturesUnordered::new();
        let mut all = Ok(());
        loop {
            while going.len() < PEOPLE && all.is_ok() {
                let Some(member) = members.next() else { break };
                going.push(self.take_out_of(room, member));
            }
            match going.next().await {
                Some(Ok(())) => {}
                Some(Err(halt)) => all = Err(halt),
                None => return all,
            }
        }
    }

    async fn take_out_of(&self, room: &RoomId, member: &OwnedUserId) -> Result<(), Halt> {
        self.spend(Cost::Membership).await;
        if self.matrix().is_ours(member) {
            return Ok(self.matrix().leave(room, member).await?);
        }
        match self.matrix().kick(room, member, GONE).await {
            // They outrank the bot: the room is theirs then.
            Ok(()) | Err(MatrixError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Who is in a room; nobody once the bot has left it.
    pub(super) async fn people_in(&self, room: &RoomId) -> Result<BTreeSet<OwnedUserId>, Halt> {
        match self.matrix().joined_members(room).await {
            Ok(members) => Ok(members),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => Ok(BTreeSet::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets a room that the bot has left: the chat's next message makes another.
    ///
    /// # Errors
    /// [`Halt`] when the database fails; it may be repeated.
    pub(super) async fn forget_room_of(&self, portal: &Portal, room: &str) -> Result<(), Halt> {
        let alias = self.store().derive().alias(&portal.chat, portal.receiver.as_ref(), room);
        let mut tx = self.store().begin("removal.give_up").await?;
        self.store().give_up_room_in(&mut tx, portal, room, &alias).await?;
        tx.commit().await?;
        self.forget_room(portal.id);
        self.wake_spaces();
        Ok(())
    }
}
