//! The library's Signal state: identities, ratchets, prekeys, group ratchets.
//!
//! Everything that could let a ratchet overtake a message not stored yet passes
//! [`LineBackend::pass_signal_write`]; only making new prekeys does not, which touches no ratchet.

use super::seal::Purpose;
use super::wa_backend::{LineBackend, column, last_of_each};
use super::wa_rows::{Rows, Statement, key_text};
use async_trait::async_trait;
use std::sync::Arc;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::wacore::store::error::{Result, StoreError};
use whatsapp_rust::wacore::store::traits::SignalStore;

static PUT_IDENTITY: Rows = Rows::new(
    "-- wa.put_identity
    INSERT INTO wa_identity (device_key, address, person, key) VALUES ",
    1,
    "($1, ?, ?, ?)",
    " ON CONFLICT (device_key, address) DO UPDATE SET key = excluded.key",
);
const FIND_IDENTITY: &str = "-- wa.find_identity
    SELECT key FROM wa_identity WHERE device_key = $1 AND address = $2";
const DELETE_IDENTITY: &str = "-- wa.delete_identity
    DELETE FROM wa_identity WHERE device_key = $1 AND address = $2";
static PUT_RATCHET: Rows = Rows::new(
    "-- wa.put_ratchet
    INSERT INTO wa_ratchet (device_key, address, person, record) VALUES ",
    1,
    "($1, ?, ?, ?)",
    " ON CONFLICT (device_key, address) DO UPDATE SET record = excluded.record",
);
const FIND_RATCHET: &str = "-- wa.find_ratchet
    SELECT record FROM wa_ratchet WHERE device_key = $1 AND address = $2";
const HAS_RATCHET: &str = "-- wa.has_ratchet
    SELECT address FROM wa_ratchet WHERE device_key = $1 AND address = $2";
const DELETE_RATCHET: &str = "-- wa.delete_ratchet
    DELETE FROM wa_ratchet WHERE device_key = $1 AND address = $2";
const KNOWS_PERSON: &str = "-- wa.knows_person
    SELECT address FROM wa_ratchet WHERE device_key = $1 AND person = $2
    UNION ALL SELECT address FROM wa_identity WHERE device_key = $1 AND person = $2 LIMIT 1";
static PUT_PREKEY: Rows = Rows::new(
    "-- wa.put_prekey
    INSERT INTO wa_prekey (device_key, uploaded, id, record) VALUES ",
    2,
    "($1, $2, ?, ?)",
    " ON CONFLICT (device_key, id) DO UPDATE SET record = excluded.record, uploaded = excluded.uploaded",
);
static LIST_PREKEYS: Rows = Rows::new(
    "-- wa.list_prekeys
    SELECT id, record FROM wa_prekey WHERE device_key = $1 AND id IN (",
    1,
    "?",
    ")",
);
static MARK_PREKEYS: Rows = Rows::new(
    "-- wa.mark_prekeys
    UPDATE wa_prekey SET uploaded = 1 WHERE device_key = $1 AND id IN (",
    1,
    "?",
    ")",
);
const DELETE_PREKEY: &str = "-- wa.delete_prekey
    DELETE FROM wa_prekey WHERE device_key = $1 AND id = $2";
const MAX_PREKEY: &str = "-- wa.max_prekey
    SELECT CAST(COALESCE(MAX(id), 0) AS BIGINT) AS id FROM wa_prekey WHERE device_key = $1";
const PUT_SIGNED_PREKEY: &str = "-- wa.put_signed_prekey
    INSERT INTO wa_signed_prekey (device_key, id, record) VALUES ($1, $2, $3)
    ON CONFLICT (device_key, id) DO UPDATE SET record = excluded.record";
const FIND_SIGNED_PREKEY: &str = "-- wa.find_signed_prekey
    SELECT id, record FROM wa_signed_prekey WHERE device_key = $1 AND id = $2";
const LIST_SIGNED_PREKEYS: &str = "-- wa.list_signed_prekeys
    SELECT id, record FROM wa_signed_prekey WHERE device_key = $1 ORDER BY id";
const DELETE_SIGNED_PREKEY: &str = "-- wa.delete_signed_prekey
    DELETE FROM wa_signed_prekey WHERE device_key = $1 AND id = $2";
static PUT_SENDER_KEY: Rows = Rows::new(
    "-- wa.put_sender_key
    INSERT INTO wa_sender_key (device_key, address, record) VALUES ",
    1,
    "($1, ?, ?)",
    " ON CONFLICT (device_key, address) DO UPDATE SET record = excluded.record",
);
const FIND_SENDER_KEY: &str = "-- wa.find_sender_key
    SELECT record FROM wa_sender_key WHERE device_key = $1 AND address = $2";
const DELETE_SENDER_KEY: &str = "-- wa.delete_sender_key
    DELETE FROM wa_sender_key WHERE device_key = $1 AND address = $2";

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) const TEXTS: &[&str] = &[
    FIND_IDENTITY,
    DELETE_IDENTITY,
    FIND_RATCHET,
    HAS_RATCHET,
    DELETE_RATCHET,
    KNOWS_PERSON,
    DELETE_PREKEY,
    MAX_PREKEY,
    PUT_SIGNED_PREKEY,
    FIND_SIGNED_PREKEY,
    LIST_SIGNED_PREKEYS,
    DELETE_SIGNED_PREKEY,
    FIND_SENDER_KEY,
    DELETE_SENDER_KEY,
];
/// Texts over rows of this file.
#[cfg(test)]
pub(super) static ROWS: &[&Rows] =
    &[&PUT_IDENTITY, &PUT_RATCHET, &PUT_PREKEY, &LIST_PREKEYS, &MARK_PREKEYS, &PUT_SENDER_KEY];

/// The user part of a Signal address (`user@server` or `user:device@server`).
fn person_of(address: &str) -> &str {
    address.split(['@', ':']).next().unwrap_or(address)
}

fn read_id(id: i64) -> Result<u32> {
    u32::try_from(id).map_err(|_| StoreError::Validation("a stored key number is out of range".into()))
}

/// What a sealed row of a numbered key is bound to.
fn id_row(id: u32) -> [u8; 4] {
    id.to_be_bytes()
}

impl LineBackend {
    async fn put_records(&self, rows: &'static Rows, purpose: Purpose, given: Vec<(&str, &[u8])>) -> Result<()> {
        let sealed = last_of_each(given)
            .into_iter()
            .map(|(address, record)| Ok((address, self.seal(purpose, key_text(address).as_bytes(), record)?)))
            .collect::<Result<Vec<_>>>()?;
        let each = |statement: Statement, (address, record): &(&str, Vec<u8>)| {
            let statement = statement.bind_key(address);
            let statement = match purpose {
                Purpose::Ratchet => statement.bind_key(person_of(address)),
                _ => statement,
            };
            statement.bind(record.as_slice())
        };
        self.pass_signal_write().await?;
        self.run_rows(rows, &sealed, |statement| statement, each).await
    }

    async fn find_record(&self, text: &'static str, purpose: Purpose, address: &str) -> Result<Option<Vec<u8>>> {
        let Some(row) = self.find(self.of(text).bind_key(address)).await? else { return Ok(None) };
        let sealed: Vec<u8> = column(&row, "record")?;
        self.open(purpose, key_text(address).as_bytes(), &sealed).map(Some)
    }

    async fn delete_address(&self, text: &'static str, address: &str) -> Result<()> {
        self.pass_signal_write().await?;
        self.run(self.of(text).bind_key(address)).await.map(drop)
    }

    async fn delete_number(&self, text: &'static str, id: u32) -> Result<()> {
        self.pass_signal_write().await?;
        self.run(self.of(text).bind(i64::from(id))).await.map(drop)
    }

    async fn put_prekeys(&self, given: Vec<(u32, &[u8])>, uploaded: bool) -> Result<()> {
        let sealed = last_of_each(given)
            .into_iter()
            .map(|(id, record)| Ok((id, self.seal(Purpose::Prekey, &id_row(id), record)?)))
            .collect::<Result<Vec<_>>>()?;
        self.run_rows(
            &PUT_PREKEY,
            &sealed,
            |statement| statement.bind(i64::from(uploaded)),
            |statement, (id, record)| statement.bind(i64::from(*id)).bind(record.as_slice()),
        )
        .await
    }
}

#[async_trait]
impl SignalStore for LineBackend {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Result<()> {
        self.put_identities_batch(&[(Arc::from(address), key)]).await
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Result<()> {
        let rows = last_of_each(identities.iter().map(|(address, key)| (address.as_ref(), key)));
        self.pass_signal_write().await?;
        self.run_rows(
            &PUT_IDENTITY,
            &rows,
            |statement| statement,
            |statement, (address, key)| statement.bind_key(address).bind_key(person_of(address)).bind(key.as_slice()),
        )
        .await
    }

    async fn load_identity(&self, address: &str) -> Result<Option<[u8; 32]>> {
        let Some(row) = self.find(self.of(FIND_IDENTITY).bind_key(address)).await? else { return Ok(None) };
        let key: Vec<u8> = column(&row, "key")?;
        let key =
            key.try_into().map_err(|_| StoreError::Validation("a stored identity is not 32 bytes long".into()))?;
        Ok(Some(key))
    }

    async fn delete_identity(&self, address: &str) -> Result<()> {
        self.delete_address(DELETE_IDENTITY, address).await
    }

    async fn get_session(&self, address: &str) -> Result<Option<Bytes>> {
        Ok(self.find_record(FIND_RATCHET, Purpose::Ratchet, address).await?.map(Bytes::from))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Result<()> {
        self.put_records(&PUT_RATCHET, Purpose::Ratchet, vec![(address, session)]).await
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Result<()> {
        let given = sessions.iter().map(|(address, record)| (address.as_ref(), record.as_ref())).collect();
        self.put_records(&PUT_RATCHET, Purpose::Ratchet, given).await
    }

    async fn delete_session(&self, address: &str) -> Result<()> {
        self.delete_address(DELETE_RATCHET, address).await
    }

    async fn has_session(&self, address: &str) -> Result<bool> {
        Ok(self.find(self.of(HAS_RATCHET).bind_key(address)).await?.is_some())
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Result<bool> {
        Ok(self.find(self.of(KNOWS_PERSON).bind_key(user)).await?.is_some())
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Result<()> {
        self.put_prekeys(vec![(id, record)], uploaded).await
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Result<()> {
        self.put_prekeys(keys.iter().map(|(id, record)| (*id, record.as_ref())).collect(), uploaded).await
    }

    async fn load_prekey(&self, id: u32) -> Result<Option<Bytes>> {
        Ok(self.load_prekeys_batch(&[id]).await?.pop().map(|(_, record)| record))
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        let mut found = Vec::with_capacity(ids.len());
        let bind = |statement: Statement, id: &u32| statement.bind(i64::from(*id));
        for statement in self.statements_of(&LIST_PREKEYS, ids, |statement| statement, bind) {
            for row in self.list(statement).await? {
                let id = read_id(column(&row, "id")?)?;
                let sealed: Vec<u8> = column(&row, "record")?;
                found.push((id, self.open(Purpose::Prekey, &id_row(id), &sealed)?.into()));
            }
        }
        // As asked for, as the reference implementation answers.
        found.sort_by_key(|(id, _)| ids.iter().position(|asked| asked == id));
        Ok(found)
    }

    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Result<()> {
        let bind = |statement: Statement, id: &u32| statement.bind(i64::from(*id));
        self.run_rows(&MARK_PREKEYS, ids, |statement| statement, bind).await
    }

    async fn remove_prekey(&self, id: u32) -> Result<()> {
        self.delete_number(DELETE_PREKEY, id).await
    }

    async fn get_max_prekey_id(&self) -> Result<u32> {
        match self.find(self.of(MAX_PREKEY)).await? {
            Some(row) => read_id(column(&row, "id")?),
            None => Ok(0),
        }
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Result<()> {
        let sealed = self.seal(Purpose::SignedPrekey, &id_row(id), record)?;
        self.run(self.of(PUT_SIGNED_PREKEY).bind(i64::from(id)).bind(sealed)).await.map(drop)
    }

    async fn load_signed_prekey(&self, id: u32) -> Result<Option<Vec<u8>>> {
        let Some(row) = self.find(self.of(FIND_SIGNED_PREKEY).bind(i64::from(id))).await? else { return Ok(None) };
        let sealed: Vec<u8> = column(&row, "record")?;
        self.open(Purpose::SignedPrekey, &id_row(id), &sealed).map(Some)
    }

    async fn load_all_signed_prekeys(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        let rows = self.list(self.of(LIST_SIGNED_PREKEYS)).await?;
        let read = |row| {
            let id = read_id(column(row, "id")?)?;
            let sealed: Vec<u8> = column(row, "record")?;
            Ok((id, self.open(Purpose::SignedPrekey, &id_row(id), &sealed)?))
        };
        rows.iter().map(read).collect()
    }

    async fn remove_signed_prekey(&self, id: u32) -> Result<()> {
        self.delete_number(DELETE_SIGNED_PREKEY, id).await
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Result<()> {
        self.put_records(&PUT_SENDER_KEY, Purpose::SenderKey, vec![(address, record)]).await
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Result<()> {
        let given = sender_keys.iter().map(|(address, record)| (address.as_ref(), record.as_ref())).collect();
        self.put_records(&PUT_SENDER_KEY, Purpose::SenderKey, given).await
    }

    async fn get_sender_key(&self, address: &str) -> Result<Option<Vec<u8>>> {
        self.find_record(FIND_SENDER_KEY, Purpose::SenderKey, address).await
    }

    async fn delete_sender_key(&self, address: &str) -> Result<()> {
        self.delete_address(DELETE_SENDER_KEY, address).await
    }
}
