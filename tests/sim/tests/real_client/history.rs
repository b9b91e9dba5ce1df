//! Histories: at pairing, on demand, and of old phones.

use std::collections::HashMap;

use serde_json::json;
use wacore::store::DevicePropsOverride;
use whatsapp_rust::{
    prelude::Event,
    waproto::whatsapp::{self as wa, history_sync::HistorySyncType as Kind, web_message_info::Status},
};
use whatsapp_sim::{Action, HistorySeed, Kind as Sent, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, pn},
    kinds::{kind, message_of},
    people::{ALICE, BOB, two},
};

/// A chunk as the client shows it.
struct Chunk {
    kind: i32,
    order: u32,
    progress: u32,
    session: Option<String>,
    sync: wa::HistorySync,
}

async fn chunk(client: &mut TestClient) -> Chunk {
    client
        .find("a chunk of history", |event| match event {
            Event::HistorySync(lazy) => Some(Chunk {
                kind: lazy.sync_type(),
                order: lazy.chunk_order().unwrap(),
                progress: lazy.progress().unwrap(),
                session: lazy.peer_data_request_session_id().map(str::to_owned),
                sync: lazy.get().unwrap().clone(),
            }),
            _ => None,
        })
        .await
}

/// All chunks of a new companion, by kind, in their order; the client may be
/// done with a later one first. `last` is RECENT, or FULL for those who asked
/// for everything.
async fn until(client: &mut TestClient, last: Kind) -> HashMap<i32, Vec<Chunk>> {
    let mut wanted =
        vec![Kind::INITIAL_BOOTSTRAP, Kind::PUSH_NAME, Kind::INITIAL_STATUS_V3, Kind::NON_BLOCKING_DATA, Kind::RECENT];
    wanted.extend((last == Kind::FULL).then_some(last));
    let mut all: HashMap<i32, Vec<Chunk>> = HashMap::new();
    let whole = |chunks: &Vec<Chunk>| chunks.iter().any(|c| c.progress == 100 && c.order as usize == chunks.len());
    while !wanted.iter().all(|kind| all.get(&(*kind as i32)).is_some_and(whole)) {
        let chunk = chunk(client).await;
        let chunks = all.entry(chunk.kind).or_default();
        chunks.push(chunk);
        chunks.sort_by_key(|chunk| chunk.order);
    }
    all
}

fn messages(chunks: &[Chunk]) -> Vec<&wa::WebMessageInfo> {
    let conversations = chunks.iter().flat_map(|chunk| &chunk.sync.conversations);
    conversations.flat_map(|c| c.messages.iter().map(|m| m.message.as_option().unwrap())).collect()
}

fn by_id<'a>(all: &[&'a wa::WebMessageInfo], id: &str) -> &'a wa::WebMessageInfo {
    all.iter().find(|info| info.key.id.as_deref() == Some(id)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_companion_learns_what_the_phone_knows() {
    let sim = two().await;
    // What others wrote and what the phone wrote, before anything was linked.
    let text = sim.send_kind(BOB, ALICE, Sent::text("hello")).await.unwrap();
    let picture = sim.send_kind(ALICE, BOB, kind(json!({ "kind": "image", "caption": "look" }))).await.unwrap();
    let poll = json!({ "kind": "poll", "name": "Lunch?", "options": ["soup", "bread"] });
    let poll = sim.send_kind(ALICE, BOB, kind(poll)).await.unwrap();
    for value in [
        json!({ "kind": "vote", "poll": poll, "options": ["bread"] }),
        json!({ "kind": "reaction", "target": picture, "emoji": "👍" }),
        json!({ "kind": "reaction", "target": picture, "emoji": "❤️" }),
        json!({ "kind": "edit", "target": text, "text": "hello Alice" }),
        json!({ "kind": "ephemeral_setting", "seconds": 86_400 }),
    ] {
        sim.send_kind(BOB, ALICE, kind(value)).await.unwrap();
    }
    let gone = sim.send_kind(BOB, ALICE, Sent::text("oops")).await.unwrap();
    sim.send_kind(BOB, ALICE, kind(json!({ "kind": "revoke", "target": gone }))).await.unwrap();
    sim.mark_read(BOB, ALICE, std::slice::from_ref(&picture)).await.unwrap();
    sim.save_contact(ALICE, BOB, "Robert").unwrap();
    for value in [
        json!({ "action": "pin", "chat": BOB }),
        json!({ "action": "mute", "chat": BOB }),
        json!({ "action": "star", "id": text }),
    ] {
        let action: Action = serde_json::from_value(value).unwrap();
        sim.act(ALICE, &action).unwrap();
    }
    let group = sim.create_group(BOB, "Friends", &[ALICE]).unwrap();
    let said = sim.send_kind(BOB, &group, Sent::text("all")).await.unwrap();

    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let all = until(&mut alice, Kind::RECENT).await;
    let bob = alice.client.get_user_info_lid(&sim).await;
    // The list of chats comes first, with the newest message of each.
    let first = &all[&(Kind::INITIAL_BOOTSTRAP as i32)][0];
    assert_eq!((first.order, first.progress), (1, 100));
    assert_eq!(first.sync.conversations.len(), 2);
    let chat = first.sync.conversations.iter().find(|c| c.id == bob).unwrap();
    assert_eq!(chat.name.as_deref(), Some("Robert"));
    assert_eq!(chat.display_name.as_deref(), Some("Bob"));
    assert_eq!(chat.pn_jid.as_deref(), Some("15550002@s.whatsapp.net"));
    assert!(chat.pinned.is_some() && chat.mute_end_time.is_some());
    assert_eq!(chat.ephemeral_expiration, Some(86_400));
    assert_eq!(chat.messages.len(), 1);
    let room = first.sync.conversations.iter().find(|c| c.id == group).unwrap();
    assert_eq!((room.name.as_deref(), room.participant.len()), (Some("Friends"), 2));
    let mappings = &first.sync.phone_number_to_lid_mappings;
    let mapped = mappings.iter().any(|m| m.pn_jid == chat.pn_jid && m.lid_jid.as_deref() == Some(&bob));
    assert!(mapped && mappings.len() == 2);
    // Then who calls themselves what, and all the rest.
    let names = &all[&(Kind::PUSH_NAME as i32)][0].sync.pushnames;
    assert!(names.iter().any(|name| name.pushname.as_deref() == Some("Bob")));
    for kind in [Kind::INITIAL_STATUS_V3, Kind::NON_BLOCKING_DATA] {
        assert_eq!(all[&(kind as i32)].len(), 1);
    }
    let recent = messages(&all[&(Kind::RECENT as i32)]);
    let info = by_id(&recent, &text);
    assert_eq!(info.message.conversation.as_deref(), Some("hello Alice"));
    assert_eq!((info.key.from_me, info.starred), (Some(false), Some(true)));
    assert_eq!(info.push_name.as_deref(), Some("Bob"));
    let info = by_id(&recent, &picture);
    assert_eq!(info.status, Some(Status::READ));
    assert_eq!(info.reactions.len(), 1);
    assert_eq!(info.reactions[0].text.as_deref(), Some("❤️"));
    let image = info.message.image_message.as_option().unwrap();
    let file = alice.client.download(image).await.unwrap();
    assert_eq!(file, sim.received_media(BOB, &picture).await.unwrap());
    let info = by_id(&recent, &poll);
    let vote = info.poll_updates[0].vote.as_option().unwrap();
    assert_eq!(vote.selected_options, [wacore::poll::compute_option_hash("bread").to_vec()]);
    assert!(info.message_secret.is_some());
    let info = by_id(&recent, &gone);
    assert!(info.message.is_unset() && info.message_stub_type.is_some());
    let info = by_id(&recent, &said);
    assert_eq!(info.key.remote_jid.as_ref(), Some(&group));
    assert_eq!(info.key.participant.as_deref(), Some(bob.as_str()));
    // The client says that it has got them.
    sim.wait_receipt(ALICE, |r| r.kind == "hist_sync" && r.device == device, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

trait UserInfoLid {
    async fn get_user_info_lid(&self, sim: &Simulator) -> String;
}

impl UserInfoLid for std::sync::Arc<whatsapp_rust::prelude::Client> {
    /// Bob's LID as the server tells it.
    async fn get_user_info_lid(&self, _sim: &Simulator) -> String {
        let bob = pn(BOB);
        let infos = self.contacts().get_user_info(std::slice::from_ref(&bob)).await.unwrap();
        let info = infos.into_values().next().unwrap();
        info.lid.unwrap().to_non_ad().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_phone_sends_its_thousands_of_chats_in_chunks() {
    let sim = two().await;
    const CHATS: usize = 2_000;
    let seed = HistorySeed { chats: CHATS as u32, messages_per_chat: 14, days: 365 };
    assert_eq!(sim.seed_history(ALICE, &seed).unwrap().len(), CHATS);
    sim.set_history_limits(90, 500);
    // Only who asks for everything gets what is old; and all of it as files.
    let props = DevicePropsOverride::new().with_require_full_sync(true).with_history_sync_config(Default::default());
    let (mut alice, _) = TestClient::pair_as(&sim, ALICE, props).await;
    let all = until(&mut alice, Kind::FULL).await;
    assert_eq!(all[&(Kind::INITIAL_BOOTSTRAP as i32)][0].sync.conversations.len(), CHATS);
    // The client's own mappings come with its account.
    assert_eq!(all[&(Kind::INITIAL_BOOTSTRAP as i32)][0].sync.phone_number_to_lid_mappings.len(), CHATS + 1);
    let mut count = 0;
    for kind in [Kind::RECENT, Kind::FULL] {
        let chunks = &all[&(kind as i32)];
        assert!(chunks.len() > 1);
        let orders: Vec<u32> = chunks.iter().map(|chunk| chunk.order).collect();
        assert_eq!(orders, (1..=chunks.len() as u32).collect::<Vec<_>>());
        assert!(chunks.is_sorted_by_key(|chunk| chunk.progress));
        assert!(chunks.iter().all(|chunk| messages(std::slice::from_ref(chunk)).len() <= 500));
        count += messages(chunks).len();
    }
    assert_eq!(count, CHATS * 14);
    let full = messages(&all[&(Kind::FULL as i32)]);
    assert!(full.iter().any(|info| !info.reactions.is_empty()));
    let recent = messages(&all[&(Kind::RECENT as i32)]);
    assert!(recent.iter().any(|info| !info.poll_updates.is_empty()));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_messages_of_a_chat_are_looked_up() {
    let sim = two().await;
    let seed = HistorySeed { chats: 2, messages_per_chat: 8, days: 30 };
    let friends = sim.seed_history(ALICE, &seed).unwrap();
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let all = until(&mut alice, Kind::RECENT).await;
    let recent = messages(&all[&(Kind::RECENT as i32)]);
    let newest = recent.iter().max_by_key(|info| info.message_timestamp).unwrap();
    let mut oldest = (*newest).clone();
    let chat: whatsapp_rust::prelude::Jid = oldest.key.remote_jid.as_ref().unwrap().parse().unwrap();
    let mut seen = 1;
    // Three at a time, back to the first.
    for (expected, more) in [(3, true), (3, true), (1, false)] {
        let id = oldest.key.id.clone().unwrap();
        let from_me = oldest.key.from_me.unwrap();
        let ts = oldest.message_timestamp.unwrap() as i64 * 1000;
        let request = alice.client.fetch_message_history(&chat, &id, from_me, ts, 3).await.unwrap();
        let answer = chunk(&mut alice).await;
        assert_eq!(answer.kind, Kind::ON_DEMAND as i32);
        assert_eq!(answer.session, Some(request));
        let conversation = &answer.sync.conversations[0];
        assert_eq!(conversation.messages.len(), expected);
        use wa::conversation::EndOfHistoryTransferType as End;
        let end = conversation.end_of_history_transfer_type.unwrap();
        assert_eq!(end == End::COMPLETE_ON_DEMAND_SYNC_BUT_MORE_MSG_REMAIN_ON_PRIMARY, more);
        seen += expected;
        oldest = conversation.messages.last().unwrap().message.as_option().unwrap().clone();
    }
    assert_eq!(seen, 8);
    assert_eq!(friends.len(), 2);
    // Of a chat nobody knows there is nothing.
    alice.client.fetch_message_history(&pn(BOB), "3A", false, 1, 5).await.unwrap();
    assert!(chunk(&mut alice).await.sync.conversations.is_empty());
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_while_nobody_was_linked_can_be_answered() {
    let sim = two().await;
    let poll = json!({ "kind": "poll", "name": "Old?", "options": ["yes", "no"] });
    let poll = sim.send_kind(BOB, ALICE, kind(poll)).await.unwrap();
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let all = until(&mut alice, Kind::RECENT).await;
    let recent = messages(&all[&(Kind::RECENT as i32)]);
    let info = by_id(&recent, &poll);
    let chat: whatsapp_rust::prelude::Jid = info.key.remote_jid.as_ref().unwrap().parse().unwrap();
    let secret = info.message_secret.clone().unwrap();
    let vote = alice.client.polls().vote(&chat, &poll, &chat, &secret, &["yes".to_owned()]).await.unwrap();
    let item = sim.wait_inbox(BOB, |m| m.id == vote.message_id, STEP).await.unwrap();
    assert_eq!(item.opened, Some(json!({ "vote": ["yes"] })));
    // And what comes now comes as ever.
    let id = sim.send_kind(BOB, ALICE, Sent::text("now")).await.unwrap();
    message_of(&mut alice, &id).await;
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_chunk_is_put_up_again() {
    let sim = two().await;
    sim.send_kind(BOB, ALICE, Sent::text("hello")).await.unwrap();
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    until(&mut alice, Kind::RECENT).await;
    // The chunks' messages are those the client has said to have got.
    let receipt = sim.wait_receipt(ALICE, |r| r.kind == "hist_sync" && r.device == device, STEP).await.unwrap();
    let chunks = sim.history_files(ALICE).unwrap();
    let (id, key) = chunks.iter().find(|(id, _)| *id != receipt.ids[0]).unwrap();
    sim.expire_media(404);
    let answer = alice.client.wait_for_node(
        whatsapp_rust::NodeFilter::tag("notification").attr("type", "mediaretry").attr("id", id.as_str()),
    );
    alice.client.send_history_sync_server_error_receipt(id, key).await.unwrap();
    let answer = tokio::time::timeout(STEP, answer).await.unwrap().unwrap();
    let answer = wacore::media_retry::parse_media_retry_notification(answer.get(), key).unwrap();
    let wacore::media_retry::MediaRetryResult::Success { direct_path } = answer else {
        panic!("the phone has the chunk: {answer:?}");
    };
    let url = format!("{}{direct_path}", sim.http_url());
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    alice.stop().await;
    assert_understood(&sim);
}
