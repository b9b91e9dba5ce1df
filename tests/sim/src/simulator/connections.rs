//! Companions as the server sees them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;

use super::Simulator;
use crate::{account::Link, ids::Number};

impl Simulator {
    /// The companions of `number` that are connected and logged in.
    pub fn connected_devices(&self, number: &str) -> Vec<u16> {
        let Ok(number) = Number::parse(number) else {
            return Vec::new();
        };
        self.shared.look(|state| {
            state.accounts.get(&number).map_or_else(Vec::new, |account| {
                account.companions.iter().filter(|(_, c)| c.link.conn().is_some()).map(|(device, _)| *device).collect()
            })
        })
    }

    /// Whether `device` is in the list of linked devices of `number`.
    pub fn has_device(&self, number: &str, device: u16) -> bool {
        let Ok(number) = Number::parse(number) else {
            return false;
        };
        self.shared.look(|state| state.accounts.get(&number).is_some_and(|a| a.companions.contains_key(&device)))
    }

    /// Waits until a companion has received its backlog and is live.
    pub async fn wait_connected(&self, number: &str, device: u16, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("device {device} of {number} to be connected"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            let companion = account.companions.get(&device)?;
            matches!(companion.link, Link::Live(_)).then_some(())
        })
        .await
    }

    /// Waits until no companion socket of `number` is left.
    pub async fn wait_disconnected(&self, number: &str, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{number} to have no connection"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            account.companions.values().all(|c| c.link.conn().is_none()).then_some(())
        })
        .await
    }

    /// How many stanzas a companion has not settled; 0 for an unknown one.
    pub fn queued(&self, number: &str, device: u16) -> usize {
        let Ok(number) = Number::parse(number) else {
            return 0;
        };
        self.shared.look(|state| {
            let account = state.accounts.get(&number);
            let companion = account.and_then(|a| a.companions.get(&device));
            companion.map_or(0, |c| c.queue.len())
        })
    }

    /// How many requests (IQs) the companions of `number` have made since the account
    /// was created, by namespace, type and first child: `w:g2 get query`. Nothing for
    /// an unknown account.
    pub fn requests(&self, number: &str) -> BTreeMap<String, u64> {
        let Ok(number) = Number::parse(number) else {
            return BTreeMap::new();
        };
        self.shared.look(|state| state.accounts.get(&number).map(|a| a.requests.clone()).unwrap_or_default())
    }

    /// Waits until a companion has settled everything.
    pub async fn wait_settled(&self, number: &str, device: u16, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("device {device} of {number} to settle its queue"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            (account.companions.get(&device)?.queue.len() == 0).then_some(())
        })
        .await
    }

    /// Waits until a companion has at least `count` one-time prekeys on the
    /// server.
    pub async fn wait_prekeys(&self, number: &str, device: u16, count: usize, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{count} prekeys of device {device} of {number}"), timeout, |state| {
            let account = state.accounts.get(&parsed)?;
            let left = account.companions.get(&device)?.prekeys.len();
            (left >= count).then_some(())
        })
        .await
    }
}
