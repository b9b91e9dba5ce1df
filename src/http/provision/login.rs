//! Logging in, step by step.
//!
//! A process is named by 128 random bits and is its owner's alone. `display_and_wait` is a long poll: it answers when there is
//! something else to show, and after [`LONGEST_POLL`] with what is shown, so that no proxy on the way cuts it; the manager then asks
//! again. What ended stays known for half an hour, so a lost answer can be had again.

use super::Door;
use super::auth::Caller;
use super::shapes::{
    Complete, Display, DisplayType, Empty, Field, Filled, Flow, Flows, Step, StepType, UserInput, WebAuthn,
};
use super::status::login_of;
use crate::bridge::linkings::{Linking, NumberFault, Stand, Way};
use crate::http::answer::{Answer, Body, Refusal};
use crate::whatsapp::passkey::{AnswerFault, SITE};
use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait of a request: proxies give up after a minute.
const LONGEST_POLL: Duration = Duration::from_secs(50);

const QR: &str = "fi.mau.whatsapp.login.qr";
const NUMBER: &str = "fi.mau.whatsapp.login.phone";
const CODE: &str = "fi.mau.whatsapp.login.code";
const PASSKEY: &str = "fi.mau.whatsapp.login.passkey";
const PASSKEY_CODE: &str = "fi.mau.whatsapp.login.passkey_code";
const PASSKEY_CHECK: &str = "fi.mau.whatsapp.login.passkey_check";
const COMPLETE: &str = "fi.mau.whatsapp.login.complete";
/// The field a phone number stands in.
const FIELD: &str = "phone_number";
/// The field that says whether two codes are the same.
const SAME: &str = "same";
/// What it may say.
const YES_OR_NO: &[&str] = &["yes", "no"];

/// The ways to log in.
pub(super) fn all_flows() -> Vec<Flow> {
    vec![
        Flow { name: "QR code", description: "Scan a QR code with WhatsApp on your phone.", id: "qr" },
        Flow {
            name: "Phone number",
            description: "Give your phone number and type an eight-letter code on your phone.",
            id: "phone",
        },
    ]
}

/// The ways to log in.
#[utoipa::path(get, path = "/_matrix/provision/v3/login/flows", tag = "auth", responses((status = 200, description = "The ways.", body = Flows)))]
pub(super) async fn flows() -> Json<Flows> {
    Json(Flows { flows: all_flows() })
}

#[derive(Deserialize)]
pub(super) struct Again {
    login_id: Option<String>,
}

/// Begins a login; one that you have begun before ends.
#[utoipa::path(post, path = "/_matrix/provision/v3/login/start/{flow_id}", tag = "auth",
    params(("flow_id" = String, Path, description = "A way to log in: `qr` or `phone`."),
        ("login_id" = Option<String>, Query, description = "A login of yours that is to be linked again.")),
    responses((status = 200, description = "The first step.", body = Step)))]
pub(super) async fn start(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(flow): Path<String>,
    Query(again): Query<Again>,
) -> Answer<Json<Step>> {
    let way = match flow.as_str() {
        "qr" => Way::Qr,
        "phone" => Way::Number,
        _ => return Err(Refusal::not_found("There is no such way to log in.")),
    };
    if let Some(named) = again.login_id.as_deref().filter(|named| !named.is_empty()) {
        login_of(&door, &caller, Some(named)).await?;
    }
    let linking = door.bridge.begin_linking(&caller.mxid, way);
    let (step, stand) = match way {
        Way::Qr => wait(&door, &linking, 0).await?,
        Way::Number => linking.now(),
    };
    show(&door, &linking, way, step, stand)
}

/// What names a step.
type StepPath = (String, String);

/// Gives what a step asked for.
#[utoipa::path(post, path = "/_matrix/provision/v3/login/step/{process_id}/{step_id}/user_input", tag = "auth",
    params(("process_id" = String, Path, description = "`login_id` of the step before."),
        ("step_id" = String, Path, description = "`step_id` of the step before.")),
    request_body(content = std::collections::BTreeMap<String, String>, description = "Values by the fields' ids."),
    responses((status = 200, description = "The next step.", body = Step)))]
pub(super) async fn user_input(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<StepPath>,
    Body(filled): Body<Filled>,
) -> Answer<Json<Step>> {
    let (linking, step) = at_step(&door, &caller, &path, StepType::UserInput)?;
    if path.1 == PASSKEY_CODE {
        return compare(&door, &linking, step, filled.get(SAME).map(String::as_str)).await;
    }
    let number = filled.get(FIELD).ok_or_else(|| Refusal::bad("M_MISSING_PARAM", "The phone number is missing."))?;
    let is_given = door.bridge.give_number(&linking, number).map_err(|fault| {
        let errcode = match fault {
            NumberFault::Length => "FI.MAU.WHATSAPP.PHONE_NUMBER_TOO_SHORT",
            NumberFault::NotInternational => "FI.MAU.WHATSAPP.PHONE_NUMBER_NOT_INTERNATIONAL",
        };
        Refusal::bad(errcode, fault.to_string())
    })?;
    if !is_given {
        return Err(wrong_step());
    }
    let (step, stand) = wait(&door, &linking, step).await?;
    show(&door, &linking, Way::Number, step, stand)
}

/// Takes the word whether the phone shows the same code.
async fn compare(door: &Door, linking: &Linking, step: u64, same: Option<&str>) -> Answer<Json<Step>> {
    match same {
        _ if linking.now().1.is_last() => {}
        Some("yes") if !door.bridge.confirm_linking(linking) => return Err(wrong_step()),
        Some("yes") => {}
        Some("no") => door.bridge.cancel_linking(linking),
        _ => return Err(Refusal::bad("M_INVALID_PARAM", "Say `yes` or `no`: does the phone show the same code?")),
    }
    let (step, stand) = wait(door, linking, step).await?;
    show(door, linking, Way::Qr, step, stand)
}

/// Waits for the step after one that is shown.
#[utoipa::path(post, path = "/_matrix/provision/v3/login/step/{process_id}/{step_id}/display_and_wait", tag = "auth",
    params(("process_id" = String, Path, description = "`login_id` of the step before."),
        ("step_id" = String, Path, description = "`step_id` of the step before.")),
    responses((status = 200, description = "The next step; or the same again after 50 seconds.", body = Step)))]
pub(super) async fn display_and_wait(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<StepPath>,
) -> Answer<Json<Step>> {
    let (linking, _) = at_step(&door, &caller, &path, StepType::DisplayAndWait)?;
    let way = if path.1 == CODE { Way::Number } else { Way::Qr };
    let (step, stand) = wait(&door, &linking, linking.told()).await?;
    show(&door, &linking, way, step, stand)
}

/// Gives cookies, which no way to log in asks for here.
#[utoipa::path(post, path = "/_matrix/provision/v3/login/step/{process_id}/{step_id}/cookies", tag = "auth",
    params(("process_id" = String, Path, description = "`login_id` of the step before."),
        ("step_id" = String, Path, description = "`step_id` of the step before.")))]
pub(super) async fn cookies(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path((process, _)): Path<StepPath>,
) -> Answer<Json<Step>> {
    find(&door, &caller, &process)?;
    Err(wrong_step())
}

/// Gives the answer of the passkey: what `PublicKeyCredential.toJSON()` makes in a browser on the step's site.
#[utoipa::path(post, path = "/_matrix/provision/v3/login/step/{process_id}/{step_id}/webauthn", tag = "auth",
    params(("process_id" = String, Path, description = "`login_id` of the step before."),
        ("step_id" = String, Path, description = "`step_id` of the step before.")),
    request_body(content = Object, description = "The answer; one that is not good may be given again."),
    responses((status = 200, description = "The next step.", body = Step)))]
pub(super) async fn webauthn(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<StepPath>,
    Body(answer): Body<Value>,
) -> Answer<Json<Step>> {
    let (linking, step) = at_step(&door, &caller, &path, StepType::WebAuthn)?;
    if !linking.now().1.is_last() {
        door.bridge.give_passkey(&linking, &answer.to_string()).map_err(|fault| match fault {
            AnswerFault::NotAsked => wrong_step(),
            fault => Refusal::bad("FI.MAU.WHATSAPP.BAD_PASSKEY_ANSWER", fault.to_string()),
        })?;
    }
    let (step, stand) = wait(&door, &linking, step).await?;
    show(&door, &linking, Way::Qr, step, stand)
}

/// Ends a login before its time.
#[utoipa::path(post, path = "/_matrix/provision/v3/login/cancel/{process_id}", tag = "auth",
    params(("process_id" = String, Path, description = "`login_id` of a step.")),
    responses((status = 200, description = "It has ended.", body = Empty)))]
pub(super) async fn cancel(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(process): Path<String>,
) -> Answer<Json<Empty>> {
    door.bridge.cancel_linking(&*find(&door, &caller, &process)?);
    Ok(Json(Empty {}))
}

fn find(door: &Door, caller: &Caller, process: &str) -> Answer<Arc<Linking>> {
    let found = door.bridge.find_linking(&caller.mxid, process);
    found.ok_or_else(|| Refusal::not_found("You have begun no such login, or it is over."))
}

fn wrong_step() -> Refusal {
    Refusal::bad("M_BAD_STATE", "The login is at another step.")
}

/// The caller's process, when it is at this step or has ended.
fn at_step(door: &Door, caller: &Caller, path: &StepPath, kind: StepType) -> Answer<(Arc<Linking>, u64)> {
    let linking = find(door, caller, &path.0)?;
    let (step, stand) = linking.now();
    let (wanted, at) = match stand {
        Stand::NumberWanted => (StepType::UserInput, &[NUMBER][..]),
        Stand::Waiting => (StepType::DisplayAndWait, &[QR, CODE][..]),
        Stand::Qr { .. } => (StepType::DisplayAndWait, &[QR][..]),
        Stand::Code { .. } => (StepType::DisplayAndWait, &[CODE][..]),
        // Who waits at the code's step hears of this one.
        Stand::Passkey { .. } if kind == StepType::DisplayAndWait => (kind, &[QR, CODE][..]),
        Stand::Passkey { .. } => (StepType::WebAuthn, &[PASSKEY][..]),
        Stand::Compare { .. } if kind == StepType::DisplayAndWait => (kind, &[PASSKEY_CHECK][..]),
        Stand::Compare { .. } => (StepType::UserInput, &[PASSKEY_CODE][..]),
        Stand::Checking => (StepType::DisplayAndWait, &[PASSKEY_CHECK][..]),
        // Whoever waits hears of the end, at whatever step.
        _ => (kind, &[QR, CODE, PASSKEY, PASSKEY_CODE, PASSKEY_CHECK][..]),
    };
    if wanted == kind && at.contains(&path.1.as_str()) { Ok((linking, step)) } else { Err(wrong_step()) }
}

/// Waits for what comes after step `seen`; not longer than the process lives.
async fn wait(door: &Door, linking: &Linking, seen: u64) -> Answer<(u64, Stand)> {
    let next = door.bridge.stop().run_until_cancelled(linking.next(seen, LONGEST_POLL)).await;
    next.ok_or_else(|| Refusal::away("The bridge is stopping. Please begin again in a minute."))
}

/// A step as the manager is told of it; an end without a login is a refusal.
fn show(door: &Door, linking: &Linking, way: Way, step: u64, stand: Stand) -> Answer<Json<Step>> {
    linking.note_told(step);
    let empty = |kind, step_id, instructions: &str| Step {
        login_id: linking.id().to_owned(),
        kind,
        step_id,
        instructions: instructions.to_owned(),
        display_and_wait: None,
        user_input: None,
        webauthn: None,
        complete: None,
    };
    let display = |step_id, instructions: &str, kind, data| Step {
        display_and_wait: Some(Display { kind, data }),
        ..empty(StepType::DisplayAndWait, step_id, instructions)
    };
    let scan = "Open WhatsApp on your phone, then Linked devices, Link a device, and scan this code.";
    let enter = "Open WhatsApp on your phone, then Linked devices, Link a device, Link with phone number instead, and type this code.";
    Ok(Json(match stand {
        Stand::NumberWanted => Step {
            user_input: Some(UserInput {
                fields: vec![Field {
                    kind: "phone_number",
                    id: FIELD,
                    name: "Phone number",
                    description: "The number of your WhatsApp account with its country code.".to_owned(),
                    options: &[],
                }],
            }),
            ..empty(StepType::UserInput, NUMBER, "Give the number of your WhatsApp account.")
        },
        Stand::Waiting => {
            let step_id = if way == Way::Qr { QR } else { CODE };
            display(step_id, "WhatsApp is asked for a code.", DisplayType::Nothing, None)
        }
        Stand::Qr { code } => display(QR, scan, DisplayType::Qr, Some(code)),
        Stand::Code { code } => display(CODE, enter, DisplayType::Code, Some(code)),
        Stand::Passkey { .. } if door.bridge.config().provisioning.fail_on_webauthn => {
            door.bridge.cancel_linking(linking);
            let tell = "WhatsApp asks for this account's passkey, which can't be given here. Say `login qr` to the bot to link it.";
            return Err(Refusal::bad("COM.BEEPER.WEBAUTHN_UNSUPPORTED", tell));
        }
        Stand::Passkey { question } => Step {
            webauthn: Some(WebAuthn { url: SITE, public_key: serde_json::from_str(&question).unwrap_or_default() }),
            ..empty(StepType::WebAuthn, PASSKEY, "WhatsApp wants to see the passkey of this account.")
        },
        Stand::Compare { code } => Step {
            user_input: Some(UserInput {
                fields: vec![Field {
                    kind: "select",
                    id: SAME,
                    name: "Same code",
                    description: format!("Does your phone show {code}?"),
                    options: YES_OR_NO,
                }],
            }),
            ..empty(
                StepType::UserInput,
                PASSKEY_CODE,
                &format!("Compare this code with the one on your phone: {code}. If they are not the same, say no."),
            )
        },
        Stand::Checking => display(PASSKEY_CHECK, "WhatsApp looks at your passkey.", DisplayType::Nothing, None),
        Stand::Linked(login) => Step {
            complete: Some(Complete { user_login_id: login.to_string() }),
            ..empty(StepType::Complete, COMPLETE, "You are logged in. Your chats appear as messages arrive.")
        },
        Stand::TimedOut => {
            let tell = "It was not done in time. Please begin again.";
            return Err(Refusal::bad("FI.MAU.WHATSAPP.LOGIN_TIMEOUT", tell));
        }
        Stand::Cancelled => {
            return Err(Refusal::bad("FI.MAU.BRIDGE.LOGIN_CANCELLED", "The login was cancelled, or begun elsewhere."));
        }
        Stand::Failed(tell) => return Err(Refusal::bad("FI.MAU.WHATSAPP.PAIR_ERROR", tell)),
    }))
}
