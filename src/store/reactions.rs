//! Reactions: one of each person to each message, as on WhatsApp.

use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Who reacts to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionKey {
    /// The chat.
    pub portal: PortalId,
    /// The message reacted to.
    pub target: WaMessageId,
    /// Who reacts: canonical id.
    pub sender: GhostId,
}

/// A reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Whose, to what.
    pub key: ReactionKey,
    /// The emoji; empty once removed.
    pub emoji: String,
    /// When, by the sender's clock, milliseconds since 1970.
    pub ts: i64,
    /// The event that shows it.
    pub event_id: Option<String>,
    /// The user who sent that event.
    pub mx_sender: String,
}

const FIND: &str = "-- reaction.find
    SELECT portal_id, wa_id, sender, emoji, ts, event_id, mx_sender FROM reaction
    WHERE portal_id = $1 AND wa_id = $2 AND sender = $3";
const BY_EVENT: &str = "-- reaction.by_event
    SELECT portal_id, wa_id, sender, emoji, ts, event_id, mx_sender FROM reaction WHERE event_id = $1 LIMIT 1";
const PUT: &str = "-- reaction.put
    INSERT INTO reaction (portal_id, wa_id, sender, emoji, ts, event_id, mx_sender) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (portal_id, wa_id, sender) DO UPDATE SET emoji = excluded.emoji, ts = excluded.ts,
        event_id = excluded.event_id, mx_sender = excluded.mx_sender";

impl Store {
    /// Somebody's reaction to a message, a removed one too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_reaction(&self, key: &ReactionKey) -> Result<Option<Reaction>> {
        let row = sqlx::query(FIND)
            .bind(key.portal.get())
            .bind(key.target.as_str())
            .bind(key.sender.as_str())
            .fetch_optional(self.pool())
            .await;
        row.named("reaction.find")?.as_ref().map(read).transpose()
    }

    /// The reaction an event shows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_reaction_by_event(&self, event_id: &str) -> Result<Option<Reaction>> {
        let row = sqlx::query(BY_EVENT).bind(event_id).fetch_optional(self.pool()).await.named("reaction.by_event")?;
        row.as_ref().map(read).transpose()
    }

    /// Records a reaction, or that it was removed, with the settlement of its row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_reaction_in(&self, tx: &mut Tx, reaction: &Reaction) -> Result<()> {
        let key = &reaction.key;
        let put = sqlx::query(PUT)
            .bind(key.portal.get())
            .bind(key.target.as_str())
            .bind(key.sender.as_str())
            .bind(&reaction.emoji)
            .bind(reaction.ts)
            .bind(reaction.event_id.as_deref())
            .bind(&reaction.mx_sender)
            .execute(tx.connection())
            .await;
        put.named("reaction.put").map(drop)
    }
}

fn read(row: &AnyRow) -> Result<Reaction> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("reaction.read");
    Ok(Reaction {
        key: ReactionKey {
            portal: PortalId::new(row.try_get("portal_id").named("reaction.read")?),
            target: WaMessageId::new(text("wa_id")?),
            sender: GhostId::new(text("sender")?),
        },
        emoji: text("emoji")?,
        ts: row.try_get("ts").named("reaction.read")?,
        event_id: row.try_get("event_id").named("reaction.read")?,
        mx_sender: text("mx_sender")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { a_person_has_one_reaction_to_a_message => one; }

    async fn one(store: Store) {
        let key =
            ReactionKey { portal: PortalId::new(1), target: WaMessageId::new("3A"), sender: GhostId::new("1@lid") };
        let put = async |emoji: &str, event: Option<&str>| {
            let reaction = Reaction {
                key: key.clone(),
                emoji: emoji.into(),
                ts: 5,
                event_id: event.map(str::to_owned),
                mx_sender: "@a:b".into(),
            };
            let mut tx = store.begin("test").await.unwrap();
            store.put_reaction_in(&mut tx, &reaction).await.unwrap();
            tx.commit().await.unwrap();
            reaction
        };
        assert_eq!(store.find_reaction(&key).await.unwrap(), None);
        put("👍", Some("$1")).await;
        let second = put("🎉", Some("$2")).await;
        assert_eq!(store.find_reaction(&key).await.unwrap(), Some(second.clone()));
        assert_eq!(store.find_reaction_by_event("$2").await.unwrap(), Some(second));
        assert_eq!(store.find_reaction_by_event("$1").await.unwrap(), None);
        let removed = put("", None).await;
        assert_eq!(store.find_reaction(&key).await.unwrap(), Some(removed));
    }
}
