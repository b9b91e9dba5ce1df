//! Calls of phones.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Simulator;
use crate::{
    calls::{self, CallInfo},
    groups,
    ids::Number,
};

impl Simulator {
    /// The phone of `from` rings `to`, a number or JID; with a group's JID all
    /// its members. Returns the call id.
    pub fn call(&self, from: &str, to: &str, video: bool) -> Result<String> {
        self.ring(from, to, video, false)
    }

    /// As [`Simulator::call`], but those called only get a note that there is a
    /// call, as for group calls that are under way.
    pub fn call_notice(&self, from: &str, to: &str, video: bool) -> Result<String> {
        self.ring(from, to, video, true)
    }

    fn ring(&self, from: &str, to: &str, video: bool, notice: bool) -> Result<String> {
        let from = Number::parse(from)?;
        self.shared.with(|state| {
            let Some(group) = groups::named(to) else {
                let to = state.resolve_text(to)?;
                return calls::ring(state, &from, &[to], None, video, notice);
            };
            let members = state.groups.get(&group.user).context("no such group")?.everybody();
            calls::ring(state, &from, &members, Some(&group), video, notice)
        })
    }

    /// The phone of `number` does something about a call: `preaccept`, `accept`,
    /// `reject` (a callee), `terminate` (both). A call that is terminated before
    /// it was accepted is a missed one.
    pub fn act_on_call(&self, number: &str, id: &str, action: &str, reason: Option<&str>) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| calls::act(state, &number, id, action, reason))
    }

    /// All calls so far, by id.
    pub fn calls(&self) -> Vec<CallInfo> {
        self.shared.look(|state| state.calls.values().map(|call| call.info.clone()).collect())
    }

    /// Waits until a call is as `predicate` wants it.
    pub async fn wait_call(
        &self,
        id: &str,
        mut predicate: impl FnMut(&CallInfo) -> bool,
        timeout: Duration,
    ) -> Result<CallInfo> {
        self.wait(&format!("the call {id}"), timeout, |state| {
            state.calls.get(id).map(|call| call.info.clone()).filter(|info| predicate(info))
        })
        .await
    }
}
