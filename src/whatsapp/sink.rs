//! Takes the library's events on its receive path: acknowledgements at once, the rest into two channels.
//!
//! Called inline by the library, so it never waits. Receipts come in floods and may be dropped: a later receipt names
//! the later message. Everything else is rare; its channel is far larger than what a connection's life brings.

use super::LineSetup;
use super::blocking;
use super::channel_posts;
use super::channels::{ChannelDesk, DeskEnd};
use super::codes::Codes;
use super::intake::Intake;
use super::line::Line;
use super::outgoing::Acks;
use super::signals::{self, Heard, News};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;
use whatsapp_rust::prelude::{Client, Event, Jid};
use whatsapp_rust::wacore::types::events::EventHandler;
use whatsapp_rust::wacore_binary::{JidExt as _, NodeRef};

/// Receipts waiting to be stored.
const RECEIPTS: usize = 1024;
/// Other events waiting for the line's task.
const EVENTS: usize = 8192;

/// Whether a notification is a phone's answer about a file that it was asked for, in time or late.
fn is_about_a_file(stanza: &NodeRef<'_>) -> bool {
    stanza.attrs().optional_string("type").as_deref() == Some("mediaretry")
}

/// Signs of the phone within this time are one, milliseconds.
const SAME_SIGN: i64 = 60_000;

/// Whether the phone itself has written a message or receipt: its device number is 0.
fn is_of_own_phone(stanza: &NodeRef<'_>, client: &Client) -> bool {
    let mut attrs = stanza.attrs();
    let Some(author) = attrs.optional_jid("participant").or_else(|| attrs.optional_jid("from")) else { return false };
    let is_own = |own: Option<Jid>| own.is_some_and(|own| own.user == author.user && own.server == author.server);
    author.device == 0 && (is_own(client.pn()) || is_own(client.lid()))
}

/// One client's sink.
pub(super) struct Sink {
    events: mpsc::Sender<Arc<Event>>,
    receipts: mpsc::Sender<Arc<Event>>,
    acks: Arc<Acks>,
    codes: Codes,
    intake: Arc<Intake>,
    channels: ChannelDesk,
    setup: LineSetup,
    /// The client holds the sink.
    client: Weak<Client>,
    /// When the phone gave its last sign, milliseconds since 1970.
    last_sign: AtomicI64,
}

impl Sink {
    /// A sink, where its events come out, where its receipts do, and what it hears about channels.
    pub(super) fn new(
        line: &Line,
        intake: Arc<Intake>,
        setup: &LineSetup,
        client: &Arc<Client>,
    ) -> (Self, mpsc::Receiver<Arc<Event>>, mpsc::Receiver<Arc<Event>>, DeskEnd) {
        let (events, received) = mpsc::channel(EVENTS);
        let (receipts, read) = mpsc::channel(RECEIPTS);
        let (channels, end) = ChannelDesk::new();
        let (setup, client, last_sign) = (setup.clone(), Arc::downgrade(client), AtomicI64::new(0));
        let (acks, codes) = (line.acks.clone(), line.codes.clone());
        (Self { events, receipts, acks, codes, intake, channels, setup, client, last_sign }, received, read, end)
    }

    /// Passes on that the phone is there, when it was it that wrote a stanza.
    fn note_sign(&self, stanza: &NodeRef<'_>) {
        let now = self.setup.store.clock().now_ms();
        // What waited at the server tells of the time it was written.
        let said_at = stanza.attrs().optional_u64("t").and_then(|t| i64::try_from(t).ok()?.checked_mul(1000));
        let at = said_at.map_or(now, |said_at| said_at.min(now));
        if at - self.last_sign.load(Ordering::Relaxed) < SAME_SIGN {
            return;
        }
        let Some(client) = self.client.upgrade() else { return };
        if is_of_own_phone(stanza, &client) {
            self.last_sign.store(at, Ordering::Relaxed);
            let login = self.intake.login.borrow().clone();
            if let Some(login) = login {
                self.setup.signal(login, Heard::PhoneThere(at));
            }
        }
    }
}

impl EventHandler for Sink {
    fn handle_event(&self, event: Arc<Event>) {
        match &*event {
            Event::RawNode(stanza) => {
                let number = || self.setup.store.clock().next_id();
                if matches!(stanza.tag(), "message" | "receipt") {
                    self.note_sign(stanza.get());
                }
                match stanza.tag() {
                    "message" if channel_posts::is_post(stanza.get()) => {
                        self.channels.take_stanza(stanza.get(), number);
                    }
                    "message" => self.intake.arrived(stanza.get()),
                    "iq" => {
                        self.intake.add_modes.note(stanza.get());
                        if let Some(list) = blocking::list_in(stanza.get()) {
                            self.intake.hear(News::Blocked(list));
                        }
                    }
                    "receipt" => {
                        if let Some(read) = signals::own_read_in(stanza.get()) {
                            self.intake.hear(read);
                        }
                    }
                    "notification" if is_about_a_file(stanza.get()) => {
                        let login = self.intake.login.borrow().clone();
                        if let Some(login) = login {
                            self.setup.signal(login, Heard::PhoneAnswered);
                        }
                    }
                    "notification" => {
                        self.intake.debts.note(stanza.get());
                        self.channels.take_stanza(stanza.get(), number);
                    }
                    _ => {}
                }
                return;
            }
            // Before the library goes on to the next stanza: its place is kept.
            Event::UndecryptableMessage(lost) => self.intake.unreadable(&lost.info.source.sender, &lost.info.id),
            Event::PairingQrCode(_) => self.codes.note(),
            _ => {}
        }
        self.channels.take_event(&event);
        match &*event {
            Event::ServerAck(ack) => self.acks.take(ack),
            Event::Receipt(receipt) if self.intake.takes_receipt(receipt) => {
                self.receipts
                    .try_send(event)
                    .unwrap_or_else(|_| tracing::debug!("a receipt was dropped: too many at once"));
            }
            Event::ChatPresence(_) | Event::Presence(_) => {
                if let (Some(login), Some(heard)) = (self.intake.login.borrow().clone(), signals::signal_in(&event)) {
                    self.setup.signal(login, heard);
                }
            }
            told if signals::is_news(told) => {
                // It is a chat's mark too.
                if matches!(told, Event::MarkChatAsReadUpdate(_)) {
                    self.intake.pass(&self.events, event.clone());
                }
                self.intake.hear(News::Event(event));
            }
            // Committed by the hook already, and the bell was rung.
            Event::Messages(batch) if batch.hook_committed => {}
            // Posts of channels were taken from their stanzas.
            Event::Messages(batch) if batch.messages.iter().all(|one| one.info.source.chat.is_newsletter()) => {}
            Event::Connected(_)
            | Event::Disconnected(_)
            | Event::PairSuccess(_)
            | Event::PairError(_)
            | Event::PairingQrCode(_)
            | Event::PairingCode(_)
            | Event::PairingQrCodesExhausted(_)
            | Event::QrScannedWithoutMultidevice(_)
            | Event::PairPasskeyRequest(_)
            | Event::PairPasskeyConfirmation(_)
            | Event::PairPasskeyError(_)
            | Event::LoggedOut(_)
            | Event::StreamReplaced(_)
            | Event::TemporaryBan(_)
            | Event::ClientOutdated(_)
            | Event::ConnectFailure(_)
            | Event::SelfPushNameUpdated(_)
            | Event::UndecryptableMessage(_)
            | Event::IncomingCall(_)
            | Event::MissedCall(_)
            | Event::MuteUpdate(_)
            | Event::PinUpdate(_)
            | Event::ArchiveUpdate(_)
            | Event::StarUpdate(_)
            | Event::DeleteChatUpdate(_)
            | Event::ClearChatUpdate(_)
            | Event::DeleteMessageForMeUpdate(_)
            | Event::GroupUpdate(_)
            | Event::PictureUpdate(_)
            | Event::Messages(_) => self.intake.pass(&self.events, event),
            _ => {}
        }
    }
}
