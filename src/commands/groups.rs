//! Chats opened, groups made, joined, shared and left by command.

use super::{Call, database};
use crate::bridge::making_groups::Made;
use crate::bridge::people::Halt;
use crate::ids::ChatId;
use crate::matrix::error::Result;
use crate::store::logins::Login;
use crate::store::portals::Portal;
use crate::verdict::Verdict;
use crate::whatsapp::finding::{Invitation, Joined};
use crate::whatsapp::group_acts::{ActFailure, GroupAct};
use serde_json::Value;

/// Shortest and longest phone number, digits with the country code (E.164).
const NUMBER: std::ops::RangeInclusive<usize> = 7..=15;

/// The caller's login for what names none, connected if it soon is; without one an answer.
pub(super) async fn login_of(call: &Call) -> Result<Option<Login>> {
    match call.bridge.usual_login(&call.sender).await {
        Ok(Some(login)) => {
            call.wait_connected(&login).await;
            Ok(Some(login))
        }
        Ok(None) => {
            call.answer("You are not logged in. Say `login qr` to link your WhatsApp account.").await?;
            Ok(None)
        }
        Err(halt) => Err(halted(halt)),
    }
}

pub(super) fn halted(halt: Halt) -> crate::matrix::error::MatrixError {
    match halt {
        Halt::Store(error) => database(error),
        Halt::Verdict(verdict) => {
            crate::matrix::error::MatrixError::Unreachable { why: format!("a command had to stop: {verdict:?}") }
        }
    }
}

/// Answers where a chat is.
pub(super) async fn answer_room(call: &Call, opened: std::result::Result<ruma::OwnedRoomId, Halt>) -> Result<()> {
    match opened {
        Ok(room) => call.answer(&format!("The chat is here: https://matrix.to/#/{room}")).await,
        Err(Halt::Verdict(Verdict::Never { tell, .. })) if !tell.is_empty() => call.answer(&tell).await,
        Err(Halt::Verdict(Verdict::Blocked(crate::verdict::Gate::Login(_)) | Verdict::Away { .. })) => {
            call.answer(ActFailure::Offline.words()).await
        }
        Err(halt) => Err(halted(halt)),
    }
}

async fn answer_group(call: &Call, login: &Login, chat: &ChatId) -> Result<()> {
    match call.bridge.open_group(login, chat).await {
        Ok(Some(room)) => answer_room(call, Ok(room)).await,
        Ok(None) => call.answer(ActFailure::Refused(404).words()).await,
        Err(halt) => answer_room(call, Err(halt)).await,
    }
}

/// The digits of a phone number as people type it; none when it is no complete number.
pub(super) fn number_in(typed: &str) -> Option<String> {
    let digits: String = typed.chars().filter(char::is_ascii_digit).collect();
    let is_number = typed.chars().all(|c| c.is_ascii_digit() || "+-(). ".contains(c)) && NUMBER.contains(&digits.len());
    is_number.then_some(digits)
}

pub(super) async fn start_chat(call: &Call, usage: &str) -> Result<()> {
    let Some(digits) = number_in(&call.rest.concat()) else {
        return call
            .answer(&format!("Say `{usage}`: the number with its country code, such as +1 202 555 0100."))
            .await;
    };
    let Some(login) = login_of(call).await? else { return Ok(()) };
    match call.bridge.whatsapp().find_person(&login.id, &digits).await {
        Ok(Some(person)) => answer_room(call, call.bridge.open_direct(&login, &person).await).await,
        Ok(None) => call.answer(&format!("+{digits} is not on WhatsApp.")).await,
        Err(failure) => call.answer(failure.words()).await,
    }
}

pub(super) async fn create(call: &Call, usage: &str) -> Result<()> {
    let mut subject = call.rest.join(" ");
    if subject.trim().is_empty() {
        let name = call.bridge.matrix().get_state(&call.room, "m.room.name", "").await?.unwrap_or_default();
        subject = name["name"].as_str().unwrap_or_default().trim().to_owned();
    }
    if subject.is_empty() {
        return call.answer(&format!("Say `{usage}` in a room with the people who shall be in the group.")).await;
    }
    let Some(login) = login_of(call).await? else { return Ok(()) };
    let made = call.bridge.make_group_of(&login, &call.room, &subject, &call.event_id).await.map_err(halted)?;
    let text = match made {
        Made::Here => "This room is the WhatsApp group now.".to_owned(),
        Made::Elsewhere(room) => format!("The chat is here: https://matrix.to/#/{room}"),
        Made::Unfit(why) => why,
        Made::Alone => "Nobody from WhatsApp is in this room. Invite the people first, then say it again.".to_owned(),
        Made::Refused(failure) => failure.words().to_owned(),
        Made::Unknown => {
            "I can't tell whether the group was made, because WhatsApp did not answer. Say it again in a while: I \
                          look for it before I make another."
                .to_owned()
        }
    };
    call.answer(&text).await
}

pub(super) async fn join(call: &Call, usage: &str) -> Result<()> {
    let Some(link) = call.rest.first() else { return call.answer(&format!("Say `{usage}`.")).await };
    if crate::convert::channel::named_in(link).is_some() {
        return super::channels::follow_instead(call).await;
    }
    let Some(login) = login_of(call).await? else { return Ok(()) };
    match call.bridge.whatsapp().follow_invite(&login.id, link).await {
        Ok(joined) => answer_joined(call, &login, joined).await,
        // Perhaps by this very row, before the process died.
        Err(ActFailure::Refused(304 | 409)) => match call.bridge.whatsapp().look_at_invite(&login.id, link).await {
            Ok(invited) => answer_group(call, &login, &invited.chat).await,
            Err(failure) => call.answer(failure.words()).await,
        },
        Err(failure) => call.answer(failure.words()).await,
    }
}

async fn answer_joined(call: &Call, login: &Login, joined: Joined) -> Result<()> {
    match joined {
        Joined::In(chat) => answer_group(call, login, &chat).await,
        Joined::Waits(_) => call.answer("An admin of the group has to let you in. Its room comes when they did.").await,
    }
}

pub(super) async fn resolve(call: &Call, usage: &str) -> Result<()> {
    let Some(link) = call.rest.first() else { return call.answer(&format!("Say `{usage}`.")).await };
    let Some(login) = login_of(call).await? else { return Ok(()) };
    if let Some(channel) = crate::convert::channel::named_in(link) {
        return super::channels::resolve(call, &login, &channel).await;
    }
    match call.bridge.whatsapp().look_at_invite(&login.id, link).await {
        Ok(group) => {
            let people = if group.size == 1 { "1 member".to_owned() } else { format!("{} members", group.size) };
            let about = if group.description.is_empty() { String::new() } else { format!("\n\n{}", group.description) };
            call.answer(&format!("{} ({people}){about}", group.subject)).await
        }
        Err(failure) => call.answer(failure.words()).await,
    }
}

pub(super) async fn invite_link(call: &Call) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    let reset = call.rest.first().is_some_and(|word| word == "reset");
    match call.bridge.whatsapp().invite_link(&login.id, &portal.chat, reset).await {
        Ok(link) if link.starts_with("http") => call.answer(&link).await,
        Ok(code) => call.answer(&format!("https://chat.whatsapp.com/{code}")).await,
        Err(failure) => call.answer(failure.words()).await,
    }
}

pub(super) async fn leave(call: &Call) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    if call.rest.first().map(String::as_str) != Some("yes") {
        let prefix = &call.bridge.config().bridge.command_prefix;
        let text = format!("This takes your account out of the group. If you mean it, say `{prefix} leave-group yes`.");
        return call.answer(&text).await;
    }
    let room = call.bridge.management_room(&call.sender).await?;
    match call.bridge.whatsapp().change_group(&login.id, &portal.chat, GroupAct::Leave).await {
        // Gone already, perhaps by this very row.
        Ok(()) | Err(ActFailure::Refused(401 | 403 | 404)) => {
            call.bridge.store().mark_group_stale(portal.id).await.map_err(database)?;
            call.bridge.say(&room, "You have left the group.", &call.event_id, "left").await.map(drop)
        }
        Err(failure) => call.answer(failure.words()).await,
    }
}

pub(super) async fn accept(call: &Call) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    let Some(invitation) = invitation_in(call, portal).await? else {
        return call.answer("Answer the message that holds the invitation with this command.").await;
    };
    match call.bridge.whatsapp().accept_invitation(&login.id, &invitation).await {
        Ok(joined) => answer_joined(call, login, joined).await,
        Err(ActFailure::Refused(304 | 409)) => answer_group(call, login, &invitation.chat).await,
        Err(ActFailure::Unknown(_)) => call.answer("This invitation is not valid any more.").await,
        Err(failure) => call.answer(failure.words()).await,
    }
}

/// The invitation in the message that is answered: only one that came from WhatsApp into this very room counts.
async fn invitation_in(call: &Call, portal: &Portal) -> Result<Option<Invitation>> {
    let Some(answered) = &call.reply_to else { return Ok(None) };
    let known = call.bridge.store().find_message_by_event(answered).await.map_err(database)?;
    let Some(known) = known.filter(|known| known.key.portal == portal.id && !known.from_matrix) else {
        return Ok(None);
    };
    let Some(content) = call.bridge.matrix().find_content(&call.room, answered).await? else { return Ok(None) };
    let invite = &content["fi.mau.whatsapp.invite"];
    let text = |key: &str| invite.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(jid), Some(code)) = (text("jid"), text("code")) else { return Ok(None) };
    Ok(Some(Invitation {
        chat: ChatId::new(jid),
        code: code.to_owned(),
        expires_at: invite.get("expiration").and_then(Value::as_i64).unwrap_or(0),
        inviter: known.key.sender,
    }))
}
