//! Media as phones handle it: encrypted before it goes up, found in a message,
//! and opened again.

use std::io::{self, Read};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wacore::{
    download::{DownloadUtils, MediaType},
    upload::encrypt_media_streaming,
};

use super::{Blob, BlobWriter};
use crate::state::State;

/// What a phone has to send.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// So many bytes that nobody has to keep: byte `i` is `i % 251`.
    Pattern(u64),
}

impl Content {
    fn reader(&self) -> Box<dyn Read + Send> {
        match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Self::Pattern(size) => Box::new(Pattern { at: 0, size: *size }),
        }
    }
}

struct Pattern {
    at: u64,
    size: u64,
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        for (byte, at) in buffer[..count].iter_mut().zip(self.at..) {
            *byte = (at % 251) as u8;
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// An encrypted file and what opens it.
pub struct Sealed {
    pub blob: Blob,
    pub media_key: Vec<u8>,
    pub file_sha256: Vec<u8>,
    pub file_enc_sha256: Vec<u8>,
    pub file_length: u64,
    pub sidecar: Option<Vec<u8>>,
}

/// Encrypts a file with a new key. Takes its time with large ones.
pub fn seal(content: &Content, kind: MediaType) -> Result<Sealed> {
    let mut writer = BlobWriter::default();
    let info = encrypt_media_streaming(content.reader(), &mut writer, kind)?;
    Ok(Sealed {
        blob: writer.finish(),
        media_key: info.media_key.to_vec(),
        file_sha256: info.file_sha256.to_vec(),
        file_enc_sha256: info.file_enc_sha256.to_vec(),
        file_length: info.file_length,
        sidecar: info.streaming_sidecar,
    })
}

/// A file as newsletters have it: not encrypted.
pub fn leave_open(content: &Content) -> Result<Sealed> {
    let mut bytes = Vec::new();
    content.reader().read_to_end(&mut bytes)?;
    Ok(Sealed {
        media_key: Vec::new(),
        file_sha256: Sha256::digest(&bytes).to_vec(),
        file_enc_sha256: Vec::new(),
        file_length: bytes.len() as u64,
        sidecar: None,
        blob: Blob::Memory(bytes.into()),
    })
}

/// The `url` of a file; clients believe in https and a host.
pub fn url(state: &State, path: &str) -> String {
    format!("https://{}{path}", state.listen)
}

/// A media file that a message names.
#[derive(Clone, Debug)]
pub struct Located {
    pub kind: MediaType,
    pub direct_path: String,
    /// Absent for media of channels, which is not encrypted.
    pub media_key: Option<Vec<u8>>,
    pub file_sha256: Vec<u8>,
    pub file_enc_sha256: Vec<u8>,
    pub mimetype: Option<String>,
}

/// The first media file in a message (as JSON), however it is wrapped; what is
/// only quoted does not count.
pub fn find(message: &Value) -> Option<Located> {
    let object = message.as_object()?;
    for (name, value) in object {
        let kind = match name.as_str() {
            "imageMessage" | "productImage" | "catalogImage" => MediaType::Image,
            "videoMessage" | "ptvMessage" => MediaType::Video,
            "audioMessage" => MediaType::Audio,
            "documentMessage" => MediaType::Document,
            "stickerMessage" => MediaType::Sticker,
            "contextInfo" | "messageContextInfo" => continue,
            _ => {
                let inside = match value {
                    Value::Array(list) => list.iter().find_map(find),
                    other => find(other),
                };
                if inside.is_some() {
                    return inside;
                }
                continue;
            }
        };
        if let Some(located) = locate(kind, value) {
            return Some(located);
        }
    }
    None
}

fn locate(kind: MediaType, media: &Value) -> Option<Located> {
    let binary = |name: &str| BASE64_STANDARD.decode(media.get(name)?.as_str()?).ok();
    Some(Located {
        kind,
        direct_path: media.get("directPath")?.as_str()?.to_owned(),
        media_key: binary("mediaKey"),
        file_sha256: binary("fileSha256").unwrap_or_default(),
        file_enc_sha256: binary("fileEncSha256").unwrap_or_default(),
        mimetype: media.get("mimetype").and_then(Value::as_str).map(str::to_owned),
    })
}

/// Opens a file as the receiving phone does: both hashes and the MAC must be
/// right. Takes its time with large ones.
pub fn open(blob: &Blob, located: &Located) -> Result<Blob> {
    let Some(key) = &located.media_key else {
        ensure!(hash_of(blob)? == located.file_sha256, "the file is not the one the message names");
        return Ok(blob.clone());
    };
    ensure!(hash_of(blob)? == located.file_enc_sha256, "the encrypted file is not the one the message names");
    let mut writer = BlobWriter::default();
    DownloadUtils::decrypt_stream_to_writer(blob.reader(), key, located.kind, &mut writer)?;
    let opened = writer.finish();
    ensure!(hash_of(&opened)? == located.file_sha256, "the file is not the one the message names");
    Ok(opened)
}

fn hash_of(blob: &Blob) -> Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    let mut reader = blob.reader();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = reader.read(&mut buffer).context("reading a file")?;
        if count == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buffer[..count]);
    }
}
