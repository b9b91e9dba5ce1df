//! The inbox: what arrived and is not settled yet.
//!
//! A row is put once per `dedup` for good ([`Store::put_arrival`] looks at `seen`, which outlives the row), stands in one lane,
//! and leaves by settlement or by failing. Rows of a lane are always taken from the lowest waiting number on:
//! transactions may commit out of order, so there is no high-water mark.
//!
//! A row is `waiting` (to be worked on, attempts counted before each) or `failed` (kept 30 days for `retry`).

use super::{Named, Result, Store, Tx};
use crate::derive::SWEPT;
use crate::ids::{Lane, LoginId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashMap;

/// Kind of a row that keeps the place of a message which could not be read yet. It is in no `seen`, so the message
/// takes the place over when it comes.
pub const MISSING: &str = "wa.missing";

/// Something that arrived, before it has a number.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// What makes it the same as another arrival; see [`crate::derive`].
    pub dedup: String,
    /// The queue it stands in.
    pub lane: Lane,
    /// Where it came from.
    pub source: Source,
    /// The login that received it; none for Matrix.
    pub login: Option<LoginId>,
    /// The portal it belongs to; none for Matrix (looked up by room when worked on).
    pub portal: Option<PortalId>,
    /// What the body holds; a word of the edge that wrote it.
    pub kind: &'static str,
    /// The content, as the edge wrote it.
    pub body: Vec<u8>,
    /// The number it came under, where the order of arrival is not the order of storing; else it gets the next one.
    pub seq: Option<i64>,
}

/// The network something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// WhatsApp.
    Whatsapp,
    /// Matrix.
    Matrix,
}

impl Source {
    fn text(self) -> &'static str {
        match self {
            Self::Whatsapp => "wa",
            Self::Matrix => "mx",
        }
    }
}

/// A stored arrival.
#[derive(Debug, Clone)]
pub struct InboxRow {
    /// Its number: the order inside its lane.
    pub seq: i64,
    /// See [`Arrival::dedup`].
    pub dedup: String,
    /// See [`Arrival::lane`].
    pub lane: Lane,
    /// See [`Arrival::source`].
    pub source: Source,
    /// See [`Arrival::login`].
    pub login: Option<LoginId>,
    /// See [`Arrival::portal`].
    pub portal: Option<PortalId>,
    /// See [`Arrival::kind`].
    pub kind: String,
    /// See [`Arrival::body`].
    pub body: Vec<u8>,
    /// Attempts begun so far.
    pub attempts: i64,
    /// When it arrived, milliseconds since 1970.
    pub received_at: i64,
    /// How often somebody had it tried again after it had failed.
    pub rounds: i64,
    /// Whether an attempt did not work, or it has failed before.
    pub erred: bool,
}

impl InboxRow {
    /// Whether somebody may have been told already that it failed: not so of one that is tried for the first time.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        self.attempts > 0 || self.rounds > 0 || self.erred
    }
}

/// Rows waiting and failed, for health and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboxCounts {
    /// Rows not settled yet.
    pub waiting: i64,
    /// Rows settled as failed and kept.
    pub failed: i64,
    /// Arrival of the oldest waiting row, milliseconds since 1970; 0 when none waits.
    pub oldest_at: i64,
}

const PUT_SEEN: &str = "-- inbox.put_seen
    INSERT INTO seen (dedup, at) VALUES ($1, $2) ON CONFLICT (dedup) DO NOTHING";
const PUT: &str = "-- inbox.put
    INSERT INTO inbox (seq, dedup, lane, source, login_id, portal_id, kind, body, state, attempts, received_at, last_error)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting', 0, $9, '') ON CONFLICT (dedup) DO UPDATE
        SET kind = excluded.kind, body = excluded.body, state = 'waiting', attempts = 0, received_at = excluded.received_at
        WHERE inbox.kind = 'wa.missing'";
const PUT_MISSING: &str = "-- inbox.put_missing
    INSERT INTO inbox (seq, dedup, lane, source, login_id, portal_id, kind, body, state, attempts, received_at, last_error)
    SELECT $1, $2, $3, $4, $5, $6, 'wa.missing', $7, 'waiting', 0, $8, ''
    WHERE NOT EXISTS (SELECT 1 FROM seen WHERE dedup = $2) ON CONFLICT (dedup) DO NOTHING";
const TAKE: &str = "-- inbox.take
    SELECT seq, dedup, lane, source, login_id, portal_id, kind, body, attempts, received_at, rounds,
        CAST(CASE WHEN last_error = '' THEN 0 ELSE 1 END AS BIGINT) AS erred FROM inbox
    WHERE state = 'waiting' AND lane = $1 ORDER BY seq LIMIT $2";
// The limit holds before the kind: a long queue is not read through for each of its rows.
const BODIES: &str = "-- inbox.bodies
    SELECT body FROM (SELECT seq, kind, body FROM inbox WHERE state = 'waiting' AND lane = $1 ORDER BY seq LIMIT $3) AS ahead
    WHERE kind = $2 ORDER BY seq";
const TAKE_AND_COUNT: &str = "-- inbox.take_and_count
    UPDATE inbox SET attempts = 1
    WHERE seq = (SELECT MIN(seq) FROM inbox WHERE state = 'waiting' AND lane = $1) AND attempts = 0 AND kind NOT IN ('wa.missing', 'wa.merge')
    RETURNING seq, dedup, lane, source, login_id, portal_id, kind, body, CAST(0 AS BIGINT) AS attempts, received_at, rounds,
        CAST(CASE WHEN last_error = '' THEN 0 ELSE 1 END AS BIGINT) AS erred,
        (SELECT MIN(other.seq) FROM inbox AS other WHERE other.state = 'waiting' AND other.lane = $1 AND other.seq > inbox.seq) AS next";
const COUNT_ATTEMPT: &str = "-- inbox.count_attempt
    UPDATE inbox SET attempts = attempts + 1 WHERE seq = $1";
const FORGIVE_ATTEMPT: &str = "-- inbox.forgive_attempt
    UPDATE inbox SET attempts = attempts - 1 WHERE seq = $1 AND attempts > 0";
const SETTLE: &str = "-- inbox.settle
    DELETE FROM inbox WHERE seq = $1";
const FAIL: &str = "-- inbox.fail
    UPDATE inbox SET state = 'failed', last_error = $2 WHERE seq = $1 AND kind = $3";
const NOTE_ERROR: &str = "-- inbox.note_error
    UPDATE inbox SET last_error = $2 WHERE seq = $1";
const LANES: &str = "-- inbox.lanes
    SELECT DISTINCT lane FROM inbox WHERE state = 'waiting'";
const COUNTS: &str = "-- inbox.counts
    SELECT CAST(COALESCE(SUM(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END), 0) AS BIGINT) AS waiting,
           CAST(COALESCE(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT) AS failed,
           CAST(COALESCE(MIN(CASE WHEN state = 'waiting' THEN received_at END), 0) AS BIGINT) AS oldest_at
    FROM inbox";
const COUNTS_BY_SOURCE: &str = "-- inbox.counts_by_source
    SELECT source, CAST(SUM(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END) AS BIGINT) AS waiting,
           CAST(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END) AS BIGINT) AS failed,
           CAST(COALESCE(MIN(CASE WHEN state = 'waiting' THEN received_at END), 0) AS BIGINT) AS oldest_at
    FROM inbox GROUP BY source";
const SEEN: &str = "-- inbox.seen
    SELECT dedup FROM seen WHERE dedup = $1";
const SWEEP_FAILED: &str = "-- inbox.sweep_failed
    DELETE FROM inbox WHERE state = 'failed' AND received_at < $1";
const SWEEP_SEEN: &str = "-- inbox.sweep_seen
    DELETE FROM seen WHERE at < $1 AND SUBSTR(dedup, 1, 1) = $2";
const RETRY_FAILED: &str = "-- inbox.retry_failed
    UPDATE inbox SET state = 'waiting', attempts = 0, rounds = rounds + 1 WHERE state = 'failed' AND lane = $1";

impl Store {
    /// Puts an arrival inside a transaction; false when it was ever put before. Ring its lane after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_arrival(&self, tx: &mut Tx, arrival: &Arrival) -> Result<bool> {
        let now = self.clock().now_ms();
        let new = sqlx::query(PUT_SEEN).bind(&arrival.dedup).bind(now).execute(tx.connection()).await;
        if new.named("inbox.put_seen")?.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(PUT)
            .bind(arrival.seq.unwrap_or_else(|| self.clock().next_id()))
            .bind(&arrival.dedup)
            .bind(arrival.lane.as_str())
            .bind(arrival.source.text())
            .bind(arrival.login.as_ref().map_or("", LoginId::as_str))
            .bind(arrival.portal.map_or(0, PortalId::get))
            .bind(arrival.kind)
            .bind(arrival.body.as_slice())
            .bind(now)
            .execute(tx.connection())
            .await
            .named("inbox.put")?;
        Ok(true)
    }

    /// Puts a row that keeps the place of a message which could not be read, unless the message is here; false then.
    /// The arrival's kind is not looked at: the row is [`MISSING`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_missing(&self, tx: &mut Tx, arrival: &Arrival) -> Result<bool> {
        let new = sqlx::query(PUT_MISSING)
            .bind(arrival.seq.unwrap_or_else(|| self.clock().next_id()))
            .bind(&arrival.dedup)
            .bind(arrival.lane.as_str())
            .bind(arrival.source.text())
            .bind(arrival.login.as_ref().map_or("", LoginId::as_str))
            .bind(arrival.portal.map_or(0, PortalId::get))
            .bind(arrival.body.as_slice())
            .bind(self.clock().now_ms())
            .execute(tx.connection())
            .await
            .named("inbox.put_missing")?;
        Ok(new.rows_affected() > 0)
    }

    /// The lowest waiting rows of a lane, at most `limit`, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_rows(&self, lane: &Lane, limit: i64) -> Result<Vec<InboxRow>> {
        let rows =
            sqlx::query(TAKE).bind(lane.as_str()).bind(limit).fetch_all(self.pool()).await.named("inbox.take")?;
        rows.iter().map(read_row).collect::<std::result::Result<_, _>>().named("inbox.take")
    }

    /// What the rows of a kind hold, among the lowest `limit` waiting ones of a lane, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_bodies(&self, lane: &Lane, kind: &str, limit: i64) -> Result<Vec<Vec<u8>>> {
        let rows = sqlx::query(BODIES).bind(lane.as_str()).bind(kind).bind(limit).fetch_all(self.pool()).await;
        rows.named("inbox.bodies")?.iter().map(|row| row.try_get("body").named("inbox.bodies")).collect()
    }

    /// Takes a lane's lowest waiting row and counts its first attempt, in one statement; with it, whether others wait
    /// behind it. None when there is no row or it is no simple case: one tried before, or a place kept. Then
    /// [`Store::take_rows`] says.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_and_count(&self, lane: &Lane) -> Result<Option<(InboxRow, bool)>> {
        let done = self.write("inbox.take_and_count", sqlx::query(TAKE_AND_COUNT).bind(lane.as_str())).await?;
        let read = |row: &AnyRow| -> std::result::Result<(InboxRow, bool), sqlx::Error> {
            Ok((read_row(row)?, row.try_get::<Option<i64>, _>("next")?.is_some()))
        };
        done.rows.first().map(read).transpose().named("inbox.take_and_count")
    }

    /// Counts an attempt, committed before it is made, so that a row that kills the process is caught too. False
    /// when the row is not there any more: a catch-up gave it another number, so the lane has to be read again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_attempt(&self, seq: i64) -> Result<bool> {
        Ok(self.write("inbox.count_attempt", sqlx::query(COUNT_ATTEMPT).bind(seq)).await?.affected > 0)
    }

    /// Takes a counted attempt back: the other side was down, which says nothing against the row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forgive_attempt(&self, seq: i64) -> Result<()> {
        self.write("inbox.forgive_attempt", sqlx::query(FORGIVE_ATTEMPT).bind(seq)).await.map(drop)
    }

    /// Deletes a settled row inside the transaction that records its outcome.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_row_in(&self, tx: &mut Tx, seq: i64) -> Result<()> {
        sqlx::query(SETTLE).bind(seq).execute(tx.connection()).await.named("inbox.settle").map(drop)
    }

    /// Deletes a settled row whose outcome needs no other record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_row(&self, seq: i64) -> Result<()> {
        self.write("inbox.settle", sqlx::query(SETTLE).bind(seq)).await.map(drop)
    }

    /// Settles a row as failed: kept for `retry`, out of the lane's way. `why` holds no text, names or numbers. A missing
    /// message that came in the meantime stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_row(&self, row: &InboxRow, why: &str) -> Result<()> {
        self.write("inbox.fail", sqlx::query(FAIL).bind(row.seq).bind(why).bind(&row.kind)).await.map(drop)
    }

    /// Notes why the last attempt did not work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_row_error(&self, seq: i64, why: &str) -> Result<()> {
        self.write("inbox.note_error", sqlx::query(NOTE_ERROR).bind(seq).bind(why)).await.map(drop)
    }

    /// Puts a lane's failed rows back into it, in their old order; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry_failed(&self, lane: &Lane) -> Result<u64> {
        let done = self.write("inbox.retry_failed", sqlx::query(RETRY_FAILED).bind(lane.as_str())).await?;
        if done.affected > 0 {
            self.bell().ring(lane.clone());
        }
        Ok(done.affected)
    }

    /// Every lane with waiting rows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_lanes(&self) -> Result<Vec<Lane>> {
        let rows = sqlx::query(LANES).fetch_all(self.pool()).await.named("inbox.lanes")?;
        rows.iter()
            .map(|row| row.try_get::<String, _>("lane").map(Lane::new))
            .collect::<std::result::Result<_, _>>()
            .named("inbox.lanes")
    }

    /// How many rows wait and have failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn inbox_counts(&self) -> Result<InboxCounts> {
        let row = sqlx::query(COUNTS).fetch_one(self.pool()).await.named("inbox.counts")?;
        let read = || -> std::result::Result<InboxCounts, sqlx::Error> {
            Ok(InboxCounts {
                waiting: row.try_get("waiting")?,
                failed: row.try_get("failed")?,
                oldest_at: row.try_get("oldest_at")?,
            })
        };
        read().named("inbox.counts")
    }

    /// The same for what came from each network.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn inbox_counts_by_source(&self) -> Result<[(Source, InboxCounts); 2]> {
        let rows = sqlx::query(COUNTS_BY_SOURCE).fetch_all(self.pool()).await.named("inbox.counts_by_source")?;
        let mut counts = [(Source::Whatsapp, InboxCounts::default()), (Source::Matrix, InboxCounts::default())];
        for row in &rows {
            let read = || -> std::result::Result<(String, InboxCounts), sqlx::Error> {
                let (waiting, failed) = (row.try_get("waiting")?, row.try_get("failed")?);
                Ok((row.try_get("source")?, InboxCounts { waiting, failed, oldest_at: row.try_get("oldest_at")? }))
            };
            let (source, found) = read().named("inbox.counts_by_source")?;
            if let Some((_, count)) = counts.iter_mut().find(|(known, _)| known.text() == source) {
                *count = found;
            }
        }
        Ok(counts)
    }

    /// Whether an arrival with this `dedup` was ever put.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn was_seen(&self, dedup: &str) -> Result<bool> {
        Ok(sqlx::query(SEEN).bind(dedup).fetch_optional(self.line_pool()).await.named("inbox.seen")?.is_some())
    }

    /// Deletes the identities of arrivals before `before_ms` that no network repeats any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_seen(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("inbox.sweep_seen", sqlx::query(SWEEP_SEEN).bind(before_ms).bind(SWEPT)).await?.affected)
    }

    /// Deletes failed rows that arrived before `before_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_failed(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("inbox.sweep_failed", sqlx::query(SWEEP_FAILED).bind(before_ms)).await?.affected)
    }
}

/// Rings each lane of the arrivals that were new, once.
pub fn ring_all(store: &Store, lanes: impl IntoIterator<Item = Lane>) {
    let unique: HashMap<Lane, ()> = lanes.into_iter().map(|lane| (lane, ())).collect();
    for lane in unique.into_keys() {
        store.bell().ring(lane);
    }
}

fn read_row(row: &AnyRow) -> std::result::Result<InboxRow, sqlx::Error> {
    let login: String = row.try_get("login_id")?;
    let portal: i64 = row.try_get("portal_id")?;
    let source: String = row.try_get("source")?;
    Ok(InboxRow {
        seq: row.try_get("seq")?,
        dedup: row.try_get("dedup")?,
        lane: Lane::new(row.try_get::<String, _>("lane")?),
        source: if source == "wa" { Source::Whatsapp } else { Source::Matrix },
        login: (!login.is_empty()).then(|| LoginId::new(login)),
        portal: (portal != 0).then(|| PortalId::new(portal)),
        kind: row.try_get("kind")?,
        body: row.try_get("body")?,
        attempts: row.try_get("attempts")?,
        received_at: row.try_get("received_at")?,
        rounds: row.try_get("rounds")?,
        erred: row.try_get::<i64, _>("erred")? != 0,
    })
}
