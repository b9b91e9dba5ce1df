//! The template language of the config: the part of Go's templates that other bridges' configs use. Pure.
//!
//! `{{.Field}}`, `{{or .Field .Other "quoted text"}}` (the first that is not empty), and, where a template says what
//! stands around a text that may be missing, `{{if .Field}}…{{end}}`.

/// Why a text is no template, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateFault(String);

impl TemplateFault {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// What a kind of template can name.
pub(super) trait Field: Copy + PartialEq + 'static {
    /// Every field by its name, without the leading point.
    const NAMES: &'static [(&'static str, Self)];
    /// Whether `{{if}}` is understood.
    const HAS_IF: bool = false;
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand<F> {
    Field(F),
    Text(String),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<F> {
    /// Text as it stands.
    Text(String),
    /// The first operand that is not empty.
    FirstOf(Vec<Operand<F>>),
    /// What follows up to [`Piece::End`] stands there only where the field is not empty.
    If(F),
    /// See [`Piece::If`].
    End,
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template<F>(Vec<Piece<F>>);

impl<F: Field> Template<F> {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateFault`] when braces do not pair, a field is unknown, or something else than the language has is used.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut is_in_if = false;
        while let Some((before, after)) = rest.split_once("{{") {
            push_text(&mut pieces, before)?;
            let end = end_of_action(after).ok_or_else(|| TemplateFault::new("`{{` without its `}}`"))?;
            let (action, tail) = after.split_at(end);
            let piece = parse_action(action)?;
            match piece {
                Piece::If(_) if is_in_if => return Err(TemplateFault::new("an `{{if …}}` inside of another")),
                Piece::End if !is_in_if => return Err(TemplateFault::new("`{{end}}` without its `{{if …}}`")),
                Piece::If(_) => is_in_if = true,
                Piece::End => is_in_if = false,
                Piece::Text(_) | Piece::FirstOf(_) => {}
            }
            pieces.push(piece);
            // `end` is where `}}` stands, so those two bytes are there.
            rest = tail.strip_prefix("}}").unwrap_or(tail);
        }
        push_text(&mut pieces, rest)?;
        if is_in_if {
            return Err(TemplateFault::new("`{{if …}}` without its `{{end}}`"));
        }
        Ok(Self(pieces))
    }

    /// The fields whose values it shows, in order, as often as they stand there.
    pub(super) fn fields(&self) -> impl Iterator<Item = F> {
        let operands = self.0.iter().filter_map(|piece| match piece {
            Piece::FirstOf(operands) => Some(operands),
            Piece::Text(_) | Piece::If(_) | Piece::End => None,
        });
        operands.flatten().filter_map(|operand| match operand {
            Operand::Field(field) => Some(*field),
            Operand::Text(_) => None,
        })
    }

    /// The text with these values.
    pub(super) fn render(&self, value: &dyn Fn(F) -> String) -> String {
        let mut text = String::new();
        let mut is_left_out = false;
        for piece in &self.0 {
            match piece {
                Piece::If(field) => is_left_out = value(*field).is_empty(),
                Piece::End => is_left_out = false,
                _ if is_left_out => {}
                Piece::Text(literal) => text.push_str(literal),
                Piece::FirstOf(operands) => text.push_str(&first_of(operands, value)),
            }
        }
        text
    }
}

fn first_of<F: Field>(operands: &[Operand<F>], value: &dyn Fn(F) -> String) -> String {
    let of = |operand: &Operand<F>| match operand {
        Operand::Field(field) => value(*field),
        Operand::Text(text) => text.clone(),
    };
    operands.iter().map(of).find(|value| !value.is_empty()).unwrap_or_default()
}

fn push_text<F>(pieces: &mut Vec<Piece<F>>, text: &str) -> Result<(), TemplateFault> {
    if text.contains("}}") {
        return Err(TemplateFault::new("`}}` without its `{{`"));
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

fn parse_action<F: Field>(action: &str) -> Result<Piece<F>, TemplateFault> {
    let mut operands = Vec::new();
    let mut rest = action.trim();
    let behind = |word: &str| rest.strip_prefix(word).filter(|tail| tail.starts_with(char::is_whitespace));
    if F::HAS_IF && rest == "end" {
        return Ok(Piece::End);
    }
    if F::HAS_IF
        && let Some(tail) = behind("if")
    {
        return match parse_operand(tail.trim())? {
            (Operand::Field(field), "") => Ok(Piece::If(field)),
            _ => Err(TemplateFault::new(format!("`{{{{{action}}}}}`: behind `if` stands one field"))),
        };
    }
    let is_or = behind("or");
    if let Some(tail) = is_or {
        rest = tail.trim_start();
    }
    while !rest.is_empty() {
        let (operand, tail) = parse_operand(rest)?;
        operands.push(operand);
        rest = tail.trim_start();
    }
    match operands.len() {
        0 => Err(TemplateFault::new(format!("`{{{{{action}}}}}` is empty; use {}", field_list::<F>()))),
        1 => Ok(Piece::FirstOf(operands)),
        _ if is_or.is_some() => Ok(Piece::FirstOf(operands)),
        _ => Err(TemplateFault::new(format!(
            "`{{{{{action}}}}}` has several values; write `{{{{or …}}}}` for the first that is not empty"
        ))),
    }
}

fn parse_operand<F: Field>(text: &str) -> Result<(Operand<F>, &str), TemplateFault> {
    if let Some(quoted) = text.strip_prefix('"') {
        return parse_quoted(quoted);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, tail) = text.split_at(end);
    let Some(field) = word.strip_prefix('.') else {
        let others = if F::HAS_IF { "`or`, `if` … `end`" } else { "`or`" };
        let words = format!("`{word}` is not understood; use {}, {others} and quoted text", field_list::<F>());
        return Err(TemplateFault::new(words));
    };
    F::NAMES
        .iter()
        .find(|(name, _)| *name == field)
        .map(|(_, field)| (Operand::Field(*field), tail))
        .ok_or_else(|| TemplateFault::new(format!("`.{field}` is not a field; use {}", field_list::<F>())))
}

fn parse_quoted<F>(text: &str) -> Result<(Operand<F>, &str), TemplateFault> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Operand::Text(value), text.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Err(TemplateFault::new("a quote that does not end"))
}

/// The fields, as an operator writes them.
pub(super) fn field_list<F: Field>() -> String {
    let names: Vec<String> = F::NAMES.iter().map(|(name, _)| format!("`{{{{.{name}}}}}`")).collect();
    names.join(", ")
}
