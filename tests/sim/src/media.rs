//! The media store: encrypted files up and down over plain HTTP.
//!
//! A file stays on the server as long as its path does; what phones hold of it
//! stays with them, so that they can put it up again under a new path.

mod blob;
mod download;
mod retry;
mod seal;
mod stickers;
mod upload;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    routing::{get, post},
};
use bytes::Bytes;

pub use blob::{Blob, BlobWriter};
pub use retry::{answer_retry, located};
pub use seal::{Content, Located, Sealed, find, leave_open, open, seal, url};
pub use stickers::{PackSticker, StickerPack, publish};

use crate::{ids::Number, simulator::Shared};

/// How credentials begin: then when they were handed out, and to whom.
const AUTH: &str = "sim-auth-";

/// The HTTP routes: uploads by kind, and the paths files are fetched from.
pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/mms/{kind}/{token}", post(upload::handle))
        .route("/product/{kind}/{token}", post(upload::handle))
        .route("/sticker", get(stickers::handle))
        // Media of channels: not encrypted, and named by a handle; else the same.
        .route("/newsletter/{kind}/{token}", post(upload::handle_open))
        .fallback(get(download::handle))
}

/// A file the server has or had.
struct Entry {
    blob: Blob,
    /// The status downloads get instead, once it is gone.
    gone: Option<u16>,
}

/// What goes wrong with media, on demand.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct MediaFaults {
    /// Downloads go no faster than so many bytes a second.
    pub bytes_per_second: Option<u64>,
    /// Downloads end after so many bytes, as if that were all.
    pub truncate_at: Option<u64>,
    /// All downloads and uploads get this status.
    pub refuse: Option<u16>,
    /// The next uploads are broken off with a 503 after so many bytes, one
    /// entry each.
    pub cut_uploads: Vec<u64>,
}

/// Files by the path they are fetched from.
#[derive(Default)]
pub struct MediaStore {
    files: HashMap<String, Entry>,
    /// The path of every finished upload by its token.
    finished: HashMap<String, String>,
    /// What posts of channels name their files by, by path.
    handles: HashMap<String, String>,
    /// What has arrived of unfinished uploads, by token.
    partial: HashMap<String, Blob>,
    next: u64,
    /// Counts how often the credentials were withdrawn.
    auth_round: u64,
    /// The status requests with withdrawn credentials get.
    auth_refusal: u16,
    pub faults: MediaFaults,
    /// What is told of sticker packs, by their ids.
    packs: HashMap<String, stickers::Told>,
    /// Every download so far: path, first byte asked for, status.
    pub downloads: Vec<(String, u64, u16)>,
}

impl MediaStore {
    /// Keeps a file and returns the path to fetch it from.
    pub fn store(&mut self, content: Bytes) -> String {
        self.add(Blob::Memory(content))
    }

    /// Keeps a file that may be a large one and returns its path.
    pub fn add(&mut self, blob: Blob) -> String {
        self.next += 1;
        let path = format!("/v/t62.0000/sim-{}.enc", self.next);
        self.files.insert(path.clone(), Entry { blob, gone: None });
        path
    }

    /// Gives a file that was uploaded for a channel the handle its post has to name.
    pub fn give_handle(&mut self, path: &str) -> String {
        let handle = format!("sim-handle-{}", self.next);
        self.handles.entry(path.to_owned()).or_insert(handle).clone()
    }

    /// The handle of a file that was uploaded for a channel; none for others.
    pub fn handle_of(&self, path: &str) -> Option<&str> {
        self.handles.get(path).map(String::as_str)
    }

    /// How many files were ever stored.
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Lets all files expire: downloads answer 404 from now on.
    pub fn clear(&mut self) {
        self.expire_all(404);
    }

    /// Lets all files of now expire with a status: 404 or 410.
    pub fn expire_all(&mut self, status: u16) {
        for entry in self.files.values_mut() {
            entry.gone = Some(status);
        }
        self.finished.clear();
    }

    /// Lets one file expire. Returns whether there is one of this path.
    pub fn expire(&mut self, path: &str, status: u16) -> bool {
        self.finished.retain(|_, known| known != path);
        self.files.get_mut(path).map(|entry| entry.gone = Some(status)).is_some()
    }

    /// The file that was stored under a path, expired or not: what a phone that
    /// knows the path holds of it.
    pub fn held(&self, path: &str) -> Option<Blob> {
        self.files.get(path).map(|entry| entry.blob.clone())
    }

    /// The credentials `media_conn` hands out to an account.
    pub fn auth(&self, number: &Number) -> String {
        format!("{AUTH}{}-{number}", self.auth_round)
    }

    /// Withdraws the credentials handed out so far: requests with them get
    /// `status` (401 or 403) until the client asks for new ones.
    pub fn expire_auth(&mut self, status: u16) {
        self.auth_round += 1;
        self.auth_refusal = status;
    }

    /// The status for a request with this query, if it is to be refused.
    fn refusal(&self, query: &Query) -> Option<u16> {
        let stale = query.credentials().is_some_and(|(round, _)| round != self.auth_round);
        if stale { Some(self.auth_refusal) } else { self.faults.refuse }
    }
}

/// The parameters of a media request.
struct Query(HashMap<String, String>);

impl Query {
    /// Reads `a=1&b=2`; the values in use need no unescaping.
    fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// When the credentials were handed out, and to whom; nothing when there are none of ours.
    fn credentials(&self) -> Option<(u64, Number)> {
        let (round, number) = self.get("auth")?.strip_prefix(AUTH)?.split_once('-')?;
        Some((round.parse().ok()?, Number::parse(number).ok()?))
    }
}
