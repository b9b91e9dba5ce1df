//! Sends each stanza of a client to the file of its family.

use wacore_binary::Node;

use crate::{
    calls,
    ids::{Address, ConnId},
    iq, login, messages, pairing, presence,
    queue::Class,
    receipts,
    stanza::{Xml, attr, attr_or_empty, children, jid},
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
    match node.tag.as_ref() {
        "iq" => iq::handle(state, conn, &address, node),
        "message" => messages::handle(state, conn, &address, node),
        "call" => calls::handle(state, conn, &address, node),
        "receipt" => receipts::handle(state, conn, &address, node),
        "ack" => handle_ack(state, &address, node),
        "presence" => presence::handle_presence(state, conn, &address, node),
        "chatstate" => presence::handle_chatstate(state, &address, node),
        "ib" => handle_ib(state, &address, node),
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
