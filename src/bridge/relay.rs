//! Relay mode: what people without a login in a chat write in its room goes out through the room's relay, with their name in
//! front. Votes are in `relay_votes`.
//!
//! A relayed message has the id of its event, like any other, so a repeat is never a second one; it is its author's to edit
//! and to delete, and nobody else's. The relay's own rights are never lent: nobody deletes, pins or shapes as a group's admin
//! through it.

use super::Bridge;
use super::from_matrix::{Event, never};
use super::outgoing::{Outgoing, Saying, made};
use super::people::Halt;
use super::rooms::room_id;
use super::sending::key_of_ours;
use crate::config::{FormatKind, Level, MESSAGE_MARK, NameFacts, SenderNames};
use crate::convert::incoming::{expires_s, opened};
use crate::convert::markup::{Block, Inline};
use crate::convert::outgoing::{
    Draft, DraftContent, MAX_QUESTION, MxKind, Plan, PollDraft, PreviewWish, Resolved, plan,
};
use crate::convert::relay::{letters, look, profile_name, put_into, safe_id, safe_name, strip_profile_fallback};
use crate::matrix::error::MatrixError;
use crate::store::logins::{Login, LoginState};
use crate::store::polls::Poll;
use crate::store::portals::{Portal, PortalKind};
use crate::store::relay::RelayChoice;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use whatsapp_rust::prelude::wa;

/// How long the names in a room are remembered at most; who comes or takes another name is asked for at once.
const NAMES_FOR: Duration = Duration::from_secs(10);
/// Rooms whose names are remembered.
const MOST_ROOMS: usize = 500;
/// Which parts of an event say whose its files are that take no words, behind all an album can have; see
/// [`crate::store::messages::PartKey`].
const LABELS: i64 = 500;

/// What is held while a poll's votes are told.
type Turn = Arc<tokio::sync::Mutex<()>>;
/// The names in a room, by user id.
type Names = Arc<BTreeMap<String, String>>;

/// What relay mode remembers while the process lives.
#[derive(Default)]
pub struct Relays {
    /// With when they were asked for, and the room's mark then ([`crate::matrix::Matrix::names_mark`]).
    names: Mutex<HashMap<String, (Instant, u64, Names)>>,
    /// Held while a poll's tally of votes is told: one tells what all before it did.
    tallies: Mutex<HashMap<(i64, String), Turn>>,
}

impl Relays {
    /// What is held while the votes in a poll are told; those of others are told meanwhile.
    pub(super) fn turn_of(&self, poll: &Poll) -> Turn {
        let mut turns = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry((poll.portal.get(), poll.wa_id.as_str().to_owned())).or_default())
    }
}

/// Somebody who is relayed, as they are called for one event. All of it is safe to show.
#[derive(Debug, Clone)]
pub struct Relayed {
    names: SenderNames,
    /// What the formats call them.
    pub(super) name: String,
}

/// What the relay says, and before it whose it is, where that takes a message of its own.
type Said = (Plan, Option<Draft>);

/// What becomes of a relayed event.
enum Wanted {
    /// Nothing.
    Nothing,
    /// A message.
    Say(Box<Said>),
    /// A vote.
    Vote { poll: String, answers: Vec<String> },
}

impl Bridge {
    /// The login that relays in a chat's room; none where nobody does.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub async fn relay_of(&self, portal: &Portal) -> Result<Option<Login>, Halt> {
        let relay = &self.config().bridge.relay;
        if !relay.enabled {
            return Ok(None);
        }
        let logins = self.logins_that_may_relay(portal).await?;
        let found = match self.store().find_relay(portal.id).await? {
            Some(RelayChoice::Nobody) => None,
            Some(RelayChoice::Through { login, owner }) => {
                logins.into_iter().find(|other| other.id == login && other.mxid == owner)
            }
            None if portal.kind == PortalKind::Group => {
                let defaults = relay.default_relays.iter();
                let there: Vec<&Login> =
                    defaults.filter_map(|id| logins.iter().find(|l| l.id.as_str() == id)).collect();
                let linked = there.iter().find(|login| login.state == LoginState::Linked);
                linked.or(there.first()).map(|login| (*login).clone())
            }
            None => None,
        };
        // Whose permission is gone lends their account to nobody.
        Ok(found.filter(|login| self.config().bridge.level_of(&login.mxid) >= Level::User))
    }

    /// The logins in a chat; none where the chat is of a kind that has no relays.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub async fn logins_that_may_relay(&self, portal: &Portal) -> Result<Vec<Login>, Halt> {
        Ok(match (portal.kind, &portal.receiver) {
            (PortalKind::Group, _) => self.store().logins_in(portal.id).await?,
            (PortalKind::Direct, Some(receiver)) => self.store().find_login(receiver).await?.into_iter().collect(),
            _ => Vec::new(),
        })
    }

    /// Whether somebody may change who may do what in a room.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails.
    pub async fn rules_room(&self, room: &ruma::RoomId, mxid: &str) -> Result<bool, Halt> {
        let create = self.matrix().get_state(room, "m.room.create", "").await?.unwrap_or_default();
        self.may_set_state(room, mxid, &create, "m.room.power_levels").await
    }

    async fn find_relay_for(&self, event: &Event, portal: &Portal) -> Result<Option<(Login, Relayed)>, Halt> {
        // What a room is like is not for guests to say. Of their live locations they hear what to do instead.
        let is_own_place = event.kind.ends_with("beacon_info") && event.state_key.as_deref() == Some(&event.sender);
        if event.state_key.is_some() && !is_own_place || self.config().bridge.level_of(&event.sender) < Level::Relay {
            return Ok(None);
        }
        let is_ours = ruma::UserId::parse(&event.sender).is_ok_and(|user| self.matrix().is_ours(&user));
        if is_ours {
            return Ok(None);
        }
        match self.relay_of(portal).await? {
            Some(login) => Ok(Some((login, self.relayed_as(event).await?))),
            None => Ok(None),
        }
    }

    /// What the sender of an event is called: as whom their client says they speak (MSC4144), else their name in the room, else
    /// their id.
    pub(super) async fn relayed_as(&self, event: &Event) -> Result<Relayed, Halt> {
        let names = self.names_in(&event.room_id, &event.sender).await?;
        let own = names.get(&event.sender).map(String::as_str);
        let said = profile_name(&event.content).map(safe_name).filter(|name| !name.is_empty());
        let user_id = safe_id(&event.sender);
        let displayname = said.or_else(|| own.map(safe_name)).filter(|name| !name.is_empty());
        let names = match displayname {
            None => SenderNames { displayname: user_id.clone(), disambiguated: user_id.clone(), user_id },
            Some(displayname) => {
                let is_taken = self.is_somebodys(&names, &event.sender, &displayname);
                let disambiguated = if is_taken { format!("{displayname} ({user_id})") } else { displayname.clone() };
                SenderNames { displayname, user_id, disambiguated }
            }
        };
        let name = self.config().bridge.relay.displayname_format.render(&names);
        Ok(Relayed { names, name })
    }

    /// Whether somebody else in the room looks to be called so: as they call themselves, or as people of WhatsApp are shown
    /// there who call themselves so.
    fn is_somebodys(&self, names: &Names, sender: &str, name: &str) -> bool {
        let facts = NameFacts { push_name: Some(name), business_name: None, full_name: None, phone: None };
        let on_whatsapp = self.config().network.displayname_template.render(&facts);
        let shapes = [look(name), look(&safe_name(&on_whatsapp))];
        let mut others = names.iter().filter(|(other, _)| *other != sender);
        others.any(|(_, name)| shapes.contains(&look(&safe_name(name))))
    }

    async fn names_in(&self, room: &str, sender: &str) -> Result<Names, Halt> {
        let known = self.shared.relays.names.lock().unwrap_or_else(PoisonError::into_inner).get(room).cloned();
        let mark = self.matrix().names_mark(room);
        if let Some((since, then, names)) = known
            && since.elapsed() < NAMES_FOR
            && then == mark
            && names.contains_key(sender)
        {
            return Ok(names);
        }
        let names: Names = match self.matrix().names_in(&room_id(room)?).await {
            Ok(names) => Arc::new(names),
            // Nobody there to ask: then their ids are their names.
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => Arc::default(),
            Err(error) => return Err(error.into()),
        };
        let mut remembered = self.shared.relays.names.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_ROOMS {
            remembered.clear();
        }
        remembered.insert(room.to_owned(), (Instant::now(), mark, Arc::clone(&names)));
        Ok(names)
    }

    /// What somebody without a login said, as the relay is to say it, and what goes before it; none when nothing is left to do
    /// and the row is settled. On the heap, as the one below: it is deep already where it is called.
    ///
    /// # Errors
    /// [`Halt`] when database, homeserver or WhatsApp fail, or with words for the sender.
    pub(super) fn relayed<'a>(
        &'a self,
        saying: &'a Saying<'a>,
        who: &'a Relayed,
    ) -> BoxFuture<'a, Result<Option<Said>, Halt>> {
        Box::pin(async move {
            match self.wanted_of(saying, who).await? {
                Wanted::Say(said) => return Ok(Some(*said)),
                Wanted::Nothing => self.settle_unsent(saying.row, "Such messages of guests are not passed on.").await?,
                Wanted::Vote { poll, answers } => self.relay_vote(saying, who, &poll, &answers).await?,
            }
            Ok(None)
        })
    }

    /// Who relays an event of somebody without a login in its chat, and as whom; none where it is not relayed.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) fn relay_for<'a>(
        &'a self,
        event: &'a Event,
        portal: &'a Portal,
    ) -> BoxFuture<'a, Result<Option<(Login, Relayed)>, Halt>> {
        Box::pin(self.find_relay_for(event, portal))
    }

    /// What a relayed event is to be on WhatsApp.
    async fn wanted_of(&self, saying: &Saying<'_>, who: &Relayed) -> Result<Wanted, Halt> {
        let event = saying.event;
        let mut content = event.content_with_redacts();
        strip_profile_fallback(&mut content);
        let said = if content["m.new_content"].is_object() { &content["m.new_content"] } else { &content };
        if said["msgtype"] == "m.notice" && !self.config().bridge.relay.notices {
            return Ok(Wanted::Nothing);
        }
        let planned =
            plan(&event.kind, &content).map_err(|refusal| never(refusal.tell, "a relayed event of no kind"))?;
        let msgtype = said["msgtype"].as_str().unwrap_or_default();
        let say = |plan| Ok(Wanted::Say(Box::new((plan, None))));
        match planned {
            Plan::Message(draft) => say(Plan::Message(Box::new(self.dressed(who, *draft, msgtype)))),
            // Each of its files stands alone where another can not go.
            Plan::Album(drafts) => {
                say(Plan::Album(drafts.into_iter().map(|draft| self.dressed(who, draft, msgtype)).collect()))
            }
            Plan::Edit { target, draft } => {
                self.is_theirs(saying, &target, "edited").await?;
                let draft = self.dressed(who, *draft, msgtype);
                say(Plan::Edit { target, draft: Box::new(draft) })
            }
            Plan::React { target, emoji } => {
                if self.in_this_chat(saying, &target).await?.is_none() {
                    return Err(never(
                        "The message you reacted to is not on WhatsApp.",
                        "a reaction's target is unknown",
                    ));
                }
                let text = self.around(who, FormatKind::Reaction, "", lines(&emoji));
                say(Plan::Message(Box::new(Draft { reply_to: Some(target), ..words(text) })))
            }
            Plan::Redact { target } => {
                if self.store().find_reaction_by_event(&target).await?.is_some() {
                    return Err(not_theirs("deleted"));
                }
                self.is_theirs(saying, &target, "deleted").await?;
                say(Plan::Redact { target })
            }
            Plan::Poll(draft) => Ok(self.poll_of(who, draft)),
            Plan::Vote { poll, answers } => Ok(Wanted::Vote { poll, answers }),
            Plan::PollEnd { poll, text } => {
                self.is_theirs(saying, &poll, "ended").await?;
                say(Plan::PollEnd { poll, text })
            }
            Plan::Pins { .. } | Plan::Pin { .. } => Ok(Wanted::Nothing),
            // Said at the start, not at each step.
            Plan::LiveMove { .. } | Plan::LiveStop => Ok(Wanted::Nothing),
            Plan::LiveStart { .. } => Err(never(
                "Live locations need a WhatsApp account of your own; please send where you are as a location.",
                "a live location of a relayed person",
            )),
        }
    }

    /// Only what somebody wrote themselves is theirs to change: it all has the relay's name on WhatsApp.
    async fn is_theirs(&self, saying: &Saying<'_>, target: &str, done: &str) -> Result<(), Halt> {
        match self.in_this_chat(saying, target).await? {
            Some(target) if !target.from_matrix || target.mx_sender != saying.event.sender => Err(not_theirs(done)),
            Some(target) if target.key.sender != saying.login.own => Err(never(
                format!(
                    "This went to WhatsApp through another account than the one that relays here now, so it can't be {done} \
                     there any more. Please ask the owner of that account to do it."
                ),
                "it went through another relay",
            )),
            // What it is about is somebody else's, or gone: whoever goes on says so.
            _ => Ok(()),
        }
    }

    /// The format's words around somebody's own.
    fn around(&self, who: &Relayed, kind: FormatKind, file: &str, own: Vec<Block>) -> Vec<Block> {
        let formats = &self.config().bridge.relay.message_formats;
        let html = formats.render(kind, &who.names, &who.name, file, !own.is_empty());
        put_into(&html, MESSAGE_MARK, own)
    }

    /// A draft with its author's name. A file has it in its caption, whatever the event calls it: what the file really is
    /// decides whether it takes one; see [`words_before`].
    fn dressed(&self, who: &Relayed, mut draft: Draft, msgtype: &str) -> Draft {
        // A guest calls nobody on WhatsApp together.
        draft.mention_room = false;
        let kind = kind_of(&draft, msgtype);
        match &mut draft.content {
            DraftContent::Text { text, .. } => *text = self.around(who, kind, "", std::mem::take(text)),
            DraftContent::Place { name, .. } => *name = letters(&self.around(who, kind, "", lines(name))),
            DraftContent::File { media, caption } => {
                *caption = self.around(who, kind, &safe_name(&media.name), std::mem::take(caption));
            }
        }
        draft
    }

    /// A poll with its author's name in the question, or before it where the question is too long for that.
    fn poll_of(&self, who: &Relayed, draft: PollDraft) -> Wanted {
        let question = letters(&self.around(who, FormatKind::Poll, "", lines(&draft.question)));
        if question.chars().count() <= MAX_QUESTION {
            return Wanted::Say(Box::new((Plan::Poll(PollDraft { question, ..draft }), None)));
        }
        let label = words(self.around(who, FormatKind::Poll, "", Vec::new()));
        Wanted::Say(Box::new((Plan::Poll(draft), Some(label))))
    }

    /// Says whose the next message is, the event's `at`th.
    ///
    /// # Errors
    /// [`Halt`] when the database or WhatsApp fail.
    pub(super) fn send_label<'a>(
        &'a self,
        saying: &'a Saying<'a>,
        label: Draft,
        at: usize,
    ) -> BoxFuture<'a, Result<(), Halt>> {
        Box::pin(async move {
            self.say_whose(saying, label, LABELS.saturating_add(i64::try_from(at).unwrap_or(0))).await?;
            fail::fail_point!("relay.after_label", |_| super::states::die_here());
            Ok(())
        })
    }

    async fn say_whose(&self, saying: &Saying<'_>, label: Draft, part: i64) -> Result<(), Halt> {
        let wa_id = self.store().derive().wa_message(&saying.login.id, &saying.event.event_id, part);
        let secret = self.store().derive().wa_message_secret(&saying.login.id, &wa_id);
        let (people, timer) = (self.people_named(&label).await?, saying.timer());
        let message = {
            let find = |mxid: &str| people.get(mxid).cloned();
            let mut resolved = Resolved::new(&find);
            (resolved.secret, resolved.timer) = (Some(secret), timer);
            resolved.ts_ms = saying.event.origin_server_ts;
            made(&Plan::Message(Box::new(label)), &resolved)?
        };
        let key = key_of_ours(saying, wa_id, part);
        let outgoing = Outgoing::quotable("new", message);
        if let Some(sent) = self.hand_over(saying, &key, &outgoing).await? {
            let mut tx = self.store().begin("relay.label").await?;
            self.store().message_was_sent_in(&mut tx, &key, None).await?;
            if let Some(seconds) = expires_s(&sent) {
                self.store().put_expiry_in(&mut tx, &key, self.expires_at(seconds)).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What somebody hears whose relay is not linked any more.
pub(super) fn relay_logged_out() -> Halt {
    never(
        "The WhatsApp account that relays what you write here is logged out, so nothing reaches WhatsApp until its owner \
         links it again. Please send it once more then.",
        "the relay is logged out",
    )
}

fn not_theirs(done: &str) -> Halt {
    never(format!("Only what you wrote yourself can be {done} on WhatsApp."), "it is not the relayed person's own")
}

fn kind_of(draft: &Draft, msgtype: &str) -> FormatKind {
    match &draft.content {
        DraftContent::Text { .. } if draft.notice => FormatKind::Notice,
        DraftContent::Text { .. } if msgtype == "m.emote" => FormatKind::Emote,
        DraftContent::Text { .. } => FormatKind::Text,
        DraftContent::Place { .. } => FormatKind::Location,
        DraftContent::File { media, .. } => match media.kind {
            MxKind::Image => FormatKind::Image,
            MxKind::Video | MxKind::Gif => FormatKind::Video,
            MxKind::Audio | MxKind::Voice => FormatKind::Audio,
            MxKind::File | MxKind::Contacts => FormatKind::File,
            MxKind::Sticker => FormatKind::Sticker,
        },
    }
}

/// What has to be said before a relayed file, once it is made: its caption, where what it really is takes none.
pub(super) fn words_before(saying: &Saying<'_>, draft: &Draft, made: &wa::Message) -> Option<Draft> {
    let DraftContent::File { caption, .. } = &draft.content else { return None };
    let said = made.comment_message.as_option().and_then(|comment| comment.message.as_option());
    let made = opened(said.unwrap_or(made));
    // Of what is sealed already nobody knows.
    let takes_none = made.enc_comment_message.is_set()
        || made.audio_message.is_set()
        || made.sticker_message.is_set()
        || made.ptv_message.is_set()
        || made.contact_message.is_set()
        || made.contacts_array_message.is_set();
    (saying.is_relayed && takes_none).then(|| Draft { mentions: draft.mentions.clone(), ..words(caption.clone()) })
}

/// Words as they stand; none for none.
pub(super) fn lines(text: &str) -> Vec<Block> {
    if text.is_empty() { Vec::new() } else { vec![Block::Lines(vec![Inline::Text(text.to_owned())])] }
}

/// A message of these words alone.
pub(super) fn words(text: Vec<Block>) -> Draft {
    Draft {
        content: DraftContent::Text { text, preview: PreviewWish::Nothing },
        notice: false,
        reply_to: None,
        thread_of: None,
        mentions: Vec::new(),
        mention_room: false,
    }
}
