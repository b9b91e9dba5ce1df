//! Whom the `@1234` in a WhatsApp text means.

use std::collections::HashMap;

/// Names mentioned in one message: the text says `@` and the digits of an id, the message lists the ids beside it.
#[derive(Debug, Default)]
pub struct Names {
    people: HashMap<String, (String, String)>,
    groups: HashMap<String, String>,
}

impl Names {
    /// Nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a person: the part of their id the text uses, the whole id, and how they are called when nobody knows them.
    pub fn add_person(&mut self, user: &str, id: &str, label: &str) {
        self.people.insert(user.to_owned(), (id.to_owned(), label.to_owned()));
    }

    /// Adds a group of a community that may be named in the text: its id and its subject.
    pub fn add_group(&mut self, id: &str, subject: String) {
        self.groups.insert(id.to_owned(), subject);
    }

    /// What stands at the beginning of `text`, which begins with `@`: how many bytes, and what it means.
    pub(super) fn at(&self, text: &str) -> Option<(usize, Named<'_>)> {
        if self.people.is_empty() && self.groups.is_empty() {
            return None;
        }
        let digits = text.get(1..)?.bytes().take_while(|b| b.is_ascii_digit() || *b == b'-').count();
        let word = &text[1..=digits];
        if digits > 0
            && let Some(subject) =
                self.groups.get(&format!("{word}@g.us")).filter(|_| text[1 + digits..].starts_with("@g.us"))
        {
            return Some((1 + digits + "@g.us".len(), Named::Group(subject)));
        }
        self.people.get(word).map(|(id, label)| (1 + digits, Named::Person { id, label }))
    }
}

/// What an `@` names.
pub(super) enum Named<'a> {
    /// A person.
    Person {
        /// Their whole id.
        id: &'a str,
        /// How they are called when nobody knows them.
        label: &'a str,
    },
    /// A group's subject.
    Group(&'a str),
}

/// The text with numbers replaced by names, as a client without HTML shows it.
pub fn spell_out(text: &str, names: &Names, name_of: &dyn Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let step = match names.at(rest) {
            Some((length, Named::Person { id, .. })) => {
                out.push('@');
                out.push_str(&name_of(id));
                length
            }
            Some((length, Named::Group(subject))) => {
                out.push('@');
                out.push_str(subject);
                length
            }
            None => {
                out.push('@');
                1
            }
        };
        rest = &rest[step..];
    }
    out.push_str(rest);
    out
}
