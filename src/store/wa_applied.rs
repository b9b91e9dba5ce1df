//! News of the account's own data that the library has read and the bridge has not stored yet.
//!
//! The library notes how far it has read a collection before it tells what was new in it, and tells it once: a kill in
//! between lost it. So where somebody listens ([`LineBackend::on_applied`]), what the library notes about a collection
//! stays in memory until the listener has stored what was told with it ([`Applied::settle`]); then it is written in one
//! transaction. After a kill the collection stands where it stood, and the same changes are fetched and told again.
//!
//! A layer of notes is *open* (being read) → *told* (the library has told all of it) → written and gone. The library has
//! told all of it when it notes the same state once more (whatsapp-rust 0.7: `sync_collections_batched`,
//! `process_app_state_sync_task`); a snapshot with nothing behind it is noted twice before it is told. Should a later
//! version leave that out, nothing is written any more and each start reads again: more work, and nothing is lost.

use super::wa_appstate::{CLEAR_MACS, DELETE_MACS, PUT_MAC, PUT_VERSION};
use super::wa_backend::{LineBackend, json_error, store_error};
use super::wa_rows::Statement;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::store::error::Result;

tokio::task_local! {
    /// The collection that this task has read anew, until it is forgotten.
    static ANEW: Cell<Option<&'static str>>;
}

/// Runs what has the library read a collection, and has it read in full: the first time it asks how far the collection
/// was read, that is forgotten. It asks when nobody else reads or writes the collection. (Told to read in full, whatsapp-rust
/// 0.7 asks for everything and puts it on top of what it knows: changes do not fit there, "patch version mismatch", and a
/// snapshot that is not newer is passed over.) Like all that is noted, it is in memory
/// until what was told is stored: whoever dies in between has forgotten nothing. True when it was asked, and so forgotten.
pub async fn read_anew(name: &'static str, reading: impl Future<Output = ()>) -> bool {
    let reading = async {
        reading.await;
        ANEW.with(|anew| anew.get().is_none())
    };
    ANEW.scope(Cell::new(Some(name)), reading).await
}

/// Whether this task has a collection read anew, and it was not forgotten yet; true once.
fn takes_anew(name: &str) -> bool {
    let take = |anew: &Cell<Option<&'static str>>| {
        let is_meant = anew.get() == Some(name);
        if is_meant {
            anew.set(None);
        }
        is_meant
    };
    // Outside of any such task nothing is read anew.
    ANEW.try_with(take).unwrap_or(false)
}

/// A code: the version it came with and its bytes; `None` when it is gone.
type Mac = Option<(u64, Vec<u8>)>;

/// A code's index and its bytes.
type Code<'a> = (&'a [u8], &'a [u8]);

/// How far a snapshot was noted.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    /// None is being read, or it was noted twice.
    #[default]
    None,
    /// The old codes are gone.
    Begun,
    /// Its version was noted once.
    Noted,
}

/// What the library notes between two tellings.
#[derive(Default, Clone)]
struct Layer {
    state: Option<HashState>,
    /// All codes of before are gone.
    cleared: bool,
    macs: BTreeMap<Vec<u8>, Mac>,
    snapshot: Snapshot,
}

impl Layer {
    fn is_empty(&self) -> bool {
        self.state.is_none() && !self.cleared && self.macs.is_empty()
    }

    /// Puts a later layer on top.
    fn take_in(&mut self, later: Self) {
        if later.cleared {
            self.cleared = true;
            self.macs.clear();
        }
        self.macs.extend(later.macs);
        self.state = later.state.or_else(|| self.state.take());
    }
}

#[derive(Default)]
struct Collection {
    open: Layer,
    told: VecDeque<(u64, Layer)>,
}

impl Collection {
    /// Newest first.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.open).chain(self.told.iter().rev().map(|(_, layer)| layer))
    }
}

#[derive(Default)]
struct Inner {
    collections: HashMap<String, Collection>,
    told: u64,
}

/// Who hears that all news of a collection were told.
type Hear = Box<dyn Fn(Applied) + Send + Sync>;

/// What is not written yet of one client's collections.
pub(super) struct Unwritten {
    backend: Weak<LineBackend>,
    hear: OnceLock<Hear>,
    inner: Mutex<Inner>,
    /// Held while a layer is written.
    turn: tokio::sync::Mutex<()>,
}

/// News of a collection that were all told: to be settled once they are stored.
pub struct Applied {
    backend: Weak<LineBackend>,
    name: String,
    number: u64,
}

impl Applied {
    /// Writes how far the collection was read. Dropped instead, it is read again by the next client.
    ///
    /// # Errors
    /// When the database fails; nothing is written then.
    pub async fn settle(&self) -> Result<()> {
        let Some(backend) = self.backend.upgrade() else { return Ok(()) };
        backend.settle_applied(self).await
    }
}

fn same(one: &HashState, other: &HashState) -> bool {
    one.version == other.version && one.hash == other.hash && one.mac_mismatch_fatal == other.mac_mismatch_fatal
}

impl Unwritten {
    pub(super) fn new(backend: Weak<LineBackend>) -> Self {
        Self { backend, hear: OnceLock::new(), inner: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Whether somebody listens. Else everything is written at once.
    pub(super) fn is_heard(&self) -> bool {
        self.hear.get().is_some()
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Collection) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        act(inner.collections.entry(name.to_owned()).or_default())
    }

    /// The state noted last, when it is not written; nothing known where this task reads the collection anew.
    pub(super) fn state(&self, name: &str) -> Option<HashState> {
        if self.is_heard() && takes_anew(name) {
            self.with(name, |collection| {
                collection.open = Layer { state: Some(HashState::default()), cleared: true, ..Layer::default() };
            });
        }
        self.with(name, |collection| collection.layers().find_map(|layer| layer.state.clone()))
    }

    /// A code as it was noted last; `None` when the database knows.
    pub(super) fn mac(&self, name: &str, index: &[u8]) -> Option<Option<Vec<u8>>> {
        self.with(name, |collection| {
            for layer in collection.layers() {
                if let Some(mac) = layer.macs.get(index) {
                    return Some(mac.as_ref().map(|(_, value)| value.clone()));
                }
                if layer.cleared {
                    return Some(None);
                }
            }
            None
        })
    }

    /// Notes that changes are being read, which stand behind a snapshot when there was one.
    pub(super) fn reads_changes(&self, name: &str) {
        self.with(name, |collection| collection.open.snapshot = Snapshot::None);
    }

    pub(super) fn put_macs<'a>(&self, name: &str, version: u64, macs: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.with(name, |collection| {
            let rows = macs.map(|(index, value)| (index.to_vec(), Some((version, value.to_vec()))));
            collection.open.macs.extend(rows);
        });
    }

    pub(super) fn delete_macs(&self, name: &str, indexes: &[Vec<u8>]) {
        self.with(name, |collection| {
            collection.open.macs.extend(indexes.iter().map(|index| (index.clone(), None)));
        });
    }

    pub(super) fn clear_macs(&self, name: &str) {
        self.with(name, |collection| {
            collection.open.macs.clear();
            collection.open.cleared = true;
            collection.open.snapshot = Snapshot::Begun;
        });
    }

    /// Notes a state; `known` is the one before it.
    pub(super) fn put_state(&self, name: &str, state: HashState, known: &HashState) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inner.told + 1;
        let collection = inner.collections.entry(name.to_owned()).or_default();
        let open = &mut collection.open;
        if !same(&state, known) {
            open.state = Some(state);
            open.snapshot = if open.snapshot == Snapshot::Begun { Snapshot::Noted } else { Snapshot::None };
            return;
        }
        if open.snapshot == Snapshot::Noted {
            open.snapshot = Snapshot::None;
            return;
        }
        if open.is_empty() {
            return;
        }
        collection.told.push_back((number, std::mem::take(open)));
        inner.told = number;
        drop(inner);
        if let Some(hear) = self.hear.get() {
            hear(Applied { backend: self.backend.clone(), name: name.to_owned(), number });
        }
    }

    /// What was told up to a number, as one layer.
    fn told_up_to(&self, name: &str, number: u64) -> Option<Layer> {
        self.with(name, |collection| {
            let layers = collection.told.iter().filter(|(told, _)| *told <= number);
            layers.map(|(_, layer)| layer.clone()).reduce(|mut all, later| {
                all.take_in(later);
                all
            })
        })
    }
}

impl LineBackend {
    /// Who hears that the library has told all news of a collection, right after it has and on its task; it must not
    /// wait. What was told is to be stored, and [`Applied::settle`] called. Only the first call counts.
    pub fn on_applied(&self, hear: impl Fn(Applied) + Send + Sync + 'static) {
        // A second listener would be a mistake of ours, not a state.
        drop(self.unwritten.hear.set(Box::new(hear)));
    }

    async fn settle_applied(self: &Arc<Self>, applied: &Applied) -> Result<()> {
        let name = applied.name.as_str();
        let _turn = self.unwritten.turn.lock().await;
        let Some(layer) = self.unwritten.told_up_to(name, applied.number) else { return Ok(()) };
        let mut gone: Vec<&[u8]> = Vec::new();
        let mut put: BTreeMap<u64, Vec<Code<'_>>> = BTreeMap::new();
        for (index, mac) in &layer.macs {
            match mac {
                Some((version, value)) => put.entry(*version).or_default().push((index, value)),
                None => gone.push(index),
            }
        }
        let mut statements = Vec::new();
        if layer.cleared {
            statements.push(self.of(CLEAR_MACS).bind_key(name));
        }
        let index_of = |statement: Statement, index: &&[u8]| statement.bind(*index);
        statements.extend(self.statements_of(&DELETE_MACS, &gone, |statement| statement.bind_key(name), index_of));
        for (version, macs) in &put {
            // Versions count patches; i64 holds all that can come.
            let version = i64::try_from(*version).unwrap_or(i64::MAX);
            let shared = |statement: Statement| statement.bind_key(name).bind(version);
            let each = |statement: Statement, mac: &Code<'_>| statement.bind(mac.0).bind(mac.1);
            statements.extend(self.statements_of(&PUT_MAC, macs, shared, each));
        }
        if let Some(state) = &layer.state {
            let state = serde_json::to_vec(state).map_err(json_error)?;
            statements.push(self.of(PUT_VERSION).bind_key(name).bind(state));
        }
        let mut tx = self.begin("wa.settle_applied").await?;
        for statement in statements {
            self.run_in(&mut tx, statement).await?;
        }
        tx.commit().await.map_err(store_error)?;
        self.unwritten.with(name, |collection| collection.told.retain(|(told, _)| *told > applied.number));
        Ok(())
    }
}
