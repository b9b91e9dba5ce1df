//! A small copy of a message, kept to be quoted in answers to it, and the words of a quoted one.
//!
//! The phone of a person who does not have the original shows the copy: its words, its kind, its small picture. Keys
//! and places of files are left out, so that a quote gives nobody a file.

mod said;

use super::incoming;
use super::words;
use whatsapp_rust::prelude::{MessageField, wa};
use whatsapp_rust::waproto::codec::{message_decode, message_encoded_len, message_to_vec};

pub use said::in_words;

/// Bytes of a copy.
pub const MAX_BYTES: usize = 8 * 1024;
/// Bytes of a message's secret.
const SECRET: usize = 32;
/// Bytes of a secret as it stands behind a copy.
const MAX_SECRET: usize = 64;
/// Bytes of the words in a copy; the phone shows three lines.
const MAX_WORDS: usize = 3_000;
/// Bytes of a name in a copy.
const MAX_NAME: usize = 300;
/// Bytes of the small picture in a copy.
const MAX_PICTURE: usize = 4 * 1024;

/// A bounded copy of a message fit to be quoted.
pub fn compact(message: &wa::Message) -> Vec<u8> {
    let mut copy = copy_of(incoming::opened(message));
    if message_encoded_len(&copy) > MAX_BYTES {
        drop_pictures(&mut copy);
    }
    if message_encoded_len(&copy) > MAX_BYTES {
        // Nothing of ours is that long; whatever it is, its words are enough.
        copy = wa::Message {
            conversation: Some(words::cut(&in_words(message), MAX_WORDS).to_owned()),
            ..Default::default()
        };
    }
    message_to_vec(&copy)
}

/// A [`compact`] copy with the message's secret behind it, for what may be sealed with that one day. A poll's secret is left
/// out: it is kept with the poll.
pub fn keep(message: &wa::Message) -> Vec<u8> {
    let mut kept = compact(message);
    let base = incoming::opened(message);
    let secret = [message, base].into_iter().find_map(|one| one.message_context_info.message_secret.clone());
    if let Some(secret) = secret.filter(|secret| secret.len() == SECRET && incoming::poll_of(base).is_none()) {
        let info = wa::MessageContextInfo { message_secret: Some(secret), ..Default::default() };
        // Encoded messages behind each other read as one.
        kept.extend(message_to_vec(&wa::Message {
            message_context_info: MessageField::some(info),
            ..Default::default()
        }));
    }
    kept
}

/// A copy read again, without the secret; `None` when it is none.
pub fn read(bytes: &[u8]) -> Option<wa::Message> {
    let mut copy = read_whole(bytes)?;
    copy.message_context_info = MessageField::none();
    Some(copy)
}

/// The secret that [`keep`] kept.
pub fn secret(bytes: &[u8]) -> Option<Vec<u8>> {
    read_whole(bytes)?.message_context_info.message_secret.clone().filter(|secret| secret.len() == SECRET)
}

fn read_whole(bytes: &[u8]) -> Option<wa::Message> {
    if bytes.len() > MAX_BYTES + MAX_SECRET {
        return None;
    }
    message_decode(bytes).ok()
}

fn short(text: Option<&String>) -> Option<String> {
    text.map(|text| words::cut(text, MAX_WORDS).to_owned())
}

fn name(text: Option<&String>) -> Option<String> {
    text.map(|text| words::cut(text, MAX_NAME).to_owned())
}

fn picture(bytes: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    bytes.filter(|bytes| bytes.len() <= MAX_PICTURE).cloned()
}

fn copy_of(base: &wa::Message) -> wa::Message {
    let mut copy = wa::Message { conversation: short(base.conversation.as_ref()), ..Default::default() };
    if let Some(text) = base.extended_text_message.as_option() {
        // Without its preview, a text is a plain one.
        copy.conversation = short(text.text.as_ref());
    }
    copy.image_message = base
        .image_message
        .as_option()
        .map(|image| wa::message::ImageMessage {
            mimetype: name(image.mimetype.as_ref()),
            caption: short(image.caption.as_ref()),
            width: image.width,
            height: image.height,
            jpeg_thumbnail: picture(image.jpeg_thumbnail.as_ref()),
            ..Default::default()
        })
        .into();
    let film = |video: &wa::message::VideoMessage| wa::message::VideoMessage {
        mimetype: name(video.mimetype.as_ref()),
        caption: short(video.caption.as_ref()),
        seconds: video.seconds,
        gif_playback: video.gif_playback,
        width: video.width,
        height: video.height,
        jpeg_thumbnail: picture(video.jpeg_thumbnail.as_ref()),
        ..Default::default()
    };
    copy.video_message = base.video_message.as_option().map(film).into();
    copy.ptv_message = base.ptv_message.as_option().map(film).into();
    copy.audio_message = base
        .audio_message
        .as_option()
        .map(|audio| wa::message::AudioMessage {
            mimetype: name(audio.mimetype.as_ref()),
            seconds: audio.seconds,
            ptt: audio.ptt,
            ..Default::default()
        })
        .into();
    copy.document_message = base
        .document_message
        .as_option()
        .map(|file| wa::message::DocumentMessage {
            mimetype: name(file.mimetype.as_ref()),
            title: name(file.title.as_ref()),
            file_name: name(file.file_name.as_ref()),
            page_count: file.page_count,
            caption: short(file.caption.as_ref()),
            jpeg_thumbnail: picture(file.jpeg_thumbnail.as_ref()),
            ..Default::default()
        })
        .into();
    copy.sticker_message = base
        .sticker_message
        .as_option()
        .map(|sticker| wa::message::StickerMessage {
            mimetype: name(sticker.mimetype.as_ref()),
            width: sticker.width,
            height: sticker.height,
            is_animated: sticker.is_animated,
            png_thumbnail: picture(sticker.png_thumbnail.as_ref()),
            ..Default::default()
        })
        .into();
    copy_places_and_people(base, &mut copy);
    copy_events(base, &mut copy);
    if message_encoded_len(&copy) == 0 {
        copy.conversation = Some(words::cut(&in_words(base), MAX_WORDS).to_owned());
    }
    copy
}

fn copy_places_and_people(base: &wa::Message, copy: &mut wa::Message) {
    copy.location_message = base
        .location_message
        .as_option()
        .map(|place| wa::message::LocationMessage {
            degrees_latitude: place.degrees_latitude,
            degrees_longitude: place.degrees_longitude,
            name: name(place.name.as_ref()),
            address: name(place.address.as_ref()),
            jpeg_thumbnail: picture(place.jpeg_thumbnail.as_ref()),
            ..Default::default()
        })
        .into();
    copy.live_location_message = base
        .live_location_message
        .as_option()
        .map(|place| wa::message::LiveLocationMessage {
            degrees_latitude: place.degrees_latitude,
            degrees_longitude: place.degrees_longitude,
            caption: short(place.caption.as_ref()),
            jpeg_thumbnail: picture(place.jpeg_thumbnail.as_ref()),
            ..Default::default()
        })
        .into();
    copy.contact_message = base
        .contact_message
        .as_option()
        .map(|contact| wa::message::ContactMessage {
            display_name: name(contact.display_name.as_ref()),
            vcard: contact.vcard.clone().filter(|card| card.len() <= MAX_WORDS),
            ..Default::default()
        })
        .into();
    copy.contacts_array_message = base
        .contacts_array_message
        .as_option()
        .map(|array| wa::message::ContactsArrayMessage {
            display_name: name(array.display_name.as_ref()),
            ..Default::default()
        })
        .into();
}

fn copy_events(base: &wa::Message, copy: &mut wa::Message) {
    copy.poll_creation_message_v3 = incoming::poll_of(base)
        .map(|poll| wa::message::PollCreationMessage {
            name: name(poll.name.as_ref()),
            options: poll
                .options
                .iter()
                .take(12)
                .map(|option| wa::message::poll_creation_message::Option {
                    option_name: name(option.option_name.as_ref()),
                    ..Default::default()
                })
                .collect(),
            selectable_options_count: poll.selectable_options_count,
            ..Default::default()
        })
        .into();
    copy.event_message = base
        .event_message
        .as_option()
        .map(|event| wa::message::EventMessage {
            name: name(event.name.as_ref()),
            start_time: event.start_time,
            ..Default::default()
        })
        .into();
    copy.group_invite_message = base
        .group_invite_message
        .as_option()
        .map(|invite| wa::message::GroupInviteMessage {
            group_name: name(invite.group_name.as_ref()),
            caption: short(invite.caption.as_ref()),
            ..Default::default()
        })
        .into();
}

fn drop_pictures(copy: &mut wa::Message) {
    macro_rules! drop {
        ($($kind:ident . $field:ident),+ $(,)?) => {
            $(if let Some(kind) = copy.$kind.as_option_mut() {
                kind.$field = None;
            })+
        };
    }
    drop!(
        image_message.jpeg_thumbnail,
        video_message.jpeg_thumbnail,
        ptv_message.jpeg_thumbnail,
        document_message.jpeg_thumbnail,
        sticker_message.png_thumbnail,
        location_message.jpeg_thumbnail,
        live_location_message.jpeg_thumbnail,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_secret(mut message: wa::Message, secret: Vec<u8>) -> wa::Message {
        message.message_context_info.get_or_insert_default().message_secret = Some(secret);
        message
    }

    #[test]
    fn a_kept_copy_gives_its_secret_to_nobody_but_us() {
        let text = wa::Message { conversation: Some("hello".into()), ..Default::default() };
        let kept = keep(&with_secret(text.clone(), vec![7; 32]));
        assert_eq!(secret(&kept), Some(vec![7; 32]));
        assert_eq!(read(&kept), read(&compact(&text)), "what is quoted carries no secret");
        assert_eq!(keep(&text), compact(&text));
        assert_eq!(secret(&keep(&with_secret(text, vec![7; 31]))), None);
    }

    #[test]
    fn the_secret_of_a_poll_is_not_kept_with_its_copy() {
        let poll = wa::message::PollCreationMessage { name: Some("Lunch?".into()), ..Default::default() };
        let poll = wa::Message { poll_creation_message_v3: MessageField::some(poll), ..Default::default() };
        assert_eq!(secret(&keep(&with_secret(poll, vec![7; 32]))), None);
    }

    #[test]
    fn the_largest_copy_is_read_again_with_its_secret() {
        let long = wa::Message { conversation: Some("x".repeat(100_000)), ..Default::default() };
        let kept = keep(&with_secret(long, vec![7; 32]));
        assert!(kept.len() <= MAX_BYTES + MAX_SECRET && read(&kept).is_some() && secret(&kept).is_some());
    }
}
