//! HTML from Matrix into the tree: what clients write (CS-API, allowed elements), and nothing that could hurt.
//!
//! The tokens come from html5ever; the elements are put together here, because a tree has to be bounded in depth
//! before it exists. Elements nobody knows are walked through, scripts and styles are dropped, and only the text and
//! the few attributes named below are ever looked at.

mod elements;

use super::lines::push_text;
use super::{Block, Inline, Mark};
use elements::{Element, Node};

/// Bytes of HTML that are read; no event of a homeserver can hold more.
pub const MAX_HTML: usize = 70_000;

/// Reads HTML. `None` when there is too much of it: the caller takes the plain body.
pub fn read(html: &str) -> Option<Vec<Block>> {
    if html.len() > MAX_HTML {
        return None;
    }
    let root = elements::parse(html);
    let mut blocks = read_blocks(&root);
    if blocks.is_empty() {
        blocks.push(Block::Lines(Vec::new()));
    }
    Some(blocks)
}

fn read_blocks(nodes: &[Node]) -> Vec<Block> {
    let mut reader = Reader { blocks: Vec::new(), line: Vec::new() };
    reader.read(nodes);
    reader.end_line();
    reader.blocks
}

struct Reader {
    blocks: Vec<Block>,
    line: Vec<Inline>,
}

impl Reader {
    fn read(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(text) => push_text(&mut self.line, &collapse(text)),
                Node::Element(element) => self.read_element(element),
            }
        }
    }

    fn read_element(&mut self, element: &Element) {
        let inside = &element.children;
        match element.name.as_str() {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.end_line();
                read_inline(inside, &mut self.line);
                let heading = std::mem::take(&mut self.line);
                self.line = vec![Inline::Marked(Mark::Bold, heading)];
                self.end_line();
            }
            "blockquote" => self.block(|| Some(Block::Quote(read_blocks(inside)))),
            "ul" | "ol" => self.block(|| read_list(element)),
            "pre" => self.block(|| {
                let code = element.text();
                let code = code.strip_prefix('\n').unwrap_or(&code);
                Some(Block::Code(code.strip_suffix('\n').unwrap_or(code).to_owned()))
            }),
            "hr" => self.block(|| Some(Block::Lines(vec![Inline::Text("———".to_owned())]))),
            "table" => self.block(|| Some(Block::Lines(read_table(element)))),
            "p" | "div" | "section" | "article" | "details" | "summary" | "li" | "dl" | "dt" | "dd" | "caption" => {
                self.end_line();
                self.read(inside);
                self.end_line();
            }
            _ if element.holds_blocks() => self.read(inside),
            _ => read_inline_element(element, &mut self.line),
        }
    }

    fn block(&mut self, make: impl FnOnce() -> Option<Block>) {
        self.end_line();
        self.blocks.extend(make());
    }

    fn end_line(&mut self) {
        let line = trim_line(std::mem::take(&mut self.line));
        if !line.is_empty() {
            self.blocks.push(Block::Lines(line));
        }
    }
}

fn read_list(list: &Element) -> Option<Block> {
    let start = (list.name == "ol").then(|| list.attribute("start").and_then(|start| start.parse().ok()).unwrap_or(1));
    let items: Vec<Vec<Block>> = list
        .children
        .iter()
        .filter_map(|child| match child {
            Node::Element(item) => Some(read_blocks(&item.children)),
            Node::Text(text) if !text.trim().is_empty() => {
                Some(vec![Block::Lines(vec![Inline::Text(collapse(text).trim().to_owned())])])
            }
            Node::Text(_) => None,
        })
        .filter(|item| !item.is_empty())
        .collect();
    (!items.is_empty()).then_some(Block::List { start, items })
}

/// A table as lines, cells parted by bars.
fn read_table(table: &Element) -> Vec<Inline> {
    let mut rows = Vec::new();
    table.each("tr", &mut |row| {
        let mut line = Vec::new();
        for cell in row.children.iter().filter_map(Node::element) {
            if !line.is_empty() {
                push_text(&mut line, " | ");
            }
            let mut content = Vec::new();
            read_inline(&cell.children, &mut content);
            line.extend(trim_line(content));
        }
        rows.push(line);
    });
    let mut out = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        if at > 0 {
            push_text(&mut out, "\n");
        }
        out.extend(row);
    }
    out
}

fn read_inline(nodes: &[Node], out: &mut Vec<Inline>) {
    for node in nodes {
        match node {
            Node::Text(text) => push_text(out, &collapse(text)),
            Node::Element(element) => read_inline_element(element, out),
        }
    }
}

fn read_inline_element(element: &Element, out: &mut Vec<Inline>) {
    let marked = |mark| {
        let mut inner = Vec::new();
        read_inline(&element.children, &mut inner);
        Inline::Marked(mark, inner)
    };
    match element.name.as_str() {
        "br" => push_text(out, "\n"),
        "b" | "strong" => out.push(marked(Mark::Bold)),
        "i" | "em" => out.push(marked(Mark::Italic)),
        "s" | "del" | "strike" => out.push(marked(Mark::Strike)),
        "code" | "tt" => out.push(Inline::Code(element.text())),
        "a" => read_link(element, out),
        "img" => {
            let shown = element.attribute("alt").or_else(|| element.attribute("title")).unwrap_or_default();
            push_text(out, &collapse(shown));
        }
        "span" if element.attribute("data-mx-spoiler").is_some() => {
            if let Some(reason) = element.attribute("data-mx-spoiler").filter(|reason| !reason.is_empty()) {
                push_text(out, &format!("({}) ", collapse(reason)));
            }
            push_text(out, "||");
            read_inline(&element.children, out);
            push_text(out, "||");
        }
        _ => read_inline(&element.children, out),
    }
}

/// A link: a person, or its text with the address behind it.
fn read_link(link: &Element, out: &mut Vec<Inline>) {
    let mut shown = Vec::new();
    read_inline(&link.children, &mut shown);
    let text = link.text();
    let text = text.trim();
    let Some(href) = link.attribute("href") else {
        out.extend(shown);
        return;
    };
    if let Some(id) = person_of(href) {
        out.push(Inline::Person { id, label: text.trim_start_matches('@').to_owned() });
        return;
    }
    if is_room_link(href) {
        out.extend(shown);
        return;
    }
    let bare = |address: &str| {
        let address = address.trim().trim_end_matches('/').to_ascii_lowercase();
        let after = |scheme: &str| address.strip_prefix(scheme).map(str::to_owned);
        after("https://")
            .or_else(|| after("http://"))
            .or_else(|| after("mailto:"))
            .or_else(|| after("tel:"))
            .unwrap_or(address)
    };
    if text.is_empty() {
        push_text(out, href);
    } else if bare(text) == bare(href) {
        out.extend(shown);
    } else if ["https://", "http://", "mailto:", "tel:"].iter().any(|scheme| href.starts_with(scheme)) {
        out.extend(shown);
        push_text(out, &format!(" ({})", href.trim()));
    } else {
        out.extend(shown);
    }
}

/// The Matrix id a link means (CS-API, "URIs": `matrix.to` and `matrix:`).
pub fn person_of(href: &str) -> Option<String> {
    let id = if let Some(rest) = href.strip_prefix("https://matrix.to/#/") {
        percent_decode(rest.split(['?', '/']).next()?)?
    } else {
        format!("@{}", percent_decode(href.strip_prefix("matrix:u/")?.split(['?', '/']).next()?)?)
    };
    let is_id = id.len() <= 255 && id.starts_with('@') && id.contains(':') && !id.contains(char::is_whitespace);
    is_id.then_some(id)
}

fn is_room_link(href: &str) -> bool {
    href.starts_with("https://matrix.to/#/") || href.starts_with("matrix:")
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Blanks as HTML shows them: any run of them is one space.
fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' ' | '\n' | '\t' | '\r' | '\u{c}') {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A line without blanks at its ends and around its breaks, and without doubled ones between its pieces.
fn trim_line(line: Vec<Inline>) -> Vec<Inline> {
    let mut out: Vec<Inline> = Vec::new();
    let mut after_blank = true;
    for inline in line {
        match inline {
            Inline::Text(text) => {
                let mut kept = String::new();
                for c in text.chars() {
                    if c == '\n' {
                        kept.truncate(kept.trim_end_matches(' ').len());
                    } else if c == ' ' && after_blank {
                        continue;
                    }
                    kept.push(c);
                    after_blank = c == ' ' || c == '\n';
                }
                push_text(&mut out, &kept);
            }
            other => {
                after_blank = false;
                out.push(other);
            }
        }
    }
    if let Some(Inline::Text(last)) = out.last_mut() {
        last.truncate(last.trim_end_matches([' ', '\n']).len());
        if last.is_empty() {
            out.pop();
        }
    }
    if let Some(Inline::Text(first)) = out.first_mut() {
        let from = first.len() - first.trim_start_matches([' ', '\n']).len();
        first.drain(..from);
        if first.is_empty() {
            out.remove(0);
        }
    }
    out
}
