//! Files of WhatsApp messages on their way into a room: fetched, looked into, put on the homeserver.
//!
//! The names they get there are kept in the database before anything is put under them, so that a try that was
//! interrupted fills the same names. A file that can not be had becomes a notice with its caption: the message is never
//! lost with its file.

mod content;

use super::Bridge;
use super::effects::Scene;
use super::people::Halt;
use crate::convert::incoming::{GoneMedia, media_gone};
use crate::convert::{MediaKind, MxPart, WaMedia, WaReference, WaSource};
use crate::ids::{LoginId, WaMessageId};
use crate::matrix::error::MatrixError;
use crate::media::spool::{SpoolError, SpoolFile};
use crate::media::{Claims, Facts, Kind, Side};
use crate::store::files::FileSlot;
use crate::store::logins::LoginState;
use crate::store::messages::{MessageState, PartKey};
use crate::verdict::{Gate, MAX_ATTEMPTS, Verdict};
use crate::whatsapp::media::{AskFailure, Holder, MediaFailure, shelf_of};
use content::{Shown, Small, complete, complete_preview};
use ruma::{MxcUri, OwnedMxcUri, UserId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a link's picture; larger ones are not worth their way.
const MAX_PICTURE: u64 = 5 << 20;
/// How long a message waits for the picture of a link.
const PICTURE_TIME: Duration = Duration::from_secs(15);
/// Name of the small map of a place.
const MAP: &str = "map.jpg";
/// How long a phone that did not answer is not asked again.
const SILENCE: Duration = Duration::from_secs(120);

/// Whose file: names it in the database and on the homeserver.
struct FileName<'a> {
    key: PartKey,
    owner: &'a UserId,
}

/// Phones that did not answer when they were asked for a file.
#[derive(Default)]
pub(super) struct SilentPhones(Mutex<HashMap<LoginId, Instant>>);

impl SilentPhones {
    fn note(&self, login: &LoginId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(login.clone(), Instant::now());
    }

    /// Lets a phone be asked again.
    pub(super) fn forget(&self, login: &LoginId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(login);
    }

    fn is_silent(&self, login: &LoginId) -> bool {
        let phones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        phones.get(login).is_some_and(|since| since.elapsed() < SILENCE)
    }
}

/// Why there is no file: another verdict for the row, or a word in its place.
enum NoFile {
    /// The row has to wait, or fails.
    Halt(Halt),
    /// The message goes on without it.
    Gone(GoneMedia),
}

impl<E: Into<Halt>> From<E> for NoFile {
    fn from(error: E) -> Self {
        Self::Halt(error.into())
    }
}

impl Bridge {
    /// A part with its files on the homeserver and in its content; with a word instead where a file can not be had.
    ///
    /// # Errors
    /// [`Halt`] when it may work later, and when it hangs on the person (a logged-out account, a silent phone).
    pub(super) async fn with_files(
        &self,
        scene: &Scene<'_>,
        at: usize,
        user: &UserId,
        mut part: MxPart,
    ) -> Result<MxPart, Halt> {
        let (media, preview) = (part.media.take(), part.preview.take());
        // The small map of a place is all the file it has.
        let map = part.thumbnail.take_if(|_| media.is_none() && part.content["msgtype"] == "m.location");
        if media.is_none() && preview.is_none() && map.is_none() {
            return Ok(part);
        }
        // Never a person's own account: the names outlive its token.
        let ghost = match self.matrix().is_ours(user) {
            true => None,
            false => Some(self.ready_ghost(scene.sender, super::people::Facts::default()).await?),
        };
        let name = FileName { key: scene.key(at), owner: ghost.as_deref().unwrap_or(user) };
        // On a second try most parts may be there already.
        let before = self.store().find_message(&name.key).await?;
        if before.is_some_and(|before| before.state == MessageState::Sent) {
            return Ok(part);
        }
        let decoration = preview.or_else(|| map.map(small_map));
        self.with_files_place(async {
            if let Some(picture) = decoration {
                self.decorate(scene, &name, &picture, &mut part).await?;
            }
            let Some(media) = media else { return Ok(part) };
            match self.add_file(scene, &name, &media, &mut part).await {
                Ok(()) => Ok(part),
                Err(NoFile::Halt(halt)) => Err(self.with_words(halt, scene, &media, &part)),
                Err(NoFile::Gone(why)) => {
                    let placeholder = media_gone(media.kind, why, &part.content);
                    let (event_type, content) = (placeholder.event_type, placeholder.content);
                    Ok(MxPart { event_type, content, thumbnail: None, ..part })
                }
            }
        })
        .await
    }

    /// A final word about a file says the message's own words too: they are not lost with it.
    fn with_words(&self, halt: Halt, scene: &Scene<'_>, media: &WaMedia, part: &MxPart) -> Halt {
        let (tell, why) = match halt {
            // Told before.
            Halt::Verdict(Verdict::Never { tell, why }) if tell.is_empty() => {
                return Halt::Verdict(Verdict::Never { tell, why });
            }
            Halt::Verdict(Verdict::Never { tell, why }) => (tell, why),
            Halt::Verdict(Verdict::Later { why }) if is_last(scene) => {
                let prefix = &self.config().bridge.command_prefix;
                let what = media.kind.noun();
                (
                    format!("A {what} could not be fetched in several tries. Say `{prefix} retry` here to try again."),
                    why,
                )
            }
            other => return other,
        };
        let words = part.content["body"].as_str().filter(|body| *body != media.name && !body.is_empty());
        let tell = words.map_or_else(|| tell.clone(), |words| format!("{tell}\n\n{words}"));
        Halt::Verdict(Verdict::Never { tell, why })
    }

    async fn add_file(
        &self,
        scene: &Scene<'_>,
        name: &FileName<'_>,
        media: &WaMedia,
        part: &mut MxPart,
    ) -> Result<(), NoFile> {
        let limit = self.matrix().upload_limit().await?;
        if let WaSource::Server(WaReference { file_length: Some(bytes), .. }) = &media.source
            && *bytes > limit
        {
            return Err(NoFile::Gone(GoneMedia::TooLarge { bytes: *bytes, limit }));
        }
        let file = self.fetch(scene, media).await?;
        let claims = Claims {
            mime: Some(media.mime.clone()),
            duration_ms: part.content["info"]["duration"].as_u64(),
            waveform: Vec::new(),
            thumbnail: part.thumbnail.take(),
        };
        let facts = self.media().inspect(&file, kind_of(media.kind), &claims, Side::Matrix).await;
        let mxc = self.put(name, FileSlot::File, &file, &facts.mime, &media.name, limit).await?;
        let small = match &facts.thumbnail {
            Some(thumbnail) => {
                let put = self.put_bytes(name, FileSlot::Thumbnail, &thumbnail.jpeg, "image/jpeg").await?;
                put.map(|mxc| Small {
                    mxc,
                    width: thumbnail.width,
                    height: thumbnail.height,
                    size: thumbnail.jpeg.len(),
                })
            }
            None => None,
        };
        let note = if is_sticker(media.kind) { content::sticker_words(&file) } else { None };
        let shown = Shown { kind: media.kind, mxc: &mxc, facts: &facts, small: small.as_ref(), words: note };
        complete(part, &shown);
        Ok(())
    }

    /// The picture of a link or a place. One that can not be had soon is left out: nothing waits or fails for it.
    async fn decorate(
        &self,
        scene: &Scene<'_>,
        name: &FileName<'_>,
        picture: &WaMedia,
        part: &mut MxPart,
    ) -> Result<(), Halt> {
        let found = tokio::time::timeout(PICTURE_TIME, self.find_picture(scene, name, picture)).await;
        match found {
            Ok(Ok(Some((mxc, facts)))) if picture.name == MAP => content::complete_map(&mut part.content, &mxc, &facts),
            Ok(Ok(Some((mxc, facts)))) => complete_preview(&mut part.content, &mxc, &facts),
            Ok(Err(NoFile::Halt(Halt::Store(error)))) => return Err(Halt::Store(error)),
            Ok(_) | Err(_) => tracing::debug!(row = scene.row.seq, "a message goes without its small picture"),
        }
        Ok(())
    }

    async fn find_picture(
        &self,
        scene: &Scene<'_>,
        name: &FileName<'_>,
        picture: &WaMedia,
    ) -> Result<Option<(OwnedMxcUri, Facts)>, NoFile> {
        if let WaSource::Server(WaReference { file_length, .. }) = &picture.source
            && file_length.is_some_and(|bytes| bytes > MAX_PICTURE)
        {
            return Ok(None);
        }
        let file = self.fetch(scene, picture).await?;
        if file.size() > MAX_PICTURE {
            return Ok(None);
        }
        let facts = self.media().inspect(&file, Kind::Image, &Claims::default(), Side::Matrix).await;
        // Not what is no picture, whatever it is called.
        if facts.blurhash.is_none() {
            return Ok(None);
        }
        let limit = self.matrix().upload_limit().await?;
        let mxc = self.put(name, FileSlot::Preview, &file, &facts.mime, &picture.name, limit).await?;
        Ok(Some((mxc, facts)))
    }

    /// The bytes of a file, in the spool.
    async fn fetch(&self, scene: &Scene<'_>, media: &WaMedia) -> Result<SpoolFile, NoFile> {
        let spool = self.media().spool();
        let reference = match &media.source {
            WaSource::Server(reference) => reference,
            WaSource::Inline(bytes) => {
                let size = bytes.len() as u64;
                let mut writer = spool.begin(size, size).await.map_err(read_spool)?;
                writer.add(bytes).map_err(read_spool)?;
                return Ok(writer.finish().map_err(|error| read_spool(SpoolError::Disk(error)))?);
            }
        };
        let shelf = shelf_of(media.kind);
        let asked = match self.whatsapp().download_media(scene.login, spool, shelf, reference).await {
            Err(MediaFailure::Gone) if media.kind == MediaKind::LinkPicture => {
                return Err(NoFile::Gone(GoneMedia::Lost));
            }
            Err(MediaFailure::Gone) => self.ask_the_phone(scene, media.kind, reference).await?,
            Ok(file) => return Ok(file),
            Err(failure) => return Err(self.read_failure(scene, failure, reference).await),
        };
        let again = WaReference { direct_path: asked, ..reference.clone() };
        match self.whatsapp().download_media(scene.login, spool, shelf, &again).await {
            Ok(file) => Ok(file),
            Err(MediaFailure::Gone) => Err(NoFile::Gone(GoneMedia::Lost)),
            Err(failure) => Err(self.read_failure(scene, failure, reference).await),
        }
    }

    /// Asks the phone to put a file on the servers again; gives its path there.
    async fn ask_the_phone(
        &self,
        scene: &Scene<'_>,
        kind: MediaKind,
        reference: &WaReference,
    ) -> Result<String, NoFile> {
        if self.shared.silent_phones.is_silent(scene.login) {
            return Err(self.silent(scene, kind, false).await?);
        }
        let chat = self.store().load_portal(scene.portal).await?.chat;
        let id = WaMessageId::new(scene.arrival.id.as_str());
        let is_group = chat.as_str().ends_with("@g.us");
        let author = is_group.then_some(scene.sender);
        let holder = Holder { chat: &chat, id: &id, from_me: scene.arrival.from_me, author };
        match self.whatsapp().ask_for_media(scene.login, holder, &reference.media_key).await {
            Ok(path) => Ok(path),
            Err(AskFailure::NotThere | AskFailure::Failed) => Err(NoFile::Gone(GoneMedia::Lost)),
            Err(AskFailure::Offline) => Err(self.is_offline(scene.login).await),
            Err(AskFailure::Silent) => {
                self.shared.silent_phones.note(scene.login);
                Err(self.silent(scene, kind, true).await?)
            }
        }
    }

    /// The phone did not answer, now or just before: the row fails and comes back by itself. Told once.
    async fn silent(&self, scene: &Scene<'_>, kind: MediaKind, was_asked: bool) -> Result<NoFile, Halt> {
        let before = self.store().asks_in_vain(scene.row.seq).await?;
        if was_asked || before.is_none() {
            let tries = before.unwrap_or(0) + i64::from(was_asked);
            self.store().note_ask_in_vain(scene.row.seq, scene.login, tries).await?;
        }
        fail::fail_point!("files.asked", |_| super::states::die_here());
        let tell = match before {
            Some(_) => String::new(),
            None => format!(
                "A {} is no longer on WhatsApp's servers, and your phone, which may have it, did not answer. It is asked \
                 again when it is back; please switch it on. To have it asked now, answer this with `{} retry`.",
                kind.noun(),
                self.config().bridge.command_prefix
            ),
        };
        let why = "the file is gone and the phone did not answer".into();
        Ok(NoFile::Halt(Halt::Verdict(Verdict::Never { tell, why })))
    }

    /// A phone has answered about some file: it is asked for the others that it was asked for in vain.
    pub(super) async fn phone_answered(&self, login: &LoginId) {
        self.shared.silent_phones.forget(login);
        self.ask_again(login, i64::MAX).await;
    }

    /// Puts back what a login's phone may have by now; see [`crate::store::Store::wake_wishes`].
    pub(super) async fn ask_again(&self, login: &LoginId, now_ms: i64) {
        match self.store().wake_wishes(login, now_ms).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "a phone is asked again for files"),
            Err(error) => tracing::warn!(%error, "a phone was not asked again for files"),
        }
    }

    /// As a line connects: what it is time for is asked again.
    pub(super) fn ask_soon(&self, login: &LoginId) {
        let (bridge, login) = (self.clone(), login.clone());
        self.spawn(async move { bridge.ask_again(&login, bridge.store().clock().now_ms()).await });
    }

    /// Lets the phone be asked at once for what somebody wants to be tried again.
    pub fn forget_silence(&self, login: &LoginId) {
        self.shared.silent_phones.forget(login);
    }

    async fn read_failure(&self, scene: &Scene<'_>, failure: MediaFailure, reference: &WaReference) -> NoFile {
        let away = |why: String| NoFile::Halt(Halt::Verdict(Verdict::Away { why }));
        match failure {
            MediaFailure::Offline => self.is_offline(scene.login).await,
            MediaFailure::Gone => NoFile::Gone(GoneMedia::Lost),
            // A server may have had a bad moment; what is damaged stays so.
            MediaFailure::Damaged | MediaFailure::Refused(_) if !is_last(scene) => {
                NoFile::Halt(Halt::Verdict(Verdict::Later { why: "the file or its reference is damaged".into() }))
            }
            MediaFailure::Damaged | MediaFailure::Refused(_) => NoFile::Gone(GoneMedia::Damaged),
            MediaFailure::Spool(SpoolError::TooLarge { limit }) => {
                let bytes = reference.file_length.unwrap_or(limit).max(limit + 1);
                NoFile::Gone(GoneMedia::TooLarge { bytes, limit })
            }
            MediaFailure::Spool(error) => away(format!("the folder of files: {error}")),
            MediaFailure::Unreachable => away("the media servers can not be reached".into()),
        }
    }

    /// The line is not there: the row waits for it, unless its account is logged out.
    async fn is_offline(&self, login: &LoginId) -> NoFile {
        let found = match self.store().find_login(login).await {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        let is_linked = found.is_some_and(|login| login.state == LoginState::Linked);
        NoFile::Halt(Halt::Verdict(if is_linked {
            Verdict::Blocked(Gate::Login(login.clone()))
        } else {
            Verdict::Never {
                tell: "A file could not be fetched because this WhatsApp account is logged out. Say `login qr` to the \
                       bridge bot, then `retry` here."
                    .into(),
                why: "the login is logged out".into(),
            }
        }))
    }

    /// Puts a file under its kept name, or under a new one where that has expired.
    async fn put(
        &self,
        for_what: &FileName<'_>,
        slot: FileSlot,
        file: &SpoolFile,
        mime: &str,
        name: &str,
        limit: u64,
    ) -> Result<OwnedMxcUri, NoFile> {
        let owner = for_what.owner;
        if let Some(kept) = self.kept_name(&for_what.key, slot).await? {
            match self.matrix().put_file(owner, &kept, file, mime, Some(name)).await {
                Ok(()) => return Ok(kept),
                // Expired, or asked for by somebody else.
                Err(MatrixError::NotFound | MatrixError::Forbidden { .. }) => {}
                Err(error) => return Err(read_upload(error, file.size(), limit)),
            }
        }
        let fresh = self.new_name(for_what, slot).await?;
        fail::fail_point!("files.after_name", |_| std::process::abort());
        let put = self.matrix().put_file(owner, &fresh, file, mime, Some(name)).await;
        put.map_err(|error| read_upload(error, file.size(), limit))?;
        fail::fail_point!("files.after_put", |_| std::process::abort());
        Ok(fresh)
    }

    /// Puts a small picture; `None` when the homeserver does not take it.
    async fn put_bytes(
        &self,
        for_what: &FileName<'_>,
        slot: FileSlot,
        bytes: &[u8],
        mime: &str,
    ) -> Result<Option<OwnedMxcUri>, Halt> {
        let kept = self.kept_name(&for_what.key, slot).await?;
        let put = async |mxc: &MxcUri| match self
            .matrix()
            .put_media(for_what.owner, mxc, bytes.to_vec().into(), mime, None)
            .await
        {
            Ok(()) => Ok(true),
            Err(MatrixError::NotFound | MatrixError::Forbidden { .. } | MatrixError::TooLarge) => Ok(false),
            Err(error) => Err(Halt::from(error)),
        };
        if let Some(kept) = kept
            && put(&kept).await?
        {
            return Ok(Some(kept));
        }
        let fresh = self.new_name(for_what, slot).await?;
        Ok(if put(&fresh).await? { Some(fresh) } else { None })
    }

    async fn kept_name(&self, key: &PartKey, slot: FileSlot) -> Result<Option<OwnedMxcUri>, Halt> {
        Ok(self.store().find_file_name(key, slot).await?.map(OwnedMxcUri::from))
    }

    async fn new_name(&self, for_what: &FileName<'_>, slot: FileSlot) -> Result<OwnedMxcUri, Halt> {
        let mxc = match self.matrix().reserve_media(for_what.owner).await {
            // Too many unfilled ones of this sender: no reason to leave the homeserver alone.
            Err(MatrixError::Limited { .. }) => {
                let why = "the homeserver gives no more media names for now".into();
                return Err(Halt::Verdict(Verdict::Away { why }));
            }
            reserved => reserved?,
        };
        self.store().keep_file_name(&for_what.key, slot, mxc.as_str()).await?;
        Ok(mxc)
    }
}

/// Whether this is the last try of the row.
fn is_last(scene: &Scene<'_>) -> bool {
    scene.row.attempts + 1 >= MAX_ATTEMPTS
}

fn small_map(bytes: Vec<u8>) -> WaMedia {
    WaMedia {
        kind: MediaKind::LinkPicture,
        source: WaSource::Inline(bytes),
        mime: "image/jpeg".to_owned(),
        name: MAP.to_owned(),
    }
}

fn read_spool(error: SpoolError) -> Halt {
    Halt::Verdict(Verdict::Away { why: format!("the folder of files: {error}") })
}

fn read_upload(error: MatrixError, bytes: u64, limit: u64) -> NoFile {
    match error {
        MatrixError::TooLarge => NoFile::Gone(GoneMedia::TooLarge { bytes, limit }),
        other => NoFile::Halt(other.into()),
    }
}

fn is_sticker(kind: MediaKind) -> bool {
    matches!(kind, MediaKind::Sticker | MediaKind::AnimatedSticker | MediaKind::LottieSticker)
}

fn kind_of(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Image | MediaKind::LinkPicture => Kind::Image,
        MediaKind::Video => Kind::Video,
        MediaKind::Gif => Kind::Gif,
        MediaKind::Ptv => Kind::RoundVideo,
        MediaKind::Audio => Kind::Audio,
        MediaKind::Voice => Kind::Voice,
        MediaKind::Sticker | MediaKind::AnimatedSticker | MediaKind::LottieSticker => Kind::Sticker,
        MediaKind::Document | MediaKind::Contacts => Kind::Document,
    }
}
