//! What is encrypted with the secret of another message: votes, answers to
//! events, edits, comments, reactions of announcement groups.

use anyhow::{Context, Result, bail};
use buffa::Message as _;
use serde_json::{Value, json};
use wacore::secret_enc_addon::{AddonContext, ModificationType, decrypt_addon, encrypt_addon};
use wacore_binary::Server;
use waproto::whatsapp::{Message, MessageKey, message::secret_encrypted_message::SecretEncType};

use super::{
    archive::Known,
    kinds::{Draft, base64, read_vote, secret_of},
};
use crate::{ids::Number, proto_json, state::State};

/// Encrypts an answer to a message: the payload and its IV. Both sides are
/// named in the chat's address family.
pub fn seal(
    draft: &Draft<'_>,
    target: &Known,
    kind: ModificationType,
    secret: &[u8],
    plain: &[u8],
) -> Result<(Vec<u8>, Vec<u8>)> {
    let context = AddonContext {
        stanza_id: &target.id,
        parent_msg_original_sender: &draft.author(target)?.to_string(),
        modification_sender: &draft.own.to_string(),
        modification_type: kind,
    };
    let (payload, iv) = encrypt_addon(plain, secret, &context)?;
    Ok((payload, iv.to_vec()))
}

/// A `secretEncryptedMessage` about another message.
pub fn envelope(draft: &Draft<'_>, target: &Known, kind: ModificationType, name: &str, plain: &[u8]) -> Result<Value> {
    let (payload, iv) = seal(draft, target, kind, &secret_of(target)?, plain)?;
    Ok(json!({ "secretEncryptedMessage": {
        "targetMessageKey": draft.key(target)?, "secretEncType": name,
        "encPayload": base64(&payload), "encIv": base64(&iv),
    } }))
}

/// What the phone of `number` reads in an answer of `sender` that is encrypted
/// with another message's secret: `{"vote": [..]}`, `{"rsvp": ..}`,
/// `{"reaction": ..}`, `{"comment": ..}` or `{"edit": ..}`; `{"error": ..}` when
/// it cannot. Nothing for all other messages.
pub fn open(state: &State, number: &Number, sender: &Number, message: &Message) -> Option<Value> {
    let (kind, key, payload, iv) = sealed_part(message)?;
    let opened = try_open(state, number, sender, kind, key, payload, iv);
    Some(opened.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })))
}

/// The plain content of such an answer: what it is, and the message it is about.
pub fn open_plain(
    state: &State,
    number: &Number,
    sender: &Number,
    message: &Message,
) -> Option<(ModificationType, String, Vec<u8>)> {
    let (kind, key, payload, iv) = sealed_part(message)?;
    let (target, plain) = decrypt(state, number, sender, kind, key, payload, iv).ok()?;
    Some((kind, target.id.clone(), plain))
}

type Part<'a> = (ModificationType, Option<&'a MessageKey>, &'a [u8], &'a [u8]);

fn sealed_part(message: &Message) -> Option<Part<'_>> {
    if let Some(update) = message.poll_update_message.as_option() {
        let vote = update.vote.as_option()?;
        let key = update.poll_creation_message_key.as_option();
        return Some((ModificationType::PollVote, key, vote.enc_payload.as_deref()?, vote.enc_iv.as_deref()?));
    }
    if let Some(response) = message.enc_event_response_message.as_option() {
        let key = response.event_creation_message_key.as_option();
        let kind = ModificationType::EventResponse;
        return Some((kind, key, response.enc_payload.as_deref()?, response.enc_iv.as_deref()?));
    }
    if let Some(reaction) = message.enc_reaction_message.as_option() {
        let key = reaction.target_message_key.as_option();
        let kind = ModificationType::EncReaction;
        return Some((kind, key, reaction.enc_payload.as_deref()?, reaction.enc_iv.as_deref()?));
    }
    if let Some(comment) = message.enc_comment_message.as_option() {
        let key = comment.target_message_key.as_option();
        let kind = ModificationType::EncComment;
        return Some((kind, key, comment.enc_payload.as_deref()?, comment.enc_iv.as_deref()?));
    }
    let envelope = message.secret_encrypted_message.as_option()?;
    let kind = match envelope.secret_enc_type? {
        SecretEncType::EVENT_EDIT => ModificationType::EventEdit,
        SecretEncType::MESSAGE_EDIT => ModificationType::MessageEdit,
        SecretEncType::POLL_EDIT => ModificationType::PollEdit,
        SecretEncType::POLL_ADD_OPTION => ModificationType::PollAddOption,
        _ => return None,
    };
    let key = envelope.target_message_key.as_option();
    Some((kind, key, envelope.enc_payload.as_deref()?, envelope.enc_iv.as_deref()?))
}

fn try_open(
    state: &State,
    number: &Number,
    sender: &Number,
    kind: ModificationType,
    key: Option<&MessageKey>,
    payload: &[u8],
    iv: &[u8],
) -> Result<Value> {
    let (target, plain) = decrypt(state, number, sender, kind, key, payload, iv)?;
    show(kind, target, &plain)
}

fn decrypt<'a>(
    state: &'a State,
    number: &Number,
    sender: &Number,
    kind: ModificationType,
    key: Option<&MessageKey>,
    payload: &[u8],
    iv: &[u8],
) -> Result<(&'a Known, Vec<u8>)> {
    let id = key.and_then(|key| key.id.as_deref()).context("it names no message")?;
    let known = state.account(number)?.phone.known.get(id).with_context(|| format!("no message {id}"))?;
    let secret = secret_of(known)?;
    let (author, actor) = (state.account(&known.from)?, state.account(sender)?);
    // Which family the sender meant depends on what it knew of the chat.
    for families in
        [(Server::Lid, Server::Lid), (Server::Pn, Server::Pn), (Server::Lid, Server::Pn), (Server::Pn, Server::Lid)]
    {
        let context = AddonContext {
            stanza_id: id,
            parent_msg_original_sender: &author.jid(families.0, 0).to_string(),
            modification_sender: &actor.jid(families.1, 0).to_string(),
            modification_type: kind,
        };
        if let Ok(plain) = decrypt_addon(payload, iv, &secret, &context) {
            return Ok((known, plain));
        }
    }
    bail!("the secret of {id} does not open it")
}

fn show(kind: ModificationType, target: &Known, plain: &[u8]) -> Result<Value> {
    let message = || Message::decode_from_slice(plain).map(|message| proto_json::show(&message));
    Ok(match kind {
        ModificationType::PollVote => json!({ "vote": read_vote(target, plain)? }),
        ModificationType::EventResponse => {
            json!({ "rsvp": proto_json::to_json("Message.EventResponseMessage", plain)? })
        }
        ModificationType::EncReaction => json!({ "reaction": proto_json::to_json("Message.ReactionMessage", plain)? }),
        ModificationType::EncComment => json!({ "comment": message()? }),
        _ => json!({ "edit": message()? }),
    })
}
