//! The login page: a small page behind a one-time link of the bot's, for people who do not want to scan a picture in a chat.
//!
//! Only when `appservice.public_address` is set. The page is one file without anything from elsewhere, allowed nothing but its own
//! script and style by their hashes. The link's secret stands in the fragment and is used up by the page's first request
//! ([`crate::bridge::page_links`]); every other request carries the session's secret in a header, so no other page can make it.
//! Nobody else's logins are in reach: each request looks up its session's owner, and whether they may still log in.

use super::answer::{Answer, Body, Refusal};
use super::limits::{Limits, address_of};
use super::provision::bearer;
use crate::bridge::Bridge;
use crate::bridge::linkings::{Linking, Stand, Way};
use crate::bridge::standing::Standing;
use crate::config::Level;
use crate::whatsapp::passkey::script;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use qrcode::{EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Where the page is.
pub const PATH: &str = "/login";
/// What the paths of its requests begin with.
pub const API: &str = "/login/api/";
/// Wrong links a minute from one address.
const MOST_WRONG: u32 = 10;
/// Requests a minute of one person.
const MOST_REQUESTS: u32 = 240;
/// Linkings a minute of one person.
const MOST_LINKINGS: u32 = 10;
/// Longest wait of a request.
const LONGEST_POLL: Duration = Duration::from_secs(25);

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page with style and script in it.
static PAGE: LazyLock<String> =
    LazyLock::new(|| include_str!("page/page.html").replace("{{style}}", STYLE).replace("{{script}}", SCRIPT));
/// What the page may do: run its own script and style, and ask where it came from.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

#[derive(Clone)]
struct Door {
    bridge: Bridge,
    limits: Arc<Limits>,
}

/// The page's routes; none without a public address.
pub fn router(bridge: &Bridge) -> Router {
    if bridge.config().appservice.public_address.is_none() {
        return Router::new();
    }
    let door = Door { bridge: bridge.clone(), limits: Arc::new(Limits::new(bridge.store().clock().clone())) };
    Router::new()
        .route(PATH, get(show_page))
        .route(&format!("{API}open"), post(open))
        .route(&format!("{API}state"), post(state))
        .route(&format!("{API}start"), post(start))
        .route(&format!("{API}passkey"), post(passkey))
        .route(&format!("{API}confirm"), post(confirm))
        .route(&format!("{API}cancel"), post(cancel))
        .route(&format!("{API}logout"), post(log_out))
        .route(&format!("{API}close"), post(close))
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "This endpoint has no such method.")
        })
        .layer(DefaultBodyLimit::max(64 << 10))
        .layer(axum::middleware::map_response(guard))
        .with_state(door)
}

/// Headers of every answer: nothing is kept, framed, or guessed.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn show_page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE.as_str()).into_response()
}

/// Uses the link up. A wrong one costs its address: guessing ends soon.
async fn open(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let address = address_of(peer, forwarded);
    door.limits.check(&address, MOST_WRONG)?;
    let opened = bearer(&headers).and_then(|secret| door.bridge.page_links().open(secret));
    let Some((owner, session)) = opened else {
        door.limits.count(&address, MOST_WRONG)?;
        let tell = "This link was opened already, or is too old. Say `login` to the bot for a new one.";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", tell));
    };
    may_log_in(&door, &owner)?;
    Ok(Json(json!({ "session": session })))
}

fn may_log_in(door: &Door, owner: &str) -> Answer<()> {
    match door.bridge.config().bridge.level_of(owner) >= Level::User {
        true => Ok(()),
        false => Err(Refusal::forbidden("You may not log in here. Ask the bridge's administrator for the permission.")),
    }
}

/// Whose session a request belongs to.
fn owner_of(door: &Door, headers: &HeaderMap) -> Answer<String> {
    let owner = bearer(headers).and_then(|secret| door.bridge.page_links().owner_of_session(secret));
    let owner = owner.ok_or_else(|| {
        let tell = "This page is over. Say `login` to the bot for a new link.";
        Refusal::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", tell)
    })?;
    may_log_in(door, &owner)?;
    door.limits.count(&format!("requests of {owner}"), MOST_REQUESTS)?;
    Ok(owner)
}

#[derive(Deserialize)]
struct Seen {
    /// The linking that is shown.
    #[serde(default)]
    linking: String,
    /// Its step that is shown.
    #[serde(default)]
    step: u64,
}

/// Where the person's logins and the linking stand; waits a while for the linking's next step.
async fn state(State(door): State<Door>, headers: HeaderMap, Body(seen): Body<Seen>) -> Answer<Json<Shown>> {
    let owner = owner_of(&door, &headers)?;
    let linking = door.bridge.find_linking(&owner, &seen.linking);
    if let Some(linking) = linking.as_ref().filter(|linking| !linking.now().1.is_last()) {
        let news = door.bridge.stop().run_until_cancelled(linking.next(seen.step, LONGEST_POLL)).await;
        news.ok_or_else(|| Refusal::away("The bridge is starting anew. Please begin again in a minute."))?;
    }
    Ok(Json(shown(&door, &owner, linking.as_deref()).await?))
}

#[derive(Deserialize)]
struct Start {
    /// The phone number, for a code; none for a picture.
    number: Option<String>,
}

/// Begins a linking.
async fn start(State(door): State<Door>, headers: HeaderMap, Body(wanted): Body<Start>) -> Answer<Json<Shown>> {
    let owner = owner_of(&door, &headers)?;
    if let Some(number) = &wanted.number {
        crate::bridge::linkings::read_number(number)
            .map_err(|fault| Refusal::bad("M_INVALID_PARAM", fault.to_string()))?;
    }
    door.limits.count(&format!("linkings of {owner}"), MOST_LINKINGS)?;
    let linking = match &wanted.number {
        None => door.bridge.begin_linking(&owner, Way::Qr),
        Some(number) => {
            let linking = door.bridge.begin_linking(&owner, Way::Number);
            let given = door.bridge.give_number(&linking, number);
            given.map_err(|fault| Refusal::bad("M_INVALID_PARAM", fault.to_string()))?;
            linking
        }
    };
    Ok(Json(shown(&door, &owner, Some(&linking)).await?))
}

#[derive(Deserialize)]
struct Pasted {
    linking: String,
    answer: String,
}

/// Takes the answer of the passkey, as it was pasted.
async fn passkey(State(door): State<Door>, headers: HeaderMap, Body(pasted): Body<Pasted>) -> Answer<Json<Shown>> {
    let owner = owner_of(&door, &headers)?;
    let linking = find(&door, &owner, &pasted.linking)?;
    let given = door.bridge.give_passkey(&linking, &pasted.answer);
    given.map_err(|fault| Refusal::bad("M_INVALID_PARAM", fault.to_string()))?;
    Ok(Json(shown(&door, &owner, Some(&linking)).await?))
}

/// Takes the word that the phone shows the same code.
async fn confirm(State(door): State<Door>, headers: HeaderMap, Body(seen): Body<Seen>) -> Answer<Json<Shown>> {
    let owner = owner_of(&door, &headers)?;
    let linking = find(&door, &owner, &seen.linking)?;
    // Said twice it is done once.
    door.bridge.confirm_linking(&linking);
    Ok(Json(shown(&door, &owner, Some(&linking)).await?))
}

fn find(door: &Door, owner: &str, linking: &str) -> Answer<Arc<Linking>> {
    let found = door.bridge.find_linking(owner, linking);
    found.ok_or_else(|| Refusal::not_found("This is over. Please begin again."))
}

/// Ends the linking before its time.
async fn cancel(State(door): State<Door>, headers: HeaderMap, Body(seen): Body<Seen>) -> Answer<Json<Shown>> {
    let owner = owner_of(&door, &headers)?;
    if let Some(linking) = door.bridge.find_linking(&owner, &seen.linking) {
        door.bridge.cancel_linking(&linking);
    }
    Ok(Json(shown(&door, &owner, None).await?))
}

#[derive(Deserialize)]
struct LogOut {
    login: String,
}

/// Unlinks a login of the person's.
async fn log_out(State(door): State<Door>, headers: HeaderMap, Body(wanted): Body<LogOut>) -> Answer<Json<Shown>> {
    let owner = owner_of(&door, &headers)?;
    let logins = door.bridge.store().logins_of(&owner).await?;
    let login = logins.into_iter().find(|login| login.id.as_str() == wanted.login);
    let login = login.ok_or_else(|| Refusal::not_found("You have no such account."))?;
    let bridge = door.bridge.clone();
    let done = tokio::spawn(async move { bridge.log_out(&login, "You logged out on the login page.").await }).await;
    done.map_err(|_| Refusal::away("The logout broke off. Please try again."))??;
    Ok(Json(shown(&door, &owner, None).await?))
}

/// Ends the session.
async fn close(State(door): State<Door>, headers: HeaderMap) -> Json<Value> {
    if let Some(secret) = bearer(&headers) {
        door.bridge.page_links().close(secret);
    }
    Json(json!({}))
}

/// What the page shows.
#[derive(Serialize)]
struct Shown {
    user: String,
    logins: Vec<ShownLogin>,
    linking: Option<ShownLinking>,
}

#[derive(Serialize)]
struct ShownLogin {
    id: String,
    name: String,
    /// `connected`, `connecting`, `offline` or `logged_out`.
    state: &'static str,
    /// What is wrong, in words; may be empty.
    why: String,
}

#[derive(Serialize)]
struct ShownLinking {
    id: String,
    step: u64,
    /// `waiting`, `qr`, `code`, `passkey`, `compare`, `checking`, `linked` or `ended`.
    kind: &'static str,
    /// A code, a script, an account's number, or why it ended.
    text: String,
    /// The picture, line by line, a 1 for a dark module.
    picture: Vec<String>,
}

async fn shown(door: &Door, owner: &str, linking: Option<&Linking>) -> Answer<Shown> {
    let logins = door.bridge.store().logins_of(owner).await?;
    let logins = logins.into_iter().map(|login| {
        let standing = door.bridge.standing(&login);
        let state = match standing {
            Standing::Connected | Standing::PhoneOffline { .. } => "connected",
            Standing::Connecting | Standing::NotStarted => "connecting",
            Standing::Trouble(_) => "offline",
            Standing::LoggedOut { .. } => "logged_out",
        };
        let why = standing.why();
        ShownLogin { name: format!("+{}", login.id), id: login.id.to_string(), state, why }
    });
    Ok(Shown { user: owner.to_owned(), logins: logins.collect(), linking: linking.map(show_linking) })
}

fn show_linking(linking: &Linking) -> ShownLinking {
    let (step, stand) = linking.now();
    let (kind, text, picture) = match stand {
        Stand::Waiting | Stand::NumberWanted => ("waiting", String::new(), Vec::new()),
        Stand::Qr { code } => match draw(&code) {
            Some(picture) => ("qr", String::new(), picture),
            None => ("ended", "The code can't be drawn. Please link with your phone number.".to_owned(), Vec::new()),
        },
        Stand::Code { code } => ("code", code, Vec::new()),
        Stand::Passkey { question } => ("passkey", script(&question), Vec::new()),
        Stand::Compare { code } => ("compare", code, Vec::new()),
        Stand::Checking => ("checking", String::new(), Vec::new()),
        Stand::Linked(login) => ("linked", format!("+{login}"), Vec::new()),
        Stand::TimedOut => ("ended", "It was not done in time. Please begin again.".to_owned(), Vec::new()),
        Stand::Cancelled => ("ended", "It was cancelled, or begun at another place.".to_owned(), Vec::new()),
        Stand::Failed(tell) => ("ended", tell, Vec::new()),
    };
    ShownLinking { id: linking.id().to_owned(), step, kind, text, picture }
}

/// The lines of a QR picture, without the light edge that it needs.
fn draw(code: &str) -> Option<Vec<String>> {
    let picture = QrCode::with_error_correction_level(code, EcLevel::L).ok()?;
    let bit = |color: &qrcode::Color| if *color == qrcode::Color::Dark { '1' } else { '0' };
    Some(picture.to_colors().chunks(picture.width()).map(|line| line.iter().map(bit).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_says_so() {
        for outside in ["http://", "https://", "src=", "@import", "url(", "style=\"", "onclick"] {
            assert!(!PAGE.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside}");
        }
        assert!(POLICY.starts_with("default-src 'none'; script-src 'sha256-"));
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
        assert!(!PAGE.contains("innerHTML"), "text of others is never read as HTML");
    }

    #[test]
    fn a_picture_is_square() {
        let lines = draw("2@abc,def,ghi,jkl,1").unwrap();
        assert!(lines.iter().all(|line| line.len() == lines.len()));
        assert!(lines[0].starts_with("1111111"), "the finder pattern");
    }
}
