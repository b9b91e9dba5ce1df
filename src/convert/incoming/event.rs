//! Events people are invited to, and what they answer.

use super::frame::{Frame, Purpose};
use super::{Context, place, poll::in_seconds};
use crate::convert::choices;
use crate::convert::part::{MessageName, MxPart};
use crate::convert::words;
use serde_json::{Map, Value};
use whatsapp_rust::prelude::wa;
use whatsapp_rust::wacore::proto_helpers::MessageBuilderExt as _;

pub(super) fn event(frame: &Frame<'_>, event: &wa::message::EventMessage) -> Vec<MxPart> {
    let mut lines = vec![title(event.name.as_deref(), event.is_canceled)];
    lines.extend(when(event.start_time, event.end_time));
    if let Some(location) = event.location.as_option() {
        lines.extend(place::describe(location).into_iter().map(|line| format!("📍 {line}")));
        lines.extend(place::uri(location));
    }
    if let Some(link) = event.join_link.as_deref().and_then(words::web_address) {
        lines.push(format!("Join: {link}"));
    }
    if event.extra_guests_allowed == Some(true) {
        lines.push("Guests may be brought".to_owned());
    }
    if let Some(description) = event.description.as_deref().filter(|text| !text.trim().is_empty()) {
        lines.push(format!("\n{description}"));
    }
    if event.is_canceled != Some(true) {
        lines.extend(choices::hint(frame.opened.base, frame.context.from_me));
    }
    frame.text("m.text", &lines.join("\n"), extra(event.start_time, event.end_time))
}

pub(super) fn invite(frame: &Frame<'_>, event: &wa::message::EventInviteMessage) -> Vec<MxPart> {
    let mut lines = vec![title(event.event_title.as_deref(), event.is_canceled)];
    lines.extend(when(event.start_time, event.end_time));
    if let Some(link) = event.call_link.as_deref().and_then(words::web_address) {
        lines.push(format!("Join: {link}"));
    }
    if let Some(caption) = event.caption.as_deref().filter(|text| !text.trim().is_empty()) {
        lines.push(format!("\n{caption}"));
    }
    frame.text("m.text", &lines.join("\n"), extra(event.start_time, event.end_time))
}

/// The heading. A name is one line and no formatted text, so marks in it would only be wrong inside of our own.
fn title(name: Option<&str>, cancelled: Option<bool>) -> String {
    let name = words::line(name.unwrap_or_default(), 200);
    let name = if name.is_empty() { "Event".to_owned() } else { name };
    let marked = if name.contains(['*', '_', '~', '`']) { name } else { format!("*{name}*") };
    if cancelled == Some(true) { format!("📅 Cancelled: {marked}") } else { format!("📅 {marked}") }
}

fn when(start: Option<i64>, end: Option<i64>) -> Option<String> {
    let start = start.map(in_seconds).and_then(words::moment)?;
    Some(match end.map(in_seconds).and_then(words::moment) {
        Some(end) => format!("{start} – {end}"),
        None => start,
    })
}

/// The times as numbers, for clients that show them in the reader's own time.
fn extra(start: Option<i64>, end: Option<i64>) -> Map<String, Value> {
    let mut times = Map::new();
    for (key, time) in [("start", start), ("end", end)] {
        if let Some(seconds) = time.map(in_seconds).filter(|time| words::moment(*time).is_some()) {
            times.insert(key.into(), (seconds * 1_000).into());
        }
    }
    let mut extra = Map::new();
    if !times.is_empty() {
        extra.insert("org.matrix-whatsapp.event".into(), times.into());
    }
    extra
}

/// A notice of what somebody answered to an event's invitation, as an answer to the event.
pub fn rsvp(answer: &wa::message::EventResponseMessage, event: &MessageName, context: &Context<'_>) -> MxPart {
    use wa::message::event_response_message::EventResponseType as Kind;
    let said = match answer.response {
        Some(Kind::GOING) => "Going",
        Some(Kind::NOT_GOING) => "Not going",
        Some(Kind::MAYBE) => "Maybe going",
        _ => "Answered the event's invitation",
    };
    let guests = u64::try_from(answer.extra_guest_count.unwrap_or(0)).unwrap_or(0);
    let with = if guests > 0 { format!(", with {}", words::count_of(guests.min(99), "guest")) } else { String::new() };
    // Only its text is read.
    let carrier = wa::Message::text("");
    let opened = super::open::open(&carrier);
    let frame = Frame::new(&opened, context, Purpose::New);
    let mut part = frame.part(&frame.body(&format!("{said}{with}")), Map::new());
    part.content["msgtype"] = "m.notice".into();
    part.reply_to = Some(event.clone()).filter(|name| (context.known)(name));
    part
}
