//! `<call>`: who rings whom, as stanzas. No sound flows.
//!
//! The server hands each action from device to device. The caller's device runs
//! the call: it tells the callee's other devices when one of them answered.

mod record;

use anyhow::{Context, Result, bail, ensure};
use buffa::MessageField;
use rand::RngExt as _;
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};
use waproto::whatsapp::{Message, message};

pub use record::{CallEvent, CallInfo, Calls};
use record::{begin, note};

use crate::{
    account::Addressing,
    ids::{Address, ConnId, Number},
    phone,
    queue::Class,
    stanza::{attr, attr_or_empty, children, jid, unix_now},
    state::State,
};

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

/// One action of a phone to one device.
fn send_from_phone(
    state: &mut State,
    phone: &Address,
    id: &str,
    target: &Address,
    action: &'static str,
    reason: Option<&str>,
) {
    let Some((call, account)) = state.calls.get(id).zip(state.accounts.get(&target.number)) else {
        return;
    };
    let family = account.family();
    let Some(creator) = state.accounts.get(&call.creator.number) else {
        return;
    };
    let mut node = NodeBuilder::new_dynamic(action.to_owned())
        .attr("call-id", id)
        .attr("call-creator", creator.jid(family, call.creator.device));
    if let Some(reason) = reason {
        node = node.attr("reason", reason);
    }
    if action == "reject" {
        node = node.attr("count", "0");
    }
    let node = match action {
        "preaccept" | "accept" => node.children([audio("16000")]).build(),
        _ => node.build(),
    };
    deliver(state, phone, target, family, node);
}

fn audio(rate: &'static str) -> Node {
    NodeBuilder::new("audio").attr("enc", "opus").attr("rate", rate).build()
}

/// The phone of `from` rings all devices of `to`; of a group's members, if
/// `group` names one. With `notice` they are only told that there is a call.
/// Returns the call id.
pub fn ring(
    state: &mut State,
    from: &Number,
    to: &[Number],
    group: Option<&Jid>,
    video: bool,
    notice: bool,
) -> Result<String> {
    let caller = Address::new(from, 0);
    let raw: [u8; 16] = rand::rng().random();
    let id: String = raw.iter().map(|byte| format!("{byte:02X}")).collect();
    let mut ringing = Vec::new();
    for number in to.iter().filter(|number| *number != from) {
        let account = state.account(number)?;
        ringing.extend(account.devices().into_iter().map(|device| Address::new(number, device)));
    }
    ensure!(!ringing.is_empty(), "nobody to ring");
    begin(state, &id, &caller, ringing.clone(), video, group.map(Jid::to_string));
    note(state, &id, &caller, if notice { "offer_notice" } else { "offer" }, None);
    let key: [u8; 32] = rand::rng().random();
    let key = Message {
        call: MessageField::some(message::Call { call_key: Some(key.to_vec()), ..Default::default() }),
        ..Default::default()
    };
    let plain = MessageUtils::encode_and_pad(&key);
    for device in ringing.into_iter().filter(|device| device.device != 0) {
        let family = state.account(&device.number)?.family();
        let creator = state.account(from)?.jid(family, 0);
        let number = from.jid();
        if notice {
            let action = NodeBuilder::new("offer_notice")
                .attr("call-id", id.as_str())
                .attr("call-creator", creator)
                .attr("media", if video { "video" } else { "audio" });
            let action = if group.is_some() { action.attr("type", "group").build() } else { action.build() };
            deliver(state, &caller, &device, family, action);
            continue;
        }
        let enc = phone::seal(state, from, &device, &plain, None)?;
        let mut action = NodeBuilder::new("offer")
            .attr("call-id", id.as_str())
            .attr("call-creator", creator)
            .attr("device_class", "2016");
        let tells_number = state.account(from)?.addressing != Addressing::LidAlone;
        if family == Server::Lid && tells_number {
            action = action.attr("caller_pn", number);
        }
        if let Some(group) = group {
            action = action.attr("group-jid", group).attr("joinable", "1");
        }
        let mut content = vec![audio("8000"), audio("16000")];
        if video {
            content.push(NodeBuilder::new("video").attr("enc", "h264").attr("dec", "h264").build());
        }
        content.push(NodeBuilder::new("net").attr("medium", "3").build());
        content.push(enc);
        content.push(NodeBuilder::new("encopt").attr("keygen", "2").build());
        deliver(state, &caller, &device, family, action.children(content).build());
    }
    Ok(id)
}

/// What a phone does about a call: a callee's `preaccept`, `accept`, `reject`,
/// or anybody's `terminate`. Errors when there is no such call or the phone has
/// no part in it.
pub fn act(state: &mut State, number: &Number, id: &str, action: &str, reason: Option<&str>) -> Result<()> {
    let phone = Address::new(number, 0);
    let call = state.calls.get(id).with_context(|| format!("no call {id}"))?;
    let calls = call.creator == phone;
    ensure!(calls || call.ringing.contains(&phone), "{number} has no part in the call {id}");
    let action = match action {
        "preaccept" if !calls => "preaccept",
        "accept" if !calls => "accept",
        "reject" if !calls => "reject",
        "terminate" => "terminate",
        other => bail!("{number} cannot {other:?} the call {id}"),
    };
    let targets = if calls { call.ringing.clone() } else { vec![call.creator.clone()] };
    for target in targets {
        send_from_phone(state, &phone, id, &target, action, reason);
    }
    let mut node = NodeBuilder::new_dynamic(action.to_owned());
    if let Some(reason) = reason {
        node = node.attr("reason", reason);
    }
    took_place(state, id, &phone, &node.build());
    Ok(())
}
