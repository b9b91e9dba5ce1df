//! Members: add, remove, promote, demote, leave.

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use super::{
    Done, Refusal, info,
    model::{GROUP_SIZE, Group, PersonalInvite, Role, new_code},
    named_people, notify,
};
use crate::{
    ids::{Address, Number},
    stanza::{attr, unix_now},
    state::State,
};

/// How long a personal invite works, in seconds.
const INVITE_TIME: u64 = 3 * 24 * 3600;
/// Who left twice in this many seconds cannot be added for the rest of them.
const LEFT_TIME: u64 = 24 * 3600;

/// A change of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add,
    Remove,
    Promote,
    Demote,
}

impl Change {
    /// The tag of the request, the answer and the notification.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Promote => "promote",
            Self::Demote => "demote",
        }
    }

    /// The change a tag names.
    pub fn parse(tag: &str) -> Option<Self> {
        [Self::Add, Self::Remove, Self::Promote, Self::Demote].into_iter().find(|change| change.tag() == tag)
    }
}

/// Whether somebody can be added.
pub enum Admission {
    Admitted(Number),
    Refused(u16, Option<PersonalInvite>),
}

/// Answers one of the four requests with a result per person.
pub fn answer(state: &mut State, actor: &Address, id: &str, tag: &str, request: &Node) -> Done {
    let change = Change::parse(tag).ok_or(Refusal::BAD_REQUEST)?;
    let people = named_people(state, request);
    let linked = attr(request, "linked_groups").as_deref() == Some("true");
    let results = change_participants(state, actor, id, change, people.clone())?;
    if linked && change == Change::Remove {
        let groups: Vec<String> = state.groups.linked_to(id).iter().map(|group| group.id.clone()).collect();
        for group in groups {
            // Whoever is not in a linked group stays out of it.
            let members: Vec<_> = people
                .iter()
                .filter(|(_, number)| {
                    let group = state.groups.get(&group);
                    number.as_ref().is_some_and(|number| group.is_some_and(|g| g.role(number).is_some()))
                })
                .cloned()
                .collect();
            remove_all(state, actor, &group, members);
        }
    }
    Ok(vec![NodeBuilder::new(change.tag()).children(results).build()])
}

/// Changes members, announces what changed, and returns a `<participant/>` for
/// each person, with `error` where it failed. Errors for the whole: 404 no such
/// group, 403 no rights.
pub fn change_participants(
    state: &mut State,
    actor: &Address,
    id: &str,
    change: Change,
    people: Vec<(Jid, Option<Number>)>,
) -> Result<Vec<Node>, Refusal> {
    let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
    let may = match (change, group.role(&actor.number)) {
        (_, None) => false,
        (Change::Add, Some(_)) if !group.admin_add && !group.default_sub_group => true,
        (_, Some(role)) => role >= Role::Admin,
    };
    if !may {
        return Err(Refusal::FORBIDDEN);
    }
    let before = group.everybody();
    let mut results = Vec::new();
    let mut changed = Vec::new();
    for (jid, number) in people {
        let done = change_one(state, actor, id, change, number.as_ref());
        let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
        match (done, number) {
            (Ok(moved), Some(number)) => {
                let Some(account) = state.accounts.get(&number) else {
                    continue;
                };
                let person = info::person(group, account).attr("type", "200").build();
                results.push(person);
                if moved {
                    changed.push(number);
                }
            }
            (Err((code, invite)), number) => {
                results.push(refusal(state, group, &jid, number.as_ref(), code, invite.as_ref()));
            }
            (Ok(_), None) => {}
        }
    }
    tell(state, actor, id, change, &changed, before);
    if change == Change::Add {
        super::community::follow_into_community(state, actor, id, &changed);
    }
    Ok(results)
}

/// Removes people from one group without asking for rights in it: the community
/// was asked.
pub fn remove_all(state: &mut State, actor: &Address, id: &str, people: Vec<(Jid, Option<Number>)>) {
    let Some(group) = state.groups.get_mut(id) else {
        return;
    };
    let before = group.everybody();
    let numbers: Vec<Number> = people.into_iter().filter_map(|(_, number)| number).collect();
    for number in &numbers {
        group.members.remove(number);
    }
    tell(state, actor, id, Change::Remove, &numbers, before);
}

/// Adds people without asking anybody, and announces it.
pub fn add_all(state: &mut State, actor: &Address, id: &str, people: &[Number], reason: Option<&'static str>) {
    let Some(group) = state.groups.get_mut(id) else {
        return;
    };
    for number in people {
        group.members.entry(number.clone()).or_insert(Role::Member);
        group.requests.remove(number);
        group.personal_invites.remove(number);
    }
    let body = people_node(state, id, Change::Add, people, reason);
    notify::announce_to_members(state, id, actor, body);
}

/// Announces a change of members; `before` is who was in it.
pub fn tell(state: &mut State, actor: &Address, id: &str, change: Change, changed: &[Number], before: Vec<Number>) {
    if changed.is_empty() {
        return;
    }
    let body = people_node(state, id, change, changed, None);
    match change {
        // Those who are out hear it, too.
        Change::Remove => notify::announce(state, id, actor, &before, body),
        _ => notify::announce_to_members(state, id, actor, body),
    }
}

/// `<add>`, `<remove>`, ... with these people.
pub fn people_node(state: &State, id: &str, change: Change, people: &[Number], reason: Option<&'static str>) -> Node {
    let group = state.groups.get(id);
    let people = people.iter().filter_map(|number| {
        let person = info::person(group?, state.accounts.get(number)?);
        Some(match group?.role(number).and_then(Role::wire) {
            Some(role) => person.attr("type", role).build(),
            None => person.build(),
        })
    });
    let node = NodeBuilder::new(change.tag()).children(people.collect::<Vec<_>>());
    match reason {
        Some(reason) => node.attr("reason", reason).build(),
        None => node.build(),
    }
}

/// Whether anything moved, or the code and invite of the refusal.
fn change_one(
    state: &mut State,
    actor: &Address,
    id: &str,
    change: Change,
    number: Option<&Number>,
) -> Result<bool, (u16, Option<PersonalInvite>)> {
    let mut group = state.groups.take(id).ok_or((404, None))?;
    let result = change_in(state, &mut group, actor, change, number);
    state.groups.put_back(group);
    result
}

fn change_in(
    state: &State,
    group: &mut Group,
    actor: &Address,
    change: Change,
    number: Option<&Number>,
) -> Result<bool, (u16, Option<PersonalInvite>)> {
    if change == Change::Add {
        return match admit(state, group, actor, number) {
            Admission::Admitted(number) => {
                group.members.insert(number.clone(), Role::Member);
                group.requests.remove(&number);
                group.banned.remove(&number);
                Ok(true)
            }
            Admission::Refused(code, invite) => Err((code, invite)),
        };
    }
    let number = number.ok_or((404, None))?;
    let role = group.role(number).ok_or((404, None))?;
    if role == Role::SuperAdmin && change != Change::Promote {
        return Err((405, None));
    }
    match change {
        Change::Remove => {
            group.members.remove(number);
            group.banned.insert(number.clone());
            Ok(true)
        }
        Change::Promote if role == Role::Member => {
            group.members.insert(number.clone(), Role::Admin);
            Ok(true)
        }
        Change::Demote if role == Role::Admin => {
            group.members.insert(number.clone(), Role::Member);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Whether `actor` can add somebody: 404 no account, 409 in it already, 419
/// full, 408 left again and again, 403 does not want it (with an invite).
pub fn admit(state: &State, group: &mut Group, actor: &Address, number: Option<&Number>) -> Admission {
    let Some(number) = number else {
        return Admission::Refused(404, None);
    };
    if group.role(number).is_some() {
        return Admission::Refused(409, None);
    }
    if group.members.len() >= GROUP_SIZE {
        return Admission::Refused(419, None);
    }
    let now = unix_now();
    let left = group.left.get(number).map_or(0, |times| times.iter().filter(|t| now < **t + LEFT_TIME).count());
    if left > 1 {
        return Admission::Refused(408, None);
    }
    if state.accounts.get(number).is_some_and(|account| !account.shows("groupadd", &actor.number)) {
        let invite = PersonalInvite { code: new_code(), expiration: now + INVITE_TIME, by: actor.number.clone() };
        group.personal_invites.insert(number.clone(), invite.clone());
        return Admission::Refused(403, Some(invite));
    }
    Admission::Admitted(number.clone())
}

/// `<participant jid error><add_request/></participant>`
pub fn refusal(
    state: &State,
    group: &Group,
    jid: &Jid,
    number: Option<&Number>,
    code: u16,
    invite: Option<&PersonalInvite>,
) -> Node {
    let person = match number.and_then(|number| state.accounts.get(number)) {
        Some(account) => info::person(group, account),
        None => NodeBuilder::new("participant").attr("jid", jid),
    };
    let person = person.attr("error", code);
    let Some(invite) = invite else {
        return person.build();
    };
    let request = NodeBuilder::new("add_request")
        .attr("code", invite.code.as_str())
        .attr("expiration", invite.expiration)
        .build();
    person.children([request]).build()
}
