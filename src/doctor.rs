//! Looks at everything an installation needs and says the fix for each fault: for the command line (`cli`), before and
//! beside a running bridge, and for administrators in a room (`commands`).
//!
//! Promise: nothing is changed. It opens the bridge's port for some seconds when no bridge has it, so that the homeserver can
//! be made to call; other calls get a 503 meanwhile, which homeservers repeat. Nothing found shows a token.

mod door;
mod homeserver;
mod machine;
mod report;

use std::path::Path;
use std::time::Duration;

pub use report::{Finding, Report, State};

use crate::clock::Clock;
use crate::config::{Config, Level, compare_registration};
use ruma::UserId;

/// How long the homeserver, and a database's server, may take to answer once.
const PATIENCE: Duration = Duration::from_secs(15);

/// From where it looks.
#[derive(Debug, Clone, Copy)]
pub enum Seat<'a> {
    /// Beside the bridge, which may run or not; with the paths of its configuration and registration.
    Outside {
        /// The configuration file.
        config: &'a Path,
        /// The registration file.
        registration: &'a Path,
        /// The registration for double puppets.
        puppets: &'a Path,
    },
    /// In the running bridge, whose database answers.
    Inside,
}

/// Looks at everything. `user` is somebody to ask the homeserver about: whether the bridge may act as them; who is no user is a
/// fault.
pub async fn examine(config: &Config, seat: Seat<'_>, user: Option<&str>, clock: &Clock) -> Report {
    let mut report = Report::default();
    let user = user.filter(|user| {
        let is_user = UserId::parse(user).is_ok();
        if !is_user {
            report.fault("user", format!("`{user}` is no user id"), "write the whole id, as in `@you:example.com`");
        }
        is_user
    });
    look_at_config(config, seat, &mut report);
    let door = match seat {
        Seat::Inside => door::Door::Running,
        Seat::Outside { .. } => door::open(&config.appservice, &mut report).await,
    };
    if matches!(seat, Seat::Outside { .. }) {
        machine::look_at_database(&config.database, door.is_running(), PATIENCE, &mut report).await;
    }
    machine::look_at_disk(config, &mut report);
    machine::look_at_ffmpeg(&config.media, &mut report).await;
    match homeserver::Visit::new(config) {
        Ok(visit) => visit.examine(door.can_be_called(), user, clock, &mut report).await,
        Err(why) => {
            report.fault("homeserver", format!("no requests can be made: {why}"), "set homeserver.address right")
        }
    }
    door.close().await;
    report
}

fn look_at_config(config: &Config, seat: Seat<'_>, report: &mut Report) {
    report.well("version", format!("matrix-whatsapp {}", env!("CARGO_PKG_VERSION")));
    let advice = config.advice();
    if advice.is_empty() {
        report.well("config", "every value is sensible".to_owned());
    }
    for advice in advice {
        report.warn("config", advice, "change it unless it is meant");
    }
    let admins = config.bridge.permissions.iter().filter(|(_, level)| *level == Level::Admin).count();
    match admins {
        0 => report.warn(
            "permissions",
            "nobody is an administrator".to_owned(),
            "give somebody the level `admin` in bridge.permissions",
        ),
        _ if config.bridge.permissions.level_of("") == Level::Admin => report.fault(
            "permissions",
            "everybody is an administrator, who can reach everybody's chats".to_owned(),
            "give `*` a lower level in bridge.permissions",
        ),
        _ => report.well("permissions", format!("{admins} of the names in bridge.permissions may administer")),
    }
    let Seat::Outside { config: path, registration, puppets } = seat else { return };
    machine::look_at_mode("config", path, report);
    for backup in machine::backups_of(path) {
        machine::look_at_mode("config", &backup, report);
    }
    machine::look_at_mode("registration", registration, report);
    machine::look_at_mode("registration", puppets, report);
    match std::fs::read_to_string(registration) {
        Err(why) => report.warn(
            "registration",
            format!("{} was not compared: {why}", registration.display()),
            "name it with -r, or write it with -g",
        ),
        Ok(text) => match compare_registration(config, &registration.display().to_string(), &text) {
            Ok(()) => report.well("registration", format!("{} fits the configuration", registration.display())),
            Err(faults) => {
                for fault in faults.iter() {
                    report.fault("registration", format!("{}: {}", fault.place, fault.what), &fault.fix);
                }
            }
        },
    }
}

#[cfg(test)]
mod tests;
