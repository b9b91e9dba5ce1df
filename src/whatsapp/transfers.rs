//! Files and pictures through a login, counted.

use super::{Whatsapp, media};
use crate::convert::WaReference;
use crate::ids::{GhostId, LoginId};
use crate::media::spool::{Spool, SpoolFile};
use crate::numbers::{self, Direction};
use whatsapp_rust::anyhow;

/// Where pictures of people, groups and channels lie.
const PICTURE_HOST: &str = "pps.whatsapp.net";

/// Where a person's picture lies.
#[derive(Debug, Clone)]
pub struct Picture {
    /// WhatsApp's id of it; another picture has another id.
    pub id: String,
    /// Its address; expires.
    pub url: String,
}

impl Whatsapp {
    /// Fetches a file through a login into the spool.
    ///
    /// # Errors
    /// [`media::MediaFailure`].
    pub async fn download_media(
        &self,
        login: &LoginId,
        spool: &Spool,
        media_type: media::MediaType,
        reference: &WaReference,
    ) -> std::result::Result<SpoolFile, media::MediaFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(media::MediaFailure::Offline)?;
        let file = media::download(&client, spool, media_type, reference).await;
        numbers::count_transfer(Direction::IntoMatrix, file.as_ref().ok().map(SpoolFile::size));
        file
    }

    /// Puts a file on WhatsApp's servers through a login; the same key makes it the same file.
    ///
    /// # Errors
    /// [`media::MediaFailure`].
    pub async fn upload_media(
        &self,
        login: &LoginId,
        file: &SpoolFile,
        media_type: media::MediaType,
        key: [u8; 32],
    ) -> std::result::Result<media::Stored, media::MediaFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(media::MediaFailure::Offline)?;
        let stored = media::upload(&client, file, media_type, key).await;
        numbers::count_transfer(Direction::IntoWhatsapp, stored.is_ok().then(|| file.size()));
        stored
    }

    /// As [`Whatsapp::upload_media`], for a channel: it lies there unsealed, and its post has to name its handle.
    ///
    /// # Errors
    /// [`media::MediaFailure`].
    pub async fn upload_open(
        &self,
        login: &LoginId,
        file: &SpoolFile,
        media_type: media::MediaType,
    ) -> std::result::Result<media::Stored, media::MediaFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(media::MediaFailure::Offline)?;
        let stored = media::upload_open(&client, &self.shared.setup.http, file, media_type).await;
        numbers::count_transfer(Direction::IntoWhatsapp, stored.is_ok().then(|| file.size()));
        stored
    }

    /// Asks a login's phone to put a file on the servers again; gives its new path.
    ///
    /// # Errors
    /// [`media::AskFailure`].
    pub async fn ask_for_media(
        &self,
        login: &LoginId,
        holder: media::Holder<'_>,
        media_key: &[u8],
    ) -> std::result::Result<String, media::AskFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(media::AskFailure::Offline)?;
        media::ask_again(&client, holder, media_key).await
    }

    /// Address and id of a person's picture as this login may see it; none when hidden or unset.
    ///
    /// # Errors
    /// When the login is offline or WhatsApp does not answer.
    pub async fn find_picture(&self, login: &LoginId, person: &GhostId) -> anyhow::Result<Option<Picture>> {
        let client =
            self.line(login).and_then(|line| line.client()).ok_or_else(|| anyhow::anyhow!("the line is offline"))?;
        let jid = person.as_str().parse()?;
        let picture = client.contacts().get_profile_picture(&jid, true).await?;
        Ok(picture.map(|picture| Picture { id: picture.id, url: picture.url }))
    }

    /// The bytes behind a picture's address, at most 5 MiB.
    ///
    /// # Errors
    /// When it can not be fetched or is larger.
    pub async fn fetch_picture(&self, picture: &Picture) -> anyhow::Result<Vec<u8>> {
        self.shared.setup.http.fetch(&picture.url, 5 << 20).await
    }

    /// The bytes of a channel's picture, at most `limit`.
    ///
    /// # Errors
    /// When it can not be fetched or is larger.
    pub async fn fetch_channel_picture(&self, path: &str, limit: u64) -> anyhow::Result<Vec<u8>> {
        anyhow::ensure!(media::is_path(path), "the picture's place is no path");
        self.shared.setup.http.fetch(&format!("https://{PICTURE_HOST}{path}"), limit).await
    }
}
