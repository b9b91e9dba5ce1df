//! Seals private keys before they reach the database: a copy of the database alone opens nothing.
//!
//! XChaCha20-Poly1305 under a key made by HKDF-SHA256 from `encryption.pickle_key`, a random nonce per value. What
//! a value is for and whose it is are part of the seal, so a value moved to another row does not open.
//! What is sealed and what is not, and why: `docs/decisions/0004-sealing.md`.

use super::{Store, StoreError};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;

/// First byte of everything sealed: the form of the rest (nonce, then ciphertext with its tag).
const FORM: u8 = 1;
/// Bytes of a nonce; long enough to be drawn at random for ever.
const NONCE_LEN: usize = 24;

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A linked device's own keys.
    Device,
    /// A pairwise ratchet.
    Ratchet,
    /// A one-time prekey.
    Prekey,
    /// A signed prekey.
    SignedPrekey,
    /// A group ratchet.
    SenderKey,
    /// A key of WhatsApp's app state.
    SyncKey,
    /// The secret of a poll, on which its votes hang.
    PollSecret,
    /// A person's own access token at their homeserver.
    PuppetToken,
    /// The value that proves at start-up that the key is still the same.
    Proof,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Device => "wa-device",
            Self::Ratchet => "wa-ratchet",
            Self::Prekey => "wa-prekey",
            Self::SignedPrekey => "wa-signed-prekey",
            Self::SenderKey => "wa-sender-key",
            Self::SyncKey => "wa-sync-key",
            Self::PollSecret => "poll-secret",
            Self::PuppetToken => "puppet-token",
            Self::Proof => "proof",
        }
    }
}

/// Why a sealed value could not be opened or made. A retry helps with none of them but the last.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It was sealed under another key, or changed since.
    #[error("the pickle_key differs from the one the database was sealed with")]
    WrongKey,
    /// It has not the form of a sealed value.
    #[error("a sealed value is cut short or of an unknown form")]
    Malformed,
    /// The value is longer than the cipher can take (256 GiB).
    #[error("a value is too long to be sealed")]
    TooLong,
    /// The database failed while the proof was read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Seals and opens values under the operator's key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

impl Sealer {
    /// A sealer under the configuration's `encryption.pickle_key`, any text.
    pub fn new(pickle_key: &str) -> Self {
        let mut key = [0; 32];
        // HKDF-SHA256 gives up to 8,160 bytes, so 32 can not fail.
        #[expect(clippy::expect_used, reason = "32 bytes are within HKDF's bound")]
        Hkdf::<Sha256>::new(Some(b"matrix-whatsapp"), pickle_key.as_bytes())
            .expand(b"database seal 1", &mut key)
            .expect("32 bytes are within HKDF's bound");
        Self { cipher: XChaCha20Poly1305::new(&key.into()) }
    }

    /// Checks at start-up that this is the key the database was sealed with; the first start leaves the proof.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] when it is another one; [`SealError::Store`] when the database fails.
    pub async fn prove(&self, store: &Store) -> Result<(), SealError> {
        const NAME: &str = "seal_proof";
        match store.find_meta(NAME).await? {
            Some(sealed) => self.open(Purpose::Proof, "", b"", &sealed).map(drop),
            None => Ok(store.put_meta(NAME, &self.seal(Purpose::Proof, "", b"", b"proof")?).await?),
        }
    }

    /// Seals `plain` for the row `row` of `owner`; 41 bytes longer than the plain text.
    ///
    /// # Errors
    /// [`SealError::TooLong`] only.
    pub fn seal(&self, purpose: Purpose, owner: &str, row: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let aad = associated(purpose, owner, row);
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: &aad })
            .map_err(|_| SealError::TooLong)?;
        let mut out = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        out.push(FORM);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what [`Sealer::seal`] made for the same purpose, owner and row.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] or [`SealError::Malformed`].
    pub fn open(&self, purpose: Purpose, owner: &str, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = sealed.strip_prefix(&[FORM]).ok_or(SealError::Malformed)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
        let aad = associated(purpose, owner, row);
        self.cipher
            .decrypt(XNonce::from_slice(nonce), Payload { msg: body, aad: &aad })
            .map_err(|_| SealError::WrongKey)
    }
}

/// Purpose, owner and row with their lengths, so that no two lists look alike.
fn associated(purpose: Purpose, owner: &str, row: &[u8]) -> Vec<u8> {
    let fields = [purpose.label().as_bytes(), owner.as_bytes(), row];
    let mut out = Vec::with_capacity(fields.iter().map(|field| field.len() + 8).sum());
    for field in fields {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    #[test]
    fn a_sealed_value_opens_only_where_it_belongs() {
        let sealer = Sealer::new("one");
        let sealed = sealer.seal(Purpose::Ratchet, "d1", b"row", b"secret").unwrap();
        assert_eq!(sealer.open(Purpose::Ratchet, "d1", b"row", &sealed).unwrap(), b"secret");
        assert_eq!(sealed.len(), b"secret".len() + 41);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let wrong = [
            sealer.open(Purpose::Prekey, "d1", b"row", &sealed),
            sealer.open(Purpose::Ratchet, "d2", b"row", &sealed),
            sealer.open(Purpose::Ratchet, "d1", b"other", &sealed),
            sealer.open(Purpose::Ratchet, "d1r", b"ow", &sealed),
            Sealer::new("two").open(Purpose::Ratchet, "d1", b"row", &sealed),
        ];
        for result in wrong {
            assert!(matches!(result, Err(SealError::WrongKey)), "{result:?}");
        }
        let mut bent = sealed.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert!(matches!(sealer.open(Purpose::Ratchet, "d1", b"row", &bent), Err(SealError::WrongKey)));
        assert!(matches!(sealer.open(Purpose::Ratchet, "d1", b"row", &sealed[..10]), Err(SealError::Malformed)));
        assert!(matches!(sealer.open(Purpose::Ratchet, "d1", b"row", b""), Err(SealError::Malformed)));
    }

    #[test]
    fn the_same_value_is_never_sealed_alike_twice() {
        let sealer = Sealer::new("one");
        assert_ne!(
            sealer.seal(Purpose::Device, "d", b"", b"x").unwrap(),
            sealer.seal(Purpose::Device, "d", b"", b"x").unwrap()
        );
    }

    on_both! { another_key_is_refused_at_start => another_key; }

    async fn another_key(store: Store) {
        Sealer::new("one").prove(&store).await.unwrap();
        Sealer::new("one").prove(&store).await.unwrap();
        let error = Sealer::new("two").prove(&store).await.unwrap_err();
        assert_eq!(error.to_string(), "the pickle_key differs from the one the database was sealed with");
    }
}
