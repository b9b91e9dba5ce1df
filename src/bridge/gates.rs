//! Where lanes stand: running, parked behind a gate (homeserver or login down: nothing counts against their rows), held
//! (lanes of people, while events may be missing from the homeserver: rows would go out of order) or pausing (a row failed
//! by itself).
//!
//! Promise: each of the latter three ends by a wake; a wake of a running lane is noted and looked at before its worker ends.

use super::Bridge;
use crate::ids::Lane;
use crate::numbers;
use crate::verdict::Gate;
use crate::whatsapp::line::LineState;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Lanes into Matrix worked on at the same time: more would only add delay at the homeserver.
const INTO_MATRIX: usize = 32;
/// Files into Matrix worked on at the same time. Their lanes give their places to others meanwhile.
const FILES: usize = 8;
/// Lanes into WhatsApp worked on at the same time; each may wait for an acknowledgement.
const INTO_WHATSAPP: usize = 256;

/// Lanes and where they stand.
pub struct Lanes {
    /// Running lanes; true when woken since the worker last looked.
    running: Mutex<HashMap<Lane, bool>>,
    parked: Mutex<HashMap<Gate, HashSet<Lane>>>,
    held: Mutex<HashSet<Lane>>,
    /// Lanes that pause after a failure: their own timer wakes them, new rows do not.
    pausing: Mutex<HashSet<Lane>>,
    /// How often in a row the homeserver was away for a lane's first row while it was there for others.
    blocked: Mutex<HashMap<i64, u32>>,
    /// Places for lanes into Matrix, and for those into WhatsApp: neither side's silence stops the other.
    pub(super) into_matrix: Semaphore,
    pub(super) into_whatsapp: Semaphore,
    /// Places for files on their way into Matrix.
    pub(super) files: Semaphore,
    /// When the process began.
    pub(super) began: Instant,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            parked: Mutex::default(),
            held: Mutex::default(),
            pausing: Mutex::default(),
            blocked: Mutex::default(),
            into_matrix: Semaphore::new(INTO_MATRIX),
            into_whatsapp: Semaphore::new(INTO_WHATSAPP),
            files: Semaphore::new(FILES),
            began: Instant::now(),
        }
    }
}

impl Bridge {
    /// Sees to it that a lane is looked at.
    pub fn wake(&self, lane: Lane) {
        if self.shared.lanes.pausing.lock().unwrap_or_else(PoisonError::into_inner).contains(&lane) {
            return;
        }
        {
            let mut running = self.shared.lanes.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(woken) = running.get_mut(&lane) {
                *woken = true;
                return;
            }
            running.insert(lane.clone(), false);
        }
        let bridge = self.clone();
        self.spawn(async move { bridge.work(lane).await });
    }

    /// Ends a worker; false when its lane was woken since it looked.
    pub(super) fn end_unless_woken(&self, lane: &Lane) -> bool {
        let mut running = self.shared.lanes.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(lane) == Some(&true) {
            running.insert(lane.clone(), false);
            return false;
        }
        running.remove(lane);
        true
    }

    pub(super) fn end(&self, lane: &Lane) {
        self.shared.lanes.running.lock().unwrap_or_else(PoisonError::into_inner).remove(lane);
    }

    /// Ends the worker and wakes its lane later.
    pub(super) fn pause(&self, lane: Lane, pause: Duration) {
        self.shared.lanes.pausing.lock().unwrap_or_else(PoisonError::into_inner).insert(lane.clone());
        self.end(&lane);
        let bridge = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = bridge.stop().cancelled() => {}
                () = tokio::time::sleep(pause) => {
                    bridge.shared.lanes.pausing.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane);
                    bridge.wake(lane);
                }
            }
        });
    }

    /// Counts how often in a row a row found the homeserver away; forgets it when `blocked` is false.
    pub(super) fn count_blocks(&self, row: i64, blocked: bool) -> u32 {
        let mut counts = self.shared.lanes.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if !blocked {
            counts.remove(&row);
            return 0;
        }
        let count = counts.entry(row).or_default();
        *count += 1;
        *count
    }

    /// Ends the worker; its lane is woken when the gate opens.
    pub(super) fn park(&self, lane: Lane, gate: Gate) {
        self.end(&lane);
        let first = {
            let mut parked = self.shared.lanes.parked.lock().unwrap_or_else(PoisonError::into_inner);
            let lanes = parked.entry(gate.clone()).or_default();
            lanes.insert(lane) && lanes.len() == 1
        };
        if !first {
            return;
        }
        // The first to park sees to the opening; `open` takes everybody who parked until then.
        let bridge = self.clone();
        self.spawn(async move {
            match &gate {
                Gate::Homeserver => tokio::select! {
                    () = bridge.stop().cancelled() => return,
                    () = bridge.matrix().wait_until_reachable() => {}
                },
                // The line may have come up between the failure and the parking; its news opened nothing then.
                Gate::Login(login) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if bridge.whatsapp().state(login) != Some(LineState::Connected) {
                        return;
                    }
                }
            }
            bridge.open(&gate);
        });
    }

    /// How many lanes with work stand where.
    pub fn lane_counts(&self) -> [(numbers::Lane, usize); 4] {
        let lanes = &self.shared.lanes;
        let parked = lanes.parked.lock().unwrap_or_else(PoisonError::into_inner).values().map(HashSet::len).sum();
        [
            (numbers::Lane::Running, lanes.running.lock().unwrap_or_else(PoisonError::into_inner).len()),
            (numbers::Lane::Parked, parked),
            (numbers::Lane::Held, lanes.held.lock().unwrap_or_else(PoisonError::into_inner).len()),
            (numbers::Lane::Pausing, lanes.pausing.lock().unwrap_or_else(PoisonError::into_inner).len()),
        ]
    }

    /// Wakes every lane parked behind a gate.
    pub fn open(&self, gate: &Gate) {
        let lanes = self.shared.lanes.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(gate);
        for lane in lanes.into_iter().flatten() {
            self.wake(lane);
        }
    }

    pub(super) fn hold(&self, lane: Lane) {
        self.end(&lane);
        self.shared.lanes.held.lock().unwrap_or_else(PoisonError::into_inner).insert(lane);
        if !*self.intake().holding().borrow() {
            self.release_held();
        }
    }

    fn release_held(&self) {
        let lanes: Vec<Lane> = self.shared.lanes.held.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        for lane in lanes {
            self.wake(lane);
        }
    }

    pub(super) async fn follow_holding(&self) {
        let mut holding = self.intake().holding();
        loop {
            tokio::select! {
                () = self.stop().cancelled() => return,
                changed = holding.changed() => if changed.is_err() { return },
            }
            if !*holding.borrow_and_update() {
                self.release_held();
            }
        }
    }
}
