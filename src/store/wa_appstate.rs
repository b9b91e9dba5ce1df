//! The library's app state: keys shared by the phone, how far each collection was applied, and its codes.
//!
//! Where somebody stores the news of a collection, what the library notes about it is written once they are stored
//! ([`super::wa_applied`]); else each call writes on its own.

use super::seal::Purpose;
use super::wa_backend::{LineBackend, column, json_error, last_of_each};
use super::wa_rows::{Rows, Statement};
use async_trait::async_trait;
use std::collections::HashMap;
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;
use whatsapp_rust::wacore::store::error::Result;
use whatsapp_rust::wacore::store::traits::{AppStateSyncKey, AppSyncStore};

const PUT_KEY: &str = "-- wa.put_sync_key
    INSERT INTO wa_sync_key (device_key, key_id, value, made_at, stored_seq) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (device_key, key_id) DO UPDATE
    SET value = excluded.value, made_at = excluded.made_at, stored_seq = excluded.stored_seq";
const FIND_KEY: &str = "-- wa.find_sync_key
    SELECT value FROM wa_sync_key WHERE device_key = $1 AND key_id = $2";
const NEWEST_KEY: &str = "-- wa.newest_sync_key
    SELECT key_id FROM wa_sync_key WHERE device_key = $1 ORDER BY made_at DESC, stored_seq DESC LIMIT 1";
pub(super) const PUT_VERSION: &str = "-- wa.put_sync_version
    INSERT INTO wa_sync_version (device_key, name, state) VALUES ($1, $2, $3)
    ON CONFLICT (device_key, name) DO UPDATE SET state = excluded.state";
const FIND_VERSION: &str = "-- wa.find_sync_version
    SELECT state FROM wa_sync_version WHERE device_key = $1 AND name = $2";
pub(super) static PUT_MAC: Rows = Rows::new(
    "-- wa.put_sync_mac
    INSERT INTO wa_sync_mac (device_key, name, version, index_mac, value_mac) VALUES ",
    3,
    "($1, $2, $3, ?, ?)",
    " ON CONFLICT (device_key, name, index_mac) DO UPDATE SET value_mac = excluded.value_mac, version = excluded.version",
);
const FIND_MAC: &str = "-- wa.find_sync_mac
    SELECT value_mac FROM wa_sync_mac WHERE device_key = $1 AND name = $2 AND index_mac = $3";
static LIST_MACS: Rows = Rows::new(
    "-- wa.list_sync_macs
    SELECT index_mac, value_mac FROM wa_sync_mac WHERE device_key = $1 AND name = $2 AND index_mac IN (",
    2,
    "?",
    ")",
);
pub(super) static DELETE_MACS: Rows = Rows::new(
    "-- wa.delete_sync_macs
    DELETE FROM wa_sync_mac WHERE device_key = $1 AND name = $2 AND index_mac IN (",
    2,
    "?",
    ")",
);
pub(super) const CLEAR_MACS: &str = "-- wa.clear_sync_macs
    DELETE FROM wa_sync_mac WHERE device_key = $1 AND name = $2";

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) const TEXTS: &[&str] = &[PUT_KEY, FIND_KEY, NEWEST_KEY, PUT_VERSION, FIND_VERSION, FIND_MAC, CLEAR_MACS];
/// Texts over rows of this file.
#[cfg(test)]
pub(super) static ROWS: &[&Rows] = &[&PUT_MAC, &LIST_MACS, &DELETE_MACS];

#[async_trait]
impl AppSyncStore for LineBackend {
    async fn get_sync_key(&self, key_id: &[u8]) -> Result<Option<AppStateSyncKey>> {
        let Some(row) = self.find(self.of(FIND_KEY).bind(key_id)).await? else { return Ok(None) };
        let sealed: Vec<u8> = column(&row, "value")?;
        let plain = self.open(Purpose::SyncKey, key_id, &sealed)?;
        serde_json::from_slice(&plain).map(Some).map_err(json_error)
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Result<()> {
        let sealed = self.seal(Purpose::SyncKey, key_id, &serde_json::to_vec(&key).map_err(json_error)?)?;
        let statement = self.of(PUT_KEY).bind(key_id).bind(sealed).bind(key.timestamp);
        self.run(statement.bind(self.store.clock().next_id())).await.map(drop)
    }

    async fn get_version(&self, name: &str) -> Result<HashState> {
        if let Some(state) = self.unwritten.state(name) {
            return Ok(state);
        }
        let Some(row) = self.find(self.of(FIND_VERSION).bind_key(name)).await? else {
            return Ok(HashState::default());
        };
        let state: Vec<u8> = column(&row, "state")?;
        serde_json::from_slice(&state).map_err(json_error)
    }

    async fn set_version(&self, name: &str, state: HashState) -> Result<()> {
        if self.unwritten.is_heard() {
            let known = self.get_version(name).await?;
            self.unwritten.put_state(name, state, &known);
            return Ok(());
        }
        let state = serde_json::to_vec(&state).map_err(json_error)?;
        self.run(self.of(PUT_VERSION).bind_key(name).bind(state)).await.map(drop)
    }

    async fn put_mutation_macs(&self, name: &str, version: u64, mutations: &[AppStateMutationMAC]) -> Result<()> {
        if self.unwritten.is_heard() {
            let macs = mutations.iter().map(|mac| (mac.index_mac.as_slice(), mac.value_mac.as_slice()));
            self.unwritten.put_macs(name, version, macs);
            return Ok(());
        }
        // Versions count patches; i64 holds all that can come.
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        let macs = last_of_each(mutations.iter().map(|mac| (mac.index_mac.as_slice(), mac.value_mac.as_slice())));
        self.run_rows(
            &PUT_MAC,
            &macs,
            |statement| statement.bind_key(name).bind(version),
            |statement, (index, value)| statement.bind(*index).bind(*value),
        )
        .await
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(mac) = self.unwritten.mac(name, index_mac) {
            return Ok(mac);
        }
        let row = self.find(self.of(FIND_MAC).bind_key(name).bind(index_mac)).await?;
        row.map(|row| column(&row, "value_mac")).transpose()
    }

    async fn get_mutation_macs(&self, name: &str, index_macs: &[[u8; 32]]) -> Result<HashMap<[u8; 32], Vec<u8>>> {
        self.unwritten.reads_changes(name);
        let mut found = HashMap::with_capacity(index_macs.len());
        let mut unknown = Vec::with_capacity(index_macs.len());
        for index in index_macs {
            match self.unwritten.mac(name, index) {
                Some(mac) => found.extend(mac.map(|mac| (*index, mac))),
                None => unknown.push(*index),
            }
        }
        let each = |statement: Statement, index: &[u8; 32]| statement.bind(index.as_slice());
        for statement in self.statements_of(&LIST_MACS, &unknown, |statement| statement.bind_key(name), each) {
            for row in self.list(statement).await? {
                let index: Vec<u8> = column(&row, "index_mac")?;
                // Asked for by 32 bytes, so that is what comes back.
                if let Ok(index) = index.try_into() {
                    found.insert(index, column(&row, "value_mac")?);
                }
            }
        }
        Ok(found)
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Result<()> {
        if self.unwritten.is_heard() {
            self.unwritten.delete_macs(name, index_macs);
            return Ok(());
        }
        let each = |statement: Statement, index: &Vec<u8>| statement.bind(index.as_slice());
        self.run_rows(&DELETE_MACS, index_macs, |statement| statement.bind_key(name), each).await
    }

    async fn clear_mutation_macs(&self, name: &str) -> Result<()> {
        if self.unwritten.is_heard() {
            self.unwritten.clear_macs(name);
            return Ok(());
        }
        self.run(self.of(CLEAR_MACS).bind_key(name)).await.map(drop)
    }

    async fn get_latest_sync_key_id(&self) -> Result<Option<Vec<u8>>> {
        let row = self.find(self.of(NEWEST_KEY)).await?;
        row.map(|row| column(&row, "key_id")).transpose()
    }
}
