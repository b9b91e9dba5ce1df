//! What a WhatsApp message wants done in its room, once it is read: new events, edits, deletions, reactions.
//!
//! A message names its target by an id of its own making, so the target is looked up in the *same* chat, and whether
//! the writer may do that to it is decided here: edits and deletions belong to the author.

use super::Bridge;
use super::budget::Cost;
use super::deliver::Delivery;
use super::people::{Facts, Halt};
use super::relay_votes::TALLY;
use crate::convert::arrival::WaArrival;
use crate::convert::incoming::{Context, Effect, Person, people_in, read};
use crate::convert::{MessageName, MxPart, edit, quote};
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use crate::matrix::error::MatrixError;
use crate::store::disappearing::GONE;
use crate::store::inbox::InboxRow;
use crate::store::messages::{Message, PartKey};
use crate::store::portals::PortalKind;
use crate::store::reactions::{Reaction, ReactionKey};
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::groups::GroupFailure;
use ruma::{EventId, OwnedUserId, RoomId, UserId};
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use whatsapp_rust::prelude::{Jid, wa};

/// People asked for by name for one message; who comes after them is shown by number.
const MAX_PEOPLE: usize = 50;

/// One message on its way into its room.
pub struct Scene<'a> {
    /// Its row.
    pub row: &'a InboxRow,
    /// Its chat.
    pub portal: PortalId,
    /// The login it came through.
    pub login: &'a LoginId,
    /// What came.
    pub arrival: &'a WaArrival,
    /// Its author.
    pub sender: &'a GhostId,
}

impl Scene<'_> {
    /// Names one of its parts.
    pub(super) fn key(&self, part: usize) -> PartKey {
        PartKey {
            portal: self.portal,
            sender: self.sender.clone(),
            wa_id: WaMessageId::new(self.arrival.id.as_str()),
            part: i64::try_from(part).unwrap_or(i64::MAX),
        }
    }
}

impl Bridge {
    /// Reads a message with what is known of the people and messages it names.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn read_message(&self, scene: &Scene<'_>, message: &wa::Message) -> Result<Effect, Halt> {
        let unreadable = || Halt::Verdict(never("an arrival's sender is no id"));
        let sender: Jid = scene.sender.as_str().parse().map_err(|_| unreadable())?;
        let mut people = HashMap::new();
        for jid in people_in(message).into_iter().take(MAX_PEOPLE) {
            let bare = jid.to_non_ad().to_string();
            let person = self.person_of(scene.portal, scene.login, &bare).await?;
            people.insert(bare, person);
        }
        let find = |jid: &Jid| people.get(&jid.to_non_ad().to_string()).cloned();
        let asked = RefCell::new(Vec::new());
        let read_with = |known: &dyn Fn(&MessageName) -> bool| {
            let context = Context {
                people: &find,
                known,
                sender: &sender,
                from_me: scene.arrival.from_me,
                command_prefix: &self.config().bridge.command_prefix,
            };
            read(message, &context)
        };
        let effect = read_with(&|name| {
            asked.borrow_mut().push(name.id.clone());
            true
        });
        let mut unknown = Vec::new();
        for id in asked.into_inner() {
            let wa_id = WaMessageId::new(id.as_str());
            if self.store().find_message_by_wa_id(scene.portal, &wa_id).await?.is_none()
                && self.store().find_told_votes(scene.portal, &wa_id).await?.is_none()
            {
                unknown.push(id);
            }
        }
        if unknown.is_empty() {
            return Ok(effect);
        }
        Ok(read_with(&|name| !unknown.contains(&name.id)))
    }

    /// Somebody a message names: the owner of the login, or a ghost.
    async fn person_of(&self, portal: PortalId, login: &LoginId, bare: &str) -> Result<Person, Halt> {
        let id = self.canonical(bare).await?;
        if let Some(owner) = self.store().find_login(login).await?.filter(|login| login.own == id) {
            let name = match owner.push_name.as_str() {
                "" => owner.mxid.clone(),
                name => name.to_owned(),
            };
            return Ok(Person { mxid: owner.mxid, name });
        }
        if let Some(other) = self.owner_in_group(portal, &id).await? {
            return Ok(other);
        }
        let user = self.ready_ghost(&id, Facts::default()).await?;
        let name = self.store().find_ghost(&id).await?.map(|ghost| ghost.name).unwrap_or_default();
        Ok(Person { mxid: user.to_string(), name })
    }

    /// The person behind another login that is in the same chat.
    async fn owner_in_group(&self, portal: PortalId, id: &GhostId) -> Result<Option<Person>, Halt> {
        let owner = self.store().logins_in(portal).await?.into_iter().find(|login| login.own == *id);
        Ok(owner.map(|owner| {
            let name = if owner.push_name.is_empty() { owner.mxid.clone() } else { owner.push_name };
            Person { mxid: owner.mxid, name }
        }))
    }

    /// Does what a message wants; its row is settled with it, or waits for its target.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn apply(&self, scene: &Scene<'_>, message: &wa::Message, effect: Effect) -> Result<(), Halt> {
        match effect {
            Effect::Say(parts) | Effect::Album { parts, .. } if !parts.is_empty() => {
                self.keep_poll(scene, message).await?;
                self.note_states(scene, message, &parts).await?;
                self.say_parts(scene, message, parts).await
            }
            Effect::Edit { target, parts } => self.edit_message(scene, &target, parts, Words::Alone).await,
            Effect::Upgrade { target, parts } => self.edit_message(scene, &target, parts, Words::WithFile).await,
            Effect::Redact { target } => self.take_back(scene, &target).await,
            Effect::React { target, emoji, ts_ms } => self.react(scene, &target, emoji, ts_ms).await,
            Effect::Vote { poll, sealed, ts_ms } => self.vote(scene, &poll, &sealed, ts_ms).await,
            Effect::PollOption { poll, option } => self.add_answer(scene, &poll, &option).await,
            Effect::Rsvp { event, sealed } => self.tell_rsvp(scene, &event, &sealed).await,
            Effect::Sealed { kind, target, sealed } => self.unseal(scene, kind, &target, &sealed).await,
            Effect::Pin { target, pinned, ts_ms } => self.pin_in_room(scene, &target, pinned, ts_ms).await,
            Effect::Keep { target, kept } => self.keep_message(scene, &target, kept).await,
            Effect::LiveLocation { sequence, parts } => self.show_live(scene, message, sequence, &parts).await,
            Effect::Timer { seconds, ts_ms, parts } => self.set_timer(scene, seconds, ts_ms, &parts).await,
            _ => Ok(self.store().settle_row(scene.row.seq).await?),
        }
    }

    /// Puts a message's parts into its room and settles its row with the last.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn say_parts(
        &self,
        scene: &Scene<'_>,
        message: &wa::Message,
        parts: Vec<MxPart>,
    ) -> Result<(), Halt> {
        let facts =
            Facts { push_name: &scene.arrival.push_name, business_name: scene.arrival.business_name.as_deref() };
        let user = self.author(scene, facts).await?;
        let known = self.ready_room(scene.portal, scene.login).await?;
        self.stop_typing(scene.portal, &known.room, &user);
        let copy = quote::keep(message);
        let last = parts.len() - 1;
        for (at, part) in parts.into_iter().enumerate() {
            let part = self.with_files(scene, at, &user, part).await?;
            let mut part = self.with_relations(scene, part).await?;
            if let Some(list) = &scene.arrival.list {
                part.content["fi.mau.whatsapp.source_broadcast_list"] = list.as_str().into();
            }
            let delivery = Delivery {
                key: scene.key(at),
                kind: if part.content["msgtype"] == "m.notice" { "notice" } else { "new" },
                part: &part,
                ghost: scene.sender,
                user: &user,
                login: scene.login,
                ts: scene.arrival.ts_ms,
                quote: (at == 0).then_some(copy.as_slice()),
                reaction: None,
                settles: (at == last).then_some(scene.row.seq),
            };
            self.deliver(&known, &delivery).await?;
        }
        self.store().unpark(scene.portal, &WaMessageId::new(scene.arrival.id.as_str())).await?;
        self.refresh_picture(scene.login, scene.sender);
        Ok(())
    }

    /// Names the event a part answers.
    pub(super) async fn with_relations(&self, scene: &Scene<'_>, mut part: MxPart) -> Result<MxPart, Halt> {
        if let Some(name) = part.reply_to.take()
            && let Some(target) = self.find_target(scene, &name).await?
            && let Some(event) = target.event_id
        {
            part.content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event } });
        }
        let part = self.among_posts(scene, part).await?;
        self.with_groups(scene, part).await
    }

    /// A message of this chat by the name somebody gave it.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn find_target(&self, scene: &Scene<'_>, name: &MessageName) -> Result<Option<Message>, Halt> {
        let wa_id = WaMessageId::new(name.id.as_str());
        // In a group several people may use one id: the name says whose is meant.
        let author = match &name.participant {
            Some(author) => Some(self.canonical(&author.to_non_ad().to_string()).await?),
            None => name.from_me.then(|| scene.sender.clone()),
        };
        if let Some(sender) = author {
            let key = PartKey { portal: scene.portal, sender, wa_id: wa_id.clone(), part: 0 };
            if let Some(found) = self.store().find_message(&key).await? {
                return Ok(Some(found));
            }
        }
        Ok(match self.store().find_message_by_wa_id(scene.portal, &wa_id).await? {
            Some(found) => Some(found),
            None => self.store().find_told_votes(scene.portal, &wa_id).await?,
        })
    }

    /// The message a row is about; none when it is not here yet, and the row now waits for it.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn target_or_park(&self, scene: &Scene<'_>, name: &MessageName) -> Result<Option<Message>, Halt> {
        if let Some(target) = self.find_target(scene, name).await? {
            return Ok(Some(target));
        }
        let id = WaMessageId::new(name.id.as_str());
        // Its settlement may fall between any two of these steps.
        self.store().expect_target(scene.portal, &id);
        if let Some(target) = self.find_target(scene, name).await? {
            return Ok(Some(target));
        }
        self.store().park_row(scene.row.seq, scene.portal, &id).await?;
        if self.find_target(scene, name).await?.is_some() {
            self.store().unpark(scene.portal, &id).await?;
        }
        Ok(None)
    }

    async fn edit_message(
        &self,
        scene: &Scene<'_>,
        name: &MessageName,
        parts: Vec<MxPart>,
        words: Words,
    ) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let events: Vec<String> = self
            .store()
            .parts_of(scene.portal, &target.key.sender, &target.key.wa_id)
            .await?
            .into_iter()
            .filter_map(|part| part.event_id)
            .collect();
        // Only the author edits; parts that are no more than before stay as they are. What has disappeared stays away.
        let is_gone = target.kind == GONE;
        if is_gone || target.key.sender != *scene.sender || parts.is_empty() || events.is_empty() {
            tracing::debug!(
                row = scene.row.seq,
                "an edit that is not the author's, or of nothing that is still here, is dropped"
            );
            return Ok(self.store().settle_row(scene.row.seq).await?);
        }
        let user = self.speaker_of(scene, &target).await?;
        let known = self.ready_room(scene.portal, scene.login).await?;
        let last = parts.len().min(events.len()) - 1;
        for (at, (mut part, event)) in parts.into_iter().zip(&events).enumerate() {
            if words == Words::WithFile {
                part = self.with_files(scene, at, &user, part).await?;
            } else if part.media.is_some() || is_of_a_file(&part) {
                let original = self.matrix().find_content(&known.room, event).await?;
                part.content = edit::new_words(&original.unwrap_or_default(), &part.content);
            }
            part.content = edit::replacement(&part.content, event);
            let delivery = Delivery {
                key: scene.key(at),
                kind: "edit",
                part: &part,
                ghost: scene.sender,
                user: &user,
                login: scene.login,
                ts: scene.arrival.ts_ms,
                quote: None,
                reaction: None,
                settles: (at == last).then_some(scene.row.seq),
            };
            self.deliver(&known, &delivery).await?;
        }
        Ok(())
    }

    /// Who sent a message, or its author: what the own phone edits may have been sent by hand.
    async fn speaker_of(&self, scene: &Scene<'_>, target: &Message) -> Result<OwnedUserId, Halt> {
        match self.acting(&target.mx_sender).await? {
            Some(user) => Ok(user),
            None => self.author(scene, Facts::default()).await,
        }
    }

    async fn take_back(&self, scene: &Scene<'_>, name: &MessageName) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        if target.key.sender == *scene.sender || self.may_moderate(scene).await? {
            if target.kind == TALLY {
                self.store().forget_tally(scene.portal, &target.key.wa_id).await?;
            }
            let known = self.ready_room(scene.portal, scene.login).await?;
            for part in self.store().parts_of(scene.portal, &target.key.sender, &target.key.wa_id).await? {
                if let Some(event) = &part.event_id {
                    let which = format!("taken-back-{}", part.key.part);
                    // What an admin takes away was not taken away by the person who said it.
                    let is_own = target.key.sender == *scene.sender;
                    let is_of_a_person =
                        UserId::parse(part.mx_sender.as_str()).is_ok_and(|user| !self.matrix().is_ours(&user));
                    let actor = if is_own || !is_of_a_person { part.mx_sender.as_str() } else { "" };
                    self.redact_once(&known.room, event, actor, &scene.row.dedup, &which).await?;
                }
            }
        } else {
            tracing::debug!(row = scene.row.seq, "a deletion that is not the author's is dropped");
        }
        Ok(self.store().settle_row(scene.row.seq).await?)
    }

    /// Whether the writer may delete what others said: a group's admins may. Who was made one a moment ago is looked up.
    async fn may_moderate(&self, scene: &Scene<'_>) -> Result<bool, Halt> {
        let portal = self.store().load_portal(scene.portal).await?;
        if portal.kind == PortalKind::Channel {
            return Ok(true);
        }
        if portal.kind != PortalKind::Group || self.is_admin(&portal, scene.sender).await? {
            return Ok(portal.kind == PortalKind::Group);
        }
        self.spend(Cost::Request(scene.login)).await;
        match self.whatsapp().read_group(scene.login, &portal.chat).await {
            Ok(_) => Ok(self.is_admin(&portal, scene.sender).await?),
            Err(GroupFailure::Offline) => Err(Halt::Verdict(Verdict::Blocked(Gate::Login(scene.login.clone())))),
            Err(GroupFailure::Later(why)) => Err(Halt::Verdict(Verdict::Away { why })),
            Err(GroupFailure::Store(error)) => Err(error.into()),
        }
    }

    /// Takes an event away, as who sent it or else as the bot; the same cause again changes nothing.
    pub(super) async fn redact_once(
        &self,
        room: &RoomId,
        event: &str,
        sent_by: &str,
        cause: &str,
        which: &str,
    ) -> Result<(), Halt> {
        let Ok(event) = EventId::parse(event) else { return Ok(()) };
        let sender = self.acting(sent_by).await?;
        let txn = self.store().derive().notice_txn(cause, which);
        if let Some(puppet) = sender.as_deref().filter(|sender| !self.matrix().is_ours(sender)) {
            match self.matrix().redact(room, puppet, &event, &txn, None).await {
                Ok(_) | Err(MatrixError::NotFound) => return Ok(()),
                // No longer in the room, or no longer theirs to act as: the bot may.
                Err(MatrixError::Forbidden { .. } | MatrixError::PuppetRefused) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let sender = sender.filter(|sender| self.matrix().is_ours(sender));
        let actor = sender.as_deref().unwrap_or(self.matrix().bot());
        match self.matrix().redact(room, actor, &event, &txn, None).await {
            // It is gone already, or was never in this room.
            Ok(_) | Err(MatrixError::NotFound | MatrixError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn react(&self, scene: &Scene<'_>, name: &MessageName, emoji: String, ts_ms: i64) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let key = ReactionKey { portal: scene.portal, target: target.key.wa_id.clone(), sender: scene.sender.clone() };
        let before = self.store().find_reaction(&key).await?;
        let is_here = target.kind != GONE;
        let Some(target_event) =
            target.event_id.filter(|_| is_here && before.as_ref().is_none_or(|before| before.ts <= ts_ms))
        else {
            return Ok(self.store().settle_row(scene.row.seq).await?);
        };
        let known = self.ready_room(scene.portal, scene.login).await?;
        if let Some(before) = before.as_ref().filter(|before| before.emoji != emoji)
            && let Some(event) = &before.event_id
        {
            self.redact_once(&known.room, event, &before.mx_sender, &scene.row.dedup, "reaction").await?;
        }
        let facts = Facts { push_name: &scene.arrival.push_name, business_name: None };
        let user = self.author(scene, facts).await?;
        let mut reaction = Reaction { key, emoji, ts: ts_ms, event_id: None, mx_sender: user.to_string() };
        let is_the_same =
            before.as_ref().is_some_and(|before| before.emoji == reaction.emoji && before.event_id.is_some());
        if reaction.emoji.is_empty() || is_the_same {
            if is_the_same && let Some(before) = before {
                reaction = Reaction { ts: ts_ms, ..before };
            }
            let mut tx = self.store().begin("effects.reaction").await?;
            self.store().put_reaction_in(&mut tx, &reaction).await?;
            self.store().settle_row_in(&mut tx, scene.row.seq).await?;
            return Ok(tx.commit().await?);
        }
        let relation = json!({ "rel_type": "m.annotation", "event_id": target_event, "key": reaction.emoji });
        let part = MxPart::new("m.reaction", json!({ "m.relates_to": relation }));
        let delivery = Delivery {
            key: scene.key(0),
            kind: "reaction",
            part: &part,
            ghost: scene.sender,
            user: &user,
            login: scene.login,
            ts: scene.arrival.ts_ms,
            quote: None,
            reaction: Some(&reaction),
            settles: Some(scene.row.seq),
        };
        self.deliver(&known, &delivery).await
    }
}

/// What an edit changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// The words: the file stays, if there is one.
    Alone,
    /// The file too.
    WithFile,
}

fn is_of_a_file(part: &MxPart) -> bool {
    matches!(part.content["msgtype"].as_str(), Some("m.image" | "m.video" | "m.audio" | "m.file"))
}

fn never(why: &str) -> Verdict {
    Verdict::Never { tell: String::new(), why: why.into() }
}
