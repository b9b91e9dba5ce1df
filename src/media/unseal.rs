//! Files of encrypted events: read on the way in (CS-API, "Sending encrypted attachments").

use aes::Aes256;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Opens one encrypted file, piece by piece.
pub struct Unsealer {
    cipher: Ctr128BE<Aes256>,
    hash: Sha256,
    known: [u8; 32],
}

impl Unsealer {
    /// Made from an event's `file` object; `None` when it is not of the one known form (`v2`).
    pub fn new(file: &Value) -> Option<Self> {
        let text = |value: &'_ Value| value.as_str().map(str::to_owned);
        let key = &file["key"];
        if file["v"] != "v2" || key["alg"] != "A256CTR" {
            return None;
        }
        let secret: [u8; 32] = BASE64_URL.decode(text(&key["k"])?).ok()?.try_into().ok()?;
        let start: [u8; 16] = BASE64.decode(text(&file["iv"])?).ok()?.try_into().ok()?;
        let known: [u8; 32] = BASE64.decode(text(&file["hashes"]["sha256"])?).ok()?.try_into().ok()?;
        Some(Self { cipher: Ctr128BE::new(&secret.into(), &start.into()), hash: Sha256::new(), known })
    }

    /// Opens the next piece.
    pub fn open(&mut self, piece: &mut [u8]) {
        self.hash.update(&*piece);
        self.cipher.apply_keystream(piece);
    }

    /// Whether all pieces together were the file that was sent. What was opened before is worth nothing if not.
    pub fn was_whole(self) -> bool {
        let found: [u8; 32] = self.hash.finalize().into();
        found.ct_eq(&self.known).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Sealed by OpenSSL (`enc -aes-256-ctr`): thrice `0123456789abcdef`, key 00…1f, the counter begins with 01…08 and
    /// eight zero bytes.
    const SEALED: &str =
        "555349e213c16356b7c0b192e2bb48d2d490718f65124c3705bcb7e039b56ad4ba2e1c83b922c35cb4f1b53f179aaa30";

    fn sealed() -> (Vec<u8>, Value) {
        let bytes: Vec<u8> =
            (0..SEALED.len()).step_by(2).map(|at| u8::from_str_radix(&SEALED[at..at + 2], 16).unwrap()).collect();
        let (key, iv): ([u8; 32], [u8; 16]) =
            (std::array::from_fn(|i| i as u8), std::array::from_fn(|i| if i < 8 { i as u8 + 1 } else { 0 }));
        let hash = Sha256::digest(&bytes);
        let no_pad = base64::engine::general_purpose::STANDARD_NO_PAD;
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let file = json!({
            "v": "v2", "url": "mxc://test.local/a",
            "key": { "kty": "oct", "alg": "A256CTR", "ext": true, "key_ops": ["encrypt", "decrypt"], "k": url.encode(key) },
            "iv": no_pad.encode(iv), "hashes": { "sha256": no_pad.encode(hash) },
        });
        (bytes, file)
    }

    #[test]
    fn a_file_is_opened_in_pieces_of_any_size() {
        for size in [1, 7, 16, 48] {
            let (mut bytes, file) = sealed();
            let mut unsealer = Unsealer::new(&file).unwrap();
            bytes.chunks_mut(size).for_each(|piece| unsealer.open(piece));
            assert_eq!(bytes, "0123456789abcdef".repeat(3).as_bytes());
            assert!(unsealer.was_whole());
        }
    }

    #[test]
    fn a_changed_or_cut_file_is_found_out() {
        let (mut bytes, file) = sealed();
        bytes[40] ^= 1;
        let mut unsealer = Unsealer::new(&file).unwrap();
        unsealer.open(&mut bytes);
        assert!(!unsealer.was_whole());
        let (mut bytes, file) = sealed();
        let mut unsealer = Unsealer::new(&file).unwrap();
        unsealer.open(&mut bytes[..47]);
        assert!(!unsealer.was_whole());
    }

    #[test]
    fn a_form_that_is_not_known_is_refused() {
        let (_, file) = sealed();
        for (at, value) in
            [("/v", json!("v1")), ("/key/alg", json!("A128CTR")), ("/key/k", json!("c2hvcnQ")), ("/iv", json!(7))]
        {
            let mut other = file.clone();
            *other.pointer_mut(at).unwrap() = value;
            assert!(Unsealer::new(&other).is_none(), "{at}");
        }
        assert!(Unsealer::new(&Value::Null).is_none());
    }
}
