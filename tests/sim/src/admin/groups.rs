//! Groups and communities: `/admin/groups`.

use anyhow::{Context, anyhow};
use axum::{
    Json, Router,
    extract::{Path, State as Extract},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AddressingName, Answer, answer, parse};
use crate::{
    account::Addressing,
    simulator::{GroupOptions, Simulator},
};

/// The routes of this family.
pub fn routes() -> Router<Simulator> {
    Router::new()
        .route("/admin/groups", post(create).get(list))
        .route("/admin/groups/{jid}", get(show))
        .route("/admin/groups/participants", post(participants))
        .route("/admin/groups/set", post(set))
        .route("/admin/groups/picture", post(picture))
        .route("/admin/groups/leave", post(leave))
        .route("/admin/groups/invite", post(invite))
        .route("/admin/groups/join", post(join))
        .route("/admin/groups/requests", post(requests))
        .route("/admin/groups/links", post(links))
        .route("/admin/groups/deactivate", post(deactivate))
        .route("/admin/groups/adds", post(adds))
}

#[derive(Deserialize)]
struct NewGroup {
    number: String,
    subject: String,
    #[serde(default)]
    members: Vec<String>,
    addressing: Option<AddressingName>,
    #[serde(default)]
    community: bool,
    parent: Option<String>,
}

async fn create(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let new: NewGroup = parse(&body)?;
    let options = GroupOptions {
        subject: new.subject,
        members: new.members,
        addressing: new.addressing.map(|addressing| match addressing {
            AddressingName::Lid => Addressing::Lid,
            AddressingName::Pn => Addressing::Pn,
        }),
        community: new.community,
        parent: new.parent,
    };
    answer(sim.create_group_with(&new.number, &options).map(|jid| json!({ "jid": jid })))
}

async fn list(Extract(sim): Extract<Simulator>) -> Json<Value> {
    Json(json!(sim.groups()))
}

async fn show(Extract(sim): Extract<Simulator>, Path(jid): Path<String>) -> Answer {
    answer(sim.group(&jid).map(|group| json!(group)).with_context(|| format!("no group {jid}")))
}

#[derive(Deserialize)]
struct Participants {
    number: String,
    group: String,
    action: String,
    people: Vec<String>,
}

async fn participants(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let change: Participants = parse(&body)?;
    let people: Vec<&str> = change.people.iter().map(String::as_str).collect();
    let results = sim.change_participants(&change.number, &change.group, &change.action, &people);
    answer(results.map(|results| json!({ "results": results })))
}

#[derive(Deserialize)]
struct Set {
    number: String,
    group: String,
    subject: Option<String>,
    /// An empty one takes it away.
    description: Option<String>,
    setting: Option<String>,
}

async fn set(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Set = parse(&body)?;
    let mut done = Err(anyhow!("nothing to set: subject, description or setting"));
    if let Some(subject) = &set.subject {
        done = sim.set_group_subject(&set.number, &set.group, subject);
    }
    if let Some(text) = &set.description {
        let text = Some(text.as_str()).filter(|text| !text.is_empty());
        done = sim.set_group_description(&set.number, &set.group, text);
    }
    if let Some(setting) = &set.setting {
        done = sim.set_group_setting(&set.number, &set.group, setting);
    }
    answer(done.map(|()| json!({})))
}

#[derive(Deserialize)]
struct Image {
    number: String,
    group: String,
    /// Base64 of a JPEG; none removes the picture.
    image: Option<String>,
}

async fn picture(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let set: Image = parse(&body)?;
    let image = set.image.map(|image| BASE64_STANDARD.decode(image)).transpose();
    let done = image.context("image").and_then(|image| sim.set_group_picture(&set.number, &set.group, image));
    answer(done.map(|()| json!({})))
}

#[derive(Deserialize)]
struct Leave {
    number: String,
    group: String,
}

async fn leave(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let leave: Leave = parse(&body)?;
    answer(sim.leave_group(&leave.number, &leave.group).map(|()| json!({})))
}

async fn deactivate(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let end: Leave = parse(&body)?;
    answer(sim.deactivate_community(&end.number, &end.group).map(|()| json!({})))
}

#[derive(Deserialize)]
struct Invite {
    number: String,
    group: String,
    #[serde(default)]
    reset: bool,
}

async fn invite(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let invite: Invite = parse(&body)?;
    let code = sim.group_invite(&invite.number, &invite.group, invite.reset);
    answer(code.map(|code| json!({ "code": code })))
}

#[derive(Deserialize)]
struct Join {
    number: String,
    code: String,
}

async fn join(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let join: Join = parse(&body)?;
    let joined = sim.join_group(&join.number, &join.code);
    answer(joined.map(|(jid, joined)| json!({ "jid": jid, "joined": joined })))
}

#[derive(Deserialize)]
struct Requests {
    number: String,
    group: String,
    approve: bool,
    people: Vec<String>,
}

async fn requests(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let given: Requests = parse(&body)?;
    let people: Vec<&str> = given.people.iter().map(String::as_str).collect();
    let results = sim.answer_requests(&given.number, &given.group, given.approve, &people);
    answer(results.map(|results| json!({ "results": results })))
}

#[derive(Deserialize)]
struct Links {
    number: String,
    community: String,
    groups: Vec<String>,
    link: bool,
}

async fn links(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let links: Links = parse(&body)?;
    let groups: Vec<&str> = links.groups.iter().map(String::as_str).collect();
    let results = sim.link_groups(&links.number, &links.community, &groups, links.link);
    answer(results.map(|results| json!({ "results": results })))
}

#[derive(Deserialize)]
struct Adds {
    number: String,
    allowed: bool,
}

async fn adds(Extract(sim): Extract<Simulator>, body: String) -> Answer {
    let adds: Adds = parse(&body)?;
    answer(sim.set_group_adds(&adds.number, adds.allowed).map(|()| json!({})))
}
