//! What becomes of an account's rooms when it is logged out, as the operator chose (`bridge.cleanup_on_logout`).
//!
//! That it is still to be done is stored with the login, and each step may be repeated, so a process that dies meanwhile goes
//! on with its next start. Who links the account again meanwhile keeps the rooms that are left.

use super::Bridge;
use super::people::Halt;
use crate::config::Cleanup;
use crate::ids::LoginId;
use crate::store::logins::{Farewell, LoginState};
use std::time::Duration;

/// At least so often what is left is tried again.
const ROUND: Duration = Duration::from_secs(600);
/// Pause after something could not be done.
const PAUSE: Duration = Duration::from_secs(30);
/// What comes within this time is looked at together.
const GATHER: Duration = Duration::from_millis(200);

impl Bridge {
    /// Cleans up after logouts until the process stops.
    pub async fn run_cleanups(&self) {
        let mut bell = self.watch_bell();
        let cleaning = async {
            loop {
                bell.borrow_and_update();
                if let Err(halt) = self.clean_up().await {
                    tracing::warn!(?halt, "rooms of a logged-out account are still there; they are deleted later");
                    tokio::time::sleep(PAUSE).await;
                    self.matrix().wait_until_reachable().await;
                }
                tokio::time::sleep(GATHER).await;
                // The sender lives as long as the bridge; what is to be done is looked up.
                drop(tokio::time::timeout(ROUND, bell.changed()).await);
            }
        };
        self.stop().run_until_cancelled(cleaning).await;
    }

    /// Goes on with every logout that is not done with; one that can not be keeps none of the others.
    async fn clean_up(&self) -> Result<(), Halt> {
        let mut all = Ok(());
        for id in self.store().uncleaned_logins().await? {
            if let Err(halt) = self.clean_up_after(&id).await {
                all = Err(halt);
            }
        }
        all
    }

    async fn clean_up_after(&self, id: &LoginId) -> Result<(), Halt> {
        let Some((how, since)) = self.farewell_of(id).await? else { return Ok(()) };
        if self.cleanup_after(how) == Cleanup::Delete {
            for portal in self.store().private_rooms_of(id).await? {
                // Linked again meanwhile: the next logout decides anew.
                if self.farewell_of(id).await? != Some((how, since)) {
                    return Ok(());
                }
                self.delete_room(&portal).await?;
            }
        }
        Ok(self.store().login_was_cleaned(id, since).await?)
    }

    fn cleanup_after(&self, how: Farewell) -> Cleanup {
        self.config().bridge.cleanup_on_logout.of_private(how == Farewell::Asked)
    }

    /// What people are told of their rooms at a logout.
    #[must_use]
    pub fn rooms_after(&self, how: Farewell) -> &'static str {
        match self.cleanup_after(how) {
            Cleanup::Nothing => "Its rooms stay",
            Cleanup::Delete => "The rooms of its direct chats are deleted, the others stay",
        }
    }

    /// How and when a login was logged out; none while it is linked.
    async fn farewell_of(&self, id: &LoginId) -> Result<Option<(Farewell, i64)>, Halt> {
        let login = self.store().find_login(id).await?;
        Ok(login.and_then(|login| match login.state {
            LoginState::LoggedOut { how, .. } => Some((how, login.since)),
            LoginState::Linked => None,
        }))
    }
}
