//! What a person's event wants done on WhatsApp, once it is planned: messages, edits, reactions, deletions.
//!
//! Targets are looked up in the event's own portal; whether the sender may do that to them is decided here.

use super::Bridge;
use super::ballots::Ballot;
use super::from_matrix::{Event, never};
use super::people::Halt;
use super::uploads::Carried;
use crate::convert::features::{DELETE_WINDOW_S, EDIT_WINDOW_S};
use crate::convert::outgoing::{Draft, DraftContent, Plan, Quoted, Resolved, Timer, build, plan};
use crate::convert::quote;
use crate::ids::GhostId;
use crate::store::disappearing::ChatTimer;
use crate::store::inbox::InboxRow;
use crate::store::logins::Login;
use crate::store::messages::{Message, MessageState};
use crate::store::portals::{Portal, PortalKind};
use crate::store::reactions::{Reaction, ReactionKey};
use crate::verdict::Verdict;
use ruma::UserId;
use std::collections::HashMap;
use whatsapp_rust::prelude::{Jid, wa};

/// How long WhatsApp lets a message be edited, milliseconds (its clients' limit).
const EDIT_WINDOW: i64 = EDIT_WINDOW_S * 1000;
/// How long an event may be in a room without being recorded, milliseconds; what takes longer has failed.
const UNKNOWN_FOR: i64 = 3_600_000;
/// How long WhatsApp lets a message be deleted for everybody, milliseconds (its clients' limit: 2 days and 12 hours).
const DELETE_WINDOW: i64 = DELETE_WINDOW_S * 1000;

/// A message of WhatsApp made out of an event, and what its arrival records.
pub struct Outgoing {
    /// The message.
    pub message: wa::Message,
    /// What a reply quotes of it; none for what can not be answered.
    pub quote: Option<Vec<u8>>,
    /// The handle of its file, in a channel.
    pub handle: Option<String>,
    /// What kind of row it makes: `new`, `edit`, `reaction` or `deletion`.
    pub kind: &'static str,
    /// The reaction it makes or takes back.
    pub reaction: Option<Reaction>,
    /// An older reaction's event that it replaces, and who sent that.
    pub replaces: Option<(String, String)>,
    /// What it changes about a poll.
    pub ballot: Option<Ballot>,
}

impl Outgoing {
    /// A message that nobody can answer.
    pub fn new(kind: &'static str, message: wa::Message) -> Self {
        Self { message, quote: None, handle: None, kind, reaction: None, replaces: None, ballot: None }
    }

    /// A message that replies quote.
    pub fn quotable(kind: &'static str, message: wa::Message) -> Self {
        Self { quote: Some(quote::keep(&message)), ..Self::new(kind, message) }
    }
}

/// An event in a portal's room, with the login that speaks for its sender.
pub struct Saying<'a> {
    /// Its row.
    pub row: &'a InboxRow,
    /// The event.
    pub event: &'a Event,
    /// The chat.
    pub portal: &'a Portal,
    /// Who speaks.
    pub login: &'a Login,
    /// Secret of the message to be.
    pub secret: [u8; 32],
    /// The chat's timer.
    pub timer: Option<ChatTimer>,
    /// Whether the login is the room's relay, and the sender has none there.
    pub is_relayed: bool,
}

impl Saying<'_> {
    /// The timer a new message of the chat carries.
    pub(super) fn timer(&self) -> Option<Timer> {
        let timer = self.timer.filter(|timer| timer.seconds > 0);
        timer.map(|timer| Timer { seconds: timer.seconds, set_at: timer.set_at / 1000 })
    }
}

/// What an event wants done.
///
/// # Errors
/// With words for the sender when WhatsApp has nothing like it.
pub(super) fn plan_of(event: &Event) -> Result<Plan, Halt> {
    plan(&event.kind, &event.content_with_redacts())
        .map_err(|refusal| never(refusal.tell, "the event can not become a WhatsApp message"))
}

impl Bridge {
    /// Makes the WhatsApp message of an event; none when there is nothing to send.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub async fn outgoing_of(&self, saying: &Saying<'_>, plan: &Plan) -> Result<Option<Outgoing>, Halt> {
        let Some(mut outgoing) = self.outgoing_in_clear(saying, plan).await? else { return Ok(None) };
        outgoing.message = self.as_the_chat_takes_it(saying, outgoing.message).await?;
        Ok(Some(outgoing))
    }

    async fn outgoing_in_clear(&self, saying: &Saying<'_>, plan: &Plan) -> Result<Option<Outgoing>, Halt> {
        match plan {
            Plan::Message(draft) => self.new_message(saying, plan, draft).await.map(Some),
            Plan::Edit { target, draft } => self.edit_of(saying, plan, target, draft).await.map(Some),
            Plan::React { target, emoji } => self.reaction_to(saying, plan, target, emoji).await,
            Plan::Redact { target } => self.deletion_of(saying, plan, target).await,
            Plan::Poll(draft) => self.new_poll(saying, plan, draft).await.map(Some),
            Plan::Vote { poll, answers } => self.vote_of(saying, plan, poll, answers).await.map(Some),
            Plan::PollEnd { poll, .. } => self.poll_end_of(saying, plan, poll).await,
            // Taken apart before: one event is several messages, or none.
            Plan::Album(_)
            | Plan::Pins { .. }
            | Plan::Pin { .. }
            | Plan::LiveStart { .. }
            | Plan::LiveMove { .. }
            | Plan::LiveStop => Ok(None),
        }
    }

    async fn new_message(&self, saying: &Saying<'_>, plan: &Plan, draft: &Draft) -> Result<Outgoing, Halt> {
        let wa_id = self.store().derive().wa_message(&saying.login.id, &saying.event.event_id, 0);
        // What was tried before is sent as it was built then: its file is there already, its link was asked about. A
        // channel's file is put there again: its handle is told then, and not kept.
        let has_file = matches!(draft.content, DraftContent::File { .. }) && saying.portal.kind != PortalKind::Channel;
        if (has_file || self.asked_link(draft).is_some())
            && let Some(message) = self.built_before(saying, &wa_id, 0).await?
        {
            return Ok(Outgoing::quotable("new", message));
        }
        // A relay chooses nothing for others.
        if !saying.is_relayed
            && let Some(press) = self.press_of(saying, draft).await?
        {
            return Ok(press);
        }
        let with_link = self.plan_with_link(draft).await;
        let (plan, draft) = match &with_link {
            Some(plan @ Plan::Message(draft)) => (plan, &**draft),
            _ => (plan, draft),
        };
        let people = self.people_named(draft).await?;
        let mut quoted = match &draft.reply_to {
            Some(answered) => self.quoted(saying, answered).await?,
            None => None,
        };
        let thread = self.thread_of(saying, draft).await?;
        if let (None, None, Some(root)) = (&thread, &quoted, &draft.thread_of) {
            // Most chats have no threads: then it answers the first message.
            quoted = self.quoted(saying, root).await?;
        }
        let timer = saying.timer();
        let carried = match &draft.content {
            DraftContent::File { media, .. } => Some(self.carry_file(saying, &wa_id, media).await?),
            _ => None,
        };
        let preview = self.link_picture(saying, &wa_id, draft).await?;
        let find = |mxid: &str| people.get(mxid).cloned();
        let mut resolved = Resolved::new(&find);
        resolved.preview = preview;
        resolved.secret = Some(saying.secret);
        resolved.ts_ms = saying.event.origin_server_ts;
        resolved.quoted = quoted;
        let mut handle = None;
        match carried {
            Some(Carried::Cards(text)) => resolved.cards = Some(text),
            Some(Carried::File(uploaded)) => {
                handle.clone_from(&uploaded.handle);
                resolved.uploaded = Some(*uploaded);
            }
            None => {}
        }
        resolved.thread = thread;
        resolved.timer = timer;
        let message = made(plan, &resolved)?;
        Ok(Outgoing { handle, ..Outgoing::quotable("new", message) })
    }

    /// WhatsApp ids of the people a draft may mention.
    pub(super) async fn people_named(&self, draft: &Draft) -> Result<HashMap<String, Jid>, Halt> {
        let mut people = HashMap::new();
        for mxid in draft.mentions.iter().take(256) {
            if let Some(id) = self.whatsapp_id_of(mxid).await?
                && let Ok(jid) = id.as_str().parse()
            {
                people.insert(mxid.clone(), jid);
            }
        }
        Ok(people)
    }

    /// The WhatsApp account behind a Matrix id: a ghost's person, or somebody's own login.
    async fn whatsapp_id_of(&self, mxid: &str) -> Result<Option<GhostId>, Halt> {
        let Ok(user) = UserId::parse(mxid) else { return Ok(None) };
        if let Some(tail) = self.matrix().ghost_tail(&user) {
            return Ok(self.store().find_ghost_by_localpart(tail).await?);
        }
        Ok(self.store().logins_of(mxid).await?.into_iter().next().map(|login| login.own))
    }

    /// What a reply quotes; none where the answered event is not on WhatsApp.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn quoted(&self, saying: &Saying<'_>, event: &str) -> Result<Option<Quoted>, Halt> {
        let Some(answered) = self.in_this_chat(saying, event).await? else { return Ok(None) };
        let Ok(author) = answered.key.sender.as_str().parse() else { return Ok(None) };
        // A later part has no copy: the id is enough for who has the original.
        let compact = answered.quote.unwrap_or_default();
        let is_post = saying.portal.kind == PortalKind::Status;
        let chat = is_post.then(|| saying.portal.chat.as_str().parse().ok()).flatten();
        Ok(Some(Quoted { id: answered.key.wa_id.as_str().to_owned(), author, compact, chat }))
    }

    /// The message behind an event, when it is of this chat.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or when the event may be one that is in the room and not recorded yet: people answer
    /// quicker than a killed bridge is back.
    pub(super) async fn in_this_chat(&self, saying: &Saying<'_>, event: &str) -> Result<Option<Message>, Halt> {
        let mut found = self.store().find_message_by_event(event).await?;
        if found.is_none() {
            let since = self.store().clock().now_ms() - UNKNOWN_FOR;
            let unknown = self.store().has_unknown_event(saying.portal.id, since).await?;
            // It may have been recorded between the two looks.
            found = self.store().find_message_by_event(event).await?;
            if unknown && found.is_none() {
                return Err(Halt::Verdict(Verdict::Later { why: "what it is about may not be recorded yet".into() }));
            }
        }
        Ok(found.filter(|message| message.key.portal == saying.portal.id))
    }

    /// A message's name as WhatsApp writes it.
    pub(super) fn key_of(saying: &Saying<'_>, target: &Message) -> wa::MessageKey {
        let from_me = target.key.sender == saying.login.own;
        // In a group and of a status post a key names the author, unless that is us.
        let chat = &saying.portal.chat;
        let author = ((chat.is_group() || chat.is_status()) && !from_me).then(|| target.key.sender.as_str().to_owned());
        wa::MessageKey {
            remote_jid: Some(saying.portal.chat.as_str().to_owned()),
            from_me: Some(from_me),
            id: Some(target.key.wa_id.as_str().to_owned()),
            participant: author,
        }
    }

    async fn edit_of(&self, saying: &Saying<'_>, plan: &Plan, target: &str, draft: &Draft) -> Result<Outgoing, Halt> {
        let missing = || {
            never(
                "The message you edited is not on WhatsApp, so the edit was not sent. Please write a new message.",
                "an edit's target is unknown",
            )
        };
        let target = self.in_this_chat(saying, target).await?.ok_or_else(missing)?;
        // What somebody else wrote through this account is not its owner's.
        let is_anothers = target.from_matrix && target.mx_sender != saying.event.sender;
        if target.key.sender != saying.login.own || is_anothers {
            return Err(never(
                "Only your own messages can be edited on WhatsApp. Please answer this one instead.",
                "an edit of somebody else's message",
            ));
        }
        if target.state == MessageState::Failed {
            return Err(missing());
        }
        if saying.event.origin_server_ts - target.ts > EDIT_WINDOW {
            let tell = "WhatsApp lets a message be edited for 15 minutes only, so the edit was not sent. Please write a new \
                        message.";
            return Err(never(tell, "an edit after the window"));
        }
        let people = self.people_named(draft).await?;
        let find = |mxid: &str| people.get(mxid).cloned();
        let mut resolved = Resolved::new(&find);
        resolved.target = Some(Self::key_of(saying, &target));
        resolved.original = target.quote.as_deref().and_then(quote::read);
        resolved.ts_ms = saying.event.origin_server_ts;
        Ok(Outgoing::new("edit", made(plan, &resolved)?))
    }

    async fn reaction_to(
        &self,
        saying: &Saying<'_>,
        plan: &Plan,
        target: &str,
        emoji: &str,
    ) -> Result<Option<Outgoing>, Halt> {
        let Some(target) = self.in_this_chat(saying, target).await? else {
            return Err(never(
                "The message you reacted to is not on WhatsApp. If it has failed, say `retry` and react again.",
                "a reaction's target is unknown",
            ));
        };
        let key = ReactionKey {
            portal: saying.portal.id,
            target: target.key.wa_id.clone(),
            sender: saying.login.own.clone(),
        };
        let before = self.store().find_reaction(&key).await?;
        // WhatsApp keeps one of each person: the event of the older one goes when the new one is there.
        let replaces = before
            .and_then(|before| before.event_id.map(|event| (event, before.mx_sender)))
            .filter(|(event, _)| *event != saying.event.event_id);
        let nobody = |_: &str| None;
        let mut resolved = Resolved::new(&nobody);
        resolved.target = Some(Self::key_of(saying, &target));
        resolved.ts_ms = saying.event.origin_server_ts;
        let reaction = Reaction {
            key,
            emoji: emoji.to_owned(),
            ts: saying.event.origin_server_ts,
            event_id: Some(saying.event.event_id.clone()),
            mx_sender: saying.event.sender.clone(),
        };
        let message = made(plan, &resolved)?;
        Ok(Some(Outgoing { reaction: Some(reaction), replaces, ..Outgoing::new("reaction", message) }))
    }

    /// Whether the sender may delete a message for everybody, still. A group's admins may delete what others said, at any
    /// time.
    ///
    /// # Errors
    /// With words for them when they may not.
    pub(super) async fn may_delete(&self, saying: &Saying<'_>, deleted: &Message) -> Result<(), Halt> {
        if deleted.key.sender != saying.login.own {
            // What its owner may is lent to nobody who is relayed.
            if !saying.is_relayed && self.is_admin(saying.portal, &saying.login.own).await? {
                return Ok(());
            }
            let tell = "Only your own messages can be deleted on WhatsApp; this one is gone here and stays there.";
            return Err(never(tell, "a deletion of somebody else's message"));
        }
        if saying.event.origin_server_ts - deleted.ts > DELETE_WINDOW {
            let tell = "WhatsApp lets a message be deleted for everybody for 60 hours only; this one is gone here and stays there.";
            return Err(never(tell, "a deletion after the window"));
        }
        Ok(())
    }

    async fn deletion_of(&self, saying: &Saying<'_>, plan: &Plan, target: &str) -> Result<Option<Outgoing>, Halt> {
        let nobody = |_: &str| None;
        let resolved_for = |target: &Message| {
            let mut resolved = Resolved::new(&nobody);
            resolved.ts_ms = saying.event.origin_server_ts;
            resolved.target = Some(Self::key_of(saying, target));
            resolved
        };
        if let Some(before) = self.store().find_reaction_by_event(target).await? {
            if before.key.portal != saying.portal.id || before.key.sender != saying.login.own {
                return Err(never(
                    "Only your own reactions can be taken back on WhatsApp.",
                    "not the sender's reaction",
                ));
            }
            let reacted = self.store().find_message_by_wa_id(before.key.portal, &before.key.target).await?;
            let Some(reacted) = reacted else { return Ok(None) };
            let none = Plan::React { target: String::new(), emoji: String::new() };
            let reaction =
                Reaction { emoji: String::new(), ts: saying.event.origin_server_ts, event_id: None, ..before };
            let message = made(&none, &resolved_for(&reacted))?;
            return Ok(Some(Outgoing { reaction: Some(reaction), ..Outgoing::new("deletion", message) }));
        }
        if let Some(withdrawal) = self.withdrawal_of(saying, target).await? {
            return Ok(Some(withdrawal));
        }
        // A notice, a command, or what never reached WhatsApp: nothing is there to delete.
        let Some(deleted) = self.in_this_chat(saying, target).await? else { return Ok(None) };
        if deleted.state == MessageState::Failed {
            return Ok(None);
        }
        if deleted.kind == super::pressing::RSVP {
            let tell =
                "An answer to an event can't be taken back on WhatsApp. Please answer the event again to change it.";
            return Err(never(tell, "a deletion of an answer to an event"));
        }
        self.may_delete(saying, &deleted).await?;
        Ok(Some(Outgoing::new("deletion", made(plan, &resolved_for(&deleted))?)))
    }
}

/// The message of a plan.
///
/// # Errors
/// A final verdict with words for the person when there can be none.
pub(super) fn made(plan: &Plan, resolved: &Resolved<'_>) -> Result<wa::Message, Halt> {
    build(plan, resolved)
        .map_err(|refusal| never(refusal.tell, "the event can not become a WhatsApp message"))?
        .ok_or_else(|| never("", "there is nothing to send"))
}

/// Whether a row's body is a redaction of this event.
pub fn redacts(body: &[u8], event_id: &str) -> bool {
    let event: Option<Event> = serde_json::from_slice(body).ok();
    event.is_some_and(|event| {
        event.kind == "m.room.redaction" && event.content_with_redacts()["redacts"].as_str() == Some(event_id)
    })
}
