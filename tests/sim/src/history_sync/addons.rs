//! What belongs to other messages: reactions, votes, answers to events, edits,
//! deletions, pins. In a history they are part of the message they are about.

use std::collections::HashMap;

use buffa::Message as _;
use wacore::secret_enc_addon::ModificationType;
use waproto::whatsapp::{
    Message, MessageKey,
    message::{EventResponseMessage, PollVoteMessage, pin_in_chat_message, protocol_message},
};

use crate::{
    ids::Number,
    phone::{self, Known},
    state::State,
};

/// A reaction, vote or answer: the last of each person counts.
#[derive(Clone)]
pub struct Given<T> {
    pub id: String,
    pub from: Number,
    pub ts: u64,
    pub what: T,
}

/// All of them by the message they are about.
#[derive(Default)]
pub struct AddOns {
    pub reactions: HashMap<String, Vec<Given<String>>>,
    pub votes: HashMap<String, Vec<Given<PollVoteMessage>>>,
    pub answers: HashMap<String, Vec<Given<EventResponseMessage>>>,
    pub edits: HashMap<String, Message>,
    pub revoked: HashMap<String, u64>,
    pub pins: HashMap<String, Given<pin_in_chat_message::Type>>,
    /// How long messages stay, by chat.
    pub expiration: HashMap<String, (u32, u64)>,
}

fn put<T>(list: &mut HashMap<String, Vec<Given<T>>>, target: String, given: Given<T>) {
    let given_before = list.entry(target).or_default();
    given_before.retain(|before| before.from != given.from);
    given_before.push(given);
}

fn id_of(key: Option<&MessageKey>) -> String {
    key.and_then(|key| key.id.clone()).unwrap_or_default()
}

impl AddOns {
    /// Takes a message if it is about another one (or about the chat), and says
    /// whether it was. In the order of time.
    pub fn take(&mut self, state: &State, owner: &Number, known: &Known) -> bool {
        let message = match known.message.edited_message.as_option() {
            Some(wrapper) => wrapper.message.as_option().cloned().unwrap_or_default(),
            None => known.message.clone(),
        };
        let (id, from, ts) = (known.id.clone(), known.from.clone(), known.ts);
        if let Some(reaction) = message.reaction_message.as_option() {
            let what = reaction.text.clone().unwrap_or_default();
            put(&mut self.reactions, id_of(reaction.key.as_option()), Given { id, from, ts, what });
        } else if let Some(protocol) = message.protocol_message.as_option() {
            self.take_protocol(known, protocol);
        } else if let Some(pin) = message.pin_in_chat_message.as_option() {
            let what = pin.r#type.unwrap_or(pin_in_chat_message::Type::UNKNOWN_TYPE);
            self.pins.insert(id_of(pin.key.as_option()), Given { id, from, ts, what });
        } else if let Some((kind, target, plain)) = phone::open_plain(state, owner, &known.from, &message) {
            self.take_opened(kind, target, &plain, Given { id, from, ts, what: () });
        } else {
            return message.keep_in_chat_message.is_set()
                || message.poll_update_message.is_set()
                || message.enc_event_response_message.is_set();
        }
        true
    }

    fn take_protocol(&mut self, known: &Known, protocol: &waproto::whatsapp::message::ProtocolMessage) {
        let target = id_of(protocol.key.as_option());
        match protocol.r#type {
            Some(protocol_message::Type::REVOKE) => {
                self.revoked.insert(target, known.ts);
            }
            Some(protocol_message::Type::MESSAGE_EDIT) => {
                if let Some(edited) = protocol.edited_message.as_option() {
                    self.edits.insert(target, edited.clone());
                }
            }
            Some(protocol_message::Type::EPHEMERAL_SETTING) => {
                let seconds = protocol.ephemeral_expiration.unwrap_or(0);
                self.expiration.insert(known.chat.to_string(), (seconds, known.ts));
            }
            _ => {}
        }
    }

    fn take_opened(&mut self, kind: ModificationType, target: String, plain: &[u8], given: Given<()>) {
        let Given { id, from, ts, .. } = given;
        match kind {
            ModificationType::PollVote => {
                if let Ok(what) = PollVoteMessage::decode_from_slice(plain) {
                    put(&mut self.votes, target, Given { id, from, ts, what });
                }
            }
            ModificationType::EventResponse => {
                if let Ok(what) = EventResponseMessage::decode_from_slice(plain) {
                    put(&mut self.answers, target, Given { id, from, ts, what });
                }
            }
            ModificationType::EncReaction => {
                if let Ok(reaction) = waproto::whatsapp::message::ReactionMessage::decode_from_slice(plain) {
                    let what = reaction.text.unwrap_or_default();
                    put(&mut self.reactions, target, Given { id, from, ts, what });
                }
            }
            ModificationType::MessageEdit => {
                let edited = Message::decode_from_slice(plain).ok();
                let protocol = edited.and_then(|edit| edit.protocol_message.into_option());
                if let Some(edited) = protocol.and_then(|protocol| protocol.edited_message.into_option()) {
                    self.edits.insert(target, edited);
                }
            }
            // Options added to a poll and changed events are not kept: phones
            // show them, but a history names the poll as it was made.
            _ => {}
        }
    }
}
