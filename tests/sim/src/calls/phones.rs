//! Calls of phones.

use anyhow::{Context, Result, bail, ensure};
use buffa::MessageField;
use rand::RngExt as _;
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};
use waproto::whatsapp::{Message, message};

use super::{begin, deliver, note, took_place};
use crate::{
    account::Addressing,
    ids::{Address, Number},
    phone,
    state::State,
};

/// One action of a phone to one device.
pub fn send_from_phone(
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
        let enc = phone::seal(state, from, &device, &plain, &key)?;
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
