//! What the owner of a phone does that companions learn through the app state.

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use buffa::Message as _;
use serde::Deserialize;
use serde_json::{Value, json};
use wacore_binary::{Jid, Server};
use waproto::whatsapp::{SyncActionValue, syncd_mutation::SyncdOperation};

use super::{Change, announce};
use crate::{
    ids::{Address, Number},
    phone::Known,
    proto_json,
    stanza::unix_now,
    state::State,
};

fn yes() -> bool {
    true
}

/// One action of the phone's owner. Chats are numbers or JIDs.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the action in the app")]
pub enum Action {
    /// Mutes a chat until a time (milliseconds since 1970), or for ever; or
    /// unmutes it.
    Mute {
        chat: String,
        until: Option<i64>,
        #[serde(default = "yes")]
        muted: bool,
    },
    /// Pins a chat to the top, or unpins it.
    Pin {
        chat: String,
        #[serde(default = "yes")]
        pinned: bool,
    },
    /// Archives a chat, or takes it back.
    Archive {
        chat: String,
        #[serde(default = "yes")]
        archived: bool,
    },
    /// Stars a message, or unstars it.
    Star {
        id: String,
        #[serde(default = "yes")]
        starred: bool,
    },
    /// Marks a chat as read, or as unread.
    MarkRead {
        chat: String,
        #[serde(default = "yes")]
        read: bool,
    },
    /// Deletes a chat with its messages.
    DeleteChat { chat: String },
    /// Deletes the messages of a chat.
    ClearChat { chat: String },
    /// Deletes a message on the own devices only.
    DeleteMessage {
        id: String,
        #[serde(default)]
        delete_media: bool,
    },
    /// Saves a name in the address book.
    Contact { contact: String, full_name: String, first_name: Option<String> },
    /// Removes a name from the address book.
    RemoveContact { contact: String },
    /// Changes the own name.
    PushName { name: String },
    /// Makes, changes or deletes a label.
    Label {
        label: String,
        name: String,
        color: Option<i32>,
        #[serde(default)]
        deleted: bool,
    },
    /// Puts a label on a chat, or takes it off.
    LabelChat {
        label: String,
        chat: String,
        #[serde(default = "yes")]
        labeled: bool,
    },
    /// Whether new messages bring chats out of the archive.
    UnarchiveSetting { unarchive: bool },
    /// The salt of trusted-contact tokens, base64.
    NctSalt { salt: String },
    /// Any entry: its collection, index, version and value (a
    /// `SyncActionValue` as JSON); without a value it is removed.
    Raw { collection: String, index: Vec<String>, version: i32, value: Option<Value> },
}

/// Does an action as the phone of `number` and tells its companions.
pub fn act(state: &mut State, number: &Number, action: &Action) -> Result<()> {
    let (collection, change) = change(state, number, action)?;
    let version = state.account_mut(number)?.app_state.write(&collection, vec![change])?;
    announce(state, &Address::new(number, 0), &collection, version);
    Ok(())
}

/// The entry of the own name.
pub fn push_name(name: &str) -> Result<(&'static str, Change)> {
    let (_, change) =
        entry("critical_block", &["setting_pushName"], 1, json!({ "pushNameSetting": { "name": name } }))?;
    Ok(("critical_block", change))
}

/// Writes a contact into the address book of a phone.
pub fn save_contact(state: &mut State, number: &Number, contact: &Number, full_name: &str) -> Result<()> {
    let action = Action::Contact { contact: contact.to_string(), full_name: full_name.to_owned(), first_name: None };
    act(state, number, &action)
}

fn entry(collection: &str, index: &[&str], action_version: i32, mut value: Value) -> Result<(String, Change)> {
    value["timestamp"] = json!(unix_now() * 1000);
    let encoded = proto_json::from_json("SyncActionValue", &value)?;
    let change = Change {
        operation: SyncdOperation::SET,
        index: index.iter().map(|part| (*part).to_owned()).collect(),
        action_version,
        value: SyncActionValue::decode_from_slice(&encoded)?,
    };
    Ok((collection.to_owned(), change))
}

fn removed(mut entry: (String, Change)) -> (String, Change) {
    entry.1.operation = SyncdOperation::REMOVE;
    entry
}

fn change(state: &State, number: &Number, action: &Action) -> Result<(String, Change)> {
    match action {
        Action::Mute { chat, until, muted } => {
            let end = if *muted { until.unwrap_or(-1) } else { 0 };
            let value = json!({ "muteAction": { "muted": muted, "muteEndTimestamp": end } });
            entry("regular_high", &["mute", &chat_jid(state, number, chat)?], 2, value)
        }
        Action::Pin { chat, pinned } => {
            let value = json!({ "pinAction": { "pinned": pinned } });
            entry("regular_low", &["pin_v1", &chat_jid(state, number, chat)?], 5, value)
        }
        Action::Archive { chat, archived } => {
            let jid = chat_jid(state, number, chat)?;
            let range = message_range(state, number, &jid)?;
            let value = json!({ "archiveChatAction": { "archived": archived, "messageRange": range } });
            entry("regular_low", &["archive", &jid], 3, value)
        }
        Action::Star { id, starred } => {
            let (chat, from_me, participant) = message_index(state, number, id)?;
            let value = json!({ "starAction": { "starred": starred } });
            entry("regular_high", &["star", &chat, id, from_me, &participant], 2, value)
        }
        Action::MarkRead { chat, read } => {
            let jid = chat_jid(state, number, chat)?;
            let range = message_range(state, number, &jid)?;
            let value = json!({ "markChatAsReadAction": { "read": read, "messageRange": range } });
            entry("regular_low", &["markChatAsRead", &jid], 3, value)
        }
        Action::DeleteChat { chat } => {
            let jid = chat_jid(state, number, chat)?;
            let range = message_range(state, number, &jid)?;
            entry(
                "regular_high",
                &["deleteChat", &jid, "1"],
                6,
                json!({ "deleteChatAction": { "messageRange": range } }),
            )
        }
        Action::ClearChat { chat } => {
            let jid = chat_jid(state, number, chat)?;
            let range = message_range(state, number, &jid)?;
            let value = json!({ "clearChatAction": { "messageRange": range } });
            entry("regular_high", &["clearChat", &jid, "1", "0"], 6, value)
        }
        Action::DeleteMessage { id, delete_media } => {
            let (chat, from_me, participant) = message_index(state, number, id)?;
            let ts = known(state, number, id)?.ts;
            let value = json!({ "deleteMessageForMeAction": { "deleteMedia": delete_media, "messageTimestamp": ts } });
            entry("regular_high", &["deleteMessageForMe", &chat, id, from_me, &participant], 3, value)
        }
        Action::Contact { contact, full_name, first_name } => {
            let (jid, lid) = contact_jids(state, contact)?;
            let first = first_name.as_deref().or_else(|| full_name.split_whitespace().next());
            let value = json!({ "contactAction": { "fullName": full_name, "firstName": first, "lidJid": lid } });
            entry("critical_unblock_low", &["contact", &jid], 2, value)
        }
        Action::RemoveContact { contact } => {
            let (jid, _) = contact_jids(state, contact)?;
            Ok(removed(entry("critical_unblock_low", &["contact", &jid], 2, json!({ "contactAction": {} }))?))
        }
        Action::PushName { name } => push_name(name).map(|(collection, change)| (collection.to_owned(), change)),
        Action::Label { label, name, color, deleted } => {
            let value = json!({ "labelEditAction": { "name": name, "color": color.unwrap_or(0), "deleted": deleted } });
            entry("regular", &["label_edit", label], 3, value)
        }
        Action::LabelChat { label, chat, labeled } => {
            let value = json!({ "labelAssociationAction": { "labeled": labeled } });
            entry("regular", &["label_jid", label, &chat_jid(state, number, chat)?], 3, value)
        }
        Action::UnarchiveSetting { unarchive } => {
            let value = json!({ "unarchiveChatsSetting": { "unarchiveChats": unarchive } });
            entry("regular_low", &["setting_unarchiveChats"], 4, value)
        }
        Action::NctSalt { salt } => {
            BASE64_STANDARD.decode(salt).context("salt")?;
            entry("regular_high", &["nct_salt_sync"], 1, json!({ "nctSaltSyncAction": { "salt": salt } }))
        }
        Action::Raw { collection, index, version, value } => {
            anyhow::ensure!(super::COLLECTIONS.contains(&collection.as_str()), "no collection {collection:?}");
            let parts: Vec<&str> = index.iter().map(String::as_str).collect();
            let set = entry(collection, &parts, *version, value.clone().unwrap_or(json!({})))?;
            Ok(if value.is_some() { set } else { removed(set) })
        }
    }
}

/// The chat as the account's devices name it: by LID once it is migrated.
fn chat_jid(state: &State, number: &Number, chat: &str) -> Result<String> {
    match state.resolve_text(chat) {
        Ok(person) => {
            let family = state.account(number)?.family();
            Ok(state.account(&person)?.jid(family, 0).to_string())
        }
        Err(error) => {
            let jid: Jid = chat.parse().map_err(|_| error)?;
            Ok(jid.to_string())
        }
    }
}

fn contact_jids(state: &State, contact: &str) -> Result<(String, String)> {
    let number = state.resolve_text(contact)?;
    let account = state.account(&number)?;
    Ok((account.jid(Server::Pn, 0).to_string(), account.jid(Server::Lid, 0).to_string()))
}

fn known<'a>(state: &'a State, number: &Number, id: &str) -> Result<&'a Known> {
    state.account(number)?.phone.known.get(id).with_context(|| format!("the phone knows no message {id}"))
}

/// How an index names a message: chat, whether it is an own one, participant.
fn message_index(state: &State, number: &Number, id: &str) -> Result<(String, &'static str, String)> {
    let message = known(state, number, id)?;
    let own = message.from == *number;
    let chat = chat_jid(state, number, &message.chat.to_string())?;
    let participant = match message.room() {
        Some(_) if !own => chat_jid(state, number, message.from.as_str())?,
        _ => "0".to_owned(),
    };
    Ok((chat, if own { "1" } else { "0" }, participant))
}

/// The last messages of a chat, so that what comes later is not touched.
fn message_range(state: &State, number: &Number, chat: &str) -> Result<Value> {
    let jid: Jid = chat.parse().map_err(|error| anyhow::anyhow!("{chat}: {error}"))?;
    let person = state.resolve(&jid);
    let phone = &state.account(number)?.phone;
    let here = |known: &&Known| match &person {
        Some(person) => known.chat == person.jid(),
        None => known.chat == jid,
    };
    let Some(last) = phone.known.all().iter().rev().find(here) else {
        return Ok(json!({ "lastMessageTimestamp": unix_now() }));
    };
    let key = json!({ "remoteJid": chat, "fromMe": last.from == *number, "id": last.id });
    Ok(json!({ "lastMessageTimestamp": last.ts, "messages": [{ "key": key, "timestamp": last.ts }] }))
}
