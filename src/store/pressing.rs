//! What can be pressed in messages, and which messages were commented.

use super::{Named, Result, Store, Tx};
use crate::ids::{PortalId, WaMessageId};
use sqlx::Row;

const PUT: &str = "-- pressing.put
    INSERT INTO choice_list (portal_id, wa_id, choices) VALUES ($1, $2, $3)
    ON CONFLICT (portal_id, wa_id) DO UPDATE SET choices = excluded.choices";
const FIND: &str = "-- pressing.find
    SELECT choices FROM choice_list WHERE portal_id = $1 AND wa_id = $2";
const NEWEST: &str = "-- pressing.newest
    SELECT wa_id FROM message WHERE portal_id = $1 AND kind IN ('new', 'notice') AND state = 'sent'
    ORDER BY ts DESC, part DESC LIMIT 1";
const PUT_ROOT: &str = "-- pressing.put_root
    INSERT INTO thread_root (portal_id, wa_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const HAS_ROOT: &str = "-- pressing.has_root
    SELECT wa_id FROM thread_root WHERE portal_id = $1 AND wa_id = $2";

impl Store {
    /// Keeps what can be pressed in a message: JSON of [`crate::convert::choices::Choice`]s.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_choices_in(&self, tx: &mut Tx, portal: PortalId, id: &WaMessageId, choices: &[u8]) -> Result<()> {
        let put = sqlx::query(PUT).bind(portal.get()).bind(id.as_str()).bind(choices);
        put.execute(tx.connection()).await.named("pressing.put").map(drop)
    }

    /// What can be pressed in a message, as it was kept; none where nothing can.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_choices(&self, portal: PortalId, id: &WaMessageId) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query(FIND).bind(portal.get()).bind(id.as_str()).fetch_optional(self.pool()).await;
        row.named("pressing.find")?.map(|row| row.try_get("choices").named("pressing.find")).transpose()
    }

    /// The newest message of a chat, by WhatsApp's clock.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_message(&self, portal: PortalId) -> Result<Option<WaMessageId>> {
        let row = sqlx::query(NEWEST).bind(portal.get()).fetch_optional(self.pool()).await.named("pressing.newest")?;
        row.map(|row| row.try_get::<String, _>("wa_id").map(WaMessageId::new).named("pressing.newest")).transpose()
    }

    /// Notes that a message was commented.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_thread_root_in(&self, tx: &mut Tx, portal: PortalId, id: &WaMessageId) -> Result<()> {
        let put = sqlx::query(PUT_ROOT).bind(portal.get()).bind(id.as_str());
        put.execute(tx.connection()).await.named("pressing.put_root").map(drop)
    }

    /// Whether a message was ever commented on WhatsApp.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_thread_root(&self, portal: PortalId, id: &WaMessageId) -> Result<bool> {
        let row = sqlx::query(HAS_ROOT).bind(portal.get()).bind(id.as_str()).fetch_optional(self.pool()).await;
        Ok(row.named("pressing.has_root")?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { choices_and_comments_belong_to_a_message_of_a_chat => keep; }

    async fn keep(store: Store) {
        let (portal, other, id) = (PortalId::new(7), PortalId::new(8), WaMessageId::new("3A"));
        let mut tx = store.begin("test").await.unwrap();
        store.put_choices_in(&mut tx, portal, &id, b"[]").await.unwrap();
        store.put_choices_in(&mut tx, portal, &id, b"[1]").await.unwrap();
        store.put_thread_root_in(&mut tx, portal, &id).await.unwrap();
        store.put_thread_root_in(&mut tx, portal, &id).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_choices(portal, &id).await.unwrap().as_deref(), Some(b"[1]".as_slice()));
        assert_eq!(store.find_choices(other, &id).await.unwrap(), None);
        assert!(store.is_thread_root(portal, &id).await.unwrap());
        assert!(!store.is_thread_root(other, &id).await.unwrap());
    }
}
