//! What came out, as JSON to be read.

use crate::convert::incoming::{Effect, Sealed};
use crate::convert::outgoing::{Draft, DraftContent, MxMedia, MxSource, Plan, PreviewWish};
use crate::convert::part::{MessageName, MxPart, WaMedia, WaSource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Characters of a text that is shown whole.
const SHOWN: usize = 1_500;

/// Long texts shown by their ends.
pub fn shorten(value: Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > SHOWN => {
            let chars: Vec<char> = text.chars().collect();
            let (first, last): (String, String) =
                (chars[..40].iter().collect(), chars[chars.len() - 40..].iter().collect());
            json!({ "$characters": chars.len(), "begins": first, "ends": last })
        }
        Value::Array(list) => list.into_iter().map(shorten).collect(),
        Value::Object(object) => object.into_iter().map(|(key, value)| (key, shorten(value))).collect(),
        other => other,
    }
}

fn name(name: &MessageName) -> Value {
    let mut out = json!({ "id": name.id });
    if let Some(chat) = &name.chat {
        out["chat"] = chat.to_string().into();
    }
    if let Some(person) = &name.participant {
        out["participant"] = person.to_string().into();
    }
    if name.from_me {
        out["from_me"] = true.into();
    }
    out
}

fn media(media: &WaMedia) -> Value {
    let mut out = json!({ "kind": media.kind, "mime": media.mime, "name": media.name });
    match &media.source {
        WaSource::Server(reference) => {
            out["path"] = reference.direct_path.as_str().into();
            out["bytes"] = reference.file_length.into();
        }
        WaSource::Inline(bytes) => out["inline"] = String::from_utf8_lossy(bytes).into(),
    }
    out
}

fn part(part: &MxPart) -> Value {
    let mut out = json!({ "type": part.event_type, "content": part.content });
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out[key] = value;
        }
    };
    add("media", part.media.as_ref().map(media));
    add("preview", part.preview.as_ref().map(media));
    add("thumbnail", part.thumbnail.as_ref().map(|bytes| STANDARD.encode(bytes).into()));
    add("reply_to", part.reply_to.as_ref().map(name));
    add("thread_of", part.thread_of.as_ref().map(name));
    add("album", part.album.as_ref().map(name));
    add("expires_s", part.expires_s.map(Into::into));
    out
}

fn parts(list: &[MxPart]) -> Value {
    list.iter().map(part).collect()
}

fn sealed(sealed: &Sealed) -> Value {
    json!({ "payload": STANDARD.encode(&sealed.payload), "iv": STANDARD.encode(&sealed.iv) })
}

pub fn effect(effect: &Effect) -> Value {
    match effect {
        Effect::Nothing => json!({ "effect": "nothing" }),
        Effect::Say(list) => json!({ "effect": "say", "parts": parts(list) }),
        Effect::Album { expected, parts: list } => {
            json!({ "effect": "album", "expected": expected, "parts": parts(list) })
        }
        Effect::Edit { target, parts: list } => {
            json!({ "effect": "edit", "target": name(target), "parts": parts(list) })
        }
        Effect::Upgrade { target, parts: list } => {
            json!({ "effect": "upgrade", "target": name(target), "parts": parts(list) })
        }
        Effect::Redact { target } => json!({ "effect": "redact", "target": name(target) }),
        Effect::React { target, emoji, ts_ms } => {
            json!({ "effect": "react", "target": name(target), "emoji": emoji, "ts_ms": ts_ms })
        }
        Effect::Vote { poll, sealed: seal, ts_ms } => {
            json!({ "effect": "vote", "poll": name(poll), "sealed": sealed(seal), "ts_ms": ts_ms })
        }
        Effect::PollOption { poll, option } => {
            json!({ "effect": "poll option", "poll": name(poll), "id": option.id, "name": option.name })
        }
        Effect::Rsvp { event, sealed: seal } => {
            json!({ "effect": "rsvp", "event": name(event), "sealed": sealed(seal) })
        }
        Effect::Sealed { kind, target, sealed: seal } => {
            json!({ "effect": "sealed", "kind": format!("{kind:?}"), "target": name(target), "sealed": sealed(seal) })
        }
        Effect::Pin { target, pinned, ts_ms } => {
            json!({ "effect": "pin", "target": name(target), "pinned": pinned, "ts_ms": ts_ms })
        }
        Effect::Keep { target, kept } => json!({ "effect": "keep", "target": name(target), "kept": kept }),
        Effect::LiveLocation { sequence, parts: list } => {
            json!({ "effect": "live location", "sequence": sequence, "parts": parts(list) })
        }
        Effect::Timer { seconds, ts_ms, parts: list } => {
            json!({ "effect": "timer", "seconds": seconds, "ts_ms": ts_ms, "parts": parts(list) })
        }
    }
}

fn source(source: &MxSource) -> Value {
    match source {
        MxSource::Plain(mxc) => json!(mxc),
        MxSource::Encrypted(_) => json!(format!("encrypted {}", source.mxc())),
    }
}

fn mx_media(media: &MxMedia) -> Value {
    let mut out = json!({ "kind": format!("{:?}", media.kind), "name": media.name, "source": source(&media.source) });
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out[key] = value;
        }
    };
    add("mime", media.mime.clone().map(Into::into));
    add("size", media.size.map(Into::into));
    add("width", media.width.map(Into::into));
    add("height", media.height.map(Into::into));
    add("duration_ms", media.duration_ms.map(Into::into));
    add("waveform", Some(media.waveform.clone()).filter(|bars| !bars.is_empty()).map(Into::into));
    add("thumbnail", media.thumbnail.as_ref().map(source));
    out
}

fn draft(draft: &Draft) -> Value {
    let mut out = json!({});
    match &draft.content {
        DraftContent::Text { preview, .. } => match preview {
            PreviewWish::Unsaid(None) => {}
            PreviewWish::Unsaid(Some(link)) => out["first_link"] = link.as_str().into(),
            PreviewWish::Nothing => out["preview"] = "none".into(),
            PreviewWish::Given(preview) => {
                out["preview"] = json!({ "url": preview.url, "title": preview.title, "description": preview.description, "picture": preview.picture.as_ref().map(source) });
            }
        },
        DraftContent::File { media, .. } => out["media"] = mx_media(media),
        DraftContent::Place { point, name } => out["place"] = json!([point.to_uri(), name]),
    }
    if draft.notice {
        out["notice"] = true.into();
    }
    for (key, value) in [("reply_to", &draft.reply_to), ("thread_of", &draft.thread_of)] {
        if let Some(value) = value {
            out[key] = value.as_str().into();
        }
    }
    if !draft.mentions.is_empty() {
        out["mentions"] = draft.mentions.clone().into();
    }
    if draft.mention_room {
        out["mention_room"] = true.into();
    }
    out
}

pub fn plan(plan: &Plan) -> Value {
    match plan {
        Plan::Message(one) => json!({ "message": draft(one) }),
        Plan::Album(list) => json!({ "album": list.iter().map(draft).collect::<Vec<_>>() }),
        Plan::Edit { target, draft: one } => json!({ "edit": target, "draft": draft(one) }),
        Plan::React { target, emoji } => json!({ "react": target, "emoji": emoji }),
        Plan::Redact { target } => json!({ "redact": target }),
        Plan::Poll(poll) => {
            json!({ "poll": poll.question, "options": poll.options, "max_selections": poll.max_selections, "undisclosed": poll.undisclosed })
        }
        Plan::Vote { poll, answers } => json!({ "vote": poll, "answers": answers }),
        Plan::PollEnd { poll, text } => json!({ "poll_end": poll, "text": text }),
        Plan::Pins { pinned } => json!({ "pins": pinned }),
        Plan::Pin { target, pinned } => json!({ "pin": target, "pinned": pinned }),
        Plan::LiveStart { description, timeout_ms } => json!({ "live_start": description, "timeout_ms": timeout_ms }),
        Plan::LiveMove { start, point, ts_ms } => {
            json!({ "live_move": start, "point": point.to_uri(), "ts_ms": ts_ms })
        }
        Plan::LiveStop => json!("live_stop"),
    }
}
