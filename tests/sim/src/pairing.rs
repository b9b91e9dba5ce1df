//! Pairing: the QR side, and what both ways have in common.

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use buffa::Message as _;
use rand::RngExt as _;
use std::collections::VecDeque;
use wacore_binary::{Node, Server, builder::NodeBuilder};
use waproto::whatsapp::ClientPairingProps;

use crate::{
    account::{Addressing, Companion, Link, Registration},
    business,
    ids::{Address, ConnId, Number},
    pair_code, passkey,
    queue::Queue,
    stanza::{attr, attr_or_empty, bytes, iq_result, leaf, server_jid, unix_now},
    state::{Peer, State},
};

/// How many QR codes a companion may show in a row.
const REFS: usize = 6;

/// How many companions a phone can have.
const MOST_COMPANIONS: usize = 4;

/// A companion between `<pair-success>` and its signature.
pub struct PendingPair {
    pub address: Address,
    pub key_index: u32,
    pub iq: String,
}

/// What a QR code says.
struct QrCode {
    reference: String,
    noise_key: [u8; 32],
    identity: [u8; 32],
    adv_secret: Vec<u8>,
}

/// Sends a new companion its refs.
pub fn offer(state: &mut State, conn: ConnId, registration: Registration) {
    let mut refs = Vec::new();
    for _ in 0..REFS {
        let noise: [u8; 24] = rand::rng().random();
        let text = format!("2@{}", BASE64_STANDARD.encode(noise));
        state.refs.insert(text.clone(), conn);
        refs.push(leaf("ref", text.into_bytes()));
    }
    if let Some(connection) = state.connections.get_mut(&conn) {
        connection.peer = Peer::Unpaired(registration);
    }
    let iq = server_iq(state).children([NodeBuilder::new("pair-device").children(refs).build()]).build();
    state.send(conn, iq);
}

fn server_iq(state: &mut State) -> NodeBuilder {
    NodeBuilder::new("iq")
        .attr("from", server_jid())
        .attr("type", "set")
        .attr("id", state.next_stanza_id())
        .attr("xmlns", "md")
        .attr("t", unix_now())
}

/// Handles a stanza of a companion that is not linked yet.
pub fn handle(state: &mut State, conn: ConnId, node: &Node) {
    let kind = attr_or_empty(node, "type");
    match (node.tag.as_ref(), kind.as_str()) {
        ("iq", "result") => handle_result(state, conn, node),
        ("iq", "error") => fail(state, conn, "the companion refused the pairing"),
        ("iq", "get" | "set") => match attr(node, "xmlns").as_deref() {
            Some("w:p") => state.send(conn, iq_result(node, [])),
            Some("md") if state.passkeys.contains_key(&conn) => passkey::handle(state, conn, node),
            Some("md") => pair_code::handle(state, conn, node),
            _ => state.record_unknown(node),
        },
        // The answer to the notification of the pair code flow.
        ("ack", _) => {}
        // Baileys says its name before anybody has one for it.
        ("presence", _) => {}
        ("ib", _) if node.get_optional_child("unified_session").is_some() => {}
        _ => state.record_unknown(node),
    }
}

/// Tells whoever waits for the pairing on `conn` that it failed.
pub fn fail(state: &mut State, conn: ConnId, why: &str) {
    state.pairing.remove(&conn);
    state.pair_errors.insert(conn, why.to_owned());
}

/// The phone of `number` reads a QR code. Returns the connection to wait for.
pub fn scan(state: &mut State, number: &Number, qr: &str) -> Result<ConnId> {
    let passkey = state.account(number)?.passkey;
    let qr = read_qr(qr)?;
    let conn = *state.refs.get(&qr.reference).context("nobody shows this code (any more)")?;
    let connection = state.connections.get(&conn).context("connection is gone")?;
    let Peer::Unpaired(registration) = &connection.peer else {
        bail!("this companion is linked already");
    };
    ensure!(
        connection.noise_key == qr.noise_key && registration.identity == qr.identity,
        "the code's keys are not those of the connection"
    );
    if passkey {
        passkey::ask(state, conn, number);
    } else {
        send_success(state, conn, number, &qr.adv_secret)?;
    }
    Ok(conn)
}

/// The name that the companion behind a QR code came with, if any. Errors when
/// nobody shows the code.
pub fn name_behind(state: &State, qr: &str) -> Result<Option<String>> {
    let qr = read_qr(qr)?;
    let conn = state.refs.get(&qr.reference).context("nobody shows this code (any more)")?;
    match state.connections.get(conn).map(|c| &c.peer) {
        Some(Peer::Unpaired(registration)) => Ok(registration.push_name.clone()),
        _ => bail!("this companion is linked already"),
    }
}

fn read_qr(text: &str) -> Result<QrCode> {
    let body = text.rsplit_once('#').map_or(text, |(_, body)| body);
    let fields: Vec<&str> = body.split(',').collect();
    let [reference, noise, identity, secret, ..] = fields[..] else {
        bail!("not a pairing code: {} fields", fields.len());
    };
    let key = |name: &str, text: &str| -> Result<[u8; 32]> {
        let raw = BASE64_STANDARD.decode(text).with_context(|| name.to_owned())?;
        raw.try_into().map_err(|raw: Vec<u8>| anyhow!("{name} has {} bytes", raw.len()))
    };
    Ok(QrCode {
        reference: reference.to_owned(),
        noise_key: key("noise key", noise)?,
        identity: key("identity key", identity)?,
        adv_secret: BASE64_STANDARD.decode(secret).context("secret")?,
    })
}

/// Signs the companion on `conn` in and sends it `<pair-success>`.
pub fn send_success(state: &mut State, conn: ConnId, number: &Number, adv_secret: &[u8]) -> Result<Address> {
    let identity = match state.connections.get(&conn).map(|c| &c.peer) {
        Some(Peer::Unpaired(registration)) => registration.identity,
        _ => bail!("the companion is gone"),
    };
    let on_the_way = state.pairing.values().filter(|pending| pending.address.number == *number).count();
    let biz = business::pairing_name(state, number);
    let account = state.account_mut(number)?;
    ensure!(account.companions.len() + on_the_way < MOST_COMPANIONS, "the phone has {MOST_COMPANIONS} linked devices");
    let device = account.next_device;
    account.next_device += 1;
    let (container, key_index) = account.sign_companion(&identity, adv_secret)?;
    let migrated = account.addressing == Addressing::Lid;
    let props = ClientPairingProps {
        is_chat_db_lid_migrated: Some(migrated),
        is_syncd_pure_lid_session: Some(migrated),
        ..Default::default()
    };
    let success = NodeBuilder::new("pair-success")
        .children(
            biz.into_iter().chain([
                leaf("device-identity", container),
                NodeBuilder::new("device")
                    .attr("jid", account.jid(Server::Pn, device))
                    .attr("lid", account.jid(Server::Lid, device))
                    .build(),
                NodeBuilder::new("platform").attr("name", "android").build(),
                leaf("client-props", props.encode_to_vec()),
            ]),
        )
        .build();
    let iq = server_iq(state).children([success]).build();
    let address = Address::new(number, device);
    state.paired.insert(conn, address.clone());
    state.pairing.insert(conn, PendingPair { address: address.clone(), key_index, iq: attr_or_empty(&iq, "id") });
    state.send(conn, iq);
    Ok(address)
}

/// The result of `<pair-device>` (nothing to do) or of `<pair-success>`: the
/// companion has signed its identity and is a device from now on.
fn handle_result(state: &mut State, conn: ConnId, node: &Node) {
    let Some(sign) = node.get_optional_child("pair-device-sign") else {
        return;
    };
    let id = attr_or_empty(node, "id");
    let proof = sign.get_optional_child("device-identity").and_then(bytes);
    let (Some(pending), Some(identity_proof)) = (state.pairing.remove(&conn), proof) else {
        return state.record_unknown(node);
    };
    if pending.iq != id {
        return state.record_unknown(node);
    }
    let Some(connection) = state.connections.get_mut(&conn) else {
        return;
    };
    let noise_key = connection.noise_key;
    let Peer::Unpaired(registration) = std::mem::replace(&mut connection.peer, Peer::Dead) else {
        return;
    };
    let Some(account) = state.accounts.get_mut(&pending.address.number) else {
        return;
    };
    account.companions.insert(
        pending.address.device,
        Companion {
            key_index: pending.key_index,
            noise_key,
            registration,
            prekeys: VecDeque::new(),
            identity_proof,
            link: Link::Offline,
            queue: Queue::default(),
        },
    );
    state.refs.retain(|_, owner| *owner != conn);
    state.pair_codes.retain(|_, code| code.conn != conn);
    let restart = NodeBuilder::new("stream:error").attr("code", "515").build();
    state.send(conn, restart);
    state.close(conn);
    crate::unlink::announce_device(state, &pending.address, "add", pending.key_index);
    crate::phone::share_app_state_key(state, &pending.address, None);
    crate::history_sync::begin(state, &pending.address);
}
