//! Tests of films' containers.

use super::*;
use proptest::prelude::*;
use std::io::Write as _;

const MP4: &[u8] = include_bytes!("testdata/film.mp4");
const UPRIGHT: &[u8] = include_bytes!("testdata/upright.mp4");
const MOV: &[u8] = include_bytes!("testdata/film.mov");
const WEBM: &[u8] = include_bytes!("testdata/film.webm");

fn look(bytes: &[u8]) -> Option<Film> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    measure(file, FileFormat::from_bytes(bytes))
}

#[test]
fn size_and_length_are_read_as_shown() {
    let film = Film { width: Some(64), height: Some(36), duration_ms: Some(1000), plays_everywhere: true };
    assert_eq!(look(MP4), Some(film));
    assert_eq!(look(UPRIGHT), Some(Film { width: Some(36), height: Some(64), ..film }));
    assert_eq!(look(MOV), Some(Film { plays_everywhere: false, ..film }));
    assert_eq!(look(WEBM), Some(Film { plays_everywhere: false, ..film }));
}

#[test]
fn the_index_may_stand_behind_a_film_that_is_not_read() {
    // The free box says it is a gigabyte: the file is sparse, and only its head is read.
    let mut file = tempfile::tempfile().unwrap();
    let moov = MP4.windows(4).position(|window| window == b"moov").unwrap() - 4;
    let ftyp = u32::from_be_bytes(*MP4.first_chunk::<4>().unwrap()) as usize;
    file.write_all(&MP4[..ftyp]).unwrap();
    file.write_all(b"\0\0\0\x01free\0\0\0\0\x40\0\0\0").unwrap();
    file.seek(SeekFrom::Start(ftyp as u64 + (1 << 30))).unwrap();
    file.write_all(&MP4[moov..]).unwrap();
    assert_eq!(measure(file, FileFormat::Mpeg4Part14Video).and_then(|film| film.width), Some(64));
}

#[test]
fn boxes_that_lie_about_their_size_lead_nowhere() {
    let with_box = |size: u32, kind: &[u8; 4]| [&size.to_be_bytes()[..], kind, &[0; 64]].concat();
    for (size, kind) in
        [(0, b"moov"), (7, b"free"), (u32::MAX, b"moov"), (u32::MAX, b"free"), (1, b"moov"), (8, b"ftyp")]
    {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&with_box(size, kind)).unwrap();
        assert_eq!(measure(file, FileFormat::Mpeg4Part14Video), None, "{size}");
    }
    assert_eq!(look(b""), None);
    assert_eq!(look(b"\0\0\0\x18ftypmp42"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn broken_containers_never_panic(at in 0..4096usize, with: u8, at2 in 0..4096usize, with2: u8, kind in 0..4usize) {
        let mut bytes = [MP4, UPRIGHT, MOV, WEBM][kind].to_vec();
        let length = bytes.len();
        bytes[at % length] = with;
        bytes[at2 % length] = with2;
        if let Some(film) = look(&bytes) {
            prop_assert!(film.duration_ms.is_none_or(|ms| ms <= LONGEST));
        }
    }
}
