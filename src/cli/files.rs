//! Files an operator owns: written whole or not at all, readable by their owner only, because they hold tokens.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// Writes a file that does not exist yet.
///
/// # Errors
/// `AlreadyExists` when something is there; else what the system says.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(text.as_bytes())?;
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

fn name_beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write_beside(beside: &Path, target: &Path, text: &str) -> io::Result<()> {
    create(beside, text)?;
    fs::set_permissions(beside, fs::metadata(target)?.permissions())
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
}
