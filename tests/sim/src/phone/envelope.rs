//! What a message's stanza says about its content: `type`, `edit`,
//! `mediatype`, `decrypt-fail` and `<meta>`. The server and clients that cannot
//! decrypt have nothing else to go by.

use serde_json::Value;
use wacore_binary::{Node, builder::NodeBuilder};
use waproto::whatsapp::Message;

use crate::proto_json;

/// The outside of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `type` of the stanza.
    pub kind: &'static str,
    /// `edit` of the stanza: what kind of change it is.
    pub edit: Option<&'static str>,
    /// `mediatype` of each `<enc>`.
    pub media: Option<&'static str>,
    /// `decrypt-fail="hide"`: nobody misses it who cannot read it.
    pub hidden: bool,
    meta: Option<(&'static str, &'static str)>,
}

/// Wrappers that say nothing about what is inside.
const WRAPPERS: &[&str] = &[
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "groupMentionedMessage",
    "botInvokeMessage",
    "associatedChildMessage",
    "lottieStickerMessage",
    "pollCreationMessageV4",
    "pollCreationOptionImageMessage",
    "eventCoverImage",
    "groupStatusMessage",
    "groupStatusMessageV2",
    "groupStatusMentionMessage",
    "statusMentionMessage",
    "spoilerMessage",
    "questionMessage",
    "limitSharingMessage",
];

impl Envelope {
    /// The outside for a message.
    pub fn of(message: &Message) -> Self {
        let shown = proto_json::show(message);
        let inner = unwrap(&shown);
        let name = content_name(inner);
        let content = &inner[name];
        let edit = edit(name, content);
        Self {
            kind: kind(name, content),
            edit,
            media: media(name, content),
            hidden: matches!(edit, Some("1" | "2" | "3")) || hidden(name, content),
            meta: meta(name, content),
        }
    }

    /// The `<meta>` beside the content, if it has one.
    pub fn meta(&self) -> Option<Node> {
        self.meta.map(|(name, value)| NodeBuilder::new("meta").attr(name, value).build())
    }
}

fn unwrap(message: &Value) -> &Value {
    let inner = WRAPPERS.iter().find_map(|name| message.get(name)?.get("message"));
    inner.map_or(message, unwrap)
}

/// The field that holds the content.
fn content_name(message: &Value) -> &str {
    let extra = ["messageContextInfo", "senderKeyDistributionMessage", "deviceSentMessage"];
    let names = message.as_object().into_iter().flat_map(|fields| fields.keys());
    names.map(String::as_str).find(|name| !extra.contains(name)).unwrap_or_default()
}

fn kind(name: &str, content: &Value) -> &'static str {
    match name {
        "reactionMessage" | "encReactionMessage" => "reaction",
        "eventMessage" | "encEventResponseMessage" => "event",
        "secretEncryptedMessage" => match content["secretEncType"].as_str() {
            Some("EVENT_EDIT") => "event",
            Some("POLL_EDIT" | "POLL_ADD_OPTION") => "poll",
            _ => "text",
        },
        "pollUpdateMessage" => "poll",
        name if name.starts_with("pollCreationMessage") => "poll",
        "extendedTextMessage" if content["matchedText"].is_string() => "media",
        name if media(name, content).is_some() => "media",
        _ => "text",
    }
}

fn media(name: &str, content: &Value) -> Option<&'static str> {
    let set = |field: &str| content[field] == Value::Bool(true);
    Some(match name {
        "imageMessage" => "image",
        "videoMessage" if set("gifPlayback") => "gif",
        "videoMessage" => "video",
        "ptvMessage" => "ptv",
        "audioMessage" if set("ptt") => "ptt",
        "audioMessage" => "audio",
        "documentMessage" => "document",
        "stickerMessage" => "sticker",
        "stickerPackMessage" => "sticker_pack",
        "locationMessage" if !set("isLive") => "location",
        "locationMessage" | "liveLocationMessage" => "livelocation",
        "contactMessage" => "vcard",
        "contactsArrayMessage" => "contact_array",
        "extendedTextMessage" if content["matchedText"].is_string() => "url",
        "groupInviteMessage" => "url",
        "listMessage" => "list",
        "listResponseMessage" => "list_response",
        "buttonsResponseMessage" => "buttons_response",
        "orderMessage" => "order",
        "productMessage" => "product",
        "interactiveResponseMessage" => "native_flow_response",
        _ => return None,
    })
}

/// `1` edits, `2` pins, `7` takes back, `8` is taken back by an admin.
fn edit(name: &str, content: &Value) -> Option<&'static str> {
    let own = content["key"]["fromMe"] == Value::Bool(true);
    Some(match name {
        "pinInChatMessage" => "2",
        "editedMessage" => "1",
        "protocolMessage" => match content["type"].as_str() {
            Some("MESSAGE_EDIT") => "1",
            Some("REVOKE") if own => "7",
            Some("REVOKE") => "8",
            _ => return None,
        },
        "secretEncryptedMessage" => match content["secretEncType"].as_str() {
            Some("MESSAGE_EDIT" | "EVENT_EDIT") => "1",
            _ => return None,
        },
        "reactionMessage" if content["text"] == "" => "7",
        "keepInChatMessage" if own && content["keepType"] == "UNDO_KEEP_FOR_ALL" => "7",
        _ => return None,
    })
}

fn hidden(name: &str, content: &Value) -> bool {
    match name {
        "reactionMessage"
        | "encReactionMessage"
        | "pinInChatMessage"
        | "editedMessage"
        | "keepInChatMessage"
        | "encEventResponseMessage" => true,
        "pollUpdateMessage" => content["vote"].is_object(),
        "secretEncryptedMessage" => {
            matches!(content["secretEncType"].as_str(), Some("EVENT_EDIT" | "POLL_EDIT" | "POLL_ADD_OPTION"))
        }
        _ => false,
    }
}

fn meta(name: &str, content: &Value) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "pollUpdateMessage" => ("polltype", "vote"),
        name if name.starts_with("pollCreationMessage") => ("polltype", "creation"),
        "eventMessage" => ("event_type", "creation"),
        "encEventResponseMessage" => ("event_type", "response"),
        "secretEncryptedMessage" if content["secretEncType"] == "EVENT_EDIT" => ("event_type", "edit"),
        _ => return None,
    })
}
