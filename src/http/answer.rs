//! Answers that are no success, in the shape of the Matrix specification's standard error response; and bodies read so.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Duration;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The Matrix error code.
    pub errcode: &'static str,
    /// For a person: what happened and what to do.
    pub error: String,
    /// When it may be tried again.
    pub after: Option<Duration>,
}

/// An answer, or why there is none.
pub type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// A refusal.
    pub fn new(status: StatusCode, errcode: &'static str, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into(), after: None }
    }

    /// 400.
    pub fn bad(errcode: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, errcode, error)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", error)
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", error)
    }

    /// 503: the other side, or the database, is away.
    pub fn away(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", error)
    }

    /// 429: asked too often.
    pub fn limited(after: Duration) -> Self {
        let error = format!("Too many requests; try again in {} seconds.", after.as_secs().max(1));
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", error);
        Self { after: Some(after), ..refusal }
    }
}

impl From<crate::store::StoreError> for Refusal {
    fn from(error: crate::store::StoreError) -> Self {
        tracing::error!(%error, "the database failed under a request");
        Self::away("The bridge's database does not answer. Please try again later.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "errcode": self.errcode, "error": self.error });
        if let Some(after) = self.after {
            body["retry_after_ms"] = json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(after) = self.after {
            let seconds = HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// A JSON body; what is none is answered with `M_NOT_JSON`, and another shape with `M_BAD_JSON`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.into_response().status();
            match status {
                StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(status, "M_TOO_LARGE", "The body is too large."),
                _ => Refusal::bad("M_NOT_JSON", "The body broke off."),
            }
        })?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|_| Refusal::bad("M_NOT_JSON", "The body is no JSON."))?;
        let read = serde_json::from_value(value).map(Self);
        read.map_err(|_| Refusal::bad("M_BAD_JSON", "The body has not the shape that is asked for."))
    }
}
