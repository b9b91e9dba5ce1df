//! What the homeserver's answers mean.
//!
//! Cases are told apart by status and `errcode`, never by the text of `error`. That text may hold user ids, and
//! with them phone numbers, so it is kept in a field and does not print itself.

use crate::verdict::{Gate, Verdict};
use http::StatusCode;
use serde::Deserialize;
use std::time::Duration;

/// Why a request to the homeserver did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// No answer, or one that says the server is not well. Whether the request took effect is unknown.
    #[error("the homeserver can not be reached: {why}")]
    Unreachable {
        /// For the log: the kind of failure.
        why: String,
    },
    /// The homeserver does not know the `as_token`: the registration is not loaded or differs from the config.
    #[error("the homeserver refuses the as_token: is this registration listed in its configuration?")]
    TokenRefused,
    /// The homeserver does not take the token of a double puppet any more: it was logged out, or the registration with
    /// which the bridge acts as people is gone.
    #[error("the homeserver refuses the token of a double puppet")]
    PuppetRefused,
    /// The homeserver of a double puppet, another one than the bridge's, is not there.
    #[error("a double puppet's homeserver can not be reached: {why}")]
    PuppetAway {
        /// For the log: the kind of failure.
        why: String,
    },
    /// Too many requests; the homeserver says how long to wait.
    #[error("the homeserver asks to wait {} ms", .after.as_millis())]
    Limited {
        /// How long to wait.
        after: Duration,
    },
    /// The device named in the request was gone and has been made again. What it remembered of transaction ids
    /// is lost: before repeating a send of unknown outcome, look for it with `Matrix::find_sent`.
    #[error("the sender's device was gone and has been made again")]
    UnknownDevice,
    /// The user may not do this, or is not registered (a new homeserver database).
    #[error("the homeserver forbids it ({errcode})")]
    Forbidden {
        /// The Matrix error code.
        errcode: String,
        /// The homeserver's words; may hold user ids.
        message: String,
    },
    /// There is no such thing.
    #[error("the homeserver does not have it")]
    NotFound,
    /// The event or file is larger than the homeserver takes.
    #[error("too large for the homeserver")]
    TooLarge,
    /// A name in use, media already there: what was asked for exists.
    #[error("it is already there ({errcode})")]
    AlreadyThere {
        /// The Matrix error code.
        errcode: String,
    },
    /// Any other answer.
    #[error("the homeserver refuses with {status} {errcode}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The Matrix error code; empty when there was none.
        errcode: String,
        /// The homeserver's words; may hold user ids.
        message: String,
    },
}

/// Answer of everything that talks to the homeserver.
pub type Result<T> = std::result::Result<T, MatrixError>;

/// The longest pause a homeserver's hint is followed for.
const LONGEST_HINT: Duration = Duration::from_secs(300);

/// The standard error body (client-server specification, section "Standard error response").
#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    errcode: String,
    #[serde(default)]
    error: String,
    retry_after_ms: Option<u64>,
}

impl MatrixError {
    /// Reads an answer with a status of 400 or above.
    pub(crate) fn from_answer(status: StatusCode, retry_after: Option<&str>, body: &[u8]) -> Self {
        let parsed: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
        let ErrorBody { errcode, error: message, retry_after_ms } = parsed;
        match errcode.as_str() {
            "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" => return Self::TokenRefused,
            "M_LIMIT_EXCEEDED" => return Self::limited(retry_after, retry_after_ms),
            "M_UNKNOWN_DEVICE" => return Self::UnknownDevice,
            "M_TOO_LARGE" => return Self::TooLarge,
            "M_ROOM_IN_USE" | "M_USER_IN_USE" | "M_CANNOT_OVERWRITE_MEDIA" => return Self::AlreadyThere { errcode },
            "M_NOT_FOUND" => return Self::NotFound,
            "M_FORBIDDEN" => return Self::Forbidden { errcode, message },
            _ => {}
        }
        match status {
            StatusCode::UNAUTHORIZED => Self::TokenRefused,
            StatusCode::TOO_MANY_REQUESTS => Self::limited(retry_after, retry_after_ms),
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::FORBIDDEN if !errcode.is_empty() => Self::Forbidden { errcode, message },
            // Without a Matrix error code a 5xx comes from a proxy or a server that is starting or stopping.
            status if status.is_server_error() && errcode.is_empty() => {
                Self::Unreachable { why: format!("status {}", status.as_u16()) }
            }
            status => Self::Refused { status: status.as_u16(), errcode, message },
        }
    }

    fn limited(header: Option<&str>, body_ms: Option<u64>) -> Self {
        let header = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let after = header.or(body_ms.map(Duration::from_millis)).unwrap_or(Duration::from_secs(1));
        Self::Limited { after: after.min(LONGEST_HINT) }
    }

    /// Whether this is Synapse's catch-all for a fault of its own: its database may be gone, or this one request
    /// trips it. Which of both, only another request can tell.
    pub(crate) fn is_inner_fault(&self) -> bool {
        matches!(self, Self::Refused { status: 500.., errcode, .. } if errcode == "M_UNKNOWN")
    }

    /// What it means for the row that was worked on. `Never` only where a repeat can not end otherwise.
    pub fn verdict(&self) -> Verdict {
        let why = self.to_string();
        match self {
            Self::Unreachable { .. } | Self::TokenRefused | Self::Limited { .. } => Verdict::Blocked(Gate::Homeserver),
            // With the next try the bridge knows that it does not act as them.
            Self::PuppetRefused | Self::PuppetAway { .. } => Verdict::Away { why },
            Self::TooLarge => Verdict::Never {
                tell: "This message is too large for your homeserver. Please look at it on your phone.".into(),
                why,
            },
            Self::Refused { status: 400, errcode, .. }
                if matches!(errcode.as_str(), "M_BAD_JSON" | "M_NOT_JSON" | "M_INVALID_PARAM") =>
            {
                Verdict::Never {
                    tell: "Your homeserver did not accept this message. Please look at it on your phone.".into(),
                    why,
                }
            }
            Self::UnknownDevice
            | Self::Forbidden { .. }
            | Self::NotFound
            | Self::AlreadyThere { .. }
            | Self::Refused { .. } => Verdict::Later { why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> MatrixError {
        MatrixError::from_answer(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn answers_are_told_apart_by_status_and_code() {
        let code = |errcode: &str| format!(r#"{{"errcode":"{errcode}","error":"@whatsapp_49…"}}"#);
        assert_eq!(read(401, &code("M_UNKNOWN_TOKEN")), MatrixError::TokenRefused);
        assert_eq!(read(400, &code("M_UNKNOWN_DEVICE")), MatrixError::UnknownDevice);
        assert_eq!(read(404, &code("M_NOT_FOUND")), MatrixError::NotFound);
        assert_eq!(read(413, &code("M_TOO_LARGE")), MatrixError::TooLarge);
        assert_eq!(read(413, "<html>"), MatrixError::TooLarge);
        assert!(matches!(read(403, &code("M_FORBIDDEN")), MatrixError::Forbidden { .. }));
        assert!(matches!(read(400, &code("M_ROOM_IN_USE")), MatrixError::AlreadyThere { .. }));
        assert!(matches!(read(409, &code("M_CANNOT_OVERWRITE_MEDIA")), MatrixError::AlreadyThere { .. }));
        assert!(matches!(read(502, "<html>Bad Gateway</html>"), MatrixError::Unreachable { .. }));
        assert!(matches!(read(502, &code("M_BAD_STATUS")), MatrixError::Refused { status: 502, .. }));
        assert!(matches!(read(404, &code("M_UNRECOGNIZED")), MatrixError::Refused { status: 404, .. }));
        assert!(read(500, &code("M_UNKNOWN")).is_inner_fault());
    }

    #[test]
    fn the_servers_hint_how_long_to_wait_is_followed_within_bounds() {
        let body = r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2500}"#;
        assert_eq!(read(429, body), MatrixError::Limited { after: Duration::from_millis(2500) });
        let by_header = MatrixError::from_answer(StatusCode::TOO_MANY_REQUESTS, Some("7"), body.as_bytes());
        assert_eq!(by_header, MatrixError::Limited { after: Duration::from_secs(7) });
        let absurd = r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":99999999999}"#;
        assert_eq!(read(429, absurd), MatrixError::Limited { after: LONGEST_HINT });
    }

    #[test]
    fn errors_do_not_print_the_homeservers_words() {
        let error = read(403, r#"{"errcode":"M_FORBIDDEN","error":"@whatsapp_15550100: no"}"#);
        assert!(!error.to_string().contains("15550100"));
    }

    #[test]
    fn only_certain_faults_are_final() {
        assert!(matches!(read(413, "{}").verdict(), Verdict::Never { .. }));
        assert!(matches!(read(400, r#"{"errcode":"M_BAD_JSON"}"#).verdict(), Verdict::Never { .. }));
        assert!(matches!(read(403, r#"{"errcode":"M_FORBIDDEN"}"#).verdict(), Verdict::Later { .. }));
        assert_eq!(read(503, "").verdict(), Verdict::Blocked(Gate::Homeserver));
        assert_eq!(read(401, "").verdict(), Verdict::Blocked(Gate::Homeserver));
    }
}
