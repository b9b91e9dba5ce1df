//! The caller's logins, how they are doing, and their end.

use super::auth::Caller;
use super::login::all_flows;
use super::shapes::{Capabilities, Empty, Login, LoginIds, Network, Profile, State, Whoami};
use super::{Door, describe};
use crate::bridge::standing::Standing;
use crate::http::answer::{Answer, Refusal};
use crate::store::logins::{Login as Record, LoginState};
use axum::Json;
use axum::extract::{Extension, Path, State as Ours};
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::json;

/// This description.
#[utoipa::path(get, path = "/_matrix/provision/v3/openapi.json", tag = "bridge",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub(super) async fn description() -> Answer<Response> {
    let text = describe().map_err(|_| Refusal::away("The description can't be written."))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The bridge, and your logins in it.
#[utoipa::path(get, path = "/_matrix/provision/v3/whoami", tag = "auth", responses((status = 200, description = "Who you are.", body = Whoami)))]
pub(super) async fn whoami(Ours(door): Ours<Door>, Extension(caller): Extension<Caller>) -> Answer<Json<Whoami>> {
    let bridge = &door.bridge;
    let spaces = bridge.store().login_spaces().await?;
    let records = bridge.store().logins_of(&caller.mxid).await?;
    let logins = records.iter().map(|record| {
        let state = state_of(&bridge.standing(record), bridge.store().clock().now_ms());
        let space = spaces.iter().find(|space| space.login == record.id && space.mxid == caller.mxid);
        Login {
            state_event: state.state_event,
            state_ts: state.timestamp,
            state,
            id: record.id.to_string(),
            name: format!("+{}", record.id),
            profile: Profile { phone: format!("+{}", record.id), name: record.push_name.clone() },
            space_room: space.and_then(|space| space.room.clone()),
            relogin_flow_ids: all_flows().iter().map(|flow| flow.id).collect(),
        }
    });
    Ok(Json(Whoami {
        network: Network {
            displayname: "WhatsApp",
            network_url: "https://whatsapp.com",
            network_icon: "",
            network_id: "whatsapp",
            beeper_bridge_type: "matrix-whatsapp",
        },
        login_flows: all_flows(),
        homeserver: bridge.config().homeserver.domain.clone(),
        bridge_bot: bridge.matrix().bot().to_string(),
        command_prefix: bridge.config().bridge.command_prefix.clone(),
        management_room: bridge.store().find_management_room(&caller.mxid).await?,
        logins: logins.collect(),
    }))
}

/// What mautrix's bridges call it.
fn state_of(standing: &Standing, now_ms: i64) -> State {
    let at_ms = match standing {
        Standing::LoggedOut { since, .. } => *since,
        _ => now_ms,
    };
    let why = standing.why();
    State {
        state_event: standing.event(),
        timestamp: at_ms / 1000,
        error: standing.error(),
        message: (!why.is_empty()).then_some(why),
    }
}

/// What a manager can do here.
#[utoipa::path(get, path = "/_matrix/provision/v3/capabilities", tag = "bridge", responses((status = 200, description = "By area.", body = Capabilities)))]
pub(super) async fn capabilities() -> Json<Capabilities> {
    let provisioning = json!({
        "resolve_identifier": {
            "create_dm": true, "lookup_phone": true, "any_phone": true, "contact_list": true, "search": true,
        },
        "group_creation": {
            "group": {
                "type_description": "a group",
                "name": { "allowed": true, "required": true, "max_length": 100 },
                "participants": { "allowed": true, "required": true, "min_length": 1 },
            },
        },
    });
    Json(Capabilities { provisioning })
}

/// The names of your logins.
#[utoipa::path(get, path = "/_matrix/provision/v3/logins", tag = "auth", responses((status = 200, description = "Your logins.", body = LoginIds)))]
pub(super) async fn logins(Ours(door): Ours<Door>, Extension(caller): Extension<Caller>) -> Answer<Json<LoginIds>> {
    let records = door.bridge.store().logins_of(&caller.mxid).await?;
    Ok(Json(LoginIds { login_ids: records.iter().map(|record| record.id.to_string()).collect() }))
}

/// Unlinks a login of yours. Its rooms stay.
#[utoipa::path(post, path = "/_matrix/provision/v3/logout/{login_id}", tag = "auth",
    params(("login_id" = String, Path, description = "Which; `all` for every one.")),
    responses((status = 200, description = "It is unlinked, or was already.", body = Empty)))]
pub(super) async fn logout(
    Ours(door): Ours<Door>,
    Extension(caller): Extension<Caller>,
    Path(which): Path<String>,
) -> Answer<Json<Empty>> {
    let mut records = door.bridge.store().logins_of(&caller.mxid).await?;
    if which != "all" {
        records.retain(|record| record.id.as_str() == which);
        if records.is_empty() {
            return Err(Refusal::not_found("You have no such login."));
        }
    }
    for record in records.iter().filter(|record| record.state == LoginState::Linked) {
        // A caller that hangs up must not leave it half done.
        let (bridge, record) = (door.bridge.clone(), record.clone());
        let done = tokio::spawn(async move { bridge.log_out(&record, "You logged out in a manager.").await }).await;
        done.map_err(|_| Refusal::away("The logout broke off. Please try again."))??;
    }
    Ok(Json(Empty {}))
}

/// A login of the caller's that is linked: the named one, else their usual one.
pub(super) async fn login_of(door: &Door, caller: &Caller, named: Option<&str>) -> Answer<Record> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let records = door.bridge.store().logins_of(&caller.mxid).await?;
        let record = records.into_iter().find(|record| record.id.as_str() == named);
        return record.ok_or_else(|| Refusal::not_found("You have no such login."));
    }
    match door.bridge.usual_login(&caller.mxid).await {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(Refusal::new(
            http::StatusCode::NOT_FOUND,
            "FI.MAU.NOT_LOGGED_IN",
            "You are not logged in. Link your WhatsApp account first.",
        )),
        Err(halt) => Err(super::people::refuse(halt)),
    }
}
