//! In which rooms people came or took another name: what is remembered of a room's names is old from then on.
//!
//! In memory only, and noted before the event's row is stored: whoever works on what somebody said after it reads the new name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rooms kept apart; beyond that all count as changed.
const MOST_ROOMS: usize = 1000;

/// The changes of each room.
#[derive(Default)]
pub(super) struct Renames(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    count: u64,
    /// What counts for rooms that are not kept apart.
    floor: u64,
    rooms: HashMap<String, u64>,
}

impl Renames {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change in a room.
    pub(super) fn note(&self, room: &str) {
        let mut inner = self.inner();
        inner.count += 1;
        let count = inner.count;
        if inner.rooms.len() >= MOST_ROOMS && !inner.rooms.contains_key(room) {
            inner.rooms.clear();
            inner.floor = count;
        }
        inner.rooms.insert(room.to_owned(), count);
    }

    /// A number that is another one after each change in the room.
    pub(super) fn of(&self, room: &str) -> u64 {
        let inner = self.inner();
        inner.rooms.get(room).copied().unwrap_or(inner.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_for_its_room_and_none_is_missed() {
        let renames = Renames::default();
        let (one, other) = (renames.of("!a"), renames.of("!b"));
        renames.note("!a");
        assert_ne!(renames.of("!a"), one);
        assert_eq!(renames.of("!b"), other);
        let one = renames.of("!a");
        for room in 0..MOST_ROOMS {
            renames.note(&format!("!{room}"));
        }
        assert_ne!(renames.of("!a"), one, "forgotten is changed");
        assert_ne!(renames.of("!b"), other);
    }
}
