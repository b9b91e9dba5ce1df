//! Groups as tests and the admin API see them.

use wacore_binary::{Jid, Node};

use super::model::{Group, Role};
use crate::{
    ids::Number,
    stanza::{attr, attr_or_empty},
};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GroupMember {
    /// The number.
    pub number: String,
    /// `member`, `admin` or `superadmin`.
    pub role: &'static str,
}

/// A group as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GroupInfo {
    /// Its JID.
    pub jid: String,
    /// Its name.
    pub subject: String,
    /// Its description, if there is one.
    pub description: Option<String>,
    /// Who made it, a number.
    pub creator: String,
    /// `lid` or `pn`.
    pub addressing: &'static str,
    /// Who is in it, by number.
    pub members: Vec<GroupMember>,
    /// Only admins write.
    pub announce: bool,
    /// Only admins change what it is like.
    pub locked: bool,
    /// Seconds until messages disappear; 0 when they stay.
    pub ephemeral: u32,
    /// Only admins add members.
    pub admin_add: bool,
    /// Admins let people in.
    pub approval: bool,
    /// Numbers of those who wait to be let in.
    pub requests: Vec<String>,
    /// The code of its invite link.
    pub invite: String,
    /// The id of its picture, if it has one.
    pub picture: Option<String>,
    /// Whether it is a community.
    pub community: bool,
    /// The community it belongs to.
    pub parent: Option<String>,
    /// Whether it is the announcement group of its community.
    pub announcements: bool,
}

/// What became of one person of a change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PersonResult {
    /// The JID as the group knows the person.
    pub jid: String,
    /// 200, or why not: 403, 404, 405, 408, 409, 419.
    pub code: u16,
    /// The code of a personal invite, with 403.
    pub invite: Option<String>,
}

/// Reads a `<participant>` or `<group>` of an answer.
pub fn result_of(node: &Node) -> PersonResult {
    PersonResult {
        jid: attr_or_empty(node, "jid"),
        code: attr(node, "error").and_then(|code| code.parse().ok()).unwrap_or(200),
        invite: node.get_optional_child("add_request").map(|request| attr_or_empty(request, "code")),
    }
}

/// What a group is like.
pub fn info_of(group: &Group) -> GroupInfo {
    let member = |(number, role): (&Number, &Role)| GroupMember {
        number: number.to_string(),
        role: role.wire().unwrap_or("member"),
    };
    GroupInfo {
        jid: group.jid().to_string(),
        subject: group.subject.clone(),
        description: group.description.as_ref().map(|description| description.body.clone()),
        creator: group.creator.to_string(),
        addressing: group.addressing_mode(),
        members: group.members.iter().map(member).collect(),
        announce: group.is_on("announcement"),
        locked: group.is_on("locked"),
        ephemeral: group.ephemeral.map_or(0, |ephemeral| ephemeral.expiration),
        admin_add: group.admin_add,
        approval: group.approval,
        requests: group.requests.keys().map(Number::to_string).collect(),
        invite: group.invite.clone(),
        picture: group.picture.as_ref().map(|picture| picture.id.clone()),
        community: group.parent.is_some(),
        parent: group.linked_parent.as_deref().map(|id| Jid::group(id).to_string()),
        announcements: group.default_sub_group,
    }
}
