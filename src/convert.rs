//! Pure conversion between WhatsApp messages and Matrix events: no I/O, no clock, no randomness.
//!
//! Deterministic on purpose: a retry after a kill converts again and must come to the same parts, or the fixed
//! names of [`crate::derive`] would name something else.

pub mod arrival;
mod notice;
pub mod text;

use serde_json::Value;

pub use notice::notice;

/// One Matrix event out of one WhatsApp message.
#[derive(Debug, Clone, PartialEq)]
pub struct MxPart {
    /// Its event type.
    pub event_type: &'static str,
    /// Its content.
    pub content: Value,
}

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
