//! Why a line is not connected, as people, managers and numbers are told.

use crate::numbers;
use whatsapp_rust::wacore::types::events::TempBanReason;

/// What keeps a line from its connection. Each is tried again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection broke.
    Lost,
    /// It could not even be begun: the database did not give what it needs.
    NotBegun,
    /// WhatsApp refused it with this code.
    Refused(i32),
    /// Another program connected with the same keys.
    Replaced,
    /// WhatsApp asks for a newer version than the newest the bridge finds.
    Outdated,
    /// WhatsApp has banned the account for a time.
    Banned {
        /// Until when, milliseconds since 1970.
        until: i64,
        /// What for.
        why: Ban,
    },
}

/// What a ban is for; codes as seen from WhatsApp's servers by open clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    /// Too many messages to people who do not know the account.
    Strangers,
    /// Too many people blocked it.
    Blocked,
    /// Too many groups with people who do not know it.
    Groups,
    /// The same message to too many.
    SameMessage,
    /// Too many messages to a broadcast list.
    Broadcast,
    /// WhatsApp does not say.
    Unknown,
}

impl Ban {
    /// From the library's word.
    #[must_use]
    pub fn of(reason: &TempBanReason) -> Self {
        match reason {
            TempBanReason::SentToTooManyPeople => Self::Strangers,
            TempBanReason::BlockedByUsers => Self::Blocked,
            TempBanReason::CreatedTooManyGroups => Self::Groups,
            TempBanReason::SentTooManySameMessage => Self::SameMessage,
            TempBanReason::BroadcastList => Self::Broadcast,
            TempBanReason::Unknown(_) => Self::Unknown,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Strangers => ": too many messages went to people who do not have it in their contacts",
            Self::Blocked => ": too many people blocked it",
            Self::Groups => ": it made too many groups with people who do not have it in their contacts",
            Self::SameMessage => ": the same message went to too many people",
            Self::Broadcast => ": too many messages went to a broadcast list",
            Self::Unknown => "",
        }
    }
}

impl Trouble {
    /// What managers of bridges call it (the codes of mautrix's bridge).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Lost => "wa-transient-disconnect",
            Self::NotBegun => "wa-not-connected",
            Self::Refused(_) => "wa-connect-failure",
            Self::Replaced => "wa-stream-replaced",
            Self::Outdated => "wa-client-outdated",
            Self::Banned { .. } => "wa-temporary-ban",
        }
    }

    /// As it is counted.
    #[must_use]
    pub fn number(self) -> numbers::Login {
        match self {
            Self::Lost | Self::NotBegun => numbers::Login::Offline,
            Self::Refused(_) => numbers::Login::Refused,
            Self::Replaced => numbers::Login::Replaced,
            Self::Outdated => numbers::Login::Outdated,
            Self::Banned { .. } => numbers::Login::Banned,
        }
    }

    /// Whether it ends by itself, as far as anybody knows: nobody has to do anything yet.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Lost | Self::NotBegun | Self::Refused(_))
    }

    /// For people: what is wrong and what to do, whole sentences.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Lost => "The connection to WhatsApp was lost; it is tried again by itself.".into(),
            Self::NotBegun => "The connection to WhatsApp could not be set up; it is tried again by itself.".into(),
            Self::Refused(code) => {
                format!("WhatsApp refused the connection (code {code}); it is tried again by itself.")
            }
            Self::Replaced => {
                "Another program uses this login's keys at the same time. Stop it, or log out and link the \
                               account again."
                    .into()
            }
            Self::Outdated => {
                "WhatsApp asks for a newer version than the bridge has. The bridge's administrator has to \
                               update it; the bridge goes on looking for a newer one."
                    .into()
            }
            Self::Banned { until, why } => {
                let end = crate::convert::moment(until / 1000)
                    .map_or_else(|| "for a long time".to_owned(), |end| format!("until {end}"));
                format!(
                    "WhatsApp has banned this account {end}{}. Use WhatsApp on your phone to ask for a review; the bridge \
                     connects again afterwards.",
                    why.words()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_says_until_when_and_what_for() {
        let ban = Trouble::Banned { until: 1_795_197_600_000, why: Ban::of(&TempBanReason::SentTooManySameMessage) };
        let words = ban.words();
        assert!(words.contains("until 2026-11-20 18:00 UTC: the same message"), "{words}");
        assert!(!ban.may_pass() && ban.number() == numbers::Login::Banned && ban.code() == "wa-temporary-ban");
        let endless = Trouble::Banned { until: i64::MAX, why: Ban::Unknown };
        assert!(endless.words().contains("banned this account for a long time."), "{}", endless.words());
    }
}
