//! The program: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use matrix_whatsapp::{app, cli};

fn main() -> ExitCode {
    cli::main(app::run)
}
