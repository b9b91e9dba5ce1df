//! What `-e` and `-g` write: the example configuration, missing secrets, and the two registrations.

use std::io;
use std::path::{Path, PathBuf};

use super::files;
use crate::config::{
    Config, Environment, Faults, RegistrationKind, Standing, bridge_registration, double_puppet_registration,
    example_config, fill_secrets,
};

/// Writes the example to a path that is free, or returns it for standard output when the path is `-`.
///
/// # Errors
/// One fault when something is there already or it can't be written.
pub(super) fn write_example(path: &Path) -> Result<String, Faults> {
    if path == Path::new("-") {
        return Ok(example_config());
    }
    let name = path.display().to_string();
    match files::create(path, example_config()) {
        Ok(()) => {
            Ok(format!("Wrote {name}. Set homeserver, appservice.address and permissions in it, then run with -g."))
        }
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Err(Faults::one(
            name,
            "exists already and is not written over",
            "choose another path with -c, or move it away",
        )),
        Err(why) => Err(cannot_write(path, &why)),
    }
}

/// Fills what is missing into the config, writes both registrations, and returns what to tell.
///
/// The config is written first: should this end in between, running it again writes registrations with the same
/// tokens.
///
/// # Errors
/// Every fault of the config; then nothing was written. Or a file that can't be read or written.
pub(super) fn write_registrations(
    config_path: &Path,
    registration_path: &Path,
    environment: &Environment,
) -> Result<String, Faults> {
    let name = config_path.display().to_string();
    let text = Config::read_text(config_path)?;
    let filled = fill_secrets(&text, &name, environment, random_hex)?;
    let config = Config::parse(&filled, &name, environment)?;
    let puppet_path = double_puppet_path(registration_path);
    let bridge = bridge_registration(&config, &standing(RegistrationKind::Bridge, registration_path, &config)?);
    let puppets =
        double_puppet_registration(&config, &standing(RegistrationKind::DoublePuppet, &puppet_path, &config)?);

    let mut told = String::new();
    if filled != text {
        files::replace(config_path, &filled).map_err(|why| cannot_write(config_path, &why))?;
        told.push_str(&format!("Filled the missing tokens and keys into {name}.\n"));
    }
    for (path, text) in [(registration_path, bridge), (&puppet_path, puppets)] {
        files::replace(path, &text).map_err(|why| cannot_write(path, &why))?;
        told.push_str(&format!("Wrote {}.\n", path.display()));
    }
    told.push_str(&where_to(registration_path, &puppet_path));
    Ok(told)
}

fn where_to(registration: &Path, puppets: &Path) -> String {
    format!(
        "Name both in the homeserver's configuration, or copies that its user can read, and restart it. Synapse, homeserver.yaml:\n\
         app_service_config_files:\n    - {}\n    - {}\n",
        absolute(registration).display(),
        absolute(puppets).display()
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Beside the registration, with `-doublepuppet` before the extension.
pub(super) fn double_puppet_path(registration: &Path) -> PathBuf {
    let mut name = registration.file_stem().unwrap_or_default().to_owned();
    name.push("-doublepuppet");
    if let Some(extension) = registration.extension() {
        name.push(".");
        name.push(extension);
    }
    registration.with_file_name(name)
}

/// What an existing file already promised to the homeserver, else new random values.
fn standing(kind: RegistrationKind, path: &Path, config: &Config) -> Result<Standing, Faults> {
    let fresh = Standing::fresh(kind, &config.appservice, random_hex);
    match std::fs::read_to_string(path) {
        Ok(existing) => Ok(fresh.or_as_in(&existing, &config.appservice)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(fresh),
        Err(why) => Err(Faults::one(
            path.display().to_string(),
            format!("exists but can't be read: {why}"),
            "let the bridge's user read it, so that its values stay",
        )),
    }
}

pub(super) fn cannot_write(path: &Path, why: &io::Error) -> Faults {
    Faults::one(path.display().to_string(), format!("can't be written: {why}"), "let the bridge's user write there")
}

/// As many random bytes, as hexadecimal digits.
pub(super) fn random_hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn all_texts(folder: &Path) -> Vec<String> {
        ["config.yaml", "registration.yaml", "registration-doublepuppet.yaml"]
            .map(|name| fs::read_to_string(folder.join(name)).unwrap())
            .to_vec()
    }

    #[test]
    fn from_nothing_to_registrations_and_again_without_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (config, registration) = (folder.path().join("config.yaml"), folder.path().join("registration.yaml"));
        let environment = Environment::default();
        write_example(&config).unwrap();
        assert!(write_example(&config).unwrap_err().to_string().contains("is not written over"));

        let told = write_registrations(&config, &registration, &environment).unwrap();
        assert!(told.contains("app_service_config_files") && told.contains("registration-doublepuppet.yaml"), "{told}");
        let first = all_texts(folder.path());
        let told = write_registrations(&config, &registration, &environment).unwrap();
        assert!(!told.contains("Filled"), "{told}");
        assert_eq!(all_texts(folder.path()), first);
        Config::load(&config, &environment).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_faulty_config_is_left_alone_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (config, registration) = (folder.path().join("config.yaml"), folder.path().join("registration.yaml"));
        fs::write(&config, "homeserver:\n    adress: x\n").unwrap();
        let faults = write_registrations(&config, &registration, &Environment::default()).unwrap_err();
        assert!(faults.to_string().contains("did you mean `homeserver.address`"), "{faults}");
        assert!(!faults.to_string().contains("token"), "{faults}");
        assert_eq!(fs::read_to_string(&config).unwrap(), "homeserver:\n    adress: x\n");
        assert!(!registration.exists());
    }

    #[test]
    fn the_second_registration_stands_beside_the_first() {
        for (first, second) in [
            ("registration.yaml", "registration-doublepuppet.yaml"),
            ("/data/wa.reg.yml", "/data/wa.reg-doublepuppet.yml"),
            ("reg", "reg-doublepuppet"),
        ] {
            assert_eq!(double_puppet_path(Path::new(first)), Path::new(second));
        }
    }
}
