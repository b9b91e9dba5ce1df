//! Messages about messages: taken back, edited, timers.
//!
//! Only what any member of a chat may send is read here. Keys, histories and mappings between a person's own devices
//! are the library's business and nothing to people, whoever sent them.

use super::frame::{Frame, Purpose};
use super::{Context, Effect, dispatch};
use crate::convert::part::MessageName;
use crate::convert::words;
use serde_json::{Map, json};
use whatsapp_rust::prelude::wa;
use whatsapp_rust::prelude::wa::message::protocol_message::Type;

/// Longest timer that is one: ten years, seconds.
const MAX_TIMER: u32 = 315_360_000;

pub(super) fn read(
    frame: &Frame<'_>,
    protocol: &wa::message::ProtocolMessage,
    context: &Context<'_>,
    depth: usize,
) -> Effect {
    let target = || MessageName::of_field(&protocol.key);
    match protocol.r#type {
        Some(Type::REVOKE) => target().map_or(Effect::Nothing, |target| Effect::Redact { target }),
        Some(Type::MESSAGE_EDIT) => {
            let Some((target, edited)) = target().zip(protocol.edited_message.as_option()) else {
                return Effect::Nothing;
            };
            // Only new content is an edit; an edit that takes back or edits again is a forgery.
            match dispatch::read(edited, context, Purpose::Edit, depth + 1) {
                Effect::Say(parts) => Effect::Edit { target, parts },
                _ => Effect::Nothing,
            }
        }
        Some(Type::EPHEMERAL_SETTING) => timer(frame, protocol),
        Some(Type::SHARE_PHONE_NUMBER) => Effect::Say(frame.notice("Shared their phone number")),
        Some(Type::STATUS_MENTION_MESSAGE) => {
            Effect::Say(frame.notice("Mentioned you in their status. It can be seen in WhatsApp on your phone."))
        }
        Some(Type::LIMIT_SHARING) => {
            let on = protocol.limit_sharing.sharing_limited == Some(true);
            Effect::Say(frame.notice(if on {
                "Switched advanced chat privacy on"
            } else {
                "Switched advanced chat privacy off"
            }))
        }
        _ => Effect::Nothing,
    }
}

/// Types of protocol messages that mean something to people.
pub(super) fn is_for_people(protocol: &wa::message::ProtocolMessage) -> bool {
    matches!(
        protocol.r#type,
        Some(
            Type::REVOKE
                | Type::MESSAGE_EDIT
                | Type::EPHEMERAL_SETTING
                | Type::SHARE_PHONE_NUMBER
                | Type::STATUS_MENTION_MESSAGE
                | Type::LIMIT_SHARING
        )
    )
}

fn timer(frame: &Frame<'_>, protocol: &wa::message::ProtocolMessage) -> Effect {
    let seconds = protocol.ephemeral_expiration.unwrap_or(0).min(MAX_TIMER);
    let text = if seconds == 0 {
        "Switched disappearing messages off".to_owned()
    } else {
        format!("Messages disappear after {} from now on", words::span(u64::from(seconds)))
    };
    let mut extra = Map::new();
    extra.insert(
        "com.beeper.action_message".into(),
        json!({
            "type": "disappearing_timer",
            "timer": u64::from(seconds) * 1_000,
            "timer_type": if seconds == 0 { "" } else { "after_send" },
            "implicit": false,
        }),
    );
    let ts_ms = protocol.ephemeral_setting_timestamp.and_then(|seconds| seconds.checked_mul(1_000));
    Effect::Timer { seconds, ts_ms, parts: frame.text("m.notice", &text, extra) }
}
