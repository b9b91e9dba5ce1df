//! Fuzz functions for what reads strangers' bytes and words: markup, HTML, cards, voice shapes, polls, sticker notes.
//!
//! The golden cases are where each begins; they are changed at random until the time is over. Under `cargo test` each
//! takes a second, `cargo xtask test` gives them longer, and more can be had by `MATRIX_WHATSAPP_TEST_FUZZ_SECONDS`. The
//! seed is printed, and `MATRIX_WHATSAPP_TEST_FUZZ_SEED` repeats a run; an input that fails is printed in full, so that
//! it can become a golden case. [`super::wild`] is the short and shrinking kind of the same, for whole messages.

mod corpus;
mod run;

use super::incoming;
use super::markup::{html, marks, names::Names, read, show};
use super::outgoing::{self, Plan, Resolved};
use super::wild::look_at;
use super::{sticker, vcard, waveform};
use run::fuzz;
use serde_json::{Value, json};
use whatsapp_rust::prelude::{Jid, MessageBuilderExt as _, MessageField, wa};
use whatsapp_rust::waproto::codec::{message_decode, message_encoded_len, message_to_vec};

/// Letters that no mark and no escape is made of: whatever is done to a text, they stay.
fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).count()
}

#[test]
fn fuzz_markup() {
    fuzz("markup", &corpus::texts(), |input| {
        let text = input.text();
        let mut names = Names::none();
        names.add_person("15550101", "15550101@s.whatsapp.net", "<i>\"&");
        names.add_group("120363000000000001@g.us", "a & b".to_owned());
        let person = |id: &str| id.starts_with('1').then(|| ("@a:example.org".to_owned(), "A <b>".to_owned()));
        let blocks = read(&text, &names);
        let shown = show(&blocks, &person);
        assert!(shown.len() <= 200 + text.len() * 24, "{} bytes of {}", shown.len(), text.len());
        let alone = show(&read(&text, &Names::none()), &|_| None);
        assert_eq!(letters(&alone), letters(&text), "letters are lost or made up");
        assert!(marks::write(&blocks, &|_| None).len() <= 200 + text.len() * 8);
        look_at(&wa::Message::text(text), true);
    });
}

#[test]
fn fuzz_html() {
    fuzz("HTML", &corpus::html(), |input| {
        let text = input.text();
        if let Some(blocks) = html::read(&text) {
            let written = marks::write(&blocks, &|id| Some(format!("1555{}", id.len())));
            assert!(written.len() <= 200 + text.len() * 20, "{} bytes of {}", written.len(), text.len());
            assert!(!written.contains('\0'), "U+0000");
        }
        let content =
            json!({ "msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": text });
        look_at_event("m.room.message", &content);
    });
}

#[test]
fn fuzz_vcard() {
    fuzz("vCard", &corpus::cards(), |input| {
        let text = input.text();
        let cards = vcard::read(&text);
        assert!(cards.len() <= vcard::MAX_CARDS);
        for card in &cards {
            let shown = [&card.name].into_iter().chain(&card.phones).chain(&card.mails);
            for line in shown.clone() {
                assert!(line.chars().count() <= 1_000 && !line.contains(['\n', '\r', '\0']), "{line:?}");
            }
            assert!(shown.count() <= 41 && card.text.len() <= vcard::MAX_BYTES + 100);
            let own = vcard::write(&card.name, &card.phones);
            assert_eq!(vcard::read(&own).len(), 1, "a name ends its card: {own:?}");
        }
        let contact = |text: &str| wa::message::ContactMessage {
            display_name: Some(text.chars().take(30).collect()),
            vcard: Some(text.to_owned()),
            ..Default::default()
        };
        look_at(&wa::Message { contact_message: MessageField::some(contact(&text)), ..Default::default() }, true);
        let array =
            wa::message::ContactsArrayMessage { contacts: vec![contact(&text), contact("")], ..Default::default() };
        look_at(&wa::Message { contacts_array_message: MessageField::some(array), ..Default::default() }, true);
    });
}

#[test]
fn fuzz_waveform() {
    fuzz("waveform", &corpus::waveforms(), |input| {
        let bars = waveform::to_matrix(&input.bytes);
        assert!(bars.len() <= 120.min(input.bytes.len()) && bars.iter().all(|bar| *bar <= 1_024), "{bars:?}");
        let top = input.bytes.iter().max().map(|top| u64::from((*top).min(100)));
        assert_eq!(bars.iter().max().copied(), top.map(|top| (top * 1_024 + 50) / 100), "the loudest word is heard");
        let wide: Vec<u64> =
            input.bytes.chunks(8).map(|piece| piece.iter().fold(0, |bar, byte| bar << 8 | u64::from(*byte))).collect();
        let back = waveform::to_whatsapp(&wide);
        assert!(back.len() == if wide.is_empty() { 0 } else { waveform::BARS } && back.iter().all(|bar| *bar <= 100));
        let audio = wa::message::AudioMessage {
            ptt: Some(true),
            seconds: Some(1),
            waveform: Some(input.bytes.clone()),
            direct_path: Some("/x".into()),
            media_key: Some(vec![1; 32]),
            ..Default::default()
        };
        look_at(&wa::Message { audio_message: MessageField::some(audio), ..Default::default() }, true);
        let content = json!({
            "msgtype": "m.audio", "body": "x", "url": "mxc://a/b", "org.matrix.msc3245.voice": {},
            "org.matrix.msc1767.audio": { "duration": wide.first(), "waveform": wide },
        });
        look_at_event("m.room.message", &content);
    });
}

/// A poll's event is JSON: what is not that is read as protobuf.
#[test]
fn fuzz_poll() {
    fuzz("poll", &corpus::polls(), |input| {
        let Ok(value) = serde_json::from_slice::<Value>(&input.bytes) else {
            if let Ok(message) = message_decode(&input.bytes) {
                if let Some(facts) = incoming::poll_facts(&message) {
                    assert!(facts.options.len() <= 1_000, "{} options", facts.options.len());
                }
                look_at(&message, true);
            }
            return;
        };
        for kind in ["org.matrix.msc3381.poll.start", "org.matrix.msc3381.poll.response", "org.matrix.msc3381.poll.end"]
        {
            look_at_event(kind, &value);
        }
        if let Ok(Plan::Poll(poll)) = outgoing::plan("m.poll.start", &value) {
            let names: std::collections::HashSet<&String> = poll.options.iter().map(|(_, name)| name).collect();
            assert!((2..=12).contains(&poll.options.len()) && names.len() == poll.options.len(), "{poll:?}");
            assert!((1..=poll.options.len()).contains(&poll.max_selections) && !poll.question.is_empty(), "{poll:?}");
        }
    });
}

#[test]
fn fuzz_sticker() {
    fuzz("sticker", &corpus::stickers(), |input| {
        sticker::is_animated(&input.bytes);
        // As a file, and as the note of one that is otherwise well.
        for file in [input.bytes.clone(), corpus::webp(&input.bytes, true), corpus::webp(&input.bytes, false)] {
            let Some(note) = sticker::note(&file) else { continue };
            assert!(note.emoji.len() <= 3);
            let lines = [&note.label, &note.pack_id, &note.pack_name, &note.publisher].into_iter().flatten();
            for line in lines.chain(&note.emoji) {
                assert!(!line.is_empty() && line.chars().count() <= 100 && !line.contains(['\n', '\0']), "{line:?}");
            }
        }
    });
}

/// An event as it goes to WhatsApp: refused with words, or something that can be sent and read.
fn look_at_event(kind: &str, content: &Value) {
    let people = |_: &str| Some(Jid::pn("15550101"));
    let mut resolved = Resolved::new(&people);
    resolved.target = Some(super::golden::cases::key("T"));
    match outgoing::plan(kind, content) {
        Err(refusal) => assert!(!refusal.tell.is_empty() && refusal.tell.len() < 600, "{refusal:?}"),
        Ok(plan) => {
            if let Ok(Some(message)) = outgoing::build(&plan, &resolved) {
                assert!(message_encoded_len(&message) < 1 << 20);
                let again = message_decode(&message_to_vec(&message)).expect("what is sent can be read");
                look_at(&again, true);
            }
        }
    }
}
