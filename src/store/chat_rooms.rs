//! What a room is to the bridge, read at once for everything that is said there.
//!
//! Each message needs all of it, and a statement costs more than what it reads.

use super::disappearing::ChatTimer;
use super::logins::{Login, read_login};
use super::portals::{Portal, read_portal};
use super::{Named, Result, Store};
use sqlx::Row as _;

// An event is of one room: asked for its chat too, SQLite would look through all that the chat has.
// Whom an account has blocked may be written down under either of their ids.
const FIND: &str = "-- chat_room.find
    SELECT portal.portal_id, chat, receiver, kind, room_id, alias,
           login_id, mxid, device_key, lid, pn, push_name, state, reason, farewell, since,
           seconds, set_at,
           (SELECT MAX(at) FROM former_room WHERE former_room.room_id = $1) AS given_up_at,
           (SELECT COUNT(*) FROM message WHERE message.event_id = $2 AND origin = 'mx') AS begun,
           (SELECT COUNT(*) FROM blocked WHERE blocked.login_id = receiver AND is_blocked = 1 AND (person = chat
               OR person IN (SELECT pn FROM wa_alias WHERE wa_alias.lid = chat)
               OR person IN (SELECT wa_alias.lid FROM wa_alias WHERE wa_alias.pn = chat))) AS blocks
    FROM portal
    LEFT JOIN login ON login_id = receiver
    LEFT JOIN chat_timer ON chat_timer.portal_id = portal.portal_id
    WHERE portal.portal_id = (
        SELECT CASE WHEN merged_into = 0 THEN portal_id ELSE merged_into END FROM portal WHERE room_id = $1)";

/// A chat's room.
#[derive(Debug, Clone)]
pub struct ChatRoom {
    /// The chat.
    pub portal: Portal,
    /// The login a direct chat belongs to, when that is known.
    pub login: Option<Login>,
    /// The timer of its messages.
    pub timer: Option<ChatTimer>,
    /// Whether the login has blocked whom a direct chat is with.
    pub is_blocked: bool,
    /// When a chat last gave this room up, milliseconds since 1970.
    pub given_up_at: Option<i64>,
    /// Whether a message was made of the event before.
    pub is_begun: bool,
}

impl Store {
    /// What a room is; behind one that was left for another by a merge, that other's. None when it is no chat's. `event` is what
    /// is said there; empty asks about the room alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_chat_room(&self, room: &str, event: &str) -> Result<Option<ChatRoom>> {
        let row = sqlx::query(FIND).bind(room).bind(event).fetch_optional(self.pool()).await;
        let Some(row) = row.named("chat_room.find")? else { return Ok(None) };
        let owner: Option<String> = row.try_get("login_id").named("chat_room.find")?;
        let seconds: Option<i64> = row.try_get("seconds").named("chat_room.find")?;
        let set_at: Option<i64> = row.try_get("set_at").named("chat_room.find")?;
        Ok(Some(ChatRoom {
            portal: read_portal(&row)?,
            login: owner.map(|_| read_login(&row)).transpose()?,
            timer: seconds.zip(set_at).map(|(seconds, set_at)| ChatTimer::read(seconds, set_at)),
            is_blocked: row.try_get::<i64, _>("blocks").named("chat_room.find")? > 0,
            is_begun: row.try_get::<i64, _>("begun").named("chat_room.find")? > 0,
            given_up_at: row.try_get("given_up_at").named("chat_room.find")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fresh_sqlite;

    #[tokio::test]
    async fn no_look_goes_through_all_that_a_chat_has() {
        let fresh = fresh_sqlite().await;
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FIND}"))).bind("!r").bind("$e");
        let rows = plan.fetch_all(fresh.store.pool()).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
        let of_messages: Vec<_> = steps.iter().filter(|step| step.contains(" message ")).collect();
        assert!(!of_messages.is_empty(), "{steps:?}");
        assert!(of_messages.iter().all(|step| step.contains("message_event")), "{of_messages:?}");
    }
}
