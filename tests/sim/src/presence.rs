//! Presence and chat states: told to those who are there, never queued.

use std::collections::{BTreeSet, HashSet};

use wacore_binary::{Jid, JidExt as _, Node, Server, builder::NodeBuilder};

use crate::{
    account::{Account, Link},
    groups,
    history::PresenceItem,
    ids::{Address, ConnId, Number},
    stanza::{attr, children, jid, unix_now},
    state::State,
};

/// Whether an account is online, and who wants to know.
#[derive(Default)]
pub struct Presence {
    /// Its devices that are; one is enough.
    available: BTreeSet<u16>,
    /// When the last of them left, in seconds since 1970.
    last_seen: Option<u64>,
    /// The devices that subscribed. A subscription ends with the connection.
    subscribers: HashSet<Address>,
}

/// `<presence>`: the device's own state, or a subscription.
pub fn handle_presence(state: &mut State, conn: ConnId, address: &Address, node: &Node) {
    let target = jid(node, "to").and_then(|to| state.resolve(&to));
    match (attr(node, "type").as_deref().unwrap_or("available"), target) {
        (kind @ ("available" | "unavailable"), _) => {
            if let (Some(name), Some(account)) = (attr(node, "name"), state.accounts.get_mut(&address.number)) {
                account.push_name = name.into_owned();
            }
            set_device(state, address, kind == "available");
        }
        ("subscribe", Some(target)) => {
            let Some(account) = state.accounts.get_mut(&target) else {
                return;
            };
            account.presence.subscribers.insert(address.clone());
            let from = jid(node, "to").unwrap_or_default().to_non_ad();
            // Whoever may see nothing gets no answer.
            if let Some(answer) = shown_to(account, &address.number, from) {
                state.send(conn, answer);
            }
        }
        ("unsubscribe", Some(target)) => {
            if let Some(account) = state.accounts.get_mut(&target) {
                account.presence.subscribers.remove(address);
            }
        }
        // Whoever is not on WhatsApp has no presence.
        ("subscribe" | "unsubscribe", None) => {}
        _ => state.record_unknown(node),
    }
}

/// The presence of an account as `viewer` may see it.
fn shown_to(account: &Account, viewer: &Number, from: Jid) -> Option<Node> {
    if account.blocked.contains(viewer) {
        return None;
    }
    let last = account.shows("last", viewer);
    let online = account.privacy.value("online") != "match_last_seen" || last;
    let node = NodeBuilder::new("presence").attr("from", from);
    if !account.presence.available.is_empty() {
        return online.then(|| node.build());
    }
    let node = node.attr("type", "unavailable");
    Some(match account.presence.last_seen {
        _ if !last => node.attr("last", "deny").build(),
        Some(seen) => node.attr("last", seen).build(),
        None => node.attr("last", "none").build(),
    })
}

/// Sets what subscribers see of an account's phone.
pub fn set_presence(state: &mut State, number: &Number, kind: &str) {
    set_device(state, &Address::new(number, 0), kind == "available");
}

/// A device's connection ended: it is not there any more.
pub fn device_gone(state: &mut State, device: &Address) {
    for account in state.accounts.values_mut() {
        account.presence.subscribers.remove(device);
    }
    set_device(state, device, false);
}

fn set_device(state: &mut State, device: &Address, available: bool) {
    let Some(account) = state.accounts.get_mut(&device.number) else {
        return;
    };
    let presence = &mut account.presence;
    let was = !presence.available.is_empty();
    let changed =
        if available { presence.available.insert(device.device) } else { presence.available.remove(&device.device) };
    let is = !presence.available.is_empty();
    if was && !is {
        presence.last_seen = Some(unix_now());
    }
    if changed && was != is {
        tell(state, &device.number);
    }
}

/// Tells the subscribers of an account that it came or went.
fn tell(state: &mut State, number: &Number) {
    let Some(account) = state.accounts.get(number) else {
        return;
    };
    let shown = if account.presence.available.is_empty() { "unavailable" } else { "available" };
    let mut told = Vec::new();
    for subscriber in &account.presence.subscribers {
        let family = state.accounts.get(&subscriber.number).map_or(Server::Pn, Account::family);
        if let Some(node) = shown_to(account, &subscriber.number, account.jid(family, 0)) {
            told.push((subscriber.clone(), node));
        }
    }
    let phones: BTreeSet<Number> = told.iter().map(|(subscriber, _)| subscriber.number.clone()).collect();
    for phone in phones {
        if let Some(other) = state.accounts.get_mut(&phone) {
            other.phone.presences.push(PresenceItem { from: number.to_string(), state: shown.to_owned() });
        }
    }
    for (subscriber, node) in told {
        let link = state.companion_mut(&subscriber).map(|companion| companion.link.clone());
        if let Some(Link::Live(conn)) = link {
            state.send(conn, node);
        }
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
    let Some(other) = state.accounts.get_mut(to).filter(|other| !other.blocked.contains(from)) else {
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
                Link::Live(conn) => Some(conn),
                _ => None,
            })
            .collect()
    });
    for conn in conns {
        state.send(conn, node.clone());
    }
}
