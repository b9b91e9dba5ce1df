//! `w:g2`: groups and communities.
//!
//! Every change is asked for by a device (the phone, through the API, or a
//! companion, by an IQ) and told to all other devices of all members. Who may
//! do what is decided here, not by clients: 404 for a group that is not there,
//! 403 for those who are not in it or have not the rights, 401 for its link.

mod chatstate;
mod community;
mod create;
mod info;
mod invite;
mod leave;
mod messages;
mod model;
mod notify;
mod participants;
mod picture;
mod properties;
mod receipts;
mod report;
mod requests;
mod settings;

use wacore_binary::{Jid, JidExt as _, Node, Server};

pub use chatstate::relay as relay_chatstate;
pub use create::{NewGroup, create};
pub use leave::leave;
pub use messages::{devices, finish, name_sender, other_hash, refuse, route};
pub use model::{Groups, new_code};
pub use participants::{Change, change_participants};
pub use picture::answer as answer_picture;
pub use picture::set as set_picture;
pub use properties::{sub_group_counts, sub_groups, update as update_property};
pub use receipts::route as route_receipt;
pub use report::{GroupInfo, GroupMember, PersonResult, info_of, result_of};

use crate::{
    ids::Address,
    stanza::{attr, attr_or_empty, children, iq_error, iq_result, jid},
    state::State,
};

/// Why something is refused: the code and text of an `<error>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16, pub &'static str);

impl Refusal {
    pub const BAD_REQUEST: Self = Self(400, "bad-request");
    pub const NOT_AUTHORIZED: Self = Self(401, "not-authorized");
    pub const FORBIDDEN: Self = Self(403, "forbidden");
    pub const NOT_FOUND: Self = Self(404, "item-not-found");
    pub const NOT_ALLOWED: Self = Self(405, "not-allowed");
    pub const NOT_ACCEPTABLE: Self = Self(406, "not-acceptable");
    pub const CONFLICT: Self = Self(409, "conflict");

    /// The refusal of a code that leads to no group.
    pub fn of_code(code: u16) -> Self {
        if code == 410 { Self(410, "gone") } else { Self::NOT_FOUND }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

impl std::error::Error for Refusal {}

/// What an IQ is answered with.
pub type Done = Result<Vec<Node>, Refusal>;

/// Answers a `w:g2` IQ; nothing when it is not understood.
pub fn answer(state: &mut State, actor: &Address, node: &Node) -> Option<Node> {
    let set = attr_or_empty(node, "type") == "set";
    let to = jid(node, "to")?;
    let request = children(node).first()?;
    let done = if to.user.is_empty() {
        answer_for_all(state, actor, set, request)
    } else {
        ask(state, actor, &to, set, request)
    }?;
    Some(match done {
        Ok(content) => iq_result(node, content),
        Err(Refusal(code, text)) => iq_error(node, code, text),
    })
}

/// Requests to `g.us` itself.
fn answer_for_all(state: &mut State, actor: &Address, set: bool, request: &Node) -> Option<Done> {
    Some(match (set, request.tag.as_ref()) {
        (true, "create") => create::answer(state, actor, request),
        (true, "leave") => leave::answer(state, actor, request),
        (true, "invite") => invite::join(state, actor, &attr_or_empty(request, "code")),
        (false, "invite") => invite::preview(state, &attr_or_empty(request, "code")),
        (false, "participating") => info::participating(state, &actor.number),
        (false, "query") => info::batch(state, &actor.number, request),
        (false, "pictures") => Ok(picture::batch(state, actor, request)),
        _ => return None,
    })
}

/// A request to one group, of a companion or of a phone; nothing when it is not
/// understood.
pub fn ask(state: &mut State, actor: &Address, to: &Jid, set: bool, request: &Node) -> Option<Done> {
    if to.server != Server::Group {
        return None;
    }
    let id = to.user.as_str();
    let Some(group) = state.groups.get(id) else {
        return Some(Err(Refusal::NOT_FOUND));
    };
    // What those who are not in it may ask, too.
    match (set, request.tag.as_ref()) {
        (true, "accept") => return Some(invite::accept(state, actor, id, request)),
        (true, "cancel_membership_requests") => return Some(requests::cancel(state, actor, id, request)),
        (true, "join_linked_group") => return Some(community::join(state, actor, id, request)),
        (false, "query") => return Some(info::query(state, &actor.number, group, request)),
        (false, "query_linked") => return Some(community::query_linked(state, actor, id, request)),
        _ => {}
    }
    if group.role(&actor.number).is_none() {
        return Some(Err(Refusal::FORBIDDEN));
    }
    Some(match (set, request.tag.as_ref()) {
        (true, tag @ ("add" | "remove" | "promote" | "demote")) => participants::answer(state, actor, id, tag, request),
        (set, "invite") => invite::code(state, actor, id, set),
        (true, "revoke") => invite::revoke(state, actor, id, request),
        (false, "membership_approval_requests") => requests::list(state, actor, id),
        (true, "membership_requests_action") => requests::act(state, actor, id, request),
        (true, "links") => community::link(state, actor, id, request),
        (true, "unlink") => community::unlink(state, actor, id, request),
        (true, "delete_parent") => community::deactivate(state, actor, id),
        (false, "linked_groups_participants") => community::participants(state, id),
        // "I have seen it": nobody is told.
        (true, "ack") => Ok(Vec::new()),
        (true, _) => return settings::answer(state, actor, id, request),
        _ => return None,
    })
}

/// The group a text names, if it is a group's JID.
pub fn named(text: &str) -> Option<Jid> {
    text.parse().ok().filter(|jid: &Jid| jid.is_group())
}

/// The people named in `<participant jid/>` children, as asked and, if they have
/// an account, as who they are.
fn named_people(state: &State, request: &Node) -> Vec<(Jid, Option<crate::ids::Number>)> {
    request
        .get_children_by_tag("participant")
        .filter_map(|node| jid(node, "jid"))
        .map(|jid| {
            let number = state.resolve(&jid);
            (jid.to_non_ad(), number)
        })
        .collect()
}

/// The id of a group named by a `jid` or `id` attribute, with or without its
/// server.
fn named_group(node: &Node, key: &str) -> Option<String> {
    let text = attr(node, key)?;
    Some(text.split('@').next().unwrap_or(&text).to_owned())
}
