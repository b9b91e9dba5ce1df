//! The names of ghosts: the template of the config, and its rendering. Pure.
//!
//! The template language is the part of Go's templates that other bridges' configs use: `{{.PushName}}`,
//! `{{or .BusinessName .PushName .Phone "Unknown user"}}` (the first that is not empty). Names come from
//! strangers, so what they hold is cleaned before it is judged or shown.

use serde::{Deserialize, Deserializer, de};

/// The longest name a ghost gets, in characters.
pub const NAME_LIMIT: usize = 256;

/// The longest a single fact gets within a name, in characters, so that a stranger can't push the rest of the
/// template (the mark that says where the ghost comes from) over the end.
const FACT_LIMIT: usize = 128;

/// What a ghost is called when the template renders to nothing.
const NAMELESS: &str = "Unknown user";

/// What is known of a contact's name; `None` or empty = not known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NameFacts<'a> {
    /// The verified name of a business account.
    pub business_name: Option<&'a str>,
    /// What the contact calls themselves.
    pub push_name: Option<&'a str>,
    /// What the login's address book calls them.
    pub full_name: Option<&'a str>,
    /// Their phone number, with or without the plus sign.
    pub phone: Option<&'a str>,
}

/// A fact a template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    BusinessName,
    PushName,
    FullName,
    Phone,
}

impl Fact {
    const NAMES: [(&'static str, Self); 4] = [
        ("BusinessName", Self::BusinessName),
        ("PushName", Self::PushName),
        ("FullName", Self::FullName),
        ("Phone", Self::Phone),
    ];

    fn look_up(self, facts: &NameFacts<'_>) -> String {
        let raw = match self {
            Self::BusinessName => facts.business_name,
            Self::PushName => facts.push_name,
            Self::FullName => facts.full_name,
            Self::Phone => facts.phone,
        };
        let clean = clean(raw.unwrap_or_default(), FACT_LIMIT);
        // The number as people write it, whoever asked.
        if self == Self::Phone && clean.starts_with(|c: char| c.is_ascii_digit()) {
            return format!("+{clean}");
        }
        clean
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Fact(Fact),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The first operand that is not empty.
    FirstOf(Vec<Operand>),
}

/// A checked `network.displayname_template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplaynameTemplate(Vec<Piece>);

/// Why a text is no template, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateFault(String);

impl DisplaynameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateFault`] when braces do not pair, a field is unknown, something else than fields, `or` and
    /// quoted text is used, or the template names no field at all.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            push_text(&mut pieces, before)?;
            let end = end_of_action(after).ok_or_else(|| TemplateFault("`{{` without its `}}`".into()))?;
            let (action, tail) = after.split_at(end);
            pieces.push(Piece::FirstOf(parse_action(action)?));
            // `end` is where `}}` stands, so those two bytes are there.
            rest = tail.strip_prefix("}}").unwrap_or(tail);
        }
        push_text(&mut pieces, rest)?;
        let names_a_fact = pieces.iter().any(
            |piece| matches!(piece, Piece::FirstOf(operands) if operands.iter().any(|o| matches!(o, Operand::Fact(_)))),
        );
        if !names_a_fact {
            return Err(TemplateFault(format!(
                "names no field, so every contact would be called the same; use {}",
                field_list()
            )));
        }
        Ok(Self(pieces))
    }

    /// The name for these facts: see [`render_displayname`].
    #[must_use]
    pub fn render(&self, facts: &NameFacts<'_>) -> String {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::FirstOf(operands) => name.push_str(&first_of(operands, facts)),
            }
        }
        let name = clean(&name, NAME_LIMIT);
        if name.is_empty() { NAMELESS.to_owned() } else { name }
    }
}

/// The profile name of a contact: never empty, at most [`NAME_LIMIT`] characters, without control characters,
/// line breaks or characters that turn the writing direction.
#[must_use]
pub fn render_displayname(template: &DisplaynameTemplate, facts: &NameFacts<'_>) -> String {
    template.render(facts)
}

impl<'de> Deserialize<'de> for DisplaynameTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

fn first_of(operands: &[Operand], facts: &NameFacts<'_>) -> String {
    operands
        .iter()
        .map(|operand| match operand {
            Operand::Fact(fact) => fact.look_up(facts),
            Operand::Text(text) => text.clone(),
        })
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), TemplateFault> {
    if text.contains("}}") {
        return Err(TemplateFault("`}}` without its `{{`".into()));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(())
}

/// Where the closing braces stand, not counting those in quotes.
fn end_of_action(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted && text.get(at..).is_some_and(|rest| rest.starts_with("}}")) => {
                return Some(at);
            }
            _ => {}
        }
    }
    None
}

fn parse_action(action: &str) -> Result<Vec<Operand>, TemplateFault> {
    let mut operands = Vec::new();
    let mut rest = action.trim();
    let is_or = rest.strip_prefix("or").filter(|tail| tail.starts_with(char::is_whitespace));
    if let Some(tail) = is_or {
        rest = tail.trim_start();
    }
    while !rest.is_empty() {
        let (operand, tail) = parse_operand(rest)?;
        operands.push(operand);
        rest = tail.trim_start();
    }
    match operands.len() {
        0 => Err(TemplateFault(format!("`{{{{{action}}}}}` is empty; use {}", field_list()))),
        1 => Ok(operands),
        _ if is_or.is_some() => Ok(operands),
        _ => Err(TemplateFault(format!(
            "`{{{{{action}}}}}` has several values; write `{{{{or …}}}}` for the first that is not empty"
        ))),
    }
}

fn parse_operand(text: &str) -> Result<(Operand, &str), TemplateFault> {
    if let Some(quoted) = text.strip_prefix('"') {
        return parse_quoted(quoted);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, tail) = text.split_at(end);
    let Some(field) = word.strip_prefix('.') else {
        return Err(TemplateFault(format!("`{word}` is not understood; use {}, `or` and quoted text", field_list())));
    };
    Fact::NAMES
        .iter()
        .find(|(name, _)| *name == field)
        .map(|(_, fact)| (Operand::Fact(*fact), tail))
        .ok_or_else(|| TemplateFault(format!("`.{field}` is not a field; use {}", field_list())))
}

fn parse_quoted(text: &str) -> Result<(Operand, &str), TemplateFault> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Operand::Text(value), text.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Err(TemplateFault("a quote that does not end".into()))
}

fn field_list() -> String {
    let names: Vec<String> = Fact::NAMES.iter().map(|(name, _)| format!("`{{{{.{name}}}}}`")).collect();
    names.join(", ")
}

/// A stranger's text fit for a name: line breaks and tabs are spaces, other control characters and those that
/// turn the writing direction are gone, no space at the ends, at most `limit` characters.
/// A name that stands for itself, as an owner's address book has it: cleaned as facts in templates are.
#[must_use]
pub fn plain_name(text: &str) -> String {
    clean(text, FACT_LIMIT)
}

fn clean(text: &str, limit: usize) -> String {
    let shown: String = text
        .chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            // Unicode UAX #9: embeddings, overrides and isolates would reorder what stands behind the name.
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => None,
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect();
    let cut: String = shown.trim().chars().take(limit).collect();
    cut.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: &str = r#"{{or .BusinessName .PushName .Phone "Unknown user"}} (WA)"#;

    fn render(template: &str, facts: &NameFacts<'_>) -> String {
        render_displayname(&DisplaynameTemplate::parse(template).unwrap(), facts)
    }

    #[test]
    fn the_first_known_name_is_shown() {
        let mut facts = NameFacts {
            business_name: Some("Corner Shop"),
            push_name: Some("Ann"),
            full_name: Some("Ann Example"),
            phone: Some("15550001111"),
        };
        assert_eq!(render(DEFAULT, &facts), "Corner Shop (WA)");
        facts.business_name = Some("");
        assert_eq!(render(DEFAULT, &facts), "Ann (WA)");
        facts.push_name = None;
        assert_eq!(render(DEFAULT, &facts), "+15550001111 (WA)");
        facts.phone = None;
        assert_eq!(render(DEFAULT, &facts), "Unknown user (WA)");
        assert_eq!(render("{{ .FullName }}", &facts), "Ann Example");
        assert_eq!(render("{{.PushName}}", &facts), "Unknown user");
        assert_eq!(render("{{or .PushName \"say \\\"}}\\\"\"}}!", &facts), "say \"}}\"!");
    }

    #[test]
    fn line_breaks_nul_and_turned_writing_do_not_reach_the_profile() {
        let facts = NameFacts { push_name: Some("\u{0}Ann\r\nAdmin\u{202E}\u{7}\t"), ..NameFacts::default() };
        assert_eq!(render(DEFAULT, &facts), "Ann  Admin (WA)");
        let nothing =
            NameFacts { push_name: Some("\u{0}\u{202E} \n"), phone: Some("+15550001111"), ..NameFacts::default() };
        assert_eq!(render(DEFAULT, &nothing), "+15550001111 (WA)");
    }

    #[test]
    fn a_name_can_not_inject_a_field() {
        let facts = NameFacts { push_name: Some("{{.Phone}}"), phone: Some("15550001111"), ..NameFacts::default() };
        assert_eq!(render(DEFAULT, &facts), "{{.Phone}} (WA)");
    }

    #[test]
    fn a_long_name_keeps_the_mark_behind_it() {
        let long = "é".repeat(5000);
        let facts = NameFacts { push_name: Some(&long), ..NameFacts::default() };
        let name = render(DEFAULT, &facts);
        assert!(name.ends_with(" (WA)"));
        let many = "{{.PushName}}{{.PushName}}{{.PushName}}";
        assert_eq!(render(many, &facts).chars().count(), NAME_LIMIT);
    }

    #[test]
    fn a_bad_template_says_what_is_wrong() {
        let fields = "`{{.BusinessName}}`, `{{.PushName}}`, `{{.FullName}}`, `{{.Phone}}`";
        for (template, fault) in [
            ("{{.PushName", "`{{` without its `}}`".to_owned()),
            ("PushName}}", "`}}` without its `{{`".to_owned()),
            ("{{.Nick}}", format!("`.Nick` is not a field; use {fields}")),
            ("{{}}", format!("`{{{{}}}}` is empty; use {fields}")),
            (
                "{{.PushName .Phone}}",
                "`{{.PushName .Phone}}` has several values; write `{{or …}}` for the first that is not empty"
                    .to_owned(),
            ),
            ("{{if .PushName}}x{{end}}", format!("`if` is not understood; use {fields}, `or` and quoted text")),
            ("(WA)", format!("names no field, so every contact would be called the same; use {fields}")),
            ("{{or \"a", "`{{` without its `}}`".to_owned()),
        ] {
            assert_eq!(DisplaynameTemplate::parse(template).unwrap_err().to_string(), fault, "{template}");
        }
    }

    proptest! {
        #[test]
        fn reading_any_text_never_panics(text in r#"([{}". a-zA-Z\\]|or |\{\{|\}\}|\.Phone){0,20}"#) {
            if let Ok(template) = DisplaynameTemplate::parse(&text) {
                prop_assert!(!template.render(&NameFacts::default()).is_empty());
            }
        }

        #[test]
        fn every_name_is_fit_for_a_profile(push in any::<String>(), business in any::<Option<String>>()) {
            let facts = NameFacts { push_name: Some(&push), business_name: business.as_deref(), ..NameFacts::default() };
            let name = render(DEFAULT, &facts);
            prop_assert!(!name.chars().any(char::is_control));
            prop_assert!(!name.is_empty() && name.chars().count() <= NAME_LIMIT);
            prop_assert!(name.ends_with(" (WA)"));
        }
    }
}
