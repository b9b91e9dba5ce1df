//! The names of ghosts: the template of the config, and its rendering. Pure.
//!
//! The template language is the part of Go's templates that other bridges' configs use: `{{.PushName}}`,
//! `{{or .BusinessName .PushName .Phone "Unknown user"}}` (the first that is not empty). Names come from
//! strangers, so what they hold is cleaned before it is judged or shown.

use super::template::{Field, Template, TemplateFault, field_list};
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

impl Field for Fact {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("BusinessName", Self::BusinessName),
        ("PushName", Self::PushName),
        ("FullName", Self::FullName),
        ("Phone", Self::Phone),
    ];
}

impl Fact {
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

/// A checked `network.displayname_template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplaynameTemplate(Template<Fact>);

impl DisplaynameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateFault`] when braces do not pair, a field is unknown, something else than fields, `or` and
    /// quoted text is used, or the template names no field at all.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let template = Template::parse(text)?;
        if template.fields().next().is_none() {
            return Err(TemplateFault::new(format!(
                "names no field, so every contact would be called the same; use {}",
                field_list::<Fact>()
            )));
        }
        Ok(Self(template))
    }

    /// The name for these facts: see [`render_displayname`].
    #[must_use]
    pub fn render(&self, facts: &NameFacts<'_>) -> String {
        let name = self.0.render(&|fact| fact.look_up(facts));
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

/// A name that stands for itself, as an owner's address book has it: cleaned as facts in templates are.
#[must_use]
pub fn plain_name(text: &str) -> String {
    clean(text, FACT_LIMIT)
}

/// A stranger's text fit for a name: line breaks and tabs are spaces, other control characters and those that
/// turn the writing direction are gone, no space at the ends, at most `limit` characters.
pub(super) fn clean(text: &str, limit: usize) -> String {
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
