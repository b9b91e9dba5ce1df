//! Tests of pictures: sizes, turning, smallness, and what bombs do.

use super::*;
use image::Rgba;
use proptest::prelude::*;
use std::io::{Cursor, Seek as _, Write as _};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Left half red, right half blue.
fn two_halves(width: u32, height: u32) -> DynamicImage {
    let colour = |x| if x < width / 2 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) };
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, _| colour(x)))
}

/// A JPEG with an Exif segment that says how the camera was held.
fn held(picture: &DynamicImage, orientation: u8) -> Vec<u8> {
    let jpeg = encoded(picture, ImageFormat::Jpeg);
    let mut tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &tiff, &jpeg[2..]].concat()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in kind.iter().chain(data) {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 });
    }
    [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], kind, data, &(!crc).to_be_bytes()].concat()
}

/// A PNG of some hundred bytes that claims this size.
pub(crate) fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    // One deflate block that says "stored, nothing", and the checksum of nothing.
    let nothing = [0x78, 0x01, 0x01, 0, 0, 0xff, 0xff, 0, 0, 0, 1];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &nothing), chunk(b"IEND", &[])].concat()
}

#[test]
fn the_size_is_the_shown_one() {
    let picture = two_halves(40, 20);
    for (orientation, size) in [(1, (40, 20)), (3, (40, 20)), (6, (20, 40)), (8, (20, 40))] {
        let bytes = held(&picture, orientation);
        let measures = measure(file(&bytes), ImageFormat::Jpeg, LIMITS).unwrap();
        assert_eq!((measures.width, measures.height), size, "{orientation}");
        let loaded = load(file(&bytes), ImageFormat::Jpeg, LIMITS).unwrap();
        assert_eq!((loaded.width(), loaded.height()), size, "{orientation}");
    }
    // Turned upside down, red is on the right.
    let turned = load(file(&held(&picture, 3)), ImageFormat::Jpeg, LIMITS).unwrap().to_rgb8();
    assert!(turned.get_pixel(35, 10).0[0] > 200 && turned.get_pixel(5, 10).0[2] > 200);
}

#[test]
fn every_kind_of_picture_is_decoded() {
    let picture = two_halves(12, 8);
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    for format in [Jpeg, Png, Gif, WebP, Bmp, Tiff] {
        let bytes = encoded(&picture, format);
        let found = format_of(FileFormat::from_bytes(&bytes));
        assert_eq!(found, Some(format));
        let loaded = load(file(&bytes), format, LIMITS).unwrap().to_rgb8();
        assert_eq!(loaded.dimensions(), (12, 8));
        assert!(loaded.get_pixel(1, 1).0[0] > 150 && loaded.get_pixel(10, 1).0[2] > 150, "{format:?}");
        assert!(!is_animated(file(&bytes), format, LIMITS));
    }
}

#[test]
fn a_moving_gif_is_told_from_a_still_one() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for shade in [0, 200] {
        encoder.encode_frame(image::Frame::new(RgbaImage::from_pixel(9, 9, Rgba([shade, 0, 0, 255])))).unwrap();
    }
    drop(encoder);
    assert!(is_animated(file(&bytes), ImageFormat::Gif, LIMITS));
    assert!(!is_animated(file(&bytes[..bytes.len() / 3]), ImageFormat::Gif, LIMITS));
}

#[test]
fn transparency_becomes_white() {
    let glass = RgbaImage::from_fn(4, 1, |x, _| Rgba([0, 0, 0, [0, 128, 255, 255][x as usize]]));
    let glass = DynamicImage::ImageRgba8(glass);
    assert!(is_transparent(&glass));
    let flat = flatten(&glass);
    assert_eq!(flat.get_pixel(0, 0).0, [255; 3]);
    assert_eq!(flat.get_pixel(1, 0).0, [127; 3]);
    assert_eq!(flat.get_pixel(2, 0).0, [0; 3]);
    let full = DynamicImage::ImageRgba8(RgbaImage::from_pixel(2, 2, Rgba([1, 2, 3, 255])));
    assert!(!is_transparent(&full), "an alpha channel alone is no transparency");
}

#[test]
fn small_pictures_keep_their_shape_and_fit() {
    for (w, h, fit) in [(2000, 1000, (72, 36)), (600, 3000, (14, 72)), (30, 20, (30, 20)), (5000, 2, (72, 1))] {
        let small = thumbnail(&two_halves(w, h), 72, 72).unwrap();
        assert_eq!((small.width, small.height), fit);
        let read = load_bytes(&small.jpeg, LIMITS).unwrap();
        assert_eq!((read.width(), read.height()), fit);
        assert!(small.jpeg.len() < 4000);
    }
    let large = thumbnail(&two_halves(1600, 1600), 800, 600).unwrap();
    assert_eq!((large.width, large.height), (600, 600));
}

#[test]
fn the_blurhash_says_the_colours() {
    let hash = blurhash(&two_halves(300, 200)).unwrap();
    let back = blurhash::decode(&hash, 8, 8, 1.0).unwrap();
    let (left, right) = (&back[..4], &back[28..32]);
    assert!(left[0] > left[2] && right[2] > right[0], "{left:?} {right:?}");
    assert_eq!(blurhash(&two_halves(200, 300)).unwrap().len(), hash.len());
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let bomb = png_that_claims(30_000, 30_000);
    assert!(bomb.len() < 100);
    assert_eq!(measure(file(&bomb), ImageFormat::Png, LIMITS).unwrap().width, 30_000);
    assert!(matches!(load(file(&bomb), ImageFormat::Png, LIMITS), Err(PictureError::TooLarge)));
    assert!(matches!(load_bytes(&bomb, LIMITS), Err(PictureError::TooLarge)));
    let smaller = Limits { pixels: 100, ..LIMITS };
    let fine = encoded(&two_halves(20, 20), ImageFormat::Png);
    assert!(matches!(load(file(&fine), ImageFormat::Png, smaller), Err(PictureError::TooLarge)));
    assert!(load(file(&fine), ImageFormat::Png, LIMITS).is_ok());
}

#[test]
fn a_broken_or_slow_file_is_an_error() {
    let whole = encoded(&two_halves(64, 64), ImageFormat::Png);
    assert!(load(file(&whole[..whole.len() / 2]), ImageFormat::Png, LIMITS).is_err(), "cut");
    assert!(load(file(&whole), ImageFormat::Jpeg, LIMITS).is_err(), "another kind than said");
    assert!(load(file(b"PK\x03\x04"), ImageFormat::Jpeg, LIMITS).is_err());
    let no_time = Limits { time: Duration::ZERO, ..LIMITS };
    assert!(load(file(&whole), ImageFormat::Png, no_time).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn decoders_never_panic(at in 0..2000usize, with: u8, kind in 0..6usize, cut in 0..3000usize) {
        let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff];
        let mut bytes = encoded(&two_halves(16, 16), formats[kind]);
        let at = at % bytes.len();
        bytes[at] = with;
        bytes.truncate(cut.max(4));
        let limits = Limits { pixels: 1 << 20, memory: 16 << 20, time: Duration::from_secs(5) };
        if let Ok(picture) = load(file(&bytes), formats[kind], limits) {
            prop_assert!(thumbnail(&picture, 72, 72).is_none_or(|small| small.width <= 72 && small.height <= 72));
            blurhash(&picture);
        }
        is_animated(file(&bytes), formats[kind], limits);
    }

    #[test]
    fn any_bytes_are_a_picture_or_an_error(bytes: Vec<u8>, kind in 0..6usize) {
        let starts: [&[u8]; 6] =
            [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\x01\0\0WEBPVP8X", b"BM", b"II*\0"];
        let bytes = [starts[kind], bytes.as_slice()].concat();
        let limits = Limits { pixels: 1 << 20, memory: 16 << 20, time: Duration::from_secs(5) };
        if let Ok(picture) = load_bytes(&bytes, limits) {
            prop_assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.pixels);
        }
    }
}
