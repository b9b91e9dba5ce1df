//! Every kind of message a phone can send, as a person chooses it in the app.
//!
//! A [`Kind`] is the same in Rust and in the admin API (`kind` names it). Its
//! message is built as JSON with the proto's field names; what is no field of
//! the proto cannot be built.

mod business;
mod changes;
mod context;
mod event;
mod media;
mod people;
mod polls;
mod samples;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use buffa::Message as _;
use rand::RngExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use wacore_binary::{Jid, Server};
use waproto::whatsapp::Message;

pub use business::{Choice, ListSection};
pub use context::Options;
pub use media::{Media, Upload, uploads};
pub use people::Card;
pub use polls::read_vote;

use super::{archive::Known, send};
use crate::{ids::Number, media::Sealed, proto_json, stanza::unix_now, state::State};

/// What a phone sends. Targets are ids of messages the phone has sent or seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the message in the app")]
pub enum Kind {
    /// A text.
    Text { text: String },
    /// A text with the preview of a link in it.
    Link { text: String, url: String, title: Option<String>, description: Option<String> },
    /// A picture; without `data` a small real one, as for all media.
    Image(Media),
    /// A video.
    Video(Media),
    /// A silent video that plays by itself.
    Gif(Media),
    /// A round video note.
    Ptv(Media),
    /// A song or the like.
    Audio(Media),
    /// A voice note.
    Voice(Media),
    /// A file; with a caption it is wrapped as phones do.
    Document(Media),
    /// A still sticker.
    Sticker(Media),
    /// A moving sticker.
    AnimatedSticker(Media),
    /// A vector sticker.
    LottieSticker(Media),
    /// An album and then its pictures and videos.
    Album { images: u32, videos: u32 },
    /// A place.
    Location { latitude: f64, longitude: f64, name: Option<String>, address: Option<String> },
    /// The start of a live location (`sequence` 0), or news of it.
    LiveLocation { latitude: f64, longitude: f64, caption: Option<String>, sequence: Option<i64> },
    /// An address book entry.
    Contact(Card),
    /// Several address book entries.
    Contacts { contacts: Vec<Card> },
    /// A poll in one of the proto's forms, 1 to 6 (3 if absent); `correct` makes
    /// it a quiz.
    Poll {
        name: String,
        options: Vec<String>,
        selectable: Option<u32>,
        version: Option<u8>,
        correct: Option<String>,
        end_time: Option<i64>,
    },
    /// A vote: all options chosen now; none takes the vote back.
    Vote { poll: String, options: Vec<String> },
    /// The result of a poll, as phones forward it.
    PollResult { name: String, votes: Vec<(String, i64)> },
    /// An option added to a poll by somebody.
    PollAddOption { poll: String, option: String },
    /// An own poll ends now: an edit of it with its time over, encrypted with its
    /// secret.
    PollEnd { poll: String },
    /// A reaction; an empty one takes it back.
    Reaction { target: String, emoji: String },
    /// New content for an own message: a text, or any message as JSON. A
    /// `secret` edit is encrypted with the message's secret.
    Edit {
        target: String,
        text: Option<String>,
        message: Option<Value>,
        #[serde(default)]
        secret: bool,
    },
    /// Deletes a message for everyone: an own one, or as a group's admin.
    Revoke { target: String },
    /// Sets how long messages of the chat stay, in seconds; 0 is for ever.
    EphemeralSetting { seconds: u32 },
    /// An event, times in seconds since 1970.
    Event {
        name: String,
        description: Option<String>,
        start: i64,
        end: Option<i64>,
        place: Option<String>,
        join_link: Option<String>,
        #[serde(default)]
        canceled: bool,
    },
    /// New content for an own event, encrypted with its secret.
    EventEdit { event: String, name: String, start: i64 },
    /// An answer to an event: `going`, `not_going` or `maybe`.
    Rsvp { event: String, response: String, guests: Option<i32> },
    /// An invitation to a group.
    GroupInvite { group: String, code: String, name: String, expiration: Option<i64>, caption: Option<String> },
    /// A business message with buttons.
    Buttons { text: String, footer: Option<String>, buttons: Vec<Choice> },
    /// A business message with a list to choose from.
    List { title: String, text: String, button: String, sections: Vec<ListSection> },
    /// A business message from a template.
    Template { text: String, footer: Option<String>, buttons: Vec<Choice> },
    /// A business message with native buttons.
    Interactive { text: String, footer: Option<String>, buttons: Vec<Choice> },
    /// A product of a shop.
    Product { title: String, price_1000: i64, currency: String },
    /// An order in a shop.
    Order { order: String, items: i32, total_1000: i64, currency: String },
    /// What was chosen from buttons, a list or a template (`of` names which).
    Chosen { target: String, of: String, choice: Choice },
    /// A request for money.
    PaymentRequest { amount_1000: u64, currency: String, note: String },
    /// Pins a message in the chat for everyone, or unpins it.
    Pin {
        target: String,
        seconds: Option<u32>,
        #[serde(default)]
        unpin: bool,
    },
    /// Keeps a disappearing message, or stops keeping it.
    Keep {
        target: String,
        #[serde(default)]
        undo: bool,
    },
    /// A comment on a message, encrypted with its secret.
    Comment { target: String, text: String },
    /// A reaction encrypted with the message's secret, as announcement groups
    /// have them.
    SecretReaction { target: String, emoji: String },
    /// Any message, sealed with the secret of another one that need not be own, as
    /// a dishonest phone could: `purpose` is the proto's `SecretEncType`.
    Sealed { target: String, purpose: String, message: Value },
    /// Any message: JSON with the proto's field names, or base64 of its
    /// encoding. It is sent as it is.
    Raw { message: Option<Value>, protobuf: Option<String> },
}

/// One message to send.
pub struct Draft<'a> {
    pub state: &'a mut State,
    pub from: Number,
    /// The chat as the sender addresses it.
    pub chat: Jid,
    /// The sender in the chat's address family.
    pub own: Jid,
}

impl<'a> Draft<'a> {
    /// A draft for a chat: a person's or group's JID. Errors when either side
    /// does not exist.
    pub fn new(state: &'a mut State, from: &Number, chat: &Jid) -> Result<Self> {
        let chat = match state.resolve(chat) {
            Some(person) => {
                let person = state.account(&person)?;
                person.jid(person.family(), 0)
            }
            None => chat.clone(),
        };
        let account = state.account(from)?;
        let family = match chat.server {
            Server::Pn | Server::Lid => chat.server,
            Server::Group => state.groups.get(&chat.user).map_or(account.family(), |group| group.family),
            _ => account.family(),
        };
        let own = account.jid(family, 0);
        Ok(Self { state, from: from.clone(), chat, own })
    }

    fn is_group(&self) -> bool {
        !matches!(self.chat.server, Server::Pn | Server::Lid)
    }

    /// A message of the chat that this one is about.
    fn target(&self, id: &str) -> Result<Known> {
        let phone = &self.state.account(&self.from)?.phone;
        phone.known.get(id).cloned().with_context(|| format!("the phone of {} knows no message {id}", self.from))
    }

    /// Who wrote a message, in the chat's address family.
    pub fn author(&self, known: &Known) -> Result<Jid> {
        if known.from == self.from {
            return Ok(self.own.clone());
        }
        let account = self.state.account(&known.from)?;
        Ok(account.jid(self.own.server, 0))
    }

    /// The key of a message as others of the chat understand it.
    pub fn key(&self, known: &Known) -> Result<Value> {
        let own = known.from == self.from;
        let mut key = json!({ "remoteJid": self.chat.to_string(), "fromMe": own, "id": known.id });
        if self.is_group() && !own {
            key["participant"] = json!(self.author(known)?.to_string());
        }
        Ok(key)
    }
}

/// Builds the messages of a kind; an album is several. Each has its id.
pub fn build(draft: &Draft<'_>, kind: &Kind, options: &Options, files: &[Uploaded]) -> Result<Vec<(String, Message)>> {
    let id = options.id.clone().unwrap_or_else(send::Outbound::new_id);
    if let Kind::Album { images, videos } = kind {
        return media::album(draft, options, &id, *images, *videos, files);
    }
    if let Kind::Raw { message, protobuf } = kind {
        return Ok(vec![(id, raw(message.as_ref(), protobuf.as_deref())?)]);
    }
    let mut content = content(draft, kind, files)?;
    context::apply(draft, options, &mut content)?;
    Ok(vec![(id, proto_json::parse(&content)?)])
}

fn content(draft: &Draft<'_>, kind: &Kind, files: &[Uploaded]) -> Result<Value> {
    Ok(match kind {
        Kind::Text { text } => with_secret(json!({ "conversation": text })),
        Kind::Link { text, url, title, description } => {
            with_secret(media::link(text, url, title.as_deref(), description.as_deref(), files)?)
        }
        Kind::Location { latitude, longitude, name, address } => with_secret(json!({ "locationMessage": {
            "degreesLatitude": latitude, "degreesLongitude": longitude, "name": name, "address": address,
            "jpegThumbnail": base64(&samples::thumbnail()?),
        } })),
        Kind::LiveLocation { latitude, longitude, caption, sequence } => with_secret(json!({ "liveLocationMessage": {
            "degreesLatitude": latitude, "degreesLongitude": longitude, "caption": caption,
            "sequenceNumber": sequence.unwrap_or(0), "accuracyInMeters": 10, "timeOffset": 0,
        } })),
        Kind::Contact(card) => with_secret(json!({ "contactMessage": card.message() })),
        Kind::Contacts { contacts } => with_secret(people::contacts(contacts)),
        Kind::GroupInvite { group, code, name, expiration, caption } => with_secret(json!({ "groupInviteMessage": {
            "groupJid": group, "inviteCode": code, "groupName": name, "caption": caption,
            "inviteExpiration": expiration.unwrap_or(unix_now() as i64 + 3 * 86_400),
        } })),
        Kind::Poll { .. }
        | Kind::Vote { .. }
        | Kind::PollResult { .. }
        | Kind::PollAddOption { .. }
        | Kind::PollEnd { .. } => polls::content(draft, kind)?,
        Kind::Event { .. } | Kind::EventEdit { .. } | Kind::Rsvp { .. } => event::content(draft, kind)?,
        Kind::Buttons { .. }
        | Kind::List { .. }
        | Kind::Template { .. }
        | Kind::Interactive { .. }
        | Kind::Product { .. }
        | Kind::Order { .. }
        | Kind::Chosen { .. }
        | Kind::PaymentRequest { .. } => with_secret(business::content(draft, kind)?),
        Kind::Reaction { .. }
        | Kind::SecretReaction { .. }
        | Kind::Edit { .. }
        | Kind::Revoke { .. }
        | Kind::EphemeralSetting { .. }
        | Kind::Pin { .. }
        | Kind::Keep { .. }
        | Kind::Comment { .. }
        | Kind::Sealed { .. } => changes::content(draft, kind)?,
        _ => with_secret(media::content(kind, files)?),
    })
}

fn raw(message: Option<&Value>, protobuf: Option<&str>) -> Result<Message> {
    if let Some(message) = message {
        return proto_json::parse(message);
    }
    let encoded = protobuf.context("a raw message is given as `message` or as `protobuf`")?;
    let encoded = BASE64_STANDARD.decode(encoded).context("base64")?;
    Message::decode_from_slice(&encoded).context("message")
}

/// A file of a message, on the media store.
pub struct Uploaded {
    pub sealed: Sealed,
    pub path: String,
    pub url: String,
}

/// Bytes as JSON has them.
pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Most messages carry a secret, with which answers to them are encrypted.
fn with_secret(mut content: Value) -> Value {
    let secret: [u8; 32] = rand::rng().random();
    content["messageContextInfo"]["messageSecret"] = json!(base64(&secret));
    content
}

/// The secret of a message that others answer to.
pub fn secret_of(known: &Known) -> Result<Vec<u8>> {
    let info = known.message.message_context_info.as_option();
    let secret = info.and_then(|info| info.message_secret.clone());
    let secret = secret.with_context(|| format!("message {} has no secret", known.id))?;
    ensure!(secret.len() == 32, "the secret of {} has {} bytes", known.id, secret.len());
    Ok(secret)
}
