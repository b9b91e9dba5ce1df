//! Whom somebody knows on WhatsApp, and chats looked at again.

use super::{Call, database};
use crate::matrix::error::Result;
use crate::store::directory::Entry;
use crate::whatsapp::state_debts::collection_names;

/// Most people one answer lists: what fits a phone's screen.
const MOST_PEOPLE: usize = 15;

/// Looks in the address books of the caller's accounts for a name or number.
pub(super) async fn search(call: &Call, usage: &str) -> Result<()> {
    let words = call.rest.join(" ").to_lowercase();
    if words.is_empty() {
        return call.answer(&format!("Say `{usage}`: a part of a name or number.")).await;
    }
    let store = call.bridge.store();
    let logins = store.logins_of(&call.sender).await.map_err(database)?;
    if logins.is_empty() {
        return call.answer("No WhatsApp account is linked. Say `login qr` to link one.").await;
    }
    let mut found = Vec::new();
    for login in &logins {
        let book = store.address_book(&login.id).await.map_err(database)?;
        found.extend(book.into_iter().filter(|entry| is_meant(entry, &words)));
    }
    if found.is_empty() {
        let text = "Nobody of that name or number is in the address book of your phone. For a number, say \
                    `resolve-identifier <number>`.";
        return call.answer(text).await;
    }
    let all = found.len();
    let mut lines: Vec<String> = found.iter().take(MOST_PEOPLE).map(line_of).collect();
    if all > MOST_PEOPLE {
        lines.push(format!("… and {} more; say more of the name.", all - MOST_PEOPLE));
    }
    call.answer_alone(&lines.join("\n")).await
}

fn is_meant(entry: &Entry, words: &str) -> bool {
    let digits: String = words.chars().filter(char::is_ascii_digit).collect();
    let is_number = !digits.is_empty() && words.chars().all(|c| c.is_ascii_digit() || "+-() ".contains(c));
    let has_number = entry.number.as_ref().is_some_and(|number| number.as_str().contains(&digits));
    entry.name.to_lowercase().contains(words) || is_number && has_number
}

/// One line about somebody: who they are, and the chat or how to begin one.
fn line_of(entry: &Entry) -> String {
    let number = entry.number.as_ref().and_then(|number| number.as_str().split('@').next());
    let name: String = entry.name.chars().filter(|c| !c.is_control()).take(60).collect();
    let name = if name.trim().is_empty() { "Somebody" } else { &name };
    match (number, &entry.room) {
        (Some(number), Some(room)) => format!("- {name} (+{number}): https://matrix.to/#/{room}"),
        (None, Some(room)) => format!("- {name}: https://matrix.to/#/{room}"),
        (Some(number), None) => format!("- {name}: `start-chat +{number}`"),
        (None, None) => format!("- {name}: no number is known"),
    }
}

/// Asks WhatsApp again about the groups, the contacts or the own data of the caller's account.
pub(super) async fn sync(call: &Call, usage: &str) -> Result<()> {
    let what = call.rest.first().map(|word| word.to_lowercase()).unwrap_or_default();
    let (groups, contacts) = match what.as_str() {
        "appstate" => return sync_own_data(call).await,
        "" => (true, true),
        "group" | "groups" => (true, false),
        "contacts" | "contacts-with-avatars" => (false, true),
        _ => return call.answer(&format!("Say `{usage}`.")).await,
    };
    let Some(login) = super::groups::login_of(call).await? else { return Ok(()) };
    let store = call.bridge.store();
    let chats = store.chats_of(&login.id).await.map_err(database)?;
    let mut looked = 0_usize;
    for line in &chats {
        let chat = crate::ids::ChatId::new(line.chat.as_str());
        if groups && chat.is_group() {
            store.mark_group_stale(line.portal).await.map_err(database)?;
            let mut tx = store.begin("command.sync").await.map_err(database)?;
            store.mark_group_picture_in(&mut tx, line.portal).await.map_err(database)?;
            tx.commit().await.map_err(database)?;
        } else if contacts && line.kind == "dm" {
            call.bridge.look_at_person_again(&login, &chat).await.map_err(database)?;
        } else {
            continue;
        }
        looked += 1;
    }
    store.ring_groups();
    let text = match looked {
        0 => "There is nothing to look at again.".to_owned(),
        1 => "I look at one chat again; what has changed shows in a while.".to_owned(),
        many => format!("I look at {many} chats again; what has changed shows in a while."),
    };
    call.answer(&text).await
}

/// Has the own data of the caller's account read again in full: all of it, or the collections that were named.
async fn sync_own_data(call: &Call) -> Result<()> {
    let all = collection_names();
    let typed: Vec<String> = call.rest.iter().skip(1).map(|word| word.to_lowercase()).collect();
    if typed.iter().any(|word| !all.contains(&word.as_str())) {
        let names = all.join("`, `");
        return call.answer(&format!("Say `sync appstate` alone for all of it, or name some of `{names}`.")).await;
    }
    let wanted: Vec<&str> =
        all.into_iter().filter(|name| typed.is_empty() || typed.iter().any(|word| word == name)).collect();
    let Some(login) = super::groups::login_of(call).await? else { return Ok(()) };
    let text = match call.bridge.whatsapp().read_own_data_again(&login.id, &wanted).await {
        Ok(unread) if unread.is_empty() => {
            let what = if typed.is_empty() {
                "All of your account's data".into()
            } else {
                format!("`{}`", wanted.join("`, `"))
            };
            format!("{what} was read again; what has changed shows in a while.")
        }
        Ok(unread) => {
            format!("WhatsApp did not tell all: `{}` is still to be read. It is tried again.", unread.join("`, `"))
        }
        Err(failure) => failure.words().to_owned(),
    };
    call.answer(&text).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GhostId;

    fn entry(name: &str, number: Option<&str>, room: Option<&str>) -> Entry {
        Entry {
            person: GhostId::new("1@lid"),
            name: name.into(),
            number: number.map(|number| GhostId::new(format!("{number}@s.whatsapp.net"))),
            ghost: None,
            room: room.map(str::to_owned),
        }
    }

    #[test]
    fn people_are_found_by_name_and_number() {
        let bob = entry("Bob Example", Some("12025550100"), None);
        for words in ["bob", "example", "+1 202", "0100"] {
            assert!(is_meant(&bob, words), "{words}");
        }
        for words in ["bobby", "+49", "bob 1"] {
            assert!(!is_meant(&bob, words), "{words}");
        }
        assert_eq!(line_of(&bob), "- Bob Example: `start-chat +12025550100`");
        assert_eq!(line_of(&entry(" ", None, Some("!r:a"))), "- Somebody: https://matrix.to/#/!r:a");
    }
}
