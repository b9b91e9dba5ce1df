//! The simulator against Baileys, a client that shares no code with it, and
//! Baileys against whatsapp-rust through the simulator.
//!
//! `conformance` plays everything twice: with LID-migrated accounts and with
//! unmigrated ones. Each item is a line, `ok NAME` or `failed NAME: reason`; the
//! last line of each half counts as libtest does. Ends with a status other than
//! 0 when an item failed or none ran. `cargo xtask setup` installs what it needs.
#![recursion_limit = "512"]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a check fails by panicking

mod bot;
#[path = "../tests/real_client/client.rs"]
#[allow(dead_code)] // the tests use more of it
mod client;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result};
use whatsapp_sim::{AccountOptions, Addressing, Simulator};
use xtask::{places, scratch::Folder, tether};

const PEOPLE: [(&str, &str); 3] = [("15550001", "Alice"), ("15550002", "Bob"), (bot::NUMBER, "Carol")];

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if somebody else has set one.
    drop(rustls::crypto::ring::default_provider().install_default());
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt::init();
    }
    let mut all_well = true;
    for (name, addressing) in [("lid", Addressing::Lid), ("pn", Addressing::Pn)] {
        println!("\nBaileys, accounts addressed by {name}");
        match play(name, addressing).await {
            Ok(well) => all_well &= well,
            Err(error) => {
                println!("failed to play: {error:#}");
                all_well = false;
            }
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn play(name: &'static str, addressing: Addressing) -> Result<bool> {
    let sim = Simulator::start("127.0.0.1:0".parse()?).await?;
    for (number, push_name) in PEOPLE {
        let options = AccountOptions { push_name: push_name.into(), addressing, lid: None };
        sim.create_account_with(number, &options)?;
    }
    let bot = bot::start(&sim).await;
    let script = {
        let sim = sim.clone();
        tokio::task::spawn_blocking(move || run_script(&sim, name))
    };
    let well = script.await??;
    bot.stop().await;
    sim.shutdown().await;
    Ok(well)
}

/// Runs the scripts and passes their lines on; returns whether all items were
/// ok.
fn run_script(sim: &Simulator, addressing: &str) -> Result<bool> {
    let folder = Folder::create("conformance")?;
    let certificate = folder.path().join("certificate.pem");
    std::fs::write(&certificate, sim.certificate())?;

    let mut command: Command = tether::command(&places::node()?);
    command
        .arg("run.mjs")
        .args([sim.addr().to_string().as_str(), addressing])
        .env("NODE_EXTRA_CA_CERTS", &certificate)
        .current_dir(places::conformance())
        .stdout(Stdio::piped());
    let mut child = tether::spawn(command)?;
    let output = child.stdout.take().context("the script has no output")?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(output).lines() {
        let line = line?;
        passed += u32::from(line.starts_with("ok "));
        failed += u32::from(line.starts_with("failed "));
        println!("  {line}");
    }
    let ended = child.wait()?;
    let well = ended.success() && passed > 0 && failed == 0;
    let verdict = if well { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if !well {
        println!("the scripts ended with {ended}");
    }
    Ok(well)
}
