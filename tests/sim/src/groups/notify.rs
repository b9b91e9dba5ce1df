//! `notification type="w:gp2"`: what happened to a group, to all it concerns.

use wacore_binary::{Node, NodeContent, builder::NodeBuilder};

use super::{messages::name_sender, model::Group};
use crate::{
    account::Account,
    ids::{Address, Number},
    queue::Class,
    stanza::unix_now,
    state::State,
};

/// Tells all devices of `told`, except the acting one. Nothing happens when the
/// group is gone.
pub fn announce(state: &mut State, id: &str, actor: &Address, told: &[Number], body: Node) {
    let Some(group) = state.groups.get(id) else {
        return;
    };
    let head = head(group, state.accounts.get(&actor.number));
    deliver(state, &head, Some(actor), told, &body);
}

/// As [`announce`], to all members.
pub fn announce_to_members(state: &mut State, id: &str, actor: &Address, body: Node) {
    let Some(group) = state.groups.get(id) else {
        return;
    };
    let told = group.everybody();
    announce(state, id, actor, &told, body);
}

/// What the server does by itself, to all members: nobody is named as author.
pub fn announce_by_server(state: &mut State, id: &str, body: Node) {
    let Some(group) = state.groups.get(id) else {
        return;
    };
    let (head, told) = (head(group, None), group.everybody());
    deliver(state, &head, None, &told, &body);
}

/// For a group that is not there any more.
pub fn announce_of_gone(state: &mut State, group: &Group, actor: &Address, body: Node) {
    let head = head(group, state.accounts.get(&actor.number));
    let told = group.everybody();
    deliver(state, &head, Some(actor), &told, &body);
}

fn head(group: &Group, actor: Option<&Account>) -> Node {
    let head = NodeBuilder::new("notification")
        .attr("from", group.jid())
        .attr("type", "w:gp2")
        .attr("t", unix_now())
        .attr("addressing_mode", group.addressing_mode());
    match actor {
        None => head.build(),
        Some(actor) => name_sender(head, group.family, actor, 0).attr("notify", actor.push_name.as_str()).build(),
    }
}

fn deliver(state: &mut State, head: &Node, actor: Option<&Address>, told: &[Number], body: &Node) {
    for to in others(state, told, actor) {
        let mut node = head.clone();
        node.attrs.insert("id", state.next_stanza_id());
        node.content = Some(NodeContent::Nodes(vec![body.clone()]));
        state.deliver(&to, Class::Notification, None, node);
    }
}

/// All companions of these accounts but the acting one.
pub fn others(state: &State, told: &[Number], actor: Option<&Address>) -> Vec<Address> {
    let accounts = told.iter().filter_map(|number| state.accounts.get(number));
    accounts
        .flat_map(|account| account.companions.keys().map(|device| Address::new(&account.number, *device)))
        .filter(|to| actor != Some(to))
        .collect()
}
