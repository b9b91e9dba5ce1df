//! Presence and chat states: never queued.

use wacore_binary::{JidExt as _, Node, Server, builder::NodeBuilder};

use crate::{
    groups,
    history::PresenceItem,
    ids::{Address, ConnId, Number},
    stanza::{attr, children, jid},
    state::State,
};

/// `<presence>`: the device's own state, or a subscription.
pub fn handle_presence(state: &mut State, conn: ConnId, address: &Address, node: &Node) {
    let target = jid(node, "to").and_then(|to| state.resolve(&to));
    match (attr(node, "type").as_deref().unwrap_or("available"), target) {
        (kind @ ("available" | "unavailable"), _) => {
            let kind = kind.to_owned();
            if let (Some(name), Some(account)) = (attr(node, "name"), state.accounts.get_mut(&address.number)) {
                account.push_name = name.into_owned();
            }
            set_presence(state, &address.number, &kind);
        }
        ("subscribe", Some(target)) => {
            let Some(account) = state.accounts.get_mut(&target) else {
                return;
            };
            account.subscribers.insert(address.number.clone());
            let shown = account.presence.clone();
            let from = jid(node, "to").unwrap_or_default();
            let answer = presence_node(from.to_non_ad(), &shown);
            state.send(conn, answer);
        }
        ("unsubscribe", Some(target)) => {
            if let Some(account) = state.accounts.get_mut(&target) {
                account.subscribers.remove(&address.number);
            }
        }
        // Whoever is not on WhatsApp has no presence.
        ("subscribe" | "unsubscribe", None) => {}
        _ => state.record_unknown(node),
    }
}

fn presence_node(from: wacore_binary::Jid, kind: &str) -> Node {
    let node = NodeBuilder::new("presence").attr("from", from);
    match kind {
        "available" => node.build(),
        kind => node.attr("type", kind).attr("last", "deny").build(),
    }
}

/// Sets what subscribers of an account see.
pub fn set_presence(state: &mut State, number: &Number, kind: &str) {
    let Some(account) = state.accounts.get_mut(number) else {
        return;
    };
    account.presence = kind.to_owned();
    let (pn, lid) = (account.jid(Server::Pn, 0), account.jid(Server::Lid, 0));
    for subscriber in account.subscribers.clone() {
        let Some(other) = state.accounts.get_mut(&subscriber) else {
            continue;
        };
        other.phone.presences.push(PresenceItem { from: number.to_string(), state: kind.to_owned() });
        let from = match other.family() {
            Server::Lid => lid.clone(),
            _ => pn.clone(),
        };
        send_to_connected(state, &subscriber, &presence_node(from, kind));
    }
}

/// `<chatstate to><composing/></chatstate>`: to the connected devices of `to`.
pub fn handle_chatstate(state: &mut State, address: &Address, node: &Node) {
    if let (Some(group), Some(shown)) = (jid(node, "to").filter(|to| to.is_group()), children(node).first()) {
        return groups::relay_chatstate(state, address, &group, shown);
    }
    let target = jid(node, "to").and_then(|to| state.resolve(&to));
    match (target, children(node).first()) {
        (Some(target), Some(shown)) => send_chatstate(state, &address.number, &target, shown),
        _ => state.record_unknown(node),
    }
}

/// Shows `to` what `from` is doing in their chat.
pub fn send_chatstate(state: &mut State, from: &Number, to: &Number, shown: &Node) {
    let Some(sender) = state.accounts.get(from) else {
        return;
    };
    let (pn, lid) = (sender.jid(Server::Pn, 0), sender.jid(Server::Lid, 0));
    let Some(other) = state.accounts.get_mut(to) else {
        return;
    };
    let name = match (shown.tag.as_ref(), attr(shown, "media").as_deref()) {
        ("composing", Some("audio")) => "recording",
        (name, _) => name,
    };
    other.phone.presences.push(PresenceItem { from: from.to_string(), state: name.to_owned() });
    let from = match other.family() {
        Server::Lid => lid,
        _ => pn,
    };
    let node = NodeBuilder::new("chatstate").attr("from", from).children([shown.clone()]).build();
    send_to_connected(state, to, &node);
}

fn send_to_connected(state: &mut State, number: &Number, node: &Node) {
    let conns: Vec<ConnId> = state.accounts.get(number).map_or_else(Vec::new, |account| {
        account
            .companions
            .values()
            .filter_map(|c| match c.link {
                crate::account::Link::Live(conn) => Some(conn),
                _ => None,
            })
            .collect()
    });
    for conn in conns {
        state.send(conn, node.clone());
    }
}
