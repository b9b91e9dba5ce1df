//! At a start: a configuration of an older version gets the keys and comments it lacks. See `config/carry.rs`.

use std::path::Path;

use tracing::{info, warn};

use super::files;
use crate::clock::Clock;
use crate::config::{Config, carry_over};
use crate::convert::moment;

/// Writes the file anew when it lacks keys, keeping the old one beside it. What can't be written stays as it is: the
/// values count either way, so nothing here is in the way of a start.
pub(super) fn carry(path: &Path) {
    let Ok(text) = Config::read_text(path) else { return };
    let Some(carried) = carry_over(&text) else { return };
    match files::replace_with_backup(path, &carried, &stamp(&Clock::system())) {
        Ok(backup) => info!(
            "{} has the keys and comments of this version now, with your values; the file as it was is {}",
            path.display(),
            backup.display()
        ),
        Err(why) => warn!(
            "{} lacks keys of this version and was not written anew ({why}); the defaults count. -n says that it should not be",
            path.display()
        ),
    }
}

/// The moment for a file's name: `2026-11-20-1800`, in world time.
pub(super) fn stamp(clock: &Clock) -> String {
    let moment = moment(clock.now_ms() / 1000).unwrap_or_default();
    moment.trim_end_matches(" UTC").replace(' ', "-").replace(':', "")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const OLD: &str = "homeserver: {address: 'http://h', domain: d.example}\n\
                       appservice: {address: 'http://a', as_token: a, hs_token: b}\n\
                       bridge: {permissions: {'*': user}}\nencryption: {pickle_key: c}\n";

    #[test]
    fn an_old_file_is_carried_once_and_its_old_form_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        files::create(&path, OLD).unwrap();
        carry(&path);
        let carried = fs::read_to_string(&path).unwrap();
        assert!(carried.contains("# The homeserver the bridge serves.") && carried.contains("domain: d.example"));
        carry(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), carried);
        let others: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|one| *one != path)
            .collect();
        let [backup] = others.as_slice() else { panic!("{others:?}") };
        assert_eq!(fs::read_to_string(backup).unwrap(), OLD);
        assert_eq!(fs::metadata(backup).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_that_leads_nowhere_and_a_folder_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        carry(&folder.path().join("none.yaml"));
        carry(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stamp_is_a_moment_without_what_file_names_dislike() {
        assert_eq!(stamp(&Clock::by_hand(1_795_195_200_999)), "2026-11-20-1720");
    }
}
