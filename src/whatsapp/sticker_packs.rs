//! Sticker packs, by the ids that links name.
//!
//! WhatsApp gives a pack to whoever asks: JSON from a server of static files, without a login. Its stickers' files lie
//! where those of messages do (docs/decisions/sticker-packs.md).

use super::Whatsapp;
use crate::convert::WaReference;
use crate::convert::pack::{MOST_STICKERS, Pack, PackSticker};
use whatsapp_rust::sticker_pack::{StickerPack, StickerPackItem};

/// Where packs are told of.
const PACKS: &str = "https://static.whatsapp.net/sticker";
/// Bytes of what is told of a pack.
const LARGEST: u64 = 2 << 20;

/// Why a pack was not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackFailure {
    /// There is none of this id.
    #[error("there is no such pack")]
    NotThere,
    /// It has more stickers than are taken.
    #[error("the pack has too many stickers")]
    TooLarge,
    /// It can not be had now; a retry may help.
    #[error("the pack could not be fetched: {0}")]
    Away(String),
}

impl Whatsapp {
    /// The pack of an id, which [`crate::convert::pack::id_in`] has read.
    ///
    /// # Errors
    /// [`PackFailure`].
    pub async fn find_sticker_pack(&self, id: &str) -> Result<Pack, PackFailure> {
        // Without `lottie=1` a pack that moves is told as pictures: no client of Matrix shows Lottie.
        let url = format!("{PACKS}?cat=sticker_pack_data&id={id}&lg=en");
        let body = self.shared.setup.http.find(&url, LARGEST).await;
        let body = body.map_err(|error| PackFailure::Away(error.to_string()))?.ok_or(PackFailure::NotThere)?;
        let away = |_| PackFailure::Away("what was told of the pack has an unexpected form".into());
        let packs: Vec<StickerPack> = serde_json::from_slice(&body).map_err(away)?;
        let pack = packs.into_iter().next().filter(|pack| !pack.stickers.is_empty()).ok_or(PackFailure::NotThere)?;
        if pack.stickers.len() > MOST_STICKERS {
            return Err(PackFailure::TooLarge);
        }
        Ok(Pack {
            id: id.to_owned(),
            name: pack.name.unwrap_or_default(),
            publisher: pack.publisher.unwrap_or_default(),
            description: pack.description.unwrap_or_default(),
            is_animated: pack.animated > 0,
            stickers: pack.stickers.into_iter().map(sticker_of).collect(),
        })
    }
}

fn sticker_of(told: StickerPackItem) -> PackSticker {
    PackSticker {
        reference: WaReference {
            direct_path: told.direct_path.unwrap_or_default(),
            media_key: told.media_key.unwrap_or_default(),
            file_sha256: told.file_hash.unwrap_or_default(),
            file_enc_sha256: told.enc_file_hash.unwrap_or_default(),
            file_length: told.file_size,
            key_time: None,
        },
        label: told.accessibility_text.unwrap_or_default(),
        emoji: told.emojis,
    }
}
