//! A throw-away real Synapse on loopback.
//!
//! Synapse reads registrations only at its start, so every server is started with a number of *slots*: application
//! services with a port, tokens and names of their own. A bridge leases one and never gives it back: rooms and
//! queued transactions of an earlier bridge would otherwise reach the next one.

mod settings;
mod slot;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::ports::{self, Port};
use xtask::scratch::Folder;
use xtask::{places, tether};

use crate::database::{Database, Db};
use crate::person::Person;
use crate::process::{self, Process};
use crate::{client, wait};
pub use settings::SERVER_NAME;
pub use slot::Slot;

/// How many slots a server shared by many stories has.
const SHARED_SLOTS: usize = 8;
/// How many it has with registrations for double puppets. Each of those is interested in everybody, and so costs every
/// event a transaction.
const SHARED_PUPPET_SLOTS: usize = 4;

/// Which registrations of its slots a homeserver loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// Those of the bridges alone.
    Bridges,
    /// Those for double puppets too.
    Puppets,
}

/// The homeservers that stories share, taken in turn: a Synapse uses one core at most. Each is followed by another one when its
/// slots are used up.
struct Shared {
    slots: usize,
    loaded: Loaded,
    /// Kept alive even while no story runs; replaced when its slots are used up, and then ended by its last story.
    current: [tokio::sync::Mutex<Option<Arc<Synapse>>>; 2],
    turn: AtomicU32,
}

impl Shared {
    const fn new(slots: usize, loaded: Loaded) -> Self {
        let current = [tokio::sync::Mutex::const_new(None), tokio::sync::Mutex::const_new(None)];
        Self { slots, loaded, current, turn: AtomicU32::new(0) }
    }

    async fn lease(&self) -> Result<(Arc<Synapse>, Slot)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 2;
        let mut current = self.current[usize::from(turn == 1)].lock().await;
        if let Some(synapse) = current.as_ref()
            && let Some(slot) = synapse.lease()
        {
            return Ok((Arc::clone(synapse), slot));
        }
        let synapse = Synapse::start(self.slots, Db::Sqlite, self.loaded).await?;
        let slot = synapse.lease().context("a new server has no slot")?;
        *current = Some(Arc::clone(&synapse));
        Ok((synapse, slot))
    }
}

/// A homeserver; gone, with its data, when dropped.
pub struct Synapse {
    process: tokio::sync::Mutex<Option<Process>>,
    slots: Mutex<Vec<Slot>>,
    secret: String,
    people: AtomicU32,
    port: Port,
    database: Database,
    folder: Folder,
}

impl Synapse {
    /// Makes and starts a homeserver with `slots` application services on a database of that kind; returns when it
    /// answers (about 1.5 s).
    ///
    /// # Errors
    /// `cargo xtask setup` was not run, the bridge can't generate its registrations, or the server does not start.
    pub async fn start(slots: usize, db: Db, loaded: Loaded) -> Result<Arc<Self>> {
        if !places::python().exists() {
            bail!("no Synapse in {}: run `cargo xtask setup`", places::venv().display());
        }
        let folder = Folder::create("synapse")?;
        let port = ports::lease()?;
        let address = format!("http://127.0.0.1:{}", port.number());
        let mut leases = Vec::new();
        for index in 0..slots {
            leases.push(Slot::register(index, folder.path(), &address)?);
        }
        let database = Database::create(db, folder.path(), "synapse").await?;
        let secret = client::new_transaction();
        let registrations: Vec<PathBuf> = leases.iter().flat_map(|slot| slot.registrations(loaded)).collect();
        settings::write(folder.path(), port.number(), &secret, &database, &registrations)?;
        // Slots are handed out in order.
        leases.reverse();
        let (slots, people) = (Mutex::new(leases), AtomicU32::new(0));
        let synapse = Self { process: tokio::sync::Mutex::new(None), slots, secret, people, port, database, folder };
        synapse.start_again().await?;
        Ok(Arc::new(synapse))
    }

    /// Returns a slot of a homeserver shared with other stories of this process, and that server.
    ///
    /// # Errors
    /// As [`Synapse::start`].
    pub async fn shared(loaded: Loaded) -> Result<(Arc<Self>, Slot)> {
        static BRIDGES: Shared = Shared::new(SHARED_SLOTS, Loaded::Bridges);
        static PUPPETS: Shared = Shared::new(SHARED_PUPPET_SLOTS, Loaded::Puppets);
        match loaded {
            Loaded::Bridges => BRIDGES.lease().await,
            Loaded::Puppets => PUPPETS.lease().await,
        }
    }

    /// Takes a slot that was never used; `None` when there is none left.
    #[must_use]
    pub fn lease(&self) -> Option<Slot> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Returns the folder of its settings, database and log.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns the server's own database; it should be stopped while its rows are touched.
    #[must_use]
    pub fn database(&self) -> Database {
        let mut database = self.database.clone();
        if database.kind == Db::Sqlite {
            database.uri = format!("sqlite:{}", self.folder.path().join("homeserver.db").display());
        }
        database
    }

    /// Returns a client that speaks as an application service: with its token, and `user_id` in the query.
    ///
    /// # Errors
    /// The slot's config has no token.
    pub fn appservice(&self, slot: &Slot) -> Result<client::Client> {
        client::Client::new(client::http(), &self.url(), slot.text("/appservice/as_token")?)
    }

    /// Returns the homeserver's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Makes a user and logs in; `name` is what transcripts show, the user's name gets a number behind it.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn create_user(&self, name: &str) -> Result<Person> {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        Person::register(&self.url(), &self.secret, name, &format!("{name}{number}")).await
    }

    /// Makes a user of exactly this name.
    ///
    /// # Errors
    /// The server refuses, for instance because the name is taken.
    pub async fn create_user_named(&self, name: &str) -> Result<Person> {
        Person::register(&self.url(), &self.secret, name, name).await
    }

    /// Stops the server with SIGTERM and returns when it is gone (about 2 s).
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(&self) -> Result<()> {
        match self.process.lock().await.take() {
            Some(mut process) => process.stop(Duration::from_secs(30)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Kills the server with SIGKILL.
    ///
    /// # Errors
    /// The system refused.
    pub async fn kill(&self) -> Result<()> {
        match self.process.lock().await.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts the server, on the same data and port, and returns when it answers. Does nothing if it runs.
    ///
    /// # Errors
    /// It ended again or does not answer; the text ends with its log.
    pub async fn start_again(&self) -> Result<()> {
        let mut running = self.process.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let mut command = tether::command(&places::python());
        command
            .args(["-m", "synapse.app.homeserver", "-c", "homeserver.yaml"])
            .env("SYNAPSE_CACHE_FACTOR", "0.5")
            .current_dir(self.folder.path());
        let mut process = Process::start("Synapse", command, &self.folder.path().join("output.log"))?;
        let http = client::http();
        let url = format!("{}/health", self.url());
        wait::until("Synapse answers /health", Duration::from_secs(90), || {
            let running = process.is_running();
            let request = http.get(&url);
            async move {
                if !running? {
                    bail!("Synapse ended while starting");
                }
                Ok(request.send().await.ok().filter(|answer| answer.status().is_success()))
            }
        })
        .await
        .with_context(|| self.log_tail(40))?;
        *running = Some(process);
        Ok(())
    }

    /// Returns the last lines of the server's log and output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = process::tail(&self.folder.path().join("homeserver.log"), lines);
        let output = process::tail(&self.folder.path().join("output.log"), lines);
        format!("Synapse's log ends with\n{log}\nand its output with\n{output}")
    }
}
