//! Invite links and personal invites.

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use super::{
    Done, Refusal, info,
    model::{GROUP_SIZE, JoinRequest},
    named_people, notify, participants, requests,
};
use crate::{
    ids::Address,
    stanza::{attr_or_empty, unix_now},
    state::State,
};

/// Answers `<invite/>` of a member: the code of the link, a new one for a set.
/// 401 for those who may not see it.
pub fn code(state: &mut State, actor: &Address, id: &str, reset: bool) -> Done {
    let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
    let admin = group.is_admin(&actor.number);
    if !admin && (reset || !group.open_link) {
        return Err(Refusal::NOT_AUTHORIZED);
    }
    let mut code = group.invite.clone();
    if reset {
        code = state.groups.reset_code(id).ok_or(Refusal::NOT_FOUND)?;
        let body = NodeBuilder::new("invite").attr("code", code.as_str()).build();
        notify::announce_to_members(state, id, actor, body);
    }
    Ok(vec![NodeBuilder::new("invite").attr("code", code).build()])
}

/// Answers `<invite code/>` (get): what the group is like, without its members.
/// 404 for a code that never was, 410 for one that was reset.
pub fn preview(state: &State, code: &str) -> Done {
    let group = state.groups.by_code(code).map_err(Refusal::of_code)?;
    Ok(vec![info::node(state, group, info::Detail::Preview)])
}

/// Answers `<invite code/>` (set): joins, or asks to be let in. 304 for members,
/// 405 for those an admin threw out, 419 when it is full.
pub fn join(state: &mut State, actor: &Address, code: &str) -> Done {
    let group = state.groups.by_code(code).map_err(Refusal::of_code)?;
    let (id, number) = (group.id.clone(), &actor.number);
    if group.role(number).is_some() {
        return Err(Refusal(304, "not-modified"));
    }
    if group.banned.contains(number) {
        return Err(Refusal::NOT_ALLOWED);
    }
    enter(state, actor, &id, "invite_link", "invite")
}

/// Lets somebody in or, where admins decide, notes that they ask.
pub fn enter(state: &mut State, actor: &Address, id: &str, method: &'static str, reason: &'static str) -> Done {
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    if group.members.len() >= GROUP_SIZE {
        return Err(Refusal(419, "resource-limit"));
    }
    let jid = group.jid();
    if group.approval {
        group.requests.insert(actor.number.clone(), JoinRequest { t: unix_now(), method });
        requests::tell_of_new(state, id, actor, method);
        return Ok(vec![NodeBuilder::new("membership_approval_request").attr("jid", jid).build()]);
    }
    let me = [actor.number.clone()];
    participants::add_all(state, actor, id, &me, Some(reason));
    super::community::follow_into_community(state, actor, id, &me);
    Ok(vec![NodeBuilder::new("group").attr("jid", jid).build()])
}

/// Answers `<accept code expiration admin/>`: a personal invite is used up. 404
/// for a code nobody made for this person, 410 when its time is over.
pub fn accept(state: &mut State, actor: &Address, id: &str, request: &Node) -> Done {
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    if group.role(&actor.number).is_some() {
        return Err(Refusal::CONFLICT);
    }
    let code = attr_or_empty(request, "code");
    let invite = group.personal_invites.get(&actor.number).filter(|invite| invite.code == code);
    let invite = invite.ok_or(Refusal::NOT_FOUND)?;
    let valid = invite.expiration > unix_now() && group.is_admin(&invite.by);
    group.personal_invites.remove(&actor.number);
    if !valid {
        return Err(Refusal(410, "gone"));
    }
    if group.members.len() >= GROUP_SIZE {
        return Err(Refusal(419, "resource-limit"));
    }
    let jid = group.jid();
    let me = [actor.number.clone()];
    participants::add_all(state, actor, id, &me, Some("invite"));
    Ok(vec![NodeBuilder::new("group").attr("jid", jid).build()])
}

/// Answers `<revoke><participant jid/>..</revoke>`: takes personal invites back.
pub fn revoke(state: &mut State, actor: &Address, id: &str, request: &Node) -> Done {
    let people = named_people(state, request);
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    if !group.is_admin(&actor.number) {
        return Err(Refusal::FORBIDDEN);
    }
    let results = people.into_iter().map(|(jid, number): (Jid, _)| {
        let had = number.and_then(|number| group.personal_invites.remove(&number)).is_some();
        let person = NodeBuilder::new("participant").attr("jid", jid);
        if had { person.build() } else { person.attr("error", 404u16).build() }
    });
    Ok(vec![NodeBuilder::new("revoke").children(results.collect::<Vec<_>>()).build()])
}
