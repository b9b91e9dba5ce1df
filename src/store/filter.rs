//! Which chats get rooms, as administrators have chosen it.

use super::{Named, Result, Store};
use sqlx::Row;

/// What is kept of the filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterRows {
    /// `off`, `allow` or `deny`; empty when nothing was ever chosen.
    pub mode: String,
    /// Chats named to be let in.
    pub allow: Vec<String>,
    /// Chats named to be kept out.
    pub deny: Vec<String>,
}

/// Where the mode is kept.
const MODE: &str = "filter.mode";
const ALL: &str = "-- chat_filter.all
    SELECT list, chat FROM chat_filter ORDER BY list, chat";
const PUT: &str = "-- chat_filter.put
    INSERT INTO chat_filter (list, chat) VALUES ($1, $2) ON CONFLICT (list, chat) DO NOTHING";
const REMOVE: &str = "-- chat_filter.remove
    DELETE FROM chat_filter WHERE list = $1 AND chat = $2";

impl Store {
    /// The filter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_filter(&self) -> Result<FilterRows> {
        let mode = self.find_meta(MODE).await?.unwrap_or_default();
        let mut filter = FilterRows { mode: String::from_utf8_lossy(&mode).into_owned(), ..FilterRows::default() };
        for row in sqlx::query(ALL).fetch_all(self.pool()).await.named("chat_filter.all")? {
            let list: String = row.try_get("list").named("chat_filter.all")?;
            let chat = row.try_get("chat").named("chat_filter.all")?;
            match list.as_str() {
                "allow" => filter.allow.push(chat),
                _ => filter.deny.push(chat),
            }
        }
        Ok(filter)
    }

    /// Chooses the mode: `off`, `allow` or `deny`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_filter_mode(&self, mode: &str) -> Result<()> {
        self.put_meta(MODE, mode.as_bytes()).await
    }

    /// Puts chats on a list, `allow` or `deny`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_on_filter(&self, list: &str, chats: &[String]) -> Result<()> {
        let mut tx = self.begin("chat_filter.put").await?;
        for chat in chats {
            let put = sqlx::query(PUT).bind(list).bind(chat.as_str()).execute(tx.connection()).await;
            put.named("chat_filter.put")?;
        }
        tx.commit().await
    }

    /// Takes chats off a list.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_off_filter(&self, list: &str, chats: &[String]) -> Result<()> {
        let mut tx = self.begin("chat_filter.remove").await?;
        for chat in chats {
            let removed = sqlx::query(REMOVE).bind(list).bind(chat.as_str()).execute(tx.connection()).await;
            removed.named("chat_filter.remove")?;
        }
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { a_filter_is_kept => kept; }

    async fn kept(store: Store) {
        assert_eq!(store.load_filter().await.unwrap(), FilterRows::default());
        store.put_filter_mode("deny").await.unwrap();
        let chats = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for _ in 0..2 {
            store.put_on_filter("deny", &chats(&["1@lid", "2@g.us"])).await.unwrap();
        }
        store.put_on_filter("allow", &chats(&["1@lid"])).await.unwrap();
        store.take_off_filter("deny", &chats(&["1@lid", "9@lid"])).await.unwrap();
        let expected = FilterRows { mode: "deny".into(), allow: chats(&["1@lid"]), deny: chats(&["2@g.us"]) };
        assert_eq!(store.load_filter().await.unwrap(), expected);
    }
}
