//! Double puppets: what somebody writes on their phone comes from their own account on Matrix.
//!
//! Who may be acted as: the owner of the linked login that wrote it, in a chat of that login ([`Store::find_own_author`]),
//! when they did not say no and the homeserver takes the token. Everything else is the ghost's. A puppet may end at any
//! moment (a token is logged out): then what was reserved for it is looked for by its mark, and goes as the ghost when it
//! is not there. Its owner is told once, noted in the database.
//!
//! [`Store::find_own_author`]: crate::store::Store::find_own_author

use super::Bridge;
use super::deliver::Delivery;
use super::effects::Scene;
use super::people::{Facts, Halt};
use super::rooms::{Known, user_id};
use crate::config::Level;
use crate::ids::GhostId;
use crate::matrix::error::MatrixError;
use crate::matrix::puppets::PuppetToken;
use crate::store::StoreError;
use crate::store::logins::Login;
use crate::store::messages::Message;
use crate::store::portals::{Portal, PortalKind};
use crate::store::puppets::PuppetMode;
use crate::store::seal::Purpose;
use crate::verdict::Verdict;
use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long somebody the bridge can not act as is not tried again: a registration may have been loaded since.
const TRIED_AGAIN: Duration = Duration::from_secs(600);
/// Marks of reading remembered.
const MEMORY: usize = 10_000;
/// How long what was reserved for a puppet waits for another homeserver before it goes as the ghost, milliseconds.
const ELSEWHERE_WAIT: i64 = 5 * 60 * 1000;
/// The look for a marked event reads back to this long before the message's time, milliseconds: clocks differ.
const CLOCK_SLACK: i64 = 3600 * 1000;

/// When this process found that it can not act as somebody.
#[derive(Default)]
pub struct Puppets {
    not: Mutex<HashMap<String, Instant>>,
    /// Held while a chat's mark is shown, or done on WhatsApp: one never sees the other half done.
    pub(super) marks: tokio::sync::Mutex<()>,
    /// Events up to which the bridge has marked rooms as read for somebody: that is no deed of theirs.
    read: Mutex<HashSet<(String, String)>>,
    /// Rung when somebody did something to a room of theirs.
    pub(super) wishes: tokio::sync::Notify,
}

/// What became of a try to act as somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PuppetState {
    /// The bridge acts as them.
    Ready,
    /// They said no.
    Off,
    /// There is no token for them.
    NoToken,
    /// The homeserver refuses the token.
    Refused,
    /// The token is somebody else's, or may not act as them.
    NotTheirs,
}

/// As whom a delivery that was tried before goes on.
pub(super) enum Resumed {
    /// As this user.
    As(OwnedUserId),
    /// It is there: the event.
    Sent(OwnedEventId),
}

impl Bridge {
    /// The user a message's author is in its room: their own account where the bridge acts as them, else their ghost.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn author(&self, scene: &Scene<'_>, facts: Facts<'_>) -> Result<OwnedUserId, Halt> {
        // In a group another member's login may bring what somebody wrote.
        let chat = self.chat_of(scene.portal).await?;
        let may_be = scene.arrival.from_me || chat.is_group();
        if may_be
            && let Some(mxid) = self.store().find_own_author(scene.portal, scene.sender).await?
            && let Some(user) = self.ready_puppet(&mxid).await?
        {
            return Ok(user);
        }
        self.ready_ghost(scene.sender, facts).await
    }

    /// The user that can act on an event as who sent it: the bot, a ghost, or a person the bridge acts as.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn acting(&self, sent_by: &str) -> Result<Option<OwnedUserId>, Halt> {
        match UserId::parse(sent_by) {
            Ok(user) if self.matrix().is_ours(&user) => Ok(Some(user)),
            Ok(_) => self.ready_puppet(sent_by).await,
            Err(_) => Ok(None),
        }
    }

    /// A person the bridge can act as now; none when it can not.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn ready_puppet(&self, mxid: &str) -> Result<Option<OwnedUserId>, Halt> {
        let user = user_id(mxid)?;
        if self.config().bridge.level_of(mxid) < Level::User {
            return Ok(None);
        }
        if self.matrix().is_puppet(&user) {
            return Ok(Some(user));
        }
        let tried = self.puppets().get(mxid).copied();
        if tried.is_some_and(|at| at.elapsed() < TRIED_AGAIN) {
            return Ok(None);
        }
        let state = match self.try_puppet(&user, !self.config().double_puppet.automatic).await {
            Ok(state) => state,
            Err(Halt::Verdict(Verdict::Away { .. })) => return Ok(None),
            Err(halt) => return Err(halt),
        };
        if state == PuppetState::Ready {
            return Ok(Some(user));
        }
        if state == PuppetState::Refused && !self.config().double_puppet.automatic {
            tracing::debug!(mx.user_id = %user, "the bridge can not act as them");
        } else {
            tracing::info!(mx.user_id = %user, ?state, "no double puppet: what they write on their phone comes from a ghost");
        }
        self.puppets().insert(mxid.to_owned(), Instant::now());
        Ok(None)
    }

    fn puppets(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.shared.puppets.not.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries to act as somebody, as they or the operator chose. `asked_only`: not by a shared token they never asked for.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(crate) async fn try_puppet(&self, user: &UserId, asked_only: bool) -> Result<PuppetState, Halt> {
        let row = self.store().find_puppet(user.as_str()).await?;
        let elsewhere = self.config().puppet_address(user.server_name().as_str());
        let is_here = user.server_name().as_str() == self.matrix().settings().domain;
        let token = match row.as_ref().map(|row| &row.mode) {
            Some(PuppetMode::Off) => return Ok(PuppetState::Off),
            Some(PuppetMode::Token(_)) if row.as_ref().is_some_and(|row| row.lost_at.is_some()) => {
                return Ok(PuppetState::Refused);
            }
            Some(PuppetMode::Token(sealed)) => match self.open_token(user, sealed) {
                Some(token) => PuppetToken::Own(token),
                None => return Ok(PuppetState::NoToken),
            },
            None if asked_only => return Ok(PuppetState::NoToken),
            Some(PuppetMode::Shared) | None => match self.shared_token(user) {
                Some(token) => token,
                None => return Ok(PuppetState::NoToken),
            },
        };
        if !is_here && elsewhere.is_none() {
            return Ok(PuppetState::NoToken);
        }
        let state = self.try_token(user, &token).await?;
        match (&state, &row) {
            (PuppetState::Ready, None) if matches!(token, PuppetToken::Shared(_)) => {
                self.store().put_puppet(user.as_str(), &PuppetMode::Shared).await?;
            }
            (PuppetState::Ready, Some(row)) if row.lost_at.is_some() => {
                self.store().put_puppet(user.as_str(), &row.mode).await?;
            }
            (PuppetState::Refused, Some(_)) => self.matrix().lose_puppet(user).await,
            _ => {}
        }
        Ok(state)
    }

    /// The token that covers everybody of somebody's homeserver.
    pub(crate) fn shared_token(&self, user: &UserId) -> Option<PuppetToken> {
        let token = self.config().shared_puppet_token(user.server_name().as_str())?;
        Some(PuppetToken::Shared(token.reveal().clone()))
    }

    /// Tries a token; when it is good the bridge acts as them from now on.
    ///
    /// # Errors
    /// [`Halt`] when the homeserver fails.
    pub(crate) async fn try_token(&self, user: &UserId, token: &PuppetToken) -> Result<PuppetState, Halt> {
        let elsewhere = self.config().puppet_address(user.server_name().as_str());
        match self.matrix().try_puppet(user, elsewhere, token).await {
            Ok(()) => {
                self.puppets().remove(user.as_str());
                Ok(PuppetState::Ready)
            }
            Err(MatrixError::PuppetRefused) => Ok(PuppetState::Refused),
            Err(MatrixError::Forbidden { .. }) => Ok(PuppetState::NotTheirs),
            Err(error) => Err(error.into()),
        }
    }

    /// Seals somebody's own token.
    pub(crate) fn seal_token(&self, user: &UserId, token: &str) -> Option<Vec<u8>> {
        self.sealer().seal(Purpose::PuppetToken, user.as_str(), b"", token.as_bytes()).ok()
    }

    fn open_token(&self, user: &UserId, sealed: &[u8]) -> Option<String> {
        let plain = self.sealer().open(Purpose::PuppetToken, user.as_str(), b"", sealed);
        let token = plain.ok().and_then(|plain| String::from_utf8(plain).ok());
        if token.is_none() {
            tracing::error!(mx.user_id = %user, "a stored access token can not be opened");
        }
        token
    }

    /// Ends a puppet for a while that may not do what has to be done: the homeserver said no to the deed, not to the token.
    pub(super) fn distrust_puppet(&self, user: &UserId) {
        tracing::warn!(mx.user_id = %user, "a double puppet may not act in its room; its ghost does");
        self.matrix().drop_puppet(user);
        self.puppets().insert(user.to_string(), Instant::now());
    }

    /// As whom a delivery goes on that was reserved before: as it was reserved, or as today's author when the puppet it was
    /// reserved for is no more and did not send it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn resume_as(
        &self,
        known: &Known,
        delivery: &Delivery<'_>,
        before: &Message,
        txn: &str,
    ) -> Result<Resumed, Halt> {
        let Ok(user) = UserId::parse(before.mx_sender.as_str()) else {
            return Ok(Resumed::As(delivery.user.to_owned()));
        };
        if self.matrix().is_ours(&user) {
            return Ok(Resumed::As(user));
        }
        if self.ready_puppet(user.as_str()).await?.is_some() && !self.is_overdue_elsewhere(&user, before) {
            return Ok(Resumed::As(user));
        }
        let mark = self.store().derive().puppet_mark(txn);
        let noted = self.store().find_puppet_send(&mark).await?;
        if let Some(event) = noted.and_then(|noted| noted.event_id)
            && let Ok(event) = EventId::parse(event)
        {
            return Ok(Resumed::Sent(event));
        }
        let since = before.tried_at.min(delivery.ts) - CLOCK_SLACK;
        match self.matrix().find_marked(&known.room, &user, &mark, since).await {
            Ok(Some(event)) => return Ok(Resumed::Sent(event)),
            // Without the bot in it the room is dead; the sending finds that out.
            Ok(None) | Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let user = match self.matrix().is_ours(delivery.user) {
            true => delivery.user.to_owned(),
            false => self.ready_ghost(delivery.ghost, Facts::default()).await?,
        };
        self.store().give_message_to(&delivery.key, user.as_str()).await?;
        Ok(Resumed::As(user))
    }

    fn is_overdue_elsewhere(&self, user: &UserId, before: &Message) -> bool {
        self.matrix().is_puppet_elsewhere(user) && self.store().clock().now_ms() - before.tried_at > ELSEWHERE_WAIT
    }

    /// Whether an event is an echo of what the bridge sent as its sender; then it is noted as come back.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn is_echo(&self, event: &super::from_matrix::Event) -> Result<bool, StoreError> {
        let mark = self.matrix().echo_of(&event.room_id, &event.sender, &event.event_id, &event.content).await?;
        let Some(mark) = mark else { return Ok(false) };
        fail::fail_point!("puppet.at_echo", |_| std::process::abort());
        self.store().puppet_was_echoed(&mark, &event.event_id).await?;
        Ok(true)
    }

    /// Lets the owner of a login come into a room of theirs by themselves, with the room among their direct chats.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn bring_owner(&self, portal: &Portal, room: &RoomId, owner: &Login) -> Result<(), Halt> {
        let is_theirs = portal.receiver.as_ref().is_none_or(|receiver| *receiver == owner.id);
        let reached = self.store().find_membership(portal.id, &owner.mxid).await?;
        if !is_theirs || matches!(reached.as_deref(), Some("join" | "leave")) {
            return Ok(());
        }
        // A row may be older than the account's leaving the group.
        let is_in =
            async || Ok::<_, Halt>(self.store().logins_in(portal.id).await?.iter().any(|login| login.id == owner.id));
        if matches!(portal.kind, PortalKind::Group | PortalKind::Channel) && !is_in().await? {
            return Ok(());
        }
        let Some(user) = self.ready_puppet(&owner.mxid).await? else { return Ok(()) };
        let brought = async {
            self.matrix().ensure_joined(room, &user).await?;
            if portal.kind == PortalKind::Direct {
                let peer = self.store().find_ghost(&GhostId::new(portal.chat.as_str())).await;
                if let Ok(Some(peer)) = peer {
                    let peer = self.matrix().ghost_id(&peer.localpart);
                    self.matrix().add_direct_chat(&user, &peer, room).await?;
                }
            }
            Ok::<(), MatrixError>(())
        };
        match brought.await {
            Ok(()) => Ok(self.store().set_membership_in_room(portal.id, room.as_str(), &owner.mxid, "join").await?),
            Err(error) => match error.verdict() {
                blocked @ Verdict::Blocked(_) => Err(Halt::Verdict(blocked)),
                // The invitation stands.
                _ => {
                    tracing::warn!(%error, "a person was not brought into a room of theirs");
                    Ok(())
                }
            },
        }
    }

    /// Marks a room of somebody's own login as read by themselves, up to an event; messages up to it are not reported as
    /// read to WhatsApp, which knows. False when the bridge does not act as them, or the room is not theirs.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn puppet_mark_read(&self, mxid: &str, room: &RoomId, event: &EventId) -> Result<bool, Halt> {
        let Some(portal) = self.store().find_portal_by_room(room.as_str()).await? else { return Ok(false) };
        if !self.takes_part(mxid, &portal).await? {
            return Ok(false);
        }
        let Some(user) = self.ready_puppet(mxid).await? else { return Ok(false) };
        // In a group each login has a mark of its own, which stands there already.
        if !portal.chat.is_group()
            && !portal.chat.is_channel()
            && let Some(read) = self.store().find_message_by_event(event.as_str()).await?
            && read.key.portal == portal.id
        {
            // Before the mark: it comes back as a read mark of theirs, and finds nothing unread.
            loop {
                let unread = self.store().unread_until(portal.id, read.ts).await?;
                if unread.is_empty() {
                    break;
                }
                for message in &unread {
                    self.store().message_was_read(portal.id, message).await?;
                }
            }
        }
        self.note_read_by_bridge(mxid, event.as_str());
        match self.matrix().mark_read_fully(room, &user, event).await {
            Ok(()) => Ok(true),
            Err(error) => match error.verdict() {
                blocked @ Verdict::Blocked(_) => Err(Halt::Verdict(blocked)),
                _ => {
                    tracing::debug!(%error, "a room was not marked as read by its owner");
                    Ok(false)
                }
            },
        }
    }

    fn note_read_by_bridge(&self, mxid: &str, event: &str) {
        if self.config().bridge.sync_account_data {
            let mut read = self.shared.puppets.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.len() >= MEMORY {
                read.clear();
            }
            read.insert((mxid.to_owned(), event.to_owned()));
        }
    }

    /// Whether it was the bridge that marked a room as read for somebody up to this event; forgotten at a restart, which
    /// makes at most a mark for unread go that was set in that moment.
    pub(super) fn is_read_by_bridge(&self, mxid: &str, event: &str) -> bool {
        let read = self.shared.puppets.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.contains(&(mxid.to_owned(), event.to_owned()))
    }

    /// Whether a chat is one of somebody's own logins.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn takes_part(&self, mxid: &str, portal: &Portal) -> Result<bool, StoreError> {
        let logins = self.store().logins_in(portal.id).await?;
        let is_open = |login: &Login| portal.receiver.as_ref().is_none_or(|receiver| *receiver == login.id);
        Ok(logins.iter().any(|login| login.mxid == mxid && is_open(login)))
    }

    /// Tells people whose tokens are refused, until the process stops; noted in the database, so a loss is told once and also
    /// when the process died in between.
    pub async fn run_puppets(&self) {
        let mut pause = Duration::from_secs(1);
        loop {
            match self.tell_lost_puppets().await {
                Ok(()) => {
                    pause = Duration::from_secs(1);
                    tokio::select! {
                        () = self.stop().cancelled() => return,
                        () = self.matrix().lost_puppet() => {}
                    }
                }
                Err(why) => {
                    tracing::warn!(%why, "somebody was not told yet that their token is refused");
                    tokio::select! {
                        () = self.stop().cancelled() => return,
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(300)),
                    }
                }
            }
        }
    }

    async fn tell_lost_puppets(&self) -> anyhow::Result<()> {
        for puppet in self.store().untold_puppets().await? {
            let room = self.management_room(&puppet.mxid).await?;
            let cause = format!("{}:{}", puppet.mxid, puppet.lost_at.unwrap_or(0));
            let txn = self.store().derive().notice_txn(&cause, "puppet-lost");
            let what_to_do = match puppet.mode {
                PuppetMode::Token(_) => "Say `login-matrix <access token>` with a new one.",
                _ => "Please tell the bridge's administrator; then say `login-matrix`.",
            };
            let text = format!(
                "{}: your homeserver does not let me act as you any more. What you write on your phone now comes from a \
                 ghost of yours. {what_to_do}",
                puppet.mxid
            );
            let mut content = crate::convert::notice(&text);
            content["m.mentions"] = json!({ "user_ids": [puppet.mxid] });
            match self.matrix().send(&room, self.matrix().bot(), "m.room.message", &txn, &content, None).await {
                Ok(_) => self.store().puppet_was_told(&puppet).await?,
                Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {
                    self.store().set_management_room(&puppet.mxid, "").await?;
                    anyhow::bail!("the management room is gone; the next try makes another");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
