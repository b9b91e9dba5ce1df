//! The web page for people: a phone in a browser tab.
//!
//! Plain HTML from the server; a few lines of script fetch the changing part
//! again whenever the simulator says that something changed. Without script the
//! page works by reloading.

mod actions;
mod html;
mod phone;
mod start;

use std::convert::Infallible;

use anyhow::Result;
use axum::{
    Router,
    extract::{Path, Query, State as Extract},
    http::StatusCode,
    response::{
        Html, IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;

use crate::simulator::Simulator;
pub use phone::{Line, chat_name};

/// The page's routes.
pub fn routes(simulator: Simulator) -> Router {
    Router::new()
        .route("/", get(start_page))
        .route("/phone/{number}", get(phone_page))
        .route("/live", get(live))
        .route("/accounts", post(actions::create))
        .route("/phone/{number}/send", post(actions::send))
        .route("/phone/{number}/scan", post(actions::scan))
        .route("/phone/{number}/code", post(actions::code))
        .route("/phone/{number}/unlink", post(actions::unlink))
        .with_state(simulator)
}

/// What of a page is wanted.
#[derive(Deserialize)]
struct View {
    /// The open chat: a JID.
    chat: Option<String>,
    /// What went wrong with the last action.
    error: Option<String>,
    /// Only this part of the page, one that changes.
    part: Option<String>,
}

async fn start_page(Extract(sim): Extract<Simulator>, Query(view): Query<View>) -> Html<String> {
    let changing = sim.look(start::changing);
    if view.part.is_some() {
        return Html(changing);
    }
    let live = html::live("/?part=list", &changing);
    let body = format!("{}{}{live}{}", start::HEADING, html::complaint(view.error.as_deref()), start::FORM);
    Html(html::page("WhatsApp simulator", "", &body))
}

async fn phone_page(
    Extract(sim): Extract<Simulator>,
    Path(number): Path<String>,
    Query(view): Query<View>,
) -> Response {
    let parts = sim.look(|state| phone::parts(state, &number, view.chat.as_deref()));
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) => return (StatusCode::NOT_FOUND, Html(html::escape(&format!("{error:#}")))).into_response(),
    };
    match view.part.as_deref() {
        Some("devices") => return Html(parts.devices).into_response(),
        Some(_) => return Html(parts.talk).into_response(),
        None => {}
    }
    let body = [
        parts.heading,
        html::complaint(view.error.as_deref()),
        html::live(&format!("{}&part=talk", parts.source), &parts.talk),
        parts.write,
        html::live(&format!("{}&part=devices", parts.source), &parts.devices),
        parts.link,
    ]
    .concat();
    Html(html::page(&parts.title, html::BACK, &body)).into_response()
}

/// Says when something changed, at most some times a second.
async fn live(Extract(sim): Extract<Simulator>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = sim.changes().map(|count| Ok(Event::default().data(count.to_string())));
    Sse::new(events).keep_alive(KeepAlive::default())
}
