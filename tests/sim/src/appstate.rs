//! App state: versioned collections of encrypted patches.
//!
//! The server numbers the patches and hands them out; it holds no key. The
//! phone writes patches of its own and reads those of its companions: it keeps
//! one running hash over all of them, and every MAC is checked.

mod actions;
mod collection;
mod keys;
mod snapshot;
mod sync;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use buffa::Message as _;
use serde_json::Value;
use wacore_appstate::decode::{Mutation, decode_record};
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp::{SyncActionValue, SyncdPatch, syncd_mutation::SyncdOperation};

pub use actions::{Action, act, save_contact};
use collection::Collection;
use keys::Keys;
pub use keys::rotate_key;
pub use sync::answer;

use crate::{
    ids::{Address, Number},
    proto_json,
    queue::Class,
    stanza::{server_jid, unix_now},
    state::State,
};

/// The collections there are.
pub const COLLECTIONS: [&str; 5] = ["critical_block", "critical_unblock_low", "regular_low", "regular_high", "regular"];

/// An entry of the app state as the phone read or wrote it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AppStateItem {
    /// The collection.
    pub collection: String,
    /// The version of the patch it came with.
    pub version: u64,
    /// The device that wrote it; 0 is the phone.
    pub device: u16,
    /// `set` or `remove`.
    pub operation: String,
    /// What it is about: the kind, then chats, message ids and the like.
    pub index: Vec<String>,
    /// The entry, with the proto's field names.
    pub value: Value,
}

/// One change to write.
pub struct Change {
    pub operation: SyncdOperation,
    pub index: Vec<String>,
    /// The version of this kind of entry.
    pub action_version: i32,
    pub value: SyncActionValue,
}

/// The app state of an account: what the server stores and what the phone
/// knows of it.
pub struct AppState {
    keys: Keys,
    collections: BTreeMap<String, Collection>,
    /// All changes, oldest first.
    pub log: Vec<AppStateItem>,
    /// How many patches one answer has at most.
    pub page: usize,
    /// Which device has asked for which collection.
    pub asked: BTreeSet<(u16, String)>,
}

impl AppState {
    /// App state with a new key and the push name in `critical_block`.
    pub fn new(push_name: &str) -> Result<Self> {
        let mut app_state = Self {
            keys: Keys::new(),
            collections: BTreeMap::new(),
            log: Vec::new(),
            page: 100,
            asked: BTreeSet::new(),
        };
        let (name, change) = actions::push_name(push_name)?;
        app_state.write(name, vec![change])?;
        Ok(app_state)
    }

    /// Writes entries as the phone, in one patch, and returns the collection's
    /// new version.
    pub fn write(&mut self, name: &str, changes: Vec<Change>) -> Result<u64> {
        let (key_id, keys) = self.keys.current();
        let collection = self.collections.entry(name.to_owned()).or_default();
        let version = collection.version() + 1;
        let mut mutations = Vec::new();
        for change in &changes {
            mutations.push(collection::encode(change, &keys, &key_id)?);
        }
        collection.write(name, mutations, &keys, &key_id)?;
        for change in changes {
            self.log.push(AppStateItem {
                collection: name.to_owned(),
                version,
                device: 0,
                operation: operation_name(change.operation).to_owned(),
                index: change.index,
                value: proto_json::to_json("SyncActionValue", &change.value.encode_to_vec())?,
            });
        }
        Ok(version)
    }

    /// Takes a companion's patch: it must fit on the version before, and its
    /// MACs must be right. Returns the new version.
    fn accept(&mut self, device: u16, name: &str, mut patch: SyncdPatch) -> Result<u64> {
        let key_id = patch.key_id.id.clone().context("the patch names no key")?;
        let keys = self.keys.find(&key_id).context("the patch is written with an unknown key")?;
        let collection = self.collections.entry(name.to_owned()).or_default();
        let version = collection.version() + 1;
        let mut read = Vec::new();
        for mutation in &patch.mutations {
            let record = mutation.record.as_option().context("a mutation without a record")?;
            let id = record.key_id.id.as_deref().context("a record names no key")?;
            let keys = self.keys.find(id).context("a record is written with an unknown key")?;
            let operation = mutation.operation.and_then(|op| op.as_known()).unwrap_or(SyncdOperation::SET);
            let (decoded, _) = decode_record(operation, record, &keys, id, true)?;
            read.push(decoded);
        }
        patch.version.get_or_insert_default().version = Some(version);
        collection.accept(name, patch, &keys)?;
        for Mutation { action_value, index, operation } in read {
            let value = action_value.map(|value| proto_json::to_json("SyncActionValue", &value.encode_to_vec()));
            self.log.push(AppStateItem {
                collection: name.to_owned(),
                version,
                device,
                operation: operation_name(operation).to_owned(),
                index,
                value: value.transpose()?.unwrap_or(Value::Null),
            });
        }
        Ok(version)
    }

    /// The version of a collection; 0 when it is empty.
    pub fn version(&self, name: &str) -> u64 {
        self.collections.get(name).map_or(0, Collection::version)
    }
}

fn operation_name(operation: SyncdOperation) -> &'static str {
    if operation == SyncdOperation::REMOVE { "remove" } else { "set" }
}

/// The phone takes a snapshot of a collection: the server keeps no older
/// patches.
pub fn take_snapshot(state: &mut State, number: &Number, name: &str) -> Result<u64> {
    let app_state = &mut state.account_mut(number)?.app_state;
    let collection = app_state.collections.get_mut(name).with_context(|| format!("{name} is empty"))?;
    Ok(collection.compact())
}

/// Tells the other companions that a collection changed.
pub fn announce(state: &mut State, author: &Address, name: &str, version: u64) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str) -> Change {
        Change {
            operation: SyncdOperation::SET,
            index: vec![kind.to_owned()],
            action_version: 1,
            value: SyncActionValue { timestamp: Some(1), ..Default::default() },
        }
    }

    /// A phone, and the patches a companion with its keys would write.
    fn patches() -> (AppState, Vec<SyncdPatch>) {
        let phone = AppState::new("A").unwrap();
        let mut companion = AppState::new("A").unwrap();
        companion.keys = phone.keys.clone();
        companion.write("regular", vec![change("one")]).unwrap();
        companion.write("regular", vec![change("two"), change("one")]).unwrap();
        let written = companion.collections["regular"].after(0);
        let patches = written.map(|patch| SyncdPatch::decode_from_slice(patch).unwrap()).collect();
        (phone, patches)
    }

    #[test]
    fn right_patches_are_taken_in_order() {
        let (mut phone, patches) = patches();
        for (version, patch) in patches.into_iter().enumerate() {
            assert_eq!(phone.accept(1, "regular", patch).unwrap(), version as u64 + 1);
        }
        assert_eq!(phone.log.last().unwrap().index, ["one"]);
    }

    #[test]
    fn patches_with_a_wrong_mac_are_not() {
        let (mut phone, patches) = patches();
        let good = &patches[0];
        let flip = |bytes: &mut Vec<u8>| bytes[5] ^= 1;
        let mut wrong = vec![good.clone(); 5];
        flip(wrong[0].snapshot_mac.as_mut().unwrap());
        flip(wrong[1].patch_mac.as_mut().unwrap());
        flip(wrong[2].mutations[0].record.get_or_insert_default().index.get_or_insert_default().blob.as_mut().unwrap());
        flip(wrong[3].mutations[0].record.get_or_insert_default().value.get_or_insert_default().blob.as_mut().unwrap());
        flip(wrong[4].key_id.get_or_insert_default().id.as_mut().unwrap());
        for (number, patch) in wrong.into_iter().enumerate() {
            assert!(phone.accept(1, "regular", patch).is_err(), "{number}");
        }
        // The second does not fit before the first.
        assert!(phone.accept(1, "regular", patches[1].clone()).is_err());
        assert_eq!(phone.accept(1, "regular", good.clone()).unwrap(), 1);
    }
}
