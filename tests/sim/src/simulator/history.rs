//! Histories: the worker that makes them, and old chats for phones.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{Shared, Simulator};
use crate::{
    history_sync::{self, HistorySeed, Job, Limits, Source},
    ids::Number,
};

/// Makes the histories companions wait for, one after the other, until the
/// simulator ends.
pub async fn work(shared: Arc<Shared>) {
    let mut changes = shared.changed.subscribe();
    loop {
        if shared.look(|state| state.history_jobs.is_empty()) {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let job = shared.with(|state| state.history_jobs.remove(0));
        if let Err(error) = make(&shared, job).await {
            tracing::warn!("history: {error:#}");
        }
    }
}

async fn make(shared: &Shared, job: Job) -> Result<()> {
    let (source, limits) = shared.look(|state| {
        let source = Source::take(state, &job.companion.number)?;
        anyhow::Ok((source, state.history_limits))
    })?;
    let wanted = job.wanted.clone();
    // Compressing and encrypting takes its time: not while the state is locked.
    let making = tokio::task::spawn_blocking(move || history_sync::prepare(&source, &wanted, limits));
    for chunk in making.await.context("history")?? {
        shared.with(|state| history_sync::deliver(state, &job.companion, chunk))?;
    }
    Ok(())
}

impl Simulator {
    /// Gives the phone of `number` old chats with people that are made up, the
    /// same every time. Returns their numbers. Companions linked later learn of
    /// them.
    pub fn seed_history(&self, number: &str, seed: &HistorySeed) -> Result<Vec<String>> {
        let number = Number::parse(number)?;
        self.shared.with(|state| history_sync::seed(state, &number, seed))
    }

    /// Below how many days messages are recent, and how many go into a chunk.
    pub fn set_history_limits(&self, recent_days: u64, chunk: usize) {
        self.shared.with(|state| state.history_limits = Limits { recent_days, chunk: chunk.max(1) });
    }

    /// The chats the phone of `number` knows messages of.
    pub fn chats(&self, number: &str) -> Result<Vec<String>> {
        let number = Number::parse(number)?;
        self.shared.look(|state| history_sync::chats(state, &number))
    }

    /// The history chunks of `number` that are files: the message that told of
    /// each, and the key that opens it.
    pub fn history_files(&self, number: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let number = Number::parse(number)?;
        self.shared.look(|state| {
            let files = &state.account(&number)?.phone.history_files;
            let key = |located: &crate::media::Located| located.media_key.clone().unwrap_or_default();
            Ok(files.iter().map(|(id, located)| (id.clone(), key(located))).collect())
        })
    }
}
