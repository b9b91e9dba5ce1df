//! Rooms: made under a fixed alias so that a half-made one is adopted, and who is in them.
//!
//! `createRoom` has no transaction id. The alias takes its place: when it is in use, the room behind it is ours
//! from an earlier try that was cut short, and everything the recipe asks for is set again (setting what is set
//! makes no event). Synapse takes the alias before it writes the room, so a kill of the homeserver can leave an
//! alias with no usable room behind it; that alias is given up and taken anew.

use super::Matrix;
use super::client::Who;
use super::error::{MatrixError, Result};
use crate::convert::group::{RoomRules, power_levels};
use ruma::api::client::alias::{delete_alias, get_alias};
use ruma::api::client::membership::{
    get_member_events, invite_user, join_room_by_id, joined_members, kick_user, leave_room, unban_user,
};
use ruma::api::client::room::create_room;
use ruma::events::room::member::MembershipState;
use ruma::serde::Raw;
use ruma::{OwnedMxcUri, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, RoomVersionId, UserId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The version of every room the bridge makes; see `docs/decisions/matrix-room-version.md`.
pub const ROOM_VERSION: RoomVersionId = RoomVersionId::V11;

/// State only the bridge may set, whatever the homeserver's defaults are. The list has to be complete: an
/// override replaces the default map, and what is missing falls to `state_default`.
const PROTECTED: [&str; 14] = [
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.power_levels",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.tombstone",
    "m.room.server_acl",
    "m.bridge",
    "uk.half-shot.bridge",
    "io.element.functional_members",
];

/// State that everybody in a room may set: what WhatsApp lets everybody do too.
const SHARED: [&str; 4] =
    ["m.room.pinned_events", "m.beacon_info", "org.matrix.msc3672.beacon_info", "com.beeper.disappearing_timer"];

/// One piece of room state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEvent {
    /// The event type.
    pub event_type: String,
    /// The state key; empty for most.
    pub state_key: String,
    /// The content.
    pub content: Value,
}

impl StateEvent {
    /// One piece of state.
    pub fn new(event_type: &str, state_key: &str, content: Value) -> Self {
        Self { event_type: event_type.into(), state_key: state_key.into(), content }
    }
}

/// What a room shall be.
#[derive(Debug, Clone, Default)]
pub struct RoomRecipe {
    /// Localpart of the room's alias, the namespace's prefix included ([`Matrix::alias_localpart`]). Without
    /// one a repeat makes another room.
    pub alias_localpart: Option<String>,
    /// The room's name; without one clients show its members.
    pub name: Option<String>,
    /// The room's topic.
    pub topic: Option<String>,
    /// The room's picture.
    pub avatar: Option<OwnedMxcUri>,
    /// Whether the invitation says it is a direct chat.
    pub is_direct: bool,
    /// Who is invited by the bot.
    pub invite: Vec<OwnedUserId>,
    /// More state, such as [`Matrix::bridge_state`] and [`Matrix::functional_members`].
    pub state: Vec<StateEvent>,
    /// Whether it is a space: a room that holds rooms.
    pub is_space: bool,
    /// Power of others than the bot; at most 99, so that nobody outranks it.
    pub powers: Vec<(OwnedUserId, i64)>,
    /// What the room of a group asks of its people. In rooms without, everything but talking is the bot's alone, and who
    /// comes later sees what was said before.
    pub rules: Option<RoomRules>,
    /// How the room is joined; by invitation when not said.
    pub join_rule: Option<&'static str>,
    /// Who sees what was said before they came; with rules nobody, when not said.
    pub history: Option<&'static str>,
}

/// The chat a room mirrors, as its bridge state tells it.
#[derive(Debug, Clone)]
pub struct BridgedChat<'a> {
    /// An opaque key of the chat, the same for the life of the room.
    pub key: &'a str,
    /// WhatsApp's id of the chat, or the key again where that shall not be seen.
    pub channel_id: &'a str,
    /// The chat's name, where there is one.
    pub channel_name: Option<&'a str>,
}

impl Matrix {
    /// The two state events that say which chat a room mirrors (MSC2346, stable and unstable type).
    pub fn bridge_state(&self, chat: &BridgedChat<'_>) -> Vec<StateEvent> {
        let state_key = format!("{}://whatsapp/{}", self.settings().appservice_id, chat.key);
        let mut content = json!({
            "bridgebot": self.bot(),
            "creator": self.bot(),
            "protocol": { "id": "whatsapp", "displayname": "WhatsApp", "external_url": "https://www.whatsapp.com/" },
            "channel": { "id": chat.channel_id },
        });
        if let Some(name) = chat.channel_name {
            content["channel"]["displayname"] = name.into();
        }
        ["m.bridge", "uk.half-shot.bridge"].map(|kind| StateEvent::new(kind, &state_key, content.clone())).into()
    }

    /// The state event that keeps the bot out of a room's computed name and picture (MSC4171).
    pub fn functional_members(&self) -> StateEvent {
        StateEvent::new("io.element.functional_members", "", json!({ "service_members": [self.bot()] }))
    }

    /// Makes the room, or adopts the one an earlier try has made under the same alias.
    ///
    /// # Errors
    /// When the homeserver is not there or refuses; repeating is right.
    pub async fn create_room(&self, recipe: &RoomRecipe) -> Result<OwnedRoomId> {
        match self.ask(Who::User(self.bot()), self.creation(recipe)?).await {
            Ok(answer) => return Ok(answer.room_id),
            Err(MatrixError::AlreadyThere { .. }) => {}
            Err(error) => return Err(error),
        }
        let alias = self.alias_of(recipe)?;
        let behind = match self.ask(Who::User(self.bot()), get_alias::v3::Request::new(alias.clone())).await {
            Ok(answer) => Some(answer.room_id),
            Err(MatrixError::NotFound) => None,
            Err(error) => return Err(error),
        };
        if let Some(room) = behind {
            if self.made_by_us(&room).await? {
                self.complete(&room, recipe, &alias).await?;
                return Ok(room);
            }
            tracing::warn!(mx.room_id = %room, "a room of ours is not usable; its alias gets another one");
            match self.ask(Who::User(self.bot()), delete_alias::v3::Request::new(alias)).await {
                Ok(_) | Err(MatrixError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.ask(Who::User(self.bot()), self.creation(recipe)?).await?.room_id)
    }

    /// Makes a room for talking with the bot. It has no alias: a repeat makes another one.
    ///
    /// # Errors
    /// As [`Matrix::create_room`].
    pub async fn create_dm_room(&self, with: &UserId, name: Option<&str>) -> Result<OwnedRoomId> {
        self.create_room(&RoomRecipe {
            name: name.map(str::to_owned),
            is_direct: true,
            invite: vec![with.to_owned()],
            ..RoomRecipe::default()
        })
        .await
    }

    fn creation(&self, recipe: &RoomRecipe) -> Result<create_room::v3::Request> {
        let mut request = create_room::v3::Request::new();
        // Not trusted_private_chat: it would raise everybody invited to the bot's power.
        request.preset = Some(create_room::v3::RoomPreset::PrivateChat);
        request.room_version = Some(ROOM_VERSION);
        request.room_alias_name = recipe.alias_localpart.clone();
        request.name = recipe.name.clone();
        request.topic = recipe.topic.clone();
        request.is_direct = recipe.is_direct;
        request.invite = recipe.invite.clone();
        request.power_level_content_override = Some(raw(&self.powers(recipe))?);
        if recipe.is_space {
            request.creation_content = Some(raw(&json!({ "type": "m.space" }))?);
        }
        request.initial_state = recipe_state(recipe)
            .iter()
            .map(|state| {
                raw(&json!({ "type": state.event_type, "state_key": state.state_key, "content": state.content }))
            })
            .collect::<Result<_>>()?;
        Ok(request)
    }

    /// The room's powers: everything that shapes the room is the bot's alone, talking is everybody's.
    fn powers(&self, recipe: &RoomRecipe) -> Value {
        let mut users = serde_json::Map::new();
        for (user, power) in &recipe.powers {
            users.insert(user.to_string(), (*power).min(99).into());
        }
        // Version 11 refuses an override of `users` without the creator.
        users.insert(self.bot().to_string(), 100.into());
        let protected = PROTECTED.iter().map(|kind| (*kind, 100));
        let shared = SHARED.iter().map(|kind| (*kind, 0));
        let events: serde_json::Map<String, Value> =
            protected.chain(shared).map(|(kind, power)| (kind.to_owned(), power.into())).collect();
        let powers = json!({
            "users": users,
            "users_default": 0,
            "events": events,
            "events_default": 0,
            "state_default": 100,
            "invite": 100,
            "kick": 100,
            "ban": 100,
            "redact": 50,
        });
        match recipe.rules {
            Some(rules) => power_levels(&powers, rules, &users),
            None => powers,
        }
    }

    fn alias_of(&self, recipe: &RoomRecipe) -> Result<OwnedRoomAliasId> {
        let localpart = recipe.alias_localpart.as_deref().unwrap_or_default();
        RoomAliasId::parse(format!("#{localpart}:{}", self.settings().domain)).map_err(|_| MatrixError::Refused {
            status: 400,
            errcode: "M_INVALID_PARAM".into(),
            message: "the alias has no valid form".into(),
        })
    }

    /// Whether the bot made this room and is in it.
    async fn made_by_us(&self, room: &RoomId) -> Result<bool> {
        match self.find_state_sender(room, "m.room.create").await {
            Ok(sender) => Ok(sender.as_deref() == Some(self.bot().as_str())),
            Err(MatrixError::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets everything the recipe asks for on an adopted room: it may have been cut off anywhere.
    async fn complete(&self, room: &RoomId, recipe: &RoomRecipe, alias: &RoomAliasId) -> Result<()> {
        let mut state = vec![
            StateEvent::new("m.room.power_levels", "", self.powers(recipe)),
            StateEvent::new("m.room.canonical_alias", "", json!({ "alias": alias })),
        ];
        if let Some(name) = &recipe.name {
            state.push(StateEvent::new("m.room.name", "", json!({ "name": name })));
        }
        if let Some(topic) = &recipe.topic {
            state.push(StateEvent::new("m.room.topic", "", json!({ "topic": topic })));
        }
        state.extend(recipe_state(recipe));
        for event in state {
            // Homeservers add to some contents (a topic's rich form), so compare before setting.
            let now = self.get_state(room, &event.event_type, &event.state_key).await?;
            if !now.is_some_and(|now| holds(&now, &event.content)) {
                self.send_state(room, self.bot(), &event.event_type, &event.state_key, &event.content).await?;
            }
        }
        for user in &recipe.invite {
            self.invite_as(room, user, recipe.is_direct).await?;
        }
        Ok(())
    }

    /// The room an alias leads to; none when there is no such alias.
    ///
    /// # Errors
    /// When the homeserver is not there or refuses to look.
    pub async fn find_alias(&self, alias: &str) -> Result<Option<OwnedRoomId>> {
        let Ok(alias) = ruma::RoomAliasId::parse(alias) else { return Ok(None) };
        match self.ask(Who::User(self.bot()), get_alias::v3::Request::new(alias)).await {
            Ok(answer) => Ok(Some(answer.room_id)),
            Err(MatrixError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Invites a user as the bot. Somebody who is invited or in the room already is fine.
    ///
    /// # Errors
    /// When the homeserver is not there or refuses (banned).
    pub async fn invite(&self, room: &RoomId, user: &UserId) -> Result<()> {
        let recipient =
            invite_user::v3::InvitationRecipient::UserId(invite_user::v3::InviteUserId::new(user.to_owned()));
        match self.ask(Who::User(self.bot()), invite_user::v3::Request::new(room.to_owned(), recipient)).await {
            Ok(_) => Ok(()),
            // "Already in the room" is told apart from other refusals by the text alone; the state knows.
            Err(error @ MatrixError::Forbidden { .. }) => match self.membership(room, user).await?.as_deref() {
                Some("invite" | "join") => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Invites with the mark of a direct chat, which the plain request does not carry.
    async fn invite_as(&self, room: &RoomId, user: &UserId, is_direct: bool) -> Result<()> {
        if matches!(self.membership(room, user).await?.as_deref(), Some("invite" | "join")) {
            return Ok(());
        }
        if !is_direct {
            return self.invite(room, user).await;
        }
        let content = json!({ "membership": "invite", "is_direct": true });
        self.send_state(room, self.bot(), "m.room.member", user.as_str(), &content).await.map(drop)
    }

    /// A user's membership of a room as the bot sees it: `join`, `invite`, `leave`, `ban`, `knock`; none when
    /// they were never there.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot is not in the room.
    pub async fn membership(&self, room: &RoomId, user: &UserId) -> Result<Option<String>> {
        let content = self.get_state(room, "m.room.member", user.as_str()).await?;
        Ok(content.and_then(|content| content.get("membership").and_then(Value::as_str).map(str::to_owned)))
    }

    /// Lets the bot or a ghost join; harmless to repeat.
    ///
    /// # Errors
    /// [`MatrixError::Forbidden`] when it is not invited.
    pub async fn join(&self, room: &RoomId, as_user: &UserId) -> Result<()> {
        self.ask(Who::User(as_user), join_room_by_id::v3::Request::new(room.to_owned())).await.map(drop)
    }

    /// Brings a ghost into a room: joins, and where that is refused, makes its account, invites it as the bot
    /// and joins. Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot may not invite.
    pub async fn ensure_joined(&self, room: &RoomId, ghost: &UserId) -> Result<()> {
        match self.join(room, ghost).await {
            Err(MatrixError::Forbidden { .. }) => {}
            done => return done,
        }
        self.ensure_user(ghost).await?;
        self.invite(room, ghost).await?;
        self.join(room, ghost).await
    }

    /// Brings a ghost into a room it was never asked into: invites it as the bot and joins. Where that is refused, as
    /// [`Matrix::ensure_joined`]. Harmless to repeat.
    ///
    /// # Errors
    /// As [`Matrix::ensure_joined`].
    pub async fn invite_and_join(&self, room: &RoomId, ghost: &UserId) -> Result<()> {
        let brought = async {
            self.invite(room, ghost).await?;
            self.join(room, ghost).await
        };
        match brought.await {
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => self.ensure_joined(room, ghost).await,
            done => done,
        }
    }

    /// Lets the bot or a ghost leave, or turn an invitation down. Not being there is fine.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn leave(&self, room: &RoomId, as_user: &UserId) -> Result<()> {
        match self.ask(Who::User(as_user), leave_room::v3::Request::new(room.to_owned())).await {
            Ok(_) | Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes somebody from a room as the bot, with words for them. Who is not there is fine.
    ///
    /// # Errors
    /// When the homeserver is not there, or they outrank the bot.
    pub async fn kick(&self, room: &RoomId, user: &UserId, reason: &str) -> Result<()> {
        let mut request = kick_user::v3::Request::new(room.to_owned(), user.to_owned());
        request.reason = Some(reason.to_owned());
        match self.ask(Who::User(self.bot()), request).await {
            Ok(_) => Ok(()),
            Err(error @ MatrixError::Forbidden { .. }) => match self.membership(room, user).await?.as_deref() {
                Some("invite" | "join" | "knock") => Err(error),
                _ => Ok(()),
            },
            Err(error) => Err(error),
        }
    }

    /// Lifts somebody's ban from a room as the bot. Who is not banned is fine.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn unban(&self, room: &RoomId, user: &UserId) -> Result<()> {
        let request = unban_user::v3::Request::new(room.to_owned(), user.to_owned());
        match self.ask(Who::User(self.bot()), request).await {
            Ok(_) | Err(MatrixError::Forbidden { .. } | MatrixError::Refused { status: 400, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who is joined to a room, as one of our users in it sees it.
    ///
    /// # Errors
    /// When the homeserver is not there or the user is not in the room.
    pub async fn joined_members_as(&self, room: &RoomId, user: &UserId) -> Result<BTreeSet<OwnedUserId>> {
        let request = joined_members::v3::Request::new(room.to_owned());
        Ok(self.ask(Who::User(user), request).await?.joined.into_keys().collect())
    }

    /// Who is joined to a room, as the bot sees it.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot is not in the room.
    pub async fn joined_members(&self, room: &RoomId) -> Result<BTreeSet<OwnedUserId>> {
        let request = joined_members::v3::Request::new(room.to_owned());
        Ok(self.ask(Who::User(self.bot()), request).await?.joined.into_keys().collect())
    }

    /// Who is invited to a room and has not come, as the bot sees it.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot is not in the room.
    pub async fn invited_members(&self, room: &RoomId) -> Result<BTreeSet<OwnedUserId>> {
        let mut request = get_member_events::v3::Request::new(room.to_owned());
        request.membership = Some(MembershipState::Invite);
        let answer = self.ask(Who::User(self.bot()), request).await?;
        Ok(answer.chunk.iter().filter_map(|event| event.get_field("state_key").ok().flatten()).collect())
    }

    /// What everybody joined to a room is called there, by user id; who has no name is called nothing.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot is not in the room.
    pub async fn names_in(&self, room: &RoomId) -> Result<BTreeMap<String, String>> {
        let request = joined_members::v3::Request::new(room.to_owned());
        let joined = self.ask(Who::User(self.bot()), request).await?.joined;
        Ok(joined
            .into_iter()
            .map(|(user, member)| (user.to_string(), member.display_name.unwrap_or_default()))
            .collect())
    }
}

/// State that both the creation and the completion of a room set.
fn recipe_state(recipe: &RoomRecipe) -> Vec<StateEvent> {
    // Nobody sees what was said in a group before they came.
    let history = recipe.history.unwrap_or(if recipe.rules.is_some() { "invited" } else { "shared" });
    let mut state = vec![
        StateEvent::new("m.room.guest_access", "", json!({ "guest_access": "forbidden" })),
        StateEvent::new("m.room.join_rules", "", json!({ "join_rule": recipe.join_rule.unwrap_or("invite") })),
        StateEvent::new("m.room.history_visibility", "", json!({ "history_visibility": history })),
    ];
    if let Some(avatar) = &recipe.avatar {
        state.push(StateEvent::new("m.room.avatar", "", json!({ "url": avatar })));
    }
    state.extend(recipe.state.iter().cloned());
    state
}

/// Whether `now` says everything that `wanted` says.
fn holds(now: &Value, wanted: &Value) -> bool {
    match (now, wanted) {
        (Value::Object(now), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| now.get(key).is_some_and(|now| holds(now, value)))
        }
        (now, wanted) => now == wanted,
    }
}

fn raw<T>(content: &Value) -> Result<Raw<T>> {
    serde_json::value::to_raw_value(content).map(Raw::from_json).map_err(|_| MatrixError::Refused {
        status: 400,
        errcode: "M_BAD_JSON".into(),
        message: "the content can not be written".into(),
    })
}

#[cfg(test)]
mod tests;
