//! Faults by rule: any stanza, either way, by chance.

use whatsapp_rust::prelude::Event;
use whatsapp_sim::{Direction, Effect, Rule};

use crate::{
    client::{STEP, assert_understood, pn, text},
    people::{ALICE, BOB, alice_online},
};

fn rule(effect: Effect, direction: Direction, stanza: &str, count: u32) -> Rule {
    Rule::new(effect, direction, stanza, count).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_messages_change_places() {
    let (sim, mut alice, _) = alice_online().await;
    sim.add_rule(ALICE, rule(Effect::Reorder, Direction::ToClient, "message", 1)).unwrap();
    sim.send_text(BOB, ALICE, "first").await.unwrap();
    sim.send_text(BOB, ALICE, "second").await.unwrap();
    let got = alice.messages(2).await;
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), ["second", "first"]);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_receipt_comes_at_the_next_login() {
    let (sim, mut alice, device) = alice_online().await;
    sim.add_rule(ALICE, rule(Effect::Drop, Direction::ToClient, "receipt", 1)).unwrap();
    let id = alice.send(&pn(BOB), "delivered?").await;
    sim.wait_rules_used(ALICE, STEP).await.unwrap();
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    sim.disconnect(ALICE).unwrap();
    let offline = alice
        .find("the receipt", |event| match event {
            Event::Receipt(receipt) if receipt.message_ids.contains(&id) => Some(receipt.offline),
            _ => None,
        })
        .await;
    assert!(offline, "it was lost at first");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_lost_on_its_way_to_the_server_is_not_acked() {
    let (sim, mut alice, _) = alice_online().await;
    sim.add_rule(ALICE, rule(Effect::Drop, Direction::FromClient, "message", 1)).unwrap();
    alice.send(&pn(BOB), "lost").await;
    let id = alice.send(&pn(BOB), "not lost").await;
    assert_eq!(alice.ack(&id).await, None);
    let item = sim.wait_inbox(BOB, |_| true, STEP).await.unwrap();
    assert_eq!(item.text.as_deref(), Some("not lost"));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_query_fails_and_the_next_does_not() {
    let (sim, alice, _) = alice_online().await;
    sim.wait_prekeys(ALICE, 1, 30, STEP).await.unwrap();
    sim.add_rule(ALICE, rule(Effect::Nack(429), Direction::FromClient, "iq:blocklist", 1)).unwrap();
    alice.client.blocking().get_blocklist().await.unwrap_err();
    alice.client.blocking().get_blocklist().await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn delays_keep_the_order_and_doubles_are_shown_once() {
    let (sim, mut alice, device) = alice_online().await;
    // Long beside what three messages take by themselves.
    let delay = std::time::Duration::from_secs(2);
    sim.add_rule(ALICE, rule(Effect::Delay(delay), Direction::ToClient, "message", 1)).unwrap();
    sim.add_rule(ALICE, rule(Effect::Double, Direction::ToClient, "message", 1)).unwrap();
    let (stanzas, start) = (alice.show_stanzas(), std::time::Instant::now());
    let mut sent = Vec::new();
    for word in ["one", "two", "three"] {
        sent.push(sim.send_text(BOB, ALICE, word).await.unwrap());
    }
    assert_eq!(alice.message_stanza().await, sent[0]);
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    for id in [&sent[1], &sent[1], &sent[2]] {
        assert_eq!(alice.message_stanza().await, *id);
    }
    drop(stanzas);
    let got = alice.messages(3).await;
    assert_eq!(got.iter().map(text).collect::<Vec<_>>(), ["one", "two", "three"]);
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_chance_loses_arrives_in_the_end() {
    let (sim, mut alice, device) = alice_online().await;
    for (effect, seed) in [(Effect::Drop, 11), (Effect::Double, 12), (Effect::Reorder, 13)] {
        let chance = rule(effect, Direction::ToClient, "message", 10).by_chance(0.4, seed).unwrap();
        sim.add_rule(ALICE, chance).unwrap();
    }
    let mut expected: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for text in &expected {
        sim.send_text(BOB, ALICE, text).await.unwrap();
    }
    // Each login brings what the one before lost.
    while sim.wait_settled(ALICE, device, std::time::Duration::from_secs(1)).await.is_err() {
        sim.disconnect(ALICE).unwrap();
        alice.connected().await;
        sim.wait_connected(ALICE, device, STEP).await.unwrap();
    }
    let mut got: Vec<String> = alice.messages(expected.len()).await.iter().map(|m| text(m).to_owned()).collect();
    assert_ne!(got, expected, "chance did nothing");
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_clock_can_be_off() {
    let (sim, mut alice, _) = alice_online().await;
    sim.set_clock_skew(ALICE, -86_400).unwrap();
    sim.send_text(BOB, ALICE, "yesterday").await.unwrap();
    let message = alice.message().await;
    let age = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .abs_diff(u64::try_from(message.info.timestamp.timestamp()).unwrap());
    assert!((86_300..86_500).contains(&age), "{age} s");
    alice.stop().await;
    assert_understood(&sim);
}
