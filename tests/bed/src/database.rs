//! Fresh databases: a file or a Postgres database of its own per story.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::sync::Mutex;
use xtask::cluster::Cluster;

/// Which of the two databases a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Db {
    /// A file beside the story's other files.
    Sqlite,
    /// A database on a real server.
    Postgres,
}

/// An empty database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its kind.
    pub kind: Db,
    /// Its address, as the bridge's `database.uri` takes it.
    pub uri: String,
}

static SERVER: Mutex<Option<Cluster>> = Mutex::const_new(None);
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Database {
    /// Makes an empty database: a file `name`.db in `folder`, or one on the Postgres server.
    ///
    /// # Errors
    /// The Postgres server can't be started or refuses.
    pub async fn create(kind: Db, folder: &Path, name: &str) -> Result<Self> {
        let uri = match kind {
            Db::Sqlite => format!("sqlite:{}", folder.join(format!("{name}.db")).display()),
            Db::Postgres => create_on_server(name).await?,
        };
        Ok(Self { kind, uri })
    }

    /// Returns the word the bridge's `database.type` takes.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Db::Sqlite => "sqlite",
            Db::Postgres => "postgres",
        }
    }

    /// Runs one SQL text, for stories that spoil what the bridge has stored; returns how many rows it touched.
    /// The bridge should not run meanwhile.
    ///
    /// # Errors
    /// The database can't be opened or refuses.
    pub async fn execute(&self, text: &str) -> Result<u64> {
        let text = sqlx::AssertSqlSafe(text.to_owned());
        let touched = match self.kind {
            Db::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.uri).await?;
                let touched = sqlx::raw_sql(text).execute(&mut connection).await?.rows_affected();
                connection.close().await?;
                touched
            }
            Db::Postgres => {
                let mut connection = PgConnection::connect(&self.uri).await?;
                let touched = sqlx::raw_sql(text).execute(&mut connection).await?.rows_affected();
                connection.close().await?;
                touched
            }
        };
        Ok(touched)
    }

    /// Returns the first number of the first row of a query; what the bridge has stored, for stories that wait for it.
    ///
    /// # Errors
    /// The database can't be opened or refuses, or there is no row.
    pub async fn number(&self, text: &str) -> Result<i64> {
        let text = sqlx::AssertSqlSafe(text.to_owned());
        let number = match self.kind {
            Db::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.uri).await?;
                let number = sqlx::query_scalar::<_, i64>(text).fetch_one(&mut connection).await?;
                connection.close().await?;
                number
            }
            Db::Postgres => {
                let mut connection = PgConnection::connect(&self.uri).await?;
                let number = sqlx::query_scalar::<_, i64>(text).fetch_one(&mut connection).await?;
                connection.close().await?;
                number
            }
        };
        Ok(number)
    }

    /// Takes the database away from the bridge: nothing can be written (SQLite: another process holds the write lock;
    /// Postgres: all sessions are ended and new ones refused) until [`Outage::end`].
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_away(&self) -> Result<Outage> {
        match self.kind {
            Db::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.uri).await?;
                sqlx::raw_sql("PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE").execute(&mut connection).await?;
                Ok(Outage::Locked(connection))
            }
            Db::Postgres => {
                let (name, mut server) = (self.postgres_parts()?.2, PgConnection::connect(&server_url().await?).await?);
                // The name is ours, digits and letters.
                let text = format!(
                    "ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS false;
                     SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                );
                sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut server).await?;
                Ok(Outage::Closed { name, server })
            }
        }
    }

    /// Returns how these bytes are written in this database's SQL.
    #[must_use]
    pub fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.kind {
            Db::Sqlite => format!("X'{hex}'"),
            Db::Postgres => format!("'\\x{hex}'::bytea"),
        }
    }

    /// Returns the Postgres database's parts: host, port, database name (for programs that take no address).
    ///
    /// # Errors
    /// It is an SQLite file.
    pub fn postgres_parts(&self) -> Result<(String, u16, String)> {
        let url = reqwest::Url::parse(&self.uri)?;
        let host = url.host_str().context("no host: not Postgres")?.to_owned();
        let port = url.port().context("no port: not Postgres")?;
        Ok((host, port, url.path().trim_start_matches('/').to_owned()))
    }
}

/// A database that was taken away.
pub enum Outage {
    /// Its write lock is held.
    Locked(SqliteConnection),
    /// It takes no connections.
    Closed {
        /// The database.
        name: String,
        /// A connection to another database of the server.
        server: PgConnection,
    },
}

impl Outage {
    /// Gives the database back.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn end(self) -> Result<()> {
        match self {
            Self::Locked(mut connection) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut connection).await?;
                connection.close().await?;
            }
            Self::Closed { name, mut server } => {
                let text = format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS true");
                sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut server).await?;
                server.close().await?;
            }
        }
        Ok(())
    }
}

async fn create_on_server(name: &str) -> Result<String> {
    let base = server_url().await?;
    let name = format!("{name}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)).to_lowercase();
    let mut connection = PgConnection::connect(&base).await.context("connecting to the test Postgres")?;
    // `template0` so that a session in `template1` can't stand in the way; the name is ours, digits and letters.
    let text = format!("CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.context("CREATE DATABASE")?;
    connection.close().await?;
    let mut url = reqwest::Url::parse(&base)?;
    url.set_path(&name);
    Ok(url.into())
}

/// Returns the server to make databases on: `MATRIX_WHATSAPP_TEST_POSTGRES`, else one started for this process.
async fn server_url() -> Result<String> {
    static GIVEN: OnceLock<Option<String>> = OnceLock::new();
    if let Some(url) = GIVEN.get_or_init(|| std::env::var("MATRIX_WHATSAPP_TEST_POSTGRES").ok()) {
        return Ok(url.clone());
    }
    let mut server = SERVER.lock().await;
    if let Some(running) = &*server {
        return Ok(running.url());
    }
    let started = tokio::task::spawn_blocking(Cluster::start).await??;
    let url = started.url();
    *server = Some(started);
    Ok(url)
}
