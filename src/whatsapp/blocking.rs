//! Whom the account has blocked: read, kept silent, and changed.
//!
//! The library asks for the list with each connection and gives it to nobody, so the answer is read as it comes by. A
//! change made elsewhere comes as a notification without a promise to be repeated; then the list is read again
//! (`state_debts.rs`), and what was missed all the same is found with the next connection.

use super::Whatsapp;
use super::group_acts::ActFailure;
use super::intake::{Batch, Intake, bare};
use crate::ids::{GhostId, LoginId};
use crate::store::Result;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use whatsapp_rust::prelude::{Client, Jid, MessageInfo};
use whatsapp_rust::wacore::iq::blocklist::{BlocklistAction, UpdateBlocklistSpec};
use whatsapp_rust::wacore_binary::{JidExt as _, NodeRef};
use whatsapp_rust::{BlockingError, IqError};

/// How long WhatsApp may take to block somebody.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The list of the blocked in an answer; other stanzas have none, and so has an answer that the list is as it was.
pub(super) fn list_in(stanza: &NodeRef<'_>) -> Option<Vec<Jid>> {
    let list = stanza.children()?.iter().find(|child| child.tag.as_ref() == "list")?;
    let mut attrs = list.attrs();
    attrs.optional_string("dhash")?;
    if attrs.optional_string("matched").as_deref() == Some("true") {
        return None;
    }
    let items = list.children().unwrap_or_default().iter().filter(|item| item.tag.as_ref() == "item");
    Some(items.filter_map(|item| item.attrs().optional_jid("jid")).collect())
}

/// Whether a notification says that the list has changed.
pub(super) fn tells_of_change(stanza: &NodeRef<'_>) -> bool {
    stanza.attrs().optional_string("type").as_deref() == Some("account_sync")
        && stanza.get_optional_child("blocklist").is_some()
}

/// Ids of the blocked, under every id they are known by.
#[derive(Default)]
pub(super) struct Blocked(Mutex<HashSet<GhostId>>);

impl Blocked {
    fn set(&self, people: HashSet<GhostId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = people;
    }

    /// Whether somebody is blocked, as far as this id tells.
    pub(super) fn has(&self, person: &Jid) -> bool {
        let people = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !people.is_empty() && people.contains(&bare(person))
    }
}

impl Intake {
    /// Remembers who is blocked, as it is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn load_blocked(&self) -> Result<()> {
        let Some(login) = self.login.borrow().clone() else { return Ok(()) };
        self.blocked.set(self.store.blocked_by(&login).await?.into_iter().collect());
        Ok(())
    }

    /// Whether a message is a status post of somebody blocked: nobody is to be bothered with it.
    pub(super) fn is_of_blocked(&self, info: &MessageInfo) -> bool {
        let source = &info.source;
        source.chat.is_status_broadcast()
            && (self.blocked.has(&source.sender) || source.sender_alt.as_ref().is_some_and(|alt| self.blocked.has(alt)))
    }

    /// Stores the list of the blocked; true when somebody was blocked or is no longer.
    pub(super) async fn store_blocklist(&self, batch: &mut Batch, login: &LoginId, list: &[Jid]) -> Result<bool> {
        let mut people = Vec::with_capacity(list.len());
        for jid in list {
            people.push(self.canonical(batch, jid, None).await?);
        }
        self.store.put_blocklist_in(&mut batch.tx, login, &people).await
    }
}

fn failure_of(error: &IqError) -> ActFailure {
    match error {
        IqError::ServerError { code, .. } => ActFailure::Refused(*code),
        IqError::NotConnected | IqError::Socket(_) | IqError::Disconnected(_) => ActFailure::Offline,
        other => ActFailure::Unknown(other.to_string()),
    }
}

async fn set(client: &Client, jid: &Jid, is_blocked: bool) -> std::result::Result<(), ActFailure> {
    let done = if is_blocked { client.blocking().block(jid).await } else { client.blocking().unblock(jid).await };
    match done {
        // Somebody who has one id only is named by it.
        Err(BlockingError::InvalidJid(_)) => {
            let action = if is_blocked { BlocklistAction::Block } else { BlocklistAction::Unblock };
            client.execute(UpdateBlocklistSpec::new(jid, action)).await.map_err(|error| failure_of(&error))
        }
        Err(BlockingError::Iq(error)) => Err(failure_of(&error)),
        Err(other) => Err(ActFailure::Unknown(other.to_string())),
        Ok(()) => Ok(()),
    }
}

impl Whatsapp {
    /// Blocks somebody on WhatsApp, or does so no longer. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn set_blocked(
        &self,
        login: &LoginId,
        person: &GhostId,
        is_blocked: bool,
    ) -> std::result::Result<(), ActFailure> {
        let client = self.line(login).and_then(|line| line.client()).filter(|client| client.is_logged_in());
        let client = client.ok_or(ActFailure::Offline)?;
        let jid: Jid = person.as_str().parse().map_err(|_| ActFailure::Unknown("the person's id is none".into()))?;
        match tokio::time::timeout(ANSWER_TIME, set(&client, &jid, is_blocked)).await {
            Ok(done) => done,
            Err(_) => Err(ActFailure::Unknown("no answer in time".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    #[test]
    fn the_list_is_read_out_of_answers_that_have_one() {
        let item = || NodeBuilder::new("item").attr("jid", "1@lid").build();
        let answer = |list: NodeBuilder| NodeBuilder::new("iq").attr("type", "result").children([list.build()]).build();
        let read = |list: NodeBuilder| {
            let found = list_in(&answer(list).as_node_ref());
            found.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let list = || NodeBuilder::new("list");
        assert_eq!(read(list().attr("dhash", "x").children([item()])), Some(vec!["1@lid".to_owned()]));
        assert_eq!(read(list().attr("dhash", "x")), Some(Vec::new()), "nobody is blocked");
        assert_eq!(read(list().attr("dhash", "x").attr("matched", "true")), None, "as it was");
        assert_eq!(read(list().children([item()])), None, "another list");
        assert_eq!(read(NodeBuilder::new("groups").attr("dhash", "x")), None);
    }

    #[test]
    fn a_change_is_told_by_one_kind_of_notification() {
        let tell = |kind: &'static str, body: &'static str| {
            let body = NodeBuilder::new(body).build();
            tells_of_change(&NodeBuilder::new("notification").attr("type", kind).children([body]).build().as_node_ref())
        };
        assert!(tell("account_sync", "blocklist"));
        assert!(!tell("account_sync", "devices") && !tell("picture", "blocklist"));
    }
}
