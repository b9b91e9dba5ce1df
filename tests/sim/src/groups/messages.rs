//! `<message to=GROUP>`: to every device of every member.
//!
//! Such a message carries one ciphertext for all (`skmsg`, by the sender's key)
//! and, for devices that do not have that key yet, one of their own with it. A
//! device gets its own first, then the common one.

use std::collections::HashMap;

use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};

use super::{info::with_other, model::Group};
use crate::{
    account::Account,
    ids::Address,
    messages::deliver,
    stanza::{attr, attr_or_empty, children, copy_attrs, jid, unix_now},
    state::State,
};

/// The code a message to a group is refused with: 404 no such group, 403 not in
/// it, or only admins write there.
pub fn refuse(state: &State, sender: &Address, group: &Jid) -> Option<u16> {
    let Some(group) = state.groups.get(&group.user) else {
        return Some(404);
    };
    let admins_only = group.is_on("announcement") || group.default_sub_group;
    match group.role(&sender.number) {
        None => Some(403),
        // The community itself has no chat.
        Some(_) if group.parent.is_some() => Some(403),
        Some(_) if admins_only && !group.is_admin(&sender.number) => Some(403),
        Some(_) => None,
    }
}

/// The hash over all devices of the group, when a message carries another one:
/// its sender missed some, or knew some too many.
pub fn other_hash(state: &State, to: &Jid, node: &Node) -> Option<String> {
    let theirs = attr(node, "phash")?;
    let group = state.groups.get(&to.user)?;
    let jids: Vec<Jid> = devices(state, group)
        .iter()
        .filter_map(|device| Some(group.jid_of(state.accounts.get(&device.number)?, device.device)))
        .collect();
    MessageUtils::participant_list_hash(&jids).ok().filter(|ours| *ours != theirs)
}

/// Delivers a message that was not refused.
pub fn route(state: &mut State, sender: &Address, node: &Node) {
    let Some(to) = jid(node, "to") else {
        return;
    };
    let Some(group) = state.groups.get(&to.user) else {
        return;
    };
    let encs = |node: &Node| node.get_children_by_tag("enc").cloned().collect::<Vec<Node>>();
    if let Some(asker) = jid(node, "participant") {
        // A resend, for the one device that asked.
        let device = state.resolve_device(&asker);
        if let Some(device) = device.filter(|device| group.role(&device.number).is_some()) {
            deliver_copy(state, sender, node, &to, &device, &encs(node));
        }
        return;
    }
    let mut own: HashMap<Address, Vec<Node>> = HashMap::new();
    let listed = node.get_optional_child("participants").map_or(&[][..], children);
    for target in listed {
        if let Some(device) = jid(target, "jid").and_then(|jid| state.resolve_device(&jid)) {
            own.entry(device).or_default().extend(encs(target));
        }
    }
    let common = encs(node);
    let members = devices(state, group);
    for device in members.into_iter().filter(|device| device != sender) {
        let mut encs = own.remove(&device).unwrap_or_default();
        encs.extend(common.iter().cloned());
        if !encs.is_empty() {
            deliver_copy(state, sender, node, &to, &device, &encs);
        }
    }
}

/// All devices of all members.
pub fn devices(state: &State, group: &Group) -> Vec<Address> {
    let accounts = group.members.keys().filter_map(|number| state.accounts.get(number));
    accounts
        .flat_map(|account| account.devices().into_iter().map(|device| Address::new(&account.number, device)))
        .collect()
}

fn deliver_copy(state: &mut State, sender: &Address, node: &Node, to: &Jid, target: &Address, encs: &[Node]) {
    let Some((account, group)) = state.accounts.get(&sender.number).zip(state.groups.get(&to.user)) else {
        return;
    };
    let copy = NodeBuilder::new("message")
        .attr("from", to)
        .attr("id", attr_or_empty(node, "id"))
        .attr("t", unix_now())
        .attr("notify", account.push_name.as_str())
        .attr("addressing_mode", group.addressing_mode());
    let copy = name_sender(copy, group.family, account, sender.device);
    let copy = copy_attrs(copy, node, &["type", "edit"]);
    deliver(state, sender, target, finish(copy, node, encs));
}

/// Adds `participant` with its device, and its other address without.
pub fn name_sender(node: NodeBuilder, family: Server, account: &Account, device: u16) -> NodeBuilder {
    let node = node.attr("participant", account.jid(family, device));
    with_other(node, family, account, "participant_pn", Some("participant_lid"))
}

/// The copy with the ciphertexts of its device and what else the message
/// carries; the device identity only beside a prekey message.
pub fn finish(copy: NodeBuilder, node: &Node, encs: &[Node]) -> Node {
    let prekey = encs.iter().any(|enc| attr(enc, "type").as_deref() == Some("pkmsg"));
    let others = children(node).iter().filter(|child| match child.tag.as_ref() {
        "participants" | "enc" => false,
        "device-identity" => prekey,
        _ => true,
    });
    copy.children(encs.iter().chain(others).cloned().collect::<Vec<Node>>()).build()
}
