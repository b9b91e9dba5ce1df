//! News of the account's own data (marks of chats, contacts, deletions) that the library passes over, fetched after all.
//!
//! Such a piece of news names a collection and its newest version. When one comes while the library still reads the one
//! before, it counts on that reading to bring both (whatsapp-rust 0.7), and it may not: the last change of a burst would be
//! known with the next change only. So each is looked at again a moment later, by its version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use whatsapp_rust::Client;
use whatsapp_rust::sync_task::MajorSyncTask;
use whatsapp_rust::wacore::appstate::patch_decode::WAPatchName;
use whatsapp_rust::wacore_binary::NodeRef;

/// How long the library has to read by itself what it was told.
const PATIENCE: Duration = Duration::from_millis(700);

/// Collections that were told of, with their newest version.
#[derive(Default)]
pub(super) struct StateDebts {
    told: Mutex<BTreeMap<&'static str, u64>>,
    more: Notify,
}

impl StateDebts {
    /// Notes what a stanza tells of; most tell of nothing. Never waits.
    pub(super) fn note(&self, stanza: &NodeRef<'_>) {
        if stanza.attrs().optional_string("type").as_deref() != Some("server_sync") {
            return;
        }
        for collection in stanza.children().unwrap_or_default() {
            let name = collection.attrs().optional_string("name");
            let name = name.and_then(|name| name.parse::<WAPatchName>().ok());
            let version = collection.attrs().optional_u64("version").unwrap_or(0);
            if let Some(name) = name.filter(|name| *name != WAPatchName::Unknown)
                && version > 0
            {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                let newest = told.entry(name.as_str()).or_default();
                *newest = version.max(*newest);
                self.more.notify_one();
            }
        }
    }

    /// Fetches what the library has passed over, for the life of a client.
    pub(super) async fn run(&self, client: &Arc<Client>) {
        loop {
            self.more.notified().await;
            tokio::time::sleep(PATIENCE).await;
            let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
            for (name, version) in told {
                let known = client.persistence_manager().backend().get_version(name).await;
                let Ok(collection) = name.parse::<WAPatchName>() else { continue };
                if known.is_ok_and(|known| known.version < version) {
                    tracing::debug!(name, version, "news of the account's data were passed over: fetching them");
                    // It waits for whoever reads the collection, and tries again by itself.
                    client.process_sync_task(MajorSyncTask::AppStateSync { name: collection, full_sync: false }).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    #[test]
    fn the_newest_version_of_each_collection_is_owed() {
        let debts = StateDebts::default();
        let tell = |kind: &'static str, name: &'static str, version: u64| {
            let collection = NodeBuilder::new("collection").attr("name", name).attr("version", version).build();
            let stanza = NodeBuilder::new("notification").attr("type", kind).children([collection]).build();
            debts.note(&stanza.as_node_ref());
        };
        tell("server_sync", "regular_low", 8);
        tell("server_sync", "regular_low", 7);
        tell("server_sync", "regular_high", 3);
        tell("server_sync", "of another age", 3);
        tell("picture", "regular", 3);
        let told = debts.told.lock().unwrap();
        assert_eq!(*told, BTreeMap::from([("regular_high", 3), ("regular_low", 8)]));
    }
}
