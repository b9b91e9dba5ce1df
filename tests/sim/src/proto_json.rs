//! Protocol buffers as JSON, both ways, with the proto's own field names.
//!
//! The descriptor that the generated types come from says what each field is
//! called and how it is written, so every kind of message is shown whole.
//! Enums are names, bytes are base64, 64-bit numbers are numbers; fields that
//! are not set are left out.

mod read;
mod schema;
mod wire;
mod write;

use anyhow::{Context, Result};
use buffa::Message as _;
use serde_json::Value;
use waproto::whatsapp::Message;

use schema::Schema;

/// Shows an encoded message of a type, such as `Message` or
/// `Message.ImageMessage`, as JSON. Errors when there is no such type or the
/// bytes are none of it.
pub fn to_json(name: &str, encoded: &[u8]) -> Result<Value> {
    let schema = Schema::get()?;
    read::message(schema, schema.message(&full(name))?, encoded)
}

/// Encodes JSON of [`to_json`]'s form as a message of a type. Errors on an
/// unknown field and on a value that does not fit.
pub fn from_json(name: &str, value: &Value) -> Result<Vec<u8>> {
    let schema = Schema::get()?;
    write::message(schema, schema.message(&full(name))?, value)
}

/// Shows a chat message; null when it cannot be (the generated types and the
/// descriptor are from one source, so it can).
pub fn show(message: &Message) -> Value {
    to_json("Message", &message.encode_to_vec()).unwrap_or_else(|error| {
        tracing::error!("message as JSON: {error:#}");
        Value::Null
    })
}

/// Reads a chat message from JSON with the proto's field names.
pub fn parse(value: &Value) -> Result<Message> {
    let encoded = from_json("Message", value)?;
    Message::decode_from_slice(&encoded).context("message")
}

fn full(name: &str) -> String {
    format!(".whatsapp.{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_survives_the_way_to_json_and_back() {
        let value = json!({
            "imageMessage": {
                "caption": "hi", "fileLength": 18_446_744_073_709_551_615u64, "height": 3, "mediaKey": "AAEC",
                "scanLengths": [1, 300], "viewOnce": true, "imageSourceType": "AI_MODIFIED",
                "contextInfo": { "mentionedJid": ["1@lid", "2@lid"], "quotedMessage": { "conversation": "before" } },
            },
            "locationMessage": { "degreesLatitude": -1.5, "speedInMps": 0.25 },
            "protocolMessage": { "type": "MESSAGE_EDIT", "timestampMs": -7 },
        });
        let message = parse(&value).unwrap();
        let image = message.image_message.as_option().unwrap();
        assert_eq!(image.media_key.as_deref(), Some(&[0u8, 1, 2][..]));
        assert_eq!(image.scan_lengths, [1, 300]);
        assert_eq!(show(&message), value);
    }

    #[test]
    fn one_of_several_is_named_as_the_proto_names_it() {
        let value = json!({ "buttonsMessage": {
            "contentText": "choose", "text": "head", "headerType": "TEXT",
            "buttons": [{ "buttonId": "a", "buttonText": { "displayText": "A" }, "type": "RESPONSE" }],
        } });
        assert_eq!(show(&parse(&value).unwrap()), value);
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for value in [
            json!({ "image_massage": {} }),
            json!({ "conversation": 1 }),
            json!({ "protocolMessage": { "type": "NONSENSE" } }),
            json!({ "imageMessage": { "mediaKey": "no base64!" } }),
            json!([]),
        ] {
            assert!(parse(&value).is_err(), "{value}");
        }
    }
}
