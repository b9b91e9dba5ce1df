//! What a chat's room takes, said in its state for clients that ask (`com.beeper.room_features`, as Beeper's clients read
//! it): so that they do not offer what WhatsApp refuses.

use super::outgoing::{MAX_FILE, MAX_TEXT};
use serde_json::{Value, json};

/// The type of the state event.
pub const ROOM_FEATURES: &str = "com.beeper.room_features";
/// How long WhatsApp lets a message be edited, seconds (its clients' limit).
pub const EDIT_WINDOW_S: i64 = 15 * 60;
/// How long WhatsApp lets a message be deleted for everybody, seconds (its clients' limit: 2 days and 12 hours).
pub const DELETE_WINDOW_S: i64 = 60 * 3600;

/// Works as on Matrix.
const FULL: i64 = 2;
/// Works, with something lost.
const PARTIAL: i64 = 1;

/// The content; `timers_s` are the timers of disappearing messages that can be set, seconds.
pub fn room_features(timers_s: &[u32]) -> Value {
    let file = |mimes: &[(&str, i64)]| {
        let mimes: serde_json::Map<String, Value> =
            mimes.iter().map(|(mime, level)| ((*mime).to_owned(), (*level).into())).collect();
        json!({ "mime_types": mimes, "caption": FULL, "max_caption_length": MAX_TEXT, "max_size": MAX_FILE })
    };
    let timers: Vec<u64> = timers_s.iter().filter(|seconds| **seconds > 0).map(|s| u64::from(*s) * 1000).collect();
    json!({
        // Another id means another content: clients may keep what they have read under it.
        "id": "org.matrix-whatsapp.features.1",
        "formatting": {
            "bold": FULL, "italic": FULL, "strikethrough": FULL, "inline_code": FULL, "code_block": FULL,
            "blockquote": FULL, "ordered_list": FULL, "unordered_list": FULL, "user_link": FULL,
            "underline": PARTIAL, "headers": PARTIAL, "spoiler": PARTIAL, "custom_emoji": PARTIAL,
        },
        "file": {
            "m.image": file(&[("image/*", FULL)]),
            "m.video": file(&[("video/*", FULL)]),
            "m.audio": file(&[("audio/*", FULL)]),
            "m.file": file(&[("*/*", FULL)]),
            "m.sticker": file(&[("image/*", PARTIAL)]),
            "org.matrix.msc3245.voice": file(&[("audio/*", FULL)]),
        },
        "max_text_length": MAX_TEXT,
        "location_message": FULL,
        "poll": FULL,
        "reply": FULL,
        "thread": PARTIAL,
        "edit": FULL,
        "edit_max_age": EDIT_WINDOW_S,
        "delete": FULL,
        "delete_for_me": false,
        "delete_max_age": DELETE_WINDOW_S,
        "reaction": FULL,
        "reaction_count": 1,
        "custom_emoji_reactions": false,
        "read_receipts": true,
        "disappearing_timer": { "types": ["after_send"], "timers": timers },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_the_conversion_checks() {
        let content = room_features(&[0, 86_400]);
        assert_eq!(content["max_text_length"], MAX_TEXT);
        assert_eq!(content["file"]["m.file"]["max_size"], MAX_FILE);
        assert_eq!(content["disappearing_timer"]["timers"], json!([86_400_000]));
        assert!(content.to_string().len() < 4_000, "it is sent to every room");
    }
}
