//! The two files the homeserver reads: the bridge's registration, and a second one for double puppets. Pure.
//!
//! Why two: with the wide namespace of the second in the first, every event and receipt of every local user
//! would be pushed to the bridge (observed with Synapse 1.163). Why the `sender_localpart` is not the bot: a
//! homeserver refuses `/sync` to that user, and the bot needs it (observed with Synapse 1.163, by design there).

use serde_yaml::{Mapping, Value};

use super::faults::Faults;
use super::yaml::scalar;
use super::{Appservice, Config};
use crate::masked::Secret;

/// What stays the same when a registration is written again.
#[derive(Debug, Clone)]
pub struct Standing {
    sender_localpart: String,
    hs_token: Secret<String>,
}

impl Standing {
    /// New random values from `random`, which returns as many bytes as asked for, as hexadecimal digits.
    #[must_use]
    pub fn fresh(kind: RegistrationKind, appservice: &Appservice, random: impl Fn(usize) -> String) -> Self {
        Self {
            sender_localpart: format!("{}{}", kind.sender_prefix(appservice), random(8)),
            hs_token: Secret::new(random(32)),
        }
    }

    /// The values of an existing file where they are usable, else of `self`.
    #[must_use]
    pub fn or_as_in(self, existing: &str, appservice: &Appservice) -> Self {
        let Ok(file) = serde_yaml::from_str::<Mapping>(existing) else {
            return self;
        };
        let text =
            |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let is_sender = |name: &String| {
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._=/+-".contains(c))
                && *name != appservice.bot.username
                && !name.starts_with(appservice.ghost_prefix())
        };
        Self {
            sender_localpart: text("sender_localpart").filter(is_sender).unwrap_or(self.sender_localpart),
            hs_token: text("hs_token").map_or(self.hs_token, Secret::new),
        }
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationKind {
    /// The bridge itself.
    Bridge,
    /// Acting as people of this homeserver.
    DoublePuppet,
}

impl RegistrationKind {
    /// How the sender begins: not as ghosts do. The two words differ in their first letter, so one of them fits.
    fn sender_prefix(self, appservice: &Appservice) -> &'static str {
        let (first, other) = match self {
            Self::Bridge => ("wa-sender-", "bridge-sender-"),
            Self::DoublePuppet => ("wa-puppets-", "puppets-"),
        };
        if first.starts_with(appservice.ghost_prefix()) { other } else { first }
    }
}

/// The text of the bridge's registration. Tokens are the config's, the sender is from `standing`.
#[must_use]
pub fn bridge_registration(config: &Config, standing: &Standing) -> String {
    let appservice = &config.appservice;
    let domain = escape_regex(&config.homeserver.domain);
    let prefix = escape_regex(appservice.ghost_prefix());
    let suffix = escape_regex(appservice.ghost_suffix());
    let ghosts = format!("^@{prefix}.+{suffix}:{domain}$");
    let bot = format!("^@{}:{domain}$", escape_regex(&appservice.bot.username));
    let aliases = format!("^#{prefix}.+:{domain}$");
    format!(
        "\
# Registration of matrix-whatsapp, written by -g. The homeserver reads it at its start:
# name it in Synapse's app_service_config_files.
id: {id}
url: {url}
as_token: {as_token}
hs_token: {hs_token}
sender_localpart: {sender}
rate_limited: false
receive_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
namespaces:
    users:
        - regex: {ghosts}
          exclusive: true
        - regex: {bot}
          exclusive: true
    aliases:
        - regex: {aliases}
          exclusive: true
",
        id = scalar(&appservice.id),
        url = scalar(appservice.address.trim_end_matches('/')),
        as_token = scalar(appservice.as_token.reveal()),
        hs_token = scalar(appservice.hs_token.reveal()),
        sender = scalar(&standing.sender_localpart),
        ghosts = scalar(&ghosts),
        bot = scalar(&bot),
        aliases = scalar(&aliases),
    )
}

/// The text of the second registration, with which the bridge may act as people of this homeserver. Its token is made out of
/// the config's ([`Config::double_puppet_token`]). No URL: the
/// homeserver pushes nothing through it.
#[must_use]
pub fn double_puppet_registration(config: &Config, standing: &Standing) -> String {
    format!(
        "\
# Second registration of matrix-whatsapp, written by -g: lets it act as people of this homeserver (double puppets).
# Name it beside the first in Synapse's app_service_config_files.
id: {id}
url: null
as_token: {as_token}
hs_token: {hs_token}
sender_localpart: {sender}
rate_limited: false
namespaces:
    users:
        - regex: {everybody}
          exclusive: false
",
        id = scalar(&format!("{}-doublepuppet", config.appservice.id)),
        as_token = scalar(config.double_puppet_token().reveal()),
        hs_token = scalar(standing.hs_token.reveal()),
        sender = scalar(&standing.sender_localpart),
        everybody = scalar(&format!("^@.*:{}$", escape_regex(&config.homeserver.domain))),
    )
}

/// Compares a registration file with what the config wants; `name` is what its faults are put under. Tokens are
/// compared, never shown.
///
/// # Errors
/// [`Faults`], one for each field that differs.
pub fn compare_registration(config: &Config, name: &str, file: &str) -> Result<(), Faults> {
    const FIX: &str = "run with -g and restart the homeserver";
    let Ok(found) = serde_yaml::from_str::<Mapping>(file) else {
        return Err(Faults::one(name, "is no registration", FIX));
    };
    let fresh = Standing::fresh(RegistrationKind::Bridge, &config.appservice, |_| String::new());
    let standing = fresh.or_as_in(file, &config.appservice);
    let wanted: Mapping = serde_yaml::from_str(&bridge_registration(config, &standing)).unwrap_or_default();
    let mut faults = Faults::default();
    for (field, _) in wanted.iter().filter(|(field, value)| found.get(*field) != Some(*value)) {
        let field = field.as_str().unwrap_or_default();
        faults.add(name, format!("`{field}` does not fit the config"), FIX);
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The bridge's registration as the example in the repository shows it, with placeholders for what is random.
#[must_use]
pub fn example_registration(example: &Config) -> String {
    let standing = Standing::fresh(RegistrationKind::Bridge, &example.appservice, |bytes| "0".repeat(bytes * 2));
    let text = bridge_registration(example, &standing);
    text.replacen("written by -g.", "as -g writes it.", 1)
}

/// Every character with a meaning in a regular expression, behind a backslash.
fn escape_regex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, example_config, fill_secrets};
    use super::*;

    fn config(change: impl Fn(String) -> String) -> Config {
        let environment = Environment::default();
        let made = std::cell::Cell::new('a');
        let random = |bytes: usize| {
            made.set(char::from_u32(u32::from(made.get()) + 1).unwrap());
            made.get().to_string().repeat(bytes * 2)
        };
        let text = fill_secrets(&change(example_config()), "c", &environment, random).unwrap();
        Config::parse(&text, "c", &environment).unwrap()
    }

    fn standing(config: &Config, kind: RegistrationKind) -> Standing {
        Standing::fresh(kind, &config.appservice, |bytes| "5".repeat(bytes * 2))
    }

    #[test]
    fn the_registration_says_what_the_config_says() {
        let config = config(|text| text.replace("example.com", "chat.example.com"));
        let text = bridge_registration(&config, &standing(&config, RegistrationKind::Bridge));
        let found: Value = serde_yaml::from_str(&text).unwrap();
        let want: Value = serde_yaml::from_str(
            r"
id: whatsapp
url: http://localhost:29318
as_token: AAA
hs_token: HHH
sender_localpart: bridge-sender-5555555555555555
rate_limited: false
receive_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
namespaces:
    users:
        - {regex: '^@whatsapp_.+:chat\.example\.com$', exclusive: true}
        - {regex: '^@whatsappbot:chat\.example\.com$', exclusive: true}
    aliases:
        - {regex: '^#whatsapp_.+:chat\.example\.com$', exclusive: true}
"
            .replace("AAA", config.appservice.as_token.reveal())
            .replace("HHH", config.appservice.hs_token.reveal())
            .replace("bridge-sender", "wa-sender")
            .as_str(),
        )
        .unwrap();
        assert_eq!(found, want);
        assert_eq!(compare_registration(&config, "r.yaml", &text), Ok(()));
        let stale = text.replace("29318", "29319").replace(config.appservice.as_token.reveal(), "old");
        let told = compare_registration(&config, "r.yaml", &stale).unwrap_err();
        assert_eq!(
            told.to_string(),
            "\
r.yaml: `url` does not fit the config; run with -g and restart the homeserver
r.yaml: `as_token` does not fit the config; run with -g and restart the homeserver"
        );
        assert!(compare_registration(&config, "r.yaml", "{").is_err());
    }

    #[test]
    fn double_puppets_get_no_traffic_and_no_exclusive_names() {
        let config = config(|text| text);
        let text = double_puppet_registration(&config, &standing(&config, RegistrationKind::DoublePuppet));
        let found: Mapping = serde_yaml::from_str(&text).unwrap();
        assert_eq!(found["id"], Value::from("whatsapp-doublepuppet"));
        assert_eq!(found.get("url"), Some(&Value::Null));
        let users = &found["namespaces"]["users"];
        assert_eq!(users[0]["regex"], Value::from(r"^@.*:example\.com$"));
        assert_eq!(users[0]["exclusive"], Value::from(false));
    }

    #[test]
    fn writing_again_keeps_what_the_homeserver_already_knows() {
        let config = config(|text| text);
        for kind in [RegistrationKind::Bridge, RegistrationKind::DoublePuppet] {
            let write = match kind {
                RegistrationKind::Bridge => bridge_registration,
                RegistrationKind::DoublePuppet => double_puppet_registration,
            };
            let first = write(&config, &standing(&config, kind));
            let other = Standing::fresh(kind, &config.appservice, |bytes| "7".repeat(bytes * 2));
            assert_eq!(write(&config, &other.clone().or_as_in(&first, &config.appservice)), first);
            for broken in [
                "",
                "- x",
                "{",
                "sender_localpart: whatsappbot",
                "sender_localpart: whatsapp_1",
                "sender_localpart: \"a\\nb\"",
            ] {
                let again = write(&config, &other.clone().or_as_in(broken, &config.appservice));
                assert_eq!(again, write(&config, &other), "{broken}");
            }
        }
    }

    #[test]
    fn the_sender_is_never_a_ghost() {
        let config = config(|text| text.replace("whatsapp_{{.}}", "wa-{{.}}"));
        for kind in [RegistrationKind::Bridge, RegistrationKind::DoublePuppet] {
            assert!(!standing(&config, kind).sender_localpart.starts_with("wa-"));
        }
    }

    #[test]
    fn nothing_in_a_name_counts_as_a_pattern() {
        assert_eq!(escape_regex("a.b+c-d_e/f=[::1]:8448"), r"a\.b\+c-d_e/f=\[::1\]:8448");
        let config = config(|text| text.replace("whatsapp_{{.}}", "wa.{{.}}.x"));
        let text = bridge_registration(&config, &standing(&config, RegistrationKind::Bridge));
        assert!(text.contains(r"'^@wa\..+\.x:example\.com$'"), "{text}");
        assert!(text.contains(r"'^#wa\..+:example\.com$'"), "{text}");
    }
}
