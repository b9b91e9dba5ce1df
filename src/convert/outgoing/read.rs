//! Which kind an event is, and who reads it.

use super::{MAX_ALBUM, Plan, Refusal, beacon, draft, poll, relation};
use serde_json::Value;

pub(super) fn plan(event_type: &str, content: &Value) -> Result<Plan, Refusal> {
    match event_type {
        "m.room.message" => message(content),
        "m.sticker" => draft::sticker(content).map(|draft| Plan::Message(Box::new(draft))),
        "m.reaction" => relation::reaction(content),
        "m.room.redaction" => relation::redaction(content),
        "m.room.pinned_events" => Ok(relation::pins(content)),
        "org.matrix.msc3381.poll.start" | "m.poll.start" => poll::start(content),
        "org.matrix.msc3381.poll.response" | "m.poll.response" => poll::response(content),
        "org.matrix.msc3381.poll.end" | "m.poll.end" => poll::end(content),
        "org.matrix.msc3672.beacon_info" | "m.beacon_info" => Ok(beacon::info(content)),
        "org.matrix.msc3672.beacon" | "m.beacon" => beacon::position(content),
        "m.room.encrypted" => Err(Refusal::new(
            "This message could not be decrypted, so it was not sent to WhatsApp. Please send it again.",
        )),
        _ => Err(Refusal::new("WhatsApp has nothing like this kind of event, so it was not sent.")),
    }
}

fn message(content: &Value) -> Result<Plan, Refusal> {
    if let Some((target, new)) = relation::replacement(content)? {
        if is_gallery(new) {
            return Err(Refusal::new("An album can't be edited in WhatsApp. Please delete it and send it again."));
        }
        return Ok(Plan::Edit { target, draft: Box::new(draft::read(new)?) });
    }
    // Some clients send a poll as a message with a poll inside, for those that do not know polls.
    if content.get("org.matrix.msc3381.poll.start").is_some() {
        return poll::start(content);
    }
    if is_gallery(content) {
        return gallery(content);
    }
    draft::read(content).map(|draft| Plan::Message(Box::new(draft)))
}

fn is_gallery(content: &Value) -> bool {
    matches!(content["msgtype"].as_str(), Some("m.gallery" | "dm.filament.gallery"))
}

/// Several files in one event (MSC4274). The words of the gallery go with its first file.
fn gallery(content: &Value) -> Result<Plan, Refusal> {
    let items = content["itemtypes"].as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        return Err(Refusal::new("The album is empty, so there was nothing to send."));
    }
    if items.len() > MAX_ALBUM {
        return Err(Refusal::new(format!(
            "WhatsApp takes at most {MAX_ALBUM} files in one album; please send it in several."
        )));
    }
    let mut drafts = Vec::new();
    for item in items {
        let mut item = item.clone();
        if let Some(kind) = item["itemtype"].as_str().map(str::to_owned) {
            item["msgtype"] = kind.into();
        }
        drafts.push(draft::file_of(&item)?);
    }
    let whole = draft::words_of(content)?;
    if let Some(first) = drafts.first_mut() {
        draft::give_words(first, whole);
    }
    Ok(Plan::Album(drafts))
}
