//! `w:profile:picture`.

use wacore_binary::{JidExt as _, Node, Server, builder::NodeBuilder};

use crate::{
    account::Picture,
    groups,
    ids::{Address, Number},
    queue::Class,
    stanza::{attr, attr_or_empty, bytes, iq_error, iq_result, jid, unix_now},
    state::State,
};

/// Answers a request for a picture or to change one's own.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Node {
    if let Some(group) = ["target", "to"].iter().filter_map(|key| jid(node, key)).find(|jid| jid.is_group()) {
        return groups::answer_picture(state, address, &group, node);
    }
    if attr_or_empty(node, "type") == "set" {
        let image = node.get_optional_child("picture").and_then(bytes);
        let id = set_picture(state, &address.number, image);
        let id = id.map(|id| NodeBuilder::new("picture").attr("id", id).build());
        return iq_result(node, id);
    }
    let target = jid(node, "target").or_else(|| jid(node, "to"));
    let number = target.and_then(|jid| state.resolve(&jid));
    let owner = number.and_then(|n| state.accounts.get(&n));
    let Some((owner, picture)) = owner.and_then(|owner| Some((owner, owner.picture.as_ref()?))) else {
        return iq_error(node, 404, "item-not-found");
    };
    if !owner.shows("profile", &address.number) {
        return iq_error(node, 401, "not-authorized");
    }
    let known = node.get_optional_child("picture").and_then(|p| attr(p, "id"));
    if known.as_deref() == Some(&picture.id) {
        return iq_result(node, [NodeBuilder::new("picture").build()]);
    }
    let body = NodeBuilder::new("picture")
        .attr("id", picture.id.clone())
        .attr("type", "image")
        .attr("url", format!("https://{}{}", state.listen, picture.path))
        .attr("direct_path", picture.path.clone())
        .build();
    iq_result(node, [body])
}

/// Sets or removes an account's picture and tells those who know the account.
/// Returns the new picture's id.
pub fn set_picture(state: &mut State, number: &Number, image: Option<Vec<u8>>) -> Option<String> {
    let picture = image.map(|image| Picture {
        path: state.media.store(image.into()),
        id: format!("{}", 1_000_000 + state.media.len()),
    });
    let id = picture.as_ref().map(|p| p.id.clone());
    let account = state.accounts.get_mut(number)?;
    account.picture = picture;
    let jid = account.jid(Server::Pn, 0);
    let mut told: Vec<Number> =
        account.watchers.iter().filter(|watcher| account.shows("profile", watcher)).cloned().collect();
    told.push(number.clone());
    let body = match &id {
        Some(id) => NodeBuilder::new("set").attr("jid", &jid).attr("id", id).attr("author", &jid).build(),
        None => NodeBuilder::new("delete").attr("jid", &jid).build(),
    };
    for watcher in told {
        let devices: Vec<u16> =
            state.accounts.get(&watcher).map_or_else(Vec::new, |a| a.companions.keys().copied().collect());
        for device in devices {
            let notification = NodeBuilder::new("notification")
                .attr("type", "picture")
                .attr("from", &jid)
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .children([body.clone()])
                .build();
            let to = Address::new(&watcher, device);
            state.deliver(&to, Class::Notification, Some(number), notification);
        }
    }
    id
}
