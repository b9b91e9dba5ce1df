//! A file that can not be read any more after some time: what ends a decoder that is led in circles.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};
use symphonia::core::io::MediaSource;

pub(super) struct Timed {
    file: File,
    until: Instant,
}

impl Timed {
    pub(super) fn new(file: File, time: Duration) -> Self {
        Self { file, until: Instant::now() + time }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.file.read(buffer)
    }
}

impl Seek for Timed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl MediaSource for Timed {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        self.file.metadata().ok().map(|metadata| metadata.len())
    }
}
