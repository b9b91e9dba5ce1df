//! What is kept about a chat beside its messages, moved when two portals turn out to be one.

use super::{Named, Result, Store, Tx};
use crate::ids::PortalId;

// What both have stays as the remaining portal has it.
const MOVES: [(&str, &str); 8] = [
    (
        "states.places",
        "-- states.places
        UPDATE placeholder SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM placeholder AS other WHERE other.portal_id = $2 AND other.wa_id = placeholder.wa_id)",
    ),
    (
        "states.pins",
        "-- states.pins
        UPDATE pin SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM pin AS other WHERE other.portal_id = $2 AND other.wa_id = pin.wa_id)",
    ),
    (
        "states.calls",
        "-- states.calls
        UPDATE call_state SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM call_state AS other WHERE other.portal_id = $2 AND other.call_id = call_state.call_id)",
    ),
    (
        "states.live",
        "-- states.live
        UPDATE live_share SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM live_share AS other WHERE other.portal_id = $2 AND other.sender = live_share.sender
                AND other.origin = live_share.origin)",
    ),
    (
        "states.timer",
        "-- states.timer
        UPDATE chat_timer SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM chat_timer AS other WHERE other.portal_id = $2)",
    ),
    (
        "states.expiry",
        "-- states.expiry
        UPDATE expiry SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM expiry AS other WHERE other.portal_id = $2 AND other.wa_id = expiry.wa_id
                AND other.sender = expiry.sender)",
    ),
    (
        "states.choices",
        "-- states.choices
        UPDATE choice_list SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM choice_list AS other WHERE other.portal_id = $2 AND other.wa_id = choice_list.wa_id)",
    ),
    (
        "states.threads",
        "-- states.threads
        UPDATE thread_root SET portal_id = $2 WHERE portal_id = $1 AND NOT EXISTS (
            SELECT 1 FROM thread_root AS other WHERE other.portal_id = $2 AND other.wa_id = thread_root.wa_id)",
    ),
];

impl Store {
    /// Moves everything kept beside the messages of one portal to another.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn move_states_in(&self, tx: &mut Tx, old: PortalId, new: PortalId) -> Result<()> {
        for (name, text) in MOVES {
            sqlx::query(text).bind(old.get()).bind(new.get()).execute(tx.connection()).await.named(name)?;
        }
        self.move_places(old, new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WaMessageId;
    use crate::store::disappearing::ChatTimer;
    use crate::store::pins::Pin;
    use crate::store::tests::on_both;

    on_both! { what_is_kept_beside_messages_moves_with_them => move_over; }

    async fn move_over(store: Store) {
        let (old, new, id) = (PortalId::new(1), PortalId::new(2), WaMessageId::new("3A"));
        store.put_place(old, &id).await.unwrap();
        let timer = ChatTimer { seconds: 60, set_at: 5 };
        let pin = |portal| Pin { portal, wa_id: id.clone(), event_id: "$e".into(), pinned: true, ts: 1 };
        let mut tx = store.begin("test").await.unwrap();
        store.put_timer_in(&mut tx, old, timer).await.unwrap();
        store.put_pin_in(&mut tx, &pin(old)).await.unwrap();
        store.move_states_in(&mut tx, old, new).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_timer(new).await.unwrap(), Some(timer));
        assert_eq!(store.find_timer(old).await.unwrap(), None);
        assert_eq!(store.find_pin(new, &id).await.unwrap(), Some(pin(new)));
        assert!(store.has_place(new, &id));
        store.load_places().await.unwrap();
        assert!(store.has_place(new, &id) && !store.has_place(old, &id));
    }
}
