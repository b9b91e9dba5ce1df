//! Files on their way, in a folder of ours, all together within a budget of bytes.
//!
//! Promise: a file is never larger than its limit and all files never larger than the budget, whatever a server sends;
//! a file is deleted when its last handle is dropped, and what a killed process left is deleted at the start. Nothing
//! here survives a kill, and nothing has to: a reference is enough to fetch a file again.
//!
//! Who begins a file says how large it will be and waits until there is room for that. A file that grows beyond it
//! takes more only if there is some at once: two files that wait for each other's room would wait for ever.

use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What room is counted in.
const BLOCK: u64 = 64 << 10;
/// What a file that outgrew its room takes at once, in blocks.
const GROWTH: u32 = 16;
/// What our files are called; nothing else in the folder is touched.
const PREFIX: &str = "spool-";
/// Held locked while the folder is used: two processes would delete each other's files.
const LOCK: &str = "lock";

/// Between two looks for room.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Why a file could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is, or says it is, larger than allowed. A retry does not help.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// There is no room for it now; a retry helps when others are done.
    #[error("there is no room for the file now")]
    Full,
    /// The disk failed or is full.
    #[error("a file could not be written or read: {0}")]
    Disk(#[from] io::Error),
}

/// The folder. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    max_file: u64,
    room: Arc<Semaphore>,
    blocks: u32,
    names: AtomicU64,
    /// Tells this process's files from those of one before, which a program it had started may still write.
    own: u32,
    _lock: File,
}

impl Spool {
    /// Makes the folder, readable for us alone, and deletes what an earlier process left in it. `budget` and `max_file`
    /// are bytes; a file may be as large as the budget at most.
    ///
    /// # Errors
    /// When the folder can not be made or read, or another process uses it ([`io::ErrorKind::ResourceBusy`]).
    pub fn open(folder: &Path, budget: u64, max_file: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process uses this folder"),
            TryLockError::Error(error) => error,
        })?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        let blocks = u32::try_from(budget / BLOCK).unwrap_or(u32::MAX).max(1);
        let shared = Shared {
            // The program that makes files for us runs in this folder.
            folder: fs::canonicalize(folder)?,
            max_file: max_file.min(u64::from(blocks) * BLOCK),
            room: Arc::new(Semaphore::new(usize::try_from(blocks).unwrap_or(usize::MAX >> 3))),
            blocks,
            names: AtomicU64::new(0),
            own: rand::random(),
            _lock: lock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The largest file it takes, bytes.
    pub fn max_file(&self) -> u64 {
        self.shared.max_file
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Begins a file of about `expected` bytes, `limit` bytes at most, once there is room for the expected ones.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`] when already the expectation is; [`SpoolError::Disk`].
    pub async fn begin(&self, expected: u64, limit: u64) -> Result<SpoolWriter, SpoolError> {
        let limit = limit.min(self.shared.max_file);
        if expected > limit {
            return Err(SpoolError::TooLarge { limit });
        }
        let blocks = self.shared.blocks_of(expected);
        // Asked again and again: in the semaphore's own queue a large one would keep all room that comes free from those
        // that need little and from files that grow.
        loop {
            match self.shared.room.clone().try_acquire_many_owned(blocks) {
                Ok(room) => return self.writer(room, limit),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// As [`Spool::begin`], without waiting.
    ///
    /// # Errors
    /// As [`Spool::begin`], and [`SpoolError::Full`].
    pub fn begin_now(&self, expected: u64, limit: u64) -> Result<SpoolWriter, SpoolError> {
        let limit = limit.min(self.shared.max_file);
        if expected > limit {
            return Err(SpoolError::TooLarge { limit });
        }
        let blocks = self.shared.blocks_of(expected);
        let room = self.shared.room.clone().try_acquire_many_owned(blocks).map_err(|_| SpoolError::Full)?;
        self.writer(room, limit)
    }

    fn writer(&self, room: OwnedSemaphorePermit, limit: u64) -> Result<SpoolWriter, SpoolError> {
        let name = format!("{PREFIX}{:08x}-{}", self.shared.own, self.shared.names.fetch_add(1, Ordering::Relaxed));
        let path = self.shared.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let kept = Kept { path, room, shared: self.shared.clone() };
        Ok(SpoolWriter { file, kept, size: 0, limit, hash: Sha256::new() })
    }
}

impl Shared {
    fn blocks_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX).min(self.blocks)
    }
}

/// A path and the room it takes; the file is gone when this is.
struct Kept {
    path: PathBuf,
    room: OwnedSemaphorePermit,
    shared: Arc<Shared>,
}

impl Kept {
    fn held(&self) -> u64 {
        self.room.num_permits() as u64 * BLOCK
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "a file of the spool was not deleted");
        }
    }
}

/// A file that is being written, from its beginning to its end; deleted when dropped.
pub struct SpoolWriter {
    file: File,
    kept: Kept,
    size: u64,
    limit: u64,
    hash: Sha256,
}

impl SpoolWriter {
    /// Adds bytes. Blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError`]; what was written before stays.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            return Err(SpoolError::TooLarge { limit: self.limit });
        }
        self.take_room(size)?;
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.size = size;
        Ok(())
    }

    fn take_room(&mut self, size: u64) -> Result<(), SpoolError> {
        let held = self.kept.held();
        if size <= held {
            return Ok(());
        }
        let missing = u32::try_from((size - held).div_ceil(BLOCK)).map_err(|_| SpoolError::Full)?;
        let room = &self.kept.shared.room;
        let more = room.clone().try_acquire_many_owned(missing.max(GROWTH));
        let more = more.or_else(|_| room.clone().try_acquire_many_owned(missing)).map_err(|_| SpoolError::Full)?;
        self.kept.room.merge(more);
        Ok(())
    }

    /// Empties it, to begin anew.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        io::Seek::rewind(&mut self.file)?;
        self.size = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    /// Bytes written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it is, for a program that writes it instead of us; see [`SpoolWriter::adopt`].
    pub(super) fn path(&self) -> &Path {
        &self.kept.path
    }

    /// Takes what another program wrote under [`SpoolWriter::path`] for the file's content. Blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError`], also when it wrote more than there is room for.
    pub(super) fn adopt(mut self) -> Result<SpoolFile, SpoolError> {
        let mut written = File::open(&self.kept.path)?;
        let size = written.metadata()?.len();
        if size > self.limit {
            return Err(SpoolError::TooLarge { limit: self.limit });
        }
        self.take_room(size)?;
        self.hash = Sha256::new();
        self.size = io::copy(&mut written, &mut HashWriter(&mut self.hash))?;
        Ok(self.end())
    }

    /// The finished file; room it did not need is given back.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self) -> io::Result<SpoolFile> {
        self.file.flush()?;
        Ok(self.end())
    }

    fn end(self) -> SpoolFile {
        let Self { mut kept, size, hash, .. } = self;
        let needed = kept.shared.blocks_of(size);
        let surplus = kept.room.num_permits().saturating_sub(needed as usize);
        drop(kept.room.split(surplus));
        SpoolFile { kept: Arc::new(kept), size, sha256: hash.finalize().into() }
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A finished file. Cheap to clone; deleted with the last clone.
#[derive(Clone)]
pub struct SpoolFile {
    kept: Arc<Kept>,
    size: u64,
    sha256: [u8; 32],
}

impl SpoolFile {
    /// Opens it for reading, at its beginning.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.kept.path)
    }

    /// Its bytes, when it holds no more than `limit`. Blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`], [`SpoolError::Disk`].
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, SpoolError> {
        if self.size > limit {
            return Err(SpoolError::TooLarge { limit });
        }
        Ok(fs::read(&self.kept.path)?)
    }

    /// Bytes in it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of its bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Where it is, for programs.
    pub(super) fn path(&self) -> &Path {
        &self.kept.path
    }
}

impl std::fmt::Debug for SpoolFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpoolFile({} bytes)", self.size)
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
