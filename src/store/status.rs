//! Status posts: whom ours were for, and the thread a person's posts stand in.

use super::{Named, Result, Store, StoreError};
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use sqlx::Row;

/// How those who may see a post were chosen; WhatsApp's servers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudienceRule {
    /// Everybody in the address book.
    Contacts,
    /// Only those named.
    Only,
    /// Everybody in the address book but those named.
    Except,
}

impl AudienceRule {
    fn text(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Only => "only",
            Self::Except => "except",
        }
    }
}

/// Whom a post is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// How they were chosen.
    pub rule: AudienceRule,
    /// Who they are.
    pub people: Vec<GhostId>,
}

const PUT: &str = "-- status.put_audience
    INSERT INTO status_audience (login_id, wa_id, rule, people, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const FIND: &str = "-- status.find_audience
    SELECT rule, people FROM status_audience WHERE login_id = $1 AND wa_id = $2";
const SWEEP: &str = "-- status.sweep_audiences
    DELETE FROM status_audience WHERE at < $1";
const CONTACTS: &str = "-- status.contacts
    SELECT ghost_id FROM contact WHERE login_id = $1 AND (full_name <> '' OR first_name <> '') ORDER BY ghost_id";
const OLDEST: &str = "-- status.oldest
    SELECT event_id FROM message
    WHERE portal_id = $1 AND ts >= $3 AND sender = $2 AND wa_id <> $4 AND part = 0 AND kind = 'new' AND state = 'sent'
        AND event_id IS NOT NULL
    ORDER BY ts, tried_at LIMIT 1";

impl Store {
    /// Keeps whom a post is for, unless that is kept already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_audience(&self, login: &LoginId, id: &WaMessageId, audience: &Audience) -> Result<()> {
        let people: Vec<&str> = audience.people.iter().map(GhostId::as_str).collect();
        let write = sqlx::query(PUT)
            .bind(login.as_str())
            .bind(id.as_str())
            .bind(audience.rule.text())
            .bind(people.join("\n"))
            .bind(self.clock().now_ms());
        self.write("status.put_audience", write).await.map(drop)
    }

    /// Whom a post was for; none when that is not known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_audience(&self, login: &LoginId, id: &WaMessageId) -> Result<Option<Audience>> {
        let row = sqlx::query(FIND).bind(login.as_str()).bind(id.as_str()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("status.find_audience")? else { return Ok(None) };
        let text = |column: &'static str| row.try_get::<String, _>(column).named("status.find_audience");
        let rule = match text("rule")?.as_str() {
            "contacts" => AudienceRule::Contacts,
            "only" => AudienceRule::Only,
            "except" => AudienceRule::Except,
            _ => return Err(StoreError::Corrupt { table: "status_audience", why: "unknown rule".into() }),
        };
        let people = text("people")?.lines().map(GhostId::new).collect();
        Ok(Some(Audience { rule, people }))
    }

    /// Forgets whom posts from before a time were for, milliseconds since 1970; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_audiences(&self, before: i64) -> Result<u64> {
        Ok(self.write("status.sweep_audiences", sqlx::query(SWEEP).bind(before)).await?.affected)
    }

    /// Everybody in a login's address book.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn address_book(&self, login: &LoginId) -> Result<Vec<GhostId>> {
        let rows = sqlx::query(CONTACTS).bind(login.as_str()).fetch_all(self.pool()).await.named("status.contacts")?;
        rows.iter().map(|row| row.try_get::<String, _>("ghost_id").map(GhostId::new).named("status.contacts")).collect()
    }

    /// The event of a person's oldest post in a status room that is shown still and no older than `since` (milliseconds
    /// since 1970), another message than `but`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_status(
        &self,
        portal: PortalId,
        person: &GhostId,
        since: i64,
        but: &WaMessageId,
    ) -> Result<Option<String>> {
        let row = sqlx::query(OLDEST)
            .bind(portal.get())
            .bind(person.as_str())
            .bind(since)
            .bind(but.as_str())
            .fetch_optional(self.pool())
            .await
            .named("status.oldest")?;
        row.map(|row| row.try_get("event_id").named("status.oldest")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { whom_a_post_is_for_is_kept_as_it_was_first => audiences; }

    async fn audiences(store: Store) {
        let (login, id) = (LoginId::new("1"), WaMessageId::new("3EB0"));
        let audience =
            |rule, people: &[&str]| Audience { rule, people: people.iter().map(|id| GhostId::new(*id)).collect() };
        assert_eq!(store.find_audience(&login, &id).await.unwrap(), None);
        let first = audience(AudienceRule::Except, &["1@lid", "2@s.whatsapp.net"]);
        store.put_audience(&login, &id, &first).await.unwrap();
        store.put_audience(&login, &id, &audience(AudienceRule::Contacts, &["3@lid"])).await.unwrap();
        assert_eq!(store.find_audience(&login, &id).await.unwrap(), Some(first));
        assert_eq!(store.find_audience(&LoginId::new("2"), &id).await.unwrap(), None);
        assert!(store.address_book(&login).await.unwrap().is_empty());
        let none = store.oldest_status(PortalId::new(1), &GhostId::new("1@lid"), 0, &id).await.unwrap();
        assert_eq!(none, None);
        assert_eq!(store.sweep_audiences(i64::MAX).await.unwrap(), 1);
        assert_eq!(store.find_audience(&login, &id).await.unwrap(), None);
    }
}
