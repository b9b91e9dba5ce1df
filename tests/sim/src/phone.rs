//! The phone of an account: device 0, a Signal endpoint in memory.

mod archive;
mod envelope;
mod group;
mod kinds;
mod marks;
mod peer;
mod receive;
mod secrets;
mod send;
mod signal;
mod status;
mod store;

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use wacore_libsignal::protocol::IdentityKeyPair;

pub use envelope::Envelope;
pub use group::{SenderKeys, mark as mark_in, send as send_to_group};
pub use kinds::{Card, Choice, Draft, Kind, ListSection, Media, Options, Upload, Uploaded, build, uploads};
pub use marks::{mark, mark_read};
pub use peer::{send_peer, share_app_state_key};
pub use receive::{InboxItem, receive, show_post};
pub use secrets::open_plain;
pub use send::{Outbound, resend, seal, send, send_with};
pub use status::{contacts, new_list, post, send_to_list};

use crate::{
    history::{PresenceItem, ReceiptItem},
    ids::{Address, Number},
    iq::Bundle,
    media::{self, Located},
    page::{Line, chat_name},
    proto_json,
};
use archive::Archive;
pub use archive::Known;
use signal::Endpoint;

/// Whether a phone answers messages with delivery receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It answers each message.
    Receipts,
    /// It receives in silence.
    Silent,
}

/// The phone.
pub struct Phone {
    endpoint: Endpoint,
    pub sender_keys: SenderKeys,
    /// Broadcast lists by JID.
    lists: HashMap<String, Vec<Number>>,
    /// Those of them whose messages name the list.
    told_lists: HashSet<String>,
    inbox: Vec<InboxItem>,
    /// Where in the inbox a (chat, sender, id) is.
    shown: HashMap<(String, String, String), usize>,
    /// All messages, for retries and companions that missed one.
    pub known: Archive,
    /// The files of history chunks, by the message that told of them.
    pub history_files: HashMap<String, Located>,
    /// The files of newsletters' posts, which no phone keeps for others.
    pub post_files: HashMap<String, Located>,
    /// Messages whose files the phone has deleted.
    pub lost_media: HashSet<String>,
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
            told_lists: HashSet::new(),
            inbox: Vec::new(),
            shown: HashMap::new(),
            known: Archive::default(),
            history_files: HashMap::new(),
            post_files: HashMap::new(),
            lost_media: HashSet::new(),
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
            .all()
            .iter()
            .map(|known| Line {
                chat: chat_name(&known.chat),
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

    /// The file of a message, and whether the phone still has it.
    pub fn media_of(&self, id: &str) -> Option<(Located, bool)> {
        let located = match self.history_files.get(id).or_else(|| self.post_files.get(id)) {
            Some(located) => located.clone(),
            None => media::located(&self.known.get(id)?.message)?,
        };
        Some((located, !self.lost_media.contains(id)))
    }

    /// A message's file has a new path.
    pub fn move_media(&mut self, id: &str, path: &str) {
        if let Some(located) = self.history_files.get_mut(id) {
            path.clone_into(&mut located.direct_path);
            return;
        }
        let old = self.media_of(id).map(|(located, _)| located.direct_path);
        let (Some(old), Some(known)) = (old, self.known.get_mut(id)) else {
            return;
        };
        let text = proto_json::show(&known.message).to_string().replace(&old, path);
        let moved = serde_json::from_str(&text).map_err(Into::into).and_then(|value| proto_json::parse(&value));
        match moved {
            Ok(message) => known.message = message,
            Err(error) => tracing::error!("moving the file of {id}: {error:#}"),
        }
    }
}
