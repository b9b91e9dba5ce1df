//! Fixed names made from facts: the same input gives the same name for the life of an installation.
//!
//! That is what makes a repeated step harmless: a retry sends the same transaction id, the same WhatsApp id and
//! asks for the same alias. All names are keyed with a secret of the installation, so that nobody can find out
//! by guessing whether a number or a chat is bridged here.

use crate::ids::{ChatId, GhostId, LoginId, PortalId, WaMessageId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What the identity of an arrival begins with that no network repeats after 30 days.
pub const SWEPT: &str = "s";

/// Makes names; holds the installation's key. Cheap to clone.
#[derive(Clone)]
pub struct Derive {
    key: [u8; 32],
}

impl Derive {
    /// A maker of names with the installation's own key (table `meta`, made at first start).
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// Keyed hash over labelled fields; each field is preceded by its length, so no two lists collide.
    fn hash(&self, label: &str, fields: &[&[u8]]) -> [u8; 32] {
        // HMAC takes a key of any length, so this can not fail.
        #[expect(clippy::expect_used, reason = "HMAC accepts keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any key length");
        for field in std::iter::once(&label.as_bytes()).chain(fields) {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }

    /// Transaction id of one Matrix event made out of a WhatsApp message.
    /// The ghost is part of it: Synapse keeps them per path and application service, not per sender.
    pub fn mx_txn(&self, portal: PortalId, ghost: &GhostId, message: &WaMessageId, part: i64) -> String {
        let hash = self.hash(
            "mx-txn",
            &[&portal.get().to_be_bytes(), ghost.as_str().as_bytes(), message.as_str().as_bytes(), &part.to_be_bytes()],
        );
        format!("wa-{}", hex(&hash[..20]))
    }

    /// Transaction id of something the bridge itself says, named by what caused it.
    pub fn notice_txn(&self, cause: &str, which: &str) -> String {
        format!("wan-{}", hex(&self.hash("notice-txn", &[cause.as_bytes(), which.as_bytes()])[..20]))
    }

    /// What makes a merge of two portals the same as another.
    pub fn merge_dedup(&self, old: PortalId, new: PortalId) -> String {
        format!("k{}", hex(&self.hash("merge", &[&old.get().to_be_bytes(), &new.get().to_be_bytes()])[..20]))
    }

    /// Id of the WhatsApp message made out of a Matrix event: `3EB0` and capital hex, the usual shape of a web
    /// client's ids.
    pub fn wa_message(&self, login: &LoginId, event_id: &str, part: i64) -> WaMessageId {
        let hash = self.hash("wa-message", &[login.as_str().as_bytes(), event_id.as_bytes(), &part.to_be_bytes()]);
        WaMessageId::new(format!("3EB0{}", hex(&hash[..9]).to_uppercase()))
    }

    /// The secret inside a WhatsApp message of ours (votes and encrypted edits hang on it); 32 bytes, equal on
    /// every retry.
    pub fn wa_message_secret(&self, login: &LoginId, message: &WaMessageId) -> [u8; 32] {
        self.hash("wa-secret", &[login.as_str().as_bytes(), message.as_str().as_bytes()])
    }

    /// The key a file of a WhatsApp message of ours is sealed with; 32 bytes, equal on every retry, so that the same
    /// upload again is the same file.
    pub fn wa_media_key(&self, login: &LoginId, message: &WaMessageId) -> [u8; 32] {
        self.hash("wa-media-key", &[login.as_str().as_bytes(), message.as_str().as_bytes()])
    }

    /// Tail of a chat's room alias, without the prefix of the namespace. The owner of a direct chat's login is part
    /// of it: when the same WhatsApp account is linked by another person, they never get the first one's rooms.
    pub fn alias(&self, chat: &ChatId, receiver: Option<&LoginId>, owner: &str) -> String {
        let receiver = receiver.map_or("", LoginId::as_str);
        hex(&self.hash("alias", &[chat.as_str().as_bytes(), receiver.as_bytes(), owner.as_bytes()])[..16])
    }

    /// Tail of the alias of a login's space. Its owner is part of it, as in [`Derive::alias`].
    pub fn space_alias(&self, login: &LoginId, owner: &str) -> String {
        hex(&self.hash("space-alias", &[login.as_str().as_bytes(), owner.as_bytes()])[..16])
    }

    /// Mark inside an event's content by which the bridge knows its own work again.
    pub fn marker(&self, portal: PortalId, sender: &GhostId, message: &WaMessageId, part: i64) -> String {
        let hash = self.hash(
            "marker",
            &[
                &portal.get().to_be_bytes(),
                sender.as_str().as_bytes(),
                message.as_str().as_bytes(),
                &part.to_be_bytes(),
            ],
        );
        hex(&hash[..16])
    }

    /// Mark inside what is sent as a person's own account, named by its transaction id: by it the event is known when it
    /// comes back.
    pub fn puppet_mark(&self, txn: &str) -> String {
        hex(&self.hash("puppet-mark", &[txn.as_bytes()])[..16])
    }

    /// What makes two arrivals from WhatsApp the same one. A group or a channel has one room, so what several logins hear of it is one
    /// arrival.
    pub fn wa_dedup(
        &self,
        login: &LoginId,
        chat: &ChatId,
        sender: &GhostId,
        message: &WaMessageId,
        kind: &str,
    ) -> String {
        let hearer = if chat.is_group() || chat.is_channel() { "" } else { login.as_str() };
        let hash = self.hash(
            "wa-dedup",
            &[
                hearer.as_bytes(),
                chat.as_str().as_bytes(),
                sender.as_str().as_bytes(),
                message.as_str().as_bytes(),
                kind.as_bytes(),
            ],
        );
        format!("{SWEPT}{}", hex(&hash[..20]))
    }

    /// What makes two arrivals from Matrix the same one: an event's id, or a receipt's (room, user, event), behind
    /// the word `event` or `receipt`. The homeserver may repeat an event hours and days later, so those are kept
    /// for good; the others begin with [`SWEPT`].
    pub fn mx_dedup(&self, what: &[&str]) -> String {
        let fields: Vec<&[u8]> = what.iter().map(|field| field.as_bytes()).collect();
        let kept = what.first() == Some(&"event");
        format!("{}{}", if kept { "k" } else { SWEPT }, hex(&self.hash("mx-dedup", &fields)[..20]))
    }
}

/// Hash of a transaction's body: tells a repeat from a new homeserver that counts from one again.
pub fn body_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Lower-case hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String can not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive() -> Derive {
        Derive::new([7; 32])
    }

    #[test]
    fn names_differ_when_any_fact_differs() {
        let d = derive();
        let portal = PortalId::new(1);
        let ghost = GhostId::new("1@lid");
        let id = WaMessageId::new("A");
        let base = d.mx_txn(portal, &ghost, &id, 0);
        assert_eq!(base, d.mx_txn(portal, &ghost, &id, 0));
        assert_ne!(base, d.mx_txn(PortalId::new(2), &ghost, &id, 0));
        assert_ne!(
            base,
            d.mx_txn(portal, &GhostId::new("2@lid"), &id, 0),
            "two ghosts may never share a transaction id"
        );
        assert_ne!(base, d.mx_txn(portal, &ghost, &WaMessageId::new("B"), 0));
        assert_ne!(base, d.mx_txn(portal, &ghost, &id, 1));
        assert_ne!(base, Derive::new([8; 32]).mx_txn(portal, &ghost, &id, 0));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let d = derive();
        assert_ne!(d.mx_dedup(&["ab", "c"]), d.mx_dedup(&["a", "bc"]));
    }

    proptest::proptest! {
        #[test]
        fn no_two_chats_share_an_alias(
            one in ("[0-9]{0,5}(@lid|@g.us|@s.whatsapp.net)?", proptest::option::of("[0-9]{0,3}"), "[@:a-c]{0,3}"),
            other in ("[0-9]{0,5}(@lid|@g.us|@s.whatsapp.net)?", proptest::option::of("[0-9]{1,3}"), "[@:a-c]{0,3}"),
        ) {
            proptest::prop_assume!(one != other);
            let d = derive();
            let alias = |(chat, receiver, owner): &(String, Option<String>, String)| {
                let receiver = receiver.as_deref().filter(|receiver| !receiver.is_empty()).map(LoginId::new);
                (d.alias(&ChatId::new(chat.as_str()), receiver.as_ref(), owner), receiver)
            };
            let ((first, by), (second, than)) = (alias(&one), alias(&other));
            // A login without a name is none.
            if (&one.0, by, &one.2) != (&other.0, than, &other.2) {
                proptest::prop_assert_ne!(first, second);
            }
        }
    }

    #[test]
    fn whatsapp_ids_have_the_usual_shape() {
        let id = derive().wa_message(&LoginId::new("1"), "$event", 0);
        assert_eq!(id.as_str().len(), 22);
        assert!(id.as_str().starts_with("3EB0"));
        assert!(id.as_str().bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
    }
}
