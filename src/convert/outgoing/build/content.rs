//! What a message says: words, files, places, contacts.

use crate::convert::markup::{Block, marks};
use crate::convert::outgoing::{
    Draft, DraftContent, LinkPreview, MxKind, MxMedia, PreviewWish, Refusal, Resolved, Uploaded, draft,
};
use crate::convert::part::MediaKind;
use crate::convert::{vcard, words};
use whatsapp_rust::prelude::{MessageBuilderExt as _, MessageField, wa};

/// Makes the content; mentions go into the context.
pub(super) fn make(
    draft: &Draft,
    resolved: &Resolved<'_>,
    context: &mut wa::ContextInfo,
) -> Result<wa::Message, Refusal> {
    match &draft.content {
        DraftContent::Text { text, preview } => {
            let text = write(draft, text, resolved, context)?;
            Ok(match preview {
                PreviewWish::Given(preview) => with_preview(text, preview, resolved.preview.as_ref()),
                PreviewWish::Nothing | PreviewWish::Unsaid(_) => wa::Message::text(text),
            })
        }
        DraftContent::File { media, caption } => {
            let caption = write(draft, caption, resolved, context)?;
            file(media, caption, resolved)
        }
        DraftContent::Place { point, name } => Ok(wa::Message {
            location_message: MessageField::some(wa::message::LocationMessage {
                degrees_latitude: Some(point.latitude),
                degrees_longitude: Some(point.longitude),
                accuracy_in_meters: point.uncertainty_m,
                name: Some(name.clone()).filter(|name| !name.is_empty()),
                ..Default::default()
            }),
            ..Default::default()
        }),
    }
}

/// The words with mentions as WhatsApp writes them, and whose they are when another account says them.
fn write(
    draft: &Draft,
    text: &[Block],
    resolved: &Resolved<'_>,
    context: &mut wa::ContextInfo,
) -> Result<String, Refusal> {
    let found = |id: &str| {
        let meant = draft.mentions.iter().any(|mention| mention == id);
        meant.then(|| (resolved.people)(id)).flatten().map(|jid| jid.to_non_ad())
    };
    let mut out = marks::write(text, &|id| found(id).map(|jid| jid.user.to_string()));
    for jid in crate::convert::markup::people(text).into_iter().filter_map(found) {
        let jid = jid.to_string();
        if !context.mentioned_jid.contains(&jid) {
            context.mentioned_jid.push(jid);
        }
    }
    if draft.mention_room {
        // What the phone writes for everybody, and the mark by which it knows.
        out = out.replace("@room", "@all");
        context.non_jid_mentions = Some(1);
    }
    if let Some(name) = &resolved.said_by {
        let name = words::line(name, 100).replace(['*', '_', '~', '`'], "");
        out = if out.is_empty() { format!("*{name}*") } else { format!("*{name}*: {out}") };
    }
    draft::check_length(&out)?;
    Ok(out)
}

fn with_preview(text: String, preview: &LinkPreview, picture: Option<&Uploaded>) -> wa::Message {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let reference = picture.map(|picture| &picture.reference);
    wa::Message {
        extended_text_message: MessageField::some(wa::message::ExtendedTextMessage {
            text: Some(text),
            matched_text: Some(preview.url.clone()),
            title: some(&preview.title),
            description: some(&preview.description),
            preview_type: Some(wa::message::extended_text_message::PreviewType::NONE),
            jpeg_thumbnail: picture.and_then(|picture| picture.thumbnail.clone()),
            thumbnail_direct_path: reference.map(|reference| reference.direct_path.clone()),
            thumbnail_sha256: reference.map(|reference| reference.file_sha256.clone()),
            thumbnail_enc_sha256: reference.map(|reference| reference.file_enc_sha256.clone()),
            media_key: reference.map(|reference| reference.media_key.clone()),
            media_key_timestamp: reference.and_then(|reference| reference.key_time),
            thumbnail_width: picture.and_then(|picture| picture.width),
            thumbnail_height: picture.and_then(|picture| picture.height),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn file(media: &MxMedia, caption: String, resolved: &Resolved<'_>) -> Result<wa::Message, Refusal> {
    if media.kind == MxKind::Contacts
        && let Some(message) = resolved.cards.as_deref().and_then(contacts)
    {
        return Ok(message);
    }
    let Some(uploaded) = &resolved.uploaded else {
        return Err(Refusal::new("The file could not be sent to WhatsApp. Please send it again."));
    };
    Ok(uploaded_file(uploaded, &media.name, caption))
}

/// The fields that say where a file is, which every kind has under the same names.
macro_rules! placed {
    ($kind:ident { $($field:ident : $value:expr),* $(,)? }, $up:expr) => {
        MessageField::some($kind {
            url: Some($up.url.clone()),
            direct_path: Some($up.reference.direct_path.clone()),
            // What a channel shows is not sealed: it has neither.
            media_key: Some($up.reference.media_key.clone()).filter(|key| !key.is_empty()),
            file_sha256: Some($up.reference.file_sha256.clone()),
            file_enc_sha256: Some($up.reference.file_enc_sha256.clone()).filter(|hash| !hash.is_empty()),
            file_length: $up.reference.file_length,
            media_key_timestamp: $up.reference.key_time,
            mimetype: Some($up.mime.clone()),
            $($field: $value,)*
            ..Default::default()
        })
    };
}

fn uploaded_file(up: &Uploaded, name: &str, caption: String) -> wa::Message {
    use wa::message::{AudioMessage, DocumentMessage, ImageMessage, StickerMessage, VideoMessage};
    let mut message = wa::Message::default();
    let caption = Some(caption).filter(|caption| !caption.is_empty());
    match up.kind {
        MediaKind::Image | MediaKind::LinkPicture => {
            message.image_message = placed!(
                ImageMessage {
                    caption: caption,
                    width: up.width,
                    height: up.height,
                    jpeg_thumbnail: up.thumbnail.clone()
                },
                up
            );
        }
        MediaKind::Video | MediaKind::Gif | MediaKind::Ptv => {
            let film = placed!(
                VideoMessage {
                    caption: caption,
                    width: up.width,
                    height: up.height,
                    seconds: up.seconds,
                    gif_playback: (up.kind == MediaKind::Gif).then_some(true),
                    jpeg_thumbnail: up.thumbnail.clone(),
                    streaming_sidecar: up.sidecar.clone(),
                },
                up
            );
            if up.kind == MediaKind::Ptv { message.ptv_message = film } else { message.video_message = film }
        }
        MediaKind::Audio | MediaKind::Voice => {
            let voice = up.kind == MediaKind::Voice;
            message.audio_message = placed!(
                AudioMessage {
                    seconds: up.seconds,
                    ptt: Some(voice),
                    waveform: Some(up.waveform.clone()).filter(|bars| voice && !bars.is_empty()),
                    streaming_sidecar: up.sidecar.clone(),
                },
                up
            );
        }
        MediaKind::Sticker | MediaKind::AnimatedSticker | MediaKind::LottieSticker => {
            message.sticker_message = placed!(
                StickerMessage {
                    width: up.width,
                    height: up.height,
                    is_animated: (up.kind != MediaKind::Sticker).then_some(true),
                    png_thumbnail: up.thumbnail.clone(),
                },
                up
            );
        }
        MediaKind::Document | MediaKind::Contacts => {
            let has_words = caption.is_some();
            message.document_message = placed!(
                DocumentMessage {
                    file_name: Some(name.to_owned()),
                    title: Some(name.to_owned()),
                    caption: caption,
                    page_count: up.pages,
                    jpeg_thumbnail: up.thumbnail.clone(),
                },
                up
            );
            if has_words {
                message = wa::Message {
                    document_with_caption_message: MessageField::some(wa::message::FutureProofMessage {
                        message: MessageField::some(message),
                    }),
                    ..Default::default()
                };
            }
        }
    }
    message
}

/// Contacts out of a file of cards; `None` when it holds none.
fn contacts(text: &str) -> Option<wa::Message> {
    let contact = |card: vcard::Card| wa::message::ContactMessage {
        display_name: Some(if card.name.is_empty() { "Contact".to_owned() } else { card.name }),
        vcard: Some(card.text),
        ..Default::default()
    };
    let mut cards: Vec<_> = vcard::read(text).into_iter().map(contact).collect();
    let mut message = wa::Message::default();
    match cards.len() {
        0 => return None,
        1 => message.contact_message = cards.pop().into(),
        count => {
            message.contacts_array_message = MessageField::some(wa::message::ContactsArrayMessage {
                display_name: Some(words::count_of(count as u64, "contact")),
                contacts: cards,
                ..Default::default()
            });
        }
    }
    Some(message)
}

/// Whether a file of an album counts as a film.
pub(super) fn is_film(draft: &Draft) -> bool {
    matches!(&draft.content, DraftContent::File { media, .. } if matches!(media.kind, MxKind::Video | MxKind::Gif))
}

/// An edit of a message that stands, `original`: words of a file stay its caption, other words are a text.
pub(super) fn with_words(
    original: &wa::Message,
    draft: &Draft,
    resolved: &Resolved<'_>,
    context: &mut wa::ContextInfo,
) -> Result<wa::Message, Refusal> {
    let (DraftContent::Text { text, .. } | DraftContent::File { caption: text, .. }) = &draft.content else {
        return Err(Refusal::new(
            "WhatsApp can change only words, not places. Please delete the message and send it again.",
        ));
    };
    let words = write(draft, text, resolved, context)?;
    let mut message = wa::Message::default();
    if original.image_message.is_set() {
        message.image_message =
            MessageField::some(wa::message::ImageMessage { caption: Some(words), ..Default::default() });
    } else if original.video_message.is_set() {
        message.video_message =
            MessageField::some(wa::message::VideoMessage { caption: Some(words), ..Default::default() });
    } else if original.document_message.is_set() {
        message.document_message =
            MessageField::some(wa::message::DocumentMessage { caption: Some(words), ..Default::default() });
    } else if original.conversation.is_some() || original.extended_text_message.is_set() {
        return make(draft, resolved, context);
    } else {
        return Err(Refusal::new(
            "WhatsApp can change only texts and captions. Please delete the message and send it again.",
        ));
    }
    Ok(message)
}
