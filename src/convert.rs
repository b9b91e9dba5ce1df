//! Pure conversion between WhatsApp messages and Matrix events: no I/O, no clock, no randomness.
//!
//! - [`incoming`] reads a WhatsApp message: what it wants done and the events that show it.
//! - [`outgoing`] plans what an event wants to be, and builds the message once the bridge has found what it names.
//! - [`quote`] keeps small copies of messages for answers, [`choices`] what can be pressed in them, [`edit`] makes
//!   Matrix edits, [`arrival`] is the stored form of what arrives.
//! - [`markup`], [`emoji`], [`geo`], [`vcard`], [`waveform`], [`sticker`] and [`pack`] know one form each.
//!
//! What is written here is shown by `tests/golden`, one folder per case and kind.
//!
//! Deterministic on purpose: a retry after a kill converts again and must come to the same parts, or the fixed
//! names of [`crate::derive`] would name something else.

pub mod absent;
pub mod arrival;
pub mod channel;
pub mod choices;
pub mod edit;
pub mod emoji;
pub mod features;
pub mod geo;
pub mod group;
pub mod incoming;
pub mod markup;
mod notice;
pub mod outgoing;
pub mod pack;
mod part;
pub mod quote;
pub mod relay;
pub mod sticker;
pub mod vcard;
pub mod waveform;
mod words;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod security;
#[cfg(test)]
mod wild;

pub use notice::{notice, notice_to};
pub use part::{MediaKind, MessageName, MxPart, WaMedia, WaReference, WaSource};
pub use words::{escape, moment};

/// Why an event can not become a WhatsApp message, in words for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What happened and what to do.
    pub tell: String,
}

impl Refusal {
    fn new(tell: impl Into<String>) -> Self {
        Self { tell: tell.into() }
    }
}
