//! Tests of sound: lengths and shapes, of files small enough to be read through.

use super::*;
use proptest::prelude::*;
use std::io::{Seek as _, Write as _};

const VOICE: &[u8] = include_bytes!("testdata/voice.ogg");

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// Half a second of silence, 8 kHz, 16 bits, mono.
fn wav() -> Vec<u8> {
    let (rate, samples) = (8000u32, 4000u32);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + samples * 2).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((samples * 2).to_le_bytes());
    bytes.extend(vec![0; samples as usize * 2]);
    bytes
}

#[test]
fn every_kind_tells_its_length() {
    let wav = wav();
    let files: [(&str, &[u8], u64); 5] = [
        ("voice", VOICE, 2000),
        ("mp3", include_bytes!("testdata/tone.mp3"), 500),
        ("m4a", include_bytes!("testdata/tone.m4a"), 500),
        ("aac", include_bytes!("testdata/tone.aac"), 500),
        ("wav", &wav, 500),
    ];
    for (name, bytes, want) in files {
        let found = duration_ms(file(bytes)).unwrap_or_default();
        // Encoders pad by some frames.
        assert!(found.abs_diff(want) <= 160, "{name}: {found}");
    }
    assert_eq!(duration_ms(file(b"no sound at all")), None);
    assert_eq!(duration_ms(file(b"")), None);
}

#[test]
fn the_shape_of_a_voice_is_what_one_hears() {
    let shape = waveform(file(VOICE));
    assert_eq!(shape.len(), BARS);
    let (quiet, loud) = shape.split_at(BARS / 2);
    assert!(quiet[4..28].iter().all(|bar| *bar < 25), "{shape:?}");
    assert!(loud[4..28].iter().all(|bar| *bar > 50), "{shape:?}");
    assert_eq!(shape.iter().max(), Some(&100));
}

#[test]
fn what_is_no_voice_has_no_shape() {
    assert!(waveform(file(&wav())).is_empty());
    assert!(waveform(file(b"OggS")).is_empty());
}

#[test]
fn few_pieces_still_make_all_bars() {
    assert_eq!(bars(&[3.0]), vec![100; BARS]);
    assert_eq!(bars(&[0.0, 0.0]), vec![0; BARS]);
    let two = bars(&[1.0, 4.0]);
    assert_eq!((two[0], two[31], two[32], two[63]), (25, 25, 100, 100));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn broken_sound_never_panics(at in 0..4096usize, with: u8, kind in 0..5usize, cut in 0..4096usize) {
        let wav = wav();
        let files: [&[u8]; 5] = [
            VOICE, include_bytes!("testdata/tone.mp3"), include_bytes!("testdata/tone.m4a"), include_bytes!("testdata/tone.aac"), &wav,
        ];
        let mut bytes = files[kind].to_vec();
        let at = at % bytes.len();
        bytes[at] = with;
        bytes.truncate(cut.max(1));
        prop_assert!(duration_ms(file(&bytes)).is_none_or(|ms| ms <= LONGEST));
        let shape = waveform(file(&bytes));
        prop_assert!(shape.is_empty() || shape.len() == BARS && shape.iter().all(|bar| *bar <= 100));
    }
}
