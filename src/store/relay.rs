//! Relay mode: through which login a chat is relayed, how relayed people voted, and the message that tells of it.

use super::messages::{Message, PartKey};
use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What was chosen for a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayChoice {
    /// Nobody relays there, no default either.
    Nobody,
    /// A login, while it has this owner.
    Through {
        /// The login.
        login: LoginId,
        /// Who owned it then.
        owner: String,
    },
}

/// A relayed person's whole choice in a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayVote {
    /// The chat.
    pub portal: PortalId,
    /// The poll.
    pub poll: WaMessageId,
    /// Who votes.
    pub mxid: String,
    /// What they are called, safe to show.
    pub name: String,
    /// Hashes of the chosen answers, as in [`super::polls::Answer::hash`]; none once taken back.
    pub chosen: Vec<String>,
    /// The event's time, milliseconds since 1970.
    pub ts: i64,
    /// The event; once taken back, still the one that was.
    pub event_id: String,
}

/// The message that tells how relayed people voted in a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Who sent it.
    pub login: LoginId,
    /// Its WhatsApp id.
    pub wa_id: WaMessageId,
    /// When it was begun first, milliseconds since 1970: WhatsApp counts from there how long it may be changed.
    pub at: i64,
}

const FIND: &str = "-- portal_relay.find
    SELECT login_id, mxid FROM portal_relay WHERE portal_id = $1";
const PUT: &str = "-- portal_relay.put
    INSERT INTO portal_relay (portal_id, login_id, mxid, set_by, at, unset_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (portal_id) DO UPDATE SET login_id = excluded.login_id, mxid = excluded.mxid, set_by = excluded.set_by,
        at = excluded.at,
        unset_at = CASE WHEN excluded.unset_at = 0 THEN portal_relay.unset_at ELSE excluded.unset_at END";
const UNSET_AT: &str = "-- portal_relay.unset_at
    SELECT unset_at FROM portal_relay WHERE portal_id = $1";
const PUT_VOTE: &str = "-- relay_vote.put
    INSERT INTO relay_vote (portal_id, wa_id, mxid, name, chosen, ts, event_id) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (portal_id, wa_id, mxid) DO UPDATE SET
        before_name = CASE WHEN relay_vote.event_id = excluded.event_id THEN relay_vote.before_name ELSE relay_vote.name END,
        before_chosen = CASE WHEN relay_vote.event_id = excluded.event_id THEN relay_vote.before_chosen ELSE relay_vote.chosen END,
        before_ts = CASE WHEN relay_vote.event_id = excluded.event_id THEN relay_vote.before_ts ELSE relay_vote.ts END,
        before_event_id = CASE WHEN relay_vote.event_id = excluded.event_id THEN relay_vote.before_event_id
            ELSE relay_vote.event_id END,
        name = excluded.name, chosen = excluded.chosen, ts = excluded.ts,
        event_id = excluded.event_id WHERE relay_vote.ts <= excluded.ts";
const TAKE_BACK: &str = "-- relay_vote.take_back
    UPDATE relay_vote SET name = before_name, chosen = before_chosen, ts = before_ts, event_id = before_event_id,
        before_name = '', before_chosen = '', before_ts = 0, before_event_id = ''
    WHERE portal_id = $1 AND wa_id = $2 AND mxid = $3 AND event_id = $4";
// Whoever votes with an account of their own has voted there: nobody counts twice.
const VOTES: &str = "-- relay_vote.all
    SELECT portal_id, wa_id, mxid, name, chosen, ts, event_id FROM relay_vote
    WHERE portal_id = $1 AND wa_id = $2 AND NOT EXISTS (
        SELECT 1 FROM poll_vote JOIN login ON login.lid = poll_vote.voter OR login.pn = poll_vote.voter
        WHERE poll_vote.portal_id = $1 AND poll_vote.wa_id = $2 AND poll_vote.chosen <> '[]' AND login.mxid = relay_vote.mxid)
    ORDER BY name, mxid";
const VOTE_BY_EVENT: &str = "-- relay_vote.by_event
    SELECT portal_id, wa_id, mxid, name, chosen, ts, event_id FROM relay_vote WHERE event_id = $1 LIMIT 1";
const FIND_TALLY: &str = "-- relay_tally.find
    SELECT login_id, tally, at FROM relay_tally WHERE portal_id = $1 AND wa_id = $2";
// Its parts are told apart from others' by their numbers: see `bridge::relay_votes`.
const TOLD_IN: &str = "-- relay_tally.told_in
    SELECT sender, part FROM message
    WHERE portal_id = $1 AND wa_id = $2 AND part >= 1000 AND event_id IS NULL ORDER BY part LIMIT 1";
const POLL_OF: &str = "-- relay_tally.poll_of
    SELECT wa_id FROM relay_tally WHERE portal_id = $1 AND tally = $2 LIMIT 1";
const FORGET_TALLY: &str = "-- relay_tally.forget
    DELETE FROM relay_tally WHERE portal_id = $1 AND tally = $2";
const PUT_TALLY: &str = "-- relay_tally.put
    INSERT INTO relay_tally (portal_id, wa_id, login_id, tally, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (portal_id, wa_id) DO UPDATE SET login_id = excluded.login_id, tally = excluded.tally,
        at = CASE WHEN relay_tally.tally = excluded.tally THEN relay_tally.at ELSE excluded.at END";

// What both have stays as the remaining portal has it.
const MOVES: [(&str, &str); 3] = [
    (
        "portal_relay.move",
        "-- portal_relay.move
        UPDATE portal_relay SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM portal_relay AS other WHERE other.portal_id = $2)",
    ),
    (
        "relay_vote.move",
        "-- relay_vote.move
        UPDATE relay_vote SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM relay_vote AS other WHERE other.portal_id = $2 AND other.wa_id = relay_vote.wa_id
                AND other.mxid = relay_vote.mxid)",
    ),
    (
        "relay_tally.move",
        "-- relay_tally.move
        UPDATE relay_tally SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM relay_tally AS other WHERE other.portal_id = $2 AND other.wa_id = relay_tally.wa_id)",
    ),
];

impl Store {
    /// What was chosen for a chat; none when nothing ever was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_relay(&self, portal: PortalId) -> Result<Option<RelayChoice>> {
        let row = sqlx::query(FIND).bind(portal.get()).fetch_optional(self.pool()).await.named("portal_relay.find")?;
        let Some(row) = row else { return Ok(None) };
        let text = |column: &'static str| row.try_get::<String, _>(column).named("portal_relay.find");
        let (login, owner) = (text("login_id")?, text("mxid")?);
        Ok(Some(match login.is_empty() {
            true => RelayChoice::Nobody,
            false => RelayChoice::Through { login: LoginId::new(login), owner },
        }))
    }

    /// Records what somebody chose for a chat.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_relay(&self, portal: PortalId, choice: &RelayChoice, set_by: &str) -> Result<()> {
        let (login, owner) = match choice {
            RelayChoice::Nobody => ("", ""),
            RelayChoice::Through { login, owner } => (login.as_str(), owner.as_str()),
        };
        let now = self.clock().now_ms();
        let unset_at = if *choice == RelayChoice::Nobody { now } else { 0 };
        let write = sqlx::query(PUT).bind(portal.get()).bind(login).bind(owner).bind(set_by).bind(now).bind(unset_at);
        self.write("portal_relay.put", write).await.map(drop)
    }

    /// When it was said last that nobody relays in a chat, milliseconds since 1970; 0 when that was never.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn relay_unset_at(&self, portal: PortalId) -> Result<i64> {
        let row = sqlx::query(UNSET_AT).bind(portal.get()).fetch_optional(self.pool()).await;
        let row = row.named("portal_relay.unset_at")?;
        row.map_or(Ok(0), |row| row.try_get("unset_at").named("portal_relay.unset_at"))
    }

    /// Records somebody's choice in a poll, unless a newer one is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_relay_vote(&self, vote: &RelayVote) -> Result<()> {
        let write = sqlx::query(PUT_VOTE)
            .bind(vote.portal.get())
            .bind(vote.poll.as_str())
            .bind(&vote.mxid)
            .bind(&vote.name)
            .bind(vote.chosen.join(","))
            .bind(vote.ts)
            .bind(&vote.event_id);
        self.write("relay_vote.put", write).await.map(drop)
    }

    /// Takes a vote back that never can be told: the choice before it counts again, if there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_back_relay_vote(&self, vote: &RelayVote) -> Result<()> {
        let write = sqlx::query(TAKE_BACK)
            .bind(vote.portal.get())
            .bind(vote.poll.as_str())
            .bind(&vote.mxid)
            .bind(&vote.event_id);
        self.write("relay_vote.take_back", write).await.map(drop)
    }

    /// How relayed people voted in a poll, those too who took it back; without who has voted there with an account of their own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn relay_votes(&self, portal: PortalId, poll: &WaMessageId) -> Result<Vec<RelayVote>> {
        let rows = sqlx::query(VOTES).bind(portal.get()).bind(poll.as_str()).fetch_all(self.pool()).await;
        rows.named("relay_vote.all")?.iter().map(read_vote).collect()
    }

    /// The choice an event made, while it is its author's latest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_relay_vote_by_event(&self, event_id: &str) -> Result<Option<RelayVote>> {
        let row = sqlx::query(VOTE_BY_EVENT).bind(event_id).fetch_optional(self.pool()).await;
        row.named("relay_vote.by_event")?.as_ref().map(read_vote).transpose()
    }

    /// The message that tells of a poll's relayed votes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_tally(&self, portal: PortalId, poll: &WaMessageId) -> Result<Option<Tally>> {
        let row = sqlx::query(FIND_TALLY).bind(portal.get()).bind(poll.as_str()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("relay_tally.find")? else { return Ok(None) };
        let text = |column: &'static str| row.try_get::<String, _>(column).named("relay_tally.find");
        Ok(Some(Tally {
            login: LoginId::new(text("login_id")?),
            wa_id: WaMessageId::new(text("tally")?),
            at: row.try_get("at").named("relay_tally.find")?,
        }))
    }

    /// The message of this WhatsApp id, when it tells of relayed votes; its event is that of the poll, while it is the one that
    /// tells of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_told_votes(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<Option<Message>> {
        let row = sqlx::query(TOLD_IN).bind(portal.get()).bind(wa_id.as_str()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("relay_tally.told_in")? else { return Ok(None) };
        let sender: String = row.try_get("sender").named("relay_tally.told_in")?;
        let part = row.try_get("part").named("relay_tally.told_in")?;
        let key = PartKey { portal, sender: GhostId::new(sender), wa_id: wa_id.clone(), part };
        let Some(told) = self.find_message(&key).await? else { return Ok(None) };
        let poll = sqlx::query(POLL_OF).bind(portal.get()).bind(wa_id.as_str()).fetch_optional(self.pool()).await;
        let poll = match poll.named("relay_tally.poll_of")? {
            Some(row) => {
                let poll: String = row.try_get("wa_id").named("relay_tally.poll_of")?;
                self.find_message_by_wa_id(portal, &WaMessageId::new(poll)).await?
            }
            None => None,
        };
        Ok(Some(Message { event_id: poll.and_then(|poll| poll.event_id), ..told }))
    }

    /// Forgets a message that tells of votes, because it was deleted: the next vote makes a new one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_tally(&self, portal: PortalId, tally: &WaMessageId) -> Result<()> {
        let write = sqlx::query(FORGET_TALLY).bind(portal.get()).bind(tally.as_str());
        self.write("relay_tally.forget", write).await.map(drop)
    }

    /// Records the message that tells of a poll's relayed votes, before it is sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_tally(&self, portal: PortalId, poll: &WaMessageId, tally: &Tally) -> Result<()> {
        let write = sqlx::query(PUT_TALLY)
            .bind(portal.get())
            .bind(poll.as_str())
            .bind(tally.login.as_str())
            .bind(tally.wa_id.as_str())
            .bind(tally.at);
        self.write("relay_tally.put", write).await.map(drop)
    }
}

/// Moves what belongs to a portal that is left to the one that stays.
pub(super) async fn move_in(tx: &mut Tx, old: PortalId, new: PortalId) -> Result<()> {
    for (name, text) in MOVES {
        sqlx::query(text).bind(old.get()).bind(new.get()).execute(tx.connection()).await.named(name)?;
    }
    Ok(())
}

fn read_vote(row: &AnyRow) -> Result<RelayVote> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("relay_vote.read");
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("relay_vote.read");
    Ok(RelayVote {
        portal: PortalId::new(number("portal_id")?),
        poll: WaMessageId::new(text("wa_id")?),
        mxid: text("mxid")?,
        name: text("name")?,
        chosen: text("chosen")?.split(',').filter(|hash| !hash.is_empty()).map(str::to_owned).collect(),
        ts: number("ts")?,
        event_id: text("event_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::logins::Own;
    use crate::store::polls::{Vote, VoteKey};
    use crate::store::tests::on_both;

    on_both! {
        choices_and_votes_are_kept_and_move_with_their_chat => kept;
        a_vote_that_is_refused_counts_no_more => refused;
        who_votes_with_an_account_counts_once => twice;
        a_tally_is_as_old_as_its_message => tallies;
    }

    async fn kept(store: Store) {
        let (old, new) = (PortalId::new(1), PortalId::new(2));
        assert_eq!(store.find_relay(old).await.unwrap(), None);
        let through = RelayChoice::Through { login: LoginId::new("1"), owner: "@a:x".into() };
        store.set_relay(old, &through, "@b:x").await.unwrap();
        assert_eq!(store.relay_unset_at(old).await.unwrap(), 0);
        store.set_relay(old, &RelayChoice::Nobody, "@a:x").await.unwrap();
        store.set_relay(old, &through, "@b:x").await.unwrap();
        assert_eq!(store.relay_unset_at(old).await.unwrap(), store.clock().now_ms(), "the next choice forgets nothing");
        let poll = WaMessageId::new("3A");
        let vote = |ts: i64, chosen: &[&str], event: &str| RelayVote {
            portal: old,
            poll: poll.clone(),
            mxid: "@c:x".into(),
            name: "C".into(),
            chosen: chosen.iter().map(|&hash| hash.to_owned()).collect(),
            ts,
            event_id: event.into(),
        };
        store.put_relay_vote(&vote(5, &["aa", "bb"], "$5")).await.unwrap();
        store.put_relay_vote(&vote(4, &["cc"], "$4")).await.unwrap();
        assert_eq!(store.find_relay_vote_by_event("$4").await.unwrap(), None, "an older one changes nothing");
        let tally = Tally { login: LoginId::new("1"), wa_id: WaMessageId::new("3B"), at: 7 };
        store.put_tally(old, &poll, &tally).await.unwrap();
        let mut tx = store.begin("test").await.unwrap();
        move_in(&mut tx, old, new).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_relay(new).await.unwrap(), Some(through));
        assert_eq!(store.find_relay(old).await.unwrap(), None);
        assert_eq!(store.find_tally(new, &poll).await.unwrap(), Some(tally));
        let moved = store.find_relay_vote_by_event("$5").await.unwrap().unwrap();
        assert_eq!((moved.portal, moved.chosen.len()), (new, 2));
        assert_eq!(store.relay_votes(new, &poll).await.unwrap(), [moved]);
        // What goes with its room.
        let mut tx = store.begin("test").await.unwrap();
        store.forget_portal_messages_in(&mut tx, new).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_tally(new, &poll).await.unwrap(), None);
        assert_eq!(store.find_relay_vote_by_event("$5").await.unwrap(), None);
        assert!(store.find_relay(new).await.unwrap().is_some(), "who relays stays");
    }

    fn vote(chosen: &[&str], ts: i64, event: &str) -> RelayVote {
        RelayVote {
            portal: PortalId::new(1),
            poll: WaMessageId::new("3A"),
            mxid: "@c:x".into(),
            name: "C".into(),
            chosen: chosen.iter().map(|&hash| hash.to_owned()).collect(),
            ts,
            event_id: event.into(),
        }
    }

    async fn refused(store: Store) {
        let first = vote(&["aa"], 5, "$5");
        let second = vote(&["bb"], 6, "$6");
        // Tried twice, as after a kill.
        for vote in [&first, &second, &second] {
            store.put_relay_vote(vote).await.unwrap();
        }
        store.take_back_relay_vote(&first).await.unwrap();
        let found = store.relay_votes(first.portal, &first.poll).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&second), "it is not the latest");
        store.take_back_relay_vote(&second).await.unwrap();
        let found = store.relay_votes(first.portal, &first.poll).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&first), "the one before counts again");
        store.take_back_relay_vote(&first).await.unwrap();
        assert!(store.relay_votes(first.portal, &first.poll).await.unwrap().iter().all(|vote| vote.chosen.is_empty()));
    }

    async fn twice(store: Store) {
        let vote = vote(&["aa"], 5, "$5");
        store.put_relay_vote(&vote).await.unwrap();
        let (login, own) = (LoginId::new("1"), GhostId::new("1@lid"));
        let pn = GhostId::new("1@s.whatsapp.net");
        let pairing = Own { lid: Some(&own), pn: &pn };
        let mut tx = store.begin("test").await.unwrap();
        let device = crate::ids::DeviceKey::new("d");
        assert!(store.put_login_in(&mut tx, &login, &vote.mxid, &device, pairing).await.unwrap());
        let key = VoteKey { portal: vote.portal, poll: vote.poll.clone(), voter: own };
        let mut cast =
            Vote { key, chosen: vec!["bb".into()], ts: 6, event_id: None, mx_sender: String::new(), shown_at: 0 };
        store.put_vote_in(&mut tx, &cast).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.relay_votes(vote.portal, &vote.poll).await.unwrap().is_empty(), "one person counts once");
        let mut tx = store.begin("test").await.unwrap();
        (cast.chosen, cast.ts) = (Vec::new(), 7);
        store.put_vote_in(&mut tx, &cast).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.relay_votes(vote.portal, &vote.poll).await.unwrap(), [vote]);
    }

    async fn tallies(store: Store) {
        let (portal, poll) = (PortalId::new(1), WaMessageId::new("3A"));
        let tally = |wa_id: &str, at| Tally { login: LoginId::new("1"), wa_id: WaMessageId::new(wa_id), at };
        store.put_tally(portal, &poll, &tally("3B", 7)).await.unwrap();
        store.put_tally(portal, &poll, &tally("3B", 9)).await.unwrap();
        assert_eq!(store.find_tally(portal, &poll).await.unwrap(), Some(tally("3B", 7)), "it is as old as it was");
        store.put_tally(portal, &poll, &tally("3C", 9)).await.unwrap();
        assert_eq!(store.find_tally(portal, &poll).await.unwrap(), Some(tally("3C", 9)));
        store.forget_tally(portal, &WaMessageId::new("3C")).await.unwrap();
        assert_eq!(store.find_tally(portal, &poll).await.unwrap(), None);
    }
}
