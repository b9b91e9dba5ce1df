//! Relay mode: who may be relayed through whom, and what is written around their words.
//!
//! A format is a template whose text is HTML as clients write it; what stands in its fields is text, never HTML. Where the
//! message belongs it has [`MESSAGE_MARK`], which no name and no message can hold there.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use serde_yaml::{Mapping, Value};

use super::faults::{Faults, nearest};
use super::template::{Field, Template, TemplateFault, field_list};

/// Stands in a rendered format where the message belongs: a character for private use.
pub const MESSAGE_MARK: char = '\u{E000}';

/// Section `bridge.relay`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Whether anybody is relayed.
    pub enabled: bool,
    /// Whether only administrators may say `set-relay`.
    pub admin_only: bool,
    /// Accounts that relay the groups they are in unless somebody chose another: digits of their numbers.
    pub default_relays: Vec<String>,
    /// Whether what machines say (`m.notice`) is relayed.
    pub notices: bool,
    /// What is written around a message.
    pub message_formats: MessageFormats,
    /// What somebody is called in it.
    pub displayname_format: NameFormat,
}

/// What a format is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FormatKind {
    /// Words.
    Text,
    /// Words of a machine.
    Notice,
    /// What somebody does.
    Emote,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// Sound, or a recorded voice.
    Audio,
    /// Another file.
    File,
    /// A sticker.
    Sticker,
    /// A place.
    Location,
    /// A reaction.
    Reaction,
    /// A poll.
    Poll,
}

impl FormatKind {
    /// Every kind: its name in the config, and its format unless another is given.
    const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Text, "m.text", "<b>{{.Sender.FormattedName}}</b>: {{.Message}}"),
        (Self::Notice, "m.notice", "<b>{{.Sender.FormattedName}}</b>: {{.Message}}"),
        (Self::Emote, "m.emote", "<b>{{.Sender.FormattedName}}</b> {{.Message}}"),
        (Self::Image, "m.image", "<b>{{.Sender.FormattedName}}</b>{{if .Caption}}: {{.Caption}}{{end}}"),
        (Self::Video, "m.video", "<b>{{.Sender.FormattedName}}</b>{{if .Caption}}: {{.Caption}}{{end}}"),
        (Self::Audio, "m.audio", "<b>{{.Sender.FormattedName}}</b> sent audio{{if .Caption}}: {{.Caption}}{{end}}"),
        (Self::File, "m.file", "<b>{{.Sender.FormattedName}}</b>{{if .Caption}}: {{.Caption}}{{end}}"),
        (Self::Sticker, "m.sticker", "<b>{{.Sender.FormattedName}}</b> sent a sticker"),
        (Self::Location, "m.location", "{{.Sender.FormattedName}}{{if .Message}}: {{.Message}}{{end}}"),
        (Self::Reaction, "m.reaction", "<b>{{.Sender.FormattedName}}</b> reacted with {{.Message}}"),
        (Self::Poll, "m.poll.start", "{{.Sender.FormattedName}}: {{.Message}}"),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(kind, ..)| *kind)
    }

    /// Whether a format that leaves the message out would lose it.
    fn has_words(self) -> bool {
        !matches!(self, Self::Sticker | Self::Location)
    }
}

/// A field of a message's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InMessage {
    FormattedName,
    DisambiguatedName,
    Displayname,
    UserId,
    Message,
    Caption,
    FileName,
}

impl Field for InMessage {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("Sender.FormattedName", Self::FormattedName),
        ("Sender.DisambiguatedName", Self::DisambiguatedName),
        ("Sender.Displayname", Self::Displayname),
        ("Sender.UserID", Self::UserId),
        ("Message", Self::Message),
        ("Caption", Self::Caption),
        ("FileName", Self::FileName),
    ];
    const HAS_IF: bool = true;
}

impl InMessage {
    fn is_words(self) -> bool {
        matches!(self, Self::Message | Self::Caption)
    }

    fn names_sender(self) -> bool {
        !self.is_words() && self != Self::FileName
    }
}

/// A field of the format of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InName {
    Displayname,
    UserId,
    DisambiguatedName,
}

impl Field for InName {
    const NAMES: &'static [(&'static str, Self)] =
        &[("Displayname", Self::Displayname), ("UserID", Self::UserId), ("DisambiguatedName", Self::DisambiguatedName)];
}

/// Whose message it is. All of it has to be safe already: one line, without marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderNames {
    /// Their name, or their id when they have none.
    pub displayname: String,
    /// Their Matrix id.
    pub user_id: String,
    /// Their name, with the id behind it where another has the same.
    pub disambiguated: String,
}

/// The formats of messages; see [`FormatKind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFormats(BTreeMap<FormatKind, Template<InMessage>>);

impl MessageFormats {
    /// What is written around a message: HTML, in which [`MESSAGE_MARK`] stands where the message belongs, if it has words.
    #[must_use]
    pub fn render(&self, kind: FormatKind, names: &SenderNames, name: &str, file: &str, has_words: bool) -> String {
        let Some(format) = self.0.get(&kind) else { return String::new() };
        render(format, names, name, file, has_words)
    }
}

fn render(format: &Template<InMessage>, names: &SenderNames, name: &str, file: &str, has_words: bool) -> String {
    format.render(&|field| match field {
        InMessage::FormattedName => escape(name),
        InMessage::DisambiguatedName => escape(&names.disambiguated),
        InMessage::Displayname => escape(&names.displayname),
        InMessage::UserId => escape(&names.user_id),
        InMessage::FileName => escape(file),
        InMessage::Message | InMessage::Caption if has_words => MESSAGE_MARK.to_string(),
        InMessage::Message | InMessage::Caption => String::new(),
    })
}

impl<'de> Deserialize<'de> for MessageFormats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given: BTreeMap<String, String> = BTreeMap::deserialize(deserializer)?;
        let mut formats = BTreeMap::new();
        for (kind, name, default) in FormatKind::ALL {
            let text = given.get(name).map_or(default, String::as_str);
            formats.insert(kind, read_format(kind, text).map_err(de::Error::custom)?);
        }
        Ok(Self(formats))
    }
}

/// A checked `bridge.relay.displayname_format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFormat(Template<InName>);

impl NameFormat {
    /// Reads a format.
    ///
    /// # Errors
    /// [`TemplateFault`] when it is no template, or the same for everybody.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let template = Template::parse(text)?;
        if template.fields().next().is_none() {
            let words =
                format!("names no field, so everybody would be called the same; use {}", field_list::<InName>());
            return Err(TemplateFault::new(words));
        }
        Ok(Self(template))
    }

    /// What somebody is called.
    #[must_use]
    pub fn render(&self, names: &SenderNames) -> String {
        let text = self.0.render(&|field| match field {
            InName::Displayname => names.displayname.clone(),
            InName::UserId => names.user_id.clone(),
            InName::DisambiguatedName => names.disambiguated.clone(),
        });
        if text.trim().is_empty() { names.user_id.clone() } else { text }
    }
}

impl<'de> Deserialize<'de> for NameFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Reads the format of one kind.
///
/// # Errors
/// [`TemplateFault`] when it is no template, does not say whose message it is, loses it, or has it twice or inside of an
/// element.
fn read_format(kind: FormatKind, text: &str) -> Result<Template<InMessage>, TemplateFault> {
    let format = Template::<InMessage>::parse(text)?;
    if !format.fields().any(InMessage::names_sender) {
        return Err(TemplateFault::new(format!(
            "does not say who wrote it; use {}",
            field_list::<InMessage>().split(", `{{.Message}}`").next().unwrap_or_default()
        )));
    }
    match format.fields().filter(|field| field.is_words()).count() {
        0 if kind.has_words() => return Err(TemplateFault::new("leaves the message out; put `{{.Message}}` in")),
        0 | 1 => {}
        _ => return Err(TemplateFault::new("has the message twice; leave one `{{.Message}}` or `{{.Caption}}`")),
    }
    let name = "n".to_owned();
    let names = SenderNames { displayname: name.clone(), user_id: name.clone(), disambiguated: name.clone() };
    let html = render(&format, &names, &name, &name, true);
    let before = html.split(MESSAGE_MARK).next().unwrap_or_default();
    if html.contains(MESSAGE_MARK) && open_elements(before) != 0 {
        return Err(TemplateFault::new("has the message inside of an element; close the element before it"));
    }
    Ok(format)
}

/// How many elements are open behind this HTML, or a tag is cut.
fn open_elements(html: &str) -> i64 {
    let mut open = 0;
    for tag in html.split('<').skip(1) {
        let Some((tag, _)) = tag.split_once('>') else { return 1 };
        if tag.starts_with('/') {
            open -= 1;
        } else if !tag.ends_with('/') && !tag.starts_with("br") {
            open += 1;
        }
    }
    open
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The good formats of a mapping; each bad one is a fault of its own.
pub(super) fn accept_formats(entries: &Mapping, place: &str, faults: &mut Faults) -> Value {
    let mut good = Mapping::new();
    for (name, text) in entries {
        let name = name.as_str().unwrap_or_default();
        let entry = format!("{place}.{}", super::load::shown(name));
        let Some(kind) = FormatKind::named(name) else {
            let known = FormatKind::ALL.iter().map(|(_, known, _)| *known);
            let all: Vec<String> = known.clone().map(|known| format!("`{known}`")).collect();
            let near = nearest(name, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            faults.add(&entry, "is no kind of message", format!("{near}It is one of {}", all.join(", ")));
            continue;
        };
        match text.as_str().map(|text| read_format(kind, text)) {
            Some(Ok(_)) => {
                good.insert(Value::from(name), text.clone());
            }
            Some(Err(why)) => faults.add(&entry, why.to_string(), "correct the format"),
            None => faults.add(&entry, "must be text", "put the format in quotes"),
        }
    }
    Value::Mapping(good)
}

/// The good numbers of a list, as digits; each bad one is a fault of its own.
pub(super) fn accept_numbers(entries: &[Value], place: &str, faults: &mut Faults) -> Value {
    let mut good = Vec::new();
    for entry in entries {
        let text = match entry {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let is_number = text.chars().all(|c| c.is_ascii_digit() || "+ -()".contains(c));
        if is_number && (5..=20).contains(&digits.len()) {
            good.push(Value::from(digits));
        } else {
            // It may be a number with a slip: not shown.
            faults.add(place, "holds something that is no phone number", "write numbers as in ['+15550001111']");
        }
    }
    Value::Sequence(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(text: &str) -> Result<MessageFormats, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    fn alice() -> SenderNames {
        SenderNames {
            displayname: "Alice".into(),
            user_id: "@alice:x".into(),
            disambiguated: "Alice (@alice:x)".into(),
        }
    }

    fn rendered(format: &str, has_words: bool) -> String {
        let formats = formats(&format!("{{m.image: '{format}'}}")).unwrap();
        formats.render(FormatKind::Image, &alice(), "<i>&", "a.png", has_words)
    }

    #[test]
    fn the_built_in_formats_are_good_and_say_who() {
        let formats = formats("{}").unwrap();
        for (kind, name, _) in FormatKind::ALL {
            let text = formats.render(kind, &alice(), "Alice", "f", true);
            assert!(text.contains("Alice"), "{name}: {text}");
            assert_eq!(text.contains(MESSAGE_MARK), kind != FormatKind::Sticker, "{name}: {text}");
        }
    }

    #[test]
    fn a_caption_that_is_missing_takes_its_colon_with_it() {
        let format = "<b>{{.Sender.FormattedName}}</b>{{if .Caption}}: {{.Caption}}{{end}}!";
        assert_eq!(rendered(format, true), "<b>&lt;i&gt;&amp;</b>: \u{E000}!");
        assert_eq!(rendered(format, false), "<b>&lt;i&gt;&amp;</b>!");
        assert_eq!(rendered("{{.Sender.UserID}} {{.FileName}} {{or .Caption \"-\"}}", false), "@alice:x a.png -");
    }

    #[test]
    fn a_bad_format_says_what_is_wrong() {
        for (format, fault) in [
            ("{{.Message}}", "does not say who wrote it; use `{{.Sender.FormattedName}}`"),
            ("{{.Sender.UserID}}", "leaves the message out"),
            ("{{.Sender.UserID}}{{.Message}}{{.Caption}}", "has the message twice"),
            ("<b>{{.Sender.UserID}} {{.Message}}</b>", "inside of an element"),
            ("{{.Sender.UserID}} <b {{.Message}}>", "inside of an element"),
            ("{{.Sender.Nick}}: {{.Message}}", "`.Sender.Nick` is not a field"),
            ("{{if .Caption}}{{.Sender.UserID}}{{.Message}}", "`{{if …}}` without its `{{end}}`"),
            ("{{end}}{{.Sender.UserID}}{{.Message}}", "`{{end}}` without its `{{if …}}`"),
            ("{{if .Caption}}{{if .Caption}}", "inside of another"),
            ("{{if \"x\"}}", "behind `if` stands one field"),
            ("{{with .Sender}}", "`with` is not understood"),
        ] {
            let why = read_format(FormatKind::Text, format).unwrap_err().to_string();
            assert!(why.contains(fault), "{format}: {why}");
        }
        assert!(read_format(FormatKind::Sticker, "{{.Sender.UserID}}").is_ok());
        assert!(read_format(FormatKind::Text, "<b>{{.Sender.UserID}}</b>:<br>{{.Message}} <i>(relayed)</i>").is_ok());
        let why = NameFormat::parse("somebody").unwrap_err().to_string();
        assert!(why.contains("everybody would be called the same"), "{why}");
        let named = NameFormat::parse("{{.DisambiguatedName}} [M]").unwrap().render(&alice());
        assert_eq!(named, "Alice (@alice:x) [M]");
    }
}
