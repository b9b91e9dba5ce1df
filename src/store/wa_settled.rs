//! Copies of messages that are in the inbox by now: the library is done with them, and they are deleted many at once.
//!
//! For the library they are gone as soon as it says so. A kill leaves some behind; such a copy is handed over again when
//! WhatsApp repeats the message, is known by `seen`, and is swept with its age otherwise.
//!
//! A key is *noted* → *being deleted* → forgotten. Who stores a copy under a key of either kind takes it back first, so
//! that the deletion of the old copy never meets the new one.

use super::wa_backend::LineBackend;
use super::wa_pending::{DELETE_PENDING, PendingKey, bind_pending_key};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long copies are gathered.
const GATHER: Duration = Duration::from_secs(3);
/// Copies gathered at most; a whole number of the largest statements.
const MOST: usize = 256;

type Key = [String; 3];

#[derive(Default)]
struct Inner {
    noted: BTreeSet<Key>,
    deleting: BTreeSet<Key>,
    /// Whether a task waits to delete what is noted.
    timed: bool,
}

/// The settled copies of one client.
pub(super) struct Settled {
    backend: Weak<LineBackend>,
    inner: Mutex<Inner>,
    /// Held while copies are being deleted.
    turn: tokio::sync::Mutex<()>,
}

fn owned(key: &PendingKey<'_>) -> Key {
    key.clone().map(std::borrow::Cow::into_owned)
}

impl Settled {
    pub(super) fn new(backend: Weak<LineBackend>) -> Self {
        Self { backend, inner: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes copies as settled; they are deleted soon.
    pub(super) fn put<'a>(&self, keys: impl Iterator<Item = PendingKey<'a>>) {
        let mut inner = self.lock();
        let before = inner.noted.len();
        inner.noted.extend(keys.map(|key| owned(&key)));
        let full = before < MOST && inner.noted.len() >= MOST;
        let begins = !std::mem::replace(&mut inner.timed, true);
        drop(inner);
        if full || begins {
            let backend = self.backend.clone();
            tokio::spawn(async move {
                if !full {
                    tokio::time::sleep(GATHER).await;
                }
                // When the client is gone the copies stay, which is harmless.
                if let Some(backend) = backend.upgrade() {
                    backend.delete_settled().await;
                }
            });
        }
    }

    /// Whether the copy under this key is settled.
    pub(super) fn holds(&self, key: &PendingKey<'_>) -> bool {
        let (inner, key) = (self.lock(), owned(key));
        inner.noted.contains(&key) || inner.deleting.contains(&key)
    }

    /// Forgets that the copy under this key is settled, before another is stored there.
    pub(super) async fn take_back(&self, key: &PendingKey<'_>) {
        let key = owned(key);
        let deleting = {
            let mut inner = self.lock();
            inner.noted.remove(&key);
            inner.deleting.contains(&key)
        };
        if deleting {
            drop(self.turn.lock().await);
        }
    }
}

impl LineBackend {
    /// Deletes the copies noted as settled so far.
    pub(super) async fn delete_settled(&self) {
        let _turn = self.settled.turn.lock().await;
        let keys: Vec<Key> = {
            let mut inner = self.settled.lock();
            inner.timed = false;
            inner.deleting = std::mem::take(&mut inner.noted);
            inner.deleting.iter().cloned().collect()
        };
        let bind = |statement, key: &Key| bind_pending_key(statement, &key.clone().map(std::borrow::Cow::Owned));
        if let Err(error) = self.run_rows(&DELETE_PENDING, &keys, |statement| statement, bind).await {
            tracing::debug!(%error, "copies of stored messages stay for their time");
        }
        self.settled.lock().deleting.clear();
    }
}
