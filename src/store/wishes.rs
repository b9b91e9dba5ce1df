//! What has failed and is tried again by itself, and what a notice of a failure is about.

use super::{Named, Result, Store};
use crate::ids::{Lane, LoginId};
use sqlx::Row;

/// How often a phone is asked for one file in vain before it is left to `retry`.
pub const MAX_ASKS: i64 = 24;
/// Time after the first ask in vain before the next, milliseconds; doubled with each.
const FIRST_PAUSE: i64 = 120_000;
/// The longest such time, milliseconds.
const LONGEST_PAUSE: i64 = 6 * 3_600_000;

const FIND: &str = "-- file_wish.find
    SELECT tries FROM file_wish WHERE seq = $1";
const PUT: &str = "-- file_wish.put
    INSERT INTO file_wish (seq, login_id, tries, next_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (seq) DO UPDATE SET login_id = excluded.login_id, tries = excluded.tries, next_at = excluded.next_at";
const DUE: &str = "-- file_wish.due
    SELECT DISTINCT inbox.lane FROM file_wish JOIN inbox ON inbox.seq = file_wish.seq AND inbox.state = 'failed'
    WHERE file_wish.login_id = $1 AND file_wish.tries < $2 AND file_wish.next_at <= $3";
const WAKE: &str = "-- file_wish.wake
    UPDATE inbox SET state = 'waiting', attempts = 0 WHERE state = 'failed' AND seq IN (
        SELECT seq FROM file_wish WHERE login_id = $1 AND tries < $2 AND next_at <= $3)";
const FORGET_LANE: &str = "-- file_wish.forget_lane
    DELETE FROM file_wish WHERE seq IN (SELECT seq FROM inbox WHERE lane = $1 AND state = 'failed')";
const FORGET: &str = "-- file_wish.forget
    DELETE FROM file_wish WHERE seq = $1";
const SWEEP: &str = "-- file_wish.sweep
    DELETE FROM file_wish WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.seq = file_wish.seq)";
const PUT_NOTICE: &str = "-- failure_notice.put
    INSERT INTO failure_notice (event_id, seq) VALUES ($1, $2) ON CONFLICT (event_id) DO UPDATE SET seq = excluded.seq";
const FIND_FAILED: &str = "-- failure_notice.find_failed
    SELECT seq, lane FROM inbox WHERE state = 'failed' AND (dedup = $2 OR seq IN (
        SELECT seq FROM failure_notice WHERE event_id = $1))";
const RETRY: &str = "-- inbox.retry_one
    UPDATE inbox SET state = 'waiting', attempts = 0, rounds = rounds + 1 WHERE seq = $1 AND state = 'failed'";
const SETTLE_WISH: &str = "-- inbox.settle_wish
    DELETE FROM inbox WHERE dedup = $1";
const SWEEP_NOTICES: &str = "-- failure_notice.sweep
    DELETE FROM failure_notice WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.seq = failure_notice.seq)";

impl Store {
    /// How often a phone was asked in vain for the file of a row; none when it never was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asks_in_vain(&self, seq: i64) -> Result<Option<i64>> {
        let row = sqlx::query(FIND).bind(seq).fetch_optional(self.pool()).await.named("file_wish.find")?;
        row.map(|row| row.try_get("tries").named("file_wish.find")).transpose()
    }

    /// Notes that a phone was asked `tries` times for the file of a row and did not answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_ask_in_vain(&self, seq: i64, login: &LoginId, tries: i64) -> Result<()> {
        let pause = FIRST_PAUSE << tries.clamp(0, 12);
        let next_at = self.clock().now_ms() + pause.min(LONGEST_PAUSE);
        let query = sqlx::query(PUT).bind(seq).bind(login.as_str()).bind(tries).bind(next_at);
        self.write("file_wish.put", query).await.map(drop)
    }

    /// Puts the rows back whose files a login's phone may have now: those whose pause is over at `now_ms`, and all with
    /// [`i64::MAX`]. How many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_wishes(&self, login: &LoginId, now_ms: i64) -> Result<u64> {
        let mut tx = self.begin("file_wish.wake").await?;
        let due = sqlx::query(DUE).bind(login.as_str()).bind(MAX_ASKS).bind(now_ms);
        let rows = due.fetch_all(tx.connection()).await.named("file_wish.due")?;
        let lanes = rows.iter().map(|row| row.try_get::<String, _>("lane").map(Lane::new));
        let lanes: Vec<Lane> = lanes.collect::<std::result::Result<_, _>>().named("file_wish.due")?;
        if lanes.is_empty() {
            return Ok(0);
        }
        let wake = sqlx::query(WAKE).bind(login.as_str()).bind(MAX_ASKS).bind(now_ms);
        let woken = wake.execute(tx.connection()).await.named("file_wish.wake")?.rows_affected();
        tx.commit().await?;
        for lane in lanes {
            self.bell().ring(lane);
        }
        Ok(woken)
    }

    /// Begins anew with the asks for a lane's failed rows, for somebody who says so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_asks(&self, lane: &Lane) -> Result<()> {
        self.write("file_wish.forget_lane", sqlx::query(FORGET_LANE).bind(lane.as_str())).await.map(drop)
    }

    /// Notes which row a notice tells the failure of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_failure_notice(&self, event_id: &str, seq: i64) -> Result<()> {
        self.write("failure_notice.put", sqlx::query(PUT_NOTICE).bind(event_id).bind(seq)).await.map(drop)
    }

    /// The failed row somebody means by an event: a notice of the failure, or the event that failed, whose arrival is
    /// named `dedup`. With its lane.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_failed(&self, event_id: &str, dedup: &str) -> Result<Option<(i64, Lane)>> {
        let row = sqlx::query(FIND_FAILED).bind(event_id).bind(dedup).fetch_optional(self.pool()).await;
        let Some(row) = row.named("failure_notice.find_failed")? else { return Ok(None) };
        let lane: String = row.try_get("lane").named("failure_notice.find_failed")?;
        Ok(Some((row.try_get("seq").named("failure_notice.find_failed")?, Lane::new(lane))))
    }

    /// Puts one failed row back into its lane, and settles the arrival that asks for it, named `wish`: asked for once, it
    /// is done once. False when the row has not failed; the wish is settled even then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry_one(&self, seq: i64, lane: &Lane, wish: &str) -> Result<bool> {
        let mut tx = self.begin("inbox.retry_one").await?;
        sqlx::query(FORGET).bind(seq).execute(tx.connection()).await.named("file_wish.forget")?;
        let done = sqlx::query(RETRY).bind(seq).execute(tx.connection()).await.named("inbox.retry_one")?;
        sqlx::query(SETTLE_WISH).bind(wish).execute(tx.connection()).await.named("inbox.settle_wish")?;
        tx.commit().await?;
        let done = done.rows_affected() > 0;
        if done {
            self.bell().ring(lane.clone());
        }
        Ok(done)
    }

    /// Deletes what belongs to rows that are there no more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_wishes(&self) -> Result<u64> {
        let wishes = self.write("file_wish.sweep", sqlx::query(SWEEP)).await?.affected;
        Ok(wishes + self.write("failure_notice.sweep", sqlx::query(SWEEP_NOTICES)).await?.affected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::inbox::{Arrival, Source};
    use crate::store::tests::on_both;

    on_both! { what_was_asked_in_vain_is_asked_again => wishes; }

    async fn wishes(store: Store) {
        let (login, lane) = (LoginId::new("1"), Lane::new("m:1"));
        let arrival = Arrival {
            dedup: "d".into(),
            lane: lane.clone(),
            source: Source::Whatsapp,
            login: Some(login.clone()),
            portal: None,
            kind: "wa.message",
            body: Vec::new(),
            seq: None,
        };
        let mut tx = store.begin("test").await.unwrap();
        assert!(store.put_arrival(&mut tx, &arrival).await.unwrap());
        tx.commit().await.unwrap();
        let row = store.take_rows(&lane, 1).await.unwrap().remove(0);
        let now = store.clock().now_ms();
        store.note_ask_in_vain(row.seq, &login, 1).await.unwrap();
        assert_eq!(store.wake_wishes(&login, i64::MAX).await.unwrap(), 0, "it has not failed yet");
        store.fail_row(&row, "silence").await.unwrap();
        assert_eq!(store.asks_in_vain(row.seq).await.unwrap(), Some(1));
        assert_eq!(store.wake_wishes(&login, now).await.unwrap(), 0, "not so soon");
        assert_eq!(store.wake_wishes(&LoginId::new("2"), i64::MAX).await.unwrap(), 0, "another phone");
        assert_eq!(store.wake_wishes(&login, i64::MAX).await.unwrap(), 1);
        assert_eq!(store.take_rows(&lane, 1).await.unwrap().len(), 1);
        store.fail_row(&row, "silence").await.unwrap();
        store.note_ask_in_vain(row.seq, &login, MAX_ASKS).await.unwrap();
        assert_eq!(store.wake_wishes(&login, i64::MAX).await.unwrap(), 0, "often enough");
        // By who says so, and by the notice.
        assert_eq!(store.find_failed("$notice", "").await.unwrap(), None);
        store.note_failure_notice("$notice", row.seq).await.unwrap();
        assert_eq!(store.find_failed("$notice", "").await.unwrap(), Some((row.seq, lane.clone())));
        assert_eq!(store.find_failed("", "d").await.unwrap(), Some((row.seq, lane.clone())));
        let mut tx = store.begin("test").await.unwrap();
        let wish = Arrival { dedup: "wish".into(), lane: Lane::new("x:1"), ..arrival.clone() };
        assert!(store.put_arrival(&mut tx, &wish).await.unwrap());
        tx.commit().await.unwrap();
        assert!(store.retry_one(row.seq, &lane, "wish").await.unwrap());
        assert!(store.take_rows(&Lane::new("x:1"), 1).await.unwrap().is_empty(), "the wish is done");
        assert!(!store.retry_one(row.seq, &lane, "wish").await.unwrap(), "it waits already");
        assert_eq!(store.asks_in_vain(row.seq).await.unwrap(), None);
        store.note_ask_in_vain(row.seq, &login, 1).await.unwrap();
        store.fail_row(&row, "silence").await.unwrap();
        store.forget_asks(&lane).await.unwrap();
        assert_eq!(store.asks_in_vain(row.seq).await.unwrap(), None);
        assert_eq!(store.sweep_wishes().await.unwrap(), 0);
        store.settle_row(row.seq).await.unwrap();
        assert_eq!(store.sweep_wishes().await.unwrap(), 1, "the notice");
    }
}
