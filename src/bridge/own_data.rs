//! What people do to the rooms of their chats in their own clients, done on WhatsApp: muted, pinned, archived, unread.
//!
//! Where the bridge acts as somebody and the operator wants it, their account data is followed, one standing request each.
//! What changed is written down with the place it was found before, and done when the login is connected. Dying anywhere
//! repeats at most a deed that changes nothing.
//!
//! **Echoes.** What the bridge has shown itself comes back the same way. A mark is kept of each chat (`chat_mark`): what says
//! the same as the mark is no news; while a mark waits to be shown, what the client says is older than it. Showing
//! and doing take turns, and before something is done the client's word is read once more.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::matrix::error::MatrixError;
use crate::matrix::own_data::{OwnNews, muted_rooms};
use crate::store::chat_marks::{ChatMark, MarkKind};
use crate::store::chat_rooms::ChatRoom;
use crate::store::logins::{Login, LoginState};
use crate::store::own_data::{OwnPlace, OwnWish};
use crate::store::portals::PortalKind;
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::outgoing::SendFailure;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::task::{Id, JoinSet};

/// How long one request stands.
const STANDS: Duration = Duration::from_secs(60);
/// People followed at the same time: what each costs the homeserver is a request that stands.
const MOST: usize = 500;
/// Between two looks for people to follow, and for what could not be done before.
const ROUND: Duration = Duration::from_secs(5);
/// Pause after somebody's account data could not be read.
const PAUSE: Duration = Duration::from_secs(2);

/// Value of a wish: the room was read, so its mark for unread goes whatever the account says of it.
const READ: i64 = -1;

/// What became of something somebody did.
enum Done {
    /// It is done, or no longer so.
    Yes,
    /// It is tried again.
    NotYet,
}

impl Bridge {
    /// Follows the account data of everybody the bridge acts as, until the process stops; returns at once where that is
    /// switched off.
    pub async fn run_own_data(&self) {
        if !self.config().bridge.sync_account_data {
            return;
        }
        tokio::join!(self.follow_people(), self.run_wishes());
    }

    async fn follow_people(&self) {
        // Tasks of their own: one that is not polled while this loop waits could hold a connection of the database.
        let mut following = JoinSet::new();
        let mut followed: HashMap<Id, String> = HashMap::new();
        loop {
            match self.store().all_logins().await {
                Ok(logins) => {
                    for login in logins.into_iter().filter(|login| login.state == LoginState::Linked) {
                        if followed.len() < MOST && followed.values().all(|person| *person != login.mxid) {
                            let (bridge, person) = (self.clone(), login.mxid.clone());
                            let task = following.spawn(async move {
                                bridge.stop().run_until_cancelled(bridge.follow(&person)).await;
                            });
                            followed.insert(task.id(), login.mxid);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "whose account data to follow is looked for again"),
            }
            tokio::select! {
                () = self.stop().cancelled() => return,
                Some(ended) = following.join_next_with_id(), if !following.is_empty() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "following somebody's account data ended in a fault");
                            error.id()
                        }
                    };
                    followed.remove(&id);
                    // Whoever is not followed now may be in a while.
                    if self.stop().run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                        return;
                    }
                }
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Follows one person until they can not be acted as or have no login.
    async fn follow(&self, mxid: &str) {
        loop {
            match self.follow_once(mxid).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(Halt::Verdict(Verdict::Blocked(Gate::Homeserver))) => self.matrix().wait_until_reachable().await,
                Err(halt) => {
                    tracing::debug!(?halt, "somebody's account data could not be read");
                    return;
                }
            }
        }
    }

    async fn follow_once(&self, mxid: &str) -> Result<bool, Halt> {
        let is_linked = |login: &Login| login.state == LoginState::Linked;
        if !self.store().logins_of(mxid).await?.iter().any(is_linked) {
            return Ok(false);
        }
        let Some(user) = self.ready_puppet(mxid).await? else { return Ok(false) };
        let place = self.store().find_own_place(mxid).await?;
        let since = place.as_ref().map(|place| place.since.as_str());
        let news = match self.matrix().own_news(&user, since, STANDS).await {
            Ok(news) => news,
            Err(MatrixError::Refused { status: 400, .. }) if place.is_some() => {
                tracing::warn!(mx.user_id = %user, "the homeserver does not know a place in /sync any more; going on from the present");
                self.store().forget_own_place(mxid).await?;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        // What was so before the bridge looked for the first time was not done now.
        let before = place.as_ref().map(|place| &place.muted);
        let found = match before {
            Some(muted) => self.found_in(mxid, &news, muted).await?,
            None => Vec::new(),
        };
        let muted = match &news.push_rules {
            Some(rules) => muted_rooms(rules),
            None => place.map(|place| place.muted).unwrap_or_default(),
        };
        self.store().put_own_place(mxid, &OwnPlace { since: news.next, muted }, &found).await?;
        if !found.is_empty() {
            self.shared.puppets.wishes.notify_one();
        }
        Ok(true)
    }

    /// What news of account data say about rooms of the person's chats.
    async fn found_in(
        &self,
        mxid: &str,
        news: &OwnNews,
        muted: &BTreeSet<String>,
    ) -> Result<Vec<(String, MarkKind, i64)>, Halt> {
        let mut found = Vec::new();
        for (room, kind, content) in &news.rooms {
            match kind.as_str() {
                "m.fully_read" if self.is_read_by_bridge(mxid, content["event_id"].as_str().unwrap_or_default()) => {}
                "m.fully_read" => found.push((room.clone(), MarkKind::Unread, READ)),
                kind => {
                    let marks = self.marks_in(kind, content).into_iter();
                    found.extend(marks.map(|(kind, value)| (room.clone(), kind, value)));
                }
            }
        }
        if let Some(rules) = &news.push_rules {
            let now = muted_rooms(rules);
            for room in now.symmetric_difference(muted) {
                found.push((room.clone(), MarkKind::Mute, if now.contains(room) { -1 } else { 0 }));
            }
        }
        let mut theirs = Vec::new();
        for (room, kind, value) in found {
            if let Some(portal) = self.store().find_portal_by_room(&room).await?
                && portal.kind != PortalKind::Status
                && self.takes_part(mxid, &portal).await?
            {
                theirs.push((room, kind, value));
            }
        }
        Ok(theirs)
    }

    /// What account data of a room of this kind says about its chat.
    pub(crate) fn marks_in(&self, kind: &str, content: &Value) -> Vec<(MarkKind, i64)> {
        match kind {
            "m.tag" => {
                let has = |tag: &str| i64::from(content["tags"].get(tag).is_some());
                let archived = has(&self.config().network.archive_tag);
                vec![(MarkKind::Pin, has("m.favourite")), (MarkKind::Archive, archived)]
            }
            "m.marked_unread" | "com.famedly.marked_unread" => {
                vec![(MarkKind::Unread, i64::from(content["unread"] == true))]
            }
            _ => Vec::new(),
        }
    }

    async fn run_wishes(&self) {
        loop {
            match self.store().own_wishes().await {
                Ok(wishes) => {
                    for wish in wishes {
                        match self.grant(&wish).await {
                            Ok(Done::NotYet) => {}
                            Ok(Done::Yes) => {
                                if let Err(error) = self.store().drop_own_wish(&wish).await {
                                    tracing::warn!(%error, "what was done to a room is done once more");
                                }
                            }
                            Err(halt) => tracing::debug!(?halt, "what somebody did to a room is done later"),
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "what people did to their rooms is done later"),
            }
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = self.shared.puppets.wishes.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Does on WhatsApp what somebody did to a room, unless WhatsApp knows.
    async fn grant(&self, wish: &OwnWish) -> Result<Done, Halt> {
        let _turn = self.shared.puppets.marks.lock().await;
        let found = self.store().find_chat_room(&wish.room, "").await?;
        let Some(ChatRoom { portal, login, .. }) = found else { return Ok(Done::Yes) };
        let login = self.login_of(&portal, login, &wish.mxid).await?;
        let is_theirs = |login: &Login| login.mxid == wish.mxid && login.state == LoginState::Linked;
        let Some(login) = login.filter(is_theirs) else { return Ok(Done::Yes) };
        let mark = self.store().find_chat_mark(&login.id, &portal.chat, wish.kind).await?;
        let (known, is_shown) = mark.map_or((0, true), |(value, is_shown)| (value, is_shown));
        let is_read = wish.kind == MarkKind::Unread && wish.value == READ;
        let value = if is_read { 0 } else { wish.value };
        let is_wanted = value != 0;
        if !is_shown || (known != 0) == is_wanted {
            return Ok(Done::Yes);
        }
        if !is_read && self.is_so(wish).await? != Some(is_wanted) {
            return Ok(Done::Yes);
        }
        match self.whatsapp().mark_chat(&login.id, &portal.chat, wish.kind, value).await {
            Ok(()) => {}
            Err(SendFailure::Impossible) => return Ok(Done::Yes),
            Err(failure) => {
                tracing::debug!(%failure, "what somebody did to a room was not taken yet");
                return Ok(Done::NotYet);
            }
        }
        fail::fail_point!("puppet.after_wish", |_| std::process::abort());
        let ts = self.store().clock().now_ms();
        let mark = ChatMark { login: login.id, chat: portal.chat, kind: wish.kind, value, ts };
        self.store().put_chat_mark(&mark).await?;
        // It is in their account, but for a mark that reading took away.
        if !is_read {
            self.store().mark_was_reached(&mark).await?;
        }
        Ok(Done::Yes)
    }

    /// Whether what somebody did to a room is so at this moment; none when the bridge can not act as them.
    async fn is_so(&self, wish: &OwnWish) -> Result<Option<bool>, Halt> {
        let Some(user) = self.ready_puppet(&wish.mxid).await? else { return Ok(None) };
        Ok(Some(self.is_marked(&user, &room_id(&wish.room)?, wish.kind).await?))
    }
}
