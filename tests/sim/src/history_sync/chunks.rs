//! What goes into which chunk, and each chunk compressed and encrypted.

use std::io::Write as _;

use anyhow::Result;
use buffa::{Message as _, MessageField};
use flate2::{Compression, write::ZlibEncoder};
use wacore::download::MediaType;
use waproto::whatsapp::{
    Conversation, GlobalSettings, HistorySync, PhoneNumberToLIDMapping, Pushname,
    conversation::EndOfHistoryTransferType,
    history_sync::HistorySyncType as Kind,
    message::{FullHistorySyncOnDemandRequestMetadata, HistorySyncNotification},
};

use super::{Wanted, notified_as, source::Source};
use crate::{
    media::{self, Sealed},
    phone::Known,
    stanza::unix_now,
};

/// How much goes into the first look and into one chunk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages younger than so many days are recent; older ones are sent to
    /// companions that want everything.
    pub recent_days: u64,
    /// Messages in one chunk.
    pub chunk: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { recent_days: 90, chunk: 2000 }
    }
}

/// Where a chunk's content is.
pub enum Content {
    Inline(Vec<u8>),
    File(Sealed),
}

/// A chunk ready to be sent.
pub struct Prepared {
    pub notification: HistorySyncNotification,
    pub content: Content,
}

/// Makes all chunks of what is wanted, in their order. Takes its time.
pub fn prepare(source: &Source, wanted: &Wanted, limits: Limits) -> Result<Vec<Prepared>> {
    match wanted {
        Wanted::Initial { full, inline } => {
            let mut all = vec![pack(bootstrap(source), *inline)?];
            for sync in [push_names(source), status(source), non_blocking(source)] {
                all.push(pack(sync, false)?);
            }
            let edge = unix_now().saturating_sub(limits.recent_days * 86_400);
            let kinds: &[(Kind, bool)] =
                if *full { &[(Kind::RECENT, true), (Kind::FULL, false)] } else { &[(Kind::RECENT, true)] };
            for (kind, recent) in kinds {
                for sync in spread(source, *kind, limits.chunk, *full, |known| (known.ts >= edge) == *recent) {
                    all.push(pack(sync, false)?);
                }
            }
            Ok(all)
        }
        Wanted::OnDemand { request, chat, oldest, before_ms, count, inline } => {
            let mut chunk = pack(on_demand(source, chat, oldest, *before_ms, *count), *inline)?;
            chunk.notification.peer_data_request_session_id = Some(request.clone());
            Ok(vec![chunk])
        }
        Wanted::Full { metadata, from } => {
            let mut all = Vec::new();
            for sync in spread(source, Kind::FULL, limits.chunk, true, |known| known.ts >= *from) {
                let mut chunk = pack(sync, false)?;
                let metadata: FullHistorySyncOnDemandRequestMetadata = metadata.clone();
                chunk.notification.full_history_sync_on_demand_request_metadata = MessageField::some(metadata);
                all.push(chunk);
            }
            Ok(all)
        }
    }
}

fn chunk_of(kind: Kind, order: u32, progress: u32) -> HistorySync {
    HistorySync { sync_type: kind, chunk_order: Some(order), progress: Some(progress), ..Default::default() }
}

/// The newest message of every chat, so that a list of them can be shown; and
/// who is who.
fn bootstrap(source: &Source) -> HistorySync {
    let mut conversations: Vec<Conversation> = source
        .chats
        .iter()
        .filter(|(chat, _)| !chat.ends_with("@broadcast"))
        .map(|(chat, messages)| {
            let newest: Vec<&Known> = messages.last().into_iter().collect();
            let mut conversation = source.conversation(chat, &newest);
            end(&mut conversation, messages.len() == newest.len());
            conversation
        })
        .collect();
    conversations.sort_by_key(|conversation| std::cmp::Reverse(conversation.last_msg_timestamp));
    HistorySync {
        conversations,
        phone_number_to_lid_mappings: mappings(source),
        global_settings: MessageField::some(GlobalSettings::default()),
        ..chunk_of(Kind::INITIAL_BOOTSTRAP, 1, 100)
    }
}

fn mappings(source: &Source) -> Vec<PhoneNumberToLIDMapping> {
    source
        .everybody()
        .map(|person| PhoneNumberToLIDMapping {
            pn_jid: Some(person.pn.to_string()),
            lid_jid: Some(person.lid.to_string()),
        })
        .collect()
}

fn push_names(source: &Source) -> HistorySync {
    let named = source.everybody().filter(|person| !person.push_name.is_empty());
    let pushnames = named
        .map(|person| Pushname { id: Some(person.pn.to_string()), pushname: Some(person.push_name.clone()) })
        .collect();
    HistorySync { pushnames, ..chunk_of(Kind::PUSH_NAME, 1, 100) }
}

/// The status posts of the last day.
fn status(source: &Source) -> HistorySync {
    let day_ago = unix_now().saturating_sub(86_400);
    let posts = source.chats.get("status@broadcast").into_iter().flatten();
    let status_v3_messages = posts.filter(|known| known.ts >= day_ago).map(|known| source.message(known)).collect();
    HistorySync { status_v3_messages, ..chunk_of(Kind::INITIAL_STATUS_V3, 1, 100) }
}

fn non_blocking(source: &Source) -> HistorySync {
    HistorySync { phone_number_to_lid_mappings: mappings(source), ..chunk_of(Kind::NON_BLOCKING_DATA, 1, 100) }
}

/// The chosen messages of all chats, newest chats first, over as many chunks as
/// they need; an empty last one says that there are none.
fn spread(source: &Source, kind: Kind, size: usize, whole: bool, chosen: impl Fn(&Known) -> bool) -> Vec<HistorySync> {
    let mut chats: Vec<(&String, &Vec<Known>)> =
        source.chats.iter().filter(|(chat, _)| !chat.ends_with("@broadcast")).collect();
    chats.sort_by_key(|(_, messages)| std::cmp::Reverse(messages.last().map(|known| known.ts)));
    let mut chunks: Vec<Vec<Conversation>> = vec![Vec::new()];
    let mut room = size;
    for (chat, messages) in chats {
        let picked: Vec<&Known> = messages.iter().rev().filter(|known| chosen(known)).collect();
        let mut rest = &picked[..];
        while !rest.is_empty() {
            if room == 0 {
                chunks.push(Vec::new());
                room = size;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            room -= now.len();
            rest = later;
            let mut conversation = source.conversation(chat, now);
            end(&mut conversation, whole && later.is_empty());
            if let Some(last) = chunks.last_mut() {
                last.push(conversation);
            }
        }
    }
    let count = chunks.len();
    let numbered = chunks.into_iter().enumerate();
    numbered
        .map(|(index, conversations)| {
            let progress = (100 * (index + 1) / count) as u32;
            HistorySync { conversations, ..chunk_of(kind, index as u32 + 1, progress) }
        })
        .collect()
}

fn on_demand(source: &Source, chat: &str, oldest: &str, before_ms: i64, count: usize) -> HistorySync {
    let sync = chunk_of(Kind::ON_DEMAND, 1, 100);
    let Some(chat) = source.find_chat(chat) else {
        return sync;
    };
    let all = &source.chats[&chat];
    let end_at = all.iter().position(|known| known.id == oldest);
    let end_at = end_at.unwrap_or_else(|| all.partition_point(|known| (known.ts as i64) * 1000 < before_ms));
    let start = end_at.saturating_sub(count);
    let picked: Vec<&Known> = all[start..end_at].iter().rev().collect();
    let mut conversation = source.conversation(&chat, &picked);
    conversation.end_of_history_transfer = Some(true);
    conversation.end_of_history_transfer_type = Some(match start {
        0 => EndOfHistoryTransferType::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY,
        _ => EndOfHistoryTransferType::COMPLETE_ON_DEMAND_SYNC_BUT_MORE_MSG_REMAIN_ON_PRIMARY,
    });
    HistorySync { conversations: vec![conversation], ..sync }
}

fn end(conversation: &mut Conversation, nothing_left: bool) {
    conversation.end_of_history_transfer = Some(nothing_left);
    conversation.end_of_history_transfer_type = Some(match nothing_left {
        true => EndOfHistoryTransferType::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY,
        false => EndOfHistoryTransferType::COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY,
    });
}

/// Compresses a chunk, and encrypts it unless it goes inside the message.
fn pack(sync: HistorySync, inline: bool) -> Result<Prepared> {
    let messages = sync.conversations.iter().flat_map(|conversation| &conversation.messages);
    let oldest = messages.filter_map(|message| message.message.message_timestamp).min();
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(&sync.encode_to_vec())?;
    let compressed = compressed.finish()?;
    let notification = HistorySyncNotification {
        sync_type: Some(notified_as(&sync)),
        chunk_order: sync.chunk_order,
        progress: sync.progress,
        oldest_msg_in_chunk_timestamp_sec: oldest.map(|ts| ts as i64),
        ..Default::default()
    };
    let content = match inline {
        true => Content::Inline(compressed),
        false => Content::File(media::seal(&media::Content::Bytes(compressed.into()), MediaType::History)?),
    };
    Ok(Prepared { notification, content })
}
