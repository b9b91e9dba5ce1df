//! The `newsletter` namespace: posts of the past, and live counts.

use wacore_binary::{Node, builder::NodeBuilder};

use super::{Newsletter, Post};
use crate::{
    groups::Refusal,
    ids::{Address, Number},
    stanza::{attr, attr_or_empty, children, iq_error, iq_result, jid, leaf, unix_now},
    state::State,
};

/// For how long a device hears of reactions after it asked, in seconds.
const LIVE_TIME: u64 = 300;

/// Answers an IQ to a newsletter; nothing when it is not understood.
pub fn answer(state: &mut State, actor: &Address, node: &Node) -> Option<Node> {
    let request = children(node).first()?;
    let id = jid(request, "jid").or_else(|| jid(node, "to"))?.user.to_string();
    let set = attr_or_empty(node, "type") == "set";
    let found = match (set, request.tag.as_ref()) {
        (false, "messages") => messages(state, actor, &id, request),
        (false, "message_updates") => updates(state, actor, &id, request),
        (true, "live_updates") => subscribe(state, actor, &id),
        _ => return None,
    };
    Some(match found {
        Ok(found) => iq_result(node, [found]),
        Err(Refusal(code, text)) => iq_error(node, code, text),
    })
}

fn number(node: &Node, key: &str) -> Option<u64> {
    attr(node, key).and_then(|text| text.parse().ok())
}

/// `<messages count [before|after]/>`: so many posts, oldest first; the newest
/// ones when neither is named.
fn messages(state: &State, actor: &Address, id: &str, request: &Node) -> Result<Node, Refusal> {
    let newsletter = state.newsletters.get(id)?;
    let count = number(request, "count").and_then(|count| usize::try_from(count).ok()).unwrap_or(100);
    let posts = match (number(request, "before"), number(request, "after")) {
        (_, Some(after)) => newsletter.posts.iter().filter(|post| post.server_id > after).take(count).collect(),
        (before, None) => {
            let fits: Vec<&Post> =
                newsletter.posts.iter().filter(|post| before.is_none_or(|before| post.server_id < before)).collect();
            let skipped = fits.len().saturating_sub(count);
            fits.into_iter().skip(skipped).collect()
        }
    };
    Ok(list(newsletter, &actor.number, posts))
}

/// `<message_updates count [since] [after]/>`: the counts of posts.
fn updates(state: &State, actor: &Address, id: &str, request: &Node) -> Result<Node, Refusal> {
    let newsletter = state.newsletters.get(id)?;
    let count = number(request, "count").and_then(|count| usize::try_from(count).ok()).unwrap_or(100);
    let after = number(request, "after").unwrap_or(0);
    let since = number(request, "since").unwrap_or(0);
    let posts = newsletter
        .posts
        .iter()
        .filter(|post| post.server_id > after && post.edited.unwrap_or(post.t) >= since)
        .take(count)
        .collect();
    Ok(NodeBuilder::new("message_updates").children([list(newsletter, &actor.number, posts)]).build())
}

fn list(newsletter: &Newsletter, viewer: &Number, posts: Vec<&Post>) -> Node {
    let posts = posts.into_iter().map(|post| describe(post, viewer));
    NodeBuilder::new("messages")
        .attr("jid", newsletter.jid())
        .attr("t", unix_now())
        .children(posts.collect::<Vec<_>>())
        .build()
}

fn subscribe(state: &mut State, actor: &Address, id: &str) -> Result<Node, Refusal> {
    let newsletter = state.newsletters.get_mut(id)?;
    newsletter.live.insert(actor.clone(), unix_now() + LIVE_TIME);
    Ok(NodeBuilder::new("live_updates").attr("duration", LIVE_TIME).build())
}

/// A post with its counts.
pub fn describe(post: &Post, viewer: &Number) -> Node {
    let mut node = NodeBuilder::new("message")
        .attr("id", post.id.as_str())
        .attr("server_id", post.server_id)
        .attr("t", post.t)
        .attr("type", post.kind.as_str());
    if post.author == *viewer {
        node = node.attr("is_sender", "true");
    }
    let mut content = vec![plaintext(post)];
    content.extend(counts(post));
    node.children(content).build()
}

/// `<plaintext [mediatype]>`
pub fn plaintext(post: &Post) -> Node {
    match &post.mediatype {
        None => leaf("plaintext", post.plaintext.clone()),
        Some(kind) => {
            NodeBuilder::new("plaintext").attr("mediatype", kind.as_str()).bytes(post.plaintext.clone()).build()
        }
    }
}

/// `<views_count count/>` and `<reactions/>`.
pub fn counts(post: &Post) -> Vec<Node> {
    let views = NodeBuilder::new("views_count").attr("count", post.viewers.len()).build();
    let reactions = post
        .reaction_counts()
        .into_iter()
        .map(|(code, count)| NodeBuilder::new("reaction").attr("code", code).attr("count", count).build());
    vec![views, NodeBuilder::new("reactions").children(reactions.collect::<Vec<_>>()).build()]
}
