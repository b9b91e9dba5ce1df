//! Into WhatsApp: a message under a fixed id, settled by the server's own word.
//!
//! The library answers when a message is written to the socket; only the server's acknowledgement says it
//! arrived. So the waiter for it is registered first, and silence means *unknown*: the caller sends again under
//! the same id, which receivers show once.

use super::barrier::Barrier;
use crate::ids::{ChatId, GhostId, WaMessageId};
use crate::store::status::Audience;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use whatsapp_rust::Client;
use whatsapp_rust::prelude::{Jid, SendOptions, wa};
use whatsapp_rust::wacore::types::events::ServerAck;

/// How long the server may take to acknowledge.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How long the library may take to write a message to the socket (it may have to fetch keys first).
const SEND_WAIT: Duration = Duration::from_secs(45);
/// Acknowledgements nobody waited for that are remembered: one may come after a waiter gave up.
const LATE_ACKS: usize = 512;

/// Why a message is not known to have arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The line is not connected; nothing was written.
    #[error("the line is not connected")]
    Offline,
    /// It may or may not have arrived.
    #[error("the outcome is unknown: {0}")]
    Unknown(&'static str),
    /// The server refused it.
    #[error("the server refused it with code {0}")]
    Refused(String),
    /// The library refused it before it reached the network.
    #[error("the client library refused it")]
    Impossible,
}

/// The server's word about one message: accepted, or a code.
pub(super) type Word = Result<(), String>;

/// Who waits for which acknowledgement. One per connection's client.
#[derive(Default)]
pub struct Acks {
    waiting: Mutex<HashMap<String, oneshot::Sender<Word>>>,
    late: Mutex<VecDeque<(String, Word)>>,
}

impl Acks {
    /// Takes an acknowledgement; called on the library's receive path, never blocks.
    pub fn take(&self, ack: &ServerAck) {
        if ack.class.as_deref() != Some("message") {
            return;
        }
        let word = ack.error.clone().map_or(Ok(()), Err);
        let waiter = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ack.id);
        let unheard = match waiter {
            Some(waiter) => waiter.send(word).err(),
            None => Some(word),
        };
        if let Some(word) = unheard {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            if late.len() >= LATE_ACKS {
                late.pop_front();
            }
            late.push_back((ack.id.clone(), word));
        }
    }

    /// Tells everybody who waits that no word will come on this connection.
    pub fn forget_all(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn wait_for(&self, id: &WaMessageId) -> oneshot::Receiver<Word> {
        let (waiter, word) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.as_str().to_owned(), waiter);
        word
    }

    pub(super) fn give_up(&self, id: &WaMessageId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id.as_str());
    }

    fn take_late(&self, id: &WaMessageId) -> Option<Word> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let at = late.iter().position(|(known, _)| known == id.as_str())?;
        late.remove(at).map(|(_, word)| word)
    }
}

/// Sends a message under a fixed id and waits for the server's word; a status post goes to its audience.
///
/// # Errors
/// [`SendFailure`]; after [`SendFailure::Unknown`] send the same again under the same id.
pub async fn send(
    client: &Arc<Client>,
    acks: &Acks,
    barrier: &Barrier,
    chat: &ChatId,
    id: &WaMessageId,
    message: wa::Message,
    audience: Option<&Audience>,
) -> Result<(), SendFailure> {
    let to: Jid = chat.as_str().parse().map_err(|_| SendFailure::Impossible)?;
    if let Some(word) = acks.take_late(id) {
        return word.map_err(SendFailure::Refused);
    }
    if !client.is_logged_in() {
        return Err(SendFailure::Offline);
    }
    let word = acks.wait_for(id);
    let sending = barrier.send();
    let writing = async {
        match audience {
            Some(audience) => {
                let (people, options) = super::status::recipients(audience, id.as_str());
                client.status().send_raw(message, &people, options).await
            }
            None => {
                let options = SendOptions::default().with_message_id(id.as_str());
                client.send_message_with_options(to, message, options).await
            }
        }
    };
    let sent = tokio::time::timeout(SEND_WAIT, writing).await;
    drop(sending);
    let outcome = match sent {
        Ok(Ok(_)) => {
            fail::fail_point!("from_mx.after_write", |_| std::process::abort());
            await_word(acks, id, word).await
        }
        Ok(Err(error)) => Err(read_send_error(client, &error)),
        Err(_) => Err(SendFailure::Unknown("the message was not written within 45 seconds")),
    };
    acks.give_up(id);
    outcome
}

/// Waits for the server's word about what was written to the socket.
///
/// # Errors
/// [`SendFailure`].
pub(super) async fn await_word(
    acks: &Acks,
    id: &WaMessageId,
    word: oneshot::Receiver<Word>,
) -> Result<(), SendFailure> {
    let outcome = match tokio::time::timeout(ACK_WAIT, word).await {
        Ok(Ok(word)) => word.map_err(SendFailure::Refused),
        Ok(Err(_)) => Err(SendFailure::Unknown("the connection ended before the acknowledgement")),
        Err(_) => Err(SendFailure::Unknown("no acknowledgement within 30 seconds")),
    };
    acks.give_up(id);
    outcome
}

fn read_send_error(client: &Client, error: &whatsapp_rust::prelude::SendError) -> SendFailure {
    use whatsapp_rust::ErrorChainExt as _;
    use whatsapp_rust::prelude::SendError;
    if !client.is_logged_in() || error.is_transport_unavailable() {
        return SendFailure::Offline;
    }
    match error {
        SendError::InvalidRequest(..) => SendFailure::Impossible,
        _ => SendFailure::Unknown("the client library could not send it"),
    }
}

/// Sets a group's timer, seconds; 0 = messages stay.
///
/// # Errors
/// [`SendFailure`]; repeating is harmless.
pub async fn set_group_timer(client: &Arc<Client>, group: &ChatId, seconds: u32) -> Result<(), SendFailure> {
    use whatsapp_rust::ErrorChainExt as _;
    let group: Jid = group.as_str().parse().map_err(|_| SendFailure::Impossible)?;
    if !client.is_logged_in() {
        return Err(SendFailure::Offline);
    }
    match tokio::time::timeout(SEND_WAIT, client.groups().set_ephemeral(&group, seconds)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.is_transport_unavailable() => Err(SendFailure::Offline),
        Ok(Err(error)) => match error.server_rejection() {
            Some(rejection) => Err(SendFailure::Refused(rejection.code.to_string())),
            None => Err(SendFailure::Unknown("the client library could not set a group's timer")),
        },
        Err(_) => Err(SendFailure::Unknown("no answer within 45 seconds")),
    }
}

/// Reports messages of one author as read; fire and forget on WhatsApp's side.
///
/// # Errors
/// [`SendFailure::Offline`] when nothing could be written.
pub async fn mark_read(
    client: &Arc<Client>,
    chat: &ChatId,
    author: Option<&GhostId>,
    ids: &[&str],
) -> Result<(), SendFailure> {
    let chat: Jid = chat.as_str().parse().map_err(|_| SendFailure::Impossible)?;
    let author: Option<Jid> = author.and_then(|author| author.as_str().parse().ok());
    if !client.is_logged_in() {
        return Err(SendFailure::Offline);
    }
    client.mark_as_read(&chat, author.as_ref(), ids).await.map_err(|_| SendFailure::Offline)
}
