//! Sweeps: what the tables say is kept only for a while.

use super::Bridge;
use crate::store::logins::LoginState;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Bridge {
    /// Sweeps every hour, ends polls and removes messages whose time is over, keeps the spaces, until the process stops.
    pub async fn run_upkeep(&self) {
        tokio::join!(self.run_sweeps(), self.run_poll_ends(), self.run_expiry(), self.run_spaces());
    }

    /// Sweeps every hour until the process stops. Each sweep may be interrupted; the next one finishes it.
    async fn run_sweeps(&self) {
        loop {
            self.sweep().await;
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            }
            // Not at the start: what came meanwhile may still tell of their end.
            self.end_unheard_calls().await;
            self.ask_all_again().await;
        }
    }

    /// Asks the phones again for files that it is time for.
    async fn ask_all_again(&self) {
        let logins = match self.store().all_logins().await {
            Ok(logins) => logins,
            Err(error) => return tracing::warn!(%error, "no phone was asked again for files"),
        };
        for login in logins.into_iter().filter(|login| login.state == LoginState::Linked) {
            self.ask_again(&login.id, self.store().clock().now_ms()).await;
        }
    }

    async fn sweep(&self) {
        let store = self.store();
        let now = store.clock().now_ms();
        let sweeps = [
            ("failed rows", store.sweep_failed(now - 30 * DAY_MS).await),
            ("identities of old arrivals", store.sweep_seen(now - 30 * DAY_MS).await),
            ("what came before its target", store.sweep_parked(now - DAY_MS).await),
            ("names of files", store.sweep_file_names(now - 7 * DAY_MS).await),
            ("places of messages that never came", store.sweep_places(now - 30 * DAY_MS).await),
            ("what came back of people's own accounts", store.sweep_puppet_sends(now - 30 * DAY_MS).await),
            ("whom status posts were for", store.sweep_audiences(now - 2 * DAY_MS).await),
            ("calls that are over", store.sweep_calls(now - 7 * DAY_MS).await),
            ("deletions that are over", store.sweep_deletions(now - 30 * DAY_MS).await),
            ("rooms that were chats'", store.sweep_former_rooms(now - 30 * DAY_MS).await),
            ("answered transactions", store.sweep_mx_txn(now - 7 * DAY_MS).await),
            ("devices that were never linked", store.sweep_unbound_devices(now - HOUR_MS).await),
            ("what belongs to failed rows that are gone", store.sweep_wishes().await),
            ("rows of the client library", store.sweep_library().await),
        ];
        for (what, swept) in sweeps {
            match swept {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, what, "swept"),
                Err(error) => tracing::warn!(%error, what, "a sweep failed and is tried again in an hour"),
            }
        }
    }
}
