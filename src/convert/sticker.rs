//! What a sticker's file says about itself: WebP with a JSON note in its EXIF part, under WhatsApp's own tag.

use super::words;
use serde_json::Value;

/// The tag WhatsApp keeps its note under ("WA").
const TAG: u16 = 0x5741;
/// Bytes of a note.
const MAX_NOTE: usize = 64 * 1024;
/// Parts of a file that are looked at.
const MAX_CHUNKS: usize = 4_096;

/// What is known of a sticker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// What it shows, in words.
    pub label: Option<String>,
    /// Emoji it stands for.
    pub emoji: Vec<String>,
    /// Its pack's id.
    pub pack_id: Option<String>,
    /// Its pack's name.
    pub pack_name: Option<String>,
    /// Who made the pack.
    pub publisher: Option<String>,
}

impl Note {
    /// What stands for the sticker in clients that do not show it: its words, its emoji.
    pub fn body(&self) -> Option<String> {
        let emoji = self.emoji.concat();
        self.label.clone().or(Some(emoji).filter(|emoji| !emoji.is_empty()))
    }
}

/// The note in a sticker's file; `None` when there is none.
pub fn note(webp: &[u8]) -> Option<Note> {
    let json = exif(webp).and_then(tagged)?;
    let value: Value = serde_json::from_slice(json).ok()?;
    let text = |key: &str| {
        let line = words::line(value[key].as_str()?, 100);
        (!line.is_empty()).then_some(line)
    };
    let emoji = value["emojis"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Some(Note {
        label: text("accessibility-text"),
        emoji: emoji.take(3).map(|one| words::line(one, 20)).filter(|one| !one.is_empty()).collect(),
        pack_id: text("sticker-pack-id"),
        pack_name: text("sticker-pack-name"),
        publisher: text("sticker-pack-publisher"),
    })
}

/// Whether the file is a WebP that moves.
pub fn is_animated(webp: &[u8]) -> bool {
    whatsapp_rust::webp::is_animated(webp)
}

/// The EXIF part of a WebP file (RIFF container).
fn exif(webp: &[u8]) -> Option<&[u8]> {
    if webp.get(..4)? != b"RIFF" || webp.get(8..12)? != b"WEBP" {
        return None;
    }
    let mut at = 12_usize;
    for _ in 0..MAX_CHUNKS {
        let name = webp.get(at..at + 4)?;
        let length = usize::try_from(u32::from_le_bytes(webp.get(at + 4..at + 8)?.try_into().ok()?)).ok()?;
        let end = (at + 8).checked_add(length)?;
        if name == b"EXIF" {
            let data = webp.get(at + 8..end)?;
            return Some(data.strip_prefix(b"Exif\0\0").unwrap_or(data));
        }
        // Parts have even lengths.
        at = end.checked_add(length & 1)?;
    }
    None
}

/// The bytes under WhatsApp's tag in a TIFF directory.
fn tagged(tiff: &[u8]) -> Option<&[u8]> {
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let two = |at: usize| -> Option<u16> {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let four = |at: usize| -> Option<usize> {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }).ok()
    };
    let directory = four(4)?;
    let count = usize::from(two(directory)?);
    for entry in 0..count {
        let at = directory.checked_add(2)?.checked_add(entry * 12)?;
        if two(at)? == TAG {
            let (length, offset) = (four(at + 4)?, four(at + 8)?);
            return tiff.get(offset..offset.checked_add(length)?).filter(|note| note.len() <= MAX_NOTE);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn webp(json: &str) -> Vec<u8> {
        let mut tiff = b"II*\0\x08\0\0\0\x01\0\x41\x57\x07\0".to_vec();
        tiff.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
        tiff.extend(22_u32.to_le_bytes());
        tiff.extend(json.bytes());
        let mut file = b"RIFF\0\0\0\0WEBPVP8 \x03\0\0\0abc\0EXIF".to_vec();
        file.extend(u32::try_from(tiff.len()).unwrap().to_le_bytes());
        file.extend(tiff);
        file
    }

    #[test]
    fn the_note_is_read() {
        let note = note(&webp(r#"{"emojis":["😀","x\ny"],"sticker-pack-id":"p","accessibility-text":"a\u0000 cat"}"#))
            .unwrap();
        assert_eq!(note.body().as_deref(), Some("a cat"));
        assert_eq!(note.emoji, ["😀", "x y"]);
        assert_eq!(note.pack_id.as_deref(), Some("p"));
        assert_eq!(super::note(&webp("no json")), None);
        assert_eq!(super::note(b"RIFF"), None);
        assert!(!is_animated(&webp("{}")));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..100) {
            note(&bytes);
            let mut file = webp(r#"{"emojis":[]}"#);
            let from = at.min(file.len());
            file.truncate(from);
            file.append(&mut bytes);
            note(&file);
        }
    }
}
