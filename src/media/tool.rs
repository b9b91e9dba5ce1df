//! ffmpeg, if the operator has it: an outside program that decodes what we have no decoder for.
//!
//! It reads what strangers send, so it gets as little as possible: its arguments are fixed, the reader is named after
//! what the content is (a playlist that calls itself a film is not followed), no protocol but plain files, no
//! environment, nothing on standard input; its memory, processor time and output are bounded by the kernel, its time on
//! the clock by us, and one runs at a time. It dies when the work is dropped; when we are killed, its processor time
//! ends it. Without it every kind still crosses in some form; see `fit`.

use super::spool::{Spool, SpoolError, SpoolFile};
use file_format::FileFormat;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// How long it may take to say what it can do.
const ASKING: Duration = Duration::from_secs(15);

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of memory (address space).
    pub memory: u64,
    /// Time on the clock, and seconds of processor time, both.
    pub time: Duration,
}

/// Enough for a film of some minutes.
pub(super) const BOUNDS: Bounds = Bounds { memory: 2 << 30, time: Duration::from_secs(180) };

/// The program, and what this build of it can write. Cheap to clone.
#[derive(Clone)]
pub struct Tool {
    program: Arc<PathBuf>,
    bounds: Bounds,
    turn: Arc<Semaphore>,
    /// Whether it writes H.264.
    pub films: bool,
    /// Whether it writes Opus.
    pub voices: bool,
}

/// What it is to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// A JPEG of one of the first pictures of a film, 800 × 600 at most.
    Frame,
    /// A JPEG of a still picture.
    Picture,
    /// An MP4 without sound, a minute at most.
    LoopingFilm,
    /// An MP4 that plays everywhere.
    Film,
    /// The same tracks in an MP4.
    Repacked,
    /// A recorded voice: Ogg Opus, mono.
    Voice,
    /// Sound: AAC in MP4.
    Sound,
}

/// Why it made nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ToolError {
    /// It has no reader for this, or can not write that.
    #[error("this build of ffmpeg can not do it")]
    Unable,
    /// It failed, or used more than it may.
    #[error("ffmpeg made nothing of the file")]
    Failed,
    /// There was no place for what it makes.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Tool {
    /// Looks for the program: a path, or a name in `PATH`. `None` when there is none or it does not run.
    pub async fn find(program: &str) -> Option<Self> {
        let program = if program.contains('/') { PathBuf::from(program) } else { in_path(program)? };
        let mut asking = Command::new(&program);
        asking.args(["-nostdin", "-hide_banner", "-encoders"]);
        asking.env_clear().stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let said = tokio::time::timeout(ASKING, asking.output()).await.ok()?.ok()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let writes = |name: &str| said.split_whitespace().any(|word| word == name);
        // What writes neither JPEG nor AAC is not the program we mean.
        let is_it = writes("mjpeg") && writes("aac");
        is_it.then(|| Self {
            program: Arc::new(program),
            bounds: BOUNDS,
            turn: Arc::new(Semaphore::new(1)),
            films: writes("libx264"),
            voices: writes("libopus"),
        })
    }

    /// Makes a file out of another, `limit` bytes at most. Waits for its turn.
    pub(super) async fn run(
        &self,
        spool: &Spool,
        file: &SpoolFile,
        format: FileFormat,
        job: Job,
        limit: u64,
    ) -> Result<SpoolFile, ToolError> {
        let able = match job {
            Job::LoopingFilm | Job::Film => self.films,
            Job::Voice => self.voices,
            Job::Frame | Job::Picture | Job::Repacked | Job::Sound => true,
        };
        let reader = reader_of(format).filter(|_| able).ok_or(ToolError::Unable)?;
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await.map_err(|_| ToolError::Failed)?;
        // Room for what it will make is taken when it is made: waiting here, with a file in hand, could wait for ever.
        let limit = limit.min(spool.max_file());
        let output = spool.begin_now(0, limit)?;
        let mut run = Command::new(self.program.as_path());
        run.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file"]);
        run.args(["-threads", "2", "-f", reader, "-i"]).arg(address(file.path()));
        run.args(["-map_metadata", "-1", "-sn", "-dn", "-threads", "2"]).args(job.arguments());
        run.args(["-fs", &limit.to_string(), "-y"]).arg(address(output.path()));
        run.current_dir(spool.folder()).env_clear().kill_on_drop(true);
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = run.spawn().map_err(|_| ToolError::Failed)?;
        let ended = match self.bind(&child, limit) {
            Ok(()) => tokio::time::timeout(self.bounds.time, child.wait()).await,
            Err(error) => Ok(Err(error)),
        };
        let status = match ended {
            Ok(Ok(status)) => Some(status),
            Ok(Err(_)) | Err(_) => {
                // Waited for, so that its file is not written any more when it is deleted.
                child.kill().await.map_err(|_| ToolError::Failed)?;
                None
            }
        };
        if !status.is_some_and(|status: ExitStatus| status.success()) {
            return Err(ToolError::Failed);
        }
        let made = tokio::task::spawn_blocking(move || output.adopt()).await.map_err(|_| ToolError::Failed)??;
        if made.size() == 0 { Err(ToolError::Failed) } else { Ok(made) }
    }

    /// Bounds a child that has just begun: it has read nothing yet that a stranger wrote.
    fn bind(&self, child: &Child, output: u64) -> std::io::Result<()> {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or(std::io::ErrorKind::NotFound)?;
        let bounds = [
            (Resource::As, self.bounds.memory),
            (Resource::Cpu, self.bounds.time.as_secs().max(1)),
            // A muxer that goes back to write its index may be a little above `-fs`.
            (Resource::Fsize, output.saturating_add(1 << 20)),
            (Resource::Core, 0),
        ];
        for (resource, most) in bounds {
            prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(())
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// As an address that is a file whatever it is called.
fn address(path: &Path) -> std::ffi::OsString {
    let mut address = std::ffi::OsString::from("file:");
    address.push(path);
    address
}

/// ffmpeg's name of the reader for a type; `None` for types that it is not given.
fn reader_of(format: FileFormat) -> Option<&'static str> {
    use FileFormat as F;
    Some(match format {
        format if super::film::is_boxed(format) => "mov",
        F::HighEfficiencyImageCoding | F::HighEfficiencyImageFileFormat | F::Av1ImageFileFormat => "mov",
        F::Webm | F::MatroskaVideo | F::MatroskaAudio => "matroska",
        F::AudioVideoInterleave => "avi",
        F::GraphicsInterchangeFormat => "gif",
        F::OggOpus | F::OggVorbis | F::OggFlac | F::OggSpeex | F::OggTheora => "ogg",
        F::WaveformAudio => "wav",
        F::FreeLosslessAudioCodec => "flac",
        F::Mpeg12AudioLayer3 | F::Mpeg12AudioLayer2 => "mp3",
        F::AdvancedAudioCoding => "aac",
        F::AdaptiveMultiRate => "amr",
        F::AudioInterchangeFileFormat => "aiff",
        F::WindowsMediaVideo | F::WindowsMediaAudio => "asf",
        F::Mpeg2TransportStream => "mpegts",
        F::FlashVideo => "flv",
        _ => return None,
    })
}

/// Even sides, as H.264 needs, and none above 1,920 pixels.
const SIDES: &str = "scale='min(1920,iw)':'min(1920,ih)':force_original_aspect_ratio=decrease:force_divisible_by=2";

impl Job {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Frame => &[
                "-an",
                "-frames:v",
                "1",
                "-vf",
                "thumbnail=12,scale='min(800,iw)':'min(600,ih)':force_original_aspect_ratio=decrease",
                "-c:v",
                "mjpeg",
                "-pix_fmt",
                "yuvj420p",
                "-q:v",
                "4",
                "-f",
                "mjpeg",
            ],
            Self::Picture => {
                &["-an", "-frames:v", "1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2", "-f", "mjpeg"]
            }
            Self::LoopingFilm => &[
                "-an",
                "-t",
                "60",
                "-vf",
                SIDES,
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-crf",
                "24",
                "-pix_fmt",
                "yuv420p",
                "-movflags",
                "+faststart",
                "-f",
                "mp4",
            ],
            Self::Film => &[
                "-map",
                "0:v:0",
                "-map",
                "0:a:0?",
                "-vf",
                SIDES,
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-crf",
                "25",
                "-pix_fmt",
                "yuv420p",
                "-c:a",
                "aac",
                "-b:a",
                "128k",
                "-ac",
                "2",
                "-movflags",
                "+faststart",
                "-f",
                "mp4",
            ],
            Self::Repacked => {
                &["-map", "0:v:0", "-map", "0:a:0?", "-c", "copy", "-movflags", "+faststart", "-f", "mp4"]
            }
            Self::Voice => &[
                "-vn",
                "-map",
                "0:a:0",
                "-ac",
                "1",
                "-ar",
                "48000",
                "-c:a",
                "libopus",
                "-b:a",
                "32k",
                "-application",
                "voip",
                "-f",
                "ogg",
            ],
            Self::Sound => {
                &["-vn", "-map", "0:a:0", "-c:a", "aac", "-b:a", "160k", "-movflags", "+faststart", "-f", "ipod"]
            }
        }
    }
}

#[cfg(test)]
#[path = "tool_tests.rs"]
pub(super) mod tests;
