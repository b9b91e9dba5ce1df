//! Finds what looks like a WhatsApp id or a phone number in a line and masks it. Pure but for the masking key.

use crate::masked::Masked;

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Our types mask ids, so long numbers are counts and times, and stay.
    Ours,
    /// Any long number may be somebody's.
    Library,
}

/// Servers of WhatsApp ids, those that begin with another one first.
const SERVERS: [&str; 9] =
    ["s.whatsapp.net", "hosted.lid", "hosted", "lid", "g.us", "c.us", "newsletter", "broadcast", "interop"];

/// The fewest digits of an id or of a number behind a plus sign.
const ID_DIGITS: usize = 5;

/// The fewest digits of a bare number that may be somebody's (ITU E.164 numbers are seldom shorter).
const BARE_DIGITS: usize = 7;

/// The line with ids and numbers masked and control characters escaped.
pub(super) fn redact(line: &str, origin: Origin) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    // The character before `rest`, for word boundaries.
    let mut before: Option<char> = None;
    while let Some(first) = rest.chars().next() {
        let (taken, mask) = match find_personal(rest, before, origin) {
            Some(found) => found,
            None => (plain_length(rest, first), None),
        };
        // Lengths come from whole characters of `rest`.
        let (head, tail) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        match mask {
            Some(mask) => out.push_str(&mask.to_string()),
            None => push_escaped(&mut out, head),
        }
        before = head.chars().next_back();
        rest = tail;
    }
    out
}

/// How much of the rest is copied at once: a run of digits is one piece, so that its middle is not looked at as
/// if a number began there.
fn plain_length(rest: &str, first: char) -> usize {
    if first.is_ascii_digit() { leading_digits(rest) } else { first.len_utf8() }
}

/// An id or number at the very start of the rest: its length and mask.
fn find_personal(rest: &str, before: Option<char>, origin: Origin) -> Option<(usize, Option<Masked>)> {
    if let Some(number) = rest.strip_prefix('+') {
        let length = phone_length(number)?;
        let server = server_length(number.get(length..)?);
        return Some((1 + length + server, Some(Masked::phone(number.get(..length)?))));
    }
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let user = rest.find(|c: char| !(c.is_ascii_digit() || ":._-".contains(c))).unwrap_or(rest.len());
    let (user, behind) = rest.split_at_checked(user)?;
    let server = server_length(behind);
    if server > 0 && count_digits(user) >= ID_DIGITS {
        return Some((user.len() + server, Some(Masked::jid(user))));
    }
    let digits = leading_digits(rest);
    let after = rest.get(digits..)?.chars().next();
    let stands_alone = !before.is_some_and(is_word) && !after.is_some_and(is_word);
    let is_long = origin == Origin::Library && digits >= BARE_DIGITS && stands_alone;
    is_long.then(|| (digits, Some(Masked::of(rest.get(..digits).unwrap_or_default()))))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn leading_digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

fn count_digits(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).count()
}

/// The length of a phone number as people write it, with single separators between digits; up to its last digit.
fn phone_length(text: &str) -> Option<usize> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '(') {
        return None;
    }
    let mut end = 0;
    let mut separators = 0;
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' => {
                end = at + 1;
                separators = 0;
            }
            // At most `) ` or ` (` between two digits.
            ' ' | '-' | '.' | '(' | ')' if separators < 2 => separators += 1,
            _ => break,
        }
    }
    let number = text.get(..end)?;
    (count_digits(number) >= ID_DIGITS).then_some(end)
}

/// The length of `@server` at the start of the text; 0 when it is none of WhatsApp's.
fn server_length(text: &str) -> usize {
    let Some(name) = text.strip_prefix('@') else {
        return 0;
    };
    SERVERS.iter().find(|server| name.starts_with(**server)).map_or(0, |server| 1 + server.len())
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Masks differ by key; here only where they stand counts.
    fn shape(line: &str, origin: Origin) -> String {
        let out = redact(line, origin);
        let mut pieces = out.split("wa:");
        let mut shape = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            shape.push('#');
            let tail = piece.strip_prefix('…').unwrap_or_else(|| piece.get(8..).unwrap_or_default());
            shape.push_str(tail);
        }
        shape
    }

    #[test]
    fn ids_of_every_kind_are_masked_whole() {
        for (line, want) in [
            ("from 15550001111@s.whatsapp.net!", "from #!"),
            ("15550001111:12@s.whatsapp.net", "#"),
            ("15550001111.0:12@lid", "#"),
            ("(100000012345678@lid)", "(#)"),
            ("100000012345678@hosted.lid,", "#,"),
            ("120363000000000000@g.us/x", "#/x"),
            ("15550001111-1600000000@g.us", "#"),
            ("+15550001111", "#"),
            ("+1 (555) 000-1111 rang", "# rang"),
            ("+15550001111@s.whatsapp.net", "#"),
            ("user15550001111@c.us", "user#"),
        ] {
            assert_eq!(shape(line, Origin::Library), want, "{line}");
            assert_eq!(shape(line, Origin::Ours), want, "{line}");
        }
    }

    #[test]
    fn what_is_no_id_stays() {
        for line in [
            "2026-11-20T10:37:16.123456Z  WARN x: took 1234 ms",
            "status@broadcast and 1@lid",
            "mail 15550001111@example.com.",
            "3EB0123456789ABCDEF0 +1234 + 55555",
            "@whatsapp_15550001111:example.com",
            "é+ü@lid",
        ] {
            assert_eq!(redact(line, Origin::Ours), line);
        }
    }

    #[test]
    fn bare_numbers_are_masked_in_the_librarys_lines_only() {
        for (line, want) in [
            ("user: \"15550001111\", device: 2", "user: \"#\", device: 2"),
            ("15550001111%40s.whatsapp.net", "#%40s.whatsapp.net"),
            ("id 3EB01234567890 and wid_15550001111", "id 3EB01234567890 and wid_15550001111"),
            ("2026-11-20T10:37:16.123456Z 123456", "2026-11-20T10:37:16.123456Z 123456"),
        ] {
            assert_eq!(shape(line, Origin::Library), want, "{line}");
            assert_eq!(redact(line, Origin::Ours), line, "{line}");
        }
    }

    #[test]
    fn a_line_can_not_be_broken_up() {
        assert_eq!(redact("a\r\nb\u{0}\u{1b}[1m\tc", Origin::Library), "a\\r\\nb\\u{0}\\u{1b}[1m\tc");
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{5,15}(:[0-9]{1,2})?@(s\\.whatsapp\\.net|lid|g\\.us)",
            "\\+[0-9]{5,15}",
            "[a-z+@:. ]{0,5}",
            "[0-9]{1,4}",
            "\\PC{0,3}",
        ]
    }

    proptest! {
        #[test]
        fn no_id_survives_whatever_stands_around_it(pieces in prop::collection::vec(piece(), 0..8), library: bool) {
            let origin = if library { Origin::Library } else { Origin::Ours };
            let shown = shape(&pieces.concat(), origin);
            for (at, c) in shown.char_indices() {
                let behind = shown.get(at + c.len_utf8()..).unwrap_or_default();
                if c == '+' {
                    prop_assert!(leading_digits(behind) < ID_DIGITS, "{}", shown);
                }
                if c == '@' && server_length(shown.get(at..).unwrap_or_default()) > 0 {
                    let front = shown.get(..at).unwrap_or_default();
                    let digits = front.chars().rev().take_while(char::is_ascii_digit).count();
                    prop_assert!(digits < ID_DIGITS, "{}", shown);
                }
            }
        }

        #[test]
        fn a_line_without_digits_or_controls_stays(line in "[^0-9\\p{Cc}]*") {
            prop_assert_eq!(redact(&line, Origin::Library), line);
        }
    }
}
