//! What goes wrong with media, and the files of received messages.

use axum::{
    Router,
    body::Body,
    extract::{Path, State as Extract},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Refusal, answer, parse};
use crate::{media::MediaFaults, simulator::Simulator};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/media/{number}/{id}", get(media))
        .route("/admin/media-fault", post(fault))
        .route("/admin/media-expire", post(expire))
        .route("/admin/media-forget", post(forget))
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

/// Sets all media faults; what is not named is well again.
async fn fault(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let faults: MediaFaults = parse(&body)?;
    sim.set_media_faults(faults);
    answer(Ok(json!({})))
}

#[derive(Deserialize)]
struct Expire {
    /// The status from now on: 404 or 410 for files, 401 or 403 for credentials.
    status: u16,
    /// One file; all of now if absent.
    path: Option<String>,
}

async fn expire(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Expire { status, path } = parse(&body)?;
    answer(match (status, path) {
        (401 | 403, _) => {
            sim.expire_media_auth(status);
            Ok(json!({}))
        }
        (_, Some(path)) => sim.expire_file(&path, status).map(|()| json!({})),
        (_, None) => {
            sim.expire_media(status);
            Ok(json!({}))
        }
    })
}

#[derive(Deserialize)]
struct Forget {
    number: String,
    id: String,
}

/// The phone deletes the file of a message.
async fn forget(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let Forget { number, id } = parse(&body)?;
    answer(sim.forget_media(&number, &id).map(|()| json!({})))
}
