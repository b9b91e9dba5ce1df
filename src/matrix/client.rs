//! One function that makes a request of the client API and tells what came of it.
//!
//! Requests are ruma's types over one HTTP client. Repeats, pauses and gates belong to the callers; the only
//! thing done here beside asking is to keep the number of requests in flight small, because Synapse answers on
//! one core and more of them only add delay (measured: no gain above 16).

use super::error::{MatrixError, Result};
use crate::numbers::{self, Request as Kind, Status};
use bytes::Bytes;
use ruma::api::auth_scheme::{AuthScheme, SendAccessToken};
use ruma::api::path_builder::PathBuilder;
use ruma::api::{
    AppserviceUserIdentity, IncomingResponse, MatrixVersion, OutgoingRequest, OutgoingRequestAppserviceExt,
    SupportedVersions,
};
use ruma::{DeviceId, UserId};
use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests in flight at the same time, long polls apart.
const IN_FLIGHT: usize = 16;
/// How long an ordinary answer may take; Synapse's own limits are below it.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Who makes a request.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    /// The application service itself, for requests that concern no user.
    Service,
    /// The bot, a ghost or a puppet, without a device.
    User(&'a UserId),
    /// The bot, a ghost or a puppet with its device: everything with a transaction id.
    Device(&'a UserId),
}

/// How long a request may take and whether it counts among those in flight.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// An ordinary request.
    Ordinary,
    /// A long poll or a big body: its own limit, and no place among the ordinary ones.
    Slow(Duration),
}

/// Makes requests with the application service's token.
pub(crate) struct Client {
    kept: RwLock<reqwest::Client>,
    address: String,
    token: String,
    versions: SupportedVersions,
    in_flight: Semaphore,
}

impl Client {
    pub(crate) fn new(address: &str, token: &str) -> std::result::Result<Self, reqwest::Error> {
        let versions =
            SupportedVersions { versions: [MatrixVersion::V1_11].into_iter().collect(), features: Default::default() };
        Ok(Self {
            kept: RwLock::new(make_http(address)?),
            address: address.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            versions,
            in_flight: Semaphore::new(IN_FLIGHT),
        })
    }

    /// Closes the connections that are kept for later; requests in flight go on.
    pub(crate) fn forget_connections(&self) -> std::result::Result<(), reqwest::Error> {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = make_http(&self.address)?;
        Ok(())
    }

    fn http(&self) -> reqwest::Client {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks and reads the answer.
    pub(crate) async fn ask<R>(&self, who: Who<'_>, pace: Pace, request: R) -> Result<R::IncomingResponse>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        let request = self.build(who, request)?;
        let answer = self.exchange(request, pace).await?;
        R::IncomingResponse::try_from_http_response(answer).map_err(|_| MatrixError::Refused {
            status: 200,
            errcode: String::new(),
            message: "the answer has an unexpected form".into(),
        })
    }

    /// Asks with a body that is streamed; the answer says nothing but that it is well.
    pub(crate) async fn send_stream<R>(
        &self,
        who: Who<'_>,
        limit: Duration,
        request: R,
        (body, length): (reqwest::Body, u64),
    ) -> Result<()>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        let mut request = self.build(who, request)?;
        request.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        *request.body_mut() = Some(body);
        self.exchange(request, Pace::Slow(limit)).await.map(drop)
    }

    /// Asks and hands over the answer with its body unread; errors are read.
    pub(crate) async fn receive_stream<R>(&self, who: Who<'_>, limit: Duration, request: R) -> Result<reqwest::Response>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        let mut request = self.build(who, request)?;
        *request.timeout_mut() = Some(limit);
        let answer = self.execute(request, Pace::Slow(limit)).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(read_error(answer).await) }
    }

    /// Asks something that has no type in ruma, or needs more in its body than that has: `path` behind
    /// `/_matrix/client/v3`, in pieces as they are; the answer's JSON.
    pub(crate) async fn ask_json(
        &self,
        who: Who<'_>,
        method: http::Method,
        path: &[&str],
        body: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value> {
        let mut url = reqwest::Url::parse(&self.address).map_err(unbuildable)?;
        if let Ok(mut pieces) = url.path_segments_mut() {
            pieces.pop_if_empty().extend(["_matrix", "client", "v3"]).extend(path);
        }
        if let Who::User(user) | Who::Device(user) = who {
            url.query_pairs_mut().append_pair("user_id", user.as_str());
        }
        if matches!(who, Who::Device(_)) {
            url.query_pairs_mut().append_pair("device_id", super::DEVICE);
        }
        let mut request = self.http().request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header(http::header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = self.exchange(request.build().map_err(unbuildable)?, Pace::Ordinary).await?;
        serde_json::from_slice(answer.body()).map_err(|_| MatrixError::Refused {
            status: 200,
            errcode: String::new(),
            message: "the answer has an unexpected form".into(),
        })
    }

    /// What the homeserver says of a token of somebody's (`whoami`).
    pub(crate) async fn ask_about(&self, token: &str) -> Result<serde_json::Value> {
        let url = format!("{}/_matrix/client/v3/account/whoami", self.address);
        let request = self.http().get(url).bearer_auth(token).build().map_err(unbuildable)?;
        let answer = self.exchange(request, Pace::Ordinary).await?;
        Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    /// What the homeserver says of an OpenID token (Server-Server API, "OpenID"): whom it stands for.
    pub(crate) async fn ask_about_openid(&self, token: &str) -> Result<serde_json::Value> {
        let mut url = reqwest::Url::parse(&self.address).map_err(unbuildable)?;
        if let Ok(mut pieces) = url.path_segments_mut() {
            pieces.pop_if_empty().extend(["_matrix", "federation", "v1", "openid", "userinfo"]);
        }
        url.query_pairs_mut().append_pair("access_token", token);
        let request = self.http().get(url).build().map_err(unbuildable)?;
        let answer = self.exchange(request, Pace::Ordinary).await?;
        Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    fn build<R>(&self, who: Who<'_>, request: R) -> Result<reqwest::Request>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        let device: &DeviceId = super::DEVICE.into();
        let mut identity = AppserviceUserIdentity::default();
        match who {
            Who::Service => {}
            Who::User(user) => identity.user_id = Some(user),
            Who::Device(user) => {
                identity.user_id = Some(user);
                identity.device_id = Some(device);
            }
        }
        let request: http::Request<Vec<u8>> = request
            .try_into_http_request_with_identity(
                &self.address,
                SendAccessToken::Appservice(&self.token),
                identity,
                Cow::Borrowed(&self.versions),
            )
            .map_err(unbuildable)?;
        reqwest::Request::try_from(request).map_err(unbuildable)
    }

    /// Makes the request and counts it.
    async fn execute(&self, request: reqwest::Request, pace: Pace) -> Result<reqwest::Response> {
        let kind = numbers::kind_of_request(request.url().path());
        let begun = tokio::time::Instant::now();
        let answer = self.http().execute(request).await;
        let status = answer.as_ref().map_or(Status::Silent, |answer| Status::of(answer.status().as_u16()));
        let waits = matches!(pace, Pace::Slow(_)) && kind == Kind::Sync;
        numbers::count_request(kind, status, (!waits).then(|| begun.elapsed()));
        answer.map_err(unreachable)
    }

    async fn exchange(&self, mut request: reqwest::Request, pace: Pace) -> Result<http::Response<Bytes>> {
        // The semaphore is never closed, so an error here means no permit is needed.
        let (limit, _permit) = match pace {
            Pace::Ordinary => (ANSWER_TIME, self.in_flight.acquire().await.ok()),
            Pace::Slow(limit) => (limit, None),
        };
        *request.timeout_mut() = Some(limit);
        let answer = self.execute(request, pace).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_client_error() || status.is_server_error() {
            let retry_after = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            return Err(MatrixError::from_answer(status, retry_after, &body));
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn make_http(address: &str) -> std::result::Result<reqwest::Client, reqwest::Error> {
    // Whoever comes first installs it; a second attempt changes nothing.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut http = reqwest::Client::builder()
        // The homeserver is a neighbour: a proxy meant for the way out does not lead to it.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIME)
        .tcp_keepalive(Duration::from_secs(15))
        .pool_max_idle_per_host(IN_FLIGHT + 2);
    if address.starts_with("http://") {
        // Without TLS no certificates are needed, and a bare container may have none.
        http = http.tls_certs_only(std::iter::empty());
    }
    http.build()
}

/// What an answer that is not well says; at most 64 KiB of it are read.
async fn read_error(mut answer: reqwest::Response) -> MatrixError {
    let status = answer.status();
    let retry_after = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.map(str::to_owned);
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await
        && body.len() < 64 << 10
    {
        body.extend_from_slice(&piece);
    }
    MatrixError::from_answer(status, retry_after.as_deref(), &body)
}

/// A request that can not even be written is wrong for good; seen only for ids no homeserver would give.
fn unbuildable(_: impl std::error::Error) -> MatrixError {
    MatrixError::Refused {
        status: 400,
        errcode: "M_INVALID_PARAM".into(),
        message: "the request has no valid form".into(),
    }
}

/// Keeps the kind of failure only: the full text names the URL, and that names people.
pub(super) fn unreachable(error: reqwest::Error) -> MatrixError {
    let kind = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    MatrixError::Unreachable { why: kind.into() }
}
