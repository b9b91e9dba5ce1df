//! Newsletters (channels): public, unencrypted, kept by the server.
//!
//! What one is like is asked and changed in GraphQL (`queries`), what it says in
//! the `newsletter` namespace (`history`) and by `<message>` (`posts`).

mod history;
mod notify;
mod posts;
mod queries;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wacore_binary::{Jid, Server};

pub use history::answer;
pub use posts::{Draft, edit, publish, react, take_message, take_receipt, view};
pub use queries::{create, delete, follow, mute_as_follower as mute, query, set_picture, unfollow, update};

use crate::{
    account::Picture,
    groups::Refusal,
    ids::{Address, Number},
    stanza::unix_now,
};

/// What somebody is in a newsletter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Subscriber,
    Owner,
}

impl Role {
    /// The word for it in answers.
    pub fn wire(role: Option<Self>) -> &'static str {
        match role {
            None => "guest",
            Some(Self::Subscriber) => "subscriber",
            Some(Self::Owner) => "owner",
        }
    }
}

/// One post.
pub struct Post {
    /// Counted within the newsletter.
    pub server_id: u64,
    pub id: String,
    pub t: u64,
    /// `text`, `media`, `poll`, ...
    pub kind: String,
    pub mediatype: Option<String>,
    /// The handle of its file.
    pub media_id: Option<String>,
    /// The protobuf; nothing once it was taken back.
    pub plaintext: Vec<u8>,
    pub author: Number,
    /// The reaction of each who has one.
    pub reactions: BTreeMap<Number, String>,
    pub viewers: BTreeSet<Number>,
    /// Seconds since 1970, if it was edited or taken back.
    pub edited: Option<u64>,
}

impl Post {
    /// How many gave each reaction.
    pub fn reaction_counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for code in self.reactions.values() {
            *counts.entry(code.as_str()).or_default() += 1;
        }
        counts
    }
}

/// One newsletter.
pub struct Newsletter {
    pub id: String,
    pub name: String,
    pub name_t: u64,
    pub description: String,
    pub description_t: u64,
    pub creation: u64,
    pub invite: String,
    pub picture: Option<Picture>,
    /// Owner and followers.
    pub people: BTreeMap<Number, Role>,
    pub posts: Vec<Post>,
    /// Who does not want to hear of new posts, by the name of the setting.
    pub muted: BTreeSet<(Number, String)>,
    /// Devices that want to hear of reactions, and until when.
    pub live: HashMap<Address, u64>,
}

impl Newsletter {
    /// Its JID.
    pub fn jid(&self) -> Jid {
        Jid::new(self.id.as_str(), Server::Newsletter)
    }

    /// What somebody is in it; none for a stranger.
    pub fn role(&self, number: &Number) -> Option<Role> {
        self.people.get(number).copied()
    }
}

/// The first id of a post; smaller ones are no ids to clients.
const FIRST_POST: u64 = 100;

/// All newsletters.
#[derive(Default)]
pub struct Newsletters {
    all: BTreeMap<String, Newsletter>,
    made: u64,
}

impl Newsletters {
    /// Makes a newsletter and returns its id.
    fn insert(&mut self, name: &str, description: &str, owner: Number) -> String {
        self.made += 1;
        let id = format!("120363{:012}", 40_000_000_000 + self.made);
        let now = unix_now();
        let newsletter = Newsletter {
            id: id.clone(),
            name: name.to_owned(),
            name_t: now,
            description: description.to_owned(),
            description_t: now,
            creation: now,
            invite: crate::groups::new_code(),
            picture: None,
            people: BTreeMap::from([(owner, Role::Owner)]),
            posts: Vec::new(),
            muted: BTreeSet::new(),
            live: HashMap::new(),
        };
        self.all.insert(id.clone(), newsletter);
        id
    }

    /// The newsletter of an id.
    pub fn get(&self, id: &str) -> Result<&Newsletter, Refusal> {
        self.all.get(id).ok_or(Refusal::NOT_FOUND)
    }

    /// The newsletter of an id, to change it.
    pub fn get_mut(&mut self, id: &str) -> Result<&mut Newsletter, Refusal> {
        self.all.get_mut(id).ok_or(Refusal::NOT_FOUND)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Newsletter> {
        self.all.values()
    }

    fn remove(&mut self, id: &str) -> Option<Newsletter> {
        self.all.remove(id)
    }
}

/// The newsletter a text names, if it is a newsletter's JID.
pub fn named(text: &str) -> Option<Jid> {
    text.parse().ok().filter(|jid: &Jid| jid.server == Server::Newsletter)
}
