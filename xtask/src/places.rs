//! Where the project's parts lie on disk.

use std::path::{Path, PathBuf};

/// Returns the workspace's root folder (the one that holds the top `Cargo.toml`).
///
/// It is known at compile time: these tools are only ever run from the checkout that built them.
#[must_use]
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or_else(|| xtask.to_path_buf(), Path::to_path_buf)
}

/// Returns the folder for everything built or downloaded: `CARGO_TARGET_DIR` when set, else `target` in the root.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Returns the folder of the Python virtual environment that holds Synapse.
#[must_use]
pub fn venv() -> PathBuf {
    target().join("venv")
}

/// Returns the Python interpreter inside [`venv`]; whether it exists is [`crate::setup`]'s business.
#[must_use]
pub fn python() -> PathBuf {
    venv().join("bin/python")
}

/// Returns the folder of the Python virtual environment that holds Schemathesis.
#[must_use]
pub fn schemathesis_venv() -> PathBuf {
    target().join("venv-schemathesis")
}

/// Returns Schemathesis, which tries an HTTP API out by its description; whether it exists is [`crate::setup`]'s business.
#[must_use]
pub fn schemathesis() -> PathBuf {
    schemathesis_venv().join("bin/schemathesis")
}

/// Returns the Node.js that runs the scripts against the simulator: the first in `PATH` that is new enough, else the
/// one that [`crate::setup`] put into [`venv`].
///
/// # Errors
/// There is none; the text says what to run.
pub fn node() -> anyhow::Result<PathBuf> {
    crate::node::find().map(|node| node.program).ok_or_else(|| anyhow::anyhow!("no Node.js: run `cargo xtask setup`"))
}

/// Returns the folder of the scripts that drive an independent client against the simulator.
#[must_use]
pub fn conformance() -> PathBuf {
    root().join("tests/sim/conformance")
}

/// Returns the bridge built for tests (with the feature `simulator`), or what `MATRIX_WHATSAPP_BIN` names.
#[must_use]
pub fn bridge() -> PathBuf {
    match std::env::var_os("MATRIX_WHATSAPP_BIN") {
        Some(path) => PathBuf::from(path),
        None => target().join("debug/matrix-whatsapp"),
    }
}

/// Returns the target folder of the build that ships, apart from every other so that features never mix.
#[must_use]
pub fn shipped_target() -> PathBuf {
    target().join("shipped")
}

/// Returns the bridge as it ships, or what `MATRIX_WHATSAPP_SHIPPED_BIN` names.
#[must_use]
pub fn shipped_bridge() -> PathBuf {
    match std::env::var_os("MATRIX_WHATSAPP_SHIPPED_BIN") {
        Some(path) => PathBuf::from(path),
        None => shipped_target().join("shipped/matrix-whatsapp"),
    }
}

/// Takes every `MATRIX_WHATSAPP_…` variable away from a command that runs the bridge: it reads its config from such
/// names, and whoever runs the tests may have some set.
pub fn clear_environment(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MATRIX_WHATSAPP_") {
            command.env_remove(name);
        }
    }
}
