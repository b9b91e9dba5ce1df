//! `blocklist`: whose messages an account does not want.

use wacore_binary::{Node, Server, builder::NodeBuilder};

use crate::{
    ids::{Address, Number},
    privacy::dhash,
    queue::Class,
    stanza::{attr, attr_or_empty, children, iq_error, iq_result, jid, unix_now},
    state::State,
};

/// Answers a request for the list or to change it.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Option<Node> {
    let item = children(node).first();
    if attr_or_empty(node, "type") == "get" {
        return Some(iq_result(node, [list(state, &address.number)?]));
    }
    let item = item.filter(|item| item.tag == "item")?;
    let who = jid(item, "jid").and_then(|jid| state.resolve(&jid));
    let block = match attr(item, "action").as_deref() {
        Some("block") => true,
        Some("unblock") => false,
        _ => return None,
    };
    // By LID, and with the number beside it when blocking, as WhatsApp wants it
    // since the migration.
    let complete =
        jid(item, "jid").is_some_and(|jid| jid.server == Server::Lid) && (!block || attr(item, "pn_jid").is_some());
    let migrated = state.account(&address.number).ok()?.family() == Server::Lid;
    let Some(who) = who.filter(|_| complete || !migrated) else {
        return Some(iq_error(node, 400, "bad-request"));
    };
    set_blocked(state, &address.number, &who, block, Some(address.device));
    Some(iq_result(node, [list(state, &address.number)?]))
}

fn list(state: &State, number: &Number) -> Option<Node> {
    let account = state.account(number).ok()?;
    let family = account.family();
    let items = account.blocked.iter().filter_map(|blocked| {
        let other = state.account(blocked).ok()?;
        Some(NodeBuilder::new("item").attr("jid", other.jid(family, 0)).attr("t", unix_now()).build())
    });
    Some(NodeBuilder::new("list").attr("dhash", dhash(&account.blocked)).children(items).build())
}

/// Blocks or unblocks somebody and tells the account's companions but `actor`.
pub fn set_blocked(state: &mut State, number: &Number, who: &Number, block: bool, actor: Option<u16>) {
    let Some(other) = state.accounts.get(who).map(|other| other.jid(Server::Lid, 0)) else {
        return;
    };
    let Some(account) = state.accounts.get_mut(number) else {
        return;
    };
    let before = dhash(&account.blocked);
    if block {
        account.blocked.insert(who.clone());
    } else {
        account.blocked.remove(who);
    }
    let after = dhash(&account.blocked);
    let from = account.jid(account.family(), 0);
    let devices: Vec<u16> = account.companions.keys().copied().filter(|device| Some(*device) != actor).collect();
    for device in devices {
        let action = if block { "block" } else { "unblock" };
        let item = NodeBuilder::new("item").attr("jid", &other).attr("action", action).build();
        let body = NodeBuilder::new("blocklist")
            .attr("action", "modify")
            .attr("dhash", after.as_str())
            .attr("prev_dhash", before.as_str())
            .children([item])
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("type", "account_sync")
            .attr("from", &from)
            .attr("id", state.next_stanza_id())
            .attr("t", unix_now())
            .children([body])
            .build();
        state.deliver(&Address::new(number, device), Class::Notification, None, notification);
    }
}
