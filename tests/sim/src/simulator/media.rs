//! Media on the server and in the phones' hands.

use anyhow::{Context as _, Result, ensure};

use super::Simulator;
use crate::{
    ids::Number,
    media::{self, Blob, Located, MediaFaults, StickerPack},
};

impl Simulator {
    /// What goes wrong with everybody's media from now on. For one account, see [`Simulator::add_media_rule`].
    pub fn set_media_faults(&self, faults: MediaFaults) {
        self.shared.with(|state| state.media.faults = faults);
    }

    /// Withdraws the media credentials handed out so far: requests with them
    /// get `status` (401 or 403) until the client asks for new ones.
    pub fn expire_media_auth(&self, status: u16) {
        self.shared.with(|state| state.media.expire_auth(status));
    }

    /// Lets all files of now expire: downloads get `status` (404 or 410).
    pub fn expire_media(&self, status: u16) {
        self.shared.with(|state| state.media.expire_all(status));
    }

    /// Publishes a sticker pack: links to it can be opened from now on. One of the same id is replaced.
    pub fn publish_pack(&self, pack: &StickerPack) -> Result<()> {
        self.shared.with(|state| media::publish(state, pack))
    }

    /// Lets one file expire. Errors when there is none of this path.
    pub fn expire_file(&self, path: &str, status: u16) -> Result<()> {
        let found = self.shared.with(|state| state.media.expire(path, status));
        ensure!(found, "no file {path}");
        Ok(())
    }

    /// The phone of `number` deletes the file of a message: it cannot put it up
    /// again.
    pub fn forget_media(&self, number: &str, id: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.phone.lost_media.insert(id.to_owned());
            Ok(())
        })
    }

    /// Every download so far: path, first byte asked for, status.
    pub fn media_downloads(&self) -> Vec<(String, u64, u16)> {
        self.shared.look(|state| state.media.downloads.clone())
    }

    /// The file of a message as the phone of `number` opened it. Errors when
    /// there is no such message or file, or when it is not what the message
    /// says.
    pub async fn received_media(&self, number: &str, id: &str) -> Result<Vec<u8>> {
        let (opened, _) = self.open_media(number, id).await?;
        Ok(opened.bytes()?.to_vec())
    }

    /// The opened file, which may be a large one, and what it is.
    pub(crate) async fn open_media(&self, number: &str, id: &str) -> Result<(Blob, Located)> {
        let number = Number::parse(number)?;
        let (blob, located) = self.shared.look(|state| {
            let found = state.account(&number)?.phone.media_of(id);
            let (located, _) = found.with_context(|| format!("{number} knows no message {id} with a file"))?;
            let blob = state.media.held(&located.direct_path);
            let blob = blob.with_context(|| format!("no file was ever at {}", located.direct_path))?;
            anyhow::Ok((blob, located))
        })?;
        let opening = tokio::task::spawn_blocking(move || media::open(&blob, &located).map(|opened| (opened, located)));
        opening.await.context("decryption")?
    }
}
