//! The program: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use matrix_whatsapp::{cli, config::Config};

fn main() -> ExitCode {
    cli::main(run)
}

fn run(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("the bridge is not wired yet")
}
