//! Chats as a history shows them.

use buffa::MessageField;
use serde_json::Value;
use wacore_binary::{Jid, Server};
use waproto::whatsapp::{
    Conversation, EventResponse, GroupParticipant, HistorySyncMsg, MessageKey, PinInChat, PollUpdate, Reaction,
    WebMessageInfo, group_participant::Rank, message::pin_in_chat_message, pin_in_chat, web_message_info,
};

use super::source::Source;
use crate::{ids::Number, phone::Known};

impl Source {
    /// Which address family a chat uses: groups have their own.
    fn family_of(&self, chat: &str) -> Server {
        self.rooms.get(chat).map_or(self.family, |room| room.family)
    }

    /// A chat as the account's devices name it.
    pub fn chat_id(&self, chat: &str) -> String {
        match self.person_of(chat) {
            Some((number, _)) => self.jid(number, self.family),
            None => chat.to_owned(),
        }
    }

    fn key(&self, chat: &str, id: &str, from: &Number) -> MessageKey {
        let own = *from == self.owner;
        let room = self.rooms.contains_key(chat) || chat.ends_with("@broadcast") || chat.ends_with("@g.us");
        MessageKey {
            remote_jid: Some(self.chat_id(chat)),
            from_me: Some(own),
            id: Some(id.to_owned()),
            participant: (room && !own).then(|| self.jid(from, self.family_of(chat))),
        }
    }

    /// One message with all that belongs to it.
    pub fn message(&self, known: &Known) -> WebMessageInfo {
        let chat = known.chat.to_string();
        let key = self.key(&chat, &known.id, &known.from);
        let addons = &self.addons;
        let mut content = known.message.clone();
        let secret = content.message_context_info.as_option().and_then(|info| info.message_secret.clone());
        if let Some(edited) = addons.edits.get(&known.id) {
            let info = std::mem::take(&mut content.message_context_info);
            content = edited.clone();
            content.message_context_info = info;
        }
        let revoked = addons.revoked.get(&known.id).copied();
        let pin = addons.pins.get(&known.id);
        WebMessageInfo {
            participant: key.participant.clone(),
            key: MessageField::some(key),
            message: if revoked.is_some() { MessageField::none() } else { MessageField::some(content) },
            message_timestamp: Some(known.ts),
            status: Some(self.status(known)),
            push_name: self.people.get(&known.from).map(|person| person.push_name.clone()),
            message_secret: secret,
            message_stub_type: revoked.map(|_| web_message_info::StubType::REVOKE),
            revoke_message_timestamp: revoked,
            starred: self.stars.contains(&known.id).then_some(true),
            reactions: each(addons.reactions.get(&known.id), |given| Reaction {
                key: MessageField::some(self.key(&chat, &given.id, &given.from)),
                text: Some(given.what.clone()),
                sender_timestamp_ms: Some(given.ts as i64 * 1000),
                ..Default::default()
            })
            // A reaction that was taken back is none.
            .into_iter()
            .filter(|reaction| reaction.text.as_deref() != Some(""))
            .collect(),
            poll_updates: each(addons.votes.get(&known.id), |given| PollUpdate {
                poll_update_message_key: MessageField::some(self.key(&chat, &given.id, &given.from)),
                vote: MessageField::some(given.what.clone()),
                sender_timestamp_ms: Some(given.ts as i64 * 1000),
                server_timestamp_ms: Some(given.ts as i64 * 1000),
                ..Default::default()
            }),
            event_responses: each(addons.answers.get(&known.id), |given| EventResponse {
                event_response_message_key: MessageField::some(self.key(&chat, &given.id, &given.from)),
                timestamp_ms: Some(given.ts as i64 * 1000),
                event_response_message: MessageField::some(given.what.clone()),
                ..Default::default()
            }),
            pin_in_chat: pin
                .map(|given| PinInChat {
                    r#type: Some(match given.what {
                        pin_in_chat_message::Type::PIN_FOR_ALL => pin_in_chat::Type::PIN_FOR_ALL,
                        _ => pin_in_chat::Type::UNPIN_FOR_ALL,
                    }),
                    key: MessageField::some(self.key(&chat, &known.id, &known.from)),
                    sender_timestamp_ms: Some(given.ts as i64 * 1000),
                    ..Default::default()
                })
                .map(MessageField::some)
                .unwrap_or_default(),
            ..Default::default()
        }
    }

    fn status(&self, known: &Known) -> web_message_info::Status {
        use web_message_info::Status;
        if known.from != self.owner {
            return Status::DELIVERY_ACK;
        }
        match self.receipts.get(&known.id).map(String::as_str) {
            Some("played") => Status::PLAYED,
            Some("read") => Status::READ,
            Some(_) => Status::DELIVERY_ACK,
            None => Status::SERVER_ACK,
        }
    }

    /// The last entry of a kind about a chat.
    fn entry(&self, kind: &str, chat: &str) -> Option<&Value> {
        self.entries.get(&(kind.to_owned(), chat.to_owned()))
    }

    /// A chat with some of its messages (newest first).
    pub fn conversation(&self, chat: &str, messages: &[&Known]) -> Conversation {
        let id = self.chat_id(chat);
        let all = self.chats.get(chat);
        let last = all.and_then(|all| all.last()).map(|known| known.ts);
        let person = self.person_of(chat).map(|(_, person)| person);
        let room = self.rooms.get(chat);
        let name = person.and_then(|person| self.entry("contact", &person.pn.to_string()));
        let name = name.and_then(|value| value["contactAction"]["fullName"].as_str().map(str::to_owned));
        let expiration = self.addons.expiration.get(chat);
        Conversation {
            messages: messages
                .iter()
                .rev()
                .enumerate()
                .map(|(index, known)| HistorySyncMsg {
                    message: MessageField::some(self.message(known)),
                    msg_order_id: Some(index as u64 + 1),
                })
                .rev()
                .collect(),
            last_msg_timestamp: last,
            conversation_timestamp: last,
            unread_count: Some(0),
            name: room.map(|room| room.subject.clone()).or(name),
            display_name: person.map(|person| person.push_name.clone()),
            pn_jid: person.map(|person| person.pn.to_string()),
            lid_jid: person.map(|person| person.lid.to_string()),
            not_spam: Some(true),
            archived: self
                .entry("archive", &id)
                .map(|value| value["archiveChatAction"]["archived"] == Value::Bool(true)),
            pinned: self
                .entry("pin_v1", &id)
                .filter(|value| value["pinAction"]["pinned"] == Value::Bool(true))
                .and_then(|value| u32::try_from(value["timestamp"].as_u64()? / 1000).ok()),
            mute_end_time: self
                .entry("mute", &id)
                .and_then(|value| value["muteAction"]["muteEndTimestamp"].as_i64())
                .map(|end| if end < 0 { u64::MAX >> 1 } else { end as u64 / 1000 }),
            marked_as_unread: self
                .entry("markChatAsRead", &id)
                .map(|value| value["markChatAsReadAction"]["read"] == Value::Bool(false)),
            ephemeral_expiration: expiration.map(|(seconds, _)| *seconds),
            ephemeral_setting_timestamp: expiration.map(|(_, ts)| *ts as i64),
            participant: room.map_or_else(Vec::new, |room| {
                let member = |(number, admin): &(Number, bool)| GroupParticipant {
                    user_jid: self.jid(number, room.family),
                    rank: Some(if *admin { Rank::ADMIN } else { Rank::REGULAR }),
                    ..Default::default()
                };
                room.participants.iter().map(member).collect()
            }),
            id,
            ..Default::default()
        }
    }

    /// The chat a request names, as it is known here.
    pub fn find_chat(&self, asked: &str) -> Option<String> {
        let asked: Jid = asked.parse().ok()?;
        let asked = asked.to_non_ad();
        let person = self.people.values().find(|person| person.pn == asked || person.lid == asked);
        let chat = person.map_or_else(|| asked.to_string(), |person| person.pn.to_string());
        self.chats.contains_key(&chat).then_some(chat)
    }
}

fn each<T, R>(list: Option<&Vec<T>>, show: impl Fn(&T) -> R) -> Vec<R> {
    list.into_iter().flatten().map(show).collect()
}
