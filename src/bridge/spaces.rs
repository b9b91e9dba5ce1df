//! The space of each login: a room for clients to show its chats under.
//!
//! What a space shall hold is known from the portals, what it holds from `space_room`; a look compares the two and sets what differs.
//! Setting a child again makes no event, and the space itself has a fixed alias, so a kill makes
//! nothing twice. Who leaves their space is not brought back but by their own command.

use super::Bridge;
use super::budget::{Cost, in_background};
use super::people::Halt;
use super::rooms::{room_id, user_id};
use crate::matrix::error::MatrixError;
use crate::matrix::rooms::RoomRecipe;
use crate::store::portals::PortalKind;
use crate::store::spaces::LoginSpace;
use crate::verdict::{Gate, Verdict};
use ruma::OwnedRoomId;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::Notify;

/// The longest time between two looks: a portal may have changed without a word.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pause after a look failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Rooms put in or taken out of one space before the next one's turn.
const BATCH: i64 = 50;
/// The state event that puts a room into a space.
const CHILD: &str = "m.space.child";

/// What wakes the look at the spaces.
#[derive(Default)]
pub struct Spaces {
    wake: Notify,
}

/// What a look at a space left.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

impl Bridge {
    /// Has the spaces looked at soon: a room was made, a login came or went.
    pub fn wake_spaces(&self) {
        self.shared.spaces.wake.notify_one();
    }

    /// Keeps the spaces as they shall be until the process stops; returns at once where there shall be none.
    pub(super) async fn run_spaces(&self) {
        if !self.config().bridge.personal_filtering_spaces {
            return;
        }
        loop {
            let Some(looked) = self.stop().run_until_cancelled(in_background(self.look_at_spaces())).await else {
                return;
            };
            let pause = match looked {
                Ok(Left::Nothing) => LONGEST_PAUSE,
                Ok(Left::More) => Duration::ZERO,
                Err(Halt::Verdict(Verdict::Blocked(Gate::Homeserver))) => {
                    tokio::select! {
                        () = self.stop().cancelled() => return,
                        () = self.matrix().wait_until_reachable() => PAUSE_AFTER_FAILURE,
                    }
                }
                Err(halt) => {
                    tracing::warn!(?halt, "the spaces of chats are not as they shall be; tried again");
                    PAUSE_AFTER_FAILURE
                }
            };
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                // After a failure the pause is kept: rooms that come meanwhile find the same trouble.
                () = self.shared.spaces.wake.notified(), if pause == LONGEST_PAUSE => {}
            }
        }
    }

    async fn look_at_spaces(&self) -> Result<Left, Halt> {
        let (mut left, mut trouble) = (Left::Nothing, None);
        match self.look_at_communities().await {
            Ok(()) => {}
            Err(Halt::Verdict(verdict)) if !matches!(verdict, Verdict::Blocked(_)) => {
                trouble = Some(Halt::Verdict(verdict));
            }
            Err(halt) => return Err(halt),
        }
        match self.look_at_guest_rooms().await {
            Err(Halt::Verdict(verdict)) if !matches!(verdict, Verdict::Blocked(_)) => {
                trouble = Some(Halt::Verdict(verdict));
            }
            looked => looked?,
        }
        let spaces = self.store().login_spaces().await?;
        for space in &spaces {
            let several = spaces.iter().filter(|other| other.is_linked && other.mxid == space.mxid).count() > 1;
            match self.look_at_space(space, several).await {
                Ok(Left::More) => left = Left::More,
                Ok(Left::Nothing) => {}
                // One space that can not be used keeps no other from being.
                Err(Halt::Verdict(verdict)) if !matches!(verdict, Verdict::Blocked(_)) => {
                    trouble = Some(Halt::Verdict(verdict));
                }
                Err(halt) => return Err(halt),
            }
        }
        trouble.map_or(Ok(left), Err)
    }

    async fn look_at_space(&self, space: &LoginSpace, several: bool) -> Result<Left, Halt> {
        if space.has_left {
            return Ok(Left::Nothing);
        }
        if !space.is_linked {
            let Some(room) = &space.room else { return Ok(Left::Nothing) };
            let surplus = self.store().rooms_in_space(room, BATCH).await?;
            return self.take_rooms_out(room, surplus).await;
        }
        let name = if several { format!("WhatsApp +{}", space.login) } else { "WhatsApp".to_owned() };
        let room = match &space.room {
            Some(room) => {
                if space.name != name {
                    let (id, bot) = (room_id(room)?, self.matrix().bot());
                    let content = json!({ "name": name });
                    let set = self.matrix().send_state(&id, bot, "m.room.name", "", &content).await.map(drop);
                    self.or_forget(room, set).await?;
                    self.store().put_login_space(&space.login, &space.mxid, room, &name).await?;
                }
                room.clone()
            }
            None => {
                let made = self.make_space(space, &name).await?;
                fail::fail_point!("states.space", |_| super::states::die_here());
                self.store().put_login_space(&space.login, &space.mxid, made.as_str(), &name).await?;
                made.to_string()
            }
        };
        let missing = self.store().rooms_missing_in_space(&space.login, &room, BATCH).await?;
        let more = i64::try_from(missing.len()).is_ok_and(|missing| missing == BATCH);
        for child in missing {
            let order = self.order_of(&child).await?;
            let content = json!({ "via": [self.matrix().settings().domain], "order": order });
            self.set_child(&room, &child, &content).await?;
            fail::fail_point!("states.space_room", |_| super::states::die_here());
            self.store().room_is_in_space(&room, &child).await?;
        }
        let surplus = self.store().rooms_surplus_in_space(&space.login, &room, BATCH).await?;
        let rest = self.take_rooms_out(&room, surplus).await?;
        Ok(if more { Left::More } else { rest })
    }

    /// Where a room stands in its login's space: what there is one of first, then what is shared, then people; within a kind
    /// clients order by when a room came (specification, "Ordering of children within a space").
    async fn order_of(&self, room: &str) -> Result<&'static str, Halt> {
        Ok(match self.store().find_portal_by_room(room).await?.map(|portal| portal.kind) {
            Some(PortalKind::Own) => "1",
            Some(PortalKind::Status) => "2",
            // A community's space.
            None => "3",
            Some(PortalKind::Group) => "4",
            Some(PortalKind::Channel) => "5",
            Some(PortalKind::Direct) => "6",
        })
    }

    async fn take_rooms_out(&self, space: &str, rooms: Vec<String>) -> Result<Left, Halt> {
        let more = i64::try_from(rooms.len()).is_ok_and(|rooms| rooms == BATCH);
        for child in rooms {
            // A child without `via` is none (specification, "m.space.child").
            self.set_child(space, &child, &json!({})).await?;
            self.store().room_left_space(space, &child).await?;
        }
        Ok(if more { Left::More } else { Left::Nothing })
    }

    pub(super) async fn set_child(&self, space: &str, child: &str, content: &Value) -> Result<(), Halt> {
        let (id, bot) = (room_id(space)?, self.matrix().bot());
        let set = self.matrix().send_state(&id, bot, CHILD, child, content).await.map(drop);
        self.or_forget(space, set).await
    }

    /// A space the bot is no longer in can not be used any more: forgotten, so that the next look makes another.
    pub(super) async fn or_forget(&self, space: &str, done: Result<(), MatrixError>) -> Result<(), Halt> {
        let Err(error) = done else { return Ok(()) };
        if let MatrixError::Forbidden { .. } | MatrixError::NotFound = &error {
            let id = room_id(space)?;
            let is_in = match self.matrix().membership(&id, self.matrix().bot()).await {
                Ok(membership) => membership.as_deref() == Some("join"),
                Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => false,
                Err(other) => return Err(other.into()),
            };
            if !is_in {
                self.store().forget_space(space).await?;
                return Err(Halt::Verdict(Verdict::Later {
                    why: "a space is gone; the next look makes another".into(),
                }));
            }
        }
        Err(error.into())
    }

    async fn make_space(&self, space: &LoginSpace, name: &str) -> Result<OwnedRoomId, Halt> {
        let owner = user_id(&space.mxid)?;
        let alias = self.store().derive().space_alias(&space.login, &space.mxid);
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&alias)),
            name: Some(name.to_owned()),
            topic: Some("Your WhatsApp chats".to_owned()),
            invite: vec![owner],
            state: vec![self.matrix().functional_members()],
            is_space: true,
            ..RoomRecipe::default()
        };
        self.spend(Cost::Room).await;
        Ok(self.matrix().create_room(&recipe).await?)
    }

    /// Somebody has left a room: if it is their space, it is left alone from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn left_space(&self, room: &str, mxid: &str) -> Result<(), Halt> {
        if self.store().set_space_left(room, mxid, true).await? {
            tracing::info!("somebody has left the space of their chats; it is left alone");
        } else if let Some(community) = self.store().find_community_by_space(room).await? {
            self.store().set_membership(community, mxid, "leave").await?;
        }
        Ok(())
    }

    /// Invites somebody to the spaces of their logins again; how many there are.
    ///
    /// # Errors
    /// When database or homeserver fail.
    pub async fn invite_to_spaces(&self, mxid: &str) -> Result<usize, Halt> {
        self.store().set_space_left("", mxid, false).await?;
        let spaces = self.store().login_spaces().await?;
        let mut count = 0;
        for space in spaces.iter().filter(|space| space.mxid == mxid && space.is_linked) {
            if let Some(room) = &space.room {
                let invited = self.matrix().invite(&room_id(room)?, &user_id(mxid)?).await;
                self.or_forget(room, invited).await.or_else(|halt| match halt {
                    Halt::Verdict(Verdict::Later { .. }) => Ok(()),
                    halt => Err(halt),
                })?;
            }
            count += 1;
        }
        self.wake_spaces();
        Ok(count)
    }
}
