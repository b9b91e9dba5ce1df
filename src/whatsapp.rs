//! The WhatsApp side: one line per login, sending under fixed ids, linking as steps.
//!
//! Promise: at most one client per login lives in this process; what a line receives is in the inbox before
//! WhatsApp hears of it; every send ends in a known outcome or in *unknown*. News of lines go up through one
//! bounded channel; floor 3 listens.

mod add_modes;
mod applied;
mod barrier;
mod binding;
mod blocking;
pub mod calls;
pub mod channel_acts;
mod channel_posts;
mod channel_reading;
mod channel_sends;
mod channels;
mod chat_marks;
mod codes;
mod dial;
pub mod finding;
pub mod group_acts;
pub mod groups;
pub mod http;
pub mod intake;
pub mod line;
pub mod linking;
mod lost;
pub mod media;
mod order;
pub mod outgoing;
pub mod passkey;
mod passkey_step;
mod placing;
pub mod removals;
mod sends;
pub mod signals;
mod sink;
pub mod state_debts;
mod status;
pub mod sticker_packs;
mod transfers;
pub mod trouble;
pub mod version;

pub use transfers::Picture;

use crate::ids::{ChatId, DeviceKey, LoginId};
use crate::store::logins::{Farewell, Login, LoginState, Owner};
use crate::store::seal::Sealer;
use crate::store::{Result, Store};
use line::{Line, LineState, Link};
use linking::{LinkMethod, LinkStep};
use passkey::AnswerFault;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use version::WebVersion;

/// Between two connections that are made anew.
const BETWEEN_LINES: Duration = Duration::from_millis(300);

/// What the operator says about the WhatsApp side.
#[derive(Debug, Clone)]
pub struct WhatsappSettings {
    /// Name in the phone's list of linked devices.
    pub os_name: String,
    /// The simulator's socket; none for WhatsApp itself.
    pub websocket_url: Option<String>,
    /// Whether status posts are taken.
    pub takes_status: bool,
    /// Whether it is taken whose phone has our messages; it may change while the process lives.
    pub takes_deliveries: Arc<AtomicBool>,
    /// The simulator's media; none for WhatsApp itself.
    pub media_base_url: Option<String>,
}

/// A change of a line, for the floor above.
#[derive(Debug, Clone)]
pub struct LineNews {
    /// Whose line.
    pub login: LoginId,
    /// Where it stands now.
    pub state: LineState,
}

/// All lines. Cheap to clone.
#[derive(Clone)]
pub struct Whatsapp {
    shared: Arc<Shared>,
}

struct Shared {
    setup: LineSetup,
    lines: Mutex<HashMap<LoginId, Arc<Line>>>,
    /// Lines that are linking, by who links; a person links one device at a time.
    linking: Mutex<HashMap<String, Arc<Line>>>,
    tasks: TaskTracker,
    signals: Mutex<Option<mpsc::Receiver<signals::Signal>>>,
    watched: channel_acts::Watched,
}

/// What every line needs.
#[derive(Clone)]
pub(crate) struct LineSetup {
    pub(crate) settings: Arc<WhatsappSettings>,
    pub(crate) store: Store,
    pub(crate) sealer: Sealer,
    pub(crate) http: Arc<http::Http>,
    pub(crate) version: Arc<WebVersion>,
    news: mpsc::Sender<LineNews>,
    signals: mpsc::Sender<signals::Signal>,
    registry: Weak<Shared>,
}

impl LineSetup {
    /// Sends news up; waits when the floor above is behind.
    async fn tell(&self, news: LineNews) {
        if self.news.send(news).await.is_err() {
            tracing::debug!("nobody listens to news of lines: the bridge is stopping");
        }
    }

    /// Makes a line that just finished linking the login's line. One that was cancelled in that moment is gone
    /// already; its end starts another (see [`Whatsapp::link`]).
    fn adopt(&self, login: &LoginId, device: &DeviceKey) {
        let Some(shared) = self.registry.upgrade() else { return };
        let mut linking = shared.linking.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = linking.iter().find(|(_, line)| line.device() == device).map(|(mxid, _)| mxid.clone());
        if let Some(line) = owner.and_then(|mxid| linking.remove(&mxid)) {
            shared.lines.lock().unwrap_or_else(PoisonError::into_inner).insert(login.clone(), line);
        }
    }

    /// Unlinks a login's former device on WhatsApp (best effort) and stops its line: the phone would keep it in its
    /// list of linked devices for good.
    async fn retire(&self, login: &LoginId, device: &DeviceKey) {
        let Some(shared) = self.registry.upgrade() else { return };
        let old = {
            let mut lines = shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let is_old = lines.get(login).is_some_and(|line| line.device() == device);
            if is_old { lines.remove(login) } else { None }
        };
        if let Some(line) = old {
            if let Some(client) = line.client()
                && tokio::time::timeout(Duration::from_secs(10), client.logout()).await.is_err()
            {
                tracing::warn!("WhatsApp did not confirm that a former device is unlinked");
            }
            line.stop_and_wait().await;
        }
    }
}

impl Whatsapp {
    /// The WhatsApp side, with no line running yet, and where its news come out.
    ///
    /// # Errors
    /// When the HTTP client can not be made.
    pub fn new(
        settings: WhatsappSettings,
        store: Store,
        sealer: Sealer,
    ) -> anyhow::Result<(Self, mpsc::Receiver<LineNews>)> {
        let (news, listen) = mpsc::channel(256);
        let (signals, heard) = mpsc::channel(signals::SIGNALS);
        let settings = Arc::new(settings);
        let http = Arc::new(http::Http::new(&settings)?);
        let version = Arc::new(WebVersion::new(store.clone(), http.clone(), settings.websocket_url.is_some()));
        let shared = Arc::new_cyclic(|registry| Shared {
            setup: LineSetup { settings, store, sealer, http, version, news, signals, registry: registry.clone() },
            lines: Mutex::default(),
            linking: Mutex::default(),
            tasks: TaskTracker::new(),
            signals: Mutex::new(Some(heard)),
            watched: channel_acts::Watched::default(),
        });
        Ok((Self { shared }, listen))
    }

    /// What seals secrets in the database.
    pub fn sealer(&self) -> &Sealer {
        &self.shared.setup.sealer
    }

    /// Whether it is taken from now on whose phone has our messages.
    pub fn take_deliveries(&self, takes: bool) {
        self.shared.setup.settings.takes_deliveries.store(takes, Ordering::Relaxed);
    }

    /// Starts the line of a linked login, unless it runs.
    pub fn start(&self, login: &LoginId, device: &DeviceKey) {
        let mut lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.contains_key(login) {
            return;
        }
        let line = Line::new(device.clone(), Some(login.clone()));
        lines.insert(login.clone(), line.clone());
        self.shared.tasks.spawn(line.run(self.shared.setup.clone(), None));
    }

    /// Begins linking a new device for a person; an earlier attempt of theirs is cancelled. The steps end with
    /// one of the last three of [`LinkStep`], or without one when cancelled.
    pub fn link(&self, mxid: &str, method: LinkMethod) -> mpsc::Receiver<LinkStep> {
        let (steps, watch) = mpsc::channel(16);
        let device = self.shared.setup.store.make_device_key();
        let line = Line::new(device, None);
        let before =
            self.shared.linking.lock().unwrap_or_else(PoisonError::into_inner).insert(mxid.to_owned(), line.clone());
        if let Some(before) = before {
            before.stop.cancel();
        }
        let link = Link { mxid: mxid.to_owned(), method, steps };
        let (this, owner) = (self.clone(), mxid.to_owned());
        self.shared.tasks.spawn(async move {
            line.clone().run(this.shared.setup.clone(), Some(link)).await;
            {
                let mut linking = this.shared.linking.lock().unwrap_or_else(PoisonError::into_inner);
                if linking.get(&owner).is_some_and(|other| Arc::ptr_eq(other, &line)) {
                    linking.remove(&owner);
                }
            }
            // Cancelled in the moment it succeeded: the account is linked, so it gets a line.
            if let (Some(login), false) = (line.login_id(), this.shared.tasks.is_closed()) {
                match this.shared.setup.store.find_login(&login).await {
                    Ok(Some(record)) if record.device == *line.device() && record.state == LoginState::Linked => {
                        this.start(&login, line.device());
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "a login stays without its connection until a restart"),
                }
            }
        });
        watch
    }

    /// Cancels a person's linking; false when there is none.
    pub fn cancel_link(&self, mxid: &str) -> bool {
        let line = self.shared.linking.lock().unwrap_or_else(PoisonError::into_inner).remove(mxid);
        line.inspect(|line| line.stop.cancel()).is_some()
    }

    /// Gives the answer of the passkey that a person's linking waits for, as it was copied; it is looked at, and sent once.
    ///
    /// # Errors
    /// [`AnswerFault`] when it is not good, or nothing waits for one; then WhatsApp has not seen it.
    pub fn answer_passkey(&self, mxid: &str, text: &str) -> std::result::Result<(), AnswerFault> {
        self.linking_of(mxid).ok_or(AnswerFault::NotAsked)?.passkey.give(text)
    }

    /// Whether a person's linking waits for the answer of a passkey.
    pub fn wants_passkey(&self, mxid: &str) -> bool {
        self.linking_of(mxid).is_some_and(|line| line.passkey.wants_answer())
    }

    /// Says that the phone of a person who links shows the same code; false when that is not asked.
    pub fn confirm_code(&self, mxid: &str) -> bool {
        self.linking_of(mxid).is_some_and(|line| line.passkey.confirm())
    }

    fn linking_of(&self, mxid: &str) -> Option<Arc<Line>> {
        self.shared.linking.lock().unwrap_or_else(PoisonError::into_inner).get(mxid).cloned()
    }

    /// Where a login's line stands; none when it never had one in this process.
    pub fn state(&self, login: &LoginId) -> Option<LineState> {
        self.line(login).map(|line| *line.state.borrow())
    }

    /// Whether anything that reached the login before the inbox row of this number is not stored yet: a quick look
    /// before [`Whatsapp::is_behind`].
    pub fn has_open(&self, login: &LoginId, number: i64) -> bool {
        self.line(login).and_then(|line| line.intake()).is_some_and(|intake| intake.has_open(number))
    }

    /// Whether anything that reached any login is not stored yet.
    pub fn has_any_open(&self) -> bool {
        let lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.values().any(|line| line.intake().is_some_and(|intake| intake.has_open(i64::MAX)))
    }

    /// Whether something of this chat that reached the login before the inbox row of this number is not stored yet: the
    /// library reads a chat's stanzas side by side when it has several ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_behind(&self, login: &LoginId, chat: &ChatId, number: i64) -> Result<bool> {
        match self.line(login).and_then(|line| line.intake()) {
            Some(intake) => intake.is_behind(chat, number).await,
            None => Ok(false),
        }
    }

    /// Waits until a login's line is connected, at most `limit`: a process that has just started is soon.
    pub async fn wait_connected(&self, login: &LoginId, limit: Duration) {
        let Some(line) = self.line(login) else { return };
        let mut state = line.state.subscribe();
        let connected = tokio::time::timeout(limit, state.wait_for(|state| *state == LineState::Connected)).await;
        if connected.is_err() {
            tracing::debug!("a login was not connected in time");
        }
    }

    /// Every line's state, for health.
    pub fn states(&self) -> Vec<(LoginId, LineState)> {
        let lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|(login, line)| (login.clone(), *line.state.borrow())).collect()
    }

    /// Unlinks a login's device as its owner wishes: recorded first, then told to WhatsApp (best effort), then the
    /// library's rows are deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_out(&self, login: &Login, reason: &str) -> Result<()> {
        let store = &self.shared.setup.store;
        store.log_out(&login.id, &login.device, reason, Farewell::Asked, Owner::Knows).await?;
        let line = {
            let mut lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let is_its = lines.get(&login.id).is_some_and(|line| *line.device() == login.device);
            if is_its { lines.remove(&login.id) } else { None }
        };
        if let Some(line) = line {
            if let Some(client) = line.client()
                && tokio::time::timeout(Duration::from_secs(10), client.logout()).await.is_err()
            {
                tracing::warn!("WhatsApp did not confirm a logout in time");
            }
            line.stop_and_wait().await;
        }
        store.delete_device(&login.device).await
    }

    /// Has every connection to WhatsApp made anew, one a moment after the other, and closes those that HTTP keeps for later.
    /// Lines that are linking go on. How many there are; they follow by themselves.
    pub fn connect_anew(&self) -> usize {
        if let Err(error) = self.shared.setup.http.forget_connections() {
            tracing::warn!(%error, "the connections to WhatsApp's file servers stay as they are");
        }
        let lines: Vec<Arc<Line>> =
            self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let (count, shared) = (lines.len(), self.shared.clone());
        self.shared.tasks.spawn(async move {
            for line in lines {
                if shared.tasks.is_closed() {
                    return;
                }
                line.anew.send_modify(|times| *times += 1);
                tokio::time::sleep(BETWEEN_LINES).await;
            }
        });
        count
    }

    /// Stops every line and waits until their clients have written what they hold.
    pub async fn stop(&self, deadline: Duration) {
        let lines: Vec<Arc<Line>> = {
            let lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let linking = self.shared.linking.lock().unwrap_or_else(PoisonError::into_inner);
            lines.values().chain(linking.values()).cloned().collect()
        };
        for line in lines {
            line.stop.cancel();
        }
        self.shared.tasks.close();
        if tokio::time::timeout(deadline, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("some connections to WhatsApp did not end in time");
        }
    }

    fn line(&self, login: &LoginId) -> Option<Arc<Line>> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).get(login).cloned()
    }
}
