//! A client that finds a file gone asks its phone to put it up again: a
//! `server-error` receipt, answered with a `mediaretry` notification.

use anyhow::{Context, Result, anyhow};
use buffa::Message as _;
use hkdf::Hkdf;
use rand::RngExt as _;
use sha2::Sha256;
use wacore_binary::{Node, Server, builder::NodeBuilder};
use wacore_libsignal::crypto::{aes_256_gcm_decrypt, aes_256_gcm_encrypt};
use waproto::whatsapp::{MediaRetryNotification, ServerErrorReceipt, media_retry_notification::ResultType};

use super::{find, seal::Located};
use crate::{
    ids::Address,
    proto_json,
    queue::Class,
    stanza::{attr_or_empty, child_bytes, error_node, leaf, unix_now},
    state::State,
};

/// Answers a `server-error` receipt as the phone of the asking companion: with
/// a new path; or that the phone does not have the file any more, does not know
/// the message, or cannot read the request.
pub fn answer_retry(state: &mut State, asker: &Address, node: &Node) {
    let id = attr_or_empty(node, "id");
    let found = state.account(&asker.number).ok().and_then(|account| account.phone.media_of(&id));
    let Some((located, held)) = found else {
        return notify(state, asker, node, &id, vec![error_node(2, "not-found")]);
    };
    let key = located.media_key.clone().unwrap_or_default();
    if let Err(error) = read_request(&key, &id, node) {
        tracing::info!("media retry for {id}: {error:#}");
        return notify(state, asker, node, &id, vec![error_node(3, "decryption-error")]);
    }
    let direct_path = if held { put_up_again(state, asker, &id, &located) } else { None };
    let result = if direct_path.is_some() { ResultType::SUCCESS } else { ResultType::NOT_FOUND };
    let notification =
        MediaRetryNotification { stanza_id: Some(id.clone()), direct_path, result: Some(result), ..Default::default() };
    match seal(&key, &id, &notification.encode_to_vec()) {
        Ok(encrypted) => notify(state, asker, node, &id, vec![encrypted]),
        Err(error) => tracing::error!("media retry for {id}: {error:#}"),
    }
}

/// Stores the file under a new path, which the phone's message names from then
/// on.
fn put_up_again(state: &mut State, asker: &Address, id: &str, located: &Located) -> Option<String> {
    let blob = state.media.held(&located.direct_path)?;
    let path = state.media.add(blob);
    let phone = &mut state.account_mut(&asker.number).ok()?.phone;
    phone.move_media(id, &path);
    Some(path)
}

fn read_request(key: &[u8], id: &str, node: &Node) -> Result<()> {
    let encrypt = node.get_optional_child("encrypt").context("nothing is encrypted")?;
    let sealed = child_bytes(encrypt, "enc_p").context("no enc_p")?;
    let iv: [u8; 12] = child_bytes(encrypt, "enc_iv").context("no enc_iv")?.try_into().map_err(|_| anyhow!("iv"))?;
    let mut plain = Vec::new();
    aes_256_gcm_decrypt(&retry_key(key)?, &iv, id.as_bytes(), &sealed, &mut plain)
        .map_err(|error| anyhow!("{error:?}"))?;
    let receipt = ServerErrorReceipt::decode_from_slice(&plain)?;
    anyhow::ensure!(receipt.stanza_id.as_deref() == Some(id), "it is about {:?}", receipt.stanza_id);
    Ok(())
}

fn seal(key: &[u8], id: &str, plain: &[u8]) -> Result<Node> {
    let iv: [u8; 12] = rand::rng().random();
    let mut sealed = Vec::new();
    aes_256_gcm_encrypt(&retry_key(key)?, &iv, id.as_bytes(), plain, &mut sealed)
        .map_err(|error| anyhow!("{error:?}"))?;
    Ok(NodeBuilder::new("encrypt").children([leaf("enc_p", sealed), leaf("enc_iv", iv)]).build())
}

fn retry_key(media_key: &[u8]) -> Result<[u8; 32]> {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, media_key)
        .expand(b"WhatsApp Media Retry Notification", &mut key)
        .map_err(|error| anyhow!("{error}"))?;
    Ok(key)
}

/// The answer goes to the device that asked, under the id of the message.
fn notify(state: &mut State, asker: &Address, request: &Node, id: &str, mut content: Vec<Node>) {
    let Ok(account) = state.account(&asker.number) else {
        return;
    };
    content.extend(request.get_optional_child("rmr").cloned());
    let notification = NodeBuilder::new("notification")
        .attr("type", "mediaretry")
        .attr("from", account.jid(Server::Pn, 0))
        .attr("id", id)
        .attr("t", unix_now())
        .children(content)
        .build();
    state.deliver(asker, Class::Notification, None, notification);
}

/// The file of a message, for a phone that keeps the message.
pub fn located(message: &waproto::whatsapp::Message) -> Option<Located> {
    find(&proto_json::show(message))
}
