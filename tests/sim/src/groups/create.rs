//! `<create>`.

use wacore_binary::{Node, Server, builder::NodeBuilder};

use super::{
    Done, Refusal, info,
    model::{Description, Ephemeral, Group, Parent, Role},
    named_group, named_people, notify,
    participants::{self, Admission},
};
use crate::{
    ids::{Address, Number},
    stanza::{attr, attr_or_empty, content_text, unix_now},
    state::State,
};

/// Most characters of a subject.
pub const SUBJECT: usize = 100;

/// What a new group is to be like.
#[derive(Default)]
pub struct NewGroup {
    pub subject: String,
    /// The address family; the one of the creator when absent.
    pub family: Option<Server>,
    /// Who is added at once, as named and as who they are.
    pub people: Vec<(wacore_binary::Jid, Option<Number>)>,
    pub description: Option<(String, String)>,
    pub ephemeral: Option<Ephemeral>,
    pub approval: bool,
    pub admin_add: bool,
    pub open_link: bool,
    pub parent: Option<Parent>,
    pub linked_parent: Option<String>,
    /// With a general chat beside the announcement group (communities).
    pub general_chat: bool,
}

/// Answers `<create subject>` with the new group.
pub fn answer(state: &mut State, actor: &Address, request: &Node) -> Done {
    let has = |tag: &str| request.get_optional_child(tag);
    let text = |tag: &str| has(tag).and_then(content_text);
    let new = NewGroup {
        subject: attr_or_empty(request, "subject"),
        family: None,
        people: named_people(state, request),
        description: has("description").and_then(|description| {
            let body = content_text(description.get_optional_child("body")?)?;
            Some((attr_or_empty(description, "id"), body))
        }),
        ephemeral: has("ephemeral").and_then(|node| {
            let expiration = attr(node, "expiration")?.parse().ok().filter(|n| *n > 0)?;
            Some(Ephemeral { expiration, trigger: attr(node, "trigger").and_then(|t| t.parse().ok()) })
        }),
        approval: has("membership_approval_mode")
            .and_then(|mode| mode.get_optional_child("group_join"))
            .is_some_and(|join| attr_or_empty(join, "state") == "on"),
        admin_add: text("member_add_mode").as_deref() == Some("admin_add"),
        open_link: text("member_link_mode").as_deref() == Some("all_member_link"),
        parent: has("parent").map(|parent| Parent {
            closed: attr_or_empty(parent, "default_membership_approval_mode") == "request_required",
            open_creation: has("allow_non_admin_sub_group_creation").is_some(),
        }),
        linked_parent: has("linked_parent").and_then(|parent| named_group(parent, "jid")),
        general_chat: has("create_general_chat").is_some(),
    };
    let (id, refused) = create(state, actor, new)?;
    let group = state.groups.get(&id).ok_or(Refusal::NOT_FOUND)?;
    Ok(vec![info::with_refused(state, group, refused)])
}

/// Makes a group and tells its members. Returns its id and a `<participant
/// error/>` for each one who could not be added. Errors: 406 for a bad subject,
/// 403 and 404 for a community the actor may not add groups to.
pub fn create(state: &mut State, actor: &Address, new: NewGroup) -> Result<(String, Vec<Node>), Refusal> {
    if new.subject.is_empty() || new.subject.chars().count() > SUBJECT {
        return Err(Refusal::NOT_ACCEPTABLE);
    }
    if let Some(parent) = &new.linked_parent {
        may_add_to(state, parent, &actor.number)?;
    }
    let account = state.account(&actor.number).map_err(|_| Refusal::NOT_FOUND)?;
    let family = new.family.unwrap_or_else(|| account.family());
    let id = state.groups.next_id();
    let mut group = Group::new(id.clone(), family, new.subject, actor.number.clone());
    group.description = new.description.map(|(description, body)| Description {
        id: description,
        body,
        author: actor.number.clone(),
        t: unix_now(),
    });
    group.ephemeral = new.ephemeral;
    group.approval = new.approval;
    group.admin_add = new.admin_add;
    group.open_link = new.open_link;
    group.parent = new.parent;
    group.linked_parent = new.linked_parent;
    if new.parent.is_some_and(|parent| parent.open_creation) {
        group.on.insert("allow_non_admin_sub_group_creation");
    }
    let mut refused = Vec::new();
    for (jid, number) in new.people {
        match participants::admit(state, &mut group, actor, number.as_ref()) {
            Admission::Admitted(number) => {
                group.members.insert(number, Role::Member);
            }
            // Clients name themselves, too.
            Admission::Refused(409, _) => {}
            Admission::Refused(code, invite) => {
                refused.push(participants::refusal(state, &group, &jid, number.as_ref(), code, invite.as_ref()));
            }
        }
    }
    let is_parent = group.parent.is_some();
    state.groups.insert(group);
    if is_parent {
        super::community::add_own_groups(state, &id, actor, new.general_chat);
    }
    if let Some(group) = state.groups.get(&id) {
        let body = NodeBuilder::new("create")
            .attr("type", "new")
            .children([info::node(state, group, info::Detail::Full)])
            .build();
        notify::announce_to_members(state, &id, actor, body);
    }
    super::community::announce_new(state, &id, actor);
    Ok((id, refused))
}

fn may_add_to(state: &State, parent: &str, number: &Number) -> Result<(), Refusal> {
    let parent = state.groups.get(parent).ok_or(Refusal::NOT_FOUND)?;
    let open = parent.parent.ok_or(Refusal::NOT_ACCEPTABLE)?.open_creation
        || parent.is_on("allow_non_admin_sub_group_creation");
    if parent.is_admin(number) || (open && parent.role(number).is_some()) { Ok(()) } else { Err(Refusal::FORBIDDEN) }
}
