//! Status posts by command.

use super::Call;
use super::groups::{halted, login_of};
use crate::bridge::people::Halt;
use crate::matrix::error::Result;
use crate::verdict::{Gate, Verdict};
use serde_json::json;

/// Posts the words behind the command, or the message it answers.
pub(super) async fn post(call: &Call, usage: &str) -> Result<()> {
    let Some(login) = login_of(call).await? else { return Ok(()) };
    let content = match &call.reply_to {
        Some(answered) => call.bridge.matrix().find_content(&call.room, answered).await?,
        None => (!call.rest.is_empty()).then(|| json!({ "msgtype": "m.text", "body": call.rest.join(" ") })),
    };
    let Some(content) = content else {
        return call.answer(&format!("Say `{usage}`, or answer a picture or video with `post-status`.")).await;
    };
    match call.bridge.post_status(&login, &call.event_id, content).await {
        Ok(()) => {
            call.answer("Posted. It goes after 24 hours; delete it in your status room to take it back before.").await
        }
        Err(Halt::Verdict(Verdict::Never { tell, .. })) if !tell.is_empty() => call.answer(&tell).await,
        Err(Halt::Verdict(Verdict::Blocked(Gate::Login(_)))) => {
            call.answer("This account is not connected to WhatsApp right now. Try again later.").await
        }
        Err(halt) => Err(halted(halt)),
    }
}
