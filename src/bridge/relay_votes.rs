//! Votes of relayed people: an account of WhatsApp has one vote, so how they voted is told as a message of the relay, which is
//! changed as they vote.
//!
//! A vote is kept before the message is sent, and the message says what is kept: however often it is tried, the last one tells
//! of everybody. Its name is kept before it is sent, so that the next vote finds it.

use super::Bridge;
use super::from_matrix::{Event, never};
use super::outgoing::{Outgoing, Saying, made};
use super::people::Halt;
use super::relay::{Relayed, lines, words};
use super::sending::key_of_ours;
use crate::convert::features::EDIT_WINDOW_S;
use crate::convert::incoming::expires_s;
use crate::convert::outgoing::{Draft, Plan, Resolved, vote_hashes};
use crate::derive::hex;
use crate::store::inbox::InboxRow;
use crate::store::logins::LoginState;
use crate::store::messages::{Message, MessageState, PartKey};
use crate::store::polls::Poll;
use crate::store::portals::Portal;
use crate::store::relay::{RelayVote, Tally};
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::line::LineState;
use futures_util::future::BoxFuture;
use whatsapp_rust::prelude::wa;

/// The kind of a message that tells of votes; see [`crate::store::messages::Reservation::kind`].
pub(super) const TALLY: &str = "tally";
/// Which parts of a vote's event are a new message with all votes, and a change of an older one. Nothing else has parts from
/// 1000 on; the store tells tallies apart by them.
const NEW: i64 = 1000;
const CHANGED: i64 = 1001;
/// How long the message may be changed, milliseconds: a minute less than WhatsApp allows, for the way.
const CHANGE_FOR: i64 = (EDIT_WINDOW_S - 60) * 1000;
/// How long a vote waits for the message of another that is on its way, milliseconds.
const WAITS_FOR: i64 = 120_000;
/// The most names that stand behind an answer.
const MOST_NAMES: usize = 20;

impl Bridge {
    /// Tells how somebody voted.
    ///
    /// # Errors
    /// [`Halt`]; with words for them when they can not vote there.
    pub(super) async fn relay_vote(
        &self,
        saying: &Saying<'_>,
        who: &Relayed,
        poll: &str,
        answers: &[String],
    ) -> Result<(), Halt> {
        let (target, poll) = self.poll_here(saying, poll, "The poll you voted in").await?;
        if poll.ended_at.is_some() {
            return Err(never("This poll has ended, so your vote was not sent.", "a vote in a poll that is over"));
        }
        let options: Vec<(String, String)> =
            poll.answers.iter().map(|one| (one.id.clone(), one.text.clone())).collect();
        let chosen: Vec<String> = answers.iter().take(poll.max_selections).cloned().collect();
        let hashes = vote_hashes(&chosen, &options).map_err(|refusal| never(refusal.tell, "a vote for no answer"))?;
        let vote = RelayVote {
            portal: poll.portal,
            poll: poll.wa_id.clone(),
            mxid: saying.event.sender.clone(),
            name: who.name.clone(),
            chosen: hashes.iter().map(|hash| hex(hash)).collect(),
            ts: saying.event.origin_server_ts,
            event_id: saying.event.event_id.clone(),
        };
        let told = self.tell_votes(saying, &target, &poll, &vote).await;
        if matches!(told, Err(Halt::Verdict(Verdict::Never { .. }))) {
            // They hear that it was not sent: then it does not count either.
            self.store().take_back_relay_vote(&vote).await?;
        }
        told
    }

    /// Takes a vote back whose event was deleted, by its author or by who rules the room: the homeserver lets nobody else.
    /// False when the event is no such deletion. On the heap: it is deep already where it is called.
    ///
    /// # Errors
    /// [`Halt`] when database or WhatsApp fail.
    pub(super) fn relay_unvote<'a>(
        &'a self,
        row: &'a InboxRow,
        event: &'a Event,
        portal: &'a Portal,
    ) -> BoxFuture<'a, Result<bool, Halt>> {
        Box::pin(self.unvote(row, event, portal))
    }

    async fn unvote(&self, row: &InboxRow, event: &Event, portal: &Portal) -> Result<bool, Halt> {
        let content = event.content_with_redacts();
        let Some(deleted) = content["redacts"].as_str().filter(|_| event.kind == "m.room.redaction") else {
            return Ok(false);
        };
        let vote = self.store().find_relay_vote_by_event(deleted).await?;
        let Some(vote) = vote.filter(|vote| vote.portal == portal.id) else { return Ok(false) };
        let poll = self.store().find_poll(vote.portal, &vote.poll).await?.filter(|poll| poll.ended_at.is_none());
        let target = self.store().find_message_by_wa_id(vote.portal, &vote.poll).await?;
        let ts = event.origin_server_ts.max(vote.ts);
        let vote = RelayVote { chosen: Vec::new(), ts, ..vote };
        let relay = self.relay_of(portal).await?.filter(|login| login.state == LoginState::Linked);
        match (poll, target, relay) {
            (Some(poll), Some(target), Some(login)) => {
                let wa_id = self.store().derive().wa_message(&login.id, &event.event_id, 0);
                let secret = self.store().derive().wa_message_secret(&login.id, &wa_id);
                let timer = self.store().find_timer(portal.id).await?;
                let saying = Saying { row, event, portal, login: &login, secret, timer, is_relayed: true };
                self.expect_outcome(row, event).await?;
                self.tell_votes(&saying, &target, &poll, &vote).await?;
            }
            // Nobody is there to tell it. What a poll that is over has counted stays.
            (Some(_), ..) => {
                self.store().put_relay_vote(&vote).await?;
                self.store().settle_row(row.seq).await?;
            }
            (None, ..) => self.store().settle_row(row.seq).await?,
        }
        Ok(true)
    }

    async fn tell_votes(
        &self,
        saying: &Saying<'_>,
        target: &Message,
        poll: &Poll,
        vote: &RelayVote,
    ) -> Result<(), Halt> {
        let turn = self.shared.relays.turn_of(poll);
        let _turn = turn.lock().await;
        self.store().put_relay_vote(vote).await?;
        fail::fail_point!("relay.vote_kept", |_| super::states::die_here());
        let key = |part: i64| {
            let wa_id = self.store().derive().wa_message(&saying.login.id, &saying.event.event_id, part);
            key_of_ours(saying, wa_id, part)
        };
        for part in [NEW, CHANGED] {
            let before = self.store().find_message(&key(part)).await?;
            if before.is_some_and(|before| before.state == MessageState::Sent) {
                return Ok(self.store().settle_row(saying.row.seq).await?);
            }
        }
        let votes = self.store().relay_votes(poll.portal, &poll.wa_id).await?;
        let text = told(poll, &votes);
        let (key, message) = match self.tally_to_change(saying, poll, &key(NEW)).await? {
            Some(tally) => (key(CHANGED), self.tally_of(saying, text, Some(&tally), target).await?),
            None => {
                let key = key(NEW);
                let (login, wa_id) = (saying.login.id.clone(), key.wa_id.clone());
                let tally = Tally { login, wa_id, at: self.store().clock().now_ms() };
                self.store().put_tally(poll.portal, &poll.wa_id, &tally).await?;
                fail::fail_point!("relay.tally_kept", |_| super::states::die_here());
                let message = self.tally_of(saying, text, None, target).await?;
                (key, message)
            }
        };
        self.send_tally(saying, &key, message).await
    }

    /// The message that tells of the votes already, while it can be changed.
    async fn tally_to_change(&self, saying: &Saying<'_>, poll: &Poll, own: &PartKey) -> Result<Option<Message>, Halt> {
        let Some(tally) = self.store().find_tally(poll.portal, &poll.wa_id).await? else { return Ok(None) };
        let now = self.store().clock().now_ms();
        if tally.wa_id == own.wa_id || tally.login != saying.login.id || now - tally.at > CHANGE_FOR {
            return Ok(None);
        }
        let key = key_of_ours(saying, tally.wa_id, NEW);
        let Some(found) = self.store().find_message(&key).await? else { return Ok(None) };
        match found.state {
            MessageState::Sent => Ok(Some(found)),
            // Neither is this vote's own trouble, so nothing counts against it.
            MessageState::Reserved if self.whatsapp().state(&saying.login.id) != Some(LineState::Connected) => {
                Err(Halt::Verdict(Verdict::Blocked(Gate::Login(saying.login.id.clone()))))
            }
            MessageState::Reserved if now - found.tried_at < WAITS_FOR => {
                Err(Halt::Verdict(Verdict::Away { why: "the votes before this one are on their way".into() }))
            }
            MessageState::Reserved | MessageState::Failed => Ok(None),
        }
    }

    async fn tally_of(
        &self,
        saying: &Saying<'_>,
        text: String,
        changed: Option<&Message>,
        poll: &Message,
    ) -> Result<wa::Message, Halt> {
        let draft = words(lines(&text));
        let (timer, event) = (saying.timer(), poll.event_id.clone());
        let quoted = match (&event, changed) {
            (Some(event), None) => self.quoted(saying, event).await?,
            _ => None,
        };
        let nobody = |_: &str| None;
        let mut resolved = Resolved::new(&nobody);
        resolved.ts_ms = self.store().clock().now_ms();
        let plan = match changed {
            Some(before) => {
                resolved.target = Some(Self::key_of(saying, before));
                Plan::Edit { target: String::new(), draft: Box::new(draft) }
            }
            None => {
                (resolved.secret, resolved.timer, resolved.quoted) = (Some(saying.secret), timer, quoted);
                Plan::Message(Box::new(Draft { reply_to: event, ..draft }))
            }
        };
        made(&plan, &resolved)
    }

    async fn send_tally(&self, saying: &Saying<'_>, key: &PartKey, message: wa::Message) -> Result<(), Halt> {
        let outgoing = Outgoing::quotable(TALLY, message);
        let sent = self.hand_over(saying, key, &outgoing).await?;
        let mut tx = self.store().begin("relay.tally").await?;
        self.store().message_was_sent_in(&mut tx, key, None).await?;
        if let Some(seconds) = sent.as_ref().and_then(expires_s) {
            self.store().put_expiry_in(&mut tx, key, self.expires_at(seconds)).await?;
        }
        self.store().settle_row_in(&mut tx, saying.row.seq).await?;
        Ok(tx.commit().await?)
    }
}

/// What the message says.
fn told(poll: &Poll, votes: &[RelayVote]) -> String {
    let mut text = String::from("📊 Votes from Matrix:");
    let mut total = 0;
    for answer in &poll.answers {
        let of_it: Vec<&str> =
            votes.iter().filter(|vote| vote.chosen.contains(&answer.hash)).map(|vote| vote.name.as_str()).collect();
        if of_it.is_empty() {
            continue;
        }
        total += of_it.len();
        let mut names = of_it.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        if of_it.len() > MOST_NAMES {
            names.push_str(&format!(" and {} more", of_it.len() - MOST_NAMES));
        }
        let votes = if of_it.len() == 1 { "vote" } else { "votes" };
        text.push_str(&format!("\n- {}: {} {votes} ({names})", answer.text, of_it.len()));
    }
    if total == 0 {
        text.push_str(" none any more.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::incoming::PollOption;
    use crate::ids::{GhostId, PortalId, WaMessageId};
    use crate::store::polls::{Answer, Growth};

    #[test]
    fn votes_are_counted_and_named() {
        let answer = |text: &str| Answer { hash: PollOption::new(text).id, id: text.into(), text: text.into() };
        let poll = Poll {
            portal: PortalId::new(1),
            wa_id: WaMessageId::new("3A"),
            author: GhostId::new("1@lid"),
            question: "?".into(),
            answers: vec![answer("soup"), answer("bread"), answer("cake")],
            max_selections: 2,
            growth: Growth::ByAuthor,
            ends_at: None,
            ended_at: None,
        };
        let vote = |name: &str, chosen: &[&str]| RelayVote {
            portal: poll.portal,
            poll: poll.wa_id.clone(),
            mxid: format!("@{name}:x"),
            name: name.into(),
            chosen: chosen.iter().map(|text| PollOption::new(text).id).collect(),
            ts: 1,
            event_id: "$1".into(),
        };
        let votes = [vote("Ann", &["soup", "cake"]), vote("Bea", &["soup"]), vote("Cid", &[])];
        assert_eq!(told(&poll, &votes), "📊 Votes from Matrix:\n- soup: 2 votes (Ann, Bea)\n- cake: 1 vote (Ann)");
        assert_eq!(told(&poll, &[vote("Cid", &[])]), "📊 Votes from Matrix: none any more.");
        let many: Vec<RelayVote> = (0..25).map(|at| vote(&format!("n{at}"), &["bread"])).collect();
        assert!(told(&poll, &many).ends_with("n19 and 5 more)"));
    }
}
