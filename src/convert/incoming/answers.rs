//! What somebody pressed: the words of their choice.

use super::frame::Frame;
use crate::convert::choices::read_parameters;
use crate::convert::part::MxPart;
use crate::convert::words;
use serde_json::{Map, Value, json};
use whatsapp_rust::prelude::wa;

fn text(frame: &Frame<'_>, label: &str, otherwise: &str, key: &str, value: Value) -> Vec<MxPart> {
    let label = if label.trim().is_empty() { otherwise } else { label };
    let mut extra = Map::new();
    extra.insert(key.into(), value);
    frame.text("m.text", label, extra)
}

fn id(id: Option<&String>) -> String {
    words::line(id.map(String::as_str).unwrap_or_default(), 200)
}

pub(super) fn button(frame: &Frame<'_>, answer: &wa::message::ButtonsResponseMessage) -> Vec<MxPart> {
    use wa::message::buttons_response_message::Response;
    let label = match &answer.response {
        Some(Response::SelectedDisplayText(label)) => label.as_str(),
        None => "",
    };
    let selected = json!({ "selected_button_id": id(answer.selected_button_id.as_ref()) });
    text(frame, label, "Pressed a button", "fi.mau.whatsapp.buttons_response_message", selected)
}

pub(super) fn row(frame: &Frame<'_>, answer: &wa::message::ListResponseMessage) -> Vec<MxPart> {
    let mut label = answer.title.clone().unwrap_or_default();
    if let Some(description) = answer.description.as_deref().filter(|text| !text.trim().is_empty()) {
        label.push('\n');
        label.push_str(description);
    }
    let selected = json!({ "row_id": id(answer.single_select_reply.selected_row_id.as_ref()) });
    text(frame, &label, "Chose from a list", "fi.mau.whatsapp.list_reply", selected)
}

pub(super) fn template(frame: &Frame<'_>, answer: &wa::message::TemplateButtonReplyMessage) -> Vec<MxPart> {
    let selected = json!({ "id": id(answer.selected_id.as_ref()), "index": answer.selected_index.unwrap_or(0) });
    let label = answer.selected_display_text.as_deref().unwrap_or_default();
    text(frame, label, "Pressed a button", "fi.mau.whatsapp.template_button_reply", selected)
}

pub(super) fn flow(frame: &Frame<'_>, answer: &wa::message::InteractiveResponseMessage) -> Vec<MxPart> {
    use wa::message::interactive_response_message::InteractiveResponseMessage as Kind;
    let mut selected = json!({});
    let mut label = answer.body.text.clone().unwrap_or_default();
    if let Some(Kind::NativeFlowResponseMessage(flow)) = &answer.interactive_response_message {
        selected["name"] = id(flow.name.as_ref()).into();
        let parameters = read_parameters(flow.params_json.as_deref());
        if label.trim().is_empty() {
            label = parameters["description"].as_str().unwrap_or_default().to_owned();
        }
        if let Some(chosen) = parameters["id"].as_str() {
            selected["id"] = words::line(chosen, 200).into();
        }
    }
    text(frame, &label, "Answered a form", "fi.mau.whatsapp.interactive_response_message", selected)
}
