//! Sticker packs: what the server of static files tells of them, and their stickers on the media store.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Json,
    extract::State as Extract,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use wacore::download::MediaType;

use super::{Content, Query, seal};
use crate::{simulator::Shared, state::State};

/// A sticker of a pack, as its maker has it.
#[derive(Clone, Debug, Default)]
pub struct PackSticker {
    /// The picture, WebP.
    pub picture: Vec<u8>,
    /// What it is packed as where Lottie is asked for; the picture if absent.
    pub lottie: Option<Vec<u8>>,
    /// What it shows, in words.
    pub label: String,
    /// Emoji it stands for.
    pub emojis: Vec<String>,
}

/// A pack, as its maker has it.
#[derive(Clone, Debug, Default)]
pub struct StickerPack {
    /// What links name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub publisher: String,
    /// The stickers.
    pub stickers: Vec<PackSticker>,
}

/// What is told of a pack: with pictures, and with Lottie.
pub struct Told {
    pictures: Value,
    lottie: Value,
}

/// Puts a pack's stickers on the media store and tells of it from now on; one of the same id is replaced.
pub fn publish(state: &mut State, pack: &StickerPack) -> Result<()> {
    let mut told = [Vec::new(), Vec::new()];
    for sticker in &pack.stickers {
        let picture = tell(state, sticker, &sticker.picture, "image/webp")?;
        let lottie = match &sticker.lottie {
            Some(packed) => tell(state, sticker, packed, "application/was")?,
            None => picture.clone(),
        };
        told[0].push(picture);
        told[1].push(lottie);
    }
    let [pictures, lottie] = told.map(|stickers| {
        json!([{
            "sticker-pack-id": pack.id,
            "name": pack.name,
            "publisher": pack.publisher,
            "description": "",
            "file-size": "0",
            "animated": i32::from(pack.stickers.iter().any(|sticker| sticker.lottie.is_some())),
            "lottie": i32::from(pack.stickers.iter().any(|sticker| sticker.lottie.is_some())),
            "stickers": stickers,
        }])
    });
    state.media.packs.insert(pack.id.clone(), Told { pictures, lottie });
    Ok(())
}

fn tell(state: &mut State, sticker: &PackSticker, file: &[u8], mimetype: &str) -> Result<Value> {
    let sealed = seal(&Content::Bytes(file.to_vec().into()), MediaType::Sticker)?;
    let size = sealed.file_length;
    let bytes = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    Ok(json!({
        "media-key": bytes(&sealed.media_key),
        "file-hash": bytes(&sealed.file_sha256),
        "enc-file-hash": bytes(&sealed.file_enc_sha256),
        "direct-path": state.media.add(sealed.blob),
        "file-size": size,
        "mimetype": mimetype,
        "width": 512,
        "height": 512,
        "emojis": sticker.emojis,
        "accessibility-text": sticker.label,
    }))
}

/// `GET /sticker?cat=sticker_pack_data&id=…&lg=…`, with `lottie=1` as Lottie: a list of one pack; 404 for an unknown id.
pub async fn handle(Extract(shared): Extract<Arc<Shared>>, uri: Uri) -> Response {
    let query = Query::parse(uri.query());
    let asked = |name: &str| query.0.get(name).map(String::as_str);
    shared.with(|state| {
        let found = asked("id").and_then(|id| state.media.packs.get(id));
        let found = found.filter(|_| asked("cat") == Some("sticker_pack_data"));
        let told = found.map(|told| if asked("lottie") == Some("1") { &told.lottie } else { &told.pictures });
        let response = match told {
            Some(told) => Json(told.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
        state.media.downloads.push((uri.path().to_owned(), 0, response.status().as_u16()));
        response
    })
}
