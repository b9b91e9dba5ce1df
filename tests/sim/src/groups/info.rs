//! `<group>`: what a group is like.

use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};

use super::{Done, Refusal, model::Group};
use crate::{
    account::{Account, Addressing},
    ids::Number,
    stanza::{attr, jid},
    state::State,
};

/// How much of a group is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// To members.
    Full,
    /// To those who hold an invite: no member list.
    Preview,
}

/// `<participant jid phone_number|lid/>`, without a role.
pub fn person(group: &Group, account: &Account) -> NodeBuilder {
    named_person("participant", group.family, account)
}

/// As [`person`], with another tag.
pub fn named_person(tag: &'static str, family: Server, account: &Account) -> NodeBuilder {
    let node = NodeBuilder::new(tag).attr("jid", account.jid(family, 0));
    with_other(node, family, account, "phone_number", Some("lid"))
}

/// Adds the other address of somebody who is named in one family: a number as
/// `pn`, a LID as `lid` where there is such an attribute. Nothing for accounts
/// whose other address is told nowhere.
pub fn with_other(
    node: NodeBuilder,
    family: Server,
    account: &Account,
    pn: &'static str,
    lid: Option<&'static str>,
) -> NodeBuilder {
    match (family, account.addressing, lid) {
        (Server::Lid, Addressing::LidAlone, _) => node,
        (Server::Lid, ..) => node.attr(pn, account.jid(Server::Pn, 0)),
        (_, Addressing::PnAlone, _) | (_, _, None) => node,
        (_, _, Some(lid)) => node.attr(lid, account.jid(Server::Lid, 0)),
    }
}

/// The `<group>` node.
pub fn node(state: &State, group: &Group, detail: Detail) -> Node {
    build(state, group, detail).build()
}

/// As [`node`], with some people who could not be added at its end.
pub fn with_refused(state: &State, group: &Group, refused: Vec<Node>) -> Node {
    let mut node = node(state, group, Detail::Full);
    if let Some(wacore_binary::NodeContent::Nodes(children)) = &mut node.content {
        children.extend(refused);
    }
    node
}

fn build(state: &State, group: &Group, detail: Detail) -> NodeBuilder {
    let mut node = NodeBuilder::new("group")
        .attr("id", group.id.as_str())
        .attr("subject", group.subject.as_str())
        .attr("s_t", group.subject_t)
        .attr("creation", group.creation)
        .attr("addressing_mode", group.addressing_mode())
        .attr("size", group.members.len());
    if let Some(account) = state.accounts.get(&group.creator) {
        node = node.attr("creator", group.jid_of(account, 0));
        node = with_other(node, group.family, account, "creator_pn", None);
    }
    if let Some(account) = state.accounts.get(&group.subject_author) {
        node = node.attr("s_o", group.jid_of(account, 0));
        node = with_other(node, group.family, account, "s_o_pn", None);
    }
    let mut content = Vec::new();
    if detail == Detail::Full {
        for (number, role) in &group.members {
            let Some(account) = state.accounts.get(number) else {
                continue;
            };
            let person = person(group, account);
            content.push(match role.wire() {
                Some(role) => person.attr("type", role).build(),
                None => person.build(),
            });
        }
    }
    content.extend(description(state, group));
    content.extend(settings(group));
    node.children(content)
}

fn description(state: &State, group: &Group) -> Option<Node> {
    let description = group.description.as_ref()?;
    let mut node = NodeBuilder::new("description").attr("id", description.id.as_str()).attr("t", description.t);
    if let Some(author) = state.accounts.get(&description.author) {
        node = node.attr("participant", group.jid_of(author, 0));
        node = with_other(node, group.family, author, "participant_pn", Some("participant_lid"));
    }
    let body = NodeBuilder::new("body").string_content(description.body.as_str()).build();
    Some(node.children([body]).build())
}

fn settings(group: &Group) -> Vec<Node> {
    let text = |tag, text: &'static str| NodeBuilder::new(tag).string_content(text).build();
    let mut nodes: Vec<Node> = group.on.iter().map(|name| NodeBuilder::new(name).build()).collect();
    nodes.extend(group.ephemeral.as_ref().map(|ephemeral| {
        let node = NodeBuilder::new("ephemeral").attr("expiration", ephemeral.expiration);
        match ephemeral.trigger {
            Some(trigger) => node.attr("trigger", trigger).build(),
            None => node.build(),
        }
    }));
    nodes.push(text("member_add_mode", if group.admin_add { "admin_add" } else { "all_member_add" }));
    nodes.push(text("member_link_mode", if group.open_link { "all_member_link" } else { "admin_link" }));
    if group.open_history {
        nodes.push(text("member_share_group_history_mode", "all_member_share"));
    }
    if group.limit_sharing {
        nodes.push(NodeBuilder::new("limit_sharing_enabled").build());
    }
    if group.approval {
        nodes.push(approval_mode(true));
    }
    if let Some(parent) = group.parent {
        let node = NodeBuilder::new("parent");
        nodes.push(if parent.closed {
            node.attr("default_membership_approval_mode", "request_required").build()
        } else {
            node.build()
        });
    }
    if let Some(parent) = &group.linked_parent {
        nodes.push(NodeBuilder::new("linked_parent").attr("jid", Jid::group(parent.as_str())).build());
    }
    if group.default_sub_group {
        nodes.push(NodeBuilder::new("default_sub_group").build());
    }
    if group.general_chat {
        nodes.push(NodeBuilder::new("general_chat").build());
    }
    nodes
}

/// `<membership_approval_mode><group_join state/></membership_approval_mode>`
pub fn approval_mode(on: bool) -> Node {
    let state = if on { "on" } else { "off" };
    let join = NodeBuilder::new("group_join").attr("state", state).build();
    NodeBuilder::new("membership_approval_mode").children([join]).build()
}

/// Answers `<query request="interactive" [phash]/>` of a member.
pub fn query(state: &State, actor: &Number, group: &Group, request: &Node) -> Done {
    if !may_see(state, actor, group) {
        return Err(Refusal::FORBIDDEN);
    }
    let known = attr(request, "phash");
    let same = known.is_some() && known.as_deref() == people_hash(state, group).as_deref();
    Ok(if same { Vec::new() } else { vec![node(state, group, Detail::Full)] })
}

/// Members see a group; members of a community see its other groups, too.
fn may_see(state: &State, actor: &Number, group: &Group) -> bool {
    let parent = group.linked_parent.as_deref().and_then(|id| state.groups.get(id));
    group.role(actor).is_some() || parent.is_some_and(|parent| parent.role(actor).is_some())
}

/// The hash of the member list as clients compute it over what they know.
fn people_hash(state: &State, group: &Group) -> Option<String> {
    let jids: Vec<Jid> =
        group.members.keys().filter_map(|n| state.accounts.get(n)).map(|account| group.jid_of(account, 0)).collect();
    MessageUtils::participant_list_hash(&jids).ok()
}

/// Answers `<query><group jid/>..</query>`: several groups at once.
pub fn batch(state: &State, actor: &Number, request: &Node) -> Done {
    let groups = request.get_children_by_tag("group").filter_map(|wanted| {
        let jid = jid(wanted, "jid")?;
        let refused = |code: u16| NodeBuilder::new("group").attr("id", &jid).attr("error", code).build();
        Some(match state.groups.get(&jid.user) {
            None => refused(404),
            Some(group) if !may_see(state, actor, group) => refused(403),
            Some(group) => node(state, group, Detail::Full),
        })
    });
    Ok(vec![NodeBuilder::new("groups").children(groups.collect::<Vec<_>>()).build()])
}

/// Answers `<participating/>`: all groups somebody is in.
pub fn participating(state: &State, actor: &Number) -> Done {
    let groups: Vec<Node> = state
        .groups
        .iter()
        .filter(|group| group.role(actor).is_some())
        .map(|group| node(state, group, Detail::Full))
        .collect();
    Ok(vec![NodeBuilder::new("groups").children(groups).build()])
}
