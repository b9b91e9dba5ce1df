//! Stickers as WhatsApp takes them: WebP, 512 pixels square, on nothing; 100 KB when still and 500 KB when moving (the
//! limits of its sticker makers' documentation, which its apps keep to). Everything here blocks.
//!
//! The WebP writer there is in Rust loses nothing, so a photo does not fit: it is written with fewer and fewer colours,
//! and at last coarser, until it does. Drawn stickers fit at once.

use super::picture::{self, Limits, PictureError};
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType, Rgba, RgbaImage, imageops};
use std::fs::File;

/// Pixels of each side.
pub const SIDE: u32 = 512;
/// Bytes of one that stands still.
pub const MAX_STILL: u64 = 100 * 1024;
/// Bytes of one that moves.
pub const MAX_MOVING: u64 = 500 * 1024;
/// How it is made smaller: bits of each colour, and pixels of each side before it is blown up again.
const STEPS: [(u32, u32); 7] =
    [(8, SIDE), (6, SIDE), (5, SIDE), (4, SIDE), (4, SIDE / 2), (3, SIDE / 2), (3, SIDE / 4)];

/// What a WebP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebP {
    /// Pixels from side to side.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Whether it moves.
    pub animated: bool,
}

impl WebP {
    /// Whether WhatsApp takes it as it is, at this size in bytes.
    pub fn is_fit(self, size: u64) -> bool {
        let most = if self.animated { MAX_MOVING } else { MAX_STILL };
        (self.width, self.height) == (SIDE, SIDE) && size <= most
    }
}

/// Reads a WebP's header.
///
/// # Errors
/// [`PictureError`].
pub fn look(file: File, limits: Limits) -> Result<WebP, PictureError> {
    let again = file.try_clone()?;
    let measures = picture::measure(file, image::ImageFormat::WebP, limits)?;
    let mut again = again;
    std::io::Seek::rewind(&mut again)?;
    let animated = picture::is_animated(again, image::ImageFormat::WebP, limits);
    Ok(WebP { width: measures.width, height: measures.height, animated })
}

/// A still sticker of a picture, within WhatsApp's limits. `None` when it can not be made small enough.
pub fn make(picture: &DynamicImage) -> Option<Vec<u8>> {
    STEPS.iter().find_map(|(bits, side)| {
        let drawn = coarsen(square(picture, *side), *bits);
        let drawn =
            if *side == SIDE { drawn } else { imageops::resize(&drawn, SIDE, SIDE, imageops::FilterType::Nearest) };
        let mut webp = Vec::new();
        WebPEncoder::new_lossless(&mut webp).encode(&drawn, SIDE, SIDE, ExtendedColorType::Rgba8).ok()?;
        Some(webp).filter(|webp| webp.len() as u64 <= MAX_STILL)
    })
}

/// The picture in the middle of a square of nothing, as large as it fits.
fn square(picture: &DynamicImage, side: u32) -> RgbaImage {
    let (width, height) = picture::fit_into((picture.width(), picture.height()), (side, side));
    let fitted = picture::resize(picture, width, height).to_rgba8();
    let mut square = RgbaImage::new(side, side);
    let middle = |length: u32| i64::from((side - length) / 2);
    imageops::replace(&mut square, &fitted, middle(width), middle(height));
    square
}

/// Keeps the upper bits of each colour; what is not seen has none.
fn coarsen(mut picture: RgbaImage, bits: u32) -> RgbaImage {
    let levels = (1u32 << bits) - 1;
    // At most 255: levels are at most that and the quotient is rounded.
    let nearest = |c: u8| ((u32::from(c) * levels + 127) / 255 * 255 / levels) as u8;
    for pixel in picture.pixels_mut() {
        let [r, g, b, a] = pixel.0;
        let a = nearest(a);
        *pixel = if a == 0 { Rgba([0; 4]) } else { Rgba([nearest(r), nearest(g), nearest(b), a]) };
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::LIMITS;
    use image::RgbImage;
    use std::io::{Seek as _, Write as _};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn drawn(width: u32, height: u32) -> DynamicImage {
        let dot =
            |x: u32, y: u32| if (x / 20 + y / 20).is_multiple_of(2) { Rgba([250, 200, 0, 255]) } else { Rgba([0; 4]) };
        DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, dot))
    }

    /// As hard to pack as a picture can be.
    fn noise() -> DynamicImage {
        let mut state = 1u32;
        DynamicImage::ImageRgb8(RgbImage::from_fn(600, 500, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8])
        }))
    }

    #[test]
    fn any_picture_becomes_a_square_within_the_limit() {
        for picture in [drawn(512, 512), drawn(200, 100), drawn(1, 900), noise()] {
            let webp = make(&picture).unwrap();
            let seen = look(file(&webp), LIMITS).unwrap();
            assert_eq!(seen, WebP { width: SIDE, height: SIDE, animated: false });
            assert!(seen.is_fit(webp.len() as u64), "{}", webp.len());
        }
    }

    #[test]
    fn a_drawn_one_loses_nothing_and_its_margins_are_nothing() {
        let webp = make(&drawn(512, 256)).unwrap();
        let seen = picture::load_bytes(&webp, LIMITS).unwrap().to_rgba8();
        assert_eq!(seen.get_pixel(5, 5).0, [0; 4], "above the picture");
        assert_eq!(seen.get_pixel(5, 133).0, [250, 200, 0, 255]);
        assert_eq!(seen.get_pixel(25, 133).0, [0; 4], "holes stay holes");
    }

    #[test]
    fn what_whatsapp_would_not_take_is_not_passed_on() {
        let fine = WebP { width: 512, height: 512, animated: false };
        assert!(fine.is_fit(MAX_STILL));
        assert!(!fine.is_fit(MAX_STILL + 1));
        assert!(WebP { animated: true, ..fine }.is_fit(MAX_MOVING));
        assert!(!WebP { animated: true, ..fine }.is_fit(MAX_MOVING + 1));
        assert!(!WebP { width: 511, ..fine }.is_fit(10));
        assert!(look(file(b"RIFF\0\0\0\0WEBP"), LIMITS).is_err());
    }
}
