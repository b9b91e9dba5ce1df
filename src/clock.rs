//! Time, and ordered ids made from it.
//!
//! Everything that asks for the time asks a [`Clock`], so tests can move it. Ordered ids are milliseconds with a
//! counter below them; they never go backwards while the process lives, and [`Clock::raise_to`] keeps that true
//! over a restart after the machine's clock jumped back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bits of an ordered id below the milliseconds: 4,096 ids a millisecond before it runs ahead of the clock.
const COUNTER_BITS: u32 = 12;

/// A source of time. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Milliseconds since 1970 when moved by hand; negative = the system's time.
    hand: AtomicI64,
    last_id: AtomicI64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Inner { hand: AtomicI64::new(-1), last_id: AtomicI64::new(0) }))
    }

    /// A clock that stands at `now_ms` until [`Clock::advance`] moves it; for tests.
    pub fn by_hand(now_ms: i64) -> Self {
        Self(Arc::new(Inner { hand: AtomicI64::new(now_ms), last_id: AtomicI64::new(0) }))
    }

    /// Milliseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now_ms(&self) -> i64 {
        let hand = self.0.hand.load(Ordering::Relaxed);
        if hand >= 0 {
            return hand;
        }
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX >> COUNTER_BITS))
    }

    /// Moves a clock made by [`Clock::by_hand`]; does nothing to the system's.
    pub fn advance(&self, ms: i64) {
        if self.0.hand.load(Ordering::Relaxed) >= 0 {
            self.0.hand.fetch_add(ms, Ordering::Relaxed);
        }
    }

    /// The next ordered id: larger than every id given before.
    pub fn next_id(&self) -> i64 {
        let floor = self.now_ms() << COUNTER_BITS;
        let before = self
            .0
            .last_id
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(floor.max(last + 1)))
            // The closure never answers None, so both arms carry the old value.
            .unwrap_or_else(|old| old);
        floor.max(before + 1)
    }

    /// The time an ordered id was given, milliseconds since 1970; a little ahead where many were given at once.
    pub fn time_of(id: i64) -> i64 {
        id >> COUNTER_BITS
    }

    /// Makes every later id larger than `id`, the largest one found in the database at start.
    pub fn raise_to(&self, id: i64) {
        self.0.last_id.fetch_max(id, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_while_the_clock_stands_and_after_it_jumps_back() {
        let clock = Clock::by_hand(1_000_000);
        let first = clock.next_id();
        let second = clock.next_id();
        assert!(second > first);
        clock.advance(-900_000);
        assert!(clock.next_id() > second);
        clock.raise_to(second + 1_000_000);
        assert!(clock.next_id() > second + 1_000_000);
    }
}
