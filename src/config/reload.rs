//! Reading the configuration again while the bridge runs: what may change without a restart, and the rest named.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_yaml::{Mapping, Value};

use super::Config;
use super::environment::Environment;
use super::faults::Faults;
use super::keys::KEYS;
use super::load::put;

/// The keys whose values are asked for each time they count, so that a new one counts from then on. All others are
/// used at the start only, or parts of the bridge were built on them: they need a restart.
pub(super) const LIVE_KEYS: &[&str] = &[
    "bridge.command_prefix",
    "bridge.bridge_matrix_leave",
    "bridge.delete_chat_rooms",
    "bridge.clear_chat_messages",
    "bridge.permissions",
    "bridge.budgets.whatsapp_requests_per_minute",
    "bridge.budgets.rooms_per_minute",
    "bridge.budgets.ghosts_per_minute",
    "bridge.budgets.memberships_per_minute",
    "bridge.relay.enabled",
    "bridge.relay.admin_only",
    "bridge.relay.default_relays",
    "bridge.relay.notices",
    "bridge.relay.message_formats",
    "bridge.relay.displayname_format",
    "matrix.message_status_events",
    "matrix.delivery_receipts",
    "network.disable_status_broadcast_send",
    "network.url_previews",
    "logging.level",
    "provisioning.shared_secret",
    "provisioning.allow_matrix_auth",
    "provisioning.allow_openid_auth",
    "provisioning.requests_per_minute",
    "provisioning.fail_on_webauthn",
];

/// Most times a process takes new values: each leaves the old ones in memory, which somebody may still be reading.
const MOST_RELOADS: usize = 1000;

/// Where a [`Config`] came from. Printed as nothing: it holds secrets.
#[derive(Clone, Default)]
pub(super) struct Origin {
    /// The file; `None` for a text.
    pub path: Option<PathBuf>,
    /// What the environment said.
    pub environment: Environment,
    /// The values, every key of them.
    pub tree: Value,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What reading the file again came to.
#[derive(Debug)]
pub struct Reloaded {
    /// The configuration to go on with.
    pub config: Config,
    /// Paths of keys whose new values it has.
    pub changed: Vec<&'static str>,
    /// Paths of keys whose new values need a restart; it has their old ones.
    pub waiting: Vec<&'static str>,
}

impl Config {
    /// Reads the file again. The environment of a process does not change, so it says what it said at the start; the files its
    /// variables name are read again.
    ///
    /// # Errors
    /// [`Faults`] as of [`Config::load`]: then nothing is to change.
    pub fn read_again(&self) -> Result<Reloaded, Faults> {
        let Some(path) = &self.origin.path else {
            return Err(Faults::one("config", "was not read from a file", "restart the bridge"));
        };
        let new = Self::load(path, &self.origin.environment)?;
        let mut reloaded = self.take_from(&new)?;
        reloaded.config.origin.path = Some(path.clone());
        Ok(reloaded)
    }

    /// This configuration with what may change of `new`.
    fn take_from(&self, new: &Self) -> Result<Reloaded, Faults> {
        let mut tree = match &self.origin.tree {
            Value::Mapping(tree) => tree.clone(),
            _ => Mapping::new(),
        };
        let (mut changed, mut waiting) = (Vec::new(), Vec::new());
        for key in KEYS {
            let value = value_at(&new.origin.tree, key.path);
            if value == value_at(&self.origin.tree, key.path) {
                continue;
            }
            if LIVE_KEYS.contains(&key.path) {
                put(&mut tree, key.path, value.cloned().unwrap_or(Value::Null));
                changed.push(key.path);
            } else {
                waiting.push(key.path);
            }
        }
        // Checked once more, since old and new values may not fit each other.
        let config = Self::of_tree(Value::Mapping(tree), "config", &self.origin.environment, Faults::default())?;
        Ok(Reloaded { config, changed, waiting })
    }
}

fn value_at<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |tree, name| tree.as_mapping()?.get(name))
}

/// A configuration that can be replaced while others read it: a reader keeps what it has.
#[derive(Debug)]
pub struct Live {
    config: Config,
    next: OnceLock<Box<Self>>,
}

impl Live {
    /// Holds this configuration.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, next: OnceLock::new() }
    }

    /// The newest one.
    #[must_use]
    pub fn get(&self) -> &Config {
        &self.last().0.config
    }

    /// Puts a newer one in. Answers false when there were too many already: the process wants a restart.
    #[must_use]
    pub fn put(&self, config: Config) -> bool {
        let (last, count) = self.last();
        count < MOST_RELOADS && last.next.set(Box::new(Self::new(config))).is_ok()
    }

    fn last(&self) -> (&Self, usize) {
        let (mut last, mut count) = (self, 0);
        while let Some(next) = last.next.get() {
            (last, count) = (next, count + 1);
        }
        (last, count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::find_key;
    use super::super::{Level, LogLevel};
    use super::*;

    const OLD: &str = r#"
homeserver: {address: "http://localhost:8008", domain: example.org}
appservice: {address: "http://localhost:29318", as_token: ours, hs_token: theirs}
bridge: {permissions: {"example.org": user}}
encryption: {pickle_key: sealed}
"#;

    fn started(text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, Config) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::load(&path, &environment).unwrap();
        (folder, path, config)
    }

    #[test]
    fn what_may_change_does_and_the_rest_is_named() {
        let (_folder, path, config) = started(OLD, &[]);
        let unchanged = config.read_again().unwrap();
        assert_eq!((unchanged.changed.len(), unchanged.waiting.len()), (0, 0));
        let new = OLD
            .replace("\"example.org\": user", "\"example.org\": block, \"@a:example.org\": admin")
            .replace("29318", "29319")
            + "logging: {level: debug}\nmedia: {max_file_mib: 7}\n";
        std::fs::write(&path, &new).unwrap();
        let reloaded = config.read_again().unwrap();
        assert_eq!(reloaded.changed, ["bridge.permissions", "logging.level"]);
        assert_eq!(reloaded.waiting, ["appservice.address", "media.max_file_mib"]);
        let now = reloaded.config;
        assert_eq!(now.bridge.level_of("@a:example.org"), Level::Admin);
        assert_eq!(now.bridge.level_of("@b:example.org"), Level::Block);
        assert_eq!(now.logging.level, LogLevel::Debug);
        assert_eq!((now.appservice.address.as_str(), now.media.max_file_mib), ("http://localhost:29318", 2000));
        // Again: what waits is told again, what is done is not.
        let again = now.read_again().unwrap();
        assert_eq!((again.changed.len(), again.waiting.len()), (0, 2));
        std::fs::write(&path, OLD).unwrap();
        let back = again.config.read_again().unwrap();
        assert_eq!(back.changed, ["bridge.permissions", "logging.level"]);
        assert!(back.waiting.is_empty());
    }

    #[test]
    fn a_broken_file_changes_nothing_and_says_why() {
        let (_folder, path, config) = started(OLD, &[]);
        std::fs::write(&path, OLD.replace("user", "usr")).unwrap();
        let told = config.read_again().unwrap_err().to_string();
        assert!(told.contains("did you mean `user`"), "{told}");
        std::fs::remove_file(&path).unwrap();
        assert!(config.read_again().unwrap_err().to_string().contains("can't be read"));
    }

    #[test]
    fn the_environment_still_wins() {
        let (_folder, path, config) = started(OLD, &[("MATRIX_WHATSAPP_LOGGING__LEVEL", "warn")]);
        std::fs::write(&path, format!("{OLD}logging: {{level: debug}}\n")).unwrap();
        let reloaded = config.read_again().unwrap();
        assert!(reloaded.changed.is_empty());
        assert_eq!(reloaded.config.logging.level, LogLevel::Warn);
    }

    #[test]
    fn a_reader_keeps_what_it_has_and_the_next_one_sees_the_newest() {
        let (_folder, path, config) = started(OLD, &[]);
        let live = Live::new(config);
        let held = live.get();
        std::fs::write(&path, format!("{OLD}logging: {{level: debug}}\n")).unwrap();
        assert!(live.put(held.read_again().unwrap().config));
        assert_eq!(held.logging.level, LogLevel::Info);
        assert_eq!(live.get().logging.level, LogLevel::Debug);
        while live.put(held.clone()) {}
        assert_eq!(live.last().1, MOST_RELOADS);
    }

    #[test]
    fn every_live_key_is_one_and_no_secret_is_printed() {
        for path in LIVE_KEYS {
            assert!(find_key(path).is_some(), "{path}");
        }
        let (_folder, _, config) = started(OLD, &[]);
        let printed = format!("{config:?}");
        assert!(!printed.contains("ours") && !printed.contains("sealed"), "{printed}");
    }
}
