//! The bridge as it ships: built apart, without the simulator's exception; and the files generated from it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cargo;
use crate::places;
use crate::scratch::Folder;

/// Builds the bridge alone, as it ships but for the optimizing, into its own target folder.
///
/// Alone and apart: a build together with the test members would take their features, the simulator's exception
/// among them, into the bridge.
///
/// # Errors
/// The build failed.
pub fn build() -> Result<()> {
    let built = cargo()
        .args(["build", "--profile", "shipped", "-p", "matrix-whatsapp"])
        .env("CARGO_TARGET_DIR", places::shipped_target())
        .status()
        .context("running cargo build")?;
    if !built.success() {
        bail!("the build that ships failed");
    }
    Ok(())
}

/// Checks that neither the shipped build's features nor the shipped binary itself know the exception.
///
/// # Errors
/// The exception is in, or the binary does not say.
pub fn check_clean() -> Result<()> {
    let tree = cargo()
        .args(["tree", "-p", "matrix-whatsapp", "-e", "features,no-dev"])
        .output()
        .context("running cargo tree")?;
    if !tree.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&tree.stderr));
    }
    let tree = String::from_utf8_lossy(&tree.stdout);
    for word in ["danger", "failpoints"] {
        if let Some(line) = tree.lines().find(|line| line.contains(word)) {
            bail!("the build that ships has a test-only feature: {}", line.trim());
        }
    }
    let shipped = says_simulator(&places::shipped_bridge())?;
    let tested = says_simulator(&places::bridge())?;
    if shipped {
        bail!("the binary that ships accepts the simulator's certificate");
    }
    if !tested {
        bail!("the binary under test denies the simulator: then the answer above proves nothing");
    }
    println!("shipped: \"simulator\": {shipped}; under test: \"simulator\": {tested}");
    Ok(())
}

fn says_simulator(binary: &Path) -> Result<bool> {
    let answer =
        Command::new(binary).arg("--version-json").output().with_context(|| format!("running {}", binary.display()))?;
    if !answer.status.success() {
        bail!("{} --version-json failed ({})", binary.display(), answer.status);
    }
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout)
        .with_context(|| format!("{} --version-json is not JSON", binary.display()))?;
    answer["simulator"]
        .as_bool()
        .with_context(|| format!("{} --version-json has no boolean \"simulator\"", binary.display()))
}

/// Checks that the example files in the checkout are what the bridge generates.
///
/// # Errors
/// One differs or is missing; the text says how to renew it.
pub fn check_generated_files() -> Result<()> {
    let folder = Folder::create("generated")?;
    let config = folder.path().join("config.yaml");
    generate(&["-e", "-c", &config.to_string_lossy()])?;
    compare(&config, "config.example.yaml")?;
    println!("config.example.yaml is what the code says");
    Ok(())
}

fn generate(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(places::bridge());
    places::clear_environment(&mut command);
    let made = command.args(arguments).output().with_context(|| format!("running {}", places::bridge().display()))?;
    if !made.status.success() {
        bail!("matrix-whatsapp {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}

fn compare(generated: &Path, name: &str) -> Result<()> {
    let made = std::fs::read_to_string(generated).with_context(|| format!("reading the generated {name}"))?;
    let kept = std::fs::read_to_string(places::root().join(name)).with_context(|| format!("reading {name}"))?;
    if made == kept {
        return Ok(());
    }
    let line = made.lines().zip(kept.lines()).position(|(made, kept)| made != kept);
    bail!(
        "{name} is not what the code generates (first difference: line {}); renew it with `rm {name} && cargo run -- -e -c {name}`",
        line.map_or(made.lines().count().min(kept.lines().count()), |line| line) + 1
    )
}
