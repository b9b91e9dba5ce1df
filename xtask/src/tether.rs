//! Child processes that die with this one, even when it is killed with SIGKILL.
//!
//! `setpriv --pdeathsig KILL` (util-linux, on every Debian) asks the kernel to kill the child when its parent dies.
//! The kernel means the parent *thread*: a test's thread ends long before the process does, and would take a shared
//! Synapse with it. So one thread, which ends only with the process, starts every child.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

type Order = (Command, SyncSender<std::io::Result<Child>>);

static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();

/// Returns a command that will run `program` so that it is killed when this process dies; add arguments as usual
/// and give it to [`spawn`].
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Like [`command`], run as another user (only root may do that) with that user's groups.
#[must_use]
pub fn command_as(user: &str, group: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", group, "--clear-groups", "--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a command made by [`command`] or [`command_as`] from the thread that lives as long as the process.
///
/// # Errors
/// The program (or `setpriv`) could not be started.
pub fn spawn(command: Command) -> Result<Child> {
    let name = format!("{command:?}");
    let (answer, started) = sync_channel(1);
    let keeper = KEEPER.get_or_init(|| Mutex::new(start_keeper()));
    keeper
        .lock()
        .map_err(|_| anyhow!("the thread that starts children panicked"))?
        .send((command, answer))
        .map_err(|_| anyhow!("the thread that starts children is gone"))?;
    started.recv().context("the thread that starts children is gone")?.with_context(|| format!("starting {name}"))
}

fn start_keeper() -> Sender<Order> {
    let (orders, inbox) = channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in inbox {
            // Who asked may have given up waiting; then the child has no owner and must not stay.
            if let Err(unwanted) = answer.send(command.spawn())
                && let Ok(mut child) = unwanted.0
                && let Err(error) = child.kill()
            {
                eprintln!("a child nobody waited for could not be killed: {error}");
            }
        }
        // Only reached when the sender, a static, is dropped: never before the process ends.
        std::thread::park();
    });
    orders
}

/// The signals the bed sends; Rust's standard library can only send SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Please end (15).
    Term,
    /// Postgres' "fast" end (2).
    Int,
    /// Freeze (19).
    Stop,
    /// Go on (18).
    Cont,
    /// Read your configuration again (1).
    Hup,
}

/// Sends a signal through the shell's built-in `kill` (the program of that name is not on every Debian).
///
/// # Errors
/// The process is gone, or belongs to somebody else.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Int => "INT",
        Signal::Stop => "STOP",
        Signal::Cont => "CONT",
        Signal::Hup => "HUP",
    };
    let done =
        Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).output().context("running sh")?;
    if done.status.success() {
        return Ok(());
    }
    Err(anyhow!("SIG{name} to {} failed: {}", child.id(), String::from_utf8_lossy(&done.stderr).trim()))
}

/// Waits for a child's end; returns its status, or `None` if it still ran after `limit`.
///
/// # Errors
/// The system refused to tell about the child.
pub fn wait_exit(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
