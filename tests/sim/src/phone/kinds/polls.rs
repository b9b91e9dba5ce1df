//! Polls, votes and results.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wacore::secret_enc_addon::ModificationType;
use waproto::whatsapp::message::PollVoteMessage;

use buffa::Message as _;

use super::{Draft, Kind, base64, context::wrap, secret_of, with_secret};
use crate::{
    phone::{archive::Known, secrets},
    proto_json,
    stanza::{unix_now, unix_now_ms},
};

/// Builds what has to do with polls.
pub fn content(draft: &Draft<'_>, kind: &Kind) -> Result<Value> {
    match kind {
        Kind::Poll { name, options, selectable, version, correct, end_time } => {
            let options: Vec<Value> = options.iter().map(|option| json!({ "optionName": option })).collect();
            let mut poll =
                json!({ "name": name, "options": options, "selectableOptionsCount": selectable.unwrap_or(0) });
            if let Some(correct) = correct {
                poll["pollType"] = json!("QUIZ");
                poll["correctAnswer"] = json!({ "optionName": correct });
            }
            poll["endTime"] = json!(end_time);
            let field = match version.unwrap_or(3) {
                1 => "pollCreationMessage",
                2 => "pollCreationMessageV2",
                3 => "pollCreationMessageV3",
                // The fourth is a wrapper around the first.
                4 => {
                    let mut content = with_secret(json!({ "pollCreationMessage": poll }));
                    wrap(&mut content, "pollCreationMessageV4");
                    return Ok(content);
                }
                5 => "pollCreationMessageV5",
                6 => "pollCreationMessageV6",
                other => bail!("the proto has no poll form {other}"),
            };
            Ok(with_secret(json!({ field: poll })))
        }
        Kind::Vote { poll, options } => vote(draft, &draft.target(poll)?, options),
        Kind::PollResult { name, votes } => {
            let votes: Vec<Value> =
                votes.iter().map(|(option, count)| json!({ "optionName": option, "optionVoteCount": count })).collect();
            Ok(json!({ "pollResultSnapshotMessage": { "name": name, "pollVotes": votes } }))
        }
        Kind::PollAddOption { poll, option } => {
            let poll = draft.target(poll)?;
            let inner = proto_json::parse(&json!({ "pollAddOptionMessage": {
                "pollCreationMessageKey": draft.key(&poll)?, "addOption": { "optionName": option },
            } }))?;
            secrets::envelope(draft, &poll, ModificationType::PollAddOption, "POLL_ADD_OPTION", &inner.encode_to_vec())
        }
        Kind::PollEnd { poll } => {
            let poll = draft.target(poll)?;
            ensure!(poll.from == draft.from, "only own polls can be ended");
            let mut inner = proto_json::show(&poll.message);
            let fields = inner.as_object_mut().context("a message is an object")?;
            fields.retain(|name, _| name.starts_with("pollCreationMessage"));
            let creation = fields.values_mut().next().context("only polls that are in no wrapper can be ended")?;
            creation["endTime"] = json!(unix_now());
            let inner = proto_json::parse(&inner)?.encode_to_vec();
            secrets::envelope(draft, &poll, ModificationType::PollEdit, "POLL_EDIT", &inner)
        }
        other => bail!("{other:?} is no poll"),
    }
}

fn vote(draft: &Draft<'_>, poll: &Known, chosen: &[String]) -> Result<Value> {
    let known = option_names(poll);
    for option in chosen {
        ensure!(known.contains(option), "the poll has no option {option:?}");
    }
    let hashes = chosen.iter().map(|option| Sha256::digest(option.as_bytes()).to_vec()).collect();
    let plain = PollVoteMessage { selected_options: hashes }.encode_to_vec();
    let (payload, iv) = secrets::seal(draft, poll, ModificationType::PollVote, &secret_of(poll)?, &plain)?;
    Ok(json!({ "pollUpdateMessage": {
        "pollCreationMessageKey": draft.key(poll)?,
        "vote": { "encPayload": base64(&payload), "encIv": base64(&iv) },
        "senderTimestampMs": unix_now_ms(),
    } }))
}

/// The options of a poll, however it is wrapped.
fn option_names(poll: &Known) -> Vec<String> {
    let mut names = Vec::new();
    collect(&proto_json::show(&poll.message), &mut names);
    names
}

fn collect(value: &Value, names: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        return;
    };
    for (name, inner) in object {
        if name == "options" {
            let options = inner.as_array().into_iter().flatten();
            names.extend(options.filter_map(|option| Some(option.get("optionName")?.as_str()?.to_owned())));
        } else if name != "contextInfo" {
            collect(inner, names);
        }
    }
}

/// The names of the options a decrypted vote chose. Errors when the vote is no
/// vote; a hash that fits no option is shown as it is.
pub fn read_vote(poll: &Known, plain: &[u8]) -> Result<Vec<String>> {
    let vote = PollVoteMessage::decode_from_slice(plain).context("vote")?;
    let names = option_names(poll);
    let name_of = |hash: &Vec<u8>| {
        let found = names.iter().find(|name| Sha256::digest(name.as_bytes()).as_slice() == hash.as_slice());
        found.cloned().unwrap_or_else(|| base64(hash))
    };
    Ok(vote.selected_options.iter().map(name_of).collect())
}
