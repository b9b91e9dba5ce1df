//! How often somebody may ask: counters per minute, in memory.
//!
//! A window of a minute begins with its first request. What a stranger can make grow has a bound: when it is reached, the
//! windows that are over are forgotten, and if none is, all are.

use super::answer::Refusal;
use crate::clock::Clock;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most windows kept.
const MOST: usize = 10_000;
/// How long one is, milliseconds.
const WINDOW_MS: i64 = 60_000;

/// Counters by whom they are about.
pub struct Limits {
    clock: Clock,
    windows: Mutex<HashMap<String, Window>>,
}

struct Window {
    begun: i64,
    count: u32,
}

impl Limits {
    /// No window yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, windows: Mutex::default() }
    }

    /// Counts one more of these.
    ///
    /// # Errors
    /// With the time until the window is over, when there were `most` in it already.
    pub fn count(&self, whom: &str, most: u32) -> Result<(), Refusal> {
        let now = self.clock.now_ms();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MOST && !windows.contains_key(whom) {
            windows.retain(|_, window| window.left(now).is_some());
            if windows.len() >= MOST {
                windows.clear();
            }
        }
        let window = windows.entry(whom.to_owned()).or_insert(Window { begun: now, count: 0 });
        let Some(left) = window.left(now) else {
            *window = Window { begun: now, count: 1 };
            return Ok(());
        };
        if window.count >= most {
            return Err(Refusal::limited(left));
        }
        window.count += 1;
        Ok(())
    }

    /// Refuses when there were `most` already; counts nothing.
    ///
    /// # Errors
    /// As [`Limits::count`].
    pub fn check(&self, whom: &str, most: u32) -> Result<(), Refusal> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let full = windows.get(whom).filter(|window| window.count >= most);
        match full.and_then(|window| window.left(self.clock.now_ms())) {
            Some(left) => Err(Refusal::limited(left)),
            None => Ok(()),
        }
    }
}

impl Window {
    /// The time until it is over; none when it is, or when the clock went back.
    fn left(&self, now: i64) -> Option<Duration> {
        let age = now - self.begun;
        (0..WINDOW_MS).contains(&age).then(|| Duration::from_millis((WINDOW_MS - age).unsigned_abs()))
    }
}

/// The address a request comes from. A neighbour (this machine, a private network) may be a proxy that says whom it speaks for, as the last
/// entry of `X-Forwarded-For`; what others write there is not believed.
#[must_use]
pub fn address_of(peer: SocketAddr, forwarded: Option<&str>) -> String {
    let is_neighbour = match peer.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    let named = forwarded.filter(|_| is_neighbour).and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    match named.unwrap_or_else(|| peer.ip().to_canonical()) {
        // Who has one address of a network of the sixth version has them all.
        IpAddr::V6(ip) => format!("{:x?}", &ip.segments()[..4]),
        ip => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_and_the_next_begins_anew() {
        let clock = Clock::by_hand(1_000);
        let limits = Limits::new(clock.clone());
        assert!(limits.count("a", 2).is_ok() && limits.count("a", 2).is_ok());
        clock.advance(20_000);
        assert_eq!(limits.count("a", 2).unwrap_err().after, Some(Duration::from_secs(40)));
        assert!(limits.check("a", 2).is_err() && limits.check("a", 3).is_ok() && limits.check("b", 2).is_ok());
        assert!(limits.count("b", 2).is_ok(), "others are not stopped");
        clock.advance(40_000);
        assert!(limits.check("a", 2).is_ok() && limits.count("a", 2).is_ok());
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let limits = Limits::new(Clock::by_hand(1_000));
        for number in 0..=MOST {
            limits.count(&number.to_string(), 1).unwrap();
        }
        assert!(limits.windows.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn only_a_neighbour_speaks_for_others() {
        let address = |peer: &str, forwarded| address_of(format!("{peer}:1").parse().unwrap(), forwarded);
        assert_eq!(address("127.0.0.1", Some("1.2.3.4, 5.6.7.8")), "5.6.7.8");
        assert_eq!(address("10.0.0.1", Some("5.6.7.8")), "5.6.7.8");
        assert_eq!(address("9.9.9.9", Some("5.6.7.8")), "9.9.9.9");
        assert_eq!(address("127.0.0.1", Some("nonsense")), "127.0.0.1");
        assert_eq!(address("[2001:db8::1]", None), address("[2001:db8::2]", None));
    }
}
