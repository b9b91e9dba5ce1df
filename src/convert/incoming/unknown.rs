//! Kinds nobody has taught the bridge: told so, with what was decoded kept in the event.

use super::frame::Frame;
use crate::convert::part::MxPart;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use whatsapp_rust::prelude::wa;
use whatsapp_rust::waproto::codec::message_to_vec;

/// Bytes of a message kept inside its notice.
const MAX_KEPT: usize = 16 * 1024;

pub(super) fn unknown(frame: &Frame<'_>, message: &wa::Message) -> Vec<MxPart> {
    let kind = kind_in_words(message).map(|kind| format!(" ({kind})")).unwrap_or_default();
    let text = format!(
        "A kind of WhatsApp message that can't be shown here yet{kind}. Please open WhatsApp on your phone to see it."
    );
    let mut kept = message.clone();
    // Secrets of the message are no part of what it says.
    kept.message_context_info = Default::default();
    kept.sender_key_distribution_message = Default::default();
    let bytes = message_to_vec(&kept);
    let mut extra = Map::new();
    if bytes.len() < MAX_KEPT {
        extra.insert("fi.mau.whatsapp.unsupported_message_data".into(), STANDARD.encode(bytes).into());
    }
    frame.text("m.notice", &text, extra)
}

/// The protocol's name for what is in a message.
fn kind_in_words(message: &wa::Message) -> Option<String> {
    let fields = serde_json::to_value(message).ok()?;
    let named = fields.as_object()?.iter().find(|(key, value)| {
        let empty = matches!(value, Value::Null) || value.as_array().is_some_and(Vec::is_empty);
        !empty && !matches!(key.as_str(), "message_context_info" | "sender_key_distribution_message")
    });
    named.map(|(key, _)| key.trim_end_matches("_message").replace('_', " "))
}
