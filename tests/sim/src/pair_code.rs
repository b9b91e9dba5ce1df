//! Pairing by the 8-letter code.
//!
//! Both sides wrap an ephemeral key with a key derived from the code; the
//! companion then proves its identity under the shared secret.

use anyhow::{Context, Result, anyhow, ensure};
use hkdf::Hkdf;
use rand::RngExt as _;
use sha2::Sha256;
use wacore::pair_code::PairCodeUtils;
use wacore_binary::{Node, builder::NodeBuilder};
use wacore_libsignal::{
    crypto::aes_256_gcm_decrypt,
    protocol::{KeyPair, PublicKey},
};

use crate::{
    ids::{Address, ConnId, Number},
    pairing,
    stanza::{attr, child_bytes, iq_error, iq_result, jid, leaf, server_jid, unix_now},
    state::{Peer, State},
};

/// A companion that waits for its code to be typed on a phone.
pub struct PendingCode {
    pub conn: ConnId,
    reference: Vec<u8>,
    /// The companion's ephemeral key, wrapped with the code.
    wrapped: Vec<u8>,
    typed: Option<TypedCode>,
}

/// What the phone knows once the code is typed.
struct TypedCode {
    ephemeral: KeyPair,
    companion_ephemeral: [u8; 32],
}

/// The phone's half, computed from the code alone; slow on purpose.
pub struct PhoneHalf {
    ephemeral: KeyPair,
    wrapped: [u8; 80],
    companion_ephemeral: [u8; 32],
}

/// Handles the two IQs of a companion in this flow.
pub fn handle(state: &mut State, conn: ConnId, node: &Node) {
    let Some(request) = node.get_optional_child("link_code_companion_reg") else {
        return state.record_unknown(node);
    };
    match attr(request, "stage").as_deref() {
        Some("companion_hello") => hello(state, conn, node, request),
        Some("companion_finish") => {
            if let Err(error) = finish(state, conn, node, request) {
                pairing::fail(state, conn, &format!("{error:#}"));
                state.send(conn, iq_error(node, 400, "bad-request"));
            }
        }
        _ => state.record_unknown(node),
    }
}

fn hello(state: &mut State, conn: ConnId, node: &Node, request: &Node) {
    let number = jid(request, "jid").and_then(|jid| state.resolve(&jid));
    let wrapped = child_bytes(request, "link_code_pairing_wrapped_companion_ephemeral_pub");
    let (Some(number), Some(wrapped)) = (number, wrapped) else {
        return state.send(conn, iq_error(node, 404, "item-not-found"));
    };
    let reference: [u8; 16] = rand::rng().random();
    state.pair_codes.insert(number, PendingCode { conn, reference: reference.to_vec(), wrapped, typed: None });
    let body = NodeBuilder::new("link_code_companion_reg")
        .attr("stage", "companion_hello")
        .children([leaf("link_code_pairing_ref", reference)])
        .build();
    state.send(conn, iq_result(node, [body]));
}

/// What the phone needs to type a code: the wrapped key of the companion that
/// waits for this number.
pub fn pending(state: &State, number: &Number) -> Result<Vec<u8>> {
    state.account(number)?;
    let code = state.pair_codes.get(number).with_context(|| format!("no companion asks {number} for a code"))?;
    Ok(code.wrapped.clone())
}

/// Unwraps the companion's key and wraps an own one. Takes a second or more in
/// a debug build: keep it off the async threads.
pub fn unwrap_companion(wrapped: &[u8], code: &str) -> Result<PhoneHalf> {
    let companion_ephemeral = PairCodeUtils::decrypt_primary_ephemeral_pub(wrapped, code)
        .map_err(|e| anyhow!("unwrapping the companion's key: {e}"))?;
    let ephemeral = KeyPair::generate(&mut rand::rng());
    let public: [u8; 32] = ephemeral.public_key.public_key_bytes().try_into().context("public key")?;
    Ok(PhoneHalf { wrapped: PairCodeUtils::encrypt_ephemeral_pub(&public, code), ephemeral, companion_ephemeral })
}

/// Sends the phone's half to the companion; returns its connection.
pub fn send_half(state: &mut State, number: &Number, half: PhoneHalf) -> Result<ConnId> {
    let identity = *state.account(number)?.phone.identity().public_key();
    let code = state.pair_codes.get_mut(number).context("the companion is gone")?;
    code.typed = Some(TypedCode { ephemeral: half.ephemeral, companion_ephemeral: half.companion_ephemeral });
    let (conn, reference) = (code.conn, code.reference.clone());
    let body = NodeBuilder::new("link_code_companion_reg")
        .attr("stage", "primary_hello")
        .children([
            leaf("link_code_pairing_wrapped_primary_ephemeral_pub", half.wrapped),
            leaf("primary_identity_pub", identity.public_key_bytes()),
            leaf("link_code_pairing_ref", reference),
        ])
        .build();
    let notification = NodeBuilder::new("notification")
        .attr("type", "link_code_companion_reg")
        .attr("from", server_jid())
        .attr("id", state.next_stanza_id())
        .attr("t", unix_now())
        .children([body])
        .build();
    state.send(conn, notification);
    Ok(conn)
}

fn finish(state: &mut State, conn: ConnId, node: &Node, request: &Node) -> Result<Address> {
    let (number, code) =
        state.pair_codes.iter().find(|(_, code)| code.conn == conn).context("no code was asked for")?;
    let number = number.clone();
    let typed = code.typed.as_ref().context("no code was typed")?;
    let bundle = child_bytes(request, "link_code_pairing_wrapped_key_bundle").context("no key bundle")?;
    let identity = child_bytes(request, "companion_identity_public").context("no companion identity")?;
    match state.connections.get(&conn).map(|c| &c.peer) {
        Some(Peer::Unpaired(known)) if known.identity[..] == identity[..] => {}
        _ => anyhow::bail!("the identity is not that of the connection"),
    }
    let own = state.account(&number)?.phone.identity();
    let secret = derive_secret(own, typed, &bundle, &identity)?;
    state.send(conn, iq_result(node, []));
    pairing::send_success(state, conn, &number, &secret)
}

/// The ADV secret, from both agreements and the companion's random bytes.
fn derive_secret(
    own: &wacore_libsignal::protocol::IdentityKeyPair,
    typed: &TypedCode,
    bundle: &[u8],
    identity: &[u8],
) -> Result<[u8; 32]> {
    ensure!(bundle.len() == 32 + 12 + 96 + 16, "key bundle of {} bytes", bundle.len());
    let companion = PublicKey::from_djb_public_key_bytes(&typed.companion_ephemeral)?;
    let shared = typed.ephemeral.calculate_agreement(&companion)?;
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(&bundle[..32]), &shared)
        .expand(b"link_code_pairing_key_bundle_encryption_key", &mut key)
        .map_err(|_| anyhow!("key derivation"))?;
    let mut plain = Vec::new();
    let nonce: [u8; 12] = bundle[32..44].try_into().context("nonce")?;
    aes_256_gcm_decrypt(&key, &nonce, b"", &bundle[44..], &mut plain).map_err(|_| anyhow!("wrong code"))?;
    ensure!(
        plain[..32] == identity[..] && plain[32..64] == *own.public_key().public_key_bytes(),
        "the key bundle names other identities"
    );
    let companion = PublicKey::from_djb_public_key_bytes(identity)?;
    let identities = own.private_key().calculate_agreement(&companion)?;
    let material = [&shared[..], &identities[..], &plain[64..96]].concat();
    let mut secret = [0; 32];
    Hkdf::<Sha256>::new(None, &material).expand(b"adv_secret", &mut secret).map_err(|_| anyhow!("key derivation"))?;
    Ok(secret)
}
