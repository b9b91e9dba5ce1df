//! What people's clients are told of their messages.

use serde::Deserialize;

/// Section `matrix`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Whether clients are told by events what became of each message.
    pub message_status_events: bool,
    /// Whether the bot marks what is on WhatsApp as read.
    pub delivery_receipts: bool,
}
