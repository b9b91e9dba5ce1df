//! Who may run which command, where, and on whose account. Nothing else in the bridge decides that.
//!
//! Three questions, each answered by a pure function: does the level suffice and is this the right room
//! ([`check`]); whose account does a command act on ([`pick`]). The tests walk every level, command, room and account.

use super::table::Run;
use crate::config::Level;
use crate::store::logins::Login;

/// Where a command means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Anywhere.
    Nothing,
    /// The room of a chat that one of the caller's accounts is in.
    OwnChat,
    /// As [`Needs::OwnChat`], a group's.
    OwnGroup,
}

/// What the room a command is said in is to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// No chat of WhatsApp's.
    NoChat,
    /// A chat with one person, the caller's own.
    OwnChat,
    /// A group one of the caller's accounts is in.
    OwnGroup,
    /// A chat none of the caller's accounts is in.
    Foreign,
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The caller's level is too low.
    Level,
    /// The room is no chat.
    NoChat,
    /// The chat is somebody else's.
    Foreign,
    /// The chat is no group.
    NoGroup,
}

impl Refusal {
    /// What the caller is told.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Level => "You may not use this command. Ask the bridge's administrator for the permission.",
            Self::NoChat => "This room is no WhatsApp chat. Say it in the room of the chat.",
            Self::Foreign => {
                "Only the owner of this chat's WhatsApp account may do that, and in a group or channel who is in it."
            }
            Self::NoGroup => "This is no group; say this in the room of one.",
        }
    }
}

/// Where each command means something; a new one must say so.
pub(super) fn needs(run: &Run) -> Needs {
    match run {
        Run::Mark(..)
        | Run::DisappearingTimer
        | Run::DeletePortal
        | Run::Accept
        | Run::Id
        | Run::SyncPortal
        | Run::DeleteChat
        | Run::ClearChat
        | Run::About => Needs::OwnChat,
        Run::InviteLink | Run::LeaveGroup | Run::InSpace(_) => Needs::OwnGroup,
        Run::Help
        | Run::Ping
        | Run::Version
        | Run::Login
        | Run::Relogin
        | Run::Logout
        | Run::SetPreferredLogin
        | Run::ListLogins
        | Run::Cancel
        | Run::LoginMatrix
        | Run::LogoutMatrix
        | Run::PingMatrix
        | Run::Status
        | Run::Chats
        | Run::Retry
        | Run::SetManagementRoom
        | Run::Space
        | Run::StartChat
        | Run::ResolveIdentifier
        | Run::CreateGroup
        | Run::Join
        | Run::ResolveLink
        | Run::Follow
        | Run::Unfollow
        | Run::Channel
        | Run::Sudo
        | Run::DoIn
        | Run::Announce
        | Run::Doctor
        | Run::Reload
        | Run::PostStatus
        | Run::Search
        | Run::Sync
        | Run::SetPl
        | Run::AllLogins => Needs::Nothing,
    }
}

/// Whether somebody of this level may run a command here.
///
/// # Errors
/// Why not.
pub(super) fn check(wanted: Level, needs: Needs, level: Level, place: Place) -> Result<(), Refusal> {
    if level < wanted {
        return Err(Refusal::Level);
    }
    match (needs, place) {
        (Needs::Nothing, _)
        | (Needs::OwnChat, Place::OwnChat | Place::OwnGroup)
        | (Needs::OwnGroup, Place::OwnGroup) => Ok(()),
        (_, Place::NoChat) => Err(Refusal::NoChat),
        (_, Place::Foreign) => Err(Refusal::Foreign),
        (Needs::OwnGroup, Place::OwnChat) => Err(Refusal::NoGroup),
    }
}

/// Why no account was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLogin {
    /// The caller has none.
    None,
    /// They have several, and named none.
    Several,
    /// None of theirs has that number. Somebody else's is no different from one that does not exist.
    Unknown,
}

/// The account a command acts on: the caller's own of that number, or their only one. An administrator reaches everybody's,
/// by its number alone.
///
/// # Errors
/// Why there is none.
pub(super) fn pick<'a>(
    logins: &'a [Login],
    caller: &str,
    level: Level,
    number: Option<&str>,
) -> Result<&'a Login, NoLogin> {
    let own: Vec<&Login> = logins.iter().filter(|login| login.mxid == caller).collect();
    let Some(number) = number else {
        return match own.as_slice() {
            [] => Err(NoLogin::None),
            [only] => Ok(only),
            _ => Err(NoLogin::Several),
        };
    };
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let reachable = logins.iter().filter(|login| login.mxid == caller || level >= Level::Admin);
    let mut named = reachable.filter(|login| login.id.as_str() == digits);
    named.next().ok_or(if own.is_empty() { NoLogin::None } else { NoLogin::Unknown })
}

#[cfg(test)]
mod tests {
    use super::super::table::COMMANDS;
    use super::*;
    use crate::ids::{DeviceKey, GhostId, LoginId};
    use crate::store::logins::LoginState;

    /// Who may run what, written down apart from the code: the lowest level, where, and the commands.
    const TABLE: &[(Level, &str, &str)] = &[
        (Level::Commands, "anywhere", "help cancel ping set-management-room version"),
        (
            Level::User,
            "anywhere",
            "login relogin logout list-logins set-preferred-login status chats login-matrix logout-matrix ping-matrix retry \
             space start-chat resolve-identifier create-group join resolve-link post-status \
             follow unfollow channel search sync",
        ),
        (
            Level::User,
            "own chat",
            "disappearing-timer delete-portal mute unmute pin unpin archive unarchive mark-unread mark-read accept id sync-portal \
             delete-chat clear-chat about",
        ),
        (Level::User, "own group", "invite-link leave-group add-to-space remove-from-space"),
        (Level::Admin, "anywhere", "all-logins sudo doin announce set-pl doctor reload"),
    ];

    const LEVELS: [Level; 5] = [Level::Block, Level::Relay, Level::Commands, Level::User, Level::Admin];
    const PLACES: [Place; 4] = [Place::NoChat, Place::OwnChat, Place::OwnGroup, Place::Foreign];

    fn row_of(name: &str) -> (Level, &'static str) {
        let mut rows = TABLE.iter().filter(|(_, _, names)| names.split_whitespace().any(|known| known == name));
        let row = rows.next().unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(rows.next().is_none(), "{name} is in the table twice");
        (row.0, row.1)
    }

    #[test]
    fn every_level_command_and_room() {
        let mut walked = 0;
        for entry in COMMANDS {
            let (wanted, places) = row_of(entry.name);
            for level in LEVELS {
                for place in PLACES {
                    let may = level >= wanted
                        && match places {
                            "anywhere" => true,
                            "own chat" => matches!(place, Place::OwnChat | Place::OwnGroup),
                            "own group" => place == Place::OwnGroup,
                            _ => unreachable!("a place of the table"),
                        };
                    let said = check(entry.level, needs(&entry.run), level, place);
                    assert_eq!(said.is_ok(), may, "{} at {level:?} in {place:?}: {said:?}", entry.name);
                    walked += 1;
                }
            }
        }
        let written: usize = TABLE.iter().map(|(_, _, names)| names.split_whitespace().count()).sum();
        assert_eq!(walked, written * LEVELS.len() * PLACES.len(), "the table names a command that is gone");
    }

    fn login(number: &str, owner: &str) -> Login {
        Login {
            id: LoginId::new(number),
            mxid: owner.to_owned(),
            device: DeviceKey::new(number),
            own: GhostId::new(number),
            pn: GhostId::new(number),
            push_name: String::new(),
            state: LoginState::Linked,
            since: 0,
        }
    }

    #[test]
    fn every_level_and_account() {
        let logins = [login("1", "@a:x"), login("2", "@b:x"), login("3", "@b:x")];
        let number = |found: Result<&Login, NoLogin>| found.map(|login| login.id.as_str().to_owned());
        for level in LEVELS {
            // Named by nobody: one's own only, also for administrators.
            assert_eq!(number(pick(&logins, "@a:x", level, None)), Ok("1".into()));
            assert_eq!(number(pick(&logins, "@b:x", level, None)), Err(NoLogin::Several));
            assert_eq!(number(pick(&logins, "@c:x", level, None)), Err(NoLogin::None));
            for (caller, number_typed) in [("@a:x", "1"), ("@b:x", "+2"), ("@b:x", "3")] {
                let digits = number_typed.trim_start_matches('+');
                assert_eq!(number(pick(&logins, caller, level, Some(number_typed))), Ok(digits.to_owned()));
            }
            // Somebody else's: for administrators alone, and told apart from one that does not exist by nobody else.
            for (caller, typed) in [("@a:x", "2"), ("@b:x", "1"), ("@c:x", "1")] {
                let found = number(pick(&logins, caller, level, Some(typed)));
                let nobodys = number(pick(&logins, caller, level, Some("99")));
                if level == Level::Admin {
                    assert_eq!(found, Ok(typed.to_owned()), "{caller}");
                } else {
                    assert_eq!(found, nobodys, "{caller} at {level:?}");
                    assert!(found.is_err());
                }
                assert!(nobodys.is_err());
            }
        }
    }
}
