//! The first configuration: the few things an operator must say, each checked as it is said. Pure.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::environment::Environment;
use super::example::{example_value, write_config};
use super::faults::{Fault, Faults};
use super::keys::{KEYS, Kind};
use super::load::find_values;
use super::yaml::put_values;
use super::{Config, fill_secrets};

/// Something `init` must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Where the homeserver is reached.
    Homeserver,
    /// Its server name.
    Domain,
    /// Who may do everything.
    Admin,
    /// The database's address.
    Database,
    /// Where the homeserver reaches the bridge.
    Address,
    /// The address to listen on.
    Hostname,
    /// The port to listen on.
    Port,
}

impl Question {
    /// The key that holds the answer.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Homeserver => "homeserver.address",
            Self::Domain => "homeserver.domain",
            Self::Admin => "bridge.permissions",
            Self::Database => "database.uri",
            Self::Address => "appservice.address",
            Self::Hostname => "appservice.hostname",
            Self::Port => "appservice.port",
        }
    }
}

/// What was answered, in the operator's words.
#[derive(Debug, Clone, Default)]
pub struct Answers(BTreeMap<Question, String>, Option<String>);

impl Answers {
    /// The answer to a question, if there is one.
    #[must_use]
    pub fn get(&self, question: Question) -> Option<&str> {
        self.0.get(&question).map(String::as_str)
    }

    /// Names the server whose people may log in when it is not answered, because the environment gives it.
    pub fn serve(&mut self, domain: String) {
        self.1 = Some(domain);
    }

    /// Takes an answer if it is one.
    ///
    /// # Errors
    /// What is wrong with it, and what to do; then it is not taken. The place is the key's path.
    pub fn put(&mut self, question: Question, answer: &str) -> Result<(), Fault> {
        let mut with = self.clone();
        with.0.insert(question, answer.trim().to_owned());
        if question == Question::Admin
            && let Some(fault) = admin_fault(&with, answer.trim())
        {
            return Err(fault);
        }
        match with.parse().err().and_then(|faults| about(&faults, question)) {
            Some(fault) => Err(fault),
            None => {
                *self = with;
                Ok(())
            }
        }
    }

    /// The example configuration with the answers in it; secrets are still to be made.
    #[must_use]
    pub fn config_text(&self) -> String {
        write_config(&|key| match key.path {
            "homeserver.address" => self.text(Question::Homeserver).unwrap_or_else(|| example_value(key)),
            "homeserver.domain" => self.text(Question::Domain).unwrap_or_else(|| example_value(key)),
            "database.type" if self.is_postgres() => Value::from("postgres"),
            "database.uri" => self.text(Question::Database).unwrap_or_else(|| example_value(key)),
            "appservice.address" => self.text(Question::Address).unwrap_or_else(|| example_value(key)),
            "appservice.hostname" => self.text(Question::Hostname).unwrap_or_else(|| example_value(key)),
            "appservice.port" => {
                let number =
                    self.get(Question::Port).map(|port| port.parse::<u16>().map_or(Value::from(port), Value::from));
                number.unwrap_or_else(|| example_value(key))
            }
            "bridge.permissions" => self.permissions().unwrap_or_else(|| example_value(key)),
            _ => example_value(key),
        })
    }

    fn text(&self, question: Question) -> Option<Value> {
        self.get(question).map(Value::from)
    }

    fn is_postgres(&self) -> bool {
        self.get(Question::Database).is_some_and(|uri| uri.starts_with("postgres"))
    }

    /// Everybody may be relayed, the own server's people may log in, one may do everything.
    fn permissions(&self) -> Option<Value> {
        let domain = self.get(Question::Domain).or(self.1.as_deref())?;
        let mut levels = Mapping::new();
        levels.insert(Value::from("*"), Value::from("relay"));
        levels.insert(Value::from(domain), Value::from("user"));
        if let Some(admin) = self.get(Question::Admin) {
            levels.insert(Value::from(admin), Value::from("admin"));
        }
        Some(Value::Mapping(levels))
    }

    fn parse(&self) -> Result<Config, Faults> {
        let environment = Environment::default();
        let made = std::cell::Cell::new(0_u32);
        let placeholder = |_: usize| {
            made.set(made.get() + 1);
            format!("placeholder-{}", made.get())
        };
        let text = fill_secrets(&self.config_text(), "config", &environment, placeholder)?;
        Config::parse(&text, "config", &environment)
    }
}

/// A new config's text with the tokens and keys of an old one, so that the homeserver still knows the bridge and the bridge
/// can still read its database. Without any when the old text can't be read.
#[must_use]
pub fn keep_secrets(new: &str, old: &str) -> String {
    let Ok(found) = find_values(old, "", &Environment::default(), &mut Faults::default()) else {
        return new.to_owned();
    };
    let secrets: Vec<(&str, String)> = KEYS
        .iter()
        .filter(|key| key.kind == Kind::Generated)
        .filter_map(|key| Some((key.path, found.get(key.path)?.as_str()?.to_owned())))
        .collect();
    put_values(new, &secrets).unwrap_or_else(|_| new.to_owned())
}

/// The first fault of the question's own key, or of the key its answer sets too.
fn about(faults: &Faults, question: Question) -> Option<Fault> {
    let is_its = |fault: &&Fault| {
        let rest = fault.place.strip_prefix(question.key());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            || (question == Question::Database && fault.place == "database.type")
    };
    faults.iter().find(is_its).cloned()
}

/// An administrator is one person: a server's name or `*` would make everybody one.
fn admin_fault(answers: &Answers, admin: &str) -> Option<Fault> {
    if admin.starts_with('@') && admin.contains(':') {
        return None;
    }
    let domain = answers.get(Question::Domain).unwrap_or("example.com");
    Some(Fault {
        place: Question::Admin.key().to_owned(),
        what: format!("`{}` is no user id", super::load::shown(admin)),
        fix: format!("write the whole id, as in `@you:{domain}`"),
    })
}

impl Environment {
    /// What the environment says for this question instead of the file.
    ///
    /// # Errors
    /// [`Faults`] of the environment as a whole.
    pub fn answer(&self, question: Question) -> Result<Option<String>, Faults> {
        let mut faults = Faults::default();
        let values = self.values(&mut faults);
        if faults.is_empty() { Ok(values.get(question.key()).map(|value| value.text.clone())) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn answered(answers: &[(Question, &str)]) -> Answers {
        let mut all = Answers::default();
        for (question, answer) in answers {
            all.put(*question, answer).unwrap();
        }
        all
    }

    #[test]
    fn answers_stand_in_a_config_that_passes_every_check() {
        let config = answered(&[
            (Question::Homeserver, " https://matrix.example.org "),
            (Question::Domain, "example.org"),
            (Question::Admin, "@anna:example.org"),
            (Question::Database, "postgres://u:p'w@h/d"),
            (Question::Address, "http://bridge:29400"),
            (Question::Hostname, "0.0.0.0"),
            (Question::Port, "29400"),
        ])
        .parse()
        .unwrap();
        assert_eq!(config.homeserver.address, "https://matrix.example.org");
        assert_eq!(config.bridge.level_of("@anna:example.org"), Level::Admin);
        assert_eq!(config.bridge.level_of("@bob:example.org"), Level::User);
        assert_eq!(config.bridge.level_of("@eve:example.net"), Level::Relay);
        assert_eq!(config.database.sqlx_url(), "postgres://u:p'w@h/d");
        assert_eq!((config.appservice.hostname.as_str(), config.appservice.port), ("0.0.0.0", 29400));
        assert!(config.advice().is_empty());
        assert!(answered(&[]).parse().is_ok(), "the example's values stand for what was not answered");
    }

    #[test]
    fn what_is_no_answer_is_refused_with_what_to_do_and_not_taken() {
        for (question, answer, want) in [
            (Question::Homeserver, "matrix.example.org", "write a URL like `http://host:port`"),
            (Question::Domain, "https://example.org", "write what stands behind the colon in your user id"),
            (Question::Admin, "example.org", "write the whole id, as in `@you:example.net`"),
            (Question::Admin, "*", "`*` is no user id"),
            (Question::Admin, "@:", "is no user id"),
            (Question::Database, "mysql://h/d", "does not fit database.type sqlite"),
            (Question::Database, ":memory:", "is kept in memory"),
            (Question::Address, "localhost:29318", "must begin with `http://` or `https://`"),
            (Question::Hostname, "a b", "is no address to listen on"),
            (Question::Port, "70000", "use a number from 1 to 65535"),
        ] {
            let mut answers = answered(&[(Question::Domain, "example.net")]);
            let fault = answers.put(question, answer).unwrap_err();
            assert!(fault.to_string().contains(want), "{answer}: {fault}");
            assert_ne!(answers.get(question), Some(answer));
        }
    }
}
