//! Plans made into messages.

mod content;

use super::{Draft, Plan, PollDraft, Refusal, Resolved};
use crate::convert::geo::Point;
use crate::convert::words;
use whatsapp_rust::prelude::{MessageBuilderExt as _, MessageExt as _, MessageField, wa};
use whatsapp_rust::wacore::proto_helpers::{build_reaction_message, wrap_as_album_child};

/// How long a pin lasts, seconds: the longest the phone offers.
const PIN_SECONDS: u32 = 30 * 86_400;

/// Makes the message of a plan; `None` when nothing is to be sent (a live location that only begins, and what the
/// bridge has to take apart first: pins).
///
/// # Errors
/// [`Refusal`] with words for the sender when a limit is passed or what the plan needs is not there.
pub fn build(plan: &Plan, resolved: &Resolved<'_>) -> Result<Option<wa::Message>, Refusal> {
    Ok(Some(match plan {
        Plan::Message(draft) => message(draft, resolved)?,
        Plan::Album(drafts) => album(drafts, resolved),
        Plan::Edit { draft, .. } => edit(draft, resolved)?,
        Plan::React { emoji, .. } => build_reaction_message(target(resolved)?, emoji.as_str(), resolved.ts_ms),
        Plan::Redact { .. } => protocol(resolved, wa::message::protocol_message::Type::REVOKE, None)?,
        Plan::Poll(poll) => self::poll(poll, resolved),
        Plan::Vote { .. } => vote(resolved)?,
        Plan::PollEnd { text, .. } => poll_end(text, resolved)?,
        Plan::Pin { pinned, .. } => pin(*pinned, resolved)?,
        Plan::LiveMove { point, .. } => live(*point, resolved),
        Plan::LiveStop => finish(wa::Message::text("Live location ended"), wa::ContextInfo::default(), resolved),
        Plan::LiveStart { .. } | Plan::Pins { .. } => return Ok(None),
    }))
}

fn target(resolved: &Resolved<'_>) -> Result<wa::MessageKey, Refusal> {
    resolved
        .target
        .clone()
        .ok_or_else(|| Refusal::new("The message this belongs to is not in WhatsApp, so it was not sent."))
}

/// A key in a protocol message is read by others: `participant` names the author for them.
fn protocol(
    resolved: &Resolved<'_>,
    kind: wa::message::protocol_message::Type,
    edited: Option<wa::Message>,
) -> Result<wa::Message, Refusal> {
    let ts_ms = edited.is_some().then_some(resolved.ts_ms);
    Ok(wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            key: MessageField::some(target(resolved)?),
            r#type: Some(kind),
            edited_message: edited.into(),
            timestamp_ms: ts_ms,
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn message(draft: &Draft, resolved: &Resolved<'_>) -> Result<wa::Message, Refusal> {
    let mut context = resolved.quoted.as_ref().map(super::Quoted::context).unwrap_or_default();
    let made = content::make(draft, resolved, &mut context)?;
    let mut message = finish(made, context, resolved);
    if let Some(thread) = &resolved.thread {
        let info = message.message_context_info.take();
        message = wa::Message {
            comment_message: MessageField::some(wa::message::CommentMessage {
                message: MessageField::some(message),
                target_message_key: MessageField::some(thread.clone()),
            }),
            message_context_info: info.into(),
            ..Default::default()
        };
    }
    if let Some(album) = &resolved.album {
        message = wrap_as_album_child(message, album.clone());
    }
    Ok(message)
}

/// Adds what any message may carry: the context, the timer, the secret.
fn finish(mut message: wa::Message, mut context: wa::ContextInfo, resolved: &Resolved<'_>) -> wa::Message {
    if let Some(timer) = resolved.timer.filter(|timer| timer.seconds > 0) {
        context.expiration = Some(timer.seconds);
        context.ephemeral_setting_timestamp = Some(timer.set_at);
    }
    if context != wa::ContextInfo::default() {
        set_context(&mut message, context);
    }
    if let Some(secret) = resolved.secret {
        message.message_context_info.get_or_insert_default().message_secret = Some(secret.to_vec());
    }
    message
}

/// The library knows where a context belongs, but neither the wrapper of documents nor albums and newer polls.
fn set_context(message: &mut wa::Message, context: wa::ContextInfo) {
    let wrapped =
        message.document_with_caption_message.as_option_mut().and_then(|wrapper| wrapper.message.as_option_mut());
    if let Some(inner) = wrapped {
        inner.set_context_info(context);
    } else if let Some(album) = message.album_message.as_option_mut() {
        album.context_info = MessageField::some(context);
    } else {
        message.set_context_info(context);
    }
}

fn album(drafts: &[Draft], resolved: &Resolved<'_>) -> wa::Message {
    let films = drafts.iter().filter(|draft| content::is_film(draft)).count();
    let count = |count: usize| u32::try_from(count).ok();
    let album = wa::message::AlbumMessage {
        expected_image_count: count(drafts.len() - films),
        expected_video_count: count(films),
        ..Default::default()
    };
    let message = wa::Message { album_message: MessageField::some(album), ..Default::default() };
    finish(message, resolved.quoted.as_ref().map(super::Quoted::context).unwrap_or_default(), resolved)
}

fn edit(draft: &Draft, resolved: &Resolved<'_>) -> Result<wa::Message, Refusal> {
    // The quote of an answer stays with the original; an edit carries none.
    let mut context = wa::ContextInfo::default();
    let mut edited = match &resolved.original {
        Some(original) if resolved.uploaded.is_none() => content::with_words(original, draft, resolved, &mut context)?,
        _ => content::make(draft, resolved, &mut context)?,
    };
    if context != wa::ContextInfo::default() {
        set_context(&mut edited, context);
    }
    protocol(resolved, wa::message::protocol_message::Type::MESSAGE_EDIT, Some(edited))
}

fn poll(draft: &PollDraft, resolved: &Resolved<'_>) -> wa::Message {
    let options = draft.options.iter().map(|(_, name)| wa::message::poll_creation_message::Option {
        option_name: Some(name.clone()),
        ..Default::default()
    });
    let all = draft.max_selections >= draft.options.len();
    let poll = wa::message::PollCreationMessage {
        name: Some(draft.question.clone()),
        options: options.collect(),
        // 0 means as many as there are.
        selectable_options_count: Some(if all { 0 } else { u32::try_from(draft.max_selections).unwrap_or(0) }),
        poll_content_type: Some(wa::message::PollContentType::TEXT),
        ..Default::default()
    };
    let mut message = wa::Message::default();
    // The phone's own polls are of version 3 when one answer may be chosen.
    if draft.max_selections == 1 {
        message.poll_creation_message_v3 = MessageField::some(poll);
    } else {
        message.poll_creation_message = MessageField::some(poll);
    }
    finish(message, resolved.quoted.as_ref().map(super::Quoted::context).unwrap_or_default(), resolved)
}

fn vote(resolved: &Resolved<'_>) -> Result<wa::Message, Refusal> {
    let Some(sealed) = &resolved.sealed else {
        return Err(Refusal::new(
            "The poll's key is not known here, so the vote could not be sent. Please vote in WhatsApp.",
        ));
    };
    Ok(wa::Message {
        poll_update_message: MessageField::some(wa::message::PollUpdateMessage {
            poll_creation_message_key: MessageField::some(target(resolved)?),
            vote: MessageField::some(wa::message::PollEncValue {
                enc_payload: Some(sealed.payload.clone()),
                enc_iv: Some(sealed.iv.clone()),
            }),
            metadata: MessageField::some(Default::default()),
            sender_timestamp_ms: Some(resolved.ts_ms),
        }),
        ..Default::default()
    })
}

/// WhatsApp has no end of a poll that a linked device can send: its result is told as an answer to it.
fn poll_end(text: &str, resolved: &Resolved<'_>) -> Result<wa::Message, Refusal> {
    let mut lines = vec!["📊 The poll has ended.".to_owned()];
    if resolved.results.is_empty() {
        let said = text.trim();
        if !said.is_empty() {
            lines = vec![format!("📊 {said}")];
        }
    } else {
        lines.extend(
            resolved.results.iter().map(|(name, count)| format!("- {name}: {}", words::count_of(*count, "vote"))),
        );
    }
    let text = lines.join("\n");
    super::draft::check_length(&text)?;
    let context = resolved.quoted.as_ref().map(super::Quoted::context).unwrap_or_default();
    Ok(finish(wa::Message::text(text), context, resolved))
}

fn pin(pinned: bool, resolved: &Resolved<'_>) -> Result<wa::Message, Refusal> {
    use wa::message::pin_in_chat_message::Type;
    Ok(wa::Message {
        pin_in_chat_message: MessageField::some(wa::message::PinInChatMessage {
            key: MessageField::some(target(resolved)?),
            r#type: Some(if pinned { Type::PIN_FOR_ALL } else { Type::UNPIN_FOR_ALL }),
            sender_timestamp_ms: Some(resolved.ts_ms),
        }),
        message_context_info: MessageField::some(wa::MessageContextInfo {
            message_add_on_duration_in_secs: Some(if pinned { PIN_SECONDS } else { 0 }),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn live(point: Point, resolved: &Resolved<'_>) -> wa::Message {
    let place = wa::message::LiveLocationMessage {
        degrees_latitude: Some(point.latitude),
        degrees_longitude: Some(point.longitude),
        accuracy_in_meters: point.uncertainty_m,
        sequence_number: Some(resolved.sequence),
        ..Default::default()
    };
    let message = wa::Message { live_location_message: MessageField::some(place), ..Default::default() };
    finish(message, wa::ContextInfo::default(), resolved)
}
