//! Ghosts: accounts on the homeserver for people on WhatsApp, made when first needed.
//!
//! What is done is noted in the database with flags, so an interrupted change is done again; a memory of ghosts
//! that are ready spares the look-ups. The picture is fetched on the side: a message never waits for it.

use super::Bridge;
use super::budget::{Cost, in_background};
use crate::config::NameFacts;
use crate::ids::{GhostId, LoginId};
use crate::matrix::error::MatrixError;
use crate::store::StoreError;
use crate::store::ghosts::{Ghost, NameRank};
use crate::verdict::Verdict;
use ruma::{OwnedUserId, UserId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Ghosts remembered as ready; found again in the database when dropped.
const MEMORY: usize = 20_000;
/// How long a picture is taken as known, milliseconds.
const PICTURE_AGE: i64 = 24 * 3600 * 1000;

/// Ghosts that are ready in this process.
#[derive(Default)]
pub struct People {
    ready: Mutex<HashMap<GhostId, Ready>>,
    /// Ghosts in the making: two makers of one would each do it all, and the later name might be the older one.
    making: Mutex<HashMap<GhostId, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Clone)]
struct Ready {
    user: OwnedUserId,
    name: String,
    /// What the name was made from: the same again makes the same name.
    push_name: String,
    business_name: Option<String>,
    /// When this process last looked at the picture's age, milliseconds since 1970.
    picture_at: i64,
}

impl Ready {
    /// Whether these facts would change nothing.
    fn knows(&self, facts: &Facts<'_>) -> bool {
        let tells_nothing = facts.push_name.is_empty() && facts.business_name.is_none();
        tells_nothing || (self.push_name == facts.push_name && self.business_name.as_deref() == facts.business_name)
    }
}

/// What a message tells about its author.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// The name they gave themselves.
    pub push_name: &'a str,
    /// Their verified business name.
    pub business_name: Option<&'a str>,
}

/// Why work on a row stopped early.
#[derive(Debug)]
pub enum Halt {
    /// The database failed: the lane pauses.
    Store(StoreError),
    /// The row's verdict is known.
    Verdict(Verdict),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        // A row that makes no sense will not make more sense later; the rest of the database works.
        match error {
            StoreError::Corrupt { .. } => Self::Verdict(Verdict::Never {
                tell: "The bridge's database holds something it can't read. Please tell the bridge's administrator."
                    .into(),
                why: error.to_string(),
            }),
            other => Self::Store(other),
        }
    }
}

impl From<MatrixError> for Halt {
    fn from(error: MatrixError) -> Self {
        Self::Verdict(error.verdict())
    }
}

impl Halt {
    /// The row's verdict, or the database's error.
    ///
    /// # Errors
    /// The database's error.
    pub fn into_verdict(self) -> Result<Verdict, StoreError> {
        match self {
            Self::Store(error) => Err(error),
            Self::Verdict(verdict) => Ok(verdict),
        }
    }
}

impl Bridge {
    /// The person's user id, with account, device and name in place.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn ready_ghost(&self, id: &GhostId, facts: Facts<'_>) -> Result<OwnedUserId, Halt> {
        let remembered = self.remembered(id);
        if let Some(ready) = remembered.as_ref().filter(|ready| ready.knows(&facts)) {
            return Ok(ready.user.clone());
        }
        let made_from = (facts.push_name.to_owned(), facts.business_name.map(str::to_owned));
        let name = self.name_of(id, &facts).await?;
        if let Some(mut ready) = remembered
            && name.as_ref().is_some_and(|(name, _)| *name == ready.name)
        {
            (ready.push_name, ready.business_name) = made_from;
            self.remember(id, ready.clone());
            return Ok(ready.user);
        }
        let mut ghost = self.store().find_or_make_ghost(id, &localpart_tail(id)).await?;
        if !ghost.registered {
            self.spend(Cost::Ghost).await;
        }
        let making = self.making_of_ghost(id);
        let _turn = making.lock().await;
        ghost = self.store().find_ghost(id).await?.unwrap_or(ghost);
        let user = self.matrix().ghost_id(&ghost.localpart);
        if !ghost.registered {
            self.matrix().ensure_user(&user).await?;
            self.store().set_registered(id, true).await?;
        }
        let ghost = self.settle_name(ghost, &user, name, id).await?;
        let (push_name, business_name) = made_from;
        self.remember(id, Ready { user: user.clone(), name: ghost.name, push_name, business_name, picture_at: 0 });
        Ok(user)
    }

    /// The person's LID when it is known by now; a row may have been stored under the number before the pair was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn canonical(&self, id: &str) -> Result<GhostId, StoreError> {
        let id = GhostId::new(id);
        if !id.as_str().ends_with("@s.whatsapp.net") {
            return Ok(id);
        }
        Ok(self.store().find_lid(&id).await?.unwrap_or(id))
    }

    async fn settle_name(
        &self,
        mut ghost: Ghost,
        user: &UserId,
        name: Option<(String, NameRank)>,
        id: &GhostId,
    ) -> Result<Ghost, Halt> {
        let (name, rank) = match name {
            Some(named) => named,
            None if ghost.name.is_empty() => (self.render_name(id, &Facts::default()).await?, NameRank::Number),
            None => (ghost.name.clone(), NameRank::Number),
        };
        if self.store().want_name(id, &name, rank).await? || ghost.name.is_empty() {
            ghost.name = name;
            ghost.name_set = false;
        }
        if !ghost.name_set {
            match self.matrix().set_display_name(user, &ghost.name).await {
                Ok(()) => {
                    self.rename_chats(id, &ghost.name).await?;
                    self.store().name_was_set(id, &ghost.name).await?;
                }
                Err(error) => match error.verdict() {
                    blocked @ Verdict::Blocked(_) => return Err(Halt::Verdict(blocked)),
                    // Names may be forbidden to change on this homeserver; the message is worth more.
                    _ => tracing::warn!(%error, "a ghost's name was not set"),
                },
            }
            ghost.name_set = true;
        }
        Ok(ghost)
    }

    /// Gives the rooms of direct chats with this person their name, but for those whose owner calls them otherwise.
    async fn rename_chats(&self, id: &GhostId, name: &str) -> Result<(), Halt> {
        for room in self.store().rooms_named_by_ghost(id).await? {
            match self.name_room(&room, name).await {
                Err(halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(_)))) => return Err(halt),
                // A room that is gone is noticed when something is said in it.
                Err(_) => tracing::debug!(mx.room_id = %room, "a room was not renamed"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The name these facts give, and how good it is; none when they hold no name.
    async fn name_of(&self, id: &GhostId, facts: &Facts<'_>) -> Result<Option<(String, NameRank)>, Halt> {
        let rank = match facts {
            Facts { business_name: Some(_), .. } => NameRank::Business,
            Facts { push_name: "", .. } => return Ok(None),
            _ => NameRank::Push,
        };
        Ok(Some((self.render_name(id, facts).await?, rank)))
    }

    async fn render_name(&self, id: &GhostId, facts: &Facts<'_>) -> Result<String, Halt> {
        let number = match id.as_str().strip_suffix("@s.whatsapp.net") {
            Some(number) => Some(number.to_owned()),
            None => self.store().find_pn(id).await?.and_then(|pn| pn.as_str().split('@').next().map(str::to_owned)),
        };
        let phone = number.map(|number| format!("+{number}"));
        // WhatsApp's own assistant gives itself no name.
        let push_name = match facts.push_name {
            "" if facts.business_name.is_none() && is_bot(id) => "Meta AI",
            name => name,
        };
        let facts = NameFacts {
            business_name: facts.business_name,
            push_name: (!push_name.is_empty()).then_some(push_name),
            full_name: None,
            phone: phone.as_deref(),
        };
        Ok(self.config().network.displayname_template.render(&facts))
    }

    /// Whose turn it is to make a ghost. Nobody who holds it waits for a budget.
    fn making_of_ghost(&self, id: &GhostId) -> Arc<tokio::sync::Mutex<()>> {
        let mut making = self.shared.people.making.lock().unwrap_or_else(PoisonError::into_inner);
        // Those nobody holds any more.
        if making.len() >= MEMORY {
            making.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        making.entry(id.clone()).or_default().clone()
    }

    fn remembered(&self, id: &GhostId) -> Option<Ready> {
        self.shared.people.ready.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn remember(&self, id: &GhostId, ready: Ready) {
        let mut known = self.shared.people.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MEMORY {
            known.clear();
        }
        known.insert(id.clone(), ready);
    }

    /// Forgets what a ghost's name was made from; found again in the database.
    pub(super) fn forget_ready(&self, id: &GhostId) {
        self.shared.people.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Forgets that a ghost is ready: its account or device turned out to be gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_ghost(&self, id: &GhostId) -> Result<(), StoreError> {
        self.forget_ready(id);
        self.store().set_registered(id, false).await
    }

    /// Fetches the person's picture on the side, at most once a day. Droppable: tried again with a later message.
    pub fn refresh_picture(&self, login: &LoginId, id: &GhostId) {
        // A channel's comes with what the channel is.
        if id.as_str().ends_with("@newsletter") {
            return;
        }
        let now = self.store().clock().now_ms();
        match self.shared.people.ready.lock().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
            Some(ready) if now - ready.picture_at >= PICTURE_AGE => ready.picture_at = now,
            _ => return,
        }
        let (bridge, login, id) = (self.clone(), login.clone(), id.clone());
        self.spawn(async move {
            let fetched = in_background(bridge.fetch_picture(&login, &id));
            if let Some(Err(error)) = bridge.stop().run_until_cancelled(fetched).await {
                tracing::debug!(%error, "a picture was not fetched");
            }
        });
    }

    async fn fetch_picture(&self, login: &LoginId, id: &GhostId) -> anyhow::Result<()> {
        let _turn = self.picture_turn().await;
        let Some(ghost) = self.store().find_ghost(id).await? else { return Ok(()) };
        if self.store().clock().now_ms() - ghost.avatar_checked_at < PICTURE_AGE {
            return Ok(());
        }
        self.show_picture(login, &ghost).await.map(drop)
    }
}

/// Whether this is a bot of WhatsApp's own, by the ids its clients know them by.
fn is_bot(id: &GhostId) -> bool {
    match id.as_str().split_once('@') {
        Some((_, "bot")) => true,
        Some((number, "s.whatsapp.net")) => number.starts_with("1313555") || number.starts_with("131655500"),
        _ => false,
    }
}

/// The variable part of a ghost's localpart: digits for a phone number, `lid-` and digits for a LID; anything else
/// spelled out so that two people never share one.
fn localpart_tail(id: &GhostId) -> String {
    let (user, server) = id.as_str().split_once('@').unwrap_or((id.as_str(), ""));
    let plain = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit());
    match (plain, server) {
        (true, "s.whatsapp.net") => user.to_owned(),
        (true, "lid") => format!("lid-{user}"),
        _ => format!("x-{}", crate::derive::hex(id.as_str().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ids_of_a_person_make_different_names() {
        assert_eq!(localpart_tail(&GhostId::new("491700000001@s.whatsapp.net")), "491700000001");
        assert_eq!(localpart_tail(&GhostId::new("100@lid")), "lid-100");
    }

    proptest! {
        #[test]
        fn no_two_people_share_a_localpart(a in "[a-z0-9@.-]{0,12}", b in "[a-z0-9@.-]{0,12}", lid in any::<bool>()) {
            let (a, b) = if lid { (format!("{a}@lid"), format!("{b}@s.whatsapp.net")) } else { (a, b) };
            prop_assume!(a != b);
            prop_assert_ne!(localpart_tail(&GhostId::new(a)), localpart_tail(&GhostId::new(b)));
        }
    }
}
