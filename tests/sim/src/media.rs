//! The media store: encrypted files up and down over plain HTTP.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, RawQuery, State as Extract},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::simulator::Shared;

/// Files by the path they are fetched from.
#[derive(Default)]
pub struct MediaStore {
    files: HashMap<String, Bytes>,
    next: u64,
}

impl MediaStore {
    /// Keeps a file and returns the path to fetch it from.
    pub fn store(&mut self, content: Bytes) -> String {
        self.next += 1;
        let path = format!("/v/t62.0000/sim-{}.enc", self.next);
        self.files.insert(path.clone(), content);
        path
    }

    /// How many files were ever stored.
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Forgets all files: downloads answer 404 from now on.
    pub fn clear(&mut self) {
        self.files.clear();
    }
}

/// `POST /mms/KIND/TOKEN`: stores the body. A request with `resume=1` asks for
/// an earlier part of the same upload, of which there never is any.
pub async fn upload(
    Extract(shared): Extract<Arc<Shared>>,
    Path((_kind, _token)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if query.is_some_and(|q| q.split('&').any(|p| p == "resume=1")) && body.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (path, host) = shared.with(|state| (state.media.store(body), state.listen));
    let url = format!("https://{host}{path}");
    Json(json!({ "url": url, "direct_path": path })).into_response()
}

/// `GET <direct_path>`: the stored bytes, 404 when they are gone.
pub async fn download(Extract(shared): Extract<Arc<Shared>>, uri: Uri) -> Response {
    let file = shared.with(|state| state.media.files.get(uri.path()).cloned());
    match file {
        Some(content) => content.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
