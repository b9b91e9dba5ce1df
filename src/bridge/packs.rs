//! Sticker packs of WhatsApp brought into somebody's personal space, as image packs (MSC2545).
//!
//! A sticker's file has one name on the homeserver, kept before it is filled; so bringing a pack again, after a kill or because
//! somebody says so, fills the same names and sets the same state, which makes no event. What was changed or lost
//! is mended by it.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::convert::pack::{self, PackImage, PackSticker};
use crate::matrix::error::MatrixError;
use crate::media::spool::{SpoolError, SpoolFile};
use crate::media::{Claims, Kind, Side};
use crate::store::logins::Login;
use crate::verdict::Verdict;
use crate::whatsapp::media::{MediaFailure, MediaType};
use crate::whatsapp::sticker_packs::PackFailure;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ruma::{OwnedEventId, OwnedMxcUri, OwnedRoomId};
use serde_json::Value;

/// Bytes of one sticker: WhatsApp's limit for moving ones (500 KB), twice.
const LARGEST_STICKER: u64 = 1 << 20;

/// A pack whose stickers are on the homeserver.
pub struct ReadyPack {
    /// The content of its event.
    pub content: Value,
    /// Its name.
    pub name: String,
    /// How many of its stickers are in the content.
    pub count: usize,
    /// How many are not: gone, damaged, too large, or of a kind that no client shows.
    pub left_out: usize,
}

/// A pack that is in its owner's space.
pub struct Imported {
    /// What is there.
    pub pack: ReadyPack,
    /// The space.
    pub room: OwnedRoomId,
    /// The event; the same one again when nothing has changed.
    pub event: OwnedEventId,
}

/// Why a pack is not there.
#[derive(Debug)]
pub enum NoPack {
    /// There is none of this id, or nothing in it can be shown.
    NotThere,
    /// It is too large for an event.
    TooLarge,
    /// WhatsApp can't be reached.
    Away,
    /// The bridge makes no spaces.
    NoSpaces,
    /// The space is not made yet.
    NotYet,
    /// Its owner has left the space.
    Left,
    /// Database or homeserver fail.
    Halt(Halt),
}

impl<E: Into<Halt>> From<E> for NoPack {
    fn from(error: E) -> Self {
        Self::Halt(error.into())
    }
}

impl NoPack {
    /// What it means, for the person; none for [`NoPack::Halt`].
    pub fn words(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotThere => {
                "WhatsApp knows no such sticker pack, or has none of its stickers any more. Packs that people have made \
                 themselves have no links that others could open."
            }
            Self::TooLarge => "That pack is too large: at most 120 stickers fit.",
            Self::Away => "WhatsApp can't be reached right now. Please say it again later.",
            Self::NoSpaces => {
                "Packs are put into your space, and this bridge makes none (`bridge.personal_filtering_spaces` is off)."
            }
            Self::NotYet => "Packs are put into your space, which is not made yet. Please say it again in a moment.",
            Self::Left => {
                "Packs are put into your space, and you have left it. Say `space` to be invited, then this again."
            }
            Self::Halt(_) => return None,
        })
    }
}

impl Bridge {
    /// Fetches a pack and has its stickers on the homeserver.
    ///
    /// # Errors
    /// [`NoPack`].
    pub(crate) async fn ready_pack(&self, login: &Login, id: &str) -> Result<ReadyPack, NoPack> {
        let found = self.whatsapp().find_sticker_pack(id).await.map_err(|failure| match failure {
            PackFailure::NotThere => NoPack::NotThere,
            PackFailure::TooLarge => NoPack::TooLarge,
            PackFailure::Away(why) => {
                tracing::warn!(why, "a sticker pack could not be fetched");
                NoPack::Away
            }
        })?;
        let mut images = Vec::with_capacity(found.stickers.len());
        for (at, sticker) in found.stickers.iter().enumerate() {
            // One after the other: small files, and nobody waits for them in a room.
            images.extend(self.ready_sticker(login, at, sticker).await?);
        }
        if images.is_empty() {
            return Err(NoPack::NotThere);
        }
        let content = pack::content(&found, &images);
        // What can not be written is no JSON, and it is.
        if serde_json::to_vec(&content).is_ok_and(|bytes| bytes.len() > pack::LARGEST) {
            return Err(NoPack::TooLarge);
        }
        let name = content["pack"]["display_name"].as_str().unwrap_or_default().to_owned();
        Ok(ReadyPack { content, name, count: images.len(), left_out: found.stickers.len() - images.len() })
    }

    /// As [`Bridge::ready_pack`], and puts the pack into the space of the login.
    ///
    /// # Errors
    /// [`NoPack`].
    pub(crate) async fn import_pack(&self, login: &Login, id: &str) -> Result<Imported, NoPack> {
        let space = self.space_for_packs(login).await?;
        let pack = self.ready_pack(login, id).await?;
        let room = room_id(&space)?;
        let set = self.matrix().send_state(&room, self.matrix().bot(), pack::EVENT, id, &pack.content).await;
        match set {
            Ok(event) => Ok(Imported { pack, room, event }),
            Err(error) => match self.or_forget(&space, Err(error)).await {
                Err(Halt::Verdict(Verdict::Later { .. })) => Err(NoPack::NotYet),
                Err(halt) => Err(halt.into()),
                Ok(()) => Err(NoPack::NotYet),
            },
        }
    }

    async fn space_for_packs(&self, login: &Login) -> Result<String, NoPack> {
        if !self.config().bridge.personal_filtering_spaces {
            return Err(NoPack::NoSpaces);
        }
        let spaces = self.store().login_spaces().await?;
        let space = spaces.into_iter().find(|space| space.login == login.id && space.mxid == login.mxid);
        let space = space.ok_or(NoPack::NotYet)?;
        if space.has_left {
            return Err(NoPack::Left);
        }
        if space.room.is_none() {
            self.wake_spaces();
        }
        space.room.ok_or(NoPack::NotYet)
    }

    /// A sticker's file on the homeserver; none when it can not be had or is no picture.
    async fn ready_sticker(
        &self,
        login: &Login,
        at: usize,
        sticker: &PackSticker,
    ) -> Result<Option<PackImage>, NoPack> {
        if sticker.reference.file_length.is_some_and(|bytes| bytes > LARGEST_STICKER) {
            return Ok(None);
        }
        let spool = self.media().spool();
        let fetched = self.whatsapp().download_media(&login.id, spool, MediaType::Sticker, &sticker.reference).await;
        let file = match fetched {
            Ok(file) => file,
            Err(MediaFailure::Gone | MediaFailure::Damaged | MediaFailure::Spool(SpoolError::TooLarge { .. })) => {
                return Ok(None);
            }
            Err(failure) => {
                tracing::warn!(%failure, "a sticker of a pack could not be fetched");
                return Err(NoPack::Away);
            }
        };
        if file.size() > LARGEST_STICKER {
            return Ok(None);
        }
        let facts = self.media().inspect(&file, Kind::Sticker, &Claims::default(), Side::Matrix).await;
        if !facts.mime.starts_with("image/") || facts.mime == "image/svg+xml" {
            return Ok(None);
        }
        let Some(mxc) = self.put_sticker(&file, &facts.mime).await? else { return Ok(None) };
        Ok(Some(PackImage {
            at,
            mxc: mxc.to_string(),
            mime: facts.mime,
            measures: facts.width.zip(facts.height),
            size: file.size(),
            hash: BASE64_STANDARD.encode(file.sha256()),
        }))
    }

    /// Puts a sticker under its kept name, or under a new one where that is gone; none when the homeserver does not take it.
    async fn put_sticker(&self, file: &SpoolFile, mime: &str) -> Result<Option<OwnedMxcUri>, NoPack> {
        let hash = crate::derive::hex(file.sha256());
        let (matrix, bot) = (self.matrix(), self.matrix().bot());
        if let Some(kept) = self.store().find_pack_sticker(&hash).await?.map(OwnedMxcUri::from) {
            match matrix.put_file(bot, &kept, file, mime, None).await {
                Ok(()) => return Ok(Some(kept)),
                // Expired before it was filled, or removed since.
                Err(MatrixError::NotFound | MatrixError::Forbidden { .. }) => {}
                Err(MatrixError::TooLarge) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let fresh = matrix.reserve_media(bot).await?;
        self.store().keep_pack_sticker(&hash, fresh.as_str()).await?;
        fail::fail_point!("packs.after_name", |_| super::states::die_here());
        match matrix.put_file(bot, &fresh, file, mime, None).await {
            Ok(()) => {}
            Err(MatrixError::TooLarge) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        fail::fail_point!("packs.after_put", |_| super::states::die_here());
        Ok(Some(fresh))
    }
}
