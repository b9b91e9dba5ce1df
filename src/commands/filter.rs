//! Which chats get rooms, chosen by administrators.

use super::{Call, database};
use crate::bridge::filter::Mode;
use crate::matrix::error::Result;
use crate::store::filter::FilterRows;

/// Most chats one answer lists.
const MOST_CHATS: usize = 50;

/// What somebody wants of the filter.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Show,
    Choose(Mode, Vec<String>),
    Remove(Vec<String>),
}

/// Reads the words; none when they mean nothing.
fn read(words: &[String]) -> Option<Wish> {
    let Some((first, rest)) = words.split_first() else { return Some(Wish::Show) };
    let chats: Option<Vec<String>> = rest.iter().map(|word| super::portals::read_chat(word)).collect();
    let chats = chats?;
    match first.to_lowercase().as_str() {
        "off" if chats.is_empty() => Some(Wish::Choose(Mode::Off, chats)),
        "allow" => Some(Wish::Choose(Mode::Allow, chats)),
        "deny" => Some(Wish::Choose(Mode::Deny, chats)),
        "remove" if !chats.is_empty() => Some(Wish::Remove(chats)),
        _ => None,
    }
}

/// `filter`: shows which chats get rooms, or changes it.
pub(super) async fn filter(call: &Call, usage: &str) -> Result<()> {
    let Some(wish) = read(&call.rest) else { return call.answer(&format!("Say `{usage}`.")).await };
    let store = call.bridge.store();
    match wish {
        Wish::Show => {}
        Wish::Choose(mode, chats) => {
            // The list first: a kill in between leaves nobody in or out whom nobody has named.
            store.put_on_filter(mode.text(), &kept(call, chats).await?).await.map_err(database)?;
            store.put_filter_mode(mode.text()).await.map_err(database)?;
        }
        Wish::Remove(chats) => {
            let chats = kept(call, chats).await?;
            let mode = store.load_filter().await.map_err(database)?.mode;
            let lists: &[&str] = match mode.as_str() {
                "allow" => &["allow"],
                "deny" => &["deny"],
                _ => &["allow", "deny"],
            };
            for list in lists {
                store.take_off_filter(list, &chats).await.map_err(database)?;
            }
        }
    }
    let rows = call.bridge.load_filter().await.map_err(database)?;
    call.answer_alone(&describe(&rows)).await
}

/// The chats by the ids they are kept under.
async fn kept(call: &Call, chats: Vec<String>) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    for chat in chats {
        kept.push(call.bridge.filter_id(&chat).await.map_err(database)?.as_str().to_owned());
    }
    Ok(kept)
}

fn describe(rows: &FilterRows) -> String {
    let (what, chats) = match rows.mode.as_str() {
        "allow" if rows.allow.is_empty() => return with_others("The filter lets no new chat have a room.", &rows.deny),
        "deny" if rows.deny.is_empty() => return with_others("Every chat gets a room.", &rows.allow),
        "allow" => ("Only these chats get a room", &rows.allow),
        "deny" => ("Every chat gets a room but these", &rows.deny),
        _ => return "The filter is off: every chat gets a room.".to_owned(),
    };
    let mut lines: Vec<String> = chats.iter().take(MOST_CHATS).map(|chat| format!("- `{chat}`")).collect();
    if chats.len() > MOST_CHATS {
        lines.push(format!("… and {} more", chats.len() - MOST_CHATS));
    }
    let rest = "Rooms that exist stay. Messages of a chat without a room stay on the phone and are not bridged later.";
    format!("{what} ({}):\n{}\n{rest}", chats.len(), lines.join("\n"))
}

fn with_others(text: &str, others: &[String]) -> String {
    match others.len() {
        0 => text.to_owned(),
        count => format!("{text} (The other list has {count}, and does not count now.)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_filter_is_read() {
        assert_eq!(read(&[]), Some(Wish::Show));
        assert_eq!(read(&words("off")), Some(Wish::Choose(Mode::Off, vec![])));
        assert_eq!(read(&words("ALLOW 1@g.us 2@lid")), Some(Wish::Choose(Mode::Allow, words("1@g.us 2@lid"))));
        assert_eq!(read(&words("deny")), Some(Wish::Choose(Mode::Deny, vec![])));
        assert_eq!(read(&words("remove 1@g.us")), Some(Wish::Remove(words("1@g.us"))));
        for wrong in ["on", "off 1@g.us", "remove", "allow choir", "deny !r:x"] {
            assert_eq!(read(&words(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_filter_is_told_in_words() {
        let rows = |mode: &str, allow: &str, deny: &str| FilterRows {
            mode: mode.into(),
            allow: words(allow),
            deny: words(deny),
        };
        assert!(describe(&rows("", "", "")).contains("is off"));
        assert!(describe(&rows("off", "1@g.us", "")).contains("is off"));
        assert_eq!(describe(&rows("allow", "", "")), "The filter lets no new chat have a room.");
        assert!(describe(&rows("deny", "1@g.us", "")).contains("other list has 1"));
        assert!(describe(&rows("allow", "1@g.us", "")).starts_with("Only these chats get a room (1):\n- `1@g.us`\n"));
        let many = (0..60).map(|number| format!("{number}@g.us")).collect::<Vec<_>>().join(" ");
        assert!(describe(&rows("deny", "", &many)).contains("… and 10 more"));
    }
}
