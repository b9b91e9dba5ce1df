//! A WhatsApp message as the inbox keeps it, from the intake to the lane.
//!
//! The stored form is JSON with a version; reading takes every version ever written.

use super::absent::Absent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use whatsapp_rust::prelude::wa;
use whatsapp_rust::waproto::codec::{message_decode, message_to_vec};

/// What is kept of an incoming message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaArrival {
    /// Version of this form; 1.
    v: u32,
    /// Who wrote it: canonical id.
    pub sender: String,
    /// WhatsApp's message id.
    pub id: String,
    /// When it was sent, milliseconds since 1970.
    pub ts_ms: i64,
    /// Whether the login's own account wrote it, on another device.
    pub from_me: bool,
    /// The name the sender gave themselves; may be empty.
    pub push_name: String,
    /// The sender's verified business name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_name: Option<String>,
    /// Why the message is not there, where this only keeps its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
    /// The broadcast list it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The message itself, encoded.
    proto: String,
}

/// A stored message can not be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored message can not be read")]
pub struct Unreadable;

impl WaArrival {
    /// Packs a message with what is known about it.
    pub fn new(message: &wa::Message, about: About) -> Self {
        Self {
            v: 1,
            sender: about.sender,
            id: about.id,
            ts_ms: about.ts_ms,
            from_me: about.from_me,
            push_name: about.push_name,
            business_name: about.business_name,
            absent: None,
            list: None,
            proto: STANDARD.encode(message_to_vec(message)),
        }
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings and numbers always serializes.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not one; a retry will not help.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(|_| Unreadable)
    }

    /// The message.
    ///
    /// # Errors
    /// [`Unreadable`] when it does not decode; a retry will not help.
    pub fn message(&self) -> Result<wa::Message, Unreadable> {
        let bytes = STANDARD.decode(&self.proto).map_err(|_| Unreadable)?;
        message_decode(&bytes).map_err(|_| Unreadable)
    }
}

/// What is known about a message besides its content; see [`WaArrival`].
#[derive(Debug, Clone, Default)]
pub struct About {
    /// See [`WaArrival::sender`].
    pub sender: String,
    /// See [`WaArrival::id`].
    pub id: String,
    /// See [`WaArrival::ts_ms`].
    pub ts_ms: i64,
    /// See [`WaArrival::from_me`].
    pub from_me: bool,
    /// See [`WaArrival::push_name`].
    pub push_name: String,
    /// See [`WaArrival::business_name`].
    pub business_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::prelude::MessageBuilderExt;

    #[test]
    fn stored_form_stays_readable() {
        let about = About {
            sender: "1@lid".into(),
            id: "A".into(),
            ts_ms: 5,
            from_me: false,
            push_name: "N".into(),
            business_name: None,
        };
        let arrival = WaArrival::new(&wa::Message::text("hi\u{0}"), about);
        // The form version 1 was stored in; never to be edited.
        let stored =
            r#"{"v":1,"sender":"1@lid","id":"A","ts_ms":5,"from_me":false,"push_name":"N","proto":"CgNoaQA="}"#;
        assert_eq!(String::from_utf8(arrival.to_bytes()).unwrap(), stored);
        let back = WaArrival::from_bytes(stored.as_bytes()).unwrap();
        assert_eq!(back, arrival);
        assert_eq!(back.message().unwrap(), wa::Message::text("hi\u{0}"));
        assert!(WaArrival::from_bytes(b"not json").is_err());
    }
}
