//! The two networks as the operator describes them: homeserver, our listener, the database, WhatsApp.
//!
//! Defaults are not here: the table in `keys.rs` is their only place. Values in these structs have passed the
//! checks of `check.rs`, which the helpers below rely on.

use std::path::PathBuf;

use serde::Deserialize;

use super::database;
use super::displayname::DisplaynameTemplate;
use crate::masked::Secret;

/// Section `homeserver`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Homeserver {
    /// Where the bridge reaches the client-server API: an `http` or `https` URL.
    pub address: String,
    /// The server name in Matrix ids, e.g. `example.com`.
    pub domain: String,
    /// Where the states of logins are posted; `None` = nowhere.
    pub status_endpoint: Option<String>,
}

/// Section `appservice`: how the homeserver reaches us, and who we are there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appservice {
    /// The URL under which the homeserver reaches us; it goes into the registration.
    pub address: String,
    /// The URL under which people's browsers reach us; `None` = they do not, and there is no login page.
    pub public_address: Option<String>,
    /// The address to listen on.
    pub hostname: String,
    /// The TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The id in the registration.
    pub id: String,
    /// The bot's own account.
    pub bot: Bot,
    /// The localpart of ghosts, with `{{.}}` once where the contact's id goes.
    pub username_template: String,
    /// The token we show to the homeserver.
    pub as_token: Secret<String>,
    /// The token the homeserver shows to us.
    pub hs_token: Secret<String>,
}

/// Section `appservice.bot`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bot {
    /// Localpart of the bot.
    pub username: String,
    /// Profile name of the bot.
    pub displayname: String,
}

/// Where the contact's id goes in `appservice.username_template`.
pub(super) const TEMPLATE_HOLE: &str = "{{.}}";

impl Appservice {
    /// What stands before the contact's id in a ghost's localpart, e.g. `whatsapp_`. Never empty. Aliases of
    /// portals begin with it too.
    #[must_use]
    pub fn ghost_prefix(&self) -> &str {
        self.username_template.split(TEMPLATE_HOLE).next().unwrap_or_default()
    }

    /// What stands behind the contact's id in a ghost's localpart; usually empty.
    #[must_use]
    pub fn ghost_suffix(&self) -> &str {
        self.username_template.split(TEMPLATE_HOLE).nth(1).unwrap_or_default()
    }

    /// The localpart of the ghost with this key (already valid in a localpart).
    #[must_use]
    pub fn ghost_localpart(&self, key: &str) -> String {
        self.username_template.replacen(TEMPLATE_HOLE, key, 1)
    }
}

/// Which database holds the bridge's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DatabaseType {
    /// One file. `sqlite3-fk-wal` is the name other bridges have for it.
    #[serde(rename = "sqlite", alias = "sqlite3-fk-wal")]
    Sqlite,
    /// A PostgreSQL server.
    #[serde(rename = "postgres")]
    Postgres,
}

/// Section `database`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Which kind `uri` is.
    #[serde(rename = "type")]
    pub kind: DatabaseType,
    /// As the operator wrote it; may hold a password. Use [`Database::sqlx_url`].
    pub uri: Secret<String>,
}

impl Database {
    /// The URL sqlx takes: `sqlite:relative.db?mode=rwc`, `sqlite:///absolute.db?mode=rwc` or `postgres://…`.
    /// It may hold a password: never print it.
    #[must_use]
    pub fn sqlx_url(&self) -> String {
        match self.kind {
            DatabaseType::Sqlite => database::sqlite_url(&database::sqlite_path(self.uri.reveal())),
            DatabaseType::Postgres => self.uri.reveal().clone(),
        }
    }

    /// The SQLite file; `None` on Postgres.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        match self.kind {
            DatabaseType::Sqlite => Some(PathBuf::from(database::sqlite_path(self.uri.reveal()))),
            DatabaseType::Postgres => None,
        }
    }
}

/// Whether who is online is shown on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Neither way: logins are never shown as online, and nobody is asked about.
    Hidden,
    /// Both ways.
    Shared,
}

/// Section `network`: WhatsApp.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The name in the phone's list of linked devices.
    pub os_name: String,
    /// The profile name of ghosts.
    pub displayname_template: DisplaynameTemplate,
    /// Whether who is online is shown on the other side.
    pub presence: Presence,
    /// Whether each login gets a room with the status posts of its contacts.
    pub enable_status_broadcast: bool,
    /// Whether what is said in a status room is not posted. Answers and commands are not concerned.
    pub disable_status_broadcast_send: bool,
    /// The tag of archived chats' rooms.
    pub archive_tag: String,
    /// Whether the homeserver is asked for previews of links in messages for WhatsApp.
    pub url_previews: bool,
    /// A simulator's WebSocket in place of WhatsApp's servers; `None` = WhatsApp.
    pub websocket_url: Option<String>,
    /// A simulator's media servers in place of WhatsApp's; `None` = WhatsApp.
    pub media_base_url: Option<String>,
}
