//! What WhatsApp tells beside messages: who types, who is there, what was read on the own phone, who changed their
//! name or picture; and the same things said into WhatsApp.
//!
//! Typing and presence are droppable: they go up through one bounded channel and are lost when it is full, when the
//! process ends, or when nobody listens. All else is stored: own reads as inbox rows, changes of people as rows of
//! `contact` and `stale_person`. The library acknowledges it by itself, so what is heard in the moment of a kill is lost,
//! but for what is part of the account's own data (`applied.rs`): names of the address book, what was read.

use super::intake::{Batch, Intake, bare};
use super::line::Line;
use super::{LineSetup, Whatsapp};
use crate::ids::{ChatId, GhostId, Lane, LoginId, WaMessageId};
use crate::store::Result;
use crate::store::contacts::{Contact, Stale};
use crate::store::inbox::{Arrival, Source};
use crate::store::wa_applied::Applied;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use whatsapp_rust::Client;
use whatsapp_rust::features::ChatStateType;
use whatsapp_rust::prelude::{Event, Jid, Server};
use whatsapp_rust::wacore::stanza::receipt::collect_simple_message_ids;
use whatsapp_rust::wacore::types::events::Receipt;
use whatsapp_rust::wacore::types::presence::{ChatPresence, ReceiptType};
use whatsapp_rust::wacore_binary::NodeRef;

/// Inbox kind of what the owner read on another device: the body is an [`OwnReadRow`].
pub const OWN_READ: &str = "wa.own_read";

/// Signals waiting for the floor above.
pub(super) const SIGNALS: usize = 256;
/// News waiting to be stored: a whole address book comes at once.
pub(super) const NEWS: usize = 200_000;
/// News stored in one transaction.
const BATCH: usize = 200;
/// Pauses before the next tries to store news: nothing brings them again.
const TRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(2), Duration::from_secs(10)];

/// Something that is shown for a while or not at all.
#[derive(Debug, Clone)]
pub struct Signal {
    /// The login that heard it.
    pub login: LoginId,
    /// When it was heard.
    pub at: Instant,
    /// What.
    pub what: Heard,
}

/// What a [`Signal`] tells.
#[derive(Debug, Clone)]
pub enum Heard {
    /// Somebody types or records in a chat, or has stopped.
    Typing {
        /// The chat; a direct chat goes by its person's id.
        chat: ChatId,
        /// Who.
        person: GhostId,
        /// Whether they do.
        on: bool,
    },
    /// Somebody came or went.
    Presence {
        /// Who.
        person: GhostId,
        /// Whether they are there.
        online: bool,
        /// When they were last there, milliseconds since 1970; none when WhatsApp does not tell.
        last_seen: Option<i64>,
    },
    /// Changes of people are stored and wait to be shown.
    People,
    /// Somebody has another id now, and their chats go by it.
    Renumbered,
    /// The phone has answered about a file: it is there now.
    PhoneAnswered,
    /// The phone has said something: it was there at this time, milliseconds since 1970.
    PhoneThere(i64),
    /// Somebody else tried to link the number; that is stored, and its owner is to hear of it.
    Tried,
}

/// What the owner read on another device, as the inbox keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnReadRow {
    /// WhatsApp's ids of the messages.
    pub ids: Vec<String>,
    /// Everything up to this time, too; milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// Something for the database, heard on the library's receive path.
pub(super) enum News {
    /// An event of the library.
    Event(Arc<Event>),
    /// Messages of a direct chat were read on another device of the account.
    OwnRead {
        /// The chat.
        chat: Jid,
        /// The messages.
        ids: Vec<String>,
    },
    /// Whom the account has blocked, all of them.
    Blocked(Vec<Jid>),
    /// All news of a collection of the account's own data were told before this.
    Applied(Applied),
}

/// What storing news has changed.
#[derive(Default)]
struct Stored {
    /// Something about people is to be looked at.
    people: bool,
    /// Somebody has another id now.
    renumbered: bool,
    /// Somebody was blocked, or is no longer.
    blocks: bool,
}

/// News on their way from the library's receive path to the line's task.
#[derive(Default)]
pub(super) struct Newsstand {
    waiting: Mutex<VecDeque<News>>,
    more: Notify,
}

impl Newsstand {
    /// Takes news, unless there are too many: then false. Never waits.
    pub(super) fn put(&self, news: News) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= NEWS {
            return false;
        }
        waiting.push_back(news);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// Waits for news and hands over some. Nothing is lost when it is dropped while it waits.
    pub(super) async fn take(&self) -> Vec<News> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if !waiting.is_empty() {
                    let count = waiting.len().min(BATCH);
                    return waiting.drain(..count).collect();
                }
            }
            self.more.notified().await;
        }
    }
}

/// Whether an event is news for the database.
pub(super) fn is_news(event: &Event) -> bool {
    match event {
        Event::ContactUpdate(_)
        | Event::ContactUpdated(_)
        | Event::ContactNumberChanged(_)
        | Event::BusinessStatusUpdate(_)
        | Event::MarkChatAsReadUpdate(_) => true,
        // Pictures of groups are the groups' business.
        Event::PictureUpdate(told) => matches!(told.jid.server, Server::Pn | Server::Lid),
        _ => false,
    }
}

/// The signal in an event, if there is one.
pub(super) fn signal_in(event: &Event) -> Option<Heard> {
    match event {
        Event::ChatPresence(told) => Some(Heard::Typing {
            chat: ChatId::new(bare(&told.source.chat).as_str()),
            person: bare(&told.source.sender),
            on: told.state == ChatPresence::Composing,
        }),
        Event::Presence(told) => Some(Heard::Presence {
            person: bare(&told.from),
            online: !told.unavailable,
            last_seen: told.last_seen.map(|seen| seen.timestamp_millis()),
        }),
        _ => None,
    }
}

/// What a receipt stanza tells of reading on another device of the own account, in a direct chat. The library's event
/// does not name the chat of these.
pub(super) fn own_read_in(stanza: &NodeRef<'_>) -> Option<News> {
    let mut attrs = stanza.attrs();
    let kind = ReceiptType::parse(attrs.optional_string("type").as_deref().unwrap_or_default());
    let chat = attrs.optional_jid("recipient")?;
    let id = attrs.optional_string("id")?.into_owned();
    let own = attrs.optional_jid("from").is_some_and(|from| matches!(from.server, Server::Pn | Server::Lid));
    (own && tells_reading(&kind)).then(|| News::OwnRead { chat, ids: collect_simple_message_ids(stanza, &id, false) })
}

/// Whether a receipt of this type says that somebody looked.
pub(super) fn tells_reading(kind: &ReceiptType) -> bool {
    matches!(kind, ReceiptType::Read | ReceiptType::Played) || is_own_reading(kind)
}

/// Whether a receipt of this type is about the own account's reading only.
pub(super) fn is_own_reading(kind: &ReceiptType) -> bool {
    matches!(kind, ReceiptType::ReadSelf | ReceiptType::PlayedSelf)
}

impl Line {
    /// Stores news, with some patience.
    pub(super) async fn store_news(&self, news: Vec<News>, intake: &Intake, setup: &LineSetup) {
        if news.iter().any(|news| matches!(news, News::Event(_))) {
            fail::fail_point!("appstate.before_stored", |_| std::process::abort());
        }
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            match intake.store_news(&news).await {
                Ok(stored) => {
                    let Some(login) = self.login_id() else { return };
                    self.settle(&news, intake).await;
                    if stored.renumbered {
                        setup.signal(login.clone(), Heard::Renumbered);
                    }
                    if stored.people {
                        setup.signal(login, Heard::People);
                    }
                    return;
                }
                Err(error) => tracing::warn!(login = %self.masked(), %error, "news of contacts were not stored"),
            }
        }
        tracing::error!(login = %self.masked(), "news of contacts were not stored: the database does not answer");
        intake.give_up();
    }

    /// Writes how far the account's own data was read, for what was told of it is stored.
    async fn settle(&self, news: &[News], intake: &Intake) {
        for news in news {
            if let News::Applied(applied) = news
                && !intake.has_given_up()
            {
                fail::fail_point!("appstate.before_noted", |_| std::process::abort());
                if let Err(error) = applied.settle().await {
                    // The next change of the collection notes it too, or the next client reads it again.
                    tracing::warn!(login = %self.masked(), %error, "how far the account's data was read was not noted");
                }
                fail::fail_point!("appstate.after_noted", |_| std::process::abort());
            }
        }
    }

    /// Shows the owner as there or as away. Without their wish the account is away: the library calls itself available at
    /// each connect; then the phone believes somebody sits at this device and mutes its notifications.
    pub(super) async fn show_presence(&self, client: &Arc<Client>) {
        let _turn = self.showing.lock().await;
        let shown = if self.available.load(Ordering::SeqCst) {
            client.presence().set_available().await
        } else {
            client.presence().set_unavailable().await
        };
        if shown.is_err() {
            tracing::debug!(login = %self.masked(), "presence could not be set");
        }
    }
}

impl LineSetup {
    /// Sends a signal up; dropped when nobody keeps up.
    pub(super) fn signal(&self, login: LoginId, what: Heard) {
        let signal = Signal { login, at: Instant::now(), what };
        if self.signals.try_send(signal).is_err() {
            tracing::debug!("a signal was dropped: too many at once");
        }
    }
}

impl Intake {
    /// Stores news.
    async fn store_news(&self, news: &[News]) -> Result<Stored> {
        let mut stored = Stored::default();
        let Some(login) = self.login.borrow().clone() else { return Ok(stored) };
        let mut batch = self.begin("intake.news").await?;
        let mut lanes = Vec::new();
        for news in news {
            match news {
                News::OwnRead { chat, ids } => {
                    lanes.extend(self.own_read(&mut batch, &login, chat, ids.clone(), None).await?);
                }
                News::Event(event) => match &**event {
                    Event::MarkChatAsReadUpdate(told) if told.action.read == Some(true) => {
                        let range = told.action.message_range.as_option();
                        let until = range.and_then(|range| range.last_message_timestamp).filter(|seconds| *seconds > 0);
                        // WhatsApp counts seconds: everything within the last of them.
                        let until = until.map_or(told.timestamp.timestamp_millis(), |seconds| seconds * 1000 + 999);
                        lanes.extend(self.own_read(&mut batch, &login, &told.jid, Vec::new(), Some(until)).await?);
                    }
                    Event::ContactNumberChanged(told) => {
                        let old = self.canonical(&mut batch, &told.old_jid, told.old_lid.as_ref()).await?;
                        let new = self.canonical(&mut batch, &told.new_jid, told.new_lid.as_ref()).await?;
                        if old != new {
                            // One person: what was kept under the old id goes on under the new one.
                            batch.lanes.extend(self.store.join_ids_in(&mut batch.tx, &old, &new).await?);
                            stored.renumbered = true;
                        }
                    }
                    event => stored.people |= self.person_news(&mut batch, &login, event).await?,
                },
                News::Blocked(list) => stored.blocks |= self.store_blocklist(&mut batch, &login, list).await?,
                News::Applied(_) => {}
            }
        }
        self.commit(batch).await?;
        for lane in lanes {
            self.store.bell().ring(lane);
        }
        if news.iter().any(|news| matches!(news, News::Blocked(_))) {
            self.load_blocked().await?;
        }
        if stored.blocks {
            self.store.ring_marks();
        }
        Ok(stored)
    }

    /// Stores what was read on another device; the lane to ring when it is new. Chats without a portal have nothing to mark.
    async fn own_read(
        &self,
        batch: &mut Batch,
        login: &LoginId,
        chat: &Jid,
        ids: Vec<String>,
        until_ms: Option<i64>,
    ) -> Result<Option<Lane>> {
        let chat = ChatId::new(self.canonical(batch, chat, None).await?.as_str());
        let Some(portal) = self.store.find_portal_of_chat_in(&mut batch.tx, &chat, login).await? else {
            return Ok(None);
        };
        let row = OwnReadRow { ids, until_ms };
        let body = serde_json::to_vec(&row).unwrap_or_default();
        let name = WaMessageId::new(crate::derive::body_hash(&body));
        let reader = GhostId::new(login.as_str());
        let arrival = Arrival {
            dedup: self.store.derive().wa_dedup(login, &chat, &reader, &name, "own-read"),
            lane: Lane::into_matrix(portal),
            source: Source::Whatsapp,
            login: Some(login.clone()),
            portal: Some(portal),
            kind: OWN_READ,
            body,
            seq: None,
        };
        Ok(self.store.put_arrival(&mut batch.tx, &arrival).await?.then_some(arrival.lane))
    }

    /// Stores a receipt of the own account that names its chat: in groups, and where only the own devices are told.
    pub(super) async fn store_own_receipt(&self, login: &LoginId, receipt: &Receipt) -> Result<()> {
        let mut batch = self.begin("intake.own_receipt").await?;
        let lane = self.own_read(&mut batch, login, &receipt.source.chat, receipt.message_ids.clone(), None).await?;
        self.commit(batch).await?;
        if let Some(lane) = lane {
            self.store.bell().ring(lane);
        }
        Ok(())
    }

    /// Stores what changed about a person; true when something is to be looked at.
    async fn person_news(&self, batch: &mut Batch, login: &LoginId, event: &Event) -> Result<bool> {
        match event {
            Event::ContactUpdate(told) => {
                let other = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Jid>().ok());
                let alt = if told.jid.server == Server::Pn {
                    other(&told.action.lid_jid)
                } else {
                    other(&told.action.pn_jid)
                };
                let person = self.canonical(batch, &told.jid, alt.as_ref()).await?;
                let contact = Contact {
                    full_name: told.action.full_name.clone().unwrap_or_default(),
                    first_name: told.action.first_name.clone().unwrap_or_default(),
                };
                self.store.put_contact_in(&mut batch.tx, login, &person, &contact).await
            }
            Event::PictureUpdate(told) => {
                let what = if told.removed { Stale::NoPicture } else { Stale::Picture };
                self.mark_stale(batch, login, &told.jid, what).await
            }
            Event::ContactUpdated(told) => self.mark_stale(batch, login, &told.jid, Stale::Picture).await,
            Event::BusinessStatusUpdate(told) => {
                let jid = told.target_jid.as_ref().unwrap_or(&told.jid);
                self.mark_stale(batch, login, jid, Stale::Business).await
            }
            _ => Ok(false),
        }
    }

    async fn mark_stale(&self, batch: &mut Batch, login: &LoginId, jid: &Jid, what: Stale) -> Result<bool> {
        let person = self.canonical(batch, jid, None).await?;
        self.store.put_stale_in(&mut batch.tx, login, &person, what).await
    }
}

impl Whatsapp {
    /// Where signals come out; none from the second call on.
    pub fn take_signals(&self) -> Option<mpsc::Receiver<Signal>> {
        self.shared.signals.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Shows a chat that the owner types, or has stopped. WhatsApp forgets the first after some ten seconds. Fire and
    /// forget; false when the login is offline.
    pub async fn show_typing(&self, login: &LoginId, chat: &ChatId, on: bool) -> bool {
        let Some(client) = self.line(login).and_then(|line| line.client()).filter(|client| client.is_logged_in())
        else {
            return false;
        };
        let Ok(chat) = chat.as_str().parse::<Jid>() else { return false };
        let state = if on { ChatStateType::Composing } else { ChatStateType::Paused };
        client.chatstate().send(&chat, state).await.is_ok()
    }

    /// Shows the owner as there or as away, now and at each connect from now on.
    pub async fn show_presence(&self, login: &LoginId, available: bool) {
        let Some(line) = self.line(login) else { return };
        let before = line.available.swap(available, Ordering::SeqCst);
        if before != available
            && let Some(client) = line.client().filter(|client| client.is_logged_in())
        {
            line.show_presence(&client).await;
        }
    }

    /// Asks to be told when a person comes and goes; lasts as long as the connection. False when the login is offline.
    pub async fn watch_person(&self, login: &LoginId, person: &GhostId) -> bool {
        let Some(client) = self.line(login).and_then(|line| line.client()).filter(|client| client.is_logged_in())
        else {
            return false;
        };
        let Ok(jid) = person.as_str().parse::<Jid>() else { return true };
        client.presence().subscribe(jid).await.is_ok()
    }

    /// A person's verified business name as WhatsApp has it now; none for people and for businesses without one.
    ///
    /// # Errors
    /// When the login is offline or WhatsApp does not answer.
    pub async fn find_business_name(&self, login: &LoginId, person: &GhostId) -> anyhow::Result<Option<String>> {
        let client =
            self.line(login).and_then(|line| line.client()).ok_or_else(|| anyhow::anyhow!("the line is offline"))?;
        let jid: Jid = person.as_str().parse()?;
        let told = client.contacts().get_user_info(&[jid]).await?;
        let info = told.into_values().next().ok_or_else(|| anyhow::anyhow!("WhatsApp did not tell"))?;
        Ok(info.verified_name.and_then(|verified| verified.name).filter(|name| !name.is_empty()))
    }
}
