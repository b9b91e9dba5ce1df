//! Which chats get rooms: all, those that are named, or all but those.
//!
//! Chosen by administrators, kept in the database, and in memory for every message that comes. A chat that has a room keeps
//! it. What comes for a chat that gets none is settled: it stays on the phone and is not bridged later.

use super::Bridge;
use super::people::Halt;
use crate::ids::{ChatId, GhostId, PortalId};
use crate::store::StoreError;
use crate::store::filter::FilterRows;
use crate::store::portals::Portal;
use crate::verdict::Verdict;
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// What is said of a chat that gets no room.
pub(crate) const KEPT_OUT: &str = "The bridge's administrator lets no room be made for this chat.";

/// What the filter does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every chat gets a room.
    #[default]
    Off,
    /// Only chats that are named.
    Allow,
    /// Every chat but those that are named.
    Deny,
}

impl Mode {
    /// As it is said and kept.
    pub fn text(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "allow" => Self::Allow,
            "deny" => Self::Deny,
            _ => Self::Off,
        }
    }
}

/// The filter that is in force.
#[derive(Default)]
pub struct Filter {
    now: RwLock<Chosen>,
}

#[derive(Debug, Clone, Default)]
struct Chosen {
    mode: Mode,
    chats: HashSet<String>,
}

impl Chosen {
    /// Whether a chat gets a room; `ids` are all it is known by.
    fn lets(&self, ids: &[&str]) -> bool {
        let is_named = ids.iter().any(|id| self.chats.contains(*id));
        match self.mode {
            Mode::Off => true,
            Mode::Allow => is_named,
            Mode::Deny => !is_named,
        }
    }
}

impl Bridge {
    /// Reads the filter; at the start and after each change.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_filter(&self) -> Result<FilterRows, StoreError> {
        let rows = self.store().load_filter().await?;
        let mode = Mode::of(&rows.mode);
        let named = match mode {
            Mode::Off => &[][..],
            Mode::Allow => rows.allow.as_slice(),
            Mode::Deny => rows.deny.as_slice(),
        };
        let chosen = Chosen { mode, chats: named.iter().cloned().collect() };
        *self.shared.filter.now.write().unwrap_or_else(PoisonError::into_inner) = chosen;
        Ok(rows)
    }

    /// Whether a chat gets a room; one that has a room keeps it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn lets_in(&self, portal: &Portal) -> Result<bool, StoreError> {
        if portal.room.is_some() || self.filter_mode() == Mode::Off {
            return Ok(true);
        }
        // It may be named by the number it had before.
        let number = self.store().find_pn(&GhostId::new(portal.chat.as_str())).await?;
        let number = number.as_ref().map_or("", GhostId::as_str);
        let chosen = self.shared.filter.now.read().unwrap_or_else(PoisonError::into_inner);
        Ok(chosen.lets(&[portal.chat.as_str(), number]))
    }

    /// Whether what came for a chat is settled, since it gets no room.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn is_filtered(&self, id: PortalId) -> Result<bool, StoreError> {
        if self.filter_mode() == Mode::Off || self.is_known_room(id) {
            return Ok(false);
        }
        Ok(!self.lets_in(&self.store().load_portal(id).await?).await?)
    }

    fn filter_mode(&self) -> Mode {
        self.shared.filter.now.read().unwrap_or_else(PoisonError::into_inner).mode
    }

    /// A chat's id as the filter keeps it: the LID where it is known.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn filter_id(&self, chat: &str) -> Result<ChatId, StoreError> {
        Ok(ChatId::new(self.canonical(chat).await?.as_str()))
    }
}

/// Nothing is made for a chat the filter keeps out.
pub(super) fn kept_out() -> Halt {
    Halt::Verdict(Verdict::Never { tell: KEPT_OUT.into(), why: "the filter lets the chat have no room".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_in_whom_it_shall() {
        let chats = || HashSet::from(["1@lid".to_owned(), "2@s.whatsapp.net".to_owned()]);
        for (mode, named, other) in [(Mode::Off, true, true), (Mode::Allow, true, false), (Mode::Deny, false, true)] {
            let chosen = Chosen { mode, chats: chats() };
            assert_eq!(chosen.lets(&["1@lid", ""]), named, "{mode:?}");
            assert_eq!(chosen.lets(&["9@lid", "2@s.whatsapp.net"]), named, "{mode:?} by the number");
            assert_eq!(chosen.lets(&["9@lid", ""]), other, "{mode:?}");
            assert_eq!(Mode::of(mode.text()), mode);
        }
    }
}
