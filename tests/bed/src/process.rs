//! A server started by the bed: its output goes to a file, and it dies with us.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::tether::{self, Signal};

use crate::wait;

/// A running (or ended) program.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` (made by [`xtask::tether::command`]); both its outputs are appended to `log`.
    ///
    /// # Errors
    /// The log can't be written or the program can't be started.
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = tether::spawn(command)?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Returns whether it has not ended yet.
    ///
    /// # Errors
    /// The system refused to tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Returns the operating system's number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and returns when it is gone.
    ///
    /// # Errors
    /// The system refused.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It still runs after `limit`; the text ends with its log.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        tether::signal(&self.child, Signal::Term)?;
        self.wait_exit(limit).await
    }

    /// Freezes it (SIGSTOP): its sockets stay, nothing answers.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> Result<()> {
        tether::signal(&self.child, Signal::Stop)
    }

    /// Lets a frozen program go on.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> Result<()> {
        tether::signal(&self.child, Signal::Cont)
    }

    /// Asks it to read its configuration again (SIGHUP).
    ///
    /// # Errors
    /// It is gone.
    pub fn hang_up(&self) -> Result<()> {
        tether::signal(&self.child, Signal::Hup)
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// It still runs after `limit`; the text ends with its log.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        let ended = wait::until(&what, limit, || {
            let status = child.try_wait();
            async move { Ok(status?) }
        })
        .await;
        match ended {
            Ok(status) => Ok(status),
            Err(error) => bail!("{error:#}; its log ends with\n{}", self.log_tail(30)),
        }
    }

    /// Returns the last `lines` lines of its output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} could not be killed: {error:#}", self.name);
        }
    }
}

/// Returns the last `lines` lines of a file; says so when it can't be read.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("({}: {error})", path.display()),
    };
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
