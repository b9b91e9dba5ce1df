//! Messages of every kind.

use axum::{Router, extract::State as Extract, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, answer, parse};
use crate::{
    phone::{Kind, Options},
    simulator::Simulator,
};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/send", post(send))
        .route("/admin/played", post(mark_played))
        .route("/admin/typing", post(typing))
}

#[derive(Deserialize)]
struct Plain {
    from: String,
    to: String,
    text: String,
}

#[derive(Deserialize)]
struct Rich {
    from: String,
    to: String,
    #[serde(flatten)]
    options: Options,
    #[serde(flatten)]
    kind: Kind,
}

/// `{from, to, text}` sends a plain text, `{from, to, kind, ..}` any other.
async fn send(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let value: Value = parse(&body)?;
    if value.get("kind").is_none() {
        let Plain { from, to, text } = parse(&body)?;
        let id = sim.send_text(&from, &to, &text).await;
        return answer(id.map(|id| json!({ "id": id })));
    }
    let Rich { from, to, options, kind } = parse(&body)?;
    let ids = sim.send_kind_with(&from, &to, kind, options).await;
    answer(ids.map(|ids| if let [id] = &ids[..] { json!({ "id": id }) } else { json!({ "id": ids[0], "ids": ids }) }))
}

#[derive(Deserialize)]
struct Played {
    number: String,
    chat: String,
    ids: Vec<String>,
}

async fn mark_played(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Played { number, chat, ids } = parse(&body)?;
    answer(sim.mark_played(&number, &chat, &ids).await.map(|()| json!({})))
}

#[derive(Deserialize)]
struct Typing {
    from: String,
    to: String,
    state: String,
}

/// `state` is `composing`, `recording` or `paused`.
async fn typing(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Typing { from, to, state } = parse(&body)?;
    answer(sim.send_chatstate(&from, &to, &state).map(|()| json!({})))
}
