//! Linking a new device, as a stream of steps somebody can show.

use crate::ids::LoginId;
use std::time::Duration;

/// How the person links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkMethod {
    /// Scan a picture.
    Qr,
    /// Type an eight-letter code on the phone of this number (digits only).
    Code {
        /// The phone number's digits, with country code.
        number: String,
    },
}

/// What happens while linking. [`LinkStep::Linked`], [`LinkStep::Failed`] and [`LinkStep::TimedOut`] end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkStep {
    /// Show this text as a QR picture; it replaces the one before.
    Qr {
        /// The picture's text. A secret of the person who links.
        code: String,
        /// How long it is valid.
        valid: Duration,
    },
    /// Show this code to be typed on the phone.
    Code {
        /// Eight letters. A secret of the person who links.
        code: String,
        /// How long it is valid.
        valid: Duration,
    },
    /// WhatsApp asks for the account's passkey ([`super::passkey`]).
    Passkey {
        /// What the passkey is asked. Of use to its owner alone, and once.
        question: String,
        /// How long the answer is waited for.
        valid: Duration,
    },
    /// The phone shows a code, and the person says whether it is this one.
    Compare {
        /// `XXXX-XXXX`.
        code: String,
        /// How long that is waited for.
        valid: Duration,
    },
    /// The account is linked and recorded.
    Linked {
        /// The login's name.
        login: LoginId,
    },
    /// Nobody scanned, typed or answered in time.
    TimedOut,
    /// It can not work.
    Failed {
        /// For the person: what happened and what to do.
        tell: String,
    },
}
