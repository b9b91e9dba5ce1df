//! The phone of an account: device 0, a Signal endpoint in memory.

mod group;
mod receive;
mod send;
mod signal;
mod status;
mod store;

use std::collections::HashMap;

use anyhow::Result;
use wacore_binary::{Jid, Server};
use wacore_libsignal::protocol::IdentityKeyPair;
use waproto::whatsapp::Message;

pub use group::{SenderKeys, mark_read as mark_read_in, send as send_to_group};
pub use receive::{InboxItem, receive, show_post};
pub use send::{Outbound, mark_read, media_type, resend, seal, send, share_app_state_key, stanza_type};
pub use status::{contacts, new_list, post, send_to_list};

use crate::{
    history::{PresenceItem, ReceiptItem},
    ids::{Address, Number},
    iq::Bundle,
    page::{Line, chat_name},
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
    /// The group or broadcast it belongs to, if it was no direct message; `chat`
    /// is its author then.
    room: Option<Jid>,
    from: Number,
    /// The address family it travelled in.
    family: Server,
    ts: u64,
    message: Message,
}

/// The phone.
pub struct Phone {
    endpoint: Endpoint,
    pub sender_keys: SenderKeys,
    /// Broadcast lists by JID.
    lists: HashMap<String, Vec<Number>>,
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
            sender_keys: SenderKeys::default(),
            lists: HashMap::new(),
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

    /// All messages, those it sent itself too, oldest first.
    pub fn transcript(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self
            .known
            .values()
            .map(|known| Line {
                chat: chat_name(known.room.as_ref().unwrap_or(&known.chat.jid())),
                from: known.from.clone(),
                ts: known.ts,
                message: known.message.clone(),
            })
            .collect();
        lines.sort_by_key(|line| line.ts);
        lines
    }

    /// What the phone shows, oldest first.
    pub fn inbox(&self) -> &[InboxItem] {
        &self.inbox
    }
}
