//! Spaces: the room that holds a login's chats, and which rooms have been put into which space.
//!
//! What a space shall hold follows from the portals; the rows here are what was reached, so that a restart goes on where
//! it was.

use super::{Named, Result, Store};
use crate::ids::LoginId;
use sqlx::Row;
use sqlx::any::AnyRow;

/// The space of a login and its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSpace {
    /// The login.
    pub login: LoginId,
    /// Who owns, or owned, the login.
    pub mxid: String,
    /// The room, once it exists.
    pub room: Option<String>,
    /// The name it has.
    pub name: String,
    /// Whether the owner has gone away: then it is left alone.
    pub has_left: bool,
    /// Whether the login is linked and theirs.
    pub is_linked: bool,
}

const LIST: &str = "-- space.list
    SELECT login.login_id AS login_id, login.mxid AS mxid, room_id, COALESCE(name, '') AS name,
           COALESCE(has_left, 0) AS has_left, 1 AS is_linked
    FROM login LEFT JOIN login_space ON login_space.login_id = login.login_id AND login_space.mxid = login.mxid
    WHERE login.state = 'linked'
    UNION ALL
    SELECT login_id, mxid, room_id, name, has_left, 0 AS is_linked FROM login_space
    WHERE NOT EXISTS (SELECT 1 FROM login WHERE login.login_id = login_space.login_id
                      AND login.mxid = login_space.mxid AND login.state = 'linked')
    ORDER BY login_id, mxid";
const PUT: &str = "-- space.put
    INSERT INTO login_space (login_id, mxid, room_id, name, has_left) VALUES ($1, $2, $3, $4, 0)
    ON CONFLICT (login_id, mxid) DO UPDATE SET room_id = excluded.room_id, name = excluded.name";
const CLEAR: &str = "-- space.clear
    UPDATE login_space SET room_id = NULL, name = '' WHERE room_id = $1";
const LEFT: &str = "-- space.left
    UPDATE login_space SET has_left = $3 WHERE mxid = $2 AND (room_id = $1 OR $1 = '')";
const CLEAR_COMMUNITY: &str = "-- space.clear_community
    DELETE FROM community_space WHERE room_id = $1";
const CLEAR_ROOMS: &str = "-- space.clear_rooms
    DELETE FROM space_room WHERE space = $1";
// A direct chat belongs to one login; a shared one is in the space of each login that takes part. A community's groups are
// in its space, and that is in the login's.
const MISSING: &str = "-- space.missing
    SELECT room_id FROM (
        SELECT portal.room_id AS room_id FROM portal
        JOIN portal_login ON portal_login.portal_id = portal.portal_id AND portal_login.login_id = $1
        WHERE portal.room_id IS NOT NULL AND portal.merged_into = 0 AND (portal.receiver = $1 OR portal.receiver = '')
            AND NOT EXISTS (SELECT 1 FROM space_room JOIN community_space ON community_space.room_id = space_room.space
                            WHERE space_room.room_id = portal.room_id)
        UNION
        SELECT community_space.room_id AS room_id FROM community_space
        JOIN portal_login ON portal_login.portal_id = community_space.portal_id AND portal_login.login_id = $1
    ) AS wanted
    WHERE NOT EXISTS (SELECT 1 FROM space_room WHERE space_room.space = $2 AND space_room.room_id = wanted.room_id)
    ORDER BY room_id LIMIT $3";
const SURPLUS: &str = "-- space.surplus
    SELECT room_id FROM space_room AS held WHERE space = $2
        AND NOT EXISTS (
            SELECT 1 FROM portal
            JOIN portal_login ON portal_login.portal_id = portal.portal_id AND portal_login.login_id = $1
            WHERE portal.room_id = held.room_id AND portal.merged_into = 0
                AND (portal.receiver = $1 OR portal.receiver = '')
                AND NOT EXISTS (SELECT 1 FROM space_room JOIN community_space ON community_space.room_id = space_room.space
                                WHERE space_room.room_id = portal.room_id))
        AND NOT EXISTS (
            SELECT 1 FROM community_space
            JOIN portal_login ON portal_login.portal_id = community_space.portal_id AND portal_login.login_id = $1
            WHERE community_space.room_id = held.room_id)
    ORDER BY room_id LIMIT $3";
const ALL: &str = "-- space.all
    SELECT room_id FROM space_room WHERE space = $1 ORDER BY room_id LIMIT $2";
const ADD: &str = "-- space.add
    INSERT INTO space_room (space, room_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REMOVE: &str = "-- space.remove
    DELETE FROM space_room WHERE space = $1 AND room_id = $2";

const PUT_GUEST: &str = "-- guest_room.put
    INSERT INTO guest_room (space, room_id, mxid) VALUES ($1, $2, $3)
    ON CONFLICT (space, room_id) DO UPDATE SET mxid = excluded.mxid";
const HAS_GUEST: &str = "-- guest_room.has
    SELECT 1 AS one FROM guest_room WHERE space = $1 AND room_id = $2";
const DROP_GUEST: &str = "-- guest_room.drop
    DELETE FROM guest_room WHERE space = $1 AND room_id = $2";
const STALE_GUESTS: &str = "-- guest_room.stale
    SELECT space, room_id FROM guest_room WHERE NOT EXISTS (
        SELECT 1 FROM portal JOIN portal_login ON portal_login.portal_id = portal.portal_id
        JOIN login ON login.login_id = portal_login.login_id
        WHERE portal.room_id = guest_room.room_id AND login.mxid = guest_room.mxid)
    ORDER BY space, room_id LIMIT 100";

impl Store {
    /// Notes that somebody wants a room in a space of theirs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_guest_room(&self, space: &str, room: &str, mxid: &str) -> Result<()> {
        self.write("guest_room.put", sqlx::query(PUT_GUEST).bind(space).bind(room).bind(mxid)).await.map(drop)
    }

    /// Whether a room was put into a space by command.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_guest_room(&self, space: &str, room: &str) -> Result<bool> {
        let row = sqlx::query(HAS_GUEST).bind(space).bind(room).fetch_optional(self.pool()).await;
        Ok(row.named("guest_room.has")?.is_some())
    }

    /// Notes that a room is in a space of somebody's no longer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_guest_room(&self, space: &str, room: &str) -> Result<()> {
        self.write("guest_room.drop", sqlx::query(DROP_GUEST).bind(space).bind(room)).await.map(drop)
    }

    /// Spaces and rooms in them whose people have no account in the room's chat any more, at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_guest_rooms(&self) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query(STALE_GUESTS).fetch_all(self.pool()).await.named("guest_room.stale")?;
        let text = |row: &AnyRow, column: &'static str| row.try_get::<String, _>(column).named("guest_room.stale");
        rows.iter().map(|row| Ok((text(row, "space")?, text(row, "room_id")?))).collect()
    }

    /// The spaces of all logins: of linked ones whether they have one yet or not, of others where they had one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn login_spaces(&self) -> Result<Vec<LoginSpace>> {
        let rows = sqlx::query(LIST).fetch_all(self.pool()).await.named("space.list")?;
        let read = |row: &AnyRow| -> std::result::Result<LoginSpace, sqlx::Error> {
            Ok(LoginSpace {
                login: LoginId::new(row.try_get::<String, _>("login_id")?),
                mxid: row.try_get("mxid")?,
                room: row.try_get("room_id")?,
                name: row.try_get("name")?,
                has_left: row.try_get::<i64, _>("has_left")? != 0,
                is_linked: row.try_get::<i64, _>("is_linked")? != 0,
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("space.list")
    }

    /// Records a login's space and the name it has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_login_space(&self, login: &LoginId, mxid: &str, room: &str, name: &str) -> Result<()> {
        let write = sqlx::query(PUT).bind(login.as_str()).bind(mxid).bind(room).bind(name);
        self.write("space.put", write).await.map(drop)
    }

    /// Forgets a space that can not be used any more, and what is in it; the next look makes another.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_space(&self, room: &str) -> Result<()> {
        let mut tx = self.begin("space.clear").await?;
        sqlx::query(CLEAR).bind(room).execute(tx.connection()).await.named("space.clear")?;
        sqlx::query(CLEAR_COMMUNITY).bind(room).execute(tx.connection()).await.named("space.clear_community")?;
        sqlx::query(CLEAR_ROOMS).bind(room).execute(tx.connection()).await.named("space.clear_rooms")?;
        tx.commit().await
    }

    /// Records whether the owner of a space has gone away from it; `room` empty: from all of theirs. False when no such
    /// space is theirs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_space_left(&self, room: &str, mxid: &str, has_left: bool) -> Result<bool> {
        let write = sqlx::query(LEFT).bind(room).bind(mxid).bind(i64::from(has_left));
        Ok(self.write("space.left", write).await?.affected > 0)
    }

    /// Rooms of a login's chats that are not in its space yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_missing_in_space(&self, login: &LoginId, space: &str, limit: i64) -> Result<Vec<String>> {
        let rows = sqlx::query(MISSING).bind(login.as_str()).bind(space).bind(limit).fetch_all(self.pool()).await;
        rooms(rows.named("space.missing")?)
    }

    /// Rooms that are in a login's space and are no chat of it any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_surplus_in_space(&self, login: &LoginId, space: &str, limit: i64) -> Result<Vec<String>> {
        let rows = sqlx::query(SURPLUS).bind(login.as_str()).bind(space).bind(limit).fetch_all(self.pool()).await;
        rooms(rows.named("space.surplus")?)
    }

    /// Rooms that are in a space.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_in_space(&self, space: &str, limit: i64) -> Result<Vec<String>> {
        let rows = sqlx::query(ALL).bind(space).bind(limit).fetch_all(self.pool()).await;
        rooms(rows.named("space.all")?)
    }

    /// Records that a room is in a space.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_is_in_space(&self, space: &str, room: &str) -> Result<()> {
        self.write("space.add", sqlx::query(ADD).bind(space).bind(room)).await.map(drop)
    }

    /// Records that a room is in a space no longer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_left_space(&self, space: &str, room: &str) -> Result<()> {
        self.write("space.remove", sqlx::query(REMOVE).bind(space).bind(room)).await.map(drop)
    }
}

fn rooms(rows: Vec<AnyRow>) -> Result<Vec<String>> {
    rows.iter().map(|row| row.try_get("room_id").named("space.rooms")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, DeviceKey, GhostId};
    use crate::store::logins::{Farewell, Own, Owner};
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_space_holds_the_rooms_of_its_login => holds; }

    async fn holds(store: Store) {
        let (login, other) = (LoginId::new("1"), LoginId::new("2"));
        let mut tx = store.begin("test").await.unwrap();
        let pn = GhostId::new("1@s.whatsapp.net");
        for (login, device) in [(&login, "d1"), (&other, "d2")] {
            let own = Own { lid: None, pn: &pn };
            assert!(store.put_login_in(&mut tx, login, "@a:b", &DeviceKey::new(device), own).await.unwrap());
        }
        let mut portals = Vec::new();
        for (chat, receiver) in [("3@lid", Some(&login)), ("4@lid", Some(&other)), ("5@g.us", None)] {
            let chat = ChatId::new(chat);
            let made = store.find_or_make_portal_in(&mut tx, &chat, receiver, "@a:b", PortalKind::Direct);
            let portal = made.await.unwrap().id;
            for login in receiver.map_or(vec![&login, &other], |receiver| vec![receiver]) {
                store.join_portal_in(&mut tx, portal, login).await.unwrap();
            }
            portals.push(portal);
        }
        tx.commit().await.unwrap();
        for (portal, room) in portals.iter().zip(["!three", "!four", "!five"]) {
            store.set_portal_room(*portal, room).await.unwrap();
        }
        let spaces = store.login_spaces().await.unwrap();
        assert!(spaces.iter().all(|space| space.room.is_none() && space.is_linked && !space.has_left));
        assert_eq!(spaces.len(), 2);
        store.put_login_space(&login, "@a:b", "!space", "WhatsApp").await.unwrap();
        assert_eq!(store.rooms_missing_in_space(&login, "!space", 10).await.unwrap(), ["!five", "!three"]);
        for room in ["!three", "!five"] {
            store.room_is_in_space("!space", room).await.unwrap();
        }
        assert!(store.rooms_missing_in_space(&login, "!space", 10).await.unwrap().is_empty());
        assert!(store.rooms_surplus_in_space(&login, "!space", 10).await.unwrap().is_empty());
        // The chat gets another room.
        store.set_portal_room(portals[0], "!third").await.unwrap();
        assert_eq!(store.rooms_missing_in_space(&login, "!space", 10).await.unwrap(), ["!third"]);
        assert_eq!(store.rooms_surplus_in_space(&login, "!space", 10).await.unwrap(), ["!three"]);
        store.room_left_space("!space", "!three").await.unwrap();
        assert_eq!(store.rooms_in_space("!space", 10).await.unwrap(), ["!five"]);
        assert!(!store.set_space_left("!space", "@mallory:b", true).await.unwrap());
        assert!(store.set_space_left("!space", "@a:b", true).await.unwrap());
        store.log_out(&login, &DeviceKey::new("d1"), "", Farewell::Asked, Owner::Knows).await.unwrap();
        let spaces = store.login_spaces().await.unwrap();
        let left = spaces.iter().find(|space| space.login == login).unwrap();
        assert!(left.has_left && !left.is_linked && left.name == "WhatsApp");
        store.forget_space("!space").await.unwrap();
        assert!(store.rooms_in_space("!space", 10).await.unwrap().is_empty());
        for (room, mxid) in [("!five", "@a:b"), ("!five-of-nobody", "@a:b"), ("!four", "@c:d")] {
            store.put_guest_room("!theirs", room, mxid).await.unwrap();
        }
        let stale =
            [("!theirs", "!five-of-nobody"), ("!theirs", "!four")].map(|(space, room)| (space.into(), room.into()));
        assert_eq!(store.stale_guest_rooms().await.unwrap(), stale);
        store.drop_guest_room("!theirs", "!four").await.unwrap();
        assert!(!store.has_guest_room("!theirs", "!four").await.unwrap());
        assert!(store.has_guest_room("!theirs", "!five").await.unwrap());
    }
}
