//! A homeserver that costs nothing: it answers what the bridge asks, remembers little, checks nothing.
//!
//! For measuring only. It never stands in for a homeserver in a test: what the bridge promises is shown on a real one.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use super::server::Said;
use crate::synapse::SERVER_NAME;
use crate::{client, qr, wait};

/// As many events as Synapse puts into one transaction.
const TRANSACTION: usize = 100;

/// The stand-in. Clones are the same one.
#[derive(Clone)]
pub struct StandIn {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    count: AtomicU64,
    events: mpsc::UnboundedSender<Value>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Value>>>,
}

#[derive(Default)]
struct State {
    aliases: HashMap<String, String>,
    /// Event ids by transaction id.
    sent: HashMap<String, String>,
    /// Texts by their body.
    said: HashMap<String, Said>,
    /// Everything that is no text: room and newest content.
    notices: Vec<(String, Value)>,
    media: HashMap<String, Bytes>,
    /// How often each kind of request came.
    requests: BTreeMap<String, u64>,
}

impl StandIn {
    /// Starts on a port the kernel chooses.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (events, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            count: AtomicU64::new(0),
            events,
            waiting: Mutex::new(Some(waiting)),
        });
        let router =
            Router::new().fallback(answer).layer(DefaultBodyLimit::max(64 << 20)).with_state(Arc::clone(&shared));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the stand-in homeserver ended: {error}");
            }
        });
        Ok(Self { shared, address })
    }

    /// Returns its address, for `homeserver.address`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how often each kind of request came.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.shared.lock().requests.clone()
    }

    /// Begins to push transactions to the bridge at `url`; once.
    ///
    /// # Errors
    /// It pushes already.
    pub fn attach(&self, url: &str, hs_token: &str) -> Result<()> {
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::spawn(push(waiting.context("attached twice")?, url.to_owned(), hs_token.to_owned()));
        Ok(())
    }

    /// Somebody says a text in a room: it goes to the bridge with the next transaction.
    pub fn say(&self, sender: &str, room: &str, text: &str) {
        self.push(json!({"type": "m.room.message", "room_id": room, "sender": sender,
            "content": {"msgtype": "m.text", "body": text, "m.mentions": {}}}));
    }

    fn push(&self, mut event: Value) {
        event["event_id"] = format!("${}", self.shared.next()).into();
        event["origin_server_ts"] = now_ms().into();
        event["unsigned"] = json!({"age": 1});
        // The receiver lives as long as this process.
        if self.shared.events.send(event).is_err() {
            eprintln!("the stand-in does not push any more");
        }
    }

    /// Waits until a ghost has said this text.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub async fn wait_said(&self, text: &str, limit: Duration) -> Result<Said> {
        self.wait(&format!("{text:?} at the stand-in"), limit, |state| state.said.get(text).cloned()).await
    }

    /// Links an account as `person`: a management room, a QR picture, a scan.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn log_in<Scan, Scanned>(&self, person: &str, bot: &str, scan: Scan) -> Result<()>
    where
        Scan: Fn(String) -> Scanned,
        Scanned: Future<Output = Result<()>>,
    {
        let room = self.shared.next_room();
        self.push(json!({"type": "m.room.member", "room_id": room, "sender": person, "state_key": bot,
            "content": {"membership": "invite"}}));
        self.wait_notice(&room, "a greeting", |content| content["msgtype"] == "m.notice").await?;
        self.say(person, &room, "login qr");
        let mut tried = String::new();
        loop {
            let shown = self
                .wait_notice(&room, "a QR picture", |content| {
                    content["msgtype"] == "m.image" && content["url"].as_str() != Some(&tried)
                })
                .await?;
            tried = shown["url"].as_str().context("the picture has no url")?.to_owned();
            let picture = self.shared.lock().media.get(&tried).cloned().context("no such media")?;
            match scan(qr::read(&picture)?).await {
                Ok(()) => break,
                Err(error) => eprintln!("a code could not be scanned, trying the next: {error:#}"),
            }
        }
        let done =
            |content: &Value| content["body"].as_str().is_some_and(|body| body.to_lowercase().contains("logged in"));
        self.wait_notice(&room, "the word that the login succeeded", done).await.map(drop)
    }

    /// The newest notice first: an edited picture counts, the one before it does not.
    async fn wait_notice(&self, room: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait(what, wait::STEP, |state| {
            let mut here = state.notices.iter().rev().filter(|(where_, _)| where_ == room);
            here.find(|(_, content)| wanted(content)).map(|(_, content)| content.clone())
        })
        .await
    }

    async fn wait<T>(&self, what: &str, limit: Duration, look: impl Fn(&State) -> Option<T>) -> Result<T> {
        let found = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = look(&self.shared.lock()) {
                    return found;
                }
                changed.await;
            }
        };
        let found = tokio::time::timeout(limit, found).await;
        found.with_context(|| format!("waited {} s in vain: {what}", limit.as_secs()))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    fn next_room(&self) -> String {
        format!("!stand{}:{SERVER_NAME}", self.next())
    }
}

/// Pushes what waits, one transaction at a time, each until it is taken: as Synapse does.
async fn push(mut waiting: mpsc::UnboundedReceiver<Value>, url: String, hs_token: String) {
    let http = client::http();
    let mut events = Vec::new();
    let mut number = 0_u64;
    while waiting.recv_many(&mut events, TRANSACTION).await > 0 {
        number += 1;
        let body = json!({ "events": events }).to_string();
        loop {
            let request = http.put(format!("{url}/_matrix/app/v1/transactions/{number}")).bearer_auth(&hs_token);
            let request = request.header("content-type", "application/json").body(body.clone());
            match request.send().await {
                Ok(answer) if answer.status().is_success() => break,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        events.clear();
    }
}

async fn answer(Extract(shared): Extract<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let at = Instant::now();
    let path: Vec<String> = uri.path().split('/').skip(2).map(decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    *shared.lock().requests.entry(kind_of(&method, &path)).or_default() += 1;
    let found = match (method.as_str(), &path[..]) {
        ("GET", ["client", "versions"]) => json!({"versions": ["v1.11"]}),
        ("POST", ["client", _, "register"]) => {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            json!({"user_id": format!("@{}:{SERVER_NAME}", asked["username"].as_str().unwrap_or_default())})
        }
        ("GET", ["client", _, "devices", device]) => json!({ "device_id": device }),
        ("POST", ["client", _, "createRoom"]) => return create_room(&shared, &body),
        ("GET", ["client", _, "directory", "room", alias]) => match shared.lock().aliases.get(*alias) {
            Some(room) => json!({"room_id": room, "servers": [SERVER_NAME]}),
            None => return refuse("M_NOT_FOUND"),
        },
        ("POST", ["client", _, "join", room] | ["client", _, "rooms", room, "join"]) => json!({ "room_id": room }),
        ("PUT", ["client", _, "rooms", room, "send", _, txn]) => {
            let sender = query(&uri, "user_id").unwrap_or_default();
            json!({"event_id": take_send(&shared, (room, txn, sender), &body, at)})
        }
        ("PUT", ["client", _, "rooms", _, "redact" | "state", ..]) => {
            json!({"event_id": format!("${}", shared.next())})
        }
        ("GET", ["client", _, "rooms", _, "joined_members"]) => json!({"joined": {}}),
        ("GET", ["client", _, "rooms", _, "messages"]) => json!({"start": "s", "chunk": []}),
        ("GET", ["client", _, "account", "whoami"]) => json!({"user_id": format!("@bot:{SERVER_NAME}")}),
        ("GET", ["client", _, "sync"]) => {
            let wait = query(&uri, "timeout").and_then(|text| text.parse().ok()).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            json!({"next_batch": "s"})
        }
        ("POST", ["client", _, "appservice", _, "ping"]) => json!({"duration_ms": 1}),
        ("GET", ["client", _, "media", "config"] | ["media", _, "config"]) => json!({"m.upload.size": 100 << 20}),
        ("POST", ["media", _, "create"]) => json!({"content_uri": format!("mxc://{SERVER_NAME}/m{}", shared.next())}),
        ("PUT", ["media", _, "upload", server, id]) => {
            shared.lock().media.insert(format!("mxc://{server}/{id}"), body);
            json!({})
        }
        ("PUT", ["client", _, "devices" | "profile", ..]) | ("POST", ["client", _, "rooms", ..]) => json!({}),
        ("GET", ["client", _, "rooms", _, "state", ..]) => return refuse("M_NOT_FOUND"),
        _ => {
            eprintln!("the stand-in has no {method} {}", uri.path());
            return refuse("M_UNRECOGNIZED");
        }
    };
    axum::Json(found).into_response()
}

/// The method and what is asked for, without names.
fn kind_of(method: &Method, path: &[&str]) -> String {
    match path {
        ["client", _, "rooms", _, what @ ("state" | "send"), kind, ..] => format!("{method} {what} {kind}"),
        ["client", _, "rooms", _, what, ..] | ["client" | "media", _, what, ..] => format!("{method} {what}"),
        _ => format!("{method} {}", path.join("/")),
    }
}

fn refuse(errcode: &str) -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({"errcode": errcode, "error": "the stand-in has no such thing"})))
        .into_response()
}

fn create_room(shared: &Shared, body: &[u8]) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let room = shared.next_room();
    if let Some(alias) = asked["room_alias_name"].as_str() {
        let alias = format!("#{alias}:{SERVER_NAME}");
        let mut state = shared.lock();
        if state.aliases.contains_key(&alias) {
            let taken = json!({"errcode": "M_ROOM_IN_USE", "error": "taken"});
            return (StatusCode::BAD_REQUEST, axum::Json(taken)).into_response();
        }
        state.aliases.insert(alias, room.clone());
    }
    axum::Json(json!({ "room_id": room })).into_response()
}

/// Notes what was sent; the same transaction id again is the same event.
fn take_send(shared: &Shared, (room, txn, sender): (&str, &str, String), body: &[u8], at: Instant) -> String {
    let mut content: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(new) = content.get_mut("m.new_content") {
        content = new.take();
    }
    let mut state = shared.lock();
    let fresh = || format!("${}", shared.next());
    let event = state.sent.entry(txn.to_owned()).or_insert_with(fresh).clone();
    match content["body"].as_str() {
        Some(text) if content["msgtype"] == "m.text" => {
            let text = text.to_owned();
            state.said.entry(text).or_insert(Said { at, room: room.to_owned(), sender });
        }
        _ => state.notices.push((room.to_owned(), content)),
    }
    drop(state);
    shared.changed.notify_waiters();
    event
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| decode(value))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, after.split_at_checked(2)) {
            (b'%', Some((digits, behind))) if hex(digits).is_some() => {
                bytes.extend(hex(digits));
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn encoded_paths_are_read() {
        assert_eq!(decode("%21a%3Atest.local"), "!a:test.local");
        assert_eq!(decode("100%"), "100%");
    }
}
