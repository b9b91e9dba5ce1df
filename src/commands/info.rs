//! What people ask about their accounts: how they are, which chats they have, what could not be bridged.

use super::rights::Place;
use super::{Call, account, database};
use crate::matrix::error::Result;
use crate::store::logins::Login;
use crate::store::overview::{ChatLine, Failure};

/// Most chats one answer lists: what fits a phone's screen without much scrolling.
const MOST_CHATS: usize = 20;

/// Most failures one answer lists.
const MOST_FAILURES: i64 = 10;

/// How the caller's accounts are, what waits for them and what of theirs could not be bridged.
pub(super) async fn status(call: &Call) -> Result<()> {
    let store = call.bridge.store();
    let logins = store.logins_of(&call.sender).await.map_err(database)?;
    if logins.is_empty() {
        return call.answer("No WhatsApp account is linked. Say `login qr` to link one.").await;
    }
    let mut lines = Vec::new();
    for login in &logins {
        lines.push(account::describe(&call.bridge, login));
        let waiting = store.waiting_for(&login.id, &call.sender).await.map_err(database)?;
        if waiting.from_whatsapp > 0 {
            lines.push(format!("  {} waiting to be shown here", count(waiting.from_whatsapp, "message")));
        }
    }
    // What somebody wrote is counted once, however many accounts they have.
    if let Some(login) = logins.first() {
        let waiting = store.waiting_for(&login.id, &call.sender).await.map_err(database)?;
        if waiting.from_matrix > 0 {
            lines.push(format!("{} of yours waiting for WhatsApp", count(waiting.from_matrix, "message")));
        }
    }
    let failures = store.failures_of(&call.sender, MOST_FAILURES).await.map_err(database)?;
    if failures.is_empty() {
        lines.push("Nothing has failed.".to_owned());
    } else {
        lines.push(String::new());
        lines.push("Could not be bridged (say `retry` in the room to try again):".to_owned());
        let now = store.clock().now_ms();
        lines.extend(failures.iter().map(|failure| failed_line(failure, now)));
    }
    call.answer_alone(&lines.join("\n")).await
}

fn count(number: i64, word: &str) -> String {
    if number == 1 { format!("1 {word} is") } else { format!("{number} {word}s are") }
}

fn failed_line(failure: &Failure, now: i64) -> String {
    let side = if failure.is_from_whatsapp { "from WhatsApp" } else { "to WhatsApp" };
    let room = failure.room.as_ref().map_or_else(String::new, |room| format!(" in https://matrix.to/#/{room}"));
    let why = if failure.why.is_empty() { "for an unknown reason" } else { failure.why.as_str() };
    format!("- {side}{room}, {} ago: {why}", age((now - failure.at).max(0)))
}

/// A time span in words, rounded down to its largest unit.
fn age(milliseconds: i64) -> String {
    let minutes = milliseconds / 60_000;
    match minutes {
        0 => "a moment".to_owned(),
        1..60 => format!("{minutes} min"),
        60..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

/// The caller's chats, all or those whose name or id holds the words.
pub(super) async fn chats(call: &Call) -> Result<()> {
    let store = call.bridge.store();
    let logins = store.logins_of(&call.sender).await.map_err(database)?;
    if logins.is_empty() {
        return call.answer("No WhatsApp account is linked. Say `login qr` to link one.").await;
    }
    let words = call.rest.join(" ").to_lowercase();
    let mut found = Vec::new();
    for login in &logins {
        for line in store.chats_of(&login.id).await.map_err(database)? {
            let name = name_of(&line);
            if words.is_empty() || name.to_lowercase().contains(&words) || line.chat.contains(&words) {
                found.push((name, line));
            }
        }
    }
    found.sort_by_cached_key(|(name, line)| (name.to_lowercase(), line.portal));
    found.dedup_by(|(_, one), (_, other)| one.portal == other.portal);
    if found.is_empty() {
        return call.answer("No such chat. `chats` alone shows all.").await;
    }
    let all = found.len();
    let mut lines: Vec<String> = found.iter().take(MOST_CHATS).map(|(name, line)| chat_line(name, line)).collect();
    if all > MOST_CHATS {
        lines.push(format!("… and {} more; say `chats <words>` to search.", all - MOST_CHATS));
    }
    call.answer_alone(&lines.join("\n")).await
}

fn name_of(line: &ChatLine) -> String {
    let facts: serde_json::Value = serde_json::from_slice(&line.facts).unwrap_or_default();
    let name = facts["subject"].as_str().or_else(|| facts["name"].as_str()).filter(|name| !name.trim().is_empty());
    let name = name.unwrap_or(if line.person.trim().is_empty() { &line.chat } else { &line.person });
    name.chars().filter(|character| !character.is_control()).take(60).collect()
}

fn chat_line(name: &str, line: &ChatLine) -> String {
    let room =
        line.room.as_ref().map_or_else(|| "no room yet".to_owned(), |room| format!("https://matrix.to/#/{room}"));
    format!("- {name} (`{}`): {room}", line.chat)
}

/// What names this chat on both sides.
pub(super) async fn id(call: &Call) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    call.answer(&format!("Chat `{}`, room `{}`, through +{}.", portal.chat, call.room, login.id)).await
}

/// Every account on the bridge, for administrators.
pub(super) async fn all_logins(call: &Call) -> Result<()> {
    let logins = call.bridge.store().all_logins().await.map_err(database)?;
    let words = call.rest.join(" ").to_lowercase();
    let matches = |login: &&Login| login.mxid.to_lowercase().contains(&words) || login.id.as_str().contains(&words);
    let lines: Vec<String> = logins
        .iter()
        .filter(matches)
        .map(|login| format!("{}: {}", login.mxid, account::describe(&call.bridge, login)))
        .collect();
    if lines.is_empty() {
        return call.answer("No account is linked.").await;
    }
    call.answer_alone(&lines.join("\n")).await
}

/// Asks WhatsApp anew for everything about this chat.
pub(super) async fn sync_portal(call: &Call) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    if call.place == Place::OwnGroup {
        let store = call.bridge.store();
        store.mark_group_stale(portal.id).await.map_err(database)?;
        let mut tx = store.begin("command.sync_portal").await.map_err(database)?;
        store.mark_group_picture_in(&mut tx, portal.id).await.map_err(database)?;
        tx.commit().await.map_err(database)?;
        store.ring_groups();
    } else if portal.chat.is_channel() {
        if let Err(failure) = call.bridge.whatsapp().read_channel_again(&login.id, &portal.chat).await {
            return super::channels::answer_failure(call, failure).await;
        }
    } else {
        call.bridge.look_at_person_again(login, &portal.chat).await.map_err(database)?;
    }
    call.answer("I look at this chat again; what has changed shows in a moment.").await
}

/// Whether a number is on WhatsApp, and the chat with it when there is one.
pub(super) async fn resolve_identifier(call: &Call, usage: &str) -> Result<()> {
    let Some(digits) = super::groups::number_in(&call.rest.concat()) else {
        return call
            .answer(&format!("Say `{usage}`: the number with its country code, such as +1 202 555 0100."))
            .await;
    };
    let Some(login) = super::groups::login_of(call).await? else { return Ok(()) };
    match call.bridge.whatsapp().find_person(&login.id, &digits).await {
        Ok(None) => call.answer(&format!("+{digits} is not on WhatsApp.")).await,
        Ok(Some(person)) => {
            let chats = call.bridge.store().chats_of(&login.id).await.map_err(database)?;
            let known = chats.iter().find(|line| line.chat == person.as_str());
            let text = match known.and_then(|line| line.room.as_ref()) {
                Some(room) => format!("+{digits} is on WhatsApp, and your chat is here: https://matrix.to/#/{room}"),
                None => format!("+{digits} is on WhatsApp. Say `start-chat +{digits}` to open a chat."),
            };
            call.answer(&text).await
        }
        Err(failure) => call.answer(failure.words()).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PortalId;

    fn line(person: &str, facts: &str) -> ChatLine {
        ChatLine {
            portal: PortalId::new(1),
            chat: "9@lid".into(),
            kind: "dm".into(),
            room: None,
            person: person.into(),
            facts: facts.into(),
        }
    }

    #[test]
    fn chats_have_names() {
        assert_eq!(name_of(&line("Bob", "")), "Bob");
        assert_eq!(name_of(&line(" ", "")), "9@lid");
        assert_eq!(name_of(&line("", r#"{"subject":"Choir\n"}"#)), "Choir");
        assert_eq!(name_of(&line("News (WA)", r#"{"name":"News"}"#)), "News");
        assert!(chat_line("Bob", &line("Bob", "")).contains("no room yet"));
    }

    #[test]
    fn ages_are_rounded_down() {
        for (minutes, text) in [(0, "a moment"), (59, "59 min"), (60, "1 h"), (2879, "47 h"), (2880, "2 days")] {
            assert_eq!(age(minutes * 60_000 + 1), text);
        }
    }
}
