//! Chats and their rooms.

use super::logins::Login;
use super::{Named, Result, Store, StoreError, Tx};
use crate::ids::{ChatId, LoginId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A chat and its room.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Its number here.
    pub id: PortalId,
    /// The chat.
    pub chat: ChatId,
    /// The login a direct chat belongs to; none for shared chats.
    pub receiver: Option<LoginId>,
    /// What kind of chat.
    pub kind: PortalKind,
    /// The room, once it exists.
    pub room: Option<String>,
    /// Fixed alias localpart, without the namespace's prefix.
    pub alias: String,
}

/// What kind of chat a portal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortalKind {
    /// With one other person.
    Direct,
    /// With oneself: own notes.
    Own,
    /// With many; several logins may share it.
    Group,
    /// Status posts of a login's contacts, and its own.
    Status,
    /// A channel, where few write and many read; several logins may share it.
    Channel,
}

impl PortalKind {
    fn text(self) -> &'static str {
        match self {
            Self::Direct => "dm",
            Self::Own => "self",
            Self::Group => "group",
            Self::Status => "status",
            Self::Channel => "channel",
        }
    }
}

const FIND_BY_CHAT: &str = "-- portal.find_by_chat
    SELECT portal_id, chat, receiver, kind, room_id, alias FROM portal WHERE chat = $1 AND receiver = $2";
const FIND_BY_ROOM: &str = "-- portal.find_by_room
    SELECT portal_id, chat, receiver, kind, room_id, alias FROM portal
    WHERE portal_id = (SELECT CASE WHEN merged_into = 0 THEN portal_id ELSE merged_into END FROM portal WHERE room_id = $1)";
const LOAD: &str = "-- portal.load
    SELECT portal_id, chat, receiver, kind, room_id, alias FROM portal WHERE portal_id = $1";
const HAS_ROOM: &str = "-- portal.has_room
    SELECT portal_id FROM portal WHERE chat = $1 AND receiver = $2 AND room_id IS NOT NULL";
// Whatever it runs into: of two who put the same chat at once, the alias may be what one of them meets first.
const PUT: &str = "-- portal.put
    INSERT INTO portal (portal_id, chat, receiver, kind, room_id, alias, created_at, merged_into)
    VALUES ($1, $2, $3, $4, NULL, $5, $6, 0) ON CONFLICT DO NOTHING";
const SET_ROOM: &str = "-- portal.set_room
    UPDATE portal SET room_id = $2 WHERE portal_id = $1";
const CLEAR_ROOM: &str = "-- portal.clear_room
    UPDATE portal SET room_id = NULL, alias = $3 WHERE portal_id = $1 AND room_id = $2";
const PRIVATE_ROOMS: &str = "-- portal.private_rooms
    SELECT portal_id, chat, receiver, kind, room_id, alias FROM portal
    WHERE receiver = $1 AND kind IN ('dm', 'self') AND room_id IS NOT NULL AND merged_into = 0 ORDER BY portal_id";
const SHARED_ROOMS: &str = "-- portal.shared_rooms
    SELECT portal.portal_id AS portal_id, chat, receiver, kind, room_id, alias FROM portal
    JOIN portal_login ON portal_login.portal_id = portal.portal_id
    WHERE login_id = $1 AND kind IN ('group', 'channel') AND room_id IS NOT NULL AND merged_into = 0
    ORDER BY portal.portal_id";
const LEAVE_SHARED: [(&str, &str); 2] = [
    (
        "portal.leave_shared",
        "-- portal.leave_shared
        DELETE FROM portal_login WHERE portal_id = $1 AND login_id = $2 AND EXISTS (
            SELECT 1 FROM login WHERE login.login_id = $2 AND state = 'logged_out' AND since = $3)",
    ),
    (
        "portal.leave_channel",
        "-- portal.leave_channel
        DELETE FROM channel_login WHERE portal_id = $1 AND login_id = $2 AND EXISTS (
            SELECT 1 FROM login WHERE login.login_id = $2 AND state = 'logged_out' AND since = $3)",
    ),
];
const MEMBER_PUT: &str = "-- portal_member.put
    INSERT INTO portal_member (portal_id, mxid, membership) VALUES ($1, $2, $3)
    ON CONFLICT (portal_id, mxid) DO UPDATE SET membership = excluded.membership";
// Who gives the room up holds the row until then: what is written behind this is written before or not at all. A condition
// inside of the write itself would be asked of the rows as they were when the write began.
const HOLD_ROOM: &str = "-- portal.hold_room
    UPDATE portal SET room_id = room_id WHERE portal_id = $1 AND room_id = $2";
const MEMBER_FIND: &str = "-- portal_member.find
    SELECT membership FROM portal_member WHERE portal_id = $1 AND mxid = $2";
const MEMBERS_WITH: &str = "-- portal_member.with
    SELECT mxid FROM portal_member WHERE portal_id = $1 AND membership = $2 ORDER BY mxid";
const MEMBERS_FORGET: &str = "-- portal_member.forget
    DELETE FROM portal_member WHERE portal_id = $1";

impl Store {
    /// The portal of a chat, made when new; `owner` is who owns the receiving login. `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_or_make_portal_in(
        &self,
        tx: &mut Tx,
        chat: &ChatId,
        receiver: Option<&LoginId>,
        owner: &str,
        kind: PortalKind,
    ) -> Result<Portal> {
        let receiver_text = receiver.map_or("", LoginId::as_str);
        let find = async |tx: &mut Tx| {
            let row =
                sqlx::query(FIND_BY_CHAT).bind(chat.as_str()).bind(receiver_text).fetch_optional(tx.connection()).await;
            row.named("portal.find_by_chat")?.as_ref().map(read_portal).transpose()
        };
        if let Some(portal) = find(tx).await? {
            return Ok(portal);
        }
        sqlx::query(PUT)
            .bind(self.clock().next_id())
            .bind(chat.as_str())
            .bind(receiver_text)
            .bind(kind.text())
            .bind(self.derive().alias(chat, receiver, owner))
            .bind(self.clock().now_ms())
            .execute(tx.connection())
            .await
            .named("portal.put")?;
        find(tx).await?.ok_or(StoreError::Corrupt { table: "portal", why: "a row just put is not there".into() })
    }

    /// Whether a direct chat of a login has a room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_room_in(&self, tx: &mut Tx, chat: &ChatId, login: &LoginId) -> Result<bool> {
        let row = sqlx::query(HAS_ROOM).bind(chat.as_str()).bind(login.as_str()).fetch_optional(tx.connection()).await;
        Ok(row.named("portal.has_room")?.is_some())
    }

    /// The portal with this number.
    ///
    /// # Errors
    /// When the database fails or no such portal exists.
    pub async fn load_portal(&self, id: PortalId) -> Result<Portal> {
        let row = sqlx::query(LOAD).bind(id.get()).fetch_optional(self.pool()).await.named("portal.load")?;
        row.as_ref()
            .map(read_portal)
            .transpose()?
            .ok_or(StoreError::Corrupt { table: "portal", why: "a row refers to a portal that is gone".into() })
    }

    /// The rooms of a login's direct chats and own notes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn private_rooms_of(&self, login: &LoginId) -> Result<Vec<Portal>> {
        let what = "portal.private_rooms";
        let rows = sqlx::query(PRIVATE_ROOMS).bind(login.as_str()).fetch_all(self.pool()).await.named(what)?;
        rows.iter().map(read_portal).collect()
    }

    /// The rooms of the groups and channels a login takes part in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shared_rooms_of(&self, login: &LoginId) -> Result<Vec<Portal>> {
        let what = "portal.shared_rooms";
        let rows = sqlx::query(SHARED_ROOMS).bind(login.as_str()).fetch_all(self.pool()).await.named(what)?;
        rows.iter().map(read_portal).collect()
    }

    /// Notes that a login, logged out as it was read, takes part in a group or channel no more, as far as the bridge is
    /// concerned: its next link finds out anew. Nothing for chats that are a login's own, and once it is linked again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_shared(&self, portal: &Portal, login: &Login) -> Result<()> {
        if portal.receiver.is_some() {
            return Ok(());
        }
        let mut tx = self.begin("portal.leave_shared").await?;
        for (what, text) in LEAVE_SHARED {
            let left = sqlx::query(text).bind(portal.id.get()).bind(login.id.as_str()).bind(login.since);
            left.execute(tx.connection()).await.named(what)?;
        }
        tx.commit().await
    }

    /// The portal behind a room; behind one that was left for another by a merge, that other's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_portal_by_room(&self, room: &str) -> Result<Option<Portal>> {
        let row =
            sqlx::query(FIND_BY_ROOM).bind(room).fetch_optional(self.pool()).await.named("portal.find_by_room")?;
        row.as_ref().map(read_portal).transpose()
    }

    /// Records a portal's room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_portal_room(&self, id: PortalId, room: &str) -> Result<()> {
        self.write("portal.set_room", sqlx::query(SET_ROOM).bind(id.get()).bind(room)).await.map(drop)
    }

    /// As [`Store::set_portal_room`]; `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn set_portal_room_in(&self, tx: &mut Tx, id: PortalId, room: &str) -> Result<()> {
        let set = sqlx::query(SET_ROOM).bind(id.get()).bind(room).execute(tx.connection()).await;
        set.named("portal.set_room").map(drop)
    }

    /// Forgets a portal's room with all it shows and who was in it, when that room can not be used any more; the next message
    /// makes a new one under `alias`. False when the portal has another room by now: nothing is changed then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_portal_room(&self, portal: &Portal, room: &str, alias: &str) -> Result<bool> {
        let id = portal.id.get();
        let mut tx = self.begin("portal.clear_room").await?;
        let cleared = sqlx::query(CLEAR_ROOM).bind(id).bind(room).bind(alias).execute(tx.connection()).await;
        if cleared.named("portal.clear_room")?.rows_affected() == 0 {
            return Ok(false);
        }
        self.forget_members_in(&mut tx, portal.id).await?;
        self.drop_plumbed_in(&mut tx, portal.id).await?;
        self.put_former_room_in(&mut tx, room).await?;
        self.nothing_is_shown_in(&mut tx, portal).await?;
        // With marks of now: work that has failed in the old room does not wait for its next turn.
        match portal.kind {
            PortalKind::Group => self.mark_group_unsettled_in(&mut tx, portal.id).await?,
            PortalKind::Channel => self.mark_channel_in(&mut tx, portal.id).await?,
            _ => {}
        }
        tx.commit().await?;
        match portal.kind {
            PortalKind::Group => self.ring_groups(),
            PortalKind::Channel => self.ring_channels(),
            _ => {}
        }
        Ok(true)
    }

    /// Forgets who is in a portal's room; `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_members_in(&self, tx: &mut Tx, id: PortalId) -> Result<()> {
        let forgot = sqlx::query(MEMBERS_FORGET).bind(id.get()).execute(tx.connection()).await;
        forgot.named("portal_member.forget").map(drop)
    }

    /// Whether a room is a portal's until `tx` ends: nobody gives it up meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn hold_room_in(&self, tx: &mut Tx, id: PortalId, room: &str) -> Result<bool> {
        let held = sqlx::query(HOLD_ROOM).bind(id.get()).bind(room).execute(tx.connection()).await;
        Ok(held.named("portal.hold_room")?.rows_affected() > 0)
    }

    /// Records how far somebody got into a portal's room: `invite`, `join` or `leave`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_membership(&self, id: PortalId, mxid: &str, membership: &str) -> Result<()> {
        let write = sqlx::query(MEMBER_PUT).bind(id.get()).bind(mxid).bind(membership);
        self.write("portal_member.put", write).await.map(drop)
    }

    /// As [`Store::set_membership`], as long as `room` is the portal's: it may have got another while somebody went in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_membership_in_room(&self, id: PortalId, room: &str, mxid: &str, membership: &str) -> Result<()> {
        let mut tx = self.begin("portal_member.put_in_room").await?;
        if self.hold_room_in(&mut tx, id, room).await? {
            let put = sqlx::query(MEMBER_PUT).bind(id.get()).bind(mxid).bind(membership);
            put.execute(tx.connection()).await.named("portal_member.put")?;
        }
        tx.commit().await
    }

    /// Who got as far as `membership` into a portal's room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_with(&self, id: PortalId, membership: &str) -> Result<Vec<String>> {
        let rows = sqlx::query(MEMBERS_WITH).bind(id.get()).bind(membership).fetch_all(self.pool()).await;
        let rows = rows.named("portal_member.with")?;
        rows.iter().map(|row| row.try_get("mxid").named("portal_member.with")).collect()
    }

    /// How far somebody got into a portal's room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_membership(&self, id: PortalId, mxid: &str) -> Result<Option<String>> {
        let row = sqlx::query(MEMBER_FIND)
            .bind(id.get())
            .bind(mxid)
            .fetch_optional(self.pool())
            .await
            .named("portal_member.find")?;
        row.map(|row| row.try_get("membership")).transpose().named("portal_member.find")
    }
}

pub(super) fn read_portal(row: &AnyRow) -> Result<Portal> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("portal.read");
    let receiver = text("receiver")?;
    let kind = match text("kind")?.as_str() {
        "dm" => PortalKind::Direct,
        "self" => PortalKind::Own,
        "group" => PortalKind::Group,
        "status" => PortalKind::Status,
        "channel" => PortalKind::Channel,
        _ => return Err(StoreError::Corrupt { table: "portal", why: "unknown kind".into() }),
    };
    Ok(Portal {
        id: PortalId::new(row.try_get("portal_id").named("portal.read")?),
        chat: ChatId::new(text("chat")?),
        receiver: (!receiver.is_empty()).then(|| LoginId::new(receiver)),
        kind,
        room: row.try_get("room_id").named("portal.read")?,
        alias: text("alias")?,
    })
}
