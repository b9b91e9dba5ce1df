//! Channels: which a login follows, what they are, and what is posted in them, into the database.
//!
//! Promise: no post is missed. WhatsApp's servers keep posts, and the library acknowledges them before anybody here has
//! stored them, so a post that arrives is only stored at once when everything before it is; else the channel is *behind*
//! and is caught up with: fetched from the newest post that is known on. Every connection begins with all of its
//! channels behind.
//!
//! Here: what arrives, and in which order it is looked at, by one task (`run`) per connection; `channel_reading` asks and
//! stores, `channel_acts` is what people ask for.

use super::channel_acts::ChannelFailure;
use super::channel_posts::{Heard, heard_in};
use super::intake::Intake;
use crate::ids::{ChatId, LoginId};
use serde_json::Value;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use whatsapp_rust::prelude::{Client, Event};
use whatsapp_rust::wacore_binary::NodeRef;

/// News waiting to be stored; what does not fit is fetched again.
const NEWS: usize = 1024;
/// Between two channels that are caught up with: a person with hundreds must not look like a machine.
const PACE: Duration = Duration::from_millis(150);
/// The first pause after something failed, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

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
pub(super) fn die_here() -> ! {
    std::process::abort()
}
