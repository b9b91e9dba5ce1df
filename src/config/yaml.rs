//! Writing YAML by hand, where comments and order count: one-line scalars, and secrets put into an operator's
//! file without touching anything else in it. Pure.

use serde_yaml::{Mapping, Value};

use super::keys::{Kind, find_key, leaf, parent};

/// A text as a YAML scalar on one line: plain where that is safe, else in single quotes, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./:".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with(':')
        // Synapse reads YAML 1.1, where these words are truth values.
        && !["y", "n", "yes", "no", "on", "off"].contains(&text.to_lowercase().as_str())
        && matches!(serde_yaml::from_str(text), Ok(Value::String(read)) if read == text);
    if is_plain {
        text.to_owned()
    } else if text.chars().all(is_printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        format!("\"{}\"", text.chars().map(escape).collect::<String>())
    }
}

fn is_printable(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric()
}

/// YAML 1.2 section 5.7.
fn escape(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_printable(c) => c.to_string(),
        c => format!("\\U{:08X}", u32::from(c)),
    }
}

/// Why secrets could not be put into a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditFault {
    /// The file is no YAML mapping.
    #[error("it is no YAML with keys")]
    NoMapping,
    /// The text is written in a way the editor does not follow.
    #[error(
        "the section `{0}` is written in a form that can't be edited; write its keys below it, one per line, indented"
    )]
    Form(String),
}

/// Puts values at paths that hold none yet, keeping everything else in the text as it is: order, comments,
/// spacing, line endings. JSON is written anew, in its order.
///
/// The result is parsed again and compared, so a text this does not understand is refused, never damaged.
///
/// # Errors
/// [`EditFault`]: the text was not changed; trying again does not help.
pub(super) fn put_values(text: &str, values: &[(&str, String)]) -> Result<String, EditFault> {
    let mut wanted = parse(text)?;
    for (path, value) in values {
        if !put_in_tree(&mut wanted, path, value) {
            return Err(EditFault::Form(parent(path).to_owned()));
        }
    }
    if text.trim_start().starts_with('{') {
        let json = serde_json::to_string_pretty(&wanted).map_err(|_| EditFault::NoMapping)?;
        return Ok(json + "\n");
    }
    let mut edited = text.to_owned();
    for (path, value) in values {
        edited = put_line(&edited, path, value);
    }
    if parse(&edited).is_ok_and(|found| same(&found, &wanted)) {
        return Ok(edited);
    }
    let section = values.first().map(|(path, _)| parent(path).to_owned()).unwrap_or_default();
    Err(EditFault::Form(section))
}

fn parse(text: &str) -> Result<Mapping, EditFault> {
    match serde_yaml::from_str(text) {
        Ok(Value::Mapping(mapping)) => Ok(mapping),
        Ok(Value::Null) => Ok(Mapping::new()),
        _ => Err(EditFault::NoMapping),
    }
}

/// Equal but for the order of keys.
fn same(a: &Mapping, b: &Mapping) -> bool {
    a.len() == b.len()
        && a.iter().all(|(key, left)| match (left, b.get(key)) {
            (Value::Mapping(left), Some(Value::Mapping(right))) => same(left, right),
            (left, right) => right == Some(left),
        })
}

/// Whether there was a place for it.
fn put_in_tree(tree: &mut Mapping, path: &str, value: &str) -> bool {
    match path.split_once('.') {
        None => {
            tree.insert(Value::from(path), Value::from(value));
            true
        }
        Some((section, rest)) => {
            let inner = tree.entry(Value::from(section)).or_insert(Value::Null);
            if inner.is_null() {
                *inner = Value::Mapping(Mapping::new());
            }
            match inner {
                Value::Mapping(inner) => put_in_tree(inner, rest, value),
                _ => false,
            }
        }
    }
}

/// One line of a block mapping: how deep, which key, and where its value begins.
struct Line<'a> {
    indent: usize,
    key: &'a str,
    /// Bytes from the line's start to behind the colon.
    value_at: usize,
}

fn read_line(line: &str) -> Option<Line<'_>> {
    let body = line.trim_start_matches(' ');
    let (key, _) = body.split_once(':')?;
    let indent = line.len() - body.len();
    let is_key = !key.is_empty() && !body.starts_with(['#', '-', '\'']);
    is_key.then(|| Line { indent, key: key.trim_end().trim_matches('"'), value_at: indent + key.len() + 1 })
}

fn is_content(line: &str) -> bool {
    let body = line.trim();
    !body.is_empty() && !body.starts_with('#')
}

/// Replaces the value on the key's own line, or adds a line at the end of its section, or the section at the
/// end of the text. Sections are at the top: no key that is put here is deeper.
fn put_line(text: &str, path: &str, value: &str) -> String {
    debug_assert!(find_key(path).is_some_and(|key| key.kind == Kind::Generated));
    let (section, name) = (parent(path), leaf(path));
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let written = scalar(value);

    let start = lines.iter().position(|line| read_line(line).is_some_and(|l| l.indent == 0 && l.key == section));
    let Some(start) = start else {
        close_last_line(&mut lines, newline);
        lines.push(format!("{newline}{section}:{newline}    {name}: {written}{newline}"));
        return lines.concat();
    };
    let inside = lines.iter().skip(start + 1).take_while(|line| !is_content(line) || line.starts_with(' ')).count();
    let range = start + 1..start + 1 + inside;
    let indent = lines
        .get(range.clone())
        .and_then(|lines| lines.iter().find(|line| is_content(line)))
        .map_or(4, |line| line.len() - line.trim_start_matches(' ').len());

    for line in lines.get_mut(range.clone()).into_iter().flatten() {
        if let Some(found) = read_line(line)
            && found.indent == indent
            && found.key == name
        {
            let (before, after) = line.split_at(found.value_at);
            *line = format!("{before} {written}{}", comment_of(after));
            return lines.concat();
        }
    }
    let last = lines.get(range.clone()).and_then(|lines| lines.iter().rposition(|line| is_content(line)));
    let place = last.map_or(start + 1, |last| range.start + last + 1);
    if place == lines.len() {
        close_last_line(&mut lines, newline);
    }
    lines.insert(place, format!("{}{name}: {written}{newline}", " ".repeat(indent)));
    lines.concat()
}

fn close_last_line(lines: &mut [String], newline: &str) {
    if let Some(last) = lines.last_mut()
        && !last.ends_with('\n')
    {
        last.push_str(newline);
    }
}

/// The comment and line ending behind an empty or placeholder value.
fn comment_of(after: &str) -> &str {
    let ending = after.len() - after.trim_end_matches(['\r', '\n']).len();
    let end = after.len() - ending;
    let comment = after.find(" #").filter(|at| *at < end).unwrap_or(end);
    after.get(comment..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put_all(text: &str) -> Result<String, EditFault> {
        put_values(
            text,
            &[
                ("appservice.as_token", "aaa".to_owned()),
                ("appservice.hs_token", "hhh".to_owned()),
                ("encryption.pickle_key", "ppp".to_owned()),
            ],
        )
    }

    #[test]
    fn comments_order_and_spacing_stay() {
        let text = "\
# mine
encryption:
  pickle_key:    # keep me
appservice:   # how
  # before
  hs_token: \"\"

  id: whatsapp # last

homeserver: {address: x}
";
        let want = "\
# mine
encryption:
  pickle_key: ppp # keep me
appservice:   # how
  # before
  hs_token: hhh

  id: whatsapp # last
  as_token: aaa

homeserver: {address: x}
";
        assert_eq!(put_all(text).unwrap(), want);
    }

    #[test]
    fn missing_sections_are_added_at_the_end_also_without_a_last_line_break() {
        let want = "homeserver:\n  domain: x\n\nappservice:\n    as_token: aaa\n    hs_token: hhh\n\nencryption:\n    pickle_key: ppp\n";
        assert_eq!(put_all("homeserver:\n  domain: x").unwrap(), want);
    }

    #[test]
    fn an_empty_section_and_windows_line_endings_are_followed() {
        let want = "appservice:\r\n    as_token: aaa\r\n    hs_token: hhh\r\nencryption:\r\n    pickle_key: ppp\r\n";
        assert_eq!(put_all("appservice:\r\nencryption:\r\n").unwrap(), want);
    }

    #[test]
    fn json_stays_json_in_its_order() {
        let edited = put_all("{\"homeserver\": {\"domain\": \"x\"}, \"appservice\": {\"id\": \"y\"}}").unwrap();
        assert!(edited.find("homeserver").unwrap() < edited.find("appservice").unwrap());
        let parsed: serde_json::Value = serde_json::from_str(&edited).unwrap();
        assert_eq!(parsed["appservice"]["as_token"], "aaa");
        assert_eq!(parsed["homeserver"]["domain"], "x");
    }

    #[test]
    fn a_form_that_is_not_understood_is_refused() {
        assert_eq!(put_all("appservice: {id: x}\n"), Err(EditFault::Form("appservice".to_owned())));
        assert_eq!(put_all("- a\n"), Err(EditFault::NoMapping));
    }

    #[test]
    fn a_key_of_the_same_name_elsewhere_is_left_alone() {
        let text = "other:\n  as_token: keep\nappservice:\n  bot:\n    as_token: keep\n  as_token: generate\n";
        let edited = put_all(text).unwrap();
        assert!(
            edited.starts_with("other:\n  as_token: keep\nappservice:\n  bot:\n    as_token: keep\n  as_token: aaa\n")
        );
    }

    #[test]
    fn what_an_older_yaml_reads_otherwise_is_quoted() {
        for (text, written) in [
            ("whatsapp", "whatsapp"),
            ("No", "'No'"),
            ("on", "'on'"),
            ("null", "'null'"),
            ("12", "'12'"),
            ("it's", "'it''s'"),
            ("a\nb\"", "\"a\\U0000000Ab\\\"\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }

    proptest! {
        #[test]
        fn a_scalar_reads_back_as_it_was(text in ".*") {
            let read: String = serde_yaml::from_str(&format!("k: {}", scalar(&text)))
                .map(|mapping: std::collections::BTreeMap<String, String>| mapping["k"].clone())
                .unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn any_text_is_edited_rightly_or_refused(text in "((appservice|encryption|as_token|hs_token|x)?:?[ #'\"{}\\[\\]|>-]{0,2}\n? {0,3}){0,12}") {
            if let Ok(edited) = put_all(&text) {
                let mut wanted = parse(&text).unwrap();
                for (path, value) in [("appservice.as_token", "aaa"), ("appservice.hs_token", "hhh"), ("encryption.pickle_key", "ppp")] {
                    prop_assert!(put_in_tree(&mut wanted, path, value));
                }
                prop_assert!(same(&parse(&edited).unwrap(), &wanted));
            }
        }
    }
}
