//! News of the account's own data (marks of chats, contacts, deletions) that the library passes over, fetched after all.
//!
//! Such a piece of news names a collection and its newest version. When one comes while the library still reads the one
//! before, it counts on that reading to bring both (whatsapp-rust 0.7), and it may not: the last change of a burst would be
//! known with the next change only. So each is looked at again a moment later, by its version.
//!
//! The library acknowledges such a piece of news before it has read anything: a kill in between, and nobody would fetch it
//! any more. So each client asks once, with its first connection, what it lacks: one request for all collections.

use super::group_acts::ActFailure;
use super::{Whatsapp, blocking};
use crate::ids::LoginId;
use crate::store::wa_applied::read_anew;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use whatsapp_rust::anyhow;
use whatsapp_rust::prelude::{Client, Jid, Server};
use whatsapp_rust::sync_task::MajorSyncTask;
use whatsapp_rust::wacore::appstate::patch_decode::{
    CollectionSyncError, PatchList, WAPatchName, parse_patch_lists_ref,
};
use whatsapp_rust::wacore::request::InfoQuery;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{NodeContent, NodeRef};

/// How long the library has to read by itself what it was told.
const PATIENCE: Duration = Duration::from_millis(700);

/// Pauses before the tries to read the list of the blocked.
const READS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(20)];

/// How long the reading of collections in full may take; what is not told by then is told later.
const READING_TIME: Duration = Duration::from_secs(60);

/// How often that is tried: a connection may break in its middle.
const TIMES: usize = 3;

/// All collections.
const COLLECTIONS: [WAPatchName; 5] = [
    WAPatchName::CriticalBlock,
    WAPatchName::CriticalUnblockLow,
    WAPatchName::RegularHigh,
    WAPatchName::Regular,
    WAPatchName::RegularLow,
];

/// Collections that were told of, with their newest version.
#[derive(Default)]
pub(super) struct StateDebts {
    told: Mutex<BTreeMap<&'static str, u64>>,
    more: Notify,
    connected: Notify,
    blocklist: Notify,
}

impl StateDebts {
    /// Notes what a stanza tells of; most tell of nothing. Never waits.
    pub(super) fn note(&self, stanza: &NodeRef<'_>) {
        if blocking::tells_of_change(stanza) {
            self.blocklist.notify_one();
        }
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

    /// Notes that there is a connection. Never waits.
    pub(super) fn connected(&self) {
        self.connected.notify_one();
    }

    /// Fetches what the library has passed over, for the life of a client; `has_asked` where nothing is lacking at first.
    pub(super) async fn run(&self, client: &Arc<Client>, has_asked: bool) {
        tokio::join!(self.ask_at_start(client, has_asked), self.follow(client), self.read_blocklist(client));
    }

    async fn ask_at_start(&self, client: &Arc<Client>, has_asked: bool) {
        if has_asked {
            return;
        }
        loop {
            self.connected.notified().await;
            match fetch_missed(client).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "what was missed was not told; asked with the next connection"),
            }
        }
    }

    async fn follow(&self, client: &Arc<Client>) {
        loop {
            self.more.notified().await;
            tokio::time::sleep(PATIENCE).await;
            let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
            for (name, version) in told {
                let known = client.persistence_manager().backend().get_version(name).await;
                let Ok(collection) = name.parse::<WAPatchName>() else { continue };
                if known.is_ok_and(|known| known.version < version) {
                    fail::fail_point!("appstate.before_fetched", |_| std::process::abort());
                    tracing::debug!(name, version, "news of the account's data were passed over: fetching them");
                    // It waits for whoever reads the collection, and tries again by itself.
                    client.process_sync_task(MajorSyncTask::AppStateSync { name: collection, full_sync: false }).await;
                }
            }
        }
    }
}

impl StateDebts {
    /// Reads the list of the blocked again when it has changed; its answer is heard where all answers are
    /// ([`blocking::list_in`]). What fails here is read with the next connection.
    async fn read_blocklist(&self, client: &Arc<Client>) {
        loop {
            self.blocklist.notified().await;
            for pause in READS {
                tokio::time::sleep(pause).await;
                match client.blocking().get_blocklist().await {
                    Ok(_) => break,
                    Err(error) => tracing::debug!(%error, "the list of the blocked was not told"),
                }
            }
        }
    }
}

/// The names of all collections.
pub fn collection_names() -> [&'static str; 5] {
    COLLECTIONS.map(|name| name.as_str())
}

impl Whatsapp {
    /// Has a login's collections of these names read again in full: what they tell is stored and shown as if it was told for
    /// the first time, and what holds changes nothing. The names of those that could not be read.
    ///
    /// # Errors
    /// [`ActFailure::Offline`], and [`ActFailure::Unknown`] when it takes too long.
    pub async fn read_own_data_again(
        &self,
        login: &LoginId,
        names: &[&'static str],
    ) -> Result<Vec<&'static str>, ActFailure> {
        let reading = async {
            let mut unread: Vec<_> = COLLECTIONS.into_iter().filter(|name| names.contains(&name.as_str())).collect();
            for _ in 0..TIMES {
                let client = self.line(login).and_then(|line| line.client()).ok_or(ActFailure::Offline)?;
                client.wait_for_connected(READING_TIME / 4).await.map_err(|_| ActFailure::Offline)?;
                let mut left = Vec::new();
                for name in unread {
                    let has_read = read_in_full(&client, name).await;
                    if !has_read.map_err(|error| ActFailure::Unknown(error.to_string()))? {
                        left.push(name);
                    }
                }
                unread = left;
                if unread.is_empty() {
                    break;
                }
            }
            Ok(unread.into_iter().map(|name| name.as_str()).collect())
        };
        let late = |_| ActFailure::Unknown("no answer in time".into());
        tokio::time::timeout(READING_TIME, reading).await.map_err(late)?
    }
}

/// Whether a collection could be read in full, or there is nothing in it.
async fn read_in_full(client: &Arc<Client>, name: WAPatchName) -> anyhow::Result<bool> {
    let backend = client.persistence_manager().backend();
    let before = backend.get_version(name.as_str()).await?.version;
    // It is forgotten where the library asks for it; so what it is told is enough (`read_anew`).
    let task = MajorSyncTask::AppStateSync { name, full_sync: false };
    let was_asked = read_anew(name.as_str(), client.process_sync_task(task)).await;
    let after = backend.get_version(name.as_str()).await?.version;
    Ok(was_asked && (after > 0 || before == 0))
}

/// Asks which collections have changed since they were read, and has the library read them.
async fn fetch_missed(client: &Arc<Client>) -> anyhow::Result<()> {
    let backend = client.persistence_manager().backend();
    let mut wanted = Vec::with_capacity(COLLECTIONS.len());
    for name in COLLECTIONS {
        let known = backend.get_version(name.as_str()).await?.version;
        let is_unread = if known == 0 { "true" } else { "false" };
        let wish = NodeBuilder::new("collection").attr("name", name.as_str()).attr("return_snapshot", is_unread);
        wanted.push(if known == 0 { wish } else { wish.attr("version", known) }.build());
    }
    let content = NodeContent::Nodes(vec![NodeBuilder::new("sync").children(wanted).build()]);
    let query = InfoQuery::set("w:sync:app:state", Jid::new("", Server::Pn), Some(content));
    let answer = client.send_iq(query).await?;
    for list in parse_patch_lists_ref(answer.get())? {
        if is_behind(&list) {
            tracing::debug!(name = list.name.as_str(), "the account's data have changed meanwhile: reading them");
            let task = MajorSyncTask::AppStateSync { name: list.name, full_sync: false };
            client.process_sync_task(task).await;
        }
    }
    Ok(())
}

/// Whether an answer tells that there is more than was known.
fn is_behind(list: &PatchList) -> bool {
    match &list.error {
        None => !list.patches.is_empty() || list.snapshot_ref.is_some() || list.has_more_patches,
        Some(error) => !matches!(error, CollectionSyncError::Fatal { .. }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
