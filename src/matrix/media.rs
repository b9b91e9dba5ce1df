//! Files on the homeserver: a name is reserved first, then filled, so that a repeat fills the same name.
//!
//! Files stream from and into the spool. They are fetched by their `mxc` from our own homeserver and from nowhere
//! else: no address out of an event is ever followed, and a redirection neither.

use super::Matrix;
use super::client::{Who, unreachable};
use super::error::{MatrixError, Result};
use crate::media::spool::{Spool, SpoolError, SpoolFile, SpoolWriter};
use crate::media::unseal::Unsealer;
use bytes::Bytes;
use ruma::api::client::authenticated_media::{get_content, get_media_config};
use ruma::api::client::media::{create_content_async, create_mxc_uri};
use ruma::{MxcUri, OwnedMxcUri, UserId};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

/// How long an upload of a small file may take.
const UPLOAD_TIME: Duration = Duration::from_secs(600);
/// The slowest a transfer may be, bytes in a second, beside [`UPLOAD_TIME`].
const SLOWEST: u64 = 64 << 10;
/// How long a download may stand still.
const SILENCE: Duration = Duration::from_secs(60);
/// Piece of an upload read at once.
const PIECE: usize = 64 << 10;

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailure {
    /// The homeserver did not give it.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// The spool did not take it: it is too large, or there is no room now.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Its name is none, or its bytes are not those that were sent. A retry does not help.
    #[error("the file or its name is damaged")]
    Damaged,
}

impl Matrix {
    /// Reserves a media name; it can be used in events at once and expires unfilled after 24 hours. Only its owner can
    /// fill it, and Synapse lets nobody have more than 5 unfilled ones (`max_pending_media_uploads`).
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn reserve_media(&self, owner: &UserId) -> Result<OwnedMxcUri> {
        Ok(self.ask(Who::User(owner), create_mxc_uri::v1::Request::default()).await?.content_uri)
    }

    /// Fills a reserved name. A name that is filled already is done.
    ///
    /// # Errors
    /// [`MatrixError::TooLarge`] above the homeserver's limit, which is asked first: Synapse cuts the connection
    /// instead of saying so. [`MatrixError::NotFound`] when the reservation has expired.
    pub async fn put_media(
        &self,
        owner: &UserId,
        mxc: &MxcUri,
        bytes: Bytes,
        mime: &str,
        filename: Option<&str>,
    ) -> Result<()> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > self.upload_limit().await? {
            return Err(MatrixError::TooLarge);
        }
        let (server, id) = mxc.parts().map_err(|_| MatrixError::NotFound)?;
        let mut request = create_content_async::v3::Request::new(id.to_owned(), server.to_owned(), bytes.to_vec());
        request.content_type = Some(mime.to_owned());
        request.filename = filename.map(str::to_owned);
        match self.ask_slowly(Who::User(owner), UPLOAD_TIME, request).await {
            Ok(_) | Err(MatrixError::AlreadyThere { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// As [`Matrix::put_media`], from the spool, in bounded memory.
    ///
    /// # Errors
    /// As [`Matrix::put_media`]; [`MatrixError::Refused`] also when the transfer breaks while the homeserver is well, so
    /// that a file it does not take is not tried for ever.
    pub async fn put_file(
        &self,
        owner: &UserId,
        mxc: &MxcUri,
        file: &SpoolFile,
        mime: &str,
        filename: Option<&str>,
    ) -> Result<()> {
        if file.size() > self.upload_limit().await? {
            return Err(MatrixError::TooLarge);
        }
        let (server, id) = mxc.parts().map_err(|_| MatrixError::NotFound)?;
        let mut request = create_content_async::v3::Request::new(id.to_owned(), server.to_owned(), Vec::new());
        request.content_type = Some(mime.to_owned());
        request.filename = filename.map(str::to_owned);
        let open = tokio::fs::File::from_std(file.open().map_err(|_| broken_transfer())?);
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(open, PIECE));
        let limit = time_for(file.size());
        let body = (body, file.size());
        match self.client().send_stream(Who::User(owner), limit, request, body).await {
            Ok(()) | Err(MatrixError::AlreadyThere { .. }) => Ok(()),
            Err(error) => Err(self.weigh_transfer(error).await),
        }
    }

    /// Fetches a file into the spool, `limit` bytes at most; `sealed` opens one of an encrypted event on the way.
    /// `expected` is the size its sender tells: so much room is waited for.
    ///
    /// # Errors
    /// [`FetchFailure`]. [`MatrixError::NotFound`]: there is no such file, or it is not there yet.
    pub async fn fetch_file(
        &self,
        mxc: &MxcUri,
        sealed: Option<Unsealer>,
        spool: &Spool,
        expected: Option<u64>,
        limit: u64,
    ) -> std::result::Result<SpoolFile, FetchFailure> {
        let (server, id) = mxc.parts().ok().filter(|(_, id)| !id.is_empty()).ok_or(FetchFailure::Damaged)?;
        let limit = limit.min(spool.max_file());
        // A lie about the size is no reason to refuse the file.
        let writer = spool.begin(expected.unwrap_or(0).min(limit), limit).await?;
        let request = get_content::v1::Request::new(id.to_owned(), server.to_owned());
        let asked = self.client().receive_stream(Who::User(self.bot()), time_for(limit), request).await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => return Err(self.weigh_transfer(error).await.into()),
        };
        if answer.content_length().is_some_and(|length| length > limit) {
            return Err(SpoolError::TooLarge { limit }.into());
        }
        match pour(answer, writer, sealed).await {
            Err(FetchFailure::Matrix(error)) => Err(self.weigh_transfer(error).await.into()),
            other => other,
        }
    }

    /// A transfer that broke: was it the homeserver's end or the file's own trouble?
    async fn weigh_transfer(&self, error: MatrixError) -> MatrixError {
        match error {
            MatrixError::Unreachable { .. } if self.probe().await.is_ok() => broken_transfer(),
            other => self.weigh(other).await,
        }
    }

    /// Uploads a file under a fresh name, for what may be uploaded twice without harm (a QR picture).
    ///
    /// # Errors
    /// As [`Matrix::put_media`].
    pub async fn upload(&self, bytes: Bytes, mime: &str, filename: Option<&str>) -> Result<OwnedMxcUri> {
        let mxc = self.reserve_media(self.bot()).await?;
        self.put_media(self.bot(), &mxc, bytes, mime, filename).await?;
        Ok(mxc)
    }

    /// The largest file the homeserver takes, in bytes; asked once per process.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn upload_limit(&self) -> Result<u64> {
        let ask = || async {
            match self.ask(Who::User(self.bot()), get_media_config::v1::Request::new()).await {
                Ok(answer) => Ok(u64::from(answer.upload_size)),
                // A homeserver that does not say has no limit that could be known beforehand.
                Err(MatrixError::NotFound | MatrixError::Refused { .. }) => Ok(u64::MAX),
                Err(error) => Err(error),
            }
        };
        self.shared.upload_limit.get_or_try_init(ask).await.copied()
    }
}

/// Writes a body into the spool. The disk and the cipher are a blocking thread's; memory holds a few pieces.
async fn pour(
    mut answer: reqwest::Response,
    mut writer: SpoolWriter,
    mut sealed: Option<Unsealer>,
) -> std::result::Result<SpoolFile, FetchFailure> {
    // `None` is the end: a sender that is gone without it means that nobody wants the file any more.
    let (pieces, mut taken) = mpsc::channel::<Option<Bytes>>(4);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = taken.blocking_recv() {
            let Some(piece) = piece else {
                let is_whole = sealed.is_none_or(Unsealer::was_whole);
                return if is_whole {
                    Ok(writer.finish().map_err(SpoolError::Disk)?)
                } else {
                    Err(FetchFailure::Damaged)
                };
            };
            match &mut sealed {
                Some(unsealer) => {
                    let mut piece = Vec::from(piece);
                    unsealer.open(&mut piece);
                    writer.add(&piece)?;
                }
                None => writer.add(&piece)?,
            }
        }
        Err(FetchFailure::Damaged)
    });
    let read = async {
        loop {
            let piece = tokio::time::timeout(SILENCE, answer.chunk()).await;
            let piece = piece.map_err(|_| MatrixError::Unreachable { why: "the transfer stood still".into() })?;
            let piece = piece.map_err(unreachable)?;
            let is_end = piece.is_none();
            // The writer ends early only with a failure of its own, which is told below.
            if pieces.send(piece).await.is_err() || is_end {
                return Ok::<(), MatrixError>(());
            }
        }
    }
    .await;
    drop(pieces);
    let written = writing.await.unwrap_or(Err(FetchFailure::Damaged));
    read?;
    written
}

fn time_for(bytes: u64) -> Duration {
    UPLOAD_TIME + Duration::from_secs(bytes / SLOWEST)
}

fn broken_transfer() -> MatrixError {
    MatrixError::Refused { status: 0, errcode: "BROKEN_TRANSFER".into(), message: "the transfer broke".into() }
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod file_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::homeserver_double::{Double, fault, fine};
    use serde_json::json;

    const BOT: &str = "@whatsappbot:test.local";

    async fn on_media(double: &Double, verb: &str, at: &str, answer: wiremock::ResponseTemplate, times: u64) {
        wiremock::Mock::given(wiremock::matchers::method(verb))
            .and(wiremock::matchers::path(at))
            .and(wiremock::matchers::query_param("user_id", BOT))
            .respond_with(answer)
            .expect(times)
            .mount(&double.server)
            .await;
    }

    #[tokio::test]
    async fn a_file_goes_under_its_reserved_name_and_a_second_time_is_done() {
        let double = Double::start().await;
        double.as_user("GET", "v1/media/config", BOT, fine(json!({ "m.upload.size": 10 })), 1).await;
        on_media(
            &double,
            "POST",
            "/_matrix/media/v1/create",
            fine(json!({ "content_uri": "mxc://test.local/abc" })),
            1,
        )
        .await;
        let put = "/_matrix/media/v3/upload/test.local/abc";
        on_media(&double, "PUT", put, fault(409, "M_CANNOT_OVERWRITE_MEDIA"), 1).await;
        let matrix = double.matrix().await;
        let mxc = matrix.upload(Bytes::from_static(b"bytes"), "image/png", Some("qr.png")).await.unwrap();
        assert_eq!(mxc, "mxc://test.local/abc");
        let request =
            double.server.received_requests().await.unwrap().into_iter().find(|r| r.url.path() == put).unwrap();
        assert_eq!(request.headers["content-length"], "5");
        assert_eq!(request.headers["content-type"], "image/png");
        let big = matrix.put_media(matrix.bot(), &mxc, Bytes::from_static(b"more than ten"), "image/png", None).await;
        assert_eq!(big, Err(MatrixError::TooLarge), "nothing above the limit is sent");
    }
}
