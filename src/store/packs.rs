//! Media names of stickers that were brought over in packs, by what is in their files.

use super::{Named, Result, Store};
use sqlx::Row;

const FIND: &str = "-- pack_sticker.find
    SELECT mxc FROM pack_sticker WHERE hash = $1";
const PUT: &str = "-- pack_sticker.put
    INSERT INTO pack_sticker (hash, mxc, made_at) VALUES ($1, $2, $3)
    ON CONFLICT (hash) DO UPDATE SET mxc = excluded.mxc, made_at = excluded.made_at";

impl Store {
    /// The name kept for a sticker whose file has this hash (hexadecimal).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_pack_sticker(&self, hash: &str) -> Result<Option<String>> {
        let row = sqlx::query(FIND).bind(hash).fetch_optional(self.pool()).await.named("pack_sticker.find")?;
        row.map(|row| row.try_get("mxc")).transpose().named("pack_sticker.find")
    }

    /// Keeps the name of a sticker; an earlier one, whose file is gone, is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_pack_sticker(&self, hash: &str, mxc: &str) -> Result<()> {
        let write = sqlx::query(PUT).bind(hash).bind(mxc).bind(self.clock().now_ms());
        self.write("pack_sticker.put", write).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { a_sticker_has_one_name => one_name; }

    async fn one_name(store: Store) {
        assert_eq!(store.find_pack_sticker("ab").await.unwrap(), None);
        for mxc in ["mxc://a/old", "mxc://a/new"] {
            store.keep_pack_sticker("ab", mxc).await.unwrap();
        }
        assert_eq!(store.find_pack_sticker("ab").await.unwrap().as_deref(), Some("mxc://a/new"));
        assert_eq!(store.find_pack_sticker("cd").await.unwrap(), None);
    }
}
