//! Texts made from the table of keys: `config.example.yaml`, and the reference in `docs/configure.md`. Pure.

use serde_yaml::Value;

use super::environment::variable_of;
use super::keys::{Fallback, KEYS, Key, Kind, SECTIONS, leaf, parent};
use super::load::value_of_text;
use super::reload::LIVE_KEYS;
use super::yaml;

const HEAD: &str = "\
# Configuration of matrix-whatsapp. What is not given here has the default that is shown.
# Run with -g to fill in tokens and keys and to write the registration for the homeserver.
# Every key can come from the environment too: MATRIX_WHATSAPP_ and its path in capitals joined by two underscores,
# e.g. MATRIX_WHATSAPP_HOMESERVER__ADDRESS; with _FILE behind it, from the file that the variable names.
";

/// The text of `config.example.yaml`: every key with its meaning, and a value that passes all checks once `-g`
/// has made the secrets.
#[must_use]
pub fn example_config() -> String {
    write_config(&example_value)
}

/// The example with other values: every key with its meaning and what `value_of` says it holds.
pub(super) fn write_config(value_of: &dyn Fn(&Key) -> Value) -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS.iter().filter(|section| parent(section.path).is_empty()) {
        out.push('\n');
        write_section(&mut out, section.path, value_of);
    }
    out
}

fn write_section(out: &mut String, path: &str, value_of: &dyn Fn(&Key) -> Value) {
    let depth = path.matches('.').count();
    let indent = "    ".repeat(depth);
    for line in SECTIONS.iter().filter(|section| section.path == path).flat_map(|section| section.doc) {
        push_line(out, &format!("{indent}# {line}"));
    }
    push_line(out, &format!("{indent}{}:", leaf(path)));
    // Keys of the table and nested sections, in the table's order.
    let mut done: Vec<&str> = Vec::new();
    for key in KEYS {
        if parent(key.path) == path {
            write_key(out, key, depth + 1, &value_of(key));
        } else if parent(parent(key.path)) == path && !done.contains(&parent(key.path)) {
            done.push(parent(key.path));
            write_section(out, parent(key.path), value_of);
        }
    }
}

fn write_key(out: &mut String, key: &Key, depth: usize, value: &Value) {
    let indent = "    ".repeat(depth);
    for line in key.doc {
        push_line(out, &format!("{indent}# {line}"));
    }
    let name = leaf(key.path);
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            push_line(out, &format!("{indent}{name}:"));
            for (entry, value) in entries {
                push_line(out, &format!("{indent}    {}: {}", quoted(entry), on_one_line(value)));
            }
        }
        value => push_line(out, &format!("{indent}{name}: {}", on_one_line(value))),
    }
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A value as YAML on one line; what holds others, in the form of JSON.
fn on_one_line(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => yaml::scalar(text),
        // What can't be written so is found out by who compares what was written with what was meant.
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// A name of an entry: always in quotes, since most begin with what YAML takes for something else.
fn quoted(name: &Value) -> String {
    match name {
        Value::String(text) if text.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != '"' && c != '\\') => {
            format!("\"{text}\"")
        }
        other => on_one_line(other),
    }
}

/// What the example shows: always a valid value.
pub(super) fn example_value(key: &Key) -> Value {
    let text = match (key.example, key.default) {
        (Some(text), _) | (None, Fallback::Is(text)) => text,
        (None, Fallback::Unset | Fallback::Required) => "",
    };
    match key.default {
        Fallback::Unset => Value::Null,
        _ => value_of_text(key.kind, text),
    }
}

/// The table of all keys for the manual, in Markdown, with when a change counts.
#[must_use]
pub fn key_reference() -> String {
    let mut out = String::from("| Key | Default | A change counts | Meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            Fallback::Is(text) => format!("`{text}`"),
            Fallback::Unset => "unset".to_owned(),
            Fallback::Required if key.kind == Kind::Generated => "made by `-g`".to_owned(),
            Fallback::Required => "required".to_owned(),
        };
        let meaning = key.doc.join(" ").replace('|', "\\|");
        let counts = if LIVE_KEYS.contains(&key.path) { "at `reload`" } else { "at a restart" };
        let variable = variable_of(key.path);
        push_line(&mut out, &format!("| `{}`<br>`{variable}` | {default} | {counts} | {meaning} |", key.path));
    }
    out
}
