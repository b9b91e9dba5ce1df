//! `cargo xtask test`: the one list of checks, the same here and in CI.
//!
//! Every check runs even when an earlier one failed, so that one run tells everything; only set-up stops the list.
//! Nothing is skipped: a test that libtest reports as ignored or filtered out fails the run.

mod packages;
mod shipped;
mod tally;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::{places, scratch, setup};
use tally::Tally;

/// The one selection of features every build of the workspace uses: with another, all dependencies would be built
/// again.
pub const SELECTION: [&str; 2] = ["--features", "matrix-whatsapp/simulator"];

/// How long each fuzz function runs; whoever has the time sets it higher.
const FUZZ_SECONDS: &str = "MATRIX_WHATSAPP_TEST_FUZZ_SECONDS";

/// Returns a `cargo` to be run in the workspace's root: the one that runs us.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(places::root());
    // `cargo run` sets these for us, and build scripts look at them (ring's does): with them a build by `cargo xtask`
    // and one by hand would each rebuild what the other has built.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

struct Report {
    name: &'static str,
    took: Duration,
    failure: Option<String>,
}

/// Runs all checks and prints how long each took; the last line is the count of tests.
///
/// # Errors
/// At least one check failed; the summary printed before says which.
pub fn run() -> Result<()> {
    let start = Instant::now();
    let mut reports = Vec::new();
    let mut tally = Tally::default();
    let ready = check(&mut reports, "set-up", setup::run);
    if ready {
        run_all(&mut reports, &mut tally);
    }
    println!("\nhow long each part took");
    for report in &reports {
        let verdict = if report.failure.is_some() { "FAILED" } else { "ok" };
        println!("  {:>7.1} s  {:<6}  {}", report.took.as_secs_f32(), verdict, report.name);
    }
    println!("  {:>7.1} s  in all", start.elapsed().as_secs_f32());
    let failures: Vec<&Report> = reports.iter().filter(|report| report.failure.is_some()).collect();
    for report in &failures {
        println!("{}: {}", report.name, report.failure.as_deref().unwrap_or_default());
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{} of {} checks failed", failures.len(), reports.len());
}

fn run_all(reports: &mut Vec<Report>, tally: &mut Tally) {
    check(reports, "format", || run_cargo(&["fmt", "--all", "--", "--check"], &[]));
    check(reports, "licences, banned and doubled packages", packages::check);
    check(reports, "clippy", || {
        let arguments = [&["clippy", "--workspace", "--all-targets"], &SELECTION[..], &["--", "-D", "warnings"]];
        run_cargo(&arguments.concat(), &[])
    });
    check(reports, "docs", || {
        let arguments = [&["doc", "--workspace", "--no-deps"], &SELECTION[..]];
        run_cargo(&arguments.concat(), &[("RUSTDOCFLAGS", "-D warnings")])
    });
    check(reports, "build of the tests", || {
        // `--all-targets` for its features, which are those of `cargo test`: the binaries the stories start come
        // from the same build.
        run_cargo(&[&["build", "--workspace", "--all-targets"], &SELECTION[..]].concat(), &[])
    });
    check(reports, "generated files", shipped::check_generated_files);
    check(reports, "build that ships", shipped::build);
    check(reports, "the build that ships has no test exception", shipped::check_clean);
    check(reports, "tests", || run_tests(tally));
    check(reports, "Baileys against the simulator", || run_conformance(tally));
    scratch::sweep();
}

fn check(reports: &mut Vec<Report>, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
    println!("\n== {name}");
    let start = Instant::now();
    let failure = work().err().map(|error| format!("{error:#}"));
    let took = start.elapsed();
    match &failure {
        Some(why) => println!("== {name}: FAILED ({:.1} s): {why}", took.as_secs_f32()),
        None => println!("== {name}: ok ({:.1} s)", took.as_secs_f32()),
    }
    let passed = failure.is_none();
    reports.push(Report { name, took, failure });
    passed
}

fn run_cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let ended = cargo()
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("running cargo {}", arguments.join(" ")))?;
    if !ended.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}

/// Runs every test of the workspace: unit, golden, store, edge, simulator, stories, examples in documentation.
fn run_tests(tally: &mut Tally) -> Result<()> {
    let cluster = Cluster::start()?;
    let mut child = cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(SELECTION)
        .env("MATRIX_WHATSAPP_TEST_POSTGRES", cluster.url())
        .env(FUZZ_SECONDS, std::env::var_os(FUZZ_SECONDS).unwrap_or_else(|| "5".into()))
        .envs(quick())
        .stdout(Stdio::piped())
        .spawn()
        .context("running cargo test")?;
    let ended = count_tests(&mut child, tally)?;
    if !ended.success() {
        bail!("{} tests failed", tally.failed);
    }
    tally.check()
}

/// What makes tests quick without changing what they test: their files in memory, and more of them at once than there
/// are cores, for each waits most of its time. What the caller has set stays.
fn quick() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = Some(("RUST_TEST_THREADS", (2 * cores).to_string()));
    let memory = scratch::in_memory().map(|place| ("TMPDIR", place.to_owned()));
    let wanted = threads.into_iter().chain(memory);
    wanted.filter(|(name, _)| std::env::var_os(name).is_none()).collect()
}

/// Passes on what a test program writes and counts its results; returns how it ended.
fn count_tests(child: &mut Child, tally: &mut Tally) -> Result<ExitStatus> {
    let output = child.stdout.take().context("a test program without output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally.read(&line);
    }
    Ok(child.wait()?)
}

/// Runs the independent client's scripts; the program is an example of the simulator, built with the tests.
fn run_conformance(tally: &mut Tally) -> Result<()> {
    let before = tally.passed;
    let mut child = Command::new(places::target().join("debug/examples/conformance"))
        .current_dir(places::root())
        .stdout(Stdio::piped())
        .spawn()
        .context("running the conformance program")?;
    let ended = count_tests(&mut child, tally)?;
    if !ended.success() || tally.passed == before {
        bail!("the independent client and the simulator do not agree ({ended})");
    }
    Ok(())
}
