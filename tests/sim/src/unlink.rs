//! Linking and unlinking as others see it.

use anyhow::{Context, Result};
use wacore_binary::{Node, Server, builder::NodeBuilder};

use crate::{
    ids::{Address, ConnId, Number},
    queue::Class,
    stanza::{conflict, iq_error, iq_result, jid, unix_now},
    state::State,
};

/// Tells everyone who knows the device list of an account that `device` came
/// (`add`) or went (`remove`): others would keep encrypting for the old list.
pub fn announce_device(state: &mut State, device: &Address, change: &'static str, key_index: u32) {
    let Some(account) = state.accounts.get(&device.number) else {
        return;
    };
    let Ok(list) = account.signed_key_index_list() else {
        return tracing::error!("cannot sign the device list of {}", device.number);
    };
    let lid = account.jid(Server::Lid, 0);
    let element = NodeBuilder::new("device")
        .attr("jid", account.jid(Server::Pn, device.device))
        .attr("lid", account.jid(Server::Lid, device.device))
        .attr("key-index", key_index)
        .build();
    let index = NodeBuilder::new("key-index-list").attr("ts", unix_now());
    let index = if change == "add" { index.bytes(list).build() } else { index.build() };
    let body = NodeBuilder::new(change).attr("device_hash", "2:sim").children([element, index]).build();
    let mut told: Vec<Number> = account.watchers.iter().cloned().collect();
    told.push(device.number.clone());
    for number in told {
        let devices: Vec<u16> =
            state.accounts.get(&number).map_or_else(Vec::new, |a| a.companions.keys().copied().collect());
        for target in devices {
            let target = Address::new(&number, target);
            if target == *device {
                continue;
            }
            let notification = NodeBuilder::new("notification")
                .attr("from", &lid)
                .attr("type", "devices")
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .attr("lid", &lid)
                .children([body.clone()])
                .build();
            state.deliver(&target, Class::Notification, Some(&device.number), notification);
        }
    }
}

/// Removes a companion: it is told, cut, and refused from now on.
pub fn unlink(state: &mut State, device: &Address) -> Result<()> {
    let account = state.account_mut(&device.number)?;
    let companion = account
        .companions
        .remove(&device.device)
        .with_context(|| format!("{} has no device {}", device.number, device.device))?;
    account.phone.forget(device);
    if let Some(conn) = companion.link.conn() {
        state.send(conn, conflict("device_removed", Some(401)));
        state.close(conn);
    }
    for account in state.accounts.values_mut() {
        account.phone.forget(device);
    }
    announce_device(state, device, "remove", companion.key_index);
    Ok(())
}

/// `<remove-companion-device jid reason/>` of a companion that logs out itself.
pub fn handle_request(state: &mut State, conn: ConnId, address: &Address, node: &Node, request: &Node) {
    let target = jid(request, "jid").and_then(|jid| state.resolve_device(&jid));
    match target {
        Some(target) if target.number == address.number => {
            state.send(conn, iq_result(node, []));
            if unlink(state, &target).is_err() {
                tracing::debug!("{target:?} was not linked");
            }
        }
        _ => state.send(conn, iq_error(node, 404, "item-not-found")),
    }
}
