//! What becomes of an account's rooms when it is logged out, as the operator chose (`bridge.cleanup_on_logout`).
//!
//! That it is still to be done is stored with the login, and each step may be repeated, so a process that dies meanwhile goes
//! on with its next start. Who links the account again meanwhile keeps the rooms that are left.

use super::Bridge;
use super::group_rooms::OUT;
use super::people::Halt;
use super::rooms::{room_id, user_id};
use crate::config::{Cleanup, Cleanups};
use crate::ids::{LoginId, PortalId};
use crate::matrix::error::MatrixError;
use crate::store::logins::{Farewell, Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::Verdict;
use std::collections::HashSet;
use std::time::Duration;

/// At least so often what is left is tried again.
const ROUND: Duration = Duration::from_secs(600);
/// Pause after something could not be done.
const PAUSE: Duration = Duration::from_secs(30);
/// What comes within this time is looked at together.
const GATHER: Duration = Duration::from_millis(200);

/// Rooms that are done with, by the logout: those whose owner was put out are still the account's.
type Done = HashSet<(LoginId, i64, PortalId)>;

impl Bridge {
    /// Cleans up after logouts until the process stops.
    pub async fn run_cleanups(&self) {
        let mut bell = self.watch_bell();
        let mut done = Done::new();
        let cleaning = async {
            loop {
                bell.borrow_and_update();
                if let Err(halt) = self.clean_up(&mut done).await {
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
    async fn clean_up(&self, done: &mut Done) -> Result<(), Halt> {
        let mut all = Ok(());
        for id in self.store().uncleaned_logins().await? {
            if let Err(halt) = self.clean_up_after(&id, done).await {
                all = Err(halt);
            }
        }
        if all.is_ok() {
            done.clear();
        }
        all
    }

    async fn clean_up_after(&self, id: &LoginId, done: &mut Done) -> Result<(), Halt> {
        let Some((login, how)) = self.farewell_of(id).await? else { return Ok(()) };
        if let Some(rows) = self.cleanups_after(how) {
            let private = self.store().private_rooms_of(id).await?;
            let mut all = Ok(());
            for portal in private.into_iter().chain(self.store().shared_rooms_of(id).await?) {
                // Linked again meanwhile: the next logout decides anew.
                if self.farewell_of(id).await?.is_none_or(|(now, _)| now.since != login.since) {
                    return Ok(());
                }
                let this = (id.clone(), login.since, portal.id);
                if done.contains(&this) {
                    continue;
                }
                match self.clean_up_room(&portal, &login, rows).await {
                    Ok(()) => drop(done.insert(this)),
                    Err(halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(_)))) => return Err(halt),
                    // One room keeps none of the others.
                    Err(halt) => all = Err(halt),
                }
            }
            all?;
        }
        Ok(self.store().login_was_cleaned(id, login.since).await?)
    }

    async fn clean_up_room(&self, portal: &Portal, login: &Login, rows: Cleanups) -> Result<(), Halt> {
        let what = self.cleanup_of(portal, login, rows).await?;
        match what {
            Cleanup::Nothing => return Ok(()),
            Cleanup::Kick => self.put_out(portal, &login.mxid).await?,
            Cleanup::Delete => self.empty_chat_room(portal).await?,
            Cleanup::Unbridge => self.leave_room_to(portal, &login.mxid).await?,
        }
        fail::fail_point!("states.room_cleaned", |_| super::states::die_here());
        // What finds the room the next time goes behind what was done; a group would be given a room again while the login
        // is in it.
        self.store().leave_shared(portal, login).await?;
        if let (Cleanup::Delete | Cleanup::Unbridge, Some(room)) = (what, &portal.room) {
            self.forget_room_of(portal, room).await?;
        }
        Ok(())
    }

    /// What the operator has chosen for a room. A room that another login uses still is nobody's alone.
    async fn cleanup_of(&self, portal: &Portal, login: &Login, rows: Cleanups) -> Result<Cleanup, Halt> {
        if !matches!(portal.kind, PortalKind::Group | PortalKind::Channel) {
            return Ok(rows.private);
        }
        let mut others = self.store().logins_in(portal.id).await?;
        others.retain(|other| other.id != login.id);
        if others.iter().any(|other| other.mxid == login.mxid && other.state == LoginState::Linked) {
            return Ok(Cleanup::Nothing);
        }
        if self.relay_of(portal).await?.is_some() {
            return Ok(rows.relayed);
        }
        let is_shared = others.iter().any(|other| other.mxid != login.mxid);
        Ok(if is_shared { rows.shared_has_users } else { rows.shared_no_users })
    }

    /// Takes somebody out of a room who is asked in again at their next login.
    async fn put_out(&self, portal: &Portal, mxid: &str) -> Result<(), Halt> {
        let Some(room) = &portal.room else { return Ok(()) };
        let room = room_id(room)?;
        match self.matrix().kick(&room, &user_id(mxid)?, "Your WhatsApp account was logged out.").await {
            // They are out already, or outrank the bot: the room is theirs then.
            Ok(()) | Err(MatrixError::Forbidden { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let noted = if portal.receiver.is_some() { "leave" } else { OUT };
        self.store().set_membership(portal.id, mxid, noted).await?;
        self.forget_room(portal.id);
        Ok(())
    }

    /// Leaves a chat's room to its people: the ghosts go, `heir` may do everything there, and nothing of it is
    /// bridged any more. Behind it comes [`Bridge::forget_room_of`].
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; repeating goes on where it was.
    pub(super) async fn leave_room_to(&self, portal: &Portal, heir: &str) -> Result<(), Halt> {
        let Some(text) = &portal.room else { return Ok(()) };
        let room = room_id(text)?;
        let members = self.people_in(&room).await?;
        if members.contains(self.matrix().bot()) {
            if members.contains(&user_id(heir)?) {
                self.crown_in(&room, heir).await?;
            }
            self.undress(&room, &portal.alias).await?;
            self.empty_room(&room, true).await?;
        }
        Ok(())
    }

    fn cleanups_after(&self, how: Farewell) -> Option<Cleanups> {
        self.config().bridge.cleanup_on_logout.after(how == Farewell::Asked)
    }

    /// What people are told of their rooms at a logout.
    #[must_use]
    pub fn rooms_after(&self, how: Farewell) -> String {
        let Some(rows) = self.cleanups_after(how) else { return "Its rooms stay".to_owned() };
        let shared = [rows.relayed, rows.shared_no_users, rows.shared_has_users];
        let private = match rows.private {
            Cleanup::Nothing => "The rooms of its direct chats stay",
            Cleanup::Kick => "You are taken out of the rooms of its direct chats",
            Cleanup::Unbridge => "The rooms of its direct chats stay yours and are bridged no more",
            Cleanup::Delete => "The rooms of its direct chats are deleted",
        };
        match shared.iter().all(|row| *row == Cleanup::Nothing) {
            true if rows.private == Cleanup::Nothing => "Its rooms stay".to_owned(),
            true => format!("{private}, the others stay"),
            false => format!(
                "{private}; with those of its groups and channels it is done as the bridge's administrator has chosen"
            ),
        }
    }

    /// A login that is logged out, and how it was; none while it is linked.
    async fn farewell_of(&self, id: &LoginId) -> Result<Option<(Login, Farewell)>, Halt> {
        let login = self.store().find_login(id).await?;
        Ok(login.and_then(|login| match login.state {
            LoginState::LoggedOut { how, .. } => Some((login, how)),
            LoginState::Linked => None,
        }))
    }
}
