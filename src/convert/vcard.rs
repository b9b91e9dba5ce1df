//! Contact cards (RFC 6350 and its ancestors): enough to show whose card it is, and to take one apart from another.
//!
//! Cards are passed on as they came; only names and numbers are read. Sizes, lines and cards are bounded.

use super::words;

/// Bytes of all cards of one message.
pub const MAX_BYTES: usize = 1 << 20;
/// Cards of one message, as the phone takes them.
pub const MAX_CARDS: usize = 257;
/// Lines looked at in one card; a photo has thousands.
const MAX_LINES: usize = 20_000;
/// Numbers and addresses shown of one card.
const MAX_VALUES: usize = 20;

/// A card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What it says, from `BEGIN` to `END`.
    pub text: String,
    /// Whose it is, one line; empty when it does not say so.
    pub name: String,
    /// Telephone numbers as written, each one line.
    pub phones: Vec<String>,
    /// Addresses for electronic mail.
    pub mails: Vec<String>,
}

/// The cards in a text. Text outside of cards is skipped; a card without an end ends with the text.
pub fn read(text: &str) -> Vec<Card> {
    let text = words::cut(text, MAX_BYTES);
    let mut cards = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        let word = line.trim();
        if open.is_none() && word.eq_ignore_ascii_case("BEGIN:VCARD") {
            open = Some(Vec::new());
        } else if word.eq_ignore_ascii_case("END:VCARD") {
            if let Some(lines) = open.take() {
                cards.push(card(&lines));
            }
        } else if let Some(lines) = &mut open {
            lines.push(line);
        }
        if cards.len() >= MAX_CARDS {
            return cards;
        }
    }
    cards.extend(open.map(|lines| card(&lines)));
    cards
}

/// A card made of a name and numbers, for contacts that come without one.
pub fn write(name: &str, phones: &[String]) -> String {
    let escape = |text: &str| words::line(text, 200).replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;");
    let mut out = format!("BEGIN:VCARD\nVERSION:3.0\nN:;{0};;;\nFN:{0}\n", escape(name));
    for phone in phones {
        out.push_str(&format!("TEL:{}\n", escape(phone)));
    }
    out.push_str("END:VCARD");
    out
}

fn card(lines: &[&str]) -> Card {
    let mut text = String::from("BEGIN:VCARD\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("END:VCARD");
    let mut card = Card { text: words::clean(&text), name: String::new(), phones: Vec::new(), mails: Vec::new() };
    let (mut structured, mut organization) = (String::new(), String::new());
    for line in unfold(lines) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let name = key.split(';').next().unwrap_or_default();
        // `item1.TEL` groups a number with its label.
        let name = name.rsplit('.').next().unwrap_or_default().to_ascii_uppercase();
        let value = if key.to_ascii_uppercase().contains("QUOTED-PRINTABLE") {
            quoted_printable(value)
        } else {
            value.to_owned()
        };
        let shown = || words::line(&unescape(&value), 200);
        match name.as_str() {
            "FN" if card.name.is_empty() => card.name = shown(),
            "N" if structured.is_empty() => structured = full_name(&value),
            "ORG" if organization.is_empty() => organization = shown().trim_matches(';').replace(';', ", "),
            "TEL" if card.phones.len() < MAX_VALUES => {
                card.phones.push(shown().trim_start_matches("tel:").to_owned());
            }
            "EMAIL" if card.mails.len() < MAX_VALUES => card.mails.push(shown()),
            _ => {}
        }
    }
    card.phones.retain(|phone| !phone.is_empty());
    card.mails.retain(|mail| !mail.is_empty());
    for otherwise in [structured, organization] {
        if card.name.is_empty() {
            card.name = otherwise;
        }
    }
    card
}

/// Lines put together again: one that begins with a blank belongs to the one before.
fn unfold(lines: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in lines.iter().take(MAX_LINES) {
        match (line.strip_prefix([' ', '\t']), out.last_mut()) {
            // Only what is read matters; a folded photo is not put together.
            (Some(rest), Some(last)) if last.len() < 4_000 => last.push_str(rest),
            (Some(_), Some(_)) => {}
            _ => out.push((*line).to_owned()),
        }
    }
    out
}

/// `N` has family, given, additional names, prefixes, suffixes.
fn full_name(value: &str) -> String {
    let pieces: Vec<String> = split_unescaped(value).iter().map(|piece| words::line(&unescape(piece), 100)).collect();
    let order = [3, 1, 2, 0, 4];
    let named: Vec<&str> =
        order.iter().filter_map(|at| pieces.get(*at)).map(String::as_str).filter(|piece| !piece.is_empty()).collect();
    named.join(" ")
}

fn split_unescaped(value: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut escaped = false;
    for c in value.chars() {
        if c == ';' && !escaped {
            out.push(String::new());
        } else if let Some(last) = out.last_mut() {
            last.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    out
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(next) => out.push(next),
                None => {}
            },
            _ => out.push(c),
        }
    }
    out
}

/// vCard 2.1 writes letters beyond ASCII as `=C3=A4`.
fn quoted_printable(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let digits = (byte == b'=').then(|| bytes.clone().take(2).map(char::from).collect::<String>());
        match digits.and_then(|digits| (digits.len() == 2).then(|| u8::from_str_radix(&digits, 16).ok())?) {
            Some(decoded) => {
                out.push(decoded);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_numbers_are_found() {
        let cards = read(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Doe;Jane;;Dr.;\r\nFN:Jane\\, the first\r\nitem1.TEL;waid=15550100:+1 555 0\r\n 100\r\nEMAIL:j@a.example\r\nEND:VCARD\r\n",
        );
        assert_eq!(cards.len(), 1);
        assert_eq!(
            (cards[0].name.as_str(), &cards[0].phones[..]),
            ("Jane, the first", &["+1 555 0100".to_owned()][..])
        );
        assert_eq!(cards[0].mails, ["j@a.example"]);
        let old = read("BEGIN:VCARD\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=\nEND:VCARD");
        assert_eq!(old[0].name, "J= Müller");
    }

    #[test]
    fn names_are_one_line_without_disguise() {
        let card = &read("BEGIN:VCARD\nFN:a\\nb\u{2028}c\u{0}\u{202e}d\nTEL:1\\n2\nEND:VCARD")[0];
        assert_eq!(card.name, "a b c d");
        assert_eq!(card.phones, ["1 2"]);
        assert!(!card.text.contains('\u{0}'));
    }

    #[test]
    fn cards_are_bounded() {
        let many = "BEGIN:VCARD\nFN:x\nEND:VCARD\n".repeat(1_000);
        assert_eq!(read(&many).len(), MAX_CARDS);
        let long = format!("BEGIN:VCARD\nPHOTO:{}\nFN:x\nEND:VCARD", "a\n b".repeat(400_000));
        assert!(read(&long)[0].text.len() <= MAX_BYTES + 100);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(BEGIN:VCARD\n|END:VCARD\n|FN:|N:|TEL;|=|\\\\|\n |\\PC){0,60}") {
            for card in read(&text) {
                prop_assert!(card.name.chars().count() <= 600);
            }
        }

        #[test]
        fn a_written_card_is_read_again(name in "[a-zA-Z;,\\\\ ]{0,30}", phone in "\\+[0-9]{3,12}") {
            let cards = read(&write(&name, std::slice::from_ref(&phone)));
            prop_assert_eq!(&cards[0].name, &words::line(&name, 200));
            prop_assert_eq!(&cards[0].phones, &[phone]);
        }
    }
}
