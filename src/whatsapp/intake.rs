//! From the client library into the inbox.
//!
//! Promise: a decrypted message is committed before the library acknowledges it to WhatsApp. The hook only
//! stores; it never calls the client and never touches the network. When the database is away it answers `Err`
//! to everything, so that no later message overtakes the failed one, and asks for a reconnect once it is back.
//!
//! Who calls it: the library, on its receive path. A kill between commit and acknowledgement means a second
//! delivery, which `seen` drops.

mod naming;
mod receipts;

use super::WhatsappSettings;
use super::add_modes::AddModes;
use super::applied::Behind;
use super::blocking::Blocked;
use super::order::Order;
use super::placing::{bot_edit, from_list};
use super::signals::Newsstand;
use super::state_debts::StateDebts;
use crate::convert::absent::Absent;
use crate::convert::arrival::{About, WaArrival};
use crate::convert::incoming::is_silent;
use crate::ids::{ChatId, GhostId, Lane, LoginId, PortalId, WaMessageId};
use crate::store::inbox::{Arrival, Source, ring_all};
use crate::store::wa_backend::UnknownDuplicate;
use crate::store::{Result, Store, Tx};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use whatsapp_rust::prelude::{Client, InboundMessage, Jid, MessageField, MessageInfo, Server, wa};
use whatsapp_rust::wacore_binary::{JidExt as _, NodeRef};
use whatsapp_rust::{InboundDurabilityHook, anyhow, async_trait};

pub use receipts::{DELIVERED, RECEIPT, ReceiptRow};

/// Inbox kind of a message: the body is a [`WaArrival`].
pub const MESSAGE: &str = "wa.message";

/// How long the hook of a line just pairing waits for its login to be recorded. The batch is refused after it and
/// comes again with the next connection.
const BINDING_WAIT: Duration = Duration::from_secs(20);

/// Aliases and portals remembered to spare look-ups; both are found again in the database when dropped.
const MEMORY: usize = 20_000;

/// One transaction of the intake and the pairs of ids it has taught; what did not commit is not known.
pub(super) struct Batch {
    pub(super) tx: Tx,
    learnt: Vec<(GhostId, GhostId)>,
    /// Lanes that got rows besides the batch's own.
    pub(super) lanes: Vec<Lane>,
    /// Whether a group was marked.
    pub(super) rings_groups: bool,
}

/// One line's way into the inbox.
pub struct Intake {
    pub(super) store: Store,
    pub(super) login: watch::Receiver<Option<LoginId>>,
    /// Set at the first failure; everything is refused until the line has built a new client with a new intake.
    failing: AtomicBool,
    failed: Notify,
    portals: Mutex<HashMap<ChatId, PortalId>>,
    aliases: Mutex<HashMap<GhostId, GhostId>>,
    order: Order,
    /// Groups of calls whose ring may not have been worked on yet, by the call's id.
    pub(super) ringing: Mutex<HashMap<String, ChatId>>,
    pub(super) add_modes: AddModes,
    /// News of the account's own data that may have been passed over.
    pub(super) debts: StateDebts,
    /// What was all told of it, behind the events that tell it.
    pub(super) behind: Behind,
    /// Whom the account has blocked.
    pub(super) blocked: Blocked,
    /// What was asked of the phone, by message id: it answers by number, whatever the stanza said.
    asked: Mutex<HashMap<String, Arc<MessageInfo>>>,
    /// The highest number stored so far.
    newest: AtomicI64,
    takes_status: bool,
    takes_deliveries: Arc<AtomicBool>,
    /// News of contacts and own reads, to be stored by the line's task.
    pub(super) news: Newsstand,
}

impl Intake {
    /// An intake for a line; `login` says whose it is once that is known, `settings` which kinds are taken.
    pub fn new(store: Store, login: watch::Receiver<Option<LoginId>>, settings: &WhatsappSettings) -> Arc<Self> {
        Arc::new(Self {
            store,
            login,
            failing: AtomicBool::new(false),
            failed: Notify::new(),
            portals: Mutex::default(),
            aliases: Mutex::default(),
            order: Order::default(),
            ringing: Mutex::default(),
            add_modes: AddModes::default(),
            debts: StateDebts::default(),
            behind: Behind::default(),
            blocked: Blocked::default(),
            asked: Mutex::default(),
            newest: AtomicI64::new(0),
            takes_status: settings.takes_status,
            takes_deliveries: settings.takes_deliveries.clone(),
            news: Newsstand::default(),
        })
    }

    /// Whether messages of this chat are taken: those of chats with rooms, and status posts unless switched off.
    fn takes(&self, chat: &Jid) -> bool {
        is_bridged(chat) || self.takes_status && chat.is_status_broadcast()
    }

    /// Waits until a batch could not be stored.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Gives up after something told could not be stored: the line builds a new client once the database answers, and
    /// the library tells it again.
    pub(super) fn give_up(&self) {
        self.failing.store(true, Ordering::SeqCst);
        self.failed.notify_one();
    }

    /// Whether something could not be stored.
    pub(super) fn has_given_up(&self) -> bool {
        self.failing.load(Ordering::SeqCst)
    }

    /// Notes a message stanza as it comes off the socket. Never waits.
    pub fn arrived(&self, stanza: &NodeRef<'_>) {
        self.order.arrived(stanza, self.store.clock().next_id());
    }

    /// Notes that a message that arrived can not be read, before a later one of its chat is stored. Never waits. To be
    /// followed by [`Intake::keep_place`].
    pub fn unreadable(&self, author: &Jid, id: &str) {
        self.order.unreadable(author, id);
    }

    /// Whether anything that came before the row of this number is not stored yet.
    pub fn has_open(&self, number: i64) -> bool {
        self.order.has_open(number)
    }

    /// Whether something of this chat that came before the row of this number is not stored yet; the chat may go by
    /// either of its ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_behind(&self, chat: &ChatId, number: i64) -> Result<bool> {
        let open = self.order.open_before(number, self.store.clock().now_ms());
        if open.is_empty() {
            return Ok(false);
        }
        let chat = self.lid_of(GhostId::new(chat.as_str())).await?;
        for id in open {
            if self.lid_of(GhostId::new(id)).await? == chat {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes that a message that arrived is here already, or is none of ours.
    pub fn passed_over(&self, info: &MessageInfo) {
        self.order.stored(info);
    }

    /// Keeps the place of a message that could not be read, so that it stands in its order when it comes again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_place(&self, info: &Arc<MessageInfo>, absent: Absent) -> Result<()> {
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() >= MEMORY {
                asked.clear();
            }
            asked.insert(info.id.clone(), info.clone());
        }
        let Some(login) = self.login.borrow().clone() else { return Ok(()) };
        let placed = from_list(info);
        let place = placed.as_ref().unwrap_or(info);
        if self.takes(&place.source.chat) && !self.is_of_blocked(place) {
            let mut batch = self.begin("intake.keep_place").await?;
            let mut arrival = self.arrival_of(&mut batch, &login, place, &wa::Message::default()).await?;
            if let Ok(mut place) = WaArrival::from_bytes(&arrival.body) {
                place.absent = Some(absent);
                arrival.body = place.to_bytes();
            }
            let new = self.store.put_missing(&mut batch.tx, &arrival).await?;
            self.commit(batch).await?;
            self.store.bell().shuffle();
            if new {
                self.store.bell().ring(arrival.lane);
            }
        }
        self.order.stored(info);
        Ok(())
    }

    /// Stores messages that reached us past the hook (recovered through the phone).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn store_outside_hook(&self, batch: &[InboundMessage]) -> Result<()> {
        let Some(login) = self.login.borrow().clone() else { return Ok(()) };
        let batch: Vec<InboundMessage> = batch.iter().map(|inbound| self.as_asked(inbound)).collect();
        self.store_batch(&login, &batch).await
    }

    /// A message from the phone, said by whom and where its stanza named them: one message is never two.
    fn as_asked(&self, inbound: &InboundMessage) -> InboundMessage {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(&inbound.info.id).cloned();
        let mut inbound = inbound.clone();
        if let Some(asked) = asked.filter(|asked| asked.source.is_from_me == inbound.info.source.is_from_me) {
            let mut info = (*inbound.info).clone();
            info.source = asked.source.clone();
            inbound.info = Arc::new(info);
        }
        inbound
    }

    /// Whether a message the library has no copy of was ever stored here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_seen(&self, duplicate: &UnknownDuplicate) -> Result<bool> {
        let Some(login) = self.login.borrow().clone() else { return Ok(false) };
        let (Ok(chat), Ok(sender)) = (duplicate.chat.parse::<Jid>(), duplicate.sender.parse::<Jid>()) else {
            return Ok(true);
        };
        // What somebody blocked has posted was passed over, and the phone is not to be asked for it.
        if !self.takes(&chat) || chat.is_status_broadcast() && self.blocked.has(&sender) {
            return Ok(true);
        }
        let mut batch = self.begin("intake.has_seen").await?;
        let chat = ChatId::new(self.canonical(&mut batch, &chat, None).await?.as_str());
        let sender = self.canonical(&mut batch, &sender, None).await?;
        self.commit(batch).await?;
        let id = WaMessageId::new(duplicate.id.as_str());
        self.store.was_seen(&self.store.derive().wa_dedup(&login, &chat, &sender, &id, "message")).await
    }

    /// Stores one batch in one transaction and rings its lanes.
    async fn store_batch(&self, login: &LoginId, messages: &[InboundMessage]) -> Result<()> {
        fail::fail_point!("from_wa.before_store", |_| Err(crate::store::StoreError::Corrupt {
            table: "inbox",
            why: "fault injected".into()
        }));
        let mut batch = self.begin("intake.messages").await?;
        let mut lanes = Vec::new();
        let mut shuffled = false;
        for inbound in messages {
            let passed = is_silent(&inbound.message) && !self.is_waited_for(&inbound.info.id);
            if !passed && inbound.info.source.chat.is_broadcast_list() {
                lanes.extend(self.store_from_list(&mut batch, login, inbound).await?);
                continue;
            }
            if passed || !self.takes(&inbound.info.source.chat) || self.is_of_blocked(&inbound.info) {
                continue;
            }
            let arrival = match comment_of(inbound).or_else(|| bot_edit(inbound)) {
                Some(whole) => self.arrival_of(&mut batch, login, &inbound.info, &whole).await?,
                None => self.arrival_of(&mut batch, login, &inbound.info, &inbound.message).await?,
            };
            if let Some(number) = arrival.seq {
                shuffled |= self.newest.fetch_max(number, Ordering::SeqCst) > number;
            }
            if self.store.put_arrival(&mut batch.tx, &arrival).await? {
                lanes.push(arrival.lane);
            }
        }
        self.commit(batch).await?;
        if shuffled {
            self.store.bell().shuffle();
        }
        for inbound in messages {
            self.order.stored(&inbound.info);
        }
        fail::fail_point!("from_wa.after_store", |_| std::process::abort());
        ring_all(&self.store, lanes);
        Ok(())
    }

    /// Whether something keeps the place of a message of this id, so that it has to be filled even with nothing.
    fn is_waited_for(&self, id: &str) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id) || self.store.waits_for(id)
    }

    pub(super) async fn arrival_of(
        &self,
        batch: &mut Batch,
        login: &LoginId,
        info: &MessageInfo,
        message: &wa::Message,
    ) -> Result<Arrival> {
        let source = &info.source;
        let sender = self.canonical(batch, &source.sender, source.sender_alt.as_ref()).await?;
        // In a direct chat the stanza's other id names the peer only when the peer wrote; our own copies name them
        // as the recipient.
        let chat_alt = if source.is_from_me { source.recipient_alt.as_ref() } else { source.sender_alt.as_ref() };
        let chat_alt = chat_alt.filter(|_| matches!(source.chat.server, Server::Pn | Server::Lid));
        let chat = ChatId::new(self.canonical(batch, &source.chat, chat_alt).await?.as_str());
        let portal = self.portal_of(batch, login, &chat, &sender).await?;
        let id = WaMessageId::new(info.id.as_str());
        let about = About {
            sender: sender.as_str().into(),
            id: info.id.clone(),
            // A message asked for by its id alone comes without its time.
            ts_ms: Some(info.timestamp.timestamp_millis())
                .filter(|ts| *ts > 0)
                .unwrap_or_else(|| self.store.clock().now_ms()),
            from_me: source.is_from_me,
            push_name: if source.is_from_me { String::new() } else { info.push_name.clone() },
            business_name: if source.is_from_me { None } else { business_name_in(info) },
        };
        Ok(Arrival {
            dedup: self.store.derive().wa_dedup(login, &chat, &sender, &id, "message"),
            lane: Lane::into_matrix(portal),
            source: Source::Whatsapp,
            login: Some(login.clone()),
            portal: Some(portal),
            kind: MESSAGE,
            body: WaArrival::new(message, about).to_bytes(),
            seq: self.order.number_of(info),
        })
    }

    /// Begins a transaction of the intake.
    pub(super) async fn begin(&self, what: &'static str) -> Result<Batch> {
        Ok(Batch { tx: self.store.begin_line(what).await?, learnt: Vec::new(), lanes: Vec::new(), rings_groups: false })
    }

    /// Commits one, and remembers what it has taught.
    pub(super) async fn commit(&self, batch: Batch) -> Result<()> {
        batch.tx.commit().await?;
        ring_all(&self.store, batch.lanes);
        if batch.rings_groups {
            self.store.ring_groups();
        }
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        if aliases.len() >= MEMORY {
            aliases.clear();
        }
        aliases.extend(batch.learnt);
        Ok(())
    }
}

#[async_trait]
impl InboundDurabilityHook for Intake {
    async fn on_messages(&self, _client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(anyhow::anyhow!("waiting for the database"));
        }
        let mut login = self.login.clone();
        let login = tokio::time::timeout(BINDING_WAIT, login.wait_for(Option::is_some))
            .await
            .ok()
            .and_then(|known| known.ok().and_then(|login| login.clone()))
            .ok_or_else(|| anyhow::anyhow!("the login is not recorded yet"));
        let stored = match login {
            Ok(login) => self.store_batch(&login, batch).await.map_err(anyhow::Error::from),
            Err(refused) => Err(refused),
        };
        if let Err(error) = &stored {
            tracing::error!(%error, "received messages could not be stored; WhatsApp keeps them");
        }
        if stored.is_err() {
            self.give_up();
        }
        stored
    }
}

/// A comment the library has opened, whole again: it gives the words and says beside them what they are about.
fn comment_of(inbound: &InboundMessage) -> Option<wa::Message> {
    let target = inbound.info.comment_target.clone().filter(|_| !inbound.message.comment_message.is_set())?;
    let comment = wa::message::CommentMessage {
        message: MessageField::some((*inbound.message).clone()),
        target_message_key: MessageField::some(target),
    };
    Some(wa::Message { comment_message: MessageField::some(comment), ..Default::default() })
}

/// Whether this is a chat people talk in: direct chats, also with a bot, own notes, groups. Status posts are no chat.
pub(super) fn is_bridged(chat: &Jid) -> bool {
    matches!(chat.server, Server::Pn | Server::Lid | Server::Group | Server::Bot) && chat.user != "0"
}

/// The verified business name a message came with.
fn business_name_in(info: &MessageInfo) -> Option<String> {
    info.verified_name.as_ref().and_then(|verified| verified.name.clone()).filter(|name| !name.is_empty())
}

/// The id without a device.
pub fn bare(jid: &Jid) -> GhostId {
    GhostId::new(jid.to_non_ad().to_string())
}
