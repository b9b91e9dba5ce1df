//! The only place with SQL: one database, one text for SQLite and Postgres.
//!
//! Promise: what a function here answers `Ok` for is committed. Writes go through [`Store::begin`], a named
//! transaction, or `Store::write`, a statement on its own; never through a pool, which on SQLite is for reading:
//! there one `writer` commits the writes of many together. Two pools share the database: [`Store`] for the bridge's
//! own work and, inside it, one set aside for the client library and the intake from WhatsApp, so that neither
//! can starve the other of connections.
//!
//! Who calls it: both edges, the bridge and the doors. It knows nothing of them; committing rows rings the
//! [`bell::Bell`].

pub mod bell;
pub mod blocked;
pub mod calls;
pub mod channels;
pub mod chat_marks;
pub mod chat_rooms;
pub mod communities;
pub mod contacts;
pub mod deletions;
pub mod directory;
pub mod disappearing;
pub mod files;
pub mod filter;
mod former_rooms;
pub mod ghosts;
pub mod group_pictures;
pub mod group_wishes;
pub mod groups;
pub mod identity;
pub mod inbox;
pub mod live;
pub mod lock;
pub mod login_watch;
pub mod logins;
pub mod look;
pub mod messages;
pub mod mx_intake;
pub mod outcomes;
pub mod overview;
pub mod own_data;
pub mod packs;
pub mod parking;
pub mod pins;
pub mod places;
pub mod plumbing;
pub mod polls;
pub mod portals;
pub mod pressing;
pub mod progress;
pub mod puppets;
pub mod reactions;
pub mod relay;
pub mod seal;
pub mod spaces;
mod states;
pub mod status;
pub mod wa_applied;
mod wa_appstate;
pub mod wa_backend;
pub mod wa_device;
mod wa_pending;
mod wa_people;
mod wa_protocol;
mod wa_rows;
mod wa_secret;
mod wa_settled;
mod wa_signal;
pub mod wishes;
mod writer;

use crate::clock::Clock;
use crate::derive::Derive;
use crate::numbers;
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, Row, SqlSafeStr, Transaction};
use std::sync::Arc;
use std::time::Duration;
use writer::{Done, Loan, Write, Writer};

/// Which dialect stands behind the pool; asked only where a transaction begins and where pragmas are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// An embedded file.
    Sqlite,
    /// A server.
    Postgres,
}

/// Why the database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer or refused; a retry may help.
    #[error("the database failed in {what}: {source}")]
    Database {
        /// The statement's or transaction's name.
        what: &'static str,
        /// What the driver said; the same to all whose writes were committed together.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The schema could not be brought up to date.
    #[error("the database schema could not be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored row makes no sense; a retry will not help.
    #[error("a row of {table} makes no sense: {why}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong, without the row's content.
        why: String,
    },
}

/// Answer of everything in the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Names a failed statement.
pub(crate) trait Named<T> {
    /// Puts the statement's name to an error of the driver.
    fn named(self, what: &'static str) -> Result<T>;
}

impl<T> Named<T> for std::result::Result<T, sqlx::Error> {
    fn named(self, what: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::Database { what, source: Arc::new(source) })
    }
}

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    dialect: Dialect,
    /// For the bridge's own work.
    pool: AnyPool,
    /// For the client library's backend and the intake from WhatsApp.
    line_pool: AnyPool,
    /// Who writes, on SQLite.
    writer: Option<Writer>,
    clock: Clock,
    derive: Derive,
    bell: bell::Bell,
    /// Rung when a group was marked.
    groups_bell: tokio::sync::watch::Sender<u64>,
    /// When the newest stored answer about each group was asked for.
    group_answers: std::sync::Mutex<std::collections::HashMap<crate::ids::PortalId, i64>>,
    /// Rung when a mark of a chat was kept.
    marks_bell: tokio::sync::Notify,
    /// Rung when a channel, or the counts of a post, were marked.
    channels_bell: tokio::sync::watch::Sender<u64>,
    parking: parking::Parking,
    places: places::Places,
}

/// A write transaction: rolled back when dropped. Never ask for another write while holding one. On SQLite it may read
/// what is not on the disk yet, so who found that there is nothing to do commits before saying so.
pub struct Tx {
    inner: Inner,
    what: &'static str,
}

enum Inner {
    /// A transaction of the database.
    Whole(Transaction<'static, Any>),
    /// A part of one that others share.
    Shared(Loan),
}

impl Tx {
    /// The connection to run statements on.
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        match &mut self.inner {
            Inner::Whole(inner) => inner,
            Inner::Shared(loan) => loan.connection(),
        }
    }

    /// Makes everything done in it durable.
    ///
    /// # Errors
    /// When the database fails; then nothing of it happened, or (a lost connection to a server) it is unknown.
    pub async fn commit(self) -> Result<()> {
        let what = self.what;
        let done = match self.inner {
            Inner::Whole(inner) => inner.commit().await.named(what),
            Inner::Shared(loan) => loan.commit(what).await,
        };
        numbers::count_write(numbers::Write::Transaction, done.is_ok());
        done?;
        // Read by the benchmark.
        tracing::trace!(what, "a transaction was committed");
        Ok(())
    }
}

/// Connections for the bridge's own work.
const MAIN_CONNECTIONS: u32 = 8;
/// Connections set aside for the client library and the intake from WhatsApp.
const LINE_CONNECTIONS: u32 = 6;

impl Store {
    /// Opens the database, brings its schema up to date and reads the installation's key (made when new).
    /// `url` is what [`crate::config`] gives: `sqlite://file?mode=rwc` or `postgres://…`.
    ///
    /// # Errors
    /// When it can not be reached or migrated.
    pub async fn open(url: &str, clock: Clock) -> Result<Self> {
        install_default_drivers();
        let dialect = if url.starts_with("postgres") { Dialect::Postgres } else { Dialect::Sqlite };
        let pool = connect(url, dialect, MAIN_CONNECTIONS).await?;
        migrate(&pool).await?;
        let line_pool = connect(url, dialect, LINE_CONNECTIONS).await?;
        let writer = match dialect {
            Dialect::Sqlite => Some(Writer::start(connect(url, dialect, 2).await?).await?),
            Dialect::Postgres => None,
        };
        let derive = Derive::new(load_or_make_key(&pool).await?);
        let store = Self {
            shared: Arc::new(Shared {
                dialect,
                pool,
                line_pool,
                writer,
                clock,
                derive,
                bell: bell::Bell::default(),
                groups_bell: tokio::sync::watch::Sender::new(0),
                group_answers: std::sync::Mutex::default(),
                marks_bell: tokio::sync::Notify::new(),
                channels_bell: tokio::sync::watch::Sender::new(0),
                parking: parking::Parking::default(),
                places: places::Places::default(),
            }),
        };
        store.shared.clock.raise_to(store.largest_ordered_id().await?);
        Ok(store)
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.shared.dialect
    }

    /// The clock every stored time comes from.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The maker of fixed names, keyed for this installation.
    pub fn derive(&self) -> &Derive {
        &self.shared.derive
    }

    /// What parked rows wait for.
    pub(crate) fn parking(&self) -> &parking::Parking {
        &self.shared.parking
    }

    /// Where a notice keeps the place of a message.
    pub(crate) fn places(&self) -> &places::Places {
        &self.shared.places
    }

    /// Rung for every lane that got rows.
    pub fn bell(&self) -> &bell::Bell {
        &self.shared.bell
    }

    /// For reads.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.shared.pool
    }

    /// The connections set aside for the client library and the intake from WhatsApp.
    pub(crate) fn line_pool(&self) -> &AnyPool {
        &self.shared.line_pool
    }

    /// Begins a write transaction for the bridge's own work; `what` names it in errors.
    ///
    /// # Errors
    /// When the database fails or is locked for longer than its timeout.
    pub async fn begin(&self, what: &'static str) -> Result<Tx> {
        self.begin_on(self.pool(), what).await
    }

    /// The same on the connections set aside for the WhatsApp side.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub async fn begin_line(&self, what: &'static str) -> Result<Tx> {
        self.begin_on(self.line_pool(), what).await
    }

    async fn begin_on(&self, pool: &AnyPool, what: &'static str) -> Result<Tx> {
        let inner = match &self.shared.writer {
            Some(writer) => Inner::Shared(writer.lend(what).await?),
            None => Inner::Whole(pool.begin().await.named(what)?),
        };
        Ok(Tx { inner, what })
    }

    /// Runs a statement that is a transaction of its own; `what` names it in errors. Never while holding a [`Tx`].
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn write(&self, what: &'static str, write: Write) -> Result<Done> {
        self.write_on(self.pool(), what, write).await
    }

    /// The same on the connections set aside for the WhatsApp side.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn write_line(&self, what: &'static str, write: Write) -> Result<Done> {
        self.write_on(self.line_pool(), what, write).await
    }

    async fn write_on(&self, pool: &AnyPool, what: &'static str, write: Write) -> Result<Done> {
        let done = match &self.shared.writer {
            Some(writer) => writer.run(what, write).await,
            None => match pool.acquire().await.named(what) {
                Ok(mut connection) => writer::execute(&mut connection, write).await.named(what),
                Err(error) => Err(error),
            },
        };
        numbers::count_write(numbers::Write::Statement, done.is_ok());
        done
    }

    /// How many groups the writer has committed.
    #[cfg(test)]
    fn groups(&self) -> u64 {
        self.shared.writer.as_ref().map_or(0, Writer::groups)
    }

    /// Answers whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.pool()).await.named("store.ping").map(drop)
    }

    /// A small fact of the installation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        find_meta(self.pool(), key).await
    }

    /// Writes a small fact of the installation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_meta(&self, key: &str, value: &[u8]) -> Result<()> {
        const SQL: &str = "-- meta.put
            INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.write("meta.put", sqlx::query(SQL).bind(key).bind(value)).await.map(drop)
    }

    /// Closes everything, waiting for what is in hand.
    pub async fn close(&self) {
        if let Some(writer) = &self.shared.writer {
            writer.close().await;
        }
        self.shared.line_pool.close().await;
        self.shared.pool.close().await;
    }

    async fn largest_ordered_id(&self) -> Result<i64> {
        const SQL: &str = "-- store.largest_ordered_id
            SELECT CAST(MAX(id) AS BIGINT) AS id FROM (
                SELECT COALESCE(MAX(seq), 0) AS id FROM inbox UNION ALL SELECT COALESCE(MAX(portal_id), 0) FROM portal
            ) AS ids";
        let row = sqlx::query(SQL).fetch_one(self.pool()).await.named("store.largest_ordered_id")?;
        row.try_get::<i64, _>("id").named("store.largest_ordered_id")
    }
}

async fn connect(url: &str, dialect: Dialect, connections: u32) -> Result<AnyPool> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(20))
        .test_before_acquire(dialect == Dialect::Postgres)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if dialect == Dialect::Sqlite {
                    // FULL: a commit survives a power cut, not only a kill. The log is moved by the writer's task.
                    sqlx::raw_sql(
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                         PRAGMA busy_timeout = 15000; PRAGMA cache_size = -2000; PRAGMA wal_autocheckpoint = 0;",
                    )
                    .execute(connection)
                    .await?;
                }
                Ok(())
            })
        })
        .connect(url)
        .await
        .named("store.open")
}

/// The migrations, oldest first. They only grow: a landed one is never edited.
fn migrations() -> Vec<Migration> {
    let step = |version: i64, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    vec![
        step(1, "core", include_str!("../migrations/0001_core.sql")),
        step(2, "library", include_str!("../migrations/0002_library.sql")),
        step(3, "polls", include_str!("../migrations/0003_polls.sql")),
        step(4, "states", include_str!("../migrations/0004_states.sql")),
        step(5, "files", include_str!("../migrations/0005_files.sql")),
        step(6, "groups", include_str!("../migrations/0006_groups.sql")),
        step(7, "signals", include_str!("../migrations/0007_signals.sql")),
        step(8, "puppets", include_str!("../migrations/0008_puppets.sql")),
        step(9, "disappearing and spaces", include_str!("../migrations/0009_disappearing_and_spaces.sql")),
        step(10, "chat_marks", include_str!("../migrations/0010_chat_marks.sql")),
        step(11, "kinds", include_str!("../migrations/0011_kinds.sql")),
        step(12, "channels", include_str!("../migrations/0012_channels.sql")),
        step(13, "budgets", include_str!("../migrations/0013_budgets.sql")),
        step(14, "chat_state", include_str!("../migrations/0014_chat_state.sql")),
        step(16, "relay", include_str!("../migrations/0016_relay.sql")),
        step(17, "login_watch", include_str!("../migrations/0017_login_watch.sql")),
        step(18, "outcomes", include_str!("../migrations/0018_outcomes.sql")),
        step(19, "deletions", include_str!("../migrations/0019_deletions.sql")),
        step(21, "blocked", include_str!("../migrations/0021_blocked.sql")),
        step(22, "plumbing", include_str!("../migrations/0022_plumbing.sql")),
        step(23, "unsent", include_str!("../migrations/0023_unsent.sql")),
        step(24, "relay marks", include_str!("../migrations/0024_relay_marks.sql")),
        step(25, "packs", include_str!("../migrations/0025_packs.sql")),
        step(30, "former rooms", include_str!("../migrations/0030_former_rooms.sql")),
        step(31, "relay unset", include_str!("../migrations/0031_relay_unset.sql")),
    ]
}

async fn migrate(pool: &AnyPool) -> Result<()> {
    Ok(Migrator::with_migrations(migrations()).run(pool).await?)
}

async fn find_meta(pool: &AnyPool, key: &str) -> Result<Option<Vec<u8>>> {
    const SQL: &str = "-- meta.find
        SELECT value FROM meta WHERE key = $1";
    let row = sqlx::query(SQL).bind(key).fetch_optional(pool).await.named("meta.find")?;
    row.map(|row| row.try_get("value").named("meta.find")).transpose()
}

async fn load_or_make_key(pool: &AnyPool) -> Result<[u8; 32]> {
    const SQL: &str = "-- meta.make_key
        INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    let fresh: [u8; 32] = rand::random();
    sqlx::query(SQL).bind("derive_key").bind(fresh.as_slice()).execute(pool).await.named("meta.make_key")?;
    let stored = find_meta(pool, "derive_key").await?.unwrap_or_default();
    stored.try_into().map_err(|_| StoreError::Corrupt { table: "meta", why: "derive_key is not 32 bytes long".into() })
}

#[cfg(test)]
mod chat_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod wa_device_tests;
#[cfg(test)]
mod wa_differential_tests;
#[cfg(test)]
mod wa_safety_tests;
#[cfg(test)]
mod wa_tests;
#[cfg(test)]
mod writer_tests;
