//! Faults a test can arm, per account.

use std::{collections::HashMap, str::FromStr};

use anyhow::{Result, bail};

/// What can be made to go wrong. Counted ones are used up one by one; peer
/// messages, between devices of one account, never use one up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The next message of a companion is taken and forwarded, but the
    /// account's sockets are dropped before it is acked.
    Cut,
    /// The next message of a companion is lost with the account's sockets: it
    /// is neither forwarded nor acked.
    CutUnseen,
    /// The next message is forwarded and acked, then the sockets are dropped.
    CutAfterAck,
    /// From now on companions get no messages and no message acks, until
    /// [`FaultKind::Release`]. Not counted.
    Hold,
    /// Ends [`FaultKind::Hold`]: what was held goes out in order. Not counted.
    Release,
    /// The next messages to companions are sent twice.
    Double,
    /// The next messages of companions are refused with this code.
    Nack(u16),
    /// The next messages of companions are forwarded without an ack.
    DropAck,
    /// The next messages to companions get lost on the way; they stay queued
    /// and come again at the next login.
    Drop,
    /// The ciphertext of the next messages to companions is broken by one
    /// byte, such that its authentication fails.
    CorruptCiphertext,
    /// The next messages to companions come without their content, as view-once
    /// ones do: `<unavailable type="view_once"/>`.
    WithholdViewOnce,
    /// As [`FaultKind::CorruptCiphertext`], for the next messages of others to
    /// this account's phone.
    CorruptToPhone,
    /// The next retry receipts of companions are swallowed.
    DropRetry,
    /// A stanza no client knows is sent to the connected companions, at once.
    UnknownStanza,
}

/// Nack faults differ in their code and share one counter.
fn slot(kind: FaultKind) -> FaultKind {
    match kind {
        FaultKind::Nack(_) => FaultKind::Nack(0),
        other => other,
    }
}

impl FromStr for FaultKind {
    type Err = anyhow::Error;

    /// Reads the admin API's names: snake case, `nack` or `nack:CODE`.
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "cut" => Self::Cut,
            "cut_unseen" => Self::CutUnseen,
            "cut_after_ack" => Self::CutAfterAck,
            "hold" => Self::Hold,
            "release" => Self::Release,
            "double" => Self::Double,
            "nack" => Self::Nack(479),
            "drop_ack" => Self::DropAck,
            "drop" => Self::Drop,
            "corrupt" => Self::CorruptCiphertext,
            "withhold_view_once" => Self::WithholdViewOnce,
            "corrupt_to_phone" => Self::CorruptToPhone,
            "drop_retry" => Self::DropRetry,
            "unknown" => Self::UnknownStanza,
            other => match other.strip_prefix("nack:").map(str::parse) {
                Some(Ok(code)) => Self::Nack(code),
                _ => bail!("no fault is called {other:?}"),
            },
        })
    }
}

/// What happens to one message on its way to a companion.
pub enum Delivery {
    Once,
    Twice,
    Lost,
    Corrupted,
    Withheld,
}

/// What happens to one message of a companion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    Normal,
    /// Forward, no ack, cut.
    Cut,
    /// Nothing but a cut.
    CutUnseen,
    /// Ack, forward, cut.
    CutAfterAck,
    /// Refuse.
    Nack(u16),
    /// Forward without ack.
    NoAck,
}

/// The armed faults of one account.
#[derive(Default)]
pub struct Faults {
    left: HashMap<FaultKind, u32>,
    nack_code: u16,
    holding: bool,
}

impl Faults {
    /// Arms a counted fault `count` more times, or sets Hold and Release.
    pub fn arm(&mut self, kind: FaultKind, count: u32) {
        match kind {
            FaultKind::Hold => self.holding = true,
            FaultKind::Release => self.holding = false,
            other => {
                if let FaultKind::Nack(code) = other {
                    self.nack_code = code;
                }
                *self.left.entry(slot(other)).or_default() += count;
            }
        }
    }

    /// How often the fault is still armed.
    pub fn left(&self, kind: FaultKind) -> u32 {
        self.left.get(&slot(kind)).copied().unwrap_or(0)
    }

    /// Whether messages to companions are held.
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// Uses the fault up once, if it is armed.
    pub fn take(&mut self, kind: FaultKind) -> bool {
        match self.left.get_mut(&slot(kind)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Decides about the next message to a companion.
    pub fn next_delivery(&mut self) -> Delivery {
        if self.take(FaultKind::Drop) {
            Delivery::Lost
        } else if self.take(FaultKind::CorruptCiphertext) {
            Delivery::Corrupted
        } else if self.take(FaultKind::WithholdViewOnce) {
            Delivery::Withheld
        } else if self.take(FaultKind::Double) {
            Delivery::Twice
        } else {
            Delivery::Once
        }
    }

    /// Decides about the next message of a companion.
    pub fn next_intake(&mut self) -> Intake {
        if self.take(FaultKind::CutUnseen) {
            Intake::CutUnseen
        } else if self.take(FaultKind::Nack(0)) {
            Intake::Nack(self.nack_code)
        } else if self.take(FaultKind::Cut) {
            Intake::Cut
        } else if self.take(FaultKind::CutAfterAck) {
            Intake::CutAfterAck
        } else if self.take(FaultKind::DropAck) {
            Intake::NoAck
        } else {
            Intake::Normal
        }
    }
}
