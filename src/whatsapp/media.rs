//! Files on WhatsApp's servers: down into the spool, up from it, and asked of the phone again when they are gone.
//!
//! Memory stays bounded: both ways stream. Where a file is fetched from is never the message's choice: hosts come from
//! WhatsApp over the login's connection, and the path is checked before a URL is made of it. What was fetched counts
//! only when its authentication code and its hash are right. The key of an upload is the caller's, so that the same
//! upload again, after a kill, is the same file under the same name.

mod landing;
mod open;
mod sealing;

use crate::convert::{MediaKind, WaReference};
use crate::ids::{ChatId, GhostId, WaMessageId};
use crate::media::spool::{Spool, SpoolError, SpoolFile};
use landing::Landing;
pub(super) use open::upload_open;
use sealing::Sealed;
use std::io::{self, BufWriter};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use whatsapp_rust::anyhow;
use whatsapp_rust::download::DownloadParams;
use whatsapp_rust::features::{MediaRetryResult, MediaReuploadError, MediaReuploadRequest};
use whatsapp_rust::prelude::{Client, Jid};

pub use whatsapp_rust::download::MediaType;

/// The slowest a transfer may be, bytes in a second, beside [`SETUP_TIME`].
const SLOWEST: u64 = 32 << 10;
/// What every transfer may take whatever its size.
const SETUP_TIME: Duration = Duration::from_secs(120);

/// A file that was uploaded.
#[derive(Clone, PartialEq)]
pub struct Stored {
    /// Full address, for the message.
    pub url: String,
    /// What a channel's post names it by; none for what is sealed.
    pub handle: Option<String>,
    /// Place and keys.
    pub reference: WaReference,
    /// Signatures for playing while loading, for sound and film.
    pub sidecar: Option<Vec<u8>>,
}

/// Why a file did not get across.
#[derive(Debug, thiserror::Error)]
pub enum MediaFailure {
    /// The line is not connected; a retry helps when it is.
    #[error("the line is not connected")]
    Offline,
    /// The servers do not have it any more; the phone may.
    #[error("the file is not on the servers any more")]
    Gone,
    /// The reference or the bytes are not what they should be. A retry does not help.
    #[error("the file or its reference is damaged")]
    Damaged,
    /// The spool did not take it.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The servers refuse.
    #[error("the media servers answered {0}")]
    Refused(u16),
    /// No media server answered well; a retry may help.
    #[error("the media servers can not be reached")]
    Unreachable,
}

/// Why the phone did not put a file on the servers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// The line is not connected.
    #[error("the line is not connected")]
    Offline,
    /// The phone does not have it any more.
    #[error("the phone does not have the file any more")]
    NotThere,
    /// The phone did not answer within half a minute: it may be off.
    #[error("the phone did not answer")]
    Silent,
    /// The phone could not do it, or its answer could not be read.
    #[error("the phone could not do it")]
    Failed,
}

/// Which message a file belongs to, as the phone knows it.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The chat.
    pub chat: &'a ChatId,
    /// The message.
    pub id: &'a WaMessageId,
    /// Whether we wrote it.
    pub from_me: bool,
    /// Who wrote it, in a group.
    pub author: Option<&'a GhostId>,
}

/// On which of WhatsApp's shelves a file of a kind lies; its keys are derived for that shelf.
pub fn shelf_of(kind: MediaKind) -> MediaType {
    use MediaKind as K;
    match kind {
        K::Image => MediaType::Image,
        K::Video | K::Gif | K::Ptv => MediaType::Video,
        K::Audio | K::Voice => MediaType::Audio,
        K::Document | K::Contacts => MediaType::Document,
        K::Sticker | K::AnimatedSticker | K::LottieSticker => MediaType::Sticker,
        K::LinkPicture => MediaType::LinkThumbnail,
    }
}

/// Fetches a file into the spool. A refused authorisation is renewed once.
///
/// # Errors
/// [`MediaFailure`].
pub async fn download(
    client: &Arc<Client>,
    spool: &Spool,
    media_type: MediaType,
    reference: &WaReference,
) -> Result<SpoolFile, MediaFailure> {
    if !is_path(&reference.direct_path) || !matches!(reference.media_key.len(), 0 | 32) {
        return Err(MediaFailure::Damaged);
    }
    if !client.is_logged_in() {
        return Err(MediaFailure::Offline);
    }
    let expected = reference.file_length.unwrap_or(0);
    let landing = Landing::new(spool.begin(expected, spool.max_file()).await?);
    let fault = landing.fault.clone();
    let params = DownloadParams {
        direct_path: reference.direct_path.clone(),
        media_key: Some(reference.media_key.clone()).filter(|key| !key.is_empty()),
        file_sha256: reference.file_sha256.clone(),
        file_enc_sha256: Some(reference.file_enc_sha256.clone()),
        file_length: expected,
        media_type,
    };
    let fetching = client.download_from_params_to_writer(&params, BufWriter::with_capacity(64 << 10, landing));
    let Ok(fetched) = tokio::time::timeout(time_for(expected.max(spool.max_file() >> 4)), fetching).await else {
        return Err(MediaFailure::Unreachable);
    };
    match fetched {
        Ok(written) => {
            let landing = written.into_inner().map_err(|error| SpoolError::Disk(error.into_error()))?;
            let file = landing.writer.finish().map_err(SpoolError::Disk)?;
            let is_right = reference.file_sha256.is_empty() || reference.file_sha256 == file.sha256();
            if is_right { Ok(file) } else { Err(MediaFailure::Damaged) }
        }
        Err(error) => match fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(fault) => Err(fault.into()),
            None => Err(read_failure(client, &error)),
        },
    }
}

/// Puts a file on WhatsApp's servers, sealed with a key. The same key again makes the same file.
///
/// # Errors
/// [`MediaFailure`]; never [`MediaFailure::Gone`].
pub async fn upload(
    client: &Arc<Client>,
    file: &SpoolFile,
    media_type: MediaType,
    key: [u8; 32],
) -> Result<Stored, MediaFailure> {
    if !client.is_logged_in() {
        return Err(MediaFailure::Offline);
    }
    let sealing = file.clone();
    // The servers want the hash of the sealed file before its first byte: it is sealed twice rather than stored.
    let sealed = tokio::task::spawn_blocking(move || Sealed::new(sealing, media_type, key)).await;
    let (sealed, info) = sealed.map_err(|_| MediaFailure::Damaged)??;
    let sending = client.upload_stream(sealed, info, media_type);
    let Ok(sent) = tokio::time::timeout(time_for(file.size()), sending).await else {
        return Err(MediaFailure::Unreachable);
    };
    let sent = sent.map_err(|error| match read_failure(client, &error) {
        MediaFailure::Gone => MediaFailure::Unreachable,
        other => other,
    })?;
    Ok(Stored {
        url: sent.url,
        handle: None,
        reference: WaReference {
            direct_path: sent.direct_path,
            media_key: sent.media_key.to_vec(),
            file_sha256: sent.file_sha256.to_vec(),
            file_enc_sha256: sent.file_enc_sha256.to_vec(),
            file_length: Some(sent.file_length),
            key_time: Some(sent.media_key_timestamp),
        },
        sidecar: sent.streaming_sidecar,
    })
}

/// Asks the phone to put a file on the servers again; gives the file's new path.
///
/// # Errors
/// [`AskFailure`].
pub async fn ask_again(client: &Arc<Client>, holder: Holder<'_>, media_key: &[u8]) -> Result<String, AskFailure> {
    if !client.is_logged_in() {
        return Err(AskFailure::Offline);
    }
    let chat: Jid = holder.chat.as_str().parse().map_err(|_| AskFailure::Failed)?;
    let author: Option<Jid> = match holder.author {
        Some(author) => Some(author.as_str().parse().map_err(|_| AskFailure::Failed)?),
        None => None,
    };
    let request = MediaReuploadRequest {
        msg_id: holder.id.as_str(),
        chat_jid: &chat,
        media_key,
        is_from_me: holder.from_me,
        participant: author.as_ref(),
    };
    match client.media_reupload().request(&request).await {
        Ok(MediaRetryResult::Success { direct_path }) if is_path(&direct_path) => Ok(direct_path),
        Ok(MediaRetryResult::NotFound) => Err(AskFailure::NotThere),
        Ok(_) => Err(AskFailure::Failed),
        Err(MediaReuploadError::Timeout) => Err(AskFailure::Silent),
        Err(MediaReuploadError::NotLoggedIn | MediaReuploadError::Client(_)) => Err(AskFailure::Offline),
        Err(_) => Err(AskFailure::Failed),
    }
}

/// Whether this is a path and nothing but one: put behind a host's name it can not become another host.
pub(super) fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\#@\"<>".contains(&b);
    (2..=2048).contains(&path.len()) && path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain)
}

fn time_for(bytes: u64) -> Duration {
    SETUP_TIME + Duration::from_secs(bytes / SLOWEST)
}

fn read_failure(client: &Client, error: &anyhow::Error) -> MediaFailure {
    // Not for the whole file: the derived error types have a method of the same name.
    use whatsapp_rust::ErrorChainExt as _;
    // The error's text may hold the address with its tokens: it is neither kept nor logged.
    match error.http_status() {
        // The library has renewed the authorisation and tried again before it gave up; 403 then means the path.
        Some(403 | 404 | 410) => MediaFailure::Gone,
        Some(status @ 400..=499) if status != 408 && status != 429 => MediaFailure::Refused(status),
        Some(_) => MediaFailure::Unreachable,
        None if !client.is_logged_in() => MediaFailure::Offline,
        None if is_transport(error) => MediaFailure::Unreachable,
        // An authentication code that is wrong, or no AES blocks: the library says so in words only.
        None => MediaFailure::Damaged,
    }
}

fn is_transport(error: &anyhow::Error) -> bool {
    use whatsapp_rust::ErrorChainExt as _;
    error.is_timeout()
        || error.is_transport_unavailable()
        || error.server_rejection().is_some()
        || error.chain().any(|cause| cause.is::<reqwest::Error>() || cause.is::<io::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_path_is_put_behind_the_servers_name() {
        for fine in ["/v/t62.7118-24/1_n.enc?ccb=11-4&oh=01_Q5&oe=65&_nc_sid=5e", "/a"] {
            assert!(is_path(fine), "{fine}");
        }
        let long = format!("/{}", "a".repeat(3000));
        for bad in [
            "",
            "/",
            "@evil.example/x",
            ".evil.example/",
            ":80/x",
            "//evil.example",
            "/x@y",
            "/\\evil",
            "/a b",
            "/a\n",
            "/#",
            "/é",
            &long,
        ] {
            assert!(!is_path(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_to_another_host(path: String, tail in "[/@:.a-z\\\\?#%]{0,20}") {
            for path in [path, tail.clone(), format!("/{tail}")] {
                if is_path(&path) {
                    let url = reqwest::Url::parse(&format!("https://mmg.whatsapp.net{path}?auth=a&token=t")).unwrap();
                    prop_assert_eq!(url.host_str(), Some("mmg.whatsapp.net"));
                    prop_assert!(url.username().is_empty() && url.port().is_none() && url.fragment().is_none());
                }
            }
        }
    }
}
