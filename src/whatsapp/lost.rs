//! Messages that a kill at the wrong millisecond took, and how they come back.
//!
//! The library's ratchet and its copy of a message are two writes. Between them a kill loses the message here while
//! WhatsApp's second delivery no longer decrypts. Such a delivery is noted in the database (`wa_unknown`); with every
//! connection the phone is asked for what is noted, until the message is there.

use super::intake::Intake;
use super::line::Line;
use crate::convert::absent::Absent;
use crate::store::Store;
use crate::store::wa_backend::{LineBackend, UnknownDuplicate};
use std::sync::Arc;
use std::time::Duration;
use whatsapp_rust::prelude::{Client, InboundMessage, Jid, MessageInfo};
use whatsapp_rust::wacore::types::events::{DecryptFailMode, UnavailableType, UndecryptableMessage};

/// Pauses before the next tries to store what the phone sent.
const TRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(2), Duration::from_secs(10)];

/// How long the phone is asked for a message again, milliseconds: WhatsApp's own clients give up after 14 days.
const LONGEST_ASKED: i64 = 14 * 24 * 3600 * 1000;

impl Line {
    /// Asks the phone for every noted message that is not here; settles those that are.
    pub(super) async fn ask_for_lost(&self, backend: &LineBackend, intake: &Intake, client: &Arc<Client>) {
        let noted = match backend.take_unknown_duplicates(100).await {
            Ok(noted) => noted,
            Err(error) => return tracing::warn!(%error, "the list of doubtful messages can not be read"),
        };
        for duplicate in noted {
            let settled = match intake.has_seen(&duplicate).await {
                Ok(true) => {
                    if let Some(info) = info_of(&duplicate, client) {
                        intake.passed_over(&info);
                    }
                    backend.settle_unknown_duplicate(&duplicate).await
                }
                Ok(false) => {
                    self.ask_phone(&duplicate, intake, client).await;
                    Ok(())
                }
                Err(error) => return tracing::warn!(%error, "a doubtful message could not be looked up"),
            };
            if let Err(error) = settled {
                tracing::warn!(%error, "a doubtful message stays noted");
            }
        }
    }

    async fn ask_phone(&self, duplicate: &UnknownDuplicate, intake: &Intake, client: &Arc<Client>) {
        tracing::warn!(login = %self.masked(), "a message was lost by a kill; asking the phone for it");
        let Some(info) = info_of(duplicate, client) else { return };
        if let Err(error) = intake.keep_place(&info, Absent::Unreadable).await {
            tracing::warn!(%error, "the place of a lost message was not kept");
        }
        if let Err(error) = client.send_pdo_placeholder_resend_request(&info).await {
            tracing::warn!(%error, "the phone could not be asked; tried again with the next connection");
        }
    }

    /// Asks the phone once more for what a notice keeps the place of: an earlier request may have been lost, and the
    /// library remembers its own only while it runs.
    pub(super) async fn ask_for_places(&self, store: &Store, client: &Arc<Client>) {
        let Some(login) = self.login_id() else { return };
        let places = match store.places_to_ask(&login, store.clock().now_ms() - LONGEST_ASKED).await {
            Ok(places) => places,
            Err(error) => return tracing::warn!(%error, "the places that are kept can not be read"),
        };
        for place in places {
            let Some(info) = info_of(&place, client) else { continue };
            if let Err(error) = client.send_pdo_placeholder_resend_request(&info).await {
                tracing::warn!(%error, "the phone could not be asked; tried again with the next connection");
            }
        }
    }

    /// Stores messages that the phone sent on request: outside the library's hook, so nothing delivers them again.
    pub(super) async fn store_recovered(&self, messages: &[InboundMessage], intake: &Intake) {
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            match intake.store_outside_hook(messages).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(login = %self.masked(), %error, "recovered messages were not stored yet"),
            }
        }
        tracing::error!(login = %self.masked(), "messages recovered through the phone could not be stored");
    }
}

/// Why a message that came can not be shown.
pub(super) fn absent_of(lost: &UndecryptableMessage) -> Absent {
    match (lost.unavailable_type, lost.decrypt_fail_mode) {
        (UnavailableType::ViewOnce, _) if lost.is_unavailable => Absent::ViewOnce,
        (UnavailableType::Hosted, _) if lost.is_unavailable => Absent::Hosted,
        (UnavailableType::Bot, _) if lost.is_unavailable => Absent::Bot,
        (_, DecryptFailMode::Hide) => Absent::Hidden,
        _ => Absent::Unreadable,
    }
}

/// The little that is known of a message nobody has.
fn info_of(duplicate: &UnknownDuplicate, client: &Client) -> Option<Arc<MessageInfo>> {
    let mut info = MessageInfo::default();
    let sender: Jid = duplicate.sender.parse().ok()?;
    let is_own = |own: Option<Jid>| own.is_some_and(|own| own.user == sender.user && own.server == sender.server);
    info.source.is_from_me = is_own(client.pn()) || is_own(client.lid());
    info.id.clone_from(&duplicate.id);
    info.source.chat = duplicate.chat.parse().ok()?;
    info.source.sender = sender;
    Some(Arc::new(info))
}
