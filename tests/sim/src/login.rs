//! From a finished handshake to a delivered backlog.

use tokio::sync::mpsc::UnboundedSender;
use wacore_binary::{Node, Server, builder::NodeBuilder};
use waproto::whatsapp::ClientPayload;

use crate::{
    account::{Link, Registration, SignedPrekey},
    ids::{Address, ConnId, Number},
    pairing,
    queue::ib,
    registration::take_refusal,
    stanza::{attr, conflict, leaf, unix_now},
    state::{Connection, Outgoing, Peer, State},
};

/// Registers a connection that finished its handshake and answers its payload:
/// a login of a linked device, or a new companion.
pub fn open(state: &mut State, out: UnboundedSender<Outgoing>, noise_key: [u8; 32], payload: &ClientPayload) -> ConnId {
    let conn =
        state.open_connection(Connection { out, noise_key, peer: Peer::Dead, held_acks: Vec::new(), overtaken: None });
    if let Some(refusal) = take_refusal(&mut state.refusal) {
        state.send(conn, refusal.node());
        state.close(conn);
    } else if let Some(username) = payload.username {
        let device = payload.device.unwrap_or(0);
        login(state, conn, username, device, &noise_key);
    } else if let Some(registration) = read_registration(payload) {
        pairing::offer(state, conn, registration);
    } else {
        refuse(state, conn, 400);
    }
    conn
}

fn login(state: &mut State, conn: ConnId, username: u64, device: u32, noise_key: &[u8; 32]) {
    let known = Number::parse(&username.to_string())
        .ok()
        .zip(u16::try_from(device).ok())
        .map(|(number, device)| Address { number, device });
    let Some(address) = known else {
        return refuse(state, conn, 401);
    };
    if let Ok(account) = state.account_mut(&address.number)
        && let Some(refusal) = take_refusal(&mut account.refusal)
    {
        state.send(conn, refusal.node());
        return state.close(conn);
    }
    let Some(companion) = state.companion_mut(&address) else {
        return refuse(state, conn, 401);
    };
    if companion.noise_key != *noise_key {
        return refuse(state, conn, 401);
    }
    if let Some(old) = companion.link.conn() {
        state.send(old, conflict("replaced", None));
        state.close(old);
    }
    if let Some(companion) = state.companion_mut(&address) {
        companion.link = Link::Passive(conn);
        companion.queue.unsend();
    }
    if let Some(connection) = state.connections.get_mut(&conn) {
        connection.peer = Peer::Device(address.clone());
    }
    let Some(account) = state.accounts.get(&address.number) else {
        return;
    };
    let success = NodeBuilder::new("success")
        .attr("t", unix_now())
        .attr("lid", account.jid(Server::Lid, address.device))
        .attr("props", "27")
        .attr("abprops", "0")
        .attr("location", "sim")
        .attr("creation", unix_now())
        .build();
    state.send(conn, success);
    let routing = NodeBuilder::new("edge_routing").children([leaf("routing_info", [0x08, 0x0c, 0x08, 0x02])]).build();
    state.send(conn, ib(routing));
}

/// Refuses a connection with `<failure reason/>` and closes it.
fn refuse(state: &mut State, conn: ConnId, reason: u16) {
    let failure = NodeBuilder::new("failure").attr("reason", reason).build();
    state.send(conn, failure);
    state.close(conn);
}

fn read_registration(payload: &ClientPayload) -> Option<Registration> {
    let data = payload.device_pairing_data.as_option()?;
    let id = data.e_skey_id.as_deref()?;
    Some(Registration {
        registration_id: u32::from_be_bytes(data.e_regid.as_deref()?.try_into().ok()?),
        push_name: payload.push_name.clone(),
        identity: data.e_ident.as_deref()?.try_into().ok()?,
        signed_prekey: SignedPrekey {
            id: read_id(id)?,
            value: data.e_skey_val.as_deref()?.try_into().ok()?,
            signature: data.e_skey_sig.clone()?,
        },
        device_props: data.device_props.clone().unwrap_or_default(),
    })
}

/// A key id: three bytes, big-endian.
pub fn read_id(bytes: &[u8]) -> Option<u32> {
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |id, b| id << 8 | u32::from(*b)))
}

/// `<passive/>` and `<active/>`: the second starts the delivery.
pub fn set_active(state: &mut State, address: &Address, active: bool) {
    if active
        && let Some(companion) = state.companion_mut(address)
        && matches!(companion.link, Link::Passive(_))
    {
        state.start_drain(address);
    }
}

/// `<offline_batch count/>`: the client can take that many more.
pub fn extend_backlog(state: &mut State, address: &Address, node: &Node) {
    let count = attr(node, "count").and_then(|c| c.parse().ok());
    state.extend_drain(address, count.unwrap_or(0));
}
