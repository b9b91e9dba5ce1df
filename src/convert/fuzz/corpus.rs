//! Where fuzzing begins: pieces of the golden cases, by what reads them.

use crate::convert::golden::{corpus, proto::Schema};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

/// Every text under one of these names, anywhere in the cases of a direction.
fn strings(direction: &str, keys: &[&str]) -> Vec<Vec<u8>> {
    fn collect(value: &Value, keys: &[&str], found: &mut Vec<Vec<u8>>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match value {
                        Value::String(text) if keys.contains(&key.as_str()) => found.push(text.clone().into_bytes()),
                        inner => collect(inner, keys, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, keys, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    corpus(direction).iter().for_each(|case| collect(case, keys, &mut found));
    found.retain(|text| !text.is_empty() && text.len() < 20_000);
    found.sort();
    found.dedup();
    found
}

/// Words people wrote on WhatsApp.
pub fn texts() -> Vec<Vec<u8>> {
    strings("from_whatsapp", &["conversation", "text", "caption"])
}

/// Words people wrote in Matrix, with and without elements.
pub fn html() -> Vec<Vec<u8>> {
    strings("to_whatsapp", &["formatted_body", "body"])
}

/// Contact cards.
pub fn cards() -> Vec<Vec<u8>> {
    strings("from_whatsapp", &["vcard"])
}

/// Shapes of voices.
pub fn waveforms() -> Vec<Vec<u8>> {
    let shapes =
        strings("from_whatsapp", &["waveform"]).into_iter().filter_map(|text| BASE64_STANDARD.decode(text).ok());
    shapes.chain([(0..64).collect()]).collect()
}

/// Polls, votes and their ends: events as JSON, and messages as they are on the wire.
pub fn polls() -> Vec<Vec<u8>> {
    let is_poll = |case: &Value| case["type"].as_str().is_some_and(|kind| kind.contains("poll"));
    let events = corpus("to_whatsapp").into_iter().filter(is_poll).map(|case| case["content"].to_string().into_bytes());
    let schema = Schema::load();
    let messages = corpus("from_whatsapp").into_iter().filter(|case| case["message"].to_string().contains("poll"));
    let messages = messages.map(|case| schema.encode("Message", &case["message"])).collect::<Vec<_>>();
    events.chain(messages).filter(|bytes| bytes.len() < 20_000).collect()
}

/// Notes in stickers as WhatsApp writes them, and files with them.
pub fn stickers() -> Vec<Vec<u8>> {
    let notes = [
        r#"{"emojis":["😀","❤️"],"sticker-pack-id":"p","sticker-pack-name":"Cats","accessibility-text":"a cat"}"#,
        r#"{"emojis":[],"sticker-pack-publisher":"somebody","is-first-party-sticker":1}"#,
        "{}",
        "no json",
    ];
    let notes = notes.map(str::as_bytes);
    notes.iter().flat_map(|note| [note.to_vec(), webp(note, true), webp(note, false)]).collect()
}

/// A WebP with this note, in either order of bytes.
pub fn webp(note: &[u8], little: bool) -> Vec<u8> {
    let four = |number: usize| {
        let number = u32::try_from(number).unwrap();
        if little { number.to_le_bytes() } else { number.to_be_bytes() }
    };
    let two = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
    let mut tiff = if little { b"II".to_vec() } else { b"MM".to_vec() };
    tiff.extend(two(42));
    tiff.extend(four(8));
    tiff.extend([two(1), two(0x5741), two(7)].concat());
    tiff.extend([four(note.len()), four(22)].concat());
    tiff.extend(note);
    let mut file = b"RIFF\0\0\0\0WEBPVP8 \x03\0\0\0abc\0EXIF".to_vec();
    file.extend(u32::try_from(tiff.len()).unwrap().to_le_bytes());
    file.extend(tiff);
    file
}
