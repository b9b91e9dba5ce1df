//! The shapes of the API's bodies: keys as mautrix's bridges have them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Why a request is not done: the Matrix specification's standard error response.
#[derive(Serialize, ToSchema)]
pub(super) struct Fault {
    /// For programs.
    errcode: String,
    /// For people: what happened and what to do.
    error: String,
    /// With `M_LIMIT_EXCEEDED`: when to come again.
    retry_after_ms: Option<u64>,
}

/// Nothing more to say.
#[derive(Serialize, ToSchema)]
pub(super) struct Empty {}

/// What the bridge bridges to.
#[derive(Serialize, ToSchema)]
pub(super) struct Network {
    pub(super) displayname: &'static str,
    pub(super) network_url: &'static str,
    /// Empty: the bridge has no picture of it.
    pub(super) network_icon: &'static str,
    pub(super) network_id: &'static str,
    pub(super) beeper_bridge_type: &'static str,
}

/// A way to log in.
#[derive(Serialize, ToSchema)]
pub(super) struct Flow {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// For `login/start`.
    pub(super) id: &'static str,
}

/// The ways to log in.
#[derive(Serialize, ToSchema)]
pub(super) struct Flows {
    pub(super) flows: Vec<Flow>,
}

/// Where a login stands.
#[derive(Serialize, ToSchema)]
pub(super) struct State {
    /// `CONNECTING`, `CONNECTED`, `TRANSIENT_DISCONNECT`, `UNKNOWN_ERROR`, `BAD_CREDENTIALS` or `LOGGED_OUT`.
    pub(super) state_event: &'static str,
    /// Seconds since 1970.
    pub(super) timestamp: i64,
    /// For programs; not there when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// For people; not there when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// Whose account it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Profile {
    /// The phone number.
    pub(super) phone: String,
    /// The name contacts see.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
}

/// A login of the caller's.
#[derive(Serialize, ToSchema)]
pub(super) struct Login {
    /// As `state.state_event`, for older managers.
    pub(super) state_event: &'static str,
    /// As `state.timestamp`.
    pub(super) state_ts: i64,
    pub(super) state: State,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) profile: Profile,
    /// The space of its chats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) space_room: Option<String>,
    /// How to link it again.
    pub(super) relogin_flow_ids: Vec<&'static str>,
}

/// The bridge, and the caller in it.
#[derive(Serialize, ToSchema)]
pub(super) struct Whoami {
    pub(super) network: Network,
    pub(super) login_flows: Vec<Flow>,
    /// The homeserver's name.
    pub(super) homeserver: String,
    /// The bot's user id.
    pub(super) bridge_bot: String,
    pub(super) command_prefix: String,
    /// Where the caller talks to the bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) management_room: Option<String>,
    pub(super) logins: Vec<Login>,
}

/// The names of the caller's logins.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginIds {
    pub(super) login_ids: Vec<String>,
}

/// What the bridge can do for managers.
#[derive(Serialize, ToSchema)]
pub(super) struct Capabilities {
    /// By area.
    #[schema(value_type = Object)]
    pub(super) provisioning: Value,
}

/// What kind of step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepType {
    UserInput,
    DisplayAndWait,
    /// A browser on a given site has to ask a passkey.
    #[serde(rename = "webauthn")]
    WebAuthn,
    Complete,
}

/// What is to be shown.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DisplayType {
    /// `data` as a QR picture.
    Qr,
    /// `data` as it is.
    Code,
    /// Nothing yet.
    Nothing,
}

/// Something to show while waiting.
#[derive(Serialize, ToSchema)]
pub(super) struct Display {
    #[serde(rename = "type")]
    pub(super) kind: DisplayType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<String>,
}

/// What a passkey is asked.
#[derive(Serialize, ToSchema)]
pub(super) struct WebAuthn {
    /// The site that a browser has to ask it on.
    pub(super) url: &'static str,
    /// For `navigator.credentials.get`, with bytes as base64url: `PublicKeyCredential.parseRequestOptionsFromJSON()` takes it.
    #[serde(rename = "publicKey")]
    #[schema(value_type = Object)]
    pub(super) public_key: Value,
}

/// A field to fill in.
#[derive(Serialize, ToSchema)]
pub(super) struct Field {
    /// `phone_number`, or `select` for one of `options`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The key in the body of the answer.
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) description: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) options: &'static [&'static str],
}

/// Fields to fill in.
#[derive(Serialize, ToSchema)]
pub(super) struct UserInput {
    pub(super) fields: Vec<Field>,
}

/// The login is made.
#[derive(Serialize, ToSchema)]
pub(super) struct Complete {
    pub(super) user_login_id: String,
}

/// A step of a login.
#[derive(Serialize, ToSchema)]
pub(super) struct Step {
    /// The login process, for the next request.
    pub(super) login_id: String,
    #[serde(rename = "type")]
    pub(super) kind: StepType,
    /// The step, for the next request.
    pub(super) step_id: &'static str,
    /// For people.
    pub(super) instructions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_and_wait: Option<Display>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_input: Option<UserInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) webauthn: Option<WebAuthn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) complete: Option<Complete>,
}

/// What was filled in, by the fields' ids.
pub(super) type Filled = BTreeMap<String, String>;

/// Somebody on WhatsApp.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Person {
    /// For other requests.
    pub(super) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) avatar_url: String,
    /// `tel:` URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) identifiers: Vec<String>,
    /// Their user on the homeserver, once they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mxid: Option<String>,
    /// The room of the chat with them, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dm_room_mxid: Option<String>,
}

/// The address book of a login.
#[derive(Serialize, ToSchema)]
pub(super) struct Contacts {
    pub(super) contacts: Vec<Person>,
}

/// Who to look for.
#[derive(Deserialize, ToSchema)]
pub(super) struct Search {
    /// Part of a name or number.
    pub(super) query: String,
}

/// Who was found.
#[derive(Serialize, ToSchema)]
pub(super) struct Found {
    pub(super) results: Vec<Person>,
}

/// A group's name.
#[derive(Deserialize, ToSchema)]
pub(super) struct GroupName {
    pub(super) name: String,
}

/// A group to make.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewGroup {
    pub(super) name: GroupName,
    /// Ids or phone numbers; at least one.
    #[schema(min_items = 1)]
    pub(super) participants: Vec<String>,
}

/// A group that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct Group {
    /// WhatsApp's id of it.
    pub(super) id: String,
    /// Its room.
    pub(super) mxid: String,
}

/// Where a sticker pack is.
#[derive(Serialize, ToSchema)]
pub(super) struct SavedPack {
    /// The event; the same one again when nothing has changed.
    pub(super) event_id: String,
    /// The login's space.
    pub(super) room_id: String,
    /// The pack's id.
    pub(super) state_key: String,
}
