//! Invitations to groups and channels.

use super::frame::Frame;
use super::media::thumbnail;
use crate::convert::part::{MxPart, person_jid};
use crate::convert::words;
use serde_json::{Map, json};
use whatsapp_rust::prelude::wa;

pub(super) fn group(frame: &Frame<'_>, invite: &wa::message::GroupInviteMessage) -> Vec<MxPart> {
    let name = words::line(invite.group_name.as_deref().unwrap_or("a group"), 200);
    let community = invite.group_type == Some(wa::message::group_invite_message::GroupType::PARENT);
    let what = if community { "community" } else { "group" };
    let mut text = format!("Invitation to the WhatsApp {what} {name}");
    let expires = invite.invite_expiration.unwrap_or(0);
    if let Some(until) = words::moment(expires).filter(|_| expires > 0) {
        text.push_str(&format!("\nValid until {until}"));
    }
    if !frame.context.from_me {
        text.push_str(&format!("\nTo join, answer this message with: {} accept", frame.context.command_prefix));
    }
    if let Some(caption) = invite.caption.as_deref().filter(|text| !text.trim().is_empty()) {
        text.push_str(&format!("\n\n{caption}"));
    }
    let mut extra = Map::new();
    let is_group = invite.group_jid.as_deref().is_some_and(|jid| jid.ends_with("@g.us") && jid.len() < 64);
    if let (Some(jid), Some(code), true) = (&invite.group_jid, &invite.invite_code, is_group) {
        extra.insert(
            "fi.mau.whatsapp.invite".into(),
            json!({
                "jid": words::line(jid, 64),
                "code": words::line(code, 64),
                "expiration": expires,
                "inviter": frame.context.sender.to_non_ad().to_string(),
                "group_name": name,
                "is_parent_group": community,
            }),
        );
    }
    let mut parts = frame.text("m.text", &text, extra);
    if let Some(first) = parts.first_mut() {
        first.thumbnail = thumbnail(invite.jpeg_thumbnail.as_ref());
    }
    parts
}

/// An invitation to a channel, as its admin or its reader.
pub(super) fn channel(frame: &Frame<'_>, name: Option<&str>, caption: Option<&str>, as_admin: bool) -> Vec<MxPart> {
    let name = words::line(name.unwrap_or("a channel"), 200);
    let what = if as_admin { "to administer" } else { "to follow" };
    let mut text =
        format!("Invitation {what} the WhatsApp channel {name}. Please open WhatsApp on your phone to accept it.");
    if let Some(caption) = caption.filter(|text| !text.trim().is_empty()) {
        text.push_str(&format!("\n\n{caption}"));
    }
    frame.text("m.text", &text, Map::new())
}

/// Somebody asks for our number, or shared theirs.
pub(super) fn number_asked(frame: &Frame<'_>) -> Vec<MxPart> {
    let who = person_jid(&frame.context.sender.to_string())
        .map_or_else(|| "Somebody".to_owned(), |jid| frame.name_of(&jid.to_string()));
    frame.notice(&format!("{who} asks for your phone number. You can share it in WhatsApp on your phone."))
}
