//! Commands: what people say to the bot, who may, and what it answers.
//!
//! One table names every command with the level it needs; `rights` decides, and nothing else does. Answers have fixed
//! transaction ids made from the event they answer, so a repeated row answers once.

mod account;
mod admin;
mod blocking;
mod channels;
mod chat;
mod chat_marks;
mod debug;
mod filter;
mod finding;
mod groups;
mod info;
mod packs;
mod passkey;
mod people;
mod plumbing;
mod portals;
mod puppet;
mod relay;
mod rights;
mod setup;
mod show_link;
mod spaces;
mod status;
mod table;

use crate::bridge::people::Halt;
use crate::bridge::{Bridge, CommandCall};
use crate::config::Level;
use crate::matrix::error::{MatrixError, Result};
use crate::store::chat_rooms::ChatRoom;
use crate::store::logins::Login;
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::Verdict;
use crate::whatsapp::removals::Removal;
use futures_util::future::BoxFuture;
use rights::Place;
use ruma::{OwnedRoomId, RoomId};
use std::time::Duration;
use table::{COMMANDS, Entry, Run};

/// How long a command waits for an account that is about to connect.
const CONNECTING: Duration = Duration::from_secs(20);

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

    /// Waits a moment for an account that is about to connect: after a start a command, perhaps cut off in its middle, may
    /// come before it.
    pub(crate) async fn wait_connected(&self, login: &Login) {
        self.bridge.whatsapp().wait_connected(&login.id, CONNECTING).await;
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
    let level = bridge.config().bridge.level_of(&call.sender);
    // Who is relayed is told to say it.
    let is_retry = call.words.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("retry"));
    if level < Level::Commands && !(is_retry && level >= Level::Relay) {
        // No word to strangers: a bot that answers everybody is a nuisance in shared rooms.
        return Ok(());
    }
    let text = call.words;
    let mut words = text.split_whitespace().map(str::to_owned);
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
    if passkey::is_answer(&call, &text) {
        return passkey::take(&call, &text).await;
    }
    run_words(call, words).await
}

/// Finds the command, checks the sender's rights and runs it.
async fn run_words(mut call: Call, words: Words) -> Result<()> {
    call.level = call.bridge.config().bridge.level_of(&call.sender);
    call.rest = words.rest;
    let found =
        COMMANDS.iter().find(|entry| entry.name == words.name || entry.run.other_names().contains(&&*words.name));
    let Some(entry) = found else {
        if passkey::is_waited_for(&call) {
            return passkey::take(&call, &words.name).await;
        }
        return call.answer(&format!("I don't know `{}`.\n\n{}", shorten(&words.name), help(call.level))).await;
    };
    // Done once; after a kill the row comes again, and the room is no chat's any more.
    if entry.run.deletes_rooms() && call.bridge.store().has_deletion(&call.event_id).await.map_err(database)? {
        return Ok(());
    }
    (call.place, call.chat) = find_chat(&call).await?;
    if let Err(refusal) = rights::check(entry.level, rights::needs(&entry.run), call.level, call.place) {
        return call.answer(refusal.words()).await;
    }
    if let Some((_, login)) = call.chat.as_ref().filter(|_| entry.run.asks_whatsapp()) {
        call.wait_connected(login).await;
    }
    match entry.run {
        Run::Help => help_with(&call).await,
        Run::Version => call.answer(&format!("matrix-whatsapp {}", env!("CARGO_PKG_VERSION"))).await,
        Run::Ping | Run::ListLogins => account::list(&call).await,
        Run::Login => account::login(call, entry.usage).await,
        Run::Relogin => account::relogin(call, entry.usage).await,
        Run::Cancel => account::cancel(&call).await,
        Run::Confirm => passkey::confirm(&call).await,
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
        Run::CreateGroup
        | Run::PostStatus
        | Run::DeleteChat
        | Run::ClearChat
        | Run::InSpace(_)
        | Run::SetRelay
        | Run::UnsetRelay
        | Run::Block(_)
        | Run::CreatePortal
        | Run::DeletePortal
        | Run::DeleteAllPortals
        | Run::Bridge
        | Run::Unbridge
        | Run::Filter
        | Run::ImportImagePack
        | Run::About => run_apart(&call, entry).await,
        Run::ResolveIdentifier => info::resolve_identifier(&call, entry.usage).await,
        Run::Join => groups::join(&call, entry.usage).await,
        Run::ResolveLink => groups::resolve(&call, entry.usage).await,
        Run::InviteLink => groups::invite_link(&call).await,
        Run::LeaveGroup => groups::leave(&call).await,
        Run::Accept => groups::accept(&call).await,
        Run::Follow => channels::follow(&call, entry.usage).await,
        Run::Unfollow => channels::unfollow(&call).await,
        Run::Channel => channels::show(&call).await,
        Run::DisappearingTimer => chat::set_timer(&call, entry.usage).await,
        Run::Search => finding::search(&call, entry.usage).await,
        Run::Sync => finding::sync(&call, entry.usage).await,
        Run::SetPl => admin::set_power(&call, entry.usage).await,
        Run::AllLogins => info::all_logins(&call).await,
        Run::Sudo => Box::pin(admin::sudo(call, entry.usage)).await,
        Run::DoIn => Box::pin(admin::do_in(call, entry.usage)).await,
        Run::Announce => admin::announce(&call, entry.usage).await,
        Run::Doctor => Box::pin(setup::doctor(&call)).await,
        Run::Reload => setup::reload(&call).await,
        Run::ResetNetwork => debug::reset_network(&call).await,
        Run::AccountData => debug::account_data(&call, entry.usage).await,
        Run::Without(why) => call.answer(why).await,
    }
}

/// The commands that have much to do, in a future of their own on the heap: the table's stays small.
fn run_apart<'a>(call: &'a Call, entry: &'a Entry) -> BoxFuture<'a, Result<()>> {
    match entry.run {
        Run::CreateGroup => Box::pin(groups::create(call, entry.usage)),
        Run::PostStatus => Box::pin(status::post(call, entry.usage)),
        Run::DeleteChat => Box::pin(chat::remove(call, Removal::Chat)),
        Run::ClearChat => Box::pin(chat::remove(call, Removal::Messages)),
        Run::SetRelay => Box::pin(relay::set(call, entry.usage)),
        Run::UnsetRelay => Box::pin(relay::unset(call)),
        Run::Block(is_blocked) => Box::pin(blocking::set(call, is_blocked, entry.usage)),
        Run::InSpace(place) => Box::pin(spaces::place(call, place, entry.usage)),
        Run::CreatePortal => Box::pin(portals::create(call, entry.usage)),
        Run::DeletePortal => Box::pin(portals::delete(call)),
        Run::DeleteAllPortals => Box::pin(portals::delete_all(call)),
        Run::Bridge => Box::pin(plumbing::bridge(call, entry.usage)),
        Run::Unbridge => Box::pin(plumbing::unbridge(call, entry.usage)),
        Run::Filter => Box::pin(filter::filter(call, entry.usage)),
        Run::ImportImagePack => Box::pin(packs::import(call, entry.usage)),
        _ => Box::pin(people::about(call)),
    }
}

/// What the room of a call is to its sender, and the chat if one of their accounts is in it.
async fn find_chat(call: &Call) -> Result<(Place, Option<(Portal, Login)>)> {
    let found = call.bridge.store().find_chat_room(call.room.as_str(), "").await.map_err(database)?;
    let Some(ChatRoom { portal, login, .. }) = found else { return Ok((Place::NoChat, None)) };
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
        let Some((seq, lane)) = found.filter(|(_, lane)| lanes.contains(lane)) else {
            let text = "That message has not failed, or it is not yours to try again. Answer the notice that says so, or say \
                        `retry` alone for all of this room.";
            return call.answer(text).await;
        };
        // First, since the retry settles what asked for it: seen again afterwards, a reaction would be one like others.
        call.answer("Trying that message again.").await?;
        let wish = store.derive().mx_dedup(&["event", &call.event_id]);
        store.retry_one(seq, &lane, &wish).await.map_err(database)?;
        fail::fail_point!("outcome.retried", |_| std::process::abort());
        return Ok(());
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
