//! The provisioning API, version 3: logins and chats for programs that manage bridges.
//!
//! Paths, keys, step types and error codes are those of mautrix's bridges (`bridgev2`), so that their managers work here, too; see
//! `docs/provisioning.md`. The engine behind a login is the one of `login qr` ([`crate::bridge::linkings`]).
//!
//! Promise: nothing is answered without a good token (`auth.rs`); every handler is given who asks and looks up nothing that is
//! not theirs, so what is somebody else's is not found. What an answer shows of codes is for that person alone, and is not kept
//! anywhere. A request that dies in the middle leaves at most a login half begun, which ends by itself.
//!
//! The description ([`describe`]) is made from the handlers and shapes; a test holds it and the routes together.

mod auth;
pub(in crate::http) use auth::bearer;
mod login;
mod packs;
mod people;
mod shapes;
mod status;

use crate::bridge::Bridge;
use crate::http::answer::Refusal;
use crate::http::limits::Limits;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use http::StatusCode;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};

/// What every path begins with.
pub const BASE: &str = "/_matrix/provision";
/// Largest body, bytes.
const LARGEST_BODY: usize = 64 << 10;

/// What every handler needs.
#[derive(Clone)]
struct Door {
    bridge: Bridge,
    limits: Arc<Limits>,
}

/// Every path with its handlers.
fn routes() -> Vec<(&'static str, MethodRouter<Door>)> {
    vec![
        ("/v3/openapi.json", get(status::description)),
        ("/v3/whoami", get(status::whoami)),
        ("/v3/capabilities", get(status::capabilities)),
        ("/v3/logins", get(status::logins)),
        ("/v3/logout/{login_id}", post(status::logout)),
        ("/v3/login/flows", get(login::flows)),
        ("/v3/login/start/{flow_id}", post(login::start)),
        ("/v3/login/step/{process_id}/{step_id}/user_input", post(login::user_input)),
        ("/v3/login/step/{process_id}/{step_id}/display_and_wait", post(login::display_and_wait)),
        ("/v3/login/step/{process_id}/{step_id}/cookies", post(login::cookies)),
        ("/v3/login/step/{process_id}/{step_id}/webauthn", post(login::webauthn)),
        ("/v3/login/cancel/{process_id}", post(login::cancel)),
        ("/v3/contacts", get(people::contacts)),
        ("/v3/search_users", get(people::search_get).post(people::search_post)),
        ("/v3/resolve_identifier/{identifier}", get(people::resolve)),
        ("/v3/create_dm/{identifier}", post(people::create_dm)),
        ("/v3/create_group/{kind}", post(people::create_group)),
        ("/v3/image_pack/import", get(packs::preview).post(packs::import)),
    ]
}

/// The API's routes.
pub fn router(bridge: &Bridge) -> Router {
    let door = Door { bridge: bridge.clone(), limits: Arc::new(Limits::new(bridge.store().clock().clone())) };
    let all = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handlers)| router.route(&format!("{BASE}{path}"), handlers));
    all.method_not_allowed_fallback(|| async {
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "This endpoint has no such method.")
    })
    .route_layer(from_fn_with_state(door.clone(), auth::admit))
    // Around everything: a browser asks without a token whether it may ask.
    .layer(from_fn(auth::across_origins))
    .layer(DefaultBodyLimit::max(LARGEST_BODY))
    .with_state(door)
}

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "matrix-whatsapp provisioning",
        description = "Logins and chats for programs that manage bridges. Compatible with the provisioning API of mautrix's bridges.",
        license(name = "AGPL-3.0-or-later")
    ),
    paths(
        status::description, status::whoami, status::capabilities, status::logins, status::logout, login::flows, login::start,
        login::user_input, login::display_and_wait, login::cookies, login::webauthn, login::cancel, people::contacts,
        people::search_get, people::search_post, people::resolve, people::create_dm, people::create_group,
        packs::preview, packs::import,
    ),
    components(schemas(shapes::Fault)),
    modifiers(&Common),
)]
struct Description;

/// What all endpoints have in common: the token, and the ways to be refused.
struct Common;

impl utoipa::Modify for Common {
    fn modify(&self, doc: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "The user's own access token of the homeserver; or `openid:` and an OpenID token of theirs; or the shared secret, with the query parameter `user_id`.",
        ));
        doc.components
            .get_or_insert_default()
            .security_schemes
            .insert("token".to_owned(), SecurityScheme::Http(scheme.build()).into());
        let refusals = [
            ("400", "The request makes no sense, or not at this step."),
            ("401", "There is no token, or nobody knows it."),
            ("403", "The token's owner may not do this."),
            ("404", "There is no such thing, or it is somebody else's."),
            ("413", "The body is too large."),
            ("429", "Too many requests; `retry_after_ms` says when to come again."),
            ("503", "The homeserver, WhatsApp or the database is away."),
        ];
        for item in doc.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                for (status, about) in refusals {
                    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Fault"))).build();
                    let response = ResponseBuilder::new().description(about).content("application/json", content);
                    operation.responses.responses.entry(status.to_owned()).or_insert(response.build().into());
                }
                operation.security =
                    Some(vec![utoipa::openapi::SecurityRequirement::new("token", Vec::<String>::new())]);
            }
        }
    }
}

/// The description as JSON, with a line break at its end.
///
/// # Errors
/// Never for what the code describes; a test writes it.
pub fn describe() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json().map(|text| text + "\n")
}

#[cfg(test)]
mod tests;
