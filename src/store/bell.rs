//! Tells the bridge that lanes got rows. Carries no data: the rows are in the table.
//!
//! Ringing never waits and never fails. What is rung while nobody listens stays noted; the set is bounded by the
//! number of lanes. A process that dies loses the notes, and start-up rings every lane with rows.

use crate::ids::Lane;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Lanes with news.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<HashSet<Lane>>,
    shuffles: AtomicU64,
    wake: Notify,
}

impl Bell {
    /// Notes that `lane` has rows to look at.
    pub fn ring(&self, lane: Lane) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).insert(lane);
        self.wake.notify_one();
    }

    /// Notes that rows were stored in front of others: who took rows before takes them again. After the commit.
    pub fn shuffle(&self) {
        self.shuffles.fetch_add(1, Ordering::SeqCst);
    }

    /// How often [`Bell::shuffle`] was called.
    pub fn shuffles(&self) -> u64 {
        self.shuffles.load(Ordering::SeqCst)
    }

    /// Waits for news and takes all of it. For one listener. Safe to drop while waiting.
    pub async fn listen(&self) -> Vec<Lane> {
        loop {
            // A ring between the look and the wait is kept by `notify_one`.
            let taken: Vec<Lane> = self.rung.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}
