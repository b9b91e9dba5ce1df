//! Commands: what people say to the bot, who may, and what it answers.
//!
//! One table names every command with the level it needs; rights are checked nowhere else. Answers have fixed
//! transaction ids made from the event they answer, so a repeated row answers once.

mod account;
mod chat;
mod chat_marks;
mod groups;
mod puppet;
mod show_link;

use crate::bridge::{Bridge, CommandCall};
use crate::config::Level;
use crate::matrix::error::{MatrixError, Result};
use crate::store::chat_marks::MarkKind;
use crate::store::portals::Portal;
use crate::verdict::Verdict;
use ruma::{OwnedRoomId, RoomId};

/// A command and who may use it.
struct Entry {
    name: &'static str,
    usage: &'static str,
    help: &'static str,
    level: Level,
    run: Run,
}

/// What a command does.
enum Run {
    Help,
    Ping,
    Version,
    Login,
    Logout,
    ListLogins,
    Cancel,
    LoginMatrix,
    LogoutMatrix,
    PingMatrix,
    Mark(MarkKind, bool),
    Retry,
    SetManagementRoom,
    DisappearingTimer,
    DeletePortal,
    Space,
    StartChat,
    CreateGroup,
    Join,
    ResolveLink,
    InviteLink,
    LeaveGroup,
    Accept,
}

/// Every command, in the order `help` shows them.
const COMMANDS: [Entry; 30] = [
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
        name: "list-logins",
        usage: "list-logins",
        help: "Show your linked accounts and how they are doing.",
        level: Level::User,
        run: Run::ListLogins,
    },
    Entry {
        name: "logout",
        usage: "logout [number]",
        help: "Unlink an account. Its rooms stay for the next login.",
        level: Level::User,
        run: Run::Logout,
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
        help: "In a direct chat's room: take everybody out and forget the room. WhatsApp keeps the chat.",
        level: Level::User,
        run: Run::DeletePortal,
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
        usage: "retry",
        help: "Try the messages of this room again that could not be bridged.",
        level: Level::User,
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
        name: "create-group",
        usage: "create-group <name>",
        help: "Make a WhatsApp group of the people in this room.",
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
        help: "Show which group a link leads to, without joining.",
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
        name: "version",
        usage: "version",
        help: "Show the bridge's version.",
        level: Level::Commands,
        run: Run::Version,
    },
];

/// A command being run: where answers go and what names them.
pub(crate) struct Call {
    pub(crate) bridge: Bridge,
    pub(crate) room: OwnedRoomId,
    pub(crate) sender: String,
    pub(crate) event_id: String,
    /// The event it answers.
    pub(crate) reply_to: Option<String>,
    /// The words behind the command's name.
    pub(crate) rest: Vec<String>,
}

impl Call {
    pub(crate) async fn answer(&self, text: &str) -> Result<()> {
        self.bridge.say(&self.room, text, &self.event_id, "answer").await.map(drop)
    }
}

impl Call {
    /// As [`Call::answer`], with words that are for the caller alone: where others are in the room they come where the caller
    /// talks to the bot.
    pub(crate) async fn answer_alone(&self, text: &str) -> Result<()> {
        let members = self.bridge.matrix().joined_members(&self.room).await?;
        if members.iter().all(|member| member.as_str() == self.sender || self.bridge.matrix().is_ours(member)) {
            return self.answer(text).await;
        }
        let room = self.bridge.management_room(&self.sender).await?;
        self.bridge.say(&room, text, &self.event_id, "alone").await?;
        self.answer("I have answered you where we are alone.").await
    }
}

/// Runs one command; the verdict is the row's.
pub async fn run(bridge: Bridge, call: CommandCall) -> Verdict {
    match dispatch(bridge, call).await {
        Ok(()) => Verdict::Done,
        Err(error) => error.verdict(),
    }
}

async fn dispatch(bridge: Bridge, call: CommandCall) -> Result<()> {
    let room = RoomId::parse(&call.room).map_err(|_| MatrixError::NotFound)?;
    let level = bridge.config().bridge.level_of(&call.sender);
    if level < Level::Commands {
        // No word to strangers: a bot that answers everybody is a nuisance in shared rooms.
        return Ok(());
    }
    let mut words = call.words.split_whitespace().map(str::to_owned);
    let name = words.next().unwrap_or_else(|| "help".into()).to_lowercase();
    let rest = words.collect();
    let found = COMMANDS.iter().find(|entry| entry.name == name);
    let call = Call { bridge, room, sender: call.sender, event_id: call.event_id, reply_to: call.reply_to, rest };
    let Some(entry) = found else {
        return call.answer(&format!("I don't know `{}`.\n\n{}", shorten(&name), help(level))).await;
    };
    if level < entry.level {
        return call.answer("You may not use this command. Ask the bridge's administrator for the permission.").await;
    }
    match entry.run {
        Run::Help => call.answer(&help(level)).await,
        Run::Version => call.answer(&format!("matrix-whatsapp {}", env!("CARGO_PKG_VERSION"))).await,
        Run::Ping | Run::ListLogins => account::list(&call).await,
        Run::Login => account::login(call, entry.usage).await,
        Run::Cancel => account::cancel(&call).await,
        Run::Logout => account::logout(&call, entry.usage).await,
        Run::LoginMatrix => puppet::login(&call).await,
        Run::LogoutMatrix => puppet::logout(&call).await,
        Run::PingMatrix => puppet::ping(&call).await,
        Run::Mark(kind, is_set) => chat_marks::mark(&call, kind, is_set).await,
        Run::Retry => retry(&call).await,
        Run::SetManagementRoom => set_management_room(&call).await,
        Run::Space => account::space(&call).await,
        Run::StartChat => groups::start_chat(&call, entry.usage).await,
        Run::CreateGroup => groups::create(&call, entry.usage).await,
        Run::Join => groups::join(&call, entry.usage).await,
        Run::ResolveLink => groups::resolve(&call, entry.usage).await,
        Run::InviteLink => groups::invite_link(&call).await,
        Run::LeaveGroup => groups::leave(&call).await,
        Run::Accept => groups::accept(&call).await,
        Run::DeletePortal => chat::delete(&call).await,
        Run::DisappearingTimer => chat::set_timer(&call, entry.usage).await,
    }
}

fn help(level: Level) -> String {
    let lines =
        COMMANDS.iter().filter(|entry| level >= entry.level).map(|entry| format!("`{}`: {}", entry.usage, entry.help));
    lines.collect::<Vec<_>>().join("\n")
}

/// At most 40 characters of what somebody typed, on one line.
fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() && *character != '`').take(40).collect()
}

async fn retry(call: &Call) -> Result<()> {
    let lane = crate::ids::Lane::from_person(call.room.as_str(), &call.sender);
    let store = call.bridge.store();
    let mut again = store.retry_failed(&lane).await.map_err(database)?;
    if let Some(portal) = store.find_portal_by_room(call.room.as_str()).await.map_err(database)?
        && takes_part(call, &portal).await?
    {
        again += store.retry_failed(&crate::ids::Lane::into_matrix(portal.id)).await.map_err(database)?;
    }
    let text = match again {
        0 => "Nothing in this room has failed.".to_owned(),
        1 => "Trying one message again.".to_owned(),
        many => format!("Trying {many} messages again."),
    };
    call.answer(&text).await
}

/// Whether a chat is the caller's: a direct one by its login, a group by any login of theirs in it.
async fn takes_part(call: &Call, portal: &Portal) -> Result<bool> {
    let store = call.bridge.store();
    let logins = match &portal.receiver {
        Some(receiver) => store.find_login(receiver).await.map_err(database)?.into_iter().collect(),
        None => store.logins_in(portal.id).await.map_err(database)?,
    };
    Ok(logins.iter().any(|login| login.mxid == call.sender))
}

async fn set_management_room(call: &Call) -> Result<()> {
    let store = call.bridge.store();
    if store.find_portal_by_room(call.room.as_str()).await.map_err(database)?.is_some() {
        return call.answer("This room is a WhatsApp chat; commands keep their prefix here.").await;
    }
    let members = call.bridge.matrix().joined_members(&call.room).await?;
    if members.len() > 2 {
        return call.answer("A management room may hold only you and me: what I say there is for you alone.").await;
    }
    store.set_management_room(&call.sender, call.room.as_str()).await.map_err(database)?;
    call.answer("This is your management room now; commands need no prefix here.").await
}

/// A database that fails parks the lane like a homeserver that fails.
pub(crate) fn database(error: crate::store::StoreError) -> MatrixError {
    tracing::error!(%error, "the database failed under a command");
    MatrixError::Refused { status: 500, errcode: String::new(), message: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_what_the_reader_may_use() {
        assert!(help(Level::User).contains("login qr"));
        assert!(!help(Level::Commands).contains("login qr"));
        assert!(help(Level::Commands).contains("ping"));
    }

    #[test]
    fn names_are_unique_and_typed_words_are_cut() {
        for (at, entry) in COMMANDS.iter().enumerate() {
            assert!(COMMANDS[at + 1..].iter().all(|other| other.name != entry.name));
        }
        assert_eq!(shorten("a\n`b"), "ab");
        assert_eq!(shorten(&"x".repeat(100)).len(), 40);
    }
}
