//! Whether the homeserver is there: one shared prober for everybody who waits for it, and the checks at start.

use super::client::{Pace, Who};
use super::error::{MatrixError, Result};
use super::{DEVICE, Matrix};
use crate::verdict::backoff;
use ruma::api::auth_scheme::{AuthScheme, SendAccessToken};
use ruma::api::client::account::whoami;
use ruma::api::client::appservice::request_ping;
use ruma::api::client::device::get_device;
use ruma::api::path_builder::PathBuilder;
use ruma::api::{OutgoingRequest, SupportedVersions};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of the homeserver's presence.
#[derive(Default)]
pub struct Reach {
    /// Held by whoever probes; the others wait for it. Holds when the homeserver last proved to be there.
    proved: Mutex<Option<Instant>>,
    /// Until when the homeserver wants to be left alone.
    quiet_until: std::sync::Mutex<Option<Instant>>,
    lost: AtomicBool,
}

impl Matrix {
    /// Waits until the homeserver answers a request that needs its database and takes our token. Many may
    /// wait; one probes, with growing pauses of at most 30 seconds. Safe to drop.
    pub async fn wait_until_reachable(&self) {
        let asked = Instant::now();
        let reach = &self.shared.reach;
        let mut proved = reach.proved.lock().await;
        if proved.is_some_and(|at| at > asked) {
            return;
        }
        let quiet = *reach.quiet_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(until) = quiet {
            tokio::time::sleep_until(until).await;
        }
        let mut attempt = 0;
        while let Err(error) = self.probe().await {
            attempt += 1;
            self.note_lost(&error);
            let pause = match error {
                MatrixError::Limited { after } => after,
                _ => backoff(attempt, rand::random()).min(LONGEST_PAUSE),
            };
            tokio::time::sleep(pause).await;
        }
        if reach.lost.swap(false, Ordering::Relaxed) {
            tracing::info!("the homeserver answers again");
        }
        *proved = Some(Instant::now());
    }

    /// What the last request said about it; true before the first one. For health.
    pub fn is_reachable(&self) -> bool {
        !self.shared.reach.lost.load(Ordering::Relaxed)
    }

    /// Asks who we are; tells a refused token from a homeserver that is not there.
    ///
    /// # Errors
    /// [`MatrixError::TokenRefused`] when the registration is not loaded or its token differs: a retry helps
    /// only after somebody repaired it. [`MatrixError::Unreachable`] when there is no homeserver yet.
    pub async fn check_token(&self) -> Result<()> {
        self.ask(Who::Service, whoami::v3::Request::new()).await.map(drop)
    }

    /// Makes the homeserver call our ping endpoint; answers how long that took. It also makes Synapse retry
    /// waiting transactions at once.
    ///
    /// # Errors
    /// When the homeserver is not there or can not reach us ([`MatrixError::Refused`] with `M_CONNECTION_FAILED`,
    /// `M_BAD_STATUS`, …: `appservice.address` is wrong or our port is shut).
    pub async fn ping(&self) -> Result<Duration> {
        let mut request = request_ping::v1::Request::new(self.settings().appservice_id.clone());
        request.transaction_id = Some(super::fresh_name().into());
        Ok(self.ask(Who::Service, request).await?.duration)
    }

    /// Asks something cheap that needs the homeserver's database. Any answer that is not about the server's
    /// own health is good enough.
    pub(super) async fn probe(&self) -> Result<()> {
        let request = get_device::v3::Request::new(DEVICE.into());
        match self.client().ask(Who::User(self.bot()), Pace::Ordinary, request).await {
            Ok(_) => Ok(()),
            Err(
                error @ (MatrixError::TokenRefused | MatrixError::Limited { .. } | MatrixError::Unreachable { .. }),
            ) => Err(error),
            Err(error) if error.is_inner_fault() => Err(MatrixError::Unreachable { why: "status 500".into() }),
            Err(_) => Ok(()),
        }
    }

    /// An ordinary request; notes what it tells about the homeserver's health.
    pub(crate) async fn ask<R>(&self, who: Who<'_>, request: R) -> Result<R::IncomingResponse>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        self.ask_at(who, Pace::Ordinary, request).await
    }

    /// A request that may take `limit`: a long poll or a big answer.
    pub(crate) async fn ask_slowly<R>(&self, who: Who<'_>, limit: Duration, request: R) -> Result<R::IncomingResponse>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        self.ask_at(who, Pace::Slow(limit), request).await
    }

    async fn ask_at<R>(&self, who: Who<'_>, pace: Pace, request: R) -> Result<R::IncomingResponse>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        if let Some((user, puppet)) = self.find_puppet(&who) {
            return match puppet.client.ask(puppet.who(who), pace, request).await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.weigh_puppet(&user, &puppet, error).await),
            };
        }
        match self.client().ask(who, pace, request).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.weigh(error).await),
        }
    }

    /// Notes a failure. An inner fault of the homeserver counts as its absence when it can not answer the probe
    /// either, and as the request's own trouble when it can.
    pub(super) async fn weigh(&self, error: MatrixError) -> MatrixError {
        let error = match error {
            fault if fault.is_inner_fault() => self.probe().await.err().unwrap_or(fault),
            other => other,
        };
        match &error {
            MatrixError::Limited { after } => {
                let until = Instant::now() + *after;
                *self.shared.reach.quiet_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(until);
            }
            MatrixError::Unreachable { .. } | MatrixError::TokenRefused => self.note_lost(&error),
            _ => {}
        }
        error
    }

    fn note_lost(&self, error: &MatrixError) {
        if matches!(error, MatrixError::Limited { .. }) || self.shared.reach.lost.swap(true, Ordering::Relaxed) {
            return;
        }
        match error {
            MatrixError::TokenRefused => tracing::error!(%error, "everything for Matrix waits"),
            _ => tracing::warn!(%error, "everything for Matrix waits"),
        }
    }
}
