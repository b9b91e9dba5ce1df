//! What any message can have besides its content: an answer to another one,
//! mentions, a forward mark, a time to live, view once.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Draft, Kind};
use crate::{proto_json, stanza::unix_now};

/// Choices that go with any kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The id to send under; a new one if absent. The same id again is a resend.
    pub id: Option<String>,
    /// The message this one answers.
    pub reply_to: Option<String>,
    /// The people it mentions: numbers or JIDs.
    pub mentions: Vec<String>,
    /// Whether it mentions everyone of the group.
    pub mention_all: bool,
    /// How often it was forwarded; 0 is not.
    pub forwarded: u32,
    /// Seconds until it disappears; 0 is never.
    pub expiration: u32,
    /// Whether it is wrapped as a disappearing message, as older phones do.
    pub ephemeral: bool,
    /// Whether it can be seen once only.
    pub view_once: bool,
}

/// Puts the options into a message.
pub fn apply(draft: &Draft<'_>, options: &Options, content: &mut Value) -> Result<()> {
    let info = context_info(draft, options)?;
    if info.as_object().is_some_and(|info| !info.is_empty()) {
        merge_info(content, info)?;
    }
    if options.view_once {
        view_once(content)?;
    }
    if options.ephemeral {
        wrap(content, "ephemeralMessage");
    }
    Ok(())
}

fn context_info(draft: &Draft<'_>, options: &Options) -> Result<Value> {
    let mut info = json!({});
    if let Some(id) = &options.reply_to {
        let known = draft.target(id)?;
        info["stanzaId"] = json!(id);
        info["participant"] = json!(draft.author(&known)?.to_string());
        let mut quoted = proto_json::show(&known.message);
        if let Some(quoted) = quoted.as_object_mut() {
            quoted.remove("messageContextInfo");
        }
        info["quotedMessage"] = quoted;
    }
    let mut mentioned = Vec::new();
    for who in &options.mentions {
        let who = draft.state.resolve_text(who)?;
        mentioned.push(draft.state.account(&who)?.jid(draft.own.server, 0).to_string());
    }
    if !mentioned.is_empty() {
        info["mentionedJid"] = json!(mentioned);
    }
    if options.mention_all {
        info["nonJidMentions"] = json!(1);
    }
    if options.forwarded > 0 {
        info["isForwarded"] = json!(true);
        info["forwardingScore"] = json!(options.forwarded);
    }
    if options.expiration > 0 {
        info["expiration"] = json!(options.expiration);
        info["ephemeralSettingTimestamp"] = json!(unix_now());
    }
    Ok(info)
}

/// The content's own `contextInfo` gets the fields; a plain text becomes one
/// that has such a thing.
fn merge_info(content: &mut Value, info: Value) -> Result<()> {
    if let Some(text) = content.as_object_mut().and_then(|content| content.remove("conversation")) {
        content["extendedTextMessage"] = json!({ "text": text });
    }
    let inner = innermost(content);
    let Some(fields) = inner.as_object_mut() else {
        return Ok(());
    };
    let name = fields.keys().find(|name| *name != "messageContextInfo").cloned();
    let slot = name.and_then(|name| fields.get_mut(&name)).and_then(Value::as_object_mut);
    if let Some(content) = slot
        && let Some(known) = content.entry("contextInfo").or_insert(json!({})).as_object_mut()
        && let Value::Object(info) = info
    {
        known.extend(info);
    }
    Ok(())
}

/// The message inside all wrappers.
fn innermost(content: &mut Value) -> &mut Value {
    let wrapper = content.as_object().and_then(|fields| {
        let inside = |(name, value): (&String, &Value)| value.get("message").is_some().then(|| name.clone());
        fields.iter().find_map(inside)
    });
    match wrapper {
        Some(name) => innermost(&mut content[name]["message"]),
        None => content,
    }
}

fn view_once(content: &mut Value) -> Result<()> {
    let inner = innermost(content);
    let mut wrapper = "viewOnceMessageV2";
    let mut marked = false;
    for name in ["imageMessage", "videoMessage", "audioMessage", "ptvMessage"] {
        if let Some(media) = inner.get_mut(name) {
            media["viewOnce"] = json!(true);
            marked = true;
            if name == "audioMessage" {
                wrapper = "viewOnceMessageV2Extension";
            }
        }
    }
    ensure!(marked, "only pictures, videos and voice notes can be seen once");
    wrap(content, wrapper);
    Ok(())
}

/// Puts a message into a wrapper; what belongs to all of it stays outside.
pub fn wrap(content: &mut Value, wrapper: &str) {
    let mut inner = content.take();
    let outside = inner.as_object_mut().and_then(|inner| inner.remove("messageContextInfo"));
    *content = json!({ wrapper: { "message": inner } });
    if let Some(outside) = outside {
        content["messageContextInfo"] = outside;
    }
}

impl Kind {
    /// A text; short for the most common kind.
    pub fn text(text: &str) -> Self {
        Self::Text { text: text.to_owned() }
    }
}
