//! Linking accounts from a room, listing and unlinking them.

use super::rights::{self, NoLogin};
use super::show_link::Show;
use super::{Call, database};
use crate::bridge::Bridge;
use crate::bridge::linkings::read_number;
use crate::bridge::page_links::LINK_LIFE;
use crate::bridge::people::Halt;
use crate::matrix::error::Result;
use crate::store::logins::{Farewell, Login, LoginState};
use crate::whatsapp::linking::LinkMethod;

pub(super) async fn list(call: &Call) -> Result<()> {
    let logins = call.bridge.store().logins_of(&call.sender).await.map_err(database)?;
    if logins.is_empty() {
        return call.answer("No WhatsApp account is linked. Say `login qr` to link one.").await;
    }
    let lines: Vec<String> = logins.iter().map(|login| describe(&call.bridge, login)).collect();
    call.answer_alone(&lines.join("\n")).await
}

pub(super) fn describe(bridge: &Bridge, login: &Login) -> String {
    format!("+{}: {}", login.id, bridge.standing(login).words())
}

pub(super) async fn cancel(call: &Call) -> Result<()> {
    let text = if call.bridge.whatsapp().cancel_link(&call.sender) { "Cancelled." } else { "Nothing is going on." };
    call.answer(text).await
}

pub(super) async fn logout(call: &Call, usage: &str) -> Result<()> {
    let (number, is_sure) = match call.rest.as_slice() {
        [] => (None, false),
        [yes] if yes == "yes" => (None, true),
        [number] => (Some(number.as_str()), false),
        [number, yes] if yes == "yes" => (Some(number.as_str()), true),
        _ => return call.answer(&format!("Say `{usage}`.")).await,
    };
    let Some(login) = find_login(call, number, |login| login.state == LoginState::Linked, usage).await? else {
        return Ok(());
    };
    let rooms = call.bridge.rooms_after(Farewell::Asked);
    if !is_sure {
        let again = call.spell(&format!("logout {} yes", login.id)).await?;
        let text = format!(
            "This unlinks +{} from the bridge: nothing of it comes any more until you link it again. {rooms}. If \
             you mean it, say `{again}`.",
            login.id
        );
        return call.answer_alone(&text).await;
    }
    let reason =
        if login.mxid == call.speaker { "You logged out here." } else { "The bridge's administrator logged it out." };
    call.bridge.log_out(&login, reason).await.map_err(database)?;
    if login.mxid != call.speaker {
        let room = call.bridge.management_room(&login.mxid).await?;
        let text = format!(
            "+{} was logged out by the bridge's administrator. {rooms}; say `login qr` to link it again.",
            login.id
        );
        call.bridge.say(&room, &text, &call.event_id, "logged-out").await?;
    }
    call.answer_alone(&format!("+{} is logged out. {rooms}; say `login qr` to link it again.", login.id)).await
}

/// The account a command is about: one `wanted` of the caller's, or an administrator's choice; else an answer.
async fn find_login(
    call: &Call,
    number: Option<&str>,
    wanted: impl Fn(&Login) -> bool,
    usage: &str,
) -> Result<Option<Login>> {
    let mut logins = call.bridge.store().all_logins().await.map_err(database)?;
    logins.retain(wanted);
    let text = match rights::pick(&logins, &call.sender, call.level, number) {
        Ok(login) => return Ok(Some(login.clone())),
        Err(NoLogin::None) => "You have no such account.".to_owned(),
        Err(NoLogin::Several) => format!("You have several such accounts; say which: `{usage}`."),
        Err(NoLogin::Unknown) => "You have no such account; `list-logins` shows yours.".to_owned(),
    };
    call.answer(&text).await?;
    Ok(None)
}

/// Links an account again that was logged out.
pub(super) async fn relogin(mut call: Call, usage: &str) -> Result<()> {
    let method = match call.rest.last().map(String::as_str) {
        Some("qr") => "qr",
        Some("phone" | "code") => "phone",
        _ => "",
    };
    let number = call.rest.first().filter(|word| word.as_str() != method).cloned();
    // Only the owner's: an account is linked with its owner's phone, and becomes the account of who links it.
    let own = |login: &Login| login.mxid == call.sender && login.state != LoginState::Linked;
    let Some(login) = find_login(&call, number.as_deref(), own, usage).await? else { return Ok(()) };
    call.rest = match method {
        "phone" => vec!["phone".to_owned(), login.id.to_string()],
        _ => vec!["qr".to_owned()],
    };
    self::login(call, usage).await
}

/// Chooses the account used where the caller names none.
pub(super) async fn prefer(call: &Call, usage: &str) -> Result<()> {
    let Some(number) = call.rest.first() else { return call.answer(&format!("Say `{usage}`.")).await };
    let own = |login: &Login| login.mxid == call.sender;
    let Some(login) = find_login(call, Some(number), own, usage).await? else { return Ok(()) };
    call.bridge.store().prefer_login(&call.sender, &login.id).await.map_err(database)?;
    call.answer_alone(&format!("+{} is used where you name no account.", login.id)).await
}

pub(super) async fn space(call: &Call) -> Result<()> {
    if !call.bridge.config().bridge.personal_filtering_spaces {
        return call.answer("This bridge makes no spaces; its administrator has switched them off.").await;
    }
    let text = match call.bridge.invite_to_spaces(&call.sender).await {
        Ok(0) => "No WhatsApp account is linked. Say `login qr` to link one.",
        Ok(_) => "You are invited, or will be as soon as the space is made.",
        Err(Halt::Store(error)) => return Err(database(error)),
        Err(Halt::Verdict(_)) => "The homeserver did not let me invite you. Please try again later.",
    };
    call.answer(text).await
}

pub(super) async fn login(call: Call, usage: &str) -> Result<()> {
    let words: Vec<&str> = call.rest.iter().map(String::as_str).collect();
    let has_page = call.bridge.config().appservice.public_address.is_some();
    let method = match words.as_slice() {
        [] if has_page => return give_page(&call).await,
        ["page"] => return give_page(&call).await,
        [] | ["qr"] => LinkMethod::Qr,
        ["phone" | "code", number @ ..] if !number.is_empty() => match read_number(&number.concat()) {
            Ok(number) => LinkMethod::Code { number },
            Err(fault) => return call.answer(&fault.to_string()).await,
        },
        _ => return call.answer(&format!("Say `{usage}`.")).await,
    };
    if !is_alone(&call).await? {
        return call
            .answer("Others can read this room, and whoever sees the code could use it. Please write to me alone.")
            .await;
    }
    let steps = call.bridge.whatsapp().link(&call.sender, method);
    let show = Show::new(call.bridge.clone(), call.room, call.event_id);
    call.bridge.spawn(show.run(steps));
    Ok(())
}

/// Whether nobody but the caller and the bot reads the room.
async fn is_alone(call: &Call) -> Result<bool> {
    let people = call.bridge.matrix().joined_members(&call.room).await?;
    Ok(people.iter().all(|person| *person == *call.bridge.matrix().bot() || person.as_str() == call.sender))
}

/// Answers with a one-time link to the login page, which is taken away when it is used or too old.
async fn give_page(call: &Call) -> Result<()> {
    if !is_alone(call).await? {
        return call
            .answer("Others can read this room, and whoever has the link could use it. Please write to me alone.")
            .await;
    }
    let (secret, ended) = call.bridge.page_links().make(&call.sender);
    let Some(address) = call.bridge.page_address(&secret) else {
        return call.answer("This bridge has no login page. Say `login qr` or `login phone <number>`.").await;
    };
    let minutes = LINK_LIFE.as_secs() / 60;
    let text = format!(
        "Link your account on this page: {address}\nThe link is for you alone; it works once, within {minutes} minutes. \
         You can also stay here: `login qr` or `login phone <number>`."
    );
    let event = call.bridge.say(&call.room, &text, &call.event_id, "page").await?;
    let (bridge, room) = (call.bridge.clone(), call.room.clone());
    call.bridge.spawn(async move {
        // A process that ends takes the link with it.
        let gone = tokio::time::timeout(LINK_LIFE, ended.cancelled());
        if bridge.stop().run_until_cancelled(gone).await.is_none() {
            return;
        }
        let matrix = bridge.matrix();
        let txn = bridge.store().derive().notice_txn(event.as_str(), "gone");
        let removed = matrix.redact(&room, matrix.bot(), &event, &txn, Some("The link is no longer needed.")).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "the link to the login page could not be removed");
        }
    });
    Ok(())
}
