//! `/metrics`: the numbers of the process, with what is asked for just now.
//!
//! On a listener of its own, because who can reach it needs no token: the homeserver's listener may be open to a proxy.
//! A database that does not answer leaves its numbers out; the others are told.

use crate::bridge::Bridge;
use crate::numbers::{self, Direction, Reading};
use crate::store::inbox::Source;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::collections::BTreeMap;

/// The listener's only route.
pub fn router(bridge: &Bridge) -> Router {
    let bridge = bridge.clone();
    let started = bridge.store().clock().now_ms() / 1000;
    Router::new().route("/metrics", get(move || async move { tell(&bridge, started).await }))
}

async fn tell(bridge: &Bridge, started: i64) -> impl IntoResponse + use<> {
    let mut readings = vec![
        Reading::of(&numbers::REACHABLE, None, f64::from(u8::from(bridge.matrix().is_reachable()))),
        Reading::of(&numbers::BEHIND, None, f64::from(u8::from(*bridge.intake().holding().borrow()))),
        Reading::of(&numbers::STARTED, None, whole(started)),
    ];
    for (stand, count) in bridge.lane_counts() {
        readings.push(Reading::of(&numbers::LANES, Some(stand as usize), whole(count)));
    }
    if let Some(bytes) = resident_bytes() {
        readings.push(Reading::of(&numbers::MEMORY, None, whole(bytes)));
    }
    if let Err(error) = ask_database(bridge, &mut readings).await {
        tracing::debug!(%error, "the database has no numbers to tell");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], numbers::write(&readings))
}

async fn ask_database(bridge: &Bridge, readings: &mut Vec<Reading>) -> crate::store::Result<()> {
    let now = bridge.store().clock().now_ms();
    for (source, counts) in bridge.store().inbox_counts_by_source().await? {
        let direction = match source {
            Source::Whatsapp => Direction::IntoMatrix,
            Source::Matrix => Direction::IntoWhatsapp,
        } as usize;
        let age_ms = if counts.oldest_at == 0 { 0 } else { (now - counts.oldest_at).max(0) };
        readings.push(Reading::of(&numbers::WAITING, Some(direction), whole(counts.waiting)));
        readings.push(Reading::of(&numbers::OLDEST, Some(direction), whole(age_ms) / 1000.0));
        readings.push(Reading::of(&numbers::FAILED, Some(direction), whole(counts.failed)));
    }
    for (state, count) in login_counts(bridge).await? {
        readings.push(Reading::of(&numbers::LOGINS, Some(state as usize), whole(count)));
    }
    Ok(())
}

/// How many logins stand where; every state is in it.
///
/// # Errors
/// When the database fails.
pub async fn login_counts(bridge: &Bridge) -> crate::store::Result<Vec<(numbers::Login, u64)>> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for login in bridge.store().all_logins().await? {
        *counts.entry(bridge.standing(&login).number().word()).or_default() += 1;
    }
    let count = |state: &numbers::Login| (*state, counts.get(state.word()).copied().unwrap_or(0));
    Ok(numbers::Login::ALL.iter().map(count).collect())
}

/// A count as Prometheus has it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no count comes near it")]
fn whole(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

/// Memory the process holds, as Linux tells it; none elsewhere.
fn resident_bytes() -> Option<u64> {
    // proc(5): `VmRSS:     1234 kB`.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
