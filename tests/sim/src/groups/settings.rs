//! Subject, description and what is on or off.

use wacore_binary::{Node, builder::NodeBuilder};

use super::{
    Done, Refusal,
    create::SUBJECT,
    info,
    model::{Description, Ephemeral, Group, Role, TOGGLES},
    notify,
};
use crate::{
    ids::Address,
    stanza::{attr, attr_or_empty, content_text, unix_now},
    state::State,
};

/// Most characters of a description.
const DESCRIPTION: usize = 2048;

/// Answers a change of a setting; nothing when it is not understood.
pub fn answer(state: &mut State, actor: &Address, id: &str, request: &Node) -> Option<Done> {
    let tag = request.tag.as_ref();
    let toggle = TOGGLES.iter().find(|(on, off)| *on == tag || *off == tag);
    let done = match (tag, toggle) {
        (_, Some((on, _))) => flip(state, actor, id, on, request),
        ("subject", _) => subject(state, actor, id, request),
        ("description", _) => description(state, actor, id, request),
        ("ephemeral" | "not_ephemeral", _) => ephemeral(state, actor, id, request),
        ("member_add_mode" | "membership_approval_mode", _) => mode(state, actor, id, request),
        _ => return None,
    };
    Some(done.map(|()| Vec::new()))
}

/// The group, if the actor may change this about it.
fn changed<'a>(state: &'a mut State, actor: &Address, id: &str, needs: Needs) -> Result<&'a mut Group, Refusal> {
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    let role = group.role(&actor.number).ok_or(Refusal::FORBIDDEN)?;
    let free = needs == Needs::Unlocked && !group.is_on("locked");
    if role == Role::Member && !free {
        return Err(Refusal::FORBIDDEN);
    }
    Ok(group)
}

/// What it takes to change something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// To be an admin.
    Admin,
    /// To be in it, unless it is locked.
    Unlocked,
}

fn flip(state: &mut State, actor: &Address, id: &str, on: &'static str, request: &Node) -> Result<(), Refusal> {
    let group = changed(state, actor, id, Needs::Admin)?;
    if request.tag == on {
        group.on.insert(on);
    } else {
        group.on.remove(on);
    }
    notify::announce_to_members(state, id, actor, request.clone());
    Ok(())
}

fn subject(state: &mut State, actor: &Address, id: &str, request: &Node) -> Result<(), Refusal> {
    let subject = content_text(request).unwrap_or_default();
    if subject.is_empty() || subject.chars().count() > SUBJECT {
        return Err(Refusal::NOT_ACCEPTABLE);
    }
    let group = changed(state, actor, id, Needs::Unlocked)?;
    group.subject.clone_from(&subject);
    group.subject_t = unix_now();
    group.subject_author = actor.number.clone();
    let (family, t) = (group.family, group.subject_t);
    let mut body = NodeBuilder::new("subject").attr("subject", subject).attr("s_t", t);
    if let Some(account) = state.accounts.get(&actor.number) {
        body = info::with_other(body.attr("s_o", account.jid(family, 0)), family, account, "s_o_pn", None);
    }
    notify::announce_to_members(state, id, actor, body.build());
    Ok(())
}

/// A description names the one it replaces: 409 when that is another one.
fn description(state: &mut State, actor: &Address, id: &str, request: &Node) -> Result<(), Refusal> {
    let body = request.get_optional_child("body").and_then(content_text);
    let body = body.filter(|body| !body.is_empty() && attr(request, "delete").is_none());
    if body.as_ref().is_some_and(|body| body.chars().count() > DESCRIPTION) {
        return Err(Refusal::NOT_ACCEPTABLE);
    }
    let group = changed(state, actor, id, Needs::Unlocked)?;
    let known = group.description.as_ref().map(|description| description.id.as_str());
    if known != attr(request, "prev").as_deref() {
        return Err(Refusal::CONFLICT);
    }
    let new_id = attr_or_empty(request, "id");
    let told = NodeBuilder::new("description").attr("id", new_id.as_str());
    let told = match &body {
        Some(body) => told.children([NodeBuilder::new("body").string_content(body.as_str()).build()]),
        None => told.children([NodeBuilder::new("delete").build()]),
    };
    group.description = body.map(|body| Description { id: new_id, body, author: actor.number.clone(), t: unix_now() });
    notify::announce_to_members(state, id, actor, told.build());
    Ok(())
}

fn ephemeral(state: &mut State, actor: &Address, id: &str, request: &Node) -> Result<(), Refusal> {
    let number = |key| attr(request, key).and_then(|text| text.parse().ok());
    let group = changed(state, actor, id, Needs::Unlocked)?;
    let expiration = number("expiration").filter(|expiration| *expiration > 0);
    group.ephemeral = expiration.map(|expiration| Ephemeral { expiration, trigger: number("trigger") });
    let body = if group.ephemeral.is_some() { request.clone() } else { NodeBuilder::new("not_ephemeral").build() };
    notify::announce_to_members(state, id, actor, body);
    Ok(())
}

/// Who adds members, and whether admins let them in.
fn mode(state: &mut State, actor: &Address, id: &str, request: &Node) -> Result<(), Refusal> {
    let group = changed(state, actor, id, Needs::Admin)?;
    if request.tag == "member_add_mode" {
        group.admin_add = match content_text(request).as_deref() {
            Some("admin_add") => true,
            Some("all_member_add") => false,
            _ => return Err(Refusal::BAD_REQUEST),
        };
        notify::announce_to_members(state, id, actor, request.clone());
        return Ok(());
    }
    let join = request.get_optional_child("group_join").ok_or(Refusal::BAD_REQUEST)?;
    let on = attr_or_empty(join, "state") == "on";
    group.approval = on;
    // Who still waits when nobody has to any more is let in.
    let waiting: Vec<_> = if on { Vec::new() } else { group.requests.keys().cloned().collect() };
    notify::announce_to_members(state, id, actor, info::approval_mode(on));
    if !waiting.is_empty() {
        super::participants::add_all(state, actor, id, &waiting, None);
    }
    Ok(())
}
