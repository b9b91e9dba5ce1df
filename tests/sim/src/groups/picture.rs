//! Pictures of groups.

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use super::{Refusal, info, notify};
use crate::{
    account::Picture,
    ids::Address,
    queue::Class,
    stanza::{attr, attr_or_empty, bytes, iq_error, iq_result, jid, unix_now},
    state::State,
};

/// Answers `w:profile:picture` about a group.
pub fn answer(state: &mut State, actor: &Address, group: &Jid, node: &Node) -> Node {
    let result = if attr_or_empty(node, "type") == "set" {
        let image = node.get_optional_child("picture").and_then(bytes).filter(|image| !image.is_empty());
        set(state, actor, &group.user, image)
            .map(|id| id.map(|id| NodeBuilder::new("picture").attr("id", id).build()).into_iter().collect())
    } else {
        let known = node.get_optional_child("picture").and_then(|p| attr(p, "id"));
        get(state, actor, &group.user, known.as_deref()).map(|found| vec![found])
    };
    match result {
        Ok(content) => iq_result(node, content),
        Err(Refusal(code, text)) => iq_error(node, code, text),
    }
}

fn get(state: &State, actor: &Address, id: &str, known: Option<&str>) -> Result<Node, Refusal> {
    let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
    group.role(&actor.number).ok_or(Refusal::NOT_AUTHORIZED)?;
    let picture = group.picture.as_ref().ok_or(Refusal::NOT_FOUND)?;
    if known == Some(&picture.id) {
        return Ok(NodeBuilder::new("picture").build());
    }
    Ok(describe(state, NodeBuilder::new("picture").attr("type", "image"), picture))
}

fn describe(state: &State, node: NodeBuilder, picture: &Picture) -> Node {
    node.attr("id", picture.id.as_str())
        .attr("url", format!("https://{}{}", state.listen, picture.path))
        .attr("direct_path", picture.path.as_str())
        .build()
}

/// Answers `<pictures><picture jid type/>..</pictures>`: those that are there.
pub fn batch(state: &State, actor: &Address, request: &Node) -> Vec<Node> {
    let found = request.get_children_by_tag("picture").filter_map(|wanted| {
        let jid = jid(wanted, "jid")?;
        let group = state.groups.get(&jid.user).filter(|group| group.role(&actor.number).is_some())?;
        let node = NodeBuilder::new("picture").attr("jid", &jid).attr("type", attr_or_empty(wanted, "type"));
        Some(describe(state, node, group.picture.as_ref()?))
    });
    vec![NodeBuilder::new("pictures").children(found.collect::<Vec<_>>()).build()]
}

/// Sets or removes the picture and tells the members. Returns its new id.
/// Errors: 404, 403 for those who may not.
pub fn set(state: &mut State, actor: &Address, id: &str, image: Option<Vec<u8>>) -> Result<Option<String>, Refusal> {
    let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
    let member = group.role(&actor.number).is_some();
    if !member || (group.is_on("locked") && !group.is_admin(&actor.number)) {
        return Err(Refusal::FORBIDDEN);
    }
    let (jid, told, family) = (group.jid(), group.everybody(), group.family);
    let picture = image.map(|image| Picture {
        path: state.media.store(image.into()),
        id: format!("{}", 1_000_000 + state.media.len()),
    });
    let picture_id = picture.as_ref().map(|picture| picture.id.clone());
    if let Some(group) = state.groups.get_mut(id) {
        group.picture = picture;
    }
    let author = state.account(&actor.number).map_err(|_| Refusal::NOT_FOUND)?;
    let node = match &picture_id {
        Some(id) => NodeBuilder::new("set").attr("id", id.as_str()),
        None => NodeBuilder::new("delete"),
    };
    let body = node.attr("jid", &jid).attr("author", author.jid(family, 0));
    let body = info::with_other(body, family, author, "author_pn", None).build();
    for to in notify::others(state, &told, Some(actor)) {
        let notification = NodeBuilder::new("notification")
            .attr("type", "picture")
            .attr("from", &jid)
            .attr("id", state.next_stanza_id())
            .attr("t", unix_now())
            .children([body.clone()])
            .build();
        state.deliver(&to, Class::Notification, None, notification);
    }
    Ok(picture_id)
}
