//! What a channel is on WhatsApp, what its room has to look like, and how the counts of its posts are shown. Pure.

use super::group::RoomRules;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use whatsapp_rust::prelude::{MessageField, wa};

/// Longest name of a room made of a channel's, in characters: WhatsApp's own limit is 100.
const LONGEST_NAME: usize = 255;
/// Longest topic, in characters: WhatsApp's own limit of a description is 2,048.
const LONGEST_TOPIC: usize = 4096;
/// Kinds of reactions whose counts are shown with one post; the rest is told by command.
const MOST_PILLS: usize = 4;
/// Power of the channel and of those who may write in it.
pub const WRITER: i64 = 50;

/// Everything about a channel but its posts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelFacts {
    /// Its name.
    pub name: String,
    /// Its description; empty when there is none.
    pub description: String,
    /// The code of its link; empty when not told.
    pub invite: String,
    /// WhatsApp's id of its picture; empty when there is none.
    pub picture: String,
    /// Where the picture lies on WhatsApp's servers: a path.
    pub picture_path: String,
    /// Whether WhatsApp has checked who is behind it.
    pub verified: bool,
    /// Whether WhatsApp has closed it, or its owner has ended it.
    pub closed: bool,
}

impl ChannelFacts {
    /// Out of the database; none when they were never read.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// As the database keeps them.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of texts and truth values always serializes.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The room's name.
    pub fn title(&self) -> String {
        match super::words::line(&self.name, LONGEST_NAME) {
            name if name.trim().is_empty() => "WhatsApp channel".to_owned(),
            name => name,
        }
    }

    /// The room's topic; empty when it needs none.
    pub fn topic(&self) -> String {
        self.description.chars().take(LONGEST_TOPIC).collect()
    }

    /// The channel's link; none when WhatsApp has told none.
    pub fn link(&self) -> Option<String> {
        (!self.invite.is_empty()).then(|| format!("https://whatsapp.com/channel/{}", self.invite))
    }

    /// The rules of its room: nobody writes but the channel and its admins, and nobody but the bot shapes it.
    pub fn rules() -> RoomRules {
        RoomRules { talk: WRITER, shape: 100, invite: 100, admin: 100 }
    }
}

/// How often a post was seen and which reactions it has, as WhatsApp told it last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Views; none when not told.
    pub views: Option<u64>,
    /// Each kind of reaction with its number.
    pub reactions: Vec<(String, u64)>,
}

impl Counts {
    /// Out of the database.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// As the database keeps them.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// These with what a word that told only some of them leaves as it was.
    pub fn over(self, before: &Self) -> Self {
        Self { views: self.views.or(before.views), reactions: self.reactions }
    }

    /// The counts as words: `12 views, 👍 3, ❤️ 1`.
    pub fn words(&self) -> String {
        let views = self.views.map(|views| if views == 1 { "1 view".to_owned() } else { format!("{views} views") });
        let reactions = self.sorted().into_iter().map(|(emoji, count)| format!("{emoji} {count}"));
        let all: Vec<String> = views.into_iter().chain(reactions).collect();
        if all.is_empty() { "no views or reactions yet".to_owned() } else { all.join(", ") }
    }

    /// What the room shows of them: an emoji with a number for each of the most frequent reactions. `own` are the
    /// reactions that stand in the room by themselves; they are not shown twice.
    pub fn pills(&self, own: &[String]) -> Vec<String> {
        let own: Vec<&str> = own.iter().map(|emoji| plain(emoji)).collect();
        let others = self.sorted().into_iter().map(|(emoji, count)| {
            let here = own.iter().filter(|own| **own == plain(emoji)).count() as u64;
            (emoji, count.saturating_sub(here))
        });
        let shown = others.filter(|(_, count)| *count > 0).take(MOST_PILLS);
        shown.map(|(emoji, count)| format!("{emoji} {}", short(count))).collect()
    }

    fn sorted(&self) -> Vec<(&str, u64)> {
        let is_emoji = |emoji: &str| !emoji.is_empty() && emoji.chars().count() <= 16 && !emoji.contains(' ');
        let all = self.reactions.iter().filter(|(emoji, count)| is_emoji(emoji) && *count > 0);
        let mut all: Vec<(&str, u64)> = all.map(|(emoji, count)| (emoji.as_str(), *count)).collect();
        all.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        all
    }
}

/// The emoji of a reaction in a channel's room: who takes part in a count means its emoji.
pub fn emoji_of(key: &str) -> &str {
    match key.split_once(' ') {
        Some((emoji, count)) if count.starts_with(|first: char| first.is_ascii_digit()) => emoji,
        _ => key,
    }
}

/// Without the sign that asks for a coloured picture: some write it, some do not.
fn plain(emoji: &str) -> &str {
    emoji.trim_end_matches('\u{fe0f}')
}

/// A number as short as WhatsApp's clients write it; so a large one does not change with every reaction.
fn short(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        1000..=999_999 => format!("{}.{}K", count / 1000, count % 1000 / 100),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// The id of the arrival that changes a post: another one for each content.
pub fn change_id(post: &str, content: &str) -> String {
    format!("{post}.{}", content.chars().take(16).collect::<String>())
}

/// A post's new content, as other chats tell it.
pub fn edit(post: &str, chat: &str, content: wa::Message, ts_ms: i64) -> wa::Message {
    let change = wa::message::ProtocolMessage {
        r#type: Some(wa::message::protocol_message::Type::MessageEdit),
        key: MessageField::some(key_of(post, chat)),
        edited_message: MessageField::some(content),
        timestamp_ms: Some(ts_ms),
        ..Default::default()
    };
    wa::Message { protocol_message: MessageField::some(change), ..Default::default() }
}

/// A post taken back, as other chats tell it.
pub fn revoke(post: &str, chat: &str) -> wa::Message {
    let change = wa::message::ProtocolMessage {
        r#type: Some(wa::message::protocol_message::Type::Revoke),
        key: MessageField::some(key_of(post, chat)),
        ..Default::default()
    };
    wa::Message { protocol_message: MessageField::some(change), ..Default::default() }
}

fn key_of(post: &str, chat: &str) -> wa::MessageKey {
    wa::MessageKey {
        remote_jid: Some(chat.to_owned()),
        from_me: Some(true),
        id: Some(post.to_owned()),
        participant: None,
    }
}

/// The channel a text names: a link, a bare code of one, or an id.
pub fn named_in(text: &str) -> Option<Named> {
    let text = text.trim().trim_matches(|c| matches!(c, '<' | '>'));
    if let Some(user) = text.strip_suffix("@newsletter") {
        let is_id = !user.is_empty() && user.len() <= 32 && user.bytes().all(|byte| byte.is_ascii_digit());
        return is_id.then(|| Named::Id(text.to_owned()));
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let rest = rest.strip_prefix("www.").unwrap_or(rest).strip_prefix("whatsapp.com/channel/")?;
    let code = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_code = (8..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| Named::Code(code.to_owned()))
}

/// How a channel was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By its id, `…@newsletter`.
    Id(String),
    /// By the code of its link.
    Code(String),
}

/// What an answer about a channel says: its id, facts, and what the asker is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Facts.
    pub facts: ChannelFacts,
    /// How many follow it.
    pub followers: u64,
    /// Whether the asker follows it.
    pub follows: bool,
    /// Whether the asker may write in it.
    pub writes: bool,
    /// Whether the asker has muted it; none when not told.
    pub muted: Option<bool>,
}

/// Reads a channel as WhatsApp's answers and notes describe it; none when it is no channel.
pub fn told(about: &Value) -> Option<Told> {
    let id = about["id"].as_str().filter(|id| id.ends_with("@newsletter"))?.to_owned();
    let thread = &about["thread_metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = about.pointer("/state/type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let picture =
        [&thread["picture"], &thread["preview"]].into_iter().find(|picture| picture["direct_path"].is_string());
    let role = about.pointer("/viewer_metadata/role").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let followers = &thread["subscribers_count"];
    let muted = about.pointer("/viewer_metadata/mute").and_then(Value::as_str);
    let facts = ChannelFacts {
        name: text(&thread["name"]["text"]),
        description: text(&thread["description"]["text"]),
        invite: text(&thread["invite"]),
        picture: picture.map(|picture| text(&picture["id"])).unwrap_or_default(),
        picture_path: picture.map(|picture| text(&picture["direct_path"])).unwrap_or_default(),
        verified: thread["verification"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("verified")),
        closed: matches!(state.as_str(), "suspended" | "geosuspended" | "deleted" | "non_existing"),
    };
    Some(Told {
        id,
        facts,
        followers: followers.as_u64().or_else(|| followers.as_str()?.parse().ok()).unwrap_or(0),
        follows: matches!(role.as_str(), "subscriber" | "admin" | "owner"),
        writes: matches!(role.as_str(), "admin" | "owner"),
        muted: muted.map(|muted| muted.eq_ignore_ascii_case("on")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn counts(reactions: &[(&str, u64)]) -> Counts {
        let reactions = reactions.iter().map(|(emoji, count)| ((*emoji).to_owned(), *count)).collect();
        Counts { views: None, reactions }
    }

    #[test]
    fn counts_are_shown_short_and_once() {
        let told = counts(&[("👍", 12), ("❤️", 3), ("😂", 1), ("🙏", 1234), ("🎉", 2), ("", 9), ("no emoji", 4)]);
        assert_eq!(told.pills(&[]), ["🙏 1.2K", "👍 12", "❤️ 3", "🎉 2"]);
        // Somebody here gave the only one of a kind, and one of others; written with and without its colour.
        let own = ["❤".to_owned(), "😂".to_owned()];
        assert_eq!(told.pills(&own), ["🙏 1.2K", "👍 12", "❤️ 2", "🎉 2"]);
        assert_eq!(counts(&[("😂", 1)]).pills(&own), Vec::<String>::new());
        assert_eq!(short(1_260_000), "1.2M");
        assert_eq!(Counts { views: Some(1), ..counts(&[("👍", 2)]) }.words(), "1 view, 👍 2");
        assert_eq!(Counts::default().words(), "no views or reactions yet");
        assert_eq!(counts(&[]).over(&Counts { views: Some(3), ..Counts::default() }).views, Some(3));
    }

    #[test]
    fn taking_part_in_a_count_means_its_emoji() {
        assert_eq!(["👍 12", "🙏 1.2K", "👍", "no emoji"].map(emoji_of), ["👍", "🙏", "👍", "no emoji"]);
    }

    #[test]
    fn a_channel_is_named_by_link_and_id() {
        let code = || Some(Named::Code("0029Va4K0PZ5a245NkngBA2M".into()));
        for text in [
            "https://whatsapp.com/channel/0029Va4K0PZ5a245NkngBA2M",
            "<https://www.whatsapp.com/channel/0029Va4K0PZ5a245NkngBA2M/123?x=1>",
            "whatsapp.com/channel/0029Va4K0PZ5a245NkngBA2M",
        ] {
            assert_eq!(named_in(text), code(), "{text}");
        }
        assert_eq!(named_in("120363040000000001@newsletter"), Some(Named::Id("120363040000000001@newsletter".into())));
        for no in ["", "https://chat.whatsapp.com/abcdefghij", "x@newsletter", "https://whatsapp.com/channel/a"] {
            assert_eq!(named_in(no), None, "{no}");
        }
    }

    #[test]
    fn an_answer_tells_what_a_channel_is() {
        let about = json!({
            "id": "1@newsletter",
            "state": { "type": "ACTIVE" },
            "thread_metadata": {
                "name": { "text": "News" }, "description": { "text": "All of it" }, "invite": "abc",
                "picture": { "id": "7", "direct_path": "/p" }, "subscribers_count": "12", "verification": "VERIFIED",
            },
            "viewer_metadata": { "role": "SUBSCRIBER", "mute": "ON" },
        });
        let told = told(&about).unwrap();
        assert_eq!((told.id.as_str(), told.followers, told.follows, told.writes), ("1@newsletter", 12, true, false));
        assert_eq!((told.muted, told.facts.verified, told.facts.closed), (Some(true), true, false));
        assert_eq!((told.facts.title().as_str(), told.facts.topic().as_str()), ("News", "All of it"));
        assert_eq!(told.facts.link().as_deref(), Some("https://whatsapp.com/channel/abc"));
        assert_eq!(super::told(&json!({ "id": "1@g.us" })), None);
    }

    proptest! {
        #[test]
        fn facts_and_counts_survive_the_database(name in ".*", closed in any::<bool>(), views in any::<Option<u64>>()) {
            let facts = ChannelFacts { name, closed, ..ChannelFacts::default() };
            prop_assert_eq!(ChannelFacts::from_bytes(&facts.to_bytes()), Some(facts));
            let counts = Counts { views, ..Counts::default() };
            prop_assert_eq!(Counts::from_bytes(&counts.to_bytes()), counts);
        }

        #[test]
        fn nothing_read_from_text_panics(text in ".*") {
            named_in(&text);
            emoji_of(&text);
        }
    }
}
