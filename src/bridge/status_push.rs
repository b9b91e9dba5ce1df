//! Posts where logins stand to the operator's status endpoint, when they change and again before they run out.
//!
//! Promise: the newest state is posted, in the end; what was between two of them may be left out. Nothing waits for the
//! endpoint. Nothing is stored: a new process posts every state anew. The form is the one of mautrix's bridges.

use super::Bridge;
use super::standing::Standing;
use crate::ids::LoginId;
use crate::matrix::status_endpoint::{NotTaken, StatusEndpoint};
use crate::store::logins::{Farewell, Login};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// How long a good state holds, seconds.
const TTL: i64 = 21_600;
/// How long a bad one does, seconds.
const TTL_OF_TROUBLE: i64 = 3_600;
/// First pause after a state was not taken; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a state was not taken.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What comes within this time is looked at together.
const GATHER: Duration = Duration::from_millis(100);

/// One state as it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Posted {
    state_event: &'static str,
    /// Seconds since 1970.
    timestamp: i64,
    /// Seconds after which it does not hold any more unless it is posted again.
    ttl: i64,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_name: String,
}

impl Posted {
    fn of_bridge(state_event: &'static str, now_ms: i64) -> Self {
        Self {
            state_event,
            timestamp: now_ms / 1000,
            ttl: TTL,
            source: "bridge",
            error: None,
            message: String::new(),
            user_id: String::new(),
            remote_id: String::new(),
            remote_name: String::new(),
        }
    }

    fn of_login(login: &Login, standing: &Standing, now_ms: i64) -> Self {
        let error = standing.error();
        Self {
            ttl: if error.is_some() { TTL_OF_TROUBLE } else { TTL },
            error,
            message: standing.why(),
            user_id: login.mxid.clone(),
            remote_id: login.id.to_string(),
            remote_name: format!("+{}", login.id),
            ..Self::of_bridge(standing.event(), now_ms)
        }
    }

    /// Whether it says the same, whenever.
    fn is_as(&self, other: &Self) -> bool {
        Self { timestamp: 0, ..self.clone() } == Self { timestamp: 0, ..other.clone() }
    }

    /// When it is posted again, seconds since 1970: before it runs out.
    fn due(&self) -> i64 {
        self.timestamp + self.ttl - self.ttl / 10
    }
}

/// What is to be posted for `now` when `before` was; none when that still holds.
fn news(before: Option<&Posted>, now: Posted, is_over: bool) -> Option<Posted> {
    match before {
        // Somebody who logged out here before this process began needs no watching.
        None => (!is_over).then_some(now),
        Some(before) if !before.is_as(&now) => Some(now),
        Some(before) => (!is_over && now.timestamp >= before.due()).then_some(now),
    }
}

impl Bridge {
    /// Posts states until the process stops; returns at once when nobody wants them.
    pub async fn run_status_push(&self) {
        let Some(address) = &self.config().homeserver.status_endpoint else { return };
        let endpoint = match StatusEndpoint::new(address, self.config().appservice.as_token.reveal()) {
            Ok(endpoint) => endpoint,
            Err(error) => return tracing::error!(%error, "states of logins are not posted"),
        };
        let mut bell = self.watch_bell();
        let mut told = HashMap::new();
        let mut pause = FIRST_PAUSE;
        let pushing = async {
            // Whoever watches knows from this that what was posted before does not hold.
            let starting = Posted::of_bridge("STARTING", self.store().clock().now_ms());
            if let Err(why) = endpoint.post(&starting).await {
                tracing::warn!(%why, "the start was not posted to the status endpoint");
            }
            loop {
                bell.borrow_and_update();
                match self.post_news(&endpoint, &mut told).await {
                    Ok(wait) => {
                        pause = FIRST_PAUSE;
                        // The sender lives as long as the bridge; the news themselves are looked up.
                        drop(tokio::time::timeout(wait, bell.changed()).await);
                        tokio::time::sleep(GATHER).await;
                    }
                    Err(why) => {
                        tracing::warn!(%why, "a login's state was not posted; it is tried again");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        };
        self.stop().run_until_cancelled(pushing).await;
    }

    /// Posts what is new; gives how long it may be until something is to be posted again.
    async fn post_news(
        &self,
        endpoint: &StatusEndpoint,
        told: &mut HashMap<Option<LoginId>, Posted>,
    ) -> anyhow::Result<Duration> {
        let logins = self.store().all_logins().await?;
        let now = self.store().clock().now_ms();
        told.retain(|id, _| id.as_ref().is_none_or(|id| logins.iter().any(|login| login.id == *id)));
        let whole = if logins.is_empty() { "UNCONFIGURED" } else { "RUNNING" };
        let mut all = vec![(None, Posted::of_bridge(whole, now), false)];
        all.extend(logins.iter().map(|login| {
            let standing = self.standing(login);
            let is_over = matches!(standing, Standing::LoggedOut { how: Farewell::Asked, .. });
            (Some(login.id.clone()), Posted::of_login(login, &standing, now), is_over)
        }));
        let mut wait = TTL;
        for (id, state, is_over) in all {
            if let Some(state) = news(told.get(&id), state, is_over) {
                match endpoint.post(&state).await {
                    Ok(()) => {}
                    // The next state may be taken; the others need not wait for this one.
                    Err(why @ NotTaken::Refused(_)) => tracing::warn!(%why, "a login's state was not posted"),
                    Err(why) => return Err(why.into()),
                }
                told.insert(id.clone(), state);
            }
            if let Some(last) = told.get(&id).filter(|_| !is_over) {
                wait = wait.min((last.due() - now / 1000).max(1));
            }
        }
        Ok(Duration::from_secs(u64::try_from(wait).unwrap_or(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_posted_when_it_changes_and_before_it_runs_out() {
        let connected = |seconds: i64| Posted::of_bridge("CONNECTED", seconds * 1000);
        let first = news(None, connected(100), false).unwrap();
        assert_eq!(news(Some(&first), connected(100 + TTL / 2), false), None, "it still holds");
        assert!(news(Some(&first), connected(100 + TTL - TTL / 10), false).is_some());
        assert!(news(Some(&first), Posted::of_bridge("CONNECTING", 101_000), false).is_some());
        assert_eq!(news(None, connected(1), true), None, "over before the process began");
        assert!(news(Some(&first), Posted::of_bridge("LOGGED_OUT", 101_000), true).is_some());
        let over = Posted::of_bridge("LOGGED_OUT", 101_000);
        assert_eq!(news(Some(&over), Posted::of_bridge("LOGGED_OUT", i64::MAX), true), None, "said once");
    }

    #[test]
    fn nothing_empty_is_posted() {
        let json = serde_json::to_value(Posted::of_bridge("RUNNING", 7_000)).unwrap();
        let expected =
            serde_json::json!({ "state_event": "RUNNING", "timestamp": 7, "ttl": 21_600, "source": "bridge" });
        assert_eq!(json, expected);
    }
}
