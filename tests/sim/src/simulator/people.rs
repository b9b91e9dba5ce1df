//! Accounts as people have them: what they show, to whom, and what happens to
//! them.

use std::time::Duration;

use anyhow::{Context, Result};
use wacore_binary::{Server, builder::NodeBuilder};

use super::Simulator;
use crate::{
    business,
    ids::{Address, Number},
    iq,
    queue::Class,
    registration::{self, Refusal},
    stanza::{empty, server_jid, unix_now},
};

impl Simulator {
    /// Makes `number` a business of this name, or ends that.
    pub fn set_business_name(&self, number: &str, name: Option<&str>) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| business::set_business(state, &number, name))
    }

    /// Sets the text beside the name.
    pub fn set_about(&self, number: &str, text: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            iq::set_about(state, &number, text);
            Ok(())
        })
    }

    /// The text beside the name.
    pub fn about(&self, number: &str) -> Result<String> {
        let number = Number::parse(number)?;
        self.shared.look(|state| Ok(state.account(&number)?.about.clone()))
    }

    /// Sets a privacy category (`last`, `online`, `profile`, ...). Errors when
    /// it or the value does not exist.
    pub fn set_privacy(&self, number: &str, category: &str, value: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let privacy = &mut state.account_mut(&number)?.privacy;
            privacy.set(category, value).with_context(|| format!("no privacy setting {category}={value}"))
        })
    }

    /// Tells those who know `old` that its owner goes by the number `new` from now on; both are accounts.
    pub fn tell_number_change(&self, old: &str, new: &str) -> Result<()> {
        let (old, new) = (Number::parse(old)?, Number::parse(new)?);
        self.shared.with(|state| {
            let (before, after) = (state.account(&old)?, state.account(&new)?);
            let modify = NodeBuilder::new("modify")
                .attr("old", before.jid(Server::Pn, 0))
                .attr("new", after.jid(Server::Pn, 0))
                .attr("old_lid", before.jid(Server::Lid, 0))
                .attr("new_lid", after.jid(Server::Lid, 0))
                .build();
            let from = before.jid(Server::Pn, 0);
            let watchers: Vec<Number> = before.watchers.iter().cloned().collect();
            for watcher in watchers {
                for device in state.companions_of(&watcher) {
                    let notification = NodeBuilder::new("notification")
                        .attr("type", "contacts")
                        .attr("from", &from)
                        .attr("id", state.next_stanza_id())
                        .attr("t", unix_now())
                        .children([modify.clone()])
                        .build();
                    state.deliver(&Address::new(&watcher, device), Class::Notification, Some(&old), notification);
                }
            }
            Ok(())
        })
    }

    /// The value of a privacy category.
    pub fn privacy(&self, number: &str, category: &str) -> Result<String> {
        let number = Number::parse(number)?;
        self.shared.look(|state| Ok(state.account(&number)?.privacy.value(category).to_owned()))
    }

    /// The phone of `number` blocks or unblocks somebody.
    pub fn set_blocked(&self, number: &str, who: &str, block: bool) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            let who = state.resolve_text(who)?;
            iq::set_blocked(state, &number, &who, block, None);
            Ok(())
        })
    }

    /// Whom `number` has blocked.
    pub fn blocked(&self, number: &str) -> Result<Vec<String>> {
        let number = Number::parse(number)?;
        self.shared.look(|state| Ok(state.account(&number)?.blocked.iter().map(Number::to_string).collect()))
    }

    /// Whether `number` takes direct messages of strangers only when they show
    /// a token it gave them.
    pub fn set_restricted(&self, number: &str, restricted: bool) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.restricted = restricted;
            Ok(())
        })
    }

    /// Whether linking a companion to `number` needs its passkey.
    pub fn set_passkey(&self, number: &str, needed: bool) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.passkey = needed;
            Ok(())
        })
    }

    /// Waits for the code that the phone of a companion in the passkey step
    /// shows.
    pub async fn wait_passkey_code(&self, timeout: Duration) -> Result<String> {
        self.wait("a code of the passkey step", timeout, |state| {
            state.passkeys.values().find_map(|step| step.code.clone())
        })
        .await
    }

    /// Registers `number` on a new phone: a new identity, no companions.
    pub fn register_again(&self, number: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| registration::register_again(state, &number))
    }

    /// The phone of `number` was not seen for so many days; from 14 on its
    /// companions are logged out.
    pub fn phone_away(&self, number: &str, days: u32) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| registration::phone_away(state, &number, days))
    }

    /// Refuses the logins of `number`, or everybody's; none lifts it. Its
    /// connections end.
    pub fn refuse(&self, number: Option<&str>, refusal: Option<Refusal>) -> Result<()> {
        let number = number.map(Number::parse).transpose()?;
        self.shared.with(|state| {
            let numbers = match number {
                Some(number) => {
                    state.account_mut(&number)?.refusal = refusal.clone();
                    vec![number]
                }
                None => {
                    state.refusal = refusal.clone();
                    state.accounts.keys().cloned().collect()
                }
            };
            if refusal.is_some() {
                for number in numbers {
                    state.cut(&number);
                }
            }
            Ok(())
        })
    }

    /// Asks a companion to compare its keys with the server's.
    pub fn ask_digest(&self, number: &str, device: u16) -> Result<()> {
        let address = Address::new(&Number::parse(number)?, device);
        self.shared.with(|state| {
            state.companion_mut(&address).with_context(|| format!("no device {address:?}"))?;
            let notification = NodeBuilder::new("notification")
                .attr("type", "encrypt")
                .attr("from", server_jid())
                .attr("id", state.next_stanza_id())
                .attr("t", unix_now())
                .children([empty("digest")])
                .build();
            state.deliver(&address, Class::Notification, None, notification);
            Ok(())
        })
    }

    /// Forgets the one-time prekeys of a companion, as a server that lost them.
    pub fn lose_prekeys(&self, number: &str, device: u16) -> Result<()> {
        let address = Address::new(&Number::parse(number)?, device);
        self.shared.with(|state| {
            let companion = state.companion_mut(&address).with_context(|| format!("no device {address:?}"))?;
            companion.prekeys.clear();
            Ok(())
        })
    }
}
