//! Chats whose messages disappear, and when each of them does.

use super::{Named, Result, Store, Tx};
use crate::ids::{PortalId, WaMessageId};
use sqlx::Row;

/// A chat's timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatTimer {
    /// After how many seconds new messages disappear; 0 = never.
    pub seconds: u32,
    /// When it was set, milliseconds since 1970.
    pub set_at: i64,
}

/// When a message disappears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When, milliseconds since 1970.
    pub expires_at: i64,
    /// Whether somebody has kept it: then it stays.
    pub kept: bool,
}

const FIND_TIMER: &str = "-- disappearing.find_timer
    SELECT seconds, set_at FROM chat_timer WHERE portal_id = $1";
// News that is older than what is known changes nothing.
const PUT_TIMER: &str = "-- disappearing.put_timer
    INSERT INTO chat_timer (portal_id, seconds, set_at) VALUES ($1, $2, $3) ON CONFLICT (portal_id) DO UPDATE
        SET seconds = excluded.seconds, set_at = excluded.set_at WHERE chat_timer.set_at <= excluded.set_at";
// What a group's settings tell without a time: news only when it is another one.
const PUT_TIMER_IF_OTHER: &str = "-- disappearing.put_timer_if_other
    INSERT INTO chat_timer (portal_id, seconds, set_at) VALUES ($1, $2, $3) ON CONFLICT (portal_id) DO UPDATE
        SET seconds = excluded.seconds, set_at = excluded.set_at WHERE chat_timer.seconds <> excluded.seconds";
const FIND_EXPIRY: &str = "-- disappearing.find_expiry
    SELECT expires_at, kept FROM expiry WHERE portal_id = $1 AND wa_id = $2";
const PUT_EXPIRY: &str = "-- disappearing.put_expiry
    INSERT INTO expiry (portal_id, wa_id, expires_at, kept) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING";
const KEEP: &str = "-- disappearing.keep
    UPDATE expiry SET kept = $3 WHERE portal_id = $1 AND wa_id = $2";

impl Store {
    /// A chat's timer, when one was ever set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_timer(&self, portal: PortalId) -> Result<Option<ChatTimer>> {
        let row = sqlx::query(FIND_TIMER).bind(portal.get()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("disappearing.find_timer")? else { return Ok(None) };
        let seconds: i64 = row.try_get("seconds").named("disappearing.find_timer")?;
        let set_at = row.try_get("set_at").named("disappearing.find_timer")?;
        Ok(Some(ChatTimer { seconds: u32::try_from(seconds).unwrap_or(0), set_at }))
    }

    /// Records a chat's timer, unless a newer one is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_timer_in(&self, tx: &mut Tx, portal: PortalId, timer: ChatTimer) -> Result<()> {
        let put = sqlx::query(PUT_TIMER).bind(portal.get()).bind(i64::from(timer.seconds)).bind(timer.set_at);
        put.execute(tx.connection()).await.named("disappearing.put_timer").map(drop)
    }

    /// Records a chat's timer that is told without saying since when; the same one again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_timer_if_other_in(&self, tx: &mut Tx, portal: PortalId, seconds: u32) -> Result<()> {
        let put =
            sqlx::query(PUT_TIMER_IF_OTHER).bind(portal.get()).bind(i64::from(seconds)).bind(self.clock().now_ms());
        put.execute(tx.connection()).await.named("disappearing.put_timer_if_other").map(drop)
    }

    /// When a message disappears; none when it stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_expiry(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<Option<Expiry>> {
        let row = sqlx::query(FIND_EXPIRY).bind(portal.get()).bind(wa_id.as_str()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("disappearing.find_expiry")? else { return Ok(None) };
        let kept: i64 = row.try_get("kept").named("disappearing.find_expiry")?;
        Ok(Some(Expiry { expires_at: row.try_get("expires_at").named("disappearing.find_expiry")?, kept: kept != 0 }))
    }

    /// Records when a message disappears (milliseconds since 1970); the first word counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_expiry_in(
        &self,
        tx: &mut Tx,
        portal: PortalId,
        wa_id: &WaMessageId,
        expires_at: i64,
    ) -> Result<()> {
        let put = sqlx::query(PUT_EXPIRY).bind(portal.get()).bind(wa_id.as_str()).bind(expires_at);
        put.execute(tx.connection()).await.named("disappearing.put_expiry").map(drop)
    }

    /// Records that a disappearing message is kept, or no longer; nothing where it stays anyway.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_in(&self, tx: &mut Tx, portal: PortalId, wa_id: &WaMessageId, kept: bool) -> Result<()> {
        let keep = sqlx::query(KEEP).bind(portal.get()).bind(wa_id.as_str()).bind(i64::from(kept));
        keep.execute(tx.connection()).await.named("disappearing.keep").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { the_newest_timer_counts => timers; }
    on_both! { a_message_disappears_unless_it_is_kept => expiries; }

    async fn timers(store: Store) {
        let portal = PortalId::new(7);
        assert_eq!(store.find_timer(portal).await.unwrap(), None);
        for (seconds, set_at, known) in [(60, 5, 60), (90, 4, 60), (0, 5, 0), (30, 6, 30)] {
            let mut tx = store.begin("test").await.unwrap();
            store.put_timer_in(&mut tx, portal, ChatTimer { seconds, set_at }).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_timer(portal).await.unwrap().map(|timer| timer.seconds), Some(known));
        }
    }

    async fn expiries(store: Store) {
        let (portal, wa_id) = (PortalId::new(7), WaMessageId::new("3A"));
        let mut tx = store.begin("test").await.unwrap();
        store.keep_in(&mut tx, portal, &wa_id, true).await.unwrap();
        store.put_expiry_in(&mut tx, portal, &wa_id, 10).await.unwrap();
        store.put_expiry_in(&mut tx, portal, &wa_id, 20).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_expiry(portal, &wa_id).await.unwrap(), Some(Expiry { expires_at: 10, kept: false }));
        for kept in [true, false] {
            let mut tx = store.begin("test").await.unwrap();
            store.keep_in(&mut tx, portal, &wa_id, kept).await.unwrap();
            store.keep_in(&mut tx, PortalId::new(8), &wa_id, !kept).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_expiry(portal, &wa_id).await.unwrap(), Some(Expiry { expires_at: 10, kept }));
        }
    }
}
