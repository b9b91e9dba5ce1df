//! Who asks: one place for every endpoint of the API.
//!
//! The token is the operator's shared secret, compared in constant time, which names a user with `user_id`; or a user's own
//! token, of which the homeserver says whose it is, each time anew. A token of another homeserver is unknown here: no other
//! server is ever asked. `openid:` before a token says that it is an OpenID token, as widgets have them: it stands for who asked
//! the homeserver for it, and does nothing else there; but it is the same token for whomever they gave it to, so it counts only
//! where the operator wants it. Tokens are never logged, and a wrong one costs its address, so that guessing ends soon.

use super::Door;
use crate::config::Level;
use crate::http::answer::{Answer, Refusal};
use crate::http::limits::address_of;
use axum::extract::{ConnectInfo, MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use ruma::UserId;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use subtle::ConstantTimeEq as _;

/// What stands before an OpenID token.
const OPENID: &str = "openid:";

/// Who asks; they may have logins.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) mxid: String,
}

#[derive(Deserialize)]
struct Named {
    user_id: Option<String>,
}

/// Lets through who may use the API, no more often than they may.
pub(super) async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match find_caller(&door, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Lets managers that run in a browser in: what counts is the token, which no other page has.
pub(super) async fn across_origins(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn find_caller(door: &Door, request: &Parts) -> Answer<Caller> {
    let most = door.bridge.config().provisioning.requests_per_minute;
    let forwarded = request.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let address = peer.map_or_else(|| "unknown".to_owned(), |peer| address_of(peer, forwarded));
    let address = format!("wrong token from {address}");
    let token = bearer(&request.headers).ok_or_else(|| {
        Refusal::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "The Authorization header holds no bearer token.")
    })?;
    let Ok(Query(Named { user_id })) = Query::try_from_uri(&request.uri) else {
        return Err(Refusal::bad("M_INVALID_PARAM", "The query can't be read."));
    };
    let settings = &door.bridge.config().provisioning;
    let mxid = if settings.secret().is_some_and(|secret| is_same(secret, token)) {
        let named = user_id.ok_or_else(|| Refusal::bad("M_MISSING_PARAM", "Say with `user_id` for whom you ask."))?;
        match UserId::parse(&named) {
            Ok(user) if !door.bridge.matrix().is_ours(&user) => named,
            _ => return Err(Refusal::bad("M_INVALID_PARAM", "`user_id` is no user's id.")),
        }
    } else {
        door.limits.check(&address, tenth(most))?;
        let matrix = door.bridge.matrix();
        let owner = match token.strip_prefix(OPENID) {
            None if settings.allow_matrix_auth => matrix.owner_of_token(token).await,
            Some(token) if settings.allow_openid_auth => matrix.owner_of_openid(token).await,
            _ => Ok(None),
        };
        let owner = owner.map_err(|error| {
            tracing::debug!(%error, "the homeserver did not say whose token it is");
            Refusal::away("The homeserver can't be asked about the token. Please try again later.")
        })?;
        let Some(owner) = owner else {
            door.limits.count(&address, tenth(most))?;
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "Nobody knows this token."));
        };
        if user_id.is_some_and(|named| named != owner.as_str()) {
            return Err(Refusal::forbidden("This token is not that user's."));
        }
        owner.to_string()
    };
    if door.bridge.config().bridge.level_of(&mxid) < Level::User {
        return Err(Refusal::forbidden(
            "You may not have logins here. Ask the bridge's administrator for the permission.",
        ));
    }
    door.limits.count(&format!("any of {mxid}"), most)?;
    let path = request.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if let Some((what, most)) = dear(path, most) {
        door.limits.count(&format!("{what} of {mxid}"), most)?;
    }
    Ok(Caller { mxid })
}

/// What costs more than a look into the bridge's memory: WhatsApp bans accounts that look up numbers in bulk.
fn dear(path: &str, most: u32) -> Option<(&'static str, u32)> {
    let has = |word: &str| path.contains(word);
    if has("/login/start/") || has("/create_group/") || has("/create_dm/") {
        Some(("making", tenth(most)))
    } else if has("/resolve_identifier/") || has("/contacts") || has("/search_users") {
        Some(("looking up", (most / 4).max(1)))
    } else {
        None
    }
}

fn tenth(most: u32) -> u32 {
    (most / 10).max(1)
}

/// The bearer token of a request.
pub(in crate::http) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case("Bearer ") && !token.is_empty()).then_some(token)
}

/// Whether two secrets are the same, in a time that tells nothing of where they differ or how long they are.
fn is_same(ours: &str, theirs: &str) -> bool {
    Sha256::digest(ours).ct_eq(&Sha256::digest(theirs)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_the_specification_says() {
        let token = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("bearer a b"), Some("a b".into()));
        assert_eq!([token("Basic abc"), token("Bearer "), token("Bearer"), token("Bear")], [const { None }; 4]);
        assert!(is_same("abc", "abc") && !is_same("abc", "abcd") && !is_same("abc", ""));
    }

    #[test]
    fn what_costs_more_is_let_through_less_often() {
        assert_eq!(dear("/_matrix/provision/v3/login/start/{flow_id}", 120), Some(("making", 12)));
        assert_eq!(dear("/_matrix/provision/v3/resolve_identifier/{identifier}", 120), Some(("looking up", 30)));
        assert_eq!(dear("/_matrix/provision/v3/whoami", 120), None);
        assert_eq!(dear("/_matrix/provision/v3/contacts", 1), Some(("looking up", 1)));
    }
}
