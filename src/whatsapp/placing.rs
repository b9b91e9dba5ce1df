//! Messages that belong elsewhere than their stanza says: those of broadcast lists, and the later words of a bot.
//!
//! A broadcast list is no chat for who gets its messages: they stand in the direct chat with the sender. What our own phone
//! sends to a list stands in the direct chats that have rooms with who got it, as on the phone; when there is none, among
//! the own notes. A bot writes its answer piece by piece: each piece is the whole answer so far, and replaces the one
//! before it.

use super::intake::{Batch, Intake, bare};
use crate::convert::arrival::WaArrival;
use crate::convert::channel::edit;
use crate::ids::{ChatId, Lane, LoginId};
use crate::store::Result;
use crate::store::inbox::Arrival;
use std::sync::Arc;
use whatsapp_rust::prelude::{InboundMessage, Jid, MessageInfo, wa};
use whatsapp_rust::wacore::types::message::BotEditType;
use whatsapp_rust::wacore_binary::JidExt as _;

/// The message of a list as one of the direct chat with its sender; none for other messages, and for our own.
pub(super) fn from_list(info: &Arc<MessageInfo>) -> Option<Arc<MessageInfo>> {
    let is_theirs = info.source.chat.is_broadcast_list() && !info.source.is_from_me;
    is_theirs.then(|| in_chat(info, &info.source.sender))
}

/// The same in a direct chat.
fn in_chat(info: &MessageInfo, chat: &Jid) -> Arc<MessageInfo> {
    let mut info = info.clone();
    info.source.chat = chat.to_non_ad();
    info.source.is_group = false;
    info.source.recipient_alt = None;
    Arc::new(info)
}

/// A later piece of a bot's answer, as an edit of the first.
pub(super) fn bot_edit(inbound: &InboundMessage) -> Option<wa::Message> {
    let bot = inbound.info.bot_info.as_ref()?;
    let target = bot.edit_target_id.as_ref().filter(|target| **target != inbound.info.id)?;
    let is_later = matches!(bot.edit_type, Some(BotEditType::Inner | BotEditType::Last));
    let is_plain = !inbound.message.protocol_message.is_set();
    let chat = inbound.info.source.chat.to_non_ad().to_string();
    let ts_ms = inbound.info.timestamp.timestamp_millis();
    (is_later && is_plain).then(|| edit(target, &chat, (*inbound.message).clone(), ts_ms))
}

impl Intake {
    /// Stores a message of a broadcast list where it belongs; gives the lanes that got rows.
    pub(super) async fn store_from_list(
        &self,
        batch: &mut Batch,
        login: &LoginId,
        inbound: &InboundMessage,
    ) -> Result<Vec<Lane>> {
        let list = bare(&inbound.info.source.chat).as_str().to_owned();
        let mut arrivals = Vec::new();
        if let Some(info) = from_list(&inbound.info) {
            arrivals.push(self.arrival_of(batch, login, &info, &inbound.message).await?);
        } else if let Some(own) = self.store.find_login_in(&mut batch.tx, login).await?.map(|login| login.own) {
            for person in &inbound.info.bcl_participants {
                let chat = ChatId::new(self.canonical(batch, person, None).await?.as_str());
                if chat.as_str() == own.as_str() || !self.store.has_room_in(&mut batch.tx, &chat, login).await? {
                    continue;
                }
                let info = in_chat(&inbound.info, person);
                arrivals.push(self.arrival_of(batch, login, &info, &inbound.message).await?);
            }
            if arrivals.is_empty()
                && let Ok(own) = own.as_str().parse::<Jid>()
            {
                let info = in_chat(&inbound.info, &own);
                arrivals.push(self.arrival_of(batch, login, &info, &inbound.message).await?);
            }
        }
        let mut lanes = Vec::new();
        for (at, arrival) in arrivals.into_iter().enumerate() {
            let arrival = marked(arrival, &list, at);
            if self.store.put_arrival(&mut batch.tx, &arrival).await? {
                lanes.push(arrival.lane);
            }
        }
        Ok(lanes)
    }
}

/// Names the list in an arrival. One number names one row, so only the first has the stanza's.
fn marked(mut arrival: Arrival, list: &str, at: usize) -> Arrival {
    if let Ok(mut kept) = WaArrival::from_bytes(&arrival.body) {
        kept.list = Some(list.to_owned());
        arrival.body = kept.to_bytes();
    }
    arrival.seq = arrival.seq.filter(|_| at == 0);
    arrival
}
