//! Stickers and packs of them.

use super::frame::Frame;
use super::media::{Info, source_of, thumbnail};
use crate::convert::part::{MediaKind, MxPart, WaMedia, mime, name};
use crate::convert::words;
use serde_json::json;
use whatsapp_rust::prelude::wa;

/// The longer side of a sticker as clients show it, pixels.
const SHOWN: u64 = 256;

pub(super) fn sticker(frame: &Frame<'_>, sticker: &wa::message::StickerMessage) -> Vec<MxPart> {
    let Some(source) = source_of!(sticker) else {
        return frame.notice("This sticker can't be shown here. Please open WhatsApp on your phone to see it.");
    };
    let is_lottie = frame.opened.lottie || sticker.is_lottie == Some(true);
    let mime = mime(sticker.mimetype.as_deref(), if is_lottie { "application/was" } else { "image/webp" });
    let kind = match sticker.is_animated {
        _ if is_lottie => MediaKind::LottieSticker,
        Some(true) => MediaKind::AnimatedSticker,
        _ => MediaKind::Sticker,
    };
    let (width, height) = shown(sticker.width, sticker.height);
    let mut info = Info::new(&mime).number("size", sticker.file_length).number("w", width).number("h", height);
    if kind != MediaKind::Sticker {
        info = info.flags(&["is_animated"]);
    }
    let label =
        words::line(sticker.accessibility_label.as_deref().or(sticker.emojis.as_deref()).unwrap_or("Sticker"), 100);
    let media = WaMedia { kind, source, name: name(None, "sticker", &mime), mime };
    let mut content = info.content("m.sticker");
    // Stickers have neither type nor file name, only what they show in words.
    content.insert("body".into(), if label.is_empty() { "Sticker".into() } else { label.into() });
    let mut part = frame.part(&super::frame::Body { plain: String::new(), html: None, people: Vec::new() }, content);
    part.event_type = "m.sticker";
    if let Some(content) = part.content.as_object_mut() {
        content.remove("msgtype");
    }
    part.thumbnail = thumbnail(sticker.png_thumbnail.as_ref());
    part.media = Some(media);
    vec![part]
}

/// The size to show: the sticker's own, made as small as stickers are, never nothing.
fn shown(width: Option<u32>, height: Option<u32>) -> (Option<u64>, Option<u64>) {
    let (Some(width), Some(height)) = (width, height) else { return (None, None) };
    let (width, height) = (u64::from(width), u64::from(height));
    let longer = width.max(height);
    if longer <= SHOWN {
        return (Some(width), Some(height));
    }
    let scale = |side: u64| Some((side * SHOWN / longer).max(1)).filter(|_| side > 0);
    (scale(width), scale(height))
}

pub(super) fn pack(frame: &Frame<'_>, pack: &wa::message::StickerPackMessage) -> Vec<MxPart> {
    let name = words::line(pack.name.as_deref().unwrap_or("without a name"), 100);
    let by = words::line(pack.publisher.as_deref().unwrap_or_default(), 100);
    let by = if by.is_empty() { by } else { format!(" by {by}") };
    let count = words::count_of(pack.stickers.len() as u64, "sticker");
    let mut text = format!("Sticker pack: {name}{by} ({count})");
    if let Some(id) =
        pack.sticker_pack_id.as_deref().filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    {
        text.push_str(&format!("\nhttps://wa.me/stickerpack/{id}"));
    }
    if let Some(caption) = pack.caption.as_deref().filter(|caption| !caption.is_empty()) {
        text.push_str(&format!("\n\n{caption}"));
    }
    let mut extra = serde_json::Map::new();
    extra.insert("com.beeper.linkpreviews".into(), json!([]));
    frame.text("m.text", &text, extra)
}
