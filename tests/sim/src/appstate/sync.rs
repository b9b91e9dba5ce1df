//! The server's side: patches up, newer patches and snapshots down.

use anyhow::{Context as _, Result};
use buffa::Message as _;
use wacore_binary::{Node, builder::NodeBuilder};
use waproto::whatsapp::{SyncdMutations, SyncdPatch};

use super::{COLLECTIONS, announce, snapshot};
use crate::{
    ids::{Address, Number},
    media,
    stanza::{attr, attr_or_empty, bytes, children, error_node, iq_error, iq_result, leaf},
    state::State,
};

/// Answers a `w:sync:app:state` IQ: patches up, newer patches down.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Node {
    let Some(sync) = node.get_optional_child("sync") else {
        return iq_error(node, 400, "bad-request");
    };
    let mut replies = Vec::new();
    let mut changed = Vec::new();
    for request in children(sync) {
        let name = attr_or_empty(request, "name");
        let reply = NodeBuilder::new("collection").attr("name", name.as_str());
        if !COLLECTIONS.contains(&name.as_str()) {
            replies.push(refuse(reply, 404, "item-not-found"));
            continue;
        }
        if let Ok(account) = state.account_mut(&address.number) {
            account.app_state.asked.insert((address.device, name.clone()));
        }
        let known = attr(request, "version").and_then(|v| v.parse().ok()).unwrap_or(0);
        let Some(upload) = request.get_optional_child("patch") else {
            replies.push(newer(state, &address.number, &name, known, reply));
            continue;
        };
        let current = state.account(&address.number).map_or(0, |account| account.app_state.version(&name));
        if known != current {
            // What won comes with the refusal.
            let reply = newer(state, &address.number, &name, known, reply.attr("type", "error"));
            replies.push(with_child(reply, error_node(409, "conflict")));
            continue;
        }
        match take(state, address, &name, upload) {
            Ok(version) => {
                replies.push(reply.attr("version", version).build());
                changed.push((name, version));
            }
            Err(error) => {
                // Other devices could not read it: a fault of this client.
                tracing::warn!("{address:?} wrote a bad patch of {name}: {error:#}");
                state.record_unknown(request);
                replies.push(refuse(reply, 400, "bad-request"));
            }
        }
    }
    for (name, version) in changed {
        announce(state, address, &name, version);
    }
    iq_result(node, [NodeBuilder::new("sync").children(replies).build()])
}

fn refuse(reply: NodeBuilder, code: u16, text: &str) -> Node {
    reply.attr("type", "error").children([error_node(code, text)]).build()
}

fn with_child(node: Node, child: Node) -> Node {
    let mut all = children(&node).to_vec();
    all.insert(0, child);
    Node { content: Some(wacore_binary::NodeContent::Nodes(all)), ..node }
}

/// Reads an uploaded patch; mutations it has put on the media store are
/// fetched.
fn take(state: &mut State, address: &Address, name: &str, upload: &Node) -> Result<u64> {
    let raw = bytes(upload).context("the patch is empty")?;
    let mut patch = SyncdPatch::decode_from_slice(&raw)?;
    if let Some(outside) = patch.external_mutations.as_option() {
        let located = media::Located {
            kind: wacore::download::MediaType::AppState,
            direct_path: outside.direct_path.clone().unwrap_or_default(),
            media_key: outside.media_key.clone(),
            file_sha256: outside.file_sha256.clone().unwrap_or_default(),
            file_enc_sha256: outside.file_enc_sha256.clone().unwrap_or_default(),
            mimetype: None,
        };
        let blob = state.media.held(&located.direct_path).context("no file with the mutations")?;
        let opened = media::open(&blob, &located)?.bytes()?;
        patch.mutations = SyncdMutations::decode_from_slice(&opened)?.mutations;
    }
    state.account_mut(&address.number)?.app_state.accept(address.device, name, patch)
}

/// What a device that knows a version lacks: a snapshot when patches of that
/// age are not kept, and at most one page of patches.
fn newer(state: &mut State, number: &Number, name: &str, known: u64, mut reply: NodeBuilder) -> Node {
    let Ok(account) = state.account(number) else {
        return reply.build();
    };
    let Some(collection) = account.app_state.collections.get(name) else {
        return reply.attr("version", 0).attr("has_more_patches", "false").build();
    };
    let (page, version) = (account.app_state.page, collection.version());
    let mut content = Vec::new();
    let mut from = known;
    if known < collection.base() {
        match snapshot::reference(state, number, name) {
            Ok((blob, at)) => {
                content.push(leaf("snapshot", blob.encode_to_vec()));
                from = at;
            }
            Err(error) => tracing::error!("snapshot of {name}: {error:#}"),
        }
    }
    let Some(collection) = state.account(number).ok().and_then(|a| a.app_state.collections.get(name)) else {
        return reply.build();
    };
    let patches: Vec<Node> = collection.after(from).take(page).map(|patch| leaf("patch", patch.clone())).collect();
    let more = from + (patches.len() as u64) < version;
    if !patches.is_empty() {
        content.push(NodeBuilder::new("patches").children(patches).build());
    }
    reply = reply.attr("version", version).attr("has_more_patches", if more { "true" } else { "false" });
    if content.is_empty() { reply.build() } else { reply.children(content).build() }
}
