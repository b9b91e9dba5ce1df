//! An event's content with its file in it: where it is, and what was found by looking into it.

use crate::convert::{MediaKind, MxPart, sticker, waveform};
use crate::media::Facts;
use crate::media::spool::SpoolFile;
use ruma::{MxcUri, OwnedMxcUri};
use serde_json::{Value, json};

/// Bytes of a sticker's file that are read for its note: WhatsApp's limit for moving ones (500 KB), twice.
const MAX_STICKER: u64 = 1 << 20;

/// A small picture on the homeserver.
pub(super) struct Small {
    /// Where.
    pub mxc: OwnedMxcUri,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes.
    pub size: usize,
}

/// A file on the homeserver.
pub(super) struct Shown<'a> {
    /// What it is to who sent it.
    pub kind: MediaKind,
    /// Where.
    pub mxc: &'a MxcUri,
    /// What is in it.
    pub facts: &'a Facts,
    /// Its small picture.
    pub small: Option<&'a Small>,
    /// What a sticker shows, in words.
    pub words: Option<String>,
}

/// Puts a file into the content of its event (CS-API, `m.image` and the like; blurhash as in MSC2448).
pub(super) fn complete(part: &mut MxPart, shown: &Shown<'_>) {
    let facts = shown.facts;
    let is_shown = facts.mime.starts_with("image/") && facts.mime != "image/svg+xml";
    if part.event_type == "m.sticker" && !is_shown {
        return complete_other_sticker(part, shown);
    }
    let content = &mut part.content;
    content["url"] = shown.mxc.as_str().into();
    let info = &mut content["info"];
    info["mimetype"] = facts.mime.as_str().into();
    info["size"] = facts.size.into();
    if let (Some(width), Some(height)) = (facts.width, facts.height) {
        // A sticker is shown smaller than it is.
        if !part.event_type.ends_with("sticker") || info["w"].is_null() {
            (info["w"], info["h"]) = (width.into(), height.into());
        }
    }
    if let Some(duration) = facts.duration_ms {
        info["duration"] = duration.into();
    }
    if facts.animated {
        info["is_animated"] = true.into();
    }
    if let Some(blurhash) = &facts.blurhash {
        info["xyz.amorgan.blurhash"] = blurhash.as_str().into();
    }
    if let Some(small) = shown.small {
        info["thumbnail_url"] = small.mxc.as_str().into();
        info["thumbnail_info"] =
            json!({ "mimetype": "image/jpeg", "w": small.width, "h": small.height, "size": small.size });
    }
    if let Some(audio) = content.get_mut("org.matrix.msc1767.audio") {
        if let Some(duration) = facts.duration_ms {
            audio["duration"] = duration.into();
        }
        if audio["waveform"].is_null() && !facts.waveform.is_empty() {
            audio["waveform"] = waveform::to_matrix(&facts.waveform).into();
        }
    }
    if let Some(words) = &shown.words
        && content["body"] == "Sticker"
    {
        content["body"] = words.as_str().into();
    }
    if let Some(honest) = honest_type(content["msgtype"].as_str(), &facts.mime) {
        content["msgtype"] = honest.into();
    }
}

/// A sticker no client shows. Of a Lottie its preview picture is shown, with the file named beside it; others are files.
fn complete_other_sticker(part: &mut MxPart, shown: &Shown<'_>) {
    let file = json!({ "url": shown.mxc.as_str(), "mimetype": shown.facts.mime, "size": shown.facts.size });
    let content = &mut part.content;
    match shown.small.filter(|_| shown.kind == MediaKind::LottieSticker) {
        Some(small) => {
            content["url"] = small.mxc.as_str().into();
            content["info"] =
                json!({ "mimetype": "image/jpeg", "w": small.width, "h": small.height, "size": small.size });
            if let Some(blurhash) = &shown.facts.blurhash {
                content["info"]["xyz.amorgan.blurhash"] = blurhash.as_str().into();
            }
            content["org.matrix-whatsapp.lottie"] = file;
        }
        None => {
            part.event_type = "m.room.message";
            content["msgtype"] = "m.file".into();
            let name = if shown.kind == MediaKind::LottieSticker { "sticker.was" } else { "sticker" };
            content["filename"] = name.into();
            content["url"] = file["url"].clone();
            content["info"] = json!({ "mimetype": shown.facts.mime, "size": shown.facts.size });
        }
    }
}

/// What a file is called that is not what its message says: clients would try to show it as that.
fn honest_type(msgtype: Option<&str>, mime: &str) -> Option<&'static str> {
    let wanted = match msgtype? {
        "m.image" => "image/",
        "m.video" => "video/",
        "m.audio" => "audio/",
        _ => return None,
    };
    // Ogg is a container of both; a picture in SVG is a program.
    let is_so = mime.starts_with(wanted) && mime != "image/svg+xml" || mime == "application/ogg";
    (!is_so).then_some("m.file")
}

/// Puts a picture into the first link's preview (MSC4095).
pub(super) fn complete_preview(content: &mut Value, mxc: &MxcUri, facts: &Facts) {
    let Some(preview) = content["com.beeper.linkpreviews"].get_mut(0) else { return };
    preview["og:image"] = mxc.as_str().into();
    preview["og:image:type"] = facts.mime.as_str().into();
    preview["matrix:image:size"] = facts.size.into();
    if let (Some(width), Some(height)) = (facts.width, facts.height) {
        (preview["og:image:width"], preview["og:image:height"]) = (width.into(), height.into());
    }
}

/// Puts the small map into a place's event (CS-API, `m.location`).
pub(super) fn complete_map(content: &mut Value, mxc: &MxcUri, facts: &Facts) {
    content["info"]["thumbnail_url"] = mxc.as_str().into();
    content["info"]["thumbnail_info"] =
        json!({ "mimetype": facts.mime, "w": facts.width, "h": facts.height, "size": facts.size });
}

/// What a sticker shows, as its file says.
pub(super) fn sticker_words(file: &SpoolFile) -> Option<String> {
    let bytes = (file.size() <= MAX_STICKER).then(|| file.read(MAX_STICKER))?.ok()?;
    sticker::note(&bytes)?.body()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(mime: &str) -> Facts {
        Facts {
            mime: mime.into(),
            size: 7,
            width: Some(40),
            height: Some(30),
            blurhash: Some("LEHV".into()),
            ..Facts::default()
        }
    }

    fn shown<'a>(kind: MediaKind, facts: &'a Facts, small: Option<&'a Small>) -> Shown<'a> {
        Shown { kind, mxc: "mxc://a.b/file".into(), facts, small, words: None }
    }

    fn small() -> Small {
        Small { mxc: "mxc://a.b/small".into(), width: 4, height: 3, size: 2 }
    }

    #[test]
    fn what_is_seen_counts_and_not_what_is_said() {
        let said = json!({ "msgtype": "m.image", "info": { "mimetype": "image/png", "w": 9, "h": 9, "size": 1 } });
        let mut part = MxPart::new("m.room.message", said);
        complete(&mut part, &shown(MediaKind::Image, &facts("image/jpeg"), Some(&small())));
        let info = json!({
            "mimetype": "image/jpeg", "w": 40, "h": 30, "size": 7, "xyz.amorgan.blurhash": "LEHV",
            "thumbnail_url": "mxc://a.b/small",
            "thumbnail_info": { "mimetype": "image/jpeg", "w": 4, "h": 3, "size": 2 },
        });
        assert_eq!(part.content, json!({ "msgtype": "m.image", "url": "mxc://a.b/file", "info": info }));
    }

    #[test]
    fn a_photo_that_is_none_is_a_file() {
        for (msgtype, mime, honest) in [
            ("m.image", "text/html", "m.file"),
            ("m.image", "image/svg+xml", "m.file"),
            ("m.image", "image/webp", "m.image"),
            ("m.video", "audio/mpeg", "m.file"),
            ("m.audio", "audio/ogg", "m.audio"),
            ("m.file", "image/png", "m.file"),
        ] {
            let mut part = MxPart::new("m.room.message", json!({ "msgtype": msgtype, "info": {} }));
            complete(&mut part, &shown(MediaKind::Image, &facts(mime), None));
            assert_eq!(part.content["msgtype"], honest, "{msgtype} {mime}");
        }
    }

    #[test]
    fn a_lottie_sticker_is_its_preview_with_the_file_beside() {
        let sticker = || MxPart::new("m.sticker", json!({ "body": "Sticker", "info": {} }));
        let mut part = sticker();
        complete(&mut part, &shown(MediaKind::LottieSticker, &facts("application/was"), Some(&small())));
        assert_eq!((part.event_type, &part.content["url"]), ("m.sticker", &json!("mxc://a.b/small")));
        assert_eq!(part.content["org.matrix-whatsapp.lottie"]["url"], "mxc://a.b/file");
        let mut part = sticker();
        complete(&mut part, &shown(MediaKind::LottieSticker, &facts("application/was"), None));
        assert_eq!((part.event_type, &part.content["msgtype"]), ("m.room.message", &json!("m.file")));
        assert_eq!(part.content["url"], "mxc://a.b/file");
    }

    #[test]
    fn the_first_link_gets_the_picture() {
        let mut content = json!({ "com.beeper.linkpreviews": [{ "og:url": "https://a.b" }] });
        complete_preview(&mut content, "mxc://a.b/c".into(), &facts("image/jpeg"));
        assert_eq!(content["com.beeper.linkpreviews"][0]["og:image"], "mxc://a.b/c");
        let mut none = json!({ "com.beeper.linkpreviews": [] });
        complete_preview(&mut none, "mxc://a.b/c".into(), &facts("image/jpeg"));
        assert_eq!(none, json!({ "com.beeper.linkpreviews": [] }));
    }
}
