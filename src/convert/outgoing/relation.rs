//! Events about events: reactions, edits, redactions, pins, answers.

use super::{Plan, Refusal};
use crate::convert::emoji;
use serde_json::Value;

/// Pins looked at.
const MAX_PINS: usize = 200;

/// An event id as a homeserver makes it.
pub(super) fn event_id(value: &Value) -> Option<String> {
    let id = value.as_str()?;
    let fits = id.len() <= 255 && id.starts_with('$') && id.len() > 1 && !id.contains(char::is_whitespace);
    fits.then(|| id.to_owned())
}

/// The event that one of a relation type refers to.
pub(super) fn related(content: &Value, rel_type: &str) -> Option<String> {
    let relation = content.get("m.relates_to")?;
    (relation["rel_type"].as_str() == Some(rel_type)).then(|| event_id(&relation["event_id"]))?
}

pub(super) fn reaction(content: &Value) -> Result<Plan, Refusal> {
    let Some(target) = related(content, "m.annotation") else {
        return Err(Refusal::new("The reaction names no message, so there was nothing to react to."));
    };
    let key = content["m.relates_to"]["key"].as_str().unwrap_or_default();
    if key.starts_with("mxc://") || (key.starts_with(':') && key.len() > 1) {
        return Err(Refusal::new("WhatsApp takes no custom emoji as reactions; please react with a standard emoji."));
    }
    match emoji::for_whatsapp(key) {
        Some(emoji) => Ok(Plan::React { target, emoji }),
        None => Err(Refusal::new(
            "WhatsApp takes one emoji as a reaction, no words; please react with an emoji or answer the message.",
        )),
    }
}

pub(super) fn redaction(content: &Value) -> Result<Plan, Refusal> {
    event_id(&content["redacts"])
        .map(|target| Plan::Redact { target })
        .ok_or_else(|| Refusal::new("The deletion names no message, so there was nothing to delete."))
}

/// The message an edit changes and its new content; `None` when the event is no edit.
pub(super) fn replacement(content: &Value) -> Result<Option<(String, &Value)>, Refusal> {
    if content["m.relates_to"]["rel_type"].as_str() != Some("m.replace") {
        return Ok(None);
    }
    let target = related(content, "m.replace");
    let new = content.get("m.new_content").filter(|new| new.is_object());
    match target.zip(new) {
        Some(edit) => Ok(Some(edit)),
        None => Err(Refusal::new("The edit names no message or has no new text, so it was not sent.")),
    }
}

/// What an event answers and whose thread it is in. A thread's fallback for clients without threads is no answer.
pub(super) fn answers(content: &Value) -> (Option<String>, Option<String>) {
    let thread = related(content, "m.thread");
    let relation = &content["m.relates_to"];
    let is_fallback = thread.is_some() && relation["is_falling_back"].as_bool() != Some(false);
    let reply = event_id(&relation["m.in_reply_to"]["event_id"]).filter(|_| !is_fallback);
    (reply, thread)
}

pub(super) fn pins(content: &Value) -> Plan {
    let pinned = content["pinned"].as_array().map_or(&[][..], Vec::as_slice);
    Plan::Pins { pinned: pinned.iter().filter_map(event_id).take(MAX_PINS).collect() }
}

/// What has to be pinned and what not, between two states of a room's pins: first what goes, then what comes.
pub fn pins_changed(before: &[String], after: &[String]) -> Vec<Plan> {
    let gone = before.iter().filter(|target| !after.contains(target)).map(|target| (target, false));
    let new = after.iter().filter(|target| !before.contains(target)).map(|target| (target, true));
    gone.chain(new).map(|(target, pinned)| Plan::Pin { target: target.clone(), pinned }).collect()
}
