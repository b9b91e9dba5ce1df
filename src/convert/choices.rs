//! Buttons, lists and invitations, pressed by answering with a number.
//!
//! The text of such a message shows its choices numbered (`hint`); the bridge keeps [`choices`] with the message,
//! finds with [`pick`] what an answer means, and sends [`answer`]. Shapes of the answers: as the phone app and the
//! web client of 2026 send them; a service only reads the id.

mod press;

use super::words;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use whatsapp_rust::prelude::wa;

pub use press::answer;

/// Choices of one message; the phone shows no more of a list.
const MAX_CHOICES: usize = 100;
/// Characters of an id that is sent back.
const MAX_ID: usize = 4_000;

/// Something that can be pressed. Stored as JSON with the message it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What to answer to press it.
    pub number: usize,
    /// What it says, one line.
    pub label: String,
    /// What pressing it sends.
    pub press: Press,
}

/// What is sent back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Press {
    /// A button under a message.
    Button {
        /// The service's name for it.
        id: String,
    },
    /// A button of a template.
    Template {
        /// The service's name for it.
        id: String,
        /// Its place.
        index: u32,
    },
    /// A row of a list.
    Row {
        /// The service's name for it.
        id: String,
        /// More words about it.
        description: String,
    },
    /// A button or row of an interactive message.
    Flow {
        /// The kind of button.
        name: String,
        /// The service's name for it.
        id: String,
    },
    /// An answer to an event's invitation; it is sealed with the event's secret by the bridge.
    Rsvp {
        /// What is answered.
        reply: Rsvp,
    },
}

/// An answer to an event's invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rsvp {
    /// Will come.
    Going,
    /// May come.
    Maybe,
    /// Will not come.
    NotGoing,
}

/// What can be pressed in a message, in the order it is shown. Ids are as the service wrote them.
pub fn choices(message: &wa::Message) -> Vec<Choice> {
    let mut list = List::default();
    let base = super::incoming::opened(message);
    if let Some(buttons) = base.buttons_message.as_option() {
        for button in &buttons.buttons {
            match button.native_flow_info.as_option() {
                Some(flow) => list.flow(flow.name.as_deref(), flow.params_json.as_deref()),
                None => {
                    let id = button.button_id.clone().unwrap_or_default();
                    list.add(button.button_text.display_text.as_deref(), Press::Button { id });
                }
            }
        }
    }
    for row in base.list_message.sections.iter().flat_map(|section| &section.rows) {
        let description = words::line(row.description.as_deref().unwrap_or_default(), 500);
        list.add(row.title.as_deref(), Press::Row { id: row.row_id.clone().unwrap_or_default(), description });
    }
    if let Some(template) = template_of(base) {
        use wa::hydrated_template_button::HydratedButton;
        for (at, button) in (0..).zip(&template.hydrated_buttons) {
            if let Some(HydratedButton::QuickReplyButton(reply)) = &button.hydrated_button {
                let index = button.index.unwrap_or(at);
                list.add(
                    reply.display_text.as_deref(),
                    Press::Template { id: reply.id.clone().unwrap_or_default(), index },
                );
            }
        }
    }
    if let Some(interactive) = interactive_of(base) {
        list.interactive(interactive);
    }
    if base.event_message.is_set() && base.event_message.is_canceled != Some(true) {
        for (label, reply) in [("Going", Rsvp::Going), ("Maybe", Rsvp::Maybe), ("Not going", Rsvp::NotGoing)] {
            list.add(Some(label), Press::Rsvp { reply });
        }
    }
    list.choices
}

/// The template in a message, old or new form.
pub(super) fn template_of(base: &wa::Message) -> Option<&wa::message::template_message::HydratedFourRowTemplate> {
    use wa::message::template_message::Format;
    let template = base.template_message.as_option()?;
    match &template.format {
        Some(Format::HydratedFourRowTemplate(inner)) => Some(inner),
        _ => template.hydrated_template.as_option(),
    }
}

/// The interactive message, alone or in a template.
pub(super) fn interactive_of(base: &wa::Message) -> Option<&wa::message::InteractiveMessage> {
    use wa::message::template_message::Format;
    base.interactive_message.as_option().or(match &base.template_message.format {
        Some(Format::InteractiveMessageTemplate(inner)) => Some(inner),
        _ => None,
    })
}

#[derive(Default)]
struct List {
    choices: Vec<Choice>,
}

impl List {
    fn add(&mut self, label: Option<&str>, press: Press) {
        let label = words::line(label.unwrap_or_default(), 200);
        let id_fits = match &press {
            Press::Button { id } | Press::Template { id, .. } | Press::Row { id, .. } | Press::Flow { id, .. } => {
                id.len() <= MAX_ID
            }
            Press::Rsvp { .. } => true,
        };
        if !label.is_empty() && id_fits && self.choices.len() < MAX_CHOICES {
            self.choices.push(Choice { number: self.choices.len() + 1, label, press });
        }
    }

    fn interactive(&mut self, interactive: &wa::message::InteractiveMessage) {
        use wa::message::interactive_message::InteractiveMessage as Kind;
        match &interactive.interactive_message {
            Some(Kind::NativeFlowMessage(flow)) => {
                for button in &flow.buttons {
                    self.flow(button.name.as_deref(), button.button_params_json.as_deref());
                }
            }
            Some(Kind::CarouselMessage(carousel)) => {
                for card in carousel.cards.iter().take(MAX_CHOICES) {
                    if let Some(Kind::NativeFlowMessage(flow)) = &card.interactive_message {
                        for button in &flow.buttons {
                            self.flow(button.name.as_deref(), button.button_params_json.as_deref());
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn flow(&mut self, name: Option<&str>, parameters: Option<&str>) {
        let parameters = read_parameters(parameters);
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let name = words::line(name.unwrap_or_default(), 60);
        match name.as_str() {
            "quick_reply" => {
                self.add(parameters["display_text"].as_str(), Press::Flow { name, id: text(&parameters, "id") })
            }
            "single_select" => {
                let sections = parameters["sections"].as_array().map_or(&[][..], Vec::as_slice);
                for row in sections.iter().filter_map(|section| section["rows"].as_array()).flatten().take(MAX_CHOICES)
                {
                    let press = Press::Flow { name: name.clone(), id: text(row, "id") };
                    self.add(row["title"].as_str(), press);
                }
            }
            _ => {}
        }
    }
}

/// Parameters of a button; `null` when they are no JSON, or too much of it.
pub(super) fn read_parameters(json: Option<&str>) -> Value {
    json.filter(|json| json.len() <= 64 * 1024).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The numbered choices as lines of a text, and how to press them; nothing when there are none.
pub(super) fn hint(base: &wa::Message, from_me: bool) -> Vec<String> {
    let choices = choices(base);
    let mut lines: Vec<String> = choices
        .iter()
        .map(|choice| match &choice.press {
            Press::Row { description, .. } if !description.is_empty() => {
                format!("{}. {} – {description}", choice.number, choice.label)
            }
            _ => format!("{}. {}", choice.number, choice.label),
        })
        .collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
        if !from_me {
            lines.push(String::new());
            lines.push("Answer this message with a number to choose.".to_owned());
        }
    }
    lines
}

/// What an answer means: a number, or a choice's own words.
pub fn pick<'c>(choices: &'c [Choice], text: &str) -> Option<&'c Choice> {
    let text = text.trim().trim_end_matches('.');
    let number = text.parse::<usize>().ok();
    let by_number = choices.iter().find(|choice| Some(choice.number) == number);
    by_number.or_else(|| choices.iter().find(|choice| choice.label.to_lowercase() == text.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Choice> {
        let press = |id: &str| Press::Button { id: id.to_owned() };
        vec![
            Choice { number: 1, label: "Yes".into(), press: press("y") },
            Choice { number: 2, label: "2024".into(), press: press("n") },
        ]
    }

    #[test]
    fn answers_are_numbers_or_words() {
        let choices = two();
        assert_eq!(pick(&choices, " 2. ").unwrap().label, "2024");
        assert_eq!(pick(&choices, "yes").unwrap().number, 1);
        assert_eq!(pick(&choices, "2024").unwrap().number, 2);
        assert!(pick(&choices, "3").is_none() && pick(&choices, "").is_none());
    }

    #[test]
    fn stored_form_stays_readable() {
        // The form choices were stored in; never to be edited.
        let stored = r#"[{"number":1,"label":"Yes","press":{"kind":"button","id":"y"}},{"number":2,"label":"a","press":{"kind":"template","id":"t","index":1}},{"number":3,"label":"b","press":{"kind":"row","id":"r","description":""}},{"number":4,"label":"c","press":{"kind":"flow","name":"quick_reply","id":"f"}},{"number":5,"label":"d","press":{"kind":"rsvp","reply":"not_going"}}]"#;
        let read: Vec<Choice> = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
        assert!(answer(&read[4], None).is_err());
    }
}
