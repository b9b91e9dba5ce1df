//! Posts states of logins to a program of the operator's that watches bridges, as mautrix's bridges do
//! (`homeserver.status_endpoint`).

use reqwest::StatusCode;
use serde::Serialize;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Why a state was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It may be taken later.
    #[error("the status endpoint does not answer")]
    Silent,
    /// It may be taken later.
    #[error("the status endpoint answers with {0}")]
    Later(u16),
    /// This state will not be taken.
    #[error("the status endpoint refuses with {0}")]
    Refused(u16),
}

/// Who takes states of logins. Names of people go there and nowhere else.
pub struct StatusEndpoint {
    http: reqwest::Client,
    address: String,
    token: String,
}

impl StatusEndpoint {
    /// The program at this address; it is shown the application service's token.
    ///
    /// # Errors
    /// When the TLS set-up fails.
    pub fn new(address: &str, token: &str) -> Result<Self, reqwest::Error> {
        // Whoever comes first installs it; a second attempt changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER_TIME);
        if address.starts_with("http://") {
            // Without TLS no certificates are needed, and a bare container may have none.
            http = http.tls_certs_only(std::iter::empty());
        }
        Ok(Self { http: http.build()?, address: address.to_owned(), token: token.to_owned() })
    }

    /// Posts one state.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn post(&self, state: &impl Serialize) -> Result<(), NotTaken> {
        let body = serde_json::to_vec(state).unwrap_or_default();
        let request = self.http.post(&self.address).bearer_auth(&self.token);
        let request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
        // The error names the address, which may hold a secret: only the kind is kept.
        let status = request.send().await.map_err(|_| NotTaken::Silent)?.status();
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(NotTaken::Later(status.as_u16())),
            status if status.is_client_error() => Err(NotTaken::Refused(status.as_u16())),
            status => Err(NotTaken::Later(status.as_u16())),
        }
    }
}
