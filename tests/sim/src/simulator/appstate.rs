//! App state: what the phone's owner does, and what companions did.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Simulator;
use crate::{
    appstate::{self, Action, AppStateItem, COLLECTIONS},
    ids::Number,
};

impl Simulator {
    /// The owner of the phone of `number` does something that companions learn
    /// through the app state.
    pub fn act(&self, number: &str, action: &Action) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| appstate::act(state, &number, action))
    }

    /// All changes to the app state of `number`, as the phone read or wrote
    /// them, oldest first; nothing for an unknown number.
    pub fn app_state(&self, number: &str) -> Vec<AppStateItem> {
        let Ok(number) = Number::parse(number) else {
            return Vec::new();
        };
        self.shared.look(|state| state.account(&number).map_or_else(|_| Vec::new(), |a| a.app_state.log.clone()))
    }

    /// Waits for a change to the app state.
    pub async fn wait_app_state(
        &self,
        number: &str,
        mut predicate: impl FnMut(&AppStateItem) -> bool,
        timeout: Duration,
    ) -> Result<AppStateItem> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("a change to the app state of {number}"), timeout, |state| {
            state.account(&parsed).ok()?.app_state.log.iter().find(|item| predicate(item)).cloned()
        })
        .await
    }

    /// Waits until a companion has asked for a collection.
    pub async fn wait_app_state_asked(
        &self,
        number: &str,
        device: u16,
        collection: &str,
        timeout: Duration,
    ) -> Result<()> {
        let parsed = Number::parse(number)?;
        let asked = (device, collection.to_owned());
        self.wait(&format!("device {device} of {number} to ask for {collection}"), timeout, |state| {
            state.account(&parsed).ok()?.app_state.asked.contains(&asked).then_some(())
        })
        .await
    }

    /// The phone takes a snapshot of a collection: the server keeps no older
    /// patches, and devices that lack them get the snapshot. Returns its
    /// version. Errors when the collection is empty.
    pub fn take_snapshot(&self, number: &str, collection: &str) -> Result<u64> {
        let number = Number::parse(number)?;
        self.shared.with(|state| appstate::take_snapshot(state, &number, collection))
    }

    /// The phone makes a new app-state key; with `shared` it gives it to the
    /// companions at once, else they have to ask.
    pub fn rotate_app_state_key(&self, number: &str, shared: bool) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| appstate::rotate_key(state, &number, shared))
    }

    /// How many patches one answer has at most; the rest is asked for.
    pub fn set_app_state_page(&self, number: &str, patches: usize) -> Result<()> {
        ensure!(patches > 0, "a page has at least one patch");
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.app_state.page = patches;
            Ok(())
        })
    }

    /// The version of each collection of `number`.
    pub fn app_state_versions(&self, number: &str) -> Result<Vec<(&'static str, u64)>> {
        let number = Number::parse(number)?;
        self.shared.look(|state| {
            let app_state = &state.account(&number)?.app_state;
            Ok(COLLECTIONS.map(|name| (name, app_state.version(name))).to_vec())
        })
    }
}
