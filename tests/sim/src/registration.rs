//! What happens to a whole account: registered anew, its phone away for too
//! long, refused by the server.

use anyhow::Result;
use rand::RngExt as _;
use wacore_binary::{Node, Server, builder::NodeBuilder};

use crate::{
    appstate::AppState,
    ids::{Address, Number},
    queue::Class,
    stanza::{empty, unix_now},
    state::State,
    unlink,
};

/// How long companions stay linked without their phone.
const PHONE_ABSENCE_DAYS: u32 = 14;

/// Why the server refuses logins: the attributes of `<failure>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Refusal {
    /// 401, 402 (banned for a time), 403, 405 (client outdated), 406, 409, 415,
    /// 500, 503, ...
    pub reason: u16,
    /// With 402: what for.
    pub code: Option<u32>,
    /// With 402: seconds until its end.
    pub expire: Option<u64>,
    /// What to tell the user.
    pub message: Option<String>,
    /// How many logins are refused; all when absent.
    pub count: Option<u32>,
}

impl Refusal {
    /// The stanza that says so.
    pub fn node(&self) -> Node {
        let mut failure = NodeBuilder::new("failure").attr("reason", self.reason).attr("location", "sim");
        if let Some(code) = self.code {
            failure = failure.attr("code", code);
        }
        if let Some(expire) = self.expire {
            failure = failure.attr("expire", expire);
        }
        if let Some(message) = &self.message {
            failure = failure.attr("message", message.as_str());
        }
        failure.build()
    }
}

/// Uses up one refusal in `slot`, if there is one.
pub fn take_refusal(slot: &mut Option<Refusal>) -> Option<Refusal> {
    let refusal = slot.clone()?;
    if let Some(count) = refusal.count {
        *slot = (count > 1).then(|| Refusal { count: Some(count - 1), ..refusal.clone() });
    }
    Some(refusal)
}

/// Registers the number on a new phone: a new identity under a new raw id,
/// without companions; those who knew the old one are told.
pub fn register_again(state: &mut State, number: &Number) -> Result<()> {
    unlink_all(state, number)?;
    let account = state.account_mut(number)?;
    account.phone.reinstall()?;
    account.raw_id = rand::rng().random_range(1..i32::MAX as u32);
    account.next_key_index = 1;
    account.tokens.clear();
    account.app_state = AppState::new(&account.push_name)?;
    let from = account.jid(Server::Lid, 0);
    let watchers: Vec<Number> = account.watchers.iter().cloned().collect();
    let phone = Address::new(number, 0);
    for other in state.accounts.values_mut() {
        other.phone.forget(&phone);
    }
    for watcher in watchers {
        for device in state.companions_of(&watcher) {
            let notification = NodeBuilder::new("notification")
                .attr("type", "encrypt")
                .attr("from", &from)
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .children([empty("identity")])
                .build();
            state.deliver(&Address::new(&watcher, device), Class::Notification, Some(number), notification);
        }
    }
    Ok(())
}

/// The phone was not seen for `days`: from 14 on its companions are out.
pub fn phone_away(state: &mut State, number: &Number, days: u32) -> Result<()> {
    state.account(number)?;
    if days >= PHONE_ABSENCE_DAYS { unlink_all(state, number) } else { Ok(()) }
}

fn unlink_all(state: &mut State, number: &Number) -> Result<()> {
    for device in state.companions_of(number) {
        unlink::unlink(state, &Address::new(number, device))?;
    }
    Ok(())
}
