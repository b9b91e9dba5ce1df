//! Files an operator owns: written whole or not at all, readable by their owner only, because they hold tokens.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// Writes a file that does not exist yet.
///
/// # Errors
/// `AlreadyExists` when something is there; else what the system says.
pub(super) fn create(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(content.as_ref())?;
    file.sync_all()
}

/// Replaces a file's content, or creates it. The mode of an existing file stays, and so does a link to it.
///
/// # Errors
/// What the system says; the old content is still there.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return create(path, text),
        Err(why) => return Err(why),
    };
    let beside = name_beside(&target);
    let moved = write_beside(&beside, &target, text).and_then(|()| fs::rename(&beside, &target));
    match moved {
        Ok(()) => Ok(()),
        // A file that is itself mounted into a container can't be replaced by another, nor can one in a folder
        // that is not ours: then its content is written over.
        Err(_) => {
            if let Err(why) = fs::remove_file(&beside)
                && why.kind() != io::ErrorKind::NotFound
            {
                return Err(why);
            }
            write_over(&target, text)
        }
    }
}

/// Replaces a file's content whole or not at all, and keeps the old content beside it under the name that is returned: the
/// file's, `.bak-` and `stamp`. Mode, owner and links stay.
///
/// # Errors
/// What the system says, for instance that the folder is not ours to write in; then everything is as it was.
pub(super) fn replace_with_backup(path: &Path, text: &str, stamp: &str) -> io::Result<PathBuf> {
    let target = fs::canonicalize(path)?;
    // Bytes, not text: whatever the file holds is kept.
    let old = fs::read(&target)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = std::iter::once(String::new()).chain((2..).map(|number| format!("-{number}")));
    let backup = loop {
        let backup = target.with_file_name(format!("{name}.bak-{stamp}{}", names.next().unwrap_or_default()));
        match write_beside(&backup, &target, &old) {
            Ok(()) => break backup,
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => return Err(taken_back(&backup, why)),
        }
    };
    let beside = name_beside(&target);
    match write_beside(&beside, &target, text).and_then(|()| fs::rename(&beside, &target)) {
        Ok(()) => Ok(backup),
        Err(why) => Err(taken_back(&backup, taken_back(&beside, why))),
    }
}

/// The fault, after what was begun is gone again; when it can't be, a file too many is no harm.
fn taken_back(path: &Path, why: io::Error) -> io::Error {
    if let Err(left) = fs::remove_file(path) {
        tracing::debug!(error = %left, "{} is left over", path.display());
    }
    why
}

fn name_beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write_beside(beside: &Path, target: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    create(beside, content)?;
    let (ours, theirs) = (fs::metadata(beside)?, fs::metadata(target)?);
    if (ours.uid(), ours.gid()) != (theirs.uid(), theirs.gid()) {
        std::os::unix::fs::chown(beside, Some(theirs.uid()), Some(theirs.gid()))?;
    }
    fs::set_permissions(beside, theirs.permissions())
}

fn write_over(target: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(target)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_its_owners_only_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        create(&path, "one").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(create(&path, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }

    #[test]
    fn replacing_keeps_mode_and_links_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("real.yaml"), folder.path().join("link.yaml"));
        create(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        replace(&folder.path().join("new.yaml"), "three").unwrap();
        assert_eq!(mode(&folder.path().join("new.yaml")), 0o600);
    }

    #[test]
    fn a_backup_is_kept_with_the_same_mode_each_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        create(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let first = replace_with_backup(&path, "two", "day").unwrap();
        let second = replace_with_backup(&path, "three", "day").unwrap();
        assert_eq!(first.file_name().unwrap(), "config.yaml.bak-day");
        assert_eq!(second.file_name().unwrap(), "config.yaml.bak-day-2");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&path), read(&first), read(&second)), ("three".into(), "one".into(), "two".into()));
        assert_eq!((mode(&path), mode(&first)), (0o640, 0o640));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(replace_with_backup(&folder.path().join("none"), "x", "day").is_err());

        let no_text = b"pickle_key: precious # caf\xe9\n";
        fs::write(&path, no_text).unwrap();
        assert_eq!(fs::read(replace_with_backup(&path, "four", "night").unwrap()).unwrap(), no_text);
    }
}
