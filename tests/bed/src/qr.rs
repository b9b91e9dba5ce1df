//! Reading a QR code out of a picture, as a phone's camera does.

use anyhow::{Context, Result, bail};

/// Returns the text of the one QR code in a PNG or JPEG picture.
///
/// # Errors
/// It is no picture, holds no code or several, or the code can't be read.
pub fn read(picture: &[u8]) -> Result<String> {
    let grey = image::load_from_memory(picture).context("not a picture")?.to_luma8();
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let mut prepared =
        rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| grey.get_pixel(x as u32, y as u32).0[0]);
    let codes = prepared.detect_grids();
    let [code] = &codes[..] else {
        bail!("{} QR codes in a picture of {width} x {height}", codes.len());
    };
    let (_, text) = code.decode().context("the QR code can't be read")?;
    Ok(text)
}
