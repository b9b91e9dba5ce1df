//! The keys of an app state. The phone makes them and gives them to its
//! companions.

use anyhow::Result;
use buffa::MessageField;
use rand::RngExt as _;
use wacore_appstate::{ExpandedAppStateKeys, expand_app_state_keys};
use waproto::whatsapp::message::{AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId};

use super::AppState;
use crate::{
    ids::{Address, Number},
    phone,
    stanza::unix_now,
    state::State,
};

/// All keys; the last is in use.
#[derive(Clone)]
pub struct Keys(Vec<([u8; 6], [u8; 32])>);

impl Keys {
    /// One new key.
    pub fn new() -> Self {
        let mut keys = Self(Vec::new());
        keys.rotate();
        keys
    }

    /// Makes a new key, used from now on. Key ids start with the device that
    /// made the key: the phone, 0.
    pub fn rotate(&mut self) {
        let [.., a, b] = (self.0.len() as u32 + 1).to_be_bytes();
        self.0.push(([0, 0, 0, 0, a, b], rand::rng().random()));
    }

    /// The key in use.
    pub fn current(&self) -> (Vec<u8>, ExpandedAppStateKeys) {
        let (id, key) = self.0.last().copied().unwrap_or_default();
        (id.to_vec(), expand_app_state_keys(&key))
    }

    /// A key by its id.
    pub fn find(&self, id: &[u8]) -> Option<ExpandedAppStateKeys> {
        let (_, key) = self.0.iter().find(|(known, _)| known == id)?;
        Some(expand_app_state_keys(key))
    }
}

impl AppState {
    /// Keys as the phone gives them to companions: those asked for, or all. One
    /// that the phone does not have comes without its data.
    pub fn key_messages(
        &self,
        asked: Option<&[Vec<u8>]>,
        raw_id: u32,
        current: u32,
        devices: &[u32],
    ) -> Vec<AppStateSyncKey> {
        let all: Vec<Vec<u8>> = self.keys.0.iter().map(|(id, _)| id.to_vec()).collect();
        asked
            .unwrap_or(&all)
            .iter()
            .map(|id| {
                let known = self.keys.0.iter().find(|(known, _)| known == id.as_slice());
                let data = known.map(|(_, key)| AppStateSyncKeyData {
                    key_data: Some(key.to_vec()),
                    fingerprint: MessageField::some(AppStateSyncKeyFingerprint {
                        raw_id: Some(raw_id),
                        current_index: Some(current),
                        device_indexes: devices.to_vec(),
                    }),
                    timestamp: Some(unix_now() as i64 * 1000),
                });
                AppStateSyncKey {
                    key_id: MessageField::some(AppStateSyncKeyId { key_id: Some(id.clone()) }),
                    key_data: data.map(MessageField::some).unwrap_or_default(),
                }
            })
            .collect()
    }
}

/// The phone makes a new key. With `shared` it gives it to the companions at
/// once, else they have to ask for it.
pub fn rotate_key(state: &mut State, number: &Number, shared: bool) -> Result<()> {
    let account = state.account_mut(number)?;
    account.app_state.keys.rotate();
    let devices: Vec<u16> = account.companions.keys().copied().collect();
    if shared {
        for device in devices {
            phone::share_app_state_key(state, &Address::new(number, device), None);
        }
    }
    Ok(())
}
