//! `cargo xtask setup`: puts on the machine what the tests and the demo need, and nothing twice.
//!
//! Every step first looks, and only then installs; a second run only looks. A virtual environment counts as made
//! when its stamp file, written last, names what it should hold: one that was interrupted is made anew.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{machine, node, places};

/// What the virtual environment holds; its stamp file has the same text.
const PYTHON_PACKAGES: [&str; 2] = ["matrix-synapse[url-preview]==1.163.*", "psycopg2-binary==2.9.*"];

/// What drives the provisioning API by its description, with everything it stands on: another version finds other things, and
/// a test that changes by itself proves nothing.
const SCHEMATHESIS: [&str; 27] = [
    "schemathesis==4.32.5",
    "anyio==4.16.0",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "click==8.5.1",
    "graphql-core==3.3.2",
    "harfile==0.6.0",
    "hypothesis==6.170.15",
    "hypothesis-graphql==0.13.5",
    "idna==3.20",
    "iniconfig==2.3.1",
    "jsonschema_rs==0.60.3",
    "markdown-it-py==4.3.0",
    "MarkupSafe==3.0.4",
    "mdurl==0.1.2",
    "packaging==26.3",
    "pluggy==1.7.0",
    "Pygments==2.21.0",
    "pyrate-limiter==4.5.1",
    "pytest==9.2.0",
    "PyYAML==6.0.3",
    "requests==2.34.2",
    "rich==15.0.0",
    "sortedcontainers==2.4.0",
    "typing_extensions==4.16.0",
    "urllib3==2.8.0",
    "Werkzeug==3.1.9",
];

/// Makes the machine ready, printing a line per step with what was found or done and the seconds it took.
///
/// # Errors
/// Something is missing and can't be installed from here; the text says which command has to be run.
pub fn run() -> Result<()> {
    std::fs::create_dir_all(places::target())?;
    // Two runs at once (a test and a demo) would both fill the environment.
    let lock = OpenOptions::new().create(true).append(true).open(places::target().join(".setup.lock"))?;
    lock.lock().context("waiting for another set-up")?;
    step(1, "C compiler", ensure_compiler)?;
    step(2, "setpriv", ensure_setpriv)?;
    step(3, "Python", ensure_python)?;
    step(4, "Synapse", ensure_synapse)?;
    step(5, "Postgres", ensure_postgres)?;
    step(6, "Node.js", node::ensure)?;
    step(7, "Baileys", node::ensure_packages)?;
    step(8, "Chromium", ensure_chromium)?;
    step(9, "ffmpeg", ensure_ffmpeg)?;
    step(10, "Schemathesis", ensure_schemathesis)?;
    Ok(())
}

fn step(number: u32, name: &str, work: fn() -> Result<String>) -> Result<()> {
    let start = Instant::now();
    let done = work().with_context(|| format!("set-up step {number}, {name}"))?;
    println!("[{number}/10] {name}: {done} ({:.1} s)", start.elapsed().as_secs_f32());
    Ok(())
}

fn ensure_compiler() -> Result<String> {
    if let Some(path) = machine::find_program("cc") {
        return Ok(format!("found {}", path.display()));
    }
    machine::install_packages(&["gcc", "libc6-dev"])?;
    Ok("installed gcc".to_owned())
}

fn ensure_setpriv() -> Result<String> {
    if let Some(path) = machine::find_program("setpriv") {
        return Ok(format!("found {}", path.display()));
    }
    machine::install_packages(&["util-linux"])?;
    Ok("installed util-linux".to_owned())
}

fn ensure_python() -> Result<String> {
    if machine::find_program("python3").is_none() {
        machine::install_packages(&["python3", "python3-venv"])?;
    }
    let version = output(Command::new("python3").arg("--version"))?;
    let number = version.trim().trim_start_matches("Python ");
    let minor: u32 = number.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0);
    if !number.starts_with("3.") || minor < 10 {
        bail!("Synapse needs Python 3.10 or newer, `python3` is {number}");
    }
    Ok(format!("found {number}"))
}

fn ensure_synapse() -> Result<String> {
    if !fill_venv(&places::venv(), &PYTHON_PACKAGES)? {
        return Ok(format!("found {} in {}", PYTHON_PACKAGES[0], places::venv().display()));
    }
    let version = output(Command::new(places::python()).args([
        "-c",
        "import psycopg2, synapse.app.homeserver; from synapse.util import SYNAPSE_VERSION; print(SYNAPSE_VERSION)",
    ]))
    .context("the freshly installed Synapse can't be imported")?;
    finish_venv(&places::venv(), &PYTHON_PACKAGES)?;
    Ok(format!("installed {}", version.trim()))
}

/// In an environment of its own: its packages would bend Synapse's.
fn ensure_schemathesis() -> Result<String> {
    let venv = places::schemathesis_venv();
    if !fill_venv(&venv, &SCHEMATHESIS)? {
        return Ok(format!("found {} in {}", SCHEMATHESIS[0], venv.display()));
    }
    let version = output(Command::new(places::schemathesis()).arg("--version"))?;
    finish_venv(&venv, &SCHEMATHESIS)?;
    Ok(format!("installed {}", version.trim()))
}

/// Makes a virtual environment and installs packages into it, unless its stamp says that it holds them; whether it did.
fn fill_venv(venv: &Path, packages: &[&str]) -> Result<bool> {
    let python = venv.join("bin/python");
    if std::fs::read_to_string(venv.join(".complete")).is_ok_and(|found| found == packages.join("\n"))
        && python.exists()
    {
        return Ok(false);
    }
    println!("      making {} and installing {}", venv.display(), packages.join(", "));
    // Debian's python3 without python3-venv begins the folder and then fails: `--clear` starts it anew.
    if make_venv(venv).is_err() {
        machine::install_packages(&["python3-venv"])?;
        make_venv(venv)?;
    }
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
        .args(packages)
        .status()
        .context("running pip")?;
    if !installed.success() {
        bail!("pip could not install {} (it needs PyPI or a mirror)", packages.join(", "));
    }
    Ok(true)
}

/// Writes the stamp of an environment that was seen to work.
fn finish_venv(venv: &Path, packages: &[&str]) -> Result<()> {
    Ok(std::fs::write(venv.join(".complete"), packages.join("\n"))?)
}

fn make_venv(venv: &Path) -> Result<()> {
    let made = Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(venv)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("running python3 -m venv")?;
    if !made.success() || !venv.join("bin/python").exists() {
        bail!("`python3 -m venv {}` failed", venv.display());
    }
    Ok(())
}

fn ensure_postgres() -> Result<String> {
    if let Some(bin) = machine::find_postgres() {
        return Ok(format!("found {}", bin.display()));
    }
    // Debian's package makes a cluster and starts it on port 5432. We only want the programs, so we say so
    // beforehand, where nobody has said anything yet.
    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    if machine::is_root() && !settings.exists() {
        std::fs::create_dir_all("/etc/postgresql-common")?;
        std::fs::write(settings, "create_main_cluster = false\n")?;
        println!("      wrote {}: no cluster is made or started by the package", settings.display());
    }
    machine::install_packages(&["postgresql"])?;
    let bin = machine::find_postgres().context("the package postgresql brought no initdb")?;
    Ok(format!("installed {}", bin.display()))
}

fn ensure_chromium() -> Result<String> {
    if let Some(path) = machine::find_chromium() {
        return Ok(format!("found {}", path.display()));
    }
    machine::install_packages(&["chromium"])?;
    let path = machine::find_chromium().context("the package chromium brought no program of that name")?;
    Ok(format!("installed {}", path.display()))
}

/// The bridge works without it; stories show both.
fn ensure_ffmpeg() -> Result<String> {
    if let Some(path) = machine::find_program("ffmpeg") {
        return Ok(format!("found {}", path.display()));
    }
    machine::install_packages(&["ffmpeg"])?;
    let path = machine::find_program("ffmpeg").context("the package ffmpeg brought no program of that name")?;
    Ok(format!("installed {}", path.display()))
}

/// Runs a command and returns what it wrote to standard output.
///
/// # Errors
/// It could not be started or failed; the text holds its error output.
fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("running {command:?}"))?;
    if !done.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
