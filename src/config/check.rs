//! What a value means, checked once its form is right: URLs, ids, templates, and keys against each other.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use ruma::{ServerName, UserId};

use super::database::sqlite_path;
use super::faults::Faults;
use super::load::shown;
use super::network::TEMPLATE_HOLE;
use super::{Config, Database, DatabaseType, Level};

/// The longest Matrix user id, in bytes (Matrix specification, appendices, user identifiers).
const MXID_LIMIT: usize = 255;

/// What a ghost's id or a portal's hash may take of it.
const KEY_ROOM: usize = 64;

/// A secret that can not be guessed has at least so many characters.
const SHORTEST_SECRET: usize = 16;

/// Adds every fault of a config whose form is right; keys that have a fault already are left out.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let mut out = Checker { before: faults.clone(), faults };
    check_homeserver(config, &mut out);
    check_appservice(config, &mut out);
    check_tokens(config, &mut out);
    check_database(&config.database, &mut out);
    check_bridge(config, &mut out);
    check_puppets(config, &mut out);
    check_network(config, &mut out);
    check_media(config, &mut out);
    check_doors(config, &mut out);
}

/// Hints that are no faults: what is allowed and probably not meant.
pub(super) fn advise(config: &Config) -> Vec<String> {
    let mut advice = Vec::new();
    if config.network.websocket_url.is_some() && !cfg!(feature = "simulator") {
        advice.push(
            "network.websocket_url is set, but this build trusts WhatsApp's servers only: a simulator can't link new devices".to_owned(),
        );
    }
    let domain = &config.homeserver.domain;
    let someone_here = |key: &str| key == "*" || key == domain || key.ends_with(&format!(":{domain}"));
    if !config.bridge.permissions.iter().any(|(key, level)| level >= Level::User && someone_here(key)) {
        advice.push(format!("bridge.permissions: nobody on {domain} has level user, so nobody there can log in"));
    }
    let public = config.appservice.public_address.as_deref().unwrap_or_default();
    if public.starts_with("http://")
        && !["http://localhost", "http://127.0.0.1"].iter().any(|home| public.starts_with(home))
    {
        advice.push("appservice.public_address is http: whoever is on the way can read the codes of logins".to_owned());
    }
    if domain == "example.com" {
        advice.push("homeserver.domain is the example's, example.com".to_owned());
    }
    advice
}

/// Collects faults at keys that had none before.
struct Checker<'a> {
    before: Faults,
    faults: &'a mut Faults,
}

impl Checker<'_> {
    fn add(&mut self, path: &str, what: impl Into<String>, fix: impl Into<String>) {
        if !self.concerned(path) {
            self.faults.add(path, what, fix);
        }
    }

    /// Whether the value at this key is not the operator's.
    fn concerned(&self, path: &str) -> bool {
        self.before.concerns(path) || self.before.concerns(&super::environment::variable_of(path))
    }

    fn url(&mut self, path: &str, text: &str, schemes: &[&str]) {
        let fix = format!("write a URL like `{}://host:port`", schemes.first().unwrap_or(&"http"));
        match Url::parse(text) {
            Err(why) => self.add(path, format!("`{}` is no URL ({why})", shown(text)), fix),
            Ok(url) if !schemes.contains(&url.scheme()) => {
                self.add(path, format!("must begin with {}", words(schemes, "://")), fix);
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                self.add(path, "must not hold a user or password", fix);
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                self.add(path, "must end before `?` or `#`", fix);
            }
            Ok(_) => {}
        }
    }
}

fn words(words: &[&str], behind: &str) -> String {
    words.iter().map(|word| format!("`{word}{behind}`")).collect::<Vec<_>>().join(" or ")
}

fn check_homeserver(config: &Config, out: &mut Checker<'_>) {
    out.url("homeserver.address", &config.homeserver.address, &["http", "https"]);
    let domain = &config.homeserver.domain;
    if ServerName::parse(domain.as_str()).is_err() {
        out.add(
            "homeserver.domain",
            format!("`{}` is no server name", shown(domain)),
            "write what stands behind the colon in your user id, without http://",
        );
    }
}

fn check_appservice(config: &Config, out: &mut Checker<'_>) {
    let appservice = &config.appservice;
    out.url("appservice.address", &appservice.address, &["http", "https"]);
    if !is_host(&appservice.hostname) {
        out.add(
            "appservice.hostname",
            format!("`{}` is no address to listen on", shown(&appservice.hostname)),
            "write an IP address or a host name, without a port",
        );
    }
    if !appservice.id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        out.add(
            "appservice.id",
            format!("`{}` holds other characters", shown(&appservice.id)),
            "use letters, digits, `.`, `_` and `-`",
        );
    }
    let bot = &appservice.bot.username;
    if !is_localpart(bot) {
        out.add(
            "appservice.bot.username",
            format!("`{}` is no user name", shown(bot)),
            "use a-z, 0-9 and `._=/+-`, without @ and server",
        );
    }
    check_template(config, out);
}

fn check_template(config: &Config, out: &mut Checker<'_>) {
    const PATH: &str = "appservice.username_template";
    let template = &config.appservice.username_template;
    let parts: Vec<&str> = template.split(TEMPLATE_HOLE).collect();
    let [prefix, suffix] = parts.as_slice() else {
        out.add(
            PATH,
            format!("holds `{TEMPLATE_HOLE}` {} times", parts.len().saturating_sub(1)),
            "write it once, as in `whatsapp_{{.}}`",
        );
        return;
    };
    if prefix.is_empty() {
        out.add(
            PATH,
            "begins with the contact's id, so every user would be taken for a contact",
            "begin as in `whatsapp_{{.}}`",
        );
    } else if !is_localpart(&format!("{prefix}0{suffix}")) {
        out.add(PATH, format!("`{}` makes no user names", shown(template)), "use a-z, 0-9 and `._=/+-` around `{{.}}`");
    }
    if prefix.len() + suffix.len() + config.homeserver.domain.len() + KEY_ROOM + 2 > MXID_LIMIT {
        out.add(PATH, "makes user ids that are longer than Matrix allows", "make it shorter");
    }
    let bot = &config.appservice.bot.username;
    let looks_like_a_ghost = !prefix.is_empty()
        && bot.len() > prefix.len() + suffix.len()
        && bot.starts_with(prefix)
        && bot.ends_with(suffix);
    if looks_like_a_ghost && !out.concerned("appservice.bot.username") {
        out.add(
            PATH,
            format!("the bot's name `{}` matches it, so the bot would be taken for a contact", shown(bot)),
            "change one of them, as in `whatsapp_{{.}}`",
        );
    }
}

fn check_tokens(config: &Config, out: &mut Checker<'_>) {
    let (ours, theirs) = (config.appservice.as_token.reveal(), config.appservice.hs_token.reveal());
    for (path, token) in [("appservice.as_token", ours), ("appservice.hs_token", theirs)] {
        // The token travels in an HTTP header (RFC 6750 section 2.1 gives less than this).
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            out.add(path, "holds spaces or characters beyond ASCII", "empty it and run with -g to make it anew");
        }
    }
    if ours == theirs && !out.concerned("appservice.as_token") {
        out.add("appservice.hs_token", "is the same as as_token", "empty it and run with -g to make it anew");
    }
}

fn check_database(database: &Database, out: &mut Checker<'_>) {
    const PATH: &str = "database.uri";
    if out.concerned("database.type") {
        return;
    }
    let uri = database.uri.reveal();
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| uri.starts_with(scheme));
    match database.kind {
        DatabaseType::Postgres if !is_postgres => {
            out.add(PATH, "does not fit database.type postgres", "write `postgres://USER:PASSWORD@HOST/DATABASE`");
        }
        DatabaseType::Postgres => {
            if let Err(why) = Url::parse(uri) {
                out.add(
                    PATH,
                    format!("is no URL ({why})"),
                    "write `postgres://USER:PASSWORD@HOST/DATABASE`, special characters as %XX",
                );
            }
        }
        DatabaseType::Sqlite if is_postgres => {
            out.add(PATH, "does not fit database.type sqlite", "set database.type to `postgres`, or write `file:PATH`");
        }
        DatabaseType::Sqlite => check_sqlite(uri, out),
    }
}

fn check_sqlite(uri: &str, out: &mut Checker<'_>) {
    const PATH: &str = "database.uri";
    let path = sqlite_path(uri);
    let in_memory = path == ":memory:" || uri.contains("mode=memory");
    if in_memory {
        out.add(PATH, "is kept in memory, so every stop would lose it", "write `file:PATH`");
    } else if path.is_empty() || path.ends_with('/') {
        out.add(PATH, "names no file", "write `file:PATH`");
    } else if path.contains("://") {
        out.add(PATH, "does not fit database.type sqlite", "write `file:PATH`");
    }
}

fn check_bridge(config: &Config, out: &mut Checker<'_>) {
    let prefix = &config.bridge.command_prefix;
    if prefix.contains(char::is_whitespace) {
        out.add("bridge.command_prefix", format!("`{}` holds a space", shown(prefix)), "use one word, as in `!wa`");
    }
    if config.bridge.permissions.iter().next().is_none() {
        out.add(
            "bridge.permissions",
            "is empty, so nobody may use the bridge",
            "add a line like `\"example.com\": user`",
        );
    }
}

fn check_puppets(config: &Config, out: &mut Checker<'_>) {
    const PATH: &str = "double_puppet.servers";
    for address in config.double_puppet.servers.values() {
        out.url(PATH, address, &["http", "https"]);
    }
    for server in config.double_puppet.secrets.keys() {
        let is_known = *server == config.homeserver.domain || config.double_puppet.servers.contains_key(server);
        if !is_known {
            let what = format!("has no address for `{}`, which double_puppet.secrets names", shown(server));
            out.add(PATH, what, "add it with its URL");
        }
    }
}

fn check_network(config: &Config, out: &mut Checker<'_>) {
    if let Some(url) = &config.network.websocket_url {
        out.url("network.websocket_url", url, &["ws", "wss"]);
    }
    if let Some(url) = &config.network.media_base_url {
        out.url("network.media_base_url", url, &["http", "https"]);
    }
}

fn check_media(config: &Config, out: &mut Checker<'_>) {
    let media = &config.media;
    if media.max_file_mib > media.folder_mib && !out.concerned("media.folder_mib") {
        out.add(
            "media.max_file_mib",
            format!("is more than media.folder_mib, {}", media.folder_mib),
            "make it smaller, or media.folder_mib larger",
        );
    }
}

fn check_doors(config: &Config, out: &mut Checker<'_>) {
    if let Some(url) = &config.homeserver.status_endpoint {
        out.url("homeserver.status_endpoint", url, &["https", "http"]);
    }
    if let Some(url) = &config.appservice.public_address {
        out.url("appservice.public_address", url, &["https", "http"]);
    }
    let listen = &config.metrics.listen;
    if listen.parse::<SocketAddr>().is_err() {
        let what = format!("`{}` is no address and port to listen on", shown(listen));
        out.add("metrics.listen", what, "write an IP address and a port, as in `127.0.0.1:8001`");
    }
    if let Some(secret) = config.provisioning.secret() {
        const PATH: &str = "provisioning.shared_secret";
        // It opens every login of the bridge, and travels in an HTTP header.
        if secret.len() < SHORTEST_SECRET || !secret.chars().all(|c| c.is_ascii_graphic()) {
            let what =
                format!("is shorter than {SHORTEST_SECRET} characters, or holds spaces or characters beyond ASCII");
            out.add(PATH, what, "write a long random one, such as `openssl rand -hex 32` gives");
        }
        let theirs = [&config.appservice.as_token, &config.appservice.hs_token];
        if theirs.iter().any(|token| token.reveal() == secret) {
            out.add(PATH, "is one of the registration's tokens", "write another one");
        }
    }
}

/// What is wrong with a name in the permissions, and what to do.
pub(super) fn name_fault(name: &str) -> Option<(String, String)> {
    let name_shown = shown(name);
    if name == "*" {
        None
    } else if name.starts_with('@') {
        let fix = "write the whole id, as in `\"@admin:example.com\"`".to_owned();
        UserId::parse(name).is_err().then(|| (format!("`{name_shown}` is no user id"), fix))
    } else if ServerName::parse(name).is_ok() {
        None
    } else if UserId::parse(format!("@{name}")).is_ok() {
        Some((
            format!("`{name_shown}` is neither a user id nor a server name"),
            format!("did you mean `\"@{name_shown}\"`?"),
        ))
    } else {
        let fix = "use `\"*\"`, a server name or a user id".to_owned();
        Some((format!("`{name_shown}` is neither a user id nor a server name"), fix))
    }
}

/// Matrix specification, appendices, user identifiers: the characters of a new user's localpart.
fn is_localpart(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._=/+-".contains(c))
}

fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
}
