//! The port the homeserver calls: who has it, and an answer to the ping when nobody does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::extract::State as Of;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::report::Report;
use crate::config::Appservice;

/// How long a connection to this machine may take; an address that is not this machine's may swallow it.
const NEARBY: Duration = Duration::from_secs(2);

/// What stands behind the port.
pub(super) enum Door {
    /// The running bridge.
    Running,
    /// An answer of ours, for the time of the look.
    Ours(JoinHandle<()>),
    /// Nothing that could be called.
    Shut,
}

impl Door {
    pub(super) const fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    pub(super) const fn can_be_called(&self) -> bool {
        !matches!(self, Self::Shut)
    }

    /// Frees the port again.
    pub(super) async fn close(self) {
        if let Self::Ours(task) = self {
            task.abort();
            // Waited for, so that a bridge that is started next finds the port free.
            if task.await.is_err_and(|ended| ended.is_panic()) {
                tracing::debug!("the door of the doctor fell shut");
            }
        }
    }
}

/// Finds out who has the port; opens it when nobody has. Asked first and opened second: of `localhost`, and beside who listens on
/// one address only, there is another address that can be had while the bridge runs.
pub(super) async fn open(appservice: &Appservice, report: &mut Report) -> Door {
    let place = format!("{}:{}", appservice.hostname, appservice.port);
    match ask_health(appservice).await {
        Some(health) if health["ok"] == true => {
            report.well("port", format!("the bridge is running at {place}"));
            return Door::Running;
        }
        Some(health) => {
            report.warn(
                "port",
                format!("the bridge at {place} runs and is not well: {}", health["components"]),
                "read its log",
            );
            return Door::Running;
        }
        None => {}
    }
    match TcpListener::bind((appservice.hostname.as_str(), appservice.port)).await {
        Ok(listener) => {
            report.well("port", format!("{place} is free; no bridge is running there"));
            Door::Ours(answer_pings(listener, appservice.hs_token.reveal().clone()))
        }
        Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
            report.fault(
                "port",
                format!("another program has {place}"),
                "stop it, or choose another appservice.port (then appservice.address too, and run with -g)",
            );
            Door::Shut
        }
        Err(why) => {
            report.fault(
                "port",
                format!("can't listen on {place}: {why}"),
                "set appservice.hostname to an address of this machine, or 0.0.0.0 for all",
            );
            Door::Shut
        }
    }
}

/// Answers the homeserver's ping if it shows the right token, and asks it to come again with everything else.
fn answer_pings(listener: TcpListener, hs_token: String) -> JoinHandle<()> {
    let app = Router::new()
        .route("/_matrix/app/v1/ping", post(answer_ping))
        .fallback(|| async { StatusCode::SERVICE_UNAVAILABLE })
        .with_state(format!("Bearer {hs_token}"));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::debug!(%error, "the door of the doctor is shut");
        }
    })
}

async fn answer_ping(Of(wanted): Of<String>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let shown = headers.get("authorization").map(|value| value.as_bytes());
    match shown == Some(wanted.as_bytes()) {
        true => (StatusCode::OK, Json(json!({}))),
        false => (StatusCode::FORBIDDEN, Json(json!({ "errcode": "M_FORBIDDEN" }))),
    }
}

/// What the bridge at the port says of itself; none when what answers is no bridge.
async fn ask_health(appservice: &Appservice) -> Option<Value> {
    let host = match appservice.hostname.parse::<IpAddr>() {
        // "Every address" can be listened on but not called: then this machine is meant.
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => appservice.hostname.clone(),
    };
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(std::iter::empty())
        .connect_timeout(NEARBY)
        .timeout(PATIENCE)
        .build()
        .ok()?;
    let answer = http.get(format!("http://{host}:{}/health", appservice.port)).send().await.ok()?;
    let health: Value = answer.json().await.ok()?;
    health["components"].is_object().then_some(health)
}
