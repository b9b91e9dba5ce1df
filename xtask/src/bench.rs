//! `cargo xtask bench`: builds everything as it ships, optimized, and runs the test bed's benchmark.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::{checks, places, setup};

/// Runs `cargo xtask bench sim`; the figures also go to `target/bench-sim.json`.
///
/// # Errors
/// The build failed, or a copy did not arrive.
pub fn sim() -> Result<()> {
    setup::run()?;
    println!("building the simulator and its benchmark, optimized (the first time takes some minutes)");
    let built = checks::cargo()
        .args(["build", "--release", "-p", "whatsapp-sim", "--example", "bench-sim"])
        .status()
        .context("running cargo build")?;
    if !built.success() {
        bail!("the build failed");
    }
    let ended = Command::new(places::target().join("release/examples/bench-sim"))
        .arg(places::target().join("bench-sim.json"))
        .current_dir(places::root())
        .status()
        .context("running the benchmark")?;
    if !ended.success() {
        bail!("the benchmark failed ({ended})");
    }
    Ok(())
}

/// Runs `cargo xtask bench messages` or `media`: `arguments` go to the benchmark as they are. `postgres` starts a server
/// for the bridge that makes its commits durable.
///
/// # Errors
/// Set-up or build failed, or a message did not arrive.
pub fn bridge(postgres: bool, arguments: &[String]) -> Result<()> {
    setup::run()?;
    let start = Instant::now();
    println!("building the bridge, the simulator and the benchmark, optimized (the first time takes some minutes)");
    // One command for all: apart, their shared dependencies would be built twice with different features.
    let built = checks::cargo()
        .args(["build", "--release", "--workspace", "--bins"])
        .args(checks::SELECTION)
        .status()
        .context("running cargo build")?;
    if !built.success() {
        bail!("the build failed");
    }
    println!("built ({:.1} s)", start.elapsed().as_secs_f32());
    let folder = places::target().join("release");
    let mut bench = Command::new(folder.join("bench"));
    bench.args(arguments).env("MATRIX_WHATSAPP_BIN", folder.join("matrix-whatsapp"));
    let cluster = postgres.then(Cluster::start_durable).transpose()?;
    if let Some(cluster) = &cluster {
        bench.env("MATRIX_WHATSAPP_TEST_POSTGRES", cluster.url());
    }
    let ended = bench.current_dir(places::root()).status().context("running the benchmark")?;
    if !ended.success() {
        bail!("the benchmark failed ({ended})");
    }
    Ok(())
}
