//! `encrypt`: prekeys up and down.

use wacore::prekeys::compute_key_bundle_digest;
use wacore_binary::{Jid, Node, builder::NodeBuilder};

use crate::{
    account::SignedPrekey,
    ids::Address,
    login::read_id,
    queue::Class,
    stanza::{attr_or_empty, child_bytes, children, error_node, iq_error, iq_result, jid, leaf, server_jid, unix_now},
    state::State,
};

/// With how many one-time prekeys left a companion is asked for more.
const LOW_POOL: usize = 10;

/// A bundle somebody else can start a session with.
pub struct Bundle {
    pub registration_id: u32,
    pub identity: [u8; 32],
    pub signed_prekey: SignedPrekey,
    /// Taken out of the pool; absent when that is empty.
    pub prekey: Option<(u32, [u8; 32])>,
    /// Companions only.
    pub identity_proof: Option<Vec<u8>>,
}

/// Answers an `encrypt` IQ; nothing when it is not understood.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Option<Node> {
    let set = attr_or_empty(node, "type") == "set";
    let has = |tag: &str| node.get_optional_child(tag);
    if set && has("list").is_some() {
        return Some(match upload(state, address, node) {
            Some(()) => iq_result(node, []),
            None => iq_error(node, 406, "not-acceptable"),
        });
    }
    if set && let Some(rotate) = has("rotate") {
        let prekey = rotate.get_optional_child("skey").and_then(read_signed);
        let companion = state.companion_mut(address)?;
        companion.registration.signed_prekey = match prekey {
            Some(prekey) => prekey,
            None => return Some(iq_error(node, 406, "not-acceptable")),
        };
        return Some(iq_result(node, []));
    }
    if has("count").is_some() {
        let count = state.companion_mut(address)?.prekeys.len();
        let count = NodeBuilder::new("count").attr("value", count).build();
        return Some(iq_result(node, [count]));
    }
    if has("digest").is_some() {
        return Some(digest(state, address, node));
    }
    if let Some(request) = has("key") {
        let users = children(request).iter().map(|user| bundle_node(state, user));
        let users: Vec<Node> = users.collect();
        let list = NodeBuilder::new("list").children(users).build();
        return Some(iq_result(node, [list]));
    }
    if let Some(request) = has("identity") {
        let users: Vec<Node> = children(request).iter().map(|user| identity_node(state, user)).collect();
        let list = NodeBuilder::new("list").children(users).build();
        return Some(iq_result(node, [list]));
    }
    None
}

fn upload(state: &mut State, address: &Address, node: &Node) -> Option<()> {
    let registration = child_bytes(node, "registration")?;
    let identity: [u8; 32] = child_bytes(node, "identity")?.try_into().ok()?;
    let signed = read_signed(node.get_optional_child("skey")?)?;
    let mut keys = Vec::new();
    for key in children(node.get_optional_child("list")?) {
        let id = read_id(&child_bytes(key, "id")?)?;
        keys.push((id, child_bytes(key, "value")?.try_into().ok()?));
    }
    let companion = state.companion_mut(address)?;
    // Another identity would be another device: nobody could verify it.
    if companion.registration.identity != identity {
        return None;
    }
    companion.registration.registration_id = read_id(&registration)?;
    companion.registration.signed_prekey = signed;
    for (id, value) in keys {
        companion.prekeys.retain(|(known, _)| *known != id);
        companion.prekeys.push_back((id, value));
    }
    Some(())
}

fn read_signed(node: &Node) -> Option<SignedPrekey> {
    Some(SignedPrekey {
        id: read_id(&child_bytes(node, "id")?)?,
        value: child_bytes(node, "value")?.try_into().ok()?,
        signature: child_bytes(node, "signature")?,
    })
}

fn digest(state: &mut State, address: &Address, node: &Node) -> Node {
    let Some(companion) = state.companion_mut(address) else {
        return iq_error(node, 404, "item-not-found");
    };
    if companion.prekeys.is_empty() {
        return iq_error(node, 404, "item-not-found");
    }
    let registration = &companion.registration;
    let values: Vec<&[u8]> = companion.prekeys.iter().map(|(_, v)| &v[..]).collect();
    let hash = compute_key_bundle_digest(
        &registration.identity,
        &registration.signed_prekey.value,
        &registration.signed_prekey.signature,
        &values,
    );
    let ids = companion.prekeys.iter().map(|(id, _)| id_leaf(*id));
    let body = NodeBuilder::new("digest")
        .children([
            leaf("registration", registration.registration_id.to_be_bytes()),
            leaf("type", [5]),
            leaf("identity", registration.identity),
            signed_node(&registration.signed_prekey),
            NodeBuilder::new("list").children(ids).build(),
            leaf("hash", hash),
        ])
        .build();
    iq_result(node, [body])
}

fn id_leaf(id: u32) -> Node {
    leaf("id", &id.to_be_bytes()[1..])
}

fn signed_node(prekey: &SignedPrekey) -> Node {
    NodeBuilder::new("skey")
        .children([id_leaf(prekey.id), leaf("value", prekey.value), leaf("signature", prekey.signature.clone())])
        .build()
}

fn bundle_node(state: &mut State, request: &Node) -> Node {
    let asked = jid(request, "jid").unwrap_or_default();
    let user = NodeBuilder::new("user").attr("jid", &asked);
    let Some(bundle) = take_bundle(state, &asked) else {
        return user.children([error_node(406, "not-acceptable")]).build();
    };
    let mut content = vec![
        leaf("registration", bundle.registration_id.to_be_bytes()),
        leaf("type", [5]),
        leaf("identity", bundle.identity),
        signed_node(&bundle.signed_prekey),
    ];
    if let Some((id, value)) = bundle.prekey {
        let key = NodeBuilder::new("key").children([id_leaf(id), leaf("value", value)]);
        content.push(key.build());
    }
    if let Some(proof) = bundle.identity_proof {
        content.push(leaf("device-identity", proof));
    }
    user.attr("t", unix_now()).children(content).build()
}

/// Takes a bundle of a device out of the server, one-time prekey included.
pub fn take_bundle(state: &mut State, device: &Jid) -> Option<Bundle> {
    let address = state.resolve_device(device)?;
    take_bundle_of(state, &address)
}

/// As [`take_bundle`], for a known address.
pub fn take_bundle_of(state: &mut State, address: &Address) -> Option<Bundle> {
    if address.device == 0 {
        let account = state.accounts.get_mut(&address.number)?;
        return account.phone.make_bundle().ok();
    }
    let companion = state.companion_mut(address)?;
    let bundle = Bundle {
        registration_id: companion.registration.registration_id,
        identity: companion.registration.identity,
        signed_prekey: companion.registration.signed_prekey.clone(),
        prekey: companion.prekeys.pop_front(),
        identity_proof: Some(companion.identity_proof.clone()),
    };
    let left = companion.prekeys.len();
    if bundle.prekey.is_some() && left == LOW_POOL {
        warn_of_low_pool(state, address, left);
    }
    Some(bundle)
}

/// Asks a companion for more one-time prekeys.
fn warn_of_low_pool(state: &mut State, address: &Address, left: usize) {
    let count = NodeBuilder::new("count").attr("value", left).build();
    let notification = NodeBuilder::new("notification")
        .attr("type", "encrypt")
        .attr("from", server_jid())
        .attr("id", state.next_stanza_id())
        .attr("t", unix_now())
        .children([count])
        .build();
    state.deliver(address, Class::Notification, None, notification);
}

fn identity_node(state: &mut State, request: &Node) -> Node {
    let asked = jid(request, "jid").unwrap_or_default();
    let user = NodeBuilder::new("user").attr("jid", &asked);
    let identity = state.resolve_device(&asked).and_then(|address| {
        let account = state.accounts.get(&address.number)?;
        if address.device == 0 {
            let identity = account.phone.identity().public_key();
            return Some(identity.public_key_bytes().to_vec());
        }
        let companion = account.companions.get(&address.device)?;
        Some(companion.registration.identity.to_vec())
    });
    match identity {
        Some(identity) => user.children([leaf("type", [5]), leaf("identity", identity)]).build(),
        None => user.children([error_node(406, "not-acceptable")]).build(),
    }
}
