//! The phone of an account: device 0, a Signal endpoint in memory.

mod receive;
mod send;
mod signal;
mod store;

use std::collections::HashMap;

use anyhow::Result;
use wacore_binary::Server;
use wacore_libsignal::protocol::IdentityKeyPair;
use waproto::whatsapp::Message;

pub use receive::{InboxItem, receive};
pub use send::{Outbound, mark_read, resend, send, share_app_state_key};

use crate::{
    history::{PresenceItem, ReceiptItem},
    ids::{Address, Number},
    iq::Bundle,
};
use signal::Endpoint;

/// Whether a phone answers messages with delivery receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It answers each message.
    Receipts,
    /// It receives in silence.
    Silent,
}

/// A message as the phone knows it, shown or sent.
struct Known {
    chat: Number,
    from: Number,
    /// The address family it travelled in.
    family: Server,
    ts: u64,
    message: Message,
}

/// The phone.
pub struct Phone {
    endpoint: Endpoint,
    inbox: Vec<InboxItem>,
    /// Where in the inbox a (chat, sender, id) is.
    shown: HashMap<(String, String, String), usize>,
    /// All messages by id, for retries and companions that missed one.
    known: HashMap<String, Known>,
    /// How often a retry was asked for, by message and sender.
    retries: HashMap<(String, Address), u8>,
    pub receipts: Vec<ReceiptItem>,
    pub presences: Vec<PresenceItem>,
    pub answering: Answering,
}

impl Phone {
    /// A phone with a new identity; that is the account's, too.
    pub fn new() -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::new()?,
            inbox: Vec::new(),
            shown: HashMap::new(),
            known: HashMap::new(),
            retries: HashMap::new(),
            receipts: Vec::new(),
            presences: Vec::new(),
            answering: Answering::Receipts,
        })
    }

    /// The number is registered on a new phone: new keys, the messages from a
    /// backup.
    pub fn reinstall(&mut self) -> Result<()> {
        self.endpoint = Endpoint::new()?;
        self.retries.clear();
        Ok(())
    }

    /// The account's identity.
    pub fn identity(&self) -> &IdentityKeyPair {
        self.endpoint.identity()
    }

    /// A bundle for somebody who wants a session with this phone.
    pub fn make_bundle(&mut self) -> Result<Bundle> {
        self.endpoint.make_bundle()
    }

    /// Drops the session with a device that is gone.
    pub fn forget(&mut self, device: &Address) {
        self.endpoint.forget(device);
    }

    /// What the phone shows, oldest first.
    pub fn inbox(&self) -> &[InboxItem] {
        &self.inbox
    }
}
