//! Linked devices: the library's own keys, sealed, and which login they belong to.
//!
//! A device row is made before pairing, with no login; pair success binds it. Logout deletes it with everything the
//! library stored for it. A process that dies while pairing leaves an unbound row, which is swept after an hour. A
//! deleted device is never written again: saving changes an existing row only.

use super::seal::Purpose;
use super::wa_backend::{LineBackend, column, json_error};
use super::{Named, Result, Store, Tx};
use crate::derive::hex;
use crate::ids::{DeviceKey, LoginId};
use async_trait::async_trait;
use sqlx::Row as _;
use whatsapp_rust::wacore::stats::StorageResourceReport;
use whatsapp_rust::wacore::store::Device;
use whatsapp_rust::wacore::store::error::{Result as WaResult, StoreError as WaError};
use whatsapp_rust::wacore::store::traits::DeviceStore;

const CREATE: &str = "-- wa_device.create
    INSERT INTO wa_device (device_key, login_id, value, created_at) VALUES ($1, '', $2, $3)
    ON CONFLICT (device_key) DO NOTHING";
const SAVE: &str = "-- wa_device.save
    UPDATE wa_device SET value = $2 WHERE device_key = $1";
const FIND: &str = "-- wa_device.find
    SELECT value FROM wa_device WHERE device_key = $1";
const EXISTS: &str = "-- wa_device.exists
    SELECT device_key FROM wa_device WHERE device_key = $1";
const BIND: &str = "-- wa_device.bind
    UPDATE wa_device SET login_id = $2 WHERE device_key = $1 AND (login_id = '' OR login_id = $2)";
const LIST: &str = "-- wa_device.list
    SELECT device_key, login_id, created_at FROM wa_device ORDER BY created_at, device_key";
const LIST_UNBOUND: &str = "-- wa_device.list_unbound
    SELECT device_key FROM wa_device WHERE login_id = '' AND created_at < $1";
const DELETE_UNBOUND: &str = "-- wa_device.delete_unbound
    DELETE FROM wa_device WHERE device_key = $1 AND login_id = ''";
const DELETE: &str = "-- wa_device.delete
    DELETE FROM wa_device WHERE device_key = $1";

/// Deletes a device's rows, one text per table of the library.
const DELETE_ROWS: &[&str] = &[
    "-- wa_device.delete_identity\n    DELETE FROM wa_identity WHERE device_key = $1",
    "-- wa_device.delete_ratchet\n    DELETE FROM wa_ratchet WHERE device_key = $1",
    "-- wa_device.delete_prekey\n    DELETE FROM wa_prekey WHERE device_key = $1",
    "-- wa_device.delete_signed_prekey\n    DELETE FROM wa_signed_prekey WHERE device_key = $1",
    "-- wa_device.delete_sender_key\n    DELETE FROM wa_sender_key WHERE device_key = $1",
    "-- wa_device.delete_sync_key\n    DELETE FROM wa_sync_key WHERE device_key = $1",
    "-- wa_device.delete_sync_version\n    DELETE FROM wa_sync_version WHERE device_key = $1",
    "-- wa_device.delete_sync_mac\n    DELETE FROM wa_sync_mac WHERE device_key = $1",
    "-- wa_device.delete_sender_key_device\n    DELETE FROM wa_sender_key_device WHERE device_key = $1",
    "-- wa_device.delete_lid_map\n    DELETE FROM wa_lid_map WHERE device_key = $1",
    "-- wa_device.delete_base_key\n    DELETE FROM wa_base_key WHERE device_key = $1",
    "-- wa_device.delete_device_list\n    DELETE FROM wa_device_list WHERE device_key = $1",
    "-- wa_device.delete_group\n    DELETE FROM wa_group WHERE device_key = $1",
    "-- wa_device.delete_token\n    DELETE FROM wa_token WHERE device_key = $1",
    "-- wa_device.delete_sent\n    DELETE FROM wa_sent WHERE device_key = $1",
    "-- wa_device.delete_pending\n    DELETE FROM wa_pending WHERE device_key = $1",
    "-- wa_device.delete_unknown\n    DELETE FROM wa_unknown WHERE device_key = $1",
    "-- wa_device.delete_secret\n    DELETE FROM wa_secret WHERE device_key = $1",
];

/// Devices with rows but without a row in `wa_device`: a client that was still writing when its device was deleted.
const LIST_ORPHANS: &str = "-- wa_device.list_orphans
    SELECT DISTINCT device_key FROM (
        SELECT device_key FROM wa_identity UNION SELECT device_key FROM wa_ratchet
        UNION SELECT device_key FROM wa_prekey UNION SELECT device_key FROM wa_signed_prekey
        UNION SELECT device_key FROM wa_sender_key UNION SELECT device_key FROM wa_sync_key
        UNION SELECT device_key FROM wa_sync_version UNION SELECT device_key FROM wa_sync_mac
        UNION SELECT device_key FROM wa_sender_key_device UNION SELECT device_key FROM wa_lid_map
        UNION SELECT device_key FROM wa_base_key UNION SELECT device_key FROM wa_device_list
        UNION SELECT device_key FROM wa_group UNION SELECT device_key FROM wa_token
        UNION SELECT device_key FROM wa_sent UNION SELECT device_key FROM wa_pending
        UNION SELECT device_key FROM wa_unknown UNION SELECT device_key FROM wa_secret
    ) AS keys WHERE device_key NOT IN (SELECT device_key FROM wa_device)";

/// What is too old to be of use, over all devices: milliseconds since 1970, or seconds where the table counts so.
const SWEEPS: &[(&str, Age)] = &[
    ("-- wa.sweep_base_key\n    DELETE FROM wa_base_key WHERE created_at < $1", Age::Days(7)),
    ("-- wa.sweep_sent\n    DELETE FROM wa_sent WHERE created_at < $1", Age::Days(7)),
    ("-- wa.sweep_pending\n    DELETE FROM wa_pending WHERE stored_at < $1", Age::Days(7)),
    ("-- wa.sweep_unknown\n    DELETE FROM wa_unknown WHERE noted_at < $1", Age::Days(30)),
    ("-- wa.sweep_secret\n    DELETE FROM wa_secret WHERE expires_at <> 0 AND expires_at <= $1", Age::NowSeconds),
    (
        "-- wa.sweep_token\n    DELETE FROM wa_token WHERE token_ts < $1 AND (sender_ts IS NULL OR sender_ts < $1)",
        Age::DaysInSeconds(90),
    ),
];

/// The value a sweep compares with.
#[derive(Clone, Copy)]
enum Age {
    Days(i64),
    DaysInSeconds(i64),
    NowSeconds,
}

impl Age {
    fn cutoff(self, now_ms: i64) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        match self {
            Self::Days(days) => now_ms - days * DAY_MS,
            Self::DaysInSeconds(days) => (now_ms - days * DAY_MS) / 1000,
            Self::NowSeconds => now_ms / 1000,
        }
    }
}

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) fn texts() -> Vec<&'static str> {
    let single = [CREATE, SAVE, FIND, EXISTS, BIND, LIST, LIST_UNBOUND, DELETE_UNBOUND, DELETE, LIST_ORPHANS];
    single.into_iter().chain(DELETE_ROWS.iter().copied()).chain(SWEEPS.iter().map(|(text, _)| *text)).collect()
}

/// A linked device, or one being paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// Names its rows.
    pub key: DeviceKey,
    /// The login it belongs to; none until it is paired.
    pub login: Option<LoginId>,
    /// When pairing began, milliseconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// A name for a device about to be paired: random, never used before.
    pub fn make_device_key(&self) -> DeviceKey {
        DeviceKey::new(hex(&rand::random::<[u8; 16]>()))
    }

    /// Gives a device to its login, in the transaction that writes the login. False when there is no such device,
    /// or it belongs to another login already. Binding twice is harmless.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bind_device(&self, tx: &mut Tx, device: &DeviceKey, login: &LoginId) -> Result<bool> {
        let done = sqlx::query(BIND).bind(device.as_str()).bind(login.as_str()).execute(tx.connection()).await;
        Ok(done.named("wa_device.bind")?.rows_affected() > 0)
    }

    /// Deletes a device with everything the library stored for it. Only after its client has disconnected.
    ///
    /// # Errors
    /// When the database fails; then nothing is deleted.
    pub async fn delete_device(&self, device: &DeviceKey) -> Result<()> {
        let mut tx = self.begin_line("wa_device.delete").await?;
        self.delete_device_in(&mut tx, device).await?;
        tx.commit().await
    }

    /// The same inside a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_device_in(&self, tx: &mut Tx, device: &DeviceKey) -> Result<()> {
        for text in DELETE_ROWS.iter().chain([&DELETE]) {
            sqlx::query(*text).bind(device.as_str()).execute(tx.connection()).await.named("wa_device.delete")?;
        }
        Ok(())
    }

    /// Deletes devices that were made before `before_ms` (milliseconds since 1970) and never bound, and what
    /// deleted devices left behind; how many of the first. Keep pairings in hand out of it by the time given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_unbound_devices(&self, before_ms: i64) -> Result<u64> {
        let mut swept = 0;
        for row in self.list_keys(sqlx::query(LIST_UNBOUND).bind(before_ms)).await? {
            let mut tx = self.begin_line("wa_device.sweep").await?;
            // A pairing may have succeeded since the look.
            let gone = sqlx::query(DELETE_UNBOUND).bind(row.as_str()).execute(tx.connection()).await;
            if gone.named("wa_device.delete_unbound")?.rows_affected() == 0 {
                continue;
            }
            self.delete_device_in(&mut tx, &row).await?;
            tx.commit().await?;
            swept += 1;
        }
        for orphan in self.list_keys(sqlx::query(LIST_ORPHANS)).await? {
            self.delete_device(&orphan).await?;
        }
        Ok(swept)
    }

    /// Every device, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_devices(&self) -> Result<Vec<DeviceRow>> {
        let rows = sqlx::query(LIST).fetch_all(self.line_pool()).await.named("wa_device.list")?;
        let read = |row: &sqlx::any::AnyRow| -> std::result::Result<DeviceRow, sqlx::Error> {
            let login: String = row.try_get("login_id")?;
            Ok(DeviceRow {
                key: DeviceKey::new(row.try_get::<String, _>("device_key")?),
                login: (!login.is_empty()).then(|| LoginId::new(login)),
                created_at: row.try_get("created_at")?,
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("wa_device.list")
    }

    /// Deletes what the library's tables hold beyond its time, for all devices: base keys, sent and pending messages
    /// after 7 days, unknown duplicates after 30, privacy tokens after 90, secrets at their own time. How many rows.
    /// To be run every hour or so; the library sweeps some of it itself, but only while it is connected.
    ///
    /// # Errors
    /// When the database fails; the rest is swept the next time.
    pub async fn sweep_library(&self) -> Result<u64> {
        let now = self.clock().now_ms();
        let mut swept = 0;
        for (text, age) in SWEEPS {
            swept += self.write_line("wa.sweep", sqlx::query(*text).bind(age.cutoff(now))).await?.affected;
        }
        Ok(swept)
    }

    async fn list_keys(
        &self,
        query: sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments>,
    ) -> Result<Vec<DeviceKey>> {
        let rows = query.fetch_all(self.line_pool()).await.named("wa_device.list_keys")?;
        rows.iter()
            .map(|row| row.try_get::<String, _>("device_key").map(DeviceKey::new))
            .collect::<std::result::Result<_, _>>()
            .named("wa_device.list_keys")
    }
}

impl LineBackend {
    fn seal_device(&self, device: &Device) -> WaResult<Vec<u8>> {
        self.seal(Purpose::Device, b"", &serde_json::to_vec(device).map_err(json_error)?)
    }
}

#[async_trait]
impl DeviceStore for LineBackend {
    async fn save(&self, device: &Device) -> WaResult<()> {
        fail::fail_point!("wa_store.device", |_| Err(super::wa_backend::injected("wa_store.device")));
        if self.run(self.of(SAVE).bind(self.seal_device(device)?)).await? == 0 {
            return Err(WaError::Validation("the device was deleted; it is not written again".into()));
        }
        Ok(())
    }

    async fn load(&self) -> WaResult<Option<Device>> {
        let Some(row) = self.find(self.of(FIND)).await? else { return Ok(None) };
        let sealed: Vec<u8> = column(&row, "value")?;
        let plain = self.open(Purpose::Device, b"", &sealed)?;
        serde_json::from_slice(&plain).map(Some).map_err(json_error)
    }

    async fn exists(&self) -> WaResult<bool> {
        Ok(self.find(self.of(EXISTS)).await?.is_some())
    }

    /// Makes the row; the number is the library's own, for its log, and means nothing here.
    async fn create(&self) -> WaResult<i32> {
        let sealed = self.seal_device(&Device::new())?;
        self.run(self.of(CREATE).bind(sealed).bind(self.store.clock().now_ms())).await?;
        Ok(1)
    }

    async fn resource_report(&self) -> StorageResourceReport {
        // The pool belongs to the process, not to a line.
        StorageResourceReport { memory_bytes: Some(0), ..Default::default() }
    }
}
