//! Groups kept true: read from WhatsApp when something changed, and shown in their rooms until they are.
//!
//! The marks in the database say what is left to do, so nothing here has to survive a kill: the next start finds the same
//! marks. A group is read through any login that is in it, once for all of them. Messages never wait for this: who speaks
//! is brought into the room by their message.
//!
//! Work is bounded: a few groups at a time, within one a few people at a time, and all of it by the budgets. A large group
//! does not keep the others from their rooms: after some of its people it lets those pass that wait.
//!
//! Nothing is read twice for nothing: a login that connects reads all its groups with one request and all their pictures
//! with another, and what it read counts for marks from before; single groups wait meanwhile.

use super::Bridge;
use super::budget::{Cost, in_background};
use super::people::Halt;
use crate::convert::group::Role;
use crate::ids::{GhostId, LoginId, PortalId};
use crate::store::StoreError;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::{Gate, Verdict, backoff};
use crate::whatsapp::Picture;
use crate::whatsapp::groups::{GroupFailure, GroupRead};
use crate::whatsapp::line::LineState;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ruma::{OwnedRoomId, RoomId};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Groups read, or shown, at the same time.
const GROUPS: usize = 3;
/// What is said of a group in a burst is read once: so long after the first sign.
const BURST: Duration = Duration::from_millis(250);
/// Pictures asked for with one request; WhatsApp takes 1,000.
const PICTURES_AT_ONCE: usize = 500;
/// The first pause before what did not work is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What this process knows of groups beside the database.
#[derive(Default)]
pub struct Groups {
    /// Logins whose groups are being read all at once.
    reading: Mutex<HashSet<LoginId>>,
    /// Pictures as they were told with all others of a login, and when that was asked for (an ordered id).
    pictures: Mutex<HashMap<PortalId, (i64, Option<Picture>)>>,
    /// Whether there are groups that wait for a place to be shown: then large ones let them pass now and then.
    others_wait: AtomicBool,
    /// Groups shown in part so far, whose rooms have their names: under which mark, and which room.
    named: Mutex<HashMap<PortalId, (i64, OwnedRoomId)>>,
}

impl Groups {
    /// Whether other groups wait to be shown.
    pub(super) fn others_wait(&self) -> bool {
        self.others_wait.load(Ordering::Relaxed)
    }

    /// Notes that a room shows what is known of its group but for its people, as of `mark`.
    pub(super) fn has_names(&self, portal: PortalId, mark: i64, room: OwnedRoomId) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(portal, (mark, room));
    }

    /// Whether that was noted of this room and mark; it is forgotten with it.
    pub(super) fn had_names(&self, portal: PortalId, mark: i64, room: &RoomId) -> bool {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner).remove(&portal);
        named.is_some_and(|(at, named)| at == mark && named == room)
    }
}

/// What there is to do for a marked group.
#[derive(Debug, Clone, Copy)]
enum Work {
    Read,
    Show,
    Picture,
}

impl Work {
    /// How many groups are worked on at the same time.
    fn places(self) -> usize {
        match self {
            Self::Read | Self::Show => GROUPS,
            Self::Picture => 1,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    /// All of it.
    All,
    /// A part: it goes on after those that wait.
    Part,
    /// Nothing can be done before something changes, which rings.
    Waits,
    /// It did not work, and may later.
    Failed,
}

/// When what is not done is looked at again.
#[derive(Debug, Clone, Copy)]
enum Again {
    AtARing,
    At { time: Instant, tries: i64 },
}

impl Bridge {
    /// Reads and shows groups as they are marked, until the process stops. Reading, showing and pictures do not wait for
    /// each other.
    pub async fn run_groups(&self) {
        let all = async {
            tokio::join!(
                self.run_work(Work::Read),
                self.run_work(Work::Show),
                self.run_work(Work::Picture),
                self.run_progress()
            )
        };
        in_background(all).await;
    }

    async fn run_work(&self, work: Work) {
        let mut bell = self.store().groups_bell();
        let mut running = FuturesUnordered::new();
        let mut busy = HashSet::new();
        let mut again: HashMap<PortalId, Again> = HashMap::new();
        // Groups done in part, and when: the others come before them, and of these the one whose part is the oldest.
        let mut parts: HashMap<PortalId, Instant> = HashMap::new();
        loop {
            let mut marked = match self.marked(work).await {
                Ok(marked) => marked,
                Err(error) => {
                    tracing::error!(%error, "the database failed under the groups");
                    if self.stop().run_until_cancelled(tokio::time::sleep(FIRST_PAUSE)).await.is_none() {
                        return;
                    }
                    continue;
                }
            };
            again.retain(|portal, _| marked.iter().any(|(other, _)| other == portal));
            parts.retain(|portal, _| marked.iter().any(|(other, _)| other == portal));
            marked.sort_by_key(|(portal, _)| parts.get(portal).copied());
            let now = Instant::now();
            let is_due = |portal: &PortalId| match again.get(portal) {
                None => true,
                Some(Again::AtARing) => false,
                Some(Again::At { time, .. }) => *time <= now,
            };
            let due = marked.into_iter().filter(|(portal, _)| is_due(portal) && !busy.contains(portal));
            let due: Vec<_> = due.collect();
            let free = work.places() - running.len();
            if matches!(work, Work::Show) {
                self.shared.groups.others_wait.store(due.len() > free, Ordering::Relaxed);
            }
            for (portal, mark) in due.into_iter().take(free) {
                if busy.insert(portal) {
                    // A task of its own: work that is not polled while this loop waits for the database would keep the
                    // connections it was given, and with enough of it nobody would ever get one.
                    let bridge = self.clone();
                    let task = tokio::spawn(async move {
                        let work = in_background(bridge.work_on_group(work, portal, mark));
                        bridge.stop().run_until_cancelled(work).await.unwrap_or(Did::Waits)
                    });
                    running.push(async move { (portal, task.await.unwrap_or(Did::Failed)) });
                }
            }
            let times =
                again.iter().filter(|(portal, _)| !busy.contains(portal)).filter_map(|(_, again)| match again {
                    Again::At { time, .. } => Some(*time),
                    Again::AtARing => None,
                });
            let next = if running.len() < work.places() { times.min() } else { None };
            tokio::select! {
                () = self.stop().cancelled() => return,
                Some((portal, did)) = running.next(), if !running.is_empty() => {
                    busy.remove(&portal);
                    parts.remove(&portal);
                    match did {
                        Did::All => drop(again.remove(&portal)),
                        Did::Part => {
                            again.remove(&portal);
                            parts.insert(portal, Instant::now());
                        }
                        Did::Waits => drop(again.insert(portal, Again::AtARing)),
                        Did::Failed => {
                            let tries = match again.get(&portal) {
                                Some(Again::At { tries, .. }) => tries + 1,
                                _ => 1,
                            };
                            let time = Instant::now() + backoff(tries, rand::random()).min(LONGEST_PAUSE);
                            again.insert(portal, Again::At { time, tries });
                        }
                    }
                }
                rung = bell.changed() => {
                    if rung.is_err() {
                        return;
                    }
                    // What is said of a group in a burst is done once.
                    tokio::time::sleep(BURST).await;
                    bell.mark_unchanged();
                    again.retain(|_, again| !matches!(again, Again::AtARing));
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    async fn marked(&self, work: Work) -> Result<Vec<(PortalId, i64)>, StoreError> {
        match work {
            Work::Read => self.store().stale_groups().await,
            Work::Show => self.store().unsettled_groups().await,
            Work::Picture => self.store().stale_group_pictures().await,
        }
    }

    async fn work_on_group(&self, work: Work, portal: PortalId, mark: i64) -> Did {
        let worked = match work {
            Work::Read => self.reread(portal, mark).await,
            Work::Show => self.settle_group(portal, mark).await,
            Work::Picture => self.settle_picture(portal, mark).await,
        };
        match worked {
            Ok(did) => did,
            Err(Halt::Verdict(Verdict::Blocked(gate))) => {
                if gate == Gate::Homeserver {
                    self.matrix().wait_until_reachable().await;
                }
                Did::Failed
            }
            Err(Halt::Verdict(Verdict::Later { why } | Verdict::Away { why } | Verdict::Never { why, .. })) => {
                tracing::warn!(portal = portal.get(), why, "a group was not brought up to date; it is tried again");
                Did::Failed
            }
            Err(Halt::Verdict(Verdict::Done)) => Did::All,
            Err(Halt::Store(error)) => {
                tracing::error!(%error, "the database failed under a group");
                Did::Failed
            }
        }
    }

    /// Reads a marked group through a login that is connected. Without one the mark stays: a login that connects reads all
    /// of its groups.
    async fn reread(&self, portal: PortalId, mark: i64) -> Result<Did, Halt> {
        let chat = self.store().load_portal(portal).await?.chat;
        let logins = self.store().logins_in(portal).await?;
        let mut is_read = false;
        for login in logins.iter().filter(|login| self.is_connected(login) && !self.is_reading_all(&login.id)) {
            // One has told who is in it. Others of ours who are not look for themselves, so that they leave the room too.
            if is_read && self.store().role_of(portal, &login.own).await? != 0 {
                continue;
            }
            self.spend(Cost::Request(&login.id)).await;
            match self.whatsapp().read_group(&login.id, &chat).await {
                Ok(GroupRead::Stored) => is_read = true,
                // Another login may still be in it.
                Ok(GroupRead::Gone) => {}
                Err(GroupFailure::Offline) => {}
                Err(GroupFailure::Later(why)) => {
                    tracing::debug!(portal = portal.get(), why, "a group could not be read");
                    return Ok(Did::Failed);
                }
                Err(GroupFailure::Store(error)) => return Err(error.into()),
            }
        }
        if is_read || self.store().logins_in(portal).await?.is_empty() {
            self.store().group_was_read(portal, mark).await?;
            return Ok(Did::All);
        }
        Ok(Did::Waits)
    }

    /// Notes that a login has connected, so that nothing reads its groups one by one before all are read.
    pub(super) fn will_read_groups_of(&self, login: &LoginId) {
        self.shared.groups.reading.lock().unwrap_or_else(PoisonError::into_inner).insert(login.clone());
    }

    /// Whether a login's groups are being read all at once.
    pub(super) fn is_reading_all(&self, login: &LoginId) -> bool {
        self.shared.groups.reading.lock().unwrap_or_else(PoisonError::into_inner).contains(login)
    }

    /// Reads all groups of a login that has just connected; what was missed while it was away is found with it.
    pub(super) async fn read_groups_of(&self, login: &LoginId) {
        let mut pause = FIRST_PAUSE;
        loop {
            let read = in_background(async {
                self.spend(Cost::Request(login)).await;
                self.whatsapp().read_groups(login).await?;
                match self.read_pictures_of(login).await {
                    // Then each is asked for by itself.
                    Err(GroupFailure::Later(why)) => {
                        tracing::warn!(why, "the pictures of a login's groups were not told")
                    }
                    read => read?,
                }
                Ok(())
            });
            let read = self.stop().run_until_cancelled(read).await;
            self.shared.groups.reading.lock().unwrap_or_else(PoisonError::into_inner).remove(login);
            // Marks that waited for this login.
            self.store().ring_groups();
            match read {
                None => return,
                Some(Ok(())) => return self.begin_progress(login).await,
                Some(Err(GroupFailure::Offline)) => return,
                Some(Err(error)) => tracing::warn!(%error, "the groups of a login were not read; it is tried again"),
            }
            let slept = self.stop().run_until_cancelled(tokio::time::sleep(pause)).await;
            if slept.is_none() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks for the pictures of all groups of a login at once, and marks those that are others than the rooms show: a
    /// missed notification heals so.
    async fn read_pictures_of(&self, login: &LoginId) -> Result<(), GroupFailure> {
        let groups = self.store().group_pictures_of(login).await?;
        for groups in groups.chunks(PICTURES_AT_ONCE) {
            let asked_at = self.store().clock().next_id();
            let chats: Vec<&str> = groups.iter().map(|group| group.chat.as_str()).collect();
            self.spend(Cost::Request(login)).await;
            let mut told = self.whatsapp().find_group_pictures(login, &chats).await?;
            for group in groups {
                let picture = told.remove(&group.chat);
                let id = picture.as_ref().map_or("", |picture| picture.id.as_str());
                if group.is_stale {
                    self.remember_picture(group.portal, asked_at, picture);
                } else if id != group.shown {
                    // One that is not told may be hidden from this list only: then it is asked for by itself.
                    if picture.is_some() {
                        self.remember_picture(group.portal, asked_at, picture);
                    }
                    self.store().mark_group_picture(group.portal, asked_at).await?;
                }
            }
        }
        Ok(())
    }

    fn remember_picture(&self, portal: PortalId, asked_at: i64, picture: Option<Picture>) {
        let mut pictures = self.shared.groups.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        pictures.insert(portal, (asked_at, picture));
    }

    /// A group's picture as it was told with all others, once, unless it was marked again since.
    pub(super) fn told_picture(&self, portal: PortalId, mark: i64) -> Option<Option<Picture>> {
        let mut pictures = self.shared.groups.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked_at, picture) = pictures.remove(&portal)?;
        (asked_at >= mark).then_some(picture)
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
