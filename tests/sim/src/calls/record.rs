//! What the server remembers of calls.

use std::collections::BTreeMap;

use crate::{ids::Address, stanza::unix_now, state::State};

/// One action of a call, in the order in which the server saw them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CallEvent {
    /// `offer`, `offer_notice`, `preaccept`, `accept`, `reject`, `terminate`, ...
    pub action: String,
    /// Whose: a number.
    pub from: String,
    /// From which device.
    pub device: u16,
    /// Why, where it says.
    pub reason: Option<String>,
    /// Seconds since 1970.
    pub ts: u64,
}

/// A call as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CallInfo {
    /// The call id.
    pub id: String,
    /// The caller's number.
    pub from: String,
    /// The numbers that were rung.
    pub to: Vec<String>,
    /// With video.
    pub video: bool,
    /// The group, for a group call.
    pub group: Option<String>,
    /// `ringing`, `accepted`, `rejected`, `missed` or `ended`.
    pub state: &'static str,
    /// What happened.
    pub events: Vec<CallEvent>,
}

/// All calls, by id.
pub type Calls = BTreeMap<String, Call>;

/// One call.
pub struct Call {
    pub info: CallInfo,
    /// The device that calls.
    pub creator: Address,
    /// The devices that ring.
    pub ringing: Vec<Address>,
}

/// Notes a new call; one that is known stays as it is.
pub fn begin(
    state: &mut State,
    id: &str,
    creator: &Address,
    ringing: Vec<Address>,
    video: bool,
    group: Option<String>,
) {
    let mut to: Vec<String> = ringing.iter().map(|device| device.number.to_string()).collect();
    to.dedup();
    let info = CallInfo {
        id: id.to_owned(),
        from: creator.number.to_string(),
        to,
        video,
        group,
        state: "ringing",
        events: Vec::new(),
    };
    let call = Call { info, creator: creator.clone(), ringing };
    state.calls.entry(id.to_owned()).or_insert(call);
}

/// Notes what happened in a call.
pub fn note(state: &mut State, id: &str, from: &Address, action: &str, reason: Option<String>) {
    if let Some(call) = state.calls.get_mut(id) {
        call.info.events.push(CallEvent {
            action: action.to_owned(),
            from: from.number.to_string(),
            device: from.device,
            reason,
            ts: unix_now(),
        });
    }
}
