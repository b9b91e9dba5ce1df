//! Old chats for a phone that has none: made up, the same every time, with real
//! accounts.

use anyhow::{Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use wacore::secret_enc_addon::{AddonContext, ModificationType, encrypt_addon};

use crate::{
    account::AccountOptions,
    ids::Number,
    media::{self, Content},
    phone::{self, Kind, Known, Media},
    proto_json,
    stanza::unix_now,
    state::State,
};

/// How much of a past a phone gets.
#[derive(Clone, Debug, Deserialize)]
pub struct HistorySeed {
    /// How many direct chats.
    pub chats: u32,
    /// How many messages in each; reactions and votes come on top.
    pub messages_per_chat: u32,
    /// How many days back the oldest message is.
    #[serde(default = "year")]
    pub days: u64,
}

fn year() -> u64 {
    365
}

/// Makes the chats and returns the numbers of their people. In each chat every
/// seventh message has a reaction, every tenth is a picture, every thirteenth a
/// poll with a vote.
pub fn seed(state: &mut State, number: &Number, seed: &HistorySeed) -> Result<Vec<String>> {
    ensure!(seed.messages_per_chat > 0, "a chat has at least one message");
    ensure!(seed.chats <= 99_999, "at most 99999 chats");
    let family = state.account(number)?.family();
    // One picture for all: what counts is that it can be fetched.
    let uploads = phone::uploads(&Kind::Image(Media::default()))?;
    let picture = match uploads.first() {
        Some(upload) => media::seal(&upload.content, upload.kind)?,
        None => media::seal(&Content::Pattern(0), wacore::download::MediaType::Image)?,
    };
    let path = state.media.add(picture.blob.clone());
    let image = json!({
        "url": media::url(state, &path), "directPath": path, "mimetype": "image/jpeg",
        "mediaKey": base64(&picture.media_key), "fileSha256": base64(&picture.file_sha256),
        "fileEncSha256": base64(&picture.file_enc_sha256), "fileLength": picture.file_length,
    });
    let step = seed.days * 86_400 / u64::from(seed.messages_per_chat);
    let now = unix_now();
    let mut people = Vec::new();
    for index in 0..seed.chats {
        let friend = Number::parse(&format!("99{}{index:05}", tail(number)))?;
        if !state.accounts.contains_key(&friend) {
            let options = AccountOptions { push_name: format!("Friend {}", index + 1), ..Default::default() };
            state.create_account(friend.as_str(), &options)?;
        }
        people.push(friend.to_string());
        let own_jid = state.account(number)?.jid(family, 0).to_string();
        let friend_jid = state.account(&friend)?.jid(family, 0).to_string();
        let mut told = Vec::new();
        for at in 0..seed.messages_per_chat {
            // The last message is some seconds old, each chat at its own time.
            let ts = now - step * u64::from(seed.messages_per_chat - 1 - at) - 60 - u64::from(index);
            let id = format!("3AOLD{}{index:05}{at:05}", tail(number));
            let from = if at % 2 == 0 { friend.clone() } else { number.clone() };
            let secret: Vec<u8> = Sha256::digest(id.as_bytes()).to_vec();
            let context = json!({ "messageSecret": base64(&secret) });
            let key = json!({ "remoteJid": friend_jid, "fromMe": from == *number, "id": id });
            let mut add = |id: String, from: &Number, ts: u64, message: serde_json::Value| -> Result<()> {
                let message = proto_json::parse(&message)?;
                told.push(Known { id, chat: friend.jid(), from: from.clone(), family, ts, message });
                Ok(())
            };
            let other = if from == friend { number.clone() } else { friend.clone() };
            match at {
                at if at % 13 == 12 => {
                    let poll = json!({ "name": format!("Question {at}?"), "selectableOptionsCount": 1,
                        "options": [{ "optionName": "yes" }, { "optionName": "no" }] });
                    add(
                        id.clone(),
                        &from,
                        ts,
                        json!({ "pollCreationMessageV3": poll, "messageContextInfo": context }),
                    )?;
                    let (author, voter) =
                        if from == friend { (&friend_jid, &own_jid) } else { (&own_jid, &friend_jid) };
                    let vote = proto_json::from_json(
                        "Message.PollVoteMessage",
                        &json!({ "selectedOptions": [base64(&Sha256::digest(b"yes"))] }),
                    )?;
                    let about = AddonContext {
                        stanza_id: &id,
                        parent_msg_original_sender: author,
                        modification_sender: voter,
                        modification_type: ModificationType::PollVote,
                    };
                    let (payload, iv) = encrypt_addon(&vote, &secret, &about)?;
                    let vote = json!({ "pollUpdateMessage": { "pollCreationMessageKey": key,
                        "vote": { "encPayload": base64(&payload), "encIv": base64(&iv) } } });
                    add(format!("{id}V"), &other, ts + 1, vote)?;
                }
                at if at % 10 == 9 => {
                    let mut image = image.clone();
                    image["caption"] = json!(format!("Picture {at}"));
                    add(id, &from, ts, json!({ "imageMessage": image, "messageContextInfo": context }))?;
                }
                at => {
                    let text = format!("Message {at} with friend {}", index + 1);
                    add(id.clone(), &from, ts, json!({ "conversation": text, "messageContextInfo": context }))?;
                    if at % 7 == 6 {
                        let reaction = json!({ "reactionMessage": { "key": key, "text": "👍" } });
                        add(format!("{id}R"), &other, ts + 1, reaction)?;
                    }
                }
            }
        }
        let phone = &mut state.account_mut(number)?.phone;
        for known in told {
            phone.known.insert(known);
        }
    }
    Ok(people)
}

/// The end of a number: tells apart whose old friends they are.
fn tail(number: &Number) -> &str {
    let digits = number.as_str();
    &digits[digits.len().saturating_sub(4)..]
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
