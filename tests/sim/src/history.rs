//! What phones saw, kept for assertions.

/// A receipt a phone got.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReceiptItem {
    /// Whose receipt it is: a number.
    pub from: String,
    /// Which of its devices sent it.
    pub device: u16,
    /// The chat, for receipts of the account's own companions.
    pub recipient: Option<String>,
    /// The messages it names.
    pub ids: Vec<String>,
    /// `delivery`, `read`, `inactive`, `played`, `retry`, ...
    pub kind: String,
    /// Seconds since 1970.
    pub ts: u64,
}

/// A presence or a chat state a phone saw.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PresenceItem {
    /// Whose: a number.
    pub from: String,
    /// `available`, `unavailable`, `composing`, `paused`, `recording`.
    pub state: String,
}

/// What became of a message that arrived at a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalOutcome {
    /// New, and shown.
    Shown,
    /// Decrypted, but this (chat, sender, id) is shown already.
    Repeat,
    /// The very same ciphertext once more.
    SameCiphertext,
    /// Could not be decrypted; a retry was asked for.
    Undecryptable,
    /// A protocol message for the phone itself, not shown.
    Internal,
}

/// One message stanza that reached a phone.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Arrival {
    /// At whose phone.
    pub to: String,
    /// From whom.
    pub from: String,
    /// From which device.
    pub device: u16,
    /// The message id.
    pub id: String,
    /// Seconds since 1970.
    pub ts: u64,
    /// What became of it.
    pub outcome: ArrivalOutcome,
}
