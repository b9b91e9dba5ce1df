//! A Matrix event made ready for WhatsApp, in two steps without I/O.
//!
//! [`plan`] reads the event and says what it wants, with every limit checked that can be; the bridge then finds what
//! the plan names (people, the quoted message, the file, uploaded), and [`build`] makes the message. A refusal is a
//! sentence for the person: what can not be, its limit, and what to do.

mod beacon;
mod build;
mod draft;
mod file;
mod poll;
mod preview;
mod read;
mod relation;
mod resolved;
mod timer;

use super::geo::Point;
use super::markup::Block;
use serde_json::Value;

pub use super::Refusal;
pub use build::build;
pub use poll::vote_hashes;
pub use preview::read as read_preview;
pub use relation::pins_changed;
pub use resolved::{Quoted, Resolved, Timer, Uploaded};
pub use timer::timer_setting;

/// Characters WhatsApp takes in one text message (seen in its clients).
pub const MAX_TEXT: usize = 65_536;
/// Bytes WhatsApp takes in one file: 2,000 MiB (seen in its clients).
pub const MAX_FILE: u64 = 2_000 << 20;
/// Answers WhatsApp takes in one poll, and characters in each (seen in its clients).
pub const MAX_OPTIONS: usize = 12;
/// See [`MAX_OPTIONS`].
pub const MAX_OPTION: usize = 100;
/// Characters WhatsApp takes in a poll's question (seen in its clients).
pub const MAX_QUESTION: usize = 255;
/// Files WhatsApp takes in one album (seen in its clients).
pub const MAX_ALBUM: usize = 100;

/// What an event wants to be in WhatsApp. Targets are event ids as the event says them: that they are in the same
/// room, and that the sender may, is for the bridge to see to.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// A message.
    Message(Box<Draft>),
    /// Several files sent as one album; see [`Resolved::album`].
    Album(Vec<Draft>),
    /// New words for a message.
    Edit {
        /// The message.
        target: String,
        /// What it shall say.
        draft: Box<Draft>,
    },
    /// A reaction.
    React {
        /// The message.
        target: String,
        /// As WhatsApp writes it.
        emoji: String,
    },
    /// A message or reaction to be taken back.
    Redact {
        /// The event.
        target: String,
    },
    /// A poll.
    Poll(PollDraft),
    /// The sender's whole choice in a poll; see [`vote_hashes`].
    Vote {
        /// The poll.
        poll: String,
        /// Ids of answers; none takes the vote back.
        answers: Vec<String>,
    },
    /// A poll is over.
    PollEnd {
        /// The poll.
        poll: String,
        /// What the client says about it.
        text: String,
    },
    /// What is pinned now; see [`pins_changed`].
    Pins {
        /// Event ids, oldest first.
        pinned: Vec<String>,
    },
    /// One message to be pinned or not.
    Pin {
        /// The message.
        target: String,
        /// Whether it is to be pinned.
        pinned: bool,
    },
    /// A live location begins: nothing is sent before the first position.
    LiveStart {
        /// What it is about.
        description: String,
        /// How long it goes on, milliseconds.
        timeout_ms: u64,
    },
    /// A position of a live location.
    LiveMove {
        /// The event it began with.
        start: String,
        /// Where.
        point: Point,
        /// When, milliseconds since 1970, by the sender's clock.
        ts_ms: i64,
    },
    /// A live location is over.
    LiveStop,
}

/// A message to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What it says.
    pub content: DraftContent,
    /// Whether a machine said it (`m.notice`).
    pub notice: bool,
    /// The event it answers.
    pub reply_to: Option<String>,
    /// The event whose thread it is in.
    pub thread_of: Option<String>,
    /// Matrix ids of the people it may mention: named in the text and meant by `m.mentions`.
    pub mentions: Vec<String>,
    /// Whether it mentions everybody.
    pub mention_room: bool,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum DraftContent {
    /// Words.
    Text {
        /// The words.
        text: Vec<Block>,
        /// What is shown of a link in them.
        preview: PreviewWish,
    },
    /// A file, with or without words.
    File {
        /// The file.
        media: MxMedia,
        /// The words.
        caption: Vec<Block>,
    },
    /// A place.
    Place {
        /// Where.
        point: Point,
        /// What it is called, one line.
        name: String,
    },
}

/// What the sender wants shown of a link.
#[derive(Debug, Clone, PartialEq)]
pub enum PreviewWish {
    /// They did not say: the bridge may ask the homeserver, if that is switched on. The first link of the text.
    Unsaid(Option<String>),
    /// Nothing.
    Nothing,
    /// This.
    Given(LinkPreview),
}

/// What is shown of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPreview {
    /// The address as it stands in the text.
    pub url: String,
    /// Its title, one line.
    pub title: String,
    /// More about it, one line.
    pub description: String,
    /// Its picture.
    pub picture: Option<MxSource>,
}

/// Where a file of an event is.
#[derive(Debug, Clone, PartialEq)]
pub enum MxSource {
    /// In clear, at this `mxc` address.
    Plain(String),
    /// Encrypted: the event's `file` object, its address checked (CS-API, "Sending encrypted attachments").
    Encrypted(Value),
}

impl MxSource {
    /// Its `mxc` address.
    pub fn mxc(&self) -> &str {
        match self {
            Self::Plain(mxc) => mxc,
            Self::Encrypted(file) => file["url"].as_str().unwrap_or_default(),
        }
    }
}

/// A file of an event. What its sender claims about it is to be checked against the file.
#[derive(Debug, Clone, PartialEq)]
pub struct MxMedia {
    /// Where it is.
    pub source: MxSource,
    /// What it shall be in WhatsApp.
    pub kind: MxKind,
    /// Its type, claimed.
    pub mime: Option<String>,
    /// Its name, safe.
    pub name: String,
    /// Its bytes, claimed.
    pub size: Option<u64>,
    /// Pixels from side to side, claimed.
    pub width: Option<u32>,
    /// Pixels from top to bottom, claimed.
    pub height: Option<u32>,
    /// How long it is, milliseconds, claimed.
    pub duration_ms: Option<u64>,
    /// The shape of a recorded voice, 0 to 1024, claimed.
    pub waveform: Vec<u64>,
    /// Its small picture.
    pub thumbnail: Option<MxSource>,
}

/// What a file of an event is to the person who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MxKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A film that plays by itself.
    Gif,
    /// Sound.
    Audio,
    /// A recorded voice.
    Voice,
    /// Any file.
    File,
    /// Contact cards, if the file holds some; see [`Resolved::cards`].
    Contacts,
    /// A sticker.
    Sticker,
}

/// A poll to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollDraft {
    /// What is asked.
    pub question: String,
    /// Matrix id and text of each answer.
    pub options: Vec<(String, String)>,
    /// How many may be chosen.
    pub max_selections: usize,
    /// Whether the votes were to be hidden until the end, which WhatsApp does not do.
    pub undisclosed: bool,
}

/// Says what an event wants. For a redaction in an old room version, put the event's `redacts` into its content first.
///
/// # Errors
/// [`Refusal`] with words for the sender when WhatsApp has nothing like it or a limit is passed.
pub fn plan(event_type: &str, content: &Value) -> Result<Plan, Refusal> {
    read::plan(event_type, content)
}
