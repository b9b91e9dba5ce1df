//! History sync: what a phone tells a companion about the time before it was
//! linked, in chunks, and what it looks up for one later.
//!
//! Chunks are made outside the lock: an old phone has thousands of chats. The
//! requests wait in the state until the simulator's worker takes them.

mod addons;
mod chunks;
mod conversations;
mod seed;
mod source;

use anyhow::{Context as _, Result};
use buffa::{Message as _, MessageField};
use waproto::whatsapp::{
    DeviceProps, HistorySync,
    message::{
        FullHistorySyncOnDemandRequestMetadata, HistorySyncNotification, HistorySyncType,
        PeerDataOperationRequestMessage, PeerDataOperationRequestResponseMessage, PeerDataOperationRequestType,
        ProtocolMessage,
        peer_data_operation_request_response_message::{
            PeerDataOperationResult,
            peer_data_operation_result::{FullHistorySyncOnDemandRequestResponse, FullHistorySyncOnDemandResponseCode},
        },
        protocol_message,
    },
};

pub use chunks::{Limits, Prepared, prepare};
pub use seed::{HistorySeed, seed};
pub use source::Source;

use crate::{
    ids::{Address, Number},
    media::{Located, Sealed},
    phone,
    state::State,
};

/// Something a companion is to be told.
#[derive(Clone, Debug)]
pub struct Job {
    pub companion: Address,
    pub wanted: Wanted,
}

/// What of the history.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All that a new companion gets.
    Initial { full: bool, inline: bool },
    /// Older messages of one chat.
    OnDemand { request: String, chat: String, oldest: String, before_ms: i64, count: usize, inline: bool },
    /// Everything, from a time on (seconds since 1970).
    Full { metadata: FullHistorySyncOnDemandRequestMetadata, from: u64 },
}

/// A companion was linked: its history is to be sent.
pub fn begin(state: &mut State, companion: &Address) {
    let Some(linked) = state.companion_mut(companion) else {
        return;
    };
    let props = DeviceProps::decode_from_slice(&linked.registration.device_props).unwrap_or_default();
    let inline = props.history_sync_config.inline_initial_payload_in_e2_ee_msg.unwrap_or(false);
    let wanted = Wanted::Initial { full: props.require_full_sync.unwrap_or(false), inline };
    state.history_jobs.push(Job { companion: companion.clone(), wanted });
}

/// Takes a companion's request for history. Returns whether it was one. `id` is
/// that of the message it came in.
pub fn request(state: &mut State, companion: &Address, id: &str, request: &PeerDataOperationRequestMessage) -> bool {
    let wanted = if let Some(wanted) = request.history_sync_on_demand_request.as_option() {
        Wanted::OnDemand {
            request: id.to_owned(),
            chat: wanted.chat_jid.clone().unwrap_or_default(),
            oldest: wanted.oldest_msg_id.clone().unwrap_or_default(),
            before_ms: wanted.oldest_msg_timestamp_ms.unwrap_or(0),
            count: usize::try_from(wanted.on_demand_msg_count.unwrap_or(50)).unwrap_or(0),
            inline: wanted.support_inline_response.unwrap_or(false),
        }
    } else if let Some(wanted) = request.full_history_sync_on_demand_request.as_option() {
        let metadata = wanted.request_metadata.as_option().cloned().unwrap_or_default();
        let config = wanted.full_history_sync_on_demand_config.as_option();
        let from = config.and_then(|config| config.history_from_timestamp).unwrap_or(0);
        if let Err(error) = agree(state, companion, id, &metadata) {
            tracing::error!("cannot answer {companion:?}: {error:#}");
        }
        Wanted::Full { metadata, from }
    } else {
        return false;
    };
    state.history_jobs.push(Job { companion: companion.clone(), wanted });
    true
}

/// The phone says that it will send its whole history.
fn agree(
    state: &mut State,
    companion: &Address,
    id: &str,
    metadata: &FullHistorySyncOnDemandRequestMetadata,
) -> Result<()> {
    let response = FullHistorySyncOnDemandRequestResponse {
        request_metadata: MessageField::some(metadata.clone()),
        response_code: Some(FullHistorySyncOnDemandResponseCode::REQUEST_SUCCESS),
    };
    let result = PeerDataOperationResult {
        full_history_sync_on_demand_request_response: MessageField::some(response),
        ..Default::default()
    };
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE),
        peer_data_operation_request_response_message: MessageField::some(PeerDataOperationRequestResponseMessage {
            peer_data_operation_request_type: Some(PeerDataOperationRequestType::FULL_HISTORY_SYNC_ON_DEMAND),
            stanza_id: Some(id.to_owned()),
            peer_data_operation_result: vec![result],
        }),
        ..Default::default()
    };
    phone::send_peer(state, companion, protocol)?;
    Ok(())
}

/// Puts a chunk on the media store, unless it goes inline, and tells the
/// companion of it.
pub fn deliver(state: &mut State, companion: &Address, chunk: Prepared) -> Result<()> {
    // A companion that was unlinked meanwhile needs no history.
    state.companion_mut(companion).context("the companion is gone")?;
    let mut notification = chunk.notification;
    let located = match chunk.content {
        chunks::Content::Inline(payload) => {
            notification.initial_hist_bootstrap_inline_payload = Some(payload);
            None
        }
        chunks::Content::File(sealed) => Some(put_up(state, &mut notification, sealed)),
    };
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::HISTORY_SYNC_NOTIFICATION),
        history_sync_notification: MessageField::some(notification),
        ..Default::default()
    };
    let id = phone::send_peer(state, companion, protocol)?;
    if let Some(located) = located {
        state.account_mut(&companion.number)?.phone.history_files.insert(id, located);
    }
    Ok(())
}

fn put_up(state: &mut State, notification: &mut HistorySyncNotification, sealed: Sealed) -> Located {
    let direct_path = state.media.add(sealed.blob);
    notification.direct_path = Some(direct_path.clone());
    notification.media_key = Some(sealed.media_key.clone());
    notification.file_sha256 = Some(sealed.file_sha256.clone());
    notification.file_enc_sha256 = Some(sealed.file_enc_sha256.clone());
    notification.file_length = Some(sealed.file_length);
    Located {
        kind: wacore::download::MediaType::History,
        direct_path,
        media_key: Some(sealed.media_key),
        file_sha256: sealed.file_sha256,
        file_enc_sha256: sealed.file_enc_sha256,
        mimetype: None,
    }
}

/// Both enums list the same kinds of chunks.
fn notified_as(sync: &HistorySync) -> HistorySyncType {
    use waproto::whatsapp::history_sync::HistorySyncType as Kind;
    match sync.sync_type {
        Kind::INITIAL_STATUS_V3 => HistorySyncType::INITIAL_STATUS_V3,
        Kind::FULL => HistorySyncType::FULL,
        Kind::RECENT => HistorySyncType::RECENT,
        Kind::PUSH_NAME => HistorySyncType::PUSH_NAME,
        Kind::NON_BLOCKING_DATA => HistorySyncType::NON_BLOCKING_DATA,
        Kind::ON_DEMAND => HistorySyncType::ON_DEMAND,
        _ => HistorySyncType::INITIAL_BOOTSTRAP,
    }
}

/// The phone's chats as a list of numbers and JIDs; for tests.
pub fn chats(state: &State, number: &Number) -> Result<Vec<String>> {
    let mut all: Vec<String> =
        state.account(number)?.phone.known.all().iter().map(|known| known.chat.to_string()).collect();
    all.sort();
    all.dedup();
    Ok(all)
}
