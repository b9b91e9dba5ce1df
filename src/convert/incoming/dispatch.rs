//! Which kind a message is, and who reads it.

use super::frame::{Frame, Purpose};
use super::media::Film;
use super::open::{Opened, open};
use super::{
    Context, Effect, about, answers, business, contact, event, invite, media, notices, order, pay, place, poll,
    protocol, sticker, text, unknown,
};
use crate::convert::part::MessageName;
use crate::convert::words;
use whatsapp_rust::prelude::wa;
use whatsapp_rust::waproto::codec::message_encoded_len;

/// Messages inside messages (edits, comments) that are read.
const MAX_DEPTH: usize = 3;
/// Files an album announces at most.
const MAX_ALBUM: u32 = 1_000;

/// Whether a message holds nothing for people: keys, settings and answers between devices.
pub fn is_silent(message: &wa::Message) -> bool {
    let opened = open(message);
    if let Some(protocol) = opened.base.protocol_message.as_option() {
        return !protocol::is_for_people(protocol);
    }
    // A picture to be looked at once, withheld: that it was sent is told.
    !opened.view_once && is_empty(opened.base)
}

/// Only keys, or only a context: nothing was said. By its encoding, as a part that is there with nothing in it compares
/// equal to one that is not.
fn is_empty(base: &wa::Message) -> bool {
    let mut rest = base.clone();
    rest.conversation = rest.conversation.filter(|text| !text.is_empty());
    rest.sender_key_distribution_message = Default::default();
    rest.fast_ratchet_key_sender_key_distribution_message = Default::default();
    rest.message_context_info = Default::default();
    rest.sticker_sync_rmr_message = Default::default();
    rest.group_root_key_share = Default::default();
    rest.root_secret_distribute_message = Default::default();
    message_encoded_len(&rest) == 0
}

pub(super) fn read(message: &wa::Message, context: &Context<'_>, purpose: Purpose, depth: usize) -> Effect {
    if depth > MAX_DEPTH {
        return Effect::Nothing;
    }
    let opened = open(message);
    let frame = Frame::new(&opened, context, purpose);
    let effect = about::read(&frame, context, depth).unwrap_or_else(|| content(&frame, message));
    belongs(effect, &opened, context)
}

/// A better copy or a companion of another message.
fn belongs(effect: Effect, opened: &Opened<'_>, context: &Context<'_>) -> Effect {
    use wa::message_association::AssociationType;
    let Some(association) = opened.association else { return effect };
    let Some(parent) = MessageName::of_field(&association.parent_message_key) else { return effect };
    match (effect, association.association_type) {
        (
            Effect::Say(parts),
            Some(
                AssociationType::HD_IMAGE_DUAL_UPLOAD
                | AssociationType::HD_VIDEO_DUAL_UPLOAD
                | AssociationType::HEVC_VIDEO_DUAL_UPLOAD,
            ),
        ) => Effect::Upgrade { target: parent, parts },
        (Effect::Say(mut parts), Some(AssociationType::EVENT_COVER_IMAGE | AssociationType::MOTION_PHOTO)) => {
            if let Some(first) = parts.first_mut().filter(|_| (context.known)(&parent)) {
                first.reply_to = Some(parent);
            }
            Effect::Say(parts)
        }
        (effect, _) => effect,
    }
}

/// Messages that say something.
fn content(frame: &Frame<'_>, whole: &wa::Message) -> Effect {
    let base = frame.opened.base;
    macro_rules! say {
        ($($field:ident => |$kind:ident| $read:expr),+ $(,)?) => {
            $(if let Some($kind) = base.$field.as_option() {
                return Effect::Say($read);
            })+
        };
    }
    if let Some(text) = base.conversation.as_deref().filter(|text| !text.is_empty()) {
        return Effect::Say(text::plain(frame, text));
    }
    if let Some(live) = base.live_location_message.as_option() {
        return place::live(frame, live);
    }
    if let Some(album) = base.album_message.as_option() {
        return self::album(frame, album);
    }
    if let Some(poll) = poll::creation(base) {
        return Effect::Say(poll::poll(frame, whole, poll));
    }
    if base.extended_text_message.is_set() && base.extended_text_message.text.as_deref().is_none_or(str::is_empty) {
        return Effect::Nothing;
    }
    say! {
        extended_text_message => |one| text::extended(frame, one),
        image_message => |one| media::image(frame, one, one.caption.as_deref()),
        video_message => |one| media::video(frame, one, film(frame), one.caption.as_deref()),
        ptv_message => |one| media::video(frame, one, Film::Round, one.caption.as_deref()),
        audio_message => |one| media::audio(frame, one),
        document_message => |one| media::document(frame, one, one.caption.as_deref()),
        sticker_message => |one| sticker::sticker(frame, one),
        sticker_pack_message => |one| sticker::pack(frame, one),
        location_message => |one| place::location(frame, one),
        contact_message => |one| contact::contact(frame, one),
        contacts_array_message => |one| contact::contacts(frame, one),
        poll_result_snapshot_message => |one| poll::results(frame, one),
        poll_result_snapshot_message_v3 => |one| poll::results(frame, one),
        event_message => |one| event::event(frame, one),
        event_invite_message => |one| event::invite(frame, one),
        group_invite_message => |one| invite::group(frame, one),
        newsletter_admin_invite_message => |one| {
            invite::channel(frame, one.newsletter_name.as_deref(), one.caption.as_deref(), true)
        },
        newsletter_follower_invite_message_v2 => |one| {
            invite::channel(frame, one.newsletter_name.as_deref(), one.caption.as_deref(), false)
        },
        buttons_message => |one| business::buttons(frame, one),
        list_message => |one| business::list(frame, one),
        template_message => |one| business::template(frame, one),
        highly_structured_message => |one| business::structured(frame, one),
        interactive_message => |one| business::interactive(frame, one),
        product_message => |one| business::product(frame, one),
        order_message => |one| order::order(frame, one),
        buttons_response_message => |one| answers::button(frame, one),
        list_response_message => |one| answers::row(frame, one),
        template_button_reply_message => |one| answers::template(frame, one),
        interactive_response_message => |one| answers::flow(frame, one),
        send_payment_message => |one| pay::sent(frame, one),
        request_payment_message => |one| pay::requested(frame, one),
        payment_reminder_message => |one| pay::reminder(frame, one),
        split_payment_message => |one| pay::split(frame, one),
        invoice_message => |one| pay::invoice(frame, one),
        call_log_messsage => |one| notices::call_log(frame, one),
        scheduled_call_creation_message => |one| notices::scheduled_call(frame, one),
        rich_response_message => |one| assistant(frame, one),
    }
    said_in_a_word(frame, base).map_or_else(|| otherwise(frame, base), |said| Effect::Say(frame.notice(said)))
}

/// Kinds that are told in one fixed sentence.
fn said_in_a_word(frame: &Frame<'_>, base: &wa::Message) -> Option<&'static str> {
    let known = [
        (base.decline_payment_request_message.is_set(), "💸 Declined a request for a payment"),
        (base.cancel_payment_request_message.is_set(), "💸 Took back a request for a payment"),
        (base.payment_invite_message.is_set(), "💸 Invites you to use payments in WhatsApp"),
        (base.scheduled_call_edit_message.is_set(), "📅 Cancelled a planned call"),
        (base.bcall_message.is_set() || base.call.is_set(), "📞 A call. Answer it in WhatsApp on your phone."),
        (
            base.placeholder_message.is_set(),
            "This message can't be shown on linked devices. Please open WhatsApp on your phone to see it.",
        ),
        (
            base.message_history_bundle.is_set() || base.message_history_notice.is_set(),
            "Shared earlier messages with a new member",
        ),
        (
            frame.opened.view_once && is_empty(base),
            "This message can't be shown here. Please open WhatsApp on your phone to see it.",
        ),
    ];
    known.into_iter().find(|(is, _)| *is).map(|(_, said)| said)
}

fn otherwise(frame: &Frame<'_>, base: &wa::Message) -> Effect {
    if is_empty(base) {
        return Effect::Nothing;
    }
    if base.request_phone_number_message.is_set() {
        return Effect::Say(invite::number_asked(frame));
    }
    Effect::Say(unknown::unknown(frame, base))
}

fn film(frame: &Frame<'_>) -> Film {
    use wa::message_association::AssociationType;
    match frame.opened.association.and_then(|association| association.association_type) {
        Some(AssociationType::MOTION_PHOTO) => Film::Motion,
        _ => Film::Plain,
    }
}

fn album(frame: &Frame<'_>, album: &wa::message::AlbumMessage) -> Effect {
    let images = album.expected_image_count.unwrap_or(0).min(MAX_ALBUM);
    let videos = album.expected_video_count.unwrap_or(0).min(MAX_ALBUM);
    let mut announced = Vec::new();
    for (count, what) in [(images, "photo"), (videos, "video")] {
        if count > 0 {
            announced.push(words::count_of(u64::from(count), what));
        }
    }
    let text = if announced.is_empty() { "Album".to_owned() } else { format!("Album: {}", announced.join(", ")) };
    Effect::Album { expected: images + videos, parts: frame.notice(&text) }
}

/// What WhatsApp's assistant answers: the words of its pieces.
fn assistant(frame: &Frame<'_>, answer: &wa::AIRichResponseMessage) -> Vec<super::MxPart> {
    let texts: Vec<&str> =
        answer.submessages.iter().take(100).filter_map(|piece| piece.message_text.as_deref()).collect();
    if texts.iter().all(|text| text.trim().is_empty()) {
        return frame.notice(
            "An answer of WhatsApp's assistant that can't be shown here. Please open WhatsApp on your phone to see it.",
        );
    }
    frame.text("m.text", &texts.join("\n\n"), serde_json::Map::new())
}
