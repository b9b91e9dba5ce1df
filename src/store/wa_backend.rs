//! The client library's storage for one line, over the bridge's own database.
//!
//! [`LineBackend`] implements all five storage traits of the library (`wa_signal`, `wa_appstate`, `wa_protocol`,
//! `wa_secret`, `wa_device`); this file has what they share. One value serves one client: a rebuilt client gets a
//! new value over the same rows.
//!
//! Promise: an answer `Ok` means committed. Two holes of library version 0.7.0 are closed here, because a message
//! would be lost in silence otherwise (remove both when upstream writes row and ratchet in one step):
//! - **A failed pending write poisons.** The library decrypts (the ratchet moves on in memory), then stores the
//!   decrypted copy, then hands it over. If storing fails and a later flush of the ratchet succeeds, the server's
//!   redelivery can not be decrypted any more and is acknowledged as a duplicate. So after a failed or abandoned
//!   pending write this value refuses every Signal write for good; the line drops the client and builds a new one,
//!   and the server's copy decrypts afresh from the stored ratchet. A Signal write also waits for the pending
//!   writes in hand, so that none slips by while one is being retried.
//! - **A duplicate nobody knows is noted** in the database before the library may acknowledge it, so that the line
//!   can compare it with `seen` and ask the phone for it.
//!
//! States: healthy → poisoned, and never back.

use super::seal::{Purpose, SealError, Sealer};
use super::wa_rows::{Rows, Statement};
use super::{Store, StoreError, Tx};
use crate::ids::DeviceKey;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, RwLock, RwLockReadGuard, watch};
use whatsapp_rust::wacore::store::error::{Result as WaResult, StoreError as WaError};

/// Why a Signal write was refused without being tried; cured only by a new client over a new [`LineBackend`].
#[derive(Debug, thiserror::Error)]
#[error(
    "refused: a received message could not be stored, so this line's ratchets stay as they are until it is rebuilt"
)]
pub struct LinePoisoned;

/// A redelivered message the library takes for known although it has no stored copy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnknownDuplicate {
    /// Chat, as the library names it (LID or number, groups too).
    pub chat: String,
    /// Sender with its device, as the library names it.
    pub sender: String,
    /// Message id.
    pub id: String,
}

/// What a line has asked of the database so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Statements, without BEGIN and COMMIT.
    pub statements: u64,
    /// Transactions of several statements; a statement on its own is not counted here.
    pub transactions: u64,
}

/// Who hears of a redelivered message without a copy.
type HearUnknown = Box<dyn Fn(&UnknownDuplicate) + Send + Sync>;

/// The library's storage for one client of one linked device.
pub struct LineBackend {
    pub(super) store: Store,
    pub(super) sealer: Sealer,
    pub(super) device: DeviceKey,
    /// Pending writes hold it for reading until they are settled; a Signal write passes through it.
    gate: RwLock<()>,
    poisoned: watch::Sender<bool>,
    pub(super) unknown_noted: Notify,
    pub(super) on_unknown: OnceLock<HearUnknown>,
    pub(super) tokens: super::wa_people::TokenCache,
    pub(super) settled: super::wa_settled::Settled,
    pub(super) unwritten: super::wa_applied::Unwritten,
    statements: AtomicU64,
    transactions: AtomicU64,
}

impl LineBackend {
    /// Storage for a new client of this device. Make a new value for each client; never two that live at once.
    pub fn new(store: Store, sealer: Sealer, device: DeviceKey) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            store,
            sealer,
            device,
            gate: RwLock::new(()),
            poisoned: watch::Sender::new(false),
            unknown_noted: Notify::new(),
            on_unknown: OnceLock::new(),
            tokens: super::wa_people::TokenCache::default(),
            settled: super::wa_settled::Settled::new(this.clone()),
            unwritten: super::wa_applied::Unwritten::new(this.clone()),
            statements: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
        })
    }

    /// Who hears of a redelivered message without a copy before the library goes on to the next one; it must not
    /// wait. Only the first call counts.
    pub fn on_unknown_duplicate(&self, hear: impl Fn(&UnknownDuplicate) + Send + Sync + 'static) {
        // A second listener would be a mistake of ours, not a state.
        drop(self.on_unknown.set(Box::new(hear)));
    }

    /// Whose rows these are.
    pub fn device_key(&self) -> &DeviceKey {
        &self.device
    }

    /// Whether a received message could not be stored; then disconnect and rebuild the client with a new value.
    pub fn is_poisoned(&self) -> bool {
        *self.poisoned.borrow()
    }

    /// Waits until [`LineBackend::is_poisoned`]. Safe to drop while waiting; any number may wait.
    pub async fn wait_poisoned(&self) {
        // The sender lives as long as `self`, so waiting ends by the value only.
        self.poisoned.subscribe().wait_for(|poisoned| *poisoned).await.map(drop).unwrap_or_default();
    }

    /// What this line's client has asked of the database since the value was made.
    pub fn cost(&self) -> Cost {
        Cost {
            statements: self.statements.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
        }
    }

    /// Lets a Signal write pass: waits for the pending writes in hand, then refuses when one of them failed.
    pub(super) async fn pass_signal_write(&self) -> WaResult<()> {
        drop(self.gate.write().await);
        fail::fail_point!("wa_store.signal", |_| Err(injected("wa_store.signal")));
        if self.is_poisoned() { Err(WaError::Database(Box::new(LinePoisoned))) } else { Ok(()) }
    }

    /// Begins a pending write. Dropped without [`PendingTurn::settle`], it poisons the line.
    pub(super) async fn begin_pending_write(&self) -> WaResult<PendingTurn<'_>> {
        // From here on: the message is decrypted, so giving up in any way is a failed write.
        let mut turn = PendingTurn { backend: self, held: None, settled: false };
        turn.held = Some(self.gate.read().await);
        if self.is_poisoned() {
            return Err(WaError::Database(Box::new(LinePoisoned)));
        }
        Ok(turn)
    }

    pub(super) fn seal(&self, purpose: Purpose, row: &[u8], plain: &[u8]) -> WaResult<Vec<u8>> {
        self.sealer.seal(purpose, self.device.as_str(), row, plain).map_err(seal_error)
    }

    pub(super) fn open(&self, purpose: Purpose, row: &[u8], sealed: &[u8]) -> WaResult<Vec<u8>> {
        self.sealer.open(purpose, self.device.as_str(), row, sealed).map_err(seal_error)
    }

    /// A statement with this device as its first value.
    pub(super) fn of(&self, text: &'static str) -> Statement {
        Statement::of(text).bind(self.device.as_str())
    }

    /// Runs a statement that is a transaction of its own; how many rows it touched.
    pub(super) async fn run(&self, statement: Statement) -> WaResult<u64> {
        self.count();
        let Statement { name, query } = statement;
        self.store.write_line(name, query).await.map(|done| done.affected).map_err(store_error)
    }

    /// The same; what it returns.
    pub(super) async fn run_and_list(&self, statement: Statement) -> WaResult<Vec<AnyRow>> {
        self.count();
        let Statement { name, query } = statement;
        self.store.write_line(name, query).await.map(|done| done.rows).map_err(store_error)
    }

    /// At most one row.
    pub(super) async fn find(&self, statement: Statement) -> WaResult<Option<AnyRow>> {
        self.count();
        let Statement { name, query } = statement;
        query.fetch_optional(self.store.line_pool()).await.map_err(|source| driver_error(name, source))
    }

    /// All rows.
    pub(super) async fn list(&self, statement: Statement) -> WaResult<Vec<AnyRow>> {
        self.count();
        let Statement { name, query } = statement;
        query.fetch_all(self.store.line_pool()).await.map_err(|source| driver_error(name, source))
    }

    /// Runs a statement inside a transaction and gives what it returns.
    pub(super) async fn run_in(&self, tx: &mut Tx, statement: Statement) -> WaResult<Vec<AnyRow>> {
        self.count();
        let Statement { name, query } = statement;
        query.fetch_all(tx.connection()).await.map_err(|source| driver_error(name, source))
    }

    pub(super) async fn begin(&self, what: &'static str) -> WaResult<Tx> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.store.begin_line(what).await.map_err(store_error)
    }

    /// Runs a statement over many rows, all or none. `shared` binds what all rows have in common after the device,
    /// `each` one row.
    pub(super) async fn run_rows<T: Sync>(
        &self,
        rows: &'static Rows,
        items: &[T],
        shared: impl Fn(Statement) -> Statement + Send + Sync,
        each: impl Fn(Statement, &T) -> Statement + Send + Sync,
    ) -> WaResult<()> {
        let mut statements = self.statements_of(rows, items, shared, each);
        if statements.len() <= 1 {
            return match statements.pop() {
                Some(statement) => self.run(statement).await.map(drop),
                None => Ok(()),
            };
        }
        let mut tx = self.begin(rows.name()).await?;
        for statement in statements {
            self.run_in(&mut tx, statement).await?;
        }
        tx.commit().await.map_err(store_error)
    }

    /// The statements for a list of rows, each bound.
    pub(super) fn statements_of<T>(
        &self,
        rows: &'static Rows,
        items: &[T],
        shared: impl Fn(Statement) -> Statement,
        each: impl Fn(Statement, &T) -> Statement,
    ) -> Vec<Statement> {
        let bind = |chunk: &[T]| {
            let statement = shared(rows.statement(chunk.len()).bind(self.device.as_str()));
            chunk.iter().fold(statement, &each)
        };
        rows.chunks(items).into_iter().map(bind).collect()
    }

    fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }
}

/// A pending write in hand.
pub(super) struct PendingTurn<'a> {
    backend: &'a LineBackend,
    held: Option<RwLockReadGuard<'a, ()>>,
    settled: bool,
}

impl PendingTurn<'_> {
    /// The row is committed.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for PendingTurn<'_> {
    fn drop(&mut self) {
        // Poison first, let Signal writes pass after.
        if !self.settled && !self.backend.poisoned.send_replace(true) {
            tracing::error!(
                "a received message could not be stored: the line refuses ratchet writes until it is rebuilt"
            );
        }
        self.held = None;
    }
}

/// Rows by key, each once, the last one given; in key order, so that two writers never wait for each other in turn.
pub(super) fn last_of_each<K: Ord, T>(rows: impl IntoIterator<Item = (K, T)>) -> Vec<(K, T)> {
    rows.into_iter().collect::<BTreeMap<K, T>>().into_iter().collect()
}

/// Reads a column.
pub(super) fn column<'r, T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>>(
    row: &'r AnyRow,
    name: &'static str,
) -> WaResult<T> {
    use sqlx::Row as _;
    row.try_get(name).map_err(|source| driver_error(name, source))
}

pub(super) fn store_error(error: StoreError) -> WaError {
    WaError::Database(Box::new(error))
}

fn driver_error(what: &'static str, source: sqlx::Error) -> WaError {
    store_error(StoreError::Database { what, source: Arc::new(source) })
}

fn seal_error(error: SealError) -> WaError {
    match error {
        // Shown at the top: the library prints only an error's first line in places.
        SealError::WrongKey => WaError::InvalidConfig(error.to_string()),
        other => WaError::Validation(other.to_string()),
    }
}

pub(super) fn json_error(error: serde_json::Error) -> WaError {
    WaError::Serialization(Box::new(error))
}

/// What a fault switched on by a test looks like. The switches exist only under the feature `simulator`:
/// `wa_store.pending`, `wa_store.signal`, `wa_store.device`, `wa_store.sent`.
#[allow(dead_code, reason = "used only where fail points are compiled in")]
pub(super) fn injected(what: &'static str) -> WaError {
    WaError::Database(Box::new(std::io::Error::other(format!("fault switched on at {what}"))))
}
