//! What people do with their phones, and what others see of it.

use axum::{
    Router,
    extract::{Path, State as Extract},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, answer, parse};
use crate::simulator::Simulator;

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/contact", post(contact))
        .route("/admin/presence", post(presence))
        .route("/admin/presences/{number}", get(presences))
        .route("/admin/chatstate", post(chatstate))
        .route("/admin/disconnect", post(disconnect))
        .route("/admin/certificate", get(certificate))
}

#[derive(Deserialize)]
struct Contact {
    number: String,
    contact: String,
    name: String,
}

async fn contact(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let entry: Contact = parse(&body)?;
    answer(sim.save_contact(&entry.number, &entry.contact, &entry.name).map(|()| json!({})))
}

#[derive(Deserialize)]
struct Presence {
    number: String,
    state: String,
}

async fn presence(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let shown: Presence = parse(&body)?;
    answer(sim.set_presence(&shown.number, &shown.state).map(|()| json!({})))
}

async fn presences(Extract(sim): Extract<Simulator>, Path(number): Path<String>) -> Answer {
    answer(sim.account_exists(&number).map(|()| json!(sim.presences(&number))))
}

#[derive(Deserialize)]
struct ChatState {
    from: String,
    to: String,
    state: String,
}

async fn chatstate(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let shown: ChatState = parse(&body)?;
    answer(sim.send_chatstate(&shown.from, &shown.to, &shown.state).map(|()| json!({})))
}

#[derive(Deserialize)]
struct Disconnect {
    number: Option<String>,
}

async fn disconnect(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let whose: Disconnect = parse(&body)?;
    let done = match &whose.number {
        Some(number) => sim.disconnect(number),
        None => {
            sim.disconnect_unlinked();
            Ok(())
        }
    };
    answer(done.map(|()| json!({})))
}

async fn certificate(Extract(sim): Extract<Simulator>) -> String {
    sim.certificate().to_owned()
}
