//! Names of things: phone numbers, device addresses, connections.

use std::{fmt, sync::Arc};

use anyhow::{Result, ensure};
use wacore_binary::{Jid, Server};

/// A phone number as WhatsApp writes it: digits only, no `+`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(Arc<str>);

impl Number {
    /// Reads a number; a leading `+` is dropped. Errors when anything but
    /// digits is left or nothing at all.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        ensure!(
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
            "{text:?} is not a phone number: digits only"
        );
        Ok(Self(digits.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The phone-number JID of the account, without a device.
    pub fn jid(&self) -> Jid {
        Jid::new(self.as_str(), Server::Pn)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One device of one account; device 0 is the phone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The account.
    pub number: Number,
    /// The device, 0 for the phone.
    pub device: u16,
}

impl Address {
    /// The device `device` of `number`.
    pub fn new(number: &Number, device: u16) -> Self {
        Self { number: number.clone(), device }
    }
}

/// One WebSocket connection, counted from 1 over the life of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);
