//! What a phone does with a message.

use std::time::Duration;

use buffa::Message as _;
use serde_json::Value;
use wacore::messages::{decode_plaintext, is_sender_key_distribution_only};
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};
use waproto::whatsapp::{Message, message::protocol_message};

use super::{
    Answering, Outbound,
    archive::Known,
    peer, secrets,
    send::{keys_node, unwrap_sent},
    signal::Failure,
};
use crate::{
    account::Link,
    history::{Arrival, ArrivalOutcome},
    history_sync,
    ids::{Address, Number},
    proto_json, receipts,
    stanza::{attr_or_empty, bytes, copy_attrs, jid, leaf, unix_now},
    state::State,
};

/// How long a request of a phone takes to its peer and the answer back, at least.
const ROUND_TRIP: Duration = Duration::from_millis(150);

/// A message a phone shows.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct InboxItem {
    /// The message id.
    pub id: String,
    /// The chat: the other side's phone-number JID.
    pub chat: String,
    /// The sender's phone-number JID.
    pub from: String,
    /// Whether another device of this account sent it.
    pub from_me: bool,
    /// Seconds since 1970, the server's time of the first arrival.
    pub ts: u64,
    /// The text, if it is a text message.
    pub text: Option<String>,
    /// The whole message, with the proto's field names.
    pub message: Value,
    /// What is encrypted in it with the secret of another message: `vote`,
    /// `rsvp`, `edit`, `reaction` or `comment`; `error` if it cannot be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Value>,
    /// How many stanzas with this (chat, sender, id) arrived and could be read.
    pub arrivals: u32,
}

/// Takes a `<message>` addressed to the phone of `number`.
pub fn receive(state: &mut State, number: &Number, sender: &Address, node: &Node) {
    let id = attr_or_empty(node, "id");
    let room = room_of(node);
    let mut outcome = ArrivalOutcome::Undecryptable;
    let mut decoded = None;
    let mut key_only = false;
    for enc in node.get_children_by_tag("enc") {
        let Some(account) = state.accounts.get_mut(number) else {
            return;
        };
        let kind = attr_or_empty(enc, "type");
        let sealed = bytes(enc).unwrap_or_default();
        let opened = match (&room, kind.as_str()) {
            (Some(room), "skmsg") => account.phone.sender_keys.decrypt(room, sender, &sealed),
            _ => account.phone.endpoint.decrypt(sender, &kind, &sealed),
        };
        match opened {
            Ok(plain) => match decode_plaintext(&plain, 2) {
                Ok(mut message) => {
                    let only = is_sender_key_distribution_only(&mut message);
                    if let (Some(room), Some(key)) =
                        (&room, std::mem::take(&mut message.sender_key_distribution_message).into_option())
                        && let Err(error) = account.phone.sender_keys.learn(room, sender, &key)
                    {
                        tracing::warn!("the sender key in {id} is none: {error:#}");
                    }
                    if only {
                        key_only = true;
                    } else {
                        decoded = Some(message);
                    }
                }
                Err(error) => tracing::warn!("message {id} is no message: {error:#}"),
            },
            Err(Failure::Duplicate) => outcome = ArrivalOutcome::SameCiphertext,
            Err(Failure::Broken(error)) => {
                tracing::info!("{number} cannot read {id} of {sender:?}: {error:#}");
            }
        }
    }
    if key_only && outcome == ArrivalOutcome::Undecryptable && node.get_children_by_tag("enc").count() == 1 {
        outcome = ArrivalOutcome::Internal;
    }
    if let Some(message) = decoded {
        outcome = take(state, number, sender, node, &id, message);
    }
    state.arrivals.push(Arrival {
        to: number.to_string(),
        from: sender.number.to_string(),
        device: sender.device,
        id: id.clone(),
        ts: unix_now(),
        outcome,
    });
    match outcome {
        ArrivalOutcome::Undecryptable => ask_again(state, number, sender, node, &id),
        ArrivalOutcome::Internal => {}
        _ => acknowledge(state, number, sender, node, &id),
    }
}

/// The group or broadcast a message came through.
fn room_of(node: &Node) -> Option<Jid> {
    jid(node, "from").filter(|from| matches!(from.server, Server::Group | Server::Broadcast))
}

/// Handles a message that could be read.
fn take(
    state: &mut State,
    number: &Number,
    sender: &Address,
    node: &Node,
    id: &str,
    message: Message,
) -> ArrivalOutcome {
    let room = room_of(node);
    let mut chat = sender.number.clone();
    let from_me = sender.number == *number;
    if from_me && attr_or_empty(node, "category") == "peer" {
        answer_peer(state, number, sender, id, &message);
        return ArrivalOutcome::Internal;
    }
    let sent = message.device_sent_message.is_set();
    let (message, named) = unwrap_sent(message);
    if from_me && sent {
        let named = named.or_else(|| jid(node, "recipient"));
        chat = match named.and_then(|jid| state.resolve(&jid)) {
            Some(chat) => chat,
            // What goes to many has its name in the stanza.
            None if room.is_some() => chat,
            None => return ArrivalOutcome::Undecryptable,
        };
    }
    let opened = secrets::open(state, number, &sender.number, &message);
    let Some(account) = state.accounts.get_mut(number) else {
        return ArrivalOutcome::Internal;
    };
    let phone = &mut account.phone;
    let author = if room.is_some() { "participant" } else { "from" };
    let chat = room.unwrap_or_else(|| chat.jid());
    let (chat_jid, from) = (chat.to_string(), sender.number.jid().to_string());
    let key = (chat_jid.clone(), from.clone(), id.to_owned());
    if let Some(index) = phone.shown.get(&key) {
        phone.inbox[*index].arrivals += 1;
        return ArrivalOutcome::Repeat;
    }
    phone.shown.insert(key, phone.inbox.len());
    let ts = unix_now();
    phone.inbox.push(InboxItem {
        id: id.to_owned(),
        chat: chat_jid,
        from,
        from_me,
        ts,
        text: text_of(&message),
        message: proto_json::show(&message),
        opened,
        arrivals: 1,
    });
    let family = jid(node, author).map_or(Server::Pn, |from| from.server);
    let known = Known { id: id.to_owned(), chat, from: sender.number.clone(), family, ts, message };
    phone.known.insert(known);
    ArrivalOutcome::Shown
}

/// Shows a newsletter's post on a phone; once it was changed, a second time.
pub fn show_post(state: &mut State, number: &Number, author: &Address, chat: &Jid, id: &str, plaintext: &[u8]) {
    let Some(account) = state.accounts.get_mut(number) else {
        return;
    };
    let message = Message::decode_from_slice(plaintext).unwrap_or_default();
    if let Some(file) = crate::media::located(&message) {
        account.phone.post_files.insert(id.to_owned(), file);
    }
    account.phone.inbox.push(InboxItem {
        id: id.to_owned(),
        chat: chat.to_string(),
        from: chat.to_string(),
        from_me: author.number == *number,
        ts: unix_now(),
        text: text_of(&message),
        message: proto_json::show(&message),
        opened: None,
        arrivals: 1,
    });
}

fn text_of(message: &Message) -> Option<String> {
    let extended = || message.extended_text_message.as_option()?.text.clone();
    message.conversation.clone().or_else(extended)
}

/// Answers a companion's request: app-state keys, or a message it could not
/// read.
fn answer_peer(state: &mut State, number: &Number, companion: &Address, id: &str, message: &Message) {
    let Some(protocol) = message.protocol_message.as_option() else {
        return;
    };
    match protocol.r#type {
        Some(protocol_message::Type::APP_STATE_SYNC_KEY_REQUEST) => {
            let request = protocol.app_state_sync_key_request.as_option();
            let ids = request.map(|request| request.key_ids.iter().filter_map(|id| id.key_id.clone()).collect());
            let ids: Option<Vec<Vec<u8>>> = ids;
            peer::share_app_state_key(state, companion, ids.as_deref());
        }
        Some(protocol_message::Type::PEER_DATA_OPERATION_REQUEST_MESSAGE) => {
            let request = protocol.peer_data_operation_request_message.as_option();
            if !request.is_some_and(|request| history_sync::request(state, companion, id, request)) {
                peer::answer_data_request(state, number, companion, protocol);
            }
        }
        _ => {}
    }
}

/// Sends a delivery receipt, unless the phone is silent or it is an own copy.
/// It goes to where the message came from, in the same address family.
fn acknowledge(state: &mut State, number: &Number, sender: &Address, node: &Node, id: &str) {
    if sender.number == *number {
        return;
    }
    let silent = state.account(number).is_ok_and(|a| a.phone.answering == Answering::Silent);
    let Some(from) = jid(node, "from") else {
        return;
    };
    if silent {
        return;
    }
    let receipt =
        copy_attrs(NodeBuilder::new("receipt").attr("to", from).attr("id", id), node, &["participant"]).build();
    receipts::route(state, &Address::new(number, 0), &receipt);
}

/// Asks the sender for the message once more.
fn ask_again(state: &mut State, number: &Number, sender: &Address, node: &Node, id: &str) {
    let Some(account) = state.accounts.get_mut(number) else {
        return;
    };
    let key = (id.to_owned(), sender.clone());
    let count = account.phone.retries.entry(key).or_default();
    *count += 1;
    let count = *count;
    if count > Outbound::MAX_RETRIES {
        return;
    }
    let Ok(bundle) = account.phone.make_bundle() else {
        return;
    };
    let mut content = vec![
        NodeBuilder::new("retry")
            .attr("count", count)
            .attr("id", id)
            .attr("t", attr_or_empty(node, "t"))
            .attr("v", "1")
            .build(),
        leaf("registration", bundle.registration_id.to_be_bytes()),
    ];
    // The first try gets along without keys, as with real clients.
    if count > 1 {
        content.push(keys_node(&bundle));
    }
    let Some(from) = jid(node, "from") else {
        return;
    };
    let mut receipt = NodeBuilder::new("receipt").attr("to", from).attr("id", id).attr("type", "retry");
    if room_of(node).is_some() {
        receipt = copy_attrs(receipt, node, &["participant"]);
    } else if sender.number == *number {
        receipt = match jid(node, "recipient") {
            Some(chat) => receipt.attr("recipient", chat),
            None => receipt.attr("category", "peer"),
        };
    }
    let receipt = receipt.children(content).build();
    // Between two requests for the same message lies at least a round trip; a client that is still at the first one
    // ignores the second (whatsapp-rust does).
    let link = state.companion_mut(sender).map(|companion| companion.link.clone());
    if let (Some(Link::Live(conn)), 2..) = (link, count) {
        state.pause(conn, ROUND_TRIP);
    }
    receipts::route(state, &Address::new(number, 0), &receipt);
}
