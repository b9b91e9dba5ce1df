//! What the homeserver calls: the application service endpoints.
//!
//! Promise: a transaction is answered with 200 only after everything in it that concerns the bridge is committed
//! to the inbox, and at once after that; nothing is worked on before the answer, so the backlog does not matter.
//! Without a database it is answered with 503, and the homeserver keeps it. A process that dies before the
//! answer gets the same transaction again, and what is stored is known by its event ids.
//!
//! There is one writer at a time (`Intake::writer`), so that transactions and [`super::catch_up`] do not mix
//! their orders.

use super::Matrix;
use super::error::MatrixError;
use super::signals::{self, Told};
use super::transactions::BadBody;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::BytesMut;
use futures_util::StreamExt;
use http::{StatusCode, header};
use ruma::UserId;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, MutexGuard, Notify, mpsc, watch};
use tokio_util::task::TaskTracker;

/// Largest body taken. Synapse puts at most 100 events and 100 to-device messages of 64 KiB into a transaction,
/// about 13 MB.
pub const LARGEST_BODY: usize = 64 << 20;
/// Bodies above this are read on a thread of their own: taking them apart takes milliseconds.
const BIG_BODY: usize = 256 << 10;

/// Least time between two catch-ups called for by jumps forward, milliseconds.
const HINT_EVERY_MS: i64 = 20_000;

/// Age of an event, milliseconds, from which on its transaction was kept by the homeserver for a while: Synapse waits two
/// seconds before it repeats one.
const LATE_MS: i64 = 1000;
/// For how long after a late transaction a jump forward holds the lanes, milliseconds. What a busy homeserver keeps while
/// it recovers comes slowly, and its last is fresh again; three seconds were too few on a machine with a load of ten.
const RECOVERING_MS: i64 = 30_000;

/// The intake from Matrix. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    shared: Arc<Shared>,
}

struct Shared {
    matrix: Matrix,
    writer: Mutex<()>,
    /// Number of the newest transaction; negative before the first.
    newest_txn: AtomicI64,
    /// When a jump forward last called for a catch-up, milliseconds since 1970.
    hinted_at: AtomicI64,
    /// When a late transaction last came, milliseconds since 1970.
    late_at: AtomicI64,
    /// Wakes the catch-up.
    nudge: Notify,
    holding: watch::Sender<bool>,
    /// Counts every time the standing watch goes up or breaks, and every doubt about the order.
    epoch: AtomicU64,
    watching: AtomicBool,
    tasks: TaskTracker,
    /// Signals on their way up; dropped when nobody keeps up.
    told: mpsc::Sender<Told>,
    heard: std::sync::Mutex<Option<mpsc::Receiver<Told>>>,
}

impl Intake {
    /// An intake that holds the lanes into WhatsApp until its first catch-up is stored; see [`Intake::run`].
    pub fn new(matrix: Matrix) -> Self {
        let (told, heard) = mpsc::channel(signals::SIGNALS);
        Self {
            shared: Arc::new(Shared {
                matrix,
                writer: Mutex::new(()),
                newest_txn: AtomicI64::new(-1),
                hinted_at: AtomicI64::new(0),
                late_at: AtomicI64::new(0),
                nudge: Notify::new(),
                holding: watch::Sender::new(true),
                epoch: AtomicU64::new(0),
                watching: AtomicBool::new(false),
                tasks: TaskTracker::new(),
                told,
                heard: std::sync::Mutex::new(Some(heard)),
            }),
        }
    }

    /// The homeserver it takes from.
    pub fn matrix(&self) -> &Matrix {
        &self.shared.matrix
    }

    /// True while lanes into WhatsApp (`Lane::from_person`) must not begin another row: the connection to the
    /// homeserver broke, newer events may have come before older ones, and only after one catch-up the lanes
    /// stand in the rooms' order.
    pub fn holding(&self) -> watch::Receiver<bool> {
        self.shared.holding.subscribe()
    }

    /// Waits for transactions in hand; for an orderly stop, after the listener is closed.
    pub async fn finish(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// The right to write arrivals; held for one database transaction.
    pub(super) async fn writer(&self) -> MutexGuard<'_, ()> {
        self.shared.writer.lock().await
    }

    pub(super) fn heard(&self) -> &std::sync::Mutex<Option<mpsc::Receiver<Told>>> {
        &self.shared.heard
    }

    fn tell(&self, signals: Vec<Told>) {
        for signal in signals {
            if self.shared.told.try_send(signal).is_err() {
                tracing::debug!("a signal of the homeserver was dropped: too many at once");
            }
        }
    }

    pub(super) fn nudge(&self) {
        self.shared.nudge.notify_one();
    }

    pub(super) async fn nudged(&self) {
        self.shared.nudge.notified().await;
    }

    /// Notes that the standing watch is up; a catch-up that begins from now on may let the lanes go.
    pub(super) fn watch_is_up(&self) {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.shared.watching.store(true, Ordering::SeqCst);
        self.nudge();
    }

    /// Notes that the standing watch broke: holds the lanes before anything newer can come.
    pub(super) fn watch_broke(&self) {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.shared.watching.store(false, Ordering::SeqCst);
        if !self.shared.holding.send_replace(true) {
            tracing::warn!("the connection to the homeserver broke: messages for WhatsApp wait for a catch-up");
        }
    }

    /// A number that changes whenever the watch goes up or breaks; for [`Intake::release`].
    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::SeqCst)
    }

    /// Lets the lanes go after a catch-up that began at `epoch`, unless the watch is down or broke meanwhile.
    pub(super) fn release(&self, epoch: u64) {
        let stands = || self.shared.watching.load(Ordering::SeqCst) && self.epoch() == epoch;
        if stands() {
            let held = self.shared.holding.send_replace(false);
            // A break between the look and the release must not be lost.
            if !stands() {
                self.shared.holding.send_replace(true);
            } else if held {
                tracing::info!("caught up with the homeserver: messages for WhatsApp go on");
            }
        }
    }

    /// Looks at a transaction before it is stored. Synapse 1.163 can forget a transaction at the end of a recovery
    /// (the recoverer finds nothing left while one more is being kept) and deliver newer ones before it. So for a
    /// moment after late transactions, a fresh one whose number jumps waits for a catch-up.
    fn doubt_order(&self, txn: &str, age: i64) {
        let now = self.matrix().store().clock().now_ms();
        if age >= LATE_MS {
            self.shared.late_at.store(now, Ordering::SeqCst);
            return;
        }
        let before = self.shared.newest_txn.load(Ordering::SeqCst);
        let jumps = txn.parse::<i64>().is_ok_and(|number| before >= 0 && number > before + 1);
        if jumps && now - self.shared.late_at.load(Ordering::SeqCst) < RECOVERING_MS {
            tracing::debug!("a transaction jumps behind late ones: messages for WhatsApp wait for a catch-up");
            self.shared.epoch.fetch_add(1, Ordering::SeqCst);
            self.shared.holding.send_replace(true);
            self.nudge();
        }
    }

    /// Looks at a transaction's number. A step back is a repeat from long ago or a new homeserver. A jump forward may
    /// mean a loss, but Synapse 1.163 counts all its application services with one counter (seen: our own second
    /// registration doubles every step), so it is a hint that is followed only now and then.
    fn note_number(&self, txn: &str) {
        let Ok(number) = txn.parse::<i64>() else { return };
        let before = self.shared.newest_txn.swap(number, Ordering::SeqCst);
        if before < 0 || number == before || number == before + 1 {
            return;
        }
        let now = self.matrix().store().clock().now_ms();
        let hinted = self.shared.hinted_at.load(Ordering::SeqCst);
        if number < before || now - hinted >= HINT_EVERY_MS {
            tracing::debug!(before, number, "transaction numbers jump: catching up");
            self.shared.hinted_at.store(now, Ordering::SeqCst);
            self.nudge();
        }
    }
}

/// The endpoints the homeserver calls, all behind its token. Has a fallback of its own (404 `M_UNRECOGNIZED`), so
/// merge other routers into this one, not it into one with another fallback.
pub fn appservice_router(intake: Intake) -> Router {
    Router::new()
        .route("/_matrix/app/v1/transactions/{txn}", put(take_transaction))
        .route("/_matrix/app/v1/ping", post(|| async { Json(json!({})) }))
        .route("/_matrix/app/v1/users/{user}", get(answer_user))
        .route("/_matrix/app/v1/rooms/{alias}", get(answer_room))
        .route_layer(from_fn_with_state(intake.clone(), check_token))
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "wrong method")
        })
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "there is no such endpoint") })
        .with_state(intake)
}

/// Lets only the homeserver in: its token in the `Authorization` header; a token in the query is not looked at.
async fn check_token(State(intake): State<Intake>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given = header.and_then(|value| {
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    match given {
        None => refuse(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "the Authorization header holds no bearer token"),
        Some(token) if bool::from(token.ct_eq(intake.matrix().settings().hs_token.as_bytes())) => {
            next.run(request).await
        }
        Some(_) => refuse(StatusCode::FORBIDDEN, "M_FORBIDDEN", "this is not the hs_token of the registration"),
    }
}

async fn take_transaction(State(intake): State<Intake>, Path(txn): Path<String>, request: Request) -> Response {
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    // A task of its own: a caller that hangs up must not cut between the commit and the bell.
    let work = intake.shared.tasks.spawn({
        let intake = intake.clone();
        async move {
            let reader = intake.clone();
            let read = if body.len() > BIG_BODY {
                match tokio::task::spawn_blocking(move || reader.read_transaction(&body)).await {
                    Ok(read) => read,
                    Err(_) => return broken(),
                }
            } else {
                reader.read_transaction(&body)
            };
            let mut transaction = match read {
                Ok(transaction) => transaction,
                Err(BadBody::NotJson) => return refuse(StatusCode::BAD_REQUEST, "M_NOT_JSON", "the body is not JSON"),
                Err(BadBody::BadJson) => {
                    return refuse(StatusCode::BAD_REQUEST, "M_BAD_JSON", "the body is no transaction");
                }
            };
            intake.doubt_order(&txn, transaction.age);
            let signals = std::mem::take(&mut transaction.signals);
            match intake.store_transaction(&txn, transaction).await {
                Ok(()) => {
                    intake.tell(signals);
                    intake.note_number(&txn);
                    Json(json!({})).into_response()
                }
                Err(error) => {
                    tracing::error!(%error, "a transaction could not be stored; the homeserver keeps it");
                    refuse(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "the bridge's database does not answer")
                }
            }
        }
    });
    work.await.unwrap_or_else(|_| broken())
}

/// The whole body, up to [`LARGEST_BODY`].
async fn read_body(request: Request) -> Result<Bytes, Response> {
    let too_large = || refuse(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", "a transaction has at most 64 MiB");
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > LARGEST_BODY) {
        return Err(too_large());
    }
    let mut body: Body = request.into_body();
    let mut whole = BytesMut::with_capacity(length.unwrap_or(0));
    let mut parts = std::mem::take(&mut body).into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| refuse(StatusCode::BAD_REQUEST, "M_NOT_JSON", "the body broke off"))?;
        if whole.len() + part.len() > LARGEST_BODY {
            return Err(too_large());
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// Whether a user exists: the bot, and ghosts of people the bridge knows; their account is made on the way.
async fn answer_user(State(intake): State<Intake>, Path(user): Path<String>) -> Response {
    let unknown = || refuse(StatusCode::NOT_FOUND, "M_NOT_FOUND", "the bridge knows nobody of that name");
    let matrix = intake.matrix();
    let Ok(user) = UserId::parse(&user) else { return unknown() };
    if !matrix.is_ours(&user) || user.as_str().contains('\0') {
        return unknown();
    }
    let known = user == matrix.bot() || {
        match matrix.store().ghost_is_known(matrix.ghost_tail(&user).unwrap_or_default()).await {
            Ok(known) => known,
            Err(_) => return broken(),
        }
    };
    if !known {
        return unknown();
    }
    match matrix.ensure_user(&user).await {
        Ok(()) => Json(json!({})).into_response(),
        Err(MatrixError::Forbidden { .. }) => unknown(),
        Err(error) => {
            tracing::warn!(%error, "an account asked for by the homeserver could not be made");
            broken()
        }
    }
}

/// Whether a room alias exists: those of rooms the bridge has made.
async fn answer_room(State(intake): State<Intake>, Path(alias): Path<String>) -> Response {
    let localpart = alias.strip_prefix('#').and_then(|rest| rest.split_once(':')).map(|(localpart, _)| localpart);
    let known = match localpart.and_then(|localpart| intake.matrix().alias_tail(localpart)) {
        Some(tail) if !tail.contains('\0') => intake.matrix().store().alias_is_known(tail).await,
        _ => Ok(false),
    };
    match known {
        Ok(true) => Json(json!({})).into_response(),
        Ok(false) => refuse(StatusCode::NOT_FOUND, "M_NOT_FOUND", "the bridge has no room of that name"),
        Err(_) => broken(),
    }
}

/// A Matrix error answer.
fn refuse(status: StatusCode, errcode: &str, error: &str) -> Response {
    (status, Json(json!({ "errcode": errcode, "error": error }))).into_response()
}

fn broken() -> Response {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "the bridge could not answer")
}

#[cfg(test)]
mod tests;
