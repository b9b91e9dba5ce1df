//! What a phone sends.

use anyhow::{Context, Result};
use buffa::MessageField;
use rand::RngExt as _;
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, builder::NodeBuilder};
use waproto::whatsapp::{Message, message::DeviceSentMessage};

use super::{archive::Known, envelope::Envelope, group};
use crate::{
    ids::{Address, Number},
    iq::{Bundle, take_bundle_of},
    messages,
    stanza::{leaf, unix_now},
    state::State,
};

/// Limits and ids of what a phone sends.
pub struct Outbound;

impl Outbound {
    /// How often a message is asked for and sent again.
    pub const MAX_RETRIES: u8 = 5;

    /// An id in the shape phones use: `3A` and 18 hex digits.
    pub fn new_id() -> String {
        let random: [u8; 9] = rand::rng().random();
        let hex: String = random.iter().map(|b| format!("{b:02X}")).collect();
        format!("3A{hex}")
    }
}

/// Sends a message from the phone of `from` to every device of `to` and to the
/// own companions.
pub fn send(state: &mut State, from: &Number, to: &Number, message: Message, id: Option<String>) -> Result<String> {
    send_with(state, from, to, message, id, None)
}

/// As [`send`], with something more in the stanza.
pub fn send_with(
    state: &mut State,
    from: &Number,
    to: &Number,
    message: Message,
    id: Option<String>,
    more: Option<Node>,
) -> Result<String> {
    let id = id.unwrap_or_else(Outbound::new_id);
    let peer = state.account(to)?;
    let chat = peer.jid(peer.family(), 0);
    let mut targets = Vec::new();
    for device in peer.devices() {
        if to != from {
            targets.push((Address::new(to, device), peer.jid(peer.family(), device)));
        }
    }
    let own = state.account(from)?;
    for device in own.companions.keys() {
        targets.push((Address::new(from, *device), own.jid(own.family(), *device)));
    }
    let envelope = Envelope::of(&message);
    let plain = MessageUtils::encode_and_pad(&message);
    let own_plain = MessageUtils::encode_and_pad(&wrap_sent(&message, &chat));
    let mut copies = Vec::new();
    for (device, jid) in targets {
        let plain = if device.number == *from { &own_plain } else { &plain };
        let enc = seal(state, from, &device, plain, Some(&envelope))?;
        copies.push(NodeBuilder::new("to").attr("jid", jid).children([enc]).build());
    }
    let participants = NodeBuilder::new("participants").children(copies).build();
    let node = stanza(&id, &envelope)
        .attr("to", &chat)
        .children(std::iter::once(participants).chain(envelope.meta()).chain(more))
        .build();
    keep(
        state,
        from,
        Known { id: id.clone(), chat: to.jid(), from: from.clone(), family: chat.server, ts: unix_now(), message },
    )?;
    messages::route(state, &Address::new(from, 0), &node);
    Ok(id)
}

/// Puts what a phone sends into its archive.
pub fn keep(state: &mut State, from: &Number, known: Known) -> Result<()> {
    state.account_mut(from)?.phone.known.insert(known);
    Ok(())
}

/// The start of a `<message>` with this outside.
pub fn stanza(id: &str, envelope: &Envelope) -> NodeBuilder {
    let node = NodeBuilder::new("message").attr("id", id).attr("type", envelope.kind);
    match envelope.edit {
        Some(edit) => node.attr("edit", edit),
        None => node,
    }
}

/// The copy for own devices names the chat; what belongs to the message as a
/// whole is outside.
pub fn wrap_sent(message: &Message, chat: &Jid) -> Message {
    let mut inner = message.clone();
    Message {
        message_context_info: std::mem::take(&mut inner.message_context_info),
        device_sent_message: MessageField::some(DeviceSentMessage {
            destination_jid: Some(chat.to_string()),
            message: MessageField::some(inner),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The message in a copy of an own device, whole again; and the chat it names.
/// A message that is no such copy is returned as it is.
pub fn unwrap_sent(mut message: Message) -> (Message, Option<Jid>) {
    let Some(sent) = std::mem::take(&mut message.device_sent_message).into_option() else {
        return (message, None);
    };
    let mut inner = sent.message.into_option().unwrap_or_default();
    if inner.message_context_info.is_unset() {
        inner.message_context_info = message.message_context_info;
    }
    (inner, sent.destination_jid.and_then(|jid| jid.parse().ok()))
}

/// Encrypts for one device, with a new session if there is none.
pub fn seal(
    state: &mut State,
    from: &Number,
    device: &Address,
    plain: &[u8],
    envelope: Option<&Envelope>,
) -> Result<Node> {
    if !state.account(from)?.phone.endpoint.has_session(device) {
        let bundle = take_bundle_of(state, device).with_context(|| format!("{device:?} has no keys to encrypt for"))?;
        let phone = &mut state.account_mut(from)?.phone;
        phone.endpoint.start_session(device, &bundle)?;
    }
    let phone = &mut state.account_mut(from)?.phone;
    let (kind, sealed) = phone.endpoint.encrypt(device, plain)?;
    let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", kind);
    if let Some(media) = envelope.and_then(|envelope| envelope.media) {
        enc = enc.attr("mediatype", media);
    }
    if envelope.is_some_and(|envelope| envelope.hidden) {
        enc = enc.attr("decrypt-fail", "hide");
    }
    Ok(enc.bytes(sealed).build())
}

/// Sends a message again to the one device that asked for it.
pub fn resend(state: &mut State, number: &Number, asker: &Address, id: &str) {
    if let Err(error) = try_resend(state, number, asker, id) {
        tracing::warn!("{number} cannot send {id} again to {asker:?}: {error:#}");
    }
}

fn try_resend(state: &mut State, number: &Number, asker: &Address, id: &str) -> Result<()> {
    let phone = &mut state.account_mut(number)?.phone;
    phone.endpoint.forget(asker);
    let known = phone.known.get(id).context("it never sent that")?.clone();
    if let Some(room) = known.room() {
        return group::resend(state, number, asker, id, room);
    }
    let family = known.family;
    let person = state.resolve(&known.chat).context("the other side is gone")?;
    let chat_jid = state.account(&person)?.jid(family, 0);
    let account = state.account(&asker.number)?;
    let own = asker.number == *number;
    let to = account.jid(if own { account.family() } else { family }, asker.device);
    let plain = match own {
        true => MessageUtils::encode_and_pad(&wrap_sent(&known.message, &chat_jid)),
        false => MessageUtils::encode_and_pad(&known.message),
    };
    let envelope = Envelope::of(&known.message);
    let enc = seal(state, number, asker, &plain, Some(&envelope))?;
    let mut node = stanza(id, &envelope).attr("to", to);
    if own {
        node = node.attr("recipient", chat_jid);
    }
    let node = node.children(std::iter::once(enc).chain(envelope.meta())).build();
    messages::route(state, &Address::new(number, 0), &node);
    Ok(())
}

/// `<keys>` of a retry receipt: a bundle to start over with.
pub fn keys_node(bundle: &Bundle) -> Node {
    let id = |id: u32| leaf("id", &id.to_be_bytes()[1..]);
    let mut content = vec![leaf("type", [5]), leaf("identity", bundle.identity)];
    if let Some((prekey, value)) = bundle.prekey {
        content.push(NodeBuilder::new("key").children([id(prekey), leaf("value", value)]).build());
    }
    let signed = &bundle.signed_prekey;
    content.push(
        NodeBuilder::new("skey")
            .children([id(signed.id), leaf("value", signed.value), leaf("signature", signed.signature.clone())])
            .build(),
    );
    NodeBuilder::new("keys").children(content).build()
}
