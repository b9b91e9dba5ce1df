//! What the server knows of a group.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::RngExt as _;
use wacore_binary::{Jid, Server};

use crate::{
    account::{Account, Picture},
    ids::Number,
    stanza::unix_now,
};

/// How many members a group may have.
pub const GROUP_SIZE: usize = 1024;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Member,
    Admin,
    /// Who made the group: nobody can remove or demote them.
    SuperAdmin,
}

impl Role {
    /// The `type` of a `<participant>`; none for those without rights.
    pub fn wire(self) -> Option<&'static str> {
        match self {
            Self::Member => None,
            Self::Admin => Some("admin"),
            Self::SuperAdmin => Some("superadmin"),
        }
    }
}

/// A description and who wrote it.
#[derive(Clone, Debug)]
pub struct Description {
    pub id: String,
    pub body: String,
    pub author: Number,
    pub t: u64,
}

/// Somebody who waits to be let in.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    pub t: u64,
    /// `invite_link`, `linked_group_join`, `non_admin_add`.
    pub method: &'static str,
}

/// A personal invite, made when somebody could not be added.
#[derive(Clone, Debug)]
pub struct PersonalInvite {
    pub code: String,
    /// Seconds since 1970.
    pub expiration: u64,
    /// The admin who wanted to add them.
    pub by: Number,
}

/// Disappearing messages.
#[derive(Clone, Copy, Debug)]
pub struct Ephemeral {
    /// Seconds.
    pub expiration: u32,
    pub trigger: Option<u32>,
}

/// What makes a group the parent of a community.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parent {
    /// Joining needs an approval.
    pub closed: bool,
    /// Members without rights may make linked groups.
    pub open_creation: bool,
}

/// The settings that are on or off, with the names of both states.
pub const TOGGLES: &[(&str, &str)] = &[
    ("locked", "unlocked"),
    ("announcement", "not_announcement"),
    ("no_frequently_forwarded", "frequently_forwarded_ok"),
    ("allow_admin_reports", "not_allow_admin_reports"),
    ("group_history", "no_group_history"),
    ("allow_non_admin_sub_group_creation", "not_allow_non_admin_sub_group_creation"),
];

/// One group, or a community.
pub struct Group {
    pub id: String,
    /// The address family of its members: LID, or phone numbers in old groups.
    pub family: Server,
    pub subject: String,
    pub subject_t: u64,
    pub subject_author: Number,
    pub creator: Number,
    pub creation: u64,
    pub description: Option<Description>,
    pub members: BTreeMap<Number, Role>,
    /// Settings that are on, by the first name in [`TOGGLES`].
    pub on: HashSet<&'static str>,
    pub ephemeral: Option<Ephemeral>,
    /// Only admins add members.
    pub admin_add: bool,
    /// Every member sees the invite link.
    pub open_link: bool,
    pub open_history: bool,
    pub limit_sharing: bool,
    /// Admins let people in.
    pub approval: bool,
    pub requests: BTreeMap<Number, JoinRequest>,
    pub invite: String,
    pub personal_invites: HashMap<Number, PersonalInvite>,
    pub picture: Option<Picture>,
    /// Thrown out by an admin: the link does not work for them.
    pub banned: HashSet<Number>,
    /// When somebody left, for those who did.
    pub left: HashMap<Number, Vec<u64>>,
    pub parent: Option<Parent>,
    pub linked_parent: Option<String>,
    /// The announcement group of its community.
    pub default_sub_group: bool,
    pub general_chat: bool,
}

impl Group {
    /// A group with its creator in it.
    pub fn new(id: String, family: Server, subject: String, creator: Number) -> Self {
        let now = unix_now();
        Self {
            id,
            family,
            subject,
            subject_t: now,
            subject_author: creator.clone(),
            creation: now,
            description: None,
            members: BTreeMap::from([(creator.clone(), Role::SuperAdmin)]),
            creator,
            on: HashSet::new(),
            ephemeral: None,
            admin_add: false,
            open_link: false,
            open_history: false,
            limit_sharing: false,
            approval: false,
            requests: BTreeMap::new(),
            invite: new_code(),
            personal_invites: HashMap::new(),
            picture: None,
            banned: HashSet::new(),
            left: HashMap::new(),
            parent: None,
            linked_parent: None,
            default_sub_group: false,
            general_chat: false,
        }
    }

    /// The group's JID.
    pub fn jid(&self) -> Jid {
        Jid::group(self.id.as_str())
    }

    /// A member's JID in the group's address family.
    pub fn jid_of(&self, account: &Account, device: u16) -> Jid {
        account.jid(self.family, device)
    }

    /// `lid` or `pn`.
    pub fn addressing_mode(&self) -> &'static str {
        if self.family == Server::Lid { "lid" } else { "pn" }
    }

    /// The role of a member; none for everybody else.
    pub fn role(&self, number: &Number) -> Option<Role> {
        self.members.get(number).copied()
    }

    /// Whether somebody is an admin.
    pub fn is_admin(&self, number: &Number) -> bool {
        self.role(number).is_some_and(|role| role >= Role::Admin)
    }

    /// Whether a setting of [`TOGGLES`] is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.on.contains(name)
    }

    /// The admins.
    pub fn admins(&self) -> Vec<Number> {
        self.members.iter().filter(|(_, role)| **role >= Role::Admin).map(|(number, _)| number.clone()).collect()
    }

    /// Everybody in it.
    pub fn everybody(&self) -> Vec<Number> {
        self.members.keys().cloned().collect()
    }
}

/// A code as in `https://chat.whatsapp.com/CODE`.
pub fn new_code() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    // The range ends where the letters do.
    (0..22).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}

/// All groups.
#[derive(Default)]
pub struct Groups {
    all: BTreeMap<String, Group>,
    /// The group of each invite code that works.
    codes: HashMap<String, String>,
    /// Codes that worked once.
    revoked: HashSet<String>,
    made: u64,
}

impl Groups {
    /// An id no group has.
    pub fn next_id(&mut self) -> String {
        self.made += 1;
        format!("120363{:012}", 25_000_000_000 + self.made)
    }

    /// Keeps a new group.
    pub fn insert(&mut self, group: Group) {
        self.codes.insert(group.invite.clone(), group.id.clone());
        self.all.insert(group.id.clone(), group);
    }

    /// Takes a group out for a moment, to change it beside the rest of the
    /// state; [`Groups::put_back`] must follow.
    pub fn take(&mut self, id: &str) -> Option<Group> {
        self.all.remove(id)
    }

    /// Puts back what [`Groups::take`] took.
    pub fn put_back(&mut self, group: Group) {
        self.all.insert(group.id.clone(), group);
    }

    /// Forgets a group; its link is dead.
    pub fn remove(&mut self, id: &str) -> Option<Group> {
        let group = self.all.remove(id)?;
        self.codes.remove(&group.invite);
        self.revoked.insert(group.invite.clone());
        Some(group)
    }

    /// The group of an id.
    pub fn get(&self, id: &str) -> Option<&Group> {
        self.all.get(id)
    }

    /// The group of an id, to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.all.get_mut(id)
    }

    /// All groups.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.values()
    }

    /// The groups linked to a community, the announcement group first.
    pub fn linked_to(&self, parent: &str) -> Vec<&Group> {
        let mut linked: Vec<&Group> =
            self.all.values().filter(|group| group.linked_parent.as_deref() == Some(parent)).collect();
        linked.sort_by_key(|group| !group.default_sub_group);
        linked
    }

    /// The group an invite code leads to, or 410 for one that was reset and 404
    /// for one that never was.
    pub fn by_code(&self, code: &str) -> Result<&Group, u16> {
        let found = self.codes.get(code).and_then(|id| self.all.get(id));
        found.ok_or(if self.revoked.contains(code) { 410 } else { 404 })
    }

    /// Gives a group a new invite code; the old one is dead.
    pub fn reset_code(&mut self, id: &str) -> Option<String> {
        let group = self.all.get_mut(id)?;
        let code = new_code();
        let old = std::mem::replace(&mut group.invite, code.clone());
        self.codes.remove(&old);
        self.revoked.insert(old);
        self.codes.insert(code.clone(), id.to_owned());
        Some(code)
    }
}
