//! All messages a phone has sent or seen, in order.

use std::collections::HashMap;

use wacore_binary::{Jid, Server};
use waproto::whatsapp::Message;

use crate::ids::Number;

/// A message as the phone knows it, shown or sent.
#[derive(Clone)]
pub struct Known {
    pub id: String,
    /// The chat: a person's phone-number JID, or the group or broadcast.
    pub chat: Jid,
    pub from: Number,
    /// The address family it travelled in.
    pub family: Server,
    pub ts: u64,
    pub message: Message,
}

impl Known {
    /// The group or broadcast it belongs to, if it is no direct message.
    pub fn room(&self) -> Option<&Jid> {
        (!matches!(self.chat.server, Server::Pn | Server::Lid)).then_some(&self.chat)
    }
}

/// The messages, each under its id.
#[derive(Default)]
pub struct Archive {
    items: Vec<Known>,
    by_id: HashMap<String, usize>,
}

impl Archive {
    /// Keeps a message; one of the same id takes the place of the first.
    pub fn insert(&mut self, known: Known) {
        match self.by_id.get(&known.id) {
            Some(index) => self.items[*index] = known,
            None => {
                self.by_id.insert(known.id.clone(), self.items.len());
                self.items.push(known);
            }
        }
    }

    /// The message of an id.
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.items.get(*self.by_id.get(id)?)
    }

    /// The message of an id, to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Known> {
        self.items.get_mut(*self.by_id.get(id)?)
    }

    /// All messages, oldest first.
    pub fn all(&self) -> &[Known] {
        &self.items
    }
}
