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
    /// The room of a chat, whoever's; the command itself asks who may.
    Chat,
    /// The room of a chat that one of the caller's accounts is in.
    OwnChat,
    /// As [`Needs::OwnChat`], a group's.
    OwnGroup,
    /// As [`Needs::OwnChat`]; for an administrator the room of anybody's chat.
    OwnChatOrAdmin,
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
        | Run::Accept
        | Run::Id
        | Run::SyncPortal
        | Run::DeleteChat
        | Run::ClearChat
        | Run::About
        | Run::AccountData => Needs::OwnChat,
        Run::InviteLink | Run::LeaveGroup | Run::InSpace(_) => Needs::OwnGroup,
        Run::Unbridge => Needs::Chat,
        Run::SetRelay | Run::UnsetRelay | Run::DeletePortal => Needs::OwnChatOrAdmin,
        Run::Help
        | Run::Ping
        | Run::Version
        | Run::Login
        | Run::Relogin
        | Run::Logout
        | Run::SetPreferredLogin
        | Run::ListLogins
        | Run::Cancel
        | Run::Confirm
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
        | Run::ResetNetwork
        | Run::Without(_)
        | Run::PostStatus
        | Run::Block(_)
        | Run::Search
        | Run::Sync
        | Run::ImportImagePack
        | Run::SetPl
        | Run::CreatePortal
        | Run::Bridge
        | Run::Filter
        | Run::DeleteAllPortals
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
        | (Needs::Chat, Place::OwnChat | Place::OwnGroup | Place::Foreign)
        | (Needs::OwnChat | Needs::OwnChatOrAdmin, Place::OwnChat | Place::OwnGroup)
        | (Needs::OwnGroup, Place::OwnGroup) => Ok(()),
        (Needs::OwnChatOrAdmin, Place::Foreign) if level >= Level::Admin => Ok(()),
        (_, Place::NoChat) => Err(Refusal::NoChat),
        (_, Place::Foreign) => Err(Refusal::Foreign),
        (Needs::OwnGroup, Place::OwnChat) => Err(Refusal::NoGroup),
    }
}

/// What decides about relays, of the caller and the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relays {
    /// The caller's level.
    pub(super) level: Level,
    /// Whether relays are for administrators alone.
    pub(super) admin_only: bool,
    /// Whether the caller may change the powers in the room of a group they are in, or the chat with one person is theirs.
    pub(super) rules_room: bool,
}

/// Why somebody may not change who relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayRefusal {
    /// Only administrators may.
    AdminsOnly,
    /// The room is not theirs to rule.
    NoPower,
    /// The account is somebody else's.
    NotOwn,
}

/// Whether somebody may let an account relay in a room; `is_own` says whether it is theirs.
///
/// # Errors
/// Why not.
pub(super) fn may_set_relay(relays: &Relays, is_own: bool) -> Result<(), RelayRefusal> {
    match relays {
        Relays { level: Level::Admin, .. } => Ok(()),
        Relays { admin_only: true, .. } => Err(RelayRefusal::AdminsOnly),
        // Nobody speaks through an account whose owner did not say so.
        _ if !is_own => Err(RelayRefusal::NotOwn),
        Relays { rules_room: false, .. } => Err(RelayRefusal::NoPower),
        Relays { .. } => Ok(()),
    }
}

/// Whether somebody may end the relaying in a room; `is_own` says whether the account that relays is theirs.
///
/// # Errors
/// Why not.
pub(super) fn may_unset_relay(relays: &Relays, is_own: bool) -> Result<(), RelayRefusal> {
    match relays {
        Relays { level: Level::Admin, .. } => Ok(()),
        // One's own account is always one's own to take back.
        _ if is_own => Ok(()),
        Relays { admin_only: true, .. } => Err(RelayRefusal::AdminsOnly),
        Relays { rules_room: false, .. } => Err(RelayRefusal::NoPower),
        Relays { .. } => Ok(()),
    }
}

/// What decides whether somebody may give a room to a chat of theirs, or take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plumbing {
    /// The caller's level.
    pub(super) level: Level,
    /// Whether they are in the room.
    pub(super) is_in: bool,
    /// Whether they may change the powers in it.
    pub(super) rules_room: bool,
    /// Whether the chat shall leave the room it has.
    pub(super) overwrite: bool,
    /// Whether their power in the room shall not count.
    pub(super) ignore_permissions: bool,
    /// Whether an account of theirs is in the chat the room shows.
    pub(super) takes_part: bool,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlumbRefusal {
    /// What they asked for is for administrators.
    FlagsForAdmins,
    /// The room is not theirs to rule.
    NoPower,
    /// The room is one the bridge has made.
    BridgesRoom,
}

/// Whether somebody may make a room the room of a chat; whether the chat is theirs is looked up.
///
/// # Errors
/// Why not.
pub(super) fn may_plumb(plumbing: &Plumbing) -> Result<(), PlumbRefusal> {
    let has_flags = plumbing.overwrite || plumbing.ignore_permissions;
    match plumbing {
        Plumbing { level, .. } if has_flags && *level < Level::Admin => Err(PlumbRefusal::FlagsForAdmins),
        Plumbing { ignore_permissions: true, .. } | Plumbing { is_in: true, rules_room: true, .. } => Ok(()),
        Plumbing { .. } => Err(PlumbRefusal::NoPower),
    }
}

/// Whether somebody may end that a room is a chat's; `is_bridges` says whether the bridge has made it: then others of ours
/// may have come for the chat, and who rules the group does not decide for them. Whose account is in the chat needs no power: it
/// is their account that tells the room.
///
/// # Errors
/// Why not.
pub(super) fn may_unplumb(plumbing: &Plumbing, is_bridges: bool) -> Result<(), PlumbRefusal> {
    match may_plumb(plumbing) {
        Err(PlumbRefusal::NoPower) if plumbing.is_in && plumbing.takes_part => {}
        other => other?,
    }
    match is_bridges && plumbing.level < Level::Admin {
        true => Err(PlumbRefusal::BridgesRoom),
        false => Ok(()),
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
        (Level::Relay, "anywhere", "retry"),
        (Level::Commands, "anywhere", "help cancel ping set-management-room version"),
        (
            Level::User,
            "anywhere",
            "login confirm relogin logout list-logins set-preferred-login status chats login-matrix logout-matrix ping-matrix \
             space start-chat resolve-identifier create-group join resolve-link post-status \
             follow unfollow channel search sync import-image-pack block unblock create-portal bridge",
        ),
        (
            Level::User,
            "own chat",
            "disappearing-timer mute unmute pin unpin archive unarchive mark-unread mark-read accept id sync-portal \
             delete-chat clear-chat about",
        ),
        (Level::User, "any chat", "unbridge"),
        (Level::User, "own chat or admin", "set-relay unset-relay delete-portal"),
        (Level::User, "own group", "invite-link leave-group add-to-space remove-from-space"),
        (
            Level::Admin,
            "anywhere",
            "all-logins sudo doin announce set-pl doctor reload delete-all-portals filter debug-reset-network \
             debug-register-push discard-megolm-session",
        ),
        (Level::Admin, "own chat", "debug-account-data"),
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
                            "any chat" => place != Place::NoChat,
                            "own group" => place == Place::OwnGroup,
                            "own chat or admin" => match place {
                                Place::OwnChat | Place::OwnGroup => true,
                                Place::Foreign => level == Level::Admin,
                                Place::NoChat => false,
                            },
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

    #[test]
    fn every_level_and_account_and_room_of_a_relay() {
        for level in LEVELS {
            for admin_only in [false, true] {
                for rules_room in [false, true] {
                    for is_own in [false, true] {
                        let relays = Relays { level, admin_only, rules_room };
                        let is_admin = level == Level::Admin;
                        // Whoever is no administrator has to own the account and to rule the room.
                        let may_set = is_admin || (!admin_only && rules_room && is_own);
                        assert_eq!(may_set_relay(&relays, is_own).is_ok(), may_set, "{relays:?}, own: {is_own}");
                        let may_unset = is_admin || is_own || (!admin_only && rules_room);
                        assert_eq!(may_unset_relay(&relays, is_own).is_ok(), may_unset, "{relays:?}, own: {is_own}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_and_power_and_flag_of_a_room_that_is_given_to_a_chat() {
        for level in LEVELS {
            for bits in 0..64_u8 {
                let is = |bit: u8| bits & (1 << bit) != 0;
                let (is_in, rules_room, overwrite, ignore_permissions, is_bridges, takes_part) =
                    (is(0), is(1), is(2), is(3), is(4), is(5));
                let plumbing = Plumbing { level, is_in, rules_room, overwrite, ignore_permissions, takes_part };
                let is_admin = level == Level::Admin;
                let may_flags = is_admin || !(overwrite || ignore_permissions);
                // Nobody but an administrator who says so gets by without ruling the room they are in.
                let may = may_flags && (is_in && rules_room || ignore_permissions);
                assert_eq!(may_plumb(&plumbing).is_ok(), may, "{plumbing:?}");
                // Whose account tells the room may end that, unless the bridge has made it.
                let may_end = (may || may_flags && is_in && takes_part) && (is_admin || !is_bridges);
                assert_eq!(
                    may_unplumb(&plumbing, is_bridges).is_ok(),
                    may_end,
                    "{plumbing:?}, the bridge's: {is_bridges}"
                );
            }
        }
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
