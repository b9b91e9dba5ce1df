//! The order in which message stanzas came off the socket.
//!
//! The library works on the stanzas of one `from` one after another and on those of several side by side. One chat may
//! have several: the contact's number, their LID, and our own account for what was written on the phone. So the number
//! that orders a row in its lane is given when the stanza arrives, not when it is stored, and a row waits while an
//! earlier stanza of its chat is still on its way into the inbox.
//!
//! A stanza is *open* from its arrival until it is stored, or until one that came later under the same `from` is: then
//! the library was through with it (a repeat, a key, a receipt among phones). One that could not be read stays open
//! until its place in the inbox is taken. Nothing stays open for longer than [`PATIENCE`].

use crate::clock::Clock;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use whatsapp_rust::prelude::{Jid, MessageInfo};
use whatsapp_rust::wacore_binary::NodeRef;

/// How long a stanza may be on its way before nobody waits for it any more, milliseconds.
const PATIENCE: i64 = 5000;
/// Stanzas remembered at most: an offline delivery brings some hundred at once.
const MEMORY: usize = 20_000;

struct Open {
    id: String,
    /// The user part of the author's id.
    author: String,
    from: String,
    chat: String,
    unreadable: bool,
}

#[derive(Default)]
struct Inner {
    open: BTreeMap<i64, Open>,
    /// By message id; several authors may use the same.
    numbers: HashMap<String, Vec<i64>>,
}

impl Inner {
    /// The open stanza of an id by one of these authors. The library may name an author by the other of their ids than
    /// the stanza did, so the only one of an id is it in any case.
    fn find(&self, id: &str, authors: &[&str]) -> Option<i64> {
        let numbers = self.numbers.get(id)?;
        let is_theirs =
            |number: &&i64| self.open.get(*number).is_some_and(|open| authors.contains(&open.author.as_str()));
        match (numbers.iter().find(is_theirs), numbers.as_slice()) {
            (Some(number), _) => Some(*number),
            (None, [only]) => Some(*only),
            (None, _) => None,
        }
    }

    fn close(&mut self, number: i64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        if let Some(numbers) = self.numbers.get_mut(&open.id) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.numbers.remove(&open.id);
            }
        }
        Some(open)
    }
}

/// The open stanzas of one client.
#[derive(Default)]
pub struct Order(Mutex<Inner>);

impl Order {
    /// Notes a message stanza as it arrives, under the number it is ordered by. One that is open already keeps its
    /// first number.
    pub fn arrived(&self, stanza: &NodeRef<'_>, number: i64) {
        let mut attrs = stanza.attrs();
        let (Some(from), Some(id)) = (attrs.optional_jid("from"), attrs.optional_string("id")) else { return };
        let author = attrs.optional_jid("participant").unwrap_or_else(|| from.clone());
        let chat = attrs.optional_jid("recipient").unwrap_or_else(|| from.clone());
        let (author, id) = (author.user.to_string(), id.into_owned());
        let mut inner = self.lock();
        let is_it = |number: &i64| inner.open.get(number).is_some_and(|open| open.author == author);
        if inner.numbers.get(&id).is_some_and(|numbers| numbers.iter().any(is_it)) {
            return;
        }
        if inner.open.len() >= MEMORY
            && let Some(oldest) = inner.open.first_key_value().map(|(number, _)| *number)
        {
            inner.close(oldest);
        }
        inner.numbers.entry(id.clone()).or_default().push(number);
        let (from, chat) = (bare(&from), bare(&chat));
        inner.open.insert(number, Open { id, author, from, chat, unreadable: false });
    }

    /// The number an open stanza came under.
    pub fn number_of(&self, info: &MessageInfo) -> Option<i64> {
        self.lock().find(&info.id, &authors_of(info))
    }

    /// Notes that the library can not read an open message of this author and id: it stays open until
    /// [`Order::stored`].
    pub fn unreadable(&self, author: &Jid, id: &str) {
        let mut inner = self.lock();
        if let Some(number) = inner.find(id, &[author.user.as_str()])
            && let Some(open) = inner.open.get_mut(&number)
        {
            open.unreadable = true;
        }
    }

    /// Notes that a message is stored, after the commit, and with it those before it under the same `from`.
    pub fn stored(&self, info: &MessageInfo) {
        let mut inner = self.lock();
        let Some(number) = inner.find(&info.id, &authors_of(info)) else { return };
        let Some(stored) = inner.close(number) else { return };
        let through: Vec<i64> = inner
            .open
            .range(..number)
            .filter(|(_, open)| open.from == stored.from && !open.unreadable)
            .map(|(number, _)| *number)
            .collect();
        for number in through {
            inner.close(number);
        }
    }

    /// Whether any stanza that came before `number` is open.
    pub fn has_open(&self, number: i64) -> bool {
        self.lock().open.range(..number).next().is_some()
    }

    /// The chats, as the stanzas name them, of what came before `number` and is open; `now_ms` is milliseconds since
    /// 1970.
    pub fn open_before(&self, number: i64, now_ms: i64) -> HashSet<String> {
        let mut inner = self.lock();
        let late: Vec<i64> = inner
            .open
            .range(..number)
            .map(|(number, _)| *number)
            .take_while(|number| now_ms - Clock::time_of(*number) > PATIENCE)
            .collect();
        for number in late {
            inner.close(number);
        }
        inner.open.range(..number).map(|(_, open)| open.chat.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn authors_of(info: &MessageInfo) -> Vec<&str> {
    std::iter::once(&info.source.sender).chain(&info.source.sender_alt).map(|jid| jid.user.as_str()).collect()
}

fn bare(jid: &Jid) -> String {
    jid.to_non_ad().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    fn arrive(order: &Order, from: &str, recipient: Option<&str>, id: &str, number: i64) {
        let mut node = NodeBuilder::new("message").attr("from", from).attr("id", id);
        if let Some(recipient) = recipient {
            node = node.attr("recipient", recipient);
        }
        order.arrived(&node.build().as_node_ref(), number);
    }

    fn info(sender: &str, id: &str) -> Arc<MessageInfo> {
        let mut info = MessageInfo::default();
        info.source.sender = sender.parse().unwrap();
        info.id = id.into();
        Arc::new(info)
    }

    fn chats_before(order: &Order, number: i64) -> Vec<String> {
        let mut chats: Vec<String> = order.open_before(number, 0).into_iter().collect();
        chats.sort();
        chats
    }

    #[test]
    fn the_number_of_the_arrival_stays_until_it_is_stored() {
        let order = Order::default();
        arrive(&order, "15:2@s.whatsapp.net", None, "A", 1);
        arrive(&order, "15:2@s.whatsapp.net", None, "A", 2);
        assert_eq!(order.number_of(&info("15:2@s.whatsapp.net", "A")), Some(1));
        order.stored(&info("15:2@s.whatsapp.net", "A"));
        assert_eq!(order.number_of(&info("15:2@s.whatsapp.net", "A")), None);
    }

    #[test]
    fn an_author_may_be_named_by_the_other_id_and_another_author_is_another() {
        let order = Order::default();
        arrive(&order, "15@s.whatsapp.net", None, "A", 1);
        assert_eq!(order.number_of(&info("100@lid", "A")), Some(1));
        arrive(&order, "16@s.whatsapp.net", None, "A", 2);
        assert_eq!(order.number_of(&info("16@s.whatsapp.net", "A")), Some(2));
        assert_eq!(order.number_of(&info("100@lid", "A")), None, "it could be either");
        order.stored(&info("16@s.whatsapp.net", "A"));
        assert_eq!(order.number_of(&info("15@s.whatsapp.net", "A")), Some(1));
    }

    #[test]
    fn the_own_phones_messages_belong_to_their_chat() {
        let order = Order::default();
        arrive(&order, "15@s.whatsapp.net", None, "A", 1);
        arrive(&order, "200@lid", Some("100@lid"), "B", 2);
        arrive(&order, "100:3@lid", None, "C", 3);
        assert_eq!(chats_before(&order, 3), ["100@lid", "15@s.whatsapp.net"]);
        order.stored(&info("15@s.whatsapp.net", "A"));
        order.stored(&info("200@lid", "B"));
        assert!(!order.has_open(3));
    }

    #[test]
    fn what_the_library_passed_over_is_settled_by_the_next_and_the_unreadable_is_not() {
        let order = Order::default();
        arrive(&order, "100@lid", None, "a repeat", 1);
        arrive(&order, "100@lid", None, "unreadable", 2);
        order.unreadable(&"100@lid".parse().unwrap(), "unreadable");
        arrive(&order, "100@lid", None, "C", 3);
        order.stored(&info("100@lid", "C"));
        assert!(chats_before(&order, 2).is_empty());
        assert_eq!(chats_before(&order, 3), ["100@lid"]);
        order.stored(&info("100@lid", "unreadable"));
        assert!(!order.has_open(3));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let order = Order::default();
        let clock = Clock::by_hand(1_000_000);
        arrive(&order, "100@lid", None, "A", clock.next_id());
        let later = clock.next_id();
        assert_eq!(order.open_before(later, 1_000_000 + PATIENCE).len(), 1);
        assert!(order.open_before(later, 1_000_001 + PATIENCE).is_empty());
        assert!(!order.has_open(later));
    }
}
