//! Elements out of tokens, bounded in depth.

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, EndTag, StartTag, Tag, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use std::cell::RefCell;

/// How deep elements are kept; what is deeper belongs to the last one kept (CS-API recommends 100).
const MAX_DEPTH: usize = 100;
/// Elements without content.
const VOID: [&str; 4] = ["br", "hr", "img", "wbr"];
/// Elements whose content nobody is meant to read, and the fallback of replies in older clients.
const DROPPED: [&str; 7] = ["script", "style", "head", "title", "textarea", "iframe", "mx-reply"];
/// Elements on lines of their own.
const BLOCKS: [&str; 24] = [
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "ul",
    "ol",
    "pre",
    "hr",
    "table",
    "p",
    "div",
    "section",
    "article",
    "details",
    "summary",
    "li",
    "dl",
    "dt",
    "dd",
    "caption",
    "tr",
];

/// A piece of a document.
#[derive(Debug, Clone)]
pub enum Node {
    /// Letters.
    Text(String),
    /// An element.
    Element(Element),
}

impl Node {
    /// The element, when it is one.
    pub fn element(&self) -> Option<&Element> {
        match self {
            Self::Element(element) => Some(element),
            Self::Text(_) => None,
        }
    }
}

/// An element with the attributes that matter here.
#[derive(Debug, Clone)]
pub struct Element {
    /// Its name in lower case.
    pub name: String,
    attributes: Vec<(String, String)>,
    /// What is inside.
    pub children: Vec<Node>,
}

impl Element {
    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All letters inside, breaks as newlines.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) {
        if self.name == "br" {
            out.push('\n');
        }
        for child in &self.children {
            match child {
                Node::Text(text) => out.push_str(text),
                Node::Element(element) => element.write_text(out),
            }
        }
    }

    /// Whether something inside stands on lines of its own.
    pub fn holds_blocks(&self) -> bool {
        self.children
            .iter()
            .filter_map(Node::element)
            .any(|child| BLOCKS.contains(&child.name.as_str()) || child.holds_blocks())
    }

    /// Calls for every element of that name inside, in order, not for those inside of them.
    pub fn each(&self, name: &str, call: &mut dyn FnMut(&Element)) {
        for child in self.children.iter().filter_map(Node::element) {
            if child.name == name { call(child) } else { child.each(name, call) }
        }
    }
}

/// Puts a document together.
pub fn parse(html: &str) -> Vec<Node> {
    let builder = Builder { state: RefCell::new(State { open: vec![element("", Vec::new())], dropped: None }) };
    let tokenizer = Tokenizer::new(builder, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    // A script would pause the tokenizer; no token of ours is answered that way, so one call reads everything.
    drop(tokenizer.feed(&input));
    tokenizer.end();
    tokenizer.sink.state.into_inner().finish()
}

fn element(name: &str, attributes: Vec<(String, String)>) -> Element {
    Element { name: name.to_owned(), attributes, children: Vec::new() }
}

struct Builder {
    state: RefCell<State>,
}

struct State {
    /// Open elements, the document first; never empty.
    open: Vec<Element>,
    /// The dropped element we are in, and how many of its name are open.
    dropped: Option<(String, usize)>,
}

impl TokenSink for Builder {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.state.borrow_mut();
        match token {
            TagToken(tag) => state.tag(&tag),
            Token::CharacterTokens(text) => state.text(&text),
            Token::NullCharacterToken => state.text("\u{fffd}"),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl State {
    fn text(&mut self, text: &str) {
        if self.dropped.is_some() {
            return;
        }
        if let Some(parent) = self.open.last_mut() {
            match parent.children.last_mut() {
                Some(Node::Text(last)) => last.push_str(text),
                _ => parent.children.push(Node::Text(text.to_owned())),
            }
        }
    }

    fn tag(&mut self, tag: &Tag) {
        let name = tag.name.as_ref();
        if let Some((dropped, depth)) = &mut self.dropped {
            if dropped == name {
                match tag.kind {
                    StartTag => *depth += 1,
                    EndTag => *depth -= 1,
                }
                if *depth == 0 {
                    self.dropped = None;
                }
            }
            return;
        }
        match tag.kind {
            StartTag if DROPPED.contains(&name) => {
                if !tag.self_closing {
                    self.dropped = Some((name.to_owned(), 1));
                }
            }
            StartTag => self.start(name, tag),
            EndTag if name == "p" && !self.open.iter().any(|open| open.name == "p") => {}
            EndTag => self.end(name),
        }
    }

    fn start(&mut self, name: &str, tag: &Tag) {
        // Elements that end where the next one begins (HTML, "optional tags").
        match name {
            "li" => self.end_before("li", &["ul", "ol"]),
            "tr" => self.end_before("tr", &["table"]),
            "td" | "th" => {
                self.end_before("td", &["tr", "table"]);
                self.end_before("th", &["tr", "table"]);
            }
            _ if BLOCKS.contains(&name) => self.end_before("p", &["blockquote", "li", "td", "div"]),
            _ => {}
        }
        let attributes = tag
            .attrs
            .iter()
            .filter(|attribute| {
                matches!(attribute.name.local.as_ref(), "href" | "alt" | "title" | "start" | "data-mx-spoiler")
            })
            .map(|attribute| (attribute.name.local.to_string(), attribute.value.to_string()))
            .collect();
        let new = element(name, attributes);
        if VOID.contains(&name) || self.open.len() > MAX_DEPTH {
            if let Some(parent) = self.open.last_mut()
                && VOID.contains(&name)
            {
                parent.children.push(Node::Element(new));
            }
        } else {
            self.open.push(new);
        }
    }

    /// Ends the innermost element of that name, unless one of `within` is further inside.
    fn end_before(&mut self, name: &str, within: &[&str]) {
        let found = self.open.iter().rposition(|open| open.name == name || within.contains(&open.name.as_str()));
        if found.is_some_and(|at| self.open[at].name == name) {
            self.end(name);
        }
    }

    fn end(&mut self, name: &str) {
        let Some(at) = self.open.iter().rposition(|open| open.name == name).filter(|at| *at > 0) else { return };
        self.close_to(at);
    }

    fn close_to(&mut self, at: usize) {
        while self.open.len() > at {
            let Some(done) = self.open.pop() else { return };
            if let Some(parent) = self.open.last_mut() {
                parent.children.push(Node::Element(done));
            }
        }
    }

    fn finish(mut self) -> Vec<Node> {
        self.close_to(1);
        self.open.pop().map(|document| document.children).unwrap_or_default()
    }
}
