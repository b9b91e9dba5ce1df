//! Sound: how long, and the shape of a recorded voice. Everything here blocks.

use super::timed::Timed;
use opus_decoder::OpusDecoder;
use std::fs::File;
use std::time::{Duration, Instant};
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::common::Limit;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::TimeBase;

/// Bars of a voice's shape, as WhatsApp's clients draw them.
pub const BARS: usize = 64;
/// How long a file may take to be read.
const READING: Duration = Duration::from_secs(20);
/// How long a voice may take to be decoded; else its shape is guessed. Enough for five minutes from a phone.
const DECODING: Duration = Duration::from_secs(2);
/// The longest sound that is believed, milliseconds: a day and a night.
const LONGEST: u64 = 24 * 3600 * 1000;

/// How long a sound (or a WebM film) is, milliseconds. `None` when it can not be told.
pub fn duration_ms(file: File) -> Option<u64> {
    let mut reader = open(file)?;
    let said = {
        let track = reader.default_track(TrackType::Audio).or_else(|| reader.tracks().first())?;
        let of_track = track.time_base.zip(track.duration).and_then(|(base, ticks)| ms(base, ticks));
        let info = reader.media_info();
        of_track.or_else(|| info.time_base.zip(info.duration).and_then(|(base, ticks)| ms(base, ticks)))
    };
    // Some kinds say it nowhere: their pieces are counted.
    said.filter(|ms| *ms > 0).or_else(|| count(reader.as_mut()))
}

/// Opens any kind of sound or Matroska file there is a reader for.
pub(super) fn open(file: File) -> Option<Box<dyn FormatReader>> {
    let stream = MediaSourceStream::new(Box::new(Timed::new(file, READING)), Default::default());
    let metadata =
        MetadataOptions::default().limit_tag_bytes(Limit::Maximum(1 << 16)).limit_visual_bytes(Limit::Maximum(0));
    symphonia::default::get_probe().probe(&Hint::new(), stream, FormatOptions::default(), metadata).ok()
}

pub(super) fn ms(base: TimeBase, ticks: symphonia::core::units::Duration) -> Option<u64> {
    let ms = base.calc_duration(ticks)?.as_millis();
    u64::try_from(ms).ok().filter(|ms| *ms <= LONGEST)
}

fn count(reader: &mut dyn FormatReader) -> Option<u64> {
    let track = reader.default_track(TrackType::Audio)?;
    let (id, base) = (track.id, track.time_base?);
    let mut ticks = 0u64;
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id == id {
            ticks = ticks.checked_add(packet.dur.get())?;
        }
    }
    ms(base, symphonia::core::units::Duration::new(ticks)).filter(|ms| *ms > 0)
}

/// Packets that are looked at: five hours and a half of the usual 20 ms.
const MAX_PACKETS: usize = 1_000_000;

/// The shape of a voice in Ogg Opus: [`BARS`] bars of 0 to 100. Empty when it is none.
pub fn waveform(file: File) -> Vec<u8> {
    let Some(mut reader) = open(file) else { return Vec::new() };
    let Some(track) = reader.default_track(TrackType::Audio) else { return Vec::new() };
    let codec = track.codec_params.as_ref().and_then(|params| params.audio()).map(|audio| audio.codec);
    if codec != Some(CODEC_ID_OPUS) {
        return Vec::new();
    }
    let id = track.id;
    let mut decoder = OpusDecoder::new(16_000, 1).ok();
    let mut pcm = vec![0i16; decoder.as_ref().map_or(0, OpusDecoder::max_frame_size_per_channel)];
    let (mut heard, mut sizes) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id != id {
            continue;
        }
        if sizes.len() == MAX_PACKETS {
            break;
        }
        // Louder speech takes more bytes: good enough where decoding is not possible or takes too long.
        sizes.push(packet.data.len() as f32);
        if begun.elapsed() > DECODING {
            decoder = None;
        }
        if let Some(decoder) = &mut decoder {
            let samples = decoder.decode(&packet.data, &mut pcm, false).unwrap_or(0);
            heard.push(loudness(pcm.get(..samples).unwrap_or_default()));
        }
    }
    bars(if decoder.is_some() { &heard } else { &sizes })
}

fn loudness(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum();
    (sum / samples.len().max(1) as f32).sqrt()
}

/// Levels of equal pieces of time as [`BARS`] bars, the loudest at 100.
fn bars(levels: &[f32]) -> Vec<u8> {
    if levels.is_empty() {
        return Vec::new();
    }
    let means: Vec<f32> = (0..BARS)
        .map(|bar| {
            let from = bar * levels.len() / BARS;
            let to = ((bar + 1) * levels.len() / BARS).max(from + 1);
            let piece = levels.get(from..to.min(levels.len())).unwrap_or_default();
            piece.iter().sum::<f32>() / piece.len().max(1) as f32
        })
        .collect();
    let loudest = means.iter().copied().fold(1.0, f32::max);
    // Between 0 and 100: no mean is above the loudest.
    means.iter().map(|mean| (mean / loudest * 100.0).round() as u8).collect()
}

#[cfg(test)]
#[path = "sound_tests.rs"]
mod tests;
