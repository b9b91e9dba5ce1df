//! What administrators do about the installation: look at it, and have the configuration read again.

use super::Call;
use crate::config::Reloaded;
use crate::doctor::{Seat, examine};
use crate::matrix::error::Result;
use ruma::UserId;

/// Looks at everything the bridge needs; only what is not well is told.
pub(super) async fn doctor(call: &Call) -> Result<()> {
    let user = call.rest.first().map(String::as_str);
    if user.is_some_and(|user| UserId::parse(user).is_err()) {
        return call.answer("Name the person by their whole Matrix id, such as `@anna:example.com`.").await;
    }
    let report = examine(call.bridge.config(), Seat::Inside, user, call.bridge.store().clock()).await;
    call.answer_alone(&report.as_notice()).await
}

/// Reads the configuration again.
pub(super) async fn reload(call: &Call) -> Result<()> {
    let text = match call.bridge.reload() {
        Ok(reloaded) => what_changed(&reloaded),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(|fault| format!("- {fault}")).collect();
            format!("Nothing was changed, because the configuration is wrong:\n{}", faults.join("\n"))
        }
    };
    call.answer_alone(&text).await
}

fn what_changed(reloaded: &Reloaded) -> String {
    let list = |paths: &[&str]| paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    let mut text = "I have read the configuration again.".to_owned();
    if !reloaded.changed.is_empty() {
        text.push_str(&format!(" In force now: {}.", list(&reloaded.changed)));
    }
    if !reloaded.waiting.is_empty() {
        text.push_str(&format!(
            " Changed in the file, but only a restart puts it in force: {}.",
            list(&reloaded.waiting)
        ));
    }
    if reloaded.changed.is_empty() && reloaded.waiting.is_empty() {
        text.push_str(" Nothing in it has changed.");
    }
    text
}
