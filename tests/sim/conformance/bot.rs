//! The whatsapp-rust client the scripts talk with: it does what a message asks
//! for, and says in words what it saw.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::{sync::mpsc, task::JoinHandle};
use whatsapp_rust::{
    media::{self, AudioOptions, ImageOptions},
    prelude::{Client, Event, EventHandler, EventInterest, InboundMessage, Jid, MessageExt as _},
    send::RevokeType,
    types::presence::ReceiptType,
    wacore::download::MediaType,
    waproto::whatsapp::{Message, MessageKey, message::protocol_message::Type},
};
use whatsapp_sim::Simulator;

use crate::client::TestClient;

/// Its account.
pub const NUMBER: &str = "15550003";

/// A running bot.
pub struct Bot {
    client: TestClient,
    work: JoinHandle<()>,
}

impl Bot {
    /// Ends it.
    pub async fn stop(self) {
        self.work.abort();
        self.client.stop().await;
    }
}

struct Sink(mpsc::UnboundedSender<Arc<Event>>);

impl EventHandler for Sink {
    fn handle_event(&self, event: Arc<Event>) {
        // The receiver goes first when the bot ends.
        drop(self.0.send(event));
    }
}

/// Links a whatsapp-rust client to [`NUMBER`] and lets it answer.
pub async fn start(sim: &Simulator) -> Bot {
    let (client, _) = TestClient::pair(sim, NUMBER).await;
    let (sink, mut events) = mpsc::unbounded_channel();
    client.client.subscribe(EventInterest::ALL, Arc::new(Sink(sink))).detach();
    let answering = client.client.clone();
    let work = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Err(error) = take(&answering, &event).await {
                println!("  the whatsapp-rust client: {error:#}");
            }
        }
    });
    Bot { client, work }
}

async fn take(client: &Arc<Client>, event: &Event) -> Result<()> {
    match event {
        Event::Messages(batch) => {
            for message in batch.messages.iter().filter(|m| !m.info.source.is_from_me) {
                answer(client, message).await?;
            }
        }
        Event::Receipt(receipt) if receipt.r#type == ReceiptType::Read && !receipt.source.is_from_me => {
            for id in &receipt.message_ids {
                // Reading what says that something was read has no end.
                if !SAYINGS.lock().await.contains(id) {
                    say(client, &receipt.source.chat, &format!("saw read {id}")).await?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// What the bot said about receipts.
static SAYINGS: tokio::sync::Mutex<Vec<String>> = tokio::sync::Mutex::const_new(Vec::new());

async fn say(client: &Arc<Client>, to: &Jid, text: &str) -> Result<()> {
    let sent = client.send_text(to.clone(), text).await?;
    SAYINGS.lock().await.push(sent.message_id);
    Ok(())
}

async fn answer(client: &Arc<Client>, inbound: &InboundMessage) -> Result<()> {
    let (message, info) = (&inbound.message, &inbound.info);
    let chat = &info.source.chat;
    if let Some(reaction) = message.reaction_message.as_option() {
        let (text, id) = (reaction.text.clone().unwrap_or_default(), key_id(reaction.key.as_option()));
        return say(client, chat, &format!("saw reaction {text} {id}")).await;
    }
    if let Some(protocol) = message.protocol_message.as_option() {
        let id = key_id(protocol.key.as_option());
        return match protocol.r#type {
            Some(Type::REVOKE) => say(client, chat, &format!("saw revoke {id}")).await,
            Some(Type::MESSAGE_EDIT) => {
                let text = protocol.edited_message.as_option().and_then(|m| m.text_content()).unwrap_or_default();
                say(client, chat, &format!("saw edit {text} {id}")).await
            }
            _ => Ok(()),
        };
    }
    if let Some(image) = message.image_message.as_option() {
        let hash = sha256(&client.download(image).await?);
        let caption = image.caption.clone().unwrap_or_default();
        return say(client, chat, &format!("saw image {hash} {caption}")).await;
    }
    if let Some(audio) = message.audio_message.as_option() {
        let hash = sha256(&client.download(audio).await?);
        let kind = if audio.ptt == Some(true) { "voice" } else { "audio" };
        return say(client, chat, &format!("saw {kind} {hash}")).await;
    }
    let poll = message.poll_creation_message_v3.as_option().or_else(|| message.poll_creation_message.as_option());
    if let Some(poll) = poll {
        let secret = message.message_context_info.as_option().and_then(|c| c.message_secret.clone());
        let last = poll.options.last().and_then(|o| o.option_name.clone()).context("a poll without options")?;
        let secret = secret.context("a poll without secret")?;
        client.polls().vote(chat.clone(), &info.id, &info.source.sender.to_non_ad(), &secret, &[last]).await?;
        return Ok(());
    }
    do_as_told(client, inbound, message.text_content().unwrap_or_default()).await
}

async fn do_as_told(client: &Arc<Client>, inbound: &InboundMessage, text: &str) -> Result<()> {
    let info = &inbound.info;
    let chat = &info.source.chat;
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "echo" => {
            // Not by `say`: the reading of this one is to be told.
            client.send_text(chat.clone(), rest).await?;
        }
        "read" => {
            let author = info.source.is_group.then_some(&info.source.sender);
            client.mark_as_read(chat, author, &[rest]).await?;
        }
        "react" => {
            let key = MessageKey {
                remote_jid: Some(chat.to_string()),
                from_me: Some(false),
                id: Some(info.id.clone()),
                participant: info.source.is_group.then(|| info.source.sender.to_non_ad_string()),
            };
            client.send_reaction(chat.clone(), key, rest).await?;
        }
        "edit" => {
            let new = Message { conversation: Some("second words".into()), ..Default::default() };
            client.edit_message(chat.clone(), rest, new).await?;
        }
        "revoke" => {
            client.revoke_message(chat.clone(), rest, RevokeType::Sender).await?;
        }
        "image" => {
            let content = vec![0xd8; 50_000];
            let upload = client.upload(content.clone(), MediaType::Image, Default::default()).await?;
            client.send_message(chat.clone(), media::image_message(upload, ImageOptions::default())).await?;
            say(client, chat, &format!("sent image {}", sha256(&content))).await?;
        }
        "voice" => {
            let content = vec![0x4f; 8_000];
            let upload = client.upload(content.clone(), MediaType::Audio, Default::default()).await?;
            let options = AudioOptions { ptt: Some(true), duration_seconds: Some(1), ..Default::default() };
            client.send_message(chat.clone(), media::audio_message(upload, options)).await?;
            say(client, chat, &format!("sent voice {}", sha256(&content))).await?;
        }
        "poll" => {
            client.polls().create(chat.clone(), "Tea?", &["yes".into(), "no".into()], 1).await?;
        }
        _ => {}
    }
    Ok(())
}

fn key_id(key: Option<&MessageKey>) -> String {
    key.and_then(|k| k.id.clone()).unwrap_or_default()
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect()
}
