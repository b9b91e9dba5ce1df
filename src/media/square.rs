//! Square pictures: what groups and people show themselves with.

use super::Media;
use super::picture::{self, LIMITS};
use image::imageops::FilterType;

/// Quality of the JPEG, of 100.
const QUALITY: u8 = 85;

impl Media {
    /// The middle of a picture as a square JPEG of `side` pixels each way; none for what can not be decoded.
    pub async fn square_jpeg(&self, bytes: Vec<u8>, side: u32) -> Option<Vec<u8>> {
        let made = self.decode(move || {
            let square = picture::load_bytes(&bytes, LIMITS).ok()?.resize_to_fill(side, side, FilterType::Lanczos3);
            let mut jpeg = Vec::new();
            picture::write_jpeg(&square, QUALITY, &mut jpeg).ok()?;
            Some(jpeg)
        });
        made.await.flatten()
    }
}
