//! Who is there, and who may know.

use whatsapp_rust::{
    prelude::Event,
    wacore::iq::privacy::{PrivacyCategory, PrivacyValue},
};
use whatsapp_sim::{PresenceItem, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, pn},
    people::{ALICE, BOB, two},
};

async fn alice_and_bob() -> (Simulator, TestClient, TestClient, u16) {
    let sim = two().await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (bob, device) = TestClient::pair(&sim, BOB).await;
    available(&bob).await;
    (sim, alice, bob, device)
}

/// Says that it is there; the answer to what is asked next tells that the
/// server knows.
async fn available(client: &TestClient) {
    client.client.presence().set_available().await.unwrap();
    client.client.fetch_privacy_settings().await.unwrap();
}

/// The next presence of Bob: whether he is there, and when he was last.
async fn shown(client: &mut TestClient) -> (bool, Option<i64>) {
    client
        .find("a presence", |event| match event {
            Event::Presence(p) => Some((!p.unavailable, p.last_seen.map(|seen| seen.timestamp()))),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_somebody_come_and_go_and_when() {
    let (sim, mut alice, bob, device) = alice_and_bob().await;
    sim.wait_settled(BOB, device, STEP).await.unwrap();
    alice.client.presence().subscribe(&pn(BOB)).await.unwrap();
    assert_eq!(shown(&mut alice).await, (true, None));
    bob.client.presence().set_unavailable().await.unwrap();
    let (there, seen) = shown(&mut alice).await;
    assert!(!there && seen.is_some(), "{seen:?}");
    // One device is enough, and a connection that ends takes its device along.
    sim.set_presence(BOB, "available").unwrap();
    assert_eq!(shown(&mut alice).await, (true, None));
    available(&bob).await;
    let before = sim.presences(ALICE).len();
    sim.set_presence(BOB, "unavailable").unwrap();
    assert_eq!(sim.presences(ALICE).len(), before, "his companion is there");
    bob.stop().await;
    let (there, seen) = shown(&mut alice).await;
    assert!(!there && seen.is_some(), "{seen:?}");

    alice.client.presence().unsubscribe(&pn(BOB)).await.unwrap();
    let before = sim.presences(ALICE).len();
    // The unsubscription is on its way until something later arrives.
    let id = alice.send(&pn(BOB), "bye").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    sim.set_presence(BOB, "available").unwrap();
    assert_eq!(sim.presences(ALICE).len(), before);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn privacy_decides_what_subscribers_see() {
    let (sim, mut alice, bob, _) = alice_and_bob().await;
    bob.client.set_privacy_setting(PrivacyCategory::Last, PrivacyValue::None).await.unwrap();
    alice.client.presence().subscribe(&pn(BOB)).await.unwrap();
    assert_eq!(shown(&mut alice).await, (true, None));
    bob.client.presence().set_unavailable().await.unwrap();
    assert_eq!(shown(&mut alice).await, (false, None), "gone, but not since when");
    bob.client.set_privacy_setting(PrivacyCategory::Online, PrivacyValue::MatchLastSeen).await.unwrap();
    bob.client.presence().set_available().await.unwrap();
    bob.client.presence().set_unavailable().await.unwrap();
    assert_eq!(shown(&mut alice).await, (false, None), "being there is hidden now");
    bob.client.set_privacy_setting(PrivacyCategory::Last, PrivacyValue::Contacts).await.unwrap();
    sim.save_contact(BOB, ALICE, "Alice").unwrap();
    bob.client.presence().set_available().await.unwrap();
    assert_eq!(shown(&mut alice).await, (true, None));
    let told: Vec<String> = sim.presences(ALICE).into_iter().map(|presence| presence.state).collect();
    assert_eq!(told, ["unavailable", "unavailable", "available"], "nothing between");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_one_sees_neither_presence_nor_typing() {
    let (sim, mut alice, bob, _) = alice_and_bob().await;
    sim.set_blocked(BOB, ALICE, true).unwrap();
    alice.client.presence().subscribe(&pn(BOB)).await.unwrap();
    alice.client.chatstate().send_composing(&pn(BOB)).await.unwrap();
    let id = alice.send(&pn(BOB), "hello?").await;
    assert_eq!(alice.ack(&id).await, None);
    let typing = PresenceItem { from: ALICE.into(), state: "composing".into() };
    assert!(!sim.presences(BOB).contains(&typing));
    assert!(sim.presences(ALICE).is_empty());
    while let Some(event) = alice.take_seen() {
        assert!(!matches!(*event, Event::Presence(_)), "a subscription of his is not answered");
    }
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}
