//! The admin API: JSON over HTTP, for tests in other languages and by hand.

mod accounts;
mod appstate;
mod calls;
mod faults;
mod groups;
mod history;
mod kinds;
mod media;
mod mock_phone;
mod newsletters;
mod people;
mod status;

use anyhow::{Result, anyhow};
use axum::{
    Json, Router,
    extract::{Path, State as Extract},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{account::AccountOptions, account::Addressing, simulator::Simulator};

/// The routes under `/admin/`.
pub fn router(simulator: Simulator) -> Router {
    Router::new()
        .route("/admin/accounts", post(create_account))
        .route("/admin/scan", post(scan))
        .route("/admin/pair-code", post(enter_pair_code))
        .route("/admin/read", post(mark_read))
        .route("/admin/unlink", post(unlink))
        .route("/admin/inbox/{number}", get(inbox))
        .route("/admin/receipts/{number}", get(receipts))
        .route("/admin/devices/{number}", get(devices))
        .route("/admin/requests/{number}", get(requests))
        .route("/admin/arrivals", get(arrivals))
        .route("/admin/unknown", get(unknown))
        .merge(appstate::routes())
        .merge(history::routes())
        .merge(kinds::routes())
        .merge(accounts::routes())
        .merge(faults::routes())
        .merge(mock_phone::routes())
        .merge(people::routes())
        .merge(media::routes())
        .merge(calls::routes())
        .merge(groups::routes())
        .merge(newsletters::routes())
        .merge(status::routes())
        .with_state(simulator)
}

/// A refusal: `{"error": ...}` with status 400.
pub struct Refusal(anyhow::Error);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": format!("{:#}", self.0) });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

/// What a handler answers: JSON, or why not.
pub type Answer = Result<Json<Value>, Refusal>;

/// Reads a body; bad JSON is a refusal like any other.
pub fn parse<T: for<'de> Deserialize<'de>>(body: &str) -> Result<T, Refusal> {
    serde_json::from_str(body).map_err(|error| Refusal(anyhow!("body: {error}")))
}

/// Turns a result of the simulator into an answer.
pub fn answer(result: Result<Value>) -> Answer {
    result.map(Json).map_err(Refusal)
}

#[derive(Deserialize)]
struct NewAccount {
    number: String,
    #[serde(default)]
    push_name: String,
    #[serde(default)]
    addressing: AddressingName,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AddressingName {
    #[default]
    Lid,
    Pn,
}

async fn create_account(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let new: NewAccount = parse(&body)?;
    let options = AccountOptions {
        push_name: new.push_name,
        addressing: match new.addressing {
            AddressingName::Lid => Addressing::Lid,
            AddressingName::Pn => Addressing::Pn,
        },
        lid: None,
    };
    let info = sim.create_account_with(&new.number, &options);
    answer(info.map(|info| json!(info)))
}

#[derive(Deserialize)]
struct Scan {
    number: String,
    qr: String,
}

async fn scan(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let scan: Scan = parse(&body)?;
    let device = sim.scan(&scan.number, &scan.qr).await;
    answer(device.map(|device| json!({ "device": device })))
}

#[derive(Deserialize)]
struct PairCode {
    number: String,
    code: String,
}

async fn enter_pair_code(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let entry: PairCode = parse(&body)?;
    let device = sim.enter_pair_code(&entry.number, &entry.code).await;
    answer(device.map(|device| json!({ "device": device })))
}

#[derive(Deserialize)]
struct Read {
    number: String,
    chat: String,
    ids: Vec<String>,
}

async fn mark_read(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let read: Read = parse(&body)?;
    let done = sim.mark_read(&read.number, &read.chat, &read.ids).await;
    answer(done.map(|()| json!({})))
}

#[derive(Deserialize)]
struct Unlink {
    number: String,
    device: u16,
}

async fn unlink(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let unlink: Unlink = parse(&body)?;
    let done = sim.unlink(&unlink.number, unlink.device);
    answer(done.map(|()| json!({})))
}

async fn inbox(Extract(sim): Extract<Simulator>, Path(number): Path<String>) -> Answer {
    answer(known(&sim, &number).map(|()| json!(sim.inbox(&number))))
}

async fn receipts(Extract(sim): Extract<Simulator>, Path(number): Path<String>) -> Answer {
    answer(known(&sim, &number).map(|()| json!(sim.receipts(&number))))
}

async fn devices(Extract(sim): Extract<Simulator>, Path(number): Path<String>) -> Answer {
    answer(known(&sim, &number).map(|()| json!({ "connected": sim.connected_devices(&number) })))
}

async fn requests(Extract(sim): Extract<Simulator>, Path(number): Path<String>) -> Answer {
    answer(known(&sim, &number).map(|()| json!(sim.requests(&number))))
}

fn known(sim: &Simulator, number: &str) -> Result<()> {
    sim.account_exists(number)
}

async fn arrivals(Extract(sim): Extract<Simulator>) -> Json<Value> {
    Json(json!(sim.arrival_log()))
}

async fn unknown(Extract(sim): Extract<Simulator>) -> Json<Value> {
    Json(json!(sim.unknown_stanzas()))
}
