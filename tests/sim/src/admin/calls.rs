//! Calls: `/admin/calls`.

use axum::{
    Json, Router,
    extract::State as Extract,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, answer, parse};
use crate::simulator::Simulator;

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new().route("/admin/calls", get(list).post(call)).route("/admin/calls/act", post(act))
}

#[derive(Deserialize)]
struct New {
    from: String,
    to: String,
    #[serde(default)]
    video: bool,
    #[serde(default)]
    notice: bool,
}

async fn call(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let new: New = parse(&body)?;
    let id = if new.notice {
        sim.call_notice(&new.from, &new.to, new.video)
    } else {
        sim.call(&new.from, &new.to, new.video)
    };
    answer(id.map(|id| json!({ "id": id })))
}

async fn list(Extract(sim): Extract<Simulator>) -> Json<Value> {
    Json(json!(sim.calls()))
}

#[derive(Deserialize)]
struct Act {
    number: String,
    id: String,
    action: String,
    reason: Option<String>,
}

async fn act(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let act: Act = parse(&body)?;
    let done = sim.act_on_call(&act.number, &act.id, &act.action, act.reason.as_deref());
    answer(done.map(|()| json!({})))
}
