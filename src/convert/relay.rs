//! Words of people who are relayed: a name that can do no harm, and a message put into the format around it. Pure.

use super::markup::{Block, Inline, html};
use serde_json::Value;

/// The longest name that is shown, in characters.
pub const NAME_LIMIT: usize = 50;
/// The longest user id that is shown, in characters.
pub const ID_LIMIT: usize = 120;
/// Where somebody's client says as whom they speak (MSC4144).
const PROFILE: &str = "com.beeper.per_message_profile";
/// What stands at the words it put in front for other clients (MSC4144).
const FALLBACK: &str = "data-mx-profile-fallback";

/// A name as it may stand in front of a message: one line that no client of WhatsApp reads as anything but letters. Breaks
/// and colons (which would begin a second "Name: ") are spaces; marks, what turns the writing direction, what can not be seen
/// and piles of accents are gone. May be empty.
#[must_use]
pub fn safe_name(name: &str) -> String {
    let spaced = |c: char| if is_colon(c) || c == '|' || c.is_whitespace() { ' ' } else { c };
    let text: String = name.chars().map(spaced).collect();
    let text = without_ats(&without_marks(&text));
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let joined = words.join(" ");
    // A leading sign would make an id of another person, a list or a quote of it.
    let bare = joined.trim_start_matches(['@', '#', '>', '-', '+', '.', '•', ' ']);
    let cut: String = bare.chars().take(NAME_LIMIT).collect();
    // Signs kept for the letter behind them, which may have been cut off.
    let cut = cut.trim_end_matches(['_', '@', ' ']).trim().to_owned();
    if cut.chars().any(|c| c.is_alphanumeric() || is_picture(c)) { cut } else { String::new() }
}

/// A name without what looks like the id that stands behind names two people have: of an `@` is left what is within a word.
fn without_ats(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let beside = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
    let is_kept = |(at, c): &(usize, char)| *c != '@' || beside(at.checked_sub(1)) && beside(Some(at + 1));
    chars.iter().copied().enumerate().filter(is_kept).map(|(_, c)| c).collect()
}

/// A Matrix id as it may stand beside a name.
#[must_use]
pub fn safe_id(id: &str) -> String {
    let text: String = id.chars().filter(|c| !c.is_whitespace()).collect();
    without_marks(&text).chars().take(ID_LIMIT).collect()
}

/// What two names look like that people take for the same.
#[must_use]
pub fn look(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn without_marks(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut accents = 0;
    for (at, c) in chars.iter().copied().enumerate() {
        let beside = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
        let is_kept = match c {
            '*' | '~' | '`' => false,
            // Within a word it is no mark.
            '_' => beside(at.checked_sub(1)) && beside(Some(at + 1)),
            c if is_accent(c) => {
                accents += 1;
                accents <= 2
            }
            c => !is_unseen(c),
        };
        if !is_accent(c) {
            accents = 0;
        }
        if is_kept {
            out.push(c);
        }
    }
    out
}

fn is_colon(c: char) -> bool {
    matches!(
        c,
        ':' | '\u{FF1A}'
            | '\u{FE55}'
            | '\u{FE13}'
            | '\u{2236}'
            | '\u{A789}'
            | '\u{02D0}'
            | '\u{02F8}'
            | '\u{0589}'
            | '\u{05C3}'
            | '\u{1361}'
            | '\u{16EC}'
            | '\u{205A}'
    )
}

/// Controls, what turns the writing direction (Unicode UAX #9), what has no width, and characters for private use. The joiner
/// and non-joiner of scripts and emoji stay.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
                | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}'
                | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E000}'..='\u{F8FF}'
                | '\u{E0000}'..='\u{E0FFF}' | '\u{F0000}'..='\u{10FFFF}'
        )
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

/// Whether somebody may be called by it alone: an emoji.
fn is_picture(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2BFF}' | '\u{1F000}'..='\u{1FAFF}')
}

/// Puts a message into the format around it, where `mark` stands.
#[must_use]
pub fn put_into(format: &str, mark: char, message: Vec<Block>) -> Vec<Block> {
    let mut out = Vec::new();
    let mut message = Some(message);
    for block in html::read(format).unwrap_or_default() {
        match block {
            Block::Lines(inlines) => match split_at_mark(&inlines, mark) {
                Some((before, after)) => out.extend(joined(before, message.take().unwrap_or_default(), after)),
                None => out.push(Block::Lines(inlines)),
            },
            other => out.push(other),
        }
    }
    out
}

fn split_at_mark(inlines: &[Inline], mark: char) -> Option<(Vec<Inline>, Vec<Inline>)> {
    let at = inlines.iter().position(|inline| matches!(inline, Inline::Text(text) if text.contains(mark)))?;
    let Some(Inline::Text(text)) = inlines.get(at) else { return None };
    let (left, right) = text.split_once(mark)?;
    let some = |text: &str| (!text.is_empty()).then(|| Inline::Text(text.to_owned()));
    let before = inlines.iter().take(at).cloned().chain(some(left)).collect();
    let after = some(right).into_iter().chain(inlines.iter().skip(at + 1).cloned()).collect();
    Some((before, after))
}

/// The message between what stands before and behind it: in their line where it begins or ends with one.
fn joined(before: Vec<Inline>, mut message: Vec<Block>, after: Vec<Inline>) -> Vec<Block> {
    match message.first_mut() {
        Some(Block::Lines(first)) => {
            first.splice(0..0, before);
        }
        // What is shown on lines of its own begins one: a blank before it is nothing.
        _ => {
            let mut before = before;
            if let Some(Inline::Text(last)) = before.last_mut() {
                last.truncate(last.trim_end().len());
            }
            message.insert(0, Block::Lines(before));
        }
    }
    if !after.is_empty() {
        match message.last_mut() {
            Some(Block::Lines(last)) => last.extend(after),
            _ => message.push(Block::Lines(after)),
        }
    }
    message
}

/// The letters of a text, where there can be no marks: on one line.
#[must_use]
pub fn letters(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        match block {
            Block::Lines(inlines) => letters_of(inlines, &mut out),
            Block::Code(code) => out.push_str(code),
            Block::Quote(inner) => out.push_str(&letters(inner)),
            Block::List { items, .. } => items.iter().for_each(|item| out.push_str(&letters(item))),
        }
        out.push(' ');
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn letters_of(inlines: &[Inline], out: &mut String) {
    for inline in inlines {
        match inline {
            Inline::Text(text) | Inline::Code(text) => out.push_str(text),
            Inline::Marked(_, inner) => letters_of(inner, out),
            Inline::Person { label, .. } => out.push_str(label),
        }
    }
}

/// The name somebody's client says they speak under in this event, as it stands there (MSC4144).
#[must_use]
pub fn profile_name(content: &Value) -> Option<&str> {
    let of = |content: &'_ Value| content[PROFILE]["displayname"].as_str().map(str::len).map(|_| ());
    let from = if of(&content["m.new_content"]).is_some() { &content["m.new_content"] } else { content };
    from[PROFILE]["displayname"].as_str()
}

/// Takes away what the client put in front of the words for those that show no such name (MSC4144).
pub fn strip_profile_fallback(content: &mut Value) {
    if let Some(new) = content.get_mut("m.new_content").filter(|new| new.is_object()) {
        strip_one(new);
    }
    strip_one(content);
}

fn strip_one(content: &mut Value) {
    let Some(name) = content[PROFILE]["displayname"].as_str().map(str::to_owned) else { return };
    let mut has_fallback = content[PROFILE]["has_fallback"].as_bool() == Some(true);
    if let Some(html) = content["formatted_body"].as_str() {
        let bare = without_fallback_element(html);
        if bare != html {
            has_fallback = true;
            content["formatted_body"] = bare.into();
        }
    }
    let prefix = format!("{name}: ");
    if has_fallback && let Some(body) = content["body"].as_str().and_then(|body| body.strip_prefix(&prefix)) {
        content["body"] = body.into();
    }
}

/// The HTML without elements that are marked as such a fallback.
fn without_fallback_element(html: &str) -> String {
    let mut out = html.to_owned();
    // More than a few are nobody's client.
    for _ in 0..4 {
        let Some(attribute) = out.find(FALLBACK) else { break };
        let Some(start) = out.get(..attribute).and_then(|before| before.rfind('<')) else { break };
        let name: String =
            out.get(start + 1..).unwrap_or_default().chars().take_while(char::is_ascii_alphanumeric).collect();
        let is_in_tag = out.get(start..attribute).is_some_and(|tag| !tag.contains('>'));
        let close = format!("</{name}>");
        let end = out.get(attribute..).and_then(|rest| rest.find(&close)).map(|at| attribute + at + close.len());
        match end {
            Some(end) if is_in_tag && !name.is_empty() => out.replace_range(start..end, ""),
            _ => break,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::markup::{Mark, marks};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn written(format: &str, message: &[Block]) -> String {
        marks::write(&put_into(format, '\u{E000}', message.to_vec()), &|_| None)
    }

    fn text(text: &str) -> Block {
        Block::Lines(vec![Inline::Text(text.into())])
    }

    #[test]
    fn names_can_do_no_harm() {
        for (name, safe) in [
            ("Alice", "Alice"),
            ("Alice Miller-Kern", "Alice Miller-Kern"),
            ("*Bob*: I quit\nAlice", "Bob I quit Alice"),
            ("_admin_ ~x~ ```y```", "admin x y"),
            ("john_doe", "john_doe"),
            ("Bob： hi", "Bob hi"),
            ("a\u{202E}ecila\u{2066}\u{200B}\u{FEFF}", "aecila"),
            ("@admin:example.org", "admin example.org"),
            ("Bob (@bob:example.org)", "Bob (bob example.org)"),
            ("Bob (@@bob", "Bob (bob"),
            ("me@home", "me@home"),
            ("> quote", "quote"),
            ("- item", "item"),
            ("\u{E000}\u{0}x", "x"),
            ("\u{200B}\u{2800} \u{3164}", ""),
            ("***", ""),
            ("…", ""),
            ("🦀", "🦀"),
            ("Zoë Müller", "Zoë Müller"),
            ("Z\u{301}\u{301}\u{301}\u{301}\u{301}algo", "Z\u{301}\u{301}algo"),
            ("علی\u{200C}رضا", "علی\u{200C}رضا"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        assert_eq!(safe_name(&"x".repeat(5000)).len(), NAME_LIMIT);
        assert_eq!(safe_id("@a_b*c:x.org"), "@a_bc:x.org");
        assert_eq!(look("A lice"), look("alice"));
    }

    #[test]
    fn a_message_stands_in_its_format() {
        let bold = "<b>Alice</b>: \u{E000}";
        assert_eq!(written(bold, &[text("hi")]), "*Alice*: hi");
        assert_eq!(written(bold, &[text("one\ntwo"), text("three")]), "*Alice*: one\ntwo\n\nthree");
        assert_eq!(written(bold, &[Block::Quote(vec![text("said")]), text("yes")]), "*Alice*:\n> said\nyes");
        assert_eq!(written("<b>A</b> sent audio", &[text("lost")]), "*A* sent audio");
        assert_eq!(written("<b>A</b>:<br>\u{E000} <i>(x)</i>", &[text("hi")]), "*A*:\nhi _(x)_");
        assert_eq!(written("<b>A</b>: \u{E000}!", &[Block::Code("x".into())]), "*A*:\n```x```\n!");
        let marked = Block::Lines(vec![Inline::Marked(Mark::Italic, vec![Inline::Text("waves".into())])]);
        assert_eq!(written("<b>A</b> \u{E000}", std::slice::from_ref(&marked)), "*A* _waves_");
        assert_eq!(letters(&put_into("A: \u{E000}", '\u{E000}', vec![marked, text("at\nyou")])), "A: waves at you");
    }

    #[test]
    fn the_fallback_of_a_profile_is_taken_away() {
        let mut content = json!({ "msgtype": "m.text", "body": "Ann: hello", "format": "org.matrix.custom.html",
            "formatted_body": "<strong data-mx-profile-fallback>Ann: </strong><em>hello</em>",
            PROFILE: { "id": "1", "displayname": "Ann", "has_fallback": true } });
        assert_eq!(profile_name(&content), Some("Ann"));
        content["m.new_content"] = content.clone();
        content["m.new_content"][PROFILE]["displayname"] = "Bea".into();
        content["m.new_content"]["body"] = "Bea: hello".into();
        assert_eq!(profile_name(&content), Some("Bea"));
        strip_profile_fallback(&mut content);
        for part in [&content, &content["m.new_content"]] {
            assert_eq!((&part["body"], &part["formatted_body"]), (&json!("hello"), &json!("<em>hello</em>")));
        }
        // Nobody's words are cut without it.
        let mut plain = json!({ "body": "Ann: hello", PROFILE: { "displayname": "Ann" } });
        strip_profile_fallback(&mut plain);
        assert_eq!(plain["body"], "Ann: hello");
        assert_eq!(profile_name(&json!({ "body": "x" })), None);
        for odd in ["data-mx-profile-fallback", "<b>data-mx-profile-fallback</b>", "<i data-mx-profile-fallback>"] {
            assert_eq!(without_fallback_element(odd), odd);
        }
    }

    proptest! {
        #[test]
        fn no_name_breaks_out_of_its_place(name in "(\\PC|[*_~`:\n\r\u{202E}\u{E000}<>&@]){0,80}", said in "[a-z ]{1,20}") {
            let name = safe_name(&name);
            prop_assert!(name.chars().count() <= NAME_LIMIT);
            prop_assert!(!name.chars().any(|c| c.is_control() || is_colon(c) || is_unseen(c) || "*~`\n".contains(c)));
            let again = safe_name(&name);
            prop_assert_eq!(again.trim_end(), name.trim_end());
            let html = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let line = written(&format!("<b>{html}</b>: \u{E000}"), &[text(&said)]);
            if !name.is_empty() {
                prop_assert_eq!(line.lines().count(), 1);
                prop_assert_eq!(line.find(':'), line.rfind(':'));
                prop_assert!(line.ends_with(&format!(": {said}")), "{}", line);
                prop_assert_eq!(line.matches('*').count(), 2);
            }
        }

        #[test]
        fn taking_a_fallback_away_never_panics(html in "(<|>|strong|data-mx-profile-fallback|/|é| ){0,30}") {
            let _shorter = without_fallback_element(&html);
        }
    }
}
