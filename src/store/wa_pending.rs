//! Messages in passage: decrypted ones on their way into the inbox, sent ones that a retry may ask for.
//!
//! The rules and the reason for them are in `wa_backend`: a failed pending write poisons the line, and a duplicate
//! without a stored copy is noted before it is acknowledged.

use super::wa_backend::{LineBackend, UnknownDuplicate, column, json_error, last_of_each};
use super::wa_rows::{Rows, Statement, key_text};
use crate::derive::body_hash;
use std::borrow::Cow;
use std::time::Duration;
use whatsapp_rust::wacore::store::error::{Result, StoreError};
use whatsapp_rust::wacore::store::traits::{PendingInboundKey, PendingInboundRow};

static PUT_PENDING: Rows = Rows::new(
    "-- wa.put_pending
    INSERT INTO wa_pending (device_key, stored_at, chat, sender, message_id, message) VALUES ",
    2,
    "($1, $2, ?, ?, ?, ?)",
    " ON CONFLICT (device_key, chat, sender, message_id) DO UPDATE
        SET message = excluded.message, stored_at = excluded.stored_at",
);
const FIND_PENDING: &str = "-- wa.find_pending
    SELECT message FROM wa_pending WHERE device_key = $1 AND chat = $2 AND sender = $3 AND message_id = $4";
pub(super) static DELETE_PENDING: Rows = Rows::new(
    "-- wa.delete_pending
    DELETE FROM wa_pending WHERE device_key = $1 AND (chat, sender, message_id) IN (VALUES ",
    1,
    "(?, ?, ?)",
    ")",
);
const DELETE_OLD_PENDING: &str = "-- wa.delete_old_pending
    DELETE FROM wa_pending WHERE device_key = $1 AND stored_at < $2";
const NOTE_UNKNOWN: &str = "-- wa.note_unknown
    INSERT INTO wa_unknown (device_key, dedup, body, noted_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (device_key, dedup) DO NOTHING";
const LIST_UNKNOWN: &str = "-- wa.list_unknown
    SELECT body FROM wa_unknown WHERE device_key = $1 ORDER BY noted_at, dedup LIMIT $2";
const SETTLE_UNKNOWN: &str = "-- wa.settle_unknown
    DELETE FROM wa_unknown WHERE device_key = $1 AND dedup = $2";
const PUT_SENT: &str = "-- wa.put_sent
    INSERT INTO wa_sent (device_key, chat, message_id, payload, created_at, taken_at) VALUES ($1, $2, $3, $4, $5, 0)
    ON CONFLICT (device_key, chat, message_id) DO UPDATE SET payload = excluded.payload, created_at = excluded.created_at";
const TAKE_SENT: &str = "-- wa.take_sent
    UPDATE wa_sent SET taken_at = $4 WHERE device_key = $1 AND chat = $2 AND message_id = $3 RETURNING payload";
const DELETE_OLD_SENT: &str = "-- wa.delete_old_sent
    DELETE FROM wa_sent WHERE device_key = $1 AND created_at < $2";

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) const TEXTS: &[&str] = &[
    FIND_PENDING,
    DELETE_OLD_PENDING,
    NOTE_UNKNOWN,
    LIST_UNKNOWN,
    SETTLE_UNKNOWN,
    PUT_SENT,
    TAKE_SENT,
    DELETE_OLD_SENT,
];
/// Texts over rows of this file.
#[cfg(test)]
pub(super) static ROWS: &[&Rows] = &[&PUT_PENDING, &DELETE_PENDING];

/// Ids the library's builder uses to try the pending rows out.
const PROBE: &str = "__wa_durability_probe_";
/// Waits before a failed pending write is tried again.
const RETRY_AFTER: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];
/// How long a pending write may take altogether before it counts as failed.
const PENDING_DEADLINE: Duration = Duration::from_secs(10);

pub(super) type PendingKey<'a> = [Cow<'a, str>; 3];

fn pending_key<'a>(chat: &'a str, sender: &'a str, id: &'a str) -> PendingKey<'a> {
    [key_text(chat), key_text(sender), key_text(id)]
}

pub(super) fn bind_pending_key(statement: Statement, key: &PendingKey<'_>) -> Statement {
    key.iter().fold(statement, |statement, part| statement.bind(part.as_ref()))
}

/// The library's cutoffs are seconds since 1970, our times milliseconds.
fn cutoff_ms(cutoff_seconds: i64) -> i64 {
    cutoff_seconds.saturating_mul(1000)
}

fn count_of(rows: u64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

impl UnknownDuplicate {
    fn dedup(&self) -> String {
        let [chat, sender, id] = [&self.chat, &self.sender, &self.id];
        body_hash(format!("{} {} {}\n{chat}{sender}{id}", chat.len(), sender.len(), id.len()).as_bytes())
    }
}

impl LineBackend {
    /// Up to `limit` redelivered messages the library took for known without having a copy, the oldest first. Each
    /// stays until [`LineBackend::settle_unknown_duplicate`], over restarts too: when `seen` does not know it either,
    /// a message was lost and the phone is to be asked for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_unknown_duplicates(&self, limit: i64) -> Result<Vec<UnknownDuplicate>> {
        let rows = self.list(self.of(LIST_UNKNOWN).bind(limit)).await?;
        let read = |row| serde_json::from_slice(&column::<Vec<u8>>(row, "body")?).map_err(json_error);
        rows.iter().map(read).collect()
    }

    /// Waits until there may be something new for [`LineBackend::take_unknown_duplicates`]. For one listener; look
    /// once before the first wait.
    pub async fn wait_unknown_duplicate(&self) {
        self.unknown_noted.notified().await;
    }

    /// Forgets a noted duplicate: it was seen before, or asked for again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_unknown_duplicate(&self, duplicate: &UnknownDuplicate) -> Result<()> {
        self.run(self.of(SETTLE_UNKNOWN).bind(duplicate.dedup())).await.map(drop)
    }

    pub(super) async fn put_pending(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        let turn = self.begin_pending_write().await?;
        let rows = last_of_each(rows.iter().map(|row| (pending_key(row.chat, row.sender, row.id), row.message)));
        for (key, _) in &rows {
            self.settled.take_back(key).await;
        }
        let tried = tokio::time::timeout(PENDING_DEADLINE, async {
            let mut waits = RETRY_AFTER.iter();
            loop {
                match (self.try_put_pending(&rows).await, waits.next()) {
                    (Ok(()), _) => return Ok(()),
                    (Err(error), None) => return Err(error),
                    (Err(_), Some(wait)) => tokio::time::sleep(*wait).await,
                }
            }
        });
        match tried.await {
            Ok(Ok(())) => {
                turn.settle();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::RetriesExhausted { op: "wa.put_pending".into() }),
        }
    }

    async fn try_put_pending(&self, rows: &[(PendingKey<'_>, &[u8])]) -> Result<()> {
        fail::fail_point!("wa_store.pending", |_| Err(super::wa_backend::injected("wa_store.pending")));
        let now = self.store.clock().now_ms();
        self.run_rows(
            &PUT_PENDING,
            rows,
            |statement| statement.bind(now),
            |statement, (key, message)| bind_pending_key(statement, key).bind(*message),
        )
        .await
    }

    pub(super) async fn find_pending(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        let key = pending_key(chat, sender, id);
        let statement = bind_pending_key(self.of(FIND_PENDING), &key);
        if !self.settled.holds(&key)
            && let Some(row) = self.find(statement).await?
        {
            return column(&row, "message").map(Some);
        }
        if id.starts_with(PROBE) {
            return Ok(None);
        }
        // The library acknowledges on `None`, so this is durable first; failing means no acknowledgement yet.
        let unknown = UnknownDuplicate { chat: chat.into(), sender: sender.into(), id: id.into() };
        let body = serde_json::to_vec(&unknown).map_err(json_error)?;
        let statement = self.of(NOTE_UNKNOWN).bind(unknown.dedup()).bind(body);
        self.run(statement.bind(self.store.clock().now_ms())).await?;
        if let Some(hear) = self.on_unknown.get() {
            hear(&unknown);
        }
        self.unknown_noted.notify_one();
        Ok(None)
    }

    /// Late and many at once (`wa_settled`): a copy that outlives its message is handed over again and known by `seen`.
    pub(super) fn delete_pending(&self, keys: &[PendingInboundKey<'_>]) {
        self.settled.put(keys.iter().map(|key| pending_key(key.chat, key.sender, key.id)));
    }

    pub(super) async fn delete_old_pending(&self, cutoff_seconds: i64) -> Result<u32> {
        self.delete_settled().await;
        self.run(self.of(DELETE_OLD_PENDING).bind(cutoff_ms(cutoff_seconds))).await.map(count_of)
    }

    pub(super) async fn put_sent(&self, chat: &str, id: &str, payload: &[u8]) -> Result<()> {
        fail::fail_point!("wa_store.sent", |_| Err(super::wa_backend::injected("wa_store.sent")));
        let statement = self.of(PUT_SENT).bind_key(chat).bind_key(id).bind(payload);
        self.run(statement.bind(self.store.clock().now_ms())).await.map(drop)
    }

    /// Marks instead of deleting: the library takes a message before the resend is out, so deleting would lose it
    /// to a kill and leave a second retry without an answer.
    pub(super) async fn take_sent(&self, chat: &str, id: &str) -> Result<Option<Vec<u8>>> {
        let statement = self.of(TAKE_SENT).bind_key(chat).bind_key(id).bind(self.store.clock().now_ms());
        self.run_and_list(statement).await?.first().map(|row| column(row, "payload")).transpose()
    }

    pub(super) async fn delete_old_sent(&self, cutoff_seconds: i64) -> Result<u32> {
        self.run(self.of(DELETE_OLD_SENT).bind(cutoff_ms(cutoff_seconds))).await.map(count_of)
    }
}
