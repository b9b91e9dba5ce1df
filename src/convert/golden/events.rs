//! Every event made here is one that clients read: parsed with the types clients use, bounded, and without HTML that
//! a client would have to throw away.

use crate::convert::incoming::Effect;
use crate::convert::part::MxPart;
use ruma::events::AnySyncTimelineEvent;
use ruma::html::{HtmlSanitizerMode, RemoveReplyFallback, sanitize_html};
use ruma::serde::Raw;
use serde_json::{json, value::to_raw_value};

/// An event may have 65,536 bytes; the rest of it needs some.
const MAX_CONTENT: usize = 48_000;

pub fn check(effect: &Effect) {
    let (Effect::Say(parts)
    | Effect::Album { parts, .. }
    | Effect::Edit { parts, .. }
    | Effect::Upgrade { parts, .. }
    | Effect::LiveLocation { parts, .. }
    | Effect::Timer { parts, .. }) = effect
    else {
        return;
    };
    assert!(!parts.is_empty(), "something that is nothing");
    parts.iter().for_each(check_part);
}

fn check_part(part: &MxPart) {
    let mut content = part.content.clone();
    assert!(content.to_string().len() <= MAX_CONTENT, "too large an event");
    assert!(content["m.mentions"].is_object(), "mentions are always told");
    assert!(!content.to_string().contains("\\u0000"), "no homeserver stores U+0000");
    let is_file = |kind: &str| matches!(kind, "m.image" | "m.video" | "m.audio" | "m.file");
    // New words of a file that stays come without it.
    if part.media.is_some() || content["msgtype"].as_str().is_some_and(is_file) {
        content["url"] = "mxc://example.org/file".into();
    }
    let event = json!({
        "type": part.event_type, "event_id": "$e", "sender": "@a:example.org", "origin_server_ts": 1, "content": content,
    });
    let raw = Raw::<AnySyncTimelineEvent>::from_json(to_raw_value(&event).unwrap());
    let read = raw.deserialize().unwrap_or_else(|error| panic!("no client reads this: {error}\n{event:#}"));
    assert!(!format!("{read:?}").contains("_Custom"), "of no type clients know: {event:#}");
    if let Some(html) = part.content["formatted_body"].as_str() {
        let kept = sanitize_html(html, HtmlSanitizerMode::Strict, RemoveReplyFallback::No);
        // A mark of byte order at the very start is none of the text's letters; parsers drop it.
        let plain = |html: &str| {
            let html = html.trim_start_matches('\u{feff}');
            html.replace("&quot;", "\"").replace("&nbsp;", "\u{a0}").replace("&apos;", "'")
        };
        assert_eq!(plain(&kept), plain(html), "a client throws something away");
    }
}
