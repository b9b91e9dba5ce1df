use whatsapp_rust::{
    features::StatusSendOptions,
    prelude::{Event, Jid},
    types::presence::ReceiptType,
    waproto::whatsapp::message::extended_text_message::FontType,
};
use whatsapp_sim::{Addressing, FaultKind, ReceiptItem};

use crate::{
    client::{STEP, TestClient, assert_understood, pn, text},
    people::{ALICE, BOB, CAROL, DAVE, four},
};

async fn post(client: &TestClient, words: &str, to: &[&str]) -> String {
    let people: Vec<Jid> = to.iter().map(|number| pn(number)).collect();
    // A status goes by LID; the client has to have heard of it.
    client.client.contacts().is_on_whatsapp(&people).await.unwrap();
    client
        .client
        .status()
        .send_text(words, 0xff1e_6e4f, FontType::SYSTEM, &people, StatusSendOptions::default())
        .await
        .unwrap()
        .message_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phones_status_reaches_its_audience_and_own_devices() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    for n in 0..3 {
        let words = format!("status {n}");
        let id = sim.post_status(BOB, &[ALICE, CAROL], &words).unwrap();
        let got = alice.message().await;
        assert_eq!((text(&got), &got.info.id), (words.as_str(), &id));
        assert_eq!(got.info.source.chat, Jid::status_broadcast());
        assert_eq!(got.info.source.sender_alt.as_ref().unwrap().user, BOB);
        let own = bob.message().await;
        assert!(own.info.source.is_from_me && text(&own) == words);
        let item = sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
        assert_eq!((item.chat.as_str(), item.from.as_str()), ("status@broadcast", "15550002@s.whatsapp.net"));
        let seen = sim.wait_receipt(BOB, |r| r.from == ALICE && r.ids.contains(&id), STEP).await.unwrap();
        assert_eq!(seen.recipient.as_deref(), Some("status@broadcast"));
    }
    assert!(sim.inbox(DAVE).is_empty());
    // Without a name: those the phone has chats with.
    assert!(sim.send_text(DAVE, "status@broadcast", "for nobody").await.is_err());
    sim.send_text(DAVE, ALICE, "hello").await.unwrap();
    sim.send_text(DAVE, "status@broadcast", "for Alice").await.unwrap();
    // In no order: they are messages of two chats.
    let got = alice.messages(2).await;
    let mut words: Vec<&str> = got.iter().map(text).collect();
    words.sort_unstable();
    assert_eq!(words, ["for Alice", "hello"]);
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companions_status_reaches_its_audience_and_is_read() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut alice_two, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    for n in 0..3 {
        let words = format!("status {n}");
        let id = post(&alice, &words, &[BOB, CAROL]).await;
        assert_eq!(alice.ack(&id).await, None);
        let got = bob.message().await;
        assert_eq!(text(&got), words);
        assert_eq!(text(&alice_two.message().await), words);
        for number in [ALICE, BOB, CAROL] {
            sim.wait_inbox(number, |m| m.id == id && m.chat == "status@broadcast", STEP).await.unwrap();
        }
        let source = &got.info.source;
        bob.client.mark_as_read(&source.chat, Some(&source.sender), &[&id]).await.unwrap();
        alice
            .find("who saw it", |event| match event {
                Event::Receipt(r) if r.r#type == ReceiptType::Read && r.message_ids.contains(&id) => Some(()),
                _ => None,
            })
            .await;
    }
    assert!(sim.inbox(DAVE).is_empty());
    for client in [alice, alice_two, bob] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_cannot_be_read_is_sent_again_to_the_one_who_asks() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    sim.fault(BOB, FaultKind::CorruptCiphertext, 1).unwrap();
    let id = sim.post_status(CAROL, &[BOB, DAVE], "from a phone").unwrap();
    let got = bob.message().await;
    assert_eq!((text(&got), &got.info.id), ("from a phone", &id));
    let (mut dave, device) = TestClient::pair(&sim, DAVE).await;
    sim.fault(DAVE, FaultKind::CorruptToPhone, 1).unwrap();
    let id = post(&alice, "from a companion", &[DAVE, CAROL]).await;
    assert_eq!(text(&dave.message().await), "from a companion");
    sim.wait_inbox(DAVE, |m| m.id == id, STEP).await.unwrap();
    // Only Dave's phone got it again, not his companion.
    let said = |r: &ReceiptItem| r.from == DAVE && r.device == device && r.ids.contains(&id);
    sim.wait_receipt(ALICE, said, STEP).await.unwrap();
    let next = sim.send_text(ALICE, DAVE, "next").await.unwrap();
    assert_eq!(text(&dave.message().await), "next");
    sim.wait_receipt(ALICE, |r| r.device == device && r.ids.contains(&next), STEP).await.unwrap();
    assert_eq!(sim.receipts(ALICE).iter().filter(|r| said(r)).count(), 1);
    dave.stop().await;
    // Carol got it once.
    sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(sim.arrival_log().iter().filter(|a| a.to == CAROL && a.id == id).count(), 1);
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_list_is_direct_messages_to_others_and_a_list_at_home() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let list = sim.create_broadcast_list(ALICE, &[BOB, CAROL]).unwrap();
    let id = sim.send_text(ALICE, &list, "to all of you").await.unwrap();
    let got = bob.message().await;
    assert_eq!((text(&got), &got.info.id), ("to all of you", &id));
    assert!(got.info.source.chat.is_lid() && !got.info.source.is_group);
    let item = sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(item.chat, "15550001@s.whatsapp.net");
    let own = alice.message().await;
    assert_eq!((text(&own), &own.info.id, own.info.source.chat.to_string()), ("to all of you", &id, list));
    assert!(own.info.source.is_from_me);
    assert_eq!(own.info.bcl_participants.len(), 2);
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    // An answer is an answer to one person.
    let id = bob.send(&got.info.source.chat, "thank you").await;
    sim.wait_inbox(ALICE, |m| m.id == id && m.chat == "15550002@s.whatsapp.net", STEP).await.unwrap();
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}
