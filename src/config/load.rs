//! From text and environment to a checked [`Config`], or to every fault at once.
//!
//! Serde stops at the first fault, so the parsed value is walked against the table of keys before, and serde is
//! only the last net. What is faulty is replaced by the example's value, so that the rest can still be checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::double_puppet::AS_TOKEN;
use super::environment::{EnvValue, Environment, variable_of};
use super::faults::{Faults, nearest};
use super::keys::{
    Fallback, KEYS, Key, Kind, SECTIONS, TO_BE_GENERATED, TO_BE_GENERATED_ELSEWHERE, find_key, is_section, join, leaf,
    names_below, parent,
};
use super::reload::Origin;
use super::{Config, DisplaynameTemplate, Level, check, relay};

/// 16 TiB: a larger number is a slip.
const MOST_MEBIBYTES: u32 = 1 << 24;
/// The most of anything in a minute.
const MOST_PER_MINUTE: u32 = 1_000_000;

/// What one key was found to hold: a value, or nothing but an acknowledged absence.
pub(super) type Found = BTreeMap<&'static str, Value>;

impl Config {
    /// Reads and checks the file at `path` (YAML; JSON is YAML) and what the environment says instead of it.
    ///
    /// # Errors
    /// [`Faults`]: every unknown key and bad value. Trying again does not help until the operator acts.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, Faults> {
        let text = Self::read_text(path)?;
        let mut config = Self::parse(&text, &path.display().to_string(), environment)?;
        config.origin.path = Some(path.to_owned());
        Ok(config)
    }

    /// The text of a config file.
    ///
    /// # Errors
    /// One fault when it can't be read.
    pub fn read_text(path: &Path) -> Result<String, Faults> {
        std::fs::read_to_string(path).map_err(|why| {
            let name = path.display().to_string();
            let fix = format!("write an example with `-e -c {name}` and fill it in");
            Faults::one(&name, format!("can't be read: {why}"), fix)
        })
    }

    /// As [`Config::load`], of a text; `name` is what faults of the whole text are put under.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, name: &str, environment: &Environment) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let found = find_values(text, name, environment, &mut faults)?;
        let tree = build_tree(&found, &mut faults);
        Self::of_tree(tree, name, environment, faults)
    }

    /// The config of a whole tree of values; `faults` are those found in it so far.
    pub(super) fn of_tree(
        tree: Value,
        name: &str,
        environment: &Environment,
        mut faults: Faults,
    ) -> Result<Self, Faults> {
        match serde_yaml::from_value::<Self>(tree.clone()) {
            Ok(mut config) => {
                check::check(&config, &mut faults);
                config.origin = Origin { tree, path: None, environment: environment.clone() };
                if faults.is_empty() { Ok(config) } else { Err(faults) }
            }
            Err(why) => {
                if faults.is_empty() {
                    faults.add(name, why.to_string(), "correct it");
                }
                Err(faults)
            }
        }
    }
}

/// The paths of the generated secrets that neither the file nor the environment gives.
///
/// # Errors
/// [`Faults`] when the text is no YAML. Other faults are left to [`Config::parse`].
pub(super) fn missing_secrets(text: &str, name: &str, environment: &Environment) -> Result<Vec<&'static str>, Faults> {
    let found = find_values(text, name, environment, &mut Faults::default())?;
    let generated = KEYS.iter().filter(|key| key.kind == Kind::Generated).map(|key| key.path);
    Ok(generated.filter(|path| !found.contains_key(path)).collect())
}

/// Walks file and environment; the environment wins.
pub(super) fn find_values(
    text: &str,
    name: &str,
    environment: &Environment,
    faults: &mut Faults,
) -> Result<Found, Faults> {
    let mut found = Found::new();
    match parse_yaml(text, name)? {
        Value::Null => {}
        Value::Mapping(top) => walk(&top, "", &mut found, faults),
        _ => {
            return Err(Faults::one(name, "holds no keys", "write an example with -e to see the form"));
        }
    }
    for (path, EnvValue { name, text }) in environment.values(faults) {
        // `find_key` knows every path the environment gives: both come from the table.
        let Some(key) = find_key(path) else { continue };
        let value = match key.kind {
            Kind::Levels | Kind::Addresses | Kind::Tokens | Kind::Formats | Kind::Numbers => {
                match serde_yaml::from_str(&text) {
                    Ok(value) => value,
                    Err(_) => Value::String(text),
                }
            }
            _ => Value::String(text),
        };
        if let Some(value) = accept(key, &name, value, faults) {
            found.insert(key.path, value);
        }
    }
    Ok(found)
}

/// Parses YAML into a plain value.
pub(super) fn parse_yaml(text: &str, name: &str) -> Result<Value, Faults> {
    serde_yaml::from_str(text).map_err(|why| {
        let unquoted = text.lines().any(|line| line.trim_start().starts_with(['*', '@']));
        let fix = if unquoted { "put names that begin with * or @ in quotes" } else { "correct the YAML there" };
        Faults::one(name, why.to_string(), fix)
    })
}

fn walk(mapping: &Mapping, section: &str, found: &mut Found, faults: &mut Faults) {
    for (name, value) in mapping {
        let Some(name) = name.as_str() else {
            faults.add(section_place(section), "holds a name that is no text", "remove it");
            continue;
        };
        let path = join(section, name);
        if let Some(key) = find_key(&path) {
            if let Some(value) = accept(key, &path, value.clone(), faults) {
                found.insert(key.path, value);
            }
        } else if is_section(&path) {
            match value {
                Value::Null => {}
                Value::Mapping(inner) => walk(inner, &path, found, faults),
                _ => faults.add(
                    &path,
                    "must hold keys",
                    format!("write its keys below it, indented: {}", list(names_below(&path))),
                ),
            }
        } else {
            report_unknown(&path, faults);
        }
    }
}

fn section_place(section: &str) -> &str {
    if section.is_empty() { "top level" } else { section }
}

fn report_unknown(path: &str, faults: &mut Faults) {
    let (section, name) = (parent(path), leaf(path));
    let all = || SECTIONS.iter().map(|s| s.path).chain(KEYS.iter().map(|k| k.path));
    let near = nearest(name, names_below(section))
        .map(|near| join(section, near))
        .or_else(|| all().find(|known| leaf(known) == name).map(str::to_owned))
        .or_else(|| nearest(path, all()).map(str::to_owned));
    let fix = near.map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`? Else remove it"));
    faults.add(shown(path), "unknown key", fix);
}

/// The value in the form serde takes; `None` when it counts as not given, or is faulty (then a fault is added).
fn accept(key: &Key, place: &str, value: Value, faults: &mut Faults) -> Option<Value> {
    match (key.kind, value) {
        (_, Value::Null) => None,
        (Kind::Levels, Value::Mapping(entries)) => Some(accept_levels(&entries, place, faults)),
        (Kind::Levels, _) => {
            faults.add(place, "must hold names with their levels", "for example `\"example.com\": user`");
            None
        }
        (Kind::Addresses | Kind::Tokens, Value::Mapping(entries)) => Some(accept_servers(key, &entries, place, faults)),
        (Kind::Addresses | Kind::Tokens, _) => {
            faults.add(place, "must hold server names with a text each", "for example `example.org: \"...\"`");
            None
        }
        (Kind::Formats, Value::Mapping(entries)) => Some(relay::accept_formats(&entries, place, faults)),
        (Kind::Formats, _) => {
            faults.add(place, "must hold kinds of messages with a format each", "see docs/relay.md");
            None
        }
        (Kind::Numbers, Value::Sequence(entries)) => Some(relay::accept_numbers(&entries, place, faults)),
        (Kind::Numbers, _) => {
            faults.add(place, "must be a list of phone numbers", "write it as in [\"+15550001111\"]");
            None
        }
        (_, Value::String(text)) if text.is_empty() => None,
        (Kind::Flag, value) => match scalar_text(&value).parse::<bool>() {
            Ok(flag) => Some(Value::Bool(flag)),
            Err(_) => {
                faults.add(
                    place,
                    format!("`{}` is neither true nor false", shown(&scalar_text(&value))),
                    "use one of them",
                );
                None
            }
        },
        (Kind::Generated, Value::String(text))
            if [TO_BE_GENERATED, TO_BE_GENERATED_ELSEWHERE].contains(&text.as_str()) =>
        {
            None
        }
        (Kind::Text | Kind::Generated | Kind::Private, Value::String(text)) => accept_text(place, text, faults),
        (Kind::NameTemplate, Value::String(text)) => match DisplaynameTemplate::parse(&text) {
            Ok(_) => Some(Value::String(text)),
            Err(why) => {
                faults.add(place, why.to_string(), "correct the template");
                None
            }
        },
        (Kind::NameFormat, Value::String(text)) => match relay::NameFormat::parse(&text) {
            Ok(_) => Some(Value::String(text)),
            Err(why) => {
                faults.add(place, why.to_string(), "correct the format");
                None
            }
        },
        (Kind::Text | Kind::NameTemplate | Kind::NameFormat | Kind::Generated | Kind::Private, _) => {
            faults.add(place, "must be text", "put the value in quotes");
            None
        }
        (Kind::Port, value) => accept_port(place, &value, faults),
        (Kind::Mebibytes, value) => accept_mebibytes(place, &value, faults),
        (Kind::PerMinute, value) => accept_per_minute(place, &value, faults),
        (Kind::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => Some(Value::String(word)),
        (Kind::Choice(words), value) => {
            let written = scalar_text(&value);
            let fix = match nearest(&written, words.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? It is one of {}", list(words.iter().copied())),
                None => format!("use one of {}", list(words.iter().copied())),
            };
            faults.add(place, format!("`{}` is not known", shown(&written)), fix);
            None
        }
    }
}

fn accept_text(place: &str, text: String, faults: &mut Faults) -> Option<Value> {
    if text.chars().any(char::is_control) {
        faults.add(place, "holds a line break or another control character", "remove it");
        return None;
    }
    Some(Value::String(text))
}

fn accept_port(place: &str, value: &Value, faults: &mut Faults) -> Option<Value> {
    let written = scalar_text(value);
    match written.parse::<u16>() {
        Ok(port) if port > 0 => Some(Value::from(port)),
        _ => {
            faults.add(place, format!("`{}` is no port", shown(&written)), "use a number from 1 to 65535");
            None
        }
    }
}

fn accept_mebibytes(place: &str, value: &Value, faults: &mut Faults) -> Option<Value> {
    let written = scalar_text(value);
    match written.parse::<u32>() {
        Ok(number) if (1..=MOST_MEBIBYTES).contains(&number) => Some(Value::from(number)),
        _ => {
            faults.add(place, format!("`{}` is no number of MiB", shown(&written)), "use a whole number from 1 on");
            None
        }
    }
}

fn accept_per_minute(place: &str, value: &Value, faults: &mut Faults) -> Option<Value> {
    let written = scalar_text(value);
    match written.parse::<u32>() {
        Ok(number) if (1..=MOST_PER_MINUTE).contains(&number) => Some(Value::from(number)),
        _ => {
            let what = format!("`{}` is no number for a minute", shown(&written));
            faults.add(place, what, format!("use a whole number from 1 to {MOST_PER_MINUTE}"));
            None
        }
    }
}

/// The good entries; each bad one is a fault of its own.
fn accept_levels(entries: &Mapping, place: &str, faults: &mut Faults) -> Value {
    let names: Vec<&str> = Level::NAMES.iter().map(|(name, _)| *name).collect();
    let mut good = Mapping::new();
    for (who, level) in entries {
        let (who_text, level_text) = (scalar_text(who), scalar_text(level));
        let entry = format!("{place}.{}", shown(&who_text));
        if let Some((what, fix)) = check::name_fault(&who_text) {
            faults.add(&entry, what, fix);
        }
        if names.contains(&level_text.as_str()) {
            good.insert(Value::String(who_text), Value::String(level_text));
        } else {
            let fix = match nearest(&level_text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? It is one of {}", list(names.iter().copied())),
                None => format!("use one of {}", list(names.iter().copied())),
            };
            faults.add(&entry, format!("`{}` is no level", shown(&level_text)), fix);
        }
    }
    Value::Mapping(good)
}

/// The good entries of a mapping by server names; each bad one is a fault of its own. Tokens are not shown.
fn accept_servers(key: &Key, entries: &Mapping, place: &str, faults: &mut Faults) -> Value {
    let mut good = Mapping::new();
    for (server, value) in entries {
        let server = scalar_text(server);
        let entry = format!("{place}.{}", shown(&server));
        if ruma::ServerName::parse(server.as_str()).is_err() {
            faults.add(&entry, "is no server name", "write what stands behind the colon in user ids");
            continue;
        }
        let Value::String(text) = value else {
            faults.add(&entry, "must be text", "put the value in quotes");
            continue;
        };
        if key.kind == Kind::Tokens && text.strip_prefix(AS_TOKEN).is_none_or(str::is_empty) {
            faults.add(&entry, "does not begin with `as_token:`", "write `as_token:` and the registration's as_token");
            continue;
        }
        if let Some(text) = accept_text(&entry, text.clone(), faults) {
            good.insert(Value::String(server), text);
        }
    }
    Value::Mapping(good)
}

/// A tree with every key: what was found, else its default, else (with a fault) its example.
pub(super) fn build_tree(found: &Found, faults: &mut Faults) -> Value {
    let mut tree = Mapping::new();
    for key in KEYS {
        let value = found.get(key.path).cloned().unwrap_or_else(|| fall_back(key, faults));
        put(&mut tree, key.path, value);
    }
    Value::Mapping(tree)
}

fn fall_back(key: &Key, faults: &mut Faults) -> Value {
    let text = match key.default {
        Fallback::Unset => return Value::Null,
        Fallback::Is(text) => text,
        Fallback::Required => {
            if !faults.concerns(key.path) && !faults.concerns(&variable_of(key.path)) {
                let fix = match key.kind {
                    Kind::Generated => "run with -g to make it".to_owned(),
                    _ => format!("set it, for example to `{}`", key.example.unwrap_or_default()),
                };
                faults.add(key.path, "is missing", fix);
            }
            key.example.unwrap_or_default()
        }
    };
    value_of_text(key.kind, text)
}

/// A default or an example of the table as a value.
pub(super) fn value_of_text(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Port
        | Kind::Mebibytes
        | Kind::PerMinute
        | Kind::Levels
        | Kind::Flag
        | Kind::Addresses
        | Kind::Tokens
        | Kind::Formats
        | Kind::Numbers => serde_yaml::from_str(text).unwrap_or(Value::Null),
        _ => Value::String(text.to_owned()),
    }
}

pub(super) fn put(tree: &mut Mapping, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            tree.insert(Value::from(path), value);
        }
        Some((section, rest)) => {
            let inner = tree.entry(Value::from(section)).or_insert_with(|| Value::Mapping(Mapping::new()));
            if let Value::Mapping(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// The value as the operator sees it, when it is one word or number.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null => "null".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) | Value::Tagged(_) => "a mapping".to_owned(),
    }
}

/// A stranger's text fit for one line of an error: control characters escaped, cut at 80 characters.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(80) {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The tree of defaults and examples, for the test that holds table and structs together.
#[cfg(test)]
pub(super) fn example_tree() -> Value {
    build_tree(&Found::new(), &mut Faults::default())
}
