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
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

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
pub(super) const ADVISORY_KEY: i64 = 0x6d77_6272_6964_6765;
/// How often a session that holds the lock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a server may take to miss a session of ours before its lock counts as somebody else's.
const LOST_SESSION: Duration = Duration::from_secs(60);
const LOOK: &str = "-- lock.look
    SELECT 1";
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

    /// Sees to it that the lock stays held until `stop`: on Postgres it is gone with its session, when the server
    /// restarts for instance, and is taken again.
    ///
    /// # Errors
    /// [`LockError::Taken`] when somebody else holds it now; this process must end.
    pub async fn keep(mut self, store: &Store, stop: &CancellationToken) -> Result<Self, LockError> {
        let mut taken_since = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(self),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let Self::Connection(connection) = &mut self else { continue };
            if sqlx::query(LOOK).execute(&mut ***connection).await.is_ok() {
                continue;
            }
            match Self::take_connection(store).await {
                Ok(lock) => {
                    tracing::warn!("the session that held the database's lock was lost; another one holds it");
                    (self, taken_since) = (lock, None);
                }
                // Perhaps by our own lost session, which the server has not missed yet.
                Err(LockError::Taken) => {
                    if taken_since.get_or_insert_with(Instant::now).elapsed() > LOST_SESSION {
                        return Err(LockError::Taken);
                    }
                }
                Err(error) => tracing::debug!(%error, "the database's lock can not be looked at"),
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
