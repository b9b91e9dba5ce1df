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
/// Is refused, with words for who sent it.
const REFUSED: i64 = -2;

/// What kind of chat a room is of, as far as it takes other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes<'a> {
    /// A chat with its timers of disappearing messages that can be set, seconds.
    Chat(&'a [u32]),
    /// Posts of a channel's admins.
    Posts,
    /// Status posts, and answers to others'.
    Status,
}

/// The content of the state event.
pub fn room_features(takes: Takes<'_>) -> Value {
    let is_chat = matches!(takes, Takes::Chat(_));
    let unless = |refused: bool, level: i64| if refused { REFUSED } else { level };
    let file = |mimes: &[(&str, i64)]| {
        let mimes: serde_json::Map<String, Value> =
            mimes.iter().map(|(mime, level)| ((*mime).to_owned(), (*level).into())).collect();
        json!({ "mime_types": mimes, "caption": FULL, "max_caption_length": MAX_TEXT, "max_size": MAX_FILE })
    };
    // The phone's status has neither sound files nor papers nor stickers.
    let beside = unless(takes == Takes::Status, FULL);
    let mut features = json!({
        // Another id means another content: clients may keep what they have read under it.
        "id": match takes {
            Takes::Chat(_) => "org.matrix-whatsapp.features.1",
            Takes::Posts => "org.matrix-whatsapp.features.channel.1",
            Takes::Status => "org.matrix-whatsapp.features.status.1",
        },
        "formatting": {
            "bold": FULL, "italic": FULL, "strikethrough": FULL, "inline_code": FULL, "code_block": FULL,
            "blockquote": FULL, "ordered_list": FULL, "unordered_list": FULL, "user_link": FULL,
            "underline": PARTIAL, "headers": PARTIAL, "spoiler": PARTIAL, "custom_emoji": PARTIAL,
        },
        "file": {
            "m.image": file(&[("image/*", FULL)]),
            "m.video": file(&[("video/*", FULL)]),
            "m.audio": file(&[("audio/*", beside)]),
            "m.file": file(&[("*/*", beside)]),
            "m.sticker": file(&[("image/*", beside.min(PARTIAL))]),
            "org.matrix.msc3245.voice": file(&[("audio/*", FULL)]),
        },
        "max_text_length": MAX_TEXT,
        "location_message": unless(!is_chat, FULL),
        "poll": unless(!is_chat, FULL),
        "reply": FULL,
        "thread": unless(!is_chat, PARTIAL),
        "edit": unless(takes == Takes::Status, FULL),
        "edit_max_age": EDIT_WINDOW_S,
        "delete": FULL,
        "delete_for_me": false,
        "delete_max_age": DELETE_WINDOW_S,
        "reaction": FULL,
        "reaction_count": 1,
        "custom_emoji_reactions": false,
        "read_receipts": is_chat,
    });
    if let Takes::Chat(timers_s) = takes {
        let timers: Vec<u64> = timers_s.iter().filter(|seconds| **seconds > 0).map(|s| u64::from(*s) * 1000).collect();
        features["disappearing_timer"] = json!({ "types": ["after_send"], "timers": timers });
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_the_conversion_checks() {
        let content = room_features(Takes::Chat(&[0, 86_400]));
        assert_eq!(content["max_text_length"], MAX_TEXT);
        assert_eq!(content["file"]["m.file"]["max_size"], MAX_FILE);
        assert_eq!(content["disappearing_timer"]["timers"], json!([86_400_000]));
        assert!(content.to_string().len() < 4_000, "it is sent to every room");
    }

    #[test]
    fn each_kind_of_room_says_what_it_refuses() {
        let (channel, status) = (room_features(Takes::Posts), room_features(Takes::Status));
        for content in [&channel, &status] {
            assert_eq!((&content["poll"], &content["location_message"]), (&json!(-2), &json!(-2)), "{content}");
            assert!(content["disappearing_timer"].is_null(), "{content}");
        }
        assert_eq!(channel["file"]["m.file"]["mime_types"]["*/*"], 2, "{channel}");
        assert_eq!(status["file"]["m.file"]["mime_types"]["*/*"], -2, "{status}");
        assert_eq!((&channel["edit"], &status["edit"]), (&json!(2), &json!(-2)));
    }
}
