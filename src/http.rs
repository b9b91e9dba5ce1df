//! What the process answers over HTTP: the application service endpoints, how it is doing, the provisioning API and the login page.
//!
//! Who may do what: the homeserver shows its token (`matrix/intake.rs`), a manager its own ([`provision`]), a browser a link that
//! was used up ([`page`]); how the process is doing needs none and names nobody. [`metrics`] has a listener of its own.

mod answer;
mod limits;
pub mod metrics;
pub mod page;
pub mod provision;

use crate::bridge::Bridge;
use crate::matrix::intake::appservice_router;
use crate::numbers::{self, Door};
use axum::Json;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

/// Every route of the process but `/metrics`. Needs the caller's address
/// ([`Router::into_make_service_with_connect_info`]).
pub fn router(bridge: &Bridge) -> Router {
    let (live, ready, health) = (bridge.clone(), bridge.clone(), bridge.clone());
    appservice_router(bridge.intake().clone())
        .route("/_matrix/mau/live", get(move || async move { is_live(&live).await }))
        .route("/_matrix/mau/ready", get(move || async move { is_ready(&ready).await }))
        .route("/health", get(move || async move { tell_health(&health).await }))
        .merge(provision::router(bridge))
        .merge(page::router(bridge))
        .layer(from_fn(count))
}

/// Counts who calls; how the process is doing may be asked for all the time, and is not counted.
async fn count(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let door = if path.starts_with(provision::BASE) {
        Some(Door::Provisioning)
    } else if path == page::PATH || path.starts_with(page::API) {
        Some(Door::Page)
    } else {
        path.starts_with("/_matrix/app/").then_some(Door::Homeserver)
    };
    let response = next.run(request).await;
    if let Some(door) = door {
        numbers::count_call(door, response.status().as_u16());
    }
    response
}

/// The process runs and its database answers.
async fn is_live(bridge: &Bridge) -> StatusCode {
    if bridge.store().ping().await.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Messages can flow: the start is over, the database answers and the homeserver too.
async fn is_ready(bridge: &Bridge) -> StatusCode {
    let ready = bridge.is_started() && bridge.matrix().is_reachable() && bridge.store().ping().await.is_ok();
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// One line per component; numbers of people's accounts are not among them.
async fn tell_health(bridge: &Bridge) -> (StatusCode, Json<Value>) {
    let counts = bridge.store().inbox_counts().await;
    let logins = metrics::login_counts(bridge).await.unwrap_or_default();
    let database = counts.is_ok();
    let counts = counts.unwrap_or_default();
    let homeserver = bridge.matrix().is_reachable();
    let age_ms = if counts.oldest_at == 0 { 0 } else { (bridge.store().clock().now_ms() - counts.oldest_at).max(0) };
    let mut lines = std::collections::BTreeMap::<&str, u64>::new();
    for (_, state) in bridge.whatsapp().states() {
        *lines.entry(state.word()).or_default() += 1;
    }
    let ok = database && homeserver && bridge.is_started();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |good: bool| if good { "ok" } else { "down" };
    let logins: std::collections::BTreeMap<&str, u64> =
        logins.iter().map(|(state, count)| (state.word(), *count)).collect();
    let body = json!({
        "ok": ok,
        "inbox": { "waiting": counts.waiting, "failed": counts.failed, "oldest_age_ms": age_ms },
        "logins": logins,
        "components": {
            "database": word(database),
            "homeserver": word(homeserver),
            "catch_up": if *bridge.intake().holding().borrow() { "behind" } else { "ok" },
            "whatsapp": lines,
        },
    });
    (status, Json(body))
}
