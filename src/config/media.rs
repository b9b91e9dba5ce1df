//! Files on their way between the two networks.

use std::path::PathBuf;

use serde::Deserialize;

/// Section `media`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// Where files are kept while they are on their way; see [`super::Config::media_folder`].
    pub folder: Option<PathBuf>,
    /// What all of them may take together, MiB.
    pub folder_mib: u32,
    /// What one of them may take, MiB.
    pub max_file_mib: u32,
    /// Path or name of ffmpeg, or `off`.
    pub ffmpeg: String,
}

impl Media {
    /// What switches ffmpeg off.
    const NO_FFMPEG: &str = "off";

    /// What all files may take together, bytes.
    #[must_use]
    pub fn budget(&self) -> u64 {
        u64::from(self.folder_mib) << 20
    }

    /// What one file may take, bytes.
    #[must_use]
    pub fn max_file(&self) -> u64 {
        u64::from(self.max_file_mib) << 20
    }

    /// Path or name of ffmpeg; `None` when it is switched off.
    #[must_use]
    pub fn ffmpeg(&self) -> Option<&str> {
        Some(self.ffmpeg.as_str()).filter(|ffmpeg| *ffmpeg != Self::NO_FFMPEG)
    }
}
