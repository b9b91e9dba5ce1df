//! What people do with a chat for themselves: muted, pinned, archived, unread; and starred messages.
//!
//! A mark is kept as it was told last and is *reached* once the person's own account on Matrix shows it. Marks come before
//! their chats have rooms, so they are kept by chat and not by portal.

use super::{Named, Result, Store, StoreError};
use crate::ids::{ChatId, LoginId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// What a mark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MarkKind {
    /// No notifications.
    Mute,
    /// At the top of the list.
    Pin,
    /// Out of the list.
    Archive,
    /// Marked as unread.
    Unread,
}

impl MarkKind {
    /// The kind of a stored word.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn of_text(text: &str) -> Result<Self> {
        let all = [Self::Mute, Self::Pin, Self::Archive, Self::Unread];
        let found = all.into_iter().find(|kind| kind.text() == text);
        found.ok_or_else(|| StoreError::Corrupt { table: "chat_mark", why: "unknown kind".into() })
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Pin => "pin",
            Self::Archive => "archive",
            Self::Unread => "unread",
        }
    }
}

/// A mark as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMark {
    /// Whose.
    pub login: LoginId,
    /// Of which chat.
    pub chat: ChatId,
    /// What.
    pub kind: MarkKind,
    /// 0 = not; mute: until when, milliseconds since 1970, or -1 for good; else 1.
    pub value: i64,
    /// When it was done, milliseconds since 1970.
    pub ts: i64,
}

/// A mark that is not shown yet, of a chat that has a room.
#[derive(Debug, Clone)]
pub struct Unreached {
    /// The mark.
    pub mark: ChatMark,
    /// The chat.
    pub portal: PortalId,
    /// Its room.
    pub room: String,
}

const PUT: &str = "-- chat_mark.put
    INSERT INTO chat_mark (login_id, chat, kind, value, ts, reached) VALUES ($1, $2, $3, $4, $5, 0)
    ON CONFLICT (login_id, chat, kind) DO UPDATE SET value = excluded.value, ts = excluded.ts, reached = 0
    WHERE chat_mark.ts <= excluded.ts";
const FIND_MUTE: &str = "-- chat_mark.find_mute
    SELECT value FROM chat_mark WHERE login_id = $1 AND chat = $2 AND kind = 'mute'";
const UNREACHED: &str = "-- chat_mark.unreached
    SELECT chat_mark.login_id AS login_id, chat_mark.chat AS chat, chat_mark.kind AS kind, value, ts, portal_id, room_id
    FROM chat_mark JOIN portal ON (portal.chat = chat_mark.chat
        OR portal.chat = (SELECT lid FROM wa_alias WHERE pn = chat_mark.chat))
        AND (portal.receiver = '' OR portal.receiver = chat_mark.login_id)
    WHERE chat_mark.login_id = $1 AND reached = 0 AND room_id IS NOT NULL ORDER BY ts LIMIT 500";
const REACHED: &str = "-- chat_mark.reached
    UPDATE chat_mark SET reached = 1 WHERE login_id = $1 AND chat = $2 AND kind = $3 AND ts = $4 AND value = $5";
const FIND: &str = "-- chat_mark.find
    SELECT value, reached FROM chat_mark
    WHERE login_id = $1 AND kind = $3 AND (chat = $2 OR chat IN (SELECT pn FROM wa_alias WHERE lid = $2))
    ORDER BY ts DESC LIMIT 1";
const END_MUTES: &str = "-- chat_mark.end_mutes
    UPDATE chat_mark SET value = 0, reached = 0 WHERE kind = 'mute' AND value > 0 AND value <= $1";
const PUT_STAR: &str = "-- star.put
    INSERT INTO star (login_id, chat, wa_id, starred, ts) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (login_id, chat, wa_id) DO UPDATE SET starred = excluded.starred, ts = excluded.ts
    WHERE star.ts <= excluded.ts";

impl Store {
    /// Keeps a mark, unless a newer one is known; wakes who shows marks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_chat_mark(&self, mark: &ChatMark) -> Result<()> {
        let write = sqlx::query(PUT)
            .bind(mark.login.as_str())
            .bind(mark.chat.as_str())
            .bind(mark.kind.text())
            .bind(mark.value)
            .bind(mark.ts);
        self.write("chat_mark.put", write).await?;
        self.ring_marks();
        Ok(())
    }

    /// Whether and how a chat is muted for a login, see [`ChatMark::value`]; none when it was never told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_mute(&self, login: &LoginId, chat: &ChatId) -> Result<Option<i64>> {
        let row = sqlx::query(FIND_MUTE).bind(login.as_str()).bind(chat.as_str()).fetch_optional(self.pool()).await;
        row.named("chat_mark.find_mute")?.map(|row| row.try_get("value")).transpose().named("chat_mark.find_mute")
    }

    /// Waits until a mark was kept, or somebody who can show marks came.
    pub async fn marks_rung(&self) {
        self.shared.marks_bell.notified().await;
    }

    /// Wakes who waits in [`Store::marks_rung`].
    pub fn ring_marks(&self) {
        self.shared.marks_bell.notify_one();
    }

    /// Marks of a login that are not shown yet and whose chats have rooms, oldest first, at most 500.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unreached_marks(&self, login: &LoginId) -> Result<Vec<Unreached>> {
        let rows = sqlx::query(UNREACHED).bind(login.as_str()).fetch_all(self.pool()).await;
        rows.named("chat_mark.unreached")?.iter().map(read).collect()
    }

    /// Notes that a mark is shown, unless it was replaced meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_was_reached(&self, mark: &ChatMark) -> Result<()> {
        let write = sqlx::query(REACHED)
            .bind(mark.login.as_str())
            .bind(mark.chat.as_str())
            .bind(mark.kind.text())
            .bind(mark.ts)
            .bind(mark.value);
        self.write("chat_mark.reached", write).await.map(drop)
    }

    /// The value of a chat's mark as it was told last, and whether the person's account shows it; none when it never was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_chat_mark(&self, login: &LoginId, chat: &ChatId, kind: MarkKind) -> Result<Option<(i64, bool)>> {
        let row = sqlx::query(FIND).bind(login.as_str()).bind(chat.as_str()).bind(kind.text());
        let Some(row) = row.fetch_optional(self.pool()).await.named("chat_mark.find")? else { return Ok(None) };
        let number = |column: &'static str| row.try_get::<i64, _>(column).named("chat_mark.find");
        Ok(Some((number("value")?, number("reached")? != 0)))
    }

    /// Ends the mutes whose time is over; WhatsApp tells nothing of their end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_mutes(&self, now_ms: i64) -> Result<u64> {
        Ok(self.write("chat_mark.end_mutes", sqlx::query(END_MUTES).bind(now_ms)).await?.affected)
    }

    /// Keeps that a message is starred, or no longer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_star(&self, login: &LoginId, chat: &ChatId, wa_id: &str, starred: bool, ts: i64) -> Result<()> {
        let write = sqlx::query(PUT_STAR)
            .bind(login.as_str())
            .bind(chat.as_str())
            .bind(wa_id)
            .bind(i64::from(starred))
            .bind(ts);
        self.write("star.put", write).await.map(drop)
    }
}

fn read(row: &AnyRow) -> Result<Unreached> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("chat_mark.read");
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("chat_mark.read");
    let kind = MarkKind::of_text(&text("kind")?)?;
    Ok(Unreached {
        mark: ChatMark {
            login: LoginId::new(text("login_id")?),
            chat: ChatId::new(text("chat")?),
            kind,
            value: number("value")?,
            ts: number("ts")?,
        },
        portal: PortalId::new(number("portal_id")?),
        room: text("room_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GhostId;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_mark_is_kept_until_it_is_shown => marks; }

    async fn marks(store: Store) {
        let login = LoginId::new("1");
        let mark = |value: i64, ts: i64| ChatMark {
            login: login.clone(),
            chat: ChatId::new("1555@s.whatsapp.net"),
            kind: MarkKind::Mute,
            value,
            ts,
        };
        store.put_chat_mark(&mark(900, 5)).await.unwrap();
        store.put_chat_mark(&mark(0, 4)).await.unwrap();
        store.marks_rung().await;
        assert!(store.unreached_marks(&login).await.unwrap().is_empty(), "its chat has no room");
        let mut tx = store.begin("test").await.unwrap();
        let (pn, lid) = (GhostId::new("1555@s.whatsapp.net"), GhostId::new("100@lid"));
        store.put_alias_in(&mut tx, &pn, &lid).await.unwrap();
        let chat = ChatId::new("100@lid");
        let portal = store.find_or_make_portal_in(&mut tx, &chat, Some(&login), "@a:b", PortalKind::Direct).await;
        let portal = portal.unwrap().id;
        tx.commit().await.unwrap();
        store.set_portal_room(portal, "!r").await.unwrap();
        let left = store.unreached_marks(&login).await.unwrap();
        assert_eq!((left.len(), &left[0].mark, left[0].portal), (1, &mark(900, 5), portal));
        assert!(store.unreached_marks(&LoginId::new("2")).await.unwrap().is_empty());
        store.mark_was_reached(&mark(0, 5)).await.unwrap();
        assert_eq!(store.unreached_marks(&login).await.unwrap().len(), 1, "another value was shown");
        assert_eq!(store.find_chat_mark(&login, &chat, MarkKind::Mute).await.unwrap(), Some((900, false)));
        assert_eq!(store.find_chat_mark(&login, &chat, MarkKind::Pin).await.unwrap(), None);
        store.mark_was_reached(&mark(900, 5)).await.unwrap();
        assert!(store.unreached_marks(&login).await.unwrap().is_empty());
        assert_eq!(store.end_mutes(899).await.unwrap(), 0);
        assert_eq!(store.end_mutes(900).await.unwrap(), 1);
        assert_eq!(store.unreached_marks(&login).await.unwrap()[0].mark.value, 0);
        for (starred, ts) in [(true, 2), (false, 3), (true, 1)] {
            store.put_star(&login, &chat, "3A", starred, ts).await.unwrap();
        }
    }
}
