//! A small copy of a message, kept to be quoted in answers to it, and the words of a quoted one.
//!
//! The phone of a person who does not have the original shows the copy: its words, its kind, its small picture. Keys
//! and places of files are left out, so that a quote gives nobody a file.

mod said;

use super::incoming;
use super::words;
use whatsapp_rust::prelude::wa;
use whatsapp_rust::waproto::codec::{message_decode, message_encoded_len, message_to_vec};

pub use said::in_words;

/// Bytes of a copy.
pub const MAX_BYTES: usize = 8 * 1024;
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

/// A copy read again; `None` when it is none.
pub fn read(bytes: &[u8]) -> Option<wa::Message> {
    if bytes.len() > MAX_BYTES {
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
