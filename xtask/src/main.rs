//! `cargo xtask`: the project's own commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what is missing for the tests and the demo
    Setup,
    /// Runs every check there is: what CI runs, and nothing is skipped
    Test,
    /// Shows the bridge at work between a real Synapse and a simulated WhatsApp
    Demo {
        /// Ends after the story, with a non-zero status if anything did not arrive
        #[arg(long)]
        exit: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => xtask::setup::run(),
        Task::Test => xtask::checks::run(),
        Task::Demo { exit } => xtask::demo::run(exit),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
