//! WhatsApp's marks into the tree.
//!
//! The rules as the phone app shows them (seen 2026): a mark opens after the beginning of a line, a blank or a sign
//! and before a character that is neither blank nor the same mark; it closes after a character that is no blank and
//! before the end of the line, a blank or a sign. Marks do not cross lines or each other and a mark is not repeated
//! inside itself. Nothing is read inside code and addresses.

use super::names::{Named, Names};
use super::{Block, Inline, Mark};

/// How deep quotes are read; deeper ones keep their sign.
const MAX_QUOTES: usize = 4;
const FENCE: &str = "```";

/// Reads a WhatsApp text.
pub fn read(text: &str, names: &Names) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((before, code, after)) = fence(rest) {
        read_lines(before.strip_suffix('\n').unwrap_or(before), names, 0, &mut blocks);
        blocks.push(Block::Code(code.trim_matches('\n').to_owned()));
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    if !rest.is_empty() || blocks.is_empty() {
        read_lines(rest, names, 0, &mut blocks);
    }
    blocks
}

/// The first code of several lines: text before it, its content, text after it.
fn fence(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find(FENCE).map(|at| from + at) {
        let inside = open + FENCE.len();
        let close = inside + text[inside..].find(FENCE)?;
        let content = &text[inside..close];
        if content.contains('\n') && !content.trim().is_empty() {
            return Some((&text[..open], content, &text[close + FENCE.len()..]));
        }
        from = close + FENCE.len();
    }
    None
}

fn read_lines(text: &str, names: &Names, depth: usize, blocks: &mut Vec<Block>) {
    if text.is_empty() && !blocks.is_empty() {
        return;
    }
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        if depth < MAX_QUOTES
            && let Some(first) = quoted(line)
        {
            let mut inner = first.to_owned();
            while let Some(next) = lines.peek().and_then(|next| quoted(next)) {
                inner.push('\n');
                inner.push_str(next);
                lines.next();
            }
            let mut content = Vec::new();
            read_lines(&inner, names, depth + 1, &mut content);
            blocks.push(Block::Quote(content));
        } else if let Some((start, first)) = item(line) {
            let mut items = vec![vec![Block::Lines(read_line(first, names))]];
            let mut next_number = start.map(|start| start.saturating_add(1));
            // A number out of its turn begins another list, so that every number is shown as it was written.
            while let Some((number, next)) = lines.peek().and_then(|next| item(next))
                && number == next_number
            {
                items.push(vec![Block::Lines(read_line(next, names))]);
                next_number = number.map(|number| number.saturating_add(1));
                lines.next();
            }
            blocks.push(Block::List { start, items });
        } else {
            let mut inlines = read_line(line, names);
            while let Some(next) = lines.peek()
                && (depth >= MAX_QUOTES || quoted(next).is_none())
                && item(next).is_none()
            {
                push_text(&mut inlines, "\n");
                for inline in read_line(next, names) {
                    push(&mut inlines, inline);
                }
                lines.next();
            }
            blocks.push(Block::Lines(inlines));
        }
    }
}

fn quoted(line: &str) -> Option<&str> {
    line.strip_prefix("> ").filter(|rest| !rest.trim().is_empty())
}

/// An item of a list: its number and its text.
fn item(line: &str) -> Option<(Option<u32>, &str)> {
    let full = |rest: &str| !rest.trim().is_empty();
    if let Some(rest) = line.strip_prefix("* ").or_else(|| line.strip_prefix("- ")) {
        return full(rest).then_some((None, rest));
    }
    let (number, rest) = line.split_once(". ")?;
    let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    // `007. x` would lose its zeros.
    let value: u32 = number.parse().ok().filter(|value: &u32| is_number && value.to_string() == number)?;
    full(rest).then_some((Some(value), rest))
}

/// One line, looked at from both ends.
struct Line<'a> {
    text: &'a str,
    /// Characters with their places in the text.
    chars: Vec<(usize, char)>,
    /// Where an opaque stretch (code, address) that begins here ends.
    opaque: Vec<Option<Opaque>>,
    /// For each mark: the next place at or after this one where it may close.
    closers: [Vec<usize>; 3],
}

#[derive(Clone, Copy)]
enum Opaque {
    Code { inner: (usize, usize), end: usize },
    Address { end: usize },
}

fn read_line(text: &str, names: &Names) -> Vec<Inline> {
    let line = Line::new(text);
    let mut out = Vec::new();
    line.read(0, line.chars.len(), &[], names, &mut out);
    out
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let chars: Vec<(usize, char)> = text.char_indices().collect();
        let mut line = Self { text, opaque: vec![None; chars.len()], closers: Default::default(), chars };
        let covered = line.find_opaque();
        let length = line.chars.len();
        line.closers = Mark::ALL.map(|mark| {
            let mut next = vec![usize::MAX; length + 1];
            for at in (0..length).rev() {
                next[at] = if !covered[at] && line.may_close(at, mark) { at } else { next[at + 1] };
            }
            next
        });
        line
    }

    fn char(&self, at: usize) -> Option<char> {
        self.chars.get(at).map(|(_, c)| *c)
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        let place = |at: usize| self.chars.get(at).map_or(self.text.len(), |(place, _)| *place);
        &self.text[place(from)..place(to)]
    }

    fn may_open(&self, at: usize, mark: Mark) -> bool {
        let before = at.checked_sub(1).and_then(|at| self.char(at));
        let after = self.char(at + 1);
        before.is_none_or(|c| !c.is_alphanumeric()) && after.is_some_and(|c| !c.is_whitespace() && c != mark.sign())
    }

    fn may_close(&self, at: usize, mark: Mark) -> bool {
        self.char(at) == Some(mark.sign())
            && at.checked_sub(1).and_then(|at| self.char(at)).is_some_and(|c| !c.is_whitespace())
            && self.char(at + 1).is_none_or(|c| !c.is_alphanumeric())
    }

    /// Notes code and addresses; says which places they cover.
    fn find_opaque(&mut self) -> Vec<bool> {
        let length = self.chars.len();
        let mut covered = vec![false; length];
        let (mut at, mut ticks_left, mut fences_left) = (0, true, true);
        while at < length {
            let is_tick = |at: usize| self.char(at) == Some('`');
            let is_fence = |at: usize| is_tick(at) && is_tick(at + 1) && is_tick(at + 2);
            let found = if fences_left && is_fence(at) {
                let close = (at + 3..length).find(|close| is_fence(*close));
                fences_left = close.is_some();
                close.map(|close| Opaque::Code { inner: (at + 3, close), end: close + 3 })
            } else if ticks_left && is_tick(at) {
                let close = (at + 1..length).find(|close| is_tick(*close));
                ticks_left = close.is_some();
                close.map(|close| Opaque::Code { inner: (at + 1, close), end: close + 1 })
            } else {
                self.address(at).map(|end| Opaque::Address { end })
            };
            let found = found.filter(|found| match found {
                Opaque::Code { inner: (from, to), .. } => !self.slice(*from, *to).trim().is_empty(),
                Opaque::Address { .. } => true,
            });
            match found {
                Some(opaque @ (Opaque::Code { end, .. } | Opaque::Address { end })) => {
                    self.opaque[at] = Some(opaque);
                    covered[at..end].fill(true);
                    at = end;
                }
                None => at += 1,
            }
        }
        covered
    }

    /// The end of an address that begins here. Signs at its end belong to the sentence.
    fn address(&self, at: usize) -> Option<usize> {
        if self.char(at) != Some('h')
            || at.checked_sub(1).and_then(|at| self.char(at)).is_some_and(char::is_alphanumeric)
        {
            return None;
        }
        let rest = self.slice(at, self.chars.len());
        if !rest.starts_with("https://") && !rest.starts_with("http://") {
            return None;
        }
        let blank = (at..self.chars.len()).find(|at| self.char(*at).is_some_and(char::is_whitespace));
        let mut end = blank.unwrap_or(self.chars.len());
        while end > at + 8 && self.char(end - 1).is_some_and(|c| "*_~`.,;:!?)\"'".contains(c)) {
            end -= 1;
        }
        Some(end)
    }

    fn read(&self, from: usize, to: usize, open: &[Mark], names: &Names, out: &mut Vec<Inline>) {
        let mut at = from;
        while at < to {
            match self.opaque[at] {
                Some(Opaque::Code { inner: (first, last), end }) => {
                    out.push(Inline::Code(self.slice(first, last).to_owned()));
                    at = end;
                    continue;
                }
                Some(Opaque::Address { end }) => {
                    push_text(out, self.slice(at, end));
                    at = end;
                    continue;
                }
                None => {}
            }
            // Inside of the bounds of `chars`, as `at < to`.
            let c = self.chars[at].1;
            let mark = Mark::ALL.iter().position(|mark| mark.sign() == c).map(|which| (which, Mark::ALL[which]));
            if let Some((which, mark)) = mark
                && !open.contains(&mark)
                && self.may_open(at, mark)
            {
                let close = self.closers[which][(at + 2).min(self.chars.len())];
                if close < to {
                    let mut inner = Vec::new();
                    let marks: Vec<Mark> = open.iter().copied().chain([mark]).collect();
                    self.read(at + 1, close, &marks, names, &mut inner);
                    out.push(Inline::Marked(mark, inner));
                    at = close + 1;
                    continue;
                }
            }
            if c == '@'
                && let Some((length, named)) = names.at(self.slice(at, to))
            {
                match named {
                    Named::Person { id, label } => {
                        out.push(Inline::Person { id: id.to_owned(), label: label.to_owned() });
                    }
                    Named::Group(subject) => push_text(out, &format!("@{subject}")),
                }
                // Ids are ASCII: as many characters as bytes.
                at += length;
                continue;
            }
            push_text(out, self.slice(at, at + 1));
            at += 1;
        }
    }
}

fn push(out: &mut Vec<Inline>, inline: Inline) {
    match inline {
        Inline::Text(text) => push_text(out, &text),
        other => out.push(other),
    }
}

pub(super) fn push_text(out: &mut Vec<Inline>, text: &str) {
    if let Some(Inline::Text(last)) = out.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        out.push(Inline::Text(text.to_owned()));
    }
}
