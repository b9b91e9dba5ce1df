//! Channels: which a login follows, what they are, and what is posted in them, into the database.
//!
//! Promise: no post is missed. WhatsApp's servers keep posts, and the library acknowledges them before anybody here has
//! stored them, so a post that arrives is only stored at once when everything before it is; else the channel is *behind*
//! and is caught up with: fetched from the newest post that is known on. Every connection begins with all of its
//! channels behind.
//!
//! Who calls it: the line, with one task (`run`) per connection, for what arrives; floor 3 for what people ask for.

use super::Whatsapp;
use super::channel_posts::{Heard, Post, fetch, heard_in};
use super::intake::{Intake, MESSAGE};
use crate::convert::arrival::{About, WaArrival};
use crate::convert::channel::{ChannelFacts, Counts, Named, Told, change_id, edit, revoke, told};
use crate::derive::body_hash;
use crate::ids::{ChatId, GhostId, Lane, LoginId, PortalId, WaMessageId};
use crate::store::channels::{PostNews, PostWord};
use crate::store::chat_marks::{ChatMark, MarkKind};
use crate::store::inbox::{Arrival, Source, ring_all};
use crate::store::portals::PortalKind;
use crate::store::{Result, StoreError};
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use whatsapp_rust::IqError;
use whatsapp_rust::features::{MexError, MexRequest, NewsletterError};
use whatsapp_rust::prelude::{Client, Event, Jid, wa};
use whatsapp_rust::wacore::iq::mex_operations::{fetch_all_newsletters_metadata, fetch_newsletter};
use whatsapp_rust::wacore_binary::NodeRef;
use whatsapp_rust::waproto::codec::message_decode;

/// News waiting to be stored; what does not fit is fetched again.
const NEWS: usize = 1024;
/// Posts fetched with one question.
const PAGE: u32 = 50;
/// Posts shown of the time before a channel was followed.
const HISTORY: usize = 10;
/// Posts fetched at most to catch up; who was away for longer misses the oldest.
const MOST: usize = 2000;
/// Between two channels that are caught up with: a person with hundreds must not look like a machine.
const PACE: Duration = Duration::from_millis(150);
/// The first pause after something failed, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// How long one wish for live counts counts here; the server's lasts five minutes.
const LIVE: i64 = 240_000;

/// Why something about a channel did not work.
#[derive(Debug, thiserror::Error)]
pub enum ChannelFailure {
    /// The line is not connected.
    #[error("the line is not connected")]
    Offline,
    /// WhatsApp refused with this code; a retry does not help.
    #[error("WhatsApp refused with code {0}")]
    Refused(i32),
    /// WhatsApp did not answer, or not for now.
    #[error("WhatsApp did not tell: {0}")]
    Later(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the line's task for channels hears.
pub(super) enum ChannelNews {
    /// The connection stands.
    Connected,
    /// Posts, or counts of posts; with the ordered id of the moment.
    Heard(Heard, i64),
    /// Something is different about a channel: what it is, or whether it is followed.
    Changed(ChatId),
}

/// The way of news from the library's receive path to the task that stores them.
pub(super) struct ChannelDesk {
    news: mpsc::Sender<ChannelNews>,
    overflown: Arc<AtomicBool>,
}

/// The other end of a [`ChannelDesk`].
pub(super) struct DeskEnd {
    news: mpsc::Receiver<ChannelNews>,
    overflown: Arc<AtomicBool>,
}

impl ChannelDesk {
    /// A desk and its other end.
    pub(super) fn new() -> (Self, DeskEnd) {
        let (sender, news) = mpsc::channel(NEWS);
        let overflown = Arc::new(AtomicBool::new(false));
        (Self { news: sender, overflown: overflown.clone() }, DeskEnd { news, overflown })
    }

    /// Takes what a stanza tells about posts. Never waits; `at` is an ordered id.
    pub(super) fn take_stanza(&self, stanza: &NodeRef<'_>, at: impl FnOnce() -> i64) {
        if let Some(heard) = heard_in(stanza) {
            self.put(ChannelNews::Heard(heard, at()));
        }
    }

    /// Takes what an event tells about channels. Never waits.
    pub(super) fn take_event(&self, event: &Event) {
        match event {
            Event::Connected(_) => self.put(ChannelNews::Connected),
            Event::MexNotification(note) if note.op_name.contains("Newsletter") => {
                let from = note.from.as_ref().map(|from| from.to_non_ad().to_string());
                let chat = from.filter(|from| from.ends_with("@newsletter")).or_else(|| id_in(&note.payload));
                if let Some(chat) = chat {
                    self.put(ChannelNews::Changed(ChatId::new(chat)));
                }
            }
            _ => {}
        }
    }

    fn put(&self, news: ChannelNews) {
        if self.news.try_send(news).is_err() {
            self.overflown.store(true, Ordering::SeqCst);
        }
    }
}

/// The first channel's id in a note.
fn id_in(payload: &Value) -> Option<String> {
    match payload {
        Value::String(text) if text.ends_with("@newsletter") => Some(text.clone()),
        Value::Object(fields) => fields.values().find_map(id_in),
        Value::Array(items) => items.iter().find_map(id_in),
        _ => None,
    }
}

/// Stores what one connection hears about channels, until the line ends it.
pub(super) async fn run(intake: Arc<Intake>, client: Arc<Client>, mut end: DeskEnd) {
    let mut bound = intake.login.clone();
    let Some(login) = bound.wait_for(Option::is_some).await.ok().and_then(|login| login.clone()) else { return };
    let mut clerk =
        Clerk { intake, client, login, is_listed: true, caught_up: HashSet::new(), behind: VecDeque::new() };
    let mut pause = FIRST_PAUSE;
    loop {
        let has_work = !clerk.is_listed || !clerk.behind.is_empty();
        let rest = if pause > FIRST_PAUSE { pause } else { PACE };
        let worked = tokio::select! {
            biased;
            news = end.news.recv() => match news {
                Some(news) => clerk.take(news).await,
                None => return,
            },
            () = tokio::time::sleep(rest), if has_work => clerk.work_off().await,
        };
        if end.overflown.swap(false, Ordering::SeqCst) {
            clerk.begin_again();
        }
        match worked {
            Ok(()) => pause = FIRST_PAUSE,
            // The next connection begins again.
            Err(ChannelFailure::Offline) => pause = (pause * 2).min(LONGEST_PAUSE),
            Err(error) => {
                tracing::warn!(%error, "something about a channel was not stored yet; it is tried again");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What one connection's task knows.
struct Clerk {
    intake: Arc<Intake>,
    client: Arc<Client>,
    login: LoginId,
    /// Whether the channels the login follows were asked for.
    is_listed: bool,
    /// Channels everything is stored of, up to now.
    caught_up: HashSet<ChatId>,
    /// Channels to be caught up with.
    behind: VecDeque<ChatId>,
}

impl Clerk {
    fn begin_again(&mut self) {
        self.is_listed = false;
        self.caught_up.clear();
    }

    async fn take(&mut self, news: ChannelNews) -> std::result::Result<(), ChannelFailure> {
        match news {
            ChannelNews::Connected => {
                self.begin_again();
                Ok(())
            }
            ChannelNews::Changed(chat) => {
                let read = self.intake.read_channel(&self.client, &self.login, &chat).await;
                if read.is_err() {
                    self.is_listed = false;
                }
                if read? && !self.caught_up.contains(&chat) {
                    self.fall_behind(chat);
                }
                Ok(())
            }
            ChannelNews::Heard(heard, at) => self.take_posts(heard, at).await,
        }
    }

    async fn take_posts(&mut self, heard: Heard, at: i64) -> std::result::Result<(), ChannelFailure> {
        fail::fail_point!("channels.before_store", |_| die_here());
        if !self.caught_up.contains(&heard.chat) {
            // What was posted before comes first, and this post comes with it.
            self.behind.retain(|chat| *chat != heard.chat);
            self.behind.push_front(heard.chat.clone());
            self.work_off().await?;
        }
        let stored = self.intake.store_posts(&self.login, &heard.chat, &heard.posts, at).await;
        if stored.is_err() {
            self.fall_behind(heard.chat);
        }
        Ok(stored?)
    }

    fn fall_behind(&mut self, chat: ChatId) {
        self.caught_up.remove(&chat);
        if !self.behind.contains(&chat) {
            self.behind.push_back(chat);
        }
    }

    /// Asks for the list of channels, or catches up with one.
    async fn work_off(&mut self) -> std::result::Result<(), ChannelFailure> {
        if !self.is_listed && self.behind.is_empty() {
            let chats = self.intake.read_channels(&self.client, &self.login).await?;
            self.is_listed = true;
            for chat in chats {
                if !self.caught_up.contains(&chat) {
                    self.fall_behind(chat);
                }
            }
            return Ok(());
        }
        let Some(chat) = self.behind.pop_front() else { return Ok(()) };
        match self.intake.catch_up(&self.client, &self.login, &chat).await {
            Ok(()) => {
                self.caught_up.insert(chat);
                Ok(())
            }
            // It is no more, or is not followed any more.
            Err(ChannelFailure::Refused(code)) => {
                tracing::debug!(code, "a channel could not be caught up with");
                Ok(())
            }
            Err(failure) => {
                self.fall_behind(chat);
                Err(failure)
            }
        }
    }
}

/// Ends the process as a kill would, where a story asks for it.
#[cfg_attr(not(feature = "simulator"), allow(dead_code, reason = "fail points are compiled in for stories only"))]
fn die_here() -> ! {
    std::process::abort()
}

impl Intake {
    /// Reads all channels a login follows and stores what they are; those it follows no more are noted. Gives the ones it
    /// follows.
    async fn read_channels(
        &self,
        client: &Client,
        login: &LoginId,
    ) -> std::result::Result<Vec<ChatId>, ChannelFailure> {
        let variables = fetch_all_newsletters_metadata::Variables::default();
        let question =
            MexRequest::new(fetch_all_newsletters_metadata::NAME, fetch_all_newsletters_metadata::DOC_ID, variables);
        let answer = client.mex().query(question).await.map_err(|error| read_mex(&error))?;
        let data = answer.data.unwrap_or_default();
        let list = data["xwa2_newsletter_subscribed"].as_array().cloned();
        let list = list.ok_or_else(|| ChannelFailure::Later("there is no list in the answer".into()))?;
        let mut chats = Vec::new();
        for about in list.iter().filter_map(told) {
            // The list may leave out what the asker is there: who is on it follows.
            let about = Told { follows: true, ..about };
            self.store_channel(login, &about).await?;
            chats.push(ChatId::new(about.id));
        }
        for (_, chat) in self.store.channels_of(login).await? {
            let chat = ChatId::new(chat);
            // It may have been followed since the list was asked for, so it is asked for by itself.
            if !chats.contains(&chat) && self.read_channel(client, login, &chat).await? {
                chats.push(chat);
            }
        }
        Ok(chats)
    }

    /// Reads one channel and stores what it is; whether the login follows it.
    async fn read_channel(
        &self,
        client: &Client,
        login: &LoginId,
        chat: &ChatId,
    ) -> std::result::Result<bool, ChannelFailure> {
        match ask(client, &Named::Id(chat.as_str().to_owned())).await {
            Ok(about) => {
                self.store_channel(login, &about).await?;
                Ok(about.follows)
            }
            Err(ChannelFailure::Refused(_)) => {
                self.leave_channel(login, chat).await?;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Stores what a login was told about a channel.
    async fn store_channel(&self, login: &LoginId, about: &Told) -> Result<()> {
        let chat = ChatId::new(about.id.as_str());
        if !about.follows {
            return self.leave_channel(login, &chat).await;
        }
        let mut batch = self.begin("intake.channel").await?;
        let portal = self.store.find_or_make_portal_in(&mut batch.tx, &chat, None, "", PortalKind::Channel).await?.id;
        let joins = self.store.join_portal_in(&mut batch.tx, portal, login).await?;
        self.store.put_channel_in(&mut batch.tx, portal, login, &about.facts.to_bytes(), about.writes).await?;
        self.commit(batch).await?;
        if let Some(muted) = about.muted {
            let (value, ts) = (if muted { -1 } else { 0 }, self.store.clock().now_ms());
            let mark = ChatMark { login: login.clone(), chat, kind: MarkKind::Mute, value, ts };
            // One that says what was said is none.
            if joins && muted || !joins && self.store.find_mute(login, &mark.chat).await? != Some(value) {
                self.store.put_chat_mark(&mark).await?;
            }
        }
        self.store.ring_channels();
        Ok(())
    }

    /// Notes that a login does not follow a channel any more.
    async fn leave_channel(&self, login: &LoginId, chat: &ChatId) -> Result<()> {
        let known = self.store.channels_of(login).await?;
        let Some((portal, _)) = known.into_iter().find(|(_, known)| known == chat.as_str()) else { return Ok(()) };
        let mut batch = self.begin("intake.leave_channel").await?;
        self.store.leave_channel_in(&mut batch.tx, portal, login).await?;
        self.commit(batch).await?;
        self.forget_portal(chat);
        self.store.ring_channels();
        Ok(())
    }

    /// Fetches what was posted since the newest post that is known, and what was changed about the posts before it, and
    /// stores it, oldest first.
    async fn catch_up(
        &self,
        client: &Client,
        login: &LoginId,
        chat: &ChatId,
    ) -> std::result::Result<(), ChannelFailure> {
        let find = async || -> Result<Option<PortalId>> {
            let known = self.store.channels_of(login).await?;
            Ok(known.into_iter().find(|(_, known)| known == chat.as_str()).map(|(portal, _)| portal))
        };
        let portal = match find().await? {
            Some(portal) => portal,
            // It was not heard of before.
            None if self.read_channel(client, login, chat).await? => {
                find().await?.ok_or(ChannelFailure::Refused(404))?
            }
            None => return Err(ChannelFailure::Refused(403)),
        };
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(400))?;
        let newest = self.store.newest_post(portal).await?;
        let asked_at = self.store.clock().next_id();
        let mut posts = fetch(client, &jid, PAGE, None).await.map_err(|error| read_iq(&error))?;
        // Until something of it is known, what was posted since it was followed counts. The server's times are seconds.
        let since = self.store.find_channel(portal).await?.map_or(i64::MAX, |row| row.since) / 1000 * 1000;
        let is_missed = |post: &Post| match newest {
            0 => post.ts_ms >= since,
            newest => post.server_id > newest + 1,
        };
        while posts.len() < MOST {
            let Some(first) = posts.first().filter(|first| is_missed(first)).map(|post| post.server_id) else { break };
            let mut older = fetch(client, &jid, PAGE, Some(first)).await.map_err(|error| read_iq(&error))?;
            older.retain(|post| post.server_id < first);
            if older.is_empty() {
                break;
            }
            older.append(&mut posts);
            posts = older;
        }
        if newest == 0 {
            let history = posts.iter().filter(|post| post.ts_ms < since).count();
            posts.drain(..history.saturating_sub(HISTORY));
        }
        // What was said before the first post that is shown stays where it is.
        let oldest = self.store.oldest_post(portal).await?;
        posts.retain(|post| post.server_id >= oldest);
        for some in posts.chunks(PAGE as usize) {
            self.store_posts(login, chat, some, asked_at).await?;
        }
        Ok(())
    }

    /// Stores words about posts, in their order; what is known changes nothing. `at` is the ordered id of the moment they
    /// came, or were asked for.
    async fn store_posts(&self, login: &LoginId, chat: &ChatId, posts: &[Post], at: i64) -> Result<()> {
        let known = self.store.channels_of(login).await?;
        let Some((portal, _)) = known.into_iter().find(|(_, known)| known == chat.as_str()) else { return Ok(()) };
        let facts = self.store.find_channel(portal).await?.map(|row| row.facts).unwrap_or_default();
        let name = ChannelFacts::from_bytes(&facts).unwrap_or_default().title();
        let mut batch = self.begin("intake.posts").await?;
        let mut lanes = Vec::new();
        for post in posts.iter().filter(|post| !post.id.is_empty()) {
            let Some(bytes) = &post.content else { continue };
            let content = if bytes.is_empty() { String::new() } else { body_hash(bytes) };
            let (id, server_id) = (WaMessageId::new(post.id.as_str()), post.server_id);
            let word = PostWord { id: &id, server_id, content: &content, at };
            let news = self.store.put_post_in(&mut batch.tx, portal, &word).await?;
            let Some((name_of_row, ts_ms, message)) = self.row_of(chat, post, bytes, &content, news) else { continue };
            let sender = GhostId::new(chat.as_str());
            let about = About {
                sender: chat.as_str().into(),
                id: name_of_row.clone(),
                ts_ms,
                from_me: false,
                push_name: name.clone(),
                business_name: None,
            };
            let arrival = Arrival {
                dedup: self.store.derive().wa_dedup(login, chat, &sender, &WaMessageId::new(name_of_row), "post"),
                lane: Lane::into_matrix(portal),
                source: Source::Whatsapp,
                login: Some(login.clone()),
                portal: Some(portal),
                kind: MESSAGE,
                body: WaArrival::new(&message, about).to_bytes(),
                seq: None,
            };
            if self.store.put_arrival(&mut batch.tx, &arrival).await? {
                lanes.push(arrival.lane);
            }
        }
        self.commit(batch).await?;
        fail::fail_point!("channels.after_store", |_| die_here());
        ring_all(&self.store, lanes);
        let mut counted = false;
        for post in posts {
            let Some(counts) = &post.counts else { continue };
            let before = Counts::from_bytes(&self.store.find_post_counts(portal, post.server_id).await?);
            let counts = counts.clone().over(&before);
            if counts != before {
                counted |= self.store.put_post_counts(portal, post.server_id, &counts.to_bytes(), at).await?;
            }
        }
        if counted {
            self.store.ring_channels();
        }
        Ok(())
    }

    /// What news of a post are as a row: id, time and message; none when they are none.
    fn row_of(
        &self,
        chat: &ChatId,
        post: &Post,
        bytes: &[u8],
        content: &str,
        news: PostNews,
    ) -> Option<(String, i64, wa::Message)> {
        let now = self.store.clock().now_ms();
        let posted = if post.ts_ms > 0 { post.ts_ms } else { now };
        let message = || match message_decode(bytes) {
            Ok(message) => Some(opened(message)),
            Err(_) => {
                tracing::warn!("a post of a channel can not be read");
                None
            }
        };
        match news {
            PostNews::None => None,
            PostNews::New => Some((post.id.clone(), posted, message()?)),
            PostNews::Changed => {
                Some((change_id(&post.id, content), now, edit(&post.id, chat.as_str(), message()?, now)))
            }
            PostNews::TakenBack => Some((change_id(&post.id, "gone"), now, revoke(&post.id, chat.as_str()))),
        }
    }
}

/// A post that comes wrapped as an edit is what it was edited to.
fn opened(mut message: wa::Message) -> wa::Message {
    match message.protocol_message.as_option_mut().map(|protocol| std::mem::take(&mut protocol.edited_message)) {
        Some(edited) if edited.is_set() => edited.into_option().unwrap_or_default(),
        _ => message,
    }
}

async fn ask(client: &Client, named: &Named) -> std::result::Result<Told, ChannelFailure> {
    let (key, kind) = match named {
        Named::Id(id) => (id, "JID"),
        Named::Code(code) => (code, "INVITE"),
    };
    let input =
        fetch_newsletter::Input { key: Some(key.clone()), r#type: Some(kind.into()), view_role: Some("GUEST".into()) };
    let variables = fetch_newsletter::Variables {
        input: Some(input),
        fetch_viewer_metadata: Some(true),
        fetch_full_image: Some(true),
        fetch_creation_time: Some(true),
        ..Default::default()
    };
    let question = MexRequest::new(fetch_newsletter::NAME, fetch_newsletter::DOC_ID, variables);
    let answer = client.mex().query(question).await.map_err(|error| read_mex(&error))?;
    told(&answer.data.unwrap_or_default()["xwa2_newsletter"]).ok_or(ChannelFailure::Refused(404))
}

fn read_iq(error: &IqError) -> ChannelFailure {
    match error {
        IqError::NotConnected | IqError::Socket(_) | IqError::Disconnected(_) => ChannelFailure::Offline,
        IqError::ServerError { code: code @ 400..=499, .. } if *code != 429 => {
            ChannelFailure::Refused(i32::from(*code))
        }
        IqError::ParseError(refusal) => match code_in(&refusal.to_string()) {
            Some(code @ 400..=499) if code != 429 => ChannelFailure::Refused(code),
            _ => ChannelFailure::Later(refusal.to_string()),
        },
        other => ChannelFailure::Later(other.to_string()),
    }
}

/// The code of a refused question: the library tells it in words only (whatsapp-rust 0.7).
fn code_in(words: &str) -> Option<i32> {
    let digits = words.split_once("code=")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn read_mex(error: &MexError) -> ChannelFailure {
    match error {
        MexError::Request(error) => read_iq(error),
        MexError::ExtensionError { code: code @ 400..=499, .. } if *code != 429 => ChannelFailure::Refused(*code),
        other => ChannelFailure::Later(other.to_string()),
    }
}

fn read_failure(error: &NewsletterError) -> ChannelFailure {
    match error {
        NewsletterError::Mex(error) => read_mex(error),
        NewsletterError::Iq(error) => read_iq(error),
        NewsletterError::Client(_) => ChannelFailure::Offline,
        other => ChannelFailure::Later(other.to_string()),
    }
}

/// When a login asked for live counts last, milliseconds since 1970.
#[derive(Default)]
pub(super) struct Watched(std::sync::Mutex<HashMap<(LoginId, ChatId), i64>>);

impl Watched {
    /// Whether it is time to ask (again); then it counts as asked.
    fn is_due(&self, login: &LoginId, chat: &ChatId, now_ms: i64) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        asked.retain(|_, at| now_ms - *at < LIVE);
        let is_due = !asked.contains_key(&(login.clone(), chat.clone()));
        if is_due {
            asked.insert((login.clone(), chat.clone()), now_ms);
        }
        is_due
    }

    /// Forgets that it was asked: it did not work.
    fn forget(&self, login: &LoginId, chat: &ChatId) {
        let mut asked = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        asked.remove(&(login.clone(), chat.clone()));
    }
}

impl Whatsapp {
    /// Looks at a channel without following it.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn find_channel(&self, login: &LoginId, named: &Named) -> std::result::Result<Told, ChannelFailure> {
        let (client, _) = self.channel_reader(login)?;
        ask(&client, named).await
    }

    /// Follows a channel and stores it with its newest posts. Following one that is followed changes nothing.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn follow_channel(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(404))?;
        client.newsletter().join(&jid).await.map_err(|error| read_failure(&error))?;
        fail::fail_point!("channels.after_follow", |_| die_here());
        if !intake.read_channel(&client, login, chat).await? {
            return Err(ChannelFailure::Refused(403));
        }
        intake.catch_up(&client, login, chat).await
    }

    /// Stops following a channel.
    ///
    /// # Errors
    /// [`ChannelFailure`]; with [`ChannelFailure::Refused`] it is not followed, or it is the login's own.
    pub async fn unfollow_channel(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(404))?;
        client.newsletter().leave(&jid).await.map_err(|error| read_failure(&error))?;
        intake.read_channel(&client, login, chat).await.map(drop)
    }

    /// Reads a channel again: what it is, its newest posts and their counts.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn read_channel_again(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        if !intake.read_channel(&client, login, chat).await? {
            return Ok(());
        }
        intake.catch_up(&client, login, chat).await
    }

    /// Reads the newest posts of a channel and their counts again.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn read_posts(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        intake.catch_up(&client, login, chat).await
    }

    /// Somebody looks at a channel: its counts are read, and for some minutes the server tells how they change, as to a
    /// phone that shows it. Asking again in that time does nothing.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn look_at_channel(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        let now = intake.store.clock().now_ms();
        if !self.shared.watched.is_due(login, chat, now) {
            return Ok(());
        }
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(404))?;
        if let Err(error) = client.newsletter().subscribe_live_updates(&jid).await {
            self.shared.watched.forget(login, chat);
            return Err(read_failure(&error));
        }
        intake.catch_up(&client, login, chat).await
    }

    fn channel_reader(&self, login: &LoginId) -> std::result::Result<(Arc<Client>, Arc<Intake>), ChannelFailure> {
        let line = self.line(login).ok_or(ChannelFailure::Offline)?;
        line.client().zip(line.intake()).ok_or(ChannelFailure::Offline)
    }
}
