//! Acting as people's own accounts.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::Config;
use crate::masked::Secret;

/// What the second registration's token is derived for.
const PURPOSE: &[u8] = b"matrix-whatsapp double puppets 1";

/// What stands before a token in `double_puppet.secrets`, as in other bridges.
pub(super) const AS_TOKEN: &str = "as_token:";

/// Section `double_puppet`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoublePuppet {
    /// Whether people of homeservers with a shared token are acted as without being asked.
    pub automatic: bool,
    /// Addresses of other homeservers, by server name.
    pub servers: BTreeMap<String, String>,
    /// Shared tokens by server name, each behind `as_token:`.
    pub secrets: BTreeMap<String, Secret<String>>,
}

impl Config {
    /// The token of the second registration that `-g` writes. Made out of `appservice.as_token`, so that there is nothing
    /// more to configure or to keep.
    #[must_use]
    pub fn double_puppet_token(&self) -> Secret<String> {
        // HMAC takes a key of any length (RFC 2104 section 2), so this can't fail.
        #[expect(clippy::unwrap_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.appservice.as_token.reveal().as_bytes()).unwrap();
        mac.update(PURPOSE);
        Secret::new(crate::derive::hex(&mac.finalize().into_bytes()))
    }

    /// The token with which the bridge may act as everybody of a homeserver; none when it has none for it.
    #[must_use]
    pub fn shared_puppet_token(&self, server: &str) -> Option<Secret<String>> {
        let given = self.double_puppet.secrets.get(server).and_then(|secret| secret.reveal().strip_prefix(AS_TOKEN));
        match given {
            Some(token) => Some(Secret::new(token.to_owned())),
            None => (server == self.homeserver.domain).then(|| self.double_puppet_token()),
        }
    }

    /// Where the homeserver of somebody who is not the bridge's own user is reached; none when it is not configured.
    #[must_use]
    pub fn puppet_address(&self, server: &str) -> Option<&str> {
        self.double_puppet.servers.get(server).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};

    const GOOD: &str = r#"
homeserver: {address: "http://localhost:8008", domain: example.com}
appservice: {address: "http://localhost:29318", as_token: ours, hs_token: theirs}
bridge: {permissions: {"example.com": user}}
encryption: {pickle_key: sealed}
"#;

    fn parse(section: &str) -> Result<Config, String> {
        let text = format!("{GOOD}{section}");
        Config::parse(&text, "c", &Environment::default()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_own_homeserver_needs_no_token_and_others_do() {
        let config = parse("").unwrap();
        assert!(config.double_puppet.automatic);
        let own = config.shared_puppet_token("example.com").unwrap();
        assert_eq!(own.reveal().len(), 64);
        assert_ne!(own.reveal(), config.appservice.as_token.reveal());
        assert!(config.shared_puppet_token("example.org").is_none() && config.puppet_address("example.org").is_none());
        let section = "double_puppet: {automatic: false, servers: {example.org: 'https://m.example.org'}, \
                       secrets: {example.org: 'as_token:theirs', example.com: 'as_token:given'}}\n";
        let config = parse(section).unwrap();
        assert!(!config.double_puppet.automatic);
        assert_eq!(config.shared_puppet_token("example.org").unwrap().reveal(), "theirs");
        assert_eq!(config.shared_puppet_token("example.com").unwrap().reveal(), "given");
        assert_eq!(config.puppet_address("example.org"), Some("https://m.example.org"));
        assert!(!format!("{config:?}").contains("given"));
    }

    #[test]
    fn faults_are_told_and_tokens_are_not() {
        for (section, want) in [
            ("automatic: perhaps", "double_puppet.automatic: `perhaps` is neither true nor false; use one of them"),
            (
                "servers: https://m",
                "double_puppet.servers: must hold server names with a text each; for example `example.org: \"...\"`",
            ),
            (
                "servers: {example.org: 'm.example.org'}",
                "double_puppet.servers: `m.example.org` is no URL (relative URL without a base); write a URL like `http://host:port`",
            ),
            (
                "secrets: {example.com: hunter2}",
                "double_puppet.secrets.example.com: does not begin with `as_token:`; write `as_token:` and the registration's as_token",
            ),
            (
                "secrets: {example.org: 'as_token:hunter2'}",
                "double_puppet.servers: has no address for `example.org`, which double_puppet.secrets names; add it with its URL",
            ),
            (
                "secrets: {'a b': 'as_token:hunter2'}",
                "double_puppet.secrets.a b: is no server name; write what stands behind the colon in user ids",
            ),
        ] {
            assert_eq!(parse(&format!("double_puppet: {{{section}}}\n")).unwrap_err(), want);
        }
    }

    #[test]
    fn the_environment_gives_it_too() {
        let variables = [
            ("MATRIX_WHATSAPP_DOUBLE_PUPPET__AUTOMATIC".to_owned(), "false".to_owned()),
            ("MATRIX_WHATSAPP_DOUBLE_PUPPET__SECRETS".to_owned(), "{example.com: 'as_token:x'}".to_owned()),
        ];
        let config = Config::parse(GOOD, "c", &variables.into_iter().collect()).unwrap();
        assert!(!config.double_puppet.automatic);
        assert_eq!(config.shared_puppet_token("example.com").unwrap().reveal(), "x");
    }
}
