//! Trusted-contact tokens: whoever has written to somebody gives them one, to
//! be shown when they write to somebody who takes messages from trusted people
//! only.

use rand::RngExt as _;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};

use crate::{
    ids::{Address, Number},
    queue::Class,
    stanza::{attr_or_empty, child_bytes, children, jid, unix_now},
    state::State,
};

/// The code of a message that was refused for want of a token.
pub const UNTRUSTED: u16 = 463;

/// `<tokens>` of an account: each named contact gets one for it. Returns the
/// answer's body: the same tokens, with the bytes the server has for the way
/// back.
pub fn issue(state: &mut State, issuer: &Address, request: &Node) -> Node {
    let mut answers = Vec::new();
    for asked in children(request) {
        let contact = jid(asked, "jid").and_then(|jid| state.resolve(&jid));
        let mut answer = NodeBuilder::new("token")
            .attr("jid", jid(asked, "jid").unwrap_or_default())
            .attr("t", attr_or_empty(asked, "t"))
            .attr("type", attr_or_empty(asked, "type"));
        if let Some(contact) = contact {
            give(state, &issuer.number, &contact);
            let back = state.accounts.get(&contact).and_then(|other| other.tokens.get(&issuer.number));
            if let Some(bytes) = back {
                answer = answer.bytes(bytes.clone());
            }
        }
        answers.push(answer.build());
    }
    NodeBuilder::new("tokens").children(answers).build()
}

/// Gives `contact` a token for `issuer`, the same as long as it is an account.
fn give(state: &mut State, issuer: &Number, contact: &Number) {
    let Some(account) = state.accounts.get_mut(issuer) else {
        return;
    };
    let fresh: [u8; 16] = rand::rng().random();
    let token = account.tokens.entry(contact.clone()).or_insert_with(|| fresh.to_vec()).clone();
    let (from, lid) = (account.jid(Server::Pn, 0), account.jid(Server::Lid, 0));
    let devices: Vec<u16> =
        state.accounts.get(contact).map_or_else(Vec::new, |a| a.companions.keys().copied().collect());
    for device in devices {
        let token = NodeBuilder::new("token")
            .attr("t", unix_now())
            .attr("type", "trusted_contact")
            .bytes(token.clone())
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("type", "privacy_token")
            .attr("from", &from)
            .attr("sender_lid", &lid)
            .attr("id", state.next_stanza_id())
            .attr("t", unix_now())
            .children([NodeBuilder::new("tokens").children([token]).build()])
            .build();
        state.deliver(&Address::new(contact, device), Class::Notification, Some(issuer), notification);
    }
}

/// Whether the receiver of a direct message takes it: everybody may write to an
/// account that is not restricted, to others its contacts and who shows a token.
pub fn accepts(state: &State, sender: &Number, to: &Jid, node: &Node) -> bool {
    let Some(receiver) = state.resolve(to).and_then(|number| state.accounts.get(&number)) else {
        return true;
    };
    if !receiver.restricted || receiver.number == *sender || receiver.contacts.contains(sender) {
        return true;
    }
    let shown = child_bytes(node, "tctoken");
    shown.is_some() && shown.as_ref() == receiver.tokens.get(sender)
}

#[cfg(test)]
mod tests {
    use wacore_binary::builder::NodeBuilder;

    use super::accepts;
    use crate::{
        account::AccountOptions,
        ids::Number,
        stanza::{empty, leaf},
        state::State,
    };

    #[test]
    fn only_the_token_that_was_given_is_taken() {
        let mut state = State::new("127.0.0.1:1".parse().unwrap()).unwrap();
        let [alice, bob] = ["15550001", "15550002"].map(|number| {
            state.create_account(number, &AccountOptions::default()).unwrap();
            Number::parse(number).unwrap()
        });
        let message = |token: &[u8]| NodeBuilder::new("message").children([leaf("tctoken", token)]).build();
        let account = state.account_mut(&bob).unwrap();
        account.restricted = true;
        account.tokens.insert(alice.clone(), vec![1; 16]);
        assert!(accepts(&state, &alice, &bob.jid(), &message(&[1; 16])));
        assert!(!accepts(&state, &alice, &bob.jid(), &message(&[2; 16])));
        assert!(!accepts(&state, &alice, &bob.jid(), &empty("message")));
    }
}
