//! What the bridge finds out between [`plan`](super::plan) and [`build`](super::build).

use crate::convert::incoming::Sealed;
use crate::convert::part::{MediaKind, WaReference};
use crate::convert::quote;
use whatsapp_rust::prelude::{Jid, MessageField, wa};

/// A message that is quoted.
#[derive(Debug, Clone, PartialEq)]
pub struct Quoted {
    /// WhatsApp's id of it.
    pub id: String,
    /// Who wrote it.
    pub author: Jid,
    /// What [`quote::compact`] kept of it.
    pub compact: Vec<u8>,
    /// The chat it stands in, where that is another one than the answer's: a status post's.
    pub chat: Option<Jid>,
}

impl Quoted {
    /// The quote as WhatsApp carries it. A copy that can not be read is left out: the id is enough for the original.
    pub fn context(&self) -> wa::ContextInfo {
        wa::ContextInfo {
            stanza_id: Some(self.id.clone()),
            participant: Some(self.author.to_non_ad().to_string()),
            remote_jid: self.chat.as_ref().map(Jid::to_string),
            quoted_message: quote::read(&self.compact).map_or_else(MessageField::none, MessageField::some),
            ..Default::default()
        }
    }
}

/// A file that lies on WhatsApp's servers now, and what was found by looking into it.
#[derive(Clone, PartialEq)]
pub struct Uploaded {
    /// What it became: the kind may differ from the one planned.
    pub kind: MediaKind,
    /// Full address.
    pub url: String,
    /// What a channel's post names it by; none for what is sealed.
    pub handle: Option<String>,
    /// Place and keys.
    pub reference: WaReference,
    /// Signatures for playing while loading, for sound and film.
    pub sidecar: Option<Vec<u8>>,
    /// Its type.
    pub mime: String,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Seconds.
    pub seconds: Option<u32>,
    /// Pages of a document.
    pub pages: Option<u32>,
    /// Small JPEG.
    pub thumbnail: Option<Vec<u8>>,
    /// 64 bars of 0 to 100, for a recorded voice.
    pub waveform: Vec<u8>,
}

/// The timer of a chat whose messages disappear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// Seconds.
    pub seconds: u32,
    /// When it was set, seconds since 1970.
    pub set_at: i64,
}

/// What the bridge found out for a plan. Everything it does not need may be left out.
pub struct Resolved<'a> {
    /// The WhatsApp id of somebody in the room.
    pub people: &'a dyn Fn(&str) -> Option<Jid>,
    /// The message it answers.
    pub quoted: Option<Quoted>,
    /// The message whose thread it is in, where WhatsApp has threads.
    pub thread: Option<wa::MessageKey>,
    /// The message it does something to.
    pub target: Option<wa::MessageKey>,
    /// What is kept of the message an edit changes; decides what an edit of a file's words looks like.
    pub original: Option<wa::Message>,
    /// The file.
    pub uploaded: Option<Uploaded>,
    /// The picture of a link.
    pub preview: Option<Uploaded>,
    /// The text of a file that may hold contact cards.
    pub cards: Option<String>,
    /// The album it belongs to: the message built of [`Plan::Album`](super::Plan::Album).
    pub album: Option<wa::MessageKey>,
    /// Secret of the new message, on which votes and sealed edits hang.
    pub secret: Option<[u8; 32]>,
    /// The vote, sealed.
    pub sealed: Option<Sealed>,
    /// How often each answer was chosen, for the end of a poll.
    pub results: Vec<(String, u64)>,
    /// Number of the position of a live location, counted from 1.
    pub sequence: i64,
    /// When the event was sent, milliseconds since 1970.
    pub ts_ms: i64,
    /// The chat's timer.
    pub timer: Option<Timer>,
    /// Whose words they are, when another account says them.
    pub said_by: Option<String>,
}

impl<'a> Resolved<'a> {
    /// Nothing but people.
    pub fn new(people: &'a dyn Fn(&str) -> Option<Jid>) -> Self {
        Self {
            people,
            quoted: None,
            thread: None,
            target: None,
            original: None,
            uploaded: None,
            preview: None,
            cards: None,
            album: None,
            secret: None,
            sealed: None,
            results: Vec::new(),
            sequence: 0,
            ts_ms: 0,
            timer: None,
            said_by: None,
        }
    }
}
