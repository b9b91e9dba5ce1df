//! What is said in a chat's room about the chat.

use super::{Call, database};
use crate::bridge::people::Halt;
use crate::bridge::timers::{OFFERED, Wish};
use crate::matrix::error::Result;
use crate::store::portals::PortalKind;
use crate::verdict::Verdict;
use crate::whatsapp::outgoing::SendFailure;
use crate::whatsapp::removals::Removal;

pub(super) async fn set_timer(call: &Call, usage: &str) -> Result<()> {
    let word = call.rest.first().map(|word| word.to_lowercase()).unwrap_or_default();
    let Some((word, seconds)) = OFFERED.iter().find(|(offered, _)| *offered == word) else {
        return call.answer(&format!("Say `{usage}`.")).await;
    };
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    if portal.kind == PortalKind::Channel {
        return call.answer("Posts of a channel stay; it has no such timer.").await;
    }
    // The event's own time is not told to commands; a repeat may say another one and changes nothing else.
    let ts = call.bridge.store().clock().now_ms();
    let wish = Wish { event_id: &call.event_id, ts, seconds: *seconds };
    let sent = async {
        call.bridge.send_timer(portal, login, wish).await?;
        call.bridge.keep_timer(portal.id, &call.room, wish).await
    };
    let text = match sent.await {
        Ok(()) if *seconds == 0 => "New messages of this chat stay.".to_owned(),
        Ok(()) => format!("New messages of this chat disappear {word} after they are sent."),
        Err(Halt::Store(error)) => return Err(database(error)),
        Err(Halt::Verdict(Verdict::Never { tell, .. })) if !tell.is_empty() => tell,
        Err(Halt::Verdict(_)) => {
            "WhatsApp or the homeserver can't be reached right now, so the timer may be as it was. Please say it again later."
                .to_owned()
        }
    };
    call.answer(&text).await
}

/// Deletes a direct chat, or its messages, on WhatsApp.
pub(super) async fn remove(call: &Call, what: Removal) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    if !matches!(portal.kind, PortalKind::Direct | PortalKind::Own) {
        return call.answer("Only direct chats can be deleted here. To get rid of a group, leave it.").await;
    }
    let prefix = &call.bridge.config().bridge.command_prefix;
    if call.rest.iter().any(|word| word == "--for-everyone") {
        let text = "WhatsApp lets nobody delete a chat for others: it goes from your own phone and devices only. A message of \
                    yours goes for everybody when you remove it in the room.";
        return call.answer(text).await;
    }
    let question = match what {
        Removal::Chat => format!(
            "This deletes the chat on your phone and all your devices, and this room with it. If you mean it, say \
             `{prefix} delete-chat yes`."
        ),
        Removal::Messages => format!(
            "This deletes the messages of the chat on your phone and all your devices; starred ones stay. If you mean it, \
             say `{prefix} clear-chat yes`."
        ),
    };
    if call.rest.first().map(String::as_str) != Some("yes") {
        return call.answer(&question).await;
    }
    match call.bridge.remove_chat(portal, login, what).await {
        Ok(Ok(())) if what == Removal::Chat => {
            let room = call.bridge.management_room(&call.sender).await?;
            call.bridge.say(&room, "The chat is deleted.", &call.event_id, "deleted").await.map(drop)
        }
        Ok(Ok(())) => call.answer("The chat's messages are deleted on WhatsApp.").await,
        Ok(Err(SendFailure::Offline)) => {
            call.answer("This account is not connected to WhatsApp right now. Try again later.").await
        }
        Ok(Err(_)) => call.answer("WhatsApp did not take it. Try again in a while.").await,
        Err(halt) => Err(super::groups::halted(halt)),
    }
}
