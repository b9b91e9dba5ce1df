//! The tree as a WhatsApp text.
//!
//! A mark is written only where the phone app would read it: `a<b>b</b>c` can not be marked in WhatsApp and comes as
//! `abc`, not as `a*b*c`. No character is added that the person did not write, except for marks.

use super::{Block, Inline, Mark};

/// How deep lists are indented; deeper ones stay at that margin.
const MAX_INDENT: usize = 6;

/// Writes the tree. `person` gives what stands behind the `@` for an id, when WhatsApp knows the person.
pub fn write(blocks: &[Block], person: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut before: Option<&Block> = None;
    for block in blocks {
        if let Some(before) = before {
            // Paragraphs are parted by an empty line, other things by their looks.
            let both_lines = matches!((before, block), (Block::Lines(_), Block::Lines(_)));
            out.push_str(if both_lines { "\n\n" } else { "\n" });
        }
        write_block(block, 0, person, &mut out);
        before = Some(block);
    }
    out
}

type People<'a> = &'a dyn Fn(&str) -> Option<String>;

fn write_block(block: &Block, indent: usize, people: People<'_>, out: &mut String) {
    match block {
        Block::Lines(inlines) => out.push_str(&write_line(inlines, people)),
        Block::Code(code) if code.contains("```") => out.push_str(code),
        Block::Code(code) if code.contains('\n') => {
            out.push_str("```\n");
            out.push_str(code);
            out.push_str("\n```");
        }
        Block::Code(code) => out.push_str(&format!("```{code}```")),
        Block::Quote(inner) => {
            let text = write(inner, people);
            for (at, line) in text.split('\n').enumerate() {
                if at > 0 {
                    out.push('\n');
                }
                out.push_str("> ");
                out.push_str(line);
            }
        }
        Block::List { start, items } => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push('\n');
                }
                let margin = "  ".repeat(indent.min(MAX_INDENT));
                out.push_str(&margin);
                match start {
                    Some(first) => {
                        let number = u64::from(*first) + at as u64;
                        out.push_str(&format!("{number}. "));
                    }
                    None => out.push_str("- "),
                }
                for (at, block) in item.iter().enumerate() {
                    if at > 0 {
                        out.push('\n');
                    }
                    write_block(block, indent + 1, people, out);
                }
            }
        }
    }
}

/// What a line is made of when it is written out.
enum Sign {
    Char(char),
    Code(String),
    Open(Mark, usize),
    Close(Mark, usize),
}

fn write_line(inlines: &[Inline], people: People<'_>) -> String {
    let mut signs = Vec::new();
    flatten(inlines, &[], people, &mut signs, &mut 0);
    let dropped = find_dropped(&signs);
    let mut out = String::new();
    for sign in &signs {
        match sign {
            Sign::Char(c) => out.push(*c),
            Sign::Code(code) => out.push_str(code),
            Sign::Open(mark, id) | Sign::Close(mark, id) => {
                if !dropped.contains(id) {
                    out.push(mark.sign());
                }
            }
        }
    }
    out
}

/// Lays the tree flat: marks hug their text (blanks stay outside), end before a line's end and begin again after it.
fn flatten(inlines: &[Inline], open: &[Mark], people: People<'_>, out: &mut Vec<Sign>, ids: &mut usize) {
    for inline in inlines {
        match inline {
            Inline::Text(text) => out.extend(text.chars().map(Sign::Char)),
            Inline::Code(code) if code.trim().is_empty() || code.contains("```") => {
                out.extend(code.chars().map(Sign::Char))
            }
            Inline::Code(code) if code.contains('`') || code.contains('\n') => {
                out.push(Sign::Code(format!("```{code}```")))
            }
            Inline::Code(code) => out.push(Sign::Code(format!("`{code}`"))),
            Inline::Person { id, label } => {
                let named = people(id).unwrap_or_else(|| label.clone());
                out.push(Sign::Char('@'));
                out.extend(named.chars().map(Sign::Char));
            }
            Inline::Marked(mark, inner) if open.contains(mark) => flatten(inner, open, people, out, ids),
            Inline::Marked(mark, inner) => {
                let marks: Vec<Mark> = open.iter().copied().chain([*mark]).collect();
                let mut content = Vec::new();
                flatten(inner, &marks, people, &mut content, ids);
                wrap(content, *mark, out, ids);
            }
        }
    }
}

fn wrap(content: Vec<Sign>, mark: Mark, out: &mut Vec<Sign>, ids: &mut usize) {
    let is_break = |sign: &Sign| matches!(sign, Sign::Char('\n'));
    let is_blank = |sign: &Sign| matches!(sign, Sign::Char(c) if c.is_whitespace());
    let mut lines: Vec<Vec<Sign>> = vec![Vec::new()];
    for sign in content {
        if is_break(&sign) {
            lines.push(Vec::new());
        } else if let Some(last) = lines.last_mut() {
            last.push(sign);
        }
    }
    for (at, mut line) in lines.into_iter().enumerate() {
        if at > 0 {
            out.push(Sign::Char('\n'));
        }
        let Some(first) = line.iter().position(|sign| !is_blank(sign)) else {
            out.extend(line);
            continue;
        };
        let last = line.iter().rposition(|sign| !is_blank(sign)).unwrap_or(first);
        let tail = line.split_off(last + 1);
        let middle = line.split_off(first);
        *ids += 1;
        out.extend(line);
        out.push(Sign::Open(mark, *ids));
        out.extend(middle);
        out.push(Sign::Close(mark, *ids));
        out.extend(tail);
    }
}

/// Marks that the phone app would not read where they stand. A pair around lines broken inside of it is never made,
/// so looking at the letters beside it is enough.
fn find_dropped(signs: &[Sign]) -> std::collections::HashSet<usize> {
    let letter = |sign: &Sign| match sign {
        Sign::Char(c) => Some(c.is_alphanumeric()),
        Sign::Code(_) => Some(false),
        Sign::Open(..) | Sign::Close(..) => None,
    };
    let mut dropped = std::collections::HashSet::new();
    let mut before = false;
    for sign in signs {
        if let Sign::Open(_, id) = sign
            && before
        {
            dropped.insert(*id);
        }
        before = letter(sign).unwrap_or(before);
    }
    let mut after = false;
    for sign in signs.iter().rev() {
        if let Sign::Close(_, id) = sign
            && after
        {
            dropped.insert(*id);
        }
        after = letter(sign).unwrap_or(after);
    }
    dropped
}
