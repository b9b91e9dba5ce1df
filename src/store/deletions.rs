//! Rooms that are given up by command: what was asked for, and which rooms the bridge is still on its way out of.
//!
//! A room is given up in one transaction: the chat forgets it with its messages, and its next message makes a new one. Taking
//! everybody out of the old one follows, room by room, and goes on after a restart.

use super::{Named, Result, Store, Tx};
use crate::ids::PortalId;
use crate::store::portals::{Portal, PortalKind};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What is told of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// That it is done.
    One,
    /// How far it is, in one notice that is edited.
    All,
    /// Nothing: who asked is told otherwise.
    Quiet,
}

impl Telling {
    fn text(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::All => "all",
            Self::Quiet => "quiet",
        }
    }
}

/// Which rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doomed {
    /// Every chat's.
    All,
    /// This chat's.
    Of(PortalId),
}

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The command's event.
    pub cause: String,
    /// What is told of it.
    pub telling: Telling,
    /// Where.
    pub tell_room: String,
    /// The notice that is edited; empty before it was sent.
    pub notice: String,
    /// What the notice says.
    pub told: String,
    /// How many rooms there are.
    pub rooms: i64,
}

/// A room on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRoom {
    /// The room.
    pub room: String,
    /// Whose room it is until it is given up.
    pub portal: Option<PortalId>,
    /// What asked for it.
    pub cause: String,
    /// The chat's alias as the room knows it.
    pub alias: String,
    /// The room the chat goes on in, where the old one is told.
    pub goes_on: Option<String>,
    /// Whether it stays as a room of its people.
    pub keeps_people: bool,
    /// Failed tries.
    pub tries: i64,
    /// When it is tried next, milliseconds since 1970.
    pub due_at: i64,
}

/// What becomes of the people in a room that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// They are taken out, unless the room is one the bridge has not made.
    Goes,
    /// It stays theirs.
    Stays,
    /// It stays, and says in which room the chat goes on.
    GoesOn(String),
}

const PUT: &str = "-- deletion.put
    INSERT INTO deletion (cause, kind, tell_room, notice, told, rooms, ended_at) VALUES ($1, $2, $3, '', '', 0, 0)
    ON CONFLICT (cause) DO NOTHING";
const DOOM: &str = "-- left_room.doom
    INSERT INTO left_room (room_id, portal_id, cause, alias, goes_on, keeps_people, tries, due_at, failed)
    SELECT room_id, portal_id, $1, alias, $2, $3, 0, 0, 0 FROM portal WHERE room_id IS NOT NULL AND (portal_id = $4 OR $4 = 0)
    ON CONFLICT (room_id) DO UPDATE SET portal_id = excluded.portal_id, cause = excluded.cause, alias = excluded.alias,
        goes_on = excluded.goes_on, keeps_people = excluded.keeps_people, tries = 0, due_at = 0, failed = 0
    WHERE left_room.portal_id = 0";
const COUNT: &str = "-- deletion.count
    UPDATE deletion SET rooms = (SELECT COUNT(*) FROM left_room WHERE left_room.cause = deletion.cause) WHERE cause = $1";
const HAS: &str = "-- deletion.has
    SELECT 1 AS one FROM deletion WHERE cause = $1";
const LEAVES_FOR: &str = "-- left_room.leaves_for
    SELECT cause FROM left_room WHERE room_id = $1 AND portal_id > 0";
const OPEN: &str = "-- deletion.open
    SELECT cause, kind, tell_room, notice, told, rooms FROM deletion WHERE ended_at = 0 ORDER BY cause";
const TOLD: &str = "-- deletion.told
    UPDATE deletion SET notice = $2, told = $3 WHERE cause = $1";
const ENDED: &str = "-- deletion.ended
    UPDATE deletion SET ended_at = $2 WHERE cause = $1";
const WAITING: &str = "-- left_room.waiting
    SELECT room_id, portal_id, cause, alias, goes_on, keeps_people, tries, due_at FROM left_room
    WHERE failed = 0 AND (CASE WHEN cause IN (SELECT cause FROM deletion WHERE kind = 'all') THEN 1 ELSE 0 END) = $2
    ORDER BY due_at, room_id LIMIT $1";
const IS_BEING_LEFT: &str = "-- left_room.is_being_left
    SELECT 1 AS one FROM left_room WHERE room_id = $1 AND failed = 0";
const HELD: &str = "-- left_room.held
    SELECT room_id, portal_id, cause, alias, goes_on, keeps_people, tries, due_at FROM left_room WHERE portal_id > 0
    ORDER BY room_id";
const LEFT_TO_DO: &str = "-- left_room.of
    SELECT room_id, failed FROM left_room WHERE cause = $1 ORDER BY room_id";
const GIVEN_UP: &str = "-- left_room.given_up
    UPDATE left_room SET portal_id = 0 WHERE room_id = $1";
const AGAIN: &str = "-- left_room.again
    UPDATE left_room SET tries = $2, due_at = $3, failed = $4 WHERE room_id = $1";
const IS_LEFT: &str = "-- left_room.is_left
    DELETE FROM left_room WHERE room_id = $1";
const SWEEP_ROOMS: &str = "-- left_room.sweep
    DELETE FROM left_room WHERE cause IN (SELECT cause FROM deletion WHERE ended_at > 0 AND ended_at < $1)";
const SWEEP: &str = "-- deletion.sweep
    DELETE FROM deletion WHERE ended_at > 0 AND ended_at < $1";
const ROOMS: &str = "-- portal.count_rooms
    SELECT COUNT(*) AS rooms FROM portal WHERE room_id IS NOT NULL";
const CLEAR_ROOM: &str = "-- portal.give_up_room
    UPDATE portal SET room_id = NULL, alias = $3 WHERE portal_id = $1 AND room_id = $2";

// A room that is new shows nothing yet; what is noted is of the one before it. What is marked keeps its mark: the work that
// makes the room goes on with it.
const NEW_GROUP_ROOM: &str = "-- group_chat.new_room
    UPDATE group_chat SET shown = $2, picture_id = '',
        picture_stale = CASE WHEN picture_stale = 0 THEN $3 ELSE picture_stale END,
        unsettled = CASE WHEN unsettled = 0 THEN $3 ELSE unsettled END
    WHERE portal_id = $1";
const NEW_GROUP_PEOPLE: &str = "-- group_member.new_room
    UPDATE group_member SET shown = 0 WHERE portal_id = $1 AND shown <> 0";
const NEW_GROUP_CLOSED: &str = "-- closed_chat.new_room
    DELETE FROM closed_chat WHERE portal_id = $1";
const REST_GROUP: &str = "-- group_chat.rest
    UPDATE group_chat SET unsettled = 0 WHERE portal_id = $1";
const NEW_CHANNEL_ROOM: &str = "-- channel.new_room
    UPDATE channel SET shown = $2, picture = '', unsettled = CASE WHEN unsettled = 0 THEN $3 ELSE unsettled END
    WHERE portal_id = $1";
const GROUP_UNSETTLED: &str = "-- group_chat.is_unsettled
    SELECT 1 AS one FROM group_chat WHERE portal_id = $1 AND unsettled > 0";
const CHANNEL_UNSETTLED: &str = "-- channel.is_unsettled
    SELECT 1 AS one FROM channel WHERE portal_id = $1 AND unsettled > 0";
const REST_CHANNEL: &str = "-- channel.rest
    UPDATE channel SET unsettled = 0 WHERE portal_id = $1";
const NEW_CHANNEL_POSTS: &str = "-- channel_post.new_room
    UPDATE channel_post SET shown = $2, planned = $2 WHERE portal_id = $1";

impl Store {
    /// Writes down what somebody asked for, with the rooms it is about; how many. The same command again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_deletion(
        &self,
        cause: &str,
        telling: Telling,
        tell_room: &str,
        doomed: Doomed,
        farewell: &Farewell,
    ) -> Result<()> {
        let mut tx = self.begin("deletion.put").await?;
        let put = sqlx::query(PUT).bind(cause).bind(telling.text()).bind(tell_room);
        if put.execute(tx.connection()).await.named("deletion.put")?.rows_affected() == 0 {
            return tx.commit().await;
        }
        let goes_on = match farewell {
            Farewell::GoesOn(room) => room.as_str(),
            Farewell::Goes | Farewell::Stays => "",
        };
        let portal = match doomed {
            Doomed::All => 0,
            Doomed::Of(portal) => portal.get(),
        };
        let doom =
            sqlx::query(DOOM).bind(cause).bind(goes_on).bind(i64::from(*farewell != Farewell::Goes)).bind(portal);
        doom.execute(tx.connection()).await.named("left_room.doom")?;
        sqlx::query(COUNT).bind(cause).execute(tx.connection()).await.named("deletion.count")?;
        tx.commit().await
    }

    /// Whether a command's deletion was begun.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_deletion(&self, cause: &str) -> Result<bool> {
        let row = sqlx::query(HAS).bind(cause).fetch_optional(self.pool()).await;
        Ok(row.named("deletion.has")?.is_some())
    }

    /// The command that a room, which its chat still has, is left for; none when it is not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_leaving(&self, room: &str) -> Result<Option<String>> {
        let row = sqlx::query(LEAVES_FOR).bind(room).fetch_optional(self.pool()).await.named("left_room.leaves_for")?;
        row.map(|row| row.try_get("cause").named("left_room.leaves_for")).transpose()
    }

    /// What is not at its end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_deletions(&self) -> Result<Vec<Deletion>> {
        let rows = sqlx::query(OPEN).fetch_all(self.pool()).await.named("deletion.open")?;
        let read = |row: &AnyRow| -> std::result::Result<Deletion, sqlx::Error> {
            let telling = match row.try_get::<String, _>("kind")?.as_str() {
                "one" => Telling::One,
                "all" => Telling::All,
                _ => Telling::Quiet,
            };
            Ok(Deletion {
                cause: row.try_get("cause")?,
                telling,
                tell_room: row.try_get("tell_room")?,
                notice: row.try_get("notice")?,
                told: row.try_get("told")?,
                rooms: row.try_get("rooms")?,
            })
        };
        rows.iter().map(|row| read(row).named("deletion.open")).collect()
    }

    /// Records what a deletion's notice is, and says.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deletion_was_told(&self, cause: &str, notice: &str, told: &str) -> Result<()> {
        let write = sqlx::query(TOLD).bind(cause).bind(notice.to_owned()).bind(told.to_owned());
        self.write("deletion.told", write).await.map(drop)
    }

    /// Records that nothing is left to do or to tell of a deletion.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deletion_has_ended(&self, cause: &str) -> Result<()> {
        self.write("deletion.ended", sqlx::query(ENDED).bind(cause).bind(self.clock().now_ms())).await.map(drop)
    }

    /// Rooms to be left, at most `limit`, those first that are due first: those of commands that delete all rooms, or those of
    /// the other ones.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_to_leave(&self, of_all: bool, limit: i64) -> Result<Vec<LeftRoom>> {
        let rows = sqlx::query(WAITING).bind(limit).bind(i64::from(of_all)).fetch_all(self.pool()).await;
        rows.named("left_room.waiting")?.iter().map(read_left).collect()
    }

    /// Whether the bridge is still on its way out of a room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_being_left(&self, room: &str) -> Result<bool> {
        let row = sqlx::query(IS_BEING_LEFT).bind(room).fetch_optional(self.pool()).await;
        Ok(row.named("left_room.is_being_left")?.is_some())
    }

    /// Rooms to be left that their chats still have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_to_give_up(&self) -> Result<Vec<LeftRoom>> {
        let rows = sqlx::query(HELD).fetch_all(self.pool()).await.named("left_room.held")?;
        rows.iter().map(read_left).collect()
    }

    /// Of a deletion: how many rooms still wait, and those that are left as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_left_of(&self, cause: &str) -> Result<(i64, Vec<String>)> {
        let rows = sqlx::query(LEFT_TO_DO).bind(cause).fetch_all(self.pool()).await.named("left_room.of")?;
        let (mut waiting, mut failed) = (0, Vec::new());
        for row in &rows {
            let room: String = row.try_get("room_id").named("left_room.of")?;
            match row.try_get::<i64, _>("failed").named("left_room.of")? {
                0 => waiting += 1,
                _ => failed.push(room),
            }
        }
        Ok((waiting, failed))
    }

    /// Puts a room off until `due_at`, milliseconds since 1970, or leaves it as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_off_leaving(&self, room: &str, tries: i64, due_at: i64, has_failed: bool) -> Result<()> {
        let write = sqlx::query(AGAIN).bind(room).bind(tries).bind(due_at).bind(i64::from(has_failed));
        self.write("left_room.again", write).await.map(drop)
    }

    /// Records that nobody of the bridge's is in a room any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_is_left(&self, room: &str) -> Result<()> {
        self.write("left_room.is_left", sqlx::query(IS_LEFT).bind(room)).await.map(drop)
    }

    /// Forgets that a room could not be left: it is a chat's again. `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_stays_in(&self, tx: &mut Tx, room: &str) -> Result<()> {
        let stays = sqlx::query(IS_LEFT).bind(room).execute(tx.connection()).await;
        stays.named("left_room.is_left").map(drop)
    }

    /// Deletes what ended before `before`, milliseconds since 1970; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_deletions(&self, before: i64) -> Result<u64> {
        self.write("left_room.sweep", sqlx::query(SWEEP_ROOMS).bind(before)).await?;
        Ok(self.write("deletion.sweep", sqlx::query(SWEEP).bind(before)).await?.affected)
    }

    /// How many rooms chats have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_rooms(&self) -> Result<i64> {
        let row = sqlx::query(ROOMS).fetch_one(self.pool()).await.named("portal.count_rooms")?;
        row.try_get("rooms").named("portal.count_rooms")
    }

    /// Has a chat forget its room with all that was in it; its next message makes another under `alias`. False when it has
    /// that room no more. `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_up_room_in(&self, tx: &mut Tx, portal: &Portal, room: &str, alias: &str) -> Result<bool> {
        let given_up = sqlx::query(GIVEN_UP).bind(room).execute(tx.connection()).await;
        given_up.named("left_room.given_up")?;
        let id = portal.id.get();
        let cleared = sqlx::query(CLEAR_ROOM).bind(id).bind(room).bind(alias).execute(tx.connection()).await;
        if cleared.named("portal.give_up_room")?.rows_affected() == 0 {
            return Ok(false);
        }
        self.put_former_room_in(tx, room).await?;
        self.forget_portal_messages_in(tx, portal.id).await?;
        self.forget_members_in(tx, portal.id).await?;
        self.drop_plumbed_in(tx, portal.id).await?;
        self.nothing_is_shown_in(tx, portal).await?;
        // Nothing is made anew before something comes.
        for (name, text, kind) in
            [("group_chat.rest", REST_GROUP, PortalKind::Group), ("channel.rest", REST_CHANNEL, PortalKind::Channel)]
        {
            if portal.kind == kind {
                sqlx::query(text).bind(id).execute(tx.connection()).await.named(name)?;
            }
        }
        Ok(true)
    }

    /// Records the room that was made for a chat: it shows nothing yet. Ring after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_new_room(&self, portal: &Portal, room: &str) -> Result<()> {
        let mut tx = self.begin("portal.new_room").await?;
        self.put_new_room_in(&mut tx, portal, room).await?;
        tx.commit().await
    }

    /// Whether a chat's room does not show all it should.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_unsettled(&self, portal: &Portal) -> Result<bool> {
        let text = if portal.kind == PortalKind::Channel { CHANNEL_UNSETTLED } else { GROUP_UNSETTLED };
        let row = sqlx::query(text).bind(portal.id.get()).fetch_optional(self.pool()).await;
        Ok(row.named("portal.is_unsettled")?.is_some())
    }

    /// As [`Store::put_new_room`]; `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_new_room_in(&self, tx: &mut Tx, portal: &Portal, room: &str) -> Result<()> {
        self.set_portal_room_in(tx, portal.id, room).await?;
        self.nothing_is_shown_in(tx, portal).await
    }

    pub(super) async fn nothing_is_shown_in(&self, tx: &mut Tx, portal: &Portal) -> Result<()> {
        let id = portal.id.get();
        if portal.kind == PortalKind::Channel {
            let shown = sqlx::query(NEW_CHANNEL_ROOM).bind(id).bind(Vec::<u8>::new()).bind(self.clock().next_id());
            shown.execute(tx.connection()).await.named("channel.new_room")?;
            let posts = sqlx::query(NEW_CHANNEL_POSTS).bind(id).bind(Vec::<u8>::new());
            posts.execute(tx.connection()).await.named("channel_post.new_room")?;
        }
        if portal.kind == PortalKind::Group {
            let shown = sqlx::query(NEW_GROUP_ROOM).bind(id).bind(Vec::<u8>::new()).bind(self.clock().next_id());
            shown.execute(tx.connection()).await.named("group_chat.new_room")?;
            let people = sqlx::query(NEW_GROUP_PEOPLE).bind(id).execute(tx.connection()).await;
            people.named("group_member.new_room")?;
            let closed = sqlx::query(NEW_GROUP_CLOSED).bind(id).execute(tx.connection()).await;
            closed.named("closed_chat.new_room")?;
        }
        Ok(())
    }
}

fn read_left(row: &AnyRow) -> Result<LeftRoom> {
    let read = || -> std::result::Result<LeftRoom, sqlx::Error> {
        let portal: i64 = row.try_get("portal_id")?;
        let goes_on: String = row.try_get("goes_on")?;
        Ok(LeftRoom {
            room: row.try_get("room_id")?,
            portal: (portal > 0).then(|| PortalId::new(portal)),
            cause: row.try_get("cause")?,
            alias: row.try_get("alias")?,
            goes_on: (!goes_on.is_empty()).then_some(goes_on),
            keeps_people: row.try_get::<i64, _>("keeps_people")? != 0,
            tries: row.try_get("tries")?,
            due_at: row.try_get("due_at")?,
        })
    };
    read().named("left_room.read")
}

#[cfg(test)]
mod tests;
