//! Old chats for phones.

use axum::{Router, extract::State as Extract, routing::post};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, answer, parse};
use crate::{history_sync::HistorySeed, simulator::Simulator};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new().route("/admin/history", post(seed))
}

#[derive(Deserialize)]
struct Seed {
    number: String,
    #[serde(flatten)]
    seed: HistorySeed,
}

async fn seed(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Seed { number, seed } = parse(&body)?;
    answer(sim.seed_history(&number, &seed).map(|people| json!({ "people": people })))
}
