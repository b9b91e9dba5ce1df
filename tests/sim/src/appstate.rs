//! App state: versioned collections of encrypted patches.
//!
//! The server numbers the patches; the phone writes its own with the account's
//! one key and keeps a single running hash over its own and its companions'.

use std::collections::HashMap;

use anyhow::Result;
use buffa::{Message as _, MessageField};
use rand::RngExt as _;
use wacore_appstate::{
    encode_record, expand_app_state_keys,
    hash::{HashState, generate_patch_mac},
};
use wacore_binary::{Node, Server, builder::NodeBuilder};
use waproto::whatsapp::{
    KeyId, SyncActionValue, SyncdMutation, SyncdPatch, SyncdVersion,
    message::{AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId},
    sync_action_value::{ContactAction, PushNameSetting},
    syncd_mutation::SyncdOperation,
};

use crate::{
    ids::{Address, Number},
    queue::Class,
    stanza::{attr, attr_or_empty, bytes, children, error_node, iq_error, iq_result, leaf, server_jid, unix_now},
    state::State,
};

/// One collection.
#[derive(Default)]
struct Collection {
    /// The patches in order; the first has version 1.
    patches: Vec<Vec<u8>>,
    hash: HashState,
    /// The value MAC last set for each index MAC.
    values: HashMap<Vec<u8>, Vec<u8>>,
}

impl Collection {
    fn version(&self) -> u64 {
        self.patches.len() as u64
    }

    /// Takes mutations into the running hash.
    fn absorb(&mut self, mutations: &[SyncdMutation]) {
        let values = &self.values;
        let (_, result) = self.hash.update_hash(mutations, |index, _| Ok(values.get(index).cloned()));
        if let Err(error) = result {
            tracing::error!("app-state hash: {error:#}");
        }
        for mutation in mutations {
            let record = &mutation.record;
            let Some(index) = record.index.blob.clone() else {
                continue;
            };
            match (&mutation.operation, &record.value.blob) {
                (Some(op), _) if *op == SyncdOperation::REMOVE => {
                    self.values.remove(&index);
                }
                (_, Some(blob)) if blob.len() >= 32 => {
                    self.values.insert(index, blob[blob.len() - 32..].to_vec());
                }
                _ => {}
            }
        }
    }

    /// Stores a patch under the next version.
    fn append(&mut self, mut patch: SyncdPatch) {
        self.absorb(&patch.mutations);
        let version = self.version() + 1;
        self.hash.version = version;
        patch.version = MessageField::some(SyncdVersion { version: Some(version) });
        self.patches.push(patch.encode_to_vec());
    }
}

/// The app state of an account.
pub struct AppState {
    key_id: [u8; 6],
    key: [u8; 32],
    collections: HashMap<String, Collection>,
}

impl AppState {
    /// App state with a new key and the push name in `critical_block`.
    pub fn new(push_name: &str) -> Result<Self> {
        let mut app_state = Self {
            // Key ids start with the device that made the key: the phone, 0.
            key_id: [0, 0, 0, 0, 0, 1],
            key: rand::rng().random(),
            collections: HashMap::new(),
        };
        let value = SyncActionValue {
            timestamp: Some(unix_now() as i64 * 1000),
            push_name_setting: MessageField::some(PushNameSetting { name: Some(push_name.to_owned()) }),
            ..Default::default()
        };
        app_state.write("critical_block", &["setting_pushName"], 1, &value)?;
        Ok(app_state)
    }

    /// Writes one entry as the phone and returns the collection's new version.
    /// `action_version` is that of the kind of entry.
    pub fn write(&mut self, name: &str, index: &[&str], action_version: i32, value: &SyncActionValue) -> Result<u64> {
        let keys = expand_app_state_keys(&self.key);
        let iv: [u8; 16] = rand::rng().random();
        let (mutation, _) = encode_record(
            SyncdOperation::SET,
            &serde_json::to_vec(index)?,
            value,
            &keys,
            &self.key_id,
            &iv,
            action_version,
        );
        let collection = self.collections.entry(name.to_owned()).or_default();
        let version = collection.version() + 1;
        // The MACs are over the hash after this patch.
        collection.absorb(std::slice::from_ref(&mutation));
        collection.hash.version = version;
        let mut patch = SyncdPatch {
            mutations: vec![mutation],
            snapshot_mac: Some(collection.hash.generate_snapshot_mac(name, &keys.snapshot_mac)),
            key_id: MessageField::some(KeyId { id: Some(self.key_id.to_vec()) }),
            version: MessageField::some(SyncdVersion { version: Some(version) }),
            ..Default::default()
        };
        patch.patch_mac = Some(generate_patch_mac(&patch, name, &keys.patch_mac, version));
        collection.patches.push(patch.encode_to_vec());
        Ok(version)
    }

    /// The key as the phone gives it to companions.
    pub fn key_message(&self, raw_id: u32, current: u32, devices: Vec<u32>) -> AppStateSyncKey {
        AppStateSyncKey {
            key_id: MessageField::some(AppStateSyncKeyId { key_id: Some(self.key_id.to_vec()) }),
            key_data: MessageField::some(AppStateSyncKeyData {
                key_data: Some(self.key.to_vec()),
                fingerprint: MessageField::some(AppStateSyncKeyFingerprint {
                    raw_id: Some(raw_id),
                    current_index: Some(current),
                    device_indexes: devices,
                }),
                timestamp: Some(unix_now() as i64 * 1000),
            }),
        }
    }
}

/// Answers a `w:sync:app:state` IQ: patches up, newer patches down.
pub fn answer(state: &mut State, address: &Address, node: &Node) -> Node {
    let Some(sync) = node.get_optional_child("sync") else {
        return iq_error(node, 400, "bad-request");
    };
    let mut replies = Vec::new();
    let mut changed = Vec::new();
    for request in children(sync) {
        let Some(account) = state.accounts.get_mut(&address.number) else {
            continue;
        };
        let name = attr_or_empty(request, "name");
        let known: u64 = attr(request, "version").and_then(|v| v.parse().ok()).unwrap_or(0);
        let collections = &mut account.app_state.collections;
        let collection = collections.entry(name.clone()).or_default();
        let reply = NodeBuilder::new("collection").attr("name", name.as_str());
        let Some(upload) = request.get_optional_child("patch") else {
            replies.push(newer_patches(reply, collection, known));
            continue;
        };
        let patch = bytes(upload).and_then(|raw| SyncdPatch::decode_from_slice(&raw).ok());
        match patch {
            Some(patch) if known == collection.version() => {
                collection.append(patch);
                let version = collection.version();
                replies.push(reply.attr("version", version).build());
                changed.push((name, version));
            }
            Some(_) => replies.push(reply.attr("type", "error").children([error_node(409, "conflict")]).build()),
            None => replies.push(reply.attr("type", "error").children([error_node(400, "bad-request")]).build()),
        }
    }
    for (name, version) in changed {
        announce(state, address, &name, version);
    }
    iq_result(node, [NodeBuilder::new("sync").children(replies).build()])
}

fn newer_patches(reply: NodeBuilder, collection: &Collection, known: u64) -> Node {
    let from = usize::try_from(known).unwrap_or(usize::MAX);
    let newer = collection.patches.get(from..).unwrap_or_default();
    let patches = newer.iter().map(|patch| leaf("patch", patch.clone()));
    let reply = reply.attr("version", collection.version()).attr("has_more_patches", "false");
    if newer.is_empty() {
        return reply.build();
    }
    reply.children([NodeBuilder::new("patches").children(patches).build()]).build()
}

/// Writes a contact into the address book of a phone.
pub fn save_contact(state: &mut State, number: &Number, contact: &Number, full_name: &str) -> Result<()> {
    let other = state.account(contact)?;
    let (jid, lid) = (other.jid(Server::Pn, 0).to_string(), other.jid(Server::Lid, 0).to_string());
    let value = SyncActionValue {
        timestamp: Some(unix_now() as i64 * 1000),
        contact_action: MessageField::some(ContactAction {
            full_name: Some(full_name.to_owned()),
            first_name: full_name.split_whitespace().next().map(str::to_owned),
            lid_jid: Some(lid),
            ..Default::default()
        }),
        ..Default::default()
    };
    let name = "critical_unblock_low";
    let version = state.account_mut(number)?.app_state.write(name, &["contact", &jid], 2, &value)?;
    announce(state, &Address::new(number, 0), name, version);
    Ok(())
}

/// Tells the other companions that a collection changed.
fn announce(state: &mut State, author: &Address, name: &str, version: u64) {
    let devices: Vec<u16> =
        state.accounts.get(&author.number).map_or_else(Vec::new, |a| a.companions.keys().copied().collect());
    for device in devices {
        if device == author.device {
            continue;
        }
        let body = NodeBuilder::new("collection").attr("name", name).attr("version", version).build();
        let notification = NodeBuilder::new("notification")
            .attr("type", "server_sync")
            .attr("from", server_jid())
            .attr("id", state.next_stanza_id())
            .attr("t", unix_now())
            .children([body])
            .build();
        let to = Address::new(&author.number, device);
        state.deliver(&to, Class::Notification, None, notification);
    }
}
