//! The first configuration: the few things an operator must say, each checked as it is said. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde_yaml::{Mapping, Value};

use super::carry::not_given;
use super::environment::Environment;
use super::example::{example_value, write_config};
use super::faults::{Fault, Faults};
use super::keys::Key;
use super::load::{Found, find_values};
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

/// What was answered, in the operator's words; and what an older file says, which stands where nothing was answered.
#[derive(Clone, Default)]
pub struct Answers {
    answers: BTreeMap<Question, String>,
    served: Option<String>,
    old: Option<Found>,
}

impl fmt::Debug for Answers {
    /// Which questions are answered. Not how: an old file holds secrets, and a database's address may.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.answers.keys()).finish()
    }
}

impl Answers {
    /// No answers yet, and the values of an older file, so that nothing that is not answered anew is lost: tokens and keys,
    /// without which the homeserver does not know the bridge and the bridge can't read its database, and every other key.
    ///
    /// # Errors
    /// [`Faults`] when the text is no YAML, or something in it is faulty: what can't be read can't be kept.
    pub fn over(old: &str, name: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let found = find_values(old, name, &Environment::default(), &mut faults);
        match found {
            Ok(found) if faults.is_empty() => Ok(Self { old: Some(found), ..Self::default() }),
            Ok(_) => Err(or_move_away(&faults, name)),
            Err(faults) => Err(or_move_away(&faults, name)),
        }
    }

    /// The answer to a question, if there is one.
    #[must_use]
    pub fn get(&self, question: Question) -> Option<&str> {
        self.answers.get(&question).map(String::as_str)
    }

    /// Whether there is an older file, whatever it says.
    #[must_use]
    pub const fn has_old(&self) -> bool {
        self.old.is_some()
    }

    /// Whether the older file answers this.
    #[must_use]
    pub fn is_kept(&self, question: Question) -> bool {
        self.kept(question.key()).is_some()
    }

    /// The older file's answer, where it is text; not to be shown for [`Question::Database`].
    #[must_use]
    pub fn old(&self, question: Question) -> Option<&str> {
        self.kept(question.key()).and_then(Value::as_str)
    }

    fn kept(&self, path: &str) -> Option<&Value> {
        self.old.as_ref()?.get(path)
    }

    /// Names the server whose people may log in when it is not answered, because the environment gives it.
    pub fn serve(&mut self, domain: String) {
        self.served = Some(domain);
    }

    /// Takes an answer if it is one.
    ///
    /// # Errors
    /// What is wrong with it, and what to do; then it is not taken. The place is the key's path.
    pub fn put(&mut self, question: Question, answer: &str) -> Result<(), Fault> {
        let mut with = self.clone();
        with.answers.insert(question, answer.trim().to_owned());
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

    /// The example configuration with the answers in it, and with the older file's values where there is none; secrets that are
    /// nowhere are still to be made.
    ///
    /// # Errors
    /// One fault for each of the older file's values that would not survive; trying again does not help.
    pub fn config_text(&self, name: &str) -> Result<String, Faults> {
        let text = self.write();
        let Some(old) = &self.old else { return Ok(text) };
        // The last net, as in `carry_over`: what would be lost is never written over.
        let new = find_values(&text, name, &Environment::default(), &mut Faults::default())?;
        let mut faults = Faults::default();
        for (path, value) in old {
            if self.given(path).is_none() && new.get(path) != Some(value) {
                faults.add(
                    *path,
                    "has a value that can't be carried over",
                    "move the file away and write the value by hand",
                );
            }
        }
        if faults.is_empty() { Ok(text) } else { Err(faults) }
    }

    fn write(&self) -> String {
        write_config(&|key| self.given(key.path).unwrap_or_else(|| self.not_answered(key)))
    }

    fn not_answered(&self, key: &Key) -> Value {
        match &self.old {
            Some(old) => old.get(key.path).cloned().unwrap_or_else(|| not_given(key)),
            None => example_value(key),
        }
    }

    /// The value that the answers lead to; none where they say nothing about the key.
    fn given(&self, path: &str) -> Option<Value> {
        match path {
            "homeserver.address" => self.text(Question::Homeserver),
            "homeserver.domain" => self.text(Question::Domain),
            "database.type" => {
                let uri = self.get(Question::Database)?;
                Some(Value::from(if uri.starts_with("postgres") { "postgres" } else { "sqlite" }))
            }
            "database.uri" => self.text(Question::Database),
            "appservice.address" => self.text(Question::Address),
            "appservice.hostname" => self.text(Question::Hostname),
            "appservice.port" => {
                self.get(Question::Port).map(|port| port.parse::<u16>().map_or(Value::from(port), Value::from))
            }
            "bridge.permissions" => self.permissions(),
            _ => None,
        }
    }

    fn text(&self, question: Question) -> Option<Value> {
        self.get(question).map(Value::from)
    }

    /// Everybody may be relayed, the own server's people may log in, one may do everything. Names of an older file stay.
    fn permissions(&self) -> Option<Value> {
        let admin = self.get(Question::Admin);
        let answered = self.get(Question::Domain);
        let mut levels = match self.kept(Question::Admin.key()) {
            Some(Value::Mapping(levels)) => {
                let mut levels = levels.clone();
                let moved = answered.filter(|domain| self.old(Question::Domain) != Some(*domain));
                if admin.is_none() && moved.is_none() {
                    return None;
                }
                if let Some(domain) = moved {
                    levels.entry(Value::from(domain)).or_insert_with(|| Value::from("user"));
                }
                levels
            }
            _ => {
                let domain = answered.or(self.served.as_deref()).or_else(|| self.old(Question::Domain))?;
                let mut levels = Mapping::new();
                levels.insert(Value::from("*"), Value::from("relay"));
                levels.insert(Value::from(domain), Value::from("user"));
                levels
            }
        };
        if let Some(admin) = admin {
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
        let text = fill_secrets(&self.write(), "config", &environment, placeholder)?;
        Config::parse(&text, "config", &environment)
    }
}

/// The faults of a file that is to be written anew, each with the other way out.
fn or_move_away(faults: &Faults, name: &str) -> Faults {
    let mut with = Faults::default();
    for fault in faults.iter() {
        with.add(
            &fault.place,
            &fault.what,
            format!("{}; or move {name} away: what it says is lost to the bridge then, tokens and keys too", fault.fix),
        );
    }
    with
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

    const OLD: &str = r#"
homeserver: {address: "http://hs:8008", domain: example.org}
appservice: {address: "http://wa:29400", hostname: 10.0.0.5, port: 29400, id: mine, as_token: a, hs_token: h,
    username_template: "wa_{{.}}", bot: {username: wabot}}
database: {type: postgres, uri: "postgres://u:p@h/d"}
bridge: {permissions: {"*": block, "@anna:example.org": admin}}
double_puppet: {secrets: {m.example.net: "as_token:s"}, servers: {m.example.net: "https://m.example.net"}}
provisioning: {shared_secret: "0123456789abcdef0123"}
encryption: {pickle_key: k}
"#;

    fn values(text: &str) -> Found {
        find_values(text, "c", &Environment::default(), &mut Faults::default()).unwrap()
    }

    #[test]
    fn what_is_not_answered_anew_stays_as_an_older_file_has_it() {
        let mut answers = Answers::over(OLD, "c").unwrap();
        let mut want = values(OLD);
        let text = answers.config_text("c").unwrap();
        for (path, value) in &want {
            assert_eq!(values(&text).get(path), Some(value), "{path}");
        }
        let (before, after) = (
            Config::parse(OLD, "c", &Environment::default()).unwrap(),
            Config::parse(&text, "c", &Environment::default()).unwrap(),
        );
        assert_eq!(
            before.origin.tree, after.origin.tree,
            "what the old file leaves out has its default, not the example's value"
        );

        answers.put(Question::Database, "file:x.db").unwrap();
        answers.put(Question::Admin, "@bob:example.org").unwrap();
        want.insert("database.type", Value::from("sqlite"));
        want.insert("database.uri", Value::from("file:x.db"));
        let levels =
            serde_yaml::from_str("{'*': block, '@anna:example.org': admin, '@bob:example.org': admin}").unwrap();
        want.insert("bridge.permissions", levels);
        let found = values(&answers.config_text("c").unwrap());
        for (path, value) in want {
            assert_eq!(found.get(path), Some(&value), "{path}");
        }
        assert!(!format!("{answers:?}").contains("postgres"), "a password may be in it");
    }

    #[test]
    fn a_moved_homeservers_people_may_log_in_and_those_of_an_unmoved_one_as_before() {
        let mut answers = Answers::over(OLD, "c").unwrap();
        answers.put(Question::Domain, "example.org").unwrap();
        let level = |answers: &Answers, who: &str| {
            Config::parse(&answers.config_text("c").unwrap(), "c", &Environment::default())
                .unwrap()
                .bridge
                .level_of(who)
        };
        assert_eq!(level(&answers, "@carl:example.org"), Level::Block);
        answers.put(Question::Domain, "example.net").unwrap();
        assert_eq!(level(&answers, "@carl:example.net"), Level::User);
        assert_eq!(level(&answers, "@anna:example.org"), Level::Admin);
    }

    #[test]
    fn an_older_file_that_can_not_be_understood_is_a_fault_with_its_place() {
        for (old, want) in [
            ("encryption: {pickle_key: k}\nappservice: [\n", "line 3"),
            ("- a\n", "holds no keys"),
            ("encryption: {pickle_kee: k}\n", "did you mean `encryption.pickle_key`"),
            ("appservice: {port: many}\n", "is no port"),
        ] {
            let told = Answers::over(old, "config.yaml").unwrap_err().to_string();
            assert!(told.contains(want) && told.contains("or move config.yaml away"), "{old}: {told}");
        }
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
