//! What the intake from Matrix keeps: transactions answered, the place reached in `/sync`, and the order of rows
//! that came late.
//!
//! Rows of `mx_txn` are swept after 7 days; the place in `/sync` is one row of `meta`.

use super::inbox::Arrival;
use super::{Named, Result, Store, StoreError, Tx};
use crate::ids::Lane;
use serde::{Deserialize, Serialize};
use sqlx::Row;

/// The place reached in `/sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPlace {
    /// The homeserver's token: everything before it is stored.
    pub token: String,
    /// Ordered id given when it was stored. A row of a room's lane with a higher number that a later `/sync` does
    /// not tell of is newer than everything it tells.
    pub mark: i64,
}

/// A row that waits in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub seq: i64,
    /// Whether nobody has begun to work on it.
    pub untouched: bool,
}

/// Key of the place in `meta`.
const PLACE: &str = "mx_sync_place";

const FIND_TXN: &str = "-- mx_txn.find
    SELECT body_hash FROM mx_txn WHERE txn_id = $1";
const PUT_TXN: &str = "-- mx_txn.put
    INSERT INTO mx_txn (txn_id, body_hash, received_at) VALUES ($1, $2, $3)
    ON CONFLICT (txn_id) DO UPDATE SET body_hash = excluded.body_hash, received_at = excluded.received_at";
const PUT_NEW_TXN: &str = "-- mx_txn.put_new
    INSERT INTO mx_txn (txn_id, body_hash, received_at) VALUES ($1, $2, $3) ON CONFLICT (txn_id) DO NOTHING";
const SWEEP_TXN: &str = "-- mx_txn.sweep
    DELETE FROM mx_txn WHERE received_at < $1";
const FAIL_NEW: &str = "-- mx_intake.fail_new
    UPDATE inbox SET state = 'failed', last_error = $2 WHERE dedup = $1";
const FIND_WAITING: &str = "-- mx_intake.find_waiting
    SELECT seq, attempts FROM inbox WHERE dedup = $1 AND state = 'waiting'";
const MOVE: &str = "-- mx_intake.move
    UPDATE inbox SET seq = $2 WHERE seq = $1 AND state = 'waiting' AND attempts = 0";
const UNTOUCHED: &str = "-- mx_intake.untouched
    SELECT seq, dedup FROM inbox WHERE state = 'waiting' AND lane = $1 AND seq > $2 AND attempts = 0 ORDER BY seq";
const PUT_PLACE: &str = "-- mx_intake.put_place
    INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const FORGET_PLACE: &str = "-- mx_intake.forget_place
    DELETE FROM meta WHERE key = $1";
const GHOST_KNOWN: &str = "-- mx_intake.ghost_known
    SELECT localpart FROM ghost WHERE localpart = $1";
const ALIAS_KNOWN: &str = "-- mx_intake.alias_known
    SELECT alias FROM portal WHERE alias = $1 AND room_id IS NOT NULL";

impl Store {
    /// The body hash of a transaction that was stored before, inside the transaction that would store it again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_mx_txn(&self, tx: &mut Tx, txn: &str) -> Result<Option<String>> {
        let row = sqlx::query(FIND_TXN).bind(txn).fetch_optional(tx.connection()).await.named("mx_txn.find")?;
        row.map(|row| row.try_get("body_hash").named("mx_txn.find")).transpose()
    }

    /// Notes a transaction as stored; false, and nothing changed, when one of that id was before. `txn` must be
    /// free of U+0000 and short.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_new_mx_txn(&self, tx: &mut Tx, txn: &str, body_hash: &str) -> Result<bool> {
        let now = self.clock().now_ms();
        let put = sqlx::query(PUT_NEW_TXN).bind(txn).bind(body_hash).bind(now).execute(tx.connection()).await;
        Ok(put.named("mx_txn.put_new")?.rows_affected() > 0)
    }

    /// Notes a transaction as stored, also over another of that id. `txn` must be free of U+0000 and short.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_mx_txn(&self, tx: &mut Tx, txn: &str, body_hash: &str) -> Result<()> {
        let now = self.clock().now_ms();
        let put = sqlx::query(PUT_TXN).bind(txn).bind(body_hash).bind(now).execute(tx.connection()).await;
        put.named("mx_txn.put").map(drop)
    }

    /// Forgets transactions answered before `before_ms`; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_mx_txn(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("mx_txn.sweep", sqlx::query(SWEEP_TXN).bind(before_ms)).await?.affected)
    }

    /// Puts an arrival that can not be worked on: kept as failed, with `why`; false when it was put before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_failed_arrival(&self, tx: &mut Tx, arrival: &Arrival, why: &str) -> Result<bool> {
        if !self.put_arrival(tx, arrival).await? {
            return Ok(false);
        }
        let failed = sqlx::query(FAIL_NEW).bind(&arrival.dedup).bind(why).execute(tx.connection()).await;
        failed.named("mx_intake.fail_new").map(|_| true)
    }

    /// The waiting row of an arrival that was put before; none when it is settled, failed or was never put.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_waiting(&self, tx: &mut Tx, dedup: &str) -> Result<Option<Waiting>> {
        let row = sqlx::query(FIND_WAITING).bind(dedup).fetch_optional(tx.connection()).await;
        let read = |row: sqlx::any::AnyRow| -> std::result::Result<Waiting, sqlx::Error> {
            Ok(Waiting { seq: row.try_get("seq")?, untouched: row.try_get::<i64, _>("attempts")? == 0 })
        };
        row.and_then(|row| row.map(read).transpose()).named("mx_intake.find_waiting")
    }

    /// Moves an untouched row behind every other one; its new number, or none when somebody began to work on it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_to_end(&self, tx: &mut Tx, seq: i64) -> Result<Option<i64>> {
        let fresh = self.clock().next_id();
        let done = sqlx::query(MOVE).bind(seq).bind(fresh).execute(tx.connection()).await.named("mx_intake.move")?;
        Ok((done.rows_affected() > 0).then_some(fresh))
    }

    /// Untouched rows of a lane with numbers above `after`, in order: number and dedup.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn untouched_after(&self, tx: &mut Tx, lane: &Lane, after: i64) -> Result<Vec<(i64, String)>> {
        let rows = sqlx::query(UNTOUCHED).bind(lane.as_str()).bind(after).fetch_all(tx.connection()).await;
        rows.and_then(|rows| rows.iter().map(|row| Ok((row.try_get("seq")?, row.try_get("dedup")?))).collect())
            .named("mx_intake.untouched")
    }

    /// The place reached in `/sync`; none before the first one.
    ///
    /// # Errors
    /// When the database fails or the place makes no sense.
    pub async fn find_sync_place(&self) -> Result<Option<SyncPlace>> {
        let read = |bytes: Vec<u8>| {
            serde_json::from_slice(&bytes)
                .map_err(|_| StoreError::Corrupt { table: "meta", why: "the place in /sync can not be read".into() })
        };
        self.find_meta(PLACE).await?.map(read).transpose()
    }

    /// Notes the place reached in `/sync`, after everything before it was stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_sync_place(&self, tx: &mut Tx, token: &str) -> Result<SyncPlace> {
        let place = SyncPlace { token: token.to_owned(), mark: self.clock().next_id() };
        let text = serde_json::json!(place).to_string();
        let put = sqlx::query(PUT_PLACE).bind(PLACE).bind(text.as_bytes()).execute(tx.connection()).await;
        put.named("mx_intake.put_place").map(|_| place)
    }

    /// Forgets the place reached in `/sync`: the next catch-up begins at the present.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_sync_place(&self, tx: &mut Tx) -> Result<()> {
        let done = sqlx::query(FORGET_PLACE).bind(PLACE).execute(tx.connection()).await;
        done.named("mx_intake.forget_place").map(drop)
    }

    /// Whether a ghost with this localpart stands for somebody.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ghost_is_known(&self, localpart: &str) -> Result<bool> {
        let row = sqlx::query(GHOST_KNOWN).bind(localpart).fetch_optional(self.pool()).await;
        Ok(row.named("mx_intake.ghost_known")?.is_some())
    }

    /// Whether a room with this alias was made; `localpart` is the alias localpart without the namespace's prefix.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alias_is_known(&self, localpart: &str) -> Result<bool> {
        let row = sqlx::query(ALIAS_KNOWN).bind(localpart).fetch_optional(self.pool()).await;
        Ok(row.named("mx_intake.alias_known")?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Lane, LoginId};
    use crate::store::inbox::Source;
    use crate::store::tests::on_both;

    on_both! {
        a_transaction_is_known_until_it_is_swept => transactions;
        only_untouched_rows_move => moves;
        an_arrival_may_be_put_as_failed => failed;
        the_place_in_sync_is_kept => place;
        unknown_names_are_unknown => names;
    }

    fn arrival(n: u8) -> Arrival {
        Arrival {
            dedup: format!("d{n}"),
            lane: Lane::new("x"),
            source: Source::Matrix,
            login: None::<LoginId>,
            portal: None,
            kind: "event",
            body: vec![n],
            seq: None,
        }
    }

    async fn bodies(store: &Store) -> Vec<u8> {
        store.take_rows(&Lane::new("x"), 99).await.unwrap().iter().map(|row| row.body[0]).collect()
    }

    async fn transactions(store: Store) {
        let mut tx = store.begin("test").await.unwrap();
        assert_eq!(store.find_mx_txn(&mut tx, "1").await.unwrap(), None);
        assert!(store.put_new_mx_txn(&mut tx, "1", "a").await.unwrap());
        assert!(!store.put_new_mx_txn(&mut tx, "1", "c").await.unwrap());
        assert_eq!(store.find_mx_txn(&mut tx, "1").await.unwrap().as_deref(), Some("a"));
        store.put_mx_txn(&mut tx, "1", "b").await.unwrap();
        assert_eq!(store.find_mx_txn(&mut tx, "1").await.unwrap().as_deref(), Some("b"));
        tx.commit().await.unwrap();
        assert_eq!(store.sweep_mx_txn(store.clock().now_ms()).await.unwrap(), 0);
        store.clock().advance(1);
        assert_eq!(store.sweep_mx_txn(store.clock().now_ms()).await.unwrap(), 1);
    }

    async fn moves(store: Store) {
        let mut tx = store.begin("test").await.unwrap();
        for n in 1..=3 {
            assert!(store.put_arrival(&mut tx, &arrival(n)).await.unwrap());
        }
        let first = store.find_waiting(&mut tx, "d1").await.unwrap().unwrap();
        assert!(first.untouched);
        assert!(store.move_to_end(&mut tx, first.seq).await.unwrap().unwrap() > first.seq);
        tx.commit().await.unwrap();
        assert_eq!(bodies(&store).await, [2, 3, 1]);

        let begun = store.take_rows(&Lane::new("x"), 1).await.unwrap()[0].seq;
        store.count_attempt(begun).await.unwrap();
        let mut tx = store.begin("test").await.unwrap();
        assert_eq!(store.move_to_end(&mut tx, begun).await.unwrap(), None, "somebody works on it");
        let rest = store.untouched_after(&mut tx, &Lane::new("x"), begun).await.unwrap();
        assert_eq!(rest.iter().map(|(_, dedup)| dedup.as_str()).collect::<Vec<_>>(), ["d3", "d1"]);
        assert!(!store.find_waiting(&mut tx, "d2").await.unwrap().unwrap().untouched);
        assert_eq!(store.find_waiting(&mut tx, "d9").await.unwrap(), None);
        tx.commit().await.unwrap();
        assert_eq!(bodies(&store).await, [2, 3, 1]);
    }

    async fn failed(store: Store) {
        let mut tx = store.begin("test").await.unwrap();
        assert!(store.put_failed_arrival(&mut tx, &arrival(1), "no sender").await.unwrap());
        assert!(!store.put_failed_arrival(&mut tx, &arrival(1), "no sender").await.unwrap());
        tx.commit().await.unwrap();
        let counts = store.inbox_counts().await.unwrap();
        assert_eq!((counts.waiting, counts.failed), (0, 1));
    }

    async fn place(store: Store) {
        assert_eq!(store.find_sync_place().await.unwrap(), None);
        let mut tx = store.begin("test").await.unwrap();
        let first = store.put_sync_place(&mut tx, "s1").await.unwrap();
        let second = store.put_sync_place(&mut tx, "s2").await.unwrap();
        tx.commit().await.unwrap();
        assert!(second.mark > first.mark);
        assert_eq!(store.find_sync_place().await.unwrap(), Some(second));
        let mut tx = store.begin("test").await.unwrap();
        store.forget_sync_place(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_sync_place().await.unwrap(), None);
    }

    async fn names(store: Store) {
        assert!(!store.ghost_is_known("whatsapp_1").await.unwrap());
        assert!(!store.alias_is_known("whatsapp_1").await.unwrap());
    }
}
