//! What a phone sends.

use anyhow::{Context, Result};
use buffa::{Message as _, MessageField};
use rand::RngExt as _;
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, builder::NodeBuilder};
use waproto::whatsapp::{
    Message, MessageKey, WebMessageInfo,
    message::{
        AppStateSyncKeyShare, DeviceSentMessage, PeerDataOperationRequestResponseMessage, PeerDataOperationRequestType,
        ProtocolMessage,
        peer_data_operation_request_response_message::{
            PeerDataOperationResult, peer_data_operation_result::PlaceholderMessageResendResponse,
        },
        protocol_message,
    },
};

use super::{Known, group};
use crate::{
    ids::{Address, Number},
    iq::{Bundle, take_bundle_of},
    messages, receipts,
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
    let plain = MessageUtils::encode_and_pad(&message);
    let own_plain = MessageUtils::encode_and_pad(&wrap_sent(&message, &chat));
    let mut copies = Vec::new();
    for (device, jid) in targets {
        let plain = if device.number == *from { &own_plain } else { &plain };
        let enc = seal(state, from, &device, plain, &message)?;
        copies.push(NodeBuilder::new("to").attr("jid", jid).children([enc]).build());
    }
    let node = NodeBuilder::new("message")
        .attr("id", id.as_str())
        .attr("to", &chat)
        .attr("type", stanza_type(&message))
        .children([NodeBuilder::new("participants").children(copies).build()])
        .build();
    let known =
        Known { chat: to.clone(), room: None, from: from.clone(), family: chat.server, ts: unix_now(), message };
    let phone = &mut state.account_mut(from)?.phone;
    phone.known.insert(id.clone(), known);
    messages::route(state, &Address::new(from, 0), &node);
    Ok(id)
}

/// The copy for own devices names the chat.
pub fn wrap_sent(message: &Message, chat: &Jid) -> Message {
    Message {
        device_sent_message: MessageField::some(DeviceSentMessage {
            destination_jid: Some(chat.to_string()),
            message: MessageField::some(message.clone()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Encrypts for one device, with a new session if there is none.
pub fn seal(state: &mut State, from: &Number, device: &Address, plain: &[u8], message: &Message) -> Result<Node> {
    if !state.account(from)?.phone.endpoint.has_session(device) {
        let bundle = take_bundle_of(state, device).with_context(|| format!("{device:?} has no keys to encrypt for"))?;
        let phone = &mut state.account_mut(from)?.phone;
        phone.endpoint.start_session(device, &bundle)?;
    }
    let phone = &mut state.account_mut(from)?.phone;
    let (kind, sealed) = phone.endpoint.encrypt(device, plain)?;
    let mut enc = NodeBuilder::new("enc").attr("v", "2").attr("type", kind);
    if let Some(media) = media_type(message) {
        enc = enc.attr("mediatype", media);
    }
    Ok(enc.bytes(sealed).build())
}

pub fn media_type(message: &Message) -> Option<&'static str> {
    Some(if message.image_message.is_set() {
        "image"
    } else if message.video_message.is_set() {
        "video"
    } else if message.audio_message.is_set() {
        "audio"
    } else if message.document_message.is_set() {
        "document"
    } else if message.sticker_message.is_set() {
        "sticker"
    } else if message.contact_message.is_set() {
        "vcard"
    } else if message.location_message.is_set() {
        "location"
    } else {
        return None;
    })
}

pub fn stanza_type(message: &Message) -> &'static str {
    if message.reaction_message.is_set() {
        "reaction"
    } else if message.poll_creation_message_v3.is_set() || message.poll_update_message.is_set() {
        "poll"
    } else if media_type(message).is_some() {
        "media"
    } else {
        "text"
    }
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
    let known = phone.known.get(id).context("it never sent that")?;
    if let Some(room) = known.room.clone() {
        return group::resend(state, number, asker, id, &room);
    }
    let (chat, message) = (known.chat.clone(), known.message.clone());
    let family = known.family;
    let chat_jid = state.account(&chat)?.jid(family, 0);
    let account = state.account(&asker.number)?;
    let to = if asker.number == *number {
        account.jid(account.family(), asker.device)
    } else {
        account.jid(family, asker.device)
    };
    let plain = if asker.number == *number {
        MessageUtils::encode_and_pad(&wrap_sent(&message, &chat_jid))
    } else {
        MessageUtils::encode_and_pad(&message)
    };
    let enc = seal(state, number, asker, &plain, &message)?;
    let mut node = NodeBuilder::new("message").attr("id", id).attr("to", to).attr("type", stanza_type(&message));
    if asker.number == *number {
        node = node.attr("recipient", chat_jid);
    }
    let node = node.children([enc]).build();
    messages::route(state, &Address::new(number, 0), &node);
    Ok(())
}

/// Sends a peer message to an own companion.
fn send_peer(state: &mut State, companion: &Address, protocol: ProtocolMessage) -> Result<()> {
    let message = Message { protocol_message: MessageField::some(protocol), ..Default::default() };
    let plain = MessageUtils::encode_and_pad(&message);
    let account = state.account(&companion.number)?;
    let to = account.jid(account.family(), companion.device);
    let enc = seal(state, &companion.number, companion, &plain, &message)?;
    let node = NodeBuilder::new("message")
        .attr("id", Outbound::new_id())
        .attr("to", to)
        .attr("type", "text")
        .attr("category", "peer")
        .children([enc])
        .build();
    messages::route(state, &Address::new(&companion.number, 0), &node);
    Ok(())
}

/// Gives a companion the key of the account's app state.
pub fn share_app_state_key(state: &mut State, companion: &Address) {
    let result = state.account(&companion.number).map(|account| {
        let devices = account.devices().into_iter().map(u32::from).collect();
        account.app_state.key_message(account.raw_id, account.next_key_index - 1, devices)
    });
    let shared = result.and_then(|key| {
        let protocol = ProtocolMessage {
            r#type: Some(protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
            app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare { keys: vec![key] }),
            ..Default::default()
        };
        send_peer(state, companion, protocol)
    });
    if let Err(error) = shared {
        tracing::error!("cannot share the app-state key with {companion:?}: {error:#}");
    }
}

/// Answers a companion that asks for messages it could not read; other data
/// requests are left unanswered.
pub fn answer_data_request(state: &mut State, number: &Number, companion: &Address, request: &ProtocolMessage) {
    let Some(request) = request.peer_data_operation_request_message.as_option() else {
        return;
    };
    if request.peer_data_operation_request_type != Some(PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND) {
        return;
    }
    let Some(account) = state.accounts.get(number) else {
        return;
    };
    let results: Vec<PeerDataOperationResult> = request
        .placeholder_message_resend_request
        .iter()
        .filter_map(|wanted| wanted.message_key.as_option()?.id.as_deref())
        .filter_map(|id| Some((id, account.phone.known.get(id)?)))
        .map(|(id, known)| placeholder_result(number, id, known, &account.push_name))
        .collect();
    if results.is_empty() {
        return;
    }
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE),
        peer_data_operation_request_response_message: MessageField::some(PeerDataOperationRequestResponseMessage {
            peer_data_operation_request_type: Some(PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND),
            peer_data_operation_result: results,
            ..Default::default()
        }),
        ..Default::default()
    };
    if let Err(error) = send_peer(state, companion, protocol) {
        tracing::error!("cannot answer {companion:?}: {error:#}");
    }
}

fn placeholder_result(number: &Number, id: &str, known: &Known, push_name: &str) -> PeerDataOperationResult {
    let info = WebMessageInfo {
        key: MessageField::some(MessageKey {
            remote_jid: Some(known.room.clone().unwrap_or_else(|| known.chat.jid()).to_string()),
            from_me: Some(known.from == *number),
            id: Some(id.to_owned()),
            participant: known.room.as_ref().map(|_| known.from.jid().to_string()),
        }),
        message: MessageField::some(known.message.clone()),
        message_timestamp: Some(known.ts),
        push_name: Some(push_name.to_owned()),
        ..Default::default()
    };
    PeerDataOperationResult {
        placeholder_message_resend_response: MessageField::some(PlaceholderMessageResendResponse {
            web_message_info_bytes: Some(info.encode_to_vec()),
        }),
        ..Default::default()
    }
}

/// Sends read receipts for messages of a chat: to their author's devices, and
/// to the own companions.
pub fn mark_read(state: &mut State, number: &Number, chat: &Number, ids: &[String]) -> Result<()> {
    let (first, rest) = ids.split_first().context("no message ids given")?;
    let author = state.account(chat)?;
    // As the message came, if the phone has it.
    let known = state.account(number)?.phone.known.get(first);
    let family = known.map_or(author.family(), |known| known.family);
    let mut receipt =
        NodeBuilder::new("receipt").attr("to", author.jid(family, 0)).attr("id", first.as_str()).attr("type", "read");
    if !rest.is_empty() {
        let items = rest.iter().map(|id| NodeBuilder::new("item").attr("id", id.as_str()).build());
        receipt = receipt.children([NodeBuilder::new("list").children(items).build()]);
    }
    receipts::route(state, &Address::new(number, 0), &receipt.build());
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
