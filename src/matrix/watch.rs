//! The standing watch: one `/sync` held open, whose break tells that the homeserver stopped or the way to it is
//! cut, before anything newer can come.
//!
//! It is held by a user of its own who is in no room and has a filter that lets nothing through: a `/sync` of the
//! bot would be woken by every event of every room, and cost Synapse as much as the bridge's own messages.
//!
//! States: *down* (start, or broken: lanes held) → the homeserver answers, accounts are there, one `/sync` answers
//! at once → *up* (the catch-up is woken and lets the lanes go when it is stored) → the poll fails → *down*.

use super::Matrix;
use super::client::Who;
use super::error::{MatrixError, Result};
use super::intake::Intake;
use crate::verdict::backoff;
use ruma::api::client::filter::FilterDefinition;
use ruma::api::client::sync::sync_events::v3 as sync;
use ruma::presence::PresenceState;
use ruma::{OwnedUserId, UserId};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Variable part of the watching user's localpart; no WhatsApp id looks like it.
const WATCHER: &str = "bridge_watch";
/// How long one poll lasts; below the idle limits of usual proxies.
const POLL: Duration = Duration::from_secs(30);
/// How much later than that the answer may come before the connection counts as broken.
const POLL_GRACE: Duration = Duration::from_secs(10);
/// A watch that stood for less counts as a failure.
const SHORT: Duration = Duration::from_secs(5);
/// Pause between two catch-ups when nothing calls for one earlier.
const EVERY: Duration = Duration::from_secs(60);

impl Intake {
    /// Keeps the standing watch and catches up when it is time, until `stop`. Safe to drop at any moment.
    pub async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async { tokio::join!(self.keep_watch(), self.keep_caught_up()) }).await;
    }

    async fn keep_watch(&self) {
        let matrix = self.matrix();
        let watcher = matrix.ghost_id(WATCHER);
        let mut failures = 0;
        loop {
            matrix.wait_until_reachable().await;
            let begun = Instant::now();
            match self.watch_once(&watcher).await {
                // A watch that always breaks at once must not turn into a busy loop.
                Watched::Broke => failures = if begun.elapsed() < SHORT { failures + 1 } else { 0 },
                Watched::NeverUp(error) => {
                    failures += 1;
                    tracing::warn!(%error, "the standing watch at the homeserver could not be set up");
                }
            }
            self.watch_broke();
            if failures > 0 {
                tokio::time::sleep(backoff(failures, rand::random()).min(EVERY)).await;
            }
        }
    }

    /// Sets the watch up and holds it until it breaks.
    async fn watch_once(&self, watcher: &OwnedUserId) -> Watched {
        let matrix = self.matrix();
        let up = async {
            matrix.ensure_user(matrix.bot()).await?;
            matrix.ensure_user(watcher).await?;
            matrix.poll(watcher, None, Duration::ZERO).await
        };
        let mut token = match up.await {
            Ok(token) => token,
            Err(error) => return Watched::NeverUp(error),
        };
        self.watch_is_up();
        loop {
            match matrix.poll(watcher, Some(&token), POLL).await {
                Ok(next) => token = next,
                Err(_) => return Watched::Broke,
            }
        }
    }

    async fn keep_caught_up(&self) {
        let mut failures = 0;
        loop {
            if failures == 0 {
                // A minute without a nudge is a reason too, so both outcomes are the same.
                tokio::time::timeout(EVERY, self.nudged()).await.ok();
            } else {
                tokio::time::sleep(backoff(failures, rand::random()).min(EVERY)).await;
            }
            self.matrix().wait_until_reachable().await;
            match self.catch_up().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "a catch-up was cut short and will be repeated");
                }
            }
        }
    }
}

/// How a watch ended.
enum Watched {
    /// It stood, and broke.
    Broke,
    /// It never stood.
    NeverUp(MatrixError),
}

impl Matrix {
    /// One `/sync` that tells nothing but the next token.
    async fn poll(&self, user: &UserId, since: Option<&str>, wait: Duration) -> Result<String> {
        let mut request = sync::Request::new();
        request.filter = Some(FilterDefinition::ignore_all().into());
        request.since = since.map(str::to_owned);
        request.set_presence = PresenceState::Offline;
        request.timeout = Some(wait);
        Ok(self.ask_slowly(Who::User(user), wait + POLL_GRACE, request).await?.next_batch)
    }
}
