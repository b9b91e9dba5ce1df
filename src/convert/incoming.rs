//! A WhatsApp message read for Matrix: what it wants done, with everything Matrix shows ready.
//!
//! Called by the bridge once per message, first [`people_in`] to know whom to ask for, then [`read`]. Nothing here
//! trusts the message: every name and address is bounded and cleaned, every target is only a name for the bridge to
//! look up in the *same* chat, and protocol messages that only our own account may send are nothing at all.

mod about;
mod answers;
mod business;
mod contact;
mod dispatch;
mod event;
mod frame;
mod invite;
mod media;
mod notes;
mod notices;
mod open;
mod order;
mod pay;
mod place;
mod poll;
mod protocol;
mod sticker;
mod text;
mod unknown;

use super::part::{MessageName, MxPart};
use whatsapp_rust::prelude::{Jid, wa};

pub use dispatch::is_silent;
pub use event::rsvp;
pub use notices::{CallFacts, CallState, GoneMedia, call, media_gone, waiting};
pub use open::people_in;
pub use poll::{
    PollFacts, PollOption, changed as poll_changed, end as poll_end, facts as poll_facts, grown as poll_grown,
    response as poll_response, result as poll_result,
};

/// A WhatsApp person in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their Matrix id: the ghost, or the user whose account it is.
    pub mxid: String,
    /// How the room calls them.
    pub name: String,
}

/// What reading needs to know about the world.
pub struct Context<'a> {
    /// A person of [`people_in`].
    pub people: &'a dyn Fn(&Jid) -> Option<Person>,
    /// Whether a message can be answered in the room. When it can not, a reply carries the quote in its text.
    pub known: &'a dyn Fn(&MessageName) -> bool,
    /// Who wrote the message.
    pub sender: &'a Jid,
    /// Whether the login's own account wrote it.
    pub from_me: bool,
    /// What commands begin with in this room, for hints: `!wa`.
    pub command_prefix: &'a str,
}

/// What a WhatsApp message wants done. Targets are unchecked, see [`MessageName`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Nothing people see.
    Nothing,
    /// New events.
    Say(Vec<MxPart>),
    /// An album opens: its pictures follow, each naming it in [`MxPart::album`].
    Album {
        /// How many files will follow, as announced.
        expected: u32,
        /// A notice that says so.
        parts: Vec<MxPart>,
    },
    /// A message's new content, by its author.
    Edit {
        /// The message.
        target: MessageName,
        /// What it is now. A file without [`MxPart::media`] stands for the old one: only its words changed, see
        /// [`new_words`](super::edit::new_words).
        parts: Vec<MxPart>,
    },
    /// The same picture or film in better quality, from the same author.
    Upgrade {
        /// The message that showed the small one.
        target: MessageName,
        /// What it is now.
        parts: Vec<MxPart>,
    },
    /// A message is taken back, by its author or an admin.
    Redact {
        /// The message.
        target: MessageName,
    },
    /// The one reaction of the sender.
    React {
        /// The message.
        target: MessageName,
        /// As Matrix clients write it; empty when it is taken back.
        emoji: String,
        /// When, milliseconds since 1970, by the sender's clock.
        ts_ms: i64,
    },
    /// The sender's whole choice in a poll, sealed with the poll's secret.
    Vote {
        /// The poll.
        poll: MessageName,
        /// The choice.
        sealed: Sealed,
        /// When, milliseconds since 1970, by the sender's clock; the latest counts.
        ts_ms: i64,
    },
    /// A new answer in a poll that allows it.
    PollOption {
        /// The poll.
        poll: MessageName,
        /// The answer.
        option: PollOption,
    },
    /// The sender's answer to an event's invitation, sealed with the event's secret; see [`rsvp`].
    Rsvp {
        /// The event.
        event: MessageName,
        /// The answer.
        sealed: Sealed,
    },
    /// Something else sealed with its target's secret. What is inside is read again.
    Sealed {
        /// What it is.
        kind: SealedKind,
        /// Whose secret opens it.
        target: MessageName,
        /// The payload.
        sealed: Sealed,
    },
    /// A message is pinned or no longer.
    Pin {
        /// The message.
        target: MessageName,
        /// Whether it is pinned.
        pinned: bool,
        /// When, milliseconds since 1970.
        ts_ms: i64,
    },
    /// A disappearing message is kept, or no longer.
    Keep {
        /// The message.
        target: MessageName,
        /// Whether it is kept.
        kept: bool,
    },
    /// Where the sender is now. Later ones of the same sharing move the first one's event.
    LiveLocation {
        /// Grows with every position; an older one is not shown.
        sequence: i64,
        /// The position, as an event or as the new content of the one that stands.
        parts: Vec<MxPart>,
    },
    /// After how many seconds messages of this chat disappear from now on.
    Timer {
        /// Seconds; 0 = never.
        seconds: u32,
        /// When it was set, milliseconds since 1970, when the message says so.
        ts_ms: Option<i64>,
        /// A notice that says so.
        parts: Vec<MxPart>,
    },
}

/// A payload sealed with the secret of the message it belongs to.
#[derive(Clone, PartialEq)]
pub struct Sealed {
    /// Ciphertext with tag.
    pub payload: Vec<u8>,
    /// Its initialization vector, 12 bytes.
    pub iv: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.payload.len())
    }
}

/// What a sealed payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedKind {
    /// A reaction in an announcement group.
    Reaction,
    /// A comment in an announcement group.
    Comment,
    /// An edit.
    MessageEdit,
    /// An edit of an event.
    EventEdit,
    /// An edit of a poll, its end for instance.
    PollEdit,
    /// A new answer for a poll.
    PollOption,
}

/// Reads a message.
pub fn read(message: &wa::Message, context: &Context<'_>) -> Effect {
    dispatch::read(message, context, frame::Purpose::New, 0)
}

/// After how many seconds a message disappears; none when it stays.
pub fn expires_s(message: &wa::Message) -> Option<u32> {
    open::context_of(opened(message))?.expiration.filter(|seconds| *seconds > 0)
}

/// The person whose status post a message answers; none when it answers none.
pub fn answers_status(message: &wa::Message) -> Option<&str> {
    let context = open::context_of(opened(message))?;
    let is_of_status = context.remote_jid.as_deref() == Some("status@broadcast") && context.stanza_id.is_some();
    context.participant.as_deref().filter(|_| is_of_status)
}

/// A message without its wrappers.
#[must_use]
pub fn opened(message: &wa::Message) -> &wa::Message {
    open::open(message).base
}

/// The poll of an opened message.
pub(super) fn poll_of(base: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
    poll::creation(base)
}

/// Seals are exactly as long as the cipher wants them; others are forged or broken.
fn sealed(payload: Option<&Vec<u8>>, iv: Option<&Vec<u8>>) -> Option<Sealed> {
    let (payload, iv) = (payload?, iv?);
    let fits = iv.len() == 12 && (16..=1 << 20).contains(&payload.len());
    fits.then(|| Sealed { payload: payload.clone(), iv: iv.clone() })
}

#[cfg(test)]
mod tests;
