//! What is shown of a link.

use super::draft::source_of;
use super::{LinkPreview, PreviewWish};
use crate::convert::markup::{Block, marks};
use crate::convert::words;
use serde_json::Value;

pub(super) fn wish(content: &Value, text: &[Block]) -> PreviewWish {
    let text = marks::write(text, &|_| None);
    let Some(given) = content.get("com.beeper.linkpreviews").and_then(Value::as_array) else {
        return PreviewWish::Unsaid(first_link(&text));
    };
    let given = given.iter().take(10).find_map(|preview| {
        // WhatsApp shows a preview for an address in the text only.
        let url = preview["matched_url"].as_str().filter(|url| !url.is_empty() && text.contains(url))?;
        read(url, preview)
    });
    given.map_or(PreviewWish::Nothing, PreviewWish::Given)
}

/// What is shown of `url`: what a homeserver or a client knows of it, under the client API's names. None when nothing is
/// known that has words.
pub fn read(url: &str, page: &Value) -> Option<LinkPreview> {
    let line = |key: &str| words::line(page[key].as_str().unwrap_or_default(), 300);
    let preview = LinkPreview {
        url: url.to_owned(),
        title: line("og:title"),
        description: line("og:description"),
        picture: source_of(page, "og:image", "beeper:image:encryption"),
    };
    Some(preview).filter(|preview| !preview.title.is_empty() || !preview.description.is_empty())
}

fn first_link(text: &str) -> Option<String> {
    let at = text.find("https://").into_iter().chain(text.find("http://")).min()?;
    let word = text[at..].split(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_end_matches(['*', '_', '~', '`', '.', ',', ';', ':', '!', '?', ')', '"', '\'']);
    words::web_address(word).map(str::to_owned)
}
