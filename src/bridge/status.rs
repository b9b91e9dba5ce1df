//! Status posts: one room per login, where what its contacts post is shown until WhatsApp shows it no longer.
//!
//! Each person's posts are a thread under the oldest that is shown still, so the room has one line per person, as the phone
//! has. Nobody is told that a post was seen. Posts and what they said go after a day, as disappearing messages do.
//!
//! What the owner says there: an answer to a post goes to its author's direct chat, where it stands too; a reaction
//! goes to the author; anything else is a post of their own, where the operator lets the room post, and deleting it takes it
//! back. Whom a post is for is asked of WhatsApp before the first send and kept, so a repeat and the deletion go to the
//! same people.

use super::Bridge;
use super::effects::Scene;
use super::from_matrix::{Event, never};
use super::outgoing::{Outgoing, Saying, plan_of};
use super::people::{Facts, Halt};
use super::rooms::user_id;
use crate::convert::MxPart;
use crate::convert::arrival::{About, WaArrival};
use crate::convert::incoming::answers_status;
use crate::convert::outgoing::{Draft, DraftContent, MxKind, Plan};
use crate::ids::{ChatId, GhostId, Lane, PortalId, WaMessageId};
use crate::matrix::rooms::{BridgedChat, RoomRecipe};
use crate::store::Tx;
use crate::store::chat_marks::{ChatMark, MarkKind};
use crate::store::inbox::{Arrival, InboxRow, Source};
use crate::store::logins::Login;
use crate::store::messages::PartKey;
use crate::store::portals::{Portal, PortalKind};
use crate::store::status::{Audience, AudienceRule};
use crate::whatsapp::intake::MESSAGE;
use crate::whatsapp::outgoing::SendFailure;
use futures_util::future::BoxFuture;
use ruma::OwnedRoomId;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whatsapp_rust::prelude::wa;

/// How long WhatsApp shows a post, milliseconds.
const LIFE: i64 = 24 * 3600 * 1000;
/// What a text post stands on when its author chose nothing (one of the colours of the phone).
const BACKGROUND: u32 = 0xff1e_6e4f;

impl Bridge {
    /// Makes a login's status room, muted for its owner where the bridge acts as them; what they do with it later counts.
    pub(super) async fn make_status_room(&self, portal: &Portal, owner: &Login) -> Result<OwnedRoomId, Halt> {
        let name = "WhatsApp status";
        let owner_id = user_id(&owner.mxid)?;
        let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: Some(name) };
        let mut state = self.matrix().bridge_state(&chat);
        state.push(self.matrix().functional_members());
        state.push(super::timers::features(portal.kind));
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&portal.alias)),
            name: Some(name.to_owned()),
            topic: Some("Status posts of your WhatsApp contacts. They go after 24 hours.".to_owned()),
            invite: vec![owner_id],
            state,
            ..RoomRecipe::default()
        };
        let room = self.matrix().create_room(&recipe).await?;
        // As old as can be: whatever the phone says is newer.
        let (login, chat) = (owner.id.clone(), portal.chat.clone());
        let mark = ChatMark { login, chat, kind: MarkKind::Mute, value: -1, ts: 0 };
        self.store().put_chat_mark(&mark).await?;
        Ok(room)
    }

    /// Whether a row is about a status post whose day was over before it was shown.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn is_bygone_status(&self, scene: &Scene<'_>) -> Result<bool, Halt> {
        if self.store().clock().now_ms() < scene.arrival.ts_ms.saturating_add(LIFE) || !self.is_status(scene).await? {
            return Ok(false);
        }
        // One that was begun is finished: only then it is known what has to be removed.
        Ok(self.store().find_message(&scene.key(0)).await?.is_none())
    }

    /// Records when a status post goes, before it is shown; false for what is said elsewhere.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn note_end_of_status(&self, scene: &Scene<'_>) -> Result<bool, Halt> {
        if !self.is_status(scene).await? {
            return Ok(false);
        }
        let mut tx = self.store().begin("status.note_end").await?;
        self.store().put_expiry_in(&mut tx, &scene.key(0), scene.arrival.ts_ms.saturating_add(LIFE)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether a message is one of a login's status room.
    ///
    /// # Errors
    /// When the database fails.
    async fn is_status(&self, scene: &Scene<'_>) -> crate::store::Result<bool> {
        Ok(self.chat_of(scene.portal).await?.is_status())
    }

    /// Puts a status post into the thread of its author's posts; other messages stay as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn among_posts(&self, scene: &Scene<'_>, mut part: MxPart) -> crate::store::Result<MxPart> {
        if part.content.get("m.relates_to").is_none() && self.is_status(scene).await? {
            let id = WaMessageId::new(scene.arrival.id.as_str());
            let thread = self.thread_of_posts(scene.portal, scene.sender, scene.arrival.ts_ms, &id).await?;
            if let Some(thread) = thread {
                part.content["m.relates_to"] = thread;
            }
        }
        Ok(part)
    }

    /// The relation that puts a post of this time under the oldest one of its author that is shown then.
    async fn thread_of_posts(
        &self,
        portal: PortalId,
        person: &GhostId,
        ts: i64,
        id: &WaMessageId,
    ) -> crate::store::Result<Option<Value>> {
        let root = self.store().oldest_status(portal, person, ts.saturating_sub(LIFE), id).await?;
        Ok(root.map(|root| {
            let answers = json!({ "event_id": root });
            json!({ "rel_type": "m.thread", "event_id": root, "is_falling_back": true, "m.in_reply_to": answers })
        }))
    }

    /// What somebody says in their status room: an answer, a reaction, a post, or one of them taken back.
    ///
    /// # Errors
    /// [`Halt`] when database or WhatsApp fail, or with words for the sender.
    pub(super) fn said_in_status<'a>(
        &'a self,
        saying: &'a Saying<'a>,
        wa_id: WaMessageId,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<(), Halt>> {
        Box::pin(self.say_in_status(saying, wa_id, plan))
    }

    async fn say_in_status(&self, saying: &Saying<'_>, wa_id: WaMessageId, plan: &Plan) -> Result<(), Halt> {
        let planned;
        let outgoing = match plan {
            Plan::Message(draft) => match self.answered_post(saying, draft).await? {
                Some(post) => {
                    let answer = Draft { reply_to: Some(post), thread_of: None, ..Draft::clone(draft) };
                    planned = Plan::Message(Box::new(answer));
                    self.made_of(saying, &planned).await?
                }
                None if self.config().network.disable_status_broadcast_send => {
                    let prefix = &self.config().bridge.command_prefix;
                    let tell = format!(
                        "What is said in this room is not posted. To post a status, say `{prefix} post-status <text>`; to \
                         answer one, use your client's reply."
                    );
                    return Err(never(tell, "words in a status room"));
                }
                None => Some(self.post_of(saying, draft).await?),
            },
            Plan::React { .. } => self.made_of(saying, plan).await?,
            Plan::Redact { target } => {
                self.refuse_answers(saying, target).await?;
                self.made_of(saying, plan).await?
            }
            Plan::Edit { .. } => {
                let tell =
                    "WhatsApp lets no status post be changed, and an answer to one only in your chat with the person.";
                return Err(never(tell, "an edit in a status room"));
            }
            _ => return Err(no_post()),
        };
        match outgoing {
            Some(outgoing) => self.send_to_whatsapp(saying, wa_id, outgoing).await,
            None => self.settle_unsent(saying.row, super::from_matrix::NOTHING_THERE).await,
        }
    }

    fn made_of<'a>(&'a self, saying: &'a Saying<'a>, plan: &'a Plan) -> BoxFuture<'a, Result<Option<Outgoing>, Halt>> {
        Box::pin(self.outgoing_of(saying, plan))
    }

    /// The post of somebody else a draft answers; none when it is a post of its own.
    async fn answered_post(&self, saying: &Saying<'_>, draft: &Draft) -> Result<Option<String>, Halt> {
        let is_theirs = async |event: &str| -> Result<Option<bool>, Halt> {
            let post = self.in_this_chat(saying, event).await?;
            Ok(post.map(|post| post.key.sender != saying.login.own))
        };
        if let Some(answered) = &draft.reply_to {
            return match is_theirs(answered).await? {
                Some(true) => Ok(Some(answered.clone())),
                Some(false) => Err(never("Answers to your own posts go to nobody.", "an answer to an own post")),
                None => Err(never("The post you answered is not on WhatsApp any more.", "an unknown post is answered")),
            };
        }
        let Some(root) = &draft.thread_of else { return Ok(None) };
        // What a client without a word of its own in a thread names is the newest in it.
        let newest = saying.event.content.pointer("/m.relates_to/m.in_reply_to/event_id").and_then(Value::as_str);
        for event in newest.into_iter().chain([root.as_str()]) {
            if is_theirs(event).await? == Some(true) {
                return Ok(Some(event.to_owned()));
            }
        }
        match is_theirs(root).await? {
            Some(_) => Ok(None),
            None => Err(never("The post you answered is not on WhatsApp any more.", "an unknown post is answered")),
        }
    }

    /// A post made of a draft.
    fn post_of<'a>(&'a self, saying: &'a Saying<'a>, draft: &'a Draft) -> BoxFuture<'a, Result<Outgoing, Halt>> {
        Box::pin(self.make_post(saying, draft))
    }

    async fn make_post(&self, saying: &Saying<'_>, draft: &Draft) -> Result<Outgoing, Halt> {
        let fits = match &draft.content {
            DraftContent::Text { .. } => true,
            DraftContent::File { media, .. } => {
                matches!(media.kind, MxKind::Image | MxKind::Video | MxKind::Gif | MxKind::Voice)
            }
            DraftContent::Place { .. } => false,
        };
        if !fits {
            return Err(no_post());
        }
        let draft = Draft { reply_to: None, thread_of: None, ..draft.clone() };
        let made = self.outgoing_of(saying, &Plan::Message(Box::new(draft))).await?;
        let mut outgoing = made.ok_or_else(|| never("", "there is nothing to post"))?;
        let message = &mut outgoing.message;
        if message.document_message.is_set() || message.document_with_caption_message.is_set() {
            return Err(no_post());
        }
        if let Some(text) = message.conversation.take() {
            message.extended_text_message.get_or_insert_default().text = Some(text);
        }
        if let Some(text) = message.extended_text_message.as_option_mut() {
            text.background_argb = text.background_argb.or(Some(BACKGROUND));
        }
        Ok(outgoing)
    }

    /// An answer stands in the chat with the person, and is deleted there.
    async fn refuse_answers(&self, saying: &Saying<'_>, target: &str) -> Result<(), Halt> {
        if let Some(message) = self.in_this_chat(saying, target).await?
            && message.from_matrix
            && self.store().find_audience(&saying.login.id, &message.key.wa_id).await?.is_none()
        {
            let tell = "Your answer is gone here. To delete it on WhatsApp, delete it in your chat with the person.";
            return Err(never(tell, "an answer to a post was deleted"));
        }
        Ok(())
    }

    /// Writes out what was said in a status room: reactions and answers to their person, all else to who may see posts.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words when nobody would see it.
    pub(super) fn write_status<'a>(
        &'a self,
        login: &'a Login,
        key: &'a PartKey,
        message: wa::Message,
    ) -> BoxFuture<'a, Result<Result<(), SendFailure>, Halt>> {
        Box::pin(self.write_out_status(login, key, message))
    }

    async fn write_out_status(
        &self,
        login: &Login,
        key: &PartKey,
        message: wa::Message,
    ) -> Result<Result<(), SendFailure>, Halt> {
        let status = ChatId::new("status@broadcast");
        if message.reaction_message.is_set() {
            return Ok(self.whatsapp().send(&login.id, &status, &key.wa_id, message).await);
        }
        if let Some(person) = answers_status(&message).map(ChatId::new) {
            return Ok(self.whatsapp().send(&login.id, &person, &key.wa_id, message).await);
        }
        let audience = match self.audience_of(login, key, &message).await? {
            Ok(audience) => audience,
            Err(failure) => return Ok(Err(failure)),
        };
        if audience.people.is_empty() {
            let tell =
                "Nobody would see it: your privacy settings for status posts and your address book leave nobody.";
            return Err(never(tell, "a post for nobody"));
        }
        fail::fail_point!("states.status_audience", |_| super::states::die_here());
        Ok(self.whatsapp().send_status(&login.id, &key.wa_id, message, &audience).await)
    }

    /// Whom a post, or the deletion of one, is for.
    async fn audience_of(
        &self,
        login: &Login,
        key: &PartKey,
        message: &wa::Message,
    ) -> Result<Result<Audience, SendFailure>, Halt> {
        let deleted = message.protocol_message.as_option().and_then(|protocol| protocol.key.as_option());
        let deleted = deleted.and_then(|key| key.id.as_deref()).map(WaMessageId::new);
        for known in deleted.iter().chain([&key.wa_id]) {
            if let Some(audience) = self.store().find_audience(&login.id, known).await? {
                return Ok(Ok(audience));
            }
        }
        let chosen = match self.whatsapp().status_privacy(&login.id).await {
            Ok(chosen) => chosen,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut named = BTreeSet::new();
        for person in &chosen.people {
            named.insert(self.canonical(person.as_str()).await?);
        }
        let mut people = BTreeSet::new();
        for person in self.store().people_in_book(&login.id).await? {
            people.insert(self.canonical(person.as_str()).await?);
        }
        let people = match chosen.rule {
            AudienceRule::Contacts => people,
            AudienceRule::Only => named,
            AudienceRule::Except => people.difference(&named).cloned().collect(),
        };
        let people = people.into_iter().filter(|person| *person != login.own && *person != login.pn).collect();
        let audience = Audience { rule: chosen.rule, people };
        self.store().put_audience(&login.id, &key.wa_id, &audience).await?;
        Ok(Ok(audience))
    }

    /// What sending from a status room changes besides: a post goes after a day, and an answer stands in the chat with the
    /// person too. Gives the lanes that got rows.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn settle_in_status(
        &self,
        tx: &mut Tx,
        saying: &Saying<'_>,
        key: &PartKey,
        kind: &str,
        message: &wa::Message,
    ) -> Result<Vec<Lane>, Halt> {
        let Saying { event, portal, login, .. } = saying;
        if portal.kind != PortalKind::Status || kind != "new" {
            return Ok(Vec::new());
        }
        let end = self.store().clock().now_ms().saturating_add(LIFE);
        self.store().put_expiry_in(tx, key, end).await?;
        let Some(person) = answers_status(message) else { return Ok(Vec::new()) };
        let chat = ChatId::new(person);
        let direct =
            self.store().find_or_make_portal_in(tx, &chat, Some(&login.id), &login.mxid, PortalKind::Direct).await?;
        self.store().join_portal_in(tx, direct.id, &login.id).await?;
        let about = About {
            sender: login.own.as_str().into(),
            id: key.wa_id.as_str().into(),
            ts_ms: event.origin_server_ts,
            from_me: true,
            ..About::default()
        };
        let arrival = Arrival {
            dedup: self.store().derive().wa_dedup(&login.id, &chat, &login.own, &key.wa_id, "message"),
            lane: Lane::into_matrix(direct.id),
            source: Source::Whatsapp,
            login: Some(login.id.clone()),
            portal: Some(direct.id),
            kind: MESSAGE,
            body: WaArrival::new(message, about).to_bytes(),
            seq: None,
        };
        self.store().put_arrival(tx, &arrival).await?;
        Ok(vec![arrival.lane])
    }

    /// Posts a status out of a command and shows it in the status room. A repeat posts nothing more.
    ///
    /// # Errors
    /// [`Halt`] when database, homeserver or WhatsApp fail, or with words for who asked.
    pub(crate) async fn post_status(&self, login: &Login, cause: &str, content: Value) -> Result<(), Halt> {
        let chat = ChatId::new("status@broadcast");
        let mut tx = self.store().begin("status.post").await?;
        let made =
            self.store().find_or_make_portal_in(&mut tx, &chat, Some(&login.id), &login.mxid, PortalKind::Status);
        let portal = made.await?;
        self.store().join_portal_in(&mut tx, portal.id, &login.id).await?;
        tx.commit().await?;
        let known = self.ready_room(portal.id, &login.id).await?;
        let ts = self.store().clock().now_ms();
        let event = Event::said(known.room.as_str(), &login.mxid, cause, content, ts);
        let row = InboxRow {
            seq: 0,
            dedup: cause.to_owned(),
            lane: Lane::into_matrix(portal.id),
            source: Source::Matrix,
            login: None,
            portal: None,
            kind: String::new(),
            body: Vec::new(),
            attempts: 0,
            received_at: ts,
            rounds: 0,
            erred: false,
        };
        let wa_id = self.store().derive().wa_message(&login.id, cause, 0);
        let secret = self.store().derive().wa_message_secret(&login.id, &wa_id);
        let (row, event, portal) = (&row, &event, &portal);
        let saying = Saying { row, event, portal, login, secret, timer: None, is_relayed: false };
        let Plan::Message(draft) = plan_of(event)? else { return Err(no_post()) };
        let outgoing = self.post_of(&saying, &draft).await?;
        let key = PartKey { portal: portal.id, sender: login.own.clone(), wa_id, part: 0 };
        if self.hand_over(&saying, &key, &outgoing).await?.is_none() {
            return Ok(());
        }
        let user = match self.ready_puppet(&login.mxid).await? {
            Some(user) => user,
            None => self.ready_ghost(&login.own, Facts::default()).await?,
        };
        if self.matrix().is_ours(&user) {
            self.ready_member(&known, &user).await?;
        }
        let mut shown = event.content.clone();
        if let Some(fields) = shown.as_object_mut() {
            fields.retain(|name, _| SHOWN.contains(&name.as_str()));
        }
        if let Some(thread) = self.thread_of_posts(portal.id, &login.own, ts, &key.wa_id).await? {
            shown["m.relates_to"] = thread;
        }
        let txn = self.store().derive().notice_txn(cause, "post");
        let sent = self.matrix().send(&known.room, &user, "m.room.message", &txn, &shown, None).await?;
        fail::fail_point!("states.status_posted", |_| super::states::die_here());
        let mut tx = self.store().begin("status.posted").await?;
        self.store().message_was_sent_in(&mut tx, &key, Some(sent.as_str())).await?;
        self.store().put_expiry_in(&mut tx, &key, ts.saturating_add(LIFE)).await?;
        Ok(tx.commit().await?)
    }
}

/// What of a message is shown again in the status room.
const SHOWN: [&str; 8] = ["msgtype", "body", "format", "formatted_body", "url", "file", "info", "filename"];

fn no_post() -> Halt {
    never("Texts, pictures, videos and voice messages can be status posts.", "no status post can be made of it")
}
