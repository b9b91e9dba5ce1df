//! Pictures, videos, sounds, files, stickers; and previews of links.

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use wacore::download::MediaType;
use waproto::whatsapp::Message;

use super::{Draft, Kind, Options, Uploaded, base64, context, samples, with_secret};
use crate::{media::Content, phone::send::Outbound, proto_json, stanza::unix_now};

/// What a media message is made of. All of it may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Media {
    /// The file as base64; a small real one of its kind if absent.
    pub data: Option<String>,
    /// Instead of `data`: a made-up file of so many bytes.
    pub size: Option<u64>,
    /// The text below it.
    pub caption: Option<String>,
    /// The file's type, if not the usual one of the kind.
    pub mimetype: Option<String>,
    /// The file's name, for documents.
    pub file_name: Option<String>,
}

impl Media {
    /// Media with these bytes.
    pub fn with_data(data: &[u8]) -> Self {
        Self { data: Some(base64(data)), ..Default::default() }
    }

    /// Media with a made-up file.
    pub fn with_size(size: u64) -> Self {
        Self { size: Some(size), ..Default::default() }
    }

    fn content(&self, sample: impl FnOnce() -> Result<Vec<u8>>) -> Result<Content> {
        Ok(match (&self.data, self.size) {
            (Some(data), _) => Content::Bytes(BASE64_STANDARD.decode(data).context("data")?.into()),
            (None, Some(size)) => Content::Pattern(size),
            (None, None) => Content::Bytes(sample()?.into()),
        })
    }
}

/// A file to put up before its message is built.
pub struct Upload {
    pub content: Content,
    pub kind: MediaType,
}

/// The files of a kind, in the order its message names them.
pub fn uploads(kind: &Kind) -> Result<Vec<Upload>> {
    let one = |media: &Media, kind, sample: fn() -> Result<Vec<u8>>| {
        let content = media.content(sample)?;
        Ok(vec![Upload { content, kind }])
    };
    match kind {
        Kind::Image(media) => one(media, MediaType::Image, samples::picture),
        Kind::Video(media) | Kind::Gif(media) | Kind::Ptv(media) => one(media, MediaType::Video, samples::video),
        Kind::Audio(media) => one(media, MediaType::Audio, samples::song),
        Kind::Voice(media) => one(media, MediaType::Audio, samples::voice_note),
        Kind::Document(media) => one(media, MediaType::Document, samples::document),
        Kind::Sticker(media) => one(media, MediaType::Sticker, samples::sticker),
        Kind::AnimatedSticker(media) => one(media, MediaType::Sticker, samples::animated_sticker),
        Kind::LottieSticker(media) => one(media, MediaType::Sticker, samples::lottie_sticker),
        Kind::Link { .. } => {
            let content = Content::Bytes(samples::picture()?.into());
            Ok(vec![Upload { content, kind: MediaType::LinkThumbnail }])
        }
        Kind::Album { images, videos } => {
            let picture = (0..*images).map(|_| uploads(&Kind::Image(Media::default())));
            let video = (0..*videos).map(|_| uploads(&Kind::Video(Media::default())));
            let all: Result<Vec<Vec<Upload>>> = picture.chain(video).collect();
            Ok(all?.into_iter().flatten().collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Builds a media message around its uploaded file.
pub fn content(kind: &Kind, files: &[Uploaded]) -> Result<Value> {
    let file = files.first().context("the file was not uploaded")?;
    let thumbnail = base64(&samples::thumbnail()?);
    let (width, height) = (samples::WIDTH, samples::HEIGHT);
    let (field, media, usual, more) = match kind {
        Kind::Image(media) => {
            let more = json!({ "width": width, "height": height, "jpegThumbnail": thumbnail });
            ("imageMessage", media, "image/jpeg", more)
        }
        Kind::Video(media) | Kind::Gif(media) | Kind::Ptv(media) => {
            let mut more = json!({
                "width": samples::VIDEO_WIDTH, "height": samples::VIDEO_HEIGHT, "seconds": 1,
                "jpegThumbnail": thumbnail, "streamingSidecar": file.sealed.sidecar.as_deref().map(base64),
            });
            if matches!(kind, Kind::Gif(_)) {
                more["gifPlayback"] = json!(true);
                more["gifAttribution"] = json!("TENOR");
            }
            (if matches!(kind, Kind::Ptv(_)) { "ptvMessage" } else { "videoMessage" }, media, "video/mp4", more)
        }
        Kind::Audio(media) => ("audioMessage", media, "audio/mpeg", json!({ "seconds": 1 })),
        Kind::Voice(media) => {
            let waveform: Vec<u8> = (0..64u32).map(|at| (at * 99 / 63) as u8).collect();
            let more = json!({ "seconds": 1, "ptt": true, "waveform": base64(&waveform) });
            ("audioMessage", media, "audio/ogg; codecs=opus", more)
        }
        Kind::Document(media) => {
            let name = media.file_name.as_deref().unwrap_or("sample.pdf");
            let more = json!({
                "fileName": name, "title": name.rsplit_once('.').map_or(name, |(title, _)| title), "pageCount": 1,
                "jpegThumbnail": thumbnail,
            });
            ("documentMessage", media, "application/pdf", more)
        }
        Kind::Sticker(media) | Kind::AnimatedSticker(media) => {
            let moving = matches!(kind, Kind::AnimatedSticker(_));
            let more = json!({ "width": 64, "height": 64, "isAnimated": moving, "stickerSentTs": unix_now() * 1000 });
            ("stickerMessage", media, "image/webp", more)
        }
        Kind::LottieSticker(media) => {
            let preview = base64(&samples::preview()?);
            let more = json!({
                "width": 512, "height": 512, "isAnimated": true, "isLottie": true, "pngThumbnail": preview,
            });
            ("stickerMessage", media, "application/was", more)
        }
        other => bail!("{other:?} has no file"),
    };
    let mut fields = reference(file);
    merge(&mut fields, more);
    merge(&mut fields, json!({ "mimetype": media.mimetype.as_deref().unwrap_or(usual), "caption": media.caption }));
    if matches!(kind, Kind::Ptv(_) | Kind::Audio(_) | Kind::Voice(_)) || field == "stickerMessage" {
        // These have no room for a text.
        fields["caption"] = Value::Null;
        remove_nulls(&mut fields);
    }
    let mut content = json!({ field: fields });
    match kind {
        Kind::Document(media) if media.caption.is_some() => context::wrap(&mut content, "documentWithCaptionMessage"),
        Kind::LottieSticker(_) => context::wrap(&mut content, "lottieStickerMessage"),
        _ => {}
    }
    Ok(content)
}

/// Where a file is and what opens it.
fn reference(file: &Uploaded) -> Value {
    let sealed = &file.sealed;
    let mut reference = json!({
        "url": file.url, "directPath": file.path, "fileSha256": base64(&sealed.file_sha256),
        "fileLength": sealed.file_length,
    });
    // What newsletters show is not encrypted.
    if !sealed.media_key.is_empty() {
        reference["mediaKey"] = json!(base64(&sealed.media_key));
        reference["fileEncSha256"] = json!(base64(&sealed.file_enc_sha256));
        reference["mediaKeyTimestamp"] = json!(unix_now());
    }
    reference
}

fn merge(fields: &mut Value, more: Value) {
    if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
}

fn remove_nulls(fields: &mut Value) {
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

/// Builds a text with the preview of a link; its picture is uploaded, a small
/// one is inside.
pub fn link(
    text: &str,
    url: &str,
    title: Option<&str>,
    description: Option<&str>,
    files: &[Uploaded],
) -> Result<Value> {
    let file = files.first().context("the preview was not uploaded")?;
    Ok(json!({ "extendedTextMessage": {
        "text": text, "matchedText": url, "title": title, "description": description, "previewType": "NONE",
        "jpegThumbnail": base64(&samples::thumbnail()?),
        "thumbnailDirectPath": file.path, "thumbnailSha256": base64(&file.sealed.file_sha256),
        "thumbnailEncSha256": base64(&file.sealed.file_enc_sha256), "mediaKey": base64(&file.sealed.media_key),
        "mediaKeyTimestamp": unix_now(), "thumbnailWidth": samples::WIDTH, "thumbnailHeight": samples::HEIGHT,
    } }))
}

/// An album: its announcement, then its pictures and videos, each naming it.
pub fn album(
    draft: &Draft<'_>,
    options: &Options,
    id: &str,
    images: u32,
    videos: u32,
    files: &[Uploaded],
) -> Result<Vec<(String, Message)>> {
    let mut head =
        with_secret(json!({ "albumMessage": { "expectedImageCount": images, "expectedVideoCount": videos } }));
    context::apply(draft, options, &mut head)?;
    let mut all = vec![(id.to_owned(), proto_json::parse(&head)?)];
    let key = json!({ "remoteJid": draft.chat.to_string(), "fromMe": true, "id": id });
    for (index, file) in files.iter().enumerate() {
        let image = (index as u32) < images;
        let kind = if image { Kind::Image(Media::default()) } else { Kind::Video(Media::default()) };
        let mut content = with_secret(content(&kind, std::slice::from_ref(file))?);
        content["messageContextInfo"]["messageAssociation"] =
            json!({ "associationType": "MEDIA_ALBUM", "parentMessageKey": key });
        all.push((Outbound::new_id(), proto_json::parse(&content)?));
    }
    Ok(all)
}
