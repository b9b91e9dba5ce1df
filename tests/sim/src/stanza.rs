//! Small readers and builders for WhatsApp's binary nodes.

use std::{
    borrow::Cow,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use wacore_binary::{Jid, Node, NodeContent, Server, builder::NodeBuilder};

/// The server's own address, `s.whatsapp.net` with an empty user.
pub fn server_jid() -> Jid {
    Jid::new("", Server::Pn)
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Milliseconds since 1970, as phones time votes.
pub fn unix_now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// An attribute as text.
pub fn attr<'a>(node: &'a Node, key: &str) -> Option<Cow<'a, str>> {
    node.attrs.get(key).map(|v| v.as_str())
}

/// An attribute as text, empty when absent.
pub fn attr_or_empty(node: &Node, key: &str) -> String {
    attr(node, key).map_or_else(String::new, Cow::into_owned)
}

/// An attribute as a JID.
pub fn jid(node: &Node, key: &str) -> Option<Jid> {
    node.attrs.get(key).and_then(|v| v.to_jid())
}

/// The binary content of a node; text content as its bytes.
pub fn bytes(node: &Node) -> Option<Vec<u8>> {
    match &node.content {
        Some(NodeContent::Bytes(b)) => Some(b.clone()),
        Some(NodeContent::String(s)) => Some(s.as_bytes().to_vec()),
        _ => None,
    }
}

/// The content of a node as text; nothing when it has none or is no UTF-8.
pub fn content_text(node: &Node) -> Option<String> {
    String::from_utf8(bytes(node)?).ok()
}

/// The binary content of the first child named `tag`.
pub fn child_bytes(node: &Node, tag: &str) -> Option<Vec<u8>> {
    node.get_optional_child(tag).and_then(bytes)
}

/// All children; none for text and binary content.
pub fn children(node: &Node) -> &[Node] {
    node.children().unwrap_or_default()
}

/// A node with binary content only.
pub fn leaf(tag: &'static str, content: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(content).build()
}

/// A node without content.
pub fn empty(tag: &'static str) -> Node {
    NodeBuilder::new(tag).build()
}

/// `<error code text/>`, the body of every refusal.
pub fn error_node(code: u16, text: &str) -> Node {
    NodeBuilder::new("error").attr("code", code).attr("text", text).build()
}

/// The answer to an IQ: same id, `from` = the request's `to`, type `result`.
pub fn iq_result(request: &Node, content: impl IntoIterator<Item = Node>) -> Node {
    let content: Vec<Node> = content.into_iter().collect();
    let builder = iq_reply(request, "result");
    if content.is_empty() { builder.build() } else { builder.children(content).build() }
}

/// The refusal of an IQ.
pub fn iq_error(request: &Node, code: u16, text: &str) -> Node {
    iq_reply(request, "error").children([error_node(code, text)]).build()
}

fn iq_reply(request: &Node, kind: &str) -> NodeBuilder {
    NodeBuilder::new("iq")
        .attr("from", jid(request, "to").unwrap_or_else(server_jid))
        .attr("id", attr_or_empty(request, "id"))
        .attr("type", kind)
}

/// `<stream:error><conflict type/></stream:error>`, optionally with a code.
pub fn conflict(kind: &str, code: Option<u16>) -> Node {
    let mut builder = NodeBuilder::new("stream:error");
    if let Some(code) = code {
        builder = builder.attr("code", code);
    }
    builder.children([NodeBuilder::new("conflict").attr("type", kind).build()]).build()
}

/// Copies the named attributes that are present from one node to a builder.
pub fn copy_attrs(mut to: NodeBuilder, from: &Node, keys: &[&'static str]) -> NodeBuilder {
    for key in keys {
        if let Some(value) = from.attrs.get(key) {
            to = to.attr(key, value.clone());
        }
    }
    to
}

/// Formats a node as XML; binary content as its length.
pub struct Xml<'a>(pub &'a Node);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0;
        write!(f, "<{}", node.tag)?;
        for (key, value) in &node.attrs {
            write!(f, " {key}=\"{value}\"")?;
        }
        match &node.content {
            None => return f.write_str("/>"),
            Some(NodeContent::Nodes(nodes)) => {
                f.write_str(">")?;
                for child in nodes {
                    write!(f, "{}", Xml(child))?;
                }
            }
            Some(NodeContent::String(text)) => write!(f, ">{text}")?,
            Some(NodeContent::Bytes(content)) => match std::str::from_utf8(content) {
                Ok(text) if !text.chars().any(char::is_control) => write!(f, ">{text}")?,
                _ => write!(f, "><!-- {} bytes -->", content.len())?,
            },
        }
        write!(f, "</{}>", node.tag)
    }
}
