//! Contacts, one or many, as a file of cards with names and numbers beside it.

use super::frame::Frame;
use crate::convert::part::{MediaKind, MxPart, WaMedia, WaSource};
use crate::convert::vcard::{self, Card};
use crate::convert::words;
use serde_json::{Map, json};
use whatsapp_rust::prelude::wa;

/// Contacts named in the text beside the file; all are in the file.
const MAX_NAMED: usize = 20;

pub(super) fn contact(frame: &Frame<'_>, contact: &wa::message::ContactMessage) -> Vec<MxPart> {
    event(frame, &[card_of(contact)])
}

pub(super) fn contacts(frame: &Frame<'_>, array: &wa::message::ContactsArrayMessage) -> Vec<MxPart> {
    let cards: Vec<Card> = array.contacts.iter().take(vcard::MAX_CARDS).map(card_of).collect();
    if cards.is_empty() {
        return frame.notice("Contacts were shared, but none came with the message.");
    }
    event(frame, &cards)
}

/// The card of a contact; its display name is the sender's choice and goes first.
fn card_of(contact: &wa::message::ContactMessage) -> Card {
    let name = words::line(contact.display_name.as_deref().unwrap_or_default(), 200);
    let read = vcard::read(contact.vcard.as_deref().unwrap_or_default()).into_iter().next();
    let mut card = read.unwrap_or_else(|| Card {
        text: vcard::write(&name, &[]),
        name: String::new(),
        phones: Vec::new(),
        mails: Vec::new(),
    });
    if !name.is_empty() {
        card.name = name;
    }
    if card.name.is_empty() {
        card.name = card.phones.first().cloned().unwrap_or_else(|| "Contact".to_owned());
    }
    card
}

fn event(frame: &Frame<'_>, cards: &[Card]) -> Vec<MxPart> {
    let lines: Vec<String> = cards
        .iter()
        .take(MAX_NAMED)
        .map(|card| [vec![card.name.clone()], card.phones.clone(), card.mails.clone()].concat().join("\n"))
        .collect();
    let mut text = lines.join("\n\n");
    if cards.len() > MAX_NAMED {
        text.push_str(&format!("\n\nand {} more", cards.len() - MAX_NAMED));
    }
    let mut file = cards.iter().map(|card| card.text.as_str()).collect::<Vec<_>>().join("\n");
    file.push('\n');
    let title = match cards {
        [one] => words::file_name(&one.name).unwrap_or_else(|| "Contact".to_owned()),
        many => words::count_of(many.len() as u64, "contact"),
    };
    let mut content = Map::new();
    content.insert("msgtype".into(), "m.file".into());
    content.insert("info".into(), json!({ "mimetype": "text/vcard", "size": file.len() }));
    let media = WaMedia {
        kind: MediaKind::Contacts,
        source: WaSource::Inline(file.into_bytes()),
        mime: "text/vcard".to_owned(),
        name: format!("{title}.vcf"),
    };
    frame.literal_media(content, &text, media)
}
