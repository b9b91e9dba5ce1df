//! What the bridge says through a login: messages, marks, signs of life.

use super::Whatsapp;
use super::outgoing::{self, SendFailure};
use super::{channel_sends, chat_marks};
use crate::ids::{ChatId, GhostId, LoginId, WaMessageId};
use crate::store::status::Audience;
use std::time::Duration;
use whatsapp_rust::anyhow;
use whatsapp_rust::prelude::wa;

impl Whatsapp {
    /// Sends a message through a login under a fixed id and waits for the server's word.
    ///
    /// # Errors
    /// [`SendFailure`].
    pub async fn send(
        &self,
        login: &LoginId,
        chat: &ChatId,
        id: &WaMessageId,
        message: wa::Message,
    ) -> std::result::Result<(), SendFailure> {
        let line = self.line(login).ok_or(SendFailure::Offline)?;
        let (client, barrier) = line.client_behind_barrier().ok_or(SendFailure::Offline)?;
        outgoing::send(&client, &line.acks, &barrier, chat, id, message, None).await
    }

    /// Posts a status, or deletes one, for an audience; as [`Whatsapp::send`].
    ///
    /// # Errors
    /// [`SendFailure`].
    pub async fn send_status(
        &self,
        login: &LoginId,
        id: &WaMessageId,
        message: wa::Message,
        audience: &Audience,
    ) -> std::result::Result<(), SendFailure> {
        let line = self.line(login).ok_or(SendFailure::Offline)?;
        let (client, barrier) = line.client_behind_barrier().ok_or(SendFailure::Offline)?;
        let chat = ChatId::new("status@broadcast");
        outgoing::send(&client, &line.acks, &barrier, &chat, id, message, Some(audience)).await
    }

    /// As [`Whatsapp::send`], to a channel: a post, its edit or deletion, or a reaction to one. A post with a file names
    /// its handle.
    ///
    /// # Errors
    /// [`SendFailure`].
    pub async fn send_to_channel(
        &self,
        login: &LoginId,
        portal: &crate::store::portals::Portal,
        id: &WaMessageId,
        message: wa::Message,
        handle: Option<&str>,
    ) -> std::result::Result<(), SendFailure> {
        let line = self.line(login).ok_or(SendFailure::Offline)?;
        let (client, barrier) = line.client_behind_barrier().ok_or(SendFailure::Offline)?;
        let sending = channel_sends::Sending { client: &client, acks: &line.acks, barrier: &barrier };
        sending.to_channel(&self.shared.setup.store, portal, id, message, handle).await
    }

    /// Sets after how many seconds a group's messages disappear (0 = never). Setting what holds changes nothing.
    ///
    /// # Errors
    /// [`SendFailure`].
    pub async fn set_group_timer(
        &self,
        login: &LoginId,
        group: &ChatId,
        seconds: u32,
    ) -> std::result::Result<(), SendFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(SendFailure::Offline)?;
        outgoing::set_group_timer(&client, group, seconds).await
    }

    /// Reports messages of one author as read through a login.
    ///
    /// # Errors
    /// [`SendFailure::Offline`] when nothing could be written.
    pub async fn mark_read(
        &self,
        login: &LoginId,
        chat: &ChatId,
        author: Option<&GhostId>,
        ids: &[&str],
    ) -> std::result::Result<(), SendFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(SendFailure::Offline)?;
        outgoing::mark_read(&client, chat, author, ids).await
    }

    /// Mutes, pins, archives a chat or marks it as unread, for one login's person.
    ///
    /// # Errors
    /// [`SendFailure::Offline`] when nothing could be written; others when WhatsApp did not take it.
    pub async fn mark_chat(
        &self,
        login: &LoginId,
        chat: &ChatId,
        kind: crate::store::chat_marks::MarkKind,
        value: i64,
    ) -> std::result::Result<(), SendFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(SendFailure::Offline)?;
        chat_marks::set(&client, chat, kind, value).await
    }

    /// Asks a login's phone for a sign: for an older message than one that does not exist, in the account's chat with itself.
    /// Whatever it answers comes from it.
    ///
    /// # Errors
    /// When the login is offline, or nothing could be written.
    pub async fn ask_for_sign(&self, login: &LoginId) -> anyhow::Result<()> {
        let client = self.line(login).and_then(|line| line.client());
        let client = client.ok_or_else(|| anyhow::anyhow!("the line is offline"))?;
        let own = client.pn().ok_or_else(|| anyhow::anyhow!("the line is not linked"))?.to_non_ad();
        let id = crate::derive::hex(&rand::random::<[u8; 8]>()).to_uppercase();
        let now = self.shared.setup.store.clock().now_ms();
        let asked = client.fetch_message_history(&own, &id, true, now, 1);
        tokio::time::timeout(Duration::from_secs(60), asked).await??;
        Ok(())
    }
}
