//! Polls (MSC3381), under their unstable and their stable names.

use super::relation::{event_id, related};
use super::{MAX_OPTION, MAX_OPTIONS, MAX_QUESTION, Plan, PollDraft, Refusal};
use crate::convert::words;
use serde_json::Value;
use whatsapp_rust::wacore::poll::compute_option_hash;

/// A text in one of its forms: `m.text` blocks, the older plain string, or a body.
fn text(value: &Value) -> String {
    let blocks = value["m.text"].as_array().into_iter().flatten();
    let plain = blocks.clone().find(|block| block["mimetype"].as_str().is_none_or(|kind| kind == "text/plain"));
    let text = plain
        .or(value["m.text"].as_array().and_then(|blocks| blocks.first()))
        .and_then(|block| block["body"].as_str())
        .or(value["m.text"].as_str())
        .or(value["org.matrix.msc1767.text"].as_str())
        .or(value["body"].as_str());
    text.unwrap_or_default().to_owned()
}

pub(super) fn start(content: &Value) -> Result<Plan, Refusal> {
    // Sent as it stands, it would be a second poll.
    if content["m.relates_to"]["rel_type"].as_str() == Some("m.replace") {
        return Err(Refusal::new("A poll can't be changed in WhatsApp from here. Please delete it and ask again."));
    }
    let names = ["org.matrix.msc3381.poll.start", "m.poll.start", "m.poll"];
    let Some(poll) = names.iter().find_map(|name| content.get(name)) else {
        return Err(Refusal::new("The poll has no question, so it was not sent."));
    };
    let question = words::line(&text(&poll["question"]), usize::MAX);
    if question.is_empty() {
        return Err(Refusal::new("The poll has no question, so it was not sent."));
    }
    if question.chars().count() > MAX_QUESTION {
        return Err(Refusal::new(format!(
            "WhatsApp takes at most {MAX_QUESTION} characters in a poll's question; please ask a shorter one."
        )));
    }
    let answers = poll["answers"].as_array().map_or(&[][..], Vec::as_slice);
    if answers.len() > MAX_OPTIONS {
        return Err(Refusal::new(format!(
            "WhatsApp takes at most {MAX_OPTIONS} answers in a poll; yours has {}. Please leave some out.",
            answers.len()
        )));
    }
    if answers.len() < 2 {
        return Err(Refusal::new("WhatsApp wants at least 2 answers in a poll; please add one."));
    }
    let mut options: Vec<(String, String)> = Vec::new();
    for answer in answers {
        let id = answer["m.id"].as_str().or(answer["id"].as_str()).unwrap_or_default();
        let name = words::line(&text(answer), usize::MAX);
        if id.is_empty() || name.is_empty() {
            return Err(Refusal::new(
                "An answer of the poll is empty, so it was not sent. Please fill in every answer.",
            ));
        }
        if name.chars().count() > MAX_OPTION {
            return Err(Refusal::new(format!(
                "WhatsApp takes at most {MAX_OPTION} characters in an answer of a poll; “{}” has more.",
                words::line(&name, 30)
            )));
        }
        if options.iter().any(|(_, other)| *other == name) {
            return Err(Refusal::new(format!(
                "WhatsApp takes no two equal answers in a poll; “{name}” is there twice."
            )));
        }
        options.push((id.to_owned(), name));
    }
    let wanted = poll["max_selections"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    let max_selections = wanted.clamp(1, options.len());
    let undisclosed = poll["kind"].as_str().is_some_and(|kind| kind.ends_with("undisclosed"));
    Ok(Plan::Poll(PollDraft { question, options, max_selections, undisclosed }))
}

pub(super) fn response(content: &Value) -> Result<Plan, Refusal> {
    let Some(poll) = related(content, "m.reference") else {
        return Err(Refusal::new("The vote names no poll, so it was not sent."));
    };
    let older = content.get("org.matrix.msc3381.poll.response").or(content.get("m.poll.response"));
    let chosen = content["m.selections"].as_array().or(older.and_then(|older| older["answers"].as_array()));
    let mut answers: Vec<String> = Vec::new();
    for answer in chosen.into_iter().flatten().filter_map(Value::as_str) {
        if answers.len() < MAX_OPTIONS && !answers.iter().any(|other| other == answer) {
            answers.push(answer.to_owned());
        }
    }
    Ok(Plan::Vote { poll, answers })
}

pub(super) fn end(content: &Value) -> Result<Plan, Refusal> {
    let poll = related(content, "m.reference").or_else(|| event_id(&content["m.relates_to"]["event_id"]));
    let text = words::cut(&words::clean(&text(content)), 4_000).trim().to_owned();
    match poll {
        Some(poll) => Ok(Plan::PollEnd { poll, text }),
        None => Err(Refusal::new("The end of the poll names no poll, so it was not sent.")),
    }
}

/// The hashes WhatsApp knows a vote's answers by. `options` has the Matrix id and the text of each of the poll's
/// answers; for a poll from WhatsApp the id *is* the hash.
///
/// # Errors
/// [`Refusal`] when none of the chosen answers is one of the poll's.
pub fn vote_hashes(answers: &[String], options: &[(String, String)]) -> Result<Vec<Vec<u8>>, Refusal> {
    let hashes: Vec<Vec<u8>> = answers
        .iter()
        .filter_map(|answer| options.iter().find(|(id, _)| id == answer))
        .map(|(_, name)| compute_option_hash(name).to_vec())
        .collect();
    if hashes.is_empty() && !answers.is_empty() {
        return Err(Refusal::new("The vote is for no answer of this poll, so it was not sent."));
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_poll_is_no_second_poll() {
        let answers = json!([{ "id": "0", "m.text": "tea" }, { "id": "1", "m.text": "coffee" }]);
        let poll = json!({ "m.poll": { "question": { "m.text": "Which?" }, "answers": answers } });
        assert!(matches!(start(&poll), Ok(Plan::Poll(_))));
        let mut edit = poll.clone();
        edit["m.new_content"] = poll;
        edit["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": "$poll" });
        assert!(start(&edit).unwrap_err().tell.contains("can't be changed"));
    }
}
