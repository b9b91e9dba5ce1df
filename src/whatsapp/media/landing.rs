//! Where the library writes what it fetches: a file of the spool.

use crate::media::spool::{SpoolError, SpoolWriter};
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};
use whatsapp_rust::download::DownloadWriter;

/// The file; remembers why it refused, which the library's error does not say.
pub(super) struct Landing {
    pub(super) writer: SpoolWriter,
    pub(super) fault: Arc<Mutex<Option<SpoolError>>>,
}

impl Landing {
    pub(super) fn new(writer: SpoolWriter) -> Self {
        Self { writer, fault: Arc::default() }
    }
}

impl Write for Landing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.add(bytes).map(|()| bytes.len()).map_err(|error| {
            let told = io::Error::other(error.to_string());
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            told
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for Landing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            // Before the first byte, and when all are written: the file is read through its own handle.
            SeekFrom::Start(0) | SeekFrom::Current(0) => Ok(0),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl DownloadWriter for Landing {
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if len != 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.writer.clear()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::spool::Spool;

    #[test]
    fn a_repeat_of_a_download_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 1 << 20, 1 << 20).unwrap();
        let mut landing = Landing::new(spool.begin_now(0, 100).unwrap());
        landing.write_all(b"unverified").unwrap();
        landing.truncate(0).unwrap();
        landing.rewind().unwrap();
        landing.write_all(b"right").unwrap();
        landing.rewind().unwrap();
        assert!(landing.write_all(&[0; 96]).is_err());
        assert!(matches!(*landing.fault.lock().unwrap(), Some(SpoolError::TooLarge { limit: 100 })));
        assert_eq!(landing.writer.finish().unwrap().read(100).unwrap(), b"right");
    }
}
