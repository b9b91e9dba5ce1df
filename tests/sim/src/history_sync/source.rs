//! All that the history of an account is made of, taken out of the state at one
//! moment.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use serde_json::Value;
use wacore_binary::{Jid, Server};

use super::addons::AddOns;
use crate::{appstate::AppStateItem, ids::Number, phone::Known, state::State};

/// A person the phone knows.
pub struct Person {
    pub pn: Jid,
    pub lid: Jid,
    pub push_name: String,
}

/// A group the phone is in.
pub struct Room {
    pub subject: String,
    pub participants: Vec<(Number, bool)>,
    pub family: Server,
}

/// One account's history.
pub struct Source {
    pub owner: Number,
    pub own: Person,
    pub family: Server,
    /// The messages that show, oldest first, by chat.
    pub chats: BTreeMap<String, Vec<Known>>,
    pub people: HashMap<Number, Person>,
    /// Whose chat a phone-number JID is.
    by_chat: HashMap<String, Number>,
    pub rooms: HashMap<String, Room>,
    pub addons: AddOns,
    /// What became of own messages, by id: `delivery`, `read` or `played`.
    pub receipts: HashMap<String, String>,
    /// The last entry of each kind about a chat, by both.
    pub entries: HashMap<(String, String), Value>,
    /// Messages with a star.
    pub stars: HashSet<String>,
}

impl Source {
    /// Takes what the phone of `number` knows.
    pub fn take(state: &State, number: &Number) -> Result<Self> {
        let account = state.account(number)?;
        let person = |number: &Number| -> Option<Person> {
            let account = state.accounts.get(number)?;
            Some(Person {
                pn: account.jid(Server::Pn, 0),
                lid: account.jid(Server::Lid, 0),
                push_name: account.push_name.clone(),
            })
        };
        let mut source = Self {
            owner: number.clone(),
            own: Person {
                pn: account.jid(Server::Pn, 0),
                lid: account.jid(Server::Lid, 0),
                push_name: account.push_name.clone(),
            },
            family: account.family(),
            chats: BTreeMap::new(),
            people: HashMap::new(),
            rooms: HashMap::new(),
            addons: AddOns::default(),
            receipts: HashMap::new(),
            by_chat: HashMap::new(),
            entries: HashMap::new(),
            stars: HashSet::new(),
        };
        let mut known: Vec<&Known> = account.phone.known.all().iter().collect();
        known.sort_by_key(|known| known.ts);
        for message in known {
            for who in [Some(message.from.clone()), state.resolve(&message.chat)].into_iter().flatten() {
                if !source.people.contains_key(&who)
                    && let Some(found) = person(&who)
                {
                    source.people.insert(who, found);
                }
            }
            if !source.addons.take(state, number, message) {
                source.chats.entry(message.chat.to_string()).or_default().push(message.clone());
            }
        }
        for group in state.groups.iter().filter(|group| group.members.contains_key(number)) {
            let participants: Vec<(Number, bool)> =
                group.members.keys().map(|member| (member.clone(), group.is_admin(member))).collect();
            for (member, _) in &participants {
                if let Some(found) = person(member) {
                    source.people.entry(member.clone()).or_insert(found);
                }
            }
            let jid = Jid::new(group.id.as_str(), Server::Group).to_string();
            source.chats.entry(jid.clone()).or_default();
            source.rooms.insert(jid, Room { subject: group.subject.clone(), participants, family: group.family });
        }
        for item in &account.app_state.log {
            source.take_entry(item);
        }
        for receipt in &account.phone.receipts {
            if receipt.from != number.as_str() && ["delivery", "read", "played"].contains(&receipt.kind.as_str()) {
                for id in &receipt.ids {
                    source.receipts.insert(id.clone(), receipt.kind.clone());
                }
            }
        }
        source.by_chat = source.people.iter().map(|(number, person)| (person.pn.to_string(), number.clone())).collect();
        Ok(source)
    }

    /// Takes an entry of the app state; the last of a kind about a chat counts.
    fn take_entry(&mut self, item: &AppStateItem) {
        let [kind, about, more @ ..] = &item.index[..] else {
            return;
        };
        if let ("star", Some(id)) = (kind.as_str(), more.first()) {
            match item.value["starAction"]["starred"].as_bool() {
                Some(true) => drop(self.stars.insert(id.clone())),
                _ => drop(self.stars.remove(id)),
            }
        }
        let key = (kind.clone(), about.clone());
        match item.operation.as_str() {
            "set" => drop(self.entries.insert(key, item.value.clone())),
            _ => drop(self.entries.remove(&key)),
        }
    }

    /// The person a direct chat is with.
    pub fn person_of(&self, chat: &str) -> Option<(&Number, &Person)> {
        let number = self.by_chat.get(chat)?;
        Some((number, self.people.get(number)?))
    }

    /// All people, the owner last.
    pub fn everybody(&self) -> impl Iterator<Item = &Person> {
        let others = self.people.iter().filter(|(number, _)| **number != self.owner).map(|(_, person)| person);
        others.chain([&self.own])
    }

    /// A person as the account's devices name them.
    pub fn jid(&self, number: &Number, family: Server) -> String {
        let person = if *number == self.owner { Some(&self.own) } else { self.people.get(number) };
        match (person, family) {
            (Some(person), Server::Lid) => person.lid.to_string(),
            (Some(person), _) => person.pn.to_string(),
            (None, _) => number.jid().to_string(),
        }
    }
}
