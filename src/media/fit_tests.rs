//! Tests of what becomes of files on their way to WhatsApp, with and without the outside program.

use super::super::tool::tests::{OUT, SAYS_ALL};
use super::super::{Facts, MediaSettings};
use super::*;
use image::{DynamicImage, Rgba, RgbaImage};
use proptest::prelude::*;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const MP4: &[u8] = include_bytes!("testdata/film.mp4");
const MOV: &[u8] = include_bytes!("testdata/film.mov");
const WEBM: &[u8] = include_bytes!("testdata/film.webm");
const VOICE: &[u8] = include_bytes!("testdata/voice.ogg");
const MP3: &[u8] = include_bytes!("testdata/tone.mp3");
const ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

struct Shop {
    folder: tempfile::TempDir,
    media: Media,
}

async fn shop(ffmpeg: Option<String>, folder: tempfile::TempDir) -> Shop {
    let spool = folder.path().join("spool");
    let settings = MediaSettings { folder: spool, budget: 64 << 20, max_file: 16 << 20, ffmpeg };
    Shop { media: Media::open(&settings).await.unwrap(), folder }
}

async fn without_tool() -> Shop {
    shop(None, tempfile::tempdir().unwrap()).await
}

/// With a program that makes what each job should, out of files at hand.
async fn with_tool() -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put("mp4", MP4);
    put("ogg", VOICE);
    put("ipod", include_bytes!("testdata/tone.m4a"));
    put("mjpeg", &encoded(&solid(640, 360, 255), ImageFormat::Jpeg));
    let program = folder.path().join("ffmpeg");
    // The last `-f` names what it is to write.
    let here = folder.path().display();
    let body =
        format!("for word; do [ \"$before\" = -f ] && kind=$word; before=$word; done; /bin/cat {here}/$kind >\"$out\"");
    fs::write(&program, format!("#!/bin/sh\n{SAYS_ALL}\n{OUT}\n{body}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    while super::super::tool::Tool::find(program.to_str().unwrap()).await.is_none() {
        tokio::task::yield_now().await;
    }
    shop(Some(program.to_str().unwrap().to_owned()), folder).await
}

impl Shop {
    fn file(&self, bytes: &[u8]) -> SpoolFile {
        let mut writer = self.media.spool().begin_now(0, 16 << 20).unwrap();
        writer.add(bytes).unwrap();
        writer.finish().unwrap()
    }

    async fn fit(&self, bytes: &[u8], wish: Kind, mime: &str) -> Fitted {
        let claims = Claims { mime: Some(mime.to_owned()), ..Claims::default() };
        self.media.fit_for_whatsapp(self.file(bytes), wish, &claims).await
    }

    async fn look(&self, bytes: &[u8], kind: Kind, claims: Claims) -> Facts {
        self.media.inspect(&self.file(bytes), kind, &claims, Side::Matrix).await
    }
}

fn solid(width: u32, height: u32, alpha: u8) -> DynamicImage {
    DynamicImage::ImageRgba8(RgbaImage::from_pixel(width, height, Rgba([200, 30, 30, alpha])))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let jpeg = DynamicImage::ImageRgb8(picture.to_rgb8());
    let picture = if format == ImageFormat::Jpeg { &jpeg } else { picture };
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn moving_gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for shade in [0, 200] {
        encoder.encode_frame(image::Frame::new(RgbaImage::from_pixel(9, 9, Rgba([shade, 0, 0, 255])))).unwrap();
    }
    drop(encoder);
    bytes
}

#[tokio::test]
async fn pictures_become_jpeg_on_white_unless_they_are_fine() {
    let shop = without_tool().await;
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    for (format, alpha, mime) in [
        (Jpeg, 255, "image/jpeg"),
        (Png, 255, "image/png"),
        (Png, 0, "image/jpeg"),
        (WebP, 0, "image/jpeg"),
        (Bmp, 255, "image/jpeg"),
        (Tiff, 0, "image/jpeg"),
        (Gif, 255, "image/jpeg"),
    ] {
        let bytes = encoded(&solid(300, 200, alpha), format);
        let fitted = shop.fit(&bytes, Kind::Image, "image/png").await;
        assert_eq!((fitted.kind, fitted.facts.mime.as_str()), (Kind::Image, mime), "{format:?}");
        assert_eq!((fitted.facts.width, fitted.facts.height), (Some(300), Some(200)));
        assert_eq!(fitted.facts.size, fitted.file.size());
        let small = fitted.facts.thumbnail.unwrap();
        assert_eq!((small.width, small.height), (72, 48));
        if alpha == 0 {
            let seen = picture::load_bytes(&fitted.file.read(1 << 20).unwrap(), LIMITS).unwrap().to_rgb8();
            assert_eq!(seen.get_pixel(100, 100).0, [255; 3], "{format:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_picture_is_a_document_whatever_it_says() {
    let shop = without_tool().await;
    let whole = encoded(&solid(64, 64, 255), ImageFormat::Jpeg);
    let bomb = picture::tests::png_that_claims(30_000, 30_000);
    for (bytes, mime) in [
        (ZIP, "application/zip"),
        (&whole[..40], "image/jpeg"),
        (&bomb, "image/png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    ] {
        let fitted = shop.fit(bytes, Kind::Image, "image/jpeg").await;
        assert_eq!((fitted.kind, fitted.facts.mime.as_str()), (Kind::Document, mime));
        assert_eq!(fitted.file.read(1 << 20).unwrap(), bytes, "it crosses as it is");
        assert_eq!(fitted.facts.thumbnail, None);
        let sticker = shop.fit(bytes, Kind::Sticker, "image/webp").await;
        assert_eq!(sticker.kind, Kind::Document);
    }
}

#[tokio::test]
async fn without_the_program_everything_still_crosses() {
    let shop = without_tool().await;
    let gif = moving_gif();
    for (bytes, wish, kind, mime) in [
        (gif.as_slice(), Kind::Image, Kind::Document, "image/gif"),
        (MP4, Kind::Video, Kind::Video, "video/mp4"),
        (MP4, Kind::Gif, Kind::Gif, "video/mp4"),
        (MP4, Kind::RoundVideo, Kind::RoundVideo, "video/mp4"),
        (MOV, Kind::Video, Kind::Document, "video/quicktime"),
        (WEBM, Kind::Video, Kind::Document, "video/webm"),
        (VOICE, Kind::Voice, Kind::Voice, "audio/ogg; codecs=opus"),
        (VOICE, Kind::Audio, Kind::Audio, "audio/ogg; codecs=opus"),
        (MP3, Kind::Voice, Kind::Audio, "audio/mpeg"),
        (MP3, Kind::Image, Kind::Audio, "audio/mpeg"),
        (MP3, Kind::Document, Kind::Document, "audio/mpeg"),
        (b"fLaC\0\0\0\x22", Kind::Audio, Kind::Document, "audio/flac"),
    ] {
        let fitted = shop.fit(bytes, wish, "").await;
        assert_eq!((fitted.kind, fitted.facts.mime.as_str()), (kind, mime), "{wish:?}");
        assert_eq!(fitted.file.size(), bytes.len() as u64);
    }
}

#[tokio::test]
async fn with_the_program_films_and_voices_are_what_they_are_called() {
    let shop = with_tool().await;
    let gif = moving_gif();
    for (bytes, wish, kind, mime) in [
        (gif.as_slice(), Kind::Image, Kind::Gif, "video/mp4"),
        (gif.as_slice(), Kind::Sticker, Kind::Gif, "video/mp4"),
        (MOV, Kind::Video, Kind::Video, "video/mp4"),
        (WEBM, Kind::Video, Kind::Video, "video/mp4"),
        (WEBM, Kind::Voice, Kind::Video, "video/mp4"),
        (MP3, Kind::Voice, Kind::Voice, "audio/ogg; codecs=opus"),
        (MP3, Kind::Audio, Kind::Audio, "audio/mpeg"),
        (b"fLaC\0\0\0\x22", Kind::Audio, Kind::Audio, "audio/mp4"),
    ] {
        let fitted = shop.fit(bytes, wish, "").await;
        assert_eq!((fitted.kind, fitted.facts.mime.as_str()), (kind, mime), "{wish:?}");
        if kind == Kind::Voice {
            assert_eq!(fitted.facts.waveform.len(), 64);
        } else {
            assert!(fitted.facts.waveform.is_empty());
        }
        if mime == "video/mp4" {
            let small = fitted.facts.thumbnail.unwrap();
            assert_eq!((small.width, small.height), (72, 41), "its own picture");
        }
    }
    assert!(Path::new(shop.folder.path()).exists());
}

#[tokio::test]
async fn stickers_are_squares_and_fine_ones_are_not_touched() {
    let shop = without_tool().await;
    let fine = sticker::make(&solid(10, 10, 255)).unwrap();
    let fitted = shop.fit(&fine, Kind::Sticker, "image/webp").await;
    assert_eq!(fitted.kind, Kind::Sticker);
    assert!(fitted.file.read(1 << 20).unwrap() == fine);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
        let fitted = shop.fit(&encoded(&solid(300, 100, 255), format), Kind::Sticker, "image/png").await;
        assert_eq!((fitted.kind, fitted.facts.mime.as_str()), (Kind::Sticker, "image/webp"));
        assert_eq!((fitted.facts.width, fitted.facts.height), (Some(512), Some(512)));
    }
}

#[tokio::test]
async fn for_matrix_large_pictures_get_a_small_one_and_all_get_a_blurhash() {
    let shop = without_tool().await;
    let large = shop.look(&encoded(&solid(1000, 900, 255), ImageFormat::Jpeg), Kind::Image, Claims::default()).await;
    assert_eq!(large.thumbnail.map(|small| (small.width, small.height)), Some((667, 600)));
    assert!(large.blurhash.is_some());
    let little = shop.look(&encoded(&solid(100, 90, 255), ImageFormat::Jpeg), Kind::Image, Claims::default()).await;
    assert_eq!(little.thumbnail, None);
    assert!(little.blurhash.is_some());
}

#[tokio::test]
async fn a_film_without_the_program_shows_the_picture_that_came_with_it() {
    let shop = without_tool().await;
    let claims = Claims {
        thumbnail: Some(encoded(&solid(72, 40, 255), ImageFormat::Jpeg)),
        duration_ms: Some(7),
        ..Claims::default()
    };
    let film = shop.look(MP4, Kind::Video, claims.clone()).await;
    assert_eq!((film.width, film.height, film.duration_ms), (Some(64), Some(36), Some(1000)), "the file's own facts");
    assert_eq!(film.thumbnail.map(|small| (small.width, small.height)), Some((72, 40)));
    assert!(film.blurhash.is_some());
    let unknown = shop.look(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", Kind::Video, claims).await;
    assert_eq!(unknown.duration_ms, Some(7), "what the sender says, where the file does not");
    let no_picture = Claims { thumbnail: Some(ZIP.to_vec()), ..Claims::default() };
    assert_eq!(shop.look(MP4, Kind::Video, no_picture).await.thumbnail, None);
}

#[tokio::test]
async fn a_claimed_shape_is_believed_and_a_missing_one_made() {
    let shop = without_tool().await;
    let made = shop.look(VOICE, Kind::Voice, Claims::default()).await;
    assert_eq!((made.waveform.len(), made.mime.as_str()), (64, "audio/ogg"));
    let claimed = Claims { waveform: vec![200; 64], ..Claims::default() };
    assert_eq!(shop.look(VOICE, Kind::Voice, claimed).await.waveform, vec![100; 64]);
    let silent = Claims { waveform: vec![0; 64], ..Claims::default() };
    assert_eq!(shop.look(VOICE, Kind::Voice, silent).await.waveform, made.waveform);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_bytes_cross_as_something(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..9usize, wish in 0..8usize) {
        let starts: [&[u8]; 9] = [
            b"", ZIP, b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\x01\0\0WEBPVP8X",
            b"\0\0\0\x18ftypmp42", b"OggS", b"\x1aE\xdf\xa3",
        ];
        let bytes = [starts[start], bytes.as_slice()].concat();
        let wish = [Kind::Image, Kind::Video, Kind::Gif, Kind::RoundVideo, Kind::Audio, Kind::Voice, Kind::Document, Kind::Sticker][wish];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fitted = runtime.block_on(async { without_tool().await.fit(&bytes, wish, "image/jpeg").await });
        prop_assert!(fitted.facts.size == fitted.file.size());
        prop_assert!(fitted.kind != Kind::Image || fitted.facts.thumbnail.is_some());
    }
}
