//! `<call>`: who rings whom, as stanzas. No sound flows.
//!
//! The server hands each action from device to device. The caller's device runs
//! the call: it tells the callee's other devices when one of them answered.

mod phones;

use std::collections::BTreeMap;

use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};

use phones::send_from_phone;
pub use phones::{act, ring};

use crate::{
    ids::{Address, ConnId},
    queue::Class,
    stanza::{attr, attr_or_empty, children, jid, unix_now},
    state::State,
};

/// One action of a call, in the order in which the server saw them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CallEvent {
    /// `offer`, `offer_notice`, `preaccept`, `accept`, `reject`, `terminate`, ...
    pub action: String,
    /// Whose: a number.
    pub from: String,
    /// From which device.
    pub device: u16,
    /// Why, where it says.
    pub reason: Option<String>,
    /// Seconds since 1970.
    pub ts: u64,
}

/// A call as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CallInfo {
    /// The call id.
    pub id: String,
    /// The caller's number.
    pub from: String,
    /// The numbers that were rung.
    pub to: Vec<String>,
    /// With video.
    pub video: bool,
    /// The group, for a group call.
    pub group: Option<String>,
    /// `ringing`, `accepted`, `rejected`, `missed` or `ended`.
    pub state: &'static str,
    /// What happened.
    pub events: Vec<CallEvent>,
}

/// All calls, by id.
pub type Calls = BTreeMap<String, Call>;

/// One call.
pub struct Call {
    pub info: CallInfo,
    /// The device that calls.
    creator: Address,
    /// The devices that ring.
    ringing: Vec<Address>,
}

/// Handles a `<call>` of a linked device: it is acked and handed on.
pub fn handle(state: &mut State, conn: ConnId, sender: &Address, node: &Node) {
    let (Some(to), Some(action)) = (jid(node, "to"), children(node).first()) else {
        return state.record_unknown(node);
    };
    let ack = NodeBuilder::new("ack")
        .attr("class", "call")
        .attr("type", action.tag.to_string())
        .attr("id", attr_or_empty(node, "id"))
        .attr("from", &to)
        .build();
    state.send(conn, ack);
    // A sign of life to the server itself.
    if action.tag == "heartbeat" {
        return;
    }
    let Some(target) = state.resolve_device(&to) else {
        return state.record_unknown(node);
    };
    route(state, sender, &target, &to, action);
}

/// The receipt of a ringing device names the offer; it is for the caller's
/// device alone. Returns whether the receipt was one of a call.
pub fn take_receipt(state: &mut State, conn: ConnId, actor: &Address, node: &Node) -> bool {
    let Some(action) = children(node).first().filter(|child| attr(child, "call-id").is_some()) else {
        return false;
    };
    let ack = NodeBuilder::new("ack").attr("class", "receipt").attr("id", attr_or_empty(node, "id"));
    let ack = match jid(node, "to") {
        Some(to) => ack.attr("from", to).build(),
        None => ack.build(),
    };
    state.send(conn, ack);
    note(state, &attr_or_empty(action, "call-id"), actor, "receipt", None);
    true
}

/// Hands an action to those it is for: an offer to each device it has a key for,
/// all others to one device.
fn route(state: &mut State, sender: &Address, target: &Address, to: &Jid, action: &Node) {
    let id = attr_or_empty(action, "call-id");
    if action.tag == "offer" {
        let keys: Vec<(Address, Node)> = action
            .get_optional_child("destination")
            .map_or(&[][..], children)
            .iter()
            .filter_map(|to| Some((state.resolve_device(&jid(to, "jid")?)?, to.get_optional_child("enc")?.clone())))
            .collect();
        let video = action.get_optional_child("video").is_some();
        let rung: Vec<Address> = if keys.is_empty() {
            vec![target.clone()]
        } else {
            keys.iter().map(|(device, _)| device.clone()).collect()
        };
        begin(state, &id, sender, rung, video, attr(action, "group-jid").map(|group| group.into_owned()));
        if keys.is_empty() {
            deliver(state, sender, target, to.server, action.clone());
        }
        for (device, key) in keys {
            deliver(state, sender, &device, to.server, with_key(action, key));
        }
    } else {
        deliver(state, sender, target, to.server, action.clone());
    }
    took_place(state, &id, sender, action);
}

/// An offer with the key of one device instead of those of all.
fn with_key(offer: &Node, key: Node) -> Node {
    let content =
        children(offer).iter().map(|child| if child.tag == "destination" { key.clone() } else { child.clone() });
    let mut own = offer.clone();
    own.content = Some(wacore_binary::NodeContent::Nodes(content.collect()));
    own
}

/// Gives one action to one device; phones only remember it.
fn deliver(state: &mut State, sender: &Address, target: &Address, family: Server, action: Node) {
    if target.device == 0 {
        return;
    }
    let id = state.next_stanza_id();
    let Some(account) = state.accounts.get(&sender.number) else {
        return;
    };
    let node = NodeBuilder::new("call")
        .attr("from", account.jid(family, sender.device))
        .attr("id", id)
        .attr("t", unix_now())
        .attr("notify", account.push_name.as_str())
        .attr("platform", "android")
        .attr("version", "2.25.30.72")
        .children([action])
        .build();
    state.deliver(target, Class::Call, Some(&sender.number), node);
}

fn begin(state: &mut State, id: &str, creator: &Address, ringing: Vec<Address>, video: bool, group: Option<String>) {
    let mut to: Vec<String> = ringing.iter().map(|device| device.number.to_string()).collect();
    to.dedup();
    let info = CallInfo {
        id: id.to_owned(),
        from: creator.number.to_string(),
        to,
        video,
        group,
        state: "ringing",
        events: Vec::new(),
    };
    let call = Call { info, creator: creator.clone(), ringing };
    state.calls.entry(id.to_owned()).or_insert(call);
}

fn note(state: &mut State, id: &str, from: &Address, action: &str, reason: Option<String>) {
    if let Some(call) = state.calls.get_mut(id) {
        call.info.events.push(CallEvent {
            action: action.to_owned(),
            from: from.number.to_string(),
            device: from.device,
            reason,
            ts: unix_now(),
        });
    }
}

/// Follows the call, and lets a calling phone tell the callee's other devices
/// that one of them answered, as calling clients do themselves.
fn took_place(state: &mut State, id: &str, sender: &Address, action: &Node) {
    let reason = attr(action, "reason").map(|reason| reason.into_owned());
    // A device that is busy is not a person who declines.
    let busy = action.tag == "reject" && reason.as_deref() == Some("busy");
    note(state, id, sender, &action.tag, reason);
    let Some(call) = state.calls.get_mut(id) else {
        return;
    };
    let ringing = call.info.state == "ringing";
    let next = match action.tag.as_ref() {
        "accept" if ringing => "accepted",
        "reject" if ringing && !busy => "rejected",
        "terminate" if ringing => "missed",
        "terminate" => "ended",
        _ => return,
    };
    call.info.state = next;
    let elsewhere = match next {
        "accepted" => "accepted_elsewhere",
        "rejected" => "rejected_elsewhere",
        _ => return,
    };
    let creator = call.creator.clone();
    if creator.device != 0 || call.info.group.is_some() {
        return;
    }
    let others: Vec<Address> = call.ringing.iter().filter(|device| *device != sender).cloned().collect();
    for device in others {
        send_from_phone(state, &creator, id, &device, "terminate", Some(elsewhere));
    }
}
