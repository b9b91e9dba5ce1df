//! The version of WhatsApp's web client that connections claim to be.
//!
//! Fetched once per process, the last good one kept in the database; with a simulator's address configured
//! nothing of WhatsApp's is contacted and a built-in version is used.

use super::http::Http;
use crate::store::Store;
use std::sync::Arc;
use tokio::sync::Mutex;
use whatsapp_rust::http::HttpClient;
use whatsapp_rust::version::fetch_latest_app_version;

/// A version as WhatsApp counts them.
pub type Triple = (u32, u32, u32);

/// Used when nothing newer is known; it worked in August 2026.
const BUILT_IN: Triple = (2, 3000, 1_042_742_319);

const KEY: &str = "wa_web_version";

/// Finds the version once and remembers it.
pub struct WebVersion {
    store: Store,
    http: Arc<Http>,
    offline: bool,
    known: Mutex<Option<Triple>>,
}

impl WebVersion {
    /// `offline`: never ask WhatsApp.
    pub fn new(store: Store, http: Arc<Http>, offline: bool) -> Self {
        Self { store, http, offline, known: Mutex::default() }
    }

    /// The version to claim.
    pub async fn current(&self) -> Triple {
        let mut known = self.known.lock().await;
        if let Some(version) = *known {
            return version;
        }
        let version = self.find().await;
        *known = Some(version);
        version
    }

    /// Forgets the version, so that the next connection looks for a newer one.
    pub async fn refresh(&self) {
        *self.known.lock().await = None;
    }

    async fn find(&self) -> Triple {
        if self.offline {
            return BUILT_IN;
        }
        let http: Arc<dyn HttpClient> = self.http.clone();
        match fetch_latest_app_version(&http).await {
            Ok(version) => {
                let text = format!("{}.{}.{}", version.0, version.1, version.2);
                if let Err(error) = self.store.put_meta(KEY, text.as_bytes()).await {
                    tracing::warn!(%error, "the version of WhatsApp's web client was not stored");
                }
                version
            }
            Err(error) => {
                tracing::warn!(%error, "the version of WhatsApp's web client could not be fetched; using the last good one");
                let stored = self.store.find_meta(KEY).await.ok().flatten();
                stored.and_then(|text| parse(&text)).unwrap_or(BUILT_IN)
            }
        }
    }
}

fn parse(text: &[u8]) -> Option<Triple> {
    let mut numbers = std::str::from_utf8(text).ok()?.split('.').map(str::parse);
    let triple = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    numbers.next().is_none().then_some(triple)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_versions_are_read_back_and_nonsense_is_not() {
        assert_eq!(parse(b"2.3000.17"), Some((2, 3000, 17)));
        for nonsense in [&b""[..], b"2.3000", b"2.3000.1.2", b"a.b.c"] {
            assert_eq!(parse(nonsense), None);
        }
    }
}
