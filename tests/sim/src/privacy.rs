//! Who may see what of an account: its privacy settings, its address book, its
//! block list.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::{account::Account, ids::Number};

/// The categories, the values each takes, and the first of them for an
/// untouched account.
const CATEGORIES: &[(&str, &[&str])] = &[
    ("last", &["all", "contacts", "contact_blacklist", "none"]),
    ("online", &["all", "match_last_seen"]),
    ("profile", &["all", "contacts", "contact_blacklist", "none"]),
    ("status", &["all", "contacts", "contact_blacklist", "none"]),
    ("groupadd", &["all", "contacts", "contact_blacklist", "none"]),
    ("readreceipts", &["all", "none"]),
    ("calladd", &["all", "known", "contacts"]),
    ("messages", &["all", "contacts"]),
    ("defense", &["off", "on_standard"]),
];

/// One category as it is set.
#[derive(Clone, Debug, Default)]
struct Setting {
    value: Option<&'static str>,
    /// For `contact_blacklist`: who is kept out.
    except: BTreeSet<Number>,
}

/// The privacy settings of an account.
#[derive(Clone, Debug, Default)]
pub struct Privacy(BTreeMap<&'static str, Setting>);

impl Privacy {
    /// All categories with their values.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        CATEGORIES.iter().map(|(name, _)| (*name, self.value(name)))
    }

    /// The value of a category; `all` for one nobody knows.
    pub fn value(&self, category: &str) -> &'static str {
        let set = self.0.get(category).and_then(|setting| setting.value);
        let first = CATEGORIES.iter().find(|(name, _)| *name == category).map_or("all", |(_, values)| values[0]);
        set.unwrap_or(first)
    }

    /// Sets a category. Nothing when the category or the value is unknown.
    pub fn set(&mut self, category: &str, value: &str) -> Option<()> {
        let (name, values) = CATEGORIES.iter().find(|(name, _)| *name == category)?;
        let value = values.iter().find(|known| **known == value)?;
        self.0.entry(name).or_default().value = Some(value);
        Some(())
    }

    /// The hash of a category's exceptions.
    pub fn dhash(&self, category: &str) -> String {
        dhash(self.0.get(category).map(|setting| &setting.except).into_iter().flatten())
    }

    /// Changes the exceptions of a category that was set before.
    pub fn except(&mut self, category: &str, who: Number, add: bool) {
        if let Some(setting) = self.0.get_mut(category) {
            if add {
                setting.except.insert(who);
            } else {
                setting.except.remove(&who);
            }
        }
    }
}

/// A short hash of a list of people; any change gives another.
pub fn dhash<'a>(people: impl IntoIterator<Item = &'a Number>) -> String {
    let mut hash = Sha256::new();
    for number in people {
        hash.update(number.as_str());
        hash.update([0]);
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

impl Account {
    /// Whether `viewer` may see what `category` guards.
    pub fn shows(&self, category: &str, viewer: &Number) -> bool {
        if *viewer == self.number {
            return true;
        }
        if self.blocked.contains(viewer) {
            return false;
        }
        match self.privacy.value(category) {
            "none" => false,
            "contacts" => self.contacts.contains(viewer),
            "contact_blacklist" => {
                let excepted = self.privacy.0.get(category).is_some_and(|setting| setting.except.contains(viewer));
                self.contacts.contains(viewer) && !excepted
            }
            _ => true,
        }
    }
}
