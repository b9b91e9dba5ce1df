//! App state.

use axum::{
    Router,
    extract::{Path, State as Extract},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, answer, known, parse};
use crate::{appstate::Action, simulator::Simulator};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/app-state", post(act))
        .route("/admin/app-state/{number}", get(show))
        .route("/admin/app-state-snapshot", post(take_snapshot))
        .route("/admin/app-state-key", post(rotate_key))
}

#[derive(Deserialize)]
struct Act {
    number: String,
    #[serde(flatten)]
    action: Action,
}

async fn act(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Act { number, action } = parse(&body)?;
    answer(sim.act(&number, &action).map(|()| json!({})))
}

async fn show(Extract(sim): Extract<Simulator>, Path(number): Path<String>) -> Answer {
    answer(known(&sim, &number).map(|()| json!(sim.app_state(&number))))
}

#[derive(Deserialize)]
struct Snapshot {
    number: String,
    collection: String,
}

async fn take_snapshot(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Snapshot { number, collection } = parse(&body)?;
    answer(sim.take_snapshot(&number, &collection).map(|version| json!({ "version": version })))
}

#[derive(Deserialize)]
struct Rotate {
    number: String,
    #[serde(default)]
    shared: bool,
}

async fn rotate_key(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Rotate { number, shared } = parse(&body)?;
    answer(sim.rotate_app_state_key(&number, shared).map(|()| json!({})))
}
