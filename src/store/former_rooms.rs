//! Rooms that were chats' and are no more: what somebody said there before is not for the chat any more.

use super::{Named, Result, Store, Tx};
use sqlx::Row as _;

const PUT: &str = "-- former_room.put
    INSERT INTO former_room (room_id, at) VALUES ($1, $2) ON CONFLICT (room_id) DO UPDATE SET at = excluded.at";
const FIND: &str = "-- former_room.find
    SELECT at FROM former_room WHERE room_id = $1";
const SWEEP: &str = "-- former_room.sweep
    DELETE FROM former_room WHERE at < $1";

impl Store {
    /// Records that a chat forgets its room; `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn put_former_room_in(&self, tx: &mut Tx, room: &str) -> Result<()> {
        let put = sqlx::query(PUT).bind(room).bind(self.clock().now_ms()).execute(tx.connection()).await;
        put.named("former_room.put").map(drop)
    }

    /// When a chat last gave a room up, milliseconds since 1970; none when none did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn given_up_at(&self, room: &str) -> Result<Option<i64>> {
        let found = sqlx::query(FIND).bind(room).fetch_optional(self.pool()).await.named("former_room.find")?;
        found.map(|row| row.try_get("at").named("former_room.find")).transpose()
    }

    /// Deletes what is older than `before`, milliseconds since 1970; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_former_rooms(&self, before: i64) -> Result<u64> {
        Ok(self.write("former_room.sweep", sqlx::query(SWEEP).bind(before)).await?.affected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChatId;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_room_that_is_forgotten_is_a_former_one => former; }

    async fn former(store: Store) {
        for (chat, room) in [("1@g.us", "!given"), ("2@g.us", "!dead")] {
            let mut tx = store.begin("test").await.unwrap();
            let found = store.find_or_make_portal_in(&mut tx, &ChatId::new(chat), None, "", PortalKind::Group).await;
            let portal = found.unwrap();
            tx.commit().await.unwrap();
            store.put_new_room(&portal, room).await.unwrap();
            let before = store.clock().now_ms();
            assert_eq!(store.given_up_at(room).await.unwrap(), None);
            if room == "!given" {
                let mut tx = store.begin("test").await.unwrap();
                assert!(store.give_up_room_in(&mut tx, &portal, room, "next").await.unwrap());
                // It has it no more.
                assert!(!store.give_up_room_in(&mut tx, &portal, "!other", "next").await.unwrap());
                tx.commit().await.unwrap();
            } else {
                assert!(store.forget_portal_room(&portal, room, "dead-next").await.unwrap());
            }
            let after = store.clock().now_ms();
            let at = store.given_up_at(room).await.unwrap();
            assert!(at.is_some_and(|at| (before..=after).contains(&at)), "{at:?}, {before} to {after}");
        }
        assert_eq!(store.given_up_at("!other").await.unwrap(), None);
        let now = store.clock().now_ms();
        assert_eq!(store.sweep_former_rooms(now + 1).await.unwrap(), 2);
        assert_eq!(store.given_up_at("!given").await.unwrap(), None);
    }
}
