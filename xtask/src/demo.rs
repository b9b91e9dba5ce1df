//! `cargo xtask demo`: sets up, builds, and runs the test bed's demo.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{checks, places, setup};

/// Runs the demo; returns when it ends (on Ctrl-C, or after its story when `exit` is set).
///
/// # Errors
/// Set-up or build failed, or something of the story did not arrive.
pub fn run(exit: bool) -> Result<()> {
    setup::run()?;
    let start = Instant::now();
    println!("building the bridge, the simulator and the demo (the first time takes some minutes)");
    // One command for both: apart, their shared dependencies would be built twice with different features.
    let built = checks::cargo()
        .args(["build", "--workspace", "--bins"])
        .args(checks::SELECTION)
        .status()
        .context("running cargo build")?;
    if !built.success() {
        bail!("the build failed");
    }
    println!("built ({:.1} s)", start.elapsed().as_secs_f32());
    let mut demo = Command::new(places::target().join("debug/demo"));
    if exit {
        demo.arg("--exit");
    }
    let ended = demo.current_dir(places::root()).status().context("running the demo")?;
    if !ended.success() {
        bail!("the demo failed ({ended})");
    }
    Ok(())
}
