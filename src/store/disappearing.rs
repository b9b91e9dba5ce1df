//! Chats whose messages disappear, and when each of them does.

use super::messages::{MessageState, PartKey, read_state};
use super::portals::Portal;
use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A chat's timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatTimer {
    /// After how many seconds new messages disappear; 0 = never.
    pub seconds: u32,
    /// When it was set, milliseconds since 1970.
    pub set_at: i64,
}

impl ChatTimer {
    /// A timer out of its columns.
    pub(super) fn read(seconds: i64, set_at: i64) -> Self {
        Self { seconds: u32::try_from(seconds).unwrap_or(0), set_at }
    }
}

/// When a message disappears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When, milliseconds since 1970.
    pub expires_at: i64,
    /// Whether somebody has kept it: then it stays.
    pub kept: bool,
}

/// A message whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The message; the part is 0.
    pub key: PartKey,
    /// When it disappeared, milliseconds since 1970.
    pub expires_at: i64,
    /// How often its removal was refused.
    pub tries: i64,
}

/// An event that shows a part of a message.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The event, once known.
    pub event_id: Option<String>,
    /// Who sent it.
    pub mx_sender: String,
    /// What is known of its outcome.
    pub state: MessageState,
    /// The room it is in, when there is one.
    pub room: Option<String>,
}

/// What a message is whose time is over and whose events are removed: its row stays, so that nothing shows it again.
pub const GONE: &str = "gone";

const FIND_TIMER: &str = "-- disappearing.find_timer
    SELECT seconds, set_at FROM chat_timer WHERE portal_id = $1";
// News that is older than what is known changes nothing.
const PUT_TIMER: &str = "-- disappearing.put_timer
    INSERT INTO chat_timer (portal_id, seconds, set_at) VALUES ($1, $2, $3) ON CONFLICT (portal_id) DO UPDATE
        SET seconds = excluded.seconds, set_at = excluded.set_at WHERE chat_timer.set_at <= excluded.set_at";
// What a group's settings tell without a time: news only when it is another one.
const PUT_TIMER_IF_OTHER: &str = "-- disappearing.put_timer_if_other
    INSERT INTO chat_timer (portal_id, seconds, set_at) VALUES ($1, $2, $3) ON CONFLICT (portal_id) DO UPDATE
        SET seconds = excluded.seconds, set_at = excluded.set_at WHERE chat_timer.seconds <> excluded.seconds";
const FIND_EXPIRY: &str = "-- disappearing.find_expiry
    SELECT expires_at, kept FROM expiry WHERE portal_id = $1 AND wa_id = $2 AND sender = $3";
const PUT_EXPIRY: &str = "-- disappearing.put_expiry
    INSERT INTO expiry (portal_id, wa_id, sender, expires_at, due_at, tries, kept) VALUES ($1, $2, $3, $4, $4, 0, 0)
    ON CONFLICT DO NOTHING";
// What is kept in a disappearing chat stays; so does what the phone has starred, when it kept that.
const EXPIRE: &str = "-- disappearing.expire
    INSERT INTO expiry (portal_id, wa_id, sender, expires_at, due_at, tries, kept)
    SELECT DISTINCT portal_id, wa_id, sender, CAST($2 AS BIGINT), CAST($2 AS BIGINT), CAST(0 AS BIGINT), CAST(0 AS BIGINT)
    FROM message
    WHERE portal_id = $1 AND ts <= $3 AND kind <> 'gone' AND event_id IS NOT NULL AND part = 0
        AND kind IN ('new', 'notice', 'waiting', 'withheld')
        AND ($6 = 1 OR NOT EXISTS (SELECT 1 FROM star WHERE star.login_id = $4 AND star.chat = $5
            AND star.wa_id = message.wa_id AND star.starred = 1))
    ON CONFLICT (portal_id, wa_id, sender) DO UPDATE SET expires_at = excluded.expires_at, due_at = excluded.due_at
    WHERE expiry.kept = 0 AND expiry.due_at > excluded.due_at";
const KEEP: &str = "-- disappearing.keep
    UPDATE expiry SET kept = $4 WHERE portal_id = $1 AND wa_id = $2 AND sender = $3";
const DUE: &str = "-- disappearing.due
    SELECT portal_id, wa_id, sender, expires_at, tries FROM expiry WHERE kept = 0 AND due_at <= $1 ORDER BY due_at LIMIT $2";
const NEXT: &str = "-- disappearing.next
    SELECT due_at FROM expiry WHERE kept = 0 ORDER BY due_at LIMIT 1";
const SHOWN: &str = "-- disappearing.shown
    SELECT event_id, mx_sender, state, COALESCE(message.room_id, portal.room_id) AS room
    FROM message JOIN portal ON portal.portal_id = message.portal_id
    WHERE message.portal_id = $1 AND message.wa_id = $2 AND message.sender = $3 ORDER BY part";
const PUT_OFF: &str = "-- disappearing.put_off
    UPDATE expiry SET due_at = $4, tries = $5 WHERE portal_id = $1 AND wa_id = $2 AND sender = $3";
const FORGET: &str = "-- disappearing.forget
    DELETE FROM expiry WHERE portal_id = $1 AND wa_id = $2 AND sender = $3";
// What the message said is nowhere any more: answers quote it without its words from now on.
const FORGET_WORDS: &str = "-- disappearing.forget_words
    UPDATE message SET kind = 'gone', quote = NULL, body = NULL WHERE portal_id = $1 AND wa_id = $2 AND sender = $3";
const FORGET_CHOICES: &str = "-- disappearing.forget_choices
    DELETE FROM choice_list WHERE portal_id = $1 AND wa_id = $2";
// What is known of a chat's events goes with its room; what is said in the next one is news.
const FORGET_ALL: [(&str, &str); 11] = [
    (
        "disappearing.forget_messages",
        "-- disappearing.forget_messages
        DELETE FROM message WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_reactions",
        "-- disappearing.forget_reactions
        DELETE FROM reaction WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_votes",
        "-- disappearing.forget_votes
        DELETE FROM poll_vote WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_polls",
        "-- disappearing.forget_polls
        DELETE FROM poll WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_relayed_votes",
        "-- disappearing.forget_relayed_votes
        DELETE FROM relay_vote WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_tallies",
        "-- disappearing.forget_tallies
        DELETE FROM relay_tally WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_pins",
        "-- disappearing.forget_pins
        DELETE FROM pin WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_calls",
        "-- disappearing.forget_calls
        DELETE FROM call_state WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_live",
        "-- disappearing.forget_live
        DELETE FROM live_share WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_expiries",
        "-- disappearing.forget_expiries
        DELETE FROM expiry WHERE portal_id = $1",
    ),
    (
        "disappearing.forget_lists",
        "-- disappearing.forget_lists
        DELETE FROM choice_list WHERE portal_id = $1",
    ),
];
const JOIN_IDS: &str = "-- disappearing.join_ids
    UPDATE expiry SET sender = $2 WHERE sender = $1 AND NOT EXISTS (
        SELECT 1 FROM expiry AS other WHERE other.portal_id = expiry.portal_id AND other.wa_id = expiry.wa_id
            AND other.sender = $2)";

impl Store {
    /// A chat's timer, when one was ever set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_timer(&self, portal: PortalId) -> Result<Option<ChatTimer>> {
        let row = sqlx::query(FIND_TIMER).bind(portal.get()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("disappearing.find_timer")? else { return Ok(None) };
        let seconds = row.try_get("seconds").named("disappearing.find_timer")?;
        let set_at = row.try_get("set_at").named("disappearing.find_timer")?;
        Ok(Some(ChatTimer::read(seconds, set_at)))
    }

    /// Records a chat's timer, unless a newer one is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_timer_in(&self, tx: &mut Tx, portal: PortalId, timer: ChatTimer) -> Result<()> {
        let put = sqlx::query(PUT_TIMER).bind(portal.get()).bind(i64::from(timer.seconds)).bind(timer.set_at);
        put.execute(tx.connection()).await.named("disappearing.put_timer").map(drop)
    }

    /// Records a chat's timer that is told without saying since when; the same one again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_timer_if_other_in(&self, tx: &mut Tx, portal: PortalId, seconds: u32) -> Result<()> {
        let put =
            sqlx::query(PUT_TIMER_IF_OTHER).bind(portal.get()).bind(i64::from(seconds)).bind(self.clock().now_ms());
        put.execute(tx.connection()).await.named("disappearing.put_timer_if_other").map(drop)
    }

    /// When a message disappears; none when it stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_expiry(&self, key: &PartKey) -> Result<Option<Expiry>> {
        let row = named(FIND_EXPIRY, key).fetch_optional(self.pool()).await;
        let Some(row) = row.named("disappearing.find_expiry")? else { return Ok(None) };
        let kept: i64 = row.try_get("kept").named("disappearing.find_expiry")?;
        Ok(Some(Expiry { expires_at: row.try_get("expires_at").named("disappearing.find_expiry")?, kept: kept != 0 }))
    }

    /// Records when a message disappears (milliseconds since 1970); the first word counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_expiry_in(&self, tx: &mut Tx, key: &PartKey, expires_at: i64) -> Result<()> {
        let put = named(PUT_EXPIRY, key).bind(expires_at);
        put.execute(tx.connection()).await.named("disappearing.put_expiry").map(drop)
    }

    /// Has everything said in a chat up to a time (milliseconds since 1970) removed from its room, starred messages only
    /// when `starred`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_messages(&self, portal: &Portal, login: &LoginId, until: i64, starred: bool) -> Result<u64> {
        let write = sqlx::query(EXPIRE)
            .bind(portal.id.get())
            .bind(self.clock().now_ms())
            .bind(until)
            .bind(login.as_str())
            .bind(portal.chat.as_str())
            .bind(i64::from(starred));
        Ok(self.write("disappearing.expire", write).await?.affected)
    }

    /// Records that a disappearing message is kept, or no longer; nothing where it stays anyway.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_in(&self, tx: &mut Tx, key: &PartKey, kept: bool) -> Result<()> {
        let keep = named(KEEP, key).bind(i64::from(kept));
        keep.execute(tx.connection()).await.named("disappearing.keep").map(drop)
    }

    /// Messages whose removal is due at `now` (milliseconds since 1970) and that nobody has kept, the longest due first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_expiries(&self, now: i64, limit: i64) -> Result<Vec<Due>> {
        let rows = sqlx::query(DUE).bind(now).bind(limit).fetch_all(self.pool()).await.named("disappearing.due")?;
        let read = |row: &AnyRow| -> std::result::Result<Due, sqlx::Error> {
            let key = PartKey {
                portal: PortalId::new(row.try_get("portal_id")?),
                sender: GhostId::new(row.try_get::<String, _>("sender")?),
                wa_id: WaMessageId::new(row.try_get::<String, _>("wa_id")?),
                part: 0,
            };
            Ok(Due { key, expires_at: row.try_get("expires_at")?, tries: row.try_get("tries")? })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("disappearing.due")
    }

    /// When the next removal is due, milliseconds since 1970.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_expiry(&self) -> Result<Option<i64>> {
        let row = sqlx::query(NEXT).fetch_optional(self.pool()).await.named("disappearing.next")?;
        row.map(|row| row.try_get("due_at")).transpose().named("disappearing.next")
    }

    /// The events that show a message, in order; those on their way too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(&self, key: &PartKey) -> Result<Vec<Shown>> {
        let rows = named(SHOWN, key).fetch_all(self.pool()).await.named("disappearing.shown")?;
        let text = |row: &AnyRow, column: &str| row.try_get::<String, _>(column).named("disappearing.shown");
        let read = |row: &AnyRow| {
            Ok(Shown {
                event_id: row.try_get("event_id").named("disappearing.shown")?,
                mx_sender: text(row, "mx_sender")?,
                state: read_state(&text(row, "state")?)?,
                room: row.try_get("room").named("disappearing.shown")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Puts a removal off until `due_at`, milliseconds since 1970.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_off_expiry(&self, key: &PartKey, due_at: i64, tries: i64) -> Result<()> {
        let (portal, wa_id, sender) = (key.portal.get(), key.wa_id.as_str(), key.sender.as_str());
        let write = sqlx::query(PUT_OFF).bind(portal).bind(wa_id).bind(sender).bind(due_at).bind(tries);
        self.write("disappearing.put_off", write).await.map(drop)
    }

    /// Forgets a chat's messages and what hangs on them: their room is gone. Its timer stays. `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn forget_portal_messages_in(&self, tx: &mut Tx, portal: PortalId) -> Result<()> {
        for (name, text) in FORGET_ALL {
            sqlx::query(text).bind(portal.get()).execute(tx.connection()).await.named(name)?;
        }
        Ok(())
    }

    /// Records that every event of a message is removed, and forgets what it said.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_is_gone(&self, key: &PartKey) -> Result<()> {
        let mut tx = self.begin("disappearing.gone").await?;
        named(FORGET_WORDS, key).execute(tx.connection()).await.named("disappearing.forget_words")?;
        let choices = sqlx::query(FORGET_CHOICES).bind(key.portal.get()).bind(key.wa_id.as_str());
        choices.execute(tx.connection()).await.named("disappearing.forget_choices")?;
        named(FORGET, key).execute(tx.connection()).await.named("disappearing.forget")?;
        tx.commit().await
    }
}

/// A statement about one message: chat, id and author are its first values.
fn named(text: &'static str, key: &PartKey) -> sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments> {
    let (wa_id, sender) = (key.wa_id.as_str().to_owned(), key.sender.as_str().to_owned());
    sqlx::query(text).bind(key.portal.get()).bind(wa_id).bind(sender)
}

/// Moves what was noted under the number to the LID.
///
/// # Errors
/// When the database fails.
pub(super) async fn join_ids_in(tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<()> {
    let moved = sqlx::query(JOIN_IDS).bind(pn.as_str()).bind(lid.as_str()).execute(tx.connection()).await;
    moved.named("disappearing.join_ids").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, LoginId};
    use crate::store::messages::Reservation;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { the_newest_timer_counts => timers; }
    on_both! { a_message_disappears_unless_it_is_kept => expiries; }
    on_both! { a_removal_is_due_until_it_is_done => removals; }

    async fn timers(store: Store) {
        let portal = PortalId::new(7);
        assert_eq!(store.find_timer(portal).await.unwrap(), None);
        for (seconds, set_at, known) in [(60, 5, 60), (90, 4, 60), (0, 5, 0), (30, 6, 30)] {
            let mut tx = store.begin("test").await.unwrap();
            store.put_timer_in(&mut tx, portal, ChatTimer { seconds, set_at }).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_timer(portal).await.unwrap().map(|timer| timer.seconds), Some(known));
        }
    }

    fn key(sender: &str) -> PartKey {
        let (sender, wa_id) = (GhostId::new(sender), WaMessageId::new("3A"));
        PartKey { portal: PortalId::new(7), sender, wa_id, part: 0 }
    }

    async fn expiries(store: Store) {
        let (own, other) = (key("1@lid"), key("2@lid"));
        let mut tx = store.begin("test").await.unwrap();
        store.keep_in(&mut tx, &own, true).await.unwrap();
        store.put_expiry_in(&mut tx, &own, 10).await.unwrap();
        store.put_expiry_in(&mut tx, &own, 20).await.unwrap();
        store.put_expiry_in(&mut tx, &other, 5).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_expiry(&own).await.unwrap(), Some(Expiry { expires_at: 10, kept: false }));
        for kept in [true, false] {
            let mut tx = store.begin("test").await.unwrap();
            store.keep_in(&mut tx, &own, kept).await.unwrap();
            store.keep_in(&mut tx, &other, !kept).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_expiry(&own).await.unwrap(), Some(Expiry { expires_at: 10, kept }));
        }
    }

    async fn removals(store: Store) {
        let mut tx = store.begin("test").await.unwrap();
        let chat = ChatId::new("1@lid");
        let portal = store.find_or_make_portal_in(&mut tx, &chat, None, "@a:b", PortalKind::Direct).await.unwrap().id;
        let [first, second, kept] = ["3A", "3B", "3C"].map(|id| PartKey {
            portal,
            sender: GhostId::new("1@lid"),
            wa_id: WaMessageId::new(id),
            part: 0,
        });
        for (key, at) in [(&first, 10), (&second, 20), (&kept, 5)] {
            store.put_expiry_in(&mut tx, key, at).await.unwrap();
        }
        store.keep_in(&mut tx, &kept, true).await.unwrap();
        tx.commit().await.unwrap();
        store.set_portal_room(portal, "!r").await.unwrap();
        let due = async |now| {
            let due = store.due_expiries(now, 10).await.unwrap();
            due.iter().map(|due| due.key.wa_id.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((store.next_expiry().await.unwrap(), due(9).await.len()), (Some(10), 0));
        assert_eq!(due(30).await, ["3A", "3B"]);
        store.put_off_expiry(&first, 40, 1).await.unwrap();
        assert_eq!((due(30).await, store.next_expiry().await.unwrap()), (vec!["3B".to_owned()], Some(20)));
        assert!(store.events_of(&second).await.unwrap().is_empty());
        let reservation = Reservation {
            key: &second,
            event_id: Some("$e"),
            txn_id: None,
            mx_sender: "@a:b",
            login: &LoginId::new("1"),
            ts: 1,
            kind: "new",
            body: Some(b"words"),
            quote: Some(b"words"),
        };
        store.reserve(&reservation).await.unwrap();
        let shown = store.events_of(&second).await.unwrap().remove(0);
        assert_eq!((shown.event_id.as_deref(), shown.room.as_deref()), (Some("$e"), Some("!r")));
        assert_eq!((shown.mx_sender.as_str(), shown.state), ("@a:b", MessageState::Reserved));
        store.message_is_gone(&second).await.unwrap();
        let gone = store.find_message(&second).await.unwrap().unwrap();
        assert_eq!((gone.kind.as_str(), gone.quote, gone.body), (GONE, None, None));
        assert_eq!((due(50).await, store.find_expiry(&second).await.unwrap()), (vec!["3A".to_owned()], None));
        // The author's other id is learnt.
        let mut tx = store.begin("test").await.unwrap();
        store.join_ids_in(&mut tx, &GhostId::new("1@lid"), &GhostId::new("9@lid")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.due_expiries(50, 1).await.unwrap()[0].key.sender, GhostId::new("9@lid"));
        let mut tx = store.begin("test").await.unwrap();
        store.forget_portal_messages_in(&mut tx, portal).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.find_message(&second).await.unwrap().is_none());
        assert_eq!(store.next_expiry().await.unwrap(), None);
    }
}
