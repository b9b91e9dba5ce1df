//! Text, with the preview of its link.

use super::frame::Frame;
use crate::convert::part::{MediaKind, MxPart, WaMedia, WaReference, WaSource, mime, name};
use crate::convert::words;
use serde_json::{Map, Value, json};
use whatsapp_rust::prelude::wa;

/// Bytes of a preview's texts.
const MAX_PREVIEW_LINE: usize = 300;

/// Text alone.
pub(super) fn plain(frame: &Frame<'_>, text: &str) -> Vec<MxPart> {
    let mut extra = Map::new();
    if text.contains("://") {
        // Told to have none, clients do not ask their homeserver for one that WhatsApp did not show.
        extra.insert("com.beeper.linkpreviews".into(), json!([]));
    }
    frame.text("m.text", text, extra)
}

/// Text with everything around it.
pub(super) fn extended(frame: &Frame<'_>, text: &wa::message::ExtendedTextMessage) -> Vec<MxPart> {
    let body = text.text.as_deref().unwrap_or_default();
    let Some(preview) = preview(text) else {
        return plain(frame, body);
    };
    let mut extra = Map::new();
    extra.insert("com.beeper.linkpreviews".into(), json!([preview]));
    let mut parts = frame.text("m.text", body, extra);
    if let Some(first) = parts.first_mut() {
        first.preview = picture(text);
    }
    parts
}

fn preview(text: &wa::message::ExtendedTextMessage) -> Option<Value> {
    let ad = &text.context_info.external_ad_reply;
    let url = text.matched_text.as_deref().or(ad.source_url.as_deref())?;
    let title = text.title.as_deref().or(ad.title.as_deref());
    let description = text.description.as_deref().or(ad.body.as_deref());
    if title.or(description).is_none_or(str::is_empty) {
        return None;
    }
    // The text may show the address without its scheme.
    let full = if is_host(url) { format!("https://{url}") } else { url.to_owned() };
    let safe = words::web_address(&full)?;
    let mut preview = json!({ "matched_url": url.trim(), "og:url": safe });
    let mut add = |key: &str, text: Option<&str>| {
        let text = words::line(text.unwrap_or_default(), MAX_PREVIEW_LINE);
        if !text.is_empty() {
            preview[key] = text.into();
        }
    };
    add("og:title", title);
    add("og:description", description);
    if text.preview_type == Some(wa::message::extended_text_message::PreviewType::VIDEO) {
        add("og:type", Some("video.other"));
    }
    if let (Some(width), Some(height)) = (text.thumbnail_width, text.thumbnail_height) {
        preview["og:image:width"] = width.into();
        preview["og:image:height"] = height.into();
    }
    Some(preview)
}

/// Whether an address begins with a host: a name with a dot in it, perhaps with a port.
fn is_host(url: &str) -> bool {
    let first = url.trim().split(['/', '?', '#']).next().unwrap_or_default();
    let (name, port) = first.split_once(':').unwrap_or((first, ""));
    let is_name = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
    name.contains('.') && name.chars().all(is_name) && port.bytes().all(|b| b.is_ascii_digit())
}

/// The preview's picture: the good one on the server, or the small one in the message.
fn picture(text: &wa::message::ExtendedTextMessage) -> Option<WaMedia> {
    let source = match (&text.thumbnail_direct_path, &text.media_key) {
        (Some(path), Some(key)) if !path.is_empty() && !key.is_empty() => WaSource::Server(WaReference {
            direct_path: path.clone(),
            media_key: key.clone(),
            file_sha256: text.thumbnail_sha256.clone().unwrap_or_default(),
            file_enc_sha256: text.thumbnail_enc_sha256.clone().unwrap_or_default(),
            file_length: None,
            key_time: text.media_key_timestamp,
        }),
        _ => WaSource::Inline(text.jpeg_thumbnail.clone().filter(|bytes| !bytes.is_empty())?),
    };
    let mime = mime(None, "image/jpeg");
    Some(WaMedia { kind: MediaKind::LinkPicture, source, name: name(None, "preview", &mime), mime })
}
