//! The simulator as a test holds it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State as Extract, WebSocketUpgrade},
    response::Response,
    routing::{get, post},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use wacore_binary::{Node, builder::NodeBuilder};
use waproto::whatsapp::Message;

use crate::{
    account::{AccountInfo, AccountOptions, Addressing},
    admin, appstate, connection,
    faults::FaultKind,
    history::{Arrival, PresenceItem, ReceiptItem},
    ids::{Address, ConnId, Number},
    iq, media, messages,
    noise::{HandshakeKind, IkPolicy, ServerKeys},
    pair_code, pairing,
    phone::{self, Answering, InboxItem},
    presence,
    stanza::empty,
    state::State,
    unlink,
};

/// How long a companion gets to answer its `<pair-success>`.
const PAIRING_TIME: Duration = Duration::from_secs(30);

/// The state, and a way to hear that it changed.
pub struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Shared {
    /// Runs `f` on the state; whoever waits for something looks again after it.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let result = f(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Looks at the state without waking anybody.
    fn look<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        f(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A handler that panicked has failed its test already; the others may
        // still say what they saw.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running simulator. Clones are handles to the same one.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
    addr: SocketAddr,
    server: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Simulator {
    /// Starts a simulator; port 0 takes a free one. Errors when the address is
    /// taken.
    pub async fn start(listen: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared { state: Mutex::new(State::new(addr)?), changed: watch::Sender::new(0) });
        let simulator = Self { shared: shared.clone(), addr, server: Arc::default() };
        let router = Router::new()
            .route("/ws/chat", get(upgrade))
            .route("/mms/{kind}/{token}", post(media::upload))
            .fallback(get(media::download))
            .layer(DefaultBodyLimit::disable())
            .with_state(shared)
            .merge(admin::router(simulator.clone()));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("simulator: {error}");
            }
        });
        *simulator.server_slot() = Some(server);
        Ok(simulator)
    }

    fn server_slot(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The WebSocket address for clients.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws/chat", self.addr)
    }

    /// The base address of the media store.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Closes all sockets and stops listening.
    pub async fn shutdown(&self) {
        self.shared.with(|state| {
            let conns: Vec<ConnId> = state.connections.keys().copied().collect();
            for conn in conns {
                state.close(conn);
            }
        });
        let server = self.server_slot().take();
        if let Some(server) = server {
            server.abort();
            // An aborted task ends with an error that says just that.
            if let Err(error) = server.await
                && !error.is_cancelled()
            {
                tracing::error!("simulator: {error}");
            }
        }
    }

    /// Creates a LID-migrated account. Errors when the number is taken.
    pub fn create_account(&self, number: &str, push_name: &str) -> Result<AccountInfo> {
        let options = AccountOptions { push_name: push_name.to_owned(), ..Default::default() };
        self.create_account_with(number, &options)
    }

    /// Creates an account. Errors when the number or the LID is taken.
    pub fn create_account_with(&self, number: &str, options: &AccountOptions) -> Result<AccountInfo> {
        self.shared.with(|state| state.create_account(number, options))
    }

    /// Errors when there is no account of this number.
    pub fn account_exists(&self, number: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.look(|state| state.account(&number).map(|_| ()))
    }

    /// The phone of `number` reads a QR code; waits until the companion is
    /// linked and returns its device. Errors when nobody shows the code or the
    /// companion refuses.
    pub async fn scan(&self, number: &str, qr_text: &str) -> Result<u16> {
        let number = Number::parse(number)?;
        let (conn, address) = self.shared.with(|state| pairing::scan(state, &number, qr_text))?;
        self.wait_linked(conn, &address).await
    }

    /// Types the 8-letter code into the phone of `number`; waits until the
    /// companion is linked and returns its device. Errors on a wrong code.
    pub async fn enter_pair_code(&self, number: &str, code: &str) -> Result<u16> {
        let number = Number::parse(number)?;
        let code = code.replace('-', "").to_uppercase();
        let wrapped = self.shared.look(|state| pair_code::pending(state, &number))?;
        let half = tokio::task::spawn_blocking(move || pair_code::unwrap_companion(&wrapped, &code))
            .await
            .context("key derivation")??;
        let conn = self.shared.with(|state| pair_code::send_half(state, &number, half))?;
        let address = self
            .wait("the companion to answer the code", PAIRING_TIME, |state| {
                if let Some(error) = state.pair_errors.get(&conn) {
                    return Some(Err(anyhow!("{error}")));
                }
                let pending = state.pairing.get(&conn)?;
                Some(Ok(pending.address.clone()))
            })
            .await??;
        self.wait_linked(conn, &address).await
    }

    async fn wait_linked(&self, conn: ConnId, address: &Address) -> Result<u16> {
        self.wait("the companion to be linked", PAIRING_TIME, |state| {
            if let Some(error) = state.pair_errors.get(&conn) {
                return Some(Err(anyhow!("{error}")));
            }
            let account = state.accounts.get(&address.number)?;
            account.companions.contains_key(&address.device).then_some(Ok(address.device))
        })
        .await?
    }

    /// Sends a text from the phone of `from`; `to` is a number or a JID.
    /// Returns the message id. Devices that are offline get it later.
    pub async fn send_text(&self, from: &str, to: &str, text: &str) -> Result<String> {
        let message = Message { conversation: Some(text.to_owned()), ..Default::default() };
        self.send_message(from, to, message).await
    }

    /// Sends any message from the phone of `from`.
    pub async fn send_message(&self, from: &str, to: &str, message: Message) -> Result<String> {
        self.send(from, to, message, None)
    }

    /// Sends a message with a chosen id; the same id again is a resend.
    pub async fn send_message_with_id(&self, from: &str, to: &str, message: Message, id: &str) -> Result<String> {
        self.send(from, to, message, Some(id.to_owned()))
    }

    fn send(&self, from: &str, to: &str, message: Message, id: Option<String>) -> Result<String> {
        let from = Number::parse(from)?;
        self.shared.with(|state| {
            let to = state.resolve_text(to)?;
            phone::send(state, &from, &to, message, id)
        })
    }

    /// What the phone of `number` shows, oldest first; nothing for an unknown
    /// number. Messages of its own companions are in it, what it sent itself
    /// is not.
    pub fn inbox(&self, number: &str) -> Vec<InboxItem> {
        self.read_phone(number, |phone| phone.inbox().to_vec())
    }

    /// The receipts the phone of `number` got, oldest first.
    pub fn receipts(&self, number: &str) -> Vec<ReceiptItem> {
        self.read_phone(number, |phone| phone.receipts.clone())
    }

    /// The presences and chat states the phone of `number` saw, oldest first.
    pub fn presences(&self, number: &str) -> Vec<PresenceItem> {
        self.read_phone(number, |phone| phone.presences.clone())
    }

    fn read_phone<T>(&self, number: &str, f: impl FnOnce(&phone::Phone) -> Vec<T>) -> Vec<T> {
        let Ok(number) = Number::parse(number) else {
            return Vec::new();
        };
        self.shared.look(|state| state.accounts.get(&number).map_or_else(Vec::new, |account| f(&account.phone)))
    }

    /// Waits for an inbox item that satisfies `predicate` and returns it.
    pub async fn wait_inbox(
        &self,
        number: &str,
        mut predicate: impl FnMut(&InboxItem) -> bool,
        timeout: Duration,
    ) -> Result<InboxItem> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("a message on the phone of {number}"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            let inbox = account.phone.inbox();
            inbox.iter().find(|item| predicate(item)).cloned()
        })
        .await
    }

    /// Waits until the phone of `number` shows at least `count` messages.
    pub async fn wait_inbox_len(&self, number: &str, count: usize, timeout: Duration) -> Result<Vec<InboxItem>> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{count} messages on the phone of {number}"), timeout, |state| {
            let inbox = state.accounts.get(&parsed)?.phone.inbox();
            (inbox.len() >= count).then(|| inbox.to_vec())
        })
        .await
    }

    /// Waits for a receipt at the phone of `number` and returns it.
    pub async fn wait_receipt(
        &self,
        number: &str,
        mut predicate: impl FnMut(&ReceiptItem) -> bool,
        timeout: Duration,
    ) -> Result<ReceiptItem> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("a receipt at the phone of {number}"), timeout, |state| {
            let receipts = &state.accounts.get(&parsed)?.phone.receipts;
            receipts.iter().find(|item| predicate(item)).cloned()
        })
        .await
    }

    /// The phone of `number` reads messages of `chat` (a number or a JID): read
    /// receipts go to their author and to the own companions.
    pub async fn mark_read(&self, number: &str, chat: &str, ids: &[String]) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let chat = state.resolve_text(chat)?;
            phone::mark_read(state, &number, &chat, ids)
        })
    }

    /// Whether the phone answers messages with delivery receipts.
    pub fn set_phone_silent(&self, number: &str, silent: bool) -> Result<()> {
        let number = Number::parse(number)?;
        let answering = if silent { Answering::Silent } else { Answering::Receipts };
        self.shared.with(|state| {
            state.account_mut(&number)?.phone.answering = answering;
            Ok(())
        })
    }

    /// Shows subscribers of `number` this presence: `available`, `unavailable`.
    pub fn set_presence(&self, number: &str, presence: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            presence::set_presence(state, &number, presence);
            Ok(())
        })
    }

    /// Shows `to` that the phone of `from` is `composing`, `recording` or has
    /// `paused`.
    pub fn send_chatstate(&self, from: &str, to: &str, shown: &str) -> Result<()> {
        let from = Number::parse(from)?;
        let shown = match shown {
            "composing" => empty("composing"),
            "recording" => NodeBuilder::new("composing").attr("media", "audio").build(),
            "paused" => empty("paused"),
            other => bail!("no chat state {other:?}"),
        };
        self.shared.with(|state| {
            let to = state.resolve_text(to)?;
            presence::send_chatstate(state, &from, &to, &shown);
            Ok(())
        })
    }

    /// Changes how the network addresses direct chats with `number` from now on,
    /// as the migration to LIDs does.
    pub fn set_addressing(&self, number: &str, addressing: Addressing) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.addressing = addressing;
            Ok(())
        })
    }

    /// Sets the profile picture (JPEG bytes), or removes it.
    pub fn set_picture(&self, number: &str, image: Option<Vec<u8>>) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            iq::set_picture(state, &number, image);
            Ok(())
        })
    }

    /// Saves `contact` (a number or a JID) in the address book of the phone of
    /// `number`, which its companions share.
    pub fn save_contact(&self, number: &str, contact: &str, full_name: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let contact = state.resolve_text(contact)?;
            appstate::save_contact(state, &number, &contact, full_name)
        })
    }

    /// Empties the media store: downloads answer 404.
    pub fn clear_media(&self) {
        self.shared.with(|state| state.media.clear());
    }

    /// Removes a companion as the phone does it in Linked Devices.
    pub fn unlink(&self, number: &str, device: u16) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| unlink::unlink(state, &Address::new(&number, device)))
    }

    /// Arms a fault `count` more times; see [`FaultKind`]. Hold and Release
    /// ignore the count.
    pub fn fault(&self, number: &str, kind: FaultKind, count: u32) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let account = state.account_mut(&number)?;
            if kind != FaultKind::UnknownStanza {
                account.faults.arm(kind, count);
            }
            match kind {
                FaultKind::Release => messages::release(state, &number),
                FaultKind::UnknownStanza => send_unknown(state, &number, count),
                _ => {}
            }
            Ok(())
        })
    }

    /// Waits until a counted fault is used up.
    pub async fn wait_fault_used(&self, number: &str, kind: FaultKind, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{kind:?} to be used up"), timeout, |state| {
            let left = state.accounts.get(&parsed)?.faults.left(kind);
            (left == 0).then_some(())
        })
        .await
    }

    /// Sends `<stream:error code/>` to a companion and closes its socket.
    pub fn stream_error(&self, number: &str, device: u16, code: u16) -> Result<()> {
        let address = Address::new(&Number::parse(number)?, device);
        self.shared.with(|state| {
            let companion = state.companion_mut(&address).with_context(|| format!("no device {address:?}"))?;
            if let Some(conn) = companion.link.conn() {
                let error = NodeBuilder::new("stream:error").attr("code", code).build();
                state.send(conn, error);
                state.close(conn);
            }
            Ok(())
        })
    }

    /// Drops all sockets of the companions of `number` without a word.
    pub fn disconnect(&self, number: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            state.cut(&number);
            Ok(())
        })
    }

    /// Whether IK handshakes are taken.
    pub fn set_ik(&self, policy: IkPolicy) {
        self.shared.with(|state| state.ik = policy);
    }

    /// Gives the server another static key and certificate chain.
    pub fn rotate_static_key(&self) -> Result<()> {
        let keys = ServerKeys::generate()?;
        self.shared.with(|state| state.keys = keys);
        Ok(())
    }

    /// The handshakes of all connections so far, in order.
    pub fn handshakes(&self) -> Vec<HandshakeKind> {
        self.shared.look(|state| state.handshakes.iter().map(|(_, kind)| *kind).collect())
    }

    /// The companions of `number` that are connected and logged in.
    pub fn connected_devices(&self, number: &str) -> Vec<u16> {
        let Ok(number) = Number::parse(number) else {
            return Vec::new();
        };
        self.shared.look(|state| {
            state.accounts.get(&number).map_or_else(Vec::new, |account| {
                account.companions.iter().filter(|(_, c)| c.link.conn().is_some()).map(|(device, _)| *device).collect()
            })
        })
    }

    /// Waits until a companion has received its backlog and is live.
    pub async fn wait_connected(&self, number: &str, device: u16, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("device {device} of {number} to be connected"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            let companion = account.companions.get(&device)?;
            matches!(companion.link, crate::account::Link::Live(_)).then_some(())
        })
        .await
    }

    /// Waits until no companion socket of `number` is left.
    pub async fn wait_disconnected(&self, number: &str, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{number} to have no connection"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            account.companions.values().all(|c| c.link.conn().is_none()).then_some(())
        })
        .await
    }

    /// How many stanzas a companion has not settled; 0 for an unknown one.
    pub fn queued(&self, number: &str, device: u16) -> usize {
        let Ok(number) = Number::parse(number) else {
            return 0;
        };
        self.shared.look(|state| {
            let account = state.accounts.get(&number);
            let companion = account.and_then(|a| a.companions.get(&device));
            companion.map_or(0, |c| c.queue.len())
        })
    }

    /// Waits until a companion has settled everything.
    pub async fn wait_settled(&self, number: &str, device: u16, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("device {device} of {number} to settle its queue"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            (account.companions.get(&device)?.queue.len() == 0).then_some(())
        })
        .await
    }

    /// The stanzas the simulator did not understand, as XML.
    pub fn unknown_stanzas(&self) -> Vec<String> {
        self.shared.look(|state| state.unknown.clone())
    }

    /// Every message stanza that reached a phone, in order.
    pub fn arrival_log(&self) -> Vec<Arrival> {
        self.shared.look(|state| state.arrivals.clone())
    }

    /// Waits until `f` finds something in the state.
    async fn wait<T>(&self, what: &str, timeout: Duration, mut f: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let mut changes = self.shared.changed.subscribe();
        let search = async {
            loop {
                if let Some(found) = self.shared.look(&mut f) {
                    return Ok(found);
                }
                changes.changed().await.context("the simulator is gone")?;
            }
        };
        tokio::time::timeout(timeout, search).await.with_context(|| format!("waited {timeout:?} for {what}"))?
    }
}

async fn upgrade(Extract(shared): Extract<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| connection::serve(shared, socket))
}

/// Sends stanzas that no client knows to the connected companions.
fn send_unknown(state: &mut State, number: &Number, count: u32) {
    let conns: Vec<ConnId> = state.accounts.get(number).map_or_else(Vec::new, |a| {
        let links = a.companions.values().map(|c| c.link.conn());
        links.flatten().collect()
    });
    for conn in conns {
        for _ in 0..count {
            let node: Node = NodeBuilder::new("sim_mystery")
                .attr("from", crate::stanza::server_jid())
                .attr("id", state.next_stanza_id())
                .children([empty("sim_riddle")])
                .build();
            state.send(conn, node);
        }
    }
}
