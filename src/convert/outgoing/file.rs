//! Files of events: where they are and what their sender says about them.

use super::{MAX_FILE, MxKind, MxMedia, MxSource, Refusal};
use crate::convert::part;
use crate::convert::vcard;
use serde_json::Value;

/// Bars of a waveform that are read.
const MAX_BARS: usize = 4_096;

pub(super) fn file(content: &Value) -> Result<MxMedia, Refusal> {
    let info = &content["info"];
    let size = info["size"].as_u64();
    if size.is_some_and(|size| size > MAX_FILE) {
        return Err(Refusal::new(format!(
            "WhatsApp takes files of at most {} MiB; please send a smaller one or a link.",
            MAX_FILE >> 20
        )));
    }
    let mime = info["mimetype"].as_str().map(|mime| part::mime(Some(mime), "application/octet-stream"));
    let given = content["filename"].as_str().or(content["body"].as_str());
    let kind = kind(content, mime.as_deref(), given.unwrap_or_default(), size)?;
    let source = source(&content["url"], &content["file"])?;
    let otherwise = match kind {
        MxKind::Image | MxKind::Sticker => "image",
        MxKind::Video | MxKind::Gif => "video",
        MxKind::Audio => "audio",
        MxKind::Voice => "voice",
        MxKind::File | MxKind::Contacts => "file",
    };
    let audio = content.get("org.matrix.msc1767.audio").or(content.get("m.audio")).unwrap_or(&Value::Null);
    let bars = audio["waveform"].as_array().map_or(&[][..], Vec::as_slice);
    let small = |key: &str| info[key].as_u64().and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0);
    Ok(MxMedia {
        name: part::name(given, otherwise, mime.as_deref().unwrap_or_default()),
        source,
        kind,
        size,
        width: small("w"),
        height: small("h"),
        duration_ms: info["duration"].as_u64().or(audio["duration"].as_u64()).filter(|ms| *ms < 1 << 42),
        waveform: bars.iter().take(MAX_BARS).map(|bar| bar.as_u64().unwrap_or(0).min(1024)).collect(),
        thumbnail: self::source(&info["thumbnail_url"], &info["thumbnail_file"]).ok(),
        mime,
    })
}

fn kind(content: &Value, mime: Option<&str>, name: &str, size: Option<u64>) -> Result<MxKind, Refusal> {
    let info = &content["info"];
    let is_voice = ["org.matrix.msc3245.voice", "m.voice"].iter().any(|key| content.get(key).is_some());
    let is_card = matches!(mime, Some("text/vcard" | "text/x-vcard" | "text/directory"))
        || name.to_ascii_lowercase().ends_with(".vcf");
    Ok(match content["msgtype"].as_str() {
        Some("m.image") => MxKind::Image,
        Some("m.video") if info["fi.mau.gif"].as_bool() == Some(true) => MxKind::Gif,
        Some("m.video") => MxKind::Video,
        Some("m.audio") if is_voice => MxKind::Voice,
        Some("m.audio") => MxKind::Audio,
        Some("m.file") if is_card && size.unwrap_or(0) <= vcard::MAX_BYTES as u64 => MxKind::Contacts,
        Some("m.file") => MxKind::File,
        _ => return Err(Refusal::new("WhatsApp has nothing like this kind of message, so it was not sent.")),
    })
}

/// Where a file is: its `file` when it is encrypted, else its `url`.
pub(super) fn source(url: &Value, file: &Value) -> Result<MxSource, Refusal> {
    if file.is_object() {
        let whole =
            ["/key/k", "/iv", "/hashes/sha256"].iter().all(|path| file.pointer(path).is_some_and(Value::is_string));
        let is_mxc = file["url"].as_str().is_some_and(is_mxc);
        if whole && is_mxc {
            return Ok(MxSource::Encrypted(file.clone()));
        }
    } else if let Some(url) = url.as_str().filter(|url| is_mxc(url)) {
        return Ok(MxSource::Plain(url.to_owned()));
    }
    Err(Refusal::new("The message has no file that can be fetched, so it was not sent. Please send it again."))
}

/// An address of a homeserver's media (CS-API, "Matrix Content URIs"): nothing else is ever fetched.
fn is_mxc(url: &str) -> bool {
    let Some((server, id)) = url.strip_prefix("mxc://").and_then(|rest| rest.split_once('/')) else { return false };
    let is_server = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let is_id = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=255).contains(&server.len())
        && server.bytes().all(is_server)
        && (1..=255).contains(&id.len())
        && id.bytes().all(is_id)
}
