//! What goes wrong, on demand.

use anyhow::{Result, bail, ensure};
use axum::{Router, extract::State as Extract, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, answer, parse};
use crate::{
    faults::{Direction, Effect, MediaEffect, MediaRule, Rule},
    registration::Refusal,
    simulator::Simulator,
};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new().route("/admin/fault", post(fault))
}

/// A fault by name, or a rule: one with a stanza, a direction or a chance.
#[derive(Deserialize)]
struct Fault {
    number: String,
    kind: String,
    #[serde(default = "once")]
    count: u32,
    stanza: Option<String>,
    direction: Option<Direction>,
    probability: Option<f64>,
    seed: Option<u64>,
}

fn once() -> u32 {
    1
}

async fn fault(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let fault: Fault = parse(&body)?;
    answer(arm(&sim, &fault))
}

fn arm(sim: &Simulator, fault: &Fault) -> Result<Value> {
    if let Some(effect) = MediaEffect::parse(&fault.kind) {
        return add_media_rule(sim, fault, effect);
    }
    if let Some((name, number)) = fault.kind.split_once(':')
        && let Some(done) = arm_with_number(sim, fault, name, number)
    {
        return done.map(|()| json!({}));
    }
    let rule = fault.stanza.is_some() || fault.direction.is_some() || fault.probability.is_some();
    match Effect::parse(&fault.kind) {
        Some(effect) if rule || matches!(effect, Effect::Delay(_) | Effect::Reorder) => add_rule(sim, fault, effect),
        _ if rule => bail!("no rule does {:?}", fault.kind),
        _ => sim.fault(&fault.number, fault.kind.parse()?, fault.count).map(|()| json!({})),
    }
}

/// `clock_skew:SECONDS`, `refuse_login:REASON`; nothing for other names.
fn arm_with_number(sim: &Simulator, fault: &Fault, name: &str, number: &str) -> Option<Result<()>> {
    let (count, owner) = (fault.count, fault.number.as_str());
    let done = match name {
        "clock_skew" => number.parse().map(|seconds| sim.set_clock_skew(owner, seconds)),
        "refuse_login" => number
            .parse()
            .map(|reason| sim.refuse(Some(owner), Some(Refusal { reason, count: Some(count), ..Default::default() }))),
        _ => return None,
    };
    Some(done.unwrap_or_else(|error| Err(anyhow::anyhow!("{number:?} after {name}: {error}"))))
}

fn add_rule(sim: &Simulator, fault: &Fault, effect: Effect) -> Result<Value> {
    let direction = fault.direction.unwrap_or_default();
    let stanza = fault.stanza.as_deref().unwrap_or("message");
    let seed = fault.seed.unwrap_or_else(rand::random);
    let rule = Rule::new(effect, direction, if stanza == "any" { "" } else { stanza }, fault.count)?
        .by_chance(fault.probability.unwrap_or(1.0), seed)?;
    sim.add_rule(&fault.number, rule)?;
    Ok(json!({ "seed": seed }))
}

/// The account's next downloads, by chance if wanted.
fn add_media_rule(sim: &Simulator, fault: &Fault, effect: MediaEffect) -> Result<Value> {
    ensure!(fault.stanza.is_none() && fault.direction.is_none(), "downloads are no stanzas");
    let seed = fault.seed.unwrap_or_else(rand::random);
    let rule = MediaRule::new(effect, fault.count).by_chance(fault.probability.unwrap_or(1.0), seed)?;
    sim.add_media_rule(&fault.number, rule)?;
    Ok(json!({ "seed": seed }))
}
