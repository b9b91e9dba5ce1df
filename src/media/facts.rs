//! Looking into a file: all that can be found, and nothing that fails.

use super::picture::{self, LIMITS, Thumbnail};
use super::sniff::{self, Sniffed};
use super::spool::SpoolFile;
use super::tool::Job;
use super::{Claims, Facts, Kind, Media, Side, film, sound};
use file_format::FileFormat;
use image::DynamicImage;

/// Bytes of a claimed small picture that are looked at.
const MAX_CLAIMED: usize = 512 << 10;
/// Bytes of a film's picture that the tool may make.
const MAX_FRAME: u64 = 4 << 20;

impl Media {
    /// What is in a file that its sender calls a `kind`.
    pub async fn inspect(&self, file: &SpoolFile, kind: Kind, claims: &Claims, side: Side) -> Facts {
        let sniffed = self.sniff(file, claims).await;
        self.inspect_as(file, &sniffed, kind, claims, side).await
    }

    /// The type of a file. One that can not be read is bytes.
    pub(super) async fn sniff(&self, file: &SpoolFile, claims: &Claims) -> Sniffed {
        let (open, claimed) = (file.open(), claims.mime.clone());
        let sniffed = match open {
            Ok(mut open) => self.decode(move || sniff::sniff(&mut open, claimed.as_deref())).await,
            Err(_) => None,
        };
        sniffed.unwrap_or_else(|| Sniffed { format: FileFormat::default(), mime: "application/octet-stream".into() })
    }

    pub(super) async fn inspect_as(
        &self,
        file: &SpoolFile,
        sniffed: &Sniffed,
        kind: Kind,
        claims: &Claims,
        side: Side,
    ) -> Facts {
        let mut facts = Facts { mime: mime_for(sniffed, side), size: file.size(), ..Facts::default() };
        if sniffed.is_picture() {
            self.see_picture(file, sniffed.format, side, &mut facts).await;
        } else if sniffed.is_film() {
            self.see_film(file, sniffed.format, side, &mut facts).await;
        } else if sniffed.is_sound() {
            self.hear(file, kind, claims, &mut facts).await;
        }
        if facts.duration_ms.is_none() && (sniffed.is_film() || sniffed.is_sound()) {
            facts.duration_ms = claims.duration_ms;
        }
        // Only where nothing was seen: what is shown before the file is opened should be of the file.
        if let (None, Some(claimed)) = (&facts.blurhash, &claims.thumbnail)
            && claimed.len() <= MAX_CLAIMED
        {
            let claimed = claimed.clone();
            let seen = self.decode(move || Some(small(&picture::load_bytes(&claimed, LIMITS).ok()?, side, true))).await;
            if let Some((thumbnail, blurhash)) = seen.flatten() {
                (facts.thumbnail, facts.blurhash) = (thumbnail, blurhash);
            }
        }
        facts
    }

    async fn see_picture(&self, file: &SpoolFile, format: FileFormat, side: Side, facts: &mut Facts) {
        let Some(format) = picture::format_of(format) else { return };
        let (Ok(head), Ok(moving), Ok(whole)) = (file.open(), file.open(), file.open()) else { return };
        if let Some(Ok(measures)) = self.decode(move || picture::measure(head, format, LIMITS)).await {
            (facts.width, facts.height) = (Some(measures.width), Some(measures.height));
        }
        let seen = self.decode(move || {
            let animated = picture::is_animated(moving, format, LIMITS);
            let seen = picture::load(whole, format, LIMITS).ok().map(|picture| small(&picture, side, false));
            (animated, seen)
        });
        if let Some((animated, seen)) = seen.await {
            facts.animated = animated;
            (facts.thumbnail, facts.blurhash) = seen.unwrap_or_default();
        }
    }

    async fn see_film(&self, file: &SpoolFile, format: FileFormat, side: Side, facts: &mut Facts) {
        let Ok(open) = file.open() else { return };
        if let Some(Some(film)) = self.decode(move || film::measure(open, format)).await {
            (facts.width, facts.height, facts.duration_ms) = (film.width, film.height, film.duration_ms);
        }
        let Some(tool) = self.tool() else { return };
        let frame = match tool.run(self.spool(), file, format, Job::Frame, MAX_FRAME).await {
            Ok(frame) => frame,
            Err(error) => return tracing::debug!(%error, "a film has no picture of its own"),
        };
        let seen = self.decode(move || {
            let bytes = frame.read(MAX_FRAME).ok()?;
            Some(small(&picture::load_bytes(&bytes, LIMITS).ok()?, side, true))
        });
        (facts.thumbnail, facts.blurhash) = seen.await.flatten().unwrap_or_default();
    }

    async fn hear(&self, file: &SpoolFile, kind: Kind, claims: &Claims, facts: &mut Facts) {
        let (Ok(whole), Ok(voice)) = (file.open(), file.open()) else { return };
        facts.duration_ms = self.decode(move || sound::duration_ms(whole)).await.flatten();
        if kind == Kind::Voice {
            let is_claimed = claims.waveform.len() == sound::BARS && claims.waveform.iter().any(|bar| *bar > 0);
            facts.waveform = if is_claimed {
                claims.waveform.iter().map(|bar| (*bar).min(100)).collect()
            } else {
                self.decode(move || sound::waveform(voice)).await.unwrap_or_default()
            };
        }
    }
}

/// A picture made small for a side. `always`: also when it is small already.
fn small(picture: &DynamicImage, side: Side, always: bool) -> (Option<Thumbnail>, Option<String>) {
    let (width, height) = match side {
        Side::Matrix => (800, 600),
        Side::WhatsApp => (72, 72),
    };
    let is_large = picture.width() > width || picture.height() > height;
    let wanted = is_large || always || side == Side::WhatsApp;
    (wanted.then(|| picture::thumbnail(picture, width, height)).flatten(), picture::blurhash(picture))
}

fn mime_for(sniffed: &Sniffed, side: Side) -> String {
    match (sniffed.format, side) {
        // WhatsApp's phones ask for the parameter before they play it.
        (FileFormat::OggOpus, Side::WhatsApp) => "audio/ogg; codecs=opus".into(),
        _ => sniffed.mime.clone(),
    }
}
