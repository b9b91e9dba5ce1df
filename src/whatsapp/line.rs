//! One login's connection to WhatsApp, from the first client to the last.
//!
//! The library's client is one-shot: after `disconnect` a new one is built on the same rows. There is one client
//! per login at any time; the old one is disconnected and its run task joined before a successor is built, and the
//! line's task is the only one that builds. A failed inbound batch or a poisoned backend means: wait until the
//! database answers, rebuild, and let WhatsApp deliver again.
//!
//! States: `Connecting` → `Connected` ⇄ `Offline`; `LoggedOut` ends it. A kill at any point loses nothing: the
//! rows of the client are in the database, and what was not acknowledged comes again.

use super::barrier::{Barrier, Guarded};
use super::codes::{Codes, LineRuntime};
use super::dial::Dial;
use super::intake::Intake;
use super::linking::{LinkMethod, LinkStep};
use super::outgoing::Acks;
use super::passkey_step::PasskeyStep;
use super::sink::Sink;
use super::trouble::{Ban, Trouble};
use super::{LineNews, LineSetup, lost};
use crate::ids::{DeviceKey, LoginId};
use crate::masked::Masked;
use crate::numbers::{self, Linking};
use crate::store::logins::{Farewell, Owner};
use crate::store::wa_backend::LineBackend;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::prelude::{Client, Event, EventInterest};
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::wacore::store::DevicePropsOverride;
use whatsapp_rust::wacore::types::events::ConnectFailureReason;
use whatsapp_rust::{CacheConfig, MsgSecretPolicy, waproto};

/// First pause between two tries; doubled for each client that ends soon.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// A client that lived longer than this was a good one.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// How long WhatsApp may take to give the first code of a linking.
const FIRST_CODE: Duration = Duration::from_secs(60);
/// Longest pause between two tries of a line that keeps failing.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Longest pause of a banned account: a ban may be lifted before its time.
const LONGEST_BAN: Duration = Duration::from_secs(6 * 3600);

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// A connection is being made.
    Connecting,
    /// Messages flow.
    Connected,
    /// Not connected; tried again by itself.
    Offline(Trouble),
    /// WhatsApp no longer knows the device.
    LoggedOut(Farewell),
}

/// One login's connection; shared by its task and those who send through it.
pub struct Line {
    pub(super) login: watch::Sender<Option<LoginId>>,
    pub(super) state: watch::Sender<LineState>,
    client: Mutex<Option<(Arc<Client>, Arc<Barrier>)>>,
    intake: Mutex<Option<Arc<Intake>>>,
    pub(super) acks: Arc<Acks>,
    /// Whether the owner is shown as there; by default they are away.
    pub(super) available: AtomicBool,
    /// Held while it is said: what is said last is what was wished last.
    pub(super) showing: tokio::sync::Mutex<()>,
    /// Whether WhatsApp refused our version once since the last connection: the newest was looked for then.
    refused_version: AtomicBool,
    /// The passkey step of a linking.
    pub(super) passkey: PasskeyStep,
    /// The library's task that turns the codes of a linking.
    pub(super) codes: Codes,
    pub(super) stop: CancellationToken,
    /// Counts how often somebody wanted another connection.
    pub(super) anew: watch::Sender<u64>,
    /// Set when the run has ended.
    ended: CancellationToken,
    device: DeviceKey,
}

/// Where the steps of a linking go.
pub(super) struct Link {
    pub(super) mxid: String,
    pub(super) method: LinkMethod,
    pub(super) steps: mpsc::Sender<LinkStep>,
}

/// Why one client ended.
pub(super) enum Ending {
    /// The line was told to stop.
    Stopped,
    /// The device is gone, or linking came to its end.
    Final,
    /// Build a new client after the pause.
    Again(Duration),
}

/// A pause, up to a fifth longer by `chance` (0 to 1): lines that went down together do not come back in one instant.
/// Never shorter, because WhatsApp may have named it.
fn spread(pause: Duration, chance: f64) -> Duration {
    pause + pause.mul_f64(chance.clamp(0.0, 1.0) / 5.0)
}

impl LineState {
    /// One word for logs and `/health`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Offline(trouble) => trouble.number().word(),
            Self::LoggedOut(_) => "logged out",
        }
    }

    /// The same, as it is counted.
    pub fn number(&self) -> numbers::Login {
        match self {
            Self::Connecting => numbers::Login::Connecting,
            Self::Connected => numbers::Login::Connected,
            Self::Offline(trouble) => trouble.number(),
            Self::LoggedOut(_) => numbers::Login::LoggedOut,
        }
    }
}

impl Line {
    pub(super) fn new(device: DeviceKey, login: Option<LoginId>) -> Arc<Self> {
        Arc::new(Self {
            login: watch::Sender::new(login),
            state: watch::Sender::new(LineState::Connecting),
            client: Mutex::default(),
            intake: Mutex::default(),
            acks: Arc::default(),
            available: AtomicBool::new(false),
            showing: tokio::sync::Mutex::default(),
            refused_version: AtomicBool::new(false),
            passkey: PasskeyStep::default(),
            codes: Codes::default(),
            stop: CancellationToken::new(),
            anew: watch::Sender::new(0),
            ended: CancellationToken::new(),
            device,
        })
    }

    /// The client in use, if one is built.
    pub(super) fn client(&self) -> Option<Arc<Client>> {
        self.client_behind_barrier().map(|(client, _)| client)
    }

    /// The client in use, and what its messages pass on their way out.
    pub(super) fn client_behind_barrier(&self) -> Option<(Arc<Client>, Arc<Barrier>)> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way into the inbox of the client in use.
    pub(super) fn intake(&self) -> Option<Arc<Intake>> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The library's rows of this line.
    pub(super) fn device(&self) -> &DeviceKey {
        &self.device
    }

    /// Stops the line and waits until its client is gone (at most 20 seconds).
    pub(super) async fn stop_and_wait(&self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.ended.cancelled()).await;
        if ended.is_err() {
            tracing::warn!(login = %self.masked(), "a connection to WhatsApp did not end in time");
        }
    }

    pub(super) fn login_id(&self) -> Option<LoginId> {
        self.login.borrow().clone()
    }

    /// Runs the line until it is stopped or logged out.
    pub(super) async fn run(self: Arc<Self>, setup: LineSetup, link: Option<Link>) {
        let _ended = self.ended.clone().drop_guard();
        let mut pause = SHORTEST_PAUSE;
        let mut anew = self.anew.subscribe();
        loop {
            anew.mark_unchanged();
            let begun = Instant::now();
            let ending = match self.run_one_client(&setup, link.as_ref()).await {
                // A client that ends soon, again and again, must not become a storm of connections.
                Ok(Ending::Again(wait)) => {
                    pause = if begun.elapsed() > GOOD_RUN { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                    Ending::Again(wait.max(pause))
                }
                Ok(ending) => ending,
                Err(error) => {
                    tracing::warn!(login = %self.masked(), error = %error, "a connection to WhatsApp could not be set up");
                    self.set_state(&setup, LineState::Offline(Trouble::NotBegun)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Ending::Again(pause)
                }
            };
            match ending {
                Ending::Stopped | Ending::Final => break,
                Ending::Again(wait) => {
                    tokio::select! {
                        () = self.stop.cancelled() => break,
                        // A ban is not over because somebody wants it.
                        Ok(()) = anew.changed(), if !matches!(*self.state.borrow(), LineState::Offline(Trouble::Banned { .. })) => {
                            pause = SHORTEST_PAUSE;
                        }
                        () = tokio::time::sleep(spread(wait, rand::random())) => {}
                    }
                    // The database first: a client without its rows would only fail again.
                    let mut database = Duration::from_millis(200);
                    while setup.store.ping().await.is_err() {
                        tokio::select! {
                            () = self.stop.cancelled() => return,
                            () = tokio::time::sleep(database) => database = (database * 2).min(Duration::from_secs(5)),
                        }
                    }
                }
            }
        }
        // After the client is gone: a living one would write its rows again.
        if matches!(*self.state.borrow(), LineState::LoggedOut(_))
            && let Err(error) = setup.store.delete_device(&self.device).await
        {
            tracing::warn!(%error, "the rows of a logged-out device were not deleted");
        }
    }

    async fn run_one_client(&self, setup: &LineSetup, link: Option<&Link>) -> anyhow::Result<Ending> {
        if self.login_id().is_some() {
            self.set_state(setup, LineState::Connecting).await;
        }
        if let Some(ending) = self.passkey_broke_off(link).await {
            return Ok(ending);
        }
        let backend = LineBackend::new(setup.store.clone(), setup.sealer.clone(), self.device.clone());
        let intake = Intake::new(setup.store.clone(), self.login.subscribe(), &setup.settings);
        intake.load_blocked().await?;
        let barrier = Arc::new(Barrier::default());
        let client = self.build_client(setup, backend.clone(), intake.clone(), barrier.clone()).await?;
        barrier.guard(&client);
        backend.on_unknown_duplicate({
            let intake = intake.clone();
            move |duplicate| {
                if let Ok(sender) = duplicate.sender.parse() {
                    intake.unreadable(&sender, &duplicate.id);
                }
            }
        });
        backend.on_applied({
            let intake = intake.clone();
            move |applied| intake.behind.told(applied, &intake.news)
        });
        let _raw = client.acquire_raw_node_forwarding();
        let (sink, mut received, mut receipts, channels) = Sink::new(self, intake.clone(), setup, &client);
        client.subscribe(EventInterest::ALL, Arc::new(sink)).detach();
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some((client.clone(), barrier));
        *self.intake.lock().unwrap_or_else(PoisonError::into_inner) = Some(intake.clone());
        let channels = tokio::spawn(super::channels::run(intake.clone(), client.clone(), channels));
        let (owing, debtor) = (intake.clone(), client.clone());
        // The first client of a device reads everything by itself.
        let is_new = self.login_id().is_none();
        let debts = tokio::spawn(async move { owing.debts.run(&debtor, is_new).await });
        let running = client.clone();
        let mut run = tokio::spawn(async move { running.run().await });
        let mut no_code_until = None;
        if let (Some(link), None) = (link, self.login_id()) {
            no_code_until = Some(Instant::now() + FIRST_CODE);
            self.begin_linking(&client, link).await;
        }
        let mut anew = self.anew.subscribe();
        let ending = loop {
            tokio::select! {
                () = self.stop.cancelled() => break Ending::Stopped,
                Ok(()) = anew.changed() => break Ending::Again(SHORTEST_PAUSE),
                () = intake.failed() => break Ending::Again(Duration::from_millis(100)),
                () = backend.wait_poisoned() => break Ending::Again(Duration::from_millis(100)),
                () = tokio::time::sleep_until(no_code_until.unwrap_or_else(Instant::now)), if no_code_until.is_some() => {
                    let tell = "WhatsApp can't be reached, so there is no code to show. Please try again later.";
                    self.fail_linking(link, tell).await;
                    break Ending::Final;
                }
                _ = &mut run => break self.ending_of_run(&mut received, setup, &client, &intake, link).await,
                act = self.passkey.next() => {
                    if let Some(ending) = self.go_on_with_passkey(act, &client, link).await {
                        break ending;
                    }
                }
                () = backend.wait_unknown_duplicate() => self.ask_for_lost(&backend, &intake, &client).await,
                Some(event) = received.recv() => {
                    no_code_until = None;
                    // What an earlier process or client noted is looked at with every connection.
                    if matches!(*event, Event::Connected(_)) {
                        intake.debts.connected();
                        self.ask_for_lost(&backend, &intake, &client).await;
                        self.ask_for_places(&setup.store, &client).await;
                    }
                    if let Some(ending) = self.handle(&event, setup, &client, &intake, link).await {
                        break ending;
                    }
                    intake.behind.event_done(&intake.news);
                }
                news = intake.news.take() => self.store_news(news, &intake, setup).await,
                Some(receipt) = receipts.recv() => {
                    if let Event::Receipt(receipt) = &*receipt
                        && let Err(error) = intake.store_receipt(receipt).await
                    {
                        tracing::debug!(login = %self.masked(), %error, "a receipt was not stored");
                    }
                }
            }
        };
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        channels.abort();
        debts.abort();
        client.disconnect().await;
        if !run.is_finished() && tokio::time::timeout(Duration::from_secs(15), &mut run).await.is_err() {
            run.abort();
        }
        Ok(ending)
    }

    /// What the run task left in the channel decides; a plain end means: connect again.
    async fn ending_of_run(
        &self,
        received: &mut mpsc::Receiver<Arc<Event>>,
        setup: &LineSetup,
        client: &Arc<Client>,
        intake: &Arc<Intake>,
        link: Option<&Link>,
    ) -> Ending {
        while let Ok(event) = received.try_recv() {
            if let Some(ending) = self.handle(&event, setup, client, intake, link).await {
                return ending;
            }
        }
        Ending::Again(Duration::from_secs(5))
    }

    async fn build_client(
        &self,
        setup: &LineSetup,
        backend: Arc<LineBackend>,
        intake: Arc<Intake>,
        barrier: Arc<Barrier>,
    ) -> anyhow::Result<Arc<Client>> {
        let persistence = Arc::new(PersistenceManager::new(backend).await?);
        let client = Client::builder()
            .with_runtime(LineRuntime { links: self.login_id().is_none() })
            .with_persistence_manager(persistence)
            .with_transport_factory(Guarded::new(Dial::new(setup.settings.websocket_url.as_deref()), barrier))
            .with_http_client_arc(setup.http.clone())
            .with_version_override(setup.version.current().await)
            .with_cache_config(CacheConfig {
                chat_lanes_capacity: 256,
                sent_message_ttl_secs: 172_800,
                // The bridge keeps secrets with its messages, for good, and opens what is sealed with them itself: the
                // library would forget what it is about (`bridge/sealed.rs`).
                msg_secret_policy: MsgSecretPolicy::BotOnly,
                ..CacheConfig::default()
            })
            .with_inbound_durability_hook_arc(intake)
            .with_background_saver_interval(Duration::from_secs(30))
            .with_skip_history_sync(true)
            .with_wanted_pre_key_count(100)
            .build()
            .await?
            .into_client();
        if self.login_id().is_none() {
            let platform = waproto::whatsapp::device_props::PlatformType::CHROME;
            client
                .set_device_props(
                    DevicePropsOverride::new().with_os(setup.settings.os_name.as_str()).with_platform_type(platform),
                )
                .await;
        }
        Ok(client)
    }

    async fn begin_linking(&self, client: &Arc<Client>, link: &Link) {
        let LinkMethod::Code { number } = &link.method else { return };
        let options = PairCodeOptions { phone_number: number.clone(), ..PairCodeOptions::default() };
        let ready = client.wait_for_socket(Duration::from_secs(30)).await;
        let asked = match ready {
            Ok(()) => client
                .pair_with_code(options)
                .await
                .map(drop)
                .map_err(|error| error.rejection().is_some_and(|r| r.is_throttled())),
            Err(_) => Err(false),
        };
        if let Err(throttled) = asked {
            let tell = if throttled {
                "WhatsApp asks to wait before another code; please try again in an hour, or use `login qr`."
            } else {
                "WhatsApp gave no code for this number. Check that it is complete with its country code, or use `login qr`."
            };
            self.step(link, LinkStep::Failed { tell: tell.into() }).await;
            self.stop.cancel();
        }
    }

    async fn handle(
        &self,
        event: &Event,
        setup: &LineSetup,
        client: &Arc<Client>,
        intake: &Arc<Intake>,
        link: Option<&Link>,
    ) -> Option<Ending> {
        match event {
            Event::Connected(_) => {
                self.refused_version.store(false, Ordering::SeqCst);
                self.show_presence(client).await;
                self.set_state(setup, LineState::Connected).await;
            }
            Event::Disconnected(_) => {
                // Why it ended is known when the server has said so just before.
                if !matches!(*self.state.borrow(), LineState::Offline(_)) {
                    self.set_state(setup, LineState::Offline(Trouble::Lost)).await;
                }
                // Acknowledgements can not come any more: who waits for one looks at the state and sends again later.
                self.acks.forget_all();
                return self.passkey_broke_off(link).await;
            }
            Event::SelfPushNameUpdated(_) => self.show_presence(client).await,
            Event::Messages(batch) if !batch.hook_committed => {
                // Recovered through the phone, outside the hook: stored here, late but once.
                self.store_recovered(&batch.messages, intake).await;
            }
            Event::UndecryptableMessage(lost) => {
                let absent = lost::absent_of(lost);
                if let Err(error) = intake.keep_place(&lost.info, absent).await {
                    tracing::warn!(login = %self.masked(), %error, "the place of an unreadable message was not kept");
                }
                // The library asks the sender of others' messages again, and nobody for our own other devices'.
                if lost.info.source.is_from_me
                    && absent.may_come_soon()
                    && let Err(error) = client.send_pdo_placeholder_resend_request(&lost.info).await
                {
                    tracing::warn!(login = %self.masked(), %error, "the phone could not be asked for a message");
                }
            }
            Event::GroupUpdate(_) | Event::PictureUpdate(_) => self.note_group(event, intake).await,
            Event::IncomingCall(_) | Event::MissedCall(_) => self.store_call(event, intake).await,
            Event::MuteUpdate(_)
            | Event::PinUpdate(_)
            | Event::ArchiveUpdate(_)
            | Event::MarkChatAsReadUpdate(_)
            | Event::StarUpdate(_) => self.store_chat_mark(event, intake).await,
            Event::DeleteChatUpdate(_) | Event::ClearChatUpdate(_) | Event::DeleteMessageForMeUpdate(_) => {
                self.store_removal(event, intake).await;
            }
            Event::PairSuccess(success) => return self.bind(success, setup, client, link).await,
            Event::PairError(_) => {
                return self
                    .fail_linking(link, "The phone and the bridge did not agree on keys; please try again.")
                    .await;
            }
            Event::QrScannedWithoutMultidevice(_) => {
                return self
                    .fail_linking(link, "This phone's WhatsApp is too old to link devices; please update it.")
                    .await;
            }
            Event::PairingQrCode(qr) => {
                // One that was shown before a passkey was asked for, and is heard of behind it.
                if let Some(link) = link.filter(|link| link.method == LinkMethod::Qr && !self.passkey.has_begun()) {
                    self.step(link, LinkStep::Qr { code: qr.code.clone(), valid: qr.timeout }).await;
                }
            }
            Event::PairingCode(code) => {
                if let Some(link) = link {
                    self.step(link, LinkStep::Code { code: code.code.clone(), valid: code.timeout }).await;
                }
            }
            Event::PairingQrCodesExhausted(_) => {
                if let Some(link) = link
                    && self.login_id().is_none()
                {
                    self.step(link, LinkStep::TimedOut).await;
                    return Some(Ending::Final);
                }
            }
            Event::PairPasskeyRequest(_) | Event::PairPasskeyConfirmation(_) | Event::PairPasskeyError(_) => {
                return self.hear_of_passkey(event, link).await;
            }
            Event::LoggedOut(end) => {
                let how = match end.reason {
                    ConnectFailureReason::AccountLocked => Farewell::Locked,
                    ConnectFailureReason::UnknownLogout => Farewell::Unknown,
                    _ => Farewell::Removed,
                };
                return Some(self.logged_out(setup, how).await);
            }
            Event::StreamReplaced(_) => {
                self.set_state(setup, LineState::Offline(Trouble::Replaced)).await;
                return Some(Ending::Again(Duration::from_secs(60)));
            }
            Event::TemporaryBan(ban) => {
                let wait = ban.expire.to_std().unwrap_or_default().max(Duration::from_secs(60));
                let until = i64::try_from(wait.as_millis())
                    .ok()
                    .and_then(|wait| setup.store.clock().now_ms().checked_add(wait))
                    .unwrap_or(i64::MAX);
                self.set_state(setup, LineState::Offline(Trouble::Banned { until, why: Ban::of(&ban.code) })).await;
                return Some(Ending::Again(wait.min(LONGEST_BAN)));
            }
            Event::ClientOutdated(_) => {
                setup.version.refresh().await;
                // Mostly the newest version is taken: then nothing was wrong.
                if !self.refused_version.swap(true, Ordering::SeqCst) {
                    return Some(Ending::Again(Duration::from_secs(1)));
                }
                self.set_state(setup, LineState::Offline(Trouble::Outdated)).await;
                return Some(Ending::Again(Duration::from_secs(60)));
            }
            Event::ConnectFailure(failure) => {
                self.set_state(setup, LineState::Offline(Trouble::Refused(failure.reason.code()))).await;
            }
            _ => {}
        }
        None
    }

    async fn logged_out(&self, setup: &LineSetup, how: Farewell) -> Ending {
        if let Some(login) = self.login_id()
            && let Err(error) = setup.store.log_out(&login, &self.device, how.words(), how, Owner::MustHear).await
        {
            tracing::error!(%error, "a logout could not be stored");
            return Ending::Again(Duration::from_secs(5));
        }
        self.set_state(setup, LineState::LoggedOut(how)).await;
        Ending::Final
    }

    pub(super) async fn fail_linking(&self, link: Option<&Link>, tell: &str) -> Option<Ending> {
        self.step(link?, LinkStep::Failed { tell: tell.into() }).await;
        Some(Ending::Final)
    }

    pub(super) async fn step(&self, link: &Link, step: LinkStep) {
        match &step {
            LinkStep::Qr { .. } | LinkStep::Code { .. } | LinkStep::Passkey { .. } | LinkStep::Compare { .. } => {}
            LinkStep::Linked { .. } => numbers::count_linking(Linking::Linked),
            LinkStep::TimedOut => numbers::count_linking(Linking::TimedOut),
            LinkStep::Failed { .. } => numbers::count_linking(Linking::Failed),
        }
        if link.steps.send(step).await.is_err() {
            tracing::debug!("nobody watches a linking any more");
        }
    }

    async fn set_state(&self, setup: &LineSetup, state: LineState) {
        let changed = self.state.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
        if let (true, Some(login)) = (changed, self.login_id()) {
            tracing::info!(login = %self.masked(), state = state.word(), "connection to WhatsApp");
            numbers::count_login_change(state.number());
            setup.tell(LineNews { login, state }).await;
        }
    }

    pub(super) fn masked(&self) -> Masked {
        Masked::phone(self.login_id().as_ref().map_or("", LoginId::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_shorter_than_asked_and_a_fifth_longer_at_most() {
        let pause = Duration::from_secs(60);
        let times: Vec<f64> = [-1.0, 0.0, 0.5, 1.0, 7.0].iter().map(|c| spread(pause, *c).as_secs_f64()).collect();
        assert_eq!(times, [60.0, 60.0, 66.0, 72.0, 72.0]);
    }
}
