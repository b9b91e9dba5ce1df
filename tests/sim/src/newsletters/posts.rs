//! `<message to=NEWSLETTER>`: posts, edits, reactions; and who saw what.

use buffa::Message as _;
use wacore_binary::{Jid, Node, builder::NodeBuilder};
use waproto::whatsapp::Message;

use super::{FIRST_POST, Post, Role, history, notify};
use crate::{
    groups::Refusal,
    ids::{Address, Number},
    media::{self, MediaStore},
    phone,
    queue::Class,
    receipts::named_ids,
    stanza::{attr, attr_or_empty, bytes, unix_now},
    state::State,
};

/// A post before it has a place.
pub struct Draft {
    pub id: String,
    pub kind: String,
    pub mediatype: Option<String>,
    /// The handle of its file, where that was uploaded for channels.
    pub media_id: Option<String>,
    pub plaintext: Vec<u8>,
}

/// What came of a message: the server's id of the post it is or is about.
pub type Outcome = Result<u64, Refusal>;

/// `edit` of a post that is changed.
const EDITED: &str = "3";
/// `edit` of a post that is taken back.
const REVOKED: &str = "8";

/// Takes a message of a device for a newsletter.
pub fn take_message(state: &mut State, sender: &Address, to: &Jid, node: &Node) -> Outcome {
    let id = to.user.as_str();
    if let Some(reaction) = node.get_optional_child("reaction") {
        let server_id = attr(node, "server_id").and_then(|id| id.parse().ok()).ok_or(Refusal::BAD_REQUEST)?;
        return react(state, sender, id, server_id, &attr_or_empty(reaction, "code"));
    }
    let content = node.get_optional_child("plaintext").ok_or(Refusal::BAD_REQUEST)?;
    let draft = Draft {
        id: attr_or_empty(node, "id"),
        kind: attr_or_empty(node, "type"),
        mediatype: attr(content, "mediatype").map(|kind| kind.into_owned()),
        media_id: attr(node, "media_id").map(|handle| handle.into_owned()),
        plaintext: bytes(content).unwrap_or_default(),
    };
    match attr(node, "edit").as_deref() {
        Some(EDITED) => edit(state, sender, id, draft),
        Some(REVOKED) => edit(state, sender, id, Draft { plaintext: Vec::new(), ..draft }),
        _ => publish(state, sender, id, draft),
    }
}

/// Publishes a post of the owner to all followers. The same id again is the same
/// post. Errors: 404, 403, 400 when it does not name its file's handle.
pub fn publish(state: &mut State, sender: &Address, id: &str, draft: Draft) -> Outcome {
    let newsletter = state.newsletters.get_mut(id)?;
    if newsletter.role(&sender.number) != Some(Role::Owner) {
        return Err(Refusal::FORBIDDEN);
    }
    if let Some(known) = newsletter.posts.iter().find(|post| post.id == draft.id) {
        return Ok(known.server_id);
    }
    if !names_its_file(&state.media, &draft) {
        return Err(Refusal::BAD_REQUEST);
    }
    let newsletter = state.newsletters.get_mut(id)?;
    let server_id = FIRST_POST + newsletter.posts.len() as u64;
    newsletter.posts.push(Post {
        server_id,
        id: draft.id,
        t: unix_now(),
        kind: draft.kind,
        mediatype: draft.mediatype,
        media_id: draft.media_id,
        plaintext: draft.plaintext,
        author: sender.number.clone(),
        reactions: std::collections::BTreeMap::new(),
        viewers: std::collections::BTreeSet::new(),
        edited: None,
    });
    deliver(state, sender, id, server_id, None);
    Ok(server_id)
}

/// Whether a post names the handle of its file. Files uploaded elsewhere have
/// none (Baileys puts them where chats have theirs).
fn names_its_file(store: &MediaStore, draft: &Draft) -> bool {
    let message = Message::decode_from_slice(&draft.plaintext).unwrap_or_default();
    let located = media::located(&message);
    let handle = located.as_ref().and_then(|file| store.handle_of(&file.direct_path));
    handle == draft.media_id.as_deref()
}

/// Changes a post, or takes it back when the draft is empty. Errors: 404, 403.
pub fn edit(state: &mut State, sender: &Address, id: &str, draft: Draft) -> Outcome {
    let newsletter = state.newsletters.get_mut(id)?;
    if newsletter.role(&sender.number) != Some(Role::Owner) {
        return Err(Refusal::FORBIDDEN);
    }
    let post = newsletter.posts.iter_mut().find(|post| post.id == draft.id).ok_or(Refusal::NOT_FOUND)?;
    let server_id = post.server_id;
    let kind = if draft.plaintext.is_empty() { REVOKED } else { EDITED };
    post.edited = Some(unix_now());
    post.plaintext = draft.plaintext;
    post.mediatype = draft.mediatype;
    deliver(state, sender, id, server_id, Some(kind));
    Ok(server_id)
}

/// Hands a post to all devices of owner and followers but the one it is from.
fn deliver(state: &mut State, sender: &Address, id: &str, server_id: u64, edit: Option<&'static str>) {
    let Ok(newsletter) = state.newsletters.get(id) else {
        return;
    };
    let Some(post) = newsletter.posts.iter().find(|post| post.server_id == server_id) else {
        return;
    };
    let jid = newsletter.jid();
    let people: Vec<Number> = newsletter.people.keys().cloned().collect();
    let head = |to: &Number| {
        let mut node = NodeBuilder::new("message")
            .attr("from", &jid)
            .attr("id", post.id.as_str())
            .attr("server_id", post.server_id)
            .attr("t", post.t)
            .attr("type", post.kind.as_str());
        if let Some(edit) = edit {
            node = node.attr("edit", edit);
        }
        if post.author == *to {
            node = node.attr("is_sender", "true");
        }
        node.children([history::plaintext(post)]).build()
    };
    let copies: Vec<(Address, Node)> = notify::companions(state, &people, Some(sender))
        .into_iter()
        .map(|to| {
            let node = head(&to.number);
            (to, node)
        })
        .collect();
    let (post_id, plaintext) = (post.id.clone(), post.plaintext.clone());
    for (to, node) in copies {
        state.deliver(&to, Class::Message, None, node);
    }
    for number in people.into_iter().filter(|number| *number != sender.number || sender.device != 0) {
        phone::show_post(state, &number, sender, &jid, &post_id, &plaintext);
    }
}

/// Gives a post a reaction, or takes it back with an empty one. Errors: 404 no
/// such post, 403 for strangers.
pub fn react(state: &mut State, sender: &Address, id: &str, server_id: u64, code: &str) -> Outcome {
    let newsletter = state.newsletters.get_mut(id)?;
    newsletter.role(&sender.number).ok_or(Refusal::FORBIDDEN)?;
    let post = newsletter.posts.iter_mut().find(|post| post.server_id == server_id).ok_or(Refusal::NOT_FOUND)?;
    if code.is_empty() {
        post.reactions.remove(&sender.number);
    } else {
        post.reactions.insert(sender.number.clone(), code.to_owned());
    }
    tell_counts(state, id, server_id);
    Ok(server_id)
}

fn tell_counts(state: &mut State, id: &str, server_id: u64) {
    let Ok(newsletter) = state.newsletters.get(id) else {
        return;
    };
    let Some(post) = newsletter.posts.iter().find(|post| post.server_id == server_id) else {
        return;
    };
    let node = NodeBuilder::new("message")
        .attr("id", post.id.as_str())
        .attr("server_id", server_id)
        .attr("t", post.t)
        .attr("type", post.kind.as_str())
        .children(history::counts(post))
        .build();
    notify::live(state, id, node);
}

/// Somebody saw posts, named by their ids or the server's.
pub fn view(state: &mut State, viewer: &Number, id: &str, ids: &[String]) {
    let Ok(newsletter) = state.newsletters.get_mut(id) else {
        return;
    };
    let mut seen = Vec::new();
    for post in &mut newsletter.posts {
        let named = ids.iter().any(|id| *id == post.id || *id == post.server_id.to_string());
        if named && post.viewers.insert(viewer.clone()) {
            seen.push(post.server_id);
        }
    }
    for server_id in seen {
        tell_counts(state, id, server_id);
    }
}

/// Takes a receipt for a newsletter: what was read was seen.
pub fn take_receipt(state: &mut State, actor: &Address, to: &Jid, node: &Node) {
    match attr_or_empty(node, "type").as_str() {
        "read-self" | "read" | "view" | "played-self" => {
            let mut ids = named_ids(node);
            let listed = node.get_children_by_tag("list").flat_map(|list| list.get_children_by_tag("item"));
            ids.extend(listed.map(|item| attr_or_empty(item, "server_id")));
            view(state, &actor.number, &to.user, &ids);
        }
        "" | "delivery" | "inactive" => {}
        _ => state.record_unknown(node),
    }
}
