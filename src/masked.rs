//! What may be printed: [`Masked`] stands for a WhatsApp id, number or name in a log line, [`Secret`] holds a
//! token or key.
//!
//! Promise: neither prints what it stands for, through `Display`, `Debug` or serialisation (there is none).
//! Matrix ids may be printed as they are; WhatsApp ids, phone numbers and names may not.
//! Owns the masking key of this process, set once at start by [`set_key`] from a secret of the install, so
//! that the same person has the same mask in every line of every run.
//! Nothing is stored: death in the middle changes nothing. Called by every floor.

use std::fmt;
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer};
use sha2::Sha256;

/// The masking key of this process; absent until [`set_key`].
static KEY: OnceLock<Key> = OnceLock::new();

/// What the key of the masks is derived for, so that the same secret may serve other purposes.
const PURPOSE: &[u8] = b"matrix-whatsapp log masks 1";

/// A masking key, derived from a secret of the install.
#[derive(Clone)]
struct Key([u8; 32]);

impl Key {
    fn derive(secret: &[u8]) -> Self {
        Self(keyed_hash(secret, PURPOSE))
    }
}

/// Sets the masking key of this process from a secret of the install (the pickle key). The first call wins;
/// returns whether this one was it.
pub fn set_key(secret: &[u8]) -> bool {
    KEY.set(Key::derive(secret)).is_ok()
}

/// A WhatsApp id, phone number or name that may be printed: a short keyed hash, `wa:7f3a90c1`, the same within
/// one install. Made before [`set_key`] it prints `wa:…`.
///
/// The text itself is not kept, so it can't leak.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Masked(Option<[u8; 4]>);

impl Masked {
    /// Masks any text: a name, a push name, a message id.
    #[must_use]
    pub fn of(text: impl AsRef<str>) -> Self {
        Self::with_key(KEY.get(), text.as_ref())
    }

    /// Masks a WhatsApp JID, `user.agent:device@server`. All devices of one user have one mask, and it is the
    /// mask of their number where the user part is one.
    #[must_use]
    pub fn jid(jid: impl AsRef<str>) -> Self {
        Self::of(user_part(jid.as_ref()))
    }

    /// Masks a phone number, however it is written (`+`, spaces, dashes and parentheses do not count).
    #[must_use]
    pub fn phone(number: impl AsRef<str>) -> Self {
        let digits: String = number.as_ref().chars().filter(char::is_ascii_digit).collect();
        Self::of(digits)
    }

    fn with_key(key: Option<&Key>, text: &str) -> Self {
        Self(key.map(|key| {
            let [a, b, c, d, ..] = keyed_hash(&key.0, text.as_bytes());
            [a, b, c, d]
        }))
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some([a, b, c, d]) => write!(f, "wa:{a:02x}{b:02x}{c:02x}{d:02x}"),
            None => f.write_str("wa:…"),
        }
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The user of a JID, without agent, device and server.
fn user_part(jid: &str) -> &str {
    let user = jid.split('@').next().unwrap_or(jid);
    user.split([':', '.']).next().unwrap_or(user)
}

fn keyed_hash(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length (RFC 2104 section 2), so this can't fail.
    #[expect(clippy::unwrap_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// A token, key or password: prints `***` and can't be serialised. Its content is reached by
/// [`Secret::reveal`] alone, which is easy to search for.
#[derive(Clone, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value that must not be printed.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The content, for the one place that needs it.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::derive(b"an install")
    }

    fn mask(text: &str) -> String {
        Masked::with_key(Some(&key()), text).to_string()
    }

    #[test]
    fn a_mask_without_a_key_says_only_that_it_is_one() {
        assert_eq!(Masked::with_key(None, "15550001111").to_string(), "wa:…");
    }

    #[test]
    fn a_mask_is_stable_in_one_install_and_differs_in_another() {
        assert_eq!(mask("15550001111"), mask("15550001111"));
        assert_ne!(mask("15550001111"), mask("15550001112"));
        let other = Masked::with_key(Some(&Key::derive(b"another")), "15550001111").to_string();
        assert_ne!(mask("15550001111"), other);
    }

    #[test]
    fn the_devices_of_one_user_share_a_mask() {
        for jid in ["15550001111@s.whatsapp.net", "15550001111:12@s.whatsapp.net", "15550001111.1:3@lid"] {
            assert_eq!(user_part(jid), "15550001111", "{jid}");
        }
        assert_eq!(user_part("status@broadcast"), "status");
        assert_eq!(user_part(""), "");
    }

    #[test]
    fn a_secret_prints_stars() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.reveal(), "hunter2");
        let parsed: Secret<String> = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(parsed.reveal(), "hunter2");
    }

    proptest! {
        #[test]
        fn a_mask_has_one_shape_whatever_it_stands_for(text in ".*") {
            let mask = mask(&text);
            prop_assert_eq!(mask.len(), 11);
            prop_assert!(mask.starts_with("wa:"));
            prop_assert!(mask.chars().skip(3).all(|c| c.is_ascii_hexdigit()));
        }

        #[test]
        fn masking_a_jid_never_panics(jid in "[0-9a-z@:._-]{0,40}") {
            let masked = Masked::jid(&jid);
            prop_assert!(masked.to_string().starts_with("wa:"));
        }
    }
}
