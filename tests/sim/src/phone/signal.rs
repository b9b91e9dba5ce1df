//! Sessions of a phone: start, encrypt, decrypt.

use std::future::Future;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::FutureExt as _;
use rand::RngExt as _;
use wacore_libsignal::protocol::{
    CiphertextMessage, CiphertextMessageType, DeviceId, GenericSignedPreKey as _, IdentityKey, IdentityKeyPair,
    KeyPair, PreKeyBundle, PreKeyRecord, PreKeySignalMessage, ProtocolAddress, PublicKey, SignalMessage,
    SignalProtocolError, SignedPreKeyRecord, Timestamp, UsePQRatchet, message_decrypt, message_encrypt,
    process_prekey_bundle,
};

use super::store::{Identities, Prekeys, Sessions, SignedPrekeys};
use crate::{account::SignedPrekey, ids::Address, iq::Bundle};

const SIGNED_PREKEY_ID: u32 = 1;

/// Why a ciphertext gave no text.
pub enum Failure {
    /// It was decrypted before.
    Duplicate,
    /// Anything else; a retry may help.
    Broken(anyhow::Error),
}

/// A Signal endpoint.
pub struct Endpoint {
    identities: Identities,
    sessions: Sessions,
    prekeys: Prekeys,
    signed: SignedPrekeys,
    next_prekey: u32,
}

impl Endpoint {
    /// An endpoint with a new identity and signed prekey.
    pub fn new() -> Result<Self> {
        let mut rng = rand::rng();
        let pair = IdentityKeyPair::generate(&mut rng);
        let signed = KeyPair::generate(&mut rng);
        let signature = pair
            .private_key()
            .calculate_signature(&signed.public_key.serialize(), &mut rng)
            .context("signing the prekey")?;
        let record = SignedPreKeyRecord::new(
            SIGNED_PREKEY_ID.into(),
            Timestamp::from_epoch_millis(crate::stanza::unix_now() * 1000),
            &signed,
            &signature,
        );
        Ok(Self {
            identities: Identities { pair, registration_id: rng.random_range(1..16_380), others: Default::default() },
            sessions: Sessions::default(),
            prekeys: Prekeys::default(),
            signed: SignedPrekeys(record),
            next_prekey: 1,
        })
    }

    /// The own identity.
    pub fn identity(&self) -> &IdentityKeyPair {
        &self.identities.pair
    }

    /// A fresh bundle with a one-time prekey.
    pub fn make_bundle(&mut self) -> Result<Bundle> {
        let id = self.next_prekey;
        self.next_prekey += 1;
        let pair = KeyPair::generate(&mut rand::rng());
        self.prekeys.0.insert(id, PreKeyRecord::new(id.into(), &pair));
        Ok(Bundle {
            registration_id: self.identities.registration_id,
            identity: key_bytes(self.identities.pair.public_key())?,
            signed_prekey: SignedPrekey {
                id: SIGNED_PREKEY_ID,
                value: key_bytes(&self.signed.0.public_key()?)?,
                signature: self.signed.0.signature()?,
            },
            prekey: Some((id, key_bytes(&pair.public_key)?)),
            identity_proof: None,
        })
    }

    /// Whether there is a session with a device.
    pub fn has_session(&self, device: &Address) -> bool {
        self.sessions.0.contains_key(address(device).as_str())
    }

    /// Drops the session with a device.
    pub fn forget(&mut self, device: &Address) {
        self.sessions.0.remove(address(device).as_str());
    }

    /// Starts a session with a device from its bundle.
    pub fn start_session(&mut self, device: &Address, bundle: &Bundle) -> Result<()> {
        let key = |bytes: &[u8; 32]| PublicKey::from_djb_public_key_bytes(bytes);
        let prekey = match &bundle.prekey {
            Some((id, value)) => Some(((*id).into(), key(value)?)),
            None => None,
        };
        let bundle = PreKeyBundle::new(
            bundle.registration_id,
            DeviceId::new(0),
            prekey,
            bundle.signed_prekey.id.into(),
            key(&bundle.signed_prekey.value)?,
            bundle.signed_prekey.signature.clone(),
            IdentityKey::new(key(&bundle.identity)?),
        )?;
        now(process_prekey_bundle(
            &address(device),
            &mut self.sessions,
            &mut self.identities,
            &bundle,
            &mut rand::rng(),
            UsePQRatchet::No,
        ))??;
        Ok(())
    }

    /// Encrypts for a device: the `type` of the `<enc>` and its content.
    pub fn encrypt(&mut self, device: &Address, plain: &[u8]) -> Result<(&'static str, Vec<u8>)> {
        let sealed = now(message_encrypt(plain, &address(device), &mut self.sessions, &mut self.identities))??;
        let kind = match sealed.message_type() {
            CiphertextMessageType::PreKey => "pkmsg",
            CiphertextMessageType::Whisper => "msg",
            other => bail!("encryption gave a {other:?} message"),
        };
        Ok((kind, sealed.serialize().to_vec()))
    }

    /// Decrypts the content of an `<enc>` of a device.
    pub fn decrypt(&mut self, device: &Address, kind: &str, sealed: &[u8]) -> Result<Vec<u8>, Failure> {
        let broken = |error: SignalProtocolError| match error {
            SignalProtocolError::DuplicatedMessage(..) => Failure::Duplicate,
            error => Failure::Broken(error.into()),
        };
        let message = match kind {
            "pkmsg" => PreKeySignalMessage::try_from(sealed).map(CiphertextMessage::PreKeySignalMessage),
            "msg" => SignalMessage::try_from(sealed).map(CiphertextMessage::SignalMessage),
            other => return Err(Failure::Broken(anyhow!("no decryption for {other:?}"))),
        }
        .map_err(broken)?;
        let opened = now(message_decrypt(
            &message,
            &address(device),
            &mut self.sessions,
            &mut self.identities,
            &mut self.prekeys,
            &self.signed,
            &mut rand::rng(),
            UsePQRatchet::No,
        ))
        .map_err(Failure::Broken)?
        .map_err(broken)?;
        if let Some(id) = opened.consumed_prekey_id {
            self.prekeys.0.remove(&id.into());
        }
        Ok(opened.plaintext)
    }
}

/// Sessions are kept per device, whichever of its two addresses was used: both
/// are one device with one key.
fn address(device: &Address) -> ProtocolAddress {
    let name = format!("{}:{}", device.number, device.device);
    ProtocolAddress::new(&name, DeviceId::new(0))
}

fn key_bytes(key: &PublicKey) -> Result<[u8; 32]> {
    key.public_key_bytes().try_into().context("public key")
}

/// Runs a future of the protocol library. Over stores in memory it never waits.
pub fn now<T>(future: impl Future<Output = T>) -> Result<T> {
    future.now_or_never().context("a store in memory waited")
}
