//! What people do with a chat for themselves, out of WhatsApp's app state and into it.
//!
//! The library tells each change once; how far it has read is written when what it told is stored (`applied.rs`), so that
//! what is told in the moment of a kill is told again. It is stored at once and shown later.

use super::intake::Intake;
use super::line::Line;
use super::outgoing::SendFailure;
use crate::ids::{ChatId, GhostId, LoginId};
use crate::store::chat_marks::{ChatMark, MarkKind};
use std::time::Duration;
use whatsapp_rust::Client;
use whatsapp_rust::prelude::{Event, Jid};

/// Pauses before the next tries to store a mark; then the line begins anew and is told it again.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(2)];
/// How long WhatsApp may take for a change of the app state.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// A mark out of an event: chat, kind, value, time; none in other events.
fn heard(event: &Event) -> Option<(&Jid, MarkKind, i64, i64)> {
    let flag = |flag: Option<bool>| i64::from(flag.unwrap_or(false));
    Some(match event {
        Event::MuteUpdate(update) => {
            let end = update.action.mute_end_timestamp.unwrap_or(-1);
            let value = match update.action.muted.unwrap_or(false) {
                true if end > 0 => end,
                true => -1,
                false => 0,
            };
            (&update.jid, MarkKind::Mute, value, update.timestamp.timestamp_millis())
        }
        Event::PinUpdate(update) => {
            (&update.jid, MarkKind::Pin, flag(update.action.pinned), update.timestamp.timestamp_millis())
        }
        Event::ArchiveUpdate(update) => {
            (&update.jid, MarkKind::Archive, flag(update.action.archived), update.timestamp.timestamp_millis())
        }
        Event::MarkChatAsReadUpdate(update) => {
            let unread = i64::from(!update.action.read.unwrap_or(true));
            (&update.jid, MarkKind::Unread, unread, update.timestamp.timestamp_millis())
        }
        _ => return None,
    })
}

impl Line {
    /// Stores a mark, or a star; tried for some seconds where the database does not answer.
    pub(super) async fn store_chat_mark(&self, event: &Event, intake: &Intake) {
        let Some(login) = self.login_id() else { return };
        fail::fail_point!("appstate.before_stored", |_| std::process::abort());
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            match intake.store_chat_mark(&login, event).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(login = %self.masked(), %error, "what was done with a chat was not stored yet")
                }
            }
        }
        tracing::error!(login = %self.masked(), "what was done with a chat could not be stored");
        intake.give_up();
    }
}

impl Intake {
    async fn store_chat_mark(&self, login: &LoginId, event: &Event) -> crate::store::Result<()> {
        if let Event::StarUpdate(star) = event {
            let chat = self.marked_chat(&star.chat_jid).await?;
            let starred = star.action.starred.unwrap_or(false);
            let ts = star.timestamp.timestamp_millis();
            return self.store.put_star(login, &chat, &star.message_id, starred, ts).await;
        }
        let Some((jid, kind, value, ts)) = heard(event) else { return Ok(()) };
        let chat = self.marked_chat(jid).await?;
        self.store.put_chat_mark(&ChatMark { login: login.clone(), chat, kind, value, ts }).await
    }

    pub(super) async fn marked_chat(&self, jid: &Jid) -> crate::store::Result<ChatId> {
        let bare = GhostId::new(jid.to_non_ad().to_string());
        let lid = match bare.as_str().ends_with("@s.whatsapp.net") {
            true => self.store.find_lid(&bare).await?,
            false => None,
        };
        Ok(ChatId::new(lid.unwrap_or(bare).as_str()))
    }
}

/// Sets a mark on WhatsApp. Setting what is set changes nothing.
///
/// # Errors
/// [`SendFailure`]: when it was not taken, or not in time.
pub(super) async fn set(client: &Client, chat: &ChatId, kind: MarkKind, value: i64) -> Result<(), SendFailure> {
    let jid: Jid = chat.as_str().parse().map_err(|_| SendFailure::Impossible)?;
    let actions = client.chat_actions();
    if kind == MarkKind::Mute && chat.is_channel() {
        // Channels keep it on the server and not in the app state.
        let set = client.newsletter();
        return match tokio::time::timeout(ANSWER_TIME, set.set_follower_mute(&jid, value != 0)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(SendFailure::Unknown("the channel was not muted")),
        };
    }
    let set = async {
        match (kind, value) {
            (MarkKind::Mute, 0) => actions.unmute_chat(&jid).await,
            (MarkKind::Mute, until) if until > 0 => actions.mute_chat_until(&jid, until).await,
            (MarkKind::Mute, _) => actions.mute_chat(&jid).await,
            (MarkKind::Pin, 0) => actions.unpin_chat(&jid).await,
            (MarkKind::Pin, _) => actions.pin_chat(&jid).await,
            (MarkKind::Archive, 0) => actions.unarchive_chat(&jid, None).await,
            (MarkKind::Archive, _) => actions.archive_chat(&jid, None).await,
            (MarkKind::Unread, value) => actions.mark_chat_as_read(&jid, value == 0, None).await,
        }
    };
    match tokio::time::timeout(ANSWER_TIME, set).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "WhatsApp did not take what was done with a chat");
            Err(SendFailure::Unknown("the app state was not changed"))
        }
        Err(_) => Err(SendFailure::Unknown("no answer in time")),
    }
}
