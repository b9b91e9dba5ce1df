//! The tree as HTML of the kind Matrix clients show (CS-API, `m.room.message` msgtypes, allowed elements).

use super::{Block, Inline};
use crate::convert::words::escape;
use std::fmt::Write as _;

/// HTML of the tree. `person` gives a WhatsApp id's Matrix id and name, when there are any.
pub fn show(blocks: &[Block], person: &dyn Fn(&str) -> Option<(String, String)>) -> String {
    let mut out = String::new();
    write_blocks(blocks, person, &mut out);
    out
}

type People<'a> = &'a dyn Fn(&str) -> Option<(String, String)>;

fn write_blocks(blocks: &[Block], people: People<'_>, out: &mut String) {
    let alone = blocks.len() == 1;
    for block in blocks {
        match block {
            Block::Lines(inlines) if alone => write_line(inlines, people, out),
            Block::Lines(inlines) => {
                let mut inner = String::new();
                write_line(inlines, people, &mut inner);
                // Empty lines around a list or a quote are its own margin.
                let mut inner = inner.as_str();
                while let Some(rest) = inner.strip_prefix("<br>").or_else(|| inner.strip_suffix("<br>")) {
                    inner = rest;
                }
                if !inner.is_empty() {
                    tag(out, "p", inner);
                }
            }
            // A first newline inside `pre` is not shown, so one is given away.
            Block::Code(code) => tag(out, "pre", &format!("<code>{}\n</code>", escape(code))),
            Block::Quote(inner) => {
                out.push_str("<blockquote>");
                write_blocks(inner, people, out);
                out.push_str("</blockquote>");
            }
            Block::List { start, items } => {
                let name = if start.is_some() { "ol" } else { "ul" };
                match start {
                    // Writing into a String can not fail.
                    Some(first) if *first != 1 => write!(out, "<ol start=\"{first}\">").ok(),
                    _ => write!(out, "<{name}>").ok(),
                };
                for item in items {
                    out.push_str("<li>");
                    write_blocks(item, people, out);
                    out.push_str("</li>");
                }
                write!(out, "</{name}>").ok();
            }
        }
    }
}

fn write_line(inlines: &[Inline], people: People<'_>, out: &mut String) {
    for inline in inlines {
        match inline {
            Inline::Text(text) => out.push_str(&escape(text).replace('\n', "<br>")),
            Inline::Code(code) => tag(out, "code", &escape(code)),
            Inline::Marked(mark, inner) => {
                // Writing into a String can not fail.
                write!(out, "<{}>", mark.element()).ok();
                write_line(inner, people, out);
                write!(out, "</{}>", mark.element()).ok();
            }
            Inline::Person { id, label } => match people(id) {
                Some((mxid, name)) => out.push_str(&pill(&mxid, &name)),
                None => {
                    out.push('@');
                    out.push_str(&escape(label));
                }
            },
        }
    }
}

fn tag(out: &mut String, name: &str, inner: &str) {
    // Writing into a String can not fail.
    write!(out, "<{name}>{inner}</{name}>").ok();
}

/// A link that clients show as a person (CS-API, "Mentioning users").
pub fn pill(mxid: &str, name: &str) -> String {
    let mut link = String::new();
    for byte in mxid.bytes() {
        if byte.is_ascii_alphanumeric() || b"@:._=+-".contains(&byte) {
            link.push(char::from(byte));
        } else {
            // Writing into a String can not fail.
            write!(link, "%{byte:02X}").ok();
        }
    }
    format!("<a href=\"https://matrix.to/#/{link}\">@{}</a>", escape(name))
}
