//! What businesses send: buttons, lists, templates, interactive messages, products, orders.
//!
//! The words come as a text, the picture as a file with the words beside it; links stay links, and what can be
//! pressed is numbered ([`choices`]).

use super::frame::Frame;
use super::media::{self, Film};
use super::place;
use crate::convert::choices;
use crate::convert::part::MxPart;
use crate::convert::words;
use serde_json::{Map, Value};
use whatsapp_rust::prelude::wa;

/// Cards of a carousel.
const MAX_CARDS: usize = 10;

/// What stands above the words.
#[derive(Default)]
enum Header<'m> {
    #[default]
    None,
    Text(&'m str),
    Image(&'m wa::message::ImageMessage),
    Video(&'m wa::message::VideoMessage),
    Document(&'m wa::message::DocumentMessage),
    Location(&'m wa::message::LocationMessage),
    Product(&'m wa::message::ProductMessage),
}

/// A message in pieces.
#[derive(Default)]
struct Sheet<'m> {
    kind: &'static str,
    header: Header<'m>,
    title: Option<&'m str>,
    words: Vec<&'m str>,
    footer: Option<&'m str>,
    /// Lines that lead somewhere: links, numbers to call, codes to copy.
    leads: Vec<String>,
}

impl<'m> Sheet<'m> {
    fn say(&mut self, text: Option<&'m String>) {
        self.words.extend(text.map(String::as_str).filter(|text| !text.trim().is_empty()));
    }

    fn show(self, frame: &Frame<'_>, hints: Vec<String>) -> Vec<MxPart> {
        let mut lines: Vec<String> = Vec::new();
        if let Header::Text(text) = self.header {
            lines.push(bold(text));
        }
        lines.extend(self.title.filter(|title| !title.trim().is_empty()).map(bold));
        if let Header::Location(location) = self.header {
            lines.extend(place::describe(location));
            lines.extend(place::uri(location));
        }
        if let Header::Product(product) = self.header {
            lines.extend(product_lines(product));
        }
        lines.extend(self.words.into_iter().map(str::to_owned));
        lines.extend(self.leads);
        if let Some(footer) = self.footer.filter(|footer| !footer.trim().is_empty()) {
            lines.push(String::new());
            lines.push(footer.to_owned());
        }
        lines.extend(hints);
        let text = lines.join("\n");
        let caption = Some(text.as_str());
        let mut parts = match self.header {
            Header::Image(image) => media::image(frame, image, caption),
            Header::Video(video) => media::video(frame, video, Film::Plain, caption),
            Header::Document(document) => media::document(frame, document, caption),
            Header::Product(product) if product.product.product_image.is_set() => {
                media::image(frame, &product.product.product_image, caption)
            }
            _ if text.trim().is_empty() => frame
                .notice("A message of a business came without words. Please open WhatsApp on your phone to see it."),
            _ => frame.text("m.text", &text, Map::new()),
        };
        if let Some(first) = parts.first_mut() {
            first.content["fi.mau.whatsapp.business_message_type"] = self.kind.into();
        }
        parts
    }
}

/// A heading; when it has marks of its own it stays as it is.
fn bold(text: &str) -> String {
    let line = words::line(text, 300);
    if line.is_empty() || line.contains(['*', '_', '~', '`']) { line } else { format!("*{line}*") }
}

pub(super) fn buttons(frame: &Frame<'_>, message: &wa::message::ButtonsMessage) -> Vec<MxPart> {
    use wa::message::buttons_message::Header as Kind;
    let mut sheet = Sheet { kind: "buttons", footer: message.footer_text.as_deref(), ..Default::default() };
    sheet.header = match &message.header {
        Some(Kind::Text(text)) => Header::Text(text),
        Some(Kind::ImageMessage(image)) => Header::Image(image),
        Some(Kind::VideoMessage(video)) => Header::Video(video),
        Some(Kind::DocumentMessage(document)) => Header::Document(document),
        Some(Kind::LocationMessage(location)) => Header::Location(location),
        None => Header::None,
    };
    sheet.say(message.content_text.as_ref());
    for flow in message.buttons.iter().filter_map(|button| button.native_flow_info.as_option()) {
        sheet.leads.extend(lead(flow.name.as_deref(), flow.params_json.as_deref()));
    }
    sheet.show(frame, hints(frame))
}

pub(super) fn list(frame: &Frame<'_>, message: &wa::message::ListMessage) -> Vec<MxPart> {
    let mut sheet = Sheet {
        kind: "list",
        title: message.title.as_deref(),
        footer: message.footer_text.as_deref(),
        ..Default::default()
    };
    sheet.say(message.description.as_ref());
    let products =
        message.product_list_info.product_sections.iter().map(|section| section.products.len()).sum::<usize>();
    if products > 0 {
        sheet
            .leads
            .push(format!("({} to look at in WhatsApp on your phone)", words::count_of(products as u64, "product")));
    }
    sheet.show(frame, hints(frame))
}

pub(super) fn template(frame: &Frame<'_>, message: &wa::message::TemplateMessage) -> Vec<MxPart> {
    use wa::message::template_message::{Format, hydrated_four_row_template::Title};
    if let Some(interactive) = choices::interactive_of(frame.opened.base) {
        return self::interactive(frame, interactive);
    }
    let mut sheet = Sheet { kind: "template", ..Default::default() };
    if let Some(inner) = choices::template_of(frame.opened.base) {
        sheet.header = match &inner.title {
            Some(Title::HydratedTitleText(text)) => Header::Text(text),
            Some(Title::ImageMessage(image)) => Header::Image(image),
            Some(Title::VideoMessage(video)) => Header::Video(video),
            Some(Title::DocumentMessage(document)) => Header::Document(document),
            Some(Title::LocationMessage(location)) => Header::Location(location),
            None => Header::None,
        };
        sheet.say(inner.hydrated_content_text.as_ref());
        sheet.footer = inner.hydrated_footer_text.as_deref();
        sheet.leads = inner.hydrated_buttons.iter().filter_map(template_lead).collect();
    } else if let Some(Format::FourRowTemplate(inner)) = &message.format {
        sheet.words.extend(structured_words(&inner.content));
        sheet.footer = structured_words(&inner.footer);
    }
    let id = message.template_id.as_deref().map(|id| words::line(id, 100));
    let mut parts = sheet.show(frame, hints(frame));
    if let (Some(first), Some(id)) = (parts.first_mut(), id) {
        first.content["fi.mau.whatsapp.hydrated_template_id"] = id.into();
    }
    parts
}

fn template_lead(button: &wa::HydratedTemplateButton) -> Option<String> {
    use wa::hydrated_template_button::HydratedButton;
    match button.hydrated_button.as_ref()? {
        HydratedButton::UrlButton(url) => link(url.display_text.as_deref(), url.url.as_deref()),
        HydratedButton::CallButton(call) => phone(call.display_text.as_deref(), call.phone_number.as_deref()),
        HydratedButton::QuickReplyButton(_) => None,
    }
}

/// A structured message of the oldest kind: its text for clients that can not put it together.
fn structured_words(message: &wa::message::HighlyStructuredMessage) -> Option<&str> {
    let params = message.params.iter().map(String::as_str).find(|text| !text.trim().is_empty());
    params.or(message.element_name.as_deref()).filter(|text| !text.trim().is_empty())
}

pub(super) fn structured(frame: &Frame<'_>, message: &wa::message::HighlyStructuredMessage) -> Vec<MxPart> {
    if let Some(template) = message.hydrated_hsm.as_option() {
        return self::template(frame, template);
    }
    let mut sheet = Sheet { kind: "template", ..Default::default() };
    sheet.words = message.params.iter().map(String::as_str).collect();
    if sheet.words.is_empty() {
        sheet.words.extend(message.element_name.as_deref());
    }
    sheet.show(frame, Vec::new())
}

pub(super) fn interactive(frame: &Frame<'_>, message: &wa::message::InteractiveMessage) -> Vec<MxPart> {
    use wa::message::interactive_message::InteractiveMessage as Kind;
    let sheet = interactive_sheet(message);
    let Some(Kind::CarouselMessage(carousel)) = &message.interactive_message else {
        return sheet.show(frame, hints(frame));
    };
    let mut parts = Vec::new();
    if !sheet.words.is_empty() || !matches!(sheet.header, Header::None) {
        parts.extend(sheet.show(frame, Vec::new()));
    }
    let cards: Vec<_> = carousel.cards.iter().take(MAX_CARDS).collect();
    for (at, card) in cards.iter().enumerate() {
        let last = at + 1 == cards.len();
        // All buttons of all cards are numbered through, under the last one.
        parts.extend(interactive_sheet(card).show(frame, if last { hints(frame) } else { Vec::new() }));
    }
    if parts.is_empty() {
        frame.notice("A message of a business came without words. Please open WhatsApp on your phone to see it.")
    } else {
        parts
    }
}

fn interactive_sheet(message: &wa::message::InteractiveMessage) -> Sheet<'_> {
    use wa::message::interactive_message::{InteractiveMessage as Kind, header::Media};
    let mut sheet = Sheet {
        kind: "interactive",
        title: message.header.title.as_deref(),
        footer: message.footer.text.as_deref(),
        ..Default::default()
    };
    sheet.say(message.header.subtitle.as_ref());
    sheet.header = match &message.header.media {
        Some(Media::ImageMessage(image)) => Header::Image(image),
        Some(Media::VideoMessage(video)) => Header::Video(video),
        Some(Media::DocumentMessage(document)) => Header::Document(document),
        Some(Media::LocationMessage(location)) => Header::Location(location),
        Some(Media::ProductMessage(product)) => Header::Product(product),
        Some(Media::JpegThumbnail(_)) | None => Header::None,
    };
    sheet.say(message.body.text.as_ref());
    match &message.interactive_message {
        Some(Kind::NativeFlowMessage(flow)) => {
            for button in flow.buttons.iter().take(50) {
                sheet.leads.extend(lead(button.name.as_deref(), button.button_params_json.as_deref()));
            }
        }
        Some(Kind::ShopStorefrontMessage(_)) => {
            sheet.leads.push("(A shop to look at in WhatsApp on your phone)".to_owned())
        }
        Some(Kind::CollectionMessage(_)) => {
            sheet.leads.push("(A collection to look at in WhatsApp on your phone)".to_owned())
        }
        Some(Kind::CarouselMessage(_)) | None => {}
    }
    sheet
}

/// A button that leads somewhere, as a line.
fn lead(name: Option<&str>, parameters: Option<&str>) -> Option<String> {
    let parameters: Value = choices::read_parameters(parameters);
    let text = |key: &str| parameters[key].as_str();
    match name? {
        "cta_url" => link(text("display_text"), text("url")),
        "cta_call" => phone(text("display_text"), text("phone_number").or(text("id"))),
        "cta_copy" => {
            let code = words::line(text("copy_code")?, 200);
            Some(format!("{}: `{code}`", words::line(text("display_text").unwrap_or("Code"), 100)))
        }
        "quick_reply" | "single_select" => None,
        other => {
            let shown = text("display_text").unwrap_or(other).replace('_', " ");
            Some(format!("({}: only in WhatsApp on your phone)", words::line(&shown, 100)))
        }
    }
}

fn link(label: Option<&str>, url: Option<&str>) -> Option<String> {
    let url = words::web_address(url?)?;
    Some(format!("{}: {url}", words::line(label.unwrap_or("Link"), 100)))
}

fn phone(label: Option<&str>, number: Option<&str>) -> Option<String> {
    Some(format!("{}: {}", words::line(label.unwrap_or("Call"), 100), words::line(number?, 40)))
}

fn hints(frame: &Frame<'_>) -> Vec<String> {
    choices::hint(frame.opened.base, frame.context.from_me)
}

fn product_lines(message: &wa::message::ProductMessage) -> Vec<String> {
    let product = &message.product;
    let mut lines = Vec::new();
    lines.extend(product.title.as_deref().map(bold));
    if let Some(price) = product.price_amount1000 {
        let currency = product.currency_code.as_deref().unwrap_or_default();
        let shown = words::money(price, currency);
        lines.push(match product.sale_price_amount1000.filter(|sale| *sale > 0) {
            Some(sale) => format!("{} (before {shown})", words::money(sale, currency)),
            None => shown,
        });
    }
    lines.extend(product.description.clone().filter(|text| !text.trim().is_empty()));
    lines.extend(product.url.as_deref().and_then(words::web_address).map(str::to_owned));
    lines
}

pub(super) fn product(frame: &Frame<'_>, message: &wa::message::ProductMessage) -> Vec<MxPart> {
    let mut sheet = Sheet { kind: "product", footer: message.footer.as_deref(), ..Default::default() };
    if message.product.is_set() {
        sheet.header = Header::Product(message);
    } else if let Some(catalog) = message.catalog.as_option() {
        if let Some(image) = catalog.catalog_image.as_option() {
            sheet.header = Header::Image(image);
        }
        sheet.title = catalog.title.as_deref();
        sheet.say(catalog.description.as_ref());
    }
    sheet.say(message.body.as_ref());
    sheet.show(frame, Vec::new())
}
