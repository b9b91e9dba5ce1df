//! Files: kept for a while, looked into, and made to fit the other side. No network, no database.
//!
//! Promise: what a file is, is found in its content; what its sender says about it counts only where content can not
//! tell. Decoders get limits of pixels, memory and time, and run on blocking threads, few at once; one that panics
//! costs its file the facts it would have found and nothing else. A file always crosses: what can not be shown as what
//! its sender meant becomes a document.
//!
//! Owns the spool's folder. A kill loses nothing: files are fetched again. Called by the bridge and both edges.
//!
//! Parts: [`spool`] (the files), [`sniff`] (what they are), [`picture`], [`sticker`], [`sound`], [`film`] (what is in
//! them), [`tool`] (ffmpeg, if there is one), `facts` and `fit` (all of it together), [`unseal`] (encrypted files).

mod facts;
pub mod film;
mod fit;
pub mod picture;
pub mod sniff;
pub mod sound;
pub mod spool;
mod square;
pub mod sticker;
mod timed;
pub mod tool;
pub mod unseal;

use picture::Thumbnail;
use spool::{Spool, SpoolFile};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tool::Tool;

/// Files that are decoded at the same time.
const DECODERS: usize = 2;

/// What the operator says about files.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// Where files are kept on their way.
    pub folder: PathBuf,
    /// Bytes all of them may take together.
    pub budget: u64,
    /// Bytes one of them may take.
    pub max_file: u64,
    /// Path or name of ffmpeg; none when it shall not be used.
    pub ffmpeg: Option<String>,
}

/// What a file is to the person who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A photo.
    Image,
    /// A film.
    Video,
    /// A short film that plays by itself, without sound.
    Gif,
    /// A round film spoken into the camera.
    RoundVideo,
    /// A sound file.
    Audio,
    /// A recorded voice.
    Voice,
    /// Any file.
    Document,
    /// A sticker, still or moving.
    Sticker,
}

/// For whom a file is looked into: decides how small its small picture is, and how types are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Matrix: 800 × 600.
    Matrix,
    /// WhatsApp: 72 × 72, inside the message.
    WhatsApp,
}

/// What a file's sender says about it, used where its content does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Its type.
    pub mime: Option<String>,
    /// Milliseconds.
    pub duration_ms: Option<u64>,
    /// [`sound::BARS`] bars of 0 to 100; believed when there are any.
    pub waveform: Vec<u8>,
    /// A small picture of it: any picture file.
    pub thumbnail: Option<Vec<u8>>,
}

/// What was found by looking into a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its type, as a header may hold it.
    pub mime: String,
    /// Bytes.
    pub size: u64,
    /// Pixels from side to side, as it is shown.
    pub width: Option<u32>,
    /// Pixels from top to bottom, as it is shown.
    pub height: Option<u32>,
    /// Milliseconds.
    pub duration_ms: Option<u64>,
    /// A small picture of it, when it is one or has one. For Matrix none of a picture that is small itself.
    pub thumbnail: Option<Thumbnail>,
    /// Its colours in some thirty letters.
    pub blurhash: Option<String>,
    /// [`sound::BARS`] bars of 0 to 100, of a recorded voice.
    pub waveform: Vec<u8>,
    /// Whether a picture moves.
    pub animated: bool,
}

/// A file made to fit.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The file; another one than was given, where it had to be changed.
    pub file: SpoolFile,
    /// What it is now.
    pub kind: Kind,
    /// What is in it.
    pub facts: Facts,
}

/// The workshop of files. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    shared: Arc<Shared>,
}

struct Shared {
    spool: Spool,
    tool: Option<Tool>,
    decoders: Semaphore,
}

impl Media {
    /// Opens the folder, deletes what an earlier process left in it, looks for ffmpeg, and says in the log what is
    /// missing. Call it behind the lock that keeps a second process out.
    ///
    /// # Errors
    /// When the folder can not be made.
    pub async fn open(settings: &MediaSettings) -> io::Result<Self> {
        let spool = Spool::open(&settings.folder, settings.budget, settings.max_file)?;
        let tool = match &settings.ffmpeg {
            Some(program) => Tool::find(program).await,
            None => None,
        };
        tell(tool.as_ref(), settings.ffmpeg.is_some());
        Ok(Self { shared: Arc::new(Shared { spool, tool, decoders: Semaphore::new(DECODERS) }) })
    }

    /// Where files are kept.
    pub fn spool(&self) -> &Spool {
        &self.shared.spool
    }

    fn tool(&self) -> Option<&Tool> {
        self.shared.tool.as_ref()
    }

    /// Runs what decodes, on a blocking thread. `None` when it panicked.
    async fn decode<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        // The semaphore is never closed.
        let _permit = self.shared.decoders.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

fn tell(tool: Option<&Tool>, wanted: bool) {
    match tool {
        None if !wanted => tracing::info!("ffmpeg is switched off (media.ffmpeg)"),
        None => tracing::warn!(
            "ffmpeg was not found (media.ffmpeg): GIFs, WebM and MOV films, HEIC pictures and uncommon sound go to \
             WhatsApp as documents, voice messages that are not Ogg Opus as sound files, and films get no thumbnail of \
             their own"
        ),
        Some(tool) => {
            if !tool.films {
                tracing::warn!("this build of ffmpeg has no libx264: GIFs and WebM films go to WhatsApp as documents");
            }
            if !tool.voices {
                tracing::warn!(
                    "this build of ffmpeg has no libopus: voice messages that are not Ogg Opus go to WhatsApp as sound files"
                );
            }
        }
    }
}
