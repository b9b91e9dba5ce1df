//! The operator's configuration.

pub mod bridge;
mod database;
pub mod displayname;
pub mod network;

use serde::Deserialize;

pub use bridge::{Bridge, Encryption, Level, LogLevel, Logging, Permissions};
pub use displayname::{DisplaynameTemplate, NameFacts, render_displayname};
pub use network::{Appservice, Bot, Database, DatabaseType, Homeserver, Network};

/// A checked configuration.
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
    /// The WhatsApp side.
    pub network: Network,
    /// Keys that seal what is stored.
    pub encryption: Encryption,
    /// What is logged.
    pub logging: Logging,
}
