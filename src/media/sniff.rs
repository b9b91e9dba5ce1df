//! What a file is by its content. What its sender says counts only where content can not tell and nothing hangs on it.

use file_format::{FileFormat, Kind};
use std::io::{Read, Seek, SeekFrom};

/// How much of a file is looked at to tell text from bytes.
const TEXT_LOOK: usize = 4096;

/// A file's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sniffed {
    /// As found in the content.
    pub format: FileFormat,
    /// As a header may hold it, without parameters.
    pub mime: String,
}

/// The type of a file; `claimed` is what its sender says. A file that can not be read is bytes.
pub fn sniff(file: &mut (impl Read + Seek), claimed: Option<&str>) -> Sniffed {
    let claimed = claimed.and_then(clean);
    let claimed = claimed.as_deref();
    let rewound = file.seek(SeekFrom::Start(0)).is_ok();
    let format = if rewound { FileFormat::from_reader(&mut *file).unwrap_or_default() } else { FileFormat::default() };
    let mime = match format {
        // The families of which the crate's names are not the ones that the networks use.
        FileFormat::OggOpus | FileFormat::OggVorbis | FileFormat::OggFlac | FileFormat::OggSpeex => "audio/ogg".into(),
        FileFormat::WaveformAudio => "audio/wav".into(),
        FileFormat::AppleItunesAudio | FileFormat::AppleItunesAudiobook => "audio/mp4".into(),
        FileFormat::AppleItunesVideo => "video/mp4".into(),
        // Its tracks could not be told.
        FileFormat::Mpeg4Part14 if claimed.is_some_and(|claimed| claimed.starts_with("audio/")) => "audio/mp4".into(),
        FileFormat::Mpeg4Part14 => "video/mp4".into(),
        // What is packed in a zip has many names.
        FileFormat::Zip => claimed.filter(|claimed| is_inert(claimed)).unwrap_or("application/zip").to_owned(),
        FileFormat::ArbitraryBinaryData | FileFormat::PlainText | FileFormat::Empty => {
            unknown(is_text(file), claimed).to_owned()
        }
        known => clean(known.media_type()).unwrap_or_else(|| "application/octet-stream".into()),
    };
    Sniffed { format, mime }
}

impl Sniffed {
    /// Whether it is a picture of any kind.
    pub fn is_picture(&self) -> bool {
        self.format.kind() == Kind::Image
    }

    /// Whether it is a film of any kind.
    pub fn is_film(&self) -> bool {
        self.mime.starts_with("video/")
    }

    /// Whether it is sound of any kind.
    pub fn is_sound(&self) -> bool {
        self.mime.starts_with("audio/")
    }
}

fn unknown(is_text: bool, claimed: Option<&str>) -> &str {
    match claimed {
        Some(claimed) if is_text && (claimed.starts_with("text/") || is_inert(claimed) || claimed == SVG) => claimed,
        _ if is_text => "text/plain",
        Some(claimed) if is_inert(claimed) => claimed,
        _ => "application/octet-stream",
    }
}

const SVG: &str = "image/svg+xml";

/// Types that no program plays or shows by itself.
fn is_inert(mime: &str) -> bool {
    mime.starts_with("application/") && !mime.contains("html") && !mime.contains("script")
}

/// The bare type in small letters; `None` when it is none.
fn clean(text: &str) -> Option<String> {
    let bare = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let safe =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let is_type = bare.len() <= 127 && bare.split_once('/').is_some_and(|(a, b)| safe(a) && safe(b));
    is_type.then_some(bare)
}

fn is_text(file: &mut (impl Read + Seek)) -> bool {
    let mut start = Vec::with_capacity(TEXT_LOOK);
    if file.seek(SeekFrom::Start(0)).is_err() || file.take(TEXT_LOOK as u64).read_to_end(&mut start).is_err() {
        return false;
    }
    let is_utf8 = match std::str::from_utf8(&start) {
        Ok(_) => true,
        // A character may be cut at the end of the look.
        Err(error) => error.error_len().is_none() && start.len() == TEXT_LOOK,
    };
    is_utf8 && !start.is_empty() && !start.iter().any(|b| *b < 0x20 && !b"\t\n\r\x0c\x1b".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn mime(bytes: &[u8], claimed: &str) -> String {
        sniff(&mut Cursor::new(bytes), Some(claimed)).mime
    }

    const ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn content_decides_and_not_the_claim() {
        assert_eq!(mime(b"\xff\xd8\xff\xe0\0\x10JFIF", "video/mp4"), "image/jpeg");
        assert_eq!(mime(b"RIFF\x24\0\0\0WAVEfmt ", "audio/x-wav"), "audio/wav");
        assert_eq!(mime(b"%PDF-1.7\n", "image/png"), "application/pdf");
        assert_eq!(mime(ZIP, "image/jpeg"), "application/zip", "a zip that is called a picture");
        assert_eq!(mime(ZIP, "application/vnd.android.package-archive"), "application/vnd.android.package-archive");
        assert_eq!(mime(b"\0\x01\x02nothing known", "image/jpeg"), "application/octet-stream");
        assert_eq!(mime(b"\0\x01\x02nothing known", "text/html"), "application/octet-stream");
        assert_eq!(mime(b"\0\x01\x02nothing known", "application/x-own"), "application/x-own");
    }

    #[test]
    fn text_may_say_what_kind_of_text_it_is() {
        assert_eq!(mime(b"BEGIN:VCARD\r\nEND:VCARD\r\n", "text/vcard; charset=utf-8"), "text/vcard");
        assert_eq!(mime("Grüße".as_bytes(), "image/jpeg"), "text/plain");
        assert_eq!(mime(b"", "image/jpeg"), "application/octet-stream");
        assert_eq!(mime(&"é".repeat(3000).into_bytes()[..5999], "text/csv"), "text/csv", "cut in a character");
        assert_eq!(mime(b"hello", "text/x\r\nEvil: header"), "text/plain");
    }

    #[test]
    fn ogg_with_opus_is_told_from_other_ogg() {
        let mut page =
            b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0"
                .to_vec();
        page.extend([0; 64]);
        let found = sniff(&mut Cursor::new(&page), None);
        assert_eq!((found.format, found.mime.as_str()), (FileFormat::OggOpus, "audio/ogg"));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_type_a_header_can_hold(bytes: Vec<u8>, start in 0..8usize, claimed: String) {
            let starts: [&[u8]; 8] =
                [b"", b"PK\x03\x04", b"\x1aE\xdf\xa3", b"\0\0\0\x18ftypmp42", b"RIFF", b"OggS", b"GIF89a", b"\x89PNG\r\n\x1a\n"];
            let bytes = [starts[start], bytes.as_slice()].concat();
            let found = sniff(&mut Cursor::new(&bytes), Some(&claimed));
            prop_assert!(clean(&found.mime).as_deref() == Some(found.mime.as_str()), "{}", found.mime);
        }
    }
}
