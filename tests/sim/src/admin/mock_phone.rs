//! The phone whatsapp-rust's own end-to-end tests expect: it scans whatever code
//! it is shown, for the account of the name the companion came with.

use anyhow::{Context as _, Result};
use axum::{Router, extract::State as Extract, routing::post};
use serde_json::json;

use super::{Answer, answer};
use crate::simulator::Simulator;

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new().route("/admin/mock-phone/scan-qr", post(scan_qr))
}

/// The body is the text of the code, nothing else.
async fn scan_qr(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    answer(scan(&sim, body.trim()).await.map(|(number, device)| json!({ "number": number, "device": device })))
}

async fn scan(sim: &Simulator, qr: &str) -> Result<(String, u16)> {
    let name = sim.name_behind(qr)?.context("the companion came without a name")?;
    let number = match sim.number_of_name(&name) {
        Some(number) => number,
        None => sim.create_account(&sim.unused_number(), &name)?.number,
    };
    let device = sim.scan(&number, qr).await?;
    Ok((number, device))
}
