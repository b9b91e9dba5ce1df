//! A file sealed for WhatsApp while it is read: the sealed bytes are never stored.

use super::{MediaFailure, MediaType};
use crate::media::spool::{SpoolError, SpoolFile};
use std::fs::File;
use std::io::{self, Read, Write};
use whatsapp_rust::anyhow;
use whatsapp_rust::wacore::upload::{
    EncryptedMediaInfo, MediaEncryptor, UploadSource, encrypt_media_streaming_with_key,
};

/// What is read of the file at once.
const PIECE: usize = 64 << 10;

/// A file and the key it is sealed with.
pub(super) struct Sealed {
    file: SpoolFile,
    key: [u8; 32],
    media_type: MediaType,
    length: u64,
}

impl Sealed {
    /// Seals the file once to learn its hashes and length. Blocks.
    pub(super) fn new(
        file: SpoolFile,
        media_type: MediaType,
        key: [u8; 32],
    ) -> Result<(Self, EncryptedMediaInfo), MediaFailure> {
        let mut counter = Counter(0);
        let reader = file.open().map_err(SpoolError::Disk)?;
        let info = encrypt_media_streaming_with_key(reader, &mut counter, media_type, Some(&key), None)
            .map_err(|_| MediaFailure::Damaged)?;
        Ok((Self { file, key, media_type, length: counter.0 }, info))
    }
}

impl UploadSource for Sealed {
    fn len(&self) -> u64 {
        self.length
    }

    fn reader_from(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let encryptor = MediaEncryptor::with_key_and_sidecar(self.key, self.media_type, false).map_err(broken)?;
        let file = self.file.open()?;
        let mut reader =
            Sealing { _kept: self.file.clone(), file, encryptor: Some(encryptor), ready: Vec::new(), at: 0 };
        // Each block depends on the one before it: what is left out is sealed all the same.
        let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
        if skipped < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Box::new(reader))
    }
}

struct Sealing {
    /// Keeps the file until it is read.
    _kept: SpoolFile,
    file: File,
    /// Gone when the file's end is sealed.
    encryptor: Option<MediaEncryptor>,
    ready: Vec<u8>,
    at: usize,
}

impl Sealing {
    fn seal_more(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        let mut piece = vec![0; PIECE];
        while self.ready.is_empty()
            && let Some(mut encryptor) = self.encryptor.take()
        {
            let read = self.file.read(&mut piece)?;
            if read == 0 {
                encryptor.finalize(&mut self.ready).map_err(broken)?;
            } else {
                encryptor.update(piece.get(..read).unwrap_or_default(), &mut self.ready);
                self.encryptor = Some(encryptor);
            }
        }
        Ok(())
    }
}

impl Read for Sealing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.ready.len() {
            self.seal_more()?;
        }
        let mut left = self.ready.get(self.at..).unwrap_or_default();
        let read = left.read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(error: anyhow::Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::spool::Spool;
    use sha2::{Digest as _, Sha256};
    use whatsapp_rust::download::DownloadUtils;

    fn file(spool: &Spool, bytes: &[u8]) -> SpoolFile {
        let mut writer = spool.begin_now(0, 1 << 20).unwrap();
        writer.add(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_read_is_the_sealed_file_from_any_place_on() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 4 << 20, 1 << 20).unwrap();
        for length in [0, 1, 16, 100_000, 2 * PIECE] {
            let plain: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
            let (sealed, info) = Sealed::new(file(&spool, &plain), MediaType::Video, [9; 32]).unwrap();
            let mut whole = Vec::new();
            sealed.reader_from(0).unwrap().read_to_end(&mut whole).unwrap();
            assert_eq!(whole.len() as u64, sealed.len());
            let hash: [u8; 32] = Sha256::digest(&whole).into();
            assert_eq!(hash, info.file_enc_sha256);
            let mut opened = Vec::new();
            DownloadUtils::decrypt_stream_to_writer(whole.as_slice(), &[9; 32], MediaType::Video, &mut opened).unwrap();
            assert!(opened == plain, "{length}");
            let half = sealed.len() / 2;
            let mut rest = Vec::new();
            sealed.reader_from(half).unwrap().read_to_end(&mut rest).unwrap();
            assert!(rest == whole[half as usize..], "{length}");
            assert!(sealed.reader_from(sealed.len() + 1).is_err());
        }
    }
}
