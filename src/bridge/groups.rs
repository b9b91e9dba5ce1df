//! Groups kept true: read from WhatsApp when something changed, and shown in their rooms until they are.
//!
//! The marks in the database say what is left to do, so nothing here has to survive a kill: the next start finds the same
//! marks. A group is read through any login that is in it, once for all of them. Messages never wait for this: who speaks
//! is brought into the room by their message.
//!
//! Work is bounded: a few groups at a time, and within one a few people at a time.

use super::Bridge;
use super::people::Halt;
use crate::convert::group::Role;
use crate::ids::{GhostId, LoginId, PortalId};
use crate::store::StoreError;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::groups::{GroupFailure, GroupRead};
use crate::whatsapp::line::LineState;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;

/// Groups read, or shown, at the same time.
const GROUPS: usize = 3;
/// What is said of a group in a burst is read once: so long after the first sign.
const BURST: Duration = Duration::from_millis(250);
/// The first pause before what did not work is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What there is to do for a marked group.
#[derive(Debug, Clone, Copy)]
enum Work {
    Read,
    Show,
    Picture,
}

impl Bridge {
    /// Reads and shows groups as they are marked, until the process stops.
    pub async fn run_groups(&self) {
        let mut pause = FIRST_PAUSE;
        let mut again = false;
        // What was left by an earlier process.
        self.store().ring_groups();
        loop {
            let wait = async {
                if again {
                    tokio::time::timeout(pause, self.store().group_marked()).await.ok();
                } else {
                    self.store().group_marked().await;
                }
                tokio::time::sleep(BURST).await;
            };
            if self.stop().run_until_cancelled(wait).await.is_none() {
                return;
            }
            match self.keep_groups().await {
                Ok(true) => (again, pause) = (false, FIRST_PAUSE),
                Ok(false) => (again, pause) = (true, (pause * 2).min(LONGEST_PAUSE)),
                Err(error) => {
                    tracing::error!(%error, "the database failed under a group");
                    (again, pause) = (true, FIRST_PAUSE);
                }
            }
        }
    }

    /// One round over everything that is marked; whether all of it worked.
    async fn keep_groups(&self) -> Result<bool, StoreError> {
        let read = self.each(Work::Read, self.store().stale_groups().await?).await;
        let shown = self.each(Work::Show, self.store().unsettled_groups().await?).await;
        let pictures = self.each(Work::Picture, self.store().stale_group_pictures().await?).await;
        Ok(read && shown && pictures)
    }

    /// Works on marked groups, a few at a time; whether all of it worked.
    async fn each(&self, work: Work, marked: Vec<(PortalId, i64)>) -> bool {
        let mut left = marked.into_iter();
        let mut running = FuturesUnordered::new();
        let mut all = true;
        loop {
            while running.len() < GROUPS && !self.stop().is_cancelled() {
                let Some((portal, mark)) = left.next() else { break };
                running.push(self.work_on_group(work, portal, mark));
            }
            match running.next().await {
                Some(done) => all &= done,
                None => return all,
            }
        }
    }

    async fn work_on_group(&self, work: Work, portal: PortalId, mark: i64) -> bool {
        let worked = match work {
            Work::Read => self.reread(portal, mark).await,
            Work::Show => self.settle_group(portal, mark).await,
            Work::Picture => self.settle_picture(portal, mark).await,
        };
        match worked {
            Ok(done) => done,
            Err(Halt::Verdict(Verdict::Blocked(gate))) => {
                if gate == Gate::Homeserver {
                    self.matrix().wait_until_reachable().await;
                }
                false
            }
            Err(Halt::Verdict(Verdict::Later { why } | Verdict::Away { why } | Verdict::Never { why, .. })) => {
                tracing::warn!(portal = portal.get(), why, "a group was not brought up to date; it is tried again");
                false
            }
            Err(Halt::Verdict(Verdict::Done)) => true,
            Err(Halt::Store(error)) => {
                tracing::error!(%error, "the database failed under a group");
                false
            }
        }
    }

    /// Reads a marked group through a login that is connected. Without one the mark stays: a login that connects reads all
    /// of its groups.
    async fn reread(&self, portal: PortalId, mark: i64) -> Result<bool, Halt> {
        let chat = self.store().load_portal(portal).await?.chat;
        let logins = self.store().logins_in(portal).await?;
        let mut is_read = false;
        for login in logins.iter().filter(|login| self.is_connected(login)) {
            // One has told who is in it. Others of ours who are not look for themselves, so that they leave the room too.
            if is_read && self.store().role_of(portal, &login.own).await? != 0 {
                continue;
            }
            match self.whatsapp().read_group(&login.id, &chat).await {
                Ok(GroupRead::Stored) => is_read = true,
                // Another login may still be in it.
                Ok(GroupRead::Gone) => {}
                Err(GroupFailure::Offline) => {}
                Err(GroupFailure::Later(why)) => {
                    tracing::debug!(portal = portal.get(), why, "a group could not be read");
                    return Ok(false);
                }
                Err(GroupFailure::Store(error)) => return Err(error.into()),
            }
        }
        if is_read || self.store().logins_in(portal).await?.is_empty() {
            self.store().group_was_read(portal, mark).await?;
        }
        Ok(true)
    }

    /// Reads all groups of a login that has just connected; what was missed while it was away is found with it.
    pub(super) async fn read_groups_of(&self, login: &LoginId) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.whatsapp().read_groups(login).await {
                Ok(()) => {
                    // Marks that waited for this login.
                    self.store().ring_groups();
                    return;
                }
                Err(GroupFailure::Offline) => return,
                Err(error) => tracing::warn!(%error, "the groups of a login were not read; it is tried again"),
            }
            let slept = self.stop().run_until_cancelled(tokio::time::sleep(pause)).await;
            if slept.is_none() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether somebody is an admin of a group, as it was read last; in other chats nobody is.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn is_admin(&self, portal: &Portal, person: &GhostId) -> Result<bool, StoreError> {
        let is_group = portal.kind == PortalKind::Group;
        Ok(is_group && Role::of_number(self.store().role_of(portal.id, person).await?).is_admin())
    }

    /// Whether a login's line stands.
    pub(super) fn is_connected(&self, login: &Login) -> bool {
        login.state == LoginState::Linked && self.whatsapp().state(&login.id) == Some(LineState::Connected)
    }

    /// The login through which to do something for a shared chat: the one at hand when it is connected, else any other
    /// that is, else the one at hand.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn voice_of(&self, portal: PortalId, login: &LoginId) -> Result<LoginId, StoreError> {
        if self.whatsapp().state(login) == Some(LineState::Connected) {
            return Ok(login.clone());
        }
        let logins = self.store().logins_in(portal).await?;
        let other = logins.into_iter().find(|login| self.is_connected(login));
        Ok(other.map_or_else(|| login.clone(), |login| login.id))
    }
}
