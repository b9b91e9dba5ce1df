//! Relay mode: through which login a chat is relayed, how relayed people voted, and the message that tells of it.

use super::{Named, Result, Store, Tx};
use crate::ids::{LoginId, PortalId, WaMessageId};
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
    /// The event; empty once taken back.
    pub event_id: String,
}

/// The message that tells how relayed people voted in a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Who sent it.
    pub login: LoginId,
    /// Its WhatsApp id.
    pub wa_id: WaMessageId,
    /// When it was begun, milliseconds since 1970.
    pub at: i64,
}

const FIND: &str = "-- portal_relay.find
    SELECT login_id, mxid FROM portal_relay WHERE portal_id = $1";
const PUT: &str = "-- portal_relay.put
    INSERT INTO portal_relay (portal_id, login_id, mxid, set_by, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (portal_id) DO UPDATE SET login_id = excluded.login_id, mxid = excluded.mxid, set_by = excluded.set_by,
        at = excluded.at";
const PUT_VOTE: &str = "-- relay_vote.put
    INSERT INTO relay_vote (portal_id, wa_id, mxid, name, chosen, ts, event_id) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (portal_id, wa_id, mxid) DO UPDATE SET name = excluded.name, chosen = excluded.chosen, ts = excluded.ts,
        event_id = excluded.event_id WHERE relay_vote.ts <= excluded.ts";
const VOTES: &str = "-- relay_vote.all
    SELECT portal_id, wa_id, mxid, name, chosen, ts, event_id FROM relay_vote
    WHERE portal_id = $1 AND wa_id = $2 ORDER BY name, mxid";
const VOTE_BY_EVENT: &str = "-- relay_vote.by_event
    SELECT portal_id, wa_id, mxid, name, chosen, ts, event_id FROM relay_vote WHERE event_id = $1 LIMIT 1";
const FIND_TALLY: &str = "-- relay_tally.find
    SELECT login_id, tally, at FROM relay_tally WHERE portal_id = $1 AND wa_id = $2";
const PUT_TALLY: &str = "-- relay_tally.put
    INSERT INTO relay_tally (portal_id, wa_id, login_id, tally, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (portal_id, wa_id) DO UPDATE SET login_id = excluded.login_id, tally = excluded.tally, at = excluded.at";

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
        let write =
            sqlx::query(PUT).bind(portal.get()).bind(login).bind(owner).bind(set_by).bind(self.clock().now_ms());
        self.write("portal_relay.put", write).await.map(drop)
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

    /// How relayed people voted in a poll, those too who took it back.
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
    use crate::store::tests::on_both;

    on_both! {
        choices_and_votes_are_kept_and_move_with_their_chat => kept;
    }

    async fn kept(store: Store) {
        let (old, new) = (PortalId::new(1), PortalId::new(2));
        assert_eq!(store.find_relay(old).await.unwrap(), None);
        let through = RelayChoice::Through { login: LoginId::new("1"), owner: "@a:x".into() };
        store.set_relay(old, &RelayChoice::Nobody, "@a:x").await.unwrap();
        store.set_relay(old, &through, "@b:x").await.unwrap();
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
    }
}
