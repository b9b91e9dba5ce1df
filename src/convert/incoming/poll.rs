//! Polls: as real poll events (MSC3381), their votes, their end, their results.

use super::frame::{Body, Frame};
use super::{Effect, sealed};
use crate::convert::part::{MessageName, MxPart};
use crate::convert::words;
use crate::derive::hex;
use serde_json::{Map, Value, json};
use whatsapp_rust::prelude::wa;
use whatsapp_rust::wacore::poll::compute_option_hash;

/// Answers of one poll, as the phone takes them.
const MAX_OPTIONS: usize = 12;
/// Characters of an answer or question that is shown; WhatsApp's own limits are 100 and 255.
const MAX_SHOWN: usize = 300;

/// What has to be kept of a poll, for votes to come.
#[derive(Clone, PartialEq, Eq)]
pub struct PollFacts {
    /// What is asked.
    pub question: String,
    /// What can be answered.
    pub options: Vec<PollOption>,
    /// How many may be chosen.
    pub max_selections: usize,
    /// Opens the votes; in the message once only.
    pub secret: Option<Vec<u8>>,
    /// When it ends by itself, seconds since 1970.
    pub ends_at: Option<i64>,
    /// Whether anybody may add answers.
    pub may_grow: bool,
}

impl std::fmt::Debug for PollFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PollFacts({} options)", self.options.len())
    }
}

/// An answer of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollOption {
    /// SHA-256 of its text in hexadecimal: what votes name it by, and its id in Matrix.
    pub id: String,
    /// Its text.
    pub name: String,
}

impl PollOption {
    /// An answer with WhatsApp's id for its text.
    pub fn new(name: &str) -> Self {
        Self { id: hex(&compute_option_hash(name)), name: name.to_owned() }
    }
}

/// The poll in a message, whatever its version.
pub(super) fn creation(base: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
    [
        &base.poll_creation_message,
        &base.poll_creation_message_v2,
        &base.poll_creation_message_v3,
        &base.poll_creation_message_v5,
        &base.poll_creation_message_v6,
    ]
    .into_iter()
    .find_map(|poll| poll.as_option())
}

/// What to keep of a poll; `None` when the message is none.
pub fn facts(message: &wa::Message) -> Option<PollFacts> {
    let opened = super::open::open(message);
    let poll = creation(opened.base)?;
    let secret = [message, opened.base].into_iter().find_map(|one| one.message_context_info.message_secret.clone());
    let mut options: Vec<PollOption> = Vec::new();
    for name in poll.options.iter().filter_map(|option| option.option_name.as_deref()) {
        let option = PollOption::new(name);
        if options.len() < MAX_OPTIONS && !options.contains(&option) {
            options.push(option);
        }
    }
    let count = usize::try_from(poll.selectable_options_count.unwrap_or(0)).unwrap_or(0);
    // 0 means as many as there are.
    let max_selections = if count == 0 { options.len().max(1) } else { count.min(options.len()).max(1) };
    let ends_at = poll.end_time.filter(|time| *time > 0).map(in_seconds);
    let may_grow = poll.allow_add_option == Some(true);
    let question = poll.name.clone().unwrap_or_default();
    Some(PollFacts { question, options, max_selections, secret, ends_at, may_grow })
}

/// Some versions write seconds, some milliseconds.
pub(super) fn in_seconds(time: i64) -> i64 {
    if time > 100_000_000_000 { time / 1_000 } else { time }
}

pub(super) fn poll(frame: &Frame<'_>, message: &wa::Message, poll: &wa::message::PollCreationMessage) -> Vec<MxPart> {
    let Some(facts) = facts(message).filter(|facts| !facts.options.is_empty()) else {
        return frame.notice("A poll without answers came from WhatsApp.");
    };
    let question = words::line(&facts.question, MAX_SHOWN);
    let question = if question.is_empty() { "Poll".to_owned() } else { question };
    let mut notes = Vec::new();
    if poll.poll_type == Some(wa::message::PollType::QUIZ) {
        notes.push("Quiz".to_owned());
    }
    if let Some(end) = facts.ends_at.and_then(words::moment) {
        notes.push(format!("Ends {end}"));
    }
    if poll.hide_participant_name == Some(true) {
        notes.push("Votes are anonymous".to_owned());
    }
    let mut text = in_words(&question, facts.options.iter().map(|option| option.name.as_str()));
    for note in &notes {
        text.push_str(&format!("\n({note})"));
    }
    let asked = if notes.is_empty() { question } else { format!("{question} ({})", notes.join(", ")) };
    let answers: Vec<Value> = facts.options.iter().map(|option| answer(&option.id, &option.name)).collect();
    let mut extra = Map::new();
    extra.insert("org.matrix.msc1767.text".into(), text.as_str().into());
    extra.insert(
        "org.matrix.msc3381.poll.start".into(),
        json!({
            "kind": "org.matrix.msc3381.poll.disclosed",
            "max_selections": facts.max_selections,
            "question": { "org.matrix.msc1767.text": asked, "body": asked, "msgtype": "m.text" },
            "answers": answers,
        }),
    );
    let mut part = frame.part(&Body { plain: text, html: None, people: Vec::new() }, extra);
    part.event_type = "org.matrix.msc3381.poll.start";
    vec![part]
}

/// Question and answers for clients without polls.
fn in_words<'a>(question: &str, answers: impl Iterator<Item = &'a str>) -> String {
    let mut text = question.to_owned();
    for (number, answer) in (1..).zip(answers) {
        text.push_str(&format!("\n{number}. {}", words::line(answer, MAX_SHOWN)));
    }
    text
}

fn answer(id: &str, text: &str) -> Value {
    json!({ "id": id, "org.matrix.msc1767.text": shown(text) })
}

fn shown(text: &str) -> String {
    let line = words::line(text, MAX_SHOWN);
    if line.is_empty() { "(empty)".to_owned() } else { line }
}

/// The content of a poll's event once it asks something else; `answers` are ids and texts. What stood behind the question
/// (when it ends, who sees the votes) stays while the question does.
pub fn changed(content: &Value, question: &str, answers: &[(String, String)], max_selections: usize) -> Value {
    let mut content = content.clone();
    let question = match words::line(question, MAX_SHOWN) {
        empty if empty.is_empty() => "Poll".to_owned(),
        line => line,
    };
    let text = in_words(&question, answers.iter().map(|(_, text)| text.as_str()));
    if let Some(fields) = content.as_object_mut() {
        fields.remove("m.relates_to");
        // The mark of the first event is not that of another.
        fields.remove("org.matrix-whatsapp.part");
    }
    content["body"] = text.as_str().into();
    content["org.matrix.msc1767.text"] = text.into();
    let start = &mut content["org.matrix.msc3381.poll.start"];
    let is_asked_still = start["question"]["body"].as_str().is_some_and(|asked| asked.starts_with(&question));
    if !is_asked_still {
        start["question"] = json!({ "org.matrix.msc1767.text": question, "body": question, "msgtype": "m.text" });
    }
    start["answers"] = answers.iter().map(|(id, text)| answer(id, text)).collect();
    start["max_selections"] = max_selections.into();
    content
}

/// That a poll got another answer, in words: for a poll whose event is not the bridge's to edit.
pub fn grown(option: &PollOption) -> String {
    format!("Added an answer to the poll: {}", shown(&option.name))
}

/// A poll's result in words: each answer and how often it was chosen.
pub fn result(counts: &[(String, u64)]) -> String {
    let line = |(text, count): &(String, u64)| format!("\n- {}: {}", shown(text), words::count_of(*count, "vote"));
    format!("The poll has ended.{}", counts.iter().map(line).collect::<String>())
}

pub(super) fn vote(update: &wa::message::PollUpdateMessage) -> Effect {
    let name = MessageName::of_field(&update.poll_creation_message_key);
    let seal = sealed(update.vote.enc_payload.as_ref(), update.vote.enc_iv.as_ref());
    match (name, seal) {
        (Some(poll), Some(sealed)) => Effect::Vote { poll, sealed, ts_ms: update.sender_timestamp_ms.unwrap_or(0) },
        _ => Effect::Nothing,
    }
}

pub(super) fn added_option(added: &wa::message::PollAddOptionMessage) -> Effect {
    let name = MessageName::of_field(&added.poll_creation_message_key);
    match (name, added.add_option.option_name.as_deref().filter(|name| !name.is_empty())) {
        (Some(poll), Some(option)) => Effect::PollOption { poll, option: PollOption::new(option) },
        _ => Effect::Nothing,
    }
}

pub(super) fn results(frame: &Frame<'_>, results: &wa::message::PollResultSnapshotMessage) -> Vec<MxPart> {
    let mut text = format!("Poll results: {}", words::line(results.name.as_deref().unwrap_or_default(), MAX_SHOWN));
    for vote in results.poll_votes.iter().take(MAX_OPTIONS) {
        let count = u64::try_from(vote.option_vote_count.unwrap_or(0)).unwrap_or(0);
        let option = words::line(vote.option_name.as_deref().unwrap_or_default(), MAX_SHOWN);
        text.push_str(&format!("\n- {option}: {}", words::count_of(count, "vote")));
    }
    frame.text("m.text", &text, Map::new())
}

/// A vote as an event: the whole choice of one person. `answers` are ids as the poll's event has them.
pub fn response(poll_event: &str, answers: &[String]) -> MxPart {
    MxPart::new(
        "org.matrix.msc3381.poll.response",
        json!({
            "m.relates_to": { "rel_type": "m.reference", "event_id": poll_event },
            "org.matrix.msc3381.poll.response": { "answers": answers },
            "m.mentions": {},
        }),
    )
}

/// The end of a poll as an event, with its result in words for clients without polls.
pub fn end(poll_event: &str, text: &str) -> MxPart {
    let text = words::clean(words::cut(text, 4_000));
    MxPart::new(
        "org.matrix.msc3381.poll.end",
        json!({
            "m.relates_to": { "rel_type": "m.reference", "event_id": poll_event },
            "org.matrix.msc3381.poll.end": {},
            "org.matrix.msc1767.text": text,
            "body": text,
            "m.mentions": {},
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_poll_keeps_its_notes_and_loses_its_mark() {
        let first = json!({
            "msgtype": "m.text",
            "org.matrix-whatsapp.part": "mark",
            "org.matrix.msc3381.poll.start": {
                "kind": "org.matrix.msc3381.poll.disclosed",
                "question": { "body": "Lunch? (Quiz)" },
            },
        });
        let answers = [("1".to_owned(), "soup".to_owned()), ("2".to_owned(), " \n".to_owned())];
        let grown = changed(&first, "Lunch?", &answers, 2);
        assert_eq!(grown["body"], "Lunch?\n1. soup\n2. ");
        assert!(grown.get("org.matrix-whatsapp.part").is_none());
        let start = &grown["org.matrix.msc3381.poll.start"];
        assert_eq!(start["question"]["body"], "Lunch? (Quiz)");
        assert_eq!(start["answers"][1], json!({ "id": "2", "org.matrix.msc1767.text": "(empty)" }));
        assert_eq!(
            (&start["max_selections"], &start["kind"]),
            (&json!(2), &json!("org.matrix.msc3381.poll.disclosed"))
        );
        let other = changed(&first, "Dinner?", &answers, 1);
        assert_eq!(other["org.matrix.msc3381.poll.start"]["question"]["body"], "Dinner?");
    }

    #[test]
    fn a_result_counts_in_words() {
        let counts = [("soup".to_owned(), 1), ("a\nb".to_owned(), 2)];
        assert_eq!(result(&counts), "The poll has ended.\n- soup: 1 vote\n- a b: 2 votes");
    }
}
