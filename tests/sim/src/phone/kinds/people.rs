//! Address book entries.

use serde::Deserialize;
use serde_json::{Value, json};

/// An address book entry.
#[derive(Clone, Debug, Deserialize)]
pub struct Card {
    /// The name to show.
    pub name: String,
    /// The phone number, digits.
    pub number: String,
}

impl Card {
    /// The entry as a contact message.
    pub fn message(&self) -> Value {
        let Self { name, number } = self;
        let vcard = format!(
            "BEGIN:VCARD\nVERSION:3.0\nN:;{name};;;\nFN:{name}\n\
             TEL;type=CELL;type=VOICE;waid={number}:+{number}\nEND:VCARD"
        );
        json!({ "displayName": name, "vcard": vcard })
    }
}

/// Several entries in one message.
pub fn contacts(cards: &[Card]) -> Value {
    let all: Vec<Value> = cards.iter().map(Card::message).collect();
    json!({ "contactsArrayMessage": { "displayName": format!("{} contacts", all.len()), "contacts": all } })
}
