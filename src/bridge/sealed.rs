//! What is sealed with the secret of another message: votes, answers to events, edits, reactions and comments.
//!
//! The seal binds the target, its author and who did it, each person by one of their two ids; which one depends on what
//! the sender's phone knew of the chat, so all pairs are tried, those of one kind first. Who did it is who sent the
//! message, so nobody votes as somebody else. What can't be opened is dropped: it is forged, or of another chat.
//!
//! The library could open some of this by itself, but forgets what it was about; it is told to leave it to us.

use super::Bridge;
use super::deliver::Delivery;
use super::effects::Scene;
use super::people::{Facts, Halt};
use crate::convert::incoming::{Context, Effect, Sealed, SealedKind, rsvp};
use crate::convert::{MessageName, quote};
use crate::ids::{GhostId, LoginId};
use crate::store::StoreError;
use crate::store::messages::Message;
use crate::store::polls::Poll;
use whatsapp_rust::prelude::{MessageField, wa};
use whatsapp_rust::wacore::poll::{PollVoteCiphertext, decrypt_poll_vote_with_secret};
use whatsapp_rust::wacore::secret_enc_addon::{AddonContext, ModificationType, decrypt_addon};
use whatsapp_rust::waproto::codec::{event_response_message_decode, message_decode, reaction_message_decode};

/// The two people a seal binds, by one of their ids each.
pub(super) struct Pair {
    /// Who wrote the message whose secret it is.
    pub author: String,
    /// Who sealed.
    pub actor: String,
}

impl Bridge {
    /// A person's ids, the canonical one first.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn ids_of(&self, login: &LoginId, person: &GhostId) -> Result<Vec<GhostId>, StoreError> {
        let mut ids = vec![person.clone()];
        if let Some(login) = self.store().find_login(login).await?.filter(|login| login.own == *person) {
            ids.push(login.pn);
        }
        ids.extend(self.store().find_pn(person).await?);
        ids.extend(self.store().find_lid(person).await?);
        let mut known = Vec::new();
        for id in ids {
            if !known.contains(&id) {
                known.push(id);
            }
        }
        Ok(known)
    }

    /// Under which names a seal may have been made, the likelier ones first.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn pairs_of(
        &self,
        login: &LoginId,
        author: &GhostId,
        actor: &GhostId,
    ) -> Result<Vec<Pair>, StoreError> {
        let (authors, actors) = (self.ids_of(login, author).await?, self.ids_of(login, actor).await?);
        let mut pairs: Vec<(&GhostId, &GhostId)> =
            authors.iter().flat_map(|author| actors.iter().map(move |actor| (author, actor))).collect();
        pairs.sort_by_key(|(author, actor)| server_of(author) != server_of(actor));
        let pair = |(author, actor): (&GhostId, &GhostId)| Pair {
            author: author.as_str().to_owned(),
            actor: actor.as_str().to_owned(),
        };
        Ok(pairs.into_iter().map(pair).collect())
    }

    /// The choice inside a vote; none when it does not open.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn open_vote(
        &self,
        scene: &Scene<'_>,
        poll: &Poll,
        sealed: &Sealed,
    ) -> Result<Option<Vec<Vec<u8>>>, Halt> {
        let Some(secret) = self.store().poll_secret(self.sealer(), poll).await? else { return Ok(None) };
        let pairs = self.pairs_of(scene.login, &poll.author, scene.sender).await?;
        let cipher = PollVoteCiphertext { enc_payload: &sealed.payload, enc_iv: &sealed.iv };
        let open = |pair: Pair| {
            decrypt_poll_vote_with_secret(cipher, &secret, poll.wa_id.as_str(), &pair.author, &pair.actor).ok()
        };
        Ok(pairs.into_iter().find_map(open))
    }

    /// The plain bytes of something sealed; none when it does not open.
    async fn open_sealed(
        &self,
        scene: &Scene<'_>,
        target: &Message,
        kind: ModificationType,
        sealed: &Sealed,
    ) -> Result<Option<Vec<u8>>, Halt> {
        let Some(secret) = self.secret_of(target).await? else { return Ok(None) };
        let pairs = self.pairs_of(scene.login, &target.key.sender, scene.sender).await?;
        let open = |pair: Pair| {
            let context = AddonContext {
                stanza_id: target.key.wa_id.as_str(),
                parent_msg_original_sender: &pair.author,
                modification_sender: &pair.actor,
                modification_type: kind,
            };
            decrypt_addon(&sealed.payload, &sealed.iv, &secret, &context).ok()
        };
        Ok(pairs.into_iter().find_map(open))
    }

    /// A message's secret: a poll's is kept with the poll, any other's with what a reply quotes of it.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn secret_of(&self, target: &Message) -> Result<Option<Vec<u8>>, Halt> {
        let key = &target.key;
        if let Some(poll) =
            self.store().find_poll(key.portal, &key.wa_id).await?.filter(|poll| poll.author == key.sender)
        {
            return Ok(self.store().poll_secret(self.sealer(), &poll).await?);
        }
        let parts = self.store().parts_of(key.portal, &key.sender, &key.wa_id).await?;
        Ok(parts.into_iter().next().and_then(|first| first.quote).as_deref().and_then(quote::secret))
    }

    /// Does what is inside of something sealed, once its target is here.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn unseal(
        &self,
        scene: &Scene<'_>,
        kind: SealedKind,
        name: &MessageName,
        sealed: &Sealed,
    ) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let plain = self.open_sealed(scene, &target, modification(kind), sealed).await?;
        let Some(inside) = plain.and_then(|plain| inside(kind, name, &plain)) else {
            return self.drop_row(scene, "something sealed can't be opened").await;
        };
        if kind == SealedKind::PollEdit {
            return self.edit_poll(scene, &target, &inside).await;
        }
        let effect = self.read_message(scene, &inside).await?;
        let fits = match kind {
            SealedKind::Reaction => matches!(effect, Effect::React { .. }),
            SealedKind::Comment => matches!(effect, Effect::Say(_)),
            SealedKind::MessageEdit | SealedKind::EventEdit => matches!(effect, Effect::Edit { .. }),
            SealedKind::PollOption => matches!(effect, Effect::PollOption { .. }),
            SealedKind::PollEdit => false,
        };
        if !fits {
            return self.drop_row(scene, "something else is inside of a seal than it says").await;
        }
        Box::pin(self.apply(scene, &inside, effect)).await
    }

    /// Tells what somebody answered to an event's invitation.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn tell_rsvp(&self, scene: &Scene<'_>, name: &MessageName, sealed: &Sealed) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let plain = self.open_sealed(scene, &target, ModificationType::EventResponse, sealed).await?;
        let Some(answer) = plain.and_then(|plain| event_response_message_decode(&plain).ok()) else {
            return self.drop_row(scene, "an answer to an event can't be opened").await;
        };
        let Ok(sender) = scene.sender.as_str().parse() else {
            return self.drop_row(scene, "an arrival's sender is no id").await;
        };
        let part = {
            let context = Context {
                people: &|_| None,
                known: &|_| true,
                sender: &sender,
                from_me: scene.arrival.from_me,
                command_prefix: &self.config().bridge.command_prefix,
            };
            rsvp(&answer, name, &context)
        };
        let part = self.with_relations(scene, part).await?;
        let facts = Facts { push_name: &scene.arrival.push_name, business_name: None };
        let user = self.author(scene, facts).await?;
        let known = self.ready_room(scene.portal, scene.login).await?;
        let delivery = Delivery {
            key: scene.key(0),
            kind: "notice",
            part: &part,
            ghost: scene.sender,
            user: &user,
            login: scene.login,
            ts: scene.arrival.ts_ms,
            quote: None,
            reaction: None,
            settles: Some(scene.row.seq),
        };
        self.deliver(&known, &delivery).await
    }

    /// Settles a row that may do nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn drop_row(&self, scene: &Scene<'_>, why: &'static str) -> Result<(), Halt> {
        tracing::debug!(row = scene.row.seq, why, "a row is dropped");
        Ok(self.store().settle_row(scene.row.seq).await?)
    }
}

fn server_of(id: &GhostId) -> &str {
    id.as_str().split_once('@').map_or("", |(_, server)| server)
}

fn modification(kind: SealedKind) -> ModificationType {
    match kind {
        SealedKind::Reaction => ModificationType::EncReaction,
        SealedKind::Comment => ModificationType::EncComment,
        SealedKind::MessageEdit => ModificationType::MessageEdit,
        SealedKind::EventEdit => ModificationType::EventEdit,
        SealedKind::PollEdit => ModificationType::PollEdit,
        SealedKind::PollOption => ModificationType::PollAddOption,
    }
}

/// The message inside, made one about the target that the envelope names: the seal holds for that one only.
fn inside(kind: SealedKind, name: &MessageName, plain: &[u8]) -> Option<wa::Message> {
    let key = || MessageField::some(name.to_key());
    if kind == SealedKind::Reaction {
        let mut reaction = reaction_message_decode(plain).ok()?;
        reaction.key = key();
        return Some(wa::Message { reaction_message: MessageField::some(reaction), ..Default::default() });
    }
    let mut message = message_decode(plain).ok()?;
    match kind {
        SealedKind::Comment => {
            let comment =
                wa::message::CommentMessage { message: MessageField::some(message), target_message_key: key() };
            Some(wa::Message { comment_message: MessageField::some(comment), ..Default::default() })
        }
        SealedKind::MessageEdit => {
            message.protocol_message.as_option_mut()?.key = key();
            Some(message)
        }
        SealedKind::EventEdit => {
            let edit = wa::message::ProtocolMessage {
                key: key(),
                r#type: Some(wa::message::protocol_message::Type::MESSAGE_EDIT),
                edited_message: MessageField::some(message),
                ..Default::default()
            };
            Some(wa::Message { protocol_message: MessageField::some(edit), ..Default::default() })
        }
        SealedKind::PollOption => {
            message.poll_add_option_message.as_option_mut()?.poll_creation_message_key = key();
            Some(message)
        }
        SealedKind::PollEdit | SealedKind::Reaction => Some(message),
    }
}
