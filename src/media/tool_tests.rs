//! Tests of the outside program: what it is given, and what becomes of one that misbehaves. The program here is a
//! shell script, so that the tests run without ffmpeg.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const MP4: FileFormat = FileFormat::Mpeg4Part14Video;
/// What a program says that can write everything.
pub(in crate::media) const SAYS_ALL: &str =
    "case \"$*\" in *-encoders*) echo ' V..... mjpeg A..... aac V..... libx264 A..... libopus'; exit 0;; esac";
/// Sets `out` to the path of the file it is to write, the last argument.
pub(in crate::media) const OUT: &str = "for last; do :; done; out=${last#file:}";

/// A program that says what it can do and then runs `body`.
pub(in crate::media) async fn program(folder: &Path, body: &str) -> Tool {
    let path = folder.join("ffmpeg");
    fs::write(&path, format!("#!/bin/sh\n{SAYS_ALL}\n{OUT}\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // A script that another thread's fork still holds open for writing can not be run for a moment.
    loop {
        if let Some(tool) = Tool::find(path.to_str().unwrap()).await {
            return tool;
        }
        tokio::task::yield_now().await;
    }
}

struct Bench {
    folder: tempfile::TempDir,
    spool: Spool,
    file: SpoolFile,
    tool: Tool,
}

async fn bench(body: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&folder.path().join("spool"), 8 << 20, 4 << 20).unwrap();
    let mut writer = spool.begin_now(0, 1 << 20).unwrap();
    writer.add(b"input").unwrap();
    let file = writer.finish().unwrap();
    let tool = program(folder.path(), body).await;
    Bench { folder, spool, file, tool }
}

impl Bench {
    async fn run(&self, job: Job, limit: u64) -> Result<SpoolFile, ToolError> {
        self.tool.run(&self.spool, &self.file, MP4, job, limit).await
    }

    fn files(&self) -> usize {
        let all = fs::read_dir(self.spool.folder()).unwrap().flatten();
        all.filter(|entry| entry.file_name() != "lock").count()
    }
}

#[tokio::test]
async fn it_gets_fixed_arguments_and_no_environment() {
    let bench = bench("printf '%s\\n' \"$@\" >\"$out\"; echo ---- >>\"$out\"; env >>\"$out\"").await;
    let made = bench.run(Job::Frame, 1 << 20).await.unwrap();
    let text = String::from_utf8(made.read(1 << 20).unwrap()).unwrap();
    let (arguments, environment) = text.split_once("----\n").unwrap();
    let arguments: Vec<&str> = arguments.lines().collect();
    assert_eq!(arguments[..6], ["-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file"]);
    let reader = arguments.iter().position(|word| *word == "-f").unwrap();
    assert_eq!(arguments[reader + 1], "mov", "the reader is named before the input");
    let input = arguments.iter().position(|word| *word == "-i").unwrap();
    assert!(reader < input && arguments[input + 1].starts_with("file:/"));
    assert!(arguments.last().unwrap().starts_with("file:/"));
    // What the shell itself sets.
    let own = ["PWD", "SHLVL", "_", "OLDPWD"];
    assert!(environment.lines().all(|line| own.contains(&line.split('=').next().unwrap())), "{environment}");
    drop(made);
    assert_eq!(bench.files(), 1, "only the input is left");
}

#[tokio::test]
async fn one_that_never_ends_is_killed_and_leaves_nothing() {
    let mut bench = bench("echo $$ >\"$out.pid\"; exec sleep 1000").await;
    bench.tool.bounds.time = Duration::from_millis(300);
    assert!(matches!(bench.run(Job::Film, 1 << 20).await, Err(ToolError::Failed)));
    let note = fs::read_dir(bench.spool.folder()).unwrap().flatten().find(|entry| entry.path().extension().is_some());
    let pid = fs::read_to_string(note.unwrap().path()).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "it is gone");
    assert_eq!(bench.files(), 2, "the input, and the script's note");
}

#[tokio::test]
async fn one_whose_work_is_dropped_dies() {
    let bench = bench("echo $$ >\"$out.pid\"; exec sleep 1000").await;
    let note = {
        let running = bench.run(Job::Film, 1 << 20);
        tokio::pin!(running);
        loop {
            assert!(tokio::time::timeout(Duration::from_millis(10), &mut running).await.is_err());
            let mut files = fs::read_dir(bench.spool.folder()).unwrap().flatten();
            let note = files.find(|file| file.path().extension().is_some()).map(|file| file.path());
            if let Some(pid) = note.and_then(|note| fs::read_to_string(note).ok()).filter(|pid| pid.ends_with('\n')) {
                break pid;
            }
        }
    };
    let process = Path::new("/proc").join(note.trim()).join("stat");
    // Killed at once; who collects its remains may come a moment later.
    while fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.files(), 2, "the input, and the script's note");
}

#[tokio::test]
async fn one_that_writes_without_end_is_stopped() {
    let bench = bench("exec cat /dev/zero >\"$out\"").await;
    let made = bench.run(Job::Film, 100_000).await;
    assert!(made.is_err());
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn memory_and_processor_time_are_bounded_by_the_kernel() {
    let bench =
        bench("until grep -q 'file size *2097152' /proc/self/limits; do :; done; cat /proc/self/limits >\"$out\"")
            .await;
    let made = bench.run(Job::Film, 1 << 20).await.unwrap();
    let text = String::from_utf8(made.read(1 << 20).unwrap()).unwrap();
    let limit = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(limit("Max address space"), BOUNDS.memory.to_string());
    assert_eq!(limit("Max cpu time"), BOUNDS.time.as_secs().to_string());
    assert_eq!(limit("Max file size"), (2 << 20).to_string());
}

#[tokio::test]
async fn failure_and_emptiness_are_failures() {
    for body in ["echo half >\"$out\"; exit 1", "exit 0", "kill -9 $$"] {
        let bench = bench(body).await;
        assert!(matches!(bench.run(Job::Sound, 1 << 20).await, Err(ToolError::Failed)), "{body}");
        assert_eq!(bench.files(), 1);
    }
}

#[tokio::test]
async fn what_is_not_there_or_is_another_program_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Tool::find(folder.path().join("ffmpeg").to_str().unwrap()).await.is_none());
    assert!(Tool::find("/bin/true").await.is_none());
    assert!(Tool::find("no-such-program-anywhere").await.is_none());
}

#[tokio::test]
async fn types_without_a_reader_are_not_given_to_it() {
    let bench = bench("echo made >\"$out\"").await;
    // A playlist names other files and addresses.
    for format in
        [FileFormat::ArbitraryBinaryData, FileFormat::Mp3Url, FileFormat::PlainText, FileFormat::ScalableVectorGraphics]
    {
        let made = bench.tool.run(&bench.spool, &bench.file, format, Job::Film, 1 << 20).await;
        assert!(matches!(made, Err(ToolError::Unable)), "{format:?}");
    }
    assert!(bench.folder.path().exists());
}
