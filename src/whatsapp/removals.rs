//! What people delete for themselves on their phones: a chat, its messages, one message; and the first two from here.
//!
//! The library tells each once; how far it has read is written when what it told is stored (`applied.rs`), so that what is
//! told in the moment of a kill is told again. It is an inbox row of the chat's lane, so it is done behind what was said before.

use super::Whatsapp;
use super::intake::Intake;
use super::line::Line;
use super::outgoing::SendFailure;
use crate::ids::{ChatId, GhostId, Lane, LoginId, WaMessageId};
use crate::store::inbox::{Arrival, Source};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use whatsapp_rust::prelude::{Event, Jid, wa};
use whatsapp_rust::{SyncActionMessageRange, message_range};

/// Inbox kind of what somebody has deleted for themselves: the body is a [`RemovalRow`].
pub const REMOVAL: &str = "wa.removal";

/// Pauses before the next tries to store it; then the line begins anew and is told it again.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(2)];
/// How long WhatsApp may take for a change of the app state.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What somebody has deleted for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removed {
    /// The chat with all that was said until then.
    Chat,
    /// What was said in the chat until then.
    Messages {
        /// Starred messages too.
        starred: bool,
    },
    /// One message.
    Message {
        /// WhatsApp's id of it.
        id: String,
    },
}

/// A deletion as the inbox keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalRow {
    /// What.
    pub what: Removed,
    /// When, milliseconds since 1970.
    pub ts_ms: i64,
    /// Whether it was told as one of all there are, so that it may be long ago and done.
    #[serde(default)]
    pub is_retold: bool,
}

/// What to delete from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A chat.
    Chat,
    /// Its messages.
    Messages,
}

fn heard(event: &Event) -> Option<(&Jid, RemovalRow)> {
    let (jid, what, at, is_retold) = match event {
        Event::DeleteChatUpdate(update) => (&update.jid, Removed::Chat, update.timestamp, update.from_full_sync),
        Event::ClearChatUpdate(update) => {
            let what = Removed::Messages { starred: update.delete_starred };
            (&update.jid, what, update.timestamp, update.from_full_sync)
        }
        Event::DeleteMessageForMeUpdate(update) => {
            let what = Removed::Message { id: update.message_id.clone() };
            (&update.chat_jid, what, update.timestamp, update.from_full_sync)
        }
        _ => return None,
    };
    Some((jid, RemovalRow { what, ts_ms: at.timestamp_millis(), is_retold }))
}

impl Line {
    /// Stores what the owner has deleted for themselves; tried for some seconds where the database does not answer.
    pub(super) async fn store_removal(&self, event: &Event, intake: &Intake) {
        let (Some(login), Some((chat, row))) = (self.login_id(), heard(event)) else { return };
        fail::fail_point!("appstate.before_stored", |_| std::process::abort());
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            match intake.store_removal(&login, chat, &row).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(login = %self.masked(), %error, "a deletion was not stored yet"),
            }
        }
        tracing::error!(login = %self.masked(), "a deletion could not be stored");
        intake.give_up();
    }
}

impl Intake {
    async fn store_removal(&self, login: &LoginId, jid: &Jid, row: &RemovalRow) -> crate::store::Result<()> {
        let chat = self.marked_chat(jid).await?;
        // A chat that nobody knows here has nothing to delete.
        let Some(portal) = self.store.find_portal_of_chat(&chat, login).await? else { return Ok(()) };
        let name = match &row.what {
            Removed::Chat => format!("chat-{}", row.ts_ms),
            Removed::Messages { .. } => format!("messages-{}", row.ts_ms),
            Removed::Message { id } => format!("message-{id}"),
        };
        // In a group everybody deletes for themselves.
        let kind = format!("removal-{login}");
        let arrival = Arrival {
            dedup: self.store.derive().wa_dedup(login, &chat, &GhostId::new(""), &WaMessageId::new(name), &kind),
            lane: Lane::into_matrix(portal),
            source: Source::Whatsapp,
            login: Some(login.clone()),
            portal: Some(portal),
            kind: REMOVAL,
            body: serde_json::to_vec(row).unwrap_or_default(),
            seq: None,
        };
        let mut tx = self.store.begin("intake.removal").await?;
        let new = self.store.put_arrival(&mut tx, &arrival).await?;
        tx.commit().await?;
        if new {
            self.store.bell().ring(arrival.lane);
        }
        Ok(())
    }
}

/// The last message of a chat, for WhatsApp to know what a deletion is about.
#[derive(Debug, Clone)]
pub struct LastMessage {
    /// Its id.
    pub id: WaMessageId,
    /// Whether the login's account wrote it.
    pub from_me: bool,
    /// When it was sent, seconds since 1970.
    pub ts: i64,
}

impl Whatsapp {
    /// Deletes a direct chat, or its messages, on all devices of a login's account. Deleting what is deleted changes nothing.
    ///
    /// # Errors
    /// [`SendFailure`]: when it was not taken, or not in time.
    pub async fn remove(
        &self,
        login: &LoginId,
        chat: &ChatId,
        what: Removal,
        last: Option<&LastMessage>,
    ) -> Result<(), SendFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(SendFailure::Offline)?;
        if !client.is_logged_in() {
            return Err(SendFailure::Offline);
        }
        let jid: Jid = chat.as_str().parse().map_err(|_| SendFailure::Impossible)?;
        let range = last.map(|last| range_up_to(chat, last));
        let actions = client.chat_actions();
        let removing = async {
            match what {
                Removal::Chat => actions.delete_chat(&jid, true, range).await,
                Removal::Messages => actions.clear_chat(&jid, false, false, range).await,
            }
        };
        match tokio::time::timeout(ANSWER_TIME, removing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "WhatsApp did not take a deletion");
                Err(SendFailure::Unknown("the app state was not changed"))
            }
            Err(_) => Err(SendFailure::Unknown("no answer in time")),
        }
    }
}

fn range_up_to(chat: &ChatId, last: &LastMessage) -> SyncActionMessageRange {
    let key = wa::MessageKey {
        remote_jid: Some(chat.as_str().to_owned()),
        from_me: Some(last.from_me),
        id: Some(last.id.as_str().to_owned()),
        participant: None,
    };
    message_range(last.ts, None, vec![(key, last.ts)])
}
