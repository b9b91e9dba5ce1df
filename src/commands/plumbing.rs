//! Rooms of people's own given to chats, and taken back.

use super::groups::halted;
use super::rights::{self, PlumbRefusal, Plumbing};
use super::{Call, database};
use crate::bridge::filter::KEPT_OUT;
use crate::bridge::plumbing::Plumb;
use crate::config::Level;
use crate::matrix::error::Result;
use crate::store::portals::{Portal, PortalKind};

/// The words behind `bridge` and `unbridge`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    rest: Vec<String>,
    overwrite: bool,
    ignore_permissions: bool,
}

/// Reads what stands in any order: flags begin with two dashes. None when a flag is unknown.
fn read(words: &[String]) -> Option<Words> {
    let mut read = Words::default();
    for word in words {
        match word.as_str() {
            "--overwrite" => read.overwrite = true,
            "--ignore-permissions" => read.ignore_permissions = true,
            flag if flag.starts_with("--") => return None,
            word => read.rest.push(word.to_owned()),
        }
    }
    Some(read)
}

/// `bridge`: the room becomes the room of a chat of the caller's.
pub(super) async fn bridge(call: &Call, usage: &str) -> Result<()> {
    let say =
        || format!("Say `{usage}` in the room that shall be the chat's; `chats` lists your chats with their ids.");
    let Some(words) = read(&call.rest) else { return call.answer(&say()).await };
    let (number, chat) = match words.rest.as_slice() {
        [chat] => (None, super::portals::read_chat(chat)),
        [number, chat] => (Some(number.as_str()), super::portals::read_chat(chat)),
        _ => (None, None),
    };
    let Some(chat) = chat else { return call.answer(&say()).await };
    let standing = call.bridge.standing_in(&call.room, &call.sender).await.map_err(halted)?;
    let Some(standing) = standing else { return call.answer("I am not in that room. Invite me first.").await };
    let asked = Plumbing {
        level: call.level,
        is_in: standing.is_in,
        rules_room: standing.rules,
        overwrite: words.overwrite,
        ignore_permissions: words.ignore_permissions,
        takes_part: false,
    };
    if let Err(refusal) = rights::may_plumb(&asked) {
        return call.answer(refusal.words()).await;
    }
    let Some((login, portal)) = super::portals::find_own_chat(call, number, &chat).await? else { return Ok(()) };
    if !matches!(portal.kind, PortalKind::Group | PortalKind::Direct) {
        return call.answer("Only groups and chats with one person can have a room of yours.").await;
    }
    // One that has a room keeps it, and moves with it.
    if call.level < Level::Admin && !call.bridge.lets_in(&portal).await.map_err(database)? {
        return call.answer(KEPT_OUT).await;
    }
    // Killed after the room became the chat's, the same command comes again.
    let known = call.bridge.store().find_plumbed(portal.id).await.map_err(database)?;
    let is_again = known.is_some_and(|known| known.cause == call.event_id && known.room == call.room.as_str());
    if !is_again && let Some(why) = call.bridge.why_no_chat_room(&call.room).await.map_err(halted)? {
        return call.answer(&why).await;
    }
    let done = call.bridge.plumb(&login, portal.id, &call.room, &call.event_id, words.overwrite).await;
    let text = match done.map_err(halted)? {
        Plumb::Here => {
            let until = if portal.kind == PortalKind::Group { " until they change on WhatsApp" } else { "" };
            format!(
                "This room is bridged to the WhatsApp chat now. Its name, topic and picture stay as they are{until}."
            )
        }
        Plumb::Elsewhere(room) => format!(
            "This chat has a room already: https://matrix.to/#/{room}. Delete that one first (`delete-portal` there, for a \
             direct chat), or let an administrator say `--overwrite`."
        ),
    };
    call.answer(&text).await
}

/// `unbridge`: the room is no chat's any more, and stays with its people.
pub(super) async fn unbridge(call: &Call, usage: &str) -> Result<()> {
    let words = read(&call.rest).filter(|words| words.rest.is_empty() && !words.overwrite);
    let Some(words) = words else { return call.answer(&format!("Say `{usage}`.")).await };
    let found = call.bridge.store().find_portal_by_room(call.room.as_str()).await.map_err(database)?;
    let Some(portal) = found else { return Ok(()) };
    let standing = call.bridge.standing_in(&call.room, &call.sender).await.map_err(halted)?;
    let Some(standing) = standing else { return call.answer("I am not in that room any more.").await };
    let asked = Plumbing {
        level: call.level,
        is_in: standing.is_in,
        rules_room: standing.rules,
        overwrite: false,
        ignore_permissions: words.ignore_permissions,
        takes_part: call.chat.is_some(),
    };
    let is_own = call.bridge.is_own_room(&call.room).await.map_err(halted)?;
    if let Err(refusal) = rights::may_unplumb(&asked, is_own) {
        return call.answer(refusal.words()).await;
    }
    if portal.room.as_deref() != Some(call.room.as_str()) {
        // Two chats turned out to be one, and this is the room that was left.
        return call.answer("The chat has another room already. You may take me out of this one.").await;
    }
    end(call, &portal).await
}

/// Ends that a room is a chat's, with words in it.
pub(super) async fn end(call: &Call, portal: &Portal) -> Result<()> {
    let text = "This room is bridged no longer: the people of WhatsApp leave it, and so do I. WhatsApp keeps the chat, and its \
                next message makes a room of its own.";
    call.bridge.unplumb(portal, &call.sender, &call.event_id, text).await.map_err(halted)
}

impl PlumbRefusal {
    /// What the caller is told.
    fn words(self) -> &'static str {
        match self {
            Self::FlagsForAdmins => {
                "Only administrators of the bridge may say `--overwrite` or `--ignore-permissions`."
            }
            Self::NoPower => "Only who may change the powers in this room may bridge it, or end that.",
            Self::BridgesRoom => {
                "This room was made by the bridge; only its administrators may cut it off. `delete-portal` deletes a \
                 direct chat's."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_may_stand_anywhere() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let expected = Words { rest: words("49 1@g.us"), overwrite: true, ignore_permissions: false };
        assert_eq!(read(&words("49 --overwrite 1@g.us")), Some(expected));
        let expected = Words { rest: vec![], overwrite: false, ignore_permissions: true };
        assert_eq!(read(&words("--ignore-permissions")), Some(expected));
        assert_eq!(read(&words("--force 1@g.us")), None);
        assert_eq!(read(&[]), Some(Words::default()));
    }
}
