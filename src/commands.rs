//! Commands: what people say to the bot, who may, and what it answers.
//!
//! One table names every command with the level it needs; `rights` decides, and nothing else does. Answers have fixed
//! transaction ids made from the event they answer, so a repeated row answers once.

mod account;
mod admin;
mod channels;
mod chat;
mod chat_marks;
mod groups;
mod info;
mod people;
mod puppet;
mod rights;
mod show_link;
mod spaces;
mod status;

use crate::bridge::guest_rooms::Place as Placing;
use crate::bridge::people::Halt;
use crate::bridge::{Bridge, CommandCall};
use crate::config::Level;
use crate::matrix::error::{MatrixError, Result};
use crate::store::chat_marks::MarkKind;
use crate::store::logins::Login;
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::Verdict;
use crate::whatsapp::removals::Removal;
use futures_util::future::BoxFuture;
use rights::Place;
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
    Relogin,
    Logout,
    SetPreferredLogin,
    ListLogins,
    Status,
    Chats,
    Id,
    SyncPortal,
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
    AllLogins,
    Sudo,
    DoIn,
    Announce,
}

/// Every command, in the order `help` shows them.
const COMMANDS: &[Entry] = &[
    Entry { name: "help", usage: "help", help: "Show this list.", level: Level::Commands, run: Run::Help },
    Entry {
        name: "login",
        usage: "login qr | login phone <number>",
        help: "Link your WhatsApp account by scanning a picture, or by a code typed on your phone.",
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
        usage: "retry [event]",
        help: "Try the messages of this room again that could not be bridged; as the answer to one, or with its event, only that.",
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
        name: "announce",
        usage: "announce <text>",
        help: "Say something in every management room.",
        level: Level::Admin,
        run: Run::Announce,
    },
    Entry {
        name: "version",
        usage: "version",
        help: "Show the bridge's version.",
        level: Level::Commands,
        run: Run::Version,
    },
];

/// A command being run: who runs it, where, and where answers go.
pub(crate) struct Call {
    pub(crate) bridge: Bridge,
    /// The room it is about.
    pub(crate) room: OwnedRoomId,
    /// The room it was said in, where the answers go.
    pub(crate) said_in: OwnedRoomId,
    /// Whose command it is.
    pub(crate) sender: String,
    /// Who said it: somebody else than the sender when an administrator acts for them.
    pub(crate) speaker: String,
    /// The sender's level.
    pub(crate) level: Level,
    pub(crate) event_id: String,
    /// The event it answers.
    pub(crate) reply_to: Option<String>,
    /// The words behind the command's name.
    pub(crate) rest: Vec<String>,
    /// What the room is to the sender.
    place: Place,
    /// The room's chat and the sender's account in it; always there for commands that need it.
    pub(crate) chat: Option<(Portal, Login)>,
}

/// A command's name, in small letters, and what follows.
struct Words {
    name: String,
    rest: Vec<String>,
}

impl Call {
    pub(crate) async fn answer(&self, text: &str) -> Result<()> {
        self.bridge.say(&self.said_in, text, &self.event_id, "answer").await.map(drop)
    }

    /// As [`Call::answer`], with words that are for the caller alone: where others are in the room they come where the caller
    /// talks to the bot.
    pub(crate) async fn answer_alone(&self, text: &str) -> Result<()> {
        let members = self.bridge.matrix().joined_members(&self.said_in).await?;
        if members.iter().all(|member| member.as_str() == self.speaker || self.bridge.matrix().is_ours(member)) {
            return self.answer(text).await;
        }
        let room = self.bridge.management_room(&self.speaker).await?;
        self.bridge.say(&room, text, &self.event_id, "alone").await?;
        self.answer("I have answered you where we are alone.").await
    }

    /// Whether it is run for somebody else, or for another room than the one it was said in.
    fn is_for_another(&self) -> bool {
        self.speaker != self.sender || self.said_in != self.room
    }

    /// How to say a command in the room it was said in.
    pub(crate) async fn spell(&self, command: &str) -> Result<String> {
        let managed = self.bridge.store().find_management_room(&self.speaker).await.map_err(database)?;
        if managed.as_deref() == Some(self.said_in.as_str()) {
            return Ok(command.to_owned());
        }
        Ok(format!("{} {command}", self.bridge.config().bridge.command_prefix))
    }
}

/// Runs one command; the verdict is the row's.
pub async fn run(bridge: Bridge, call: CommandCall) -> Verdict {
    match begin(bridge, call).await {
        Ok(()) => Verdict::Done,
        Err(error) => error.verdict(),
    }
}

async fn begin(bridge: Bridge, call: CommandCall) -> Result<()> {
    let room = RoomId::parse(&call.room).map_err(|_| MatrixError::NotFound)?;
    if bridge.config().bridge.level_of(&call.sender) < Level::Commands {
        // No word to strangers: a bot that answers everybody is a nuisance in shared rooms.
        return Ok(());
    }
    let mut words = call.words.split_whitespace().map(str::to_owned);
    let name = words.next().unwrap_or_else(|| "help".into()).to_lowercase();
    let words = Words { name, rest: words.collect() };
    let call = Call {
        bridge,
        said_in: room.clone(),
        room,
        speaker: call.sender.clone(),
        sender: call.sender,
        level: Level::Block,
        event_id: call.event_id,
        reply_to: call.reply_to,
        rest: Vec::new(),
        place: Place::NoChat,
        chat: None,
    };
    run_words(call, words).await
}

/// Finds the command, checks the sender's rights and runs it.
async fn run_words(mut call: Call, words: Words) -> Result<()> {
    call.level = call.bridge.config().bridge.level_of(&call.sender);
    call.rest = words.rest;
    let found =
        COMMANDS.iter().find(|entry| entry.name == words.name || entry.run.other_names().contains(&&*words.name));
    let Some(entry) = found else {
        return call.answer(&format!("I don't know `{}`.\n\n{}", shorten(&words.name), help(call.level))).await;
    };
    (call.place, call.chat) = find_chat(&call).await?;
    if let Err(refusal) = rights::check(entry.level, rights::needs(&entry.run), call.level, call.place) {
        return call.answer(refusal.words()).await;
    }
    match entry.run {
        Run::Help => help_with(&call).await,
        Run::Version => call.answer(&format!("matrix-whatsapp {}", env!("CARGO_PKG_VERSION"))).await,
        Run::Ping | Run::ListLogins => account::list(&call).await,
        Run::Login => account::login(call, entry.usage).await,
        Run::Relogin => account::relogin(call, entry.usage).await,
        Run::Cancel => account::cancel(&call).await,
        Run::Logout => account::logout(&call, entry.usage).await,
        Run::SetPreferredLogin => account::prefer(&call, entry.usage).await,
        Run::Status => info::status(&call).await,
        Run::Chats => info::chats(&call).await,
        Run::Id => info::id(&call).await,
        Run::SyncPortal => info::sync_portal(&call).await,
        Run::LoginMatrix => puppet::login(&call).await,
        Run::LogoutMatrix => puppet::logout(&call).await,
        Run::PingMatrix => puppet::ping(&call).await,
        Run::Mark(kind, is_set) => chat_marks::mark(&call, kind, is_set).await,
        Run::Retry => retry(&call).await,
        Run::SetManagementRoom => set_management_room(&call).await,
        Run::Space => account::space(&call).await,
        Run::StartChat => groups::start_chat(&call, entry.usage).await,
        Run::CreateGroup | Run::PostStatus | Run::DeleteChat | Run::ClearChat | Run::InSpace(_) | Run::About => {
            run_apart(&call, entry).await
        }
        Run::ResolveIdentifier => info::resolve_identifier(&call, entry.usage).await,
        Run::Join => groups::join(&call, entry.usage).await,
        Run::ResolveLink => groups::resolve(&call, entry.usage).await,
        Run::InviteLink => groups::invite_link(&call).await,
        Run::LeaveGroup => groups::leave(&call).await,
        Run::Accept => groups::accept(&call).await,
        Run::Follow => channels::follow(&call, entry.usage).await,
        Run::Unfollow => channels::unfollow(&call).await,
        Run::Channel => channels::show(&call).await,
        Run::DeletePortal => chat::delete(&call).await,
        Run::DisappearingTimer => chat::set_timer(&call, entry.usage).await,
        Run::AllLogins => info::all_logins(&call).await,
        Run::Sudo => Box::pin(admin::sudo(call, entry.usage)).await,
        Run::DoIn => Box::pin(admin::do_in(call, entry.usage)).await,
        Run::Announce => admin::announce(&call, entry.usage).await,
    }
}

/// The commands that have much to do, in a future of their own on the heap: the table's stays small.
fn run_apart<'a>(call: &'a Call, entry: &'a Entry) -> BoxFuture<'a, Result<()>> {
    match entry.run {
        Run::CreateGroup => Box::pin(groups::create(call, entry.usage)),
        Run::PostStatus => Box::pin(status::post(call, entry.usage)),
        Run::DeleteChat => Box::pin(chat::remove(call, Removal::Chat)),
        Run::ClearChat => Box::pin(chat::remove(call, Removal::Messages)),
        Run::InSpace(place) => Box::pin(spaces::place(call, place, entry.usage)),
        _ => Box::pin(people::about(call)),
    }
}

/// What the room of a call is to its sender, and the chat if one of their accounts is in it.
async fn find_chat(call: &Call) -> Result<(Place, Option<(Portal, Login)>)> {
    let found = call.bridge.store().find_portal_with_login(call.room.as_str()).await.map_err(database)?;
    let Some((portal, login)) = found else { return Ok((Place::NoChat, None)) };
    let login = match call.bridge.login_of(&portal, login, &call.sender).await {
        Ok(login) => login.filter(|login| login.mxid == call.sender),
        Err(Halt::Store(error)) => return Err(database(error)),
        Err(Halt::Verdict(_)) => None,
    };
    Ok(match login {
        None => (Place::Foreign, None),
        Some(login) if portal.kind == PortalKind::Group => (Place::OwnGroup, Some((portal, login))),
        Some(login) => (Place::OwnChat, Some((portal, login))),
    })
}

impl Run {
    /// Other words for the same command: those people know from elsewhere.
    fn other_names(&self) -> &'static [&'static str] {
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

/// All commands, or one in full.
async fn help_with(call: &Call) -> Result<()> {
    let Some(name) = call.rest.first() else { return call.answer(&help(call.level)).await };
    let name = name.to_lowercase();
    let found = COMMANDS.iter().find(|entry| entry.name == name || entry.run.other_names().contains(&&*name));
    match found.filter(|entry| call.level >= entry.level) {
        Some(entry) => {
            let others = entry.run.other_names();
            let others = if others.is_empty() {
                String::new()
            } else {
                format!(" Another word for it: `{}`.", others.join("`, `"))
            };
            call.answer(&format!("`{}`\n\n{}{others}", entry.usage, entry.help)).await
        }
        None => call.answer(&format!("I don't know `{}`.\n\n{}", shorten(&name), help(call.level))).await,
    }
}

/// `docs/commands.md`: every command, who may say it, and where.
#[cfg(test)]
fn manual() -> String {
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
            rights::Needs::OwnChat => "chat",
            rights::Needs::OwnGroup => "group",
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
    let own = crate::ids::Lane::from_person(call.room.as_str(), &call.sender);
    let store = call.bridge.store();
    let mut lanes = vec![own];
    if let Some((portal, _)) = &call.chat {
        lanes.push(crate::ids::Lane::into_matrix(portal.id));
    }
    // Who says so wants the phone to be asked now.
    for login in store.logins_of(&call.sender).await.map_err(database)? {
        call.bridge.forget_silence(&login.id);
    }
    let meant = call.rest.first().map(|word| event_named(word)).or_else(|| call.reply_to.clone());
    if let Some(event) = meant {
        let found = store.find_failed(&event, &store.derive().mx_dedup(&["event", &event])).await.map_err(database)?;
        let again = match found.filter(|(_, lane)| lanes.contains(lane)) {
            Some((seq, lane)) => store.retry_one(seq, &lane).await.map_err(database)?,
            None => false,
        };
        let text = match again {
            true => "Trying that message again.",
            false => {
                "That message has not failed. Answer the notice that says so, or say `retry` alone for all of this room."
            }
        };
        return call.answer(text).await;
    }
    let mut again = 0;
    for lane in &lanes {
        store.forget_asks(lane).await.map_err(database)?;
        again += store.retry_failed(lane).await.map_err(database)?;
    }
    let text = match again {
        0 => "Nothing in this room has failed.".to_owned(),
        1 => "Trying one message again.".to_owned(),
        many => format!("Trying {many} messages again."),
    };
    call.answer(&text).await
}

/// The event in what somebody typed: its id, or a link to it as clients copy it.
fn event_named(word: &str) -> String {
    let word = word.rsplit('/').next().unwrap_or(word);
    word.split('?').next().unwrap_or(word).replace("%24", "$")
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

    #[test]
    fn names_are_unique_and_typed_words_are_cut() {
        let names = COMMANDS
            .iter()
            .flat_map(|entry| std::iter::once(entry.name).chain(entry.run.other_names().iter().copied()));
        let mut names: Vec<&str> = names.collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(shorten("a\n`b"), "ab");
        assert_eq!(shorten(&"x".repeat(100)).len(), 40);
        assert_eq!(event_named("https://matrix.to/#/!r:a/$e?via=a"), "$e");
        assert_eq!(event_named("$e"), "$e");
    }
}
