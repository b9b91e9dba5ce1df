//! What waits for a companion, and how it gets there.
//!
//! Every message, receipt, notification and call stays until the device settles
//! it; what was sent on a connection that died is sent again on the next, with
//! the same id.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use wacore_binary::{Node, NodeContent, builder::NodeBuilder};
use wacore_libsignal::protocol::PreKeySignalMessage;

use crate::{
    account::Link,
    faults::Delivery,
    ids::{Address, Number},
    stanza::{attr, attr_or_empty, server_jid},
    state::State,
};

/// How many stanzas of a backlog go out before the client asks for more.
pub const PRIMER: usize = 5;

/// The kind of a queued stanza: how it is counted and settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Message,
    Receipt,
    Notification,
    Call,
}

impl Class {
    /// The class an `<ack>` names.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "message" => Self::Message,
            "receipt" => Self::Receipt,
            "notification" => Self::Notification,
            "call" => Self::Call,
            _ => return None,
        })
    }
}

/// One stanza that waits.
pub struct Queued {
    class: Class,
    id: String,
    /// The account it comes from; nobody for the server.
    peer: Option<Number>,
    /// Shared with the connection it is sent on.
    node: Arc<Node>,
    sent: bool,
}

/// All that waits for one device, oldest first.
#[derive(Default)]
pub struct Queue {
    items: VecDeque<Queued>,
    /// All before this one were sent, so that sending does not look at what only waits for its receipt.
    first_unsent: usize,
    /// How many messages wait under an id, so that settling a long backlog
    /// stops looking where nothing is left.
    messages: HashMap<String, usize>,
}

impl Queue {
    /// Number of stanzas not settled.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets all that waits, as the server does after a month.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what was sent: the connection is gone.
    pub fn unsend(&mut self) {
        self.first_unsent = 0;
        for item in &mut self.items {
            item.sent = false;
        }
    }

    fn push(&mut self, item: Queued) {
        if item.class == Class::Message {
            *self.messages.entry(item.id.clone()).or_default() += 1;
        }
        self.items.push_back(item);
    }

    /// Settles every sent message with this id from `peer` (any when absent).
    pub fn settle_messages(&mut self, id: &str, peer: Option<&Number>) {
        let Some(mut waiting) = self.messages.remove(id) else {
            return;
        };
        let mut from = 0;
        while waiting > 0 {
            let fits = |item: &Queued| {
                item.sent
                    && item.class == Class::Message
                    && item.id == id
                    && (peer.is_none() || item.peer.as_ref() == peer)
            };
            let Some(found) = self.items.iter().skip(from).position(fits) else {
                break;
            };
            from += found;
            self.remove(from);
            waiting -= 1;
        }
        if waiting > 0 {
            self.messages.insert(id.to_owned(), waiting);
        }
    }

    /// Settles the first sent stanza of another class with this id and type.
    pub fn settle_other(&mut self, class: Class, id: &str, kind: Option<&str>) {
        let found = self.items.iter().position(|item| {
            item.sent
                && item.class == class
                && item.id == id
                && kind.is_none_or(|kind| attr(&item.node, "type").as_deref() == Some(kind))
        });
        if let Some(index) = found {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) {
        self.items.remove(index);
        if index < self.first_unsent {
            self.first_unsent -= 1;
        }
    }

    /// Notes what was sent meanwhile.
    fn skip_sent(&mut self) {
        let sent = self.items.range(self.first_unsent..).take_while(|item| item.sent).count();
        self.first_unsent += sent;
    }

    fn unsent(&self, class: Class) -> usize {
        self.items.iter().filter(|i| !i.sent && i.class == class).count()
    }
}

impl State {
    /// Queues a stanza for a companion and sends what may be sent.
    pub fn deliver(&mut self, to: &Address, class: Class, peer: Option<&Number>, node: Node) {
        let Some(companion) = self.companion_mut(to) else {
            return;
        };
        companion.queue.push(Queued {
            class,
            id: attr_or_empty(&node, "id"),
            peer: peer.cloned(),
            node: Arc::new(node),
            sent: false,
        });
        self.pump(to);
    }

    /// Starts the backlog of a device that has just become active.
    pub fn start_drain(&mut self, to: &Address) {
        let Some(companion) = self.companion_mut(to) else {
            return;
        };
        let Some(conn) = companion.link.conn() else {
            return;
        };
        let queue = &companion.queue;
        let counts = [
            ("message", queue.unsent(Class::Message)),
            ("notification", queue.unsent(Class::Notification)),
            ("receipt", queue.unsent(Class::Receipt)),
            ("appdata", 0),
            ("call", queue.unsent(Class::Call)),
        ];
        let total: usize = counts.iter().map(|(_, n)| n).sum();
        companion.link = Link::Draining { conn, credit: PRIMER, sent: 0 };
        if total > 0 {
            let preview = NodeBuilder::new("offline_preview").attr("count", total).attrs(counts).build();
            self.send(conn, ib(preview));
        }
        self.pump(to);
    }

    /// Allows `count` more stanzas of the backlog.
    pub fn extend_drain(&mut self, to: &Address, count: usize) {
        if let Some(companion) = self.companion_mut(to)
            && let Link::Draining { credit, .. } = &mut companion.link
        {
            *credit += count;
            self.pump(to);
        }
    }

    /// Sends what waits for a device, as far as its connection and the faults
    /// of its account allow.
    pub fn pump(&mut self, to: &Address) {
        let Some(account) = self.accounts.get_mut(&to.number) else {
            return;
        };
        let faults = &mut account.faults;
        let Some(companion) = account.companions.get_mut(&to.device) else {
            return;
        };
        let (conn, mut credit, offline) = match companion.link {
            Link::Offline | Link::Passive(_) => return,
            Link::Draining { conn, credit, .. } => (conn, credit, true),
            Link::Live(conn) => (conn, usize::MAX, false),
        };
        let mut out = Vec::new();
        let mut waiting = false;
        let first = companion.queue.first_unsent;
        for item in companion.queue.items.range_mut(first..).filter(|i| !i.sent) {
            if item.class == Class::Message && faults.is_holding() {
                continue;
            }
            if credit == 0 {
                waiting = true;
                break;
            }
            credit = credit.saturating_sub(1);
            item.sent = true;
            let mut node = item.node.clone();
            if offline {
                Arc::make_mut(&mut node).attrs.insert("offline", "0");
            }
            if item.class != Class::Message {
                out.push(node);
                continue;
            }
            // What an account's devices tell each other is not what a test
            // arms its faults for.
            let peer = attr(&node, "category").as_deref() == Some("peer");
            let delivery = if peer { Delivery::Once } else { faults.next_delivery() };
            match delivery {
                Delivery::Once => out.push(node),
                Delivery::Twice => {
                    out.push(node.clone());
                    out.push(node);
                }
                Delivery::Lost => {}
                Delivery::Corrupted => {
                    corrupt(Arc::make_mut(&mut node));
                    out.push(node);
                }
                Delivery::Withheld => {
                    withhold(Arc::make_mut(&mut node));
                    out.push(node);
                }
            }
        }
        companion.queue.skip_sent();
        if let Link::Draining { credit: left, sent, .. } = &mut companion.link {
            *left = credit;
            *sent += out.len();
            if !waiting {
                let end = NodeBuilder::new("offline").attr("count", *sent).build();
                out.push(Arc::new(ib(end)));
                companion.link = Link::Live(conn);
            }
        }
        for node in out {
            self.send(conn, node);
        }
    }
}

/// `<ib from=S>` around one child: the server's notes to a client.
pub fn ib(child: Node) -> Node {
    NodeBuilder::new("ib").attr("from", server_jid()).children([child]).build()
}

/// Takes the content out, as of a message that only phones may open.
fn withhold(node: &mut Node) {
    let unavailable = NodeBuilder::new("unavailable").attr("type", "view_once").build();
    node.content = Some(NodeContent::Nodes(vec![unavailable]));
}

/// Breaks the first ciphertext so that its authentication fails but its envelope
/// can still be read: the last byte of the Signal message, which in a prekey
/// message is not the last of all.
pub fn corrupt(node: &mut Node) {
    let Some(NodeContent::Nodes(children)) = &mut node.content else {
        return;
    };
    let Some(enc) = children.iter_mut().find(|c| c.tag == "enc") else {
        return;
    };
    let prekey = attr(enc, "type").as_deref() == Some("pkmsg");
    let Some(NodeContent::Bytes(content)) = &mut enc.content else {
        return;
    };
    let end = if prekey { end_of_inner(content) } else { Some(content.len()) };
    if let Some(last) = end.and_then(|end| content.get_mut(end - 1)) {
        *last ^= 0xff;
    }
}

/// Where in a prekey message the Signal message inside it ends.
fn end_of_inner(content: &[u8]) -> Option<usize> {
    let outer = PreKeySignalMessage::try_from(content).ok()?;
    let inner = outer.message().serialized();
    let start = content.windows(inner.len()).position(|w| w == inner)?;
    Some(start + inner.len())
}
