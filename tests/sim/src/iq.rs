//! IQs of linked devices, by namespace.
//!
//! Every request is answered: an unanswered one looks like a hang to a client.
//! What is not understood is answered with nothing (sets) or 404 (gets) and
//! recorded.

mod blocklist;
mod encrypt;
mod picture;
mod settings;
mod usync;

use wacore_binary::{Node, builder::NodeBuilder};

pub use blocklist::set_blocked;
pub use encrypt::{Bundle, take_bundle_of};
pub use picture::set_picture;
pub use settings::set_about;

use crate::{
    appstate, groups,
    ids::{Address, ConnId},
    login, mex, newsletters,
    stanza::{attr_or_empty, children, iq_error, iq_result},
    state::State,
    unlink,
};

/// Handles one IQ.
pub fn handle(state: &mut State, conn: ConnId, address: &Address, node: &Node) {
    let kind = attr_or_empty(node, "type");
    if kind == "result" || kind == "error" {
        return;
    }
    let space = attr_or_empty(node, "xmlns");
    let child = children(node).first();
    let tag = child.map_or("", |c| c.tag.as_ref());
    if let Ok(account) = state.account_mut(&address.number) {
        *account.requests.entry(format!("{space} {kind} {tag}").trim_end().to_owned()).or_default() += 1;
    }
    let reply = match (space.as_str(), kind.as_str(), tag) {
        ("w:p" | "urn:xmpp:ping", _, _) => iq_result(node, []),
        ("passive", _, "active" | "passive") => {
            state.send(conn, iq_result(node, []));
            return login::set_active(state, address, tag == "active");
        }
        ("encrypt", ..) => match encrypt::answer(state, address, node) {
            Some(reply) => reply,
            None => return not_understood(state, conn, node, &kind),
        },
        ("usync", ..) => usync::answer(state, address, node),
        ("abt" | "w", "get", "props") => props(node),
        ("blocklist", ..) => match blocklist::answer(state, address, node) {
            Some(reply) => reply,
            None => return not_understood(state, conn, node, &kind),
        },
        ("privacy" | "status" | "disappearing_mode", ..) => match settings::answer(state, address, node) {
            Some(reply) => reply,
            None => return not_understood(state, conn, node, &kind),
        },
        ("w:m", _, "media_conn") => media_conn(state, address, node),
        ("w:g2", ..) => match groups::answer(state, address, node) {
            Some(reply) => reply,
            None => return not_understood(state, conn, node, &kind),
        },
        ("w:mex", ..) => match mex::answer(state, address, node) {
            Some(reply) => reply,
            None => return not_understood(state, conn, node, &kind),
        },
        ("newsletter", ..) => match newsletters::answer(state, address, node) {
            Some(reply) => reply,
            None => return not_understood(state, conn, node, &kind),
        },
        ("w:profile:picture", ..) => picture::answer(state, address, node),
        ("w:sync:app:state", ..) => appstate::answer(state, address, node),
        ("urn:xmpp:whatsapp:dirty", _, "clean") => iq_result(node, []),
        ("md", "set", "remove-companion-device") => match child {
            Some(request) => return unlink::handle_request(state, conn, address, node, request),
            None => iq_error(node, 400, "bad-request"),
        },
        _ => return not_understood(state, conn, node, &kind),
    };
    state.send(conn, reply);
}

fn not_understood(state: &mut State, conn: ConnId, node: &Node, kind: &str) {
    state.record_unknown(node);
    let reply = if kind == "set" { iq_result(node, []) } else { iq_error(node, 404, "item-not-found") };
    state.send(conn, reply);
}

fn props(node: &Node) -> Node {
    // That privacy tokens go with all direct messages, as everywhere by now.
    let tokens = NodeBuilder::new("prop").attr("config_code", "10518").attr("config_value", "1").build();
    let body = NodeBuilder::new("props")
        .attr("protocol", "1")
        .attr("hash", "sim")
        .attr("refresh", "86400")
        .children([tokens])
        .build();
    iq_result(node, [body])
}

fn media_conn(state: &State, address: &Address, node: &Node) -> Node {
    let host = NodeBuilder::new("host").attr("hostname", state.listen.to_string()).attr("type", "primary").build();
    let body = NodeBuilder::new("media_conn")
        .attr("auth", state.media.auth(&address.number))
        .attr("ttl", "3600")
        .attr("auth_ttl", "3600")
        .attr("max_buckets", "12")
        .children([host])
        .build();
    iq_result(node, [body])
}
