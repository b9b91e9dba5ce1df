//! Receipts a phone sends when its owner looks at messages.

use anyhow::{Context, Result};
use wacore_binary::builder::NodeBuilder;

use crate::{
    ids::{Address, Number},
    receipts,
    state::State,
};

/// Sends receipts (`read`, `played`) for messages of a chat: to their author's
/// devices, and to the own companions.
pub fn mark(state: &mut State, number: &Number, chat: &Number, ids: &[String], kind: &str) -> Result<()> {
    let (first, rest) = ids.split_first().context("no message ids given")?;
    let author = state.account(chat)?;
    // As the message came, if the phone has it.
    let known = state.account(number)?.phone.known.get(first);
    let family = known.map_or(author.family(), |known| known.family);
    let mut receipt =
        NodeBuilder::new("receipt").attr("to", author.jid(family, 0)).attr("id", first.as_str()).attr("type", kind);
    if !rest.is_empty() {
        let items = rest.iter().map(|id| NodeBuilder::new("item").attr("id", id.as_str()).build());
        receipt = receipt.children([NodeBuilder::new("list").children(items).build()]);
    }
    receipts::route(state, &Address::new(number, 0), &receipt.build());
    Ok(())
}

/// Sends read receipts; see [`mark`].
pub fn mark_read(state: &mut State, number: &Number, chat: &Number, ids: &[String]) -> Result<()> {
    mark(state, number, chat, ids, "read")
}
