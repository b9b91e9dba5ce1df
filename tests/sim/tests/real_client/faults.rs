use whatsapp_rust::{
    prelude::{Event, SendOptions},
    waproto::whatsapp::Message,
};
use whatsapp_sim::{ArrivalOutcome, Direction, Effect, FaultKind, Rule};

use crate::{
    client::{STEP, TestClient, assert_understood, eventually, pn, text},
    people::{ALICE, BOB, alice_online, two},
};

async fn send_as(client: &TestClient, id: &str, text: &str) {
    let message = Message { conversation: Some(text.into()), ..Default::default() };
    let options = SendOptions::default().with_message_id(id);
    client.client.send_message_with_options(pn(BOB), message, options).await.unwrap();
}

async fn disconnected(client: &mut TestClient) {
    client.find("Disconnected", |event| matches!(event, Event::Disconnected(_)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_cut_before_its_ack_arrives_twice_when_sent_again() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::Cut, 1).unwrap();
    send_as(&alice, "3EB0CUT", "cut").await;
    sim.wait_fault_used(ALICE, FaultKind::Cut, STEP).await.unwrap();
    disconnected(&mut alice).await;
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    alice.connected().await;
    send_as(&alice, "3EB0CUT", "cut").await;
    assert_eq!(alice.ack("3EB0CUT").await, None);
    let item = sim.wait_inbox(BOB, |m| m.arrivals == 2, STEP).await.unwrap();
    assert_eq!(item.text.as_deref(), Some("cut"));
    assert_eq!(sim.inbox(BOB).len(), 1);
    let at_bob: Vec<ArrivalOutcome> = sim.arrival_log().iter().filter(|a| a.to == BOB).map(|a| a.outcome).collect();
    assert_eq!(at_bob, [ArrivalOutcome::Shown, ArrivalOutcome::Repeat]);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_cut_unseen_arrives_only_when_sent_again() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::CutUnseen, 1).unwrap();
    send_as(&alice, "3EB0UNSEEN", "unseen").await;
    disconnected(&mut alice).await;
    assert!(sim.inbox(BOB).is_empty());
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    alice.connected().await;
    send_as(&alice, "3EB0UNSEEN", "unseen").await;
    assert_eq!(alice.ack("3EB0UNSEEN").await, None);
    let item = sim.wait_inbox(BOB, |_| true, STEP).await.unwrap();
    assert_eq!(item.arrivals, 1);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_cut_after_its_ack_is_through() {
    let (sim, mut alice, _) = alice_online().await;
    sim.fault(ALICE, FaultKind::CutAfterAck, 1).unwrap();
    send_as(&alice, "3EB0AFTER", "after").await;
    assert_eq!(alice.ack("3EB0AFTER").await, None);
    disconnected(&mut alice).await;
    sim.wait_inbox(BOB, |m| m.id == "3EB0AFTER", STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_reaches_nobody_and_says_why() {
    let (sim, mut alice, _) = alice_online().await;
    sim.fault(ALICE, FaultKind::Nack(463), 1).unwrap();
    send_as(&alice, "3EB0NACK", "no").await;
    assert_eq!(alice.ack("3EB0NACK").await.as_deref(), Some("463"));
    send_as(&alice, "3EB0YES", "yes").await;
    assert_eq!(alice.ack("3EB0YES").await, None);
    let item = sim.wait_inbox(BOB, |_| true, STEP).await.unwrap();
    assert_eq!(item.id, "3EB0YES");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_ack_leaves_the_message_delivered() {
    let (sim, mut alice, _) = alice_online().await;
    sim.fault(ALICE, FaultKind::DropAck, 1).unwrap();
    send_as(&alice, "3EB0NOACK", "one").await;
    sim.wait_inbox(BOB, |m| m.id == "3EB0NOACK", STEP).await.unwrap();
    send_as(&alice, "3EB0ACK", "two").await;
    // Acks come in order: the second one's is here, the first never came.
    let first = alice
        .find("an ack", |event| match event {
            Event::ServerAck(ack) if ack.class.as_deref() == Some("message") => Some(ack.id.clone()),
            _ => None,
        })
        .await;
    assert_eq!(first, "3EB0ACK");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_messages_and_acks_come_in_order_when_released() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::Hold, 0).unwrap();
    for n in 0..20 {
        sim.send_text(BOB, ALICE, &n.to_string()).await.unwrap();
    }
    send_as(&alice, "3EB0HELD", "held").await;
    sim.wait_inbox(BOB, |m| m.id == "3EB0HELD", STEP).await.unwrap();
    // Receipts are not held: only the messages are sure to wait.
    assert!(sim.queued(ALICE, device) >= 20);
    alice.round_trip().await;
    while let Some(event) = alice.take_seen() {
        let through = match &*event {
            // What own devices tell each other came before.
            Event::Messages(batch) => batch.messages.iter().any(|m| !text(m).is_empty()),
            Event::ServerAck(ack) => ack.id == "3EB0HELD",
            _ => false,
        };
        assert!(!through, "{event:?} came through");
    }
    sim.fault(ALICE, FaultKind::Release, 0).unwrap();
    let texts: Vec<String> = alice.messages(20).await.iter().map(|m| text(m).to_owned()).collect();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
    assert_eq!(alice.ack("3EB0HELD").await, None);
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_message_is_shown_once_and_settled() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::Double, 1).unwrap();
    let stanzas = alice.show_stanzas();
    let double = sim.send_text(BOB, ALICE, "double").await.unwrap();
    let single = sim.send_text(BOB, ALICE, "single").await.unwrap();
    for id in [&double, &double, &single] {
        assert_eq!(alice.message_stanza().await, *id);
    }
    drop(stanzas);
    let texts: Vec<String> = alice.messages(2).await.iter().map(|m| text(m).to_owned()).collect();
    assert_eq!(texts, ["double", "single"]);
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_message_is_asked_for_and_sent_again() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::CorruptCiphertext, 1).unwrap();
    // It asks its own phone as well: that request gets lost, so that the sender has to help.
    sim.add_rule(ALICE, Rule::new(Effect::Drop, Direction::FromClient, "message", 1).unwrap()).unwrap();
    let id = sim.send_text(BOB, ALICE, "fragile").await.unwrap();
    let got = alice.message().await;
    assert_eq!(got.info.id, id);
    assert_eq!(text(&got), "fragile");
    sim.wait_receipt(BOB, |r| r.kind == "retry" && r.ids.contains(&id), STEP).await.unwrap();
    sim.wait_rules_used(ALICE, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    // The session is well again, in both directions.
    sim.send_text(BOB, ALICE, "next").await.unwrap();
    assert_eq!(text(&alice.message().await), "next");
    let id = alice.send(&pn(BOB), "back").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_again_what_another_client_could_not_read() {
    let (sim, mut alice, device) = alice_online().await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    sim.fault(ALICE, FaultKind::CorruptCiphertext, 1).unwrap();
    let id = bob.send(&pn(ALICE), "fragile").await;
    assert_eq!(bob.ack(&id).await, None);
    let got = alice.message().await;
    assert_eq!(got.info.id, id);
    assert_eq!(text(&got), "fragile");
    sim.wait_receipt(BOB, |r| r.ids.contains(&id) && r.device == device, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_asks_again_for_what_it_cannot_read() {
    let (sim, mut alice, _) = alice_online().await;
    sim.fault(BOB, FaultKind::CorruptToPhone, 1).unwrap();
    let id = alice.send(&pn(BOB), "fragile").await;
    assert_eq!(alice.ack(&id).await, None);
    let item = sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(item.text.as_deref(), Some("fragile"));
    assert_eq!(item.arrivals, 1, "the broken one does not count");
    let outcomes: Vec<ArrivalOutcome> = sim.arrival_log().iter().filter(|a| a.to == BOB).map(|a| a.outcome).collect();
    assert_eq!(outcomes, [ArrivalOutcome::Undecryptable, ArrivalOutcome::Shown]);
    let id = alice.send(&pn(BOB), "next").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_retry_the_own_phone_helps_out() {
    let (sim, mut alice, _) = alice_online().await;
    sim.fault(ALICE, FaultKind::CorruptCiphertext, 1).unwrap();
    sim.fault(ALICE, FaultKind::DropRetry, 1).unwrap();
    let id = sim.send_text(BOB, ALICE, "fragile").await.unwrap();
    let got = alice.message().await;
    assert_eq!(got.info.id, id);
    assert_eq!(text(&got), "fragile");
    sim.wait_fault_used(ALICE, FaultKind::DropRetry, STEP).await.unwrap();
    assert!(sim.receipts(BOB).iter().all(|receipt| receipt.kind != "retry"), "the sender was not asked");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_copy_of_an_own_message_can_be_had_from_the_phone() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::CorruptCiphertext, 1).unwrap();
    let id = sim.send_text(ALICE, BOB, "mine").await.unwrap();
    // This client asks nobody for copies of own messages: it settles them and
    // leaves it at the event.
    let info = alice
        .find("UndecryptableMessage", |event| match event {
            Event::UndecryptableMessage(lost) => Some(lost.info.clone()),
            _ => None,
        })
        .await;
    assert_eq!(info.id, id);
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.client.send_pdo_placeholder_resend_request(&info).await.unwrap();
    let got = alice.message().await;
    assert_eq!(got.info.id, id);
    assert!(got.info.source.is_from_me);
    assert_eq!(text(&got), "mine");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_survives_a_stanza_it_does_not_know() {
    let (sim, mut alice, _) = alice_online().await;
    sim.fault(ALICE, FaultKind::UnknownStanza, 1).unwrap();
    sim.send_text(BOB, ALICE, "still there?").await.unwrap();
    assert_eq!(text(&alice.message().await), "still there?");
    // It came: the client acks it, which the simulator in turn does not know.
    eventually("the stanza is acked", async || sim.unknown_stanzas().iter().any(|s| s.contains("sim_mystery"))).await;
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stanza_the_simulator_does_not_know_is_recorded() {
    let (sim, alice, _) = alice_online().await;
    assert_understood(&sim);
    let node = whatsapp_rust::wacore_binary::builder::NodeBuilder::new("riddle").attr("id", "1").build();
    alice.client.send_node(node).await.unwrap();
    // A message after it: once that is through, the riddle was read.
    let id = alice.send(&pn(BOB), "after the riddle").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(sim.unknown_stanzas(), ["<riddle id=\"1\"/>"]);
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_devices_only_the_one_that_could_not_read_asks_again() {
    let sim = two().await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    let (bob_two, _) = TestClient::pair(&sim, BOB).await;
    let mut both = [bob, bob_two];
    sim.fault(BOB, FaultKind::CorruptCiphertext, 1).unwrap();
    let id = sim.send_text(ALICE, BOB, "broken for one").await.unwrap();
    for bob in &mut both {
        let got = bob.message().await;
        assert_eq!((text(&got), &got.info.id), ("broken for one", &id));
    }
    sim.wait_receipt(ALICE, |r| r.kind == "retry" && r.ids.contains(&id), STEP).await.unwrap();
    let next = sim.send_text(ALICE, BOB, "next").await.unwrap();
    for bob in &mut both {
        // The one that asked may have it from the sender and from its own phone.
        while bob.message().await.info.id != next {}
    }
    let mut devices: Vec<u16> =
        sim.receipts(ALICE).iter().filter(|r| r.kind == "retry" && r.ids.contains(&id)).map(|r| r.device).collect();
    devices.dedup();
    assert_eq!(devices.len(), 1, "{devices:?}");
    for bob in both {
        bob.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_message_is_told_and_not_shown() {
    let (sim, mut alice, device) = alice_online().await;
    sim.fault(ALICE, FaultKind::WithholdViewOnce, 1).unwrap();
    let id = sim.send_text(BOB, ALICE, "for the phone alone").await.unwrap();
    alice
        .find("the withheld message", |event| match event {
            Event::UndecryptableMessage(lost) if lost.info.id == id && lost.is_unavailable => Some(()),
            _ => None,
        })
        .await;
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    sim.send_text(BOB, ALICE, "for all").await.unwrap();
    assert_eq!(text(&alice.message().await), "for all");
    alice.stop().await;
    assert_understood(&sim);
}
