//! Budgets: how much the bridge does by itself in a minute of what others pay for.
//!
//! Rooms, ghosts and memberships cost the homeserver, requests cost a login's standing at WhatsApp. Each kind has a
//! bucket that fills evenly; requests have one per login. Background work ([`in_background`]) waits until its bucket
//! holds what it takes. A message that must cross and what a person asks for never wait: they take at once, and the
//! bucket owes it, so that background work waits the longer. Buckets live in memory only: a restart begins with full ones.

use super::Bridge;
use crate::config::Budgets as Settings;
use crate::ids::LoginId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Pictures of people asked for at the same time; there may be thousands, and other requests go in between.
const PICTURES: usize = 1;

tokio::task_local! {
    /// Whether the work that runs may wait for its budget.
    static MAY_WAIT: bool;
}

/// Runs work that nobody waits for: what it spends, it waits for.
pub(super) async fn in_background<T>(work: impl Future<Output = T>) -> T {
    MAY_WAIT.scope(true, work).await
}

/// Runs a part of background work that must not wait, since messages may wait for it: they share a lock.
pub(super) async fn at_once<T>(work: impl Future<Output = T>) -> T {
    MAY_WAIT.scope(false, work).await
}

/// What is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost<'a> {
    /// A room made.
    Room,
    /// An account made for a ghost: three requests.
    Ghost,
    /// Somebody brought into a room or out of it: two requests.
    Membership,
    /// Something asked of WhatsApp through a login.
    Request(&'a LoginId),
}

/// A bucket that fills evenly. Times are since some beginning, the same for all calls.
#[derive(Debug)]
struct Bucket {
    /// What a millisecond brings.
    rate: f64,
    /// What it holds at most; also the most it can owe.
    most: f64,
    holds: f64,
    at: Duration,
}

impl Bucket {
    /// A full bucket: half a minute's worth, so that a small account's first minute waits for nothing.
    fn new(per_minute: u32, now: Duration) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        let most = (per_minute / 2.0).max(1.0);
        Self { rate: per_minute / 60_000.0, most, holds: most, at: now }
    }

    /// Another speed from now on; what it holds or owes stays, as far as the new size lets it.
    fn set(&mut self, per_minute: u32, now: Duration) {
        self.fill(now);
        let new = Self::new(per_minute, now);
        *self = Self { holds: self.holds.clamp(-new.most, new.most), ..new };
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64() * 1000.0;
        self.holds = (self.holds + passed * self.rate).min(self.most);
        self.at = self.at.max(now);
    }

    /// Takes one if it is there, else tells how long it takes until it may be.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.fill(now);
        // Sums of small pieces come out a little short.
        if self.holds >= 1.0 - 1e-9 {
            self.holds -= 1.0;
            return Ok(());
        }
        let wait = ((1.0 - self.holds) / self.rate).ceil().max(1.0);
        Err(Duration::from_secs_f64(wait / 1000.0))
    }

    /// Takes one whether it is there or not. What is owed has an end, so that background work is late, never stopped.
    fn owe(&mut self, now: Duration) {
        self.fill(now);
        self.holds = (self.holds - 1.0).max(-self.most);
    }
}

/// A bucket and the queue before it.
struct Gauge {
    bucket: Mutex<Bucket>,
    /// Whose turn it is to wait: those behind have come later.
    turn: tokio::sync::Mutex<()>,
    began: Instant,
}

impl Gauge {
    fn new(per_minute: u32) -> Self {
        let bucket = Mutex::new(Bucket::new(per_minute, Duration::ZERO));
        Self { bucket, turn: tokio::sync::Mutex::default(), began: Instant::now() }
    }

    fn set(&self, per_minute: u32) {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).set(per_minute, self.began.elapsed());
    }

    async fn spend(&self) {
        if !MAY_WAIT.try_with(|may_wait| *may_wait).unwrap_or(false) {
            return self.bucket.lock().unwrap_or_else(PoisonError::into_inner).owe(self.began.elapsed());
        }
        let _turn = self.turn.lock().await;
        loop {
            let taken = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.began.elapsed());
            let Err(wait) = taken else { return };
            tokio::time::sleep(wait).await;
        }
    }
}

/// The budgets of this process.
pub struct Budgets {
    rooms: Gauge,
    ghosts: Gauge,
    memberships: Gauge,
    requests_per_minute: AtomicU32,
    requests: Mutex<HashMap<LoginId, Arc<Gauge>>>,
    pictures: tokio::sync::Semaphore,
}

impl Budgets {
    /// Full budgets.
    pub fn new(settings: &Settings) -> Self {
        Self {
            rooms: Gauge::new(settings.rooms_per_minute),
            ghosts: Gauge::new(settings.ghosts_per_minute),
            memberships: Gauge::new(settings.memberships_per_minute),
            requests_per_minute: AtomicU32::new(settings.whatsapp_requests_per_minute),
            requests: Mutex::default(),
            pictures: tokio::sync::Semaphore::new(PICTURES),
        }
    }

    /// Other speeds from now on. Who waits already does so until their old time has come.
    pub(super) fn set(&self, settings: &Settings) {
        self.rooms.set(settings.rooms_per_minute);
        self.ghosts.set(settings.ghosts_per_minute);
        self.memberships.set(settings.memberships_per_minute);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        self.requests_per_minute.store(settings.whatsapp_requests_per_minute, Ordering::Relaxed);
        for gauge in requests.values() {
            gauge.set(settings.whatsapp_requests_per_minute);
        }
    }

    fn requests_of(&self, login: &LoginId) -> Arc<Gauge> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let per_minute = self.requests_per_minute.load(Ordering::Relaxed);
        requests.entry(login.clone()).or_insert_with(|| Arc::new(Gauge::new(per_minute))).clone()
    }
}

impl Bridge {
    /// Spends one of a budget. In background work it waits until it is there; else it never waits.
    pub(super) async fn spend(&self, cost: Cost<'_>) {
        let budgets = &self.shared.budgets;
        match cost {
            Cost::Room => budgets.rooms.spend().await,
            Cost::Ghost => budgets.ghosts.spend().await,
            Cost::Membership => budgets.memberships.spend().await,
            Cost::Request(login) => budgets.requests_of(login).spend().await,
        }
    }

    /// The turn to look at a person's picture; held while it is looked at.
    pub(super) async fn picture_turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // It is never closed.
        self.shared.budgets.pictures.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_bucket_that_is_set_anew_keeps_what_it_holds_and_owes() {
        let mut bucket = Bucket::new(60, seconds(0));
        bucket.set(600, seconds(0));
        for _ in 0..30 {
            assert_eq!(bucket.take(seconds(0)), Ok(()));
        }
        assert_eq!(bucket.take(seconds(0)), Err(Duration::from_millis(100)), "ten a second now");
        bucket.set(2, seconds(60));
        assert_eq!(bucket.take(seconds(60)), Ok(()));
        assert!(bucket.take(seconds(60)).is_err(), "what is more than it may hold is gone");
    }

    #[test]
    fn a_full_bucket_gives_half_a_minute_at_once_and_then_evenly() {
        let mut bucket = Bucket::new(60, seconds(0));
        for _ in 0..30 {
            assert_eq!(bucket.take(seconds(0)), Ok(()));
        }
        assert_eq!(bucket.take(seconds(0)), Err(seconds(1)));
        assert_eq!(bucket.take(seconds(1)), Ok(()));
        assert_eq!(bucket.take(seconds(1)), Err(seconds(1)));
        assert_eq!(bucket.take(Duration::from_millis(1500)), Err(Duration::from_millis(500)));
        // It does not grow beyond that, however long nobody came.
        for _ in 0..30 {
            assert_eq!(bucket.take(seconds(10_000)), Ok(()));
        }
        assert!(bucket.take(seconds(10_000)).is_err());
    }

    #[test]
    fn what_is_owed_is_waited_for_and_has_an_end() {
        let mut bucket = Bucket::new(60, seconds(0));
        for _ in 0..40 {
            bucket.owe(seconds(0));
        }
        assert_eq!(bucket.take(seconds(0)), Err(seconds(11)), "ten are owed");
        for _ in 0..10_000 {
            bucket.owe(seconds(0));
        }
        assert_eq!(bucket.take(seconds(0)), Err(seconds(31)), "half a minute's worth at most");
    }

    #[test]
    fn the_smallest_budget_moves() {
        let mut bucket = Bucket::new(1, seconds(0));
        assert_eq!(bucket.take(seconds(0)), Ok(()));
        assert_eq!(bucket.take(seconds(0)), Err(seconds(60)));
        assert_eq!(bucket.take(seconds(60)), Ok(()));
    }

    #[tokio::test]
    async fn background_work_waits_in_its_order() {
        // One in 20 ms, and nothing there.
        let bucket = Bucket { rate: 0.05, most: 1.0, holds: 0.0, at: Duration::ZERO };
        let (bucket, turn) = (Mutex::new(bucket), tokio::sync::Mutex::default());
        let gauge = Arc::new(Gauge { bucket, turn, began: Instant::now() });
        let done = Mutex::new(Vec::new());
        let waiting = (0..3).map(|number| {
            let (gauge, done) = (gauge.clone(), &done);
            in_background(async move {
                gauge.spend().await;
                done.lock().unwrap().push(number);
            })
        });
        futures_util::future::join_all(waiting).await;
        assert_eq!(*done.lock().unwrap(), [0, 1, 2]);
        // By the clock the gauge goes by: it began before this line.
        assert!(gauge.began.elapsed() >= Duration::from_millis(59), "{:?}", gauge.began.elapsed());
    }

    #[tokio::test]
    async fn messages_never_wait_and_background_work_waits_for_what_they_took() {
        let gauge = Gauge::new(1);
        in_background(gauge.spend()).await;
        // Both would wait for a minute.
        gauge.spend().await;
        in_background(at_once(gauge.spend())).await;
        let wait = gauge.bucket.lock().unwrap().take(gauge.began.elapsed()).unwrap_err();
        assert!(wait > seconds(100), "{wait:?}");
    }

    #[test]
    fn logins_have_budgets_of_their_own() {
        let settings = Settings {
            whatsapp_requests_per_minute: 2,
            rooms_per_minute: 1,
            ghosts_per_minute: 1,
            memberships_per_minute: 1,
        };
        let budgets = Budgets::new(&settings);
        let (one, other) = (LoginId::new("1"), LoginId::new("2"));
        let take = |login| budgets.requests_of(login).bucket.lock().unwrap().take(Duration::ZERO);
        assert_eq!(take(&one), Ok(()));
        assert!(take(&one).is_err());
        assert_eq!(take(&other), Ok(()));
    }

    proptest! {
        #[test]
        fn no_hour_takes_more_than_its_budget(
            per_minute in 1_u32..2_000,
            steps in proptest::collection::vec((0_u64..5_000, any::<bool>()), 1..400),
        ) {
            let mut bucket = Bucket::new(per_minute, Duration::ZERO);
            let (mut now, mut taken) = (Duration::ZERO, 0_u32);
            for (pause, owes) in steps {
                now += Duration::from_millis(pause);
                if owes {
                    bucket.owe(now);
                } else if let Err(wait) = bucket.take(now) {
                    // Who waits so long gets it.
                    now += wait;
                    prop_assert_eq!(bucket.take(now), Ok(()));
                    taken += 1;
                } else {
                    taken += 1;
                }
            }
            let allowed = f64::from(per_minute) * (now.as_secs_f64() / 60.0 + 0.5) + 1.0;
            prop_assert!(f64::from(taken) <= allowed, "{} of {}", taken, allowed);
        }
    }
}
