//! The sync loop of a person: long polls, fills gaps, accepts invites, and tells who waits.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Event, Receipt, V3};
use crate::client::Client;

/// What a person's client has been given.
#[derive(Default)]
pub(super) struct Seen {
    state: Mutex<State>,
    changed: Notify,
}

/// The inside of [`Seen`].
#[derive(Default)]
pub(super) struct State {
    /// All events in the order they came.
    pub(super) events: Vec<Event>,
    /// All receipts in the order they came.
    pub(super) receipts: Vec<Receipt>,
    /// Who types in which room, as it changed.
    pub(super) typing: Vec<(String, Vec<String>)>,
    known: HashSet<String>,
    joined: BTreeSet<String>,
    trouble: Option<String>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.lock().events.iter().filter(|event| wanted(event)).cloned().collect()
    }

    pub(super) fn rooms(&self) -> Vec<String> {
        self.lock().joined.iter().cloned().collect()
    }

    pub(super) fn typing(&self, room: &str) -> Vec<Vec<String>> {
        self.lock().typing.iter().filter(|(other, _)| other == room).map(|(_, users)| users.clone()).collect()
    }

    pub(super) fn trouble(&self) -> String {
        self.lock().trouble.clone().unwrap_or_else(|| "no trouble".to_owned())
    }

    /// Waits until `look` finds something; `None` after `limit`.
    pub(super) async fn wait<T>(&self, limit: Duration, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let found = async {
            loop {
                // Interest first, then the look: what comes in between wakes us.
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = look(&self.lock()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, found).await.ok()
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }
}

/// Syncs until aborted. While the homeserver is away it tries again, as clients do.
pub(super) async fn run(client: Client, me: String, seen: Arc<Seen>) {
    let mut since: Option<String> = None;
    loop {
        match sync(&client, &me, &seen, since.as_deref()).await {
            Ok(next) => since = Some(next),
            Err(error) => {
                seen.tell(|state| state.trouble = Some(format!("{error:#}")));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn sync(client: &Client, me: &str, seen: &Seen, since: Option<&str>) -> Result<String> {
    let filter = json!({"presence": {"types": []}, "room": {"timeline": {"limit": 500}}}).to_string();
    let mut query = vec![("filter", filter.as_str()), ("set_presence", "offline"), ("timeout", "30000")];
    if let Some(since) = since {
        query.push(("since", since));
    }
    let answer = client.call(Method::GET, &[&V3[..], &["sync"]].concat(), &query, None).await?;
    for (room, update) in members_of(&answer["rooms"]["join"]) {
        take_room(client, seen, room, update).await?;
    }
    for (room, update) in members_of(&answer["rooms"]["leave"]) {
        let events = read_timeline(room, update);
        seen.tell(|state| {
            state.joined.remove(room.as_str());
            add(state, events);
        });
    }
    for (room, update) in members_of(&answer["rooms"]["invite"]) {
        accept(client, me, room, update).await;
    }
    Ok(answer["next_batch"].as_str().context("no next_batch")?.to_owned())
}

fn members_of(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

async fn take_room(client: &Client, seen: &Seen, room: &str, update: &Value) -> Result<()> {
    let timeline = &update["timeline"];
    let mut events = Vec::new();
    if timeline["limited"] == true
        && let Some(from) = timeline["prev_batch"].as_str()
    {
        events = fill_gap(client, seen, room, from).await?;
    }
    events.extend(read_timeline(room, update));
    let receipts = read_receipts(room, update);
    let typing = read_typing(room, update);
    seen.tell(|state| {
        state.joined.insert(room.to_owned());
        add(state, events);
        state.receipts.extend(receipts);
        state.typing.extend(typing);
        state.trouble = None;
    });
    Ok(())
}

fn add(state: &mut State, events: Vec<Event>) {
    for event in events {
        if state.known.insert(event.id.clone()) {
            state.events.push(event);
        }
    }
}

fn read_timeline(room: &str, update: &Value) -> Vec<Event> {
    let events = update["timeline"]["events"].as_array();
    events.into_iter().flatten().map(|raw| Event::read(room, raw)).collect()
}

/// Reads back from `from` to the first event known, or to the room's beginning; returns oldest first.
async fn fill_gap(client: &Client, seen: &Seen, room: &str, from: &str) -> Result<Vec<Event>> {
    let path = [&V3[..], &["rooms", room, "messages"]].concat();
    let mut from = from.to_owned();
    let mut missing = Vec::new();
    loop {
        let query = [("dir", "b"), ("limit", "500"), ("from", from.as_str())];
        let page = client.call(Method::GET, &path, &query, None).await?;
        let chunk = page["chunk"].as_array().context("no chunk")?;
        for raw in chunk {
            let event = Event::read(room, raw);
            if seen.lock().known.contains(&event.id) {
                missing.reverse();
                return Ok(missing);
            }
            missing.push(event);
        }
        match page["end"].as_str() {
            Some(end) if !chunk.is_empty() => from = end.to_owned(),
            _ => {
                missing.reverse();
                return Ok(missing);
            }
        }
    }
}

fn read_receipts(room: &str, update: &Value) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for ephemeral in update["ephemeral"]["events"].as_array().into_iter().flatten() {
        if ephemeral["type"] != "m.receipt" {
            continue;
        }
        for (event, kinds) in members_of(&ephemeral["content"]) {
            for (kind, users) in members_of(kinds) {
                for (user, _) in members_of(users) {
                    let (room, event, user) = (room.to_owned(), event.clone(), user.clone());
                    receipts.push(Receipt { room, event, user, kind: kind.clone() });
                }
            }
        }
    }
    receipts
}

fn read_typing(room: &str, update: &Value) -> Vec<(String, Vec<String>)> {
    let told =
        update["ephemeral"]["events"].as_array().into_iter().flatten().filter(|event| event["type"] == "m.typing");
    let users = |event: &Value| {
        let users = event["content"]["user_ids"].as_array().into_iter().flatten();
        users.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    told.map(|event| (room.to_owned(), users(event))).collect()
}

/// Joins the room of an invite; a failure is met again with the next sync, since the invite stays.
async fn accept(client: &Client, me: &str, room: &str, update: &Value) {
    let invited = update["invite_state"]["events"].as_array().is_some_and(|events| {
        events.iter().any(|event| event["state_key"] == me && event["content"]["membership"] == "invite")
    });
    let path = [&V3[..], &["join", room]].concat();
    if let Err(error) = client.post(&path, &json!({})).await {
        tracing::info!("{me} could not join {room} (invited: {invited}): {error:#}");
    }
}
