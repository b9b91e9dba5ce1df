//! Messages that do something to another one: reactions, votes, pins, comments, and what is sealed.

use super::frame::{Frame, Purpose};
use super::{Context, Effect, SealedKind, dispatch, poll, protocol, sealed};
use crate::convert::part::MessageName;
use crate::convert::{emoji, words};
use whatsapp_rust::prelude::{MessageField, wa};

/// Messages that do something to another one.
pub(super) fn read(frame: &Frame<'_>, context: &Context<'_>, depth: usize) -> Option<Effect> {
    let base = frame.opened.base;
    if let Some(protocol) = base.protocol_message.as_option() {
        return Some(protocol::read(frame, protocol, context, depth));
    }
    if let Some(reaction) = base.reaction_message.as_option() {
        return Some(react(reaction));
    }
    if let Some(vote) = base.poll_update_message.as_option() {
        return Some(poll::vote(vote));
    }
    if let Some(added) = base.poll_add_option_message.as_option() {
        return Some(poll::added_option(added));
    }
    if let Some(pin) = base.pin_in_chat_message.as_option() {
        return Some(self::pin(pin));
    }
    if let Some(keep) = base.keep_in_chat_message.as_option() {
        let kept = keep.keep_type == Some(wa::KeepType::KEEP_FOR_ALL);
        return Some(MessageName::of_field(&keep.key).map_or(Effect::Nothing, |target| Effect::Keep { target, kept }));
    }
    if let Some(comment) = base.comment_message.as_option() {
        return Some(self::comment(comment, context, depth));
    }
    sealed_message(base)
}

fn react(reaction: &wa::message::ReactionMessage) -> Effect {
    let Some(target) = MessageName::of_field(&reaction.key) else { return Effect::Nothing };
    let text = reaction.text.as_deref().unwrap_or_default();
    let emoji = if text.is_empty() {
        String::new()
    } else {
        // What is no emoji is shown as the words it is; a key is one line.
        emoji::for_matrix(text).unwrap_or_else(|| words::line(text, 20))
    };
    Effect::React { target, emoji, ts_ms: reaction.sender_timestamp_ms.unwrap_or(0) }
}

fn pin(pin: &wa::message::PinInChatMessage) -> Effect {
    use wa::message::pin_in_chat_message::Type;
    let pinned = match pin.r#type {
        Some(Type::PIN_FOR_ALL) => true,
        Some(Type::UNPIN_FOR_ALL) => false,
        _ => return Effect::Nothing,
    };
    let ts_ms = pin.sender_timestamp_ms.unwrap_or(0);
    MessageName::of_field(&pin.key).map_or(Effect::Nothing, |target| Effect::Pin { target, pinned, ts_ms })
}

/// A comment is a message in its target's thread.
fn comment(comment: &wa::message::CommentMessage, context: &Context<'_>, depth: usize) -> Effect {
    let target = MessageName::of_field(&comment.target_message_key);
    let Some((target, inner)) = target.zip(comment.message.as_option()) else { return Effect::Nothing };
    match dispatch::read(inner, context, Purpose::New, depth + 1) {
        Effect::Say(mut parts) => {
            for part in &mut parts {
                part.thread_of = Some(target.clone());
            }
            Effect::Say(parts)
        }
        other => other,
    }
}

fn sealed_message(base: &wa::Message) -> Option<Effect> {
    use wa::message::secret_encrypted_message::SecretEncType;
    let make = |key: &MessageField<wa::MessageKey>, payload: Option<&Vec<u8>>, iv: Option<&Vec<u8>>, kind| {
        match MessageName::of_field(key).zip(sealed(payload, iv)) {
            Some((target, sealed)) => Effect::Sealed { kind, target, sealed },
            None => Effect::Nothing,
        }
    };
    if let Some(one) = base.enc_reaction_message.as_option() {
        let (payload, iv) = (one.enc_payload.as_ref(), one.enc_iv.as_ref());
        return Some(make(&one.target_message_key, payload, iv, SealedKind::Reaction));
    }
    if let Some(one) = base.enc_comment_message.as_option() {
        let (payload, iv) = (one.enc_payload.as_ref(), one.enc_iv.as_ref());
        return Some(make(&one.target_message_key, payload, iv, SealedKind::Comment));
    }
    if let Some(one) = base.enc_event_response_message.as_option() {
        let name = MessageName::of_field(&one.event_creation_message_key);
        let seal = sealed(one.enc_payload.as_ref(), one.enc_iv.as_ref());
        return Some(match name.zip(seal) {
            Some((event, sealed)) => Effect::Rsvp { event, sealed },
            None => Effect::Nothing,
        });
    }
    let one = base.secret_encrypted_message.as_option()?;
    let kind = match one.secret_enc_type {
        Some(SecretEncType::MESSAGE_EDIT) => SealedKind::MessageEdit,
        Some(SecretEncType::EVENT_EDIT) => SealedKind::EventEdit,
        Some(SecretEncType::POLL_EDIT) => SealedKind::PollEdit,
        Some(SecretEncType::POLL_ADD_OPTION) => SealedKind::PollOption,
        // Messages planned for later are shown when they are sent.
        _ => return Some(Effect::Nothing),
    };
    Some(make(&one.target_message_key, one.enc_payload.as_ref(), one.enc_iv.as_ref(), kind))
}
