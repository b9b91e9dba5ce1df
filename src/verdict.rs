//! What came of working on one inbox row, and how long to wait before the next try.
//!
//! An error at the edge becomes a [`Verdict`] in one place, so that each lane is held up, settled or looked into
//! for a reason that is written down. Say [`Verdict::Never`] only when certain.

use crate::ids::LoginId;
use std::time::Duration;

/// What the lane does next with the row it just worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It worked and is settled.
    Done,
    /// The other side is down: the lane parks behind the gate and nothing is counted against the row.
    Blocked(Gate),
    /// Something outside is away that has no gate (media servers, room on the disk): tried again after a pause and not
    /// counted, until the row is [`AWAY_LIMIT`] old; then as [`Verdict::Later`].
    Away {
        /// For the log; never message text, names or numbers.
        why: String,
    },
    /// It did not work this time, for a reason of the row's own; counted, and tried again after a pause.
    Later {
        /// For the log; never message text, names or numbers.
        why: String,
    },
    /// It can not work: the row settles as failed and the person is told.
    Never {
        /// For the person, in their words: what happened and what to do. Empty: nobody needs to be told.
        tell: String,
        /// For the log; never message text, names or numbers.
        why: String,
    },
}

/// What a parked lane waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Gate {
    /// The homeserver answers again.
    Homeserver,
    /// This login's connection to WhatsApp stands again.
    Login(LoginId),
}

/// How long what is away is waited for, milliseconds.
pub const AWAY_LIMIT: i64 = 600_000;

/// Attempts after which a row that fails by itself is settled as failed.
pub const MAX_ATTEMPTS: i64 = 5;

/// Pause before the next try after `attempts` failed ones: doubling from half a second, at most five minutes,
/// spread by up to a quarter with `spread` (any number; equal numbers give equal pauses).
pub fn backoff(attempts: i64, spread: u64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 11) - 1).unwrap_or(0);
    let base = (500_u64 << doublings).min(300_000);
    Duration::from_millis(base + base * (spread % 256) / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stay_below_the_cap() {
        assert_eq!(backoff(1, 0), Duration::from_millis(500));
        assert_eq!(backoff(2, 0), Duration::from_millis(1000));
        for attempts in 0..100 {
            assert!(backoff(attempts, u64::MAX) <= Duration::from_millis(375_000));
        }
    }
}
