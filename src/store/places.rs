//! Notices that keep the place of a message which could not be read, until it comes.
//!
//! The notice is row 0 of the message, of kind [`WAITING`]; table `placeholder` says where there is one. Which messages
//! are waited for is kept in memory too ([`Places`]), so that an ordinary arrival asks the database nothing.

use super::messages::PartKey;
use super::wa_backend::UnknownDuplicate;
use super::{Named, Result, Store, Tx};
use crate::ids::{LoginId, PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Kind of a message row whose event only keeps the message's place.
pub const WAITING: &str = "waiting";
/// As [`WAITING`], of a message that nobody is asked for again.
pub const WITHHELD: &str = "withheld";

const PUT: &str = "-- places.put
    INSERT INTO placeholder (portal_id, wa_id, told_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const ALL: &str = "-- places.all
    SELECT portal_id, wa_id FROM placeholder";
const FORGET: &str = "-- places.forget
    DELETE FROM placeholder WHERE portal_id = $1 AND wa_id = $2";
const FILL: &str = "-- places.fill
    UPDATE message SET kind = $5, quote = $6
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4 AND kind IN ('waiting', 'withheld')";
const FREE: &str = "-- places.free
    DELETE FROM message
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4 AND kind IN ('waiting', 'withheld')";
const TO_ASK: &str = "-- places.to_ask
    SELECT portal.chat, message.sender, message.wa_id
    FROM placeholder JOIN portal ON portal.portal_id = placeholder.portal_id
        JOIN message ON message.portal_id = placeholder.portal_id AND message.wa_id = placeholder.wa_id
    WHERE message.part = 0 AND message.kind = 'waiting' AND message.login_id = $1 AND placeholder.told_at >= $2
    ORDER BY placeholder.told_at LIMIT 50";
const SETTLE: &str = "-- places.settle
    DELETE FROM inbox WHERE seq = $1 AND kind = 'wa.missing'";
const SWEEP: &str = "-- places.sweep
    DELETE FROM placeholder WHERE told_at < $1";

/// Which messages a notice keeps the place of.
#[derive(Default)]
pub struct Places(Mutex<HashSet<(i64, String)>>);

impl Places {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(i64, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(portal: PortalId, wa_id: &WaMessageId) -> (i64, String) {
    (portal.get(), wa_id.as_str().to_owned())
}

impl Store {
    /// Reads which places are kept, at the start.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_places(&self) -> Result<()> {
        let rows = sqlx::query(ALL).fetch_all(self.pool()).await.named("places.all")?;
        for row in &rows {
            let portal = row.try_get("portal_id").named("places.all")?;
            self.places().lock().insert((portal, row.try_get("wa_id").named("places.all")?));
        }
        Ok(())
    }

    /// Notes that a notice keeps a message's place, or is about to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_place(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<()> {
        let put = sqlx::query(PUT).bind(portal.get()).bind(wa_id.as_str()).bind(self.clock().now_ms());
        self.write("places.put", put).await?;
        self.places().lock().insert(name_of(portal, wa_id));
        Ok(())
    }

    /// Messages of a login whose places are kept since `since_ms` or later, to be asked for again; at most 50.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn places_to_ask(&self, login: &LoginId, since_ms: i64) -> Result<Vec<UnknownDuplicate>> {
        let rows = sqlx::query(TO_ASK).bind(login.as_str()).bind(since_ms).fetch_all(self.line_pool()).await;
        let read = |row: &AnyRow| -> std::result::Result<UnknownDuplicate, sqlx::Error> {
            Ok(UnknownDuplicate {
                chat: row.try_get("chat")?,
                sender: row.try_get("sender")?,
                id: row.try_get("wa_id")?,
            })
        };
        rows.named("places.to_ask")?.iter().map(read).collect::<std::result::Result<_, _>>().named("places.to_ask")
    }

    /// Whether a notice keeps, or may keep, this message's place. Asks no database.
    pub fn has_place(&self, portal: PortalId, wa_id: &WaMessageId) -> bool {
        let places = self.places().lock();
        !places.is_empty() && places.contains(&name_of(portal, wa_id))
    }

    /// Whether a notice keeps the place of a message of this id, in whatever chat. Asks no database.
    pub fn waits_for(&self, wa_id: &str) -> bool {
        self.places().lock().iter().any(|(_, waited)| waited == wa_id)
    }

    /// The message has taken its place: its row is now of `kind`, and answers quote `quote`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill_place_in(&self, tx: &mut Tx, key: &PartKey, kind: &str, quote: &[u8]) -> Result<()> {
        sqlx::query(FILL)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .bind(kind)
            .bind(quote)
            .execute(tx.connection())
            .await
            .named("places.fill")?;
        self.drop_place_in(tx, key).await
    }

    /// The notice is gone and its row is free for the message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn free_place_in(&self, tx: &mut Tx, key: &PartKey) -> Result<()> {
        sqlx::query(FREE)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .execute(tx.connection())
            .await
            .named("places.free")?;
        self.drop_place_in(tx, key).await
    }

    async fn drop_place_in(&self, tx: &mut Tx, key: &PartKey) -> Result<()> {
        let gone = sqlx::query(FORGET).bind(key.portal.get()).bind(key.wa_id.as_str()).execute(tx.connection()).await;
        gone.named("places.forget").map(drop)
    }

    /// Forgets a place in memory, after the commit of what freed or filled it.
    pub fn forget_place(&self, key: &PartKey) {
        self.places().lock().remove(&name_of(key.portal, &key.wa_id));
    }

    /// What is kept for one portal in memory is kept for another from now on. Too early is harmless: a place that is not
    /// there is found out when its message comes.
    pub(super) fn move_places(&self, old: PortalId, new: PortalId) {
        let mut places = self.places().lock();
        let moved: Vec<String> = places.iter().filter(|(id, _)| *id == old.get()).map(|(_, id)| id.clone()).collect();
        for wa_id in moved {
            places.remove(&(old.get(), wa_id.clone()));
            places.insert((new.get(), wa_id));
        }
    }

    /// Settles a row that kept a place in a lane, unless the message has taken it over by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_missing_in(&self, tx: &mut Tx, seq: i64) -> Result<()> {
        sqlx::query(SETTLE).bind(seq).execute(tx.connection()).await.named("places.settle").map(drop)
    }

    /// Gives up places kept since before `before_ms`: their notices stay as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_places(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("places.sweep", sqlx::query(SWEEP).bind(before_ms)).await?.affected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, GhostId, Lane};
    use crate::store::inbox::{Arrival, Source};
    use crate::store::messages::Reservation;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_place_is_kept_until_its_message_fills_it => keep; }
    on_both! { only_what_may_come_is_asked_for_again => ask; }
    on_both! { a_place_in_a_lane_is_not_settled_over_its_message => settle; }

    fn key() -> PartKey {
        PartKey { portal: PortalId::new(7), sender: GhostId::new("1@lid"), wa_id: WaMessageId::new("3A"), part: 0 }
    }

    async fn reserve(store: &Store, kind: &'static str) {
        reserve_as(store, &key(), kind, "t").await;
    }

    async fn reserve_as(store: &Store, key: &PartKey, kind: &'static str, txn: &str) {
        let reservation = Reservation {
            key,
            event_id: None,
            txn_id: Some(txn),
            mx_sender: "@a:b",
            login: &LoginId::new("1"),
            ts: 1,
            kind,
            body: None,
            quote: None,
        };
        assert!(store.reserve(&reservation).await.unwrap());
    }

    async fn keep(store: Store) {
        let key = key();
        store.put_place(key.portal, &key.wa_id).await.unwrap();
        store.put_place(key.portal, &key.wa_id).await.unwrap();
        reserve(&store, WAITING).await;
        assert!(store.has_place(key.portal, &key.wa_id) && store.waits_for("3A"));
        assert!(!store.has_place(PortalId::new(8), &key.wa_id) && !store.waits_for("3B"));
        // As after a start.
        store.forget_place(&key);
        assert!(!store.has_place(key.portal, &key.wa_id));
        store.load_places().await.unwrap();
        assert!(store.has_place(key.portal, &key.wa_id));
        let mut tx = store.begin("test").await.unwrap();
        store.fill_place_in(&mut tx, &key, "new", b"q").await.unwrap();
        tx.commit().await.unwrap();
        store.forget_place(&key);
        store.load_places().await.unwrap();
        assert!(!store.has_place(key.portal, &key.wa_id), "it is filled for good");
        assert_eq!(store.find_message(&key).await.unwrap().unwrap().quote.as_deref(), Some(b"q".as_slice()));
        // What stands there now is a message: nothing frees it any more.
        let mut tx = store.begin("test").await.unwrap();
        store.free_place_in(&mut tx, &key).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.find_message(&key).await.unwrap().is_some());
    }

    async fn ask(store: Store) {
        let login = LoginId::new("1");
        let mut tx = store.begin("test").await.unwrap();
        let chat = ChatId::new("1@lid");
        let made = store.find_or_make_portal_in(&mut tx, &chat, Some(&login), "@a:b", PortalKind::Direct).await;
        tx.commit().await.unwrap();
        let portal = made.unwrap().id;
        for (id, kind) in [("3A", WAITING), ("3B", WITHHELD), ("3C", "new")] {
            let key = PartKey { portal, wa_id: WaMessageId::new(id), ..key() };
            store.put_place(portal, &key.wa_id).await.unwrap();
            reserve_as(&store, &key, kind, id).await;
        }
        let now = store.clock().now_ms();
        let asked = store.places_to_ask(&login, now - 5000).await.unwrap();
        let expected = UnknownDuplicate { chat: "1@lid".into(), sender: "1@lid".into(), id: "3A".into() };
        assert_eq!(asked, [expected]);
        assert!(store.places_to_ask(&login, now + 5000).await.unwrap().is_empty(), "too old");
        assert!(store.places_to_ask(&LoginId::new("2"), now - 5000).await.unwrap().is_empty(), "another's");
    }

    async fn settle(store: Store) {
        let lane = Lane::new("a");
        let arrival = |kind| Arrival {
            dedup: "d".into(),
            lane: lane.clone(),
            source: Source::Whatsapp,
            login: None,
            portal: Some(PortalId::new(7)),
            kind,
            body: vec![1],
            seq: Some(5),
        };
        let mut tx = store.begin("test").await.unwrap();
        store.put_missing(&mut tx, &arrival("")).await.unwrap();
        store.put_arrival(&mut tx, &arrival("wa.message")).await.unwrap();
        store.settle_missing_in(&mut tx, 5).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.take_rows(&lane, 2).await.unwrap().len(), 1, "the message came meanwhile and stays");
        let mut tx = store.begin("test").await.unwrap();
        store.settle_row_in(&mut tx, 5).await.unwrap();
        store.put_missing(&mut tx, &Arrival { dedup: "e".into(), ..arrival("") }).await.unwrap();
        store.settle_missing_in(&mut tx, 5).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.take_rows(&lane, 2).await.unwrap().is_empty());
    }
}
