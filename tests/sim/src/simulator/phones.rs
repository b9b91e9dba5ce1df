//! What phones send and see.

use std::time::Duration;

use anyhow::{Result, bail};
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp::Message;

use super::{Simulator, newsletters::publish, status::send_to_broadcast};
use crate::{
    groups,
    history::{PresenceItem, ReceiptItem},
    ids::{Address, Number},
    newsletters,
    phone::{self, Answering, InboxItem},
    presence,
    stanza::empty,
    state::State,
};

impl Simulator {
    /// Sends a text from the phone of `from`; `to` is a number or a JID.
    /// Returns the message id. Devices that are offline get it later.
    pub async fn send_text(&self, from: &str, to: &str, text: &str) -> Result<String> {
        let message = Message { conversation: Some(text.to_owned()), ..Default::default() };
        self.send_message(from, to, message).await
    }

    /// The bot with the number `from` says a piece of an answer, which is all of the answer so far: `piece` is `first`,
    /// `inner` or `last`, and `target` the id of the first.
    pub async fn send_bot_piece(
        &self,
        from: &str,
        to: &str,
        text: &str,
        piece: &str,
        target: Option<&str>,
    ) -> Result<String> {
        let message = Message { conversation: Some(text.to_owned()), ..Default::default() };
        let mut bot = NodeBuilder::new("bot").attr("edit", piece);
        if let Some(target) = target {
            bot = bot.attr("edit_target_id", target);
        }
        let from = Number::parse(from)?;
        self.shared.with(|state| {
            let to = state.resolve_text(to)?;
            phone::send_with(state, &from, &to, message, None, Some(bot.build()))
        })
    }

    /// Sends any message from the phone of `from`.
    pub async fn send_message(&self, from: &str, to: &str, message: Message) -> Result<String> {
        self.send(from, to, message, None)
    }

    /// Sends a message with a chosen id; the same id again is a resend.
    pub async fn send_message_with_id(&self, from: &str, to: &str, message: Message, id: &str) -> Result<String> {
        self.send(from, to, message, Some(id.to_owned()))
    }

    fn send(&self, from: &str, to: &str, message: Message, id: Option<String>) -> Result<String> {
        let from = Number::parse(from)?;
        self.shared.with(|state| send_to(state, &from, to, message, id))
    }

    /// What the phone of `number` shows, oldest first; nothing for an unknown
    /// number. Messages of its own companions are in it, what it sent itself
    /// is not.
    pub fn inbox(&self, number: &str) -> Vec<InboxItem> {
        self.read_phone(number, |phone| phone.inbox().to_vec())
    }

    /// The receipts the phone of `number` got, oldest first.
    pub fn receipts(&self, number: &str) -> Vec<ReceiptItem> {
        self.read_phone(number, |phone| phone.receipts.clone())
    }

    /// The presences and chat states the phone of `number` saw, oldest first.
    pub fn presences(&self, number: &str) -> Vec<PresenceItem> {
        self.read_phone(number, |phone| phone.presences.clone())
    }

    fn read_phone<T>(&self, number: &str, f: impl FnOnce(&phone::Phone) -> Vec<T>) -> Vec<T> {
        let Ok(number) = Number::parse(number) else {
            return Vec::new();
        };
        self.shared.look(|state| state.accounts.get(&number).map_or_else(Vec::new, |account| f(&account.phone)))
    }

    /// Waits for an inbox item that satisfies `predicate` and returns it.
    pub async fn wait_inbox(
        &self,
        number: &str,
        mut predicate: impl FnMut(&InboxItem) -> bool,
        timeout: Duration,
    ) -> Result<InboxItem> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("a message on the phone of {number}"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            let inbox = account.phone.inbox();
            inbox.iter().find(|item| predicate(item)).cloned()
        })
        .await
    }

    /// Waits until the phone of `number` shows at least `count` messages.
    pub async fn wait_inbox_len(&self, number: &str, count: usize, timeout: Duration) -> Result<Vec<InboxItem>> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{count} messages on the phone of {number}"), timeout, |state| {
            let inbox = state.accounts.get(&parsed)?.phone.inbox();
            (inbox.len() >= count).then(|| inbox.to_vec())
        })
        .await
    }

    /// Waits for a receipt at the phone of `number` and returns it.
    pub async fn wait_receipt(
        &self,
        number: &str,
        mut predicate: impl FnMut(&ReceiptItem) -> bool,
        timeout: Duration,
    ) -> Result<ReceiptItem> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("a receipt at the phone of {number}"), timeout, |state| {
            let receipts = &state.accounts.get(&parsed)?.phone.receipts;
            receipts.iter().find(|item| predicate(item)).cloned()
        })
        .await
    }

    /// The phone of `number` reads messages of `chat` (a number or a JID): read
    /// receipts go to their author and to the own companions.
    pub async fn mark_read(&self, number: &str, chat: &str, ids: &[String]) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            if let Some(group) = groups::named(chat) {
                return phone::mark_in(state, &number, &group, ids, "read");
            }
            let chat = state.resolve_text(chat)?;
            phone::mark_read(state, &number, &chat, ids)
        })
    }

    /// Whether the phone answers messages with delivery receipts.
    pub fn set_phone_silent(&self, number: &str, silent: bool) -> Result<()> {
        let number = Number::parse(number)?;
        let answering = if silent { Answering::Silent } else { Answering::Receipts };
        self.shared.with(|state| {
            state.account_mut(&number)?.phone.answering = answering;
            Ok(())
        })
    }

    /// Shows subscribers of `number` this presence: `available`, `unavailable`.
    pub fn set_presence(&self, number: &str, presence: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            presence::set_presence(state, &number, presence);
            Ok(())
        })
    }

    /// Shows `to` that the phone of `from` is `composing`, `recording` or has
    /// `paused`.
    pub fn send_chatstate(&self, from: &str, to: &str, shown: &str) -> Result<()> {
        let from = Number::parse(from)?;
        let shown = match shown {
            "composing" => empty("composing"),
            "recording" => NodeBuilder::new("composing").attr("media", "audio").build(),
            "paused" => empty("paused"),
            other => bail!("no chat state {other:?}"),
        };
        self.shared.with(|state| {
            if let Some(group) = groups::named(to) {
                groups::relay_chatstate(state, &Address::new(&from, 0), &group, &shown);
                return Ok(());
            }
            let to = state.resolve_text(to)?;
            presence::send_chatstate(state, &from, &to, &shown);
            Ok(())
        })
    }
}

/// Sends a message to whatever `to` names: a person, a group, a newsletter, a
/// broadcast list. Errors when there is no such thing.
pub fn send_to(state: &mut State, from: &Number, to: &str, message: Message, id: Option<String>) -> Result<String> {
    if let Some(group) = groups::named(to) {
        return phone::send_to_group(state, from, &group, message, id);
    }
    if let Some(newsletter) = newsletters::named(to) {
        return publish(state, from, &newsletter, &message, id);
    }
    if let Some(sent) = send_to_broadcast(state, from, to, &message, id.as_ref()) {
        return sent;
    }
    let to = state.resolve_text(to)?;
    phone::send(state, from, &to, message, id)
}
