//! Pictures: how large, seen small, and as the kinds that both networks take. Everything here blocks.
//!
//! Strangers send pictures to make decoders use up memory and time: the size is read from the header first, and a
//! decoder gets no more pixels, memory and time than [`Limits`] allow. Decoders are pure Rust.

use super::timed::Timed;
use file_format::FileFormat;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{AnimationDecoder as _, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Rgb, RgbImage, RgbaImage};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader};
use std::time::Duration;

/// What a decoder may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pixels of a picture.
    pub pixels: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Time to read the file in.
    pub time: Duration,
}

/// Enough for what phones take (48 megapixels), little enough for two at once on a small machine.
pub const LIMITS: Limits = Limits { pixels: 50_000_000, memory: 224 << 20, time: Duration::from_secs(20) };

/// Why a picture could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// There is no decoder for it.
    #[error("there is no decoder for this kind of picture")]
    Unknown,
    /// It would need more than the limits allow.
    #[error("the picture is too large to be decoded")]
    TooLarge,
    /// It is broken, or took too long.
    #[error("the picture can not be decoded: {0}")]
    Broken(#[from] image::ImageError),
    /// It could not be read.
    #[error("the picture can not be read: {0}")]
    Disk(#[from] io::Error),
}

/// What a picture's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// Pixels from side to side, as it is shown.
    pub width: u32,
    /// Pixels from top to bottom, as it is shown.
    pub height: u32,
    /// Whether it has an alpha channel.
    pub alpha: bool,
    orientation: Orientation,
}

/// A small picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// A JPEG file.
    pub jpeg: Vec<u8>,
    /// Pixels from side to side.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl std::fmt::Debug for Thumbnail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Thumbnail({} × {}, {} bytes)", self.width, self.height, self.jpeg.len())
    }
}

/// The decoder for a type; `None` when there is none.
pub fn format_of(format: FileFormat) -> Option<ImageFormat> {
    Some(match format {
        FileFormat::JointPhotographicExpertsGroup => ImageFormat::Jpeg,
        FileFormat::PortableNetworkGraphics | FileFormat::AnimatedPortableNetworkGraphics => ImageFormat::Png,
        FileFormat::GraphicsInterchangeFormat => ImageFormat::Gif,
        FileFormat::Webp => ImageFormat::WebP,
        FileFormat::WindowsBitmap => ImageFormat::Bmp,
        FileFormat::TagImageFileFormat => ImageFormat::Tiff,
        _ => return None,
    })
}

/// Reads a picture's header.
///
/// # Errors
/// [`PictureError`].
pub fn measure(file: File, format: ImageFormat, limits: Limits) -> Result<Measures, PictureError> {
    let mut decoder = reader(file, format, limits)?;
    measures(&mut decoder)
}

/// Decodes a picture (the first frame of an animated one), turned as it is to be shown.
///
/// # Errors
/// [`PictureError`].
pub fn load(file: File, format: ImageFormat, limits: Limits) -> Result<DynamicImage, PictureError> {
    decode(reader(file, format, limits)?, limits)
}

/// As [`load`], of bytes of any known kind.
///
/// # Errors
/// [`PictureError`].
pub fn load_bytes(bytes: &[u8], limits: Limits) -> Result<DynamicImage, PictureError> {
    let format = format_of(FileFormat::from_bytes(bytes)).ok_or(PictureError::Unknown)?;
    let mut reader = ImageReader::with_format(io::Cursor::new(bytes), format);
    reader.limits(limits.for_decoder());
    decode(reader.into_decoder()?, limits)
}

fn decode(mut decoder: impl ImageDecoder, limits: Limits) -> Result<DynamicImage, PictureError> {
    let measures = measures(&mut decoder)?;
    if u64::from(measures.width) * u64::from(measures.height) > limits.pixels || decoder.total_bytes() > limits.memory {
        return Err(PictureError::TooLarge);
    }
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(measures.orientation);
    Ok(picture)
}

/// Whether a picture has more than one frame. One that can not be read has one.
pub fn is_animated(file: File, format: ImageFormat, limits: Limits) -> bool {
    let timed = BufReader::new(Timed::new(file, limits.time));
    match format {
        ImageFormat::Gif => {
            let Ok(mut decoder) = image::codecs::gif::GifDecoder::new(timed) else { return false };
            let (width, height) = decoder.dimensions();
            let fits = u64::from(width) * u64::from(height) <= limits.pixels;
            fits && decoder.set_limits(limits.for_decoder()).is_ok()
                && decoder.into_frames().take(2).flatten().count() == 2
        }
        ImageFormat::WebP => image::codecs::webp::WebPDecoder::new(timed).is_ok_and(|decoder| decoder.has_animation()),
        ImageFormat::Png => image::codecs::png::PngDecoder::with_limits(timed, limits.for_decoder())
            .and_then(|decoder| decoder.is_apng())
            .unwrap_or(false),
        _ => false,
    }
}

type Decoder = Box<dyn ImageDecoder>;

fn reader(file: File, format: ImageFormat, limits: Limits) -> Result<Decoder, PictureError> {
    let mut reader = ImageReader::with_format(BufReader::new(Timed::new(file, limits.time)), format);
    reader.limits(limits.for_decoder());
    Ok(Box::new(reader.into_decoder()?))
}

fn measures(decoder: &mut impl ImageDecoder) -> Result<Measures, PictureError> {
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    let is_turned = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (width, height) = if is_turned { (height, width) } else { (width, height) };
    Ok(Measures { width, height, alpha: decoder.color_type().has_alpha(), orientation })
}

impl Limits {
    fn for_decoder(self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(self.memory);
        limits
    }
}

/// The picture made to fit into a box, never larger than it is.
pub fn shrink(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (w, h) = (picture.width(), picture.height());
    if w <= width && h <= height {
        return picture.clone();
    }
    let (w, h) = fit_into((w, h), (width, height));
    resize(picture, w, h)
}

/// The picture at this size, whatever its shape was.
pub(super) fn resize(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (coarse_width, coarse_height) = (width.saturating_mul(4), height.saturating_mul(4));
    // Averaging first makes it quick for large pictures; the good filter does the rest.
    let is_large = picture.width() > coarse_width && picture.height() > coarse_height;
    let coarse = is_large.then(|| picture.thumbnail_exact(coarse_width, coarse_height));
    coarse.as_ref().unwrap_or(picture).resize_exact(width, height, FilterType::Lanczos3)
}

/// The largest size of the same shape within a box, one pixel at least.
pub(super) fn fit_into((w, h): (u32, u32), (width, height): (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(width) / f64::from(w.max(1))).min(f64::from(height) / f64::from(h.max(1)));
    // Within the box, so within a u32.
    let side = |from: u32, most: u32| ((f64::from(from) * scale).round() as u32).clamp(1, most.max(1));
    (side(w, width), side(h, height))
}

/// The picture on white ground, as WhatsApp shows no transparency.
pub fn flatten(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let rgba = rgba_of(picture);
    let mut flat = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in flat.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, a] = from.0.map(u32::from);
        let over_white = |c: u32| u8::try_from((c * a + 255 * (255 - a) + 127) / 255).unwrap_or(u8::MAX);
        *to = Rgb([over_white(r), over_white(g), over_white(b)]);
    }
    flat
}

/// Whether any pixel lets the ground through.
pub fn is_transparent(picture: &DynamicImage) -> bool {
    picture.color().has_alpha() && rgba_of(picture).pixels().any(|pixel| pixel.0[3] < u8::MAX)
}

/// Without a second copy of a large picture where it has this form already.
fn rgba_of(picture: &DynamicImage) -> Cow<'_, RgbaImage> {
    picture.as_rgba8().map_or_else(|| Cow::Owned(picture.to_rgba8()), Cow::Borrowed)
}

/// A JPEG file of the picture, on white; `quality` from 1 to 100.
///
/// # Errors
/// When it is too large for a JPEG (65,535 pixels), or the writer fails.
pub fn write_jpeg(picture: &DynamicImage, quality: u8, to: &mut impl io::Write) -> Result<(), PictureError> {
    JpegEncoder::new_with_quality(to, quality).encode_image(&flatten(picture))?;
    Ok(())
}

/// The picture as a JPEG that fits into a box. `None` when it has no pixels.
pub fn thumbnail(picture: &DynamicImage, width: u32, height: u32) -> Option<Thumbnail> {
    let small = shrink(picture, width, height);
    let mut jpeg = Vec::new();
    write_jpeg(&small, 75, &mut jpeg).ok()?;
    Some(Thumbnail { jpeg, width: small.width(), height: small.height() })
}

/// The picture's colours in some thirty letters (MSC2448, blurha.sh). `None` when it has no pixels.
pub fn blurhash(picture: &DynamicImage) -> Option<String> {
    let small = DynamicImage::ImageRgb8(flatten(&shrink(picture, 64, 64))).to_rgba8();
    let (width, height) = small.dimensions();
    // More pieces along the longer side.
    let (x, y) = if width >= height { (4, 3) } else { (3, 4) };
    if width == 0 || height == 0 {
        return None;
    }
    blurhash::encode(x, y, width, height, small.as_raw()).ok()
}

#[cfg(test)]
#[path = "picture_tests.rs"]
pub(super) mod tests;
