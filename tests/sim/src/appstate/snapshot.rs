//! Snapshots: encrypted files on the media store.

use anyhow::{Context as _, Result};
use buffa::Message as _;
use wacore::download::MediaType;
use waproto::whatsapp::ExternalBlobReference;

use crate::{
    ids::Number,
    media::{self, Content},
    state::State,
};

/// Puts the snapshot of a collection on the media store. Returns where it is
/// and its version.
pub fn reference(state: &mut State, number: &Number, name: &str) -> Result<(ExternalBlobReference, u64)> {
    let app_state = &state.account(number)?.app_state;
    let collection = app_state.collections.get(name).context("no such collection")?;
    let (key_id, keys) = app_state.keys.current();
    let snapshot = collection.signed_snapshot(name, &keys, &key_id).context("no snapshot was taken")?;
    let version = collection.base();
    let sealed = media::seal(&Content::Bytes(snapshot.encode_to_vec().into()), MediaType::AppState)?;
    let size = sealed.blob.len();
    let direct_path = state.media.add(sealed.blob);
    let reference = ExternalBlobReference {
        media_key: Some(sealed.media_key),
        direct_path: Some(direct_path),
        file_size_bytes: Some(size),
        file_sha256: Some(sealed.file_sha256),
        file_enc_sha256: Some(sealed.file_enc_sha256),
        ..Default::default()
    };
    Ok((reference, version))
}
