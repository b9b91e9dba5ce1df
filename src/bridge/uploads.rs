//! Files of Matrix events on their way to WhatsApp: fetched from our homeserver, made to fit, put on WhatsApp's
//! servers under a key derived from the message, so that a retry puts the same file there again.

use super::Bridge;
use super::from_matrix::never;
use super::outgoing::Saying;
use super::people::Halt;
use crate::convert::outgoing::{MAX_FILE, MxKind, MxMedia, MxSource, Uploaded};
use crate::convert::{MediaKind, vcard, waveform};
use crate::ids::WaMessageId;
use crate::matrix::error::MatrixError;
use crate::matrix::media::FetchFailure;
use crate::media::spool::{SpoolError, SpoolFile};
use crate::media::unseal::Unsealer;
use crate::media::{Claims, Fitted, Kind};
use crate::store::portals::PortalKind;
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::media::{MediaFailure, Stored, shelf_of};
use ruma::MxcUri;

/// Bytes of a small picture that is fetched from an event.
const MAX_THUMBNAIL: u64 = 512 << 10;

/// Bytes of a link's picture.
const MAX_PREVIEW: u64 = 5 << 20;

/// A file of an event as a message can carry it.
pub(super) enum Carried {
    /// The text of contact cards; they travel inside the message.
    Cards(String),
    /// A file on WhatsApp's servers.
    File(Box<Uploaded>),
}

impl Bridge {
    /// Puts the file of an event where a WhatsApp message can name it.
    ///
    /// # Errors
    /// [`Halt`], with words for the sender when no retry helps.
    pub(super) async fn carry_file(
        &self,
        saying: &Saying<'_>,
        wa_id: &WaMessageId,
        media: &MxMedia,
    ) -> Result<Carried, Halt> {
        let file = self.fetch_source(&media.source, media.size, MAX_FILE).await?;
        if media.kind == MxKind::Contacts
            && file.size() <= vcard::MAX_BYTES as u64
            && let Ok(bytes) = file.read(vcard::MAX_BYTES as u64)
            && let Ok(text) = String::from_utf8(bytes)
            && !vcard::read(&text).is_empty()
        {
            return Ok(Carried::Cards(text));
        }
        let claims = Claims {
            mime: media.mime.clone(),
            duration_ms: media.duration_ms,
            waveform: waveform::to_whatsapp(&media.waveform),
            thumbnail: self.thumbnail_of(media).await,
        };
        let fitted = self.media().fit_for_whatsapp(file, wish_of(media.kind), &claims).await;
        let kind = kind_of(&fitted);
        let (login, shelf) = (&saying.login.id, shelf_of(kind));
        let stored = match saying.portal.kind {
            PortalKind::Channel => self.whatsapp().upload_open(login, &fitted.file, shelf).await,
            _ => {
                let key = self.store().derive().wa_media_key(login, wa_id);
                self.whatsapp().upload_media(login, &fitted.file, shelf, key).await
            }
        };
        let stored = stored.map_err(|failure| read_failure(failure, saying))?;
        fail::fail_point!("files.after_upload", |_| std::process::abort());
        Ok(Carried::File(Box::new(uploaded(kind, stored, fitted))))
    }

    /// Puts the picture of a link where a message can name it; without one it goes too.
    ///
    /// # Errors
    /// [`Halt`] when the whole message has to wait.
    pub(super) async fn carry_preview(
        &self,
        saying: &Saying<'_>,
        wa_id: &WaMessageId,
        source: &MxSource,
    ) -> Result<Option<Uploaded>, Halt> {
        let Ok(file) = self.fetch_source(source, None, MAX_PREVIEW).await else { return Ok(None) };
        let fitted = self.media().fit_for_whatsapp(file, Kind::Image, &Claims::default()).await;
        if fitted.kind != Kind::Image {
            return Ok(None);
        }
        let key = self.store().derive().wa_media_key(&saying.login.id, wa_id);
        let shelf = shelf_of(MediaKind::LinkPicture);
        match self.whatsapp().upload_media(&saying.login.id, &fitted.file, shelf, key).await {
            Ok(stored) => Ok(Some(uploaded(MediaKind::LinkPicture, stored, fitted))),
            Err(failure) => match read_failure(failure, saying) {
                halt @ Halt::Verdict(Verdict::Blocked(_)) => Err(halt),
                _ => Ok(None),
            },
        }
    }

    /// The small picture an event brings, where looking into the file may not give one; without it the file goes too.
    async fn thumbnail_of(&self, media: &MxMedia) -> Option<Vec<u8>> {
        if !matches!(media.kind, MxKind::Video | MxKind::Gif | MxKind::File) {
            return None;
        }
        let source = media.thumbnail.as_ref()?;
        let fetched = self.fetch_source(source, None, MAX_THUMBNAIL).await.ok()?;
        fetched.read(MAX_THUMBNAIL).ok()
    }

    async fn fetch_source(&self, source: &MxSource, expected: Option<u64>, limit: u64) -> Result<SpoolFile, Halt> {
        let sealed = match source {
            MxSource::Plain(_) => None,
            MxSource::Encrypted(file) => Some(Unsealer::new(file).ok_or_else(damaged)?),
        };
        let mxc: &MxcUri = source.mxc().into();
        let fetched = self.matrix().fetch_file(mxc, sealed, self.media().spool(), expected, limit).await;
        fetched.map_err(|failure| match failure {
            // Forbidden: a file of another homeserver that is not let out.
            FetchFailure::Matrix(MatrixError::NotFound | MatrixError::Forbidden { .. }) => never(
                "The file is not on the homeserver, so it was not sent to WhatsApp. Please send it again.",
                "the homeserver does not have the file",
            ),
            FetchFailure::Matrix(error) => error.into(),
            FetchFailure::Spool(SpoolError::TooLarge { limit }) => never(
                format!(
                    "Files of at most {} MiB can be sent to WhatsApp here; please send a smaller one or a link.",
                    limit >> 20
                ),
                "the file is too large",
            ),
            FetchFailure::Spool(error) => Halt::Verdict(Verdict::Away { why: format!("the folder of files: {error}") }),
            FetchFailure::Damaged => damaged(),
        })
    }
}

fn uploaded(kind: MediaKind, stored: Stored, fitted: Fitted) -> Uploaded {
    let facts = fitted.facts;
    let is_sticker = fitted.kind == Kind::Sticker;
    Uploaded {
        kind,
        url: stored.url,
        handle: stored.handle,
        reference: stored.reference,
        sidecar: stored.sidecar,
        mime: facts.mime,
        width: facts.width,
        height: facts.height,
        seconds: facts.duration_ms.map(in_seconds),
        pages: None,
        // A sticker's small picture would have to be a PNG; phones make their own.
        thumbnail: facts.thumbnail.map(|thumbnail| thumbnail.jpeg).filter(|_| !is_sticker),
        waveform: facts.waveform,
    }
}

fn damaged() -> Halt {
    never(
        "The file is damaged or was not encrypted as its message says, so it was not sent to WhatsApp. Please send it again.",
        "the file's bytes are not those that were sent",
    )
}

fn read_failure(failure: MediaFailure, saying: &Saying<'_>) -> Halt {
    let later = |why: String| Halt::Verdict(Verdict::Later { why });
    let away = |why: String| Halt::Verdict(Verdict::Away { why });
    match failure {
        MediaFailure::Offline => Halt::Verdict(Verdict::Blocked(Gate::Login(saying.login.id.clone()))),
        MediaFailure::Refused(413) => {
            never("WhatsApp's servers find the file too large. Please send a smaller one or a link.", "413")
        }
        MediaFailure::Refused(status) => later(format!("the media servers answered {status}")),
        MediaFailure::Spool(error) => away(format!("the folder of files: {error}")),
        MediaFailure::Gone | MediaFailure::Unreachable => away("the media servers can not be reached".into()),
        MediaFailure::Damaged => later("the media servers gave no answer that can be read".into()),
    }
}

/// Seconds as WhatsApp shows them: something short is not nothing.
fn in_seconds(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(1_000)).unwrap_or(u32::MAX)
}

fn wish_of(kind: MxKind) -> Kind {
    match kind {
        MxKind::Image => Kind::Image,
        MxKind::Video => Kind::Video,
        MxKind::Gif => Kind::Gif,
        MxKind::Audio => Kind::Audio,
        MxKind::Voice => Kind::Voice,
        MxKind::Sticker => Kind::Sticker,
        MxKind::File | MxKind::Contacts => Kind::Document,
    }
}

fn kind_of(fitted: &Fitted) -> MediaKind {
    match fitted.kind {
        Kind::Image => MediaKind::Image,
        Kind::Video => MediaKind::Video,
        Kind::Gif => MediaKind::Gif,
        Kind::RoundVideo => MediaKind::Ptv,
        Kind::Audio => MediaKind::Audio,
        Kind::Voice => MediaKind::Voice,
        Kind::Document => MediaKind::Document,
        Kind::Sticker if fitted.facts.animated => MediaKind::AnimatedSticker,
        Kind::Sticker => MediaKind::Sticker,
    }
}
