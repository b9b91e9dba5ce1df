//! `doctor`: the look at an installation from the command line.

use std::path::Path;
use std::process::ExitCode;

use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::doctor::{Report, Seat, examine};

/// What `doctor` takes from the command line.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct DoctorArguments {
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    /// Somebody to look at too: whether the bridge may act as them
    #[arg(long, value_name = "USER ID")]
    user: Option<String>,
}

/// Looks and tells; the status is 1 when something is wrong.
pub(super) fn run(
    arguments: &DoctorArguments,
    config: &Path,
    registration: &Path,
    environment: &Environment,
) -> ExitCode {
    let report = look(arguments, config, registration, environment);
    let told = match arguments.json {
        true => format!("{:#}", report.as_json()),
        false => report.as_text(),
    };
    match super::say(&told) {
        ExitCode::SUCCESS if !report.is_well() => ExitCode::FAILURE,
        status => status,
    }
}

fn look(arguments: &DoctorArguments, path: &Path, registration: &Path, environment: &Environment) -> Report {
    let mut report = Report::default();
    let config = match Config::load(path, environment) {
        Ok(config) => config,
        Err(faults) => {
            for fault in faults.iter() {
                report.fault("config", format!("{}: {}", fault.place, fault.what), &fault.fix);
            }
            return report;
        }
    };
    // Whoever comes first decides for the process; another provider already there is fine too.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was already installed");
    }
    let puppets = super::generate::double_puppet_path(registration);
    let seat = Seat::Outside { config: path, registration, puppets: &puppets };
    let user = arguments.user.as_deref();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(examine(&config, seat, user, &Clock::system())),
        Err(why) => {
            report.fault(
                "machine",
                format!("the runtime did not start: {why}"),
                "let this user have more threads and files",
            );
            report
        }
    }
}
