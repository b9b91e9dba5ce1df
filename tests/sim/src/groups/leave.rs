//! Leaving a group.

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use super::{
    Done, Refusal,
    model::Role,
    named_group, notify,
    participants::{Change, people_node, tell},
};
use crate::{ids::Address, stanza::unix_now, state::State};

/// Answers `<leave><group id/>..</leave>`.
pub fn answer(state: &mut State, actor: &Address, request: &Node) -> Done {
    let mut left = Vec::new();
    for node in request.get_children_by_tag("group") {
        let id = named_group(node, "id").ok_or(Refusal::BAD_REQUEST)?;
        leave(state, actor, &id)?;
        left.push(NodeBuilder::new("group").attr("id", Jid::group(id)).build());
    }
    Ok(vec![NodeBuilder::new("leave").children(left).build()])
}

/// Takes the actor out of a group. When no admin is left, the first of the
/// others becomes one. Errors: 404, 403 who is not in it.
pub fn leave(state: &mut State, actor: &Address, id: &str) -> Result<(), Refusal> {
    let group = state.groups.get_mut(id).ok_or(Refusal::NOT_FOUND)?;
    let before = group.everybody();
    group.members.remove(&actor.number).ok_or(Refusal::FORBIDDEN)?;
    group.left.entry(actor.number.clone()).or_default().push(unix_now());
    let heir = group.members.keys().next().cloned().filter(|_| group.admins().is_empty());
    let me = std::slice::from_ref(&actor.number);
    tell(state, actor, id, Change::Remove, me, before);
    if let (Some(heir), Some(group)) = (heir, state.groups.get_mut(id)) {
        group.members.insert(heir.clone(), Role::Admin);
        let body = people_node(state, id, Change::Promote, &[heir], None);
        notify::announce_by_server(state, id, body);
    }
    Ok(())
}
