//! Every kind of message, both ways.

use serde_json::{Value, json};
use whatsapp_rust::{
    buffa::Message as _,
    prelude::{Event, InboundMessage},
    types::presence::ReceiptType,
    waproto::whatsapp::Message,
};
use whatsapp_sim::{Addressing, Kind, Media, Options, Simulator, message_from_json, message_to_json};

use crate::{
    client::{STEP, TestClient, assert_understood, pn, text},
    people::{ALICE, BOB, CAROL, four},
};

async fn start() -> (Simulator, TestClient) {
    let sim = four(Addressing::Lid).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    (sim, bob)
}

/// Waits for the message of an id, whatever it is.
pub async fn message_of(client: &mut TestClient, id: &str) -> InboundMessage {
    client
        .find(&format!("message {id}"), |event| match event {
            Event::Messages(batch) => batch.messages.iter().find(|m| m.info.id == id).cloned(),
            _ => None,
        })
        .await
}

/// A kind of the admin API.
pub fn kind(value: Value) -> Kind {
    serde_json::from_value(value).unwrap()
}

/// The stanza types, `edit` and `mediatype` matter to clients only when they
/// cannot decrypt; the kinds here need no target.
fn without_target() -> Vec<Value> {
    let choices = json!([{ "id": "a", "title": "A" }, { "id": "b", "title": "B", "description": "the second" }]);
    let mut all = vec![
        json!({ "kind": "text", "text": "hello" }),
        json!({ "kind": "link", "text": "see https://example.org", "url": "https://example.org", "title": "Example" }),
        json!({ "kind": "image", "caption": "look" }),
        json!({ "kind": "video", "caption": "watch" }),
        json!({ "kind": "gif" }),
        json!({ "kind": "ptv" }),
        json!({ "kind": "audio" }),
        json!({ "kind": "voice" }),
        json!({ "kind": "document", "file_name": "plan.pdf" }),
        json!({ "kind": "document", "file_name": "plan.pdf", "caption": "the plan" }),
        json!({ "kind": "sticker" }),
        json!({ "kind": "animated_sticker" }),
        json!({ "kind": "lottie_sticker" }),
        json!({ "kind": "location", "latitude": 52.5, "longitude": 13.25, "name": "here", "address": "a street 1" }),
        json!({ "kind": "live_location", "latitude": 52.5, "longitude": 13.25, "caption": "on my way" }),
        json!({ "kind": "live_location", "latitude": 52.75, "longitude": 13.5, "sequence": 1 }),
        json!({ "kind": "contact", "name": "Carol", "number": CAROL }),
        json!({ "kind": "contacts", "contacts": [
            { "name": "Carol", "number": CAROL }, { "name": "Alice", "number": ALICE },
        ] }),
        json!({ "kind": "poll_result", "name": "Lunch?", "votes": [["soup", 2], ["bread", 0]] }),
        json!({ "kind": "event", "name": "Party", "start": 1_900_000_000, "end": 1_900_003_600, "place": "home" }),
        json!({ "kind": "group_invite", "group": "120363000000000001@g.us", "code": "abc", "name": "Friends" }),
        json!({ "kind": "ephemeral_setting", "seconds": 86_400 }),
        json!({ "kind": "buttons", "text": "choose", "buttons": choices }),
        json!({ "kind": "list", "title": "Menu", "text": "choose", "button": "open",
            "sections": [{ "title": "one", "rows": choices }] }),
        json!({ "kind": "template", "text": "choose", "footer": "now", "buttons": choices }),
        json!({ "kind": "interactive", "text": "choose", "buttons": choices }),
        json!({ "kind": "product", "title": "Tea", "price_1000": 2500, "currency": "EUR" }),
        json!({ "kind": "order", "order": "1", "items": 2, "total_1000": 5000, "currency": "EUR" }),
        json!({ "kind": "payment_request", "amount_1000": 5000, "currency": "EUR", "note": "for tea" }),
        json!({ "kind": "raw", "message": { "callLogMesssage": {
            "isVideo": true, "callOutcome": "MISSED", "durationSecs": 3, "participants": [{ "jid": "1@lid" }],
        } } }),
        json!({ "kind": "raw", "protobuf": "CgNoZXk=" }),
    ];
    for version in 1..=6 {
        all.push(json!({ "kind": "poll", "name": "Lunch?", "options": ["soup", "bread"], "version": version }));
    }
    all.push(json!({ "kind": "poll", "name": "2+2?", "options": ["3", "4"], "version": 5, "correct": "4" }));
    all
}

/// Kinds about another message of the same sender.
fn about(target: &str) -> Vec<Value> {
    vec![
        json!({ "kind": "reaction", "target": target, "emoji": "👍" }),
        json!({ "kind": "reaction", "target": target, "emoji": "❤️" }),
        json!({ "kind": "reaction", "target": target, "emoji": "" }),
        json!({ "kind": "edit", "target": target, "text": "better" }),
        json!({ "kind": "edit", "target": target, "message": { "extendedTextMessage": { "text": "best" } } }),
        json!({ "kind": "pin", "target": target }),
        json!({ "kind": "pin", "target": target, "unpin": true }),
        json!({ "kind": "keep", "target": target }),
        json!({ "kind": "keep", "target": target, "undo": true }),
        json!({ "kind": "revoke", "target": target }),
        json!({ "kind": "chosen", "target": target, "of": "buttons", "choice": { "id": "a", "title": "A" } }),
        json!({ "kind": "chosen", "target": target, "of": "list", "choice": { "id": "a", "title": "A" } }),
        json!({ "kind": "chosen", "target": target, "of": "template", "choice": { "id": "a", "title": "A" } }),
        json!({ "kind": "chosen", "target": target, "of": "interactive", "choice": { "id": "a", "title": "A" } }),
    ]
}

/// The message of an id on the phone of `number`.
async fn shown(sim: &Simulator, number: &str, id: &str) -> Value {
    let item = sim.wait_inbox(number, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(item.arrivals, 1);
    item.message
}

fn assert_same(client: &Message, phone: &Value, what: &Value) {
    assert_eq!(&message_to_json(client), phone, "{what}");
    assert_eq!(client.encode_to_vec(), message_from_json(phone).unwrap().encode_to_vec(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_a_phone_sends_reaches_a_client_unchanged() {
    let (sim, mut bob) = start().await;
    let target = sim.send_kind(ALICE, BOB, Kind::text("target")).await.unwrap();
    message_of(&mut bob, &target).await;
    for value in without_target().into_iter().chain(about(&target)) {
        let id = sim.send_kind(ALICE, BOB, kind(value.clone())).await.unwrap();
        let got = message_of(&mut bob, &id).await;
        assert_same(&got.message, &shown(&sim, BOB, &id).await, &value);
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_a_client_sends_is_shown_by_the_phones() {
    let (sim, mut bob) = start().await;
    let target = sim.send_kind(ALICE, CAROL, Kind::text("target")).await.unwrap();
    for value in without_target().into_iter().chain(about(&target)) {
        // What the kind is made of, as a phone sends it.
        let template = sim.send_kind(ALICE, CAROL, kind(value.clone())).await.unwrap();
        let mut message = message_from_json(&shown(&sim, CAROL, &template).await).unwrap();
        let id = bob.client.send_message(pn(CAROL), message.clone()).await.unwrap().message_id;
        // Clients add secrets of their own to what has none, and what they
        // know of reporting; nothing that was there is changed.
        let theirs = shown(&sim, CAROL, &id).await;
        let sent = message_from_json(&theirs).unwrap();
        match message.message_context_info.as_option_mut() {
            None => message.message_context_info = sent.message_context_info.clone(),
            Some(info) => {
                let sent = sent.message_context_info.as_option().unwrap();
                info.reporting_token_version = sent.reporting_token_version;
            }
        }
        assert_eq!(message_to_json(&message), theirs, "{value}");
        // The copy of the own phone is the same, secret included.
        assert_eq!(shown(&sim, BOB, &id).await, theirs, "{value}");
        assert_eq!(bob.ack(&id).await, None);
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_companions_get_copies_of_every_kind_with_its_secret() {
    let (sim, mut bob) = start().await;
    let target = sim.send_kind(BOB, ALICE, Kind::text("target")).await.unwrap();
    message_of(&mut bob, &target).await;
    for value in without_target().into_iter().chain(about(&target)) {
        let id = sim.send_kind(BOB, ALICE, kind(value.clone())).await.unwrap();
        let copy = message_of(&mut bob, &id).await;
        assert!(copy.info.source.is_from_me);
        assert_same(&copy.message, &shown(&sim, ALICE, &id).await, &value);
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_is_announced_and_then_filled() {
    let (sim, mut bob) = start().await;
    let album = kind(json!({ "kind": "album", "images": 2, "videos": 1 }));
    let ids = sim.send_kind_with(ALICE, BOB, album, Options::default()).await.unwrap();
    assert_eq!(ids.len(), 4);
    let head = message_of(&mut bob, &ids[0]).await;
    assert_eq!(head.message.album_message.as_option().unwrap().expected_image_count, Some(2));
    for id in &ids[1..] {
        let child = message_of(&mut bob, id).await;
        let info = child.message.message_context_info.as_option().unwrap();
        let parent = info.message_association.as_option().unwrap().parent_message_key.as_option().unwrap();
        assert_eq!(parent.id.as_ref(), Some(&ids[0]));
        assert!(!sim.received_media(BOB, id).await.unwrap().is_empty());
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_go_with_any_kind() {
    let (sim, mut bob) = start().await;
    let first = sim.send_kind(BOB, ALICE, Kind::text("what is this?")).await.unwrap();
    message_of(&mut bob, &first).await;
    let options = Options {
        reply_to: Some(first.clone()),
        mentions: vec![CAROL.into()],
        mention_all: true,
        forwarded: 4,
        expiration: 86_400,
        ..Default::default()
    };
    for value in [json!({ "kind": "text", "text": "this" }), json!({ "kind": "document", "caption": "this" })] {
        let ids = sim.send_kind_with(ALICE, BOB, kind(value), options.clone()).await.unwrap();
        let got = message_to_json(&message_of(&mut bob, &ids[0]).await.message);
        let inner = match got.get("documentWithCaptionMessage") {
            Some(wrapper) => &wrapper["message"]["documentMessage"],
            None => &got["extendedTextMessage"],
        };
        let info = &inner["contextInfo"];
        assert_eq!(info["stanzaId"], json!(first));
        assert_eq!(info["participant"], json!(format!("{}@lid", bob.client.lid().unwrap().user)));
        assert_eq!(info["quotedMessage"]["conversation"], "what is this?");
        assert_eq!(info["mentionedJid"].as_array().unwrap().len(), 1);
        assert_eq!(info["nonJidMentions"], 1);
        assert_eq!((&info["isForwarded"], &info["forwardingScore"]), (&json!(true), &json!(4)));
        assert_eq!(info["expiration"], 86_400);
    }
    for (value, wrapper) in [("image", "viewOnceMessageV2"), ("voice", "viewOnceMessageV2Extension")] {
        let options = Options { view_once: true, ephemeral: true, ..Default::default() };
        let ids = sim.send_kind_with(ALICE, BOB, kind(json!({ "kind": value })), options).await.unwrap();
        let got = message_to_json(&message_of(&mut bob, &ids[0]).await.message);
        assert!(got["ephemeralMessage"]["message"][wrapper]["message"].is_object(), "{got}");
        // The file is found inside all of that.
        assert!(!sim.received_media(BOB, &ids[0]).await.unwrap().is_empty());
    }
    let text_once = Options { view_once: true, ..Default::default() };
    assert!(sim.send_kind_with(ALICE, BOB, Kind::text("once"), text_once).await.is_err());
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_sent_again_when_it_could_not_be_read() {
    let (sim, mut bob) = start().await;
    let first = sim.send_kind(ALICE, BOB, Kind::text("one")).await.unwrap();
    message_of(&mut bob, &first).await;
    for value in [
        json!({ "kind": "image", "caption": "again" }),
        json!({ "kind": "poll", "name": "Again?", "options": ["yes", "no"] }),
        json!({ "kind": "reaction", "target": first, "emoji": "👍" }),
        json!({ "kind": "edit", "target": first, "text": "uno" }),
    ] {
        sim.fault(BOB, whatsapp_sim::FaultKind::CorruptCiphertext, 1).unwrap();
        let id = sim.send_kind(ALICE, BOB, kind(value.clone())).await.unwrap();
        let got = message_of(&mut bob, &id).await;
        sim.wait_receipt(ALICE, |r| r.kind == "retry" && r.ids.contains(&id), STEP).await.unwrap();
        assert_same(&got.message, &shown(&sim, BOB, &id).await, &value);
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_comes_through_the_own_phone_when_the_sender_is_not_asked() {
    let (sim, mut bob) = start().await;
    let first = sim.send_kind(ALICE, BOB, Kind::text("one")).await.unwrap();
    message_of(&mut bob, &first).await;
    for value in [
        json!({ "kind": "location", "latitude": 1.5, "longitude": 2.5 }),
        json!({ "kind": "voice" }),
        json!({ "kind": "poll", "name": "Lost?", "options": ["yes", "no"] }),
    ] {
        sim.fault(BOB, whatsapp_sim::FaultKind::CorruptCiphertext, 1).unwrap();
        sim.fault(BOB, whatsapp_sim::FaultKind::DropRetry, 1).unwrap();
        let id = sim.send_kind(ALICE, BOB, kind(value.clone())).await.unwrap();
        let got = message_of(&mut bob, &id).await;
        assert_same(&got.message, &shown(&sim, BOB, &id).await, &value);
        sim.wait_fault_used(BOB, whatsapp_sim::FaultKind::DropRetry, STEP).await.unwrap();
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_plays_and_says_so() {
    let (sim, mut bob) = start().await;
    let upload =
        bob.client.send_message(pn(ALICE), message_from_json(&json!({ "audioMessage": { "ptt": true } })).unwrap());
    let id = upload.await.unwrap().message_id;
    shown(&sim, ALICE, &id).await;
    sim.mark_played(ALICE, BOB, std::slice::from_ref(&id)).await.unwrap();
    bob.find("a played receipt", |event| match event {
        Event::Receipt(r) if r.r#type == ReceiptType::Played && r.message_ids.contains(&id) => Some(()),
        _ => None,
    })
    .await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_with_a_reason() {
    let (sim, bob) = start().await;
    let theirs = sim.send_kind(BOB, ALICE, Kind::text("mine")).await.unwrap();
    for (value, why) in [
        (json!({ "kind": "reaction", "target": "nothing", "emoji": "?" }), "knows no message nothing"),
        (json!({ "kind": "edit", "target": theirs, "text": "yours" }), "only own messages"),
        (json!({ "kind": "revoke", "target": theirs }), "group's admin"),
        (json!({ "kind": "poll", "name": "?", "options": [], "version": 7 }), "no poll form 7"),
        (json!({ "kind": "raw", "message": { "noSuchMessage": {} } }), "no field"),
        (json!({ "kind": "raw" }), "`message` or as `protobuf`"),
        (json!({ "kind": "image", "data": "%" }), "data"),
    ] {
        let error = sim.send_kind(ALICE, BOB, kind(value.clone())).await.unwrap_err();
        assert!(format!("{error:#}").contains(why), "{value}: {error:#}");
    }
    assert!(sim.send_kind(ALICE, "15559999", Kind::text("?")).await.is_err());
    assert!(sim.send_kind(ALICE, BOB, Kind::Image(Media::with_size(0))).await.is_ok());
    assert_eq!(text(&{ bob }.message().await), "mine");
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_go_to_groups_too_and_name_the_participant() {
    let (sim, mut bob) = start().await;
    let group = sim.create_group(ALICE, "Friends", &[BOB, CAROL]).unwrap();
    for value in without_target() {
        let id = sim.send_kind(CAROL, &group, kind(value.clone())).await.unwrap();
        let got = message_of(&mut bob, &id).await;
        assert_same(&got.message, &shown(&sim, BOB, &id).await, &value);
        assert_eq!(got.info.source.chat.to_string(), group);
    }
    let poll = json!({ "kind": "poll", "name": "Who?", "options": ["me", "you"] });
    let id = sim.send_kind(CAROL, &group, kind(poll)).await.unwrap();
    let carol = message_of(&mut bob, &id).await.info.source.sender.to_non_ad().to_string();
    // The group's admin votes, reacts, pins, and takes it away.
    let vote = json!({ "kind": "vote", "poll": id, "options": ["you"] });
    let vote = sim.send_kind(ALICE, &group, kind(vote)).await.unwrap();
    let item = sim.wait_inbox(BOB, |m| m.id == vote, STEP).await.unwrap();
    assert_eq!(item.opened, Some(json!({ "vote": ["you"] })));
    for (value, field) in [
        (json!({ "kind": "reaction", "target": id, "emoji": "👍" }), "reactionMessage"),
        (json!({ "kind": "pin", "target": id }), "pinInChatMessage"),
        (json!({ "kind": "revoke", "target": id }), "protocolMessage"),
    ] {
        let sent = sim.send_kind(ALICE, &group, kind(value)).await.unwrap();
        let got = message_to_json(&message_of(&mut bob, &sent).await.message);
        let key = &got[field]["key"];
        assert_eq!((&key["fromMe"], &key["participant"]), (&json!(false), &json!(carol)), "{got}");
        assert_eq!(key["remoteJid"], json!(group));
    }
    bob.stop().await;
    assert_understood(&sim);
}
