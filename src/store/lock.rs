//! One process per database: two would use one device's keys at the same time and destroy them.
//!
//! The lock dies with its holder, so a start after a kill never waits: an advisory lock of one held connection on
//! Postgres, a file lock beside the SQLite file.

use super::{Dialect, Named, Store, StoreError};
use fs4::fs_std::FileExt;
use sqlx::pool::PoolConnection;
use sqlx::{Any, Row};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("another bridge is running on this database; stop it first")]
    Taken,
    /// The lock file can not be made.
    #[error("the lock file {path} can not be made: check that its folder exists and may be written to")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The held lock; dropping it gives it back too.
pub enum Lock {
    /// A locked file beside the database.
    File(File),
    /// A connection of the server that holds an advisory lock.
    Connection(Box<PoolConnection<Any>>),
    /// A database in memory is nobody else's.
    Alone,
}

/// A number of our own for Postgres' advisory locks.
const ADVISORY_KEY: i64 = 0x6d77_6272_6964_6765;
const TRY_LOCK: &str = "-- lock.take
    SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END AS taken";
const UNLOCK: &str = "-- lock.give_back
    SELECT CASE WHEN pg_advisory_unlock($1) THEN 1 ELSE 0 END AS given";

impl Lock {
    /// Takes the lock of this database; `file` is the SQLite file's path.
    ///
    /// # Errors
    /// [`LockError`]
    pub async fn take(store: &Store, file: Option<&Path>) -> Result<Self, LockError> {
        match (store.dialect(), file) {
            (Dialect::Postgres, _) => Self::take_connection(store).await,
            (Dialect::Sqlite, Some(file)) => Self::take_file(file),
            (Dialect::Sqlite, None) => Ok(Self::Alone),
        }
    }

    async fn take_connection(store: &Store) -> Result<Self, LockError> {
        let mut connection = store.pool().acquire().await.named("lock.take")?;
        let row = sqlx::query(TRY_LOCK).bind(ADVISORY_KEY).fetch_one(&mut *connection).await.named("lock.take")?;
        let taken: i32 = row.try_get("taken").named("lock.take")?;
        if taken == 1 { Ok(Self::Connection(Box::new(connection))) } else { Err(LockError::Taken) }
    }

    fn take_file(database: &Path) -> Result<Self, LockError> {
        let path = database.with_extension("lock");
        let failed = |source| LockError::File { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match FileExt::try_lock_exclusive(&file) {
            Ok(true) => Ok(Self::File(file)),
            Ok(false) => Err(LockError::Taken),
            Err(source) => Err(failed(source)),
        }
    }

    /// Ends when the lock is lost: its connection to the server broke, so another process may take it.
    pub async fn lost(&mut self) {
        let Self::Connection(connection) = self else { return std::future::pending().await };
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let alive =
                tokio::time::timeout(Duration::from_secs(20), sqlx::query("SELECT 1").execute(&mut ***connection));
            if !matches!(alive.await, Ok(Ok(_))) {
                return;
            }
        }
    }

    /// Gives the lock back, so that a successor may start at once.
    pub async fn give_back(self) {
        if let Self::Connection(mut connection) = self
            && let Err(error) = sqlx::query(UNLOCK).bind(ADVISORY_KEY).execute(&mut **connection).await
        {
            tracing::debug!(%error, "the lock goes with its connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { a_second_process_is_refused_until_the_first_is_gone => refuse_second; }

    async fn refuse_second(store: Store) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.db");
        let first = Lock::take(&store, Some(&file)).await.unwrap();
        assert!(matches!(Lock::take(&store, Some(&file)).await, Err(LockError::Taken)));
        first.give_back().await;
        Lock::take(&store, Some(&file)).await.unwrap();
    }
}
