//! Identities: newtypes with private insides, parsed once at the edge.
//!
//! No plain `String` id crosses a function boundary inside the bridge, so a login can not be passed where a
//! chat is meant. All of them print as their text through [`std::fmt::Display`]; WhatsApp ids belong into logs
//! only behind [`crate::masked`].

use std::fmt;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is stored in the database or was given by the network's own library.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text, as stored.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A linked WhatsApp device as people name it: the phone number's digits at pairing.
    LoginId
);
text_id!(
    /// One WhatsApp chat: bare id with its server, LID when known (`123@lid`, `456@s.whatsapp.net`, `789@g.us`).
    ChatId
);
text_id!(
    /// One WhatsApp person: bare id with its server, LID when known, never with a device.
    GhostId
);
text_id!(
    /// WhatsApp's id of a message; unique only together with chat and sender.
    WaMessageId
);
text_id!(
    /// Key of the client library's rows of one linked device; random, given before pairing.
    DeviceKey
);
text_id!(
    /// An ordered queue of inbox rows: rows of one lane are worked on one after the other.
    Lane
);

// Ids of people and chats do not print themselves into logs by accident: `{:?}` shows the kind only.
macro_rules! quiet_debug {
    ($($name:ident),*) => { $(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )* };
}
quiet_debug!(LoginId, ChatId, GhostId, WaMessageId, DeviceKey, Lane);

impl ChatId {
    /// Whether it is a group's, whose room several logins may share.
    pub fn is_group(&self) -> bool {
        self.0.ends_with("@g.us")
    }

    /// Whether it is a channel's, whose room several logins may share.
    pub fn is_channel(&self) -> bool {
        self.0.ends_with("@newsletter")
    }

    /// Whether it is where status posts go, a chat of its own for each login.
    pub fn is_status(&self) -> bool {
        self.0 == "status@broadcast"
    }
}

/// A chat's number inside this installation; an ordered id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortalId(i64);

impl PortalId {
    /// Takes the number as stored.
    pub fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number, as stored.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for PortalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Lane {
    /// What goes into one room: messages from WhatsApp, and what the bridge itself has to say there.
    pub fn into_matrix(portal: PortalId) -> Self {
        Self(format!("m:{portal}"))
    }

    /// What one person said in one room: messages for WhatsApp, or commands. One lane per person, so that an
    /// offline login holds up nobody else.
    pub fn from_person(room: &str, sender: &str) -> Self {
        Self(format!("x:{room}:{sender}"))
    }

    /// Read marks of one person; apart from their messages, so that neither waits for the other.
    pub fn read_marks(room: &str, sender: &str) -> Self {
        Self(format!("r:{room}:{sender}"))
    }

    /// Whether a person's words stand in it, whose order depends on what the homeserver has delivered so far.
    pub fn is_of_a_person(&self) -> bool {
        self.0.starts_with("x:") || self.0.starts_with("r:")
    }
}
