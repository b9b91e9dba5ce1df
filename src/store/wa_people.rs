//! What the library knows of people and groups: LID and number, device lists, privacy tokens, group data.
//!
//! A pair of LID and number is also written to the bridge's own `wa_alias`, in the same transaction, and told to the
//! line. The newest pair wins; a pair from a stale source (the library dates it 0) replaces none.

use super::Named;
use super::inbox::ring_all;
use super::wa_backend::{LineBackend, column, json_error, last_of_each, store_error};
use super::wa_rows::{Rows, Statement, key_text};
use crate::ids::GhostId;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use whatsapp_rust::wacore::store::error::Result;
use whatsapp_rust::wacore::store::traits::{DeviceListRecord, LidPnMappingEntry, TcTokenEntry};

static PUT_LID: Rows = Rows::new(
    "-- wa.put_lid
    INSERT INTO wa_lid_map (device_key, lid, pn, created_at, updated_at, source, stored_seq) VALUES ",
    1,
    "($1, ?, ?, ?, ?, ?, ?)",
    " ON CONFLICT (device_key, lid) DO UPDATE SET pn = excluded.pn, created_at = excluded.created_at,
        updated_at = excluded.updated_at, source = excluded.source, stored_seq = excluded.stored_seq",
);
static PUT_ALIAS: Rows = Rows::new(
    "-- wa.put_alias
    INSERT INTO wa_alias (pn, lid, learnt_at) VALUES ",
    0,
    "(?, ?, ?)",
    " ON CONFLICT (pn) DO UPDATE SET lid = excluded.lid, learnt_at = excluded.learnt_at
        WHERE wa_alias.lid <> excluded.lid AND wa_alias.learnt_at <= excluded.learnt_at RETURNING pn, lid",
);
const FIND_BY_LID: &str = "-- wa.find_lid
    SELECT lid, pn, created_at, updated_at, source FROM wa_lid_map WHERE device_key = $1 AND lid = $2";
const FIND_BY_PN: &str = "-- wa.find_lid_by_pn
    SELECT lid, pn, created_at, updated_at, source FROM wa_lid_map WHERE device_key = $1 AND pn = $2
    ORDER BY created_at DESC, stored_seq DESC LIMIT 1";
const LIST_LIDS: &str = "-- wa.list_lids
    SELECT lid, pn, created_at, updated_at, source FROM wa_lid_map WHERE device_key = $1 ORDER BY stored_seq";
static PUT_DEVICES: Rows = Rows::new(
    "-- wa.put_devices
    INSERT INTO wa_device_list (device_key, person, record) VALUES ",
    1,
    "($1, ?, ?)",
    " ON CONFLICT (device_key, person) DO UPDATE SET record = excluded.record",
);
const FIND_DEVICES: &str = "-- wa.find_devices
    SELECT record FROM wa_device_list WHERE device_key = $1 AND person = $2";
const DELETE_DEVICES: &str = "-- wa.delete_devices
    DELETE FROM wa_device_list WHERE device_key = $1 AND person = $2";
const PUT_GROUP: &str = "-- wa.put_group
    INSERT INTO wa_group (device_key, group_id, info) VALUES ($1, $2, $3)
    ON CONFLICT (device_key, group_id) DO UPDATE SET info = excluded.info";
const FIND_GROUP: &str = "-- wa.find_group
    SELECT info FROM wa_group WHERE device_key = $1 AND group_id = $2";
const DELETE_GROUP: &str = "-- wa.delete_group
    DELETE FROM wa_group WHERE device_key = $1 AND group_id = $2";
const FIND_TOKEN: &str = "-- wa.find_token
    SELECT token, token_ts, sender_ts FROM wa_token WHERE device_key = $1 AND jid = $2";
const PUT_TOKEN: &str = "-- wa.put_token
    INSERT INTO wa_token (device_key, jid, token, token_ts, sender_ts) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (device_key, jid) DO UPDATE
    SET token = excluded.token, token_ts = excluded.token_ts, sender_ts = excluded.sender_ts";
const DELETE_TOKEN: &str = "-- wa.delete_token
    DELETE FROM wa_token WHERE device_key = $1 AND jid = $2";
const LIST_TOKENS: &str = "-- wa.list_tokens
    SELECT jid FROM wa_token WHERE device_key = $1";
const DELETE_OLD_TOKENS: &str = "-- wa.delete_old_tokens
    DELETE FROM wa_token WHERE device_key = $1 AND (LENGTH(token) = 0 OR token_ts < $2)
    AND (sender_ts IS NULL OR sender_ts < $3)";
const TOUCH_TOKEN: &str = "-- wa.touch_token
    INSERT INTO wa_token (device_key, jid, token, token_ts, sender_ts) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (device_key, jid) DO UPDATE SET sender_ts = excluded.sender_ts
    WHERE wa_token.sender_ts IS NULL OR wa_token.sender_ts < excluded.sender_ts";
const RECEIVE_TOKEN: &str = "-- wa.receive_token
    INSERT INTO wa_token (device_key, jid, token, token_ts, sender_ts) VALUES ($1, $2, $3, $4, NULL)
    ON CONFLICT (device_key, jid) DO UPDATE SET token = excluded.token, token_ts = excluded.token_ts
    WHERE LENGTH(wa_token.token) = 0 OR wa_token.token_ts <= excluded.token_ts";

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) const TEXTS: &[&str] = &[
    FIND_BY_LID,
    FIND_BY_PN,
    LIST_LIDS,
    FIND_DEVICES,
    DELETE_DEVICES,
    PUT_GROUP,
    FIND_GROUP,
    DELETE_GROUP,
    FIND_TOKEN,
    PUT_TOKEN,
    DELETE_TOKEN,
    LIST_TOKENS,
    DELETE_OLD_TOKENS,
    TOUCH_TOKEN,
    RECEIVE_TOKEN,
];
/// Texts over rows of this file.
#[cfg(test)]
pub(super) static ROWS: &[&Rows] = &[&PUT_LID, &PUT_ALIAS, &PUT_DEVICES];

fn read_alias(row: &AnyRow) -> std::result::Result<(GhostId, GhostId), sqlx::Error> {
    Ok((GhostId::new(row.try_get::<String, _>("pn")?), GhostId::new(row.try_get::<String, _>("lid")?)))
}

fn read_mapping(row: &AnyRow) -> Result<LidPnMappingEntry> {
    Ok(LidPnMappingEntry {
        lid: column(row, "lid")?,
        phone_number: column(row, "pn")?,
        created_at: column(row, "created_at")?,
        updated_at: column(row, "updated_at")?,
        learning_source: column(row, "source")?,
    })
}

fn read_token(row: &AnyRow) -> Result<TcTokenEntry> {
    Ok(TcTokenEntry {
        token: column(row, "token")?,
        token_timestamp: column(row, "token_ts")?,
        sender_timestamp: column(row, "sender_ts")?,
    })
}

/// Tokens looked up lately, absent ones too: the library asks before each direct message it sends. Only this
/// device's own client changes them, so they hold until one is written.
#[derive(Default)]
pub(super) struct TokenCache {
    known: Mutex<KnownTokens>,
}

#[derive(Default)]
struct KnownTokens {
    /// Counts the times everything was forgotten, so that a look-up begun before a write keeps nothing.
    generation: u64,
    by_jid: HashMap<String, Option<TcTokenEntry>>,
}

impl TokenCache {
    /// Contacts remembered; when one more comes, all are forgotten.
    const MOST: usize = 1_024;

    /// What is known of a contact's token; else the generation to hand to [`TokenCache::keep`].
    fn look(&self, jid: &str) -> std::result::Result<Option<TcTokenEntry>, u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_jid.get(jid).cloned().ok_or(known.generation)
    }

    fn keep(&self, generation: u64, jid: &str, entry: Option<TcTokenEntry>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_jid.len() >= Self::MOST {
            known.by_jid.clear();
        }
        if known.generation == generation {
            known.by_jid.insert(jid.to_owned(), entry);
        }
    }

    fn forget(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.by_jid.clear();
    }
}

impl LineBackend {
    pub(super) async fn put_lids(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        // Numbered in the order given, whatever order they are written in.
        let numbered: Vec<_> = entries.iter().map(|entry| (self.store.clock().next_id(), entry)).collect();
        let by_lid = last_of_each(numbered.iter().map(|row| (key_text(&row.1.lid), *row)));
        let bind_lid = |statement: Statement, (lid, (seq, entry)): &(_, (i64, &LidPnMappingEntry))| {
            let lid: &std::borrow::Cow<'_, str> = lid;
            statement
                .bind(lid.as_ref())
                .bind_key(&entry.phone_number)
                .bind(entry.created_at)
                .bind(entry.updated_at)
                .bind_key(&entry.learning_source)
                .bind(*seq)
        };
        let by_pn = newest_by_pn(entries);
        let bind_alias = |statement: Statement, (pn, lid, learnt_at): &(String, String, i64)| {
            statement.bind(pn.as_str()).bind(lid.as_str()).bind(*learnt_at)
        };
        let mut tx = self.begin("wa.put_lids").await?;
        for statement in self.statements_of(&PUT_LID, &by_lid, |statement| statement, bind_lid) {
            self.run_in(&mut tx, statement).await?;
        }
        let mut learnt = Vec::new();
        for chunk in PUT_ALIAS.chunks(&by_pn) {
            let statement = chunk.iter().fold(PUT_ALIAS.statement(chunk.len()), bind_alias);
            let rows = self.run_in(&mut tx, statement).await?;
            let read: std::result::Result<Vec<_>, _> = rows.iter().map(read_alias).collect();
            learnt.extend(read.named("wa.put_alias").map_err(store_error)?);
        }
        // With the pairs, not after them: nobody may ever find a person under both ids.
        let mut lanes = Vec::new();
        for (pn, lid) in learnt {
            lanes.extend(self.store.join_ids_in(&mut tx, &pn, &lid).await.map_err(store_error)?);
        }
        tx.commit().await.map_err(store_error)?;
        ring_all(&self.store, lanes);
        Ok(())
    }

    pub(super) async fn find_lid(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        self.find(self.of(FIND_BY_LID).bind_key(lid)).await?.as_ref().map(read_mapping).transpose()
    }

    pub(super) async fn find_lid_by_pn(&self, pn: &str) -> Result<Option<LidPnMappingEntry>> {
        self.find(self.of(FIND_BY_PN).bind_key(pn)).await?.as_ref().map(read_mapping).transpose()
    }

    pub(super) async fn list_lids(&self) -> Result<Vec<LidPnMappingEntry>> {
        self.list(self.of(LIST_LIDS)).await?.iter().map(read_mapping).collect()
    }

    pub(super) async fn put_devices(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        let rows = last_of_each(records.iter().map(|record| (key_text(&record.user), record)))
            .into_iter()
            .map(|(person, record)| Ok((person, serde_json::to_vec(record).map_err(json_error)?)))
            .collect::<Result<Vec<_>>>()?;
        self.run_rows(
            &PUT_DEVICES,
            &rows,
            |statement| statement,
            |statement, (person, record)| statement.bind(person.as_ref()).bind(record.as_slice()),
        )
        .await
    }

    pub(super) async fn find_devices(&self, person: &str) -> Result<Option<DeviceListRecord>> {
        let Some(row) = self.find(self.of(FIND_DEVICES).bind_key(person)).await? else { return Ok(None) };
        let record: Vec<u8> = column(&row, "record")?;
        serde_json::from_slice(&record).map(Some).map_err(json_error)
    }

    pub(super) async fn forget_devices(&self, person: &str) -> Result<()> {
        self.run(self.of(DELETE_DEVICES).bind_key(person)).await.map(drop)
    }

    pub(super) async fn find_group(&self, group: &str) -> Result<Option<Vec<u8>>> {
        let row = self.find(self.of(FIND_GROUP).bind_key(group)).await?;
        row.map(|row| column(&row, "info")).transpose()
    }

    pub(super) async fn put_group(&self, group: &str, info: &[u8]) -> Result<()> {
        self.run(self.of(PUT_GROUP).bind_key(group).bind(info)).await.map(drop)
    }

    pub(super) async fn forget_group(&self, group: &str) -> Result<()> {
        self.run(self.of(DELETE_GROUP).bind_key(group)).await.map(drop)
    }

    pub(super) async fn find_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        let generation = match self.tokens.look(jid) {
            Ok(known) => return Ok(known),
            Err(generation) => generation,
        };
        let row = self.find(self.of(FIND_TOKEN).bind_key(jid)).await?;
        let entry = row.as_ref().map(read_token).transpose()?;
        self.tokens.keep(generation, jid, entry.clone());
        Ok(entry)
    }

    pub(super) async fn put_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        let statement = self.of(PUT_TOKEN).bind_key(jid).bind(entry.token.as_slice());
        self.write_tokens(statement.bind(entry.token_timestamp).bind(entry.sender_timestamp)).await.map(drop)
    }

    pub(super) async fn forget_token(&self, jid: &str) -> Result<()> {
        self.write_tokens(self.of(DELETE_TOKEN).bind_key(jid)).await.map(drop)
    }

    /// Runs a statement that changes tokens; what is remembered of them is forgotten, whatever comes of it.
    async fn write_tokens(&self, statement: Statement) -> Result<u64> {
        // Before, too: dropped while it waits, it may have happened.
        self.tokens.forget();
        let done = self.run(statement).await;
        self.tokens.forget();
        done
    }

    pub(super) async fn list_token_jids(&self) -> Result<Vec<String>> {
        self.list(self.of(LIST_TOKENS)).await?.iter().map(|row| column(row, "jid")).collect()
    }

    pub(super) async fn forget_old_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        let gone = self.write_tokens(self.of(DELETE_OLD_TOKENS).bind(token_cutoff).bind(sender_cutoff)).await?;
        Ok(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    pub(super) async fn touch_token(&self, jid: &str, sender_timestamp: i64) -> Result<()> {
        let none: &[u8] = &[];
        self.write_tokens(self.of(TOUCH_TOKEN).bind_key(jid).bind(none).bind(sender_timestamp)).await.map(drop)
    }

    pub(super) async fn receive_token(&self, jid: &str, token: &[u8], received: i64) -> Result<()> {
        self.write_tokens(self.of(RECEIVE_TOKEN).bind_key(jid).bind(token).bind(received)).await.map(drop)
    }
}

/// Rows for `wa_alias` (bare ids with their server, milliseconds), one per number, in order of the numbers.
fn newest_by_pn(entries: &[LidPnMappingEntry]) -> Vec<(String, String, i64)> {
    let mut sorted: Vec<&LidPnMappingEntry> = entries.iter().collect();
    // Stable: of equally old ones the last given wins.
    sorted.sort_by_key(|entry| entry.created_at);
    let by_pn = sorted.into_iter().map(|entry| (key_text(&entry.phone_number), entry));
    last_of_each(by_pn)
        .into_iter()
        .map(|(pn, entry)| {
            let lid = key_text(&entry.lid);
            (format!("{pn}@s.whatsapp.net"), format!("{lid}@lid"), entry.created_at.saturating_mul(1000))
        })
        .collect()
}
