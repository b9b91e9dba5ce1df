//! Privacy, block list, about text: small account settings.

use wacore_binary::{Node, Server, builder::NodeBuilder};

use crate::{
    ids::{Address, Number},
    queue::Class,
    stanza::{attr, attr_or_empty, bytes, children, iq_result, jid, unix_now},
    state::State,
};

/// The categories a client asks for, and what an untouched account answers.
const PRIVACY: &[(&str, &str)] = &[
    ("last", "all"),
    ("online", "all"),
    ("profile", "all"),
    ("status", "all"),
    ("groupadd", "all"),
    ("readreceipts", "all"),
    ("calladd", "all"),
];

/// Answers one of the settings; nothing when it is not understood.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Option<Node> {
    let set = attr_or_empty(node, "type") == "set";
    let child = children(node).first();
    let tag = child.map_or("", |c| c.tag.as_ref());
    match (attr(node, "xmlns")?.as_ref(), set, tag) {
        ("privacy", false, "privacy") => {
            let categories = PRIVACY
                .iter()
                .map(|(name, value)| NodeBuilder::new("category").attr("name", *name).attr("value", *value).build());
            let body = NodeBuilder::new("privacy").children(categories).build();
            Some(iq_result(node, [body]))
        }
        ("privacy", true, "privacy") => Some(iq_result(node, child.cloned())),
        ("privacy", true, "tokens") => {
            issue_tokens(state, address, child?);
            Some(iq_result(node, child.cloned()))
        }
        ("blocklist", false, _) => {
            let blocked = state.account(&address.number).ok()?.blocked.clone();
            let items = blocked.into_iter().map(|jid| NodeBuilder::new("item").attr("jid", jid).build());
            let list = NodeBuilder::new("list").attr("dhash", "sim").children(items).build();
            Some(iq_result(node, [list]))
        }
        ("blocklist", true, "item") => {
            let who = jid(child?, "jid")?;
            let blocked = &mut state.account_mut(&address.number).ok()?.blocked;
            blocked.retain(|known| *known != who);
            if attr(child?, "action").as_deref() == Some("block") {
                blocked.push(who);
            }
            Some(iq_result(node, []))
        }
        ("status", true, "status") => {
            let text = child.and_then(bytes).unwrap_or_default();
            let account = state.account_mut(&address.number).ok()?;
            account.about = String::from_utf8_lossy(&text).into_owned();
            Some(iq_result(node, []))
        }
        ("disappearing_mode", true, _) => Some(iq_result(node, [])),
        _ => None,
    }
}

/// Trusted-contact tokens: each contact gets one for the issuer, to show when
/// it writes to somebody who restricts that.
fn issue_tokens(state: &mut State, issuer: &Address, tokens: &Node) {
    let contacts: Vec<Number> =
        children(tokens).iter().filter_map(|token| state.resolve(&jid(token, "jid")?)).collect();
    let Ok(account) = state.account(&issuer.number) else {
        return;
    };
    let from = account.jid(Server::Pn, 0);
    let lid = account.jid(Server::Lid, 0);
    for contact in contacts {
        let devices: Vec<u16> =
            state.accounts.get(&contact).map_or_else(Vec::new, |a| a.companions.keys().copied().collect());
        for device in devices {
            let token = NodeBuilder::new("token")
                .attr("t", unix_now())
                .attr("type", "trusted_contact")
                .bytes(format!("sim-token-{}", issuer.number).into_bytes())
                .build();
            let notification = NodeBuilder::new("notification")
                .attr("type", "privacy_token")
                .attr("from", &from)
                .attr("sender_lid", &lid)
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .children([NodeBuilder::new("tokens").children([token]).build()])
                .build();
            let to = Address::new(&contact, device);
            state.deliver(&to, Class::Notification, Some(&issuer.number), notification);
        }
    }
}
