//! Texts made from the table of keys: `config.example.yaml`, and the reference in `docs/configure.md`. Pure.

use super::environment::variable_of;
use super::keys::{Fallback, KEYS, Key, Kind, SECTIONS, leaf, parent};
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
    let mut out = HEAD.to_owned();
    for section in SECTIONS.iter().filter(|section| parent(section.path).is_empty()) {
        out.push('\n');
        write_section(&mut out, section.path);
    }
    out
}

fn write_section(out: &mut String, path: &str) {
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
            write_key(out, key, depth + 1);
        } else if parent(parent(key.path)) == path && !done.contains(&parent(key.path)) {
            done.push(parent(key.path));
            write_section(out, parent(key.path));
        }
    }
}

fn write_key(out: &mut String, key: &Key, depth: usize) {
    let indent = "    ".repeat(depth);
    for line in key.doc {
        push_line(out, &format!("{indent}# {line}"));
    }
    let name = leaf(key.path);
    match key.kind {
        Kind::Levels => {
            push_line(out, &format!("{indent}{name}:"));
            for (who, level) in example_levels(key) {
                push_line(out, &format!("{indent}    \"{who}\": {level}"));
            }
        }
        Kind::Port
        | Kind::Mebibytes
        | Kind::PerMinute
        | Kind::Flag
        | Kind::Addresses
        | Kind::Tokens
        | Kind::Formats
        | Kind::Numbers => push_line(out, &format!("{indent}{name}: {}", example_text(key))),
        _ => {
            let value =
                if key.default == Fallback::Unset { "null".to_owned() } else { yaml::scalar(example_text(key)) };
            push_line(out, &format!("{indent}{name}: {value}"));
        }
    }
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn example_text(key: &Key) -> &'static str {
    match (key.example, key.default) {
        (Some(text), _) | (None, Fallback::Is(text)) => text,
        (None, Fallback::Unset | Fallback::Required) => "",
    }
}

fn example_levels(key: &Key) -> Vec<(String, String)> {
    let parsed: serde_yaml::Mapping = serde_yaml::from_str(example_text(key)).unwrap_or_default();
    parsed.iter().filter_map(|(who, level)| Some((who.as_str()?.to_owned(), level.as_str()?.to_owned()))).collect()
}

/// The table of all keys for the manual, in Markdown.
#[must_use]
pub fn key_reference() -> String {
    let mut out = String::from("| Key | Default | Meaning |\n|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            Fallback::Is(text) => format!("`{text}`"),
            Fallback::Unset => "unset".to_owned(),
            Fallback::Required if key.kind == Kind::Generated => "made by `-g`".to_owned(),
            Fallback::Required => "required".to_owned(),
        };
        let meaning = key.doc.join(" ").replace('|', "\\|");
        push_line(&mut out, &format!("| `{}`<br>`{}` | {default} | {meaning} |", key.path, variable_of(key.path)));
    }
    out
}
