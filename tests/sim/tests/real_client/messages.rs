use whatsapp_rust::{
    prelude::{Event, SendOptions},
    types::presence::ReceiptType,
};
use whatsapp_sim::Addressing;

use crate::{
    client::{STEP, TestClient, assert_understood, pn, text},
    people::{ALICE, BOB, two_with},
};

async fn talk_both_ways(addressing: Addressing) {
    let sim = two_with(addressing).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;

    // Bob's phone to Alice's companion and phone.
    let id = sim.send_text(BOB, ALICE, "hello Alice").await.unwrap();
    let got = alice.message().await;
    assert_eq!(text(&got), "hello Alice");
    assert_eq!(got.info.id, id);
    assert_eq!(got.info.push_name, "Bob");
    assert!(!got.info.source.is_from_me);
    let known_as = match addressing {
        Addressing::Lid | Addressing::LidAlone => got.info.source.sender_alt.clone().unwrap(),
        Addressing::Pn | Addressing::PnAlone => got.info.source.sender.clone(),
    };
    assert_eq!(known_as.user, BOB);
    assert_eq!(got.info.source.sender.is_lid(), addressing == Addressing::Lid);
    let phone = sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(phone.chat, "15550002@s.whatsapp.net");

    // And back: Bob's phone and Alice's own phone get it.
    let id = alice.send(&got.info.source.chat, "hello Bob").await;
    assert_eq!(alice.ack(&id).await, None);
    let at_bob = sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(at_bob.text.as_deref(), Some("hello Bob"));
    assert_eq!(at_bob.from, "15550001@s.whatsapp.net");
    assert!(!at_bob.from_me);
    assert_eq!(at_bob.arrivals, 1);
    let own = sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    assert!(own.from_me);
    assert_eq!(own.chat, "15550002@s.whatsapp.net");

    // Bob's phone says delivered.
    alice
        .find("a delivery receipt", |event| match event {
            Event::Receipt(r) if r.r#type == ReceiptType::Delivered && r.message_ids.contains(&id) => Some(()),
            _ => None,
        })
        .await;
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_cross_both_ways_between_migrated_accounts() {
    talk_both_ways(Addressing::Lid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_cross_both_ways_between_unmigrated_accounts() {
    talk_both_ways(Addressing::Pn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_cross_both_ways_between_accounts_whose_messages_tell_no_lid() {
    talk_both_ways(Addressing::PnAlone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_can_write_first_to_a_bare_number() {
    let sim = two_with(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let id = alice.send(&pn(BOB), "first").await;
    assert_eq!(alice.ack(&id).await, None);
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_device_of_both_sides_gets_every_message() {
    let sim = two_with(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut alice_two, second) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    assert_eq!(second, 2);

    let id = alice.send(&pn(BOB), "to all of you").await;
    assert_eq!(text(&bob.message().await), "to all of you");
    let copy = alice_two.message().await;
    assert_eq!(text(&copy), "to all of you");
    assert!(copy.info.source.is_from_me);
    for number in [ALICE, BOB] {
        sim.wait_inbox(number, |m| m.id == id, STEP).await.unwrap();
    }

    // A device linked later is known to who wrote before.
    let (mut bob_two, _) = TestClient::pair(&sim, BOB).await;
    alice.send(&pn(BOB), "and you").await;
    assert_eq!(text(&bob.message().await), "and you");
    assert_eq!(text(&bob_two.message().await), "and you");

    // Client to client, the other way.
    bob_two.send(&pn(ALICE), "back").await;
    for client in [&mut alice, &mut alice_two, &mut bob] {
        let got = client.messages(1).await.pop().unwrap();
        if text(&got) == "and you" {
            assert_eq!(text(&client.message().await), "back");
        } else {
            assert_eq!(text(&got), "back");
        }
    }
    for client in [alice, alice_two, bob, bob_two] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_own_phone_sends_reaches_the_companion_as_its_own() {
    let sim = two_with(Addressing::Lid).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let id = sim.send_text(ALICE, BOB, "from my phone").await.unwrap();
    let got = alice.message().await;
    assert_eq!(got.info.id, id);
    assert!(got.info.source.is_from_me);
    assert_eq!(text(&got), "from my phone");
    assert_ne!(got.info.source.chat.user, alice.client.lid().unwrap().user);
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_receipts_cross_both_ways() {
    let sim = two_with(Addressing::Lid).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;

    let id = alice.send(&pn(BOB), "read me").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    sim.mark_read(BOB, ALICE, std::slice::from_ref(&id)).await.unwrap();
    alice
        .find("a read receipt", |event| match event {
            Event::Receipt(r) if r.r#type == ReceiptType::Read && r.message_ids.contains(&id) => Some(()),
            _ => None,
        })
        .await;

    let id = sim.send_text(BOB, ALICE, "and me").await.unwrap();
    let got = alice.message().await;
    let delivered = sim.wait_receipt(BOB, |r| r.ids.contains(&id) && r.device == device, STEP).await.unwrap();
    assert_ne!(delivered.kind, "read");
    let info = &got.info;
    alice.client.mark_as_read(&info.source.chat, None, &[&id]).await.unwrap();
    sim.wait_receipt(BOB, |r| r.ids.contains(&id) && r.kind == "read", STEP).await.unwrap();
    // What one device reads is read on the own phone.
    let own = sim.wait_receipt(ALICE, |r| r.ids.contains(&id) && r.kind == "read", STEP).await.unwrap();
    assert_eq!(own.recipient.as_deref(), Some(BOB));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_phone_sends_no_delivery_receipt() {
    let sim = two_with(Addressing::Lid).await;
    let (mut bob, device) = TestClient::pair(&sim, BOB).await;
    sim.set_phone_silent(BOB, true).unwrap();
    let id = sim.send_text(ALICE, BOB, "anyone?").await.unwrap();
    bob.message().await;
    sim.wait_receipt(ALICE, |r| r.ids.contains(&id), STEP).await.unwrap();
    let from: Vec<u16> = sim.receipts(ALICE).iter().filter(|r| r.ids.contains(&id)).map(|r| r.device).collect();
    assert_eq!(from, [device]);
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_twice_arrives_twice_and_shows_once() {
    let sim = two_with(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    for _ in 0..2 {
        let message =
            whatsapp_rust::waproto::whatsapp::Message { conversation: Some("once".into()), ..Default::default() };
        let mut options = SendOptions::default();
        options.message_id = Some("3EB0SAMEID".into());
        alice.client.send_message_with_options(pn(BOB), message, options).await.unwrap();
        assert_eq!(alice.ack("3EB0SAMEID").await, None);
    }
    let item = sim.wait_inbox(BOB, |m| m.arrivals == 2, STEP).await.unwrap();
    assert_eq!(item.id, "3EB0SAMEID");
    assert_eq!(sim.inbox(BOB).len(), 1);
    let arrivals = sim.arrival_log();
    assert_eq!(arrivals.iter().filter(|a| a.to == BOB).count(), 2);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_changes_the_address_of_a_person_not_the_session() {
    let sim = two_with(Addressing::Pn).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    sim.send_text(BOB, ALICE, "by number").await.unwrap();
    let before = alice.message().await;
    assert_eq!(before.info.source.sender.user, BOB);
    let id = alice.send(&before.info.source.chat, "answer").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();

    sim.set_addressing(ALICE, Addressing::Lid).unwrap();
    sim.set_addressing(BOB, Addressing::Lid).unwrap();
    sim.send_text(BOB, ALICE, "by LID").await.unwrap();
    let after = alice.message().await;
    assert_eq!(text(&after), "by LID");
    assert!(after.info.source.sender.is_lid());
    let alt = after.info.source.sender_alt.as_ref().unwrap();
    assert_eq!(alt.user, BOB);
    let id = alice.send(&after.info.source.chat, "answer by LID").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    assert!(sim.receipts(BOB).iter().all(|r| r.kind != "retry"));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrated_and_an_unmigrated_account_understand_each_other() {
    let sim = two_with(Addressing::Lid).await;
    sim.set_addressing(BOB, Addressing::Pn).unwrap();
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    alice.send(&pn(BOB), "one").await;
    let got = bob.message().await;
    assert_eq!(text(&got), "one");
    bob.send(&got.info.source.chat, "two").await;
    assert_eq!(text(&alice.message().await), "two");
    for (from, to, words) in [(BOB, ALICE, "three"), (ALICE, BOB, "four")] {
        sim.send_text(from, to, words).await.unwrap();
        assert_eq!(text(&alice.message().await), words);
        assert_eq!(text(&bob.message().await), words);
    }
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}
