//! Two ids that turn out to be one person: rows kept under the phone number move to the LID.
//!
//! Runs in the transaction that learns the pair, so nobody ever sees half of it. Localparts never change. Where
//! both ids already had a room of their own (two stanzas in a row that named only one id each), both rooms stay
//! and new messages go to the LID's: merging two rooms is not done yet.

use super::{Named, Result, Store, Tx};
use crate::ids::GhostId;

// Each statement moves what does not collide; what collides was stored twice and the LID's row wins.
const STEPS: [(&str, &str); 3] = [
    (
        "identity.messages",
        "-- identity.messages
        UPDATE message SET sender = $2 WHERE sender = $1 AND NOT EXISTS (
            SELECT 1 FROM message AS other WHERE other.portal_id = message.portal_id AND other.sender = $2
                AND other.wa_id = message.wa_id AND other.part = message.part)",
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

impl Store {
    /// Moves everything kept under `pn` to `lid`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join_ids_in(&self, tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<()> {
        for (name, text) in STEPS {
            sqlx::query(text).bind(pn.as_str()).bind(lid.as_str()).execute(tx.connection()).await.named(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LoginId, PortalId, WaMessageId};
    use crate::store::messages::{PartKey, Reservation};
    use crate::store::tests::on_both;

    on_both! { what_was_reserved_under_the_number_is_found_under_the_lid => find_reserved; }

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
