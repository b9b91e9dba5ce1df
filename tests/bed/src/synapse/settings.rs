//! Synapse's own settings files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::database::{Database, Db};

/// The name of every homeserver of the bed: reserved, never resolved.
pub const SERVER_NAME: &str = "test.local";

/// Writes `homeserver.yaml` and `log.yaml` (as JSON, which is YAML) into `folder`.
pub(super) fn write(
    folder: &Path,
    port: u16,
    secret: &str,
    database: &Database,
    registrations: &[PathBuf],
) -> Result<()> {
    // No limit may stand in a story's way: limits are Synapse's, not ours to test.
    let free = json!({"per_second": 100_000, "burst_count": 100_000});
    let database = match database.kind {
        Db::Sqlite => {
            json!({"name": "sqlite3", "args": {"database": folder.join("homeserver.db")}})
        }
        Db::Postgres => {
            let (host, port, dbname) = database.postgres_parts()?;
            json!({"name": "psycopg2", "args": {"host": host, "port": port, "user": "postgres", "password": "",
                "dbname": dbname, "cp_min": 2, "cp_max": 8}})
        }
    };
    let settings: Value = json!({
        "server_name": SERVER_NAME,
        "public_baseurl": format!("http://127.0.0.1:{port}/"),
        "report_stats": false,
        // Nobody asks for them, and every event is counted.
        "stats": {"enabled": false},
        "user_directory": {"enabled": false},
        "listeners": [{"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": false,
            "resources": [{"names": ["client", "media", "openid"], "compress": false}]}],
        "database": database,
        "log_config": folder.join("log.yaml"),
        "media_store_path": folder.join("media"),
        "signing_key_path": folder.join("signing.key"),
        "macaroon_secret_key": "throw-away",
        "form_secret": "throw-away",
        "registration_shared_secret": secret,
        "enable_registration": false,
        "bcrypt_rounds": 4,
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "federation_domain_whitelist": [],
        "url_preview_enabled": false,
        "push": {"enabled": false},
        "presence": {"enabled": false},
        "max_upload_size": "200M",
        "rc_message": free,
        "rc_registration": free,
        "rc_admin_redaction": free,
        "rc_login": {"address": free, "account": free, "failed_attempts": free},
        "rc_joins": {"local": free, "remote": free},
        "rc_joins_per_room": free,
        "rc_invites": {"per_room": free, "per_user": free, "per_issuer": free},
        "rc_room_creation": free,
        "rc_presence": {"per_user": free},
        "rc_media_create": free,
        "rc_third_party_invite": free,
        "app_service_config_files": registrations,
        "experimental_features": {
            "msc2409_to_device_messages_enabled": true,
            "msc3202_transaction_extensions": true,
        },
    });
    std::fs::write(folder.join("homeserver.yaml"), serde_json::to_vec_pretty(&settings)?)?;
    let log = json!({
        "version": 1,
        // Else errors logged before the settings were read vanish.
        "disable_existing_loggers": false,
        "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "formatter": "line",
            "filename": folder.join("homeserver.log")}},
        "loggers": {"synapse.appservice": {"level": "INFO"}},
        "root": {"level": "WARNING", "handlers": ["file"]},
    });
    std::fs::write(folder.join("log.yaml"), serde_json::to_vec_pretty(&log)?)?;
    Ok(())
}
