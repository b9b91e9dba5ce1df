//! What the process answers over HTTP: the application service endpoints, and how it is doing.

use crate::bridge::Bridge;
use crate::matrix::intake::appservice_router;
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

/// Every route of the process.
pub fn router(bridge: &Bridge) -> Router {
    let (live, ready, health) = (bridge.clone(), bridge.clone(), bridge.clone());
    appservice_router(bridge.intake().clone())
        .route("/_matrix/mau/live", get(move || async move { is_live(&live).await }))
        .route("/_matrix/mau/ready", get(move || async move { is_ready(&ready).await }))
        .route("/health", get(move || async move { tell_health(&health).await }))
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
    let body = json!({
        "ok": ok,
        "inbox": { "waiting": counts.waiting, "failed": counts.failed, "oldest_age_ms": age_ms },
        "components": {
            "database": word(database),
            "homeserver": word(homeserver),
            "catch_up": if *bridge.intake().holding().borrow() { "behind" } else { "ok" },
            "whatsapp": lines,
        },
    });
    (status, Json(body))
}
