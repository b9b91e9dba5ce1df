//! A phone's status posts and broadcast lists.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};
use waproto::whatsapp::Message;

use super::{
    Known, Outbound,
    envelope::Envelope,
    group::{remember, seal_common},
    send::{keep, seal, stanza, wrap_sent},
};
use crate::{
    ids::{Address, Number},
    messages,
    stanza::unix_now,
    state::State,
    status,
};

/// All devices of these people and of the own account, but the phone itself.
fn devices(state: &State, own: &Number, people: &[Number]) -> Result<Vec<Address>> {
    let mut devices = Vec::new();
    for number in people.iter().filter(|number| *number != own).chain([own]) {
        let account = state.account(number)?;
        devices.extend(account.devices().into_iter().map(|device| Address::new(number, device)));
    }
    devices.retain(|device| !(device.number == *own && device.device == 0));
    Ok(devices)
}

/// Those the phone has direct chats with: who sees its status if nobody is named.
pub fn contacts(state: &State, number: &Number) -> Result<Vec<Number>> {
    let known = &state.account(number)?.phone.known;
    let people = known.all().iter().filter_map(|known| state.resolve(&known.chat));
    let chats: BTreeSet<Number> = people.collect();
    Ok(chats.into_iter().filter(|chat| chat != number).collect())
}

/// Posts a status for `audience`. Errors when that is nobody.
pub fn post(
    state: &mut State,
    from: &Number,
    audience: &[Number],
    message: Message,
    id: Option<String>,
) -> Result<String> {
    ensure!(!audience.is_empty(), "nobody would see the status of {from}");
    let id = id.unwrap_or_else(Outbound::new_id);
    let own = Address::new(from, 0);
    let chat = Jid::status_broadcast();
    let family = state.account(from)?.family();
    let devices = devices(state, from, audience)?;
    let sealed = seal_common(state, from, &chat, family, &devices, &message)?;
    let mut people = sealed.given;
    for number in audience {
        people.push(NodeBuilder::new("to").attr("jid", state.account(number)?.jid(family, 0)).build());
    }
    people.push(NodeBuilder::new("to").attr("jid", state.account(from)?.jid(family, 0)).build());
    let participants = NodeBuilder::new("participants").children(people).build();
    let envelope = Envelope::of(&message);
    let node = stanza(&id, &envelope)
        .attr("to", &chat)
        .children([participants, sealed.common].into_iter().chain(envelope.meta()))
        .build();
    remember(state, from, &chat, family, &id, message)?;
    messages::route(state, &own, &node);
    Ok(id)
}

/// Sends a message to a broadcast list of the phone: a direct message to each on
/// it, and the list's copy to the own companions.
pub fn send_to_list(
    state: &mut State,
    from: &Number,
    list: &Jid,
    message: Message,
    id: Option<String>,
) -> Result<String> {
    let id = id.unwrap_or_else(Outbound::new_id);
    let own = Address::new(from, 0);
    let people = state.account(from)?.phone.lists.get(&list.to_string()).context("no such list")?.clone();
    let plain = MessageUtils::encode_and_pad(&message);
    let envelope = Envelope::of(&message);
    let stanza = |to: &Jid, content: Vec<Node>| {
        stanza(&id, &envelope).attr("to", to).children(content.into_iter().chain(envelope.meta())).build()
    };
    let mut named = Vec::new();
    let is_told = state.account(from)?.phone.told_lists.contains(&list.to_string());
    for number in people.iter().filter(|_| is_told) {
        named.push(state.account(number)?.jid(state.account(number)?.family(), 0));
        for device in state.account(number)?.devices() {
            let target = Address::new(number, device);
            let enc = seal(state, from, &target, &plain, Some(&envelope))?;
            let node = stanza(list, vec![enc]);
            status::deliver_list_copy(state, &own, list, &node, &target, &[]);
        }
    }
    for number in people.iter().filter(|_| !is_told) {
        let account = state.account(number)?;
        let family = account.family();
        let chat = account.jid(family, 0);
        let mut copies = Vec::new();
        for device in account.devices() {
            let jid = state.account(number)?.jid(family, device);
            let enc = seal(state, from, &Address::new(number, device), &plain, Some(&envelope))?;
            copies.push(NodeBuilder::new("to").attr("jid", jid).children([enc]).build());
        }
        let node = stanza(&chat, vec![NodeBuilder::new("participants").children(copies).build()]);
        let known = Known {
            id: id.clone(),
            chat: number.jid(),
            from: from.clone(),
            family,
            ts: unix_now(),
            message: message.clone(),
        };
        keep(state, from, known)?;
        messages::route(state, &own, &node);
        named.push(chat);
    }
    let mut wrapped = wrap_sent(&message, list);
    if let Some(sent) = wrapped.device_sent_message.as_option_mut() {
        sent.phash = MessageUtils::participant_list_hash(&named).ok();
    }
    let plain = MessageUtils::encode_and_pad(&wrapped);
    let companions: Vec<u16> = state.account(from)?.companions.keys().copied().collect();
    for device in companions {
        let target = Address::new(from, device);
        let enc = seal(state, from, &target, &plain, Some(&envelope))?;
        let node = stanza(list, vec![enc]);
        status::deliver_list_copy(state, &own, list, &node, &target, &named);
    }
    Ok(id)
}

/// Makes a broadcast list on the phone and returns its JID; its messages name it to those who get them, if it is told.
pub fn new_list(state: &mut State, number: &Number, people: Vec<Number>, is_told: bool) -> Result<Jid> {
    let phone = &mut state.account_mut(number)?.phone;
    let jid = Jid::new(format!("{}{:04}", unix_now(), phone.lists.len() + 1), Server::Broadcast);
    phone.lists.insert(jid.to_string(), people);
    if is_told {
        phone.told_lists.insert(jid.to_string());
    }
    Ok(jid)
}
