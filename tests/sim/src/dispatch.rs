//! Sends each stanza of a client to the file of its family.

use wacore_binary::{Node, builder::NodeBuilder};

use crate::{
    calls,
    faults::{Direction, Effect},
    ids::{Address, ConnId},
    iq, login, messages, pairing, presence,
    queue::Class,
    receipts,
    stanza::{Xml, attr, attr_or_empty, children, iq_error, jid, server_jid, unix_now},
    state::{Peer, State},
};

/// Handles one stanza.
pub fn handle(state: &mut State, conn: ConnId, node: &Node) {
    tracing::debug!(conn = conn.0, "<- {}", Xml(node));
    let address = match state.connections.get(&conn).map(|c| &c.peer) {
        None | Some(Peer::Dead) => return,
        Some(Peer::Unpaired(_)) => return pairing::handle(state, conn, node),
        Some(Peer::Device(address)) => address.clone(),
    };
    let effect = state.account_mut(&address.number).ok().and_then(|a| a.rules.take(Direction::FromClient, node));
    match effect {
        Some(Effect::Drop) => return tracing::debug!(conn = conn.0, "lost on its way here"),
        Some(Effect::Cut) => return state.cut(&address.number),
        Some(Effect::Nack(code)) => return refuse(state, conn, node, code),
        Some(Effect::Double) => pass_on(state, conn, &address, node),
        Some(Effect::Delay(_) | Effect::Reorder | Effect::Corrupt) | None => {}
    }
    pass_on(state, conn, &address, node);
}

/// Refuses a stanza as its family does.
fn refuse(state: &mut State, conn: ConnId, node: &Node, code: u16) {
    let refusal = match node.tag.as_ref() {
        "iq" => iq_error(node, code, "refused"),
        tag => NodeBuilder::new("ack")
            .attr("class", tag)
            .attr("id", attr_or_empty(node, "id"))
            .attr("from", jid(node, "to").unwrap_or_else(server_jid))
            .attr("t", unix_now())
            .attr("error", code)
            .build(),
    };
    state.send(conn, refusal);
}

fn pass_on(state: &mut State, conn: ConnId, address: &Address, node: &Node) {
    match node.tag.as_ref() {
        "iq" => iq::handle(state, conn, address, node),
        "message" => messages::handle(state, conn, address, node),
        "call" => calls::handle(state, conn, address, node),
        "receipt" => receipts::handle(state, conn, address, node),
        "ack" => handle_ack(state, address, node),
        "presence" => presence::handle_presence(state, conn, address, node),
        "chatstate" => presence::handle_chatstate(state, address, node),
        "ib" => handle_ib(state, address, node),
        _ => state.record_unknown(node),
    }
}

fn handle_ack(state: &mut State, address: &Address, node: &Node) {
    let id = attr_or_empty(node, "id");
    let class = attr(node, "class").and_then(|c| Class::parse(&c));
    let peer = ["to", "participant"].iter().find_map(|key| state.resolve(&jid(node, key)?));
    let kind = attr(node, "type").map(|t| t.into_owned());
    match (class, state.companion_mut(address)) {
        (Some(Class::Message), Some(device)) => {
            device.queue.settle_messages(&id, peer.as_ref());
        }
        // Its type is that of the action, which the stanza itself does not name.
        (Some(Class::Call), Some(device)) => device.queue.settle_other(Class::Call, &id, None),
        (Some(class), Some(device)) => device.queue.settle_other(class, &id, kind.as_deref()),
        _ => state.record_unknown(node),
    }
}

fn handle_ib(state: &mut State, address: &Address, node: &Node) {
    for child in children(node) {
        match child.tag.as_ref() {
            "offline_batch" => login::extend_backlog(state, address, child),
            // A note about the client's clock and session; no answer.
            "unified_session" => {}
            _ => state.record_unknown(node),
        }
    }
}
