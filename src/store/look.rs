//! A look at a database from outside: whether it can be read, how far its schema is, and whether somebody has it. Changes
//! nothing and makes nothing.

use std::path::Path;

use fs4::fs_std::FileExt;
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::lock::ADVISORY_KEY;
use super::{Dialect, Named, Result, migrations};

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The newest step of the schema that was done; `None` when it is empty.
    pub schema: Option<i64>,
    /// The newest step this version knows.
    pub newest: i64,
    /// Whether a process holds the lock.
    pub is_held: bool,
}

const FIND_STEPS: &str = "-- look.find_steps
    SELECT CAST(COUNT(*) AS BIGINT) AS tables FROM sqlite_master WHERE name = '_sqlx_migrations'";
const FIND_STEPS_OF_SERVER: &str = "-- look.find_steps_of_server
    SELECT CAST(COUNT(*) AS BIGINT) AS tables FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')";
const FIND_NEWEST: &str = "-- look.find_newest
    SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) AS newest FROM _sqlx_migrations";
const IS_HELD: &str = "-- look.is_held
    SELECT CAST(COUNT(*) AS BIGINT) AS held FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) = $1";

/// Looks at the database at `url` (see [`super::Store::open`]); `file` is the SQLite file's path, which must be there.
///
/// # Errors
/// When it can not be reached or read.
pub async fn look(url: &str, file: Option<&Path>) -> Result<Look> {
    sqlx::any::install_default_drivers();
    let dialect = if url.starts_with("postgres") { Dialect::Postgres } else { Dialect::Sqlite };
    // Else a file that is not there would be made.
    let url = url.replace("?mode=rwc", "?mode=rw");
    let mut connection = AnyConnection::connect(&url).await.named("look.open")?;
    let look = look_through(&mut connection, dialect, file).await?;
    connection.close().await.named("look.close")?;
    Ok(look)
}

async fn look_through(connection: &mut AnyConnection, dialect: Dialect, file: Option<&Path>) -> Result<Look> {
    let find = if dialect == Dialect::Sqlite { FIND_STEPS } else { FIND_STEPS_OF_SERVER };
    let schema = match count(connection, find, "tables").await? {
        0 => None,
        _ => Some(count(connection, FIND_NEWEST, "newest").await?),
    };
    let is_held = match (dialect, file) {
        (Dialect::Postgres, _) => {
            let row = sqlx::query(IS_HELD).bind(ADVISORY_KEY).fetch_one(connection).await.named("look.is_held")?;
            row.try_get::<i64, _>("held").named("look.is_held")? > 0
        }
        (Dialect::Sqlite, Some(file)) => is_locked(file),
        (Dialect::Sqlite, None) => false,
    };
    let newest = migrations().iter().map(|step| step.version).max().unwrap_or_default();
    Ok(Look { schema, newest, is_held })
}

async fn count(connection: &mut AnyConnection, sql: &'static str, column: &str) -> Result<i64> {
    let row = sqlx::query(sql).fetch_one(connection).await.named("look.count")?;
    row.try_get(column).named("look.count")
}

/// Whether a process holds the file's lock (see [`super::lock`]); a lock file that is not there is nobody's.
fn is_locked(database: &Path) -> bool {
    let Ok(file) = std::fs::File::open(database.with_extension("lock")) else { return false };
    // Shared, so that two who look do not see each other. It goes with the file.
    !FileExt::try_lock_shared(&file).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::super::lock::Lock;
    use super::super::tests::on_both;
    use super::super::{Store, StoreError};
    use super::*;
    use crate::clock::Clock;

    on_both! { the_lock_of_another_is_seen => see_lock; }

    async fn see_lock(store: Store) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let seen = async || {
            let mut connection = store.pool().acquire().await.unwrap();
            let seen = look_through(&mut connection, store.dialect(), Some(&file)).await.unwrap();
            assert_eq!(seen.schema, Some(seen.newest));
            seen.is_held
        };
        assert!(!seen().await);
        let lock = Lock::take(&store, Some(&file)).await.unwrap();
        assert!(seen().await);
        lock.give_back().await;
        assert!(!seen().await);
    }

    #[tokio::test]
    async fn a_file_is_looked_at_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        assert!(matches!(look(&url, Some(&path)).await, Err(StoreError::Database { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let store = Store::open(&url, Clock::system()).await.unwrap();
        let lock = Lock::take(&store, Some(&path)).await.unwrap();
        let seen = look(&url, Some(&path)).await.unwrap();
        assert_eq!((seen.schema, seen.is_held), (Some(seen.newest), true));
        lock.give_back().await;
        assert!(!look(&url, Some(&path)).await.unwrap().is_held);
        store.close().await;

        std::fs::write(&path, "no database at all, but long enough to be read as one").unwrap();
        assert!(look(&url, Some(&path)).await.is_err());
    }
}
