//! What WhatsApp has pinned, as far as the bridge knows.

use super::{Named, Result, Store, Tx};
use crate::ids::{PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A message that is pinned, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The chat.
    pub portal: PortalId,
    /// The message.
    pub wa_id: WaMessageId,
    /// The event that stands for it in the room.
    pub event_id: String,
    /// Whether it is pinned now.
    pub pinned: bool,
    /// Since when it is so, milliseconds since 1970, by the clock of who did it.
    pub ts: i64,
}

const FIND: &str = "-- pin.find
    SELECT portal_id, wa_id, event_id, pinned, ts FROM pin WHERE portal_id = $1 AND wa_id = $2";
const PUT: &str = "-- pin.put
    INSERT INTO pin (portal_id, wa_id, event_id, pinned, ts) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (portal_id, wa_id) DO UPDATE SET event_id = excluded.event_id, pinned = excluded.pinned, ts = excluded.ts";

impl Store {
    /// What is known of a message's pin.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_pin(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<Option<Pin>> {
        let row = sqlx::query(FIND).bind(portal.get()).bind(wa_id.as_str()).fetch_optional(self.pool()).await;
        row.named("pin.find")?.as_ref().map(read).transpose()
    }

    /// Records that a message is pinned or not, with the settlement of the row that said so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_pin_in(&self, tx: &mut Tx, pin: &Pin) -> Result<()> {
        sqlx::query(PUT)
            .bind(pin.portal.get())
            .bind(pin.wa_id.as_str())
            .bind(&pin.event_id)
            .bind(i64::from(pin.pinned))
            .bind(pin.ts)
            .execute(tx.connection())
            .await
            .named("pin.put")
            .map(drop)
    }
}

fn read(row: &AnyRow) -> Result<Pin> {
    Ok(Pin {
        portal: PortalId::new(row.try_get("portal_id").named("pin.read")?),
        wa_id: WaMessageId::new(row.try_get::<String, _>("wa_id").named("pin.read")?),
        event_id: row.try_get("event_id").named("pin.read")?,
        pinned: row.try_get::<i64, _>("pinned").named("pin.read")? != 0,
        ts: row.try_get("ts").named("pin.read")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { a_pin_is_known_by_its_message => pins; }

    async fn pins(store: Store) {
        let (portal, wa_id) = (PortalId::new(7), WaMessageId::new("3A"));
        assert_eq!(store.find_pin(portal, &wa_id).await.unwrap(), None);
        for pinned in [true, false] {
            let pin = Pin { portal, wa_id: wa_id.clone(), event_id: "$e".into(), pinned, ts: i64::from(pinned) };
            let mut tx = store.begin("test").await.unwrap();
            store.put_pin_in(&mut tx, &pin).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_pin(portal, &wa_id).await.unwrap(), Some(pin));
        }
        assert_eq!(store.find_pin(PortalId::new(8), &wa_id).await.unwrap(), None, "another chat's");
    }
}
