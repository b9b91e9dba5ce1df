//! `<message>`: from one device to each device it is encrypted for.

use wacore_binary::{Jid, JidExt as _, Node, Server, builder::NodeBuilder};

use crate::{
    account::Addressing,
    faults::{FaultKind, Intake},
    groups,
    ids::{Address, ConnId, Number},
    newsletters, phone,
    queue::{Class, corrupt},
    stanza::{attr, attr_or_empty, children, copy_attrs, jid, unix_now},
    state::State,
    status, tokens,
};

/// Handles a message of a linked device.
pub fn handle(state: &mut State, conn: ConnId, sender: &Address, node: &Node) {
    let Some(to) = jid(node, "to") else {
        return state.record_unknown(node);
    };
    let Ok(account) = state.account_mut(&sender.number) else {
        return;
    };
    // Faults are for messages to people, not for those between own devices.
    let intake =
        if attr(node, "category").as_deref() == Some("peer") { Intake::Normal } else { account.faults.next_intake() };
    if intake == Intake::CutUnseen {
        return state.cut(&sender.number);
    }
    if let Intake::Nack(code) = intake {
        let nack = ack(node, &to).attr("error", code).build();
        return send_ack(state, conn, sender, nack);
    }
    if to.server == Server::Newsletter {
        let ack = match newsletters::take_message(state, sender, &to, node) {
            Ok(server_id) => ack(node, &to).attr("server_id", server_id),
            Err(refusal) => ack(node, &to).attr("error", refusal.0),
        };
        if !matches!(intake, Intake::Cut | Intake::NoAck) {
            send_ack(state, conn, sender, ack.build());
        }
        if matches!(intake, Intake::Cut | Intake::CutAfterAck) {
            state.cut(&sender.number);
        }
        return;
    }
    if let Some(code) = refuse(state, sender, &to, node) {
        let nack = ack(node, &to).attr("error", code).build();
        return send_ack(state, conn, sender, nack);
    }
    if !tokens::accepts(state, &sender.number, &to, node) {
        let nack = ack(node, &to).attr("error", tokens::UNTRUSTED).build();
        return send_ack(state, conn, sender, nack);
    }
    if !matches!(intake, Intake::Cut | Intake::NoAck) {
        let ack = match groups::other_hash(state, &to, node) {
            Some(hash) => ack(node, &to).attr("phash", hash),
            None => ack(node, &to),
        };
        send_ack(state, conn, sender, ack.build());
    }
    route(state, sender, node);
    if matches!(intake, Intake::Cut | Intake::CutAfterAck) {
        state.cut(&sender.number);
    }
}

/// The code a message is refused with, if it is.
fn refuse(state: &mut State, sender: &Address, to: &Jid, node: &Node) -> Option<u16> {
    match to.server {
        Server::Pn | Server::Lid => None,
        Server::Group => groups::refuse(state, sender, to),
        Server::Broadcast if status::understood(to, node) => None,
        _ => {
            state.record_unknown(node);
            Some(404)
        }
    }
}

fn ack(node: &Node, to: &Jid) -> NodeBuilder {
    NodeBuilder::new("ack")
        .attr("class", "message")
        .attr("id", attr_or_empty(node, "id"))
        .attr("from", to)
        .attr("t", unix_now())
}

/// Sends a message ack, or keeps it while the account holds.
fn send_ack(state: &mut State, conn: ConnId, sender: &Address, ack: Node) {
    let holding = state.account(&sender.number).is_ok_and(|a| a.faults.is_holding());
    if !holding {
        return state.send(conn, ack);
    }
    if let Some(connection) = state.connections.get_mut(&conn) {
        connection.held_acks.push(ack);
    }
}

/// Sends all that an account held.
pub fn release(state: &mut State, number: &Number) {
    let Some(account) = state.accounts.get(number) else {
        return;
    };
    let devices: Vec<(u16, Option<ConnId>)> =
        account.companions.iter().map(|(device, companion)| (*device, companion.link.conn())).collect();
    for (device, conn) in devices {
        let held = conn.and_then(|conn| state.connections.get_mut(&conn));
        let acks = held.map_or_else(Vec::new, |c| std::mem::take(&mut c.held_acks));
        for (conn, ack) in conn.into_iter().cycle().zip(acks) {
            state.send(conn, ack);
        }
        state.pump(&Address::new(number, device));
    }
}

/// Delivers each copy of a message, by clients and phones alike.
pub fn route(state: &mut State, sender: &Address, node: &Node) {
    match jid(node, "to") {
        Some(to) if to.is_group() => return groups::route(state, sender, node),
        Some(to) if to.server == Server::Broadcast => return status::route(state, sender, &to, node),
        _ => {}
    }
    match node.get_optional_child("participants") {
        Some(list) => {
            for target in list.get_children_by_tag("to") {
                if let Some(device) = jid(target, "jid") {
                    deliver_copy(state, sender, node, &device, children(target));
                }
            }
        }
        None => {
            let encs: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
            match jid(node, "to") {
                Some(device) if !encs.is_empty() => {
                    deliver_copy(state, sender, node, &device, &encs);
                }
                _ => state.record_unknown(node),
            }
        }
    }
}

fn deliver_copy(state: &mut State, sender: &Address, node: &Node, device: &Jid, encs: &[Node]) {
    let Some(target) = state.resolve_device(device) else {
        return tracing::debug!("{device} does not exist");
    };
    // The sender is not told that it is blocked. Groups have both all the same.
    if state.accounts.get(&target.number).is_some_and(|account| account.blocked.contains(&sender.number)) {
        return;
    }
    if let Some(copy) = build_copy(state, sender, node, device, &target, encs) {
        deliver(state, sender, &target, copy);
    }
}

/// Hands a finished copy to a phone or queues it for a companion.
pub fn deliver(state: &mut State, sender: &Address, target: &Address, mut copy: Node) {
    if target.device == 0 {
        let Ok(account) = state.account_mut(&target.number) else {
            return;
        };
        if target.number != sender.number && account.faults.take(FaultKind::CorruptToPhone) {
            corrupt(&mut copy);
        }
        phone::receive(state, &target.number, sender, &copy);
    } else {
        state.deliver(target, Class::Message, Some(&sender.number), copy);
    }
}

fn build_copy(
    state: &State,
    sender: &Address,
    node: &Node,
    device: &Jid,
    target: &Address,
    encs: &[Node],
) -> Option<Node> {
    let account = state.accounts.get(&sender.number)?;
    let own = sender.number == target.number;
    let peer = attr(node, "category").as_deref() == Some("peer");
    // Peer messages of a migrated account come from its LID whatever they were
    // addressed to; all others in the family of their address.
    let family = match (own && peer, device.server) {
        (true, _) => account.family(),
        (false, Server::Lid) => Server::Lid,
        (false, _) => Server::Pn,
    };
    let mut copy = NodeBuilder::new("message")
        .attr("from", account.jid(family, sender.device))
        .attr("id", attr_or_empty(node, "id"))
        .attr("t", unix_now())
        .attr("notify", account.push_name.as_str());
    copy = copy_attrs(copy, node, &["type", "edit", "category"]);
    if own {
        // Without it a client cannot tell the chat and never settles the copy.
        if !peer {
            let chat = jid(node, "recipient").or_else(|| jid(node, "to"))?;
            copy = copy.attr("recipient", chat.to_non_ad());
        }
    } else if family == Server::Lid {
        if account.addressing != Addressing::LidAlone {
            copy = copy.attr("sender_pn", account.jid(Server::Pn, 0));
        }
    } else if account.addressing != Addressing::PnAlone {
        copy = copy.attr("sender_lid", account.jid(Server::Lid, 0));
    }
    let prekey = encs.iter().any(|enc| attr(enc, "type").as_deref() == Some("pkmsg"));
    let others = children(node).iter().filter(|child| match child.tag.as_ref() {
        "participants" | "enc" => false,
        "device-identity" => prekey,
        _ => true,
    });
    let mut content: Vec<Node> = encs.iter().chain(others).cloned().collect();
    if let Some(business) = account.business.as_ref().filter(|_| !own) {
        copy = copy.attr("verified_level", "unknown");
        content.push(business.node());
    }
    Some(copy.children(content).build())
}
