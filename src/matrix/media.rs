//! Files on the homeserver: a name is reserved first, then filled, so that a repeat fills the same name.

use super::Matrix;
use super::client::Who;
use super::error::{MatrixError, Result};
use bytes::Bytes;
use ruma::api::client::authenticated_media::get_media_config;
use ruma::api::client::media::{create_content_async, create_mxc_uri};
use ruma::{MxcUri, OwnedMxcUri};
use std::time::Duration;

/// How long an upload may take.
const UPLOAD_TIME: Duration = Duration::from_secs(600);

impl Matrix {
    /// Reserves a media name; it can be used in events at once and expires unfilled after 24 hours.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn reserve_media(&self) -> Result<OwnedMxcUri> {
        Ok(self.ask(Who::User(self.bot()), create_mxc_uri::v1::Request::default()).await?.content_uri)
    }

    /// Fills a reserved name. A name that is filled already is done.
    ///
    /// # Errors
    /// [`MatrixError::TooLarge`] above the homeserver's limit, which is asked first: Synapse cuts the connection
    /// instead of saying so. [`MatrixError::NotFound`] when the reservation has expired.
    pub async fn put_media(&self, mxc: &MxcUri, bytes: Bytes, mime: &str, filename: Option<&str>) -> Result<()> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > self.upload_limit().await? {
            return Err(MatrixError::TooLarge);
        }
        let (server, id) = mxc.parts().map_err(|_| MatrixError::NotFound)?;
        let mut request = create_content_async::v3::Request::new(id.to_owned(), server.to_owned(), bytes.to_vec());
        request.content_type = Some(mime.to_owned());
        request.filename = filename.map(str::to_owned);
        match self.ask_slowly(Who::User(self.bot()), UPLOAD_TIME, request).await {
            Ok(_) | Err(MatrixError::AlreadyThere { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Uploads a file under a fresh name, for what may be uploaded twice without harm (a QR picture).
    ///
    /// # Errors
    /// As [`Matrix::put_media`].
    pub async fn upload(&self, bytes: Bytes, mime: &str, filename: Option<&str>) -> Result<OwnedMxcUri> {
        let mxc = self.reserve_media().await?;
        self.put_media(&mxc, bytes, mime, filename).await?;
        Ok(mxc)
    }

    /// The largest file the homeserver takes, in bytes; asked once per process.
    async fn upload_limit(&self) -> Result<u64> {
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
        let big = matrix.put_media(&mxc, Bytes::from_static(b"more than ten"), "image/png", None).await;
        assert_eq!(big, Err(MatrixError::TooLarge), "nothing above the limit is sent");
    }
}
