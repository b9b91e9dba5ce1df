//! A community's group for announcements, where most people may only react and comment: there both go sealed with the
//! secret of what they are about, as WhatsApp's clients do it; in clear they would be refused.

use super::Bridge;
use super::from_matrix::never;
use super::outgoing::Saying;
use super::people::Halt;
use crate::convert::group::GroupFacts;
use crate::ids::WaMessageId;
use crate::store::portals::{Portal, PortalKind};
use whatsapp_rust::prelude::{MessageField, wa};
use whatsapp_rust::wacore::secret_enc_addon::{AddonContext, ModificationType, encrypt_addon};
use whatsapp_rust::waproto::codec::{message_to_vec, reaction_message_to_vec};

impl Bridge {
    /// Whether a chat is its community's group for announcements.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn is_for_announcements(&self, portal: &Portal) -> Result<bool, Halt> {
        if portal.kind != PortalKind::Group {
            return Ok(false);
        }
        let group = self.store().find_group(portal.id).await?;
        let facts = group.and_then(|group| GroupFacts::from_bytes(&group.facts));
        Ok(facts.is_some_and(|facts| facts.is_announcement_group))
    }

    /// A message as its chat takes it: sealed, where it is a reaction or a comment on an announcement.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub(super) async fn as_the_chat_takes_it(
        &self,
        saying: &Saying<'_>,
        message: wa::Message,
    ) -> Result<wa::Message, Halt> {
        let (key, plain, kind) = if let Some(reaction) = message.reaction_message.as_option() {
            let alone = wa::message::ReactionMessage { key: MessageField::none(), ..reaction.clone() };
            (reaction.key.clone(), reaction_message_to_vec(&alone), ModificationType::EncReaction)
        } else if let Some(comment) = message.comment_message.as_option() {
            let said = comment.message.as_option().map(message_to_vec).unwrap_or_default();
            (comment.target_message_key.clone(), said, ModificationType::EncComment)
        } else {
            return Ok(message);
        };
        if !self.is_for_announcements(saying.portal).await? {
            return Ok(message);
        }
        let no_key = || {
            never(
                "The key of that announcement is not known here, so this was not sent. Please do it in WhatsApp.",
                "an announcement has no secret",
            )
        };
        let mut key = key.into_option().ok_or_else(no_key)?;
        let id = key.id.clone().unwrap_or_default();
        let target = self.store().find_message_by_wa_id(saying.portal.id, &WaMessageId::new(id.as_str())).await?;
        let target = target.ok_or_else(no_key)?;
        let secret = self.secret_of(&target).await?.ok_or_else(no_key)?;
        let pairs = self.pairs_of(&saying.login.id, &target.key.sender, &saying.login.own).await?;
        let pair = pairs.into_iter().next().ok_or_else(no_key)?;
        let context = AddonContext {
            stanza_id: &id,
            parent_msg_original_sender: &pair.author,
            modification_sender: &pair.actor,
            modification_type: kind,
        };
        let (payload, iv) = encrypt_addon(&plain, &secret, &context).map_err(|_| no_key())?;
        // Who reads it takes the author from here.
        key.participant.get_or_insert(pair.author);
        let (key, payload, iv) = (MessageField::some(key), Some(payload), Some(iv.to_vec()));
        if kind == ModificationType::EncReaction {
            let sealed = wa::message::EncReactionMessage { target_message_key: key, enc_payload: payload, enc_iv: iv };
            return Ok(wa::Message { enc_reaction_message: MessageField::some(sealed), ..Default::default() });
        }
        let sealed = wa::message::EncCommentMessage { target_message_key: key, enc_payload: payload, enc_iv: iv };
        Ok(wa::Message {
            enc_comment_message: MessageField::some(sealed),
            message_context_info: message.message_context_info,
            ..Default::default()
        })
    }
}
