//! Values from the environment: `MATRIX_WHATSAPP_` and the key's path in capitals, joined by `__`; with `_FILE`
//! behind it the value is read from the file it names.

use std::collections::BTreeMap;

use super::faults::{Faults, nearest};
use super::keys::KEYS;

/// What every variable of ours begins with.
const PREFIX: &str = "MATRIX_WHATSAPP_";

/// Variables with the prefix that are not ours to read: the test bed's.
const NOT_OURS: [&str; 2] = ["MATRIX_WHATSAPP_BIN", "MATRIX_WHATSAPP_TEST_"];

/// Our part of an environment.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process that begin with `MATRIX_WHATSAPP_`. What is no UTF-8 in them becomes
    /// U+FFFD.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The values by path. Empty variables count as not set.
    pub(super) fn values(&self, faults: &mut Faults) -> BTreeMap<&'static str, EnvValue> {
        let mut values = BTreeMap::new();
        for (name, raw) in &self.0 {
            if raw.is_empty() {
                continue;
            }
            let (path, from_file) = match (find_path(name), name.strip_suffix("_FILE").and_then(find_path)) {
                (Some(path), _) => (path, false),
                (None, Some(path)) => (path, true),
                (None, None) => {
                    report_unknown(name, faults);
                    continue;
                }
            };
            let text = if from_file {
                match std::fs::read_to_string(raw) {
                    Ok(text) => text.trim_end_matches(['\n', '\r']).to_owned(),
                    Err(why) => {
                        // The value is not shown: it may be the secret itself, put here by mistake.
                        faults.add(
                            name,
                            format!("the file it names can't be read: {why}"),
                            "name a file the bridge may read",
                        );
                        continue;
                    }
                }
            } else {
                raw.clone()
            };
            let value = EnvValue { name: name.clone(), text };
            if values.insert(path, value).is_some() {
                let plain = variable_of(path);
                faults.add(name, format!("is given twice, here and in `{plain}`"), "unset one of the two");
            }
        }
        values
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let ours = variables.into_iter().filter(|(name, _)| {
            name.starts_with(PREFIX)
                && !NOT_OURS.iter().any(
                    |other| {
                        if other.ends_with('_') { name.starts_with(other) } else { name == other }
                    },
                )
        });
        Self(ours.collect())
    }
}

/// A value and the variable it came from.
pub(super) struct EnvValue {
    pub name: String,
    pub text: String,
}

/// The variable of a key.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

fn find_path(name: &str) -> Option<&'static str> {
    KEYS.iter().map(|key| key.path).find(|path| variable_of(path) == name)
}

fn report_unknown(name: &str, faults: &mut Faults) {
    let known: Vec<String> = KEYS.iter().map(|key| variable_of(key.path)).collect();
    let (bare, suffix) = name.strip_suffix("_FILE").map_or((name, ""), |bare| (bare, "_FILE"));
    let fix = nearest(bare, known.iter().map(String::as_str))
        .map_or_else(|| "unset it".to_owned(), |near| format!("did you mean `{near}{suffix}`? Else unset it"));
    faults.add(name, "no key has this variable", fix);
}
