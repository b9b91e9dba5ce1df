//! Sticker packs of WhatsApp as image packs of Matrix (MSC2545, with the names clients have for it today).
//!
//! The keys below `fi.mau.` are those of mautrix's bridges, so that a client that knows a pack or a sticker of theirs knows ours.

use super::WaReference;
use super::words;
use serde_json::{Map, Value, json};

/// The state event of an image pack; its state key is the pack's id.
pub const EVENT: &str = "im.ponies.room_emotes";
/// Stickers of one pack: WhatsApp's own have some thirty.
pub const MOST_STICKERS: usize = 120;
/// Bytes of the event's content: an event may have 65,536 in all (specification, "Size limits").
pub const LARGEST: usize = 60_000;
/// Characters of a pack's id.
const LONGEST_ID: usize = 100;
/// What links to packs begin with.
const LINK: &str = "https://wa.me/stickerpack/";

/// A pack as WhatsApp tells of it.
#[derive(Clone, PartialEq)]
pub struct Pack {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub publisher: String,
    /// What it is about.
    pub description: String,
    /// Whether its stickers move.
    pub is_animated: bool,
    /// The stickers, in their order.
    pub stickers: Vec<PackSticker>,
}

/// One sticker of a pack.
#[derive(Clone, PartialEq)]
pub struct PackSticker {
    /// Where its file lies.
    pub reference: WaReference,
    /// What it shows, in words; may be empty.
    pub label: String,
    /// Emoji it stands for.
    pub emoji: Vec<String>,
}

/// A sticker's file on the homeserver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackImage {
    /// Its place in the pack, from 0.
    pub at: usize,
    /// Where it is.
    pub mxc: String,
    /// Its type.
    pub mime: String,
    /// Pixels from side to side and from top to bottom.
    pub measures: Option<(u32, u32)>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the file, base64.
    pub hash: String,
}

/// The id of the pack a link names; none for other links.
pub fn id_in(link: &str) -> Option<&str> {
    let link = link.trim_matches(['<', '>']);
    let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://")).unwrap_or(link);
    let rest = rest.strip_prefix("wa.me/").or_else(|| rest.strip_prefix("api.whatsapp.com/"))?;
    let id = rest.strip_prefix("stickerpack/")?.split(['/', '?', '#']).next()?;
    let is_id = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_id.then_some(id)
}

/// The content of the pack's event, with the stickers whose files could be had.
pub fn content(pack: &Pack, images: &[PackImage]) -> Value {
    let link = format!("{LINK}{}", pack.id);
    let mut all = Map::new();
    for image in images {
        let Some(sticker) = pack.stickers.get(image.at) else { continue };
        let emoji = sticker.emoji.iter().map(|emoji| words::line(emoji, 20)).collect::<Vec<_>>();
        let label = words::line(&sticker.label, 100);
        let body = if label.is_empty() { emoji.concat() } else { label };
        let mut info = json!({
            "mimetype": image.mime,
            "size": image.size,
            "fi.mau.bridged_sticker": { "network": "whatsapp", "id": image.hash, "pack_url": link },
        });
        if let Some((width, height)) = image.measures {
            (info["w"], info["h"]) = (width.into(), height.into());
        }
        if let Some(emoji) = emoji.first().filter(|emoji| !emoji.is_empty()) {
            info["fi.mau.bridged_sticker"]["emoji"] = emoji.as_str().into();
        }
        let mut name = short_name(&body, image.at);
        if all.contains_key(&name) {
            name = format!("{name}_{}", image.at + 1);
        }
        let body = if body.is_empty() { name.clone() } else { body };
        all.insert(name, json!({ "url": image.mxc, "body": body, "info": info }));
    }
    let name = words::line(&pack.name, 100);
    let name = if name.is_empty() { pack.id.clone() } else { name };
    let publisher = words::line(&pack.publisher, 100);
    let by = if publisher.is_empty() { String::new() } else { format!("by {publisher}, ") };
    json!({
        "images": all,
        "pack": {
            "display_name": name,
            "avatar_url": images.first().map(|image| image.mxc.as_str()),
            "usage": ["sticker"],
            "attribution": format!("{by}from WhatsApp: {link}"),
            "fi.mau.bridged_pack": { "network": "whatsapp", "url": link },
        },
        "fi.mau.whatsapp.stickerpack": {
            "id": pack.id,
            "name": name,
            "description": words::line(&pack.description, 300),
            "publisher": publisher,
            "animated": pack.is_animated,
            "lottie": false,
        },
    })
}

/// A short name to type: letters and digits of what the sticker shows.
fn short_name(words: &str, at: usize) -> String {
    let letters = words.to_lowercase();
    let parts = letters.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let name: String = parts.collect::<Vec<_>>().join("_").chars().take(40).collect();
    if name.is_empty() { format!("sticker_{}", at + 1) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_packs_and_nothing_else_does() {
        for (link, id) in [
            ("https://wa.me/stickerpack/Cuppy", "Cuppy"),
            ("http://wa.me/stickerpack/Cuppy/", "Cuppy"),
            ("<https://api.whatsapp.com/stickerpack/a-b_c?lang=en#top>", "a-b_c"),
            ("wa.me/stickerpack/1", "1"),
        ] {
            assert_eq!(id_in(link), Some(id), "{link}");
        }
        let long = format!("https://wa.me/stickerpack/{}", "x".repeat(101));
        for link in [
            "",
            "Cuppy",
            "https://wa.me/stickerpack/",
            "https://wa.me/15550100",
            "https://evil.example/wa.me/stickerpack/Cuppy",
            "https://wa.me.evil.example/stickerpack/Cuppy",
            "https://wa.me/stickerpack/a&lg=x",
            "https://wa.me/stickerpack/ä",
            "https://wa.me/stickerpack/..",
            &long,
        ] {
            assert_eq!(id_in(link), None, "{link}");
        }
    }

    fn sticker(label: &str, emoji: &[&str]) -> PackSticker {
        let reference = WaReference {
            direct_path: "/p".into(),
            media_key: Vec::new(),
            file_sha256: Vec::new(),
            file_enc_sha256: Vec::new(),
            file_length: None,
            key_time: None,
        };
        let emoji = emoji.iter().map(|emoji| (*emoji).to_owned()).collect();
        PackSticker { reference, label: label.into(), emoji }
    }

    fn pack(stickers: Vec<PackSticker>) -> Pack {
        Pack {
            id: "Cuppy".into(),
            name: "Cuppy\nthe Cup".into(),
            publisher: "WhatsApp".into(),
            description: String::new(),
            is_animated: false,
            stickers,
        }
    }

    fn image(at: usize, mxc: &str) -> PackImage {
        let measures = Some((512, 512));
        PackImage { at, mxc: mxc.into(), mime: "image/webp".into(), measures, size: 9, hash: "aGFzaA==".into() }
    }

    #[test]
    fn a_pack_becomes_an_image_pack() {
        let pack = pack(vec![
            sticker("Hello, World!", &["👋", "😀"]),
            sticker("", &["🍵"]),
            sticker("hello world", &[]),
            sticker("lost", &[]),
        ]);
        let content = content(&pack, &[image(0, "mxc://a/0"), image(1, "mxc://a/1"), image(2, "mxc://a/2")]);
        let images = content["images"].as_object().unwrap();
        assert_eq!(images.keys().collect::<Vec<_>>(), ["hello_world", "hello_world_3", "sticker_2"]);
        assert_eq!(images["hello_world"]["url"], "mxc://a/0");
        assert_eq!(images["hello_world"]["body"], "Hello, World!");
        assert_eq!(images["hello_world"]["info"]["w"], 512);
        let known = json!({
            "network": "whatsapp", "id": "aGFzaA==", "emoji": "👋", "pack_url": "https://wa.me/stickerpack/Cuppy",
        });
        assert_eq!(images["hello_world"]["info"]["fi.mau.bridged_sticker"], known);
        assert_eq!(images["sticker_2"]["body"], "🍵");
        assert_eq!(content["pack"]["display_name"], "Cuppy the Cup");
        assert_eq!(content["pack"]["usage"], json!(["sticker"]));
        assert_eq!(content["pack"]["fi.mau.bridged_pack"]["url"], "https://wa.me/stickerpack/Cuppy");
        assert_eq!(content["fi.mau.whatsapp.stickerpack"]["id"], "Cuppy");
    }

    #[test]
    fn the_fullest_pack_fits_into_an_event_or_is_known_not_to() {
        let pack = pack(vec![sticker(&"w".repeat(30), &[]); MOST_STICKERS]);
        let mxc = format!("mxc://a-homeserver.example.org/{}", "x".repeat(24));
        let images: Vec<PackImage> = (0..MOST_STICKERS).map(|at| image(at, &mxc)).collect();
        let content = content(&pack, &images);
        assert_eq!(content["images"].as_object().unwrap().len(), MOST_STICKERS);
        assert!(serde_json::to_vec(&content).unwrap().len() < LARGEST);
    }
}
