//! `status@broadcast` and broadcast lists.
//!
//! A status post is a message under the poster's sender key; the stanza lists
//! whom it is for, some of them device by device with the key. A broadcast list
//! exists only on the sender's devices: others get direct messages.

use std::collections::{BTreeSet, HashMap, HashSet};

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use crate::{
    groups::{finish, name_sender},
    ids::{Address, Number},
    messages::deliver,
    stanza::{attr_or_empty, children, copy_attrs, jid, unix_now},
    state::State,
};

/// The status posts seen, by who sent them: what comes again is for those
/// devices that asked, not for everybody.
pub type Posts = HashSet<(Address, String)>;

/// Whether a message to this broadcast can be handled: the status, or a resend
/// for one device.
pub fn understood(to: &Jid, node: &Node) -> bool {
    *to == Jid::status_broadcast() || jid(node, "participant").is_some()
}

/// Delivers a message to `status@broadcast` or, for own devices, to a list.
pub fn route(state: &mut State, sender: &Address, to: &Jid, node: &Node) {
    let encs = |node: &Node| node.get_children_by_tag("enc").cloned().collect::<Vec<Node>>();
    let common = encs(node);
    if let Some(asker) = jid(node, "participant").and_then(|jid| state.resolve_device(&jid)) {
        return deliver_copy(state, sender, to, node, &asker, &common);
    }
    let mut own: HashMap<Address, Vec<Node>> = HashMap::new();
    let mut audience: BTreeSet<Number> = BTreeSet::new();
    let listed = node.get_optional_child("participants").map_or(&[][..], children);
    for target in listed {
        let Some(device) = jid(target, "jid").and_then(|jid| state.resolve_device(&jid)) else {
            continue;
        };
        audience.insert(device.number.clone());
        let keys = encs(target);
        if !keys.is_empty() {
            own.entry(device).or_default().extend(keys);
        }
    }
    let again = !state.posts.insert((sender.clone(), attr_or_empty(node, "id")));
    let devices: Vec<Address> = if common.is_empty() || again {
        own.keys().cloned().collect()
    } else {
        let accounts = audience.iter().filter_map(|number| state.accounts.get(number));
        accounts
            .flat_map(|account| account.devices().into_iter().map(|device| Address::new(&account.number, device)))
            .collect()
    };
    for device in devices.into_iter().filter(|device| device != sender) {
        let mut encs = own.remove(&device).unwrap_or_default();
        encs.extend(common.iter().cloned());
        deliver_copy(state, sender, to, node, &device, &encs);
    }
}

fn deliver_copy(state: &mut State, sender: &Address, to: &Jid, node: &Node, target: &Address, encs: &[Node]) {
    let Some(account) = state.accounts.get(&sender.number) else {
        return;
    };
    let copy = NodeBuilder::new("message")
        .attr("from", to)
        .attr("id", attr_or_empty(node, "id"))
        .attr("t", unix_now())
        .attr("notify", account.push_name.as_str());
    let copy = name_sender(copy, account.family(), account, sender.device);
    let copy = copy_attrs(copy, node, &["type", "edit"]);
    deliver(state, sender, target, finish(copy, node, encs));
}

/// Hands a companion the copy of what the own phone sent to a list: it names
/// those who got it.
pub fn deliver_list_copy(
    state: &mut State,
    sender: &Address,
    list: &Jid,
    node: &Node,
    target: &Address,
    people: &[Jid],
) {
    let encs: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
    let Some(account) = state.accounts.get(&sender.number) else {
        return;
    };
    let copy = NodeBuilder::new("message")
        .attr("from", list)
        .attr("id", attr_or_empty(node, "id"))
        .attr("t", unix_now())
        .attr("notify", account.push_name.as_str());
    let copy = name_sender(copy, account.family(), account, sender.device);
    let mut copy = finish(copy_attrs(copy, node, &["type", "edit"]), node, &encs);
    let people = people.iter().map(|jid| NodeBuilder::new("to").attr("jid", jid).build());
    let people = NodeBuilder::new("participants").children(people.collect::<Vec<_>>()).build();
    if let Some(wacore_binary::NodeContent::Nodes(content)) = &mut copy.content {
        content.push(people);
    }
    deliver(state, sender, target, copy);
}
