//! Files of channels: they lie open on WhatsApp's servers, and the post names them by a handle.
//!
//! The library seals everything it uploads, so this asks the media servers itself, by the library's connection. Path and
//! handle are as whatsmeow has them (`UploadNewsletter`, `media_id` of the stanza); no real server was asked.

use super::{MediaFailure, MediaType, Stored, is_path, time_for};
use crate::convert::WaReference;
use crate::media::spool::{SpoolError, SpoolFile};
use crate::whatsapp::http::Http;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::io::Read;
use std::sync::Arc;
use whatsapp_rust::http::{HttpClient, HttpRequest, HttpResponse};
use whatsapp_rust::mediaconn::MediaConn;
use whatsapp_rust::prelude::Client;

/// Where WhatsApp Web says its requests come from.
const ORIGIN: &str = "https://web.whatsapp.com";

/// What the media servers say of an upload.
#[derive(Deserialize)]
struct Answer {
    url: String,
    direct_path: String,
    #[serde(default)]
    handle: Option<String>,
}

/// Puts a file on WhatsApp's servers as it is. The same file again is the same upload. A refused authorisation is
/// renewed once.
///
/// # Errors
/// [`MediaFailure`]; never [`MediaFailure::Gone`].
pub(in crate::whatsapp) async fn upload_open(
    client: &Arc<Client>,
    http: &Arc<Http>,
    file: &SpoolFile,
    media_type: MediaType,
) -> Result<Stored, MediaFailure> {
    if !client.is_logged_in() {
        return Err(MediaFailure::Offline);
    }
    let uploading = try_hosts(client, http, file, media_type);
    tokio::time::timeout(time_for(file.size()), uploading).await.unwrap_or(Err(MediaFailure::Unreachable))
}

async fn try_hosts(
    client: &Arc<Client>,
    http: &Arc<Http>,
    file: &SpoolFile,
    media_type: MediaType,
) -> Result<Stored, MediaFailure> {
    let mut failure = MediaFailure::Unreachable;
    for renew in [false, true] {
        let connection = client.refresh_media_conn(renew).await.map_err(|_| match client.is_logged_in() {
            true => MediaFailure::Unreachable,
            false => MediaFailure::Offline,
        })?;
        for host in &connection.hosts {
            let Ok(answer) = put(http, &connection, &host.hostname, file, media_type).await? else { continue };
            match answer.status_code {
                200..=299 => return stored(&answer, file),
                status @ (401 | 403) => {
                    failure = MediaFailure::Refused(status);
                    break;
                }
                status @ 400..=499 if status != 408 && status != 429 => return Err(MediaFailure::Refused(status)),
                _ => failure = MediaFailure::Unreachable,
            }
        }
        if !matches!(failure, MediaFailure::Refused(_)) {
            break;
        }
    }
    Err(failure)
}

/// One request; the inner error is a host that could not be asked.
async fn put(
    http: &Arc<Http>,
    connection: &MediaConn,
    host: &str,
    file: &SpoolFile,
    media_type: MediaType,
) -> Result<Result<HttpResponse, ()>, MediaFailure> {
    let (kind, token) = (shelf(media_type), BASE64_URL_SAFE_NO_PAD.encode(file.sha256()));
    let auth = &connection.auth;
    let url = format!("https://{host}/newsletter/newsletter-{kind}/{token}?auth={auth}&token={token}");
    let request =
        HttpRequest::post(url).with_header("Content-Type", "application/octet-stream").with_header("Origin", ORIGIN);
    let (http, kept) = (http.clone(), file.clone());
    let sent = tokio::task::spawn_blocking(move || {
        let body: Box<dyn Read + Send> = Box::new(kept.open()?);
        let size = kept.size();
        std::io::Result::Ok(http.execute_upload(request, body, size).map_err(|_| ()))
    });
    sent.await.map_err(|_| MediaFailure::Damaged)?.map_err(|error| SpoolError::Disk(error).into())
}

fn stored(answer: &HttpResponse, file: &SpoolFile) -> Result<Stored, MediaFailure> {
    let answer: Answer = serde_json::from_slice(&answer.body).map_err(|_| MediaFailure::Damaged)?;
    if !is_path(&answer.direct_path) {
        return Err(MediaFailure::Damaged);
    }
    Ok(Stored {
        url: answer.url,
        handle: answer.handle,
        reference: WaReference {
            direct_path: answer.direct_path,
            media_key: Vec::new(),
            file_sha256: file.sha256().to_vec(),
            file_enc_sha256: Vec::new(),
            file_length: Some(file.size()),
            key_time: None,
        },
        sidecar: None,
    })
}

/// The name of a file's shelf in the path.
fn shelf(media_type: MediaType) -> &'static str {
    match media_type {
        MediaType::Video => "video",
        MediaType::Audio => "audio",
        MediaType::Document => "document",
        MediaType::LinkThumbnail => "thumbnail-link",
        _ => "image",
    }
}
