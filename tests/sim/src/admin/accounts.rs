//! Accounts: their settings, and what happens to them.

use axum::{Router, extract::State as Extract, routing::post};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, answer, parse};
use crate::{registration::Refusal, simulator::Simulator};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/business", post(business))
        .route("/admin/about", post(about))
        .route("/admin/picture", post(picture))
        .route("/admin/privacy", post(privacy))
        .route("/admin/block", post(block))
        .route("/admin/restrict", post(restrict))
        .route("/admin/passkey", post(passkey))
        .route("/admin/register", post(register))
        .route("/admin/phone-away", post(phone_away))
        .route("/admin/phone-silent", post(phone_silent))
        .route("/admin/refuse", post(refuse))
        .route("/admin/stream-error", post(stream_error))
}

#[derive(Deserialize)]
struct Business {
    number: String,
    name: Option<String>,
}

async fn business(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Business = parse(&body)?;
    answer(sim.set_business_name(&set.number, set.name.as_deref()).map(|()| json!({})))
}

#[derive(Deserialize)]
struct About {
    number: String,
    text: String,
}

async fn about(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: About = parse(&body)?;
    answer(sim.set_about(&set.number, &set.text).map(|()| json!({})))
}

/// The picture as base64; none removes it.
#[derive(Deserialize)]
struct Picture {
    number: String,
    jpeg: Option<String>,
}

async fn picture(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Picture = parse(&body)?;
    let image = set.jpeg.map(|jpeg| BASE64_STANDARD.decode(jpeg)).transpose();
    let done = image.map_err(|error| anyhow::anyhow!("jpeg: {error}")).and_then(|i| sim.set_picture(&set.number, i));
    answer(done.map(|()| json!({})))
}

#[derive(Deserialize)]
struct Privacy {
    number: String,
    category: String,
    value: String,
}

async fn privacy(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Privacy = parse(&body)?;
    answer(sim.set_privacy(&set.number, &set.category, &set.value).map(|()| json!({})))
}

#[derive(Deserialize)]
struct Block {
    number: String,
    who: String,
    #[serde(default = "yes")]
    block: bool,
}

fn yes() -> bool {
    true
}

async fn block(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Block = parse(&body)?;
    answer(sim.set_blocked(&set.number, &set.who, set.block).map(|()| json!({})))
}

/// Something that is so or not.
#[derive(Deserialize)]
struct Switch {
    number: String,
    #[serde(default = "yes")]
    on: bool,
}

async fn restrict(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Switch = parse(&body)?;
    answer(sim.set_restricted(&set.number, set.on).map(|()| json!({})))
}

async fn passkey(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Switch = parse(&body)?;
    answer(sim.set_passkey(&set.number, set.on).map(|()| json!({})))
}

async fn phone_silent(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Switch = parse(&body)?;
    answer(sim.set_phone_silent(&set.number, set.on).map(|()| json!({})))
}

#[derive(Deserialize)]
struct Register {
    number: String,
}

async fn register(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let whose: Register = parse(&body)?;
    answer(sim.register_again(&whose.number).map(|()| json!({})))
}

#[derive(Deserialize)]
struct Away {
    number: String,
    days: u32,
}

async fn phone_away(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let away: Away = parse(&body)?;
    answer(sim.phone_away(&away.number, away.days).map(|()| json!({})))
}

/// Of one account, or of all; reason 0 lifts it.
#[derive(Deserialize)]
struct Refuse {
    number: Option<String>,
    #[serde(flatten)]
    refusal: Refusal,
}

async fn refuse(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let order: Refuse = parse(&body)?;
    let refusal = (order.refusal.reason != 0).then_some(order.refusal);
    answer(sim.refuse(order.number.as_deref(), refusal).map(|()| json!({})))
}

#[derive(Deserialize)]
struct StreamError {
    number: String,
    device: u16,
    code: u16,
}

async fn stream_error(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let order: StreamError = parse(&body)?;
    answer(sim.stream_error(&order.number, order.device, order.code).map(|()| json!({})))
}
