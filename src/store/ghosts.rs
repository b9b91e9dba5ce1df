//! People on WhatsApp as the bridge knows them, and the two ids one person can have.
//!
//! A person is their LID when it is known; the phone number id is an alias for it (table `wa_alias`). A ghost's
//! localpart is given once and stays when the other id is learnt.

use super::{Named, Result, Store, Tx};
use crate::ids::GhostId;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A person on WhatsApp and how far their puppet on Matrix is made.
#[derive(Debug, Clone)]
pub struct Ghost {
    /// Who.
    pub id: GhostId,
    /// Tail of the Matrix localpart, without the template around it.
    pub localpart: String,
    /// Display name wanted.
    pub name: String,
    /// How good the source of the name is; see [`NameRank`].
    pub name_rank: i64,
    /// Whether the homeserver has that name.
    pub name_set: bool,
    /// WhatsApp's id of the picture wanted; empty for none.
    pub avatar_id: String,
    /// Whether the homeserver has that picture.
    pub avatar_set: bool,
    /// When the picture was last asked for, milliseconds since 1970.
    pub avatar_checked_at: i64,
    /// Whether account and device exist on the homeserver.
    pub registered: bool,
}

/// How good the source of a name is; a worse one never replaces a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameRank {
    /// Made from the phone number or id.
    Number = 1,
    /// The person's own choice, sent with their messages.
    Push = 2,
    /// Verified business name.
    Business = 3,
}

const FIND: &str = "-- ghost.find
    SELECT ghost_id, localpart, name, name_rank, name_set, avatar_id, avatar_set, avatar_checked_at, registered
    FROM ghost WHERE ghost_id = $1";
const PUT: &str = "-- ghost.put
    INSERT INTO ghost (ghost_id, localpart, name, name_rank, name_set, avatar_id, avatar_mxc, avatar_set, avatar_checked_at, registered)
    VALUES ($1, $2, '', 0, 0, '', '', 1, 0, 0) ON CONFLICT DO NOTHING";
const WANT_NAME: &str = "-- ghost.want_name
    UPDATE ghost SET name = $2, name_rank = $3, name_set = 0 WHERE ghost_id = $1 AND (name_rank < $3 OR (name_rank = $3 AND name <> $2))";
const FORGET_BUSINESS: &str = "-- ghost.forget_business
    UPDATE ghost SET name_rank = 0 WHERE ghost_id = $1 AND name_rank = 3";
const NAME_SET: &str = "-- ghost.name_set
    UPDATE ghost SET name_set = 1 WHERE ghost_id = $1 AND name = $2";
const REGISTERED: &str = "-- ghost.registered
    UPDATE ghost SET registered = $2 WHERE ghost_id = $1";
const WANT_AVATAR: &str = "-- ghost.want_avatar
    UPDATE ghost SET avatar_id = $2, avatar_mxc = $3, avatar_set = $4, avatar_checked_at = $5 WHERE ghost_id = $1";
const ALIAS_FIND: &str = "-- wa_alias.find
    SELECT lid FROM wa_alias WHERE pn = $1";
const ALIAS_OF: &str = "-- wa_alias.of
    SELECT pn FROM wa_alias WHERE lid = $1 ORDER BY learnt_at DESC";
const ALIAS_PUT: &str = "-- wa_alias.put
    INSERT INTO wa_alias (pn, lid, learnt_at) VALUES ($1, $2, $3)
    ON CONFLICT (pn) DO UPDATE SET lid = excluded.lid, learnt_at = excluded.learnt_at WHERE wa_alias.lid <> excluded.lid";

const FIND_BY_LOCALPART: &str = "-- ghost.find_by_localpart
    SELECT ghost_id FROM ghost WHERE localpart = $1";

impl Store {
    /// The person's row, made with `localpart` when new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_or_make_ghost(&self, id: &GhostId, localpart: &str) -> Result<Ghost> {
        if let Some(ghost) = self.find_ghost(id).await? {
            return Ok(ghost);
        }
        self.write("ghost.put", sqlx::query(PUT).bind(id.as_str()).bind(localpart)).await?;
        self.find_ghost(id)
            .await?
            .ok_or(super::StoreError::Corrupt { table: "ghost", why: "the localpart belongs to another person".into() })
    }

    /// The person's row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_ghost(&self, id: &GhostId) -> Result<Option<Ghost>> {
        let row = sqlx::query(FIND).bind(id.as_str()).fetch_optional(self.pool()).await.named("ghost.find")?;
        row.as_ref().map(read_ghost).transpose().named("ghost.find")
    }

    /// The person behind a ghost's localpart.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_ghost_by_localpart(&self, localpart: &str) -> Result<Option<GhostId>> {
        let row = sqlx::query(FIND_BY_LOCALPART).bind(localpart).fetch_optional(self.pool()).await;
        let id = row.named("ghost.find_by_localpart")?.map(|row| row.try_get::<String, _>("ghost_id"));
        Ok(id.transpose().named("ghost.find_by_localpart")?.map(GhostId::new))
    }

    /// Notes a name from a source; true when it is a change the homeserver has to hear of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn want_name(&self, id: &GhostId, name: &str, rank: NameRank) -> Result<bool> {
        let write = sqlx::query(WANT_NAME).bind(id.as_str()).bind(name).bind(rank as i64);
        Ok(self.write("ghost.want_name", write).await?.affected > 0)
    }

    /// Notes that a person is no business any more: their own name replaces the business name as soon as it is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_business_name(&self, id: &GhostId) -> Result<()> {
        self.write("ghost.forget_business", sqlx::query(FORGET_BUSINESS).bind(id.as_str())).await.map(drop)
    }

    /// Notes that the homeserver has the name `name`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn name_was_set(&self, id: &GhostId, name: &str) -> Result<()> {
        self.write("ghost.name_set", sqlx::query(NAME_SET).bind(id.as_str()).bind(name)).await.map(drop)
    }

    /// Notes whether account and device exist on the homeserver.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_registered(&self, id: &GhostId, registered: bool) -> Result<()> {
        let write = sqlx::query(REGISTERED).bind(id.as_str()).bind(i64::from(registered));
        self.write("ghost.registered", write).await.map(drop)
    }

    /// Notes the picture wanted, its media address, and whether the homeserver has it as the profile's picture.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_avatar_state(&self, id: &GhostId, picture: &str, mxc: &str, set: bool) -> Result<()> {
        let write = sqlx::query(WANT_AVATAR)
            .bind(id.as_str())
            .bind(picture)
            .bind(mxc)
            .bind(i64::from(set))
            .bind(self.clock().now_ms());
        self.write("ghost.want_avatar", write).await.map(drop)
    }

    /// The LID behind a phone number id, when it was learnt.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_lid(&self, pn: &GhostId) -> Result<Option<GhostId>> {
        let row =
            sqlx::query(ALIAS_FIND).bind(pn.as_str()).fetch_optional(self.line_pool()).await.named("wa_alias.find")?;
        row.map(|row| row.try_get::<String, _>("lid").map(GhostId::new)).transpose().named("wa_alias.find")
    }

    /// The same inside a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_lid_in(&self, tx: &mut Tx, pn: &GhostId) -> Result<Option<GhostId>> {
        let row =
            sqlx::query(ALIAS_FIND).bind(pn.as_str()).fetch_optional(tx.connection()).await.named("wa_alias.find")?;
        row.map(|row| row.try_get::<String, _>("lid").map(GhostId::new)).transpose().named("wa_alias.find")
    }

    /// The newest phone number id of a LID, when one was learnt.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_pn(&self, lid: &GhostId) -> Result<Option<GhostId>> {
        let row = sqlx::query(ALIAS_OF).bind(lid.as_str()).fetch_optional(self.pool()).await.named("wa_alias.of")?;
        row.map(|row| row.try_get::<String, _>("pn").map(GhostId::new)).transpose().named("wa_alias.of")
    }

    /// Notes that two ids are one person; true when it is news.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_alias_in(&self, tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<bool> {
        let done = sqlx::query(ALIAS_PUT)
            .bind(pn.as_str())
            .bind(lid.as_str())
            .bind(self.clock().now_ms())
            .execute(tx.connection())
            .await;
        Ok(done.named("wa_alias.put")?.rows_affected() > 0)
    }
}

fn read_ghost(row: &AnyRow) -> std::result::Result<Ghost, sqlx::Error> {
    Ok(Ghost {
        id: GhostId::new(row.try_get::<String, _>("ghost_id")?),
        localpart: row.try_get("localpart")?,
        name: row.try_get("name")?,
        name_rank: row.try_get("name_rank")?,
        name_set: row.try_get::<i64, _>("name_set")? != 0,
        avatar_id: row.try_get("avatar_id")?,
        avatar_set: row.try_get::<i64, _>("avatar_set")? != 0,
        avatar_checked_at: row.try_get("avatar_checked_at")?,
        registered: row.try_get::<i64, _>("registered")? != 0,
    })
}
