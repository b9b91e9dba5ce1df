//! Votes and all else that is encrypted with another message's secret.

use serde_json::json;
use wacore::poll::PollVoteCiphertext;
use whatsapp_rust::{
    prelude::InboundMessage,
    waproto::whatsapp::{self as wa, message::event_response_message::EventResponseType},
};
use whatsapp_sim::{Addressing, Kind, Simulator, message_to_json};

use crate::{
    client::{STEP, TestClient, assert_understood},
    kinds::{kind, message_of},
    people::{ALICE, BOB, two_with},
};

async fn start(addressing: Addressing) -> (Simulator, TestClient) {
    let sim = two_with(addressing).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    (sim, bob)
}

fn secret(message: &InboundMessage) -> Vec<u8> {
    message.message.message_context_info.as_option().unwrap().message_secret.clone().unwrap()
}

async fn vote_both_ways(addressing: Addressing) {
    let (sim, mut bob) = start(addressing).await;
    let poll = json!({ "kind": "poll", "name": "Lunch?", "options": ["soup", "bread"], "selectable": 1 });
    let id = sim.send_kind(ALICE, BOB, kind(poll)).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let chat = got.info.source.chat.clone();
    // The client votes, and takes it back.
    for (options, expected) in [(vec!["bread".to_owned()], json!(["bread"])), (vec![], json!([]))] {
        let vote = bob.client.polls().vote(&chat, &id, &got.info.source.sender, &secret(&got), &options).await.unwrap();
        let item = sim.wait_inbox(ALICE, |m| m.id == vote.message_id, STEP).await.unwrap();
        assert_eq!(item.opened, Some(json!({ "vote": expected })));
    }
    // The client asks, the phone votes.
    let options = ["red".to_owned(), "green".to_owned()];
    let (poll, secret) = bob.client.polls().create(&chat, "Colour?", &options, 2).await.unwrap();
    sim.wait_inbox(ALICE, |m| m.id == poll.message_id, STEP).await.unwrap();
    let choice = json!({ "kind": "vote", "poll": poll.message_id, "options": ["green", "red"] });
    let id = sim.send_kind(ALICE, BOB, kind(choice)).await.unwrap();
    let vote = message_of(&mut bob, &id).await;
    let update = vote.message.poll_update_message.as_option().unwrap();
    let sealed = update.vote.as_option().unwrap();
    let me = match addressing {
        Addressing::Lid => bob.client.lid().unwrap(),
        _ => bob.client.pn().unwrap(),
    };
    let chosen = wacore::poll::decrypt_poll_vote_with_secret(
        PollVoteCiphertext {
            enc_payload: sealed.enc_payload.as_deref().unwrap(),
            enc_iv: sealed.enc_iv.as_deref().unwrap(),
        },
        &secret,
        &poll.message_id,
        &me.to_non_ad().to_string(),
        &vote.info.source.sender.to_non_ad().to_string(),
    )
    .unwrap();
    let hashes = ["green", "red"].map(|name| wacore::poll::compute_option_hash(name).to_vec());
    assert_eq!(chosen, hashes);
    // The own phone reads it, too.
    assert!(
        sim.send_kind(ALICE, BOB, kind(json!({ "kind": "vote", "poll": poll.message_id, "options": ["blue"] })))
            .await
            .is_err()
    );
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_are_read_both_ways_between_migrated_accounts() {
    vote_both_ways(Addressing::Lid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_are_read_both_ways_between_unmigrated_accounts() {
    vote_both_ways(Addressing::Pn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_events_are_read_both_ways() {
    let (sim, mut bob) = start(Addressing::Lid).await;
    let event = json!({ "kind": "event", "name": "Party", "start": 1_900_000_000 });
    let id = sim.send_kind(ALICE, BOB, kind(event)).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let (chat, host) = (&got.info.source.chat, &got.info.source.sender);
    let events = bob.client.events();
    let answer = events.respond(chat, &id, host, &secret(&got), EventResponseType::Maybe, Some(1)).await.unwrap();
    let item = sim.wait_inbox(ALICE, |m| m.id == answer.message_id, STEP).await.unwrap();
    let opened = item.opened.unwrap();
    assert_eq!(opened["rsvp"]["response"], "MAYBE");
    assert_eq!(opened["rsvp"]["extraGuestCount"], 1);

    let own = json!({ "kind": "rsvp", "event": id, "response": "going" });
    let rsvp = sim.send_kind(ALICE, BOB, kind(own)).await.unwrap();
    let got_rsvp = message_of(&mut bob, &rsvp).await;
    let sealed = got_rsvp.message.enc_event_response_message.as_option().unwrap();
    let host = host.to_non_ad().to_string();
    let response = wacore::event::decrypt_event_response_with_secret(
        sealed.enc_payload.as_deref().unwrap(),
        sealed.enc_iv.as_deref().unwrap(),
        &secret(&got),
        &id,
        &host,
        &host,
    )
    .unwrap();
    assert_eq!(response.response, Some(EventResponseType::Going));
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_edits_and_comments_are_opened_by_those_they_are_for() {
    let (sim, mut bob) = start(Addressing::Lid).await;
    let id = sim.send_kind(ALICE, BOB, Kind::text("first")).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let edit = json!({ "kind": "edit", "target": id, "text": "second", "secret": true });
    let edit = sim.send_kind(ALICE, BOB, kind(edit)).await.unwrap();
    // The client opens it by itself; the phone shows both.
    let opened = message_to_json(&message_of(&mut bob, &edit).await.message);
    assert_eq!(opened["protocolMessage"]["editedMessage"]["conversation"], "second", "{opened}");
    let item = sim.wait_inbox(BOB, |m| m.id == edit, STEP).await.unwrap();
    assert_eq!(item.message["secretEncryptedMessage"]["secretEncType"], "MESSAGE_EDIT");
    assert_eq!(item.opened.unwrap()["edit"]["protocolMessage"]["editedMessage"]["conversation"], "second");

    let key = wa::MessageKey {
        remote_jid: Some(got.info.source.chat.to_string()),
        from_me: Some(false),
        id: Some(id.clone()),
        participant: Some(got.info.source.sender.to_non_ad().to_string()),
    };
    let comment = bob.client.comments().send_text(&got.info.source.chat, key, "agreed").await.unwrap();
    let item = sim.wait_inbox(ALICE, |m| m.id == comment.message_id, STEP).await.unwrap();
    assert_eq!(item.opened.unwrap()["comment"]["extendedTextMessage"]["text"], "agreed");

    for (value, name) in [
        (json!({ "kind": "comment", "target": id, "text": "me too" }), "comment"),
        (json!({ "kind": "secret_reaction", "target": id, "emoji": "👍" }), "reaction"),
    ] {
        let sent = sim.send_kind(ALICE, BOB, kind(value)).await.unwrap();
        let item = sim.wait_inbox(BOB, |m| m.id == sent, STEP).await.unwrap();
        assert!(item.opened.unwrap()[name].is_object());
    }
    // A text without a secret cannot be edited that way.
    let bare = sim.send_text(ALICE, BOB, "bare").await.unwrap();
    let edit = json!({ "kind": "edit", "target": bare, "text": "?", "secret": true });
    assert!(sim.send_kind(ALICE, BOB, kind(edit)).await.is_err());
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_ended_by_who_asked() {
    let (sim, mut bob) = start(Addressing::Lid).await;
    let poll = json!({ "kind": "poll", "name": "Lunch?", "options": ["soup", "bread"] });
    let id = sim.send_kind(ALICE, BOB, kind(poll)).await.unwrap();
    message_of(&mut bob, &id).await;
    let end = json!({ "kind": "poll_end", "poll": id });
    assert!(sim.send_kind(BOB, ALICE, kind(end.clone())).await.is_err(), "it is not Bob's");
    let ended = sim.send_kind(ALICE, BOB, kind(end)).await.unwrap();
    let item = sim.wait_inbox(BOB, |m| m.id == ended, STEP).await.unwrap();
    assert_eq!(item.message["secretEncryptedMessage"]["secretEncType"], "POLL_EDIT");
    let edit = &item.opened.unwrap()["edit"]["pollCreationMessageV3"];
    assert_eq!(edit["name"], "Lunch?");
    assert!(!edit["endTime"].is_null(), "{edit}");
    // A dishonest phone seals an edit of what is not its own.
    let forged = json!({
        "kind": "sealed", "target": id, "purpose": "POLL_EDIT",
        "message": { "pollCreationMessageV3": { "name": "Dinner?" } },
    });
    let forged = sim.send_kind(BOB, ALICE, kind(forged)).await.unwrap();
    let item = sim.wait_inbox(ALICE, |m| m.id == forged, STEP).await.unwrap();
    assert_eq!(item.opened.unwrap()["edit"]["pollCreationMessageV3"]["name"], "Dinner?");
    bob.stop().await;
    assert_understood(&sim);
}
