//! Throw-away folders, outside the checkout so that a server run as another user can reach them.
//!
//! A folder is named after the process that made it and removed when dropped. Folders of processes that died
//! without cleaning up are swept by the next run.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result};

const PREFIX: &str = "matrix-whatsapp-bed-";

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

static COUNT: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A folder that is removed, with all that is in it, when this value is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kept: AtomicBool,
}

impl Folder {
    /// Makes an empty folder whose name ends in `name`.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn create(name: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-{count}-{name}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path, kept: AtomicBool::new(false) })
    }

    /// Lets every user of this machine make files in the folder (for a server that refuses to run as root).
    ///
    /// # Errors
    /// The folder is gone.
    pub fn open_to_all(&self) -> Result<()> {
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o1777))
            .with_context(|| format!("opening {}", self.path.display()))
    }

    /// Leaves the folder where it is, for a look at what went wrong; the next run sweeps it.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Returns where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) || std::thread::panicking() {
            eprintln!("kept for a look, until the next run: {}", self.path.display());
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

/// What all tests of a run may take at once, with room to spare.
const ROOM: u64 = 4 << 30;

/// Returns the folder held in memory where throw-away folders of tests are quickest, if it has room (a container's
/// has often 64 MB). Tests kill programs, never the machine, so nothing of theirs needs a disk: on one, homeserver and
/// bridge spend half of a story waiting for it. Benchmarks do need it, and never ask.
#[must_use]
pub fn in_memory() -> Option<&'static str> {
    let told = Command::new("df").args(["--output=avail", "--block-size=1", MEMORY]).output().ok()?;
    let room: u64 = String::from_utf8(told.stdout).ok()?.lines().nth(1)?.trim().parse().ok()?;
    let probe = Path::new(MEMORY).join(format!("{PREFIX}{}-probe", std::process::id()));
    std::fs::create_dir(&probe).ok()?;
    std::fs::remove_dir(&probe).ok()?;
    (room >= ROOM).then_some(MEMORY)
}

/// Removes folders of processes that are gone.
pub fn sweep() {
    for place in [std::env::temp_dir(), PathBuf::from(MEMORY)] {
        sweep_in(&place);
    }
}

fn sweep_in(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok())
        else {
            continue;
        };
        if Path::new(&format!("/proc/{pid}")).exists() {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            eprintln!("could not remove {}: {error}", entry.path().display());
        }
    }
}
