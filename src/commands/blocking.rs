//! Contacts blocked by command, and no longer.

use super::groups::{login_of, number_in};
use super::rights::{self, Needs};
use super::{Call, database};
use crate::config::Level;
use crate::ids::{ChatId, GhostId};
use crate::matrix::error::Result;
use crate::store::logins::Login;
use crate::store::portals::PortalKind;
use crate::whatsapp::group_acts::ActFailure;

/// The person a command is about and the caller's login: who has a number, or whose chat's room this is. An answer when
/// there is none.
async fn who_is_meant(call: &Call, usage: &str) -> Result<Option<(Login, GhostId)>> {
    if call.rest.is_empty() {
        if let Err(refusal) = rights::check(Level::User, Needs::OwnChat, call.level, call.place) {
            call.answer(refusal.words()).await?;
            return Ok(None);
        }
        let Some((portal, login)) = call.chat.clone().filter(|(portal, _)| portal.kind == PortalKind::Direct) else {
            let text = format!("Say `{usage}`: in the room of a chat with one person, or with the person's number.");
            call.answer(&text).await?;
            return Ok(None);
        };
        call.wait_connected(&login).await;
        return Ok(Some((login, GhostId::new(portal.chat.as_str()))));
    }
    let Some(digits) = number_in(&call.rest.concat()) else {
        let text = format!("Say `{usage}`: the number with its country code, such as +1 202 555 0100.");
        call.answer(&text).await?;
        return Ok(None);
    };
    let Some(login) = login_of(call).await? else { return Ok(None) };
    match call.bridge.whatsapp().find_person(&login.id, &digits).await {
        Ok(Some(person)) => return Ok(Some((login, person))),
        Ok(None) => call.answer(&format!("+{digits} is not on WhatsApp.")).await?,
        Err(failure) => call.answer(failure.words()).await?,
    }
    Ok(None)
}

pub(super) async fn set(call: &Call, is_blocked: bool, usage: &str) -> Result<()> {
    let Some((login, person)) = who_is_meant(call, usage).await? else { return Ok(()) };
    let is_person = ["@lid", "@s.whatsapp.net"].iter().any(|server| person.as_str().ends_with(server));
    if !is_person || person == login.own || person == login.pn {
        return call.answer("Only other people can be blocked.").await;
    }
    let store = call.bridge.store();
    if store.is_blocked(&login.id, &person).await.map_err(database)? == is_blocked {
        let text = if is_blocked { "This contact is blocked already." } else { "This contact is not blocked." };
        return call.answer(text).await;
    }
    match call.bridge.set_blocked(&login, &person, is_blocked).await.map_err(database)? {
        Ok(()) => {}
        Err(ActFailure::Refused(_)) => return call.answer("WhatsApp does not let you do that.").await,
        Err(failure) => return call.answer(failure.words()).await,
    }
    // The chat's room is told, and that is the answer where it is the same.
    let chat = ChatId::new(person.as_str());
    let told = match store.find_portal_of_chat(&chat, &login.id).await.map_err(database)? {
        Some(portal) => store.load_portal(portal).await.map_err(database)?.room,
        None => None,
    };
    if told.as_deref() == Some(call.said_in.as_str()) {
        return Ok(());
    }
    call.answer(if is_blocked { "Blocked." } else { "No longer blocked." }).await
}
