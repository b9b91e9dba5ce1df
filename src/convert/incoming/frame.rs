//! What all kinds have in common: mentions, the quote, the forwarded mark, the timer, and texts that are too long.

use super::open::{Opened, context_of};
use super::{Context, Person};
use crate::convert::markup::names::{Names, spell_out};
use crate::convert::markup::{is_formatted, read, show};
use crate::convert::part::{MessageName, MxPart, WaMedia, person_jid};
use crate::convert::words;
use serde_json::{Map, Value, json};
use std::str::FromStr as _;
use whatsapp_rust::prelude::{Jid, wa};

/// Bytes of one event's content: the rest of 64 KiB is for the event around it, relations and encryption
/// (CS-API, "Size limits").
const MAX_CONTENT: usize = 46_000;
/// Bytes of text in one event.
const MAX_TEXT: usize = 30_000;
/// People in one event's `m.mentions`.
const MAX_MENTIONS: usize = 200;

/// A text as an event shows it.
pub(super) struct Body {
    /// For clients without HTML.
    pub plain: String,
    /// When it is more than letters.
    pub html: Option<String>,
    /// Whom it names, as Matrix ids.
    pub people: Vec<String>,
}

/// Why a message is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For itself.
    New,
    /// As the new content of an older one.
    Edit,
}

/// One message being read.
pub(super) struct Frame<'a> {
    pub context: &'a Context<'a>,
    pub opened: &'a Opened<'a>,
    /// Whether it is the new content of an older message.
    pub purpose: Purpose,
    pub info: wa::ContextInfo,
    names: Names,
    pub reply_to: Option<MessageName>,
}

impl<'a> Frame<'a> {
    /// Looks at what the kinds have in common.
    pub fn new(opened: &'a Opened<'a>, context: &'a Context<'a>, purpose: Purpose) -> Self {
        let info = context_of(opened.base).cloned().unwrap_or_default();
        let names = names_of(&info);
        let reply_to = MessageName::of_quote(&info);
        Self { context, opened, purpose, info, names, reply_to }
    }

    /// A person's name as the room calls them, or their number.
    pub fn name_of(&self, jid: &str) -> String {
        self.person(jid).map_or_else(|| number_of(jid), |person| person.name)
    }

    fn person(&self, jid: &str) -> Option<Person> {
        let person = (self.context.people)(&person_jid(jid)?)?;
        Some(Person { name: words::line(&person.name, 100), ..person })
    }

    /// A WhatsApp text as an event shows it.
    pub fn body(&self, text: &str) -> Body {
        // HTML knows one kind of line break.
        let text = words::clean(text).replace("\r\n", "\n").replace('\r', "\n");
        let blocks = read(&text, &self.names);
        let mut people = Vec::new();
        for id in crate::convert::markup::people(&blocks) {
            people.extend(self.person(id).map(|person| person.mxid));
        }
        let show_person = |id: &str| self.person(id).map(|person| (person.mxid, person.name));
        let plain = spell_out(&text, &self.names, &|id| self.name_of(id));
        let html = is_formatted(&blocks).then(|| show(&blocks, &show_person));
        // Mentions of people nobody knows are only letters.
        let html = html.filter(|html| *html != words::escape(&plain).replace('\n', "<br>"));
        Body { plain, html, people }
    }

    /// Text events: one, or several when it is too long for one.
    pub fn text(&self, msgtype: &str, text: &str, extra: Map<String, Value>) -> Vec<MxPart> {
        let mut parts = Vec::new();
        self.add_text(msgtype, text, Some(extra), &mut parts);
        parts
    }

    fn add_text(&self, msgtype: &str, text: &str, extra: Option<Map<String, Value>>, parts: &mut Vec<MxPart>) {
        let is_first = extra.is_some();
        let mut body = self.body(text);
        if is_first {
            body = self.with_notes(body);
        }
        let mut part = self.part(&body, extra.clone().unwrap_or_default());
        part.content["msgtype"] = msgtype.into();
        if !fits(&part, &body) {
            if let Some((head, tail)) = halves(text) {
                self.add_text(msgtype, head, extra, parts);
                self.add_text(msgtype, tail, None, parts);
                return;
            }
            // A short text whose names make it huge: without HTML it is small.
            if let Some(content) = part.content.as_object_mut() {
                content.remove("formatted_body");
                content.remove("format");
            }
        }
        if !is_first {
            part.reply_to = None;
        }
        parts.push(part);
    }

    /// A notice of the bridge in the sender's name.
    pub fn notice(&self, text: &str) -> Vec<MxPart> {
        self.text("m.notice", text, Map::new())
    }

    /// An event with a file. `content` holds `msgtype` and `info`; the caption becomes the body beside the file's name.
    pub fn media(&self, content: Map<String, Value>, caption: Option<&str>, media: WaMedia) -> Vec<MxPart> {
        let caption = caption.filter(|caption| !caption.trim().is_empty()).unwrap_or_default();
        self.file(content, self.with_notes(self.body(caption)), caption, media)
    }

    /// New words for a file that stays, without the file: see [`Effect::Edit`](super::Effect::Edit).
    pub fn words_alone(&self, msgtype: &str, caption: Option<&str>) -> Vec<MxPart> {
        let mut part = self.part(&self.with_notes(self.body(caption.unwrap_or_default())), Map::new());
        part.content["msgtype"] = msgtype.into();
        vec![part]
    }

    /// An event with a file and words beside it in which nothing is a mark.
    pub fn literal_media(&self, content: Map<String, Value>, words: &str, media: WaMedia) -> Vec<MxPart> {
        let body = Body { plain: words::clean(words), html: None, people: Vec::new() };
        self.file(content, self.with_notes(body), words, media)
    }

    fn file(&self, mut content: Map<String, Value>, body: Body, caption: &str, media: WaMedia) -> Vec<MxPart> {
        let name_only = || Body { plain: media.name.clone(), html: None, people: Vec::new() };
        content.insert("filename".into(), media.name.clone().into());
        let body = if body.plain.is_empty() { name_only() } else { body };
        let mut part = self.part(&body, content.clone());
        let mut rest = Vec::new();
        if !fits(&part, &body) {
            part = self.part(&name_only(), content);
            // The words follow as events of their own; the answer's mark stays with the file.
            self.add_text("m.text", caption, Some(Map::new()), &mut rest);
            rest.iter_mut().for_each(|part| part.reply_to = None);
        }
        part.media = Some(media);
        rest.insert(0, part);
        rest
    }

    /// An event of any type with these contents and what all have in common.
    pub fn part(&self, body: &Body, extra: Map<String, Value>) -> MxPart {
        let mut content = json!({ "msgtype": "m.text", "body": body.plain });
        if let Some(html) = &body.html {
            content["format"] = "org.matrix.custom.html".into();
            content["formatted_body"] = html.as_str().into();
        }
        if let Some(content) = content.as_object_mut() {
            content.extend(extra);
        }
        let mut part = MxPart::new("m.room.message", content);
        self.finish(&mut part, &body.people);
        part
    }

    /// Adds to any part what all have in common: mentions, the answered message, the timer, the album.
    pub fn finish(&self, part: &mut MxPart, named: &[String]) {
        part.content["m.mentions"] = self.mentions(named);
        part.reply_to = self.reply_to.clone().filter(|name| (self.context.known)(name));
        if self.info.forwarding_score.unwrap_or(0) > 0 || self.info.is_forwarded == Some(true) {
            let score = self.info.forwarding_score.unwrap_or(1).max(1);
            part.content["org.matrix-whatsapp.forwarded"] = score.into();
        }
        if let Some(seconds) = self.info.expiration.filter(|seconds| *seconds > 0) {
            part.expires_s = Some(seconds);
            part.content["com.beeper.disappearing_timer"] =
                json!({ "type": "after_send", "timer": u64::from(seconds) * 1_000 });
        }
        if let Some(association) = self.opened.association
            && association.association_type == Some(wa::message_association::AssociationType::MEDIA_ALBUM)
        {
            part.album = MessageName::of_field(&association.parent_message_key);
        }
    }

    /// `m.mentions`: whom the text names, whom the message lists, whom it answers, and everybody when it says so.
    fn mentions(&self, named: &[String]) -> Value {
        let listed = self.info.mentioned_jid.iter().filter_map(|jid| self.person(jid)).map(|person| person.mxid);
        let answered = self
            .info
            .participant
            .as_deref()
            .filter(|_| self.reply_to.is_some())
            .filter(|jid| person_jid(jid).as_ref() != Some(&self.context.sender.to_non_ad()))
            .and_then(|jid| self.person(jid))
            .map(|person| person.mxid);
        let mut ids: Vec<String> = Vec::new();
        for id in named.iter().cloned().chain(answered).chain(listed) {
            if ids.len() < MAX_MENTIONS && !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut mentions = json!({});
        if !ids.is_empty() {
            mentions["user_ids"] = ids.into();
        }
        if self.info.non_jid_mentions.unwrap_or(0) > 0 {
            mentions["room"] = true.into();
        }
        mentions
    }
}

pub(super) fn names_of(info: &wa::ContextInfo) -> Names {
    let mut names = Names::none();
    for jid in info.mentioned_jid.iter().filter_map(|jid| person_jid(jid)) {
        let id = jid.to_string();
        names.add_person(&jid.user, &id, &number_of(&id));
    }
    for group in &info.group_mentions {
        if let Some(jid) = group.group_jid.as_deref().and_then(|jid| Jid::from_str(jid).ok()) {
            names.add_group(&jid.to_string(), words::line(group.group_subject.as_deref().unwrap_or_default(), 100));
        }
    }
    names
}

/// What is said of a person nobody knows: the number, when the id is one.
fn number_of(jid: &str) -> String {
    match person_jid(jid) {
        Some(jid) if jid.is_pn() => format!("+{}", jid.user),
        Some(jid) => jid.user.to_string(),
        None => "somebody".to_owned(),
    }
}

fn fits(part: &MxPart, body: &Body) -> bool {
    // A value of strings and numbers always serializes.
    body.plain.len() <= MAX_TEXT && serde_json::to_string(&part.content).is_ok_and(|json| json.len() <= MAX_CONTENT)
}

/// A text in two, cut after a line, or after a word, nearest before its middle; `None` when it is short.
fn halves(text: &str) -> Option<(&str, &str)> {
    if text.len() < 2_000 {
        return None;
    }
    // Pieces are as long as they can be: a text twice too long ends in two, not in four.
    let middle = words::cut(text, (text.len() / 2).min(MAX_TEXT)).len();
    let near = words::cut(text, middle / 2).len();
    let window = &text[near..middle];
    let at = window.rfind('\n').or_else(|| window.rfind(' ')).map_or(middle, |at| near + at + 1);
    Some(text.split_at(at))
}
