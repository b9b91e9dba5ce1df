//! Small texts: what strangers wrote made safe to print, and numbers said in words.
//!
//! Names, titles and file names from WhatsApp are one line, bounded and free of characters that reorder or hide
//! others; message text keeps its own newlines and loses U+0000 only.

use std::fmt::Write as _;

/// Bytes of an address that is shown or linked.
const MAX_URL: usize = 2_000;
/// Characters of a file name, as file systems take them.
const MAX_FILE_NAME: usize = 120;

/// Text without U+0000, which neither Postgres nor Synapse stores.
pub fn clean(text: &str) -> String {
    text.replace('\u{0}', "\u{fffd}")
}

/// Whether a character hides, breaks lines or turns the reading direction around.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// One line of at most `max` characters: breaks and controls become spaces, spaces are single, ends are trimmed.
pub fn line(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut count = 0;
    let mut space = false;
    for c in text.chars() {
        if is_treacherous(c) || c.is_whitespace() {
            space = count > 0;
            continue;
        }
        if count + usize::from(space) >= max {
            // The last character gives way to the sign that something was cut.
            out.pop();
            out.push('…');
            break;
        }
        if std::mem::take(&mut space) {
            out.push(' ');
            count += 1;
        }
        out.push(c);
        count += 1;
    }
    out
}

/// A file name without folders, controls, leading dots or characters file systems refuse; `None` when nothing is left.
pub fn file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String =
        last.chars().map(|c| if matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { c }).collect();
    let flat = line(&kept, usize::MAX);
    let trimmed = flat.trim_matches(['.', ' ']);
    if trimmed.is_empty() {
        return None;
    }
    let length = trimmed.chars().count();
    if length <= MAX_FILE_NAME {
        return Some(trimmed.to_owned());
    }
    // The ending says what the file is: the middle is cut, not the end.
    let ending = trimmed.rsplit_once('.').map(|(_, ending)| ending).filter(|ending| ending.chars().count() <= 10);
    let tail = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
    let head: String = trimmed.chars().take(MAX_FILE_NAME - tail.chars().count()).collect();
    Some(format!("{head}{tail}"))
}

/// At most `max` bytes of whole characters.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A web address that may be shown as a link: `http` or `https`, bounded, without blanks and controls.
pub fn web_address(text: &str) -> Option<&str> {
    let text = text.trim();
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let is_web = lower.starts_with("http://") || lower.starts_with("https://");
    let safe = text.len() <= MAX_URL && !text.chars().any(|c| is_treacherous(c) || c.is_whitespace() || c == '"');
    (is_web && safe).then_some(text)
}

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

/// `0:07`, `3:20`, `1:02:03`.
pub fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A length of time in its greatest fitting unit: `24 hours`, `7 days`, `90 seconds`.
pub fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        s if s >= 86_400 * 2 && s % 86_400 == 0 => (s / 86_400, "day"),
        s if s >= 3_600 && s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s >= 60 && s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    count_of(count, unit)
}

/// `1 image`, `3 images`.
pub fn count_of(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A moment, seconds since 1970, in world time: `2026-11-20 18:00 UTC`. `None` outside of the years 1970 to 9999.
pub fn moment(seconds: i64) -> Option<String> {
    if !(0..253_402_300_800).contains(&seconds) {
        return None;
    }
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC"))
}

/// The civil date of a day counted from 1970-01-01 (the proleptic Gregorian calendar, in years that begin in March).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// An amount in thousandths with its currency: `12.50 EUR`.
pub fn money(thousandths: i64, currency: &str) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let whole = thousandths.unsigned_abs();
    let mut out = format!("{sign}{}.{:02}", whole / 1_000, whole % 1_000 / 10);
    let currency = line(currency, 8);
    if !currency.is_empty() {
        // Writing into a String can not fail.
        write!(out, " {currency}").ok();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_bounded_line() {
        assert_eq!(line(" a\n\u{2028}b\u{202e}c\u{0} ", 10), "a b c");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("abc", 3), "abc");
    }

    #[test]
    fn file_names_lose_folders_and_disguise() {
        assert_eq!(file_name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(file_name("C:\\a\\b.txt").as_deref(), Some("b.txt"));
        assert_eq!(file_name("invoice\u{202e}fdp.exe").as_deref(), Some("invoice fdp.exe"));
        assert_eq!(file_name("a\u{0}b.png").as_deref(), Some("a b.png"));
        assert_eq!(file_name(".bashrc").as_deref(), Some("bashrc"));
        assert_eq!(file_name("..."), None);
        let long = file_name(&format!("{}.pdf", "x".repeat(500))).unwrap();
        assert_eq!(long.chars().count(), MAX_FILE_NAME);
        assert!(long.ends_with(".pdf"));
    }

    #[test]
    fn only_web_addresses_are_linked() {
        assert_eq!(web_address(" https://a.example/x "), Some("https://a.example/x"));
        for bad in ["javascript:alert(1)", "file:///etc/passwd", "https://a b", "https://a\u{202e}b", "ftp://x", "htt"]
        {
            assert_eq!(web_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_are_told_in_world_time() {
        assert_eq!(moment(0).as_deref(), Some("1970-01-01 00:00 UTC"));
        assert_eq!(moment(951_827_696).as_deref(), Some("2000-02-29 12:34 UTC"));
        assert_eq!(moment(1_795_197_600).as_deref(), Some("2026-11-20 18:00 UTC"));
        assert_eq!(moment(-1), None);
        assert_eq!(moment(i64::MAX), None);
    }

    #[test]
    fn lengths_and_sums() {
        assert_eq!((clock(7), clock(3_723)), ("0:07".into(), "1:02:03".into()));
        assert_eq!((span(86_400), span(604_800), span(61)), ("24 hours".into(), "7 days".into(), "61 seconds".into()));
        assert_eq!((money(12_500, "EUR"), money(-50, "")), ("12.50 EUR".into(), "-0.05".into()));
    }
}
