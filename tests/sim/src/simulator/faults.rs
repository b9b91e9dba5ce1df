//! What goes wrong, on demand.

use std::time::Duration;

use anyhow::{Context, Result};
use wacore_binary::{Node, builder::NodeBuilder};

use super::Simulator;
use crate::{
    faults::{FaultKind, MediaRule, Rule},
    ids::{Address, ConnId, Number},
    messages,
    noise::{HandshakeKind, IkPolicy, ServerKeys},
    stanza::{conflict, empty},
    state::State,
};

impl Simulator {
    /// Empties the media store: downloads answer 404.
    pub fn clear_media(&self) {
        self.shared.with(|state| state.media.clear());
    }

    /// Adds a rule about the stanzas of `number`'s companions; its seed is
    /// printed when chance plays a part.
    pub fn add_rule(&self, number: &str, rule: Rule) -> Result<()> {
        let number = Number::parse(number)?;
        tracing::warn!("fault for {number}: {rule:?}");
        self.shared.with(|state| {
            state.account_mut(&number)?.rules.add(rule);
            Ok(())
        })
    }

    /// Adds a rule about the downloads of `number`'s companions: those with the
    /// credentials it was given. Clients that fetch without (Baileys) are nobody's.
    pub fn add_media_rule(&self, number: &str, rule: MediaRule) -> Result<()> {
        let number = Number::parse(number)?;
        tracing::warn!("fault for {number}: {rule:?}");
        self.shared.with(|state| {
            state.account_mut(&number)?.rules.add_media(rule);
            Ok(())
        })
    }

    /// Waits until all rules of `number` are used up.
    pub async fn wait_rules_used(&self, number: &str, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("the rules of {number} to be used up"), timeout, |state| {
            (state.accounts.get(&parsed)?.rules.left() == 0).then_some(())
        })
        .await
    }

    /// Sets the server's clock off for `number`: the `t` of what its companions
    /// get.
    pub fn set_clock_skew(&self, number: &str, seconds: i64) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.clock_skew = seconds;
            Ok(())
        })
    }

    /// Arms a fault `count` more times; see [`FaultKind`]. Hold and Release
    /// ignore the count.
    pub fn fault(&self, number: &str, kind: FaultKind, count: u32) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let account = state.account_mut(&number)?;
            if kind != FaultKind::UnknownStanza {
                account.faults.arm(kind, count);
            }
            match kind {
                FaultKind::Release => messages::release(state, &number),
                FaultKind::UnknownStanza => send_unknown(state, &number, count),
                _ => {}
            }
            Ok(())
        })
    }

    /// Waits until a counted fault is used up.
    pub async fn wait_fault_used(&self, number: &str, kind: FaultKind, timeout: Duration) -> Result<()> {
        let parsed = Number::parse(number)?;
        self.wait(&format!("{kind:?} to be used up"), timeout, |state| {
            let left = state.accounts.get(&parsed)?.faults.left(kind);
            (left == 0).then_some(())
        })
        .await
    }

    /// Sends `<stream:error code/>` to a companion and closes its socket.
    pub fn stream_error(&self, number: &str, device: u16, code: u16) -> Result<()> {
        let address = Address::new(&Number::parse(number)?, device);
        self.shared.with(|state| {
            let companion = state.companion_mut(&address).with_context(|| format!("no device {address:?}"))?;
            if let Some(conn) = companion.link.conn() {
                let error = NodeBuilder::new("stream:error").attr("code", code).build();
                state.send(conn, error);
                state.close(conn);
            }
            Ok(())
        })
    }

    /// Ends the connection of a companion as when another program connects with its
    /// keys: `<conflict type="replaced"/>`.
    pub fn replace(&self, number: &str, device: u16) -> Result<()> {
        let address = Address::new(&Number::parse(number)?, device);
        self.shared.with(|state| {
            let companion = state.companion_mut(&address).with_context(|| format!("no device {address:?}"))?;
            if let Some(conn) = companion.link.conn() {
                state.send(conn, conflict("replaced", None));
                state.close(conn);
            }
            Ok(())
        })
    }

    /// Drops all sockets of the companions of `number` without a word.
    pub fn disconnect(&self, number: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            state.cut(&number);
            Ok(())
        })
    }

    /// Drops every connection of a companion that is not linked yet, without a word.
    pub fn disconnect_unlinked(&self) {
        self.shared.with(crate::state::State::cut_unlinked);
    }

    /// Whether IK handshakes are taken.
    pub fn set_ik(&self, policy: IkPolicy) {
        self.shared.with(|state| state.ik = policy);
    }

    /// Gives the server another static key and certificate chain.
    pub fn rotate_static_key(&self) -> Result<()> {
        let keys = ServerKeys::generate()?;
        self.shared.with(|state| state.keys = keys);
        Ok(())
    }

    /// The handshakes of all connections so far, in order.
    pub fn handshakes(&self) -> Vec<HandshakeKind> {
        self.shared.look(|state| state.handshakes.iter().map(|(_, kind)| *kind).collect())
    }
}

/// Sends stanzas that no client knows to the connected companions.
fn send_unknown(state: &mut State, number: &Number, count: u32) {
    let conns: Vec<ConnId> = state.accounts.get(number).map_or_else(Vec::new, |a| {
        let links = a.companions.values().map(|c| c.link.conn());
        links.flatten().collect()
    });
    for conn in conns {
        for _ in 0..count {
            let node: Node = NodeBuilder::new("sim_mystery")
                .attr("from", crate::stanza::server_jid())
                .attr("id", state.next_stanza_id())
                .children([empty("sim_riddle")])
                .build();
            state.send(conn, node);
        }
    }
}
