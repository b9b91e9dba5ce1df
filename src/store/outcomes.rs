//! What became of messages and was not told yet.
//!
//! An outcome is noted before the work on its arrival, and can be told when the arrival is settled: it then has no row in the
//! inbox any more, also when the process died in between. What has failed is told before it is settled, and needs no outcome.

use super::inbox::InboxRow;
use super::{Named, Result, Store, Tx};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Outcomes told at a time.
const PAGE: i64 = 100;

/// An outcome that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which arrival's, or a name of its own.
    pub dedup: String,
    /// Where.
    pub room: String,
    /// Whose event's outcome; empty where only notices are corrected.
    pub event: String,
    /// Notices of earlier failures that are no longer true.
    pub notices: Vec<String>,
    /// Whose phone has it; empty while that is not known.
    pub delivered_to: String,
    /// Why it was settled without reaching WhatsApp, for people; empty when it is there.
    pub unsent: String,
}

const EXPECT: &str = "-- outcome.expect
    INSERT INTO outcome (dedup, room_id, event_id, notices, pending, delivered_to, at) VALUES ($1, $2, $3, $4, 0, '', $5)
    ON CONFLICT (dedup) DO UPDATE SET
        event_id = CASE WHEN excluded.event_id = '' THEN outcome.event_id ELSE excluded.event_id END,
        notices = CASE WHEN excluded.notices = '' THEN outcome.notices ELSE excluded.notices END";
const NOTICES: &str = "-- failure_notice.of_row
    SELECT event_id FROM failure_notice WHERE seq = $1 ORDER BY event_id";
const PENDING: &str = "-- outcome.pending
    SELECT dedup, room_id, event_id, notices, delivered_to, unsent FROM outcome WHERE dedup = $1 AND pending = 0 AND event_id <> ''";
const PENDING_TOLD: &str = "-- outcome.pending_told
    UPDATE outcome SET pending = 1 WHERE dedup = $1";
const DUE: &str = "-- outcome.due
    SELECT dedup, room_id, event_id, notices, delivered_to, unsent FROM outcome
    WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.dedup = outcome.dedup) ORDER BY at LIMIT $1";
const UNSENT: &str = "-- outcome.unsent
    UPDATE outcome SET unsent = $2, notices = '' WHERE dedup = $1";
const TOLD: &str = "-- outcome.told
    DELETE FROM outcome WHERE dedup = $1 AND delivered_to = $2";
const FORGET_FAILED: &str = "-- outcome.forget_failed
    DELETE FROM outcome WHERE EXISTS (SELECT 1 FROM inbox WHERE inbox.dedup = outcome.dedup AND inbox.state = 'failed')";
const DELIVERED: &str = "-- outcome.delivered
    UPDATE outcome SET delivered_to = $2 WHERE event_id = $1";

impl Store {
    /// Notes, before the work on it, that an arrival's outcome is to be told; `event` may be empty.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expect_outcome(&self, dedup: &str, room: &str, event: &str, notices: &[String]) -> Result<()> {
        let write = sqlx::query(EXPECT)
            .bind(dedup)
            .bind(room)
            .bind(event)
            .bind(notices.join("\n"))
            .bind(self.clock().next_id());
        self.write("outcome.expect", write).await.map(drop)
    }

    /// The notices that told of failures of a row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn notices_of(&self, seq: i64) -> Result<Vec<String>> {
        let rows = sqlx::query(NOTICES).bind(seq).fetch_all(self.pool()).await.named("failure_notice.of_row")?;
        rows.iter()
            .map(|row| row.try_get("event_id"))
            .collect::<std::result::Result<_, _>>()
            .named("failure_notice.of_row")
    }

    /// The outcome of an arrival of which nobody was told yet that it waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_untold_wait(&self, dedup: &str) -> Result<Option<Outcome>> {
        let row = sqlx::query(PENDING).bind(dedup).fetch_optional(self.pool()).await.named("outcome.pending")?;
        row.as_ref().map(read).transpose().named("outcome.pending")
    }

    /// Notes that it was told that an arrival waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wait_was_told(&self, dedup: &str) -> Result<()> {
        self.write("outcome.pending_told", sqlx::query(PENDING_TOLD).bind(dedup)).await.map(drop)
    }

    /// Deletes the row of an arrival that is settled and not on WhatsApp; `why` is for people. What was said of it before
    /// stays true.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_unsent_row(&self, row: &InboxRow, why: &str) -> Result<()> {
        let mut tx = self.begin("outcome.unsent").await?;
        let unsent = sqlx::query(UNSENT).bind(row.dedup.as_str()).bind(why);
        unsent.execute(tx.connection()).await.named("outcome.unsent")?;
        self.settle_row_in(&mut tx, row.seq).await?;
        tx.commit().await
    }

    /// Outcomes of settled arrivals, oldest first, at most a hundred.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_outcomes(&self) -> Result<Vec<Outcome>> {
        let rows = sqlx::query(DUE).bind(PAGE).fetch_all(self.pool()).await.named("outcome.due")?;
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("outcome.due")
    }

    /// Deletes an outcome that was told, unless more became known meanwhile: then it is told again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outcome_was_told(&self, outcome: &Outcome) -> Result<()> {
        let write = sqlx::query(TOLD).bind(outcome.dedup.as_str()).bind(outcome.delivered_to.as_str());
        self.write("outcome.told", write).await.map(drop)
    }

    /// Deletes the outcomes of arrivals that have failed, which was told in another way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_failed_outcomes(&self) -> Result<u64> {
        Ok(self.write("outcome.forget_failed", sqlx::query(FORGET_FAILED)).await?.affected)
    }

    /// Notes that somebody's phone has a message: told with its outcome, or by itself when that was told before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_delivery_in(&self, tx: &mut Tx, room: &str, event: &str, user: &str) -> Result<()> {
        let known = sqlx::query(DELIVERED).bind(event).bind(user).execute(tx.connection()).await;
        if known.named("outcome.delivered")?.rows_affected() > 0 {
            return Ok(());
        }
        sqlx::query(EXPECT)
            .bind(self.derive().mx_dedup(&["delivered", event]))
            .bind(room)
            .bind(event)
            .bind("")
            .bind(self.clock().next_id())
            .execute(tx.connection())
            .await
            .named("outcome.expect")?;
        let known = sqlx::query(DELIVERED).bind(event).bind(user).execute(tx.connection()).await;
        known.named("outcome.delivered").map(drop)
    }
}

fn read(row: &AnyRow) -> std::result::Result<Outcome, sqlx::Error> {
    let notices: String = row.try_get("notices")?;
    Ok(Outcome {
        dedup: row.try_get("dedup")?,
        room: row.try_get("room_id")?,
        event: row.try_get("event_id")?,
        notices: notices.lines().map(str::to_owned).collect(),
        delivered_to: row.try_get("delivered_to")?,
        unsent: row.try_get("unsent")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lane;
    use crate::store::inbox::{Arrival, Source};
    use crate::store::tests::on_both;

    on_both! { an_outcome_is_due_when_its_arrival_is_settled => outcomes; }

    async fn outcomes(store: Store) {
        let lane = Lane::from_person("!r:a", "@a:a");
        let mut tx = store.begin("test").await.unwrap();
        for dedup in ["d1", "d2"] {
            let arrival = Arrival {
                dedup: dedup.into(),
                lane: lane.clone(),
                source: Source::Matrix,
                login: None,
                portal: None,
                kind: "event",
                body: b"{}".to_vec(),
                seq: None,
            };
            assert!(store.put_arrival(&mut tx, &arrival).await.unwrap());
        }
        tx.commit().await.unwrap();
        let rows = store.take_rows(&lane, 9).await.unwrap();
        for row in &rows {
            store.expect_outcome(&row.dedup, "!r:a", &format!("${}", row.dedup), &[]).await.unwrap();
            store.expect_outcome(&row.dedup, "!r:a", "", &["$n".into()]).await.unwrap();
        }
        assert_eq!(store.due_outcomes().await.unwrap(), []);
        assert!(store.find_untold_wait("d1").await.unwrap().is_some());
        store.wait_was_told("d1").await.unwrap();
        assert_eq!(store.find_untold_wait("d1").await.unwrap(), None);

        // One is settled: it is due, with all that is known of it. The other fails.
        store.settle_row(rows[0].seq).await.unwrap();
        store.fail_row(&rows[1], "why").await.unwrap();
        let due = store.due_outcomes().await.unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].event.as_str(), due[0].notices.as_slice()), ("$d1", &["$n".to_owned()][..]));
        assert_eq!(store.forget_failed_outcomes().await.unwrap(), 1);

        // What becomes known while it is told is told too; afterwards it is told by itself.
        let mut tx = store.begin("test").await.unwrap();
        store.note_delivery_in(&mut tx, "!r:a", "$d1", "@g:a").await.unwrap();
        tx.commit().await.unwrap();
        store.outcome_was_told(&due[0]).await.unwrap();
        let due = store.due_outcomes().await.unwrap();
        assert_eq!(due.iter().map(|due| due.delivered_to.as_str()).collect::<Vec<_>>(), ["@g:a"]);
        store.outcome_was_told(&due[0]).await.unwrap();
        let mut tx = store.begin("test").await.unwrap();
        store.note_delivery_in(&mut tx, "!r:a", "$d1", "@g:a").await.unwrap();
        tx.commit().await.unwrap();
        let due = store.due_outcomes().await.unwrap();
        assert_eq!(due.iter().map(|due| due.delivered_to.as_str()).collect::<Vec<_>>(), ["@g:a"]);

        // What is settled without being sent says why, and no notice of it is taken back.
        let why = "Nobody wants it.";
        store.expect_outcome("d3", "!r:a", "$d3", &["$n".into()]).await.unwrap();
        store.settle_unsent_row(&InboxRow { dedup: "d3".into(), ..rows[0].clone() }, why).await.unwrap();
        let due = store.due_outcomes().await.unwrap();
        let unsent = due.iter().find(|due| due.dedup == "d3").unwrap();
        assert_eq!((unsent.unsent.as_str(), unsent.notices.len()), (why, 0));
        assert!(due.iter().all(|due| due.dedup == "d3" || due.unsent.is_empty()));

        // Each time it is tried again is counted.
        assert_eq!(store.retry_failed(&lane).await.unwrap(), 1);
        let row = &store.take_rows(&lane, 9).await.unwrap()[0];
        assert_eq!(row.rounds, 1);
        store.fail_row(row, "why").await.unwrap();
        assert!(store.retry_one(row.seq, &lane, "wish").await.unwrap());
        assert_eq!(store.take_and_count(&lane).await.unwrap().map(|(row, _)| row.rounds), Some(2));
    }
}
