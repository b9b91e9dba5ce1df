//! Media names that were asked of the homeserver for a message's files, kept until the message is long there.

use super::messages::PartKey;
use super::{Named, Result, Store};
use sqlx::Row;

/// Which of an event's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSlot {
    /// The file itself.
    File,
    /// Its small picture.
    Thumbnail,
    /// The picture of a link.
    Preview,
}

impl FileSlot {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Thumbnail => "thumbnail",
            Self::Preview => "preview",
        }
    }
}

const FIND: &str = "-- file_name.find
    SELECT mxc FROM file_name WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4 AND slot = $5";
const PUT: &str = "-- file_name.put
    INSERT INTO file_name (portal_id, sender, wa_id, part, slot, mxc, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (portal_id, sender, wa_id, part, slot) DO UPDATE SET mxc = excluded.mxc, made_at = excluded.made_at";
const SWEEP: &str = "-- file_name.sweep
    DELETE FROM file_name WHERE made_at < $1";

impl Store {
    /// The name kept for a file.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_file_name(&self, key: &PartKey, slot: FileSlot) -> Result<Option<String>> {
        let row = sqlx::query(FIND)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .bind(slot.as_str())
            .fetch_optional(self.pool())
            .await
            .named("file_name.find")?;
        row.map(|row| row.try_get("mxc")).transpose().named("file_name.find")
    }

    /// Keeps the name of a file; an earlier one, which has expired, is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_file_name(&self, key: &PartKey, slot: FileSlot, mxc: &str) -> Result<()> {
        let write = sqlx::query(PUT)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .bind(slot.as_str())
            .bind(mxc)
            .bind(self.clock().now_ms());
        self.write("file_name.put", write).await.map(drop)
    }

    /// Forgets names made before a time (milliseconds since 1970); returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_file_names(&self, before: i64) -> Result<u64> {
        Ok(self.write("file_name.sweep", sqlx::query(SWEEP).bind(before)).await?.affected)
    }
}
