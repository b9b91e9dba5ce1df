//! The simulator as a test holds it.

mod accounts;
mod appstate;
mod calls;
mod connections;
mod faults;
mod groups;
mod history;
mod kinds;
mod media;
mod newsletters;
mod people;
mod phones;
mod status;

pub use crate::groups::{GroupInfo, GroupMember, PersonResult};
pub use groups::GroupOptions;
pub use newsletters::{NewsletterInfo, NewsletterPost};

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State as Extract, WebSocketUpgrade},
    response::Response,
    routing::get,
};
use futures_util::Stream;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    admin, connection,
    history::Arrival,
    ids::ConnId,
    media as store, page,
    state::State,
    tls::{Encryption, Identity, Port},
};

/// The shortest time between two updates of a page.
const LIVE_PAUSE: Duration = Duration::from_millis(200);

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
    certificate: Arc<str>,
    server: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Simulator {
    /// Starts a simulator; port 0 takes a free one. Errors when the address is
    /// taken.
    pub async fn start(listen: SocketAddr) -> Result<Self> {
        Self::start_with(listen, Encryption::Both).await
    }

    /// As [`Simulator::start`], with or without plain HTTP.
    pub async fn start_with(listen: SocketAddr, encryption: Encryption) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared { state: Mutex::new(State::new(addr)?), changed: watch::Sender::new(0) });
        let identity = Identity::generate()?;
        let certificate = identity.pem.as_str().into();
        let port = Port::new(listener, &identity, encryption)?;
        let simulator = Self { shared: shared.clone(), addr, certificate, server: Arc::default() };
        let router = Router::new()
            .route("/ws/chat", get(upgrade))
            .merge(store::routes())
            .layer(DefaultBodyLimit::disable())
            .with_state(shared)
            .merge(page::routes(simulator.clone()))
            .merge(admin::router(simulator.clone()));
        let worker = history::work(simulator.shared.clone());
        let server = tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(port, router) => {
                    if let Err(error) = served {
                        tracing::error!("simulator: {error}");
                    }
                }
                () = worker => {}
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

    /// The certificate of the port, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
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

    /// The stanzas the simulator did not understand, as XML.
    pub fn unknown_stanzas(&self) -> Vec<String> {
        self.shared.look(|state| state.unknown.clone())
    }

    /// Every message stanza that reached a phone, in order.
    pub fn arrival_log(&self) -> Vec<Arrival> {
        self.shared.look(|state| state.arrivals.clone())
    }

    /// Looks at the state.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        self.shared.look(f)
    }

    /// A count that goes up whenever something changed, a few times a second at
    /// most; the first comes at once.
    pub(crate) fn changes(&self) -> impl Stream<Item = u64> + use<> {
        let changes = self.shared.changed.subscribe();
        futures_util::stream::unfold((changes, true), |(mut changes, first)| async move {
            if !first {
                changes.changed().await.ok()?;
                tokio::time::sleep(LIVE_PAUSE).await;
            }
            let count = *changes.borrow_and_update();
            Some((count, (changes, false)))
        })
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
