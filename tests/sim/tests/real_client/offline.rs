use whatsapp_rust::prelude::{BatchOrigin, Event};
use whatsapp_sim::{Direction, Effect, FaultKind, Rule};

use crate::{
    client::{STEP, TestClient, assert_understood, message_stanza, text},
    people::{ALICE, BOB, two},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_hundreds_arrives_in_order_and_is_settled() {
    let sim = two().await;
    let (client, device) = TestClient::pair(&sim, ALICE).await;
    let backend = client.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();
    for n in 0..500 {
        sim.send_text(BOB, ALICE, &n.to_string()).await.unwrap();
    }
    assert!(sim.queued(ALICE, device) >= 500);

    let mut client = TestClient::start(&sim, backend).await;
    let got = client.messages(500).await;
    let texts: Vec<String> = got.iter().map(|m| text(m).to_owned()).collect();
    let expected: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
    client.connected().await;
    client.find("the end of the backlog", |event| matches!(event, Event::OfflineSyncCompleted(_)).then_some(())).await;
    sim.wait_settled(ALICE, device, STEP).await.unwrap();

    // What comes now comes live.
    sim.send_text(BOB, ALICE, "live").await.unwrap();
    let origin = client
        .find("a live message", |event| match event {
            Event::Messages(batch) => Some(batch.origin),
            _ => None,
        })
        .await;
    assert!(matches!(origin, BatchOrigin::Live));
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_got_lost_on_the_way_comes_again_at_the_next_login() {
    let sim = two().await;
    let (mut client, device) = TestClient::pair(&sim, ALICE).await;
    sim.fault(ALICE, FaultKind::Drop, 1).unwrap();
    sim.send_text(BOB, ALICE, "lost").await.unwrap();
    sim.wait_fault_used(ALICE, FaultKind::Drop, STEP).await.unwrap();
    sim.send_text(BOB, ALICE, "second").await.unwrap();
    assert_eq!(text(&client.message().await), "second");
    sim.disconnect(ALICE).unwrap();
    assert_eq!(text(&client.message().await), "lost");
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_an_offline_companion_waits_for_it() {
    let sim = two().await;
    let (mut client, device) = TestClient::pair(&sim, ALICE).await;
    let id = client.send(&crate::client::pn(BOB), "read me later").await;
    client.ack(&id).await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    let backend = client.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();
    sim.mark_read(BOB, ALICE, std::slice::from_ref(&id)).await.unwrap();
    let mut client = TestClient::start(&sim, backend).await;
    client
        .find("the read receipt", |event| match event {
            Event::Receipt(r)
                if r.offline
                    && r.message_ids.contains(&id)
                    && r.r#type == whatsapp_rust::types::presence::ReceiptType::Read =>
            {
                Some(())
            }
            _ => None,
        })
        .await;
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_backlog_no_more_comes_than_the_client_asked_for() {
    let sim = two().await;
    let (client, device) = TestClient::pair(&sim, ALICE).await;
    let backend = client.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();
    for n in 0..20 {
        sim.send_text(BOB, ALICE, &n.to_string()).await.unwrap();
    }
    // Its requests for more get lost.
    sim.add_rule(ALICE, Rule::new(Effect::Drop, Direction::FromClient, "ib", u32::MAX).unwrap()).unwrap();
    let mut client = TestClient::start(&sim, backend).await;
    let _stanzas = client.show_stanzas();
    for _ in 0..5 {
        client.message_stanza().await;
    }
    client.round_trip().await;
    while let Some(event) = client.take_seen() {
        assert_eq!(message_stanza(&event), None);
    }
    assert!(sim.queued(ALICE, device) >= 15);
    client.stop().await;
    assert_understood(&sim);
}
