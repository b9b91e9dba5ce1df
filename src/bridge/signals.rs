//! Typing and presence, both ways: shown while they last, never stored.
//!
//! One loop per direction takes signals in their order; what waited too long for its turn is dropped, as is what comes
//! while the other side is away. What runs on (an owner who types) is one task each, with a limit on their number.

use super::Bridge;
use super::budget::{Cost, in_background};
use super::people::Halt;
use super::rooms::room_id;
use crate::config::{Level, Presence};
use crate::ids::{ChatId, GhostId, LoginId, PortalId};
use crate::matrix::signals::Told;
use crate::store::logins::{Login, LoginState};
use crate::whatsapp::signals::{Heard, Signal};
use ruma::{OwnedUserId, RoomId, UserId};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use whatsapp_rust::chrono::DateTime;

/// How long somebody who types is shown so without hearing more: phones say it again every ten seconds.
const TYPING_LASTS: Duration = Duration::from_secs(20);
/// A signal that waited longer than this for its turn is dropped.
const STALE: Duration = Duration::from_secs(10);
/// How often WhatsApp is told again that the owner types: it forgets that after some ten seconds.
const TYPING_AGAIN: Duration = Duration::from_secs(9);
/// How long an owner is believed to type when the homeserver does not say that they stopped.
const LONGEST_TYPING: Duration = Duration::from_secs(300);
/// Owners typing at the same time who are shown so.
const MOST_TYPING: usize = 256;
/// Ghosts remembered as typing, or with their presence.
const MEMORY: usize = 10_000;
/// People of one login whose coming and going is asked for: those of the chats with the newest messages.
const WATCHED: i64 = 200;
/// How often ghosts that are online are shown so again: Synapse believes a user to be gone who did nothing for 30 seconds.
const ONLINE_AGAIN: Duration = Duration::from_secs(20);
/// How long an owner is believed to be there when the homeserver says nothing.
const LONGEST_THERE: Duration = Duration::from_secs(3600);
/// Ghosts that are kept online at the same time.
const MOST_ONLINE: usize = 200;

/// What this process shows at the moment.
#[derive(Default)]
pub struct Signals {
    /// Ghosts shown as typing, and until when at most.
    shown: Mutex<HashMap<(PortalId, OwnedUserId), Instant>>,
    /// Owners who type; cancelled when they stop.
    typing: Mutex<HashMap<(PortalId, LoginId), CancellationToken>>,
    /// What each login was told of a person's presence.
    seen: Mutex<HashMap<GhostId, HashMap<LoginId, Seen>>>,
    /// Ghosts that are shown as online.
    online: Mutex<HashMap<GhostId, OwnedUserId>>,
    /// Owners who are shown as there, and when the homeserver last said so.
    there: Mutex<HashMap<String, Instant>>,
    /// Logins whose news of people are being looked at; true when there are more.
    pub(super) refreshing: Mutex<HashMap<LoginId, bool>>,
}

/// A person's presence as one login is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    online: bool,
    /// Milliseconds since 1970; none when WhatsApp does not tell.
    last: Option<i64>,
}

/// The least that any of these logins is told: what one of them may not see, nobody is shown, because everybody sees the
/// same ghost. None when there is nothing to show.
fn told_to_all(logins: &[LoginId], seen: &HashMap<LoginId, Seen>) -> Option<Seen> {
    let all: Vec<Seen> = logins.iter().map(|login| seen.get(login).copied()).collect::<Option<_>>()?;
    let first = all.first()?;
    let online = all.iter().all(|seen| seen.online);
    let last = if all.iter().all(|seen| seen.last.is_some()) { first.last } else { None };
    Some(Seen { online, last })
}

/// The words beside an offline ghost.
fn last_seen_words(last: i64) -> Option<String> {
    Some(DateTime::from_timestamp_millis(last)?.format("last seen %-d %B %Y, %H:%M UTC").to_string())
}

impl Bridge {
    /// Shows signals on the other side as they come, until the process stops.
    pub async fn run_signals(&self) {
        let (Some(mut heard), Some(mut told)) = (self.whatsapp().take_signals(), self.intake().take_signals()) else {
            return tracing::error!("signals are followed already");
        };
        let from_whatsapp = async {
            while let Some(signal) = heard.recv().await {
                self.show_in_matrix(signal).await;
            }
        };
        let from_matrix = async {
            while let Some(signal) = told.recv().await {
                let shown = match signal {
                    Told::Typing { room, people } => self.show_typing_in_whatsapp(&room, &people).await,
                    Told::Presence { user, online } => self.show_presence_in_whatsapp(&user, online).await,
                };
                if let Err(error) = shown {
                    tracing::debug!(%error, "a signal of the homeserver was not shown");
                }
            }
        };
        let all = async { tokio::join!(from_whatsapp, from_matrix, self.keep_online()) };
        self.stop().run_until_cancelled(all).await;
    }

    async fn show_in_matrix(&self, signal: Signal) {
        let Signal { login, at, what } = signal;
        let shown = match what {
            Heard::People => return self.look_at_people(&login),
            Heard::Renumbered => return self.forget_rooms(),
            Heard::PhoneAnswered => {
                self.phone_is_there(&login, self.store().clock().now_ms()).await;
                return self.phone_answered(&login).await;
            }
            Heard::PhoneThere(at) => return self.phone_is_there(&login, at).await,
            Heard::Tried => return self.ring_watch(),
            _ if at.elapsed() > STALE || !self.matrix().is_reachable() => return,
            Heard::Typing { chat, person, on } => self.show_typing_in_room(&login, &chat, &person, on).await,
            Heard::Presence { person, online, last_seen } => {
                self.show_presence_of_ghost(&login, &person, Seen { online, last: last_seen }).await
            }
        };
        if let Err(halt) = shown {
            tracing::debug!(?halt, "a signal from WhatsApp was not shown");
        }
    }

    /// The person's user, if the bridge has made it by now.
    async fn known_ghost(&self, person: &GhostId) -> Result<Option<OwnedUserId>, Halt> {
        let ghost = self.store().find_ghost(person).await?.filter(|ghost| ghost.registered);
        Ok(ghost.map(|ghost| self.matrix().ghost_id(&ghost.localpart)))
    }

    /// Shows that somebody types, in a room that exists and that they are in.
    async fn show_typing_in_room(
        &self,
        login: &LoginId,
        chat: &ChatId,
        person: &GhostId,
        on: bool,
    ) -> Result<(), Halt> {
        let chat = ChatId::new(self.canonical(chat.as_str()).await?.as_str());
        let person = self.canonical(person.as_str()).await?;
        let Some(portal) = self.store().find_portal_of_chat(&chat, login).await? else { return Ok(()) };
        let Some(room) = self.store().load_portal(portal).await?.room else { return Ok(()) };
        let Some(user) = self.known_ghost(&person).await? else { return Ok(()) };
        if self.store().find_membership(portal, user.as_str()).await?.as_deref() != Some("join") {
            return Ok(());
        }
        let was = {
            let mut shown = self.shared.signals.shown.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if shown.len() >= MEMORY {
                shown.retain(|_, until| *until > now);
            }
            let key = (portal, user.clone());
            match on {
                true if shown.len() < MEMORY || shown.contains_key(&key) => shown.insert(key, now + TYPING_LASTS),
                true => return Ok(()),
                false => shown.remove(&key),
            }
        };
        if on || was.is_some() {
            self.matrix().show_typing(&room_id(&room)?, &user, on.then_some(TYPING_LASTS)).await?;
        }
        Ok(())
    }

    /// Ends the typing of somebody who says something now. Never waits.
    pub(super) fn stop_typing(&self, portal: PortalId, room: &RoomId, user: &UserId) {
        let key = (portal, user.to_owned());
        let was = self.shared.signals.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if was.is_some_and(|until| until > Instant::now()) {
            let (bridge, room) = (self.clone(), room.to_owned());
            self.spawn(async move {
                if let Err(error) = bridge.matrix().show_typing(&room, &key.1, None).await {
                    tracing::debug!(%error, "the end of typing was not shown");
                }
            });
        }
    }

    /// The logins that speak for people in a room of a chat.
    async fn speakers_in(&self, room: &str) -> crate::store::Result<Option<(PortalId, ChatId, Vec<Login>)>> {
        let Some(portal) = self.store().find_portal_by_room(room).await? else { return Ok(None) };
        if portal.chat.is_status() || portal.chat.is_channel() {
            return Ok(None);
        }
        let mut logins = self.store().logins_in(portal.id).await?;
        logins.retain(|login| {
            login.state == LoginState::Linked
                && portal.receiver.as_ref().is_none_or(|receiver| *receiver == login.id)
                && self.config().bridge.level_of(&login.mxid) >= Level::User
        });
        // Somebody with two accounts in a group speaks through the first.
        let mut people = HashSet::new();
        logins.retain(|login| people.insert(login.mxid.clone()));
        Ok(Some((portal.id, portal.chat, logins)))
    }

    async fn show_typing_in_whatsapp(&self, room: &str, people: &[String]) -> crate::store::Result<()> {
        // Ghosts' typing comes back this way, too: mostly there is nobody to look for.
        if people.is_empty() && self.shared.signals.typing.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return Ok(());
        }
        let Some((portal, chat, logins)) = self.speakers_in(room).await? else { return Ok(()) };
        for login in logins {
            let key = (portal, login.id.clone());
            let mut typing = self.shared.signals.typing.lock().unwrap_or_else(PoisonError::into_inner);
            if !people.contains(&login.mxid) {
                if let Some(stop) = typing.remove(&key) {
                    stop.cancel();
                }
            } else if !typing.contains_key(&key) && typing.len() < MOST_TYPING {
                let stop = self.stop().child_token();
                typing.insert(key.clone(), stop.clone());
                drop(typing);
                let (bridge, chat) = (self.clone(), chat.clone());
                self.spawn(async move {
                    bridge.keep_typing(&login.id, &chat, &stop).await;
                    // Whoever stopped it has taken it out, and there may be another one.
                    if !stop.is_cancelled() {
                        bridge.shared.signals.typing.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                    }
                });
            }
        }
        Ok(())
    }

    /// Tells WhatsApp again and again that the owner types, until they stop.
    async fn keep_typing(&self, login: &LoginId, chat: &ChatId, stop: &CancellationToken) {
        let end = Instant::now() + LONGEST_TYPING;
        while Instant::now() < end {
            if !self.whatsapp().show_typing(login, chat, true).await {
                return;
            }
            if stop.run_until_cancelled(tokio::time::sleep(TYPING_AGAIN)).await.is_none() {
                break;
            }
        }
        self.whatsapp().show_typing(login, chat, false).await;
    }

    async fn show_presence_in_whatsapp(&self, user: &str, online: bool) -> crate::store::Result<()> {
        if self.config().network.presence != Presence::Shared || self.config().bridge.level_of(user) < Level::User {
            return Ok(());
        }
        {
            let mut there = self.shared.signals.there.lock().unwrap_or_else(PoisonError::into_inner);
            if online {
                there.insert(user.to_owned(), Instant::now());
            } else {
                there.remove(user);
            }
        }
        tracing::debug!(mx.user_id = user, online, "an owner came or went");
        self.show_owner(user, online).await
    }

    async fn show_owner(&self, user: &str, online: bool) -> crate::store::Result<()> {
        for login in self.store().logins_of(user).await? {
            if login.state == LoginState::Linked {
                self.whatsapp().show_presence(&login.id, online).await;
            }
        }
        Ok(())
    }

    /// Shows owners as away of whom the homeserver has said nothing for long: their phones were mute for good if the word
    /// that they went was lost.
    async fn forget_owners(&self) {
        let gone: Vec<String> = {
            let mut there = self.shared.signals.there.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = there.iter().filter(|(_, at)| at.elapsed() > LONGEST_THERE).map(|(user, _)| user.clone());
            let gone: Vec<String> = gone.collect();
            there.retain(|user, _| !gone.contains(user));
            gone
        };
        for user in gone {
            if let Err(error) = self.show_owner(&user, false).await {
                tracing::debug!(%error, "an owner was not shown as away");
            }
        }
    }

    async fn show_presence_of_ghost(&self, login: &LoginId, person: &GhostId, told: Seen) -> Result<(), Halt> {
        if self.config().network.presence != Presence::Shared {
            return Ok(());
        }
        let person = self.canonical(person.as_str()).await?;
        let Some(user) = self.known_ghost(&person).await? else { return Ok(()) };
        let logins = self.store().logins_with(&person).await?;
        let shown = {
            let mut seen = self.shared.signals.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= MEMORY && !seen.contains_key(&person) {
                seen.clear();
            }
            let of_person = seen.entry(person.clone()).or_default();
            of_person.insert(login.clone(), told);
            told_to_all(&logins, of_person)
        };
        let Some(shown) = shown else { return Ok(()) };
        {
            let mut online = self.shared.signals.online.lock().unwrap_or_else(PoisonError::into_inner);
            if !shown.online {
                online.remove(&person);
            } else if online.len() < MOST_ONLINE {
                online.insert(person, user.clone());
            }
        }
        let words = if shown.online { None } else { shown.last.and_then(last_seen_words) };
        Ok(self.matrix().show_presence(&user, shown.online, words).await?)
    }

    /// Shows ghosts that are online as such again and again.
    async fn keep_online(&self) {
        if self.config().network.presence != Presence::Shared {
            return;
        }
        loop {
            tokio::time::sleep(ONLINE_AGAIN).await;
            self.forget_owners().await;
            let online: Vec<OwnedUserId> = {
                let online = self.shared.signals.online.lock().unwrap_or_else(PoisonError::into_inner);
                online.values().cloned().collect()
            };
            for user in online {
                if self.matrix().is_reachable()
                    && let Err(error) = self.matrix().show_presence(&user, true, None).await
                {
                    tracing::debug!(%error, "a ghost was not shown as online");
                }
            }
        }
    }

    /// Forgets what a login was told of people's presence: nobody tells it of changes any more.
    pub(super) fn line_is_down(&self, login: &LoginId) {
        let signals = &self.shared.signals;
        let mut online = signals.online.lock().unwrap_or_else(PoisonError::into_inner);
        signals.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|person, told| {
            if told.remove(login).is_some() {
                // The homeserver lets it pass by itself.
                online.remove(person);
            }
            !told.is_empty()
        });
    }

    /// Does what a new connection of a login asks for: its news of people are looked at, and it asks who is there.
    pub(super) fn line_is_up(&self, login: &LoginId) {
        self.look_at_people(login);
        if self.config().network.presence == Presence::Shared {
            let (bridge, login) = (self.clone(), login.clone());
            self.spawn(async move {
                let watched = bridge.stop().run_until_cancelled(in_background(bridge.watch_people(&login))).await;
                if let Some(Err(error)) = watched {
                    tracing::debug!(%error, "the presence of contacts was not asked for");
                }
            });
        }
    }

    /// Asks to be told when the person of a new chat comes and goes.
    pub(super) fn watch_new(&self, login: &LoginId, chat: &ChatId) {
        if self.config().network.presence == Presence::Shared {
            let (bridge, login, person) = (self.clone(), login.clone(), GhostId::new(chat.as_str()));
            self.spawn(async move {
                bridge.whatsapp().watch_person(&login, &person).await;
            });
        }
    }

    async fn watch_people(&self, login: &LoginId) -> crate::store::Result<()> {
        for person in self.store().people_with_rooms(login, WATCHED).await? {
            self.spend(Cost::Request(login)).await;
            if !self.whatsapp().watch_person(login, &person).await {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_login_may_not_see_nobody_is_shown() {
        let (a, b) = (LoginId::new("1"), LoginId::new("2"));
        let seen = |online, last| Seen { online, last };
        let both = [a.clone(), b.clone()];
        let mut told = HashMap::from([(a.clone(), seen(true, None))]);
        assert_eq!(told_to_all(&both, &told), None, "the other one was told nothing");
        assert_eq!(told_to_all(&both[..1], &told), Some(seen(true, None)));
        assert_eq!(told_to_all(&[], &told), None);
        told.insert(b.clone(), seen(false, None));
        assert_eq!(told_to_all(&both, &told), Some(seen(false, None)));
        told.insert(b, seen(false, Some(5)));
        assert_eq!(told_to_all(&both, &told), Some(seen(false, None)), "one is not told when");
        told.insert(a, seen(false, Some(7)));
        assert_eq!(told_to_all(&both, &told), Some(seen(false, Some(7))));
    }

    #[test]
    fn when_somebody_was_there_last_is_told_in_words() {
        assert_eq!(last_seen_words(1_700_000_000_000).as_deref(), Some("last seen 14 November 2023, 22:13 UTC"));
        assert_eq!(last_seen_words(i64::MAX), None);
    }
}
