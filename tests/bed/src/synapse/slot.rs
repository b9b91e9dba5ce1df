//! One application service known to a Synapse: made by the bridge's own generator.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xtask::places;
use xtask::ports::{self, Port};

use super::{Loaded, SERVER_NAME};

/// An application service's names, tokens and port, for one bridge.
#[derive(Debug)]
pub struct Slot {
    index: usize,
    port: Port,
    folder: PathBuf,
    config: Value,
}

impl Slot {
    /// Writes a config for slot `index` and lets the bridge fill in its tokens and write the two registrations.
    ///
    /// # Errors
    /// The bridge was not built, or refuses.
    pub(crate) fn register(index: usize, folder: &Path, homeserver: &str) -> Result<Self> {
        let port = ports::lease()?;
        let folder = folder.join(format!("wa{index}"));
        std::fs::create_dir(&folder)?;
        let config = json!({
            "homeserver": {"address": homeserver, "domain": SERVER_NAME},
            "appservice": {
                "address": format!("http://127.0.0.1:{}", port.number()),
                "hostname": "127.0.0.1",
                "port": port.number(),
                "id": format!("wa{index}"),
                "bot": {"username": format!("wa{index}bot"), "displayname": "WhatsApp bridge bot"},
                "username_template": format!("wa{index}_{{{{.}}}}"),
            },
            "database": {"type": "sqlite", "uri": format!("sqlite:{}", folder.join("unused.db").display())},
            "bridge": {"permissions": {SERVER_NAME: "user"}},
            // Stories about it turn it on.
            "double_puppet": {"automatic": false},
        });
        let path = folder.join("config.yaml");
        std::fs::write(&path, serde_yaml::to_string(&config)?)?;
        let registration = folder.join("registration.yaml");
        let bridge = places::bridge();
        let mut command = Command::new(&bridge);
        places::clear_environment(&mut command);
        let made = command
            .args(["-g", "-c"])
            .arg(&path)
            .arg("-r")
            .arg(&registration)
            .current_dir(&folder)
            .output()
            .with_context(|| format!("running {} (is it built?)", bridge.display()))?;
        if !made.status.success() {
            bail!(
                "{} -g failed: {}{}",
                bridge.display(),
                String::from_utf8_lossy(&made.stdout),
                String::from_utf8_lossy(&made.stderr)
            );
        }
        let config = serde_yaml::from_str(&std::fs::read_to_string(&path)?).context("the config -g wrote back")?;
        let slot = Self { index, port, folder, config };
        for path in slot.registrations(Loaded::Puppets) {
            if !path.exists() {
                bail!("-g did not write {}", path.display());
            }
        }
        Ok(slot)
    }

    /// Returns the registration files: the bridge's, and the one for double puppets where that is loaded too.
    #[must_use]
    pub fn registrations(&self, loaded: Loaded) -> Vec<PathBuf> {
        let names: &[&str] = match loaded {
            Loaded::Bridges => &["registration.yaml"],
            Loaded::Puppets => &["registration.yaml", "registration-doublepuppet.yaml"],
        };
        names.iter().map(|name| self.folder.join(name)).collect()
    }

    /// Returns the config as the generator left it, tokens included.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Returns a text of the config, such as `text("/appservice/hs_token")`.
    ///
    /// # Errors
    /// There is none at that place.
    pub fn text(&self, pointer: &str) -> Result<&str> {
        let value = self.config.pointer(pointer).and_then(Value::as_str);
        value.with_context(|| format!("no text at {pointer} of the config"))
    }

    /// Returns the port the bridge has to listen on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the bot's Matrix id.
    #[must_use]
    pub fn bot(&self) -> String {
        format!("@wa{}bot:{SERVER_NAME}", self.index)
    }

    /// Returns the Matrix id of the ghost of the person whose WhatsApp id begins with these digits.
    #[must_use]
    pub fn ghost(&self, digits: &str) -> String {
        format!("@wa{}_{digits}:{SERVER_NAME}", self.index)
    }

    /// Returns whether a Matrix id is one of this slot's ghosts.
    #[must_use]
    pub fn is_ghost(&self, user: &str) -> bool {
        user.starts_with(&format!("@wa{}_", self.index))
    }
}
