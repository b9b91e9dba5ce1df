//! Films: how large and how long, read from the container. No picture of a film is decoded here. Everything blocks.

use super::sound;
use file_format::FileFormat;
use mp4parse::{CodecType, SampleEntry, TrackType};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use symphonia::core::codecs::CodecParameters;

/// The largest index of an MP4 that is read: a film of some hours has a tenth of it.
const MAX_INDEX: u64 = 32 << 20;
/// Boxes looked at on the top floor of an MP4.
const MAX_BOXES: usize = 4096;
/// The longest film that is believed, milliseconds: a day and a night.
const LONGEST: u64 = 24 * 3600 * 1000;

/// What a container says about its film.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Film {
    /// Pixels from side to side, as it is shown.
    pub width: Option<u32>,
    /// Pixels from top to bottom, as it is shown.
    pub height: Option<u32>,
    /// Milliseconds.
    pub duration_ms: Option<u64>,
    /// Whether every track is of a kind that each phone plays in an MP4: H.264, with AAC or nothing.
    pub plays_everywhere: bool,
}

/// Whether a type is one of those that are made of MP4's boxes.
pub fn is_boxed(format: FileFormat) -> bool {
    use FileFormat as F;
    matches!(
        format,
        F::Mpeg4Part14
            | F::Mpeg4Part14Video
            | F::Mpeg4Part14Audio
            | F::AppleQuicktime
            | F::AppleItunesVideo
            | F::AppleItunesAudio
            | F::ThirdGenerationPartnershipProject
            | F::ThirdGenerationPartnershipProject2
    )
}

/// Reads a film's container; `None` when it can not be read.
pub fn measure(file: File, format: FileFormat) -> Option<Film> {
    match format {
        format if is_boxed(format) => measure_boxes(file),
        FileFormat::Webm | FileFormat::MatroskaVideo => measure_matroska(file),
        _ => None,
    }
}

fn measure_boxes(mut file: File) -> Option<Film> {
    let index = find_index(&mut file)?;
    let context = mp4parse::read_mp4(&mut index.as_slice()).ok()?;
    let mut film = Film { plays_everywhere: true, ..Film::default() };
    for track in &context.tracks {
        let ticks = track.duration.zip(track.timescale);
        let duration = ticks.and_then(|(ticks, scale)| (ticks.0.checked_mul(1000)?).checked_div(scale.0));
        film.duration_ms = film.duration_ms.max(duration.filter(|ms| (1..=LONGEST).contains(ms)));
        let codec = track.stsd.as_ref().and_then(|stsd| stsd.descriptions.first()).map(|entry| match entry {
            SampleEntry::Audio(audio) => audio.codec_type,
            SampleEntry::Video(video) => video.codec_type,
            SampleEntry::Unknown => CodecType::Unknown,
        });
        match track.track_type {
            TrackType::Video => {
                film.plays_everywhere &= codec == Some(CodecType::H264);
                if let (Some(head), None) = (&track.tkhd, film.width) {
                    let (width, height) = (head.width >> 16, head.height >> 16);
                    // Phones film upright by saying "turn it": the matrix then has its weight off the diagonal.
                    let is_turned = head.matrix.b.unsigned_abs() > head.matrix.a.unsigned_abs();
                    let (width, height) = if is_turned { (height, width) } else { (width, height) };
                    (film.width, film.height) = (Some(width).filter(|w| *w > 0), Some(height).filter(|h| *h > 0));
                }
            }
            TrackType::Audio => film.plays_everywhere &= codec == Some(CodecType::AAC),
            _ => {}
        }
    }
    (!context.tracks.is_empty()).then_some(film)
}

/// The boxes of an MP4 that say what is in it: its type and its index, without the film itself.
fn find_index(file: &mut File) -> Option<Vec<u8>> {
    let length = file.metadata().ok()?.len();
    let (mut at, mut kept) = (0u64, Vec::new());
    for _ in 0..MAX_BOXES {
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut head = [0; 16];
        file.read_exact(&mut head[..8]).ok()?;
        let [a, b, c, d, kind @ ..] = *head.first_chunk::<8>()?;
        let size = match u32::from_be_bytes([a, b, c, d]) {
            0 => length - at,
            1 => {
                file.read_exact(&mut head[8..]).ok()?;
                u64::from_be_bytes(*head.last_chunk::<8>()?)
            }
            size => u64::from(size),
        };
        let is_index = &kind == b"moov";
        if is_index || &kind == b"ftyp" {
            if size > MAX_INDEX || at.checked_add(size)? > length {
                return None;
            }
            file.seek(SeekFrom::Start(at)).ok()?;
            file.take(size).read_to_end(&mut kept).ok()?;
        }
        if is_index {
            return Some(kept);
        }
        // A box is never smaller than its head: nobody leads us in circles.
        at = at.checked_add(size.max(8))?;
        if at >= length {
            return None;
        }
    }
    None
}

fn measure_matroska(file: File) -> Option<Film> {
    let reader = sound::open(file)?;
    let info = reader.media_info();
    let mut film = Film {
        duration_ms: info.time_base.zip(info.duration).and_then(|(base, ticks)| sound::ms(base, ticks)),
        ..Film::default()
    };
    for track in reader.tracks() {
        if let Some(CodecParameters::Video(video)) = &track.codec_params {
            (film.width, film.height) = (video.width.map(u32::from), video.height.map(u32::from));
            break;
        }
    }
    Some(film)
}

#[cfg(test)]
#[path = "film_tests.rs"]
mod tests;
