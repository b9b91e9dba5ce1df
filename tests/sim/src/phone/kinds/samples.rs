//! Small real files of every kind, made by code: a player of each kind takes
//! them.

mod mp4;
mod ogg;
mod webp;
mod zip;

use std::io::Cursor;

use anyhow::Result;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::json;

pub use mp4::{HEIGHT as VIDEO_HEIGHT, WIDTH as VIDEO_WIDTH};

/// The size of the sample picture.
pub const WIDTH: u32 = 96;
pub const HEIGHT: u32 = 64;

/// A JPEG with a colour gradient.
pub fn picture() -> Result<Vec<u8>> {
    jpeg(WIDTH, HEIGHT)
}

/// What a phone shows of a vector sticker before it is played: a PNG.
pub fn preview() -> Result<Vec<u8>> {
    draw(64, 64, ImageFormat::Png)
}

/// A JPEG small enough to be inside a message.
pub fn thumbnail() -> Result<Vec<u8>> {
    jpeg(24, 16)
}

fn jpeg(width: u32, height: u32) -> Result<Vec<u8>> {
    draw(width, height, ImageFormat::Jpeg)
}

fn draw(width: u32, height: u32, format: ImageFormat) -> Result<Vec<u8>> {
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128]));
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format)?;
    Ok(file.into_inner())
}

/// An MP4 of one grey picture in H.264, a second long.
pub fn video() -> Result<Vec<u8>> {
    Ok(mp4::file())
}

/// A second of silence in Opus, as voice notes are.
pub fn voice_note() -> Result<Vec<u8>> {
    Ok(ogg::silence(50))
}

/// Half a second of silence in MP3: frames of 417 bytes, 128 kbit/s at 44.1 kHz.
pub fn song() -> Result<Vec<u8>> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x64];
    frame.resize(417, 0);
    Ok(frame.repeat(20))
}

/// A PDF of one empty page.
pub fn document() -> Result<Vec<u8>> {
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (index, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{} 0 obj{object}endobj\n", index + 1));
    }
    let start = file.len();
    file.push_str(&format!("xref\n0 4\n{table}trailer<</Size 4/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n"));
    Ok(file.into_bytes())
}

/// A WebP of one colour.
pub fn sticker() -> Result<Vec<u8>> {
    Ok(webp::still())
}

/// A WebP of two frames.
pub fn animated_sticker() -> Result<Vec<u8>> {
    Ok(webp::animated())
}

/// A zipped Lottie animation, as vector stickers are.
pub fn lottie_sticker() -> Result<Vec<u8>> {
    let animation = json!({
        "v": "5.5.2", "fr": 30, "ip": 0, "op": 30, "w": 512, "h": 512, "nm": "sample", "ddd": 0, "assets": [],
        "layers": [{ "ddd": 0, "ind": 1, "ty": 1, "nm": "square", "sr": 1, "sw": 256, "sh": 256, "sc": "#2d88ff",
            "ks": { "o": { "k": 100 }, "r": { "k": 0 }, "p": { "k": [256, 256, 0] }, "a": { "k": [128, 128, 0] },
                "s": { "k": [100, 100, 100] } },
            "ip": 0, "op": 30, "st": 0, "bm": 0 }],
    });
    Ok(zip::stored(&[("animation/animation.json", animation.to_string().as_bytes())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_begins_as_its_format_does() {
        let starts: [(Vec<u8>, usize, &[u8]); 8] = [
            (picture().unwrap(), 0, b"\xff\xd8\xff"),
            (video().unwrap(), 4, b"ftyp"),
            (voice_note().unwrap(), 0, b"OggS"),
            (song().unwrap(), 0, b"\xff\xfb"),
            (document().unwrap(), 0, b"%PDF-"),
            (sticker().unwrap(), 8, b"WEBPVP8L"),
            (animated_sticker().unwrap(), 8, b"WEBPVP8X"),
            (lottie_sticker().unwrap(), 0, b"PK\x03\x04"),
        ];
        for (file, at, start) in starts {
            assert!(file[at..].starts_with(start), "{start:?}: {:?}", &file[..16]);
            assert!(file.len() < 32 * 1024);
        }
    }

    #[test]
    fn the_picture_can_be_read_again() {
        let image = image::load_from_memory(&picture().unwrap()).unwrap();
        assert_eq!((image.width(), image.height()), (WIDTH, HEIGHT));
    }
}
