//! Into a channel: posts, their changes, and reactions.
//!
//! Channels know edits, deletions, reactions and files as stanzas of their own and not as messages; what is built for other
//! chats is put into them here. All of it may be sent again: the server keeps one post per id, and one reaction per person.

use super::barrier::Barrier;
use super::outgoing::{Acks, SendFailure, await_word, send};
use crate::ids::WaMessageId;
use crate::store::Store;
use crate::store::portals::Portal;
use std::sync::Arc;
use whatsapp_rust::prelude::{Client, Jid, wa};
use whatsapp_rust::wacore::send::{media_type_from_message, stanza_type_from_message};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::codec::message_to_vec;

/// The way of a line to the server.
pub(super) struct Sending<'a> {
    /// The line's client.
    pub client: &'a Arc<Client>,
    /// Who waits for the server's word.
    pub acks: &'a Acks,
    /// Held while something is written.
    pub barrier: &'a Barrier,
}

impl Sending<'_> {
    /// Sends a message, an edit, a deletion or a reaction to a channel, and waits for the server's word. A post with a file
    /// names its handle.
    ///
    /// # Errors
    /// [`SendFailure`]; after [`SendFailure::Unknown`] send the same again under the same id.
    pub(super) async fn to_channel(
        &self,
        store: &Store,
        portal: &Portal,
        id: &WaMessageId,
        message: wa::Message,
        handle: Option<&str>,
    ) -> Result<(), SendFailure> {
        let jid: Jid = portal.chat.as_str().parse().map_err(|_| SendFailure::Impossible)?;
        if !self.client.is_logged_in() {
            return Err(SendFailure::Offline);
        }
        if let Some(reaction) = message.reaction_message.as_option() {
            let target = reaction.key.as_option().and_then(|key| key.id.clone()).ok_or(SendFailure::Impossible)?;
            let known = store.server_id_of(portal.id, &WaMessageId::new(target)).await;
            let server_id = known.map_err(|_| SendFailure::Unknown("the database failed"))?.filter(|id| *id > 0);
            let server_id = server_id.ok_or(SendFailure::Unknown("the post has no number yet"))?;
            return self.stanza(id, reaction_to(&jid, id, server_id, reaction)).await;
        }
        if let Some(handle) = handle {
            return self.stanza(id, post_with_file(&jid, id, &message, handle)).await;
        }
        match message.protocol_message.as_option() {
            Some(change) => self.change(&jid, change).await,
            None => send(self.client, self.acks, self.barrier, &portal.chat, id, message, None).await,
        }
    }

    /// Writes what the library has no words for.
    async fn stanza(&self, id: &WaMessageId, stanza: Node) -> Result<(), SendFailure> {
        let word = self.acks.wait_for(id);
        let sending = self.barrier.send();
        let sent = self.client.send_node(stanza).await;
        drop(sending);
        match sent {
            Ok(()) => await_word(self.acks, id, word).await,
            Err(_) => {
                self.acks.give_up(id);
                Err(SendFailure::Offline)
            }
        }
    }

    async fn change(&self, jid: &Jid, change: &wa::message::ProtocolMessage) -> Result<(), SendFailure> {
        use wa::message::protocol_message::Type;
        let target = change.key.as_option().and_then(|key| key.id.clone()).ok_or(SendFailure::Impossible)?;
        // The server acknowledges a change under the id of what it changes.
        let target = WaMessageId::new(target);
        let word = self.acks.wait_for(&target);
        let sending = self.barrier.send();
        let channels = self.client.newsletter();
        let sent = match (&change.r#type, change.edited_message.as_option()) {
            (Some(Type::MessageEdit), Some(content)) => {
                channels.edit_message(jid, target.as_str(), content.clone()).await
            }
            (Some(Type::Revoke), _) => channels.revoke_message(jid, target.as_str()).await,
            _ => {
                self.acks.give_up(&target);
                return Err(SendFailure::Impossible);
            }
        };
        drop(sending);
        match sent {
            Ok(()) => await_word(self.acks, &target, word).await,
            Err(_) => {
                self.acks.give_up(&target);
                Err(SendFailure::Offline)
            }
        }
    }
}

fn reaction_to(jid: &Jid, id: &WaMessageId, server_id: i64, reaction: &wa::message::ReactionMessage) -> Node {
    NodeBuilder::new("message")
        .attr("to", jid)
        .attr("type", "reaction")
        .attr("id", id.as_str())
        .attr("server_id", server_id)
        .children([NodeBuilder::new("reaction").attr("code", reaction.text.as_deref().unwrap_or_default()).build()])
        .build()
}

/// The library's own stanza of a post has no place for a handle.
fn post_with_file(jid: &Jid, id: &WaMessageId, message: &wa::Message, handle: &str) -> Node {
    let mut content = NodeBuilder::new("plaintext");
    if let Some(kind) = media_type_from_message(message) {
        content = content.attr("mediatype", kind);
    }
    NodeBuilder::new("message")
        .attr("to", jid)
        .attr("type", stanza_type_from_message(message))
        .attr("id", id.as_str())
        .attr("media_id", handle)
        .children([content.bytes(message_to_vec(message)).build()])
        .build()
}
