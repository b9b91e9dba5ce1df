//! Polls and votes from WhatsApp.
//!
//! A poll is kept before its event is sent, so nobody finds the event without the poll. A person's vote is one event of
//! their ghost, the latest by their clock; where they had voted on Matrix themselves that event goes.

use super::Bridge;
use super::deliver::Delivery;
use super::effects::Scene;
use super::people::{Facts, Halt};
use super::rooms::{Known, room_id};
use crate::convert::incoming::{
    PollFacts, PollOption, Sealed, poll_changed, poll_end, poll_facts, poll_grown, poll_response, poll_result,
};
use crate::convert::outgoing::MAX_OPTIONS;
use crate::convert::{MessageName, MxPart, edit, notice};
use crate::derive::hex;
use crate::ids::WaMessageId;
use crate::matrix::error::MatrixError;
use crate::store::messages::Message;
use crate::store::polls::{Answer, Growth, Poll, Vote, VoteKey};
use ruma::{OwnedUserId, UserId};
use serde_json::json;
use std::time::Duration;
use whatsapp_rust::prelude::wa;

/// Between two looks for polls whose time is over.
const BETWEEN_ENDS: Duration = Duration::from_secs(15);
/// How long a poll's event may be on its way when its time is over, milliseconds.
const GIVEN_UP_AFTER: i64 = 24 * 3600 * 1000;
/// The unstable name under which polls are sent.
const START: &str = "org.matrix.msc3381.poll.start";

impl Bridge {
    /// Keeps the poll in a message, if it is one.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn keep_poll(&self, scene: &Scene<'_>, message: &wa::Message) -> Result<(), Halt> {
        let Some(facts) = poll_facts(message).filter(|facts| !facts.options.is_empty()) else { return Ok(()) };
        let poll = Poll {
            portal: scene.portal,
            wa_id: WaMessageId::new(scene.arrival.id.as_str()),
            author: scene.sender.clone(),
            question: facts.question.clone(),
            answers: facts.options.iter().map(answer_of).collect(),
            max_selections: facts.max_selections,
            growth: if facts.may_grow { Growth::ByAnybody } else { Growth::ByAuthor },
            ends_at: ends_at(&facts),
            ended_at: None,
        };
        Ok(self.store().put_poll(self.sealer(), &poll, facts.secret.as_deref()).await?)
    }

    /// The poll a message is.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn poll_behind(&self, target: &Message) -> Result<Option<Poll>, Halt> {
        let found = self.store().find_poll(target.key.portal, &target.key.wa_id).await?;
        Ok(found.filter(|poll| poll.author == target.key.sender))
    }

    /// Shows somebody's vote, once its poll is here.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn vote(
        &self,
        scene: &Scene<'_>,
        name: &MessageName,
        sealed: &Sealed,
        ts_ms: i64,
    ) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let (Some(poll), Some(event)) = (self.poll_behind(&target).await?, &target.event_id) else {
            return self.drop_row(scene, "a vote is for no poll").await;
        };
        let Some(hashes) = self.open_vote(scene, &poll, sealed).await? else {
            return self.drop_row(scene, "a vote can't be opened").await;
        };
        let key = VoteKey { portal: poll.portal, poll: poll.wa_id.clone(), voter: scene.sender.clone() };
        let before = self.store().find_vote(&key).await?;
        let ts = if ts_ms > 0 { ts_ms } else { scene.arrival.ts_ms };
        if before.as_ref().is_some_and(|before| before.ts > ts) {
            return self.drop_row(scene, "a newer vote of the same person is here").await;
        }
        let chosen: Vec<String> = hashes.iter().take(poll.max_selections).map(|hash| hex(hash)).collect();
        let is_the_same = before.as_ref().map_or(chosen.is_empty(), |before| before.chosen == chosen);
        let user = self.author(scene, self.facts_of(scene)).await?;
        let mut vote =
            Vote { key, chosen, ts, event_id: None, mx_sender: user.to_string(), shown_at: scene.arrival.ts_ms };
        if is_the_same {
            if let Some(before) = before {
                vote = Vote { ts, ..before };
            }
        } else {
            let known = self.ready_room(scene.portal, scene.login).await?;
            // Clients take the latest event of each user, and WhatsApp's clock counts seconds.
            let shown = before.as_ref().map_or(0, |before| before.shown_at);
            vote.shown_at = vote.shown_at.max(shown + 1);
            let part = poll_response(event, &ids_of(&poll, &vote.chosen));
            self.show(scene, &known, &user, "vote", &part, vote.shown_at).await?;
            vote.event_id = self.store().find_message(&scene.key(0)).await?.and_then(|message| message.event_id);
            if let Some((event, sender)) = before.as_ref().and_then(|before| self.own_event(before)) {
                self.redact_once(&known.room, &event, &sender, &scene.row.dedup, "vote").await?;
            }
        }
        let mut tx = self.store().begin("polls.vote").await?;
        self.store().put_vote_in(&mut tx, &vote).await?;
        self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// The event by which a person voted on Matrix, and who they are there: nobody else can vote for them again.
    pub(super) fn own_event(&self, vote: &Vote) -> Option<(String, String)> {
        let is_ours = UserId::parse(&vote.mx_sender).is_ok_and(|user| self.matrix().is_ours(&user));
        vote.event_id.clone().filter(|_| !is_ours).map(|event| (event, vote.mx_sender.clone()))
    }

    /// Adds an answer to a poll, by who may.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn add_answer(
        &self,
        scene: &Scene<'_>,
        name: &MessageName,
        option: &PollOption,
    ) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let Some(mut poll) = self.poll_behind(&target).await? else {
            return self.drop_row(scene, "an answer is for no poll").await;
        };
        let may = poll.growth == Growth::ByAnybody || poll.author == *scene.sender;
        let is_new = !poll.answers.iter().any(|answer| answer.hash == option.id);
        if !may || (is_new && poll.answers.len() >= MAX_OPTIONS) {
            return self.drop_row(scene, "an answer that may not be added").await;
        }
        if is_new {
            poll.answers.push(answer_of(option));
            self.store().change_poll(&poll).await?;
        }
        self.show_changed(scene, &target, &poll, &poll_grown(option)).await
    }

    /// Makes a poll what its author's edit says; an end that is past ends it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn edit_poll(
        &self,
        scene: &Scene<'_>,
        target: &Message,
        edited: &wa::Message,
    ) -> Result<(), Halt> {
        let (Some(mut poll), Some(facts)) = (self.poll_behind(target).await?, poll_facts(edited)) else {
            return self.drop_row(scene, "an edit of a poll holds none").await;
        };
        if poll.author != *scene.sender {
            return self.drop_row(scene, "an edit of a poll that is not its author's").await;
        }
        let before = poll.clone();
        if !facts.question.is_empty() {
            poll.question.clone_from(&facts.question);
        }
        if !facts.options.is_empty() {
            let known = |option: &PollOption| before.answers.iter().find(|answer| answer.hash == option.id).cloned();
            poll.answers =
                facts.options.iter().map(|option| known(option).unwrap_or_else(|| answer_of(option))).collect();
            poll.max_selections = facts.max_selections;
        }
        poll.ends_at = ends_at(&facts).or(poll.ends_at);
        self.store().change_poll(&poll).await?;
        if poll.ended_at.is_none() && poll.ends_at.is_some_and(|end| end <= scene.arrival.ts_ms) {
            return self.end_from_whatsapp(scene, target, &poll).await;
        }
        self.show_changed(scene, target, &poll, "Changed the poll").await
    }

    /// Shows what a poll asks now: as an edit of its event, or, where a person on Matrix asked, in words.
    async fn show_changed(&self, scene: &Scene<'_>, target: &Message, poll: &Poll, said: &str) -> Result<(), Halt> {
        let Some(event) = &target.event_id else { return self.drop_row(scene, "a poll has no event").await };
        let known = self.ready_room(scene.portal, scene.login).await?;
        let author = self.ghost_behind(target);
        let content = match &author {
            Some(_) => self.matrix().find_content(&known.room, event).await?,
            None => None,
        };
        let (user, part) = match (author, content) {
            (Some(author), Some(content)) => {
                let answers: Vec<_> = poll.answers.iter().map(|one| (one.id.clone(), one.text.clone())).collect();
                let content = poll_changed(&content, &poll.question, &answers, poll.max_selections);
                (author, MxPart::new(START, edit::replacement(&content, event)))
            }
            _ => {
                let mut part = MxPart::new("m.room.message", notice(said));
                part.content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event } });
                (self.author(scene, self.facts_of(scene)).await?, part)
            }
        };
        self.show(scene, &known, &user, "edit", &part, scene.arrival.ts_ms).await?;
        Ok(self.store().settle_row(scene.row.seq).await?)
    }

    async fn end_from_whatsapp(&self, scene: &Scene<'_>, target: &Message, poll: &Poll) -> Result<(), Halt> {
        let Some(event) = &target.event_id else { return self.drop_row(scene, "a poll has no event").await };
        let known = self.ready_room(scene.portal, scene.login).await?;
        let part = poll_end(event, &poll_result(&self.store().results_of(poll).await?));
        // Only who asked, or who may take events away, can end a poll on Matrix.
        let user = self.ghost_behind(target).unwrap_or_else(|| self.matrix().bot().to_owned());
        self.show(scene, &known, &user, "notice", &part, scene.arrival.ts_ms).await?;
        let mut tx = self.store().begin("polls.end").await?;
        self.store().end_poll_in(&mut tx, poll.portal, &poll.wa_id, scene.arrival.ts_ms).await?;
        self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the polls whose time is over, until the process stops. Each end may be interrupted; it is told once.
    pub(super) async fn run_poll_ends(&self) {
        loop {
            match self.end_overdue_polls().await {
                Ok(()) => {}
                Err(Halt::Store(error)) => tracing::warn!(%error, "polls whose time is over are ended later"),
                Err(Halt::Verdict(_)) => tracing::debug!("polls whose time is over are ended later"),
            }
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(BETWEEN_ENDS) => {}
            }
        }
    }

    async fn end_overdue_polls(&self) -> Result<(), Halt> {
        let now = self.store().clock().now_ms();
        for poll in self.store().overdue_polls(now).await? {
            let target = self.store().parts_of(poll.portal, &poll.author, &poll.wa_id).await?.into_iter().next();
            let room = self.store().load_portal(poll.portal).await?.room;
            match (target, room) {
                (Some(target), Some(room)) => self.tell_end(&poll, &target, &room).await?,
                // Its event is still on its way.
                _ if poll.ends_at.is_some_and(|end| now - end < GIVEN_UP_AFTER) => continue,
                _ => {}
            }
            let mut tx = self.store().begin("polls.overdue").await?;
            self.store().end_poll_in(&mut tx, poll.portal, &poll.wa_id, now).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Ends a poll's event as who sent it, with the result; told once.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn tell_end(&self, poll: &Poll, target: &Message, room: &str) -> Result<(), Halt> {
        let Some(event) = &target.event_id else { return Ok(()) };
        let part = poll_end(event, &poll_result(&self.store().results_of(poll).await?));
        let user = self.ghost_behind(target).unwrap_or_else(|| self.matrix().bot().to_owned());
        let txn = self.store().derive().notice_txn(event, "poll-end");
        match self.matrix().send(&room_id(room)?, &user, part.event_type, &txn, &part.content, None).await {
            // Nobody is there to be told.
            Ok(_) | Err(MatrixError::NotFound | MatrixError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The ghost that sent an event.
    pub(super) fn ghost_behind(&self, target: &Message) -> Option<OwnedUserId> {
        UserId::parse(&target.mx_sender).ok().filter(|user| self.matrix().is_ours(user))
    }

    fn facts_of<'a>(&self, scene: &'a Scene<'_>) -> Facts<'a> {
        Facts { push_name: &scene.arrival.push_name, business_name: None }
    }

    /// Sends an event of a row that is settled afterwards.
    async fn show(
        &self,
        scene: &Scene<'_>,
        known: &Known,
        user: &UserId,
        kind: &'static str,
        part: &MxPart,
        ts: i64,
    ) -> Result<(), Halt> {
        let delivery = Delivery {
            key: scene.key(0),
            kind,
            part,
            ghost: scene.sender,
            user,
            login: scene.login,
            ts,
            quote: None,
            reaction: None,
            settles: None,
        };
        self.deliver(known, &delivery).await
    }
}

fn answer_of(option: &PollOption) -> Answer {
    Answer { hash: option.id.clone(), id: option.id.clone(), text: option.name.clone() }
}

fn ends_at(facts: &PollFacts) -> Option<i64> {
    facts.ends_at.and_then(|seconds| seconds.checked_mul(1000))
}

/// What the poll's event calls the answers behind these hashes; those it does not have are left out.
pub(super) fn ids_of(poll: &Poll, chosen: &[String]) -> Vec<String> {
    let find = |hash: &String| poll.answers.iter().find(|answer| answer.hash == *hash).map(|answer| answer.id.clone());
    chosen.iter().filter_map(find).collect()
}
