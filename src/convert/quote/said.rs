//! A message said in a few words, for quotes.

use crate::convert::{choices, incoming, words};
use whatsapp_rust::prelude::{MessageField, wa};

/// A message in words: its text, or what it is.
pub fn in_words(message: &wa::Message) -> String {
    let base = incoming::opened(message);
    let with = |what: &str, text: Option<&String>| match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => format!("{what} {text}"),
        None => what.to_owned(),
    };
    fn set<T: Default>(field: &MessageField<T>) -> Option<&T> {
        field.as_option()
    }
    if let Some(text) = base.conversation.as_deref().or(base.extended_text_message.text.as_deref()) {
        return text.to_owned();
    }
    if let Some(image) = set(&base.image_message) {
        return with("🖼 Photo", image.caption.as_ref());
    }
    if let Some(video) = set(&base.video_message).or(set(&base.ptv_message)) {
        return with(if video.gif_playback == Some(true) { "GIF" } else { "🎥 Video" }, video.caption.as_ref());
    }
    if let Some(audio) = set(&base.audio_message) {
        let what = if audio.ptt == Some(true) { "🎤 Voice message" } else { "🎵 Audio" };
        return audio
            .seconds
            .map_or(what.to_owned(), |seconds| format!("{what} ({})", words::clock(u64::from(seconds))));
    }
    let line = |text: Option<&String>| text.map(|text| words::line(text, 300));
    if let Some(file) = set(&base.document_message) {
        let caption = file.caption.clone().filter(|caption| !caption.is_empty());
        let text = caption.or(line(file.file_name.as_ref())).or(line(file.title.as_ref()));
        return with("📄", text.as_ref());
    }
    if let Some(poll) = incoming::poll_of(base) {
        return with("📊 Poll:", line(poll.name.as_ref()).as_ref());
    }
    if let Some(words) = business_words(base) {
        return words;
    }
    let rest = [
        (base.sticker_message.is_set(), "Sticker", base.sticker_message.accessibility_label.as_ref()),
        (base.sticker_pack_message.is_set(), "Sticker pack:", base.sticker_pack_message.name.as_ref()),
        (base.location_message.is_set(), "📍 Location", base.location_message.name.as_ref()),
        (base.live_location_message.is_set(), "📍 Live location", base.live_location_message.caption.as_ref()),
        (base.contact_message.is_set(), "👤", base.contact_message.display_name.as_ref()),
        (base.contacts_array_message.is_set(), "👥", base.contacts_array_message.display_name.as_ref()),
        (base.event_message.is_set(), "📅", base.event_message.name.as_ref()),
        (base.event_invite_message.is_set(), "📅", base.event_invite_message.event_title.as_ref()),
        (base.group_invite_message.is_set(), "Group invitation:", base.group_invite_message.group_name.as_ref()),
        (base.order_message.is_set(), "🛒 Order:", base.order_message.order_title.as_ref()),
        (base.invoice_message.is_set(), "🧾 Invoice:", base.invoice_message.note.as_ref()),
        (base.album_message.is_set(), "🖼 Album", None),
        (base.call_log_messsage.is_set(), "📞 Call", None),
        (base.send_payment_message.is_set() || base.request_payment_message.is_set(), "💸 Payment", None),
    ];
    match rest.into_iter().find(|(is, ..)| *is) {
        Some((_, what, text)) => with(what, line(text).as_ref()),
        None => "A message".to_owned(),
    }
}

/// The words of what businesses send and what is answered to them.
fn business_words(base: &wa::Message) -> Option<String> {
    use wa::message::buttons_response_message::Response;
    let pressed = base.buttons_response_message.response.as_ref().map(|Response::SelectedDisplayText(label)| label);
    let product = &base.product_message;
    let words = [
        base.buttons_message.content_text.as_ref(),
        base.list_message.description.as_ref(),
        base.list_message.title.as_ref(),
        choices::template_of(base).and_then(|template| template.hydrated_content_text.as_ref()),
        choices::interactive_of(base).and_then(|interactive| interactive.body.text.as_ref()),
        product.product.title.as_ref().or(product.catalog.title.as_ref()),
        base.highly_structured_message.params.first(),
        pressed,
        base.list_response_message.title.as_ref(),
        base.template_button_reply_message.selected_display_text.as_ref(),
        base.interactive_response_message.body.text.as_ref(),
        base.poll_result_snapshot_message.name.as_ref(),
    ];
    words.into_iter().flatten().find(|text| !text.trim().is_empty()).cloned()
}
