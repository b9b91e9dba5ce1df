//! Into a channel: posts, their changes, and reactions.
//!
//! Channels know edits, deletions and reactions as stanzas of their own and not as messages; what is built for other chats
//! is put into them here. All of it may be sent again: the server keeps one post per id, and one reaction per person.

use super::barrier::Barrier;
use super::outgoing::{Acks, SendFailure, await_word, send};
use crate::ids::{ChatId, PortalId, WaMessageId};
use crate::store::Store;
use std::sync::Arc;
use whatsapp_rust::prelude::{Client, Jid, wa};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

/// Sends a message, an edit, a deletion or a reaction to a channel, and waits for the server's word.
///
/// # Errors
/// [`SendFailure`]; after [`SendFailure::Unknown`] send the same again under the same id.
pub(super) async fn send_to_channel(
    client: &Arc<Client>,
    acks: &Acks,
    barrier: &Barrier,
    (store, portal): (&Store, PortalId),
    chat: &ChatId,
    id: &WaMessageId,
    message: wa::Message,
) -> Result<(), SendFailure> {
    use wa::message::protocol_message::Type;
    let jid: Jid = chat.as_str().parse().map_err(|_| SendFailure::Impossible)?;
    if !client.is_logged_in() {
        return Err(SendFailure::Offline);
    }
    if let Some(reaction) = message.reaction_message.as_option() {
        let target = reaction.key.as_option().and_then(|key| key.id.clone()).ok_or(SendFailure::Impossible)?;
        let known = store.server_id_of(portal, &WaMessageId::new(target)).await;
        let server_id = known.map_err(|_| SendFailure::Unknown("the database failed"))?.filter(|id| *id > 0);
        let server_id = server_id.ok_or(SendFailure::Unknown("the post has no number yet"))?;
        let stanza = NodeBuilder::new("message")
            .attr("to", &jid)
            .attr("type", "reaction")
            .attr("id", id.as_str())
            .attr("server_id", server_id)
            .children([NodeBuilder::new("reaction").attr("code", reaction.text.as_deref().unwrap_or_default()).build()])
            .build();
        let word = acks.wait_for(id);
        let sending = barrier.send();
        let sent = client.send_node(stanza).await;
        drop(sending);
        return match sent {
            Ok(()) => await_word(acks, id, word).await,
            Err(_) => {
                acks.give_up(id);
                Err(SendFailure::Offline)
            }
        };
    }
    let Some(change) = message.protocol_message.as_option() else {
        return send(client, acks, barrier, chat, id, message, None).await;
    };
    let target = change.key.as_option().and_then(|key| key.id.clone()).ok_or(SendFailure::Impossible)?;
    // The server acknowledges a change under the id of what it changes.
    let target = WaMessageId::new(target);
    let word = acks.wait_for(&target);
    let sending = barrier.send();
    let sent = match (&change.r#type, change.edited_message.as_option()) {
        (Some(Type::MessageEdit), Some(content)) => {
            client.newsletter().edit_message(&jid, target.as_str(), content.clone()).await
        }
        (Some(Type::Revoke), _) => client.newsletter().revoke_message(&jid, target.as_str()).await,
        _ => {
            acks.give_up(&target);
            return Err(SendFailure::Impossible);
        }
    };
    drop(sending);
    match sent {
        Ok(()) => await_word(acks, &target, word).await,
        Err(_) => {
            acks.give_up(&target);
            Err(SendFailure::Offline)
        }
    }
}
