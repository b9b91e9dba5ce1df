//! What this build is.

use serde_json::json;

use super::trust::accepts_forged_certificates;

/// The commit, when the build was told (`GIT_COMMIT`).
const COMMIT: Option<&str> = option_env!("GIT_COMMIT");

/// One line for people.
pub(super) fn as_text() -> String {
    let commit = COMMIT.map(|commit| format!(" ({commit})")).unwrap_or_default();
    let simulator = if accepts_forged_certificates() { ", simulator build: not for use" } else { "" };
    format!("{} {}{commit}{simulator}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// One JSON object: `name`, `version`, `commit` (or null), `os`, `arch`, and `simulator`, which is the WhatsApp
/// library's own answer to a forged certificate.
pub(super) fn as_json() -> String {
    json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": COMMIT,
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "simulator": accepts_forged_certificates(),
    })
    .to_string()
}
