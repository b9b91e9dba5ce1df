//! The library's secrets of messages, by which edits, votes and reactions on them are opened.
//!
//! The library writes them behind its own back: a kill loses those of the last moments even when their messages were
//! acknowledged. What must not be lost (polls) is stored by the bridge with the message.

use super::wa_backend::{LineBackend, column};
use super::wa_rows::{Rows, key_text};
use async_trait::async_trait;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use whatsapp_rust::wacore::store::error::Result;
use whatsapp_rust::wacore::store::traits::{
    MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts,
};

// The merge is the library's `merge_msg_secret_expiry` (0 = for ever, and wins; else the later) and
// `merge_msg_secret_message_ts` (the later).
static PUT: Rows = Rows::new(
    "-- wa.put_secret
    INSERT INTO wa_secret (device_key, chat, sender, message_id, secret, expires_at, message_ts) VALUES ",
    1,
    "($1, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (device_key, chat, sender, message_id) DO UPDATE SET secret = excluded.secret,
        expires_at = CASE WHEN wa_secret.expires_at = 0 OR excluded.expires_at = 0 THEN 0
                          WHEN wa_secret.expires_at > excluded.expires_at THEN wa_secret.expires_at
                          ELSE excluded.expires_at END,
        message_ts = CASE WHEN wa_secret.message_ts > excluded.message_ts THEN wa_secret.message_ts
                          ELSE excluded.message_ts END",
);
const FIND: &str = "-- wa.find_secret
    SELECT secret, message_ts FROM wa_secret WHERE device_key = $1 AND chat = $2 AND sender = $3 AND message_id = $4";
const DELETE_EXPIRED: &str = "-- wa.delete_expired_secrets
    DELETE FROM wa_secret WHERE device_key = $1 AND expires_at <> 0 AND expires_at <= $2";

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) const TEXTS: &[&str] = &[FIND, DELETE_EXPIRED];
/// Texts over rows of this file.
#[cfg(test)]
pub(super) static ROWS: &[&Rows] = &[&PUT];

struct Secret {
    secret: [u8; 32],
    expires_at: i64,
    message_ts: i64,
}

#[async_trait]
impl MsgSecretStore for LineBackend {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Result<usize> {
        // One statement can not touch a row twice, so what comes twice is merged here, by the same rule.
        let mut merged: BTreeMap<[Cow<'_, str>; 3], Secret> = BTreeMap::new();
        for entry in &entries {
            let new = Secret { secret: entry.secret, expires_at: entry.expires_at, message_ts: entry.message_ts };
            match merged.entry([key_text(&entry.chat), key_text(&entry.sender), key_text(&entry.msg_id)]) {
                Entry::Vacant(vacant) => drop(vacant.insert(new)),
                Entry::Occupied(mut occupied) => {
                    let old = occupied.get_mut();
                    old.secret = new.secret;
                    old.expires_at = merge_msg_secret_expiry(old.expires_at, new.expires_at);
                    old.message_ts = merge_msg_secret_message_ts(old.message_ts, new.message_ts);
                }
            }
        }
        let rows: Vec<_> = merged.into_iter().collect();
        self.run_rows(
            &PUT,
            &rows,
            |statement| statement,
            |statement, (key, secret)| {
                key.iter()
                    .fold(statement, |statement, part| statement.bind(part.as_ref()))
                    .bind(secret.secret.as_slice())
                    .bind(secret.expires_at)
                    .bind(secret.message_ts)
            },
        )
        .await?;
        Ok(entries.len())
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get_msg_secret_with_ts(chat, sender, msg_id).await?.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<(Vec<u8>, i64)>> {
        let statement = self.of(FIND).bind_key(chat).bind_key(sender).bind_key(msg_id);
        let Some(row) = self.find(statement).await? else { return Ok(None) };
        Ok(Some((column(&row, "secret")?, column(&row, "message_ts")?)))
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Result<u32> {
        let gone = self.run(self.of(DELETE_EXPIRED).bind(cutoff_timestamp)).await?;
        Ok(u32::try_from(gone).unwrap_or(u32::MAX))
    }
}
