//! The passkey step of pairing: some accounts want to see the owner's passkey
//! before they link a companion.
//!
//! The server asks the companion for a signed WebAuthn request. The companion
//! then agrees on a secret with the phone, both show a code, and what the QR
//! code would have carried, the companion's ADV secret, goes encrypted.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use buffa::Message as _;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use wacore::shortcake::ShortcakeUtils;
use wacore_binary::{Node, NodeContent, builder::NodeBuilder};
use wacore_libsignal::{
    crypto::aes_256_gcm_decrypt,
    protocol::{KeyPair, PublicKey},
};
use waproto::whatsapp::{
    CompanionEphemeralIdentity, EncryptedPairingRequest, PairingRequest, PrimaryEphemeralIdentity, ProloguePayload,
};

use crate::{
    ids::{ConnId, Number},
    pairing,
    stanza::{bytes, child_bytes, iq_error, iq_result, leaf, server_jid, unix_now},
    state::{Peer, State},
};

/// How long the phone takes for its half: whatsapp-rust is not ready for it
/// right after its own was taken.
const PHONE_TIME: Duration = Duration::from_millis(300);

/// A companion between the request for its passkey and `<pair-success>`.
pub struct PasskeyStep {
    number: Number,
    options: String,
    reference: String,
    /// What the companion committed to, and the phone's half.
    agreement: Option<Agreement>,
    /// What the phone shows, once the companion opened its commitment.
    pub code: Option<String>,
}

struct Agreement {
    companion_identity: Vec<u8>,
    commitment: Vec<u8>,
    phone: KeyPair,
    nonce: [u8; 32],
}

/// Asks the companion on `conn` for the passkey of `number`.
pub fn ask(state: &mut State, conn: ConnId, number: &Number) {
    let challenge: [u8; 32] = rand::rng().random();
    let options = serde_json::json!({
        "challenge": BASE64_URL_SAFE_NO_PAD.encode(challenge),
        "rpId": "web.whatsapp.com",
        "allowCredentials": [],
        "userVerification": "required",
        "timeout": 60_000,
    })
    .to_string();
    let reference: [u8; 16] = rand::rng().random();
    let step = PasskeyStep {
        number: number.clone(),
        options: options.clone(),
        reference: BASE64_URL_SAFE_NO_PAD.encode(reference),
        agreement: None,
        code: None,
    };
    state.passkeys.insert(conn, step);
    let request = notification(state, "passkey_prologue_request", leaf("passkey_request_options", options));
    state.send(conn, request);
}

fn notification(state: &mut State, kind: &str, body: Node) -> Node {
    NodeBuilder::new("notification")
        .attr("type", kind)
        .attr("from", server_jid())
        .attr("id", state.next_stanza_id())
        .attr("t", unix_now())
        .children([body])
        .build()
}

/// Handles an IQ of a companion in this step.
pub fn handle(state: &mut State, conn: ConnId, node: &Node) {
    match answer(state, conn, node) {
        Ok(Some(reply)) => state.send(conn, reply),
        Ok(None) => {}
        Err(error) => {
            state.passkeys.remove(&conn);
            pairing::fail(state, conn, &format!("{error:#}"));
            state.send(conn, iq_error(node, 400, "bad-request"));
        }
    }
}

fn answer(state: &mut State, conn: ConnId, node: &Node) -> Result<Option<Node>> {
    let step = state.passkeys.get_mut(&conn).context("no passkey was asked for")?;
    let Some(NodeContent::Nodes(content)) = &node.content else {
        bail!("an empty request");
    };
    let request = content.first().context("an empty request")?;
    match request.tag.as_ref() {
        "ref" => Ok(Some(iq_result(node, [leaf("ref", step.reference.clone())]))),
        "passkey_request_options" => Ok(Some(iq_result(node, [leaf("passkey_request_options", step.options.clone())]))),
        "passkey_prologue" => {
            let identity = open_prologue(step, request)?;
            state.send(conn, iq_result(node, []));
            let body = leaf("primary_ephemeral_identity", identity);
            let continuation = notification(state, "crsc_continuation", body);
            state.pause(conn, PHONE_TIME);
            state.send(conn, continuation);
            Ok(None)
        }
        "companion_nonce" => {
            step.code = Some(open_commitment(step, request)?);
            Ok(Some(iq_result(node, [])))
        }
        "encrypted_pairing_request" => {
            let identity = match state.connections.get(&conn).map(|c| &c.peer) {
                Some(Peer::Unpaired(registration)) => registration.identity,
                _ => bail!("the companion is gone"),
            };
            let secret = open_request(step, request, &identity)?;
            let number = step.number.clone();
            state.passkeys.remove(&conn);
            state.send(conn, iq_result(node, []));
            state.pause(conn, PHONE_TIME);
            pairing::send_success(state, conn, &number, &secret)?;
            Ok(None)
        }
        other => bail!("a request {other:?} in the passkey step"),
    }
}

/// The assertion is taken as it is: nobody here has the passkey's public key.
fn open_prologue(step: &mut PasskeyStep, request: &Node) -> Result<Vec<u8>> {
    for needed in ["credential_id", "webauthn_assertion"] {
        ensure!(child_bytes(request, needed).is_some_and(|b| !b.is_empty()), "no {needed}");
    }
    let payload = child_bytes(request, "prologue_payload").context("no prologue payload")?;
    let payload = ProloguePayload::decode_from_slice(&payload).context("prologue payload")?;
    let commitment = payload.commitment.as_option().and_then(|c| c.hash.clone()).context("no commitment")?;
    let phone = KeyPair::generate(&mut rand::rng());
    let nonce: [u8; 32] = rand::rng().random();
    let identity = PrimaryEphemeralIdentity {
        public_key: Some(phone.public_key.public_key_bytes().to_vec()),
        nonce: Some(nonce.to_vec()),
    };
    let companion_identity = payload.companion_ephemeral_identity.context("no companion identity")?;
    step.agreement = Some(Agreement { companion_identity, commitment, phone, nonce });
    Ok(identity.encode_to_vec())
}

/// Checks what the companion committed to, and returns the code both show.
fn open_commitment(step: &PasskeyStep, request: &Node) -> Result<String> {
    let agreement = step.agreement.as_ref().context("a nonce before the prologue")?;
    let nonce: [u8; 32] =
        bytes(request).and_then(|nonce| nonce.try_into().ok()).context("the nonce is not 32 bytes long")?;
    let hash = Sha256::new().chain_update(&agreement.companion_identity).chain_update(nonce).finalize();
    ensure!(hash[..] == agreement.commitment[..], "the companion committed to another key");
    let public: [u8; 32] = agreement.phone.public_key.public_key_bytes().try_into().context("public key")?;
    Ok(ShortcakeUtils::derive_verification_code(&nonce, &public, &agreement.nonce))
}

/// Decrypts the pairing request and returns the ADV secret in it.
fn open_request(step: &PasskeyStep, request: &Node, identity: &[u8; 32]) -> Result<Vec<u8>> {
    ensure!(step.code.is_some(), "the commitment was never opened");
    let agreement = step.agreement.as_ref().context("a request before the prologue")?;
    let companion = CompanionEphemeralIdentity::decode_from_slice(&agreement.companion_identity)?;
    ensure!(companion.r#ref.as_deref() == Some(step.reference.as_str()), "another ref");
    let public = companion.public_key.context("no public key")?;
    let public = PublicKey::from_djb_public_key_bytes(&public)?;
    let shared = agreement.phone.private_key.calculate_agreement(&public)?;
    let device = companion.device_type.context("no device type")?;
    let key = ShortcakeUtils::derive_encryption_key_from_shared_secret(&shared, device, &step.reference)?;
    let sealed = EncryptedPairingRequest::decode_from_slice(&bytes(request).context("an empty request")?)?;
    let iv: [u8; 12] = sealed.iv.and_then(|iv| iv.try_into().ok()).context("the IV is not 12 bytes long")?;
    let mut plain = Vec::new();
    let payload = sealed.encrypted_payload.context("no payload")?;
    aes_256_gcm_decrypt(&key, &iv, b"", &payload, &mut plain).map_err(|_| anyhow::anyhow!("another secret"))?;
    let request = PairingRequest::decode_from_slice(&plain)?;
    ensure!(request.companion_identity_key.as_deref() == Some(identity), "another companion's identity");
    request.adv_secret.context("no ADV secret")
}
