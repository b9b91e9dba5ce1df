//! What was begun through one login goes on through it.
//!
//! A message's WhatsApp id hangs on the login it goes through, so what is tried again through another one would be a second
//! message. Between two tries the login may change: another account relays now, or somebody linked one of their own.

use super::Bridge;
use super::from_matrix::{Event, never};
use super::people::Halt;
use super::relay::Relayed;
use crate::config::Level;
use crate::store::inbox::InboxRow;
use crate::store::logins::{Login, LoginState};
use crate::store::messages::MessageState;
use crate::store::portals::Portal;
use futures_util::future::BoxFuture;

/// The parts of an event that are files of an album, or the album.
const OF_AN_ALBUM: std::ops::RangeInclusive<i64> = 1..=200;

/// How an event goes on.
pub(super) enum GoesOn {
    /// Through this login, for the sender or for whom it relays.
    Through(Box<(Login, Option<Relayed>)>),
    /// Not at all: it is on WhatsApp.
    IsThere,
}

impl Bridge {
    /// Through whom an event goes on that is to go through this login: another one, where it was begun through that. On the
    /// heap: it is deep already where it is called.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; with words for the sender when it may be on WhatsApp and nobody can say.
    pub(super) fn goes_on_through<'a>(
        &'a self,
        row: &'a InboxRow,
        event: &'a Event,
        portal: &'a Portal,
        login: Login,
        relayed: Option<Relayed>,
    ) -> BoxFuture<'a, Result<GoesOn, Halt>> {
        Box::pin(self.find_begun(row, event, portal, login, relayed))
    }

    async fn find_begun(
        &self,
        row: &InboxRow,
        event: &Event,
        portal: &Portal,
        login: Login,
        relayed: Option<Relayed>,
    ) -> Result<GoesOn, Halt> {
        let begun = self.store().begun_through(portal.id, &event.event_id).await?;
        let others: Vec<_> = begun.iter().filter(|(other, ..)| *other != login.id).collect();
        let is_open = |state: &MessageState| *state != MessageState::Failed;
        let Some((before, ..)) = others.iter().find(|(.., state)| is_open(state)) else {
            if !others.is_empty() {
                self.store().let_go_of_failed(portal.id, &event.event_id, &login.id).await?;
            }
            return Ok(GoesOn::Through(Box::new((login, relayed))));
        };
        let found = self.store().logins_in(portal.id).await?.into_iter().find(|other| other.id == *before);
        let may_go_on = |other: &Login| {
            other.state == LoginState::Linked && self.config().bridge.level_of(&other.mxid) >= Level::User
        };
        if let Some(other) = found.filter(may_go_on) {
            if other.mxid == event.sender {
                return Ok(GoesOn::Through(Box::new((other, None))));
            }
            if self.config().bridge.relay.enabled && self.may_still_relay(&other, portal, row).await? {
                let who = match relayed {
                    Some(who) => who,
                    None => self.relayed_as(event).await?,
                };
                return Ok(GoesOn::Through(Box::new((other, Some(who)))));
            }
        }
        let is_album = others.iter().any(|(_, part, _)| OF_AN_ALBUM.contains(part));
        let is_there = others.iter().any(|(_, part, state)| *part == 0 && *state == MessageState::Sent);
        if is_there && !is_album && others.iter().all(|(.., state)| *state != MessageState::Reserved) {
            return Ok(GoesOn::IsThere);
        }
        Err(never(
            "This was on its way to WhatsApp through an account that is no longer there, and may have arrived. Please look \
             there, or ask somebody who can, before you write it again.",
            "it was begun through a login that is gone",
        ))
    }

    /// Whether an account may relay what came for it before: choosing another one takes nothing back, `unset-relay` does.
    async fn may_still_relay(&self, login: &Login, portal: &Portal, row: &InboxRow) -> Result<bool, Halt> {
        let is_relay = self.relay_of(portal).await?.is_some_and(|relay| relay.id == login.id);
        Ok(is_relay || self.store().relay_unset_at(portal.id).await? < row.received_at)
    }
}
