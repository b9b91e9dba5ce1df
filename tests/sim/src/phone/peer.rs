//! What a phone tells its own companions alone.

use anyhow::Result;
use buffa::{Message as _, MessageField};
use wacore::messages::MessageUtils;
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp::{
    Message, MessageKey, WebMessageInfo,
    message::{
        AppStateSyncKeyShare, PeerDataOperationRequestResponseMessage, PeerDataOperationRequestType, ProtocolMessage,
        peer_data_operation_request_response_message::{
            PeerDataOperationResult, peer_data_operation_result::PlaceholderMessageResendResponse,
        },
        protocol_message,
    },
};

use super::{
    archive::Known,
    send::{Outbound, seal},
};
use crate::{
    ids::{Address, Number},
    messages,
    state::State,
};

/// Sends a peer message to an own companion and returns its id.
pub fn send_peer(state: &mut State, companion: &Address, protocol: ProtocolMessage) -> Result<String> {
    let message = Message { protocol_message: MessageField::some(protocol), ..Default::default() };
    let plain = MessageUtils::encode_and_pad(&message);
    let account = state.account(&companion.number)?;
    let to = account.jid(account.family(), companion.device);
    let enc = seal(state, &companion.number, companion, &plain, None)?;
    let id = Outbound::new_id();
    let node = NodeBuilder::new("message")
        .attr("id", id.as_str())
        .attr("to", to)
        .attr("type", "text")
        .attr("category", "peer")
        .children([enc])
        .build();
    messages::route(state, &Address::new(&companion.number, 0), &node);
    Ok(id)
}

/// Gives a companion keys of the account's app state: those it asks for, or
/// all.
pub fn share_app_state_key(state: &mut State, companion: &Address, asked: Option<&[Vec<u8>]>) {
    let result = state.account(&companion.number).map(|account| {
        let devices: Vec<u32> = account.devices().into_iter().map(u32::from).collect();
        account.app_state.key_messages(asked, account.raw_id, account.next_key_index - 1, &devices)
    });
    let shared = result.and_then(|keys| {
        let protocol = ProtocolMessage {
            r#type: Some(protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
            app_state_sync_key_share: MessageField::some(AppStateSyncKeyShare { keys }),
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
        .filter_map(|id| account.phone.known.get(id))
        .map(|known| placeholder_result(state, number, known))
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

/// A message as phones hand it to their companions: in a DM the chat names the
/// other side, in a group the sender is named, too.
pub fn web_message(state: &State, number: &Number, known: &Known) -> WebMessageInfo {
    let from_me = known.from == *number;
    let group = known.room().is_some();
    WebMessageInfo {
        key: MessageField::some(MessageKey {
            remote_jid: Some(known.chat.to_string()),
            from_me: Some(from_me),
            id: Some(known.id.clone()),
            participant: (group && !from_me).then(|| known.from.jid().to_string()),
        }),
        message: MessageField::some(known.message.clone()),
        message_timestamp: Some(known.ts),
        participant: (group && !from_me).then(|| known.from.jid().to_string()),
        push_name: state.accounts.get(&known.from).map(|account| account.push_name.clone()),
        ..Default::default()
    }
}

fn placeholder_result(state: &State, number: &Number, known: &Known) -> PeerDataOperationResult {
    PeerDataOperationResult {
        placeholder_message_resend_response: MessageField::some(PlaceholderMessageResendResponse {
            web_message_info_bytes: Some(web_message(state, number, known).encode_to_vec()),
        }),
        ..Default::default()
    }
}
