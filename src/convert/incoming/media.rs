//! Pictures, films, sound and files.

use super::frame::{Frame, Purpose};
use crate::convert::part::{MediaKind, MxPart, WaMedia, WaReference, WaSource, mime, name};
use crate::convert::waveform;
use serde_json::{Map, Value, json};
use whatsapp_rust::prelude::wa;

/// Bytes of a small picture inside a message; larger ones are not small pictures.
const MAX_THUMBNAIL: usize = 256 * 1024;

/// The fields that say where a file is, which every kind has under the same names.
macro_rules! source_of {
    ($kind:expr) => {
        $crate::convert::incoming::media::source(
            $kind.direct_path.as_ref(),
            $kind.media_key.as_ref(),
            $kind.file_sha256.as_ref(),
            $kind.file_enc_sha256.as_ref(),
            $kind.file_length,
            $kind.media_key_timestamp,
        )
    };
}
pub(super) use source_of;

/// Where a file is; `None` when it was withheld (a picture to be looked at once) or is not there.
pub(super) fn source(
    path: Option<&String>,
    key: Option<&Vec<u8>>,
    sha256: Option<&Vec<u8>>,
    enc_sha256: Option<&Vec<u8>>,
    length: Option<u64>,
    key_time: Option<i64>,
) -> Option<WaSource> {
    let direct_path = path.filter(|path| is_path(path))?.clone();
    // What channels show lies open on the servers: it has no key, and nothing is known of an encrypted form.
    let is_open = key.is_none() && enc_sha256.is_none_or(Vec::is_empty) && sha256.is_some_and(|hash| hash.len() == 32);
    let media_key = match is_open {
        true => Vec::new(),
        false => key.filter(|key| !key.is_empty())?.clone(),
    };
    Some(WaSource::Server(WaReference {
        direct_path,
        media_key,
        file_sha256: sha256.cloned().unwrap_or_default(),
        file_enc_sha256: enc_sha256.cloned().unwrap_or_default(),
        file_length: length,
        key_time,
    }))
}

/// A path begins at the root of a media host and names no other host.
fn is_path(path: &str) -> bool {
    path.len() <= 2_000
        && path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|b| b.is_ascii_graphic())
}

/// `info` of an event, out of what is there.
pub(super) struct Info(Map<String, Value>);

impl Info {
    pub fn new(mime: &str) -> Self {
        let mut info = Map::new();
        info.insert("mimetype".into(), mime.into());
        Self(info)
    }

    pub fn number(mut self, key: &str, value: Option<u64>) -> Self {
        if let Some(value) = value.filter(|value| (1..1 << 53).contains(value)) {
            self.0.insert(key.into(), value.into());
        }
        self
    }

    pub fn flags(mut self, keys: &[&str]) -> Self {
        self.0.extend(keys.iter().map(|key| ((*key).to_owned(), true.into())));
        self
    }

    pub fn content(self, msgtype: &str) -> Map<String, Value> {
        let mut content = Map::new();
        content.insert("msgtype".into(), msgtype.into());
        content.insert("info".into(), self.0.into());
        content
    }
}

/// A small picture, when it is one.
pub(super) fn thumbnail(bytes: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    bytes.filter(|bytes| (1..=MAX_THUMBNAIL).contains(&bytes.len())).cloned()
}

fn with_thumbnail(mut parts: Vec<MxPart>, bytes: Option<&Vec<u8>>) -> Vec<MxPart> {
    if let Some(first) = parts.first_mut() {
        first.thumbnail = thumbnail(bytes);
    }
    parts
}

/// A file that is not there: the phone shows it, we can not.
fn withheld(frame: &Frame<'_>, msgtype: &str, what: &str, caption: Option<&str>) -> Vec<MxPart> {
    if frame.purpose == Purpose::Edit {
        return frame.words_alone(msgtype, caption);
    }
    let mut text = format!("This {what} can't be shown here. Please open WhatsApp on your phone to see it.");
    if let Some(caption) = caption.filter(|caption| !caption.trim().is_empty()) {
        text.push_str("\n\n");
        text.push_str(caption);
    }
    frame.notice(&text)
}

pub(super) fn image(frame: &Frame<'_>, image: &wa::message::ImageMessage, caption: Option<&str>) -> Vec<MxPart> {
    let Some(source) = source_of!(image) else { return withheld(frame, "m.image", "photo", caption) };
    let mime = mime(image.mimetype.as_deref(), "image/jpeg");
    let content = Info::new(&mime)
        .number("size", image.file_length)
        .number("w", image.width.map(u64::from))
        .number("h", image.height.map(u64::from))
        .content("m.image");
    let media = WaMedia { kind: MediaKind::Image, source, name: name(None, "image", &mime), mime };
    with_thumbnail(frame.media(content, caption, media), image.jpeg_thumbnail.as_ref())
}

/// How a film is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Film {
    Plain,
    Round,
    /// The moving moment of a photo.
    Motion,
}

pub(super) fn video(
    frame: &Frame<'_>,
    video: &wa::message::VideoMessage,
    film: Film,
    caption: Option<&str>,
) -> Vec<MxPart> {
    let what = if film == Film::Round { "video note" } else { "video" };
    let Some(source) = source_of!(video) else { return withheld(frame, "m.video", what, caption) };
    let mime = mime(video.mimetype.as_deref(), "video/mp4");
    let is_gif = video.gif_playback == Some(true) || film == Film::Motion;
    let mut info = Info::new(&mime)
        .number("size", video.file_length)
        .number("w", video.width.map(u64::from))
        .number("h", video.height.map(u64::from))
        .number("duration", video.seconds.map(|seconds| u64::from(seconds) * 1_000));
    if is_gif {
        info = info.flags(&["fi.mau.gif", "fi.mau.loop", "fi.mau.autoplay", "fi.mau.hide_controls", "fi.mau.no_audio"]);
    }
    if film == Film::Round {
        info = info.flags(&["org.matrix-whatsapp.round"]);
    }
    let (kind, otherwise) = match film {
        Film::Round => (MediaKind::Ptv, "Video note"),
        _ if is_gif => (MediaKind::Gif, "gif"),
        _ => (MediaKind::Video, "video"),
    };
    let media = WaMedia { kind, source, name: name(None, otherwise, &mime), mime };
    with_thumbnail(frame.media(info.content("m.video"), caption, media), video.jpeg_thumbnail.as_ref())
}

pub(super) fn audio(frame: &Frame<'_>, audio: &wa::message::AudioMessage) -> Vec<MxPart> {
    let is_voice = audio.ptt == Some(true);
    let what = if is_voice { "voice message" } else { "audio file" };
    let Some(source) = source_of!(audio) else { return withheld(frame, "m.audio", what, None) };
    let mime = mime(audio.mimetype.as_deref(), if is_voice { "audio/ogg" } else { "audio/mpeg" });
    let milliseconds = audio.seconds.map(|seconds| u64::from(seconds) * 1_000);
    let mut content =
        Info::new(&mime).number("size", audio.file_length).number("duration", milliseconds).content("m.audio");
    let mut details = json!({ "duration": milliseconds.unwrap_or(0) });
    if let Some(wave) = audio.waveform.as_ref().filter(|wave| !wave.is_empty()) {
        details["waveform"] = waveform::to_matrix(wave).into();
    }
    content.insert("org.matrix.msc1767.audio".into(), details);
    let (kind, otherwise) = if is_voice {
        content.insert("org.matrix.msc3245.voice".into(), json!({}));
        (MediaKind::Voice, "Voice message")
    } else {
        (MediaKind::Audio, "audio")
    };
    frame.media(content, None, WaMedia { kind, source, name: name(None, otherwise, &mime), mime })
}

pub(super) fn document(frame: &Frame<'_>, file: &wa::message::DocumentMessage, caption: Option<&str>) -> Vec<MxPart> {
    let Some(source) = source_of!(file) else { return withheld(frame, "m.file", "file", caption) };
    let mime = mime(file.mimetype.as_deref(), "application/octet-stream");
    let content = Info::new(&mime).number("size", file.file_length).content("m.file");
    let name = name(file.file_name.as_deref().or(file.title.as_deref()), "file", &mime);
    let media = WaMedia { kind: MediaKind::Document, source, name, mime };
    with_thumbnail(frame.media(content, caption, media), file.jpeg_thumbnail.as_ref())
}
