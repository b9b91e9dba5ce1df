//! What this machine offers: programs, rights, Debian's package tool.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Returns the full path of `program` if one of the folders of `PATH` holds it.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Returns the folder of Postgres' server programs: beside an `initdb` in `PATH`, else Debian's newest version.
#[must_use]
pub fn find_postgres() -> Option<PathBuf> {
    // The link is followed: Debian's programs look for their siblings beside the real file.
    if let Some(initdb) = find_program("initdb").and_then(|p| p.canonicalize().ok())
        && let Some(folder) = initdb.parent()
        && folder.join("postgres").is_file()
    {
        return Some(folder.to_path_buf());
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    versions.sort_unstable();
    versions.pop().map(|(_, bin)| bin)
}

/// Returns Chromium, under any of the names it has.
#[must_use]
pub fn find_chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome", "chrome"].into_iter().find_map(find_program)
}

/// Returns whether this process runs as root (the owner of its own `/proc` entry).
#[must_use]
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Returns whether the system knows a user of that name.
#[must_use]
pub fn has_user(name: &str) -> bool {
    Command::new("id")
        .args(["-u", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs Debian packages when root; else says which command has to be run.
///
/// # Errors
/// Not root, no `apt-get`, or the installation failed; the text names the command to run by hand.
pub fn install_packages(packages: &[&str]) -> Result<()> {
    let by_hand = format!("sudo apt-get install -y --no-install-recommends {}", packages.join(" "));
    if find_program("apt-get").is_none() {
        bail!("this machine has no apt-get: install {} in its own way", packages.join(", "));
    }
    if !is_root() {
        bail!("missing {}; this needs root. Run:\n    {by_hand}", packages.join(", "));
    }
    let install = || -> Result<bool> {
        Ok(Command::new("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            // A settings file put there beforehand (see `setup`) is kept without asking.
            .args(["-o", "Dpkg::Options::=--force-confold"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .context("running apt-get install")?
            .success())
    };
    if install()? {
        return Ok(());
    }
    // A fresh machine has no package lists yet, an old one has stale ones.
    Command::new("apt-get").args(["update", "-q"]).stdout(Stdio::null()).status().context("running apt-get update")?;
    if install()? {
        return Ok(());
    }
    bail!("apt-get could not install {}; try by hand: {by_hand}", packages.join(", "))
}
