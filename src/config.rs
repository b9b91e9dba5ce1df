//! The operator's configuration: a YAML (or JSON) file and the environment, read once at start.
//!
//! Promise: a [`Config`] has passed every check that needs no network; when one fails, all of them are told at
//! once ([`Faults`]), each with its path and what to do. Names, defaults, meanings, the example file and the
//! names in the environment come from one table (`keys.rs`).
//! Owns nothing and writes nothing, but for the texts of the registrations, which `cli` puts into files.
//! Called by `cli`; the rest of the bridge only reads the structs.

mod bridge;
mod carry;
mod check;
mod database;
mod displayname;
mod doors;
mod double_puppet;
mod environment;
mod example;
mod faults;
mod keys;
mod load;
mod matrix;
mod media;
mod network;
mod registration;
mod relay;
mod reload;
mod secrets;
mod start;
mod template;
#[cfg(test)]
mod tests;
mod yaml;

use std::path::PathBuf;

use serde::Deserialize;

pub use bridge::{Bridge, Budgets, Cleanup, Cleanups, Encryption, Level, LogLevel, Logging, Permissions};
pub use carry::carry_over;
pub use displayname::{DisplaynameTemplate, NAME_LIMIT, NameFacts, plain_name, render_displayname};
pub use doors::{Metrics, Provisioning};
pub use double_puppet::DoublePuppet;
pub use environment::Environment;
pub use example::{example_config, key_reference};
pub use faults::{Fault, Faults};
pub use matrix::Matrix;
pub use media::Media;
pub use network::{Appservice, Bot, Database, DatabaseType, Homeserver, Network, Presence};
pub use registration::{
    RegistrationKind, Standing, bridge_registration, compare_registration, double_puppet_registration,
    example_registration,
};
pub use relay::{FormatKind, MESSAGE_MARK, MessageFormats, NameFormat, Relay, SenderNames};
pub use reload::{Live, Reloaded};
pub use secrets::fill_secrets;
pub use start::{Answers, Question};
pub use template::TemplateFault;

/// A checked configuration; made by [`Config::load`] or [`Config::parse`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The homeserver we serve.
    pub homeserver: Homeserver,
    /// How it reaches us.
    pub appservice: Appservice,
    /// Where the bridge keeps its memory.
    pub database: Database,
    /// How the bridge behaves.
    pub bridge: Bridge,
    /// What is told on the Matrix side.
    pub matrix: Matrix,
    /// Acting as people's own accounts.
    pub double_puppet: DoublePuppet,
    /// The WhatsApp side.
    pub network: Network,
    /// Files on their way.
    pub media: Media,
    /// Keys that seal what is stored.
    pub encryption: Encryption,
    /// What is logged.
    pub logging: Logging,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// The API for programs that manage logins.
    pub provisioning: Provisioning,
    /// Where it came from, to be read again.
    #[serde(skip)]
    origin: reload::Origin,
}

impl Config {
    /// The folder of files on their way.
    #[must_use]
    pub fn media_folder(&self) -> PathBuf {
        let beside = || {
            let database = self.database.sqlite_path()?;
            let mut name = database.file_name()?.to_owned();
            name.push("-media");
            Some(database.with_file_name(name))
        };
        self.media.folder.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("media-spool"))
    }

    /// What is allowed and probably not meant, one sentence each; to be shown as warnings.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        check::advise(self)
    }
}
