//! Rooms that are being made groups: what was asked of WhatsApp, so that a second try finds the group of the first.

use super::{Named, Result, Store};
use crate::ids::{ChatId, LoginId, PortalId};
use sqlx::Row;

/// A room that shall become a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWish {
    /// The command that asked first.
    pub event: String,
    /// Through which login.
    pub login: LoginId,
    /// The room.
    pub room: String,
    /// The group's name.
    pub subject: String,
    /// When it was asked, milliseconds since 1970.
    pub asked_at: i64,
    /// The group, once it is known.
    pub chat: Option<ChatId>,
}

const PUT: &str = "-- group_wish.put
    INSERT INTO group_wish (event_id, login_id, room_id, subject, asked_at, chat) VALUES ($1, $2, $3, $4, $5, '')
    ON CONFLICT (event_id) DO NOTHING";
const FIND: &str = "-- group_wish.find
    SELECT event_id, asked_at, chat FROM group_wish WHERE login_id = $1 AND room_id = $2 AND subject = $3
    ORDER BY asked_at DESC LIMIT 1";
const FOUND: &str = "-- group_wish.found
    UPDATE group_wish SET chat = $2 WHERE event_id = $1";
const DROP: &str = "-- group_wish.drop
    DELETE FROM group_wish WHERE room_id = $1";
const AWAITED: &str = "-- group_wish.awaited
    SELECT 1 AS one FROM group_wish JOIN portal_login ON portal_login.login_id = group_wish.login_id
    JOIN portal ON portal.portal_id = portal_login.portal_id
    WHERE portal.portal_id = $1 AND group_wish.asked_at >= $3 AND group_wish.subject = $2
        AND (group_wish.chat = '' OR group_wish.chat = portal.chat) LIMIT 1";

impl Store {
    /// Notes that a room shall become a group; the same command again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_group_wish(&self, wish: &GroupWish) -> Result<()> {
        let write = sqlx::query(PUT)
            .bind(wish.event.as_str())
            .bind(wish.login.as_str())
            .bind(wish.room.as_str())
            .bind(wish.subject.as_str())
            .bind(wish.asked_at);
        self.write("group_wish.put", write).await.map(drop)
    }

    /// An earlier try to make a room a group of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_group_wish(&self, login: &LoginId, room: &str, subject: &str) -> Result<Option<GroupWish>> {
        let row = sqlx::query(FIND).bind(login.as_str()).bind(room).bind(subject).fetch_optional(self.pool()).await;
        let Some(row) = row.named("group_wish.find")? else { return Ok(None) };
        let chat: String = row.try_get("chat").named("group_wish.find")?;
        Ok(Some(GroupWish {
            event: row.try_get("event_id").named("group_wish.find")?,
            login: login.clone(),
            room: room.to_owned(),
            subject: subject.to_owned(),
            asked_at: row.try_get("asked_at").named("group_wish.find")?,
            chat: (!chat.is_empty()).then(|| ChatId::new(chat)),
        }))
    }

    /// Notes which group a room becomes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_was_made(&self, event: &str, chat: &ChatId) -> Result<()> {
        self.write("group_wish.found", sqlx::query(FOUND).bind(event).bind(chat.as_str())).await.map(drop)
    }

    /// Forgets what a room shall become: it is so, or will not be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_group_wish(&self, room: &str) -> Result<()> {
        self.write("group_wish.drop", sqlx::query(DROP).bind(room)).await.map(drop)
    }

    /// Whether a group may be one that a room shall become, asked since `since` (milliseconds since 1970).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_group_awaited(&self, portal: PortalId, subject: &str, since: i64) -> Result<bool> {
        let row = sqlx::query(AWAITED).bind(portal.get()).bind(subject).bind(since).fetch_optional(self.pool()).await;
        Ok(row.named("group_wish.awaited")?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_room_that_becomes_a_group_is_found_again => found; }

    async fn found(store: Store) {
        let login = LoginId::new("1");
        let wish = |event: &str| GroupWish {
            event: event.into(),
            login: login.clone(),
            room: "!r".into(),
            subject: "Picnic".into(),
            asked_at: 50,
            chat: None,
        };
        let mut tx = store.begin("test").await.unwrap();
        let chat = ChatId::new("5@g.us");
        let portal = store.find_or_make_portal_in(&mut tx, &chat, None, "", PortalKind::Group).await.unwrap().id;
        store.join_portal_in(&mut tx, portal, &login).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_group_wish(&login, "!r", "Picnic").await.unwrap(), None);
        assert!(!store.is_group_awaited(portal, "Picnic", 0).await.unwrap());
        store.put_group_wish(&wish("$e")).await.unwrap();
        assert_eq!(store.find_group_wish(&login, "!r", "Picnic").await.unwrap(), Some(wish("$e")));
        assert_eq!(store.find_group_wish(&login, "!r", "Other").await.unwrap(), None);
        assert!(store.is_group_awaited(portal, "Picnic", 50).await.unwrap());
        assert!(!store.is_group_awaited(portal, "Picnic", 51).await.unwrap());
        assert!(!store.is_group_awaited(portal, "Other", 0).await.unwrap());
        store.group_was_made("$e", &ChatId::new("6@g.us")).await.unwrap();
        assert!(!store.is_group_awaited(portal, "Picnic", 0).await.unwrap(), "it is another one");
        store.group_was_made("$e", &chat).await.unwrap();
        assert!(store.is_group_awaited(portal, "Picnic", 0).await.unwrap());
        assert_eq!(store.find_group_wish(&login, "!r", "Picnic").await.unwrap().unwrap().chat, Some(chat));
        store.drop_group_wish("!r").await.unwrap();
        assert_eq!(store.find_group_wish(&login, "!r", "Picnic").await.unwrap(), None);
    }
}
