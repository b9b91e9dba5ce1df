//! One phone: its chats, the open one, and what can be done.

use anyhow::Result;
use wacore_binary::{Jid, Server};
use waproto::whatsapp::{Message, message::protocol_message::Type};

use super::html::{escape, query};
use crate::{account::Account, ids::Number, state::State};

/// How many messages of a chat are shown.
const LAST: usize = 60;

/// One message as the phone has it.
pub struct Line {
    /// A person's number, or the JID of a group.
    pub chat: String,
    pub from: Number,
    pub ts: u64,
    pub message: Message,
}

/// A page in parts.
pub struct Parts {
    pub title: String,
    pub heading: String,
    /// Where the script gets the changing parts.
    pub source: String,
    /// The chats, and the open one; changes.
    pub talk: String,
    pub write: String,
    /// The linked devices; changes.
    pub devices: String,
    pub link: String,
}

/// The page of the phone of `number` with one chat open. Errors when there is
/// no such account.
pub fn parts(state: &State, number: &str, chat: Option<&str>) -> Result<Parts> {
    let number = Number::parse(number)?;
    let account = state.account(&number)?;
    let lines = account.phone.transcript();
    let chat =
        chat.filter(|chat| !chat.is_empty()).map(str::to_owned).or_else(|| lines.last().map(|line| line.chat.clone()));
    let open = chat.as_deref().map_or_else(String::new, query);
    let name = escape(&account.push_name);
    Ok(Parts {
        title: format!("{} +{number}", account.push_name),
        heading: format!("<h1>{name}</h1>\n<p><small>+{number}</small></p>\n"),
        source: format!("/phone/{number}?chat={open}"),
        talk: talk(state, account, &lines, chat.as_deref()),
        write: write_form(state, account, chat.as_deref()),
        devices: devices(account),
        link: link_forms(account),
    })
}

fn talk(state: &State, account: &Account, lines: &[Line], open: Option<&str>) -> String {
    let mut html = String::from("<h2>Chats</h2>\n<ul class=\"list\" aria-label=\"Chats\">\n");
    let mut chats: Vec<&str> = Vec::new();
    for line in lines.iter().rev() {
        if !chats.contains(&line.chat.as_str()) {
            chats.push(&line.chat);
        }
    }
    for chat in chats {
        let current = if Some(chat) == open { " aria-current=\"true\"" } else { "" };
        html.push_str(&format!(
            "<li><a href=\"/phone/{}?chat={}\"{current}>{}</a></li>\n",
            account.number,
            query(chat),
            escape(&name_of(state, chat))
        ));
    }
    html.push_str("</ul>\n");
    let Some(open) = open else {
        return html + "<p>No message yet.</p>\n";
    };
    html.push_str(&format!("<h2 id=\"talk\">{}</h2>\n", escape(&name_of(state, open))));
    html.push_str("<ol class=\"talk\" aria-labelledby=\"talk\" aria-live=\"polite\" tabindex=\"0\">\n");
    let talk: Vec<&Line> = lines.iter().filter(|line| line.chat == open).collect();
    for line in &talk[talk.len().saturating_sub(LAST)..] {
        let mine = line.from == account.number;
        let class = if mine { " class=\"mine\"" } else { "" };
        let who = if mine { "You".to_owned() } else { name_of(state, line.from.as_str()) };
        html.push_str(&format!(
            "<li{class}><p><small>{}, {}</small>\n{}</p></li>\n",
            escape(&who),
            clock(line.ts),
            escape(&describe(&line.message))
        ));
    }
    html + "</ol>\n"
}

fn devices(account: &Account) -> String {
    let mut html = String::from("<h2>Linked devices</h2>\n<ul class=\"list\" aria-label=\"Linked devices\">\n");
    for (device, companion) in &account.companions {
        let state = if companion.link.conn().is_some() { "connected" } else { "away" };
        html.push_str(&format!(
            "<li><form method=\"post\" action=\"/phone/{}/unlink\">Device {device}, {state} \
             <button class=\"quiet\" name=\"device\" value=\"{device}\">Unlink device {device}</button></form></li>\n",
            account.number
        ));
    }
    html.push_str("</ul>\n");
    if account.companions.is_empty() {
        html.push_str("<p>None.</p>\n");
    }
    html
}

fn write_form(state: &State, account: &Account, chat: Option<&str>) -> String {
    let number = &account.number;
    let mut known: Vec<String> = state.accounts.keys().filter(|n| *n != number).map(Number::to_string).collect();
    // Groups can only be written to where they are.
    known.extend(chat.filter(|chat| chat.contains('@')).map(str::to_owned));
    let choices: String = known
        .iter()
        .map(|to| {
            let selected = if Some(to.as_str()) == chat { " selected" } else { "" };
            format!("<option value=\"{}\"{selected}>{}</option>\n", escape(to), escape(&name_of(state, to)))
        })
        .collect();
    format!(
        "<h2>Write</h2>\n<form method=\"post\" action=\"/phone/{number}/send\">\n\
         <label>To <select name=\"to\" required>\n{choices}</select></label>\n\
         <label>Message <textarea name=\"text\" required></textarea></label>\n<button>Send</button>\n</form>\n"
    )
}

fn link_forms(account: &Account) -> String {
    let number = &account.number;
    format!(
        "<details open>\n<summary>Link a device</summary>\n\
         <form method=\"post\" action=\"/phone/{number}/scan\">\n\
         <label>Text of the QR code <textarea name=\"qr\" required autocomplete=\"off\"></textarea></label>\n\
         <button>Scan</button>\n</form>\n\
         <form method=\"post\" action=\"/phone/{number}/code\">\n\
         <label>Or its 8-letter code <input name=\"code\" required autocomplete=\"off\"></label>\n\
         <button>Link</button>\n</form>\n</details>\n"
    )
}

/// The name of an account by its number, or a group's JID as it is.
fn name_of(state: &State, chat: &str) -> String {
    let account = Number::parse(chat).ok().and_then(|number| state.accounts.get(&number));
    match account {
        Some(account) if account.push_name.is_empty() => format!("+{chat}"),
        Some(account) => format!("{} (+{chat})", account.push_name),
        None => chat.to_owned(),
    }
}

/// A chat as pages name it: the number of a person, the JID of anything else.
pub fn chat_name(chat: &Jid) -> String {
    match chat.server {
        Server::Pn => chat.user.to_string(),
        _ => chat.to_non_ad().to_string(),
    }
}

/// The time of day, UTC.
fn clock(ts: u64) -> String {
    format!("{:02}:{:02} UTC", ts / 3600 % 24, ts / 60 % 60)
}

/// A message in words.
fn describe(message: &Message) -> String {
    if let Some(text) = &message.conversation {
        return text.clone();
    }
    if let Some(text) = message.extended_text_message.as_option().and_then(|m| m.text.clone()) {
        return text;
    }
    let with = |kind: &str, text: Option<&String>| match text {
        Some(text) if !text.is_empty() => format!("[{kind}] {text}"),
        _ => format!("[{kind}]"),
    };
    if let Some(image) = message.image_message.as_option() {
        return with("image", image.caption.as_ref());
    }
    if let Some(video) = message.video_message.as_option() {
        return with("video", video.caption.as_ref());
    }
    if let Some(document) = message.document_message.as_option() {
        return with("document", document.file_name.as_ref());
    }
    if let Some(audio) = message.audio_message.as_option() {
        return with(if audio.ptt == Some(true) { "voice note" } else { "audio" }, None);
    }
    if let Some(reaction) = message.reaction_message.as_option() {
        return with("reaction", reaction.text.as_ref());
    }
    let poll = message.poll_creation_message_v3.as_option().or_else(|| message.poll_creation_message.as_option());
    if let Some(poll) = poll {
        return with("poll", poll.name.as_ref());
    }
    if let Some(protocol) = message.protocol_message.as_option() {
        return match protocol.r#type {
            Some(Type::REVOKE) => with("deleted a message", None),
            Some(Type::MESSAGE_EDIT) => {
                format!("[edited] {}", protocol.edited_message.as_option().map_or_else(String::new, describe))
            }
            _ => with("note between devices", None),
        };
    }
    for (kind, there) in [
        ("sticker", message.sticker_message.is_set()),
        ("location", message.location_message.is_set()),
        ("live location", message.live_location_message.is_set()),
        ("contact", message.contact_message.is_set()),
        ("contacts", message.contacts_array_message.is_set()),
        ("vote", message.poll_update_message.is_set()),
    ] {
        if there {
            return with(kind, None);
        }
    }
    "[something this page has no words for]".into()
}
