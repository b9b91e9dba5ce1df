//! Plain text, both ways, and the honest notice for what can not be shown yet: what the bridge speaks until it calls
//! [`incoming`](super::incoming) and [`outgoing`](super::outgoing).

use super::words::clean;
use super::{MxPart, Refusal};
use serde_json::{Value, json};
use whatsapp_rust::prelude::{MessageBuilderExt, MessageExt, wa};
use whatsapp_rust::waproto::codec::message_to_vec;

/// Bytes of text in one Matrix event: well below 64 KiB with escapes and the rest of the event around it
/// (CS-API, "Size limits").
const MAX_EVENT_TEXT: usize = 30_000;

pub use super::outgoing::MAX_TEXT as MAX_WHATSAPP_TEXT;

/// The Matrix events of one WhatsApp message; none when there is nothing to show.
pub fn from_whatsapp(message: &wa::Message) -> Vec<MxPart> {
    if is_silent(message) {
        return Vec::new();
    }
    match message.text_content() {
        Some(text) => split(&clean(text)).into_iter().map(|piece| text_part("m.text", piece)).collect(),
        None => vec![text_part(
            "m.notice",
            "This kind of WhatsApp message can't be shown here yet. Please open WhatsApp on your phone to see it.",
        )],
    }
}

/// Whether a message holds nothing for people: keys, settings and answers between devices.
pub fn is_silent(message: &wa::Message) -> bool {
    use wa::message::protocol_message::Type;
    let base = message.get_base_message();
    if let Some(protocol) = base.protocol_message.as_option() {
        return !matches!(protocol.r#type, Some(Type::REVOKE | Type::MESSAGE_EDIT | Type::EPHEMERAL_SETTING));
    }
    // Only a sender key, or only a wrapper's context: nothing was said.
    let mut rest = base.clone();
    rest.sender_key_distribution_message = Default::default();
    rest.message_context_info = Default::default();
    // By its encoding: a part that is there with nothing in it compares equal to one that is not.
    message_to_vec(&rest).is_empty()
}

/// The WhatsApp message of a Matrix event's content.
///
/// # Errors
/// [`Refusal`] with words for the sender when WhatsApp has nothing like it or a limit is passed.
pub fn to_whatsapp(event_type: &str, content: &Value) -> Result<wa::Message, Refusal> {
    if event_type != "m.room.message" {
        return Err(Refusal::new(format!("{} can't be sent to WhatsApp yet.", kind_in_words(event_type))));
    }
    if content.pointer("/m.relates_to/rel_type").and_then(Value::as_str) == Some("m.replace") {
        return Err(Refusal::new("Edits can't be sent to WhatsApp yet; please write the correction as a new message."));
    }
    let body = content.get("body").and_then(Value::as_str).unwrap_or_default();
    match content.get("msgtype").and_then(Value::as_str) {
        Some("m.text" | "m.notice" | "m.emote") => {}
        Some(_) => return Err(Refusal::new("Files and media can't be sent to WhatsApp yet.")),
        None => return Err(Refusal::new("The event has no message type, so there was nothing to send.")),
    }
    if body.trim().is_empty() {
        return Err(Refusal::new("The message is empty, so there was nothing to send."));
    }
    if body.chars().count() > MAX_WHATSAPP_TEXT {
        return Err(Refusal::new(format!(
            "WhatsApp takes at most {MAX_WHATSAPP_TEXT} characters in one message; please send it in several."
        )));
    }
    Ok(wa::Message::text(clean(body)))
}

fn kind_in_words(event_type: &str) -> &'static str {
    match event_type {
        "m.reaction" => "Reactions",
        "m.room.redaction" => "Deletions",
        "m.sticker" => "Stickers",
        _ => "This kind of event",
    }
}

fn text_part(msgtype: &str, body: impl Into<String>) -> MxPart {
    MxPart::new("m.room.message", json!({ "msgtype": msgtype, "body": body.into(), "m.mentions": {} }))
}

/// Pieces of at most [`MAX_EVENT_TEXT`] bytes, whole characters, cut after a line where one ends near.
fn split(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > MAX_EVENT_TEXT {
        let limit = (0..=MAX_EVENT_TEXT).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let cut = rest[..limit].rfind('\n').map_or(limit, |at| at + 1).max(limit / 2);
        let cut = if rest.is_char_boundary(cut) { cut } else { limit };
        pieces.push(rest[..cut].to_owned());
        rest = &rest[cut..];
    }
    pieces.push(rest.to_owned());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use whatsapp_rust::prelude::MessageField;

    #[test]
    fn text_crosses_unchanged_both_ways() {
        let parts = from_whatsapp(&wa::Message::text("Grüße 👋"));
        assert_eq!(parts[0].content, json!({ "msgtype": "m.text", "body": "Grüße 👋", "m.mentions": {} }));
        let back = to_whatsapp("m.room.message", &parts[0].content).unwrap();
        assert_eq!(back, wa::Message::text("Grüße 👋"));
    }

    #[test]
    fn key_shares_are_silent_and_unknown_kinds_are_not() {
        let keys = wa::Message {
            protocol_message: MessageField::some(wa::message::ProtocolMessage {
                r#type: Some(wa::message::protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(from_whatsapp(&keys).is_empty());
        assert!(from_whatsapp(&wa::Message::default()).is_empty());
        let location = wa::Message { location_message: MessageField::some(Default::default()), ..Default::default() };
        assert_eq!(from_whatsapp(&location)[0].content["msgtype"], "m.notice");
    }

    #[test]
    fn what_can_not_cross_is_refused_with_words() {
        let too_long = json!({ "msgtype": "m.text", "body": "x".repeat(MAX_WHATSAPP_TEXT + 1) });
        assert!(to_whatsapp("m.room.message", &too_long).unwrap_err().tell.contains("65536"));
        for (kind, content) in [
            ("m.reaction", json!({})),
            ("m.room.message", json!({ "msgtype": "m.image", "body": "x" })),
            ("m.room.message", json!({ "msgtype": "m.text", "body": " " })),
            ("m.room.message", json!({ "body": 5 })),
            (
                "m.room.message",
                json!({ "msgtype": "m.text", "body": "* a", "m.relates_to": { "rel_type": "m.replace" } }),
            ),
        ] {
            assert!(!to_whatsapp(kind, &content).unwrap_err().tell.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_text_arrives_whole_in_bounded_pieces(text in "\\PC{0,200}", times in 1_usize..900) {
            let text = text.repeat(times);
            prop_assume!(!text.is_empty());
            let parts = from_whatsapp(&wa::Message::text(text.as_str()));
            let bodies: Vec<_> = parts.iter().map(|part| part.content["body"].as_str().unwrap().to_owned()).collect();
            prop_assert!(bodies.iter().all(|body| body.len() <= MAX_EVENT_TEXT));
            prop_assert_eq!(bodies.concat(), clean(&text));
        }
    }
}
