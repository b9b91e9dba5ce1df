//! The messages that press choices.

use super::{Choice, Press};
use crate::convert::Refusal;
use crate::convert::outgoing::Quoted;
use serde_json::json;
use whatsapp_rust::prelude::{MessageExt as _, MessageField, wa};

/// The message that presses a choice. `quoted` is the message with the choices, which services expect to see quoted.
///
/// # Errors
/// [`Refusal`] for an answer to an event, which the bridge seals itself.
pub fn answer(choice: &Choice, quoted: Option<&Quoted>) -> Result<wa::Message, Refusal> {
    let mut message = wa::Message::default();
    match &choice.press {
        Press::Button { id } => {
            use wa::message::buttons_response_message::{Response, Type};
            message.buttons_response_message = MessageField::some(wa::message::ButtonsResponseMessage {
                selected_button_id: Some(id.clone()),
                r#type: Some(Type::DISPLAY_TEXT),
                response: Some(Response::SelectedDisplayText(choice.label.clone())),
                ..Default::default()
            });
        }
        Press::Template { id, index } => {
            message.template_button_reply_message = MessageField::some(wa::message::TemplateButtonReplyMessage {
                selected_id: Some(id.clone()),
                selected_display_text: Some(choice.label.clone()),
                selected_index: Some(*index),
                ..Default::default()
            });
        }
        Press::Row { id, description } => {
            use wa::message::list_response_message::{ListType, SingleSelectReply};
            message.list_response_message = MessageField::some(wa::message::ListResponseMessage {
                title: Some(choice.label.clone()),
                list_type: Some(ListType::SINGLE_SELECT),
                single_select_reply: MessageField::some(SingleSelectReply { selected_row_id: Some(id.clone()) }),
                description: Some(description.clone()).filter(|text| !text.is_empty()),
                ..Default::default()
            });
        }
        Press::Flow { name, id } => {
            use wa::message::interactive_response_message::{
                Body, InteractiveResponseMessage as Kind, NativeFlowResponseMessage,
            };
            let parameters = json!({ "id": id, "description": choice.label });
            message.interactive_response_message = MessageField::some(wa::message::InteractiveResponseMessage {
                body: MessageField::some(Body { text: Some(choice.label.clone()), ..Default::default() }),
                interactive_response_message: Some(Kind::NativeFlowResponseMessage(Box::new(
                    NativeFlowResponseMessage {
                        name: Some(name.clone()),
                        params_json: Some(parameters.to_string()),
                        version: Some(3),
                    },
                ))),
                ..Default::default()
            });
        }
        Press::Rsvp { .. } => {
            return Err(Refusal::new(
                "The answer to the event's invitation could not be sent. Please answer it in WhatsApp.",
            ));
        }
    }
    if let Some(quoted) = quoted {
        message.set_context_info(quoted.context());
    }
    Ok(message)
}
