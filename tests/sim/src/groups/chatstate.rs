//! `<chatstate>` in groups: never queued.

use wacore_binary::{Jid, Node, builder::NodeBuilder};

use crate::{
    account::Link,
    history::PresenceItem,
    ids::{Address, ConnId},
    stanza::attr,
    state::State,
};

/// Shows the other members what one is doing. Nothing happens for those who are
/// not in the group.
pub fn relay(state: &mut State, actor: &Address, group: &Jid, shown: &Node) {
    let Some(group) = state.groups.get(&group.user).filter(|group| group.role(&actor.number).is_some()) else {
        return;
    };
    let Some(account) = state.accounts.get(&actor.number) else {
        return;
    };
    let node = NodeBuilder::new("chatstate")
        .attr("from", group.jid())
        .attr("participant", group.jid_of(account, actor.device))
        .children([shown.clone()])
        .build();
    let name = match (shown.tag.as_ref(), attr(shown, "media").as_deref()) {
        ("composing", Some("audio")) => "recording",
        (name, _) => name,
    };
    let item = PresenceItem { from: actor.number.to_string(), state: name.to_owned() };
    let told: Vec<_> = group.members.keys().filter(|number| **number != actor.number).cloned().collect();
    let mut conns: Vec<ConnId> = Vec::new();
    for number in told {
        let Some(account) = state.accounts.get_mut(&number) else {
            continue;
        };
        account.phone.presences.push(item.clone());
        conns.extend(account.companions.values().filter_map(|companion| match companion.link {
            Link::Live(conn) => Some(conn),
            _ => None,
        }));
    }
    for conn in conns {
        state.send(conn, node.clone());
    }
}
