//! What the machine gives: the database, room on the disk, ffmpeg, and who may read the files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::report::Report;
use crate::config::{Config, Database, DatabaseType, Media};
use crate::media::tool::Tool;
use crate::store::look::{self, Look};

/// With less room than this files on their way will soon not fit.
const LITTLE_ROOM: u64 = 2 << 30;
/// With less room than this a database can't be kept.
const NO_ROOM: u64 = 100 << 20;

/// Whether the database is there, can be read in time and is nobody else's. `runs`: the bridge that has it may be ours.
pub(super) async fn look_at_database(database: &Database, runs: bool, patience: Duration, report: &mut Report) {
    const ABOUT: &str = "database";
    let file = database.sqlite_path();
    if let Some(path) = &file {
        look_at_mode(ABOUT, path, report);
        if !path.exists() {
            let folder = folder_of(path);
            return match std::fs::metadata(&folder) {
                Ok(found) if found.is_dir() => {
                    report.well(ABOUT, format!("{} will be made at the first start", path.display()));
                }
                _ => report.fault(
                    ABOUT,
                    format!("there is no folder {} for {}", folder.display(), path.display()),
                    "make it, or correct database.uri",
                ),
            };
        }
    }
    // Of a server behind a firewall that drops packets nothing is ever heard.
    match tokio::time::timeout(patience, look::look(&database.sqlx_url(), file.as_deref())).await {
        Err(_) => report.fault(
            ABOUT,
            format!("did not answer in {} s", patience.as_secs_f32()),
            "start the server, let this machine reach it (its address and port, a firewall), or correct database.uri",
        ),
        Ok(Ok(look)) => tell_look(&look, runs, report),
        Ok(Err(why)) => {
            // The driver's words; never the address, which may hold a password.
            let fix = match database.kind {
                DatabaseType::Sqlite => {
                    "correct database.uri, let the bridge's user read and write the file, or put a backup in its place"
                }
                DatabaseType::Postgres => "start the server, or correct database.uri",
            };
            report.fault(ABOUT, format!("can't be read: {why}"), fix);
        }
    }
}

pub(super) fn tell_look(look: &Look, runs: bool, report: &mut Report) {
    const ABOUT: &str = "database";
    match look.schema {
        Some(schema) if schema > look.newest => report.fault(
            ABOUT,
            format!("it was written by a newer version (step {schema}; this one knows {})", look.newest),
            "run the newer version again",
        ),
        Some(schema) if schema < look.newest => {
            report.well(ABOUT, format!("can be read; the next start brings it from step {schema} to {}", look.newest))
        }
        Some(schema) => report.well(ABOUT, format!("can be read and is up to date (step {schema})")),
        None => report.well(ABOUT, "can be read and is empty; the first start fills it"),
    }
    if look.is_held && !runs {
        // Seen from another container, or under another address, the bridge that runs is the one that has it.
        report.warn(
            "lock",
            "another process has the database, and no bridge answers at the port: the bridge runs elsewhere (another container, \
             another address), or a second one does",
            "if it is the bridge itself, nothing; else stop the other one: two on one database would destroy the logins, so this one \
             will not start",
        );
    }
}

/// Whether what is kept has room.
pub(super) fn look_at_disk(config: &Config, report: &mut Report) {
    let mut folders: Vec<PathBuf> = config.database.sqlite_path().iter().map(|path| folder_of(path)).collect();
    folders.push(folder_of(&config.media_folder()));
    folders.dedup();
    for folder in folders {
        match fs4::available_space(there(&folder)) {
            Ok(free) => tell_room(&folder, free, report),
            Err(why) => report.warn("disk", format!("{}: {why}", folder.display()), "make the folder"),
        }
    }
}

pub(super) fn tell_room(folder: &Path, free: u64, report: &mut Report) {
    let told = format!("{} MiB are free at {}", free >> 20, folder.display());
    if free < NO_ROOM {
        report.fault("disk", told, "free some room: a full disk stops every message");
    } else if free < LITTLE_ROOM {
        report.warn("disk", told, "free some room, or lower media.folder_mib");
    } else {
        report.well("disk", told);
    }
}

/// Whether ffmpeg is there, and what it can.
pub(super) async fn look_at_ffmpeg(media: &Media, report: &mut Report) {
    const ABOUT: &str = "ffmpeg";
    let Some(program) = media.ffmpeg() else {
        return report
            .well(ABOUT, "media.ffmpeg says off: films of other kinds go as documents, voices as sound files");
    };
    let install = "install ffmpeg, name it in media.ffmpeg, or write off there";
    match Tool::find(program).await {
        Some(tool) if tool.films && tool.voices => report.well(ABOUT, format!("{program} makes films and voices")),
        Some(tool) => {
            let lost = match (tool.films, tool.voices) {
                (false, true) => "no H.264: GIFs, WebM and MOV films go as documents",
                (true, false) => "no Opus: voices of other kinds go as sound files",
                _ => "neither H.264 nor Opus: films go as documents and voices as sound files",
            };
            report.warn(ABOUT, format!("{program} has {lost}"), "install a build with libx264 and libopus");
        }
        None => report.warn(
            ABOUT,
            format!("{program} was not found: GIFs, WebM and MOV films and HEIC pictures go as documents, other voices as sound files"),
            install,
        ),
    }
}

/// The files as they were before they were written anew, which hold the same secrets.
pub(super) fn backups_of(path: &Path) -> Vec<PathBuf> {
    let start = format!("{}.bak-", path.file_name().unwrap_or_default().to_string_lossy());
    let folder = std::fs::read_dir(folder_of(path)).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = folder
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&start))
        .map(|entry| path.with_file_name(entry.file_name()))
        .collect();
    found.sort();
    found
}

/// Whether a file with secrets is its owner's (and group's) only.
pub(super) fn look_at_mode(about: &'static str, path: &Path, report: &mut Report) {
    let Ok(found) = std::fs::metadata(path) else { return };
    if found.permissions().mode() & 0o007 != 0 {
        report.warn(
            about,
            format!("everybody on this machine may open {}, which holds secrets", path.display()),
            &format!("chmod o= {}", path.display()),
        );
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The folder, or the nearest one above it that is there already.
fn there(folder: &Path) -> PathBuf {
    folder.ancestors().find(|one| one.exists()).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
