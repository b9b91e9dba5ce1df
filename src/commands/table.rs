//! Every command: its words, who may say it, and what it is about.

use super::debug;
use crate::bridge::guest_rooms::Place as Placing;
use crate::config::Level;
use crate::store::chat_marks::MarkKind;

/// A command and who may use it.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    pub(super) help: &'static str,
    pub(super) level: Level,
    pub(super) run: Run,
}

/// What a command does.
pub(super) enum Run {
    Help,
    Ping,
    Version,
    Login,
    Relogin,
    Logout,
    SetPreferredLogin,
    ListLogins,
    Status,
    Chats,
    Id,
    SyncPortal,
    Cancel,
    Confirm,
    LoginMatrix,
    LogoutMatrix,
    PingMatrix,
    Mark(MarkKind, bool),
    Retry,
    SetManagementRoom,
    DisappearingTimer,
    DeletePortal,
    CreatePortal,
    DeleteAllPortals,
    Bridge,
    Unbridge,
    Filter,
    Space,
    StartChat,
    ResolveIdentifier,
    CreateGroup,
    Join,
    ResolveLink,
    InviteLink,
    LeaveGroup,
    Accept,
    PostStatus,
    DeleteChat,
    ClearChat,
    InSpace(Placing),
    About,
    Follow,
    Unfollow,
    Channel,
    Search,
    Block(bool),
    Sync,
    ImportImagePack,
    SetPl,
    SetRelay,
    UnsetRelay,
    AllLogins,
    Sudo,
    DoIn,
    Announce,
    Doctor,
    Reload,
    ResetNetwork,
    AccountData,
    /// Says why there is nothing to do.
    Without(&'static str),
}

/// Every command, in the order `help` shows them.
pub(super) const COMMANDS: &[Entry] = &[
    Entry { name: "help", usage: "help", help: "Show this list.", level: Level::Commands, run: Run::Help },
    Entry {
        name: "login",
        usage: "login [page] | login qr | login phone <number>",
        help: "Link your WhatsApp account on a page, by scanning a picture, or by a code typed on your phone.",
        level: Level::User,
        run: Run::Login,
    },
    Entry {
        name: "cancel",
        usage: "cancel",
        help: "Stop a login that is going on.",
        level: Level::Commands,
        run: Run::Cancel,
    },
    Entry {
        name: "confirm",
        usage: "confirm",
        help: "In a login with a passkey: say that your phone shows the same code.",
        level: Level::User,
        run: Run::Confirm,
    },
    Entry {
        name: "list-logins",
        usage: "list-logins",
        help: "Show your linked accounts and how they are doing.",
        level: Level::User,
        run: Run::ListLogins,
    },
    Entry {
        name: "logout",
        usage: "logout [number] [yes]",
        help: "Unlink an account. Its rooms stay for the next login.",
        level: Level::User,
        run: Run::Logout,
    },
    Entry {
        name: "relogin",
        usage: "relogin [number] [qr | phone]",
        help: "Link an account again that was logged out; its rooms go on.",
        level: Level::User,
        run: Run::Relogin,
    },
    Entry {
        name: "set-preferred-login",
        usage: "set-preferred-login <number>",
        help: "Choose the account used where you name none.",
        level: Level::User,
        run: Run::SetPreferredLogin,
    },
    Entry {
        name: "status",
        usage: "status",
        help: "Show what waits for you, and what could not be bridged.",
        level: Level::User,
        run: Run::Status,
    },
    Entry {
        name: "chats",
        usage: "chats [words]",
        help: "List your chats with their ids and rooms, or search them.",
        level: Level::User,
        run: Run::Chats,
    },
    Entry { name: "id", usage: "id", help: "Show this chat's id.", level: Level::User, run: Run::Id },
    Entry {
        name: "sync-portal",
        usage: "sync-portal",
        help: "Ask WhatsApp again for this chat's name, picture and people.",
        level: Level::User,
        run: Run::SyncPortal,
    },
    Entry {
        name: "disappearing-timer",
        usage: "disappearing-timer off | 24h | 7d | 90d",
        help: "In a chat's room: set after how long its new messages disappear.",
        level: Level::User,
        run: Run::DisappearingTimer,
    },
    Entry {
        name: "delete-portal",
        usage: "delete-portal",
        help: "In a direct chat's room: take everybody out and forget the room. WhatsApp keeps the chat. For administrators in any chat's room.",
        level: Level::User,
        run: Run::DeletePortal,
    },
    Entry {
        name: "create-portal",
        usage: "create-portal [number] <chat id>",
        help: "Make the room of a chat one of your accounts is in, as `chats` lists them.",
        level: Level::User,
        run: Run::CreatePortal,
    },
    Entry {
        name: "bridge",
        usage: "bridge [number] <chat id> [--overwrite] [--ignore-permissions]",
        help: "Make this room the room of a group or a direct chat one of your accounts is in. The flags are for administrators.",
        level: Level::User,
        run: Run::Bridge,
    },
    Entry {
        name: "unbridge",
        usage: "unbridge [--ignore-permissions]",
        help: "End that this room is a chat's; it stays yours. WhatsApp keeps the chat.",
        level: Level::User,
        run: Run::Unbridge,
    },
    Entry {
        name: "ping",
        usage: "ping",
        help: "Show whether your accounts are connected.",
        level: Level::Commands,
        run: Run::Ping,
    },
    Entry {
        name: "login-matrix",
        usage: "login-matrix [access token]",
        help: "Let me act as you, so that what you write on your phone comes from your own account.",
        level: Level::User,
        run: Run::LoginMatrix,
    },
    Entry {
        name: "logout-matrix",
        usage: "logout-matrix",
        help: "Act as you no more.",
        level: Level::User,
        run: Run::LogoutMatrix,
    },
    Entry {
        name: "ping-matrix",
        usage: "ping-matrix",
        help: "Show whether I can act as you.",
        level: Level::User,
        run: Run::PingMatrix,
    },
    Entry {
        name: "mute",
        usage: "mute [time]",
        help: "Mute this chat on WhatsApp, for a time such as `8h` or for good.",
        level: Level::User,
        run: Run::Mark(MarkKind::Mute, true),
    },
    Entry {
        name: "unmute",
        usage: "unmute",
        help: "Mute it no more.",
        level: Level::User,
        run: Run::Mark(MarkKind::Mute, false),
    },
    Entry {
        name: "pin",
        usage: "pin",
        help: "Pin this chat to the top on WhatsApp.",
        level: Level::User,
        run: Run::Mark(MarkKind::Pin, true),
    },
    Entry {
        name: "unpin",
        usage: "unpin",
        help: "Pin it no more.",
        level: Level::User,
        run: Run::Mark(MarkKind::Pin, false),
    },
    Entry {
        name: "archive",
        usage: "archive",
        help: "Archive this chat on WhatsApp.",
        level: Level::User,
        run: Run::Mark(MarkKind::Archive, true),
    },
    Entry {
        name: "unarchive",
        usage: "unarchive",
        help: "Take it out of the archive.",
        level: Level::User,
        run: Run::Mark(MarkKind::Archive, false),
    },
    Entry {
        name: "mark-unread",
        usage: "mark-unread",
        help: "Mark this chat as unread on WhatsApp.",
        level: Level::User,
        run: Run::Mark(MarkKind::Unread, true),
    },
    Entry {
        name: "mark-read",
        usage: "mark-read",
        help: "Mark it as read.",
        level: Level::User,
        run: Run::Mark(MarkKind::Unread, false),
    },
    Entry {
        name: "retry",
        usage: "retry [event]",
        help: "Try the messages of this room again that could not be bridged; as the answer to one, or with its event, only that.",
        level: Level::Relay,
        run: Run::Retry,
    },
    Entry {
        name: "set-management-room",
        usage: "set-management-room",
        help: "Make this the room where commands need no prefix.",
        level: Level::Commands,
        run: Run::SetManagementRoom,
    },
    Entry {
        name: "space",
        usage: "space",
        help: "Invite you again to the space that holds your chats, after you have left it.",
        level: Level::User,
        run: Run::Space,
    },
    Entry {
        name: "start-chat",
        usage: "start-chat <phone number>",
        help: "Open the chat with a number.",
        level: Level::User,
        run: Run::StartChat,
    },
    Entry {
        name: "resolve-identifier",
        usage: "resolve-identifier <phone number>",
        help: "Show whether a number is on WhatsApp.",
        level: Level::User,
        run: Run::ResolveIdentifier,
    },
    Entry {
        name: "create-group",
        usage: "create-group [name]",
        help: "Make this room a WhatsApp group with the people in it.",
        level: Level::User,
        run: Run::CreateGroup,
    },
    Entry {
        name: "join",
        usage: "join <invite link>",
        help: "Join a group by its link.",
        level: Level::User,
        run: Run::Join,
    },
    Entry {
        name: "resolve-link",
        usage: "resolve-link <invite link>",
        help: "Show which group or channel a link leads to, without joining.",
        level: Level::User,
        run: Run::ResolveLink,
    },
    Entry {
        name: "invite-link",
        usage: "invite-link [reset]",
        help: "Show this group's invite link, or make a new one.",
        level: Level::User,
        run: Run::InviteLink,
    },
    Entry {
        name: "leave-group",
        usage: "leave-group",
        help: "Take your account out of this group.",
        level: Level::User,
        run: Run::LeaveGroup,
    },
    Entry {
        name: "accept",
        usage: "accept",
        help: "Accept the invitation in the message you answer.",
        level: Level::User,
        run: Run::Accept,
    },
    Entry {
        name: "post-status",
        usage: "post-status <text>",
        help: "Post a status for your WhatsApp contacts: the text, or the picture or video you answer with it.",
        level: Level::User,
        run: Run::PostStatus,
    },
    Entry {
        name: "delete-chat",
        usage: "delete-chat",
        help: "In a direct chat's room: delete the chat on WhatsApp and this room with it.",
        level: Level::User,
        run: Run::DeleteChat,
    },
    Entry {
        name: "clear-chat",
        usage: "clear-chat",
        help: "In a direct chat's room: delete the chat's messages on WhatsApp, for you alone.",
        level: Level::User,
        run: Run::ClearChat,
    },
    Entry {
        name: "add-to-space",
        usage: "add-to-space <space>",
        help: "In a group's room: put it into a space of yours that I am in.",
        level: Level::User,
        run: Run::InSpace(Placing::In),
    },
    Entry {
        name: "remove-from-space",
        usage: "remove-from-space <space>",
        help: "Take it out again.",
        level: Level::User,
        run: Run::InSpace(Placing::Out),
    },
    Entry {
        name: "about",
        usage: "about",
        help: "In a direct chat's room: show the person's number, name and about text.",
        level: Level::User,
        run: Run::About,
    },
    Entry {
        name: "follow",
        usage: "follow <channel link>",
        help: "Follow a channel.",
        level: Level::User,
        run: Run::Follow,
    },
    Entry {
        name: "unfollow",
        usage: "unfollow <channel link or name>",
        help: "Follow a channel no more.",
        level: Level::User,
        run: Run::Unfollow,
    },
    Entry {
        name: "channel",
        usage: "channel <channel link or name>",
        help: "Show a channel's link and the views and reactions of its newest posts.",
        level: Level::User,
        run: Run::Channel,
    },
    Entry {
        name: "search",
        usage: "search <name or number>",
        help: "Look for somebody in your phone's address book.",
        level: Level::User,
        run: Run::Search,
    },
    Entry {
        name: "block",
        usage: "block [number]",
        help: "In a direct chat's room, or with a number: block the contact on WhatsApp.",
        level: Level::User,
        run: Run::Block(true),
    },
    Entry {
        name: "unblock",
        usage: "unblock [number]",
        help: "Block them no more.",
        level: Level::User,
        run: Run::Block(false),
    },
    Entry {
        name: "sync",
        usage: "sync [groups | contacts | appstate [names]]",
        help: "Ask WhatsApp again about all groups or contacts you have chats with; `appstate`: read mutes, pins, archived and unread chats and your address book again in full.",
        level: Level::User,
        run: Run::Sync,
    },
    Entry {
        name: "import-image-pack",
        usage: "import-image-pack <URL>",
        help: "Bring a sticker pack over by its link, for clients that know image packs; said again, it is mended.",
        level: Level::User,
        run: Run::ImportImagePack,
    },
    Entry {
        name: "set-pl",
        usage: "set-pl [user id] <power>",
        help: "Give somebody, or yourself, a power in this room (0 to 100), as far as I have it.",
        level: Level::Admin,
        run: Run::SetPl,
    },
    Entry {
        name: "set-relay",
        usage: "set-relay [number]",
        help: "In a chat's room: let your account relay what people without one write here, with their name in front.",
        level: Level::User,
        run: Run::SetRelay,
    },
    Entry {
        name: "unset-relay",
        usage: "unset-relay",
        help: "In a chat's room: relay nobody here any more.",
        level: Level::User,
        run: Run::UnsetRelay,
    },
    Entry {
        name: "all-logins",
        usage: "all-logins [words]",
        help: "List everybody's accounts and how they are.",
        level: Level::Admin,
        run: Run::AllLogins,
    },
    Entry {
        name: "sudo",
        usage: "sudo <user id> <command>",
        help: "Run a command as somebody else, with their rights.",
        level: Level::Admin,
        run: Run::Sudo,
    },
    Entry {
        name: "doin",
        usage: "doin <room id> <command>",
        help: "Run a command as if said in another room.",
        level: Level::Admin,
        run: Run::DoIn,
    },
    Entry {
        name: "delete-all-portals",
        usage: "delete-all-portals",
        help: "Take everybody out of the rooms of all chats and forget them. WhatsApp keeps the chats.",
        level: Level::Admin,
        run: Run::DeleteAllPortals,
    },
    Entry {
        name: "filter",
        usage: "filter [off | allow [chat ids] | deny [chat ids] | remove <chat ids>]",
        help: "Show or choose which chats get rooms: all, only those named, or all but those named.",
        level: Level::Admin,
        run: Run::Filter,
    },
    Entry {
        name: "announce",
        usage: "announce <text>",
        help: "Say something in every management room.",
        level: Level::Admin,
        run: Run::Announce,
    },
    Entry {
        name: "doctor",
        usage: "doctor [user id]",
        help: "Look at everything the bridge needs and say what to do about what is wrong; with a user, whether I may act as them.",
        level: Level::Admin,
        run: Run::Doctor,
    },
    Entry {
        name: "reload",
        usage: "reload",
        help: "Read the configuration again; what needs a restart is named.",
        level: Level::Admin,
        run: Run::Reload,
    },
    Entry {
        name: "debug-reset-network",
        usage: "debug-reset-network",
        help: "Drop all connections to WhatsApp and make them anew, one after the other.",
        level: Level::Admin,
        run: Run::ResetNetwork,
    },
    Entry {
        name: "debug-account-data",
        usage: "debug-account-data <type> <content>",
        help: "In a chat's room: do on WhatsApp what account data of this room would, `m.tag` or `m.marked_unread`.",
        level: Level::Admin,
        run: Run::AccountData,
    },
    Entry {
        name: "debug-register-push",
        usage: "debug-register-push",
        help: "Nothing: the bridge holds its connections open itself and needs no push.",
        level: Level::Admin,
        run: Run::Without(debug::NO_PUSH),
    },
    Entry {
        name: "discard-megolm-session",
        usage: "discard-megolm-session",
        help: "Nothing yet: the bridge does not encrypt rooms.",
        level: Level::Admin,
        run: Run::Without(debug::NO_SESSION),
    },
    Entry {
        name: "version",
        usage: "version",
        help: "Show the bridge's version.",
        level: Level::Commands,
        run: Run::Version,
    },
];

impl Run {
    /// Whether it asks something of WhatsApp about the chat of the room it is said in.
    pub(super) fn asks_whatsapp(&self) -> bool {
        matches!(
            self,
            Self::Mark(..)
                | Self::SyncPortal
                | Self::DisappearingTimer
                | Self::InviteLink
                | Self::LeaveGroup
                | Self::Accept
                | Self::DeleteChat
                | Self::ClearChat
                | Self::About
                | Self::AccountData
        )
    }

    /// Whether it has rooms deleted, perhaps the one it was said in.
    pub(super) fn deletes_rooms(&self) -> bool {
        matches!(self, Self::DeletePortal | Self::DeleteAllPortals | Self::Unbridge)
    }

    /// Other words for the same command: those people know from elsewhere.
    pub(super) fn other_names(&self) -> &'static [&'static str] {
        match self {
            Self::StartChat => &["pm"],
            Self::CreateGroup => &["create"],
            Self::SetPreferredLogin => &["prefer"],
            Self::Sudo => &["doas"],
            Self::DoIn => &["run-in"],
            _ => &[],
        }
    }
}

/// `docs/commands.md`: every command, who may say it, and where.
#[cfg(test)]
fn manual() -> String {
    use super::rights;
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Commands\n\nSaid to the bot: bare in the room where you talk to it alone, behind `!wa` (`bridge.command_prefix`) elsewhere. \
         `help <command>` tells more\nof one. *Level* is the lowest of `bridge.permissions` that may say it; *chat*: in the room of a chat \
         one of your accounts is in, *group*: of\na group. What touches an account touches your own; only administrators reach others', by \
         number. Made from the code.\n\n| Command | Level | Where | What it does |\n|---|---|---|---|\n",
    );
    for entry in COMMANDS {
        let level = Level::NAMES.iter().find(|(_, level)| *level == entry.level).map_or("", |(name, _)| name);
        let place = match rights::needs(&entry.run) {
            rights::Needs::Nothing => "anywhere",
            rights::Needs::Chat => "anybody's chat",
            rights::Needs::OwnChat => "chat",
            rights::Needs::OwnGroup => "group",
            rights::Needs::OwnChatOrAdmin => "chat; administrators: any",
        };
        let others = match entry.run.other_names() {
            [] => String::new(),
            names => format!(" (also `{}`)", names.join("`, `")),
        };
        let usage = entry.usage.replace('|', "\\|");
        writeln!(text, "| `{usage}`{others} | {level} | {place} | {} |", entry.help).unwrap();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::manual;

    #[test]
    fn generated_files_list_the_commands() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
        if std::env::var_os("MATRIX_WHATSAPP_TEST_WRITE").is_some() {
            return std::fs::write(&path, manual()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == manual(),
            "docs/commands.md is old; run `MATRIX_WHATSAPP_TEST_WRITE=1 cargo test --lib generated_files`"
        );
    }
}
