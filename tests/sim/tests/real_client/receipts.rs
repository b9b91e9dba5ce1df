//! Receipts of each type: who gets them, and what they settle.

use whatsapp_rust::{prelude::Event, types::presence::ReceiptType};
use whatsapp_sim::Simulator;

use crate::{
    client::{STEP, TestClient, assert_understood, pn},
    people::{ALICE, BOB, two},
};

async fn two_of_alice_and_bob() -> (Simulator, [TestClient; 2], TestClient) {
    let sim = two().await;
    let (first, _) = TestClient::pair(&sim, ALICE).await;
    let (second, _) = TestClient::pair(&sim, ALICE).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    (sim, [first, second], bob)
}

async fn receipt(client: &mut TestClient, id: &str, wanted: ReceiptType) {
    client
        .find(&format!("{wanted:?} of {id}"), |event| match event {
            Event::Receipt(receipt) if receipt.r#type == wanted && receipt.message_ids.iter().any(|i| i == id) => {
                Some(())
            }
            _ => None,
        })
        .await;
}

async fn stop(sim: &Simulator, clients: impl IntoIterator<Item = TestClient>) {
    for client in clients {
        client.stop().await;
    }
    assert_understood(sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_device_reads_or_plays_the_author_and_the_others_learn() {
    let (sim, [mut first, mut second], mut bob) = two_of_alice_and_bob().await;
    let id = bob.send(&pn(ALICE), "read and play me").await;
    let chat = first.message().await.info.source.chat.clone();
    second.message().await;
    first.client.mark_as_read(&chat, None, &[&id]).await.unwrap();
    receipt(&mut bob, &id, ReceiptType::Read).await;
    sim.wait_receipt(BOB, |r| r.kind == "read" && r.ids.contains(&id), STEP).await.unwrap();
    let own = sim.wait_receipt(ALICE, |r| r.kind == "read" && r.ids.contains(&id), STEP).await.unwrap();
    assert_eq!((own.device, own.recipient.as_deref()), (1, Some(BOB)));
    first.client.mark_as_played(&chat, None, &[&id]).await.unwrap();
    receipt(&mut bob, &id, ReceiptType::Played).await;
    stop(&sim, [first, second, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hides_reading_tells_only_the_own_devices() {
    let (sim, [first, second], bob) = two_of_alice_and_bob().await;
    sim.set_privacy(ALICE, "readreceipts", "none").unwrap();
    // Clients ask for their settings when they log in.
    let backend = first.stop().await;
    let mut first = TestClient::start(&sim, backend).await;
    first.connected().await;
    first.client.fetch_privacy_settings().await.unwrap();
    let id = bob.send(&pn(ALICE), "secretly read").await;
    let chat = first.message().await.info.source.chat.clone();
    first.client.mark_as_read(&chat, None, &[&id]).await.unwrap();
    sim.wait_receipt(ALICE, |r| r.kind == "read-self" && r.ids.contains(&id), STEP).await.unwrap();
    assert!(!sim.receipts(BOB).iter().any(|r| r.kind.starts_with("read")), "the author learns nothing");
    stop(&sim, [first, second, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receipt_can_name_many_messages() {
    let (sim, [mut first, second], mut bob) = two_of_alice_and_bob().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(bob.send(&pn(ALICE), &n.to_string()).await);
    }
    let chat = first.messages(5).await[0].info.source.chat.clone();
    let named: Vec<&str> = ids.iter().map(String::as_str).collect();
    first.client.mark_as_read(&chat, None, &named).await.unwrap();
    receipt(&mut bob, &ids[4], ReceiptType::Read).await;
    let read: Vec<_> = sim.receipts(BOB).into_iter().filter(|r| r.kind == "read").collect();
    assert_eq!(read.len(), 1);
    assert!(ids.iter().all(|id| read[0].ids.contains(id)), "{read:?}");
    stop(&sim, [first, second, bob]).await;
}
