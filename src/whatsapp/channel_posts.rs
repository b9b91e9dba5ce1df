//! Posts of channels as they stand in stanzas, and how they are asked for.
//!
//! The library drops what a stanza says beside the words (that a post was taken back, how often it was seen), so stanzas
//! are read here. Channels are not encrypted: the message stands there as it is.

use crate::convert::channel::Counts;
use crate::ids::ChatId;
use whatsapp_rust::IqError;
use whatsapp_rust::prelude::{Client, Jid, Server};
use whatsapp_rust::wacore::request::InfoQuery;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{NodeContent, NodeRef};

/// The namespace of questions about posts.
const NAMESPACE: &str = "newsletter";

/// A post, or a word about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Post {
    /// WhatsApp's message id; empty when not told.
    pub(super) id: String,
    /// The server's number.
    pub(super) server_id: i64,
    /// When it was posted, milliseconds since 1970; 0 when not told.
    pub(super) ts_ms: i64,
    /// The encoded message; empty once it was taken back, none where the word is not about it.
    pub(super) content: Option<Vec<u8>>,
    /// None when not told.
    pub(super) counts: Option<Counts>,
}

/// What a stanza tells about posts of a channel.
pub(super) struct Heard {
    /// The channel.
    pub(super) chat: ChatId,
    /// The posts.
    pub(super) posts: Vec<Post>,
}

/// What a stanza that arrived by itself tells; none in stanzas that are not about posts.
pub(super) fn heard_in(stanza: &NodeRef<'_>) -> Option<Heard> {
    let from = stanza.attrs().optional_jid("from").filter(|from| from.server == Server::Newsletter)?;
    let chat = ChatId::new(from.to_non_ad().to_string());
    let posts = match stanza.tag.as_ref() {
        "message" => vec![post_in(stanza)?],
        "notification" => {
            let lists = stanza.get_optional_child("live_updates")?.children().unwrap_or_default().iter();
            lists.flat_map(|list| list.children().unwrap_or_default()).filter_map(post_in).collect()
        }
        _ => return None,
    };
    Some(Heard { chat, posts })
}

/// Whether a stanza is a post of a channel.
pub(super) fn is_post(stanza: &NodeRef<'_>) -> bool {
    stanza.attrs().optional_jid("from").is_some_and(|from| from.server == Server::Newsletter)
}

fn post_in(node: &NodeRef<'_>) -> Option<Post> {
    let number =
        |node: &NodeRef<'_>, key: &str| node.get_attr(key).and_then(|value| value.as_str().parse::<i64>().ok());
    let server_id = number(node, "server_id").filter(|id| *id > 0)?;
    let plaintext = node.get_optional_child("plaintext");
    // A post taken back may come with nothing in it, or with no content at all.
    let is_revoke = node.get_attr("edit").is_some_and(|edit| matches!(edit.as_str().as_ref(), "7" | "8"));
    let content = match plaintext {
        _ if is_revoke => Some(Vec::new()),
        Some(plaintext) => Some(plaintext.content_bytes().unwrap_or_default().to_vec()),
        None => None,
    };
    let views = node.get_optional_child("views_count").and_then(|views| number(views, "count"));
    let reactions = node.get_optional_child("reactions").map(|reactions| {
        let each = reactions.children().unwrap_or_default().iter().filter(|node| node.tag.as_ref() == "reaction");
        let read = |node: &NodeRef<'_>| {
            let code = node.get_attr("code")?.as_str().into_owned();
            Some((code, u64::try_from(number(node, "count")?).ok()?))
        };
        each.filter_map(read).collect::<Vec<_>>()
    });
    let views = views.and_then(|views| u64::try_from(views).ok());
    let is_counted = views.is_some() || reactions.is_some();
    Some(Post {
        id: node.get_attr("id").map(|id| id.as_str().into_owned()).unwrap_or_default(),
        server_id,
        ts_ms: number(node, "t").unwrap_or(0).saturating_mul(1000),
        content,
        counts: is_counted.then(|| Counts { views, reactions: reactions.unwrap_or_default() }),
    })
}

/// Asks for posts of a channel, oldest first: the newest ones, or those before a number.
///
/// # Errors
/// The library's.
pub(super) async fn fetch(
    client: &Client,
    channel: &Jid,
    count: u32,
    before: Option<i64>,
) -> Result<Vec<Post>, IqError> {
    let mut wanted = NodeBuilder::new("messages").attr("count", count);
    if let Some(before) = before {
        wanted = wanted.attr("before", before);
    }
    let content = NodeContent::Nodes(vec![wanted.build()]);
    let answer = client.send_iq(InfoQuery::get(NAMESPACE, channel.clone(), Some(content))).await?;
    let lists = answer.get().children().unwrap_or_default().iter().filter(|list| list.tag.as_ref() == "messages");
    let nodes =
        lists.flat_map(|list| list.children().unwrap_or_default()).filter(|node| node.tag.as_ref() == "message");
    let mut posts: Vec<Post> = nodes.filter_map(post_in).collect();
    for post in &mut posts {
        // In an answer a post without content is one that was taken back.
        post.content.get_or_insert_default();
    }
    posts.sort_by_key(|post| post.server_id);
    Ok(posts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: Vec<whatsapp_rust::wacore_binary::Node>) -> NodeBuilder {
        NodeBuilder::new("message")
            .attr("from", "1@newsletter")
            .attr("id", "A")
            .attr("server_id", "101")
            .attr("t", "1700000000")
            .children(content)
    }

    fn plaintext(bytes: &[u8]) -> whatsapp_rust::wacore_binary::Node {
        NodeBuilder::new("plaintext").bytes(bytes.to_vec()).build()
    }

    #[test]
    fn a_stanza_tells_a_post() {
        let node = message(vec![plaintext(b"x")]).build();
        let heard = heard_in(&node.as_node_ref()).unwrap();
        let post = Post {
            id: "A".into(),
            server_id: 101,
            ts_ms: 1_700_000_000_000,
            content: Some(b"x".to_vec()),
            counts: None,
        };
        assert_eq!((heard.chat.as_str(), heard.posts), ("1@newsletter", vec![post]));
        assert!(is_post(&node.as_node_ref()));
        let revoked = message(vec![plaintext(b"x")]).attr("edit", "8").build();
        assert_eq!(heard_in(&revoked.as_node_ref()).unwrap().posts[0].content, Some(Vec::new()));
        let direct = NodeBuilder::new("message").attr("from", "1@lid").attr("server_id", "5").build();
        assert!(heard_in(&direct.as_node_ref()).is_none() && !is_post(&direct.as_node_ref()));
    }

    #[test]
    fn a_note_tells_counts() {
        let reaction = NodeBuilder::new("reaction").attr("code", "👍").attr("count", "3").build();
        let counts = vec![
            NodeBuilder::new("views_count").attr("count", "7").build(),
            NodeBuilder::new("reactions").children([reaction]).build(),
        ];
        let list = NodeBuilder::new("messages").children([message(counts).build()]).build();
        let updates = NodeBuilder::new("live_updates").children([list]).build();
        let note = NodeBuilder::new("notification").attr("from", "1@newsletter").children([updates]).build();
        let heard = heard_in(&note.as_node_ref()).unwrap();
        let counts = Counts { views: Some(7), reactions: vec![("👍".into(), 3)] };
        assert_eq!((heard.posts[0].content.clone(), heard.posts[0].counts.clone()), (None, Some(counts)));
    }
}
