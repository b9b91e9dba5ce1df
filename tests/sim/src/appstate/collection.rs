//! One collection: its patches, and the hash over what they add up to.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use buffa::{Message as _, MessageField};
use rand::RngExt as _;
use wacore_appstate::{
    ExpandedAppStateKeys, encode_record,
    hash::{HashState, generate_patch_mac},
};
use waproto::whatsapp::{
    KeyId, SyncdMutation, SyncdPatch, SyncdRecord, SyncdSnapshot, SyncdVersion, syncd_mutation::SyncdOperation,
};

use super::Change;

/// One collection.
#[derive(Default)]
pub struct Collection {
    /// The patches the server keeps; the first has version `base + 1`.
    patches: Vec<Vec<u8>>,
    /// The version of the snapshot that older patches became part of.
    base: u64,
    hash: HashState,
    /// The records that are set, by index MAC.
    records: BTreeMap<Vec<u8>, SyncdRecord>,
    /// The same at `base`, with the hash then.
    snapshot: Option<(HashState, Vec<SyncdRecord>)>,
}

/// Encrypts one change.
pub fn encode(change: &Change, keys: &ExpandedAppStateKeys, key_id: &[u8]) -> Result<SyncdMutation> {
    let iv: [u8; 16] = rand::rng().random();
    let index = serde_json::to_vec(&change.index)?;
    let (mutation, _) =
        encode_record(change.operation, &index, &change.value, keys, key_id, &iv, change.action_version);
    Ok(mutation)
}

impl Collection {
    /// The newest version.
    pub fn version(&self) -> u64 {
        self.base + self.patches.len() as u64
    }

    /// The version before the first patch that is kept.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The patches after a version.
    pub fn after(&self, version: u64) -> impl Iterator<Item = &Vec<u8>> {
        let skip = usize::try_from(version.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.patches.iter().skip(skip)
    }

    /// The hash after mutations.
    fn hash_after(&self, mutations: &[SyncdMutation], version: u64) -> Result<HashState> {
        let mut hash = self.hash.clone();
        let value_mac = |index: &[u8], _| Ok(self.records.get(index).and_then(value_mac_of));
        let (outcome, result) = hash.update_hash(mutations, value_mac);
        result?;
        ensure!(!outcome.has_missing_remove, "it removes what is not there");
        hash.version = version;
        Ok(hash)
    }

    /// Writes a patch with right MACs.
    pub fn write(
        &mut self,
        name: &str,
        mutations: Vec<SyncdMutation>,
        keys: &ExpandedAppStateKeys,
        key_id: &[u8],
    ) -> Result<()> {
        let version = self.version() + 1;
        let hash = self.hash_after(&mutations, version)?;
        let mut patch = SyncdPatch {
            mutations,
            // The MAC is over the hash after this patch.
            snapshot_mac: Some(hash.generate_snapshot_mac(name, &keys.snapshot_mac)),
            key_id: MessageField::some(KeyId { id: Some(key_id.to_vec()) }),
            version: MessageField::some(SyncdVersion { version: Some(version) }),
            ..Default::default()
        };
        patch.patch_mac = Some(generate_patch_mac(&patch, name, &keys.patch_mac, version));
        self.store(patch, hash);
        Ok(())
    }

    /// Takes a patch of a companion if both its MACs are right.
    pub fn accept(&mut self, name: &str, mut patch: SyncdPatch, keys: &ExpandedAppStateKeys) -> Result<()> {
        let version = self.version() + 1;
        let hash = self.hash_after(&patch.mutations, version)?;
        let snapshot_mac = hash.generate_snapshot_mac(name, &keys.snapshot_mac);
        ensure!(patch.snapshot_mac.as_ref() == Some(&snapshot_mac), "its snapshot MAC is wrong");
        let patch_mac = generate_patch_mac(&patch, name, &keys.patch_mac, version);
        ensure!(patch.patch_mac.as_ref() == Some(&patch_mac), "its patch MAC is wrong");
        // Others get the mutations with the patch.
        patch.external_mutations = MessageField::none();
        self.store(patch, hash);
        Ok(())
    }

    fn store(&mut self, patch: SyncdPatch, hash: HashState) {
        for mutation in &patch.mutations {
            let Some(record) = mutation.record.as_option() else {
                continue;
            };
            let Some(index) = record.index.blob.clone() else {
                continue;
            };
            let removed = mutation.operation.is_some_and(|op| op == SyncdOperation::REMOVE);
            match removed {
                true => drop(self.records.remove(&index)),
                false => drop(self.records.insert(index, record.clone())),
            }
        }
        self.hash = hash;
        self.patches.push(patch.encode_to_vec());
    }

    /// Turns all patches into a snapshot and returns its version.
    pub fn compact(&mut self) -> u64 {
        self.base = self.version();
        self.patches.clear();
        self.snapshot = Some((self.hash.clone(), self.records.values().cloned().collect()));
        self.base
    }

    /// The snapshot, signed with a key; nothing when there is none.
    pub fn signed_snapshot(&self, name: &str, keys: &ExpandedAppStateKeys, key_id: &[u8]) -> Option<SyncdSnapshot> {
        let (hash, records) = self.snapshot.as_ref()?;
        Some(SyncdSnapshot {
            version: MessageField::some(SyncdVersion { version: Some(self.base) }),
            records: records.clone(),
            mac: Some(hash.generate_snapshot_mac(name, &keys.snapshot_mac)),
            key_id: MessageField::some(KeyId { id: Some(key_id.to_vec()) }),
        })
    }
}

/// The MAC a record's value ends with.
fn value_mac_of(record: &SyncdRecord) -> Option<Vec<u8>> {
    let blob = record.value.blob.as_ref()?;
    Some(blob[blob.len().checked_sub(32)?..].to_vec())
}
