//! Rooms of chats made and deleted by command.

use super::groups::{answer_room, halted, number_in};
use super::rights::{self, NoLogin};
use super::{Call, database};
use crate::config::Level;
use crate::convert::group::GroupFacts;
use crate::ids::{ChatId, GhostId};
use crate::matrix::error::Result;
use crate::store::deletions::{Doomed, Farewell, Telling};
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};

/// What chats' ids end with.
const SERVERS: [&str; 6] = ["lid", "s.whatsapp.net", "g.us", "newsletter", "broadcast", "bot"];

/// `create-portal`: makes the room of a chat that one of the caller's accounts knows.
pub(super) async fn create(call: &Call, usage: &str) -> Result<()> {
    let words: Vec<&str> = call.rest.iter().map(String::as_str).collect();
    let (number, chat) = match words.as_slice() {
        [chat] => (None, read_chat(chat)),
        [number, chat] => (Some(*number), read_chat(chat)),
        _ => (None, None),
    };
    let Some(chat) = chat else {
        return call.answer(&format!("Say `{usage}`; `chats` lists your chats with their ids.")).await;
    };
    let Some((login, portal)) = find_own_chat(call, number, &chat).await? else { return Ok(()) };
    if let Some(room) = &portal.room {
        return call.answer(&format!("This chat has a room already: https://matrix.to/#/{room}")).await;
    }
    call.wait_connected(&login).await;
    let opened = call.bridge.ready_room(portal.id, &login.id).await;
    answer_room(call, opened.map(|known| known.room.clone())).await
}

/// A chat's id as somebody types it: as `chats` shows it, or a phone number.
pub(super) fn read_chat(word: &str) -> Option<String> {
    let word = word.trim_matches('`').to_lowercase();
    match word.split_once('@') {
        Some((user, server)) => {
            let server = if server == "c.us" { "s.whatsapp.net" } else { server };
            let is_plain = !user.is_empty() && user.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            (is_plain && SERVERS.contains(&server)).then(|| format!("{user}@{server}"))
        }
        None => number_in(&word).map(|digits| format!("{digits}@s.whatsapp.net")),
    }
}

/// The chat with this id that one of the caller's accounts knows, the named one or else whichever does; an answer when
/// there is none. What is somebody else's is no different from what does not exist, also for administrators.
pub(super) async fn find_own_chat(call: &Call, number: Option<&str>, chat: &str) -> Result<Option<(Login, Portal)>> {
    let store = call.bridge.store();
    let mut logins = store.logins_of(&call.sender).await.map_err(database)?;
    logins.retain(|login| login.state == LoginState::Linked);
    if number.is_some() {
        match rights::pick(&logins, &call.sender, Level::User, number) {
            Ok(login) => logins = vec![login.clone()],
            Err(NoLogin::None | NoLogin::Several | NoLogin::Unknown) => {
                call.answer("You have no such account; `list-logins` shows yours.").await?;
                return Ok(None);
            }
        }
    }
    if logins.is_empty() {
        call.answer("You are not logged in. Say `login qr` to link your WhatsApp account.").await?;
        return Ok(None);
    }
    let person = call.bridge.canonical(chat).await.map_err(database)?;
    for login in logins {
        if let Some(portal) = known_chat(call, &login, &person).await? {
            return Ok(Some((login, portal)));
        }
    }
    let text = "No account of yours is in such a chat. `chats` lists yours, and `start-chat <number>` begins one with \
                somebody new.";
    call.answer(text).await?;
    Ok(None)
}

/// The chat if the account knows it: it takes part in it, or has the person in its address book.
async fn known_chat(call: &Call, login: &Login, chat: &GhostId) -> Result<Option<Portal>> {
    let store = call.bridge.store();
    let known = store.chats_of(&login.id).await.map_err(database)?;
    if let Some(line) = known.iter().find(|line| line.chat == chat.as_str()) {
        if GroupFacts::from_bytes(&line.facts).is_some_and(|facts| facts.is_community && line.kind == "group") {
            return Ok(None);
        }
        return store.load_portal(line.portal).await.map(Some).map_err(database);
    }
    let is_person = !ChatId::new(chat.as_str()).is_group() && !ChatId::new(chat.as_str()).is_channel();
    let is_known = *chat == login.own || {
        let book = store.address_book(&login.id).await.map_err(database)?;
        book.iter().any(|entry| entry.person == *chat || entry.number.as_ref() == Some(chat))
    };
    if !is_person || !is_known {
        return Ok(None);
    }
    call.bridge.direct_chat(login, chat).await.map(Some).map_err(database)
}

/// `delete-portal`: a direct chat's room by its owner, anybody's by an administrator.
pub(super) async fn delete(call: &Call) -> Result<()> {
    let portal = match &call.chat {
        Some((portal, _)) => portal.clone(),
        None => match call.bridge.store().find_portal_by_room(call.room.as_str()).await.map_err(database)? {
            Some(portal) => portal,
            None => return Ok(()),
        },
    };
    let is_shared = matches!(portal.kind, PortalKind::Group | PortalKind::Channel);
    let is_theirs = call.bridge.store().find_plumbed(portal.id).await.map_err(database)?.is_some();
    if is_shared && call.level < Level::Admin {
        let text = match portal.kind {
            _ if is_theirs => "`unbridge` ends that this room is the group's.",
            PortalKind::Channel => "To get rid of a channel's room, unfollow it.",
            _ => "To get rid of a group's room, leave the group.",
        };
        let text = format!("Only rooms of direct chats can be deleted by their owners. {text}");
        return call.answer(&text).await;
    }
    if call.rest.first().map(String::as_str) != Some("yes") {
        let command = call.spell(&spoken(call, "delete-portal yes")).await?;
        if is_theirs {
            let text = format!(
                "This ends that this room is the chat's: the people of WhatsApp leave it, and so do I. Its people keep it, and \
                 WhatsApp keeps the chat. If you mean it, say `{command}`."
            );
            return call.answer(&text).await;
        }
        let whom = if is_shared { "all accounts that are in the chat" } else { "you too" };
        let text = format!(
            "This takes everybody out of this room, {whom}, and the bridge forgets it. WhatsApp keeps the chat, and its \
             next message makes a new room. If you mean it, say `{command}`."
        );
        return call.answer(&text).await;
    }
    if let Some(room) = &portal.room
        && let Some(cause) = call.bridge.store().find_leaving(room).await.map_err(database)?
        && cause != call.event_id
    {
        return call.answer("The chat's room is being deleted already.").await;
    }
    if is_theirs {
        super::plumbing::end(call, &portal).await?;
        return match call.said_in == call.room {
            true => Ok(()),
            false => call.answer("The room is the chat's no longer; its people keep it.").await,
        };
    }
    let tell_room = match call.said_in == call.room {
        true => call.bridge.management_room(&call.speaker).await?,
        false => call.said_in.clone(),
    };
    let doomed = Doomed::Of(portal.id);
    let begun = call.bridge.begin_deletion(&call.event_id, Telling::One, &tell_room, doomed, &Farewell::Goes).await;
    begun.map_err(halted)
}

/// A command about the call's room as it is said where the call was said.
fn spoken(call: &Call, command: &str) -> String {
    if call.said_in == call.room { command.to_owned() } else { format!("doin {} {command}", call.room) }
}

/// `delete-all-portals`: everybody's chat rooms, with their number as the second word.
pub(super) async fn delete_all(call: &Call) -> Result<()> {
    let rooms = call.bridge.store().count_rooms().await.map_err(database)?;
    if rooms == 0 {
        return call.answer("No chat has a room.").await;
    }
    if !is_meant(&call.rest, rooms) {
        let command = call.spell(&format!("delete-all-portals yes {rooms}")).await?;
        let text = format!(
            "This takes everybody out of the rooms of all chats on this bridge, of all accounts: {rooms} now. The bridge \
             forgets them; WhatsApp keeps the chats, and the next message of each makes a new room. If you mean it, say \
             `{command}`."
        );
        return call.answer(&text).await;
    }
    let is_chat = call.bridge.store().find_portal_by_room(call.said_in.as_str()).await.map_err(database)?.is_some();
    let tell_room = match is_chat {
        true => call.bridge.management_room(&call.speaker).await?,
        false => call.said_in.clone(),
    };
    let begun =
        call.bridge.begin_deletion(&call.event_id, Telling::All, &tell_room, Doomed::All, &Farewell::Goes).await;
    begun.map_err(halted)
}

/// Whether the words name the number of rooms that there are: who has counted others means something else.
fn is_meant(words: &[String], rooms: i64) -> bool {
    matches!(words, [yes, number] if yes == "yes" && number.parse() == Ok(rooms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chats_are_named_by_id_or_number() {
        for (typed, chat) in [
            ("12@lid", "12@lid"),
            ("`12-34@g.us`", "12-34@g.us"),
            ("12@C.US", "12@s.whatsapp.net"),
            ("status@broadcast", "status@broadcast"),
            ("12@newsletter", "12@newsletter"),
            ("+12025550100", "12025550100@s.whatsapp.net"),
        ] {
            assert_eq!(read_chat(typed).as_deref(), Some(chat), "{typed}");
        }
        for typed in ["", "@lid", "12@evil.example", "a b@lid", "!r:x", "12", "bob"] {
            assert_eq!(read_chat(typed), None, "{typed}");
        }
    }

    #[test]
    fn all_rooms_go_when_their_number_is_named() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(is_meant(&words("yes 40"), 40));
        for wrong in ["", "yes", "40", "yes 41", "yes forty", "yes 40 please", "no 40"] {
            assert!(!is_meant(&words(wrong), 40), "{wrong}");
        }
    }
}
