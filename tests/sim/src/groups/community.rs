//! Communities: a parent group, its announcement group, and groups linked to it.

use std::collections::BTreeSet;

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use super::{
    Done, Refusal, info, invite,
    model::{Group, Role},
    named_group, notify, participants,
};
use crate::{
    ids::{Address, Number},
    stanza::{attr, jid},
    state::State,
};

/// Makes the groups every community has: announcements and, if wanted, the
/// general chat.
pub fn add_own_groups(state: &mut State, parent: &str, actor: &Address, general_chat: bool) {
    for general in [false, true] {
        if general && !general_chat {
            continue;
        }
        let id = state.groups.next_id();
        let Some(community) = state.groups.get(parent) else {
            return;
        };
        let subject = if general { "General".to_owned() } else { community.subject.clone() };
        let mut group = Group::new(id, community.family, subject, community.creator.clone());
        group.members.clone_from(&community.members);
        group.linked_parent = Some(parent.to_owned());
        group.default_sub_group = !general;
        group.general_chat = general;
        if !general {
            group.on.insert("announcement");
        }
        let id = group.id.clone();
        state.groups.insert(group);
        announce_creation(state, &id, actor);
    }
}

fn announce_creation(state: &mut State, id: &str, actor: &Address) {
    if let Some(group) = state.groups.get(id) {
        let group = info::node(state, group, info::Detail::Full);
        let body = NodeBuilder::new("create").attr("type", "new").children([group]).build();
        notify::announce_to_members(state, id, actor, body);
    }
}

/// After a linked group was made: its members are in the community, which hears
/// of it.
pub fn announce_new(state: &mut State, id: &str, actor: &Address) {
    let Some((parent, members)) =
        state.groups.get(id).and_then(|group| Some((group.linked_parent.clone()?, group.everybody())))
    else {
        return;
    };
    follow_into_community(state, actor, id, &members);
    tell_links(state, &parent, actor, &[id.to_owned()]);
}

/// Members of a linked group are members of the community and its announcement
/// group.
pub fn follow_into_community(state: &mut State, actor: &Address, id: &str, people: &[Number]) {
    let Some(parent) = state.groups.get(id).and_then(|group| group.linked_parent.clone()) else {
        return;
    };
    let announcements = state.groups.linked_to(&parent).into_iter().find(|group| group.default_sub_group);
    let announcements = announcements.map(|group| group.id.clone());
    for id in [Some(parent), announcements].into_iter().flatten() {
        let Some(group) = state.groups.get(&id) else {
            continue;
        };
        let new: Vec<Number> = people.iter().filter(|number| group.role(number).is_none()).cloned().collect();
        if !new.is_empty() {
            participants::add_all(state, actor, &id, &new, Some("linked_group_join"));
        }
    }
}

/// Answers `<links><link link_type="sub_group"><group jid/>..`: with a result
/// per group. 404 no such group, 403 no admin there, 406 it is linked already or
/// a community itself.
pub fn link(state: &mut State, actor: &Address, parent: &str, request: &Node) -> Done {
    let community = state.groups.get(parent).ok_or(Refusal::NOT_FOUND)?;
    let open = community.is_on("allow_non_admin_sub_group_creation");
    if community.parent.is_none() || !(open || community.is_admin(&actor.number)) {
        return Err(Refusal::FORBIDDEN);
    }
    let wanted = request.get_optional_child("link").ok_or(Refusal::BAD_REQUEST)?;
    let mut results = Vec::new();
    let mut linked = Vec::new();
    for node in wanted.get_children_by_tag("group") {
        let jid = jid(node, "jid").ok_or(Refusal::BAD_REQUEST)?;
        let error = match state.groups.get_mut(&jid.user) {
            None => Some(404u16),
            Some(group) if group.parent.is_some() || group.linked_parent.is_some() => Some(406),
            Some(group) if !group.is_admin(&actor.number) => Some(403),
            Some(group) => {
                group.linked_parent = Some(parent.to_owned());
                linked.push(group.id.clone());
                None
            }
        };
        let node = NodeBuilder::new("group").attr("jid", jid);
        results.push(match error {
            Some(code) => node.attr("error", code).build(),
            None => node.build(),
        });
    }
    for id in &linked {
        let members = state.groups.get(id).map_or_else(Vec::new, Group::everybody);
        follow_into_community(state, actor, id, &members);
        tell_parent(state, id, parent, actor, "link", None);
    }
    tell_links(state, parent, actor, &linked);
    let link = NodeBuilder::new("link").attr("link_type", "sub_group").children(results).build();
    Ok(vec![NodeBuilder::new("links").children([link]).build()])
}

/// Tells the community of groups that are new in it.
fn tell_links(state: &mut State, parent: &str, actor: &Address, linked: &[String]) {
    let groups: Vec<Node> = linked.iter().filter_map(|id| Some(short(state.groups.get(id)?))).collect();
    if groups.is_empty() {
        return;
    }
    let body = NodeBuilder::new("link").attr("link_type", "sub_group").children(groups).build();
    notify::announce_to_members(state, parent, actor, body);
}

/// Tells the members of a group that its community is another one.
fn tell_parent(
    state: &mut State,
    id: &str,
    parent: &str,
    actor: &Address,
    tag: &'static str,
    reason: Option<&'static str>,
) {
    let Some(community) = state.groups.get(parent) else {
        return;
    };
    let kind = if tag == "link" { "link_type" } else { "unlink_type" };
    let mut body = NodeBuilder::new(tag).attr(kind, "parent_group").children([short(community)]);
    if let Some(reason) = reason {
        body = body.attr("unlink_reason", reason);
    }
    notify::announce_to_members(state, id, actor, body.build());
}

fn short(group: &Group) -> Node {
    NodeBuilder::new("group")
        .attr("jid", group.jid())
        .attr("subject", group.subject.as_str())
        .attr("s_t", group.subject_t)
        .build()
}

/// Answers `<unlink unlink_type="sub_group"><group jid/>..`.
pub fn unlink(state: &mut State, actor: &Address, parent: &str, request: &Node) -> Done {
    let community = state.groups.get(parent).ok_or(Refusal::NOT_FOUND)?;
    if !community.is_admin(&actor.number) {
        return Err(Refusal::FORBIDDEN);
    }
    let mut results = Vec::new();
    for node in request.get_children_by_tag("group") {
        let jid = jid(node, "jid").ok_or(Refusal::BAD_REQUEST)?;
        let orphans = attr(node, "remove_orphaned_members").as_deref() == Some("true");
        let result = NodeBuilder::new("group").attr("jid", &jid);
        let linked = state
            .groups
            .get(&jid.user)
            .filter(|group| group.linked_parent.as_deref() == Some(parent) && !group.default_sub_group);
        let Some(group) = linked else {
            results.push(result.attr("error", 404u16).build());
            continue;
        };
        let (gone, told) = (short(group), group.everybody());
        cut_off(state, actor, parent, &jid.user, "unlink_group");
        let body = NodeBuilder::new("unlink").attr("unlink_type", "sub_group").children([gone]).build();
        notify::announce_to_members(state, parent, actor, body);
        if orphans {
            remove_orphans(state, actor, parent, &told);
        }
        results.push(result.build());
    }
    Ok(vec![NodeBuilder::new("unlink").attr("unlink_type", "sub_group").children(results).build()])
}

fn cut_off(state: &mut State, actor: &Address, parent: &str, id: &str, reason: &'static str) {
    tell_parent(state, id, parent, actor, "unlink", Some(reason));
    if let Some(group) = state.groups.get_mut(id) {
        group.linked_parent = None;
        group.general_chat = false;
    }
}

/// Takes those out of a community who are in none of its groups any more.
fn remove_orphans(state: &mut State, actor: &Address, parent: &str, people: &[Number]) {
    let linked = state.groups.linked_to(parent);
    let announcements = linked.iter().find(|group| group.default_sub_group).map(|group| group.id.clone());
    let kept = |number: &Number| {
        state.groups.get(parent).is_some_and(|group| group.is_admin(number))
            || linked.iter().any(|group| !group.default_sub_group && group.role(number).is_some())
    };
    let orphans: Vec<(Jid, Option<Number>)> =
        people.iter().filter(|number| !kept(number)).map(|number| (number.jid(), Some(number.clone()))).collect();
    if orphans.is_empty() {
        return;
    }
    for id in [Some(parent.to_owned()), announcements].into_iter().flatten() {
        participants::remove_all(state, actor, &id, orphans.clone());
    }
}

/// Answers `<delete_parent/>` of its maker: the community and its announcement
/// group are gone, the others are groups like any.
pub fn deactivate(state: &mut State, actor: &Address, parent: &str) -> Done {
    let community = state.groups.get(parent).ok_or(Refusal::NOT_FOUND)?;
    if community.parent.is_none() || community.role(&actor.number) != Some(Role::SuperAdmin) {
        return Err(Refusal::FORBIDDEN);
    }
    let linked: Vec<(String, bool)> =
        state.groups.linked_to(parent).into_iter().map(|group| (group.id.clone(), group.default_sub_group)).collect();
    let mut gone = vec![parent.to_owned()];
    for (id, announcements) in linked {
        if announcements {
            gone.push(id);
        } else {
            cut_off(state, actor, parent, &id, "delete_parent");
        }
    }
    for id in gone {
        if let Some(group) = state.groups.remove(&id) {
            let body = NodeBuilder::new("delete").attr("reason", "delete_parent").build();
            notify::announce_of_gone(state, &group, actor, body);
        }
    }
    Ok(Vec::new())
}

/// The community and one of its groups, for somebody in the community.
fn within<'a>(
    state: &'a State,
    actor: &Address,
    parent: &str,
    request: &Node,
) -> Result<(&'a Group, &'a Group), Refusal> {
    let community = state.groups.get(parent).ok_or(Refusal::NOT_FOUND)?;
    community.role(&actor.number).ok_or(Refusal::FORBIDDEN)?;
    let id = named_group(request, "jid").ok_or(Refusal::BAD_REQUEST)?;
    let group = state.groups.get(&id).filter(|group| group.linked_parent.as_deref() == Some(parent));
    Ok((community, group.ok_or(Refusal::NOT_FOUND)?))
}

/// Answers `<query_linked type="sub_group" jid/>`.
pub fn query_linked(state: &State, actor: &Address, parent: &str, request: &Node) -> Done {
    let (_, group) = within(state, actor, parent, request)?;
    Ok(vec![linked_group(state, group)])
}

fn linked_group(state: &State, group: &Group) -> Node {
    let group = info::node(state, group, info::Detail::Full);
    NodeBuilder::new("linked_group").attr("type", "sub_group").children([group]).build()
}

/// Answers `<join_linked_group jid/>` of a member of the community.
pub fn join(state: &mut State, actor: &Address, parent: &str, request: &Node) -> Done {
    let (_, group) = within(state, actor, parent, request)?;
    let id = group.id.clone();
    if group.role(&actor.number).is_some() {
        return Err(Refusal::CONFLICT);
    }
    if group.approval {
        return invite::enter(state, actor, &id, "linked_group_join", "linked_group_join");
    }
    invite::enter(state, actor, &id, "linked_group_join", "linked_group_join")?;
    let group = state.groups.get(&id).ok_or(Refusal::NOT_FOUND)?;
    Ok(vec![linked_group(state, group)])
}

/// Answers `<linked_groups_participants/>`: everybody in any group of it.
pub fn participants(state: &State, parent: &str) -> Done {
    let community = state.groups.get(parent).ok_or(Refusal::NOT_FOUND)?;
    let mut everybody: BTreeSet<Number> = community.members.keys().cloned().collect();
    for group in state.groups.linked_to(parent) {
        everybody.extend(group.members.keys().cloned());
    }
    let people = everybody.iter().filter_map(|number| {
        let person = info::person(community, state.accounts.get(number)?);
        Some(match community.role(number).and_then(Role::wire) {
            Some(role) => person.attr("type", role).build(),
            None => person.build(),
        })
    });
    Ok(vec![NodeBuilder::new("linked_groups_participants").children(people.collect::<Vec<_>>()).build()])
}
