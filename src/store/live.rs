//! Who shares their position right now.

use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// The side a position comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveOrigin {
    /// WhatsApp.
    Whatsapp,
    /// Matrix.
    Matrix,
}

impl LiveOrigin {
    fn text(self) -> &'static str {
        match self {
            Self::Whatsapp => "wa",
            Self::Matrix => "mx",
        }
    }
}

/// A position being shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveShare {
    /// The chat.
    pub portal: PortalId,
    /// Whose: canonical WhatsApp id.
    pub sender: GhostId,
    /// From which side.
    pub origin: LiveOrigin,
    /// From WhatsApp: id of the message that shows it. From Matrix: the event it began with.
    pub name: String,
    /// Number of the newest position.
    pub sequence: i64,
    /// When it began, milliseconds since 1970.
    pub began_at: i64,
    /// From Matrix: time of the newest position sent, milliseconds since 1970 by the sender's clock; 0 before it.
    pub moved_at: i64,
    /// When it ends by itself, milliseconds since 1970; 0 once it is over.
    pub ends_at: i64,
}

const FIND: &str = "-- live.find
    SELECT portal_id, sender, name, sequence, began_at, moved_at, ends_at FROM live_share
    WHERE portal_id = $1 AND sender = $2 AND origin = $3";
const PUT: &str = "-- live.put
    INSERT INTO live_share (portal_id, sender, origin, name, sequence, began_at, moved_at, ends_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (portal_id, sender, origin) DO UPDATE
        SET name = excluded.name, sequence = excluded.sequence, began_at = excluded.began_at,
            moved_at = excluded.moved_at, ends_at = excluded.ends_at";

impl Store {
    /// The newest sharing of somebody in a chat, over or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_live(&self, portal: PortalId, sender: &GhostId, origin: LiveOrigin) -> Result<Option<LiveShare>> {
        let find = sqlx::query(FIND).bind(portal.get()).bind(sender.as_str()).bind(origin.text());
        let row = find.fetch_optional(self.pool()).await.named("live.find")?;
        row.as_ref().map(|row| read(row, origin)).transpose()
    }

    /// Records how far a sharing is, with the settlement of the row that said so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_live_in(&self, tx: &mut Tx, live: &LiveShare) -> Result<()> {
        sqlx::query(PUT)
            .bind(live.portal.get())
            .bind(live.sender.as_str())
            .bind(live.origin.text())
            .bind(&live.name)
            .bind(live.sequence)
            .bind(live.began_at)
            .bind(live.moved_at)
            .bind(live.ends_at)
            .execute(tx.connection())
            .await
            .named("live.put")
            .map(drop)
    }
}

fn read(row: &AnyRow, origin: LiveOrigin) -> Result<LiveShare> {
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("live.read");
    Ok(LiveShare {
        portal: PortalId::new(number("portal_id")?),
        sender: GhostId::new(row.try_get::<String, _>("sender").named("live.read")?),
        origin,
        name: row.try_get("name").named("live.read")?,
        sequence: number("sequence")?,
        began_at: number("began_at")?,
        moved_at: number("moved_at")?,
        ends_at: number("ends_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { each_side_shares_for_itself => share; }

    async fn share(store: Store) {
        let (portal, sender) = (PortalId::new(7), GhostId::new("1@lid"));
        for (origin, sequence) in [(LiveOrigin::Whatsapp, 3), (LiveOrigin::Matrix, 5), (LiveOrigin::Whatsapp, 4)] {
            let live = LiveShare {
                portal,
                sender: sender.clone(),
                origin,
                name: "n".into(),
                sequence,
                began_at: 1,
                moved_at: 2,
                ends_at: 3,
            };
            let mut tx = store.begin("test").await.unwrap();
            store.put_live_in(&mut tx, &live).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_live(portal, &sender, origin).await.unwrap(), Some(live));
        }
        let other = store.find_live(portal, &sender, LiveOrigin::Matrix).await.unwrap();
        assert_eq!(other.map(|live| live.sequence), Some(5));
        assert_eq!(store.find_live(PortalId::new(8), &sender, LiveOrigin::Matrix).await.unwrap(), None);
    }
}
