//! `cargo xtask demo`: sets up, builds, and runs the test bed's demo.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{checks, places, setup};

/// Becomes the demo, which ends on Ctrl-C, or after its story when `exit` is set; its exit status says whether everything
/// arrived.
///
/// # Errors
/// Set-up or build failed, or the demo could not be started.
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
    // In the place of this process: a signal that is meant for the demo reaches it, and nothing is left running.
    Err(demo.current_dir(places::root()).exec()).context("running the demo")
}
