//! Messages: words, files, places.

use super::file::{file, source};
use super::{Draft, DraftContent, MAX_TEXT, MxKind, Refusal, preview, relation};
use crate::convert::geo::Point;
use crate::convert::markup::{Block, Inline, Mark, html, marks, people};
use crate::convert::words;
use serde_json::Value;

/// Bytes of a plain body that are read; no event can hold more.
const MAX_BODY: usize = 70_000;

/// Reads the content of a message.
pub(super) fn read(content: &Value) -> Result<Draft, Refusal> {
    let msgtype = content["msgtype"].as_str();
    match msgtype {
        Some("m.text" | "m.notice" | "m.emote") => {
            let mut text = words_of(content)?;
            if is_blank(&text) {
                return Err(Refusal::new("The message is empty, so there was nothing to send."));
            }
            let preview = preview::wish(content, &text);
            if msgtype == Some("m.emote") {
                text = italic(text);
            }
            let mut draft = draft(content, DraftContent::Text { text, preview });
            draft.notice = msgtype == Some("m.notice");
            Ok(draft)
        }
        Some("m.location") => place(content),
        Some(_) => file_of(content),
        None => Err(Refusal::new("The event has no message type, so there was nothing to send.")),
    }
}

/// A message with a file.
pub(super) fn file_of(content: &Value) -> Result<Draft, Refusal> {
    let media = file(content)?;
    let has_words = content["filename"].as_str().is_some_and(|name| content["body"].as_str() != Some(name));
    let caption = if has_words { words_of(content)? } else { Vec::new() };
    Ok(draft(content, DraftContent::File { media, caption }))
}

pub(super) fn sticker(content: &Value) -> Result<Draft, Refusal> {
    let mut media = file(&serde_json::json!({
        "msgtype": "m.image",
        "body": "sticker",
        "url": content["url"],
        "file": content["file"],
        "info": content["info"],
    }))?;
    media.kind = MxKind::Sticker;
    Ok(draft(content, DraftContent::File { media, caption: Vec::new() }))
}

fn draft(content: &Value, what: DraftContent) -> Draft {
    let (reply_to, thread_of) = relation::answers(content);
    let text = match &what {
        DraftContent::Text { text, .. } => text.as_slice(),
        DraftContent::File { caption, .. } => caption.as_slice(),
        DraftContent::Place { .. } => &[],
    };
    let (mentions, mention_room) = mentions(content, text);
    Draft { content: what, notice: false, reply_to, thread_of, mentions, mention_room }
}

/// Whom the text may mention. Where the event says whom it means (CS-API, "User and room mentions"), links to others
/// are only links.
fn mentions(content: &Value, text: &[Block]) -> (Vec<String>, bool) {
    let named = people(text).into_iter().map(str::to_owned);
    match content.get("m.mentions") {
        Some(meant) => {
            let ids: Vec<&str> = meant["user_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            (named.filter(|id| ids.contains(&id.as_str())).collect(), meant["room"].as_bool() == Some(true))
        }
        None => (named.collect(), false),
    }
}

/// The words of an event: its HTML when it has some that can be read, else its body.
pub(super) fn words_of(content: &Value) -> Result<Vec<Block>, Refusal> {
    let is_html = content["format"].as_str() == Some("org.matrix.custom.html");
    let formatted = content["formatted_body"].as_str().filter(|html| is_html && !html.trim().is_empty());
    let body = words::clean(content["body"].as_str().unwrap_or_default());
    if body.len() > MAX_BODY {
        return Err(too_long());
    }
    let text = match formatted.and_then(html::read).filter(|text| !is_blank(text)) {
        Some(text) => text,
        None => {
            let is_reply = content["m.relates_to"]["m.in_reply_to"]["event_id"].is_string();
            let body = if is_reply { without_fallback(&body) } else { &body };
            if body.is_empty() { Vec::new() } else { vec![Block::Lines(vec![Inline::Text(body.to_owned())])] }
        }
    };
    check_length(&marks::write(&text, &|_| None))?;
    Ok(text)
}

/// Whether a text is short enough.
pub(super) fn check_length(text: &str) -> Result<(), Refusal> {
    if text.chars().count() > MAX_TEXT { Err(too_long()) } else { Ok(()) }
}

fn too_long() -> Refusal {
    Refusal::new(format!("WhatsApp takes at most {MAX_TEXT} characters in one message; please send it in several."))
}

/// The body without what older clients put in front of an answer: lines of `> ` and an empty one.
fn without_fallback(body: &str) -> &str {
    if !body.starts_with("> <") && !body.starts_with("> * <") {
        return body;
    }
    let mut rest = body;
    while let Some(line) = rest.strip_prefix('>') {
        rest = line.split_once('\n').map_or("", |(_, rest)| rest);
    }
    let rest = rest.strip_prefix('\n').unwrap_or(rest);
    if rest.is_empty() { body } else { rest }
}

/// Whether nothing is left to read.
pub(super) fn is_blank(text: &[Block]) -> bool {
    people(text).is_empty() && marks::write(text, &|_| None).chars().all(|c| c.is_whitespace() || c.is_control())
}

/// What somebody does, set apart from what they say.
fn italic(text: Vec<Block>) -> Vec<Block> {
    text.into_iter()
        .map(|block| match block {
            Block::Lines(inlines) => Block::Lines(vec![Inline::Marked(Mark::Italic, inlines)]),
            other => other,
        })
        .collect()
}

/// Words beside an album's first file, under its own.
pub(super) fn give_words(draft: &mut Draft, words: Vec<Block>) {
    if is_blank(&words) {
        return;
    }
    if let DraftContent::File { caption, .. } = &mut draft.content
        && *caption != words
    {
        caption.extend(words);
    }
}

fn place(content: &Value) -> Result<Draft, Refusal> {
    let uri = ["/geo_uri", "/org.matrix.msc3488.location/uri", "/m.location/uri"]
        .iter()
        .find_map(|path| content.pointer(path).and_then(Value::as_str));
    let Some(point) = uri.and_then(Point::of_uri) else {
        return Err(Refusal::new(
            "The location has no place that can be read, so it was not sent. Please share it again.",
        ));
    };
    let described = ["/org.matrix.msc3488.location/description", "/m.location/description"]
        .iter()
        .find_map(|path| content.pointer(path).and_then(Value::as_str));
    let body = content["body"].as_str().unwrap_or_default();
    // Clients that know no name for a place write the address there.
    let is_name = |text: &&str| !text.contains("geo:") && !text.starts_with("Location ");
    let name = described.filter(is_name).or(Some(body).filter(is_name)).unwrap_or_default();
    Ok(draft(content, DraftContent::Place { point, name: words::line(name, 500) }))
}

/// A source from an event's object with `url` or `file`, for previews.
pub(super) fn source_of(object: &Value, url: &str, file: &str) -> Option<super::MxSource> {
    source(&object[url], &object[file]).ok()
}
