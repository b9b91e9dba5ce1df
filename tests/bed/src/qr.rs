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

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageFormat, Luma};

    use super::read;

    #[test]
    fn a_long_code_is_read_out_of_a_picture() {
        // As long as what WhatsApp's QR codes hold: a reference and four keys.
        let text = format!("2@{},{}", "Ab1/".repeat(40), "Cd2+=".repeat(26));
        let code = qrcode::QrCode::new(&text).expect("it fits");
        let (width, scale, border) = (code.width() as u32, 4, 4);
        let modules = code.to_colors();
        let side = (width + 2 * border) * scale;
        let picture = GrayImage::from_fn(side, side, |x, y| {
            let (column, row) = ((x / scale).wrapping_sub(border), (y / scale).wrapping_sub(border));
            let inside = column < width && row < width;
            let dark = inside && modules[(row * width + column) as usize] == qrcode::Color::Dark;
            Luma([if dark { 0 } else { 255 }])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).expect("a picture");
        assert_eq!(read(bytes.get_ref()).expect("readable"), text);
    }

    #[test]
    fn a_picture_without_a_code_is_refused() {
        read(b"no picture").expect_err("not a picture");
    }
}
