//! Uploads: `POST /mms/KIND/TOKEN`, the token being the content's SHA-256.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State as Extract},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Blob, BlobWriter, Query, url};
use crate::{simulator::Shared, state::State};

/// Takes an upload, or says how far an earlier one of the same content got
/// (`resume=1` and no body): `{"resume": "complete", url, direct_path}`,
/// `{"resume": "<offset>"}`, or 404. `file_offset` goes on after that.
pub async fn handle(
    Extract(shared): Extract<Arc<Shared>>,
    Path((_kind, token)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    answer(&shared, &token, query.as_deref(), body, false).await
}

/// As [`handle`], of a channel's file: `handle` in the answer is what the post
/// has to name as `media_id` (whatsmeow's `UploadNewsletter`).
pub async fn handle_open(
    Extract(shared): Extract<Arc<Shared>>,
    Path((_kind, token)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    answer(&shared, &token, query.as_deref(), body, true).await
}

async fn answer(shared: &Shared, token: &str, query: Option<&str>, body: Body, is_open: bool) -> Response {
    let query = Query::parse(query);
    if let Some(status) = shared.with(|state| state.media.refusal(&query)) {
        return refuse(status);
    }
    if query.get("resume") == Some("1") {
        return shared.with(|state| progress(state, token));
    }
    match take(shared, token, &query, body, is_open).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!("upload {token}: {error:#}");
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}

fn refuse(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

fn progress(state: &State, token: &str) -> Response {
    if let Some(path) = state.media.finished.get(token) {
        let answer = json!({ "resume": "complete", "url": url(state, path), "direct_path": path });
        return Json(answer).into_response();
    }
    match state.media.partial.get(token) {
        Some(blob) => Json(json!({ "resume": blob.len().to_string() })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn take(shared: &Shared, token: &str, query: &Query, body: Body, is_open: bool) -> Result<Response> {
    let offset = query.get("file_offset").and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let (earlier, cut) = shared.with(|state| {
        let faults = &mut state.media.faults;
        let cut = (!faults.cut_uploads.is_empty()).then(|| faults.cut_uploads.remove(0));
        (state.media.partial.get(token).cloned(), cut)
    });
    let mut writer = match earlier {
        Some(earlier) if offset > 0 => BlobWriter::after(&earlier, offset)?,
        _ => BlobWriter::default(),
    };
    anyhow::ensure!(writer.len() == offset, "offset {offset} is not where an upload stopped");
    let mut pieces = body.into_data_stream();
    let limit = cut.map_or(u64::MAX, |after| offset + after);
    let mut broken = false;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => {
                let room = usize::try_from(limit - writer.len()).unwrap_or(usize::MAX);
                writer.write_all(&piece[..piece.len().min(room)])?;
                broken = piece.len() > room;
            }
            // The client went away; it may come back for the rest.
            Err(_) => broken = true,
        }
        if broken {
            break;
        }
    }
    let blob = writer.finish();
    if broken {
        shared.with(|state| state.media.partial.insert(token.to_owned(), blob));
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    let hash = hash(blob.clone()).await?;
    anyhow::ensure!(token == hash, "the content's hash is {hash}");
    let told = shared.with(|state| {
        state.media.partial.remove(token);
        let path = state.media.add(blob);
        state.media.finished.insert(token.to_owned(), path.clone());
        let mut told = json!({ "url": url(state, &path), "direct_path": path });
        if is_open {
            told["handle"] = state.media.give_handle(&path).into();
        }
        told
    });
    Ok(Json(told).into_response())
}

/// The content's SHA-256 as tokens write it.
async fn hash(blob: Blob) -> Result<String> {
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hasher = Hasher(Sha256::new());
        io::copy(&mut blob.reader(), &mut hasher)?;
        Ok::<_, io::Error>(BASE64_URL_SAFE_NO_PAD.encode(hasher.0.finalize()))
    });
    hashing.await.context("hashing")?.context("hashing")
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
