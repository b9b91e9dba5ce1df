//! Through whom a room's people without an account are relayed.

use super::rights::{self, NoLogin, RelayRefusal, Relays};
use super::{Call, database};
use crate::matrix::error::Result;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::Portal;
use crate::store::relay::RelayChoice;

/// `set-relay`: somebody's account relays what people without one write here.
pub(super) async fn set(call: &Call, usage: &str) -> Result<()> {
    let Some((portal, relays)) = begin(call).await? else { return Ok(()) };
    let number = match call.rest.as_slice() {
        [] => None,
        number => Some(number.concat()),
    };
    let logins = logins_in(call, &portal).await?;
    let own = call.chat.as_ref().map(|(_, login)| login).filter(|_| number.is_none());
    let picked = match own {
        Some(own) => logins.iter().find(|login| login.id == own.id).ok_or(NoLogin::None),
        None => rights::pick(&logins, &call.sender, call.level, number.as_deref()),
    };
    let login = match picked {
        Ok(login) => login.clone(),
        Err(NoLogin::None) if number.is_none() => {
            let text = format!("No account of yours is in this chat. Say `{usage}` with the number of one that is.");
            return call.answer(&text).await;
        }
        Err(_) => return call.answer("You have no such account in this chat.").await,
    };
    if let Err(refusal) = rights::may_set_relay(&relays, login.mxid == call.sender) {
        return call.answer(refusal.words()).await;
    }
    if login.state != LoginState::Linked {
        return call.answer("That account is logged out. Link it again first.").await;
    }
    let choice = RelayChoice::Through { login: login.id.clone(), owner: login.mxid.clone() };
    call.bridge.store().set_relay(portal.id, &choice, &call.sender).await.map_err(database)?;
    let text = format!(
        "What people without a WhatsApp account in this chat write here now goes out through the account of {}, with their name \
         in front. `unset-relay` ends it.",
        login.mxid
    );
    call.answer(&text).await
}

/// `unset-relay`: nobody relays here, no default either.
pub(super) async fn unset(call: &Call) -> Result<()> {
    let Some((portal, relays)) = begin(call).await? else { return Ok(()) };
    let now = call.bridge.relay_of(&portal).await.map_err(super::groups::halted)?;
    let is_own = now.as_ref().is_some_and(|login| login.mxid == call.sender);
    if let Err(refusal) = rights::may_unset_relay(&relays, is_own) {
        return call.answer(refusal.words()).await;
    }
    call.bridge.store().set_relay(portal.id, &RelayChoice::Nobody, &call.sender).await.map_err(database)?;
    let text = match now {
        Some(_) => "Nobody is relayed here any more.",
        None => "Nobody was relayed here, and nobody will be, by default either.",
    };
    call.answer(text).await
}

/// The room's chat and who the caller is there; none after an answer, where nobody can be relayed.
async fn begin(call: &Call) -> Result<Option<(Portal, Relays)>> {
    let relay = &call.bridge.config().bridge.relay;
    if !relay.enabled {
        call.answer(
            "There is no relaying in this bridge; its administrator can switch it on (`bridge.relay.enabled`).",
        )
        .await?;
        return Ok(None);
    }
    let found = call.bridge.store().find_portal_by_room(call.room.as_str()).await.map_err(database)?;
    let Some(portal) = found else { return Ok(None) };
    let logins = logins_in(call, &portal).await?;
    if logins.is_empty() {
        call.answer("Only groups and chats with one person can be relayed, while an account is in them.").await?;
        return Ok(None);
    }
    // A direct chat is its owner's, who has no power over the bridge's room.
    let owns_chat = portal.receiver.is_some() && call.chat.is_some();
    let is_in = call.chat.is_some();
    let rules_room = match is_in && !owns_chat {
        true => call.bridge.rules_room(&call.room, &call.sender).await.map_err(super::groups::halted)?,
        false => owns_chat,
    };
    Ok(Some((portal, Relays { level: call.level, admin_only: relay.admin_only, rules_room })))
}

async fn logins_in(call: &Call, portal: &Portal) -> Result<Vec<Login>> {
    call.bridge.logins_that_may_relay(portal).await.map_err(super::groups::halted)
}

impl RelayRefusal {
    /// What the caller is told.
    fn words(self) -> &'static str {
        match self {
            Self::AdminsOnly => "Only administrators of the bridge may choose who relays here.",
            Self::NoPower => "Only who may change the powers in this room may choose who relays here.",
            Self::NotOwn => "You can let only your own account relay. Its owner has to say it.",
        }
    }
}
