//! `notification type="mex"` and `type="newsletter"`.

use serde_json::json;
use wacore_binary::{Node, builder::NodeBuilder};

use super::queries::describe;
use crate::{
    ids::{Address, Number},
    queue::Class,
    stanza::unix_now,
    state::State,
};

/// Tells the actor's other devices of a change of theirs.
pub fn own_devices(state: &mut State, id: &str, actor: &Address, op: &'static str, key: &'static str) {
    tell(state, id, actor, std::slice::from_ref(&actor.number), op, key);
}

/// Tells all who follow, and the owner's other devices.
pub fn followers(state: &mut State, id: &str, actor: &Address, op: &'static str, key: &'static str) {
    let Ok(newsletter) = state.newsletters.get(id) else {
        return;
    };
    let people: Vec<Number> = newsletter.people.keys().cloned().collect();
    tell(state, id, actor, &people, op, key);
}

fn tell(state: &mut State, id: &str, actor: &Address, people: &[Number], op: &'static str, key: &'static str) {
    for to in companions(state, people, Some(actor)) {
        let Ok(newsletter) = state.newsletters.get(id) else {
            return;
        };
        let from = newsletter.jid();
        let data = json!({ "data": { key: describe(newsletter, &to.number) } });
        let update = NodeBuilder::new("update").attr("op_name", op).bytes(data.to_string().into_bytes()).build();
        let node = NodeBuilder::new("notification")
            .attr("type", "mex")
            .attr("from", from)
            .attr("id", state.next_stanza_id())
            .attr("t", unix_now())
            .children([update])
            .build();
        state.deliver(&to, Class::Notification, None, node);
    }
}

/// All companions of these accounts but one.
pub fn companions(state: &State, people: &[Number], but: Option<&Address>) -> Vec<Address> {
    let accounts = people.iter().filter_map(|number| state.accounts.get(number));
    accounts
        .flat_map(|account| account.companions.keys().map(|device| Address::new(&account.number, *device)))
        .filter(|device| but != Some(device))
        .collect()
}

/// Tells the devices that asked for it what a post's counts are.
pub fn live(state: &mut State, id: &str, post: Node) {
    let Ok(newsletter) = state.newsletters.get(id) else {
        return;
    };
    let (jid, now) = (newsletter.jid(), unix_now());
    let devices: Vec<Address> =
        newsletter.live.iter().filter(|(_, until)| **until > now).map(|(device, _)| device.clone()).collect();
    for to in devices {
        let messages = NodeBuilder::new("messages").attr("jid", &jid).attr("t", now).children([post.clone()]).build();
        let node = NodeBuilder::new("notification")
            .attr("type", "newsletter")
            .attr("from", &jid)
            .attr("id", state.next_stanza_id())
            .attr("t", now)
            .children([NodeBuilder::new("live_updates").children([messages]).build()])
            .build();
        state.deliver(&to, Class::Notification, None, node);
    }
}
