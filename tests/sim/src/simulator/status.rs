//! Status posts and broadcast lists of phones.

use anyhow::{Result, anyhow};
use wacore_binary::{Jid, Server};
use waproto::whatsapp::{Message, message::ExtendedTextMessage};

use super::Simulator;
use crate::{
    ids::Number,
    phone::{contacts, new_list, post, send_to_list},
    state::State,
};

impl Simulator {
    /// The phone of `from` posts a text status for these people (numbers or
    /// JIDs); for those it has direct chats with, if none are named. Returns the
    /// message id.
    pub fn post_status(&self, from: &str, audience: &[&str], text: &str) -> Result<String> {
        let message = Message {
            extended_text_message: buffa::MessageField::some(ExtendedTextMessage {
                text: Some(text.to_owned()),
                background_argb: Some(0xff1e_6e4f),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.post_status_message(from, audience, message)
    }

    /// As [`Simulator::post_status`], with any message.
    pub fn post_status_message(&self, from: &str, audience: &[&str], message: Message) -> Result<String> {
        let from = Number::parse(from)?;
        self.shared.with(|state| {
            let named = audience.iter().map(|one| state.resolve_text(one)).collect::<Result<Vec<_>>>()?;
            let audience = if named.is_empty() { contacts(state, &from)? } else { named };
            post(state, &from, &audience, message, None)
        })
    }

    /// Sets who may see the status posts of `number`: `contacts`, `whitelist` (only these) or `blacklist` (all but
    /// these).
    pub fn set_status_audience(&self, number: &str, rule: &str, people: &[&str]) -> Result<()> {
        let number = Number::parse(number)?;
        let rules = ["contacts", "whitelist", "blacklist"];
        let rule = rules.into_iter().find(|known| *known == rule).ok_or_else(|| anyhow!("no rule {rule}"))?;
        self.shared.with(|state| {
            let people = people.iter().map(|one| state.resolve_text(one)).collect::<Result<Vec<_>>>()?;
            state.account_mut(&number)?.status_audience = (rule, people);
            Ok(())
        })
    }

    /// Makes a broadcast list on the phone of `number`; its JID can be sent to.
    pub fn create_broadcast_list(&self, number: &str, people: &[&str]) -> Result<String> {
        self.create_list(number, people, false)
    }

    /// As [`Simulator::create_broadcast_list`]; who gets a message is told the list, as older clients do it.
    pub fn create_told_list(&self, number: &str, people: &[&str]) -> Result<String> {
        self.create_list(number, people, true)
    }

    fn create_list(&self, number: &str, people: &[&str], is_told: bool) -> Result<String> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let people = people.iter().map(|one| state.resolve_text(one)).collect::<Result<Vec<_>>>()?;
            Ok(new_list(state, &number, people, is_told)?.to_string())
        })
    }
}

/// Sends to a chat of many people that is no group, if `to` names one.
pub fn send_to_broadcast(
    state: &mut State,
    from: &Number,
    to: &str,
    message: &Message,
    id: Option<&String>,
) -> Option<Result<String>> {
    let jid: Jid = to.parse().map_err(|error| anyhow!("{error}")).ok()?;
    if jid.server != Server::Broadcast {
        return None;
    }
    if jid != Jid::status_broadcast() {
        return Some(send_to_list(state, from, &jid, message.clone(), id.cloned()));
    }
    let audience = contacts(state, from);
    Some(audience.and_then(|audience| post(state, from, &audience, message.clone(), id.cloned())))
}
