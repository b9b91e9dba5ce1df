//! Messages of every kind, and the files of received ones.

use axum::{
    Router,
    body::Body,
    extract::{Path, State as Extract},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Refusal, answer, parse};
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
        .route("/admin/media/{number}/{id}", get(media))
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

/// The decrypted file of a message, as the phone has it.
async fn media(
    Extract(sim): Extract<Simulator>,
    Path((number, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (blob, located) = sim.open_media(&number, &id).await.map_err(Refusal)?;
    let kind = located.mimetype.unwrap_or_else(|| "application/octet-stream".into());
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, blob.len().to_string())];
    Ok((headers, Body::from_stream(blob.stream(0, blob.len()))).into_response())
}
