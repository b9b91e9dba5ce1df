//! The command line: which of the program's jobs is asked for, and its exit status.
//!
//! Statuses: 0 done; 1 the bridge ended with an error, or is not healthy; 2 the command line, the configuration or
//! a file is wrong (every fault is told on standard error, and nothing was started or changed); 3 this build must
//! not run (see `cli/trust.rs`).
//! Files are written whole or not at all, so being killed here leaves the old ones. Called by `main` only.

mod carry;
mod doctor;
mod files;
mod generate;
mod health;
mod init;
mod trust;
mod version;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::{error, warn};

use crate::config::{Config, Environment, Faults, compare_registration};
use crate::{masked, telemetry};

/// The job of running: the bridge itself, until it is told to stop.
pub type Run = fn(Config) -> anyhow::Result<()>;

/// The configuration or a file is wrong.
const STATUS_FAULTS: u8 = 2;

/// This build must not run.
const STATUS_TRUST: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = env!("CARGO_PKG_NAME"), about, disable_version_flag = true)]
struct Arguments {
    /// The configuration file (`-` with -e: standard output)
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml", global = true)]
    config: PathBuf,

    /// The registration file that -g writes
    #[arg(short, long, value_name = "FILE", default_value = "registration.yaml", global = true)]
    registration: PathBuf,

    /// Fill in missing tokens and keys, and write the registrations for the homeserver
    #[arg(short, long, conflicts_with_all = ["no_update", "generate_example_config"])]
    generate_registration: bool,

    /// Write an example configuration, with every key explained, to the path of -c
    #[arg(short = 'e', long)]
    generate_example_config: bool,

    /// Never write to the configuration file
    #[arg(short, long)]
    no_update: bool,

    /// Print the version
    #[arg(short, long)]
    version: bool,

    /// Print the version and what this build trusts, as JSON
    #[arg(long)]
    version_json: bool,

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Verb {
    /// Ask the few things the bridge must know, and write its configuration and the registrations
    Init(init::InitArguments),
    /// Look at everything the bridge needs, and say the fix for each fault (exit status 0 or 1)
    Doctor(doctor::DoctorArguments),
    /// Tell everything that is wrong with the configuration and the registration
    CheckConfig,
    /// Ask the running bridge whether it is well (exit status 0 or 1)
    Health,
}

/// Does what the command line asks for; `run` is the bridge. Returns the exit status.
#[must_use]
pub fn main(run: Run) -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::of_process();
    match act(&arguments, &environment, run) {
        Ok(status) => status,
        Err(faults) => {
            say_wrong(&faults.to_string());
            ExitCode::from(STATUS_FAULTS)
        }
    }
}

fn act(arguments: &Arguments, environment: &Environment, run: Run) -> Result<ExitCode, Faults> {
    if arguments.version_json {
        return Ok(say(&version::as_json()));
    }
    if arguments.version {
        return Ok(say(&version::as_text()));
    }
    if arguments.generate_example_config {
        return generate::write_example(&arguments.config).map(|told| say(&told));
    }
    if arguments.generate_registration {
        let told = generate::write_registrations(&arguments.config, &arguments.registration, environment)?;
        return Ok(say(&told));
    }
    match &arguments.verb {
        Some(Verb::Init(init)) => {
            let mut asked = init::Asked;
            init::run(init, &arguments.config, &arguments.registration, environment, &mut asked).map(|told| say(&told))
        }
        Some(Verb::Doctor(doctor)) => Ok(doctor::run(doctor, &arguments.config, &arguments.registration, environment)),
        Some(Verb::CheckConfig) => {
            check_config(&arguments.config, &arguments.registration, environment).map(|told| say(&told))
        }
        Some(Verb::Health) => Ok(ask_health(&arguments.config, environment)),
        None => Config::load(&arguments.config, environment).map(|config| {
            let carrying = (!arguments.no_update).then_some(arguments.config.as_path());
            start(config, carrying, run)
        }),
    }
}

/// Starts what every run needs, carries the file at `carrying` into the newest example, and runs the bridge.
fn start(config: Config, carrying: Option<&Path>, run: Run) -> ExitCode {
    if let Err(why) = trust::check_build() {
        say_wrong(&why.to_string());
        return ExitCode::from(STATUS_TRUST);
    }
    masked::set_key(config.encryption.pickle_key.reveal().as_bytes());
    if let Err(why) = telemetry::start(config.logging.level) {
        say_wrong(&why.to_string());
        return ExitCode::FAILURE;
    }
    for advice in config.advice() {
        warn!("{advice}");
    }
    if let Some(path) = carrying {
        carry::carry(path);
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!("stopped: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// What to tell when nothing is wrong.
fn check_config(path: &Path, registration: &Path, environment: &Environment) -> Result<String, Faults> {
    let config = Config::load(path, environment)?;
    let mut told = format!("{}: all is well", path.display());
    match std::fs::read_to_string(registration) {
        Ok(text) => {
            let place = registration.display().to_string();
            compare_registration(&config, &place, &text)?;
            told.push_str(&format!("\n{place}: fits it"));
        }
        Err(why) => told.push_str(&format!("\n{}: not compared ({why})", registration.display())),
    }
    for advice in config.advice() {
        told.push_str(&format!("\nnote: {advice}"));
    }
    Ok(told)
}

/// Any fault is "not healthy": a container's health check knows 0 and 1 only.
fn ask_health(path: &Path, environment: &Environment) -> ExitCode {
    let config = match Config::load(path, environment) {
        Ok(config) => config,
        Err(faults) => {
            say_wrong(&faults.to_string());
            return ExitCode::FAILURE;
        }
    };
    match health::ask(&config.appservice) {
        Ok(told) => say(&told),
        Err(why) => {
            say_wrong(&why.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output; a reader that has gone away is a failure, not a panic.
fn say(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n')) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn say_wrong(text: &str) {
    // When standard error is closed there is nobody left to tell.
    if writeln!(std::io::stderr(), "{text}").is_err() {}
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_the_one_packagers_script() {
        Arguments::command().debug_assert();
        let plain = parse("b").unwrap();
        assert_eq!(plain.config, Path::new("config.yaml"));
        assert_eq!(plain.registration, Path::new("registration.yaml"));
        assert_eq!(plain.verb, None);
        assert!(!plain.no_update);
        let run = parse("b -c /config/config.yaml -r /config/registration.yaml --no-update").unwrap();
        assert_eq!(run.config, Path::new("/config/config.yaml"));
        assert_eq!(run.registration, Path::new("/config/registration.yaml"));
        assert!(run.no_update);
        let long = parse("b --config x --registration y --generate-registration").unwrap();
        assert!(long.generate_registration);
        assert!(parse("b -g").unwrap().generate_registration);
        for line in ["b -e", "b --generate-example-config"] {
            assert!(parse(line).unwrap().generate_example_config, "{line}");
        }
        for line in ["b -v", "b --version"] {
            assert!(parse(line).unwrap().version, "{line}");
        }
        assert!(parse("b --version-json").unwrap().version_json);
        assert_eq!(parse("b health -c x").unwrap().config, Path::new("x"));
        assert_eq!(parse("b check-config").unwrap().verb, Some(Verb::CheckConfig));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_status_2() {
        for line in ["b -g -n", "b -g -e", "b --nonsense", "b unknown-verb"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(STATUS_FAULTS), "{line}");
        }
    }

    #[test]
    fn checking_compares_the_registration_too() {
        let folder = tempfile::tempdir().unwrap();
        let (config, registration) = (folder.path().join("c.yaml"), folder.path().join("r.yaml"));
        let environment = Environment::default();
        generate::write_example(&config).unwrap();
        assert!(check_config(&config, &registration, &environment).unwrap_err().to_string().contains("run with -g"));
        generate::write_registrations(&config, &registration, &environment).unwrap();
        let told = check_config(&config, &registration, &environment).unwrap();
        assert!(told.contains("c.yaml: all is well\n") && told.contains("r.yaml: fits it\n"), "{told}");
        let stale = std::fs::read_to_string(&registration).unwrap().replace("29318", "1");
        std::fs::write(&registration, stale).unwrap();
        let faults = check_config(&config, &registration, &environment).unwrap_err();
        assert!(
            faults
                .to_string()
                .ends_with("r.yaml: `url` does not fit the config; run with -g and restart the homeserver"),
            "{faults}"
        );
    }

    #[test]
    fn a_run_never_starts_on_a_faulty_config() {
        let arguments = parse("b -c /nonexistent/config.yaml").unwrap();
        let faults = act(&arguments, &Environment::default(), |_| panic!("it ran")).unwrap_err();
        assert!(faults.to_string().starts_with("/nonexistent/config.yaml: can't be read"), "{faults}");
    }
}
