//! A person's own account data, read as themselves: no homeserver pushes it to application services.
//!
//! One standing request per person, which names only what the bridge looks at; nothing of it is stored here.

use super::Matrix;
use super::client::Who;
use super::error::Result;
use ruma::UserId;
use ruma::api::client::filter::{Filter, FilterDefinition, RoomEventFilter};
use ruma::api::client::sync::sync_events::v3 as sync;
use ruma::presence::PresenceState;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How much longer than asked the homeserver may take.
const SLACK: Duration = Duration::from_secs(30);
/// What is looked at in rooms; the second is MSC2867 before it was stable.
const OF_ROOMS: [&str; 4] = ["m.tag", "m.marked_unread", "com.famedly.marked_unread", "m.fully_read"];

/// What has changed in somebody's account data.
#[derive(Debug, Default, PartialEq)]
pub struct OwnNews {
    /// From where to go on.
    pub next: String,
    /// What changed of rooms: room, kind, content.
    pub rooms: Vec<(String, String, Value)>,
    /// All push rules, when one of them changed.
    pub push_rules: Option<Value>,
}

impl Matrix {
    /// Waits at most `wait` for news of a person's account data behind a place; without one the present is told.
    ///
    /// # Errors
    /// When the homeserver is not there, refuses the token, or does not know the place
    /// ([`MatrixError::Refused`](super::error::MatrixError::Refused), status 400).
    pub async fn own_news(&self, user: &UserId, since: Option<&str>, wait: Duration) -> Result<OwnNews> {
        let mut filter = FilterDefinition::empty();
        filter.presence = Filter::ignore_all();
        filter.account_data.types = Some(vec!["m.push_rules".into()]);
        filter.room.account_data.types = Some(OF_ROOMS.iter().map(|kind| (*kind).to_owned()).collect());
        filter.room.state = RoomEventFilter::ignore_all();
        filter.room.timeline = RoomEventFilter::ignore_all();
        filter.room.ephemeral = RoomEventFilter::ignore_all();
        let mut request = sync::Request::new();
        request.filter = Some(filter.into());
        request.since = since.map(str::to_owned);
        request.set_presence = PresenceState::Offline;
        request.timeout = Some(since.map_or(Duration::ZERO, |_| wait));
        let answer = self.ask_slowly(Who::User(user), wait + SLACK, request).await?;
        let mut news = OwnNews { next: answer.next_batch, ..OwnNews::default() };
        for (room, joined) in answer.rooms.join {
            for raw in joined.account_data.events {
                if let Some((kind, content)) = read(raw.json().get()) {
                    news.rooms.push((room.to_string(), kind, content));
                }
            }
        }
        for raw in answer.account_data.events {
            if let Some((kind, content)) = read(raw.json().get())
                && kind == "m.push_rules"
            {
                news.push_rules = Some(content);
            }
        }
        Ok(news)
    }
}

impl Matrix {
    /// The rooms a person's push rules silence at this moment.
    ///
    /// # Errors
    /// When the homeserver is not there or refuses the token.
    pub async fn muted_by(&self, user: &UserId) -> Result<BTreeSet<String>> {
        Ok(muted_rooms(&self.ask_json(Who::User(user), http::Method::GET, &["pushrules", ""], None).await?))
    }
}

impl Matrix {
    /// Whether a person has put a tag on a room. (Synapse keeps tags apart from other account data.)
    ///
    /// # Errors
    /// When the homeserver is not there or refuses the token.
    pub async fn has_tag(&self, user: &UserId, room: &ruma::RoomId, tag: &str) -> Result<bool> {
        let path = ["user", user.as_str(), "rooms", room.as_str(), "tags"];
        let answer = self.ask_json(Who::User(user), http::Method::GET, &path, None).await?;
        Ok(answer["tags"].get(tag).is_some())
    }
}

fn read(raw: &str) -> Option<(String, Value)> {
    let mut event: Value = serde_json::from_str(raw).ok()?;
    let kind = event["type"].as_str()?.to_owned();
    Some((kind, event["content"].take()))
}

/// The rooms these push rules silence: by a rule of the room without a notification, or by an override that names the room
/// and does the same, as clients make them.
pub fn muted_rooms(rules: &Value) -> BTreeSet<String> {
    let rules_of = |kind: &str| rules["global"][kind].as_array().cloned().unwrap_or_default();
    let is_silent = |rule: &Value| {
        rule["enabled"].as_bool() != Some(false)
            && rule["actions"].as_array().is_some_and(|actions| actions.iter().all(|action| action != "notify"))
    };
    let of_room = rules_of("room").into_iter().filter(is_silent);
    let of_room = of_room.filter_map(|rule| rule["rule_id"].as_str().map(str::to_owned));
    let overriding = rules_of("override").into_iter().filter(is_silent).filter_map(|rule| {
        let conditions = rule["conditions"].as_array()?;
        let [condition] = conditions.as_slice() else { return None };
        let names_room = condition["kind"] == "event_match" && condition["key"] == "room_id";
        condition["pattern"].as_str().filter(|_| names_room).map(str::to_owned)
    });
    of_room.chain(overriding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_room_is_muted_by_its_rule_or_by_an_override_that_names_it() {
        let matches = |key: &str, pattern: &str| json!([{ "kind": "event_match", "key": key, "pattern": pattern }]);
        let rules = json!({ "global": {
            "room": [
                { "rule_id": "!quiet:b", "enabled": true, "actions": [] },
                { "rule_id": "!old:b", "enabled": true, "actions": ["dont_notify"] },
                { "rule_id": "!loud:b", "enabled": true, "actions": ["notify"] },
                { "rule_id": "!off:b", "enabled": false, "actions": [] },
            ],
            "override": [
                { "rule_id": "!mute:b", "enabled": true, "actions": [], "conditions": matches("room_id", "!mute:b") },
                { "rule_id": ".m.rule.master", "enabled": false, "actions": [], "conditions": [] },
                { "rule_id": "word", "enabled": true, "actions": [], "conditions": matches("content.body", "!x:b") },
            ],
        } });
        let wanted = ["!mute:b", "!old:b", "!quiet:b"].map(str::to_owned);
        assert_eq!(muted_rooms(&rules), BTreeSet::from(wanted));
        assert!(muted_rooms(&Value::Null).is_empty());
    }
}
