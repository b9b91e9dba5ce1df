//! Two ids that turn out to be one person: rows kept under the phone number move to the LID.
//!
//! Runs in the transaction that learns the pair, so nobody ever sees half of it. Localparts never change.
//!
//! Where both ids had a portal by then (stanzas that named only one id each), the number's is merged into the LID's. From
//! the pair on nothing new goes to the number's; a row of kind [`MERGE`] in the LID's lane waits until the other's lane
//! is empty, and then moves the messages. So no two workers ever hold rows of one message.

use super::inbox::{Arrival, Source};
use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, Lane, LoginId, PortalId};
use sqlx::Row;

/// Inbox kind of a merge: it stands in the lane of the portal that stays; the body is the number of the other one.
pub const MERGE: &str = "wa.merge";

// Each statement moves what does not collide; what collides was stored twice and the LID's row wins.
const STEPS: [(&str, &str); 4] = [
    (
        "identity.messages",
        "-- identity.messages
        UPDATE message SET sender = $2 WHERE sender = $1 AND NOT EXISTS (
            SELECT 1 FROM message AS other WHERE other.portal_id = message.portal_id AND other.sender = $2
                AND other.wa_id = message.wa_id AND other.part = message.part)",
    ),
    (
        "identity.reactions",
        "-- identity.reactions
        UPDATE reaction SET sender = $2 WHERE sender = $1 AND NOT EXISTS (
            SELECT 1 FROM reaction AS other WHERE other.portal_id = reaction.portal_id AND other.wa_id = reaction.wa_id
                AND other.sender = $2)",
    ),
    (
        "identity.portals",
        "-- identity.portals
        UPDATE portal SET chat = $2 WHERE chat = $1 AND NOT EXISTS (
            SELECT 1 FROM portal AS other WHERE other.chat = $2 AND other.receiver = portal.receiver)",
    ),
    (
        "identity.ghosts",
        "-- identity.ghosts
        UPDATE ghost SET ghost_id = $2 WHERE ghost_id = $1 AND NOT EXISTS (SELECT 1 FROM ghost AS other WHERE other.ghost_id = $2)",
    ),
];

const COLLIDING: &str = "-- identity.colliding
    SELECT old.portal_id AS old_id, new.portal_id AS new_id, old.receiver AS receiver
    FROM portal AS old JOIN portal AS new ON new.receiver = old.receiver AND new.chat = $2 WHERE old.chat = $1";
const MOVE_MESSAGES: &str = "-- identity.move_messages
    UPDATE message SET portal_id = $2, room_id = (SELECT room_id FROM portal WHERE portal_id = $1)
    WHERE portal_id = $1 AND NOT EXISTS (
        SELECT 1 FROM message AS other WHERE other.portal_id = $2 AND other.sender = message.sender
            AND other.wa_id = message.wa_id AND other.part = message.part)";
const MOVE_REACTIONS: &str = "-- identity.move_reactions
    UPDATE reaction SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
        SELECT 1 FROM reaction AS other WHERE other.portal_id = $2 AND other.wa_id = reaction.wa_id
            AND other.sender = reaction.sender)";
// What waits for its target, and what failed and may be tried again. Nothing else is in the lane by then.
const MOVE_ROWS: &str = "-- identity.move_rows
    UPDATE inbox SET lane = $2, portal_id = $3, waits_for = '',
        state = CASE WHEN state = 'parked' THEN 'waiting' ELSE state END
    WHERE lane = $1";
const CLOSE_PORTAL: &str = "-- identity.close_portal
    UPDATE portal SET chat = $3, merged_into = $2 WHERE portal_id = $1";

impl Store {
    /// Moves the messages of a portal whose lane is empty to another, for good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merge_portals_in(&self, tx: &mut Tx, old: PortalId, new: PortalId) -> Result<()> {
        let moved = sqlx::query(MOVE_MESSAGES).bind(old.get()).bind(new.get()).execute(tx.connection()).await;
        moved.named("identity.move_messages")?;
        let moved = sqlx::query(MOVE_REACTIONS).bind(old.get()).bind(new.get()).execute(tx.connection()).await;
        moved.named("identity.move_reactions")?;
        let (from, to) = (Lane::into_matrix(old), Lane::into_matrix(new));
        let moved = sqlx::query(MOVE_ROWS).bind(from.as_str()).bind(to.as_str()).bind(new.get());
        moved.execute(tx.connection()).await.named("identity.move_rows")?;
        super::polls::move_in(tx, old, new).await?;
        super::relay::move_in(tx, old, new).await?;
        self.move_states_in(tx, old, new).await?;
        self.drop_plumbed_in(tx, old).await?;
        let closed = sqlx::query(CLOSE_PORTAL)
            .bind(old.get())
            .bind(new.get())
            .bind(format!("merged:{}", old.get()))
            .execute(tx.connection())
            .await;
        closed.named("identity.close_portal").map(drop)
    }

    /// Puts a [`MERGE`] row for each pair of portals that turned out to be one chat.
    async fn put_merges_in(&self, tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<Vec<Lane>> {
        let mut lanes = Vec::new();
        let pairs = sqlx::query(COLLIDING).bind(pn.as_str()).bind(lid.as_str()).fetch_all(tx.connection()).await;
        for pair in pairs.named("identity.colliding")? {
            let number = |column: &'static str| pair.try_get::<i64, _>(column).named("identity.colliding");
            let (old, new) = (number("old_id")?, PortalId::new(number("new_id")?));
            let receiver: String = pair.try_get("receiver").named("identity.colliding")?;
            let merge = Arrival {
                dedup: self.derive().merge_dedup(PortalId::new(old), new),
                lane: Lane::into_matrix(new),
                source: Source::Whatsapp,
                login: (!receiver.is_empty()).then(|| LoginId::new(receiver)),
                portal: Some(new),
                kind: MERGE,
                body: old.to_string().into_bytes(),
                seq: None,
            };
            if self.put_arrival(tx, &merge).await? {
                lanes.push(merge.lane);
            }
        }
        Ok(lanes)
    }

    /// Moves everything kept under `pn` to `lid`. Answers the lanes to ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join_ids_in(&self, tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<Vec<Lane>> {
        for (name, text) in STEPS {
            sqlx::query(text).bind(pn.as_str()).bind(lid.as_str()).execute(tx.connection()).await.named(name)?;
        }
        for (name, text) in super::contacts::JOIN {
            sqlx::query(text).bind(pn.as_str()).bind(lid.as_str()).execute(tx.connection()).await.named(name)?;
        }
        super::polls::join_ids_in(tx, pn, lid).await?;
        super::disappearing::join_ids_in(tx, pn, lid).await?;
        super::groups::join_ids_in(tx, pn, lid).await?;
        self.put_merges_in(tx, pn, lid).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, WaMessageId};
    use crate::store::messages::{PartKey, Reservation};
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { what_was_reserved_under_the_number_is_found_under_the_lid => find_reserved; }
    on_both! { two_portals_of_one_person_are_merged_once => merge; }

    async fn merge(store: Store) {
        let (pn, lid) = (GhostId::new("1555@s.whatsapp.net"), GhostId::new("100@lid"));
        let login = LoginId::new("1");
        let mut tx = store.begin("test").await.unwrap();
        let mut make = async |chat: &GhostId| {
            let chat = ChatId::new(chat.as_str());
            store.find_or_make_portal_in(&mut tx, &chat, Some(&login), "@a:b", PortalKind::Direct).await.unwrap().id
        };
        let (old, new) = (make(&pn).await, make(&lid).await);
        assert_eq!(store.join_ids_in(&mut tx, &pn, &lid).await.unwrap(), [Lane::into_matrix(new)]);
        assert!(store.join_ids_in(&mut tx, &pn, &lid).await.unwrap().is_empty(), "once");
        tx.commit().await.unwrap();
        for (portal, room) in [(old, "!old"), (new, "!new")] {
            store.set_portal_room(portal, room).await.unwrap();
        }
        let row = store.take_rows(&Lane::into_matrix(new), 2).await.unwrap().remove(0);
        assert_eq!((row.kind.as_str(), row.body), (MERGE, old.get().to_string().into_bytes()));
        let mut tx = store.begin("test").await.unwrap();
        store.merge_portals_in(&mut tx, old, new).await.unwrap();
        tx.commit().await.unwrap();
        for room in ["!old", "!new"] {
            assert_eq!(store.find_portal_by_room(room).await.unwrap().unwrap().id, new);
        }
        let mut tx = store.begin("test").await.unwrap();
        assert!(store.join_ids_in(&mut tx, &pn, &lid).await.unwrap().is_empty(), "nothing is left to merge");
    }

    async fn find_reserved(store: Store) {
        let (pn, lid) = (GhostId::new("1555@s.whatsapp.net"), GhostId::new("100@lid"));
        let under = |sender: &GhostId| PartKey {
            portal: PortalId::new(7),
            sender: sender.clone(),
            wa_id: WaMessageId::new("3A"),
            part: 0,
        };
        let key = under(&pn);
        let reservation = Reservation {
            key: &key,
            event_id: None,
            txn_id: Some("made from the number"),
            mx_sender: "@wa_1555:test.local",
            login: &LoginId::new("1"),
            ts: 1,
            kind: "new",
            body: None,
            quote: None,
        };
        assert!(store.reserve(&reservation).await.unwrap());
        let mut tx = store.begin("test").await.unwrap();
        store.join_ids_in(&mut tx, &pn, &lid).await.unwrap();
        tx.commit().await.unwrap();
        let key = under(&lid);
        assert!(
            !store.reserve(&Reservation { key: &key, txn_id: Some("made from the LID"), ..reservation }).await.unwrap()
        );
        // The homeserver knows the event by the first one.
        let found = store.find_message(&key).await.unwrap().unwrap();
        assert_eq!(found.txn_id.as_deref(), Some("made from the number"));
    }
}
