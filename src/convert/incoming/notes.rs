//! What WhatsApp shows above a text: the forwarded mark, that it may be seen once, a quote that is not in the room.

use super::frame::{Body, Frame, names_of};
use super::open::{context_of, open};
use crate::convert::markup::names::spell_out;
use crate::convert::{quote, words};

/// Forwarded at least this often shows as "many times" (seen in the phone app).
const MANY_TIMES: u32 = 5;

impl Frame<'_> {
    /// Puts in front of a text what WhatsApp shows above it: the forwarded mark, a quote that is not in the room.
    pub fn with_notes(&self, body: Body) -> Body {
        let mut notes: Vec<(String, String)> = Vec::new();
        let mut note = |text: &str| notes.push((text.to_owned(), format!("<p><em>{}</em></p>", words::escape(text))));
        let forwarded = self.info.forwarding_score.unwrap_or(0);
        if forwarded >= MANY_TIMES {
            note("↷ Forwarded many times");
        } else if forwarded > 0 || self.info.is_forwarded == Some(true) {
            note("↷ Forwarded");
        }
        if self.opened.view_once {
            note("① View once");
        }
        if self.opened.group_status {
            note("Status of the group");
        }
        if let Some(quoted) = self.missing_quote() {
            notes.push(quoted);
        }
        if notes.is_empty() {
            return body;
        }
        let (mut plain, mut html) = (String::new(), String::new());
        for (text, shown) in notes {
            plain.push_str(&text);
            plain.push_str("\n\n");
            html.push_str(&shown);
        }
        html.push_str(&body.html.unwrap_or_else(|| words::escape(&body.plain).replace('\n', "<br>")));
        plain.push_str(&body.plain);
        Body { plain: plain.trim_end().to_owned(), html: Some(html), people: body.people }
    }

    /// The quote of an answer whose message is not in the room, as text.
    fn missing_quote(&self) -> Option<(String, String)> {
        let name = self.reply_to.as_ref().filter(|name| !(self.context.known)(name))?;
        let quoted = self.info.quoted_message.as_option()?;
        let text = quote::in_words(quoted);
        let names = context_of(open(quoted).base).map(names_of).unwrap_or_default();
        // HTML knows one kind of line break.
        let text = words::clean(&text).replace("\r\n", "\n").replace('\r', "\n");
        let text = spell_out(words::cut(&text, 1_000), &names, &|id| self.name_of(id));
        let author = name.participant.as_ref().map(|jid| self.name_of(&jid.to_string()));
        let mut plain = String::new();
        let mut html = String::from("<blockquote>");
        if let Some(author) = author {
            plain.push_str(&format!("> {author}:\n"));
            html.push_str(&format!("<strong>{}</strong><br>", words::escape(&author)));
        }
        let lines: Vec<String> = text.lines().map(|line| format!("> {line}")).collect();
        plain.push_str(&lines.join("\n"));
        html.push_str(&words::escape(&text).replace('\n', "<br>"));
        html.push_str("</blockquote>");
        Some((plain, html))
    }
}
