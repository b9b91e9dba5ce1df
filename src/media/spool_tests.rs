//! Tests of the spool: its limits, its waiting, its tidiness.

use super::*;
use std::io::Read as _;
use std::time::Duration;
use tokio::time::timeout;

const MIB: u64 = 1 << 20;

fn spool(budget: u64, max_file: u64) -> (tempfile::TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&folder.path().join("spool"), budget, max_file).unwrap();
    (folder, spool)
}

fn files(spool: &Spool) -> usize {
    let all = fs::read_dir(spool.folder()).unwrap().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)).count()
}

#[tokio::test]
async fn a_file_has_its_bytes_and_hash_and_is_deleted_with_its_last_handle() {
    let (_folder, spool) = spool(MIB, MIB);
    let mut writer = spool.begin(3, MIB).await.unwrap();
    writer.add(b"thrown away").unwrap();
    writer.clear().unwrap();
    writer.add(b"a").unwrap();
    writer.add(b"bc").unwrap();
    let file = writer.finish().unwrap();
    assert_eq!(file.size(), 3);
    let known: [u8; 32] = Sha256::digest(b"abc").into();
    assert_eq!(*file.sha256(), known);
    let other = file.clone();
    drop(file);
    assert_eq!(other.read(3).unwrap(), b"abc");
    assert!(matches!(other.read(2), Err(SpoolError::TooLarge { limit: 2 })));
    let mut open = other.open().unwrap();
    assert_eq!(files(&spool), 1);
    drop(other);
    assert_eq!(files(&spool), 0);
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc", "who reads it goes on reading");
    drop(spool.begin(3, MIB).await.unwrap());
    assert_eq!(files(&spool), 0, "also when it was never finished");
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, spool) = spool(MIB, MIB);
    let writer = spool.begin(3, MIB).await.unwrap();
    assert_eq!(fs::metadata(spool.folder()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(writer.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn an_endless_file_ends_at_its_limit() {
    let (_folder, spool) = spool(8 * MIB, 2 * MIB);
    let mut writer = spool.begin(0, 64 * MIB).await.unwrap();
    let piece = vec![7; 100_000];
    let ended = (0..1000).find_map(|_| writer.add(&piece).err()).unwrap();
    assert!(matches!(ended, SpoolError::TooLarge { limit } if limit == 2 * MIB), "{ended}");
    assert!(writer.size() <= 2 * MIB);
    let small = spool.begin(0, 10).await.unwrap().write(&[0; 11]).unwrap_err();
    assert!(small.to_string().contains("larger than 10 bytes"));
    assert!(matches!(spool.begin(11, 10).await, Err(SpoolError::TooLarge { limit: 10 })));
}

#[tokio::test]
async fn a_file_waits_for_room_and_one_that_grows_does_not() {
    let (_folder, spool) = spool(4 * MIB, 4 * MIB);
    let mut first = spool.begin(3 * MIB, 4 * MIB).await.unwrap();
    let waiting = spool.begin(2 * MIB, 4 * MIB);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(20), &mut waiting).await.is_err(), "there is no room yet");
    assert!(matches!(spool.begin_now(2 * MIB, 4 * MIB), Err(SpoolError::Full)));
    first.add(&[1; 10]).unwrap();
    let first = first.finish().unwrap();
    // The finished file keeps one block of the three mebibytes.
    let mut second = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    let grown = (0..64).find_map(|_| second.add(&vec![2; MIB as usize / 16]).err()).unwrap();
    assert!(matches!(grown, SpoolError::Full), "{grown}");
    drop(first);
    second.add(&vec![2; MIB as usize / 16]).unwrap();
}

#[test]
fn what_a_killed_process_left_is_deleted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (left, foreign) = (folder.path().join("spool-7"), folder.path().join("notes.txt"));
    fs::write(&left, "half").unwrap();
    fs::write(&foreign, "mine").unwrap();
    let first = Spool::open(folder.path(), MIB, MIB).unwrap();
    assert!(!left.exists());
    assert!(foreign.exists());
    let second = Spool::open(folder.path(), MIB, MIB).map(drop);
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::ResourceBusy, "a second process must not delete our files");
    drop(first);
    assert!(Spool::open(folder.path(), MIB, MIB).is_ok());
}

#[tokio::test]
async fn what_another_program_wrote_counts_too() {
    let (_folder, spool) = spool(MIB, MIB);
    let writer = spool.begin_now(10, MIB).unwrap();
    fs::write(writer.path(), b"abc").unwrap();
    let file = writer.adopt().unwrap();
    let known: [u8; 32] = Sha256::digest(b"abc").into();
    assert_eq!((file.size(), *file.sha256()), (3, known));
    let writer = spool.begin_now(10, 20).unwrap();
    fs::write(writer.path(), [0; 21]).unwrap();
    assert!(matches!(writer.adopt(), Err(SpoolError::TooLarge { limit: 20 })));
}
