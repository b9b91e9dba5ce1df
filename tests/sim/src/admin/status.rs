//! Status posts and broadcast lists: `/admin/status`, `/admin/lists`.

use axum::{Router, extract::State as Extract, routing::post};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, answer, parse};
use crate::simulator::Simulator;

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new().route("/admin/status", post(post_status)).route("/admin/lists", post(create_list))
}

#[derive(Deserialize)]
struct Post {
    from: String,
    #[serde(default)]
    audience: Vec<String>,
    text: String,
}

async fn post_status(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let new: Post = parse(&body)?;
    let audience: Vec<&str> = new.audience.iter().map(String::as_str).collect();
    answer(sim.post_status(&new.from, &audience, &new.text).map(|id| json!({ "id": id })))
}

#[derive(Deserialize)]
struct List {
    number: String,
    people: Vec<String>,
    /// Whether who gets a message is told the list.
    #[serde(default)]
    told: bool,
}

async fn create_list(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let new: List = parse(&body)?;
    let people: Vec<&str> = new.people.iter().map(String::as_str).collect();
    let made = match new.told {
        true => sim.create_told_list(&new.number, &people),
        false => sim.create_broadcast_list(&new.number, &people),
    };
    answer(made.map(|jid| json!({ "jid": jid })))
}
