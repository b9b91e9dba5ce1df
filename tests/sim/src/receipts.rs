//! `<receipt>`: settles, is acked, and is relayed.

use wacore_binary::{Node, Server, builder::NodeBuilder};

use crate::{
    calls,
    faults::FaultKind,
    groups,
    history::ReceiptItem,
    ids::{Address, ConnId, Number},
    media, newsletters, phone,
    queue::Class,
    stanza::{attr, attr_or_empty, children, copy_attrs, jid, unix_now},
    state::State,
};

/// The messages a receipt names: its own id and those in its lists.
pub fn named_ids(node: &Node) -> Vec<String> {
    let listed = node
        .get_children_by_tag("list")
        .flat_map(|list| list.get_children_by_tag("item"))
        .map(|item| attr_or_empty(item, "id"));
    std::iter::once(attr_or_empty(node, "id")).chain(listed).collect()
}

/// Handles a receipt of a linked device.
pub fn handle(state: &mut State, conn: ConnId, actor: &Address, node: &Node) {
    if calls::take_receipt(state, conn, actor, node) {
        return;
    }
    let Some(to) = jid(node, "to") else {
        return handle_bare_sender(state, conn, actor, node);
    };
    // In groups the author is the participant.
    let peer = state.resolve(&to).or_else(|| state.resolve(&jid(node, "participant")?));
    if let Some(companion) = state.companion_mut(actor) {
        for id in named_ids(node) {
            companion.queue.settle_messages(&id, peer.as_ref());
        }
    }
    let ack = NodeBuilder::new("ack").attr("class", "receipt").attr("id", attr_or_empty(node, "id")).attr("from", to);
    let ack = copy_attrs(ack, node, &["type", "participant"]).build();
    state.send(conn, ack);
    route(state, actor, node);
}

/// Baileys confirms copies of own messages without `to` when they came by phone
/// number: there is nobody but the own account to mean.
fn handle_bare_sender(state: &mut State, conn: ConnId, actor: &Address, node: &Node) {
    let Ok(account) = state.account(&actor.number) else {
        return;
    };
    if attr(node, "type").as_deref() != Some("sender") {
        return state.record_unknown(node);
    }
    let mut complete = node.clone();
    complete.attrs.insert("to", account.jid(Server::Pn, 0));
    handle(state, conn, actor, &complete);
}

/// Relays a receipt of a client or a phone to those it concerns.
pub fn route(state: &mut State, actor: &Address, node: &Node) {
    let kind = attr_or_empty(node, "type");
    if let Some(chat) = jid(node, "to").filter(|to| to.server == Server::Newsletter) {
        return newsletters::take_receipt(state, actor, &chat, node);
    }
    if let Some(chat) = jid(node, "to").filter(|to| matches!(to.server, Server::Group | Server::Broadcast)) {
        return groups::route_receipt(state, actor, &chat, node);
    }
    let Some(to) = jid(node, "to").and_then(|to| state.resolve_device(&to)) else {
        return state.record_unknown(node);
    };
    let own_others = |state: &State| -> Vec<Address> {
        devices(state, &actor.number).into_iter().filter(|device| device != actor).collect()
    };
    match kind.as_str() {
        "" | "delivery" | "inactive" | "read" | "played" if to.number != actor.number => {
            for device in devices(state, &to.number) {
                relay(state, actor, node, &device, None);
            }
            // What one device reads is read on all.
            if kind == "read" || kind == "played" {
                for device in own_others(state) {
                    relay(state, actor, node, &device, Some(&to.number));
                }
            }
        }
        // Of copies of own messages: nobody else is concerned.
        "" | "delivery" | "inactive" => {}
        "read" | "read-self" | "played" | "played-self" | "sender" => {
            for device in own_others(state) {
                relay(state, actor, node, &device, Some(&to.number));
            }
        }
        "retry" => {
            let Ok(account) = state.account_mut(&actor.number) else {
                return;
            };
            if actor.device == 0 || !account.faults.take(FaultKind::DropRetry) {
                relay(state, actor, node, &to, None);
            }
        }
        "peer_msg" | "hist_sync" => {
            let phone = Address::new(&actor.number, 0);
            relay(state, actor, node, &phone, None);
        }
        // For the own phone, which puts the file up again.
        "server-error" => media::answer_retry(state, actor, node),
        _ => state.record_unknown(node),
    }
}

fn devices(state: &State, number: &Number) -> Vec<Address> {
    state.accounts.get(number).map_or_else(Vec::new, |account| {
        account.devices().into_iter().map(|device| Address::new(number, device)).collect()
    })
}

/// Delivers one receipt to one device. `chat` names the chat for other devices
/// of the actor's own account.
fn relay(state: &mut State, actor: &Address, node: &Node, device: &Address, chat: Option<&Number>) {
    let to = jid(node, "to").unwrap_or_default();
    if device.device == 0 {
        return relay_to_phone(state, actor, node, &device.number, chat);
    }
    let Some(account) = state.accounts.get(&actor.number) else {
        return;
    };
    let family = match to.server {
        Server::Lid => Server::Lid,
        _ => Server::Pn,
    };
    let mut copy = NodeBuilder::new("receipt")
        .attr("from", account.jid(family, actor.device))
        .attr("id", attr_or_empty(node, "id"))
        .attr("t", unix_now());
    copy = copy_attrs(copy, node, &["type", "participant"]);
    if chat.is_some() {
        copy = copy.attr("recipient", to.to_non_ad());
    } else {
        copy = copy_attrs(copy, node, &["recipient"]);
    }
    let content = children(node);
    let copy = if content.is_empty() { copy.build() } else { copy.children(content.iter().cloned()).build() };
    state.deliver(device, Class::Receipt, Some(&actor.number), copy);
}

fn relay_to_phone(state: &mut State, actor: &Address, node: &Node, number: &Number, chat: Option<&Number>) {
    let kind = match attr(node, "type") {
        None => "delivery".to_owned(),
        Some(kind) => kind.into_owned(),
    };
    let item = ReceiptItem {
        from: actor.number.to_string(),
        device: actor.device,
        recipient: chat.map(Number::to_string),
        ids: named_ids(node),
        kind: kind.clone(),
        ts: unix_now(),
    };
    if let Some(account) = state.accounts.get_mut(number) {
        account.phone.receipts.push(item);
    }
    if kind == "retry" {
        phone::resend(state, number, actor, &attr_or_empty(node, "id"));
    }
}
