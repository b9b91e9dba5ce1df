//! Polls and the latest vote of each person.
//!
//! A poll is written before its message is sent on, its secret sealed; both stay as long as the chat, so that a vote on
//! an old poll is read like one on a new one.

use super::seal::{Purpose, SealError, Sealer};
use super::{Named, Result, Store, StoreError, Tx};
use crate::ids::{GhostId, PortalId, WaMessageId};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A poll in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The chat.
    pub portal: PortalId,
    /// WhatsApp's id of its message.
    pub wa_id: WaMessageId,
    /// Who asked: canonical id.
    pub author: GhostId,
    /// What is asked.
    pub question: String,
    /// What can be answered, in order.
    pub answers: Vec<Answer>,
    /// How many may be chosen.
    pub max_selections: usize,
    /// Who may add answers.
    pub growth: Growth,
    /// When it ends by itself, milliseconds since 1970.
    pub ends_at: Option<i64>,
    /// When it ended, milliseconds since 1970.
    pub ended_at: Option<i64>,
}

/// An answer of a poll.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// SHA-256 of its text in hexadecimal: what WhatsApp names it by.
    pub hash: String,
    /// What the Matrix event names it by.
    pub id: String,
    /// Its text.
    pub text: String,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer(…)")
    }
}

/// Who may add answers to a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// Who asked.
    ByAuthor,
    /// Anybody in the chat.
    ByAnybody,
}

/// Who votes in which poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteKey {
    /// The chat.
    pub portal: PortalId,
    /// The poll.
    pub poll: WaMessageId,
    /// Who votes: canonical id.
    pub voter: GhostId,
}

/// Somebody's whole choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Whose, in which poll.
    pub key: VoteKey,
    /// Hashes of the chosen answers, as in [`Answer::hash`]; none once taken back.
    pub chosen: Vec<String>,
    /// When, by the sender's clock, milliseconds since 1970.
    pub ts: i64,
    /// The event that shows it.
    pub event_id: Option<String>,
    /// The user who sent that event.
    pub mx_sender: String,
    /// That event's time, milliseconds since 1970; 0 when none was ever shown.
    pub shown_at: i64,
}

const PUT: &str = "-- poll.put
    INSERT INTO poll (portal_id, wa_id, author, question, answers, max_selections, may_grow, secret, ends_at, ended_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) ON CONFLICT (portal_id, wa_id) DO NOTHING";
const FIND: &str = "-- poll.find
    SELECT portal_id, wa_id, author, question, answers, max_selections, may_grow, ends_at, ended_at FROM poll
    WHERE portal_id = $1 AND wa_id = $2";
const SECRET: &str = "-- poll.secret
    SELECT secret FROM poll WHERE portal_id = $1 AND wa_id = $2";
const CHANGE: &str = "-- poll.change
    UPDATE poll SET question = $3, answers = $4, max_selections = $5, ends_at = $6 WHERE portal_id = $1 AND wa_id = $2";
const END: &str = "-- poll.end
    UPDATE poll SET ended_at = $3 WHERE portal_id = $1 AND wa_id = $2 AND ended_at = 0";
const OVERDUE: &str = "-- poll.overdue
    SELECT portal_id, wa_id, author, question, answers, max_selections, may_grow, ends_at, ended_at FROM poll
    WHERE ended_at = 0 AND ends_at > 0 AND ends_at <= $1 ORDER BY ends_at LIMIT 100";
const PUT_VOTE: &str = "-- poll_vote.put
    INSERT INTO poll_vote (portal_id, wa_id, voter, chosen, ts, event_id, mx_sender, shown_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (portal_id, wa_id, voter) DO UPDATE SET chosen = excluded.chosen, ts = excluded.ts,
        event_id = excluded.event_id, mx_sender = excluded.mx_sender, shown_at = excluded.shown_at
        WHERE poll_vote.ts <= excluded.ts";
const FIND_VOTE: &str = "-- poll_vote.find
    SELECT portal_id, wa_id, voter, chosen, ts, event_id, mx_sender, shown_at FROM poll_vote
    WHERE portal_id = $1 AND wa_id = $2 AND voter = $3";
const VOTE_BY_EVENT: &str = "-- poll_vote.by_event
    SELECT portal_id, wa_id, voter, chosen, ts, event_id, mx_sender, shown_at FROM poll_vote WHERE event_id = $1 LIMIT 1";
const VOTES: &str = "-- poll_vote.all
    SELECT portal_id, wa_id, voter, chosen, ts, event_id, mx_sender, shown_at FROM poll_vote
    WHERE portal_id = $1 AND wa_id = $2 ORDER BY voter";

// Who voted under both ids has one vote: the LID's.
const JOIN_AUTHORS: &str = "-- poll.join_authors
    UPDATE poll SET author = $2 WHERE author = $1";
const JOIN_VOTERS: &str = "-- poll_vote.join_voters
    UPDATE poll_vote SET voter = $2 WHERE voter = $1 AND NOT EXISTS (
        SELECT 1 FROM poll_vote AS other WHERE other.portal_id = poll_vote.portal_id AND other.wa_id = poll_vote.wa_id
            AND other.voter = $2)";
const DROP_VOTERS: &str = "-- poll_vote.drop_voters
    DELETE FROM poll_vote WHERE voter = $1";
const MOVE_POLLS: &str = "-- poll.move
    UPDATE poll SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
        SELECT 1 FROM poll AS other WHERE other.portal_id = $2 AND other.wa_id = poll.wa_id)";
const MOVE_VOTES: &str = "-- poll_vote.move
    UPDATE poll_vote SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
        SELECT 1 FROM poll_vote AS other WHERE other.portal_id = $2 AND other.wa_id = poll_vote.wa_id
            AND other.voter = poll_vote.voter)";

impl Store {
    /// Keeps a poll and its secret, sealed; one that is kept already stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_poll(&self, sealer: &Sealer, poll: &Poll, secret: Option<&[u8]>) -> Result<()> {
        // The portal is not part of the seal: it changes when two chats turn out to be one.
        let seal = |plain: &[u8]| sealer.seal(Purpose::PollSecret, "", poll.wa_id.as_str().as_bytes(), plain);
        let sealed = secret.map(seal).transpose().map_err(corrupt)?;
        let write = sqlx::query(PUT)
            .bind(poll.portal.get())
            .bind(poll.wa_id.as_str())
            .bind(poll.author.as_str())
            .bind(poll.question.as_str())
            .bind(to_json(&poll.answers)?)
            .bind(count(poll.max_selections))
            .bind(i64::from(poll.growth == Growth::ByAnybody))
            .bind(sealed)
            .bind(poll.ends_at.unwrap_or(0));
        self.write("poll.put", write).await.map(drop)
    }

    /// A poll of a chat.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_poll(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<Option<Poll>> {
        let row = sqlx::query(FIND).bind(portal.get()).bind(wa_id.as_str()).fetch_optional(self.pool()).await;
        row.named("poll.find")?.as_ref().map(read_poll).transpose()
    }

    /// What opens and seals votes in a poll; none when it came without.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn poll_secret(&self, sealer: &Sealer, poll: &Poll) -> Result<Option<Vec<u8>>> {
        let row =
            sqlx::query(SECRET).bind(poll.portal.get()).bind(poll.wa_id.as_str()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("poll.secret")? else { return Ok(None) };
        let sealed: Option<Vec<u8>> = row.try_get("secret").named("poll.secret")?;
        let open = |sealed: Vec<u8>| sealer.open(Purpose::PollSecret, "", poll.wa_id.as_str().as_bytes(), &sealed);
        sealed.map(open).transpose().map_err(corrupt)
    }

    /// Keeps what a poll asks now. Who asked, its secret and whether it is over stay as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_poll(&self, poll: &Poll) -> Result<()> {
        let write = sqlx::query(CHANGE)
            .bind(poll.portal.get())
            .bind(poll.wa_id.as_str())
            .bind(poll.question.as_str())
            .bind(to_json(&poll.answers)?)
            .bind(count(poll.max_selections))
            .bind(poll.ends_at.unwrap_or(0));
        self.write("poll.change", write).await.map(drop)
    }

    /// Records that a poll is over, with the settlement of what told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_poll_in(&self, tx: &mut Tx, portal: PortalId, wa_id: &WaMessageId, at: i64) -> Result<()> {
        let ended = sqlx::query(END).bind(portal.get()).bind(wa_id.as_str()).bind(at).execute(tx.connection()).await;
        ended.named("poll.end").map(drop)
    }

    /// Polls whose time is over and that have not ended yet, oldest first, at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overdue_polls(&self, now_ms: i64) -> Result<Vec<Poll>> {
        let rows = sqlx::query(OVERDUE).bind(now_ms).fetch_all(self.pool()).await.named("poll.overdue")?;
        rows.iter().map(read_poll).collect()
    }

    /// Records somebody's choice, or that it was taken back, with the settlement of its row. An older one than what is
    /// recorded changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_vote_in(&self, tx: &mut Tx, vote: &Vote) -> Result<()> {
        let put = sqlx::query(PUT_VOTE)
            .bind(vote.key.portal.get())
            .bind(vote.key.poll.as_str())
            .bind(vote.key.voter.as_str())
            .bind(to_json(&vote.chosen)?)
            .bind(vote.ts)
            .bind(vote.event_id.as_deref())
            .bind(&vote.mx_sender)
            .bind(vote.shown_at)
            .execute(tx.connection())
            .await;
        put.named("poll_vote.put").map(drop)
    }

    /// Somebody's choice in a poll, one that was taken back too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_vote(&self, key: &VoteKey) -> Result<Option<Vote>> {
        let row = sqlx::query(FIND_VOTE)
            .bind(key.portal.get())
            .bind(key.poll.as_str())
            .bind(key.voter.as_str())
            .fetch_optional(self.pool())
            .await;
        row.named("poll_vote.find")?.as_ref().map(read_vote).transpose()
    }

    /// The choice an event shows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_vote_by_event(&self, event_id: &str) -> Result<Option<Vote>> {
        let row = sqlx::query(VOTE_BY_EVENT).bind(event_id).fetch_optional(self.pool()).await;
        row.named("poll_vote.by_event")?.as_ref().map(read_vote).transpose()
    }

    /// How often each answer of a poll was chosen, in their order, by their text.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn results_of(&self, poll: &Poll) -> Result<Vec<(String, u64)>> {
        let rows = sqlx::query(VOTES).bind(poll.portal.get()).bind(poll.wa_id.as_str()).fetch_all(self.pool()).await;
        let votes: Vec<Vote> = rows.named("poll_vote.all")?.iter().map(read_vote).collect::<Result<_>>()?;
        let relayed = self.relay_votes(poll.portal, &poll.wa_id).await?;
        let count_of = |answer: &Answer| {
            let count = votes.iter().filter(|vote| vote.chosen.contains(&answer.hash)).count()
                + relayed.iter().filter(|vote| vote.chosen.contains(&answer.hash)).count();
            (answer.text.clone(), u64::try_from(count).unwrap_or(0))
        };
        Ok(poll.answers.iter().map(count_of).collect())
    }
}

/// Moves polls and votes kept under a number to the LID; see [`super::identity`].
pub(super) async fn join_ids_in(tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<()> {
    for (name, text) in [("poll.join_authors", JOIN_AUTHORS), ("poll_vote.join_voters", JOIN_VOTERS)] {
        sqlx::query(text).bind(pn.as_str()).bind(lid.as_str()).execute(tx.connection()).await.named(name)?;
    }
    let dropped = sqlx::query(DROP_VOTERS).bind(pn.as_str()).execute(tx.connection()).await;
    dropped.named("poll_vote.drop_voters").map(drop)
}

/// Moves polls and votes of a portal that is left to the one that stays.
pub(super) async fn move_in(tx: &mut Tx, old: PortalId, new: PortalId) -> Result<()> {
    for (name, text) in [("poll.move", MOVE_POLLS), ("poll_vote.move", MOVE_VOTES)] {
        sqlx::query(text).bind(old.get()).bind(new.get()).execute(tx.connection()).await.named(name)?;
    }
    Ok(())
}

fn corrupt(error: SealError) -> StoreError {
    match error {
        SealError::Store(error) => error,
        other => StoreError::Corrupt { table: "poll", why: other.to_string() },
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt { table: "poll", why: error.to_string() })
}

fn from_json<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { table: "poll", why: error.to_string() })
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn some_time(ms: i64) -> Option<i64> {
    (ms > 0).then_some(ms)
}

fn read_poll(row: &AnyRow) -> Result<Poll> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("poll.read");
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("poll.read");
    Ok(Poll {
        portal: PortalId::new(number("portal_id")?),
        wa_id: WaMessageId::new(text("wa_id")?),
        author: GhostId::new(text("author")?),
        question: text("question")?,
        answers: from_json(&text("answers")?)?,
        max_selections: usize::try_from(number("max_selections")?).unwrap_or(1),
        growth: if number("may_grow")? == 0 { Growth::ByAuthor } else { Growth::ByAnybody },
        ends_at: some_time(number("ends_at")?),
        ended_at: some_time(number("ended_at")?),
    })
}

fn read_vote(row: &AnyRow) -> Result<Vote> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("poll_vote.read");
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("poll_vote.read");
    Ok(Vote {
        key: VoteKey {
            portal: PortalId::new(number("portal_id")?),
            poll: WaMessageId::new(text("wa_id")?),
            voter: GhostId::new(text("voter")?),
        },
        chosen: from_json(&text("chosen")?)?,
        ts: number("ts")?,
        event_id: row.try_get("event_id").named("poll_vote.read")?,
        mx_sender: text("mx_sender")?,
        shown_at: number("shown_at")?,
    })
}

#[cfg(test)]
mod tests;
