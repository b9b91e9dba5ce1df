//! Privacy, tokens, about text: small account settings.

use wacore_binary::{Node, Server, builder::NodeBuilder};

use crate::{
    ids::{Address, Number},
    queue::Class,
    stanza::{attr, attr_or_empty, bytes, children, iq_error, iq_result, jid, leaf, unix_now},
    state::State,
    tokens,
};

/// Answers one of the settings; nothing when it is not understood.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Option<Node> {
    let set = attr_or_empty(node, "type") == "set";
    let child = children(node).first();
    let tag = child.map_or("", |c| c.tag.as_ref());
    match (attr(node, "xmlns")?.as_ref(), set, tag) {
        ("privacy", false, "privacy") => {
            let privacy = state.account(&address.number).ok()?.privacy.clone();
            let categories = privacy
                .all()
                .map(|(name, value)| NodeBuilder::new("category").attr("name", name).attr("value", value).build());
            let body = NodeBuilder::new("privacy").children(categories).build();
            Some(iq_result(node, [body]))
        }
        ("privacy", true, "privacy") => set_privacy(state, address, node, child?),
        ("privacy", true, "tokens") => {
            let tokens = tokens::issue(state, address, child?);
            Some(iq_result(node, [tokens]))
        }
        ("status", false, "privacy") => Some(iq_result(node, [status_lists(state, &address.number)?])),
        ("status", true, "status") => {
            let text = child.and_then(bytes).unwrap_or_default();
            set_about(state, &address.number, &String::from_utf8_lossy(&text));
            Some(iq_result(node, []))
        }
        ("disappearing_mode", true, _) => Some(iq_result(node, [])),
        _ => None,
    }
}

/// Who may see the account's status posts: all rules with the people on their lists, the chosen one marked.
fn status_lists(state: &State, number: &Number) -> Option<Node> {
    let account = state.account(number).ok()?;
    let (chosen, people) = &account.status_audience;
    let lists = ["contacts", "whitelist", "blacklist"].into_iter().map(|rule| {
        let named = people.iter().filter(|_| rule == *chosen).filter_map(|person| state.account(person).ok());
        let users = named.map(|person| NodeBuilder::new("user").attr("jid", person.jid(Server::Pn, 0)).build());
        let list = NodeBuilder::new("list").attr("type", rule).children(users.collect::<Vec<_>>());
        if rule == *chosen { list.attr("default", "true").build() } else { list.build() }
    });
    Some(NodeBuilder::new("privacy").children(lists.collect::<Vec<_>>()).build())
}

/// Sets one or more categories; refuses what does not exist, and a list of
/// exceptions that was changed meanwhile.
fn set_privacy(state: &mut State, address: &Address, node: &Node, request: &Node) -> Option<Node> {
    let mut replies = Vec::new();
    for category in children(request) {
        let (name, value) = (attr_or_empty(category, "name"), attr_or_empty(category, "value"));
        let users: Vec<(Number, bool)> = category
            .get_children_by_tag("user")
            .filter_map(|user| {
                Some((state.resolve(&jid(user, "jid")?)?, attr(user, "action").as_deref() != Some("remove")))
            })
            .collect();
        let privacy = &mut state.account_mut(&address.number).ok()?.privacy;
        if attr(category, "dhash").is_some_and(|known| known != "none" && known != privacy.dhash(&name)) {
            return Some(iq_error(node, 409, "conflict"));
        }
        if privacy.set(&name, &value).is_none() {
            return Some(iq_error(node, 400, "bad-request"));
        }
        for (user, add) in users {
            privacy.except(&name, user, add);
        }
        let reply = NodeBuilder::new("category")
            .attr("name", name.as_str())
            .attr("value", value)
            .attr("dhash", privacy.dhash(&name));
        replies.push(reply.build());
    }
    Some(iq_result(node, [NodeBuilder::new("privacy").children(replies).build()]))
}

/// Sets the text beside an account's name and tells those who know the account,
/// as far as they may see it.
pub fn set_about(state: &mut State, number: &Number, text: &str) {
    let Some(account) = state.accounts.get_mut(number) else {
        return;
    };
    account.about = text.to_owned();
    let from = account.jid(Server::Pn, 0);
    let mut told: Vec<Number> =
        account.watchers.iter().filter(|watcher| account.shows("status", watcher)).cloned().collect();
    told.push(number.clone());
    for watcher in told {
        for device in state.companions_of(&watcher) {
            let notification = NodeBuilder::new("notification")
                .attr("type", "status")
                .attr("from", &from)
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .children([leaf("set", text.as_bytes())])
                .build();
            state.deliver(&Address::new(&watcher, device), Class::Notification, Some(number), notification);
        }
    }
}
