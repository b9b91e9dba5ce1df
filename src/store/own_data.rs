//! What people do to the rooms of their chats in their own clients: up to where their account data was read, and what
//! WhatsApp was not told yet.
//!
//! The place and what was found before it are written together, so nothing is missed and nothing has to be found twice.

use super::chat_marks::MarkKind;
use super::{Named, Result, Store};
use sqlx::Row;
use std::collections::BTreeSet;

/// Up to where somebody's account data was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPlace {
    /// The homeserver's place in `/sync`.
    pub since: String,
    /// Rooms that were muted then.
    pub muted: BTreeSet<String>,
}

/// What somebody did to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWish {
    /// Who.
    pub mxid: String,
    /// The room.
    pub room: String,
    /// What it is about.
    pub kind: MarkKind,
    /// As in [`ChatMark`](super::chat_marks::ChatMark); -1 for a room's mark for unread: the room was read.
    pub value: i64,
    /// An ordered id; tells it from a newer one.
    pub at: i64,
}

const FIND: &str = "-- own_data.find
    SELECT since, muted FROM own_data WHERE mxid = $1";
const PUT: &str = "-- own_data.put
    INSERT INTO own_data (mxid, since, muted) VALUES ($1, $2, $3)
    ON CONFLICT (mxid) DO UPDATE SET since = excluded.since, muted = excluded.muted";
const FORGET: &str = "-- own_data.forget
    DELETE FROM own_data WHERE mxid = $1";
const PUT_WISH: &str = "-- own_wish.put
    INSERT INTO own_wish (mxid, room_id, kind, value, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (mxid, room_id, kind) DO UPDATE SET value = excluded.value, at = excluded.at";
const WISHES: &str = "-- own_wish.all
    SELECT mxid, room_id, kind, value, at FROM own_wish ORDER BY at LIMIT 500";
const DROP_WISH: &str = "-- own_wish.drop
    DELETE FROM own_wish WHERE mxid = $1 AND room_id = $2 AND kind = $3 AND at = $4";

impl Store {
    /// Up to where somebody's account data was read; none before the first time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_own_place(&self, mxid: &str) -> Result<Option<OwnPlace>> {
        let row = sqlx::query(FIND).bind(mxid).fetch_optional(self.pool()).await.named("own_data.find")?;
        let Some(row) = row else { return Ok(None) };
        let text = |column: &'static str| row.try_get::<String, _>(column).named("own_data.find");
        Ok(Some(OwnPlace { since: text("since")?, muted: text("muted")?.lines().map(str::to_owned).collect() }))
    }

    /// Keeps the place and what was found before it, together.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_own_place(&self, mxid: &str, place: &OwnPlace, found: &[(String, MarkKind, i64)]) -> Result<()> {
        let muted: Vec<&str> = place.muted.iter().map(String::as_str).collect();
        let mut tx = self.begin("own_data.put").await?;
        let put = sqlx::query(PUT).bind(mxid).bind(place.since.as_str()).bind(muted.join("\n"));
        put.execute(tx.connection()).await.named("own_data.put")?;
        for (room, kind, value) in found {
            let wish = sqlx::query(PUT_WISH)
                .bind(mxid)
                .bind(room.as_str())
                .bind(kind.text())
                .bind(*value)
                .bind(self.clock().next_id());
            wish.execute(tx.connection()).await.named("own_wish.put")?;
        }
        tx.commit().await
    }

    /// Forgets the place: the homeserver does not know it any more, and the next reading starts from the present.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_own_place(&self, mxid: &str) -> Result<()> {
        self.write("own_data.forget", sqlx::query(FORGET).bind(mxid)).await.map(drop)
    }

    /// What WhatsApp was not told yet, oldest first, at most 500.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn own_wishes(&self) -> Result<Vec<OwnWish>> {
        let rows = sqlx::query(WISHES).fetch_all(self.pool()).await.named("own_wish.all")?;
        rows.iter()
            .map(|row| {
                let text = |column: &'static str| row.try_get::<String, _>(column).named("own_wish.all");
                Ok(OwnWish {
                    mxid: text("mxid")?,
                    room: text("room_id")?,
                    kind: MarkKind::of_text(&text("kind")?)?,
                    value: row.try_get("value").named("own_wish.all")?,
                    at: row.try_get("at").named("own_wish.all")?,
                })
            })
            .collect()
    }

    /// Forgets what is done, unless a newer one has taken its place.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_own_wish(&self, wish: &OwnWish) -> Result<()> {
        let write = sqlx::query(DROP_WISH)
            .bind(wish.mxid.as_str())
            .bind(wish.room.as_str())
            .bind(wish.kind.text())
            .bind(wish.at);
        self.write("own_wish.drop", write).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { what_somebody_did_is_kept_with_the_place => kept; }

    async fn kept(store: Store) {
        assert_eq!(store.find_own_place("@a:b").await.unwrap(), None);
        let place = |since: &str, muted: &[&str]| OwnPlace {
            since: since.into(),
            muted: muted.iter().map(|room| (*room).to_owned()).collect(),
        };
        let found = |value| [("!r".to_owned(), MarkKind::Pin, value)];
        store.put_own_place("@a:b", &place("s1", &["!r", "!s"]), &found(1)).await.unwrap();
        assert_eq!(store.find_own_place("@a:b").await.unwrap(), Some(place("s1", &["!r", "!s"])));
        let first = store.own_wishes().await.unwrap();
        assert_eq!((first.len(), first[0].value, first[0].kind), (1, 1, MarkKind::Pin));
        store.put_own_place("@a:b", &place("s2", &[]), &found(0)).await.unwrap();
        store.drop_own_wish(&first[0]).await.unwrap();
        let second = store.own_wishes().await.unwrap();
        assert_eq!((second.len(), second[0].value), (1, 0), "a newer one stays");
        store.drop_own_wish(&second[0]).await.unwrap();
        assert!(store.own_wishes().await.unwrap().is_empty());
        assert_eq!(store.find_own_place("@a:b").await.unwrap(), Some(place("s2", &[])));
        store.forget_own_place("@a:b").await.unwrap();
        assert_eq!(store.find_own_place("@a:b").await.unwrap(), None);
    }
}
