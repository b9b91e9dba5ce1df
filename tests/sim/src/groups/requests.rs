//! Membership approval: who asks to be let in, and what admins say.

use wacore_binary::{Node, builder::NodeBuilder};

use super::{Done, Refusal, info, model::GROUP_SIZE, named_people, notify, participants};
use crate::{
    ids::{Address, Number},
    state::State,
};

/// Tells the admins that somebody asks.
pub fn tell_of_new(state: &mut State, id: &str, actor: &Address, method: &'static str) {
    let Some(group) = state.groups.get(id) else {
        return;
    };
    let Some(account) = state.accounts.get(&actor.number) else {
        return;
    };
    let user = info::named_person("requested_user", group.family, account).build();
    let body = NodeBuilder::new("created_membership_requests").attr("request_method", method).children([user]).build();
    let admins = group.admins();
    notify::announce(state, id, actor, &admins, body);
}

/// Answers `<membership_approval_requests/>` of an admin.
pub fn list(state: &State, actor: &Address, id: &str) -> Done {
    let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
    if !group.is_admin(&actor.number) {
        return Err(Refusal::FORBIDDEN);
    }
    let requests = group.requests.iter().filter_map(|(number, request)| {
        let account = state.accounts.get(number)?;
        let node = info::named_person("membership_approval_request", group.family, account)
            .attr("request_time", request.t)
            .attr("request_method", request.method);
        Some(node.build())
    });
    Ok(vec![NodeBuilder::new("membership_approval_requests").children(requests.collect::<Vec<_>>()).build()])
}

/// Answers `<membership_requests_action><approve|reject><participant jid/>..`.
pub fn act(state: &mut State, actor: &Address, id: &str, request: &Node) -> Done {
    let (tag, action) = [("approve", "approve"), ("reject", "reject")]
        .into_iter()
        .find_map(|(tag, name)| Some((tag, request.get_optional_child(name)?)))
        .ok_or(Refusal::BAD_REQUEST)?;
    let people = named_people(state, action);
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    if !group.is_admin(&actor.number) {
        return Err(Refusal::FORBIDDEN);
    }
    let mut results = Vec::new();
    let mut settled: Vec<Number> = Vec::new();
    for (jid, number) in people {
        let full = tag == "approve" && group.members.len() + settled.len() >= GROUP_SIZE;
        let found = number.filter(|number| group.requests.contains_key(number));
        let person = NodeBuilder::new("participant").attr("jid", jid);
        results.push(match (&found, full) {
            (None, _) => person.attr("error", 404u16).build(),
            (Some(_), true) => person.attr("error", 419u16).build(),
            (Some(_), false) => person.build(),
        });
        settled.extend(found.filter(|_| !full));
    }
    for number in &settled {
        group.requests.remove(number);
    }
    if tag == "reject" {
        tell_of_end(state, id, actor, &settled);
    } else if !settled.is_empty() {
        participants::add_all(state, actor, id, &settled, None);
    }
    let inner = NodeBuilder::new(tag).children(results).build();
    Ok(vec![NodeBuilder::new("membership_requests_action").children([inner]).build()])
}

/// Answers `<cancel_membership_requests>` of those who asked.
pub fn cancel(state: &mut State, actor: &Address, id: &str, request: &Node) -> Done {
    let people = named_people(state, request);
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    let mut results = Vec::new();
    let mut gone = Vec::new();
    for (jid, number) in people {
        // Nobody takes back what another one asked.
        let own = number.filter(|number| *number == actor.number);
        let found = own.filter(|number| group.requests.remove(number).is_some());
        let person = NodeBuilder::new("participant").attr("jid", jid);
        results.push(if found.is_some() { person.build() } else { person.attr("error", 404u16).build() });
        gone.extend(found);
    }
    tell_of_end(state, id, actor, &gone);
    Ok(vec![NodeBuilder::new("cancel_membership_requests").children(results).build()])
}

/// Tells the admins and those who asked that requests are gone.
fn tell_of_end(state: &mut State, id: &str, actor: &Address, gone: &[Number]) {
    let Some(group) = state.groups.get(id).filter(|_| !gone.is_empty()) else {
        return;
    };
    let people = gone.iter().filter_map(|number| Some(info::person(group, state.accounts.get(number)?).build()));
    let body = NodeBuilder::new("revoked_membership_requests").children(people.collect::<Vec<_>>()).build();
    let mut told = group.admins();
    told.extend_from_slice(gone);
    notify::announce(state, id, actor, &told, body);
}
