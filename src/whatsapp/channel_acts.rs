//! What people ask of channels: to look at one, to follow it or not, to read it anew. And what WhatsApp answers when it does not.

use super::Whatsapp;
use super::intake::Intake;
use crate::convert::channel::{Named, Told, told};
use crate::ids::{ChatId, LoginId};
use crate::store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;
use whatsapp_rust::IqError;
use whatsapp_rust::features::{MexError, MexRequest, NewsletterError};
use whatsapp_rust::prelude::{Client, Jid};
use whatsapp_rust::wacore::iq::mex_operations::fetch_newsletter;

/// How long one wish for live counts counts here; the server's lasts five minutes.
const LIVE: i64 = 240_000;

/// Why something about a channel did not work.
#[derive(Debug, thiserror::Error)]
pub enum ChannelFailure {
    /// The line is not connected.
    #[error("the line is not connected")]
    Offline,
    /// WhatsApp refused with this code; a retry does not help.
    #[error("WhatsApp refused with code {0}")]
    Refused(i32),
    /// WhatsApp did not answer, or not for now.
    #[error("WhatsApp did not tell: {0}")]
    Later(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks what a channel is.
pub(super) async fn ask(client: &Client, named: &Named) -> std::result::Result<Told, ChannelFailure> {
    let (key, kind) = match named {
        Named::Id(id) => (id, "JID"),
        Named::Code(code) => (code, "INVITE"),
    };
    let input =
        fetch_newsletter::Input { key: Some(key.clone()), r#type: Some(kind.into()), view_role: Some("GUEST".into()) };
    let variables = fetch_newsletter::Variables {
        input: Some(input),
        fetch_viewer_metadata: Some(true),
        fetch_full_image: Some(true),
        fetch_creation_time: Some(true),
        ..Default::default()
    };
    let question = MexRequest::new(fetch_newsletter::NAME, fetch_newsletter::DOC_ID, variables);
    let answer = client.mex().query(question).await.map_err(|error| read_mex(&error))?;
    told(&answer.data.unwrap_or_default()["xwa2_newsletter"]).ok_or(ChannelFailure::Refused(404))
}

/// What a failed request means.
pub(super) fn read_iq(error: &IqError) -> ChannelFailure {
    match error {
        IqError::NotConnected | IqError::Socket(_) | IqError::Disconnected(_) => ChannelFailure::Offline,
        IqError::ServerError { code: code @ 400..=499, .. } if *code != 429 => {
            ChannelFailure::Refused(i32::from(*code))
        }
        IqError::ParseError(refusal) => match code_in(&refusal.to_string()) {
            Some(code @ 400..=499) if code != 429 => ChannelFailure::Refused(code),
            _ => ChannelFailure::Later(refusal.to_string()),
        },
        other => ChannelFailure::Later(other.to_string()),
    }
}

/// The code of a refused question: the library tells it in words only (whatsapp-rust 0.7).
fn code_in(words: &str) -> Option<i32> {
    let digits = words.split_once("code=")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a refused question means.
pub(super) fn read_mex(error: &MexError) -> ChannelFailure {
    match error {
        MexError::Request(error) => read_iq(error),
        MexError::ExtensionError { code: code @ 400..=499, .. } if *code != 429 => ChannelFailure::Refused(*code),
        other => ChannelFailure::Later(other.to_string()),
    }
}

fn read_failure(error: &NewsletterError) -> ChannelFailure {
    match error {
        NewsletterError::Mex(error) => read_mex(error),
        NewsletterError::Iq(error) => read_iq(error),
        NewsletterError::Client(_) => ChannelFailure::Offline,
        other => ChannelFailure::Later(other.to_string()),
    }
}

/// When a login asked for live counts last, milliseconds since 1970.
#[derive(Default)]
pub(super) struct Watched(std::sync::Mutex<HashMap<(LoginId, ChatId), i64>>);

impl Watched {
    /// Whether it is time to ask (again); then it counts as asked.
    fn is_due(&self, login: &LoginId, chat: &ChatId, now_ms: i64) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        asked.retain(|_, at| now_ms - *at < LIVE);
        let is_due = !asked.contains_key(&(login.clone(), chat.clone()));
        if is_due {
            asked.insert((login.clone(), chat.clone()), now_ms);
        }
        is_due
    }

    /// Forgets that it was asked: it did not work.
    fn forget(&self, login: &LoginId, chat: &ChatId) {
        let mut asked = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        asked.remove(&(login.clone(), chat.clone()));
    }
}

impl Whatsapp {
    /// Looks at a channel without following it.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn find_channel(&self, login: &LoginId, named: &Named) -> std::result::Result<Told, ChannelFailure> {
        let (client, _) = self.channel_reader(login)?;
        ask(&client, named).await
    }

    /// Follows a channel and stores it with its newest posts. Following one that is followed changes nothing.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn follow_channel(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(404))?;
        client.newsletter().join(&jid).await.map_err(|error| read_failure(&error))?;
        fail::fail_point!("channels.after_follow", |_| super::channels::die_here());
        if !intake.read_channel(&client, login, chat).await? {
            return Err(ChannelFailure::Refused(403));
        }
        intake.catch_up(&client, login, chat).await
    }

    /// Stops following a channel.
    ///
    /// # Errors
    /// [`ChannelFailure`]; with [`ChannelFailure::Refused`] it is not followed, or it is the login's own.
    pub async fn unfollow_channel(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(404))?;
        client.newsletter().leave(&jid).await.map_err(|error| read_failure(&error))?;
        intake.read_channel(&client, login, chat).await.map(drop)
    }

    /// Reads a channel again: what it is, its newest posts and their counts.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn read_channel_again(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        if !intake.read_channel(&client, login, chat).await? {
            return Ok(());
        }
        intake.catch_up(&client, login, chat).await
    }

    /// Reads the newest posts of a channel and their counts again.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn read_posts(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        intake.catch_up(&client, login, chat).await
    }

    /// Somebody looks at a channel: its counts are read, and for some minutes the server tells how they change, as to a
    /// phone that shows it. Asking again in that time does nothing.
    ///
    /// # Errors
    /// [`ChannelFailure`].
    pub async fn look_at_channel(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<(), ChannelFailure> {
        let (client, intake) = self.channel_reader(login)?;
        let now = intake.store.clock().now_ms();
        if !self.shared.watched.is_due(login, chat, now) {
            return Ok(());
        }
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(404))?;
        if let Err(error) = client.newsletter().subscribe_live_updates(&jid).await {
            self.shared.watched.forget(login, chat);
            return Err(read_failure(&error));
        }
        intake.catch_up(&client, login, chat).await
    }

    fn channel_reader(&self, login: &LoginId) -> std::result::Result<(Arc<Client>, Arc<Intake>), ChannelFailure> {
        let line = self.line(login).ok_or(ChannelFailure::Offline)?;
        line.client().zip(line.intake()).ok_or(ChannelFailure::Offline)
    }
}
