//! Groups' rooms in spaces that are not the bridge's: put in by people who may, taken out when they are in the group no more.
//!
//! Only what was put in by command is ever taken out; what somebody has put into a space with their own client is theirs. A
//! row is written before the space is changed, so a kill in between leaves nothing that is not taken out later.

use super::Bridge;
use super::people::Halt;
use super::plumbing::power_of;
use super::rooms::{room_id, user_id};
use crate::matrix::error::MatrixError;
use crate::store::portals::Portal;
use ruma::{OwnedRoomId, RoomId};
use serde_json::{Value, json};

const CHILD: &str = "m.space.child";

/// What shall become of a room in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is in it.
    In,
    /// It is not.
    Out,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is so.
    Done,
    /// The bot is not in such a room.
    NotThere,
    /// The room is no space.
    NoSpace,
    /// Who asked may not change the space.
    NotYours,
    /// The bot may not.
    NotMine,
    /// It was put in by somebody's own client.
    NotByMe,
}

impl Bridge {
    /// Puts a group's room into a space that somebody names by its id, address or link, or takes it out, where both they and
    /// the bot may.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(crate) async fn place_in_space(
        &self,
        portal: &Portal,
        mxid: &str,
        named: &str,
        place: Place,
    ) -> Result<Placed, Halt> {
        let Some(room) = &portal.room else { return Ok(Placed::NotThere) };
        let Some(space) = self.find_space(named).await? else { return Ok(Placed::NotThere) };
        let create = match self.matrix().get_state(&space, "m.room.create", "").await {
            Ok(create) => create.unwrap_or_default(),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => return Ok(Placed::NotThere),
            Err(error) => return Err(error.into()),
        };
        let is_in = match self.matrix().membership(&space, self.matrix().bot()).await {
            Ok(membership) => membership.as_deref() == Some("join"),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        if !is_in {
            return Ok(Placed::NotThere);
        }
        if create["type"] != "m.space" {
            return Ok(Placed::NoSpace);
        }
        let theirs = self.matrix().membership(&space, &user_id(mxid)?).await?;
        if theirs.as_deref() != Some("join") || !self.may_set_state(&space, mxid, &create, CHILD).await? {
            return Ok(Placed::NotYours);
        }
        let content = match place {
            Place::In => {
                // What they have put there themselves stays theirs.
                let held = self.matrix().get_state(&space, CHILD, room).await?.unwrap_or_default();
                if held["via"].as_array().is_some_and(|via| !via.is_empty()) {
                    return Ok(Placed::Done);
                }
                self.store().put_guest_room(space.as_str(), room, mxid).await?;
                fail::fail_point!("states.guest_room", |_| super::states::die_here());
                json!({ "via": [self.matrix().settings().domain] })
            }
            Place::Out if self.store().has_guest_room(space.as_str(), room).await? => json!({}),
            Place::Out => return Ok(Placed::NotByMe),
        };
        match self.matrix().send_state(&space, self.matrix().bot(), CHILD, room, &content).await {
            Ok(_) => {}
            Err(MatrixError::Forbidden { .. }) => {
                if place == Place::In {
                    self.store().drop_guest_room(space.as_str(), room).await?;
                }
                return Ok(Placed::NotMine);
            }
            Err(error) => return Err(error.into()),
        }
        if place == Place::Out {
            self.store().drop_guest_room(space.as_str(), room).await?;
        }
        Ok(Placed::Done)
    }

    /// A room by its id, address, or a link to one of them.
    async fn find_space(&self, named: &str) -> Result<Option<OwnedRoomId>, Halt> {
        let named = named.split_once("#/").map_or(named, |(_, behind)| behind);
        let named = named.split(['?', '/']).next().unwrap_or_default().replace("%23", "#").replace("%3A", ":");
        if named.starts_with('#') {
            return match self.matrix().find_alias(&named).await {
                Ok(room) => Ok(room),
                Err(MatrixError::Forbidden { .. } | MatrixError::NotFound | MatrixError::Refused { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
        Ok(RoomId::parse(named.replace("%21", "!")).ok())
    }

    /// Whether somebody may set a kind of state in a room (specification, "m.room.power_levels"); who made a room of version
    /// 12 or later may do all.
    pub(super) async fn may_set_state(
        &self,
        room: &RoomId,
        mxid: &str,
        create: &Value,
        kind: &str,
    ) -> Result<bool, Halt> {
        let powers = self.matrix().get_state(room, "m.room.power_levels", "").await?.unwrap_or_default();
        Ok(self.is_creator(room, mxid, create).await? || power_of(&powers, mxid) >= power_for(&powers, kind))
    }

    async fn is_creator(&self, room: &RoomId, mxid: &str, create: &Value) -> Result<bool, Halt> {
        let version: u32 = create["room_version"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0);
        if version < 12 {
            return Ok(false);
        }
        let others = create["additional_creators"].as_array();
        if others.is_some_and(|others| others.iter().any(|other| other == mxid)) {
            return Ok(true);
        }
        Ok(self.matrix().creator_of(room).await?.as_deref() == Some(mxid))
    }

    /// Takes groups out of spaces whose people are in them no more.
    pub(super) async fn look_at_guest_rooms(&self) -> Result<(), Halt> {
        for (space, room) in self.store().stale_guest_rooms().await? {
            let taken =
                self.matrix().send_state(&room_id(&space)?, self.matrix().bot(), CHILD, &room, &json!({})).await;
            match taken {
                // The space is not ours to change any more.
                Ok(_) | Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
            self.store().drop_guest_room(&space, &room).await?;
        }
        Ok(())
    }
}

fn power_for(powers: &Value, kind: &str) -> i64 {
    let default = powers["state_default"].as_i64().unwrap_or(50);
    powers["events"].get(kind).and_then(Value::as_i64).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_what_is_said_of_somebody_or_of_everybody() {
        let powers = json!({ "users": { "@a:b": 50 }, "users_default": 10, "events": { "m.space.child": 20 } });
        assert_eq!((power_of(&powers, "@a:b"), power_of(&powers, "@c:b")), (50, 10));
        assert_eq!((power_for(&powers, "m.space.child"), power_for(&powers, "m.room.name")), (20, 50));
        assert_eq!((power_of(&Value::Null, "@a:b"), power_for(&Value::Null, "x")), (0, 50));
    }
}
