//! Polls, votes and ends of polls out of Matrix.
//!
//! A vote is sealed once: the built message is kept with the reservation and sent again as it is. WhatsApp counts the latest
//! by the sender's clock, so a vote made here is never older than the one the phone made before.

use super::Bridge;
use super::from_matrix::never;
use super::outgoing::{Outgoing, Saying, made};
use super::people::Halt;
use super::rooms::room_id;
use crate::convert::incoming::{PollOption, Sealed, poll_response};
use crate::convert::outgoing::{Plan, PollDraft, Resolved, vote_hashes};
use crate::derive::hex;
use crate::matrix::error::MatrixError;
use crate::store::messages::{Message, MessageState};
use crate::store::polls::{Answer, Growth, Poll, Vote, VoteKey};
use crate::store::{Store, StoreError, Tx};
use ruma::UserId;
use whatsapp_rust::prelude::wa;
use whatsapp_rust::wacore::poll::encrypt_poll_vote_with_secret;

/// What the arrival of a message changes about a poll.
#[derive(Clone)]
pub enum Ballot {
    /// Somebody's choice; the one before is still shown.
    Cast {
        /// The choice.
        vote: Vote,
        /// The choice it replaces.
        before: Option<Vote>,
    },
    /// The poll is over.
    Closed(Poll),
}

impl Bridge {
    /// The message of a new poll, which is kept before it is sent.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub(super) async fn new_poll(&self, saying: &Saying<'_>, plan: &Plan, draft: &PollDraft) -> Result<Outgoing, Halt> {
        let timer = saying.timer();
        let message = {
            let nobody = |_: &str| None;
            let mut resolved = Resolved::new(&nobody);
            resolved.secret = Some(saying.secret);
            resolved.ts_ms = saying.event.origin_server_ts;
            resolved.timer = timer;
            made(plan, &resolved)?
        };
        let answer = |(id, text): &(String, String)| Answer {
            hash: PollOption::new(text).id,
            id: id.clone(),
            text: text.clone(),
        };
        let poll = Poll {
            portal: saying.portal.id,
            wa_id: self.store().derive().wa_message(&saying.login.id, &saying.event.event_id, 0),
            author: saying.login.own.clone(),
            question: draft.question.clone(),
            answers: draft.options.iter().map(answer).collect(),
            max_selections: draft.max_selections,
            growth: Growth::ByAuthor,
            ends_at: None,
            ended_at: None,
        };
        self.store().put_poll(self.sealer(), &poll, Some(&saying.secret)).await?;
        Ok(Outgoing::quotable("new", message))
    }

    /// The message of somebody's choice.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub(super) async fn vote_of(
        &self,
        saying: &Saying<'_>,
        plan: &Plan,
        event: &str,
        answers: &[String],
    ) -> Result<Outgoing, Halt> {
        let (target, poll) = self.poll_here(saying, event, "The poll you voted in").await?;
        if poll.ended_at.is_some() {
            return Err(never(
                "This poll has ended, so your vote was not sent. Ask who made it to make another.",
                "a vote in a poll that is over",
            ));
        }
        let options: Vec<(String, String)> =
            poll.answers.iter().map(|one| (one.id.clone(), one.text.clone())).collect();
        let chosen: Vec<String> = answers.iter().take(poll.max_selections).cloned().collect();
        let hashes = vote_hashes(&chosen, &options).map_err(|refusal| never(refusal.tell, "a vote for no answer"))?;
        self.cast(saying, plan, &target, &poll, hashes, Some(saying.event.event_id.clone())).await
    }

    /// The message that takes a vote back, for the deletion of the event that shows it; none when the event shows none.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub(super) async fn withdrawal_of(&self, saying: &Saying<'_>, event: &str) -> Result<Option<Outgoing>, Halt> {
        let Some(vote) = self.store().find_vote_by_event(event).await? else { return Ok(None) };
        if vote.key.portal != saying.portal.id || vote.key.voter != saying.login.own {
            return Err(never(
                "Only your own vote can be taken back on WhatsApp; this one is gone here and stays there.",
                "a deletion of somebody else's vote",
            ));
        }
        let poll = self.store().find_poll(vote.key.portal, &vote.key.poll).await?;
        let target = self.store().find_message_by_wa_id(vote.key.portal, &vote.key.poll).await?;
        let (Some(poll), Some(target)) = (poll, target) else { return Ok(None) };
        let none = Plan::Vote { poll: String::new(), answers: Vec::new() };
        let mut outgoing = self.cast(saying, &none, &target, &poll, Vec::new(), None).await?;
        if let Some(Ballot::Cast { before, .. }) = &mut outgoing.ballot {
            // Its event is what was deleted.
            *before = None;
        }
        Ok(Some(outgoing))
    }

    async fn cast(
        &self,
        saying: &Saying<'_>,
        plan: &Plan,
        target: &Message,
        poll: &Poll,
        hashes: Vec<Vec<u8>>,
        event_id: Option<String>,
    ) -> Result<Outgoing, Halt> {
        let no_key = || {
            never(
                "The poll's key is not known here, so the vote could not be sent. Please vote in WhatsApp.",
                "a poll has no secret",
            )
        };
        let secret = self.store().poll_secret(self.sealer(), poll).await?.ok_or_else(no_key)?;
        let pairs = self.pairs_of(&saying.login.id, &poll.author, &saying.login.own).await?;
        let pair = pairs.into_iter().next().ok_or_else(no_key)?;
        let sealed = encrypt_poll_vote_with_secret(&hashes, &secret, poll.wa_id.as_str(), &pair.author, &pair.actor);
        let (payload, iv) = sealed.map_err(|_| no_key())?;
        let key = VoteKey { portal: poll.portal, poll: poll.wa_id.clone(), voter: saying.login.own.clone() };
        let before = self.store().find_vote(&key).await?;
        let after = before.as_ref().map_or(0, |before| before.ts.saturating_add(1));
        let nobody = |_: &str| None;
        let mut resolved = Resolved::new(&nobody);
        resolved.target = Some(Self::key_of(saying, target));
        resolved.ts_ms = saying.event.origin_server_ts.max(after);
        resolved.sealed = Some(Sealed { payload, iv: iv.to_vec() });
        let vote = Vote {
            key,
            chosen: hashes.iter().map(|hash| hex(hash)).collect(),
            ts: resolved.ts_ms,
            event_id,
            mx_sender: saying.event.sender.clone(),
            shown_at: before.as_ref().map_or(0, |before| before.shown_at),
        };
        let ballot = Some(Ballot::Cast { vote, before });
        Ok(Outgoing { ballot, ..Outgoing::new("vote", made(plan, &resolved)?) })
    }

    /// The message that tells a poll's result; none when it has ended already.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub(super) async fn poll_end_of(
        &self,
        saying: &Saying<'_>,
        plan: &Plan,
        event: &str,
    ) -> Result<Option<Outgoing>, Halt> {
        let (_, poll) = self.poll_here(saying, event, "The poll you ended").await?;
        if poll.author != saying.login.own {
            return Err(never(
                "Only who asked a poll can end it; on WhatsApp it goes on.",
                "an end of somebody else's poll",
            ));
        }
        if poll.ended_at.is_some() {
            return Ok(None);
        }
        let (quoted, results) = (self.quoted(saying, event).await?, self.store().results_of(&poll).await?);
        let timer = saying.timer();
        let nobody = |_: &str| None;
        let mut resolved = Resolved::new(&nobody);
        resolved.secret = Some(saying.secret);
        resolved.ts_ms = saying.event.origin_server_ts;
        resolved.quoted = quoted;
        resolved.results = results;
        resolved.timer = timer;
        let message = made(plan, &resolved)?;
        let ballot = Some(Ballot::Closed(poll));
        Ok(Some(Outgoing { ballot, ..Outgoing::quotable("new", message) }))
    }

    /// A poll of the event's own chat.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the sender.
    pub(super) async fn poll_here(
        &self,
        saying: &Saying<'_>,
        event: &str,
        what: &str,
    ) -> Result<(Message, Poll), Halt> {
        let missing = || never(format!("{what} is not on WhatsApp, so this was not sent."), "a poll is unknown");
        let target = self.in_this_chat(saying, event).await?.ok_or_else(missing)?;
        if target.state == MessageState::Failed {
            return Err(missing());
        }
        let poll = self.poll_behind(&target).await?.ok_or_else(missing)?;
        Ok((target, poll))
    }

    /// Ends a poll that the person's phone asked: on Matrix it is their ghost's to end.
    async fn close(&self, saying: &Saying<'_>, poll: &Poll) -> Result<(), Halt> {
        let target = self.store().find_message_by_wa_id(poll.portal, &poll.wa_id).await?;
        match target.filter(|target| self.ghost_behind(target).is_some()) {
            Some(target) => self.tell_end(poll, &target, &saying.event.room_id).await,
            None => Ok(()),
        }
    }

    /// Takes the choice that a new one replaces out of the room: an event of the person's own is deleted, beside one of
    /// their ghost stands an empty one. The same again changes nothing.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails.
    pub(super) async fn unshow(&self, saying: &Saying<'_>, ballot: &mut Ballot) -> Result<(), Halt> {
        let (vote, before) = match ballot {
            Ballot::Cast { vote, before: Some(before) } => (vote, before),
            Ballot::Cast { before: None, .. } => return Ok(()),
            Ballot::Closed(poll) => return self.close(saying, poll).await,
        };
        if before.event_id.is_none() || before.event_id == vote.event_id {
            return Ok(());
        }
        let room = room_id(&saying.event.room_id)?;
        if let Some((event, sender)) = self.own_event(before) {
            return self.redact_once(&room, &event, &sender, &saying.row.dedup, "vote").await;
        }
        let Ok(ghost) = UserId::parse(&before.mx_sender) else { return Ok(()) };
        let poll = self.store().find_message_by_wa_id(vote.key.portal, &vote.key.poll).await?;
        let Some(poll) = poll.and_then(|poll| poll.event_id) else { return Ok(()) };
        let part = poll_response(&poll, &[]);
        let txn = self.store().derive().notice_txn(&saying.row.dedup, "vote");
        // Clients take the latest of each user.
        vote.shown_at = saying.event.origin_server_ts.max(before.shown_at.saturating_add(1));
        match self.matrix().send(&room, &ghost, part.event_type, &txn, &part.content, Some(vote.shown_at)).await {
            Ok(_) => Ok(()),
            // It was never in this room, or is no longer.
            Err(MatrixError::NotFound | MatrixError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// When a built vote says that it was cast, milliseconds since 1970: a repeat is sent as it was first built.
pub(super) fn cast_at(message: &wa::Message) -> Option<i64> {
    message.poll_update_message.as_option()?.sender_timestamp_ms
}

/// Records what a message changed, with its settlement.
///
/// # Errors
/// When the database fails.
pub(super) async fn record_in(store: &Store, tx: &mut Tx, ballot: &Ballot, now_ms: i64) -> Result<(), StoreError> {
    match ballot {
        Ballot::Cast { vote, .. } => store.put_vote_in(tx, vote).await,
        Ballot::Closed(poll) => store.end_poll_in(tx, poll.portal, &poll.wa_id, now_ms).await,
    }
}
