//! A file made to be what WhatsApp takes for its kind; what can not be made so is a document, and never refused.

use super::picture::{self, LIMITS};
use super::sniff::Sniffed;
use super::spool::SpoolFile;
use super::tool::Job;
use super::{Claims, Fitted, Kind, Media, Side, film, sticker};
use file_format::FileFormat as F;
use image::ImageFormat;

/// Quality of a JPEG made of another kind of picture.
const QUALITY: u8 = 90;

/// A file and what it is now.
type Fit = (SpoolFile, Kind);

impl Media {
    /// Makes a file fit for WhatsApp as a `wish`; its content may say that it is something else.
    pub async fn fit_for_whatsapp(&self, file: SpoolFile, wish: Kind, claims: &Claims) -> Fitted {
        let sniffed = self.sniff(&file, claims).await;
        let (fitted, kind) = match wish {
            Kind::Document => (file.clone(), Kind::Document),
            Kind::Sticker if sniffed.is_picture() => self.fit_sticker(&file, &sniffed).await,
            _ if sniffed.is_picture() => self.fit_picture(&file, &sniffed).await,
            Kind::Audio | Kind::Voice if sniffed.is_film() => self.fit_film_as_sound(&file, &sniffed, wish).await,
            _ if sniffed.is_film() => self.fit_film(&file, &sniffed, wish).await,
            _ if sniffed.is_sound() => self.fit_sound(&file, &sniffed, wish).await,
            _ => (file.clone(), Kind::Document),
        };
        let is_same = fitted.sha256() == file.sha256();
        let sniffed = if is_same { sniffed } else { self.sniff(&fitted, claims).await };
        let mut facts = self.inspect_as(&fitted, &sniffed, kind, claims, Side::WhatsApp).await;
        // A picture that can not be decoded here is not given to phones to be decoded there.
        let is_seen = kind != Kind::Image || facts.blurhash.is_some();
        let kind = if is_seen { kind } else { Kind::Document };
        if kind != Kind::Voice {
            facts.waveform.clear();
        }
        Fitted { file: fitted, kind, facts }
    }

    async fn fit_picture(&self, file: &SpoolFile, sniffed: &Sniffed) -> Fit {
        match sniffed.format {
            F::JointPhotographicExpertsGroup => (file.clone(), Kind::Image),
            F::PortableNetworkGraphics | F::AnimatedPortableNetworkGraphics => {
                self.as_jpeg(file, ImageFormat::Png, Keep::WhatIsOpaque).await
            }
            F::Webp => self.as_jpeg(file, ImageFormat::WebP, Keep::Nothing).await,
            F::WindowsBitmap => self.as_jpeg(file, ImageFormat::Bmp, Keep::Nothing).await,
            F::TagImageFileFormat => self.as_jpeg(file, ImageFormat::Tiff, Keep::Nothing).await,
            F::GraphicsInterchangeFormat => self.fit_gif(file).await,
            other => match self.make(file, other, Job::Picture).await {
                Some(made) => (made, Kind::Image),
                None => (file.clone(), Kind::Document),
            },
        }
    }

    async fn fit_gif(&self, file: &SpoolFile) -> Fit {
        if !self.moves(file, ImageFormat::Gif).await {
            return self.as_jpeg(file, ImageFormat::Gif, Keep::Nothing).await;
        }
        match self.make(file, F::GraphicsInterchangeFormat, Job::LoopingFilm).await {
            Some(made) => (made, Kind::Gif),
            // As a document it still moves, for who opens it.
            None => (file.clone(), Kind::Document),
        }
    }

    async fn fit_sticker(&self, file: &SpoolFile, sniffed: &Sniffed) -> Fit {
        if sniffed.format == F::Webp
            && let Ok(open) = file.open()
            && let Some(Ok(webp)) = self.decode(move || sticker::look(open, LIMITS)).await
            && webp.is_fit(file.size())
            && self.decodes(file, ImageFormat::WebP).await
        {
            return (file.clone(), Kind::Sticker);
        }
        if sniffed.format == F::GraphicsInterchangeFormat
            && self.moves(file, ImageFormat::Gif).await
            && let Some(made) = self.make(file, sniffed.format, Job::LoopingFilm).await
        {
            return (made, Kind::Gif);
        }
        let Some(format) = picture::format_of(sniffed.format) else { return self.fit_picture(file, sniffed).await };
        let (open, spool) = (file.open(), self.spool().clone());
        let made = self.decode(move || {
            let webp = sticker::make(&picture::load(open.ok()?, format, LIMITS).ok()?)?;
            let mut writer = spool.begin_now(webp.len() as u64, sticker::MAX_STILL).ok()?;
            writer.add(&webp).ok()?;
            writer.finish().ok()
        });
        match made.await.flatten() {
            Some(made) => (made, Kind::Sticker),
            None => (file.clone(), Kind::Document),
        }
    }

    async fn fit_film(&self, file: &SpoolFile, sniffed: &Sniffed, wish: Kind) -> Fit {
        let kind = match wish {
            Kind::Gif | Kind::Sticker => Kind::Gif,
            Kind::RoundVideo => Kind::RoundVideo,
            _ => Kind::Video,
        };
        let Ok(open) = file.open() else { return (file.clone(), Kind::Document) };
        let format = sniffed.format;
        let seen = self.decode(move || film::measure(open, format)).await.flatten();
        let is_mp4 = film::is_boxed(format) && format != F::AppleQuicktime;
        let plays_everywhere = seen.is_some_and(|film| film.plays_everywhere);
        if is_mp4 && plays_everywhere {
            return (file.clone(), kind);
        }
        let repacked = if plays_everywhere { self.make(file, format, Job::Repacked).await } else { None };
        let made = match repacked {
            Some(repacked) => Some(repacked),
            None => self.make(file, format, Job::Film).await,
        };
        match made {
            Some(made) => (made, kind),
            // Some phones play it.
            None if is_mp4 && seen.is_some() => (file.clone(), kind),
            None => (file.clone(), Kind::Document),
        }
    }

    /// What is called sound and lies in a film's container: browsers record voices so.
    async fn fit_film_as_sound(&self, file: &SpoolFile, sniffed: &Sniffed, wish: Kind) -> Fit {
        let (open, format) = (file.open(), sniffed.format);
        let seen = match open {
            Ok(open) => self.decode(move || film::measure(open, format)).await.flatten(),
            Err(_) => None,
        };
        if seen.is_some_and(|film| film.width.is_some()) {
            return self.fit_film(file, sniffed, Kind::Video).await;
        }
        self.fit_sound(file, sniffed, wish).await
    }

    async fn fit_sound(&self, file: &SpoolFile, sniffed: &Sniffed, wish: Kind) -> Fit {
        let wants_voice = wish == Kind::Voice;
        if sniffed.format == F::OggOpus {
            return (file.clone(), if wants_voice { Kind::Voice } else { Kind::Audio });
        }
        if wants_voice && let Some(made) = self.make(file, sniffed.format, Job::Voice).await {
            return (made, Kind::Voice);
        }
        // What WhatsApp's apps play (its Cloud API's list of audio types).
        if ["audio/mpeg", "audio/mp4", "audio/aac", "audio/amr"].contains(&sniffed.mime.as_str()) {
            return (file.clone(), Kind::Audio);
        }
        match self.make(file, sniffed.format, Job::Sound).await {
            Some(made) => (made, Kind::Audio),
            None => (file.clone(), Kind::Document),
        }
    }

    async fn make(&self, file: &SpoolFile, format: F, job: Job) -> Option<SpoolFile> {
        let made = self.tool()?.run(self.spool(), file, format, job, self.spool().max_file()).await;
        made.inspect_err(|error| tracing::debug!(%error, "a file goes as it is, or as a document")).ok()
    }

    async fn moves(&self, file: &SpoolFile, format: ImageFormat) -> bool {
        let Ok(open) = file.open() else { return false };
        self.decode(move || picture::is_animated(open, format, LIMITS)).await.unwrap_or(false)
    }

    async fn decodes(&self, file: &SpoolFile, format: ImageFormat) -> bool {
        let Ok(open) = file.open() else { return false };
        self.decode(move || picture::load(open, format, LIMITS).is_ok()).await.unwrap_or(false)
    }

    /// The picture as a JPEG on white.
    async fn as_jpeg(&self, file: &SpoolFile, format: ImageFormat, keep: Keep) -> Fit {
        let (open, spool, expected) = (file.open(), self.spool().clone(), file.size());
        let made = self.decode(move || {
            let picture = picture::load(open.ok()?, format, LIMITS).ok()?;
            if keep == Keep::WhatIsOpaque && !picture::is_transparent(&picture) {
                return Some(None);
            }
            let mut writer = spool.begin_now(expected.min(spool.max_file()), spool.max_file()).ok()?;
            picture::write_jpeg(&picture, QUALITY, &mut writer).ok()?;
            Some(Some(writer.finish().ok()?))
        });
        match made.await.flatten() {
            Some(Some(made)) => (made, Kind::Image),
            Some(None) => (file.clone(), Kind::Image),
            None => (file.clone(), Kind::Document),
        }
    }
}

/// What of its kind is sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    WhatIsOpaque,
    Nothing,
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
