//! How the bridge behaves: who may use it, encryption, logging.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::relay::Relay;
use crate::masked::Secret;

/// Section `bridge`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// What a command begins with outside a management room.
    pub command_prefix: String,
    /// Whether each login gets a space that holds its rooms.
    pub personal_filtering_spaces: bool,
    /// Whether what people do to rooms in their clients is done to the chats on WhatsApp.
    pub sync_account_data: bool,
    /// Whether who leaves a group's room leaves the group.
    pub bridge_matrix_leave: bool,
    /// Whether a direct chat's room goes when the chat is deleted on the phone.
    pub delete_chat_rooms: bool,
    /// Whether messages are removed from a direct chat's room when the chat is cleared.
    pub clear_chat_messages: bool,
    /// Who may do what.
    pub permissions: Permissions,
    /// How much is done in a minute by itself.
    pub budgets: Budgets,
    /// What becomes of an account's rooms when it is logged out.
    pub cleanup_on_logout: CleanupOnLogout,
    /// Who is relayed through somebody else's login.
    pub relay: Relay,
}

/// Section `bridge.cleanup_on_logout`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanupOnLogout {
    /// Whether anything is done at all.
    pub enabled: bool,
    /// When somebody here asked for the logout.
    pub manual: Cleanups,
    /// When WhatsApp or the phone ended the link.
    pub bad_credentials: Cleanups,
}

/// What becomes of which rooms. Of the rows that fit a room the first counts.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleanups {
    /// Rooms of direct chats and own notes.
    pub private: Cleanup,
    /// Rooms of groups and channels in which somebody's account relays others.
    pub relayed: Cleanup,
    /// Rooms of groups and channels that nobody else has an account in.
    pub shared_no_users: Cleanup,
    /// Rooms of groups and channels that somebody else has an account in.
    pub shared_has_users: Cleanup,
}

/// What becomes of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cleanup {
    /// They stay for the next login.
    Nothing,
    /// The person whose account it is is taken out.
    Kick,
    /// The bridge goes, and the people keep the room.
    Unbridge,
    /// Everybody is taken out, and they are forgotten.
    Delete,
}

impl CleanupOnLogout {
    /// What becomes of which rooms after a logout that was asked for, or was not; none when nothing becomes of any.
    #[must_use]
    pub fn after(&self, was_asked_for: bool) -> Option<Cleanups> {
        let rows = if was_asked_for { self.manual } else { self.bad_credentials };
        self.enabled.then_some(rows)
    }
}

/// Section `bridge.budgets`: at most so much in a minute, at least 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Requests of each login to WhatsApp.
    pub whatsapp_requests_per_minute: u32,
    /// Rooms made.
    pub rooms_per_minute: u32,
    /// Ghosts made.
    pub ghosts_per_minute: u32,
    /// People brought into rooms, or out of them.
    pub memberships_per_minute: u32,
}

impl Bridge {
    /// What this person may do; see [`Permissions::level_of`].
    #[must_use]
    pub fn level_of(&self, mxid: &str) -> Level {
        self.permissions.level_of(mxid)
    }
}

/// What a person may do. Ordered: each level may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing: the bot does not answer.
    Block,
    /// Their messages in a portal may be relayed through somebody else's login.
    Relay,
    /// Commands that need no login of their own.
    Commands,
    /// Logins of their own.
    User,
    /// Commands that touch others.
    Admin,
}

impl Level {
    /// Every level by its name in the config, lowest first.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("block", Self::Block),
        ("relay", Self::Relay),
        ("commands", Self::Commands),
        ("user", Self::User),
        ("admin", Self::Admin),
    ];
}

/// Levels by `*`, server name or full user id.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Permissions(BTreeMap<String, Level>);

impl Permissions {
    /// What this person may do: their own entry, else their server's, else the one of `*`, else nothing.
    #[must_use]
    pub fn level_of(&self, mxid: &str) -> Level {
        let server = mxid.strip_prefix('@').and_then(|id| id.split_once(':')).map(|(_, server)| server);
        [Some(mxid), server, Some("*")]
            .into_iter()
            .flatten()
            .find_map(|key| self.0.get(key))
            .copied()
            .unwrap_or(Level::Block)
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Level)> {
        self.0.iter().map(|(key, level)| (key.as_str(), *level))
    }
}

/// Section `encryption`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// Seals secrets in the database, and keys the masks in logs.
    pub pickle_key: Secret<String>,
}

/// Section `logging`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// The least severe lines that are written.
    pub level: LogLevel,
}

/// How much is logged, fewest lines first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// Recovered or degraded.
    Warn,
    /// The life of logins, portals and the process.
    Info,
    /// Per message.
    Debug,
    /// Per step.
    Trace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(entries: &[(&str, Level)]) -> Permissions {
        Permissions(entries.iter().map(|(key, level)| ((*key).to_owned(), *level)).collect())
    }

    #[test]
    fn the_most_specific_entry_wins_also_when_it_is_lower() {
        let permissions = permissions(&[
            ("*", Level::Relay),
            ("example.com", Level::User),
            ("example.org:8448", Level::Commands),
            ("@admin:example.com", Level::Admin),
            ("@troll:example.com", Level::Block),
        ]);
        for (mxid, level) in [
            ("@someone:elsewhere.net", Level::Relay),
            ("@someone:example.com", Level::User),
            ("@someone:example.org:8448", Level::Commands),
            ("@someone:example.org", Level::Relay),
            ("@admin:example.com", Level::Admin),
            ("@admin:example.com.evil.net", Level::Relay),
            ("@troll:example.com", Level::Block),
            ("@example.com", Level::Relay),
        ] {
            assert_eq!(permissions.level_of(mxid), level, "{mxid}");
        }
    }

    #[test]
    fn nobody_may_do_anything_without_an_entry() {
        assert_eq!(permissions(&[]).level_of("@a:b.c"), Level::Block);
        assert_eq!(permissions(&[("@a:b.c", Level::Admin)]).level_of("@b:b.c"), Level::Block);
    }

    #[test]
    fn levels_are_ordered_as_they_are_listed() {
        assert!(Level::NAMES.is_sorted_by(|(_, low), (_, high)| low < high));
    }
}
