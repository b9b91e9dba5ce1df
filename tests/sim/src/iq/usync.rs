//! `usync`: who is on WhatsApp, with which devices and LID.

use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};

use crate::{
    account::{Account, Addressing},
    ids::{Address, Number},
    stanza::{children, copy_attrs, iq_error, iq_result, jid, unix_now},
    state::State,
};

/// Answers the protocols named in `<query>` for every listed user.
pub fn answer(state: &mut State, asker: &Address, node: &Node) -> Node {
    let Some(request) = node.get_optional_child("usync") else {
        return iq_error(node, 400, "bad-request");
    };
    let protocols: Vec<String> =
        request.get_optional_child("query").map_or(&[][..], children).iter().map(|p| p.tag.to_string()).collect();
    for protocol in &protocols {
        if !KNOWN.contains(&protocol.as_str()) {
            state.record_unknown(node);
        }
    }
    let users: Vec<Node> = request
        .get_optional_child("list")
        .map_or(&[][..], children)
        .iter()
        .filter_map(|user| answer_user(state, asker, user, &protocols))
        .collect();
    let states = protocols.iter().map(|p| NodeBuilder::new_dynamic(p.clone()).build());
    let body = copy_attrs(NodeBuilder::new("usync"), request, &["sid", "index", "last", "mode", "context"])
        .children([
            NodeBuilder::new("result").children(states).build(),
            NodeBuilder::new("list").children(users).build(),
        ])
        .build();
    iq_result(node, [body])
}

/// The protocols the simulator answers; `text_status`, `username`, `bot` and
/// `sidelist` are known and empty, as for most accounts.
const KNOWN: &[&str] = &[
    "devices",
    "contact",
    "lid",
    "status",
    "business",
    "picture",
    "disappearing_mode",
    "text_status",
    "username",
    "bot",
    "sidelist",
    "feature",
];

fn answer_user(state: &mut State, asker: &Address, user: &Node, protocols: &[String]) -> Option<Node> {
    let by_number = user
        .get_optional_child("contact")
        .and_then(|c| c.content_as_string())
        .and_then(|text| Number::parse(&text).ok());
    let asked: Jid = match (jid(user, "jid"), &by_number) {
        (Some(jid), _) => jid,
        (None, Some(number)) => number.jid(),
        (None, None) => return None,
    };
    let found = state.resolve(&asked);
    let mut reply = NodeBuilder::new("user").attr("jid", asked.to_non_ad());
    let Some(number) = found else {
        let mut content = Vec::new();
        if protocols.iter().any(|p| p == "contact") {
            content.push(contact_node(by_number.as_ref(), "out"));
        }
        return Some(reply.children(content).build());
    };
    let account = state.accounts.get_mut(&number)?;
    if protocols.iter().any(|p| p == "devices") && number != asker.number {
        account.watchers.insert(asker.number.clone());
    }
    if account.addressing != Addressing::LidAlone {
        reply = reply.attr("pn_jid", account.jid(Server::Pn, 0));
    }
    let content: Vec<Node> = protocols
        .iter()
        .filter_map(|protocol| answer_protocol(account, &asker.number, protocol, by_number.as_ref()))
        .collect();
    Some(reply.children(content).build())
}

fn contact_node(number: Option<&Number>, kind: &str) -> Node {
    let contact = NodeBuilder::new("contact").attr("type", kind);
    match number {
        Some(number) => contact.bytes(format!("+{number}").into_bytes()).build(),
        None => contact.build(),
    }
}

fn answer_protocol(account: &Account, viewer: &Number, protocol: &str, asked: Option<&Number>) -> Option<Node> {
    Some(match protocol {
        "devices" => devices_node(account),
        "contact" => contact_node(asked, "in"),
        "lid" if account.addressing == Addressing::PnAlone => return None,
        "lid" => NodeBuilder::new("lid").attr("val", account.jid(Server::Lid, 0)).build(),
        "status" if !account.shows("status", viewer) => NodeBuilder::new("status").attr("code", "401").build(),
        "status" => NodeBuilder::new("status").attr("t", unix_now()).bytes(account.about.clone().into_bytes()).build(),
        "disappearing_mode" => NodeBuilder::new("disappearing_mode").attr("duration", "0").attr("t", "0").build(),
        "picture" => {
            if !account.shows("profile", viewer) {
                return None;
            }
            let id = account.picture.as_ref()?.id.clone();
            NodeBuilder::new("picture").attr("id", id).build()
        }
        // An empty <business/> would say that it is one.
        "business" => NodeBuilder::new("business").children([account.business.as_ref()?.node()]).build(),
        _ => return None,
    })
}

fn devices_node(account: &Account) -> Node {
    let phone = NodeBuilder::new("device").attr("id", 0u16).build();
    let companions = account.companions.iter().map(|(id, companion)| {
        NodeBuilder::new("device").attr("id", *id).attr("key-index", companion.key_index).build()
    });
    let list = NodeBuilder::new("device-list").children(std::iter::once(phone).chain(companions)).build();
    let mut content = vec![list];
    match account.signed_key_index_list() {
        Ok(signed) => content.push(NodeBuilder::new("key-index-list").attr("ts", unix_now()).bytes(signed).build()),
        Err(error) => tracing::error!("cannot sign a device list: {error:#}"),
    }
    NodeBuilder::new("devices").children(content).build()
}
