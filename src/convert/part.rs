//! What a WhatsApp message becomes: Matrix events, complete but for what has to be uploaded first.

use super::words;
use serde_json::Value;
use std::fmt;
use std::str::FromStr as _;
use whatsapp_rust::prelude::{Jid, MessageField, Server, wa};

/// One Matrix event out of one WhatsApp message.
#[derive(Debug, Clone, PartialEq)]
pub struct MxPart {
    /// Its event type.
    pub event_type: &'static str,
    /// Its content, without `url`/`file`, `info.thumbnail_*`, blurhash, relations to other events, and what is found
    /// by looking into the file.
    pub content: Value,
    /// The file whose address goes into `url` or `file`.
    pub media: Option<WaMedia>,
    /// The small picture that goes into `info.thumbnail_url`: JPEG or PNG, as it came with the message.
    pub thumbnail: Option<Vec<u8>>,
    /// The picture that goes into the first of `com.beeper.linkpreviews`.
    pub preview: Option<WaMedia>,
    /// The message it answers; known to be in the room.
    pub reply_to: Option<MessageName>,
    /// The message whose thread it belongs to.
    pub thread_of: Option<MessageName>,
    /// The album it belongs to.
    pub album: Option<MessageName>,
    /// After how many seconds it disappears.
    pub expires_s: Option<u32>,
}

impl MxPart {
    /// A part without files and relations.
    pub fn new(event_type: &'static str, content: Value) -> Self {
        Self {
            event_type,
            content,
            media: None,
            thumbnail: None,
            preview: None,
            reply_to: None,
            thread_of: None,
            album: None,
            expires_s: None,
        }
    }
}

/// A message as WhatsApp names it. Who wrote the naming message may lie: that the named one is in the same chat, and
/// that the writer may do to it what they want to, is checked where it is looked up.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageName {
    /// The chat as the writer sees it; in a direct chat that may be us.
    pub chat: Option<Jid>,
    /// WhatsApp's id of the message.
    pub id: String,
    /// Whether the *writer of the name* wrote the named message.
    pub from_me: bool,
    /// Who wrote the named message, when it says so (in groups).
    pub participant: Option<Jid>,
}

impl MessageName {
    /// The message a key names; `None` when it names none.
    pub fn of_key(key: &wa::MessageKey) -> Option<Self> {
        let id = key.id.as_deref().filter(|id| is_message_id(id))?;
        Some(Self {
            chat: key.remote_jid.as_deref().and_then(any_jid),
            id: id.to_owned(),
            from_me: key.from_me.unwrap_or(false),
            participant: key.participant.as_deref().and_then(person_jid),
        })
    }

    /// The message a reply quotes; `None` when there is none.
    pub fn of_quote(info: &wa::ContextInfo) -> Option<Self> {
        let id = info.stanza_id.as_deref().filter(|id| is_message_id(id))?;
        Some(Self {
            chat: info.remote_jid.as_deref().and_then(any_jid),
            id: id.to_owned(),
            from_me: false,
            participant: info.participant.as_deref().and_then(person_jid),
        })
    }

    /// The name as a WhatsApp key.
    pub fn to_key(&self) -> wa::MessageKey {
        wa::MessageKey {
            remote_jid: self.chat.as_ref().map(Jid::to_string),
            from_me: Some(self.from_me),
            id: Some(self.id.clone()),
            participant: self.participant.as_ref().map(Jid::to_string),
        }
    }

    pub(super) fn of_field(key: &MessageField<wa::MessageKey>) -> Option<Self> {
        key.as_option().and_then(Self::of_key)
    }
}

impl fmt::Debug for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageName(…)")
    }
}

fn is_message_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

fn any_jid(text: &str) -> Option<Jid> {
    let jid = Jid::from_str(text).ok()?.to_non_ad();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    ((1..=64).contains(&jid.user.len()) && jid.user.bytes().all(plain)).then_some(jid)
}

/// A person's id without device; `None` for groups, lists and what is no id.
pub fn person_jid(text: &str) -> Option<Jid> {
    any_jid(text)
        .filter(|jid| !matches!(jid.server, Server::Group | Server::Broadcast | Server::Newsletter | Server::Call))
}

/// What a file is to the person who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A photo.
    Image,
    /// A film.
    Video,
    /// A short film that plays by itself without sound.
    Gif,
    /// A round film spoken into the camera.
    Ptv,
    /// A sound file.
    Audio,
    /// A recorded voice.
    Voice,
    /// Any file.
    Document,
    /// A sticker that stands still.
    Sticker,
    /// A sticker that moves (WebP).
    AnimatedSticker,
    /// A sticker that moves (Lottie, packed).
    LottieSticker,
    /// The big picture of a link's preview.
    LinkPicture,
    /// Contact cards, made here.
    Contacts,
}

impl MediaKind {
    /// What it is called in a sentence for people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Image => "photo",
            Self::Video => "video",
            Self::Gif => "GIF",
            Self::Ptv => "video note",
            Self::Audio => "audio file",
            Self::Voice => "voice message",
            Self::Sticker | Self::AnimatedSticker | Self::LottieSticker => "sticker",
            Self::Document | Self::LinkPicture | Self::Contacts => "file",
        }
    }
}

/// A file of a WhatsApp message.
#[derive(Clone, PartialEq)]
pub struct WaMedia {
    /// What it is.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: WaSource,
    /// Its type as the sender says; not to be trusted.
    pub mime: String,
    /// The name in the event, already safe.
    pub name: String,
}

/// Where the bytes of a file are.
#[derive(Clone, PartialEq)]
pub enum WaSource {
    /// On WhatsApp's servers, encrypted.
    Server(WaReference),
    /// Inside the message.
    Inline(Vec<u8>),
}

/// What is needed to fetch a file from WhatsApp. The host is never taken from the message.
#[derive(Clone, PartialEq)]
pub struct WaReference {
    /// Path at WhatsApp's media hosts.
    pub direct_path: String,
    /// Key the others are derived from.
    pub media_key: Vec<u8>,
    /// SHA-256 of the file.
    pub file_sha256: Vec<u8>,
    /// SHA-256 of the encrypted file.
    pub file_enc_sha256: Vec<u8>,
    /// Bytes as the sender says; not to be trusted.
    pub file_length: Option<u64>,
    /// Second of the key's making; tells its age.
    pub key_time: Option<i64>,
}

// Neither keys nor paths get into logs.
impl fmt::Debug for WaMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaMedia({:?})", self.kind)
    }
}

/// The ending of files of a type, with its dot; empty when unknown.
pub fn ending(mime: &str) -> &'static str {
    match mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "image/jpeg" | "image/jpg" => ".jpg",
        "image/png" => ".png",
        "image/webp" => ".webp",
        "image/gif" => ".gif",
        "image/heic" => ".heic",
        "image/avif" => ".avif",
        "image/bmp" => ".bmp",
        "image/tiff" => ".tiff",
        "image/svg+xml" => ".svg",
        "video/mp4" => ".mp4",
        "video/3gpp" => ".3gp",
        "video/quicktime" => ".mov",
        "video/webm" => ".webm",
        "audio/ogg" => ".ogg",
        "audio/mpeg" => ".mp3",
        "audio/mp4" | "audio/x-m4a" => ".m4a",
        "audio/aac" => ".aac",
        "audio/amr" => ".amr",
        "audio/wav" | "audio/x-wav" => ".wav",
        "audio/flac" => ".flac",
        "application/pdf" => ".pdf",
        "application/zip" => ".zip",
        "application/was" => ".was",
        "text/plain" => ".txt",
        "text/vcard" | "text/x-vcard" => ".vcf",
        _ => "",
    }
}

/// A type as a header may hold it, or the general one.
pub fn mime(text: Option<&str>, otherwise: &str) -> String {
    // Clients compare types with a list and know none with parameters.
    let text = text.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let safe = |b: u8| b.is_ascii_graphic() && b != b'"';
    let is_type = text.len() <= 128 && text.contains('/') && text.bytes().all(safe);
    if is_type { text.to_ascii_lowercase() } else { otherwise.to_owned() }
}

/// A file's name in an event: the sender's, made safe, or what it is with the ending of its type.
pub fn name(given: Option<&str>, otherwise: &str, mime: &str) -> String {
    given.and_then(words::file_name).unwrap_or_else(|| format!("{otherwise}{}", ending(mime)))
}
