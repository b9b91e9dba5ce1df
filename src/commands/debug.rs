//! What administrators do to find a fault: connections made anew, account data said by hand.
//!
//! The names are those of mautrix's bridges; what has no meaning here says so and what to do instead.

use super::chat_marks::{refusal, words_of};
use super::{Call, database};
use crate::matrix::error::Result;
use serde_json::Value;

/// What `debug-register-push` says: the library has no such request, and a bridge needs none.
pub(super) const NO_PUSH: &str = "There is no push to register: the bridge holds its connections to WhatsApp open itself. Say \
    `all-logins` to see how they are, and `debug-reset-network` to have them made anew.";
/// What `discard-megolm-session` says.
pub(super) const NO_SESSION: &str =
    "This bridge does not encrypt Matrix rooms yet, so there is no session that I could discard.";

/// Has all connections made anew.
pub(super) async fn reset_network(call: &Call) -> Result<()> {
    call.bridge.matrix().forget_connections();
    let text = match call.bridge.whatsapp().connect_anew() {
        1 => "The connection to WhatsApp is made anew".to_owned(),
        count => format!("{count} connections to WhatsApp are made anew, one after the other"),
    };
    call.answer(&format!("{text}; connections for files and to the homeserver that stood idle are closed.")).await
}

/// Does to the room's chat what account data would, as if the caller's client had set it.
pub(super) async fn account_data(call: &Call, usage: &str) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    let Some((kind, content)) = call.rest.split_first() else { return call.answer(&format!("Say `{usage}`.")).await };
    let Ok(content) = serde_json::from_str::<Value>(&content.join(" ")) else {
        return call.answer("The content is no JSON, such as `{\"unread\": true}`.").await;
    };
    let marks = call.bridge.marks_in(kind, &content);
    if marks.is_empty() {
        return call.answer("I do nothing with that. `m.tag` and `m.marked_unread` say something about a chat.").await;
    }
    let mut lines = Vec::new();
    for (kind, value) in marks {
        let known = call.bridge.store().find_chat_mark(&login.id, &portal.chat, kind).await.map_err(database)?;
        if known.is_some_and(|(known, _)| known != 0) == (value != 0) {
            continue;
        }
        match call.bridge.mark_chat(portal, login, kind, value).await? {
            Ok(()) => lines.push(words_of(kind, value != 0)),
            Err(failure) => lines.push(refusal(&failure)),
        }
    }
    let text = if lines.is_empty() { "WhatsApp knows that already.".to_owned() } else { lines.join(" ") };
    call.answer(&text).await
}
