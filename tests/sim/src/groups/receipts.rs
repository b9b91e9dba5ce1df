//! Receipts for messages of groups and broadcasts: `to` is the chat,
//! `participant` the author.

use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};

use super::messages::name_sender;
use crate::{
    faults::FaultKind,
    history::ReceiptItem,
    ids::{Address, Number},
    phone,
    queue::Class,
    receipts::named_ids,
    stanza::{attr, attr_or_empty, children, copy_attrs, jid, unix_now},
    state::State,
};

/// Relays a receipt to the author's devices; a retry only to the one that sent
/// the message. What one device read is told to the reader's others.
pub fn route(state: &mut State, actor: &Address, chat: &Jid, node: &Node) {
    let Some(author) = jid(node, "participant").and_then(|jid| state.resolve_device(&jid)) else {
        return state.record_unknown(node);
    };
    let others = |state: &State, number: &Number| -> Vec<Address> {
        let devices = state.accounts.get(number).map_or_else(Vec::new, crate::account::Account::devices);
        devices.into_iter().map(|device| Address::new(number, device)).filter(|device| device != actor).collect()
    };
    match attr_or_empty(node, "type").as_str() {
        "retry" => {
            let Ok(account) = state.account_mut(&actor.number) else {
                return;
            };
            if actor.device == 0 || !account.faults.take(FaultKind::DropRetry) {
                relay(state, actor, chat, node, &author);
            }
        }
        kind @ ("" | "delivery" | "inactive" | "read" | "played") => {
            if author.number != actor.number {
                for device in others(state, &author.number) {
                    relay(state, actor, chat, node, &device);
                }
            }
            if kind == "read" || kind == "played" {
                for device in others(state, &actor.number) {
                    relay(state, actor, chat, node, &device);
                }
            }
        }
        "read-self" | "played-self" | "sender" => {
            for device in others(state, &actor.number) {
                relay(state, actor, chat, node, &device);
            }
        }
        _ => state.record_unknown(node),
    }
}

fn relay(state: &mut State, actor: &Address, chat: &Jid, node: &Node, device: &Address) {
    if device.device == 0 {
        return relay_to_phone(state, actor, chat, node, &device.number);
    }
    let Some(account) = state.accounts.get(&actor.number) else {
        return;
    };
    let family = match state.groups.get(&chat.user) {
        Some(group) => group.family,
        None => jid(node, "participant").map_or(Server::Lid, |author| author.server),
    };
    let mut copy =
        NodeBuilder::new("receipt").attr("from", chat).attr("id", attr_or_empty(node, "id")).attr("t", unix_now());
    copy = name_sender(copy, family, account, actor.device);
    copy = copy_attrs(copy, node, &["type", "context"]);
    let content = children(node);
    let copy = if content.is_empty() { copy.build() } else { copy.children(content.iter().cloned()).build() };
    state.deliver(device, Class::Receipt, Some(&actor.number), copy);
}

fn relay_to_phone(state: &mut State, actor: &Address, chat: &Jid, node: &Node, number: &Number) {
    let kind = attr(node, "type").map_or_else(|| "delivery".to_owned(), |kind| kind.into_owned());
    let item = ReceiptItem {
        from: actor.number.to_string(),
        device: actor.device,
        recipient: Some(chat.to_string()),
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
