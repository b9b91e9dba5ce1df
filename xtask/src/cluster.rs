//! A throw-away Postgres on loopback: a fresh cluster in a throw-away folder, durability off, gone when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ports::{self, Port};
use crate::scratch::Folder;
use crate::{machine, tether};

/// A running Postgres server whose superuser `postgres` needs no password.
#[derive(Debug)]
pub struct Cluster {
    server: Child,
    port: Port,
    folder: Folder,
}

impl Cluster {
    /// Makes and starts a cluster; returns when it answers.
    ///
    /// As root it runs as the user `postgres` (or `nobody`), since Postgres refuses to run as root.
    ///
    /// # Errors
    /// Postgres is not installed, or did not start; the text ends with its log.
    pub fn start() -> Result<Self> {
        // Nothing there outlives the run, so nothing is synced; the isolation is the same.
        Self::start_with(&["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"])
    }

    /// As [`Cluster::start`], with commits that survive a power cut: for measuring.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_durable() -> Result<Self> {
        Self::start_with(&[])
    }

    fn start_with(durability: &[&str]) -> Result<Self> {
        let bin = machine::find_postgres()
            .context("Postgres' programs (initdb) were not found: run `cargo xtask setup`, or install postgresql")?;
        let folder = Folder::create("postgres")?;
        folder.open_to_all()?;
        let port = ports::lease()?;
        let data = folder.path().join("data");
        let made = run_as_owner(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"])
            .output()
            .context("running initdb")?;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        }
        let log_path = folder.path().join("postgres.log");
        let log = File::create(&log_path)?;
        let mut command = run_as_owner(&bin.join("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.number().to_string(), "-h", "127.0.0.1", "-k", ""])
            .args(durability)
            .args(["-c", "max_connections=400", "-c", "shared_buffers=64MB"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let server = tether::spawn(command)?;
        let mut cluster = Self { server, port, folder };
        cluster.wait_ready(&bin, &log_path)?;
        Ok(cluster)
    }

    /// Returns the address of the maintenance database, as the bridge's `database.uri` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port.number())
    }

    fn wait_ready(&mut self, bin: &Path, log: &Path) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = Command::new(bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.number().to_string()])
                .status()
                .context("running pg_isready")?;
            if ready.success() {
                return Ok(());
            }
            let exited = self.server.try_wait()?;
            if exited.is_some() || Instant::now() > end {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("Postgres did not start ({exited:?}); it said:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The "fast" end lets it free its shared memory; SIGKILL would leave a segment behind.
        let asked = tether::signal(&self.server, tether::Signal::Int);
        let ended = asked.and_then(|()| tether::wait_exit(&mut self.server, Duration::from_secs(10)));
        if !matches!(ended, Ok(Some(_)))
            && let Err(error) = self.server.kill().and_then(|()| self.server.wait())
        {
            eprintln!("Postgres in {} could not be stopped: {error}", self.folder.path().display());
        }
    }
}

/// Returns a command for a Postgres program, as the user who may run it.
fn run_as_owner(program: &Path) -> Command {
    let program = PathBuf::from(program);
    let mut command = if !machine::is_root() {
        tether::command(&program)
    } else if machine::has_user("postgres") {
        tether::command_as("postgres", "postgres", &program)
    } else {
        tether::command_as("nobody", "nogroup", &program)
    };
    command.env("HOME", "/tmp").current_dir("/");
    command
}
