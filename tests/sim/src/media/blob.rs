//! Content of any size without holding the large ones in memory.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, stream};

/// Up to this size content stays in memory.
const IN_MEMORY: usize = 256 * 1024;
/// How much is read from a file at once.
const CHUNK: usize = 128 * 1024;

/// Content; clones share it.
#[derive(Clone)]
pub enum Blob {
    /// A small one.
    Memory(Bytes),
    /// A large one, in a file without a name: it is gone with its last user,
    /// however the process ends.
    Disk(Arc<File>, u64),
}

impl Blob {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, length) => *length,
        }
    }

    /// Reads up to `size` bytes at `offset`; nothing at the end.
    fn read_at(&self, offset: u64, size: usize) -> io::Result<Bytes> {
        let left = self.len().saturating_sub(offset);
        let size = size.min(usize::try_from(left).unwrap_or(usize::MAX));
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(start..start + size))
            }
            Self::Disk(file, _) => {
                let mut buffer = vec![0; size];
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
        }
    }

    /// All of it, for content known to be small.
    pub fn bytes(&self) -> io::Result<Bytes> {
        self.read_at(0, usize::MAX)
    }

    /// A reader from the start.
    pub fn reader(&self) -> impl Read + use<> {
        BlobReader { blob: self.clone(), at: 0 }
    }

    /// The bytes from `start` to `end` (exclusive), piece by piece.
    pub fn stream(&self, start: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let blob = self.clone();
        stream::try_unfold(start, move |at| {
            let blob = blob.clone();
            async move {
                if at >= end {
                    return Ok(None);
                }
                let size = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                let piece = match blob {
                    Blob::Memory(_) => blob.read_at(at, size)?,
                    Blob::Disk(..) => {
                        let reading = tokio::task::spawn_blocking(move || blob.read_at(at, size));
                        reading.await.map_err(io::Error::other)??
                    }
                };
                let next = at + piece.len() as u64;
                Ok(Some((piece, next)))
            }
        })
    }
}

struct BlobReader {
    blob: Blob,
    at: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.blob.read_at(self.at, buffer.len())?;
        buffer[..piece.len()].copy_from_slice(&piece);
        self.at += piece.len() as u64;
        Ok(piece.len())
    }
}

/// Takes content in; moves to a file when it becomes large.
#[derive(Default)]
pub struct BlobWriter {
    memory: Vec<u8>,
    file: Option<(File, u64)>,
}

impl BlobWriter {
    /// A writer that goes on after the first `length` bytes of a blob.
    pub fn after(blob: &Blob, length: u64) -> io::Result<Self> {
        let mut writer = Self::default();
        io::copy(&mut blob.reader().take(length), &mut writer)?;
        Ok(writer)
    }

    /// How much was written.
    pub fn len(&self) -> u64 {
        self.file.as_ref().map_or(self.memory.len() as u64, |(_, length)| *length)
    }

    /// What was written.
    pub fn finish(self) -> Blob {
        match self.file {
            Some((file, length)) => Blob::Disk(Arc::new(file), length),
            None => Blob::Memory(self.memory.into()),
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.memory.len() + buffer.len() > IN_MEMORY {
            let file = tempfile::tempfile()?;
            let start = std::mem::take(&mut self.memory);
            file.write_all_at(&start, 0)?;
            self.file = Some((file, start.len() as u64));
        }
        match &mut self.file {
            Some((file, length)) => {
                file.write_all_at(buffer, *length)?;
                *length += buffer.len() as u64;
            }
            None => self.memory.extend_from_slice(buffer),
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
