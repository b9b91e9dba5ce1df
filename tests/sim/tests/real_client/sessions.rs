use whatsapp_rust::prelude::Event;
use whatsapp_sim::PresenceItem;

use crate::{
    client::{STEP, TestClient, assert_understood, pn, text},
    people::{ALICE, BOB, alice_online},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_error_503_brings_the_client_back() {
    let (sim, mut alice, device) = alice_online().await;
    sim.stream_error(ALICE, device, 503).unwrap();
    alice.connected().await;
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    sim.send_text(BOB, ALICE, "again").await.unwrap();
    assert_eq!(text(&alice.message().await), "again");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_error_401_logs_the_client_out() {
    let (sim, mut alice, device) = alice_online().await;
    sim.stream_error(ALICE, device, 401).unwrap();
    alice.find("LoggedOut", |event| matches!(event, Event::LoggedOut(_)).then_some(())).await;
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_states_and_presences_are_shown() {
    let (sim, mut alice, _) = alice_online().await;
    sim.send_chatstate(BOB, ALICE, "composing").unwrap();
    alice.find("composing", |event| matches!(event, Event::ChatPresence(_)).then_some(())).await;
    alice.client.presence().subscribe(&pn(BOB)).await.unwrap();
    sim.set_presence(BOB, "available").unwrap();
    alice
        .find("presence", |event| match event {
            Event::Presence(p) if !p.unavailable => Some(()),
            _ => None,
        })
        .await;
    alice.client.chatstate().send_composing(&pn(BOB)).await.unwrap();
    let id = alice.send(&pn(BOB), "typed").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    let composing = PresenceItem { from: ALICE.into(), state: "composing".into() };
    assert!(sim.presences(BOB).contains(&composing));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_without_account_has_no_devices() {
    let (sim, alice, _) = alice_online().await;
    let found = alice.client.contacts().is_on_whatsapp(&[pn("15559999"), pn(BOB)]).await.unwrap();
    let registered: Vec<(String, bool)> = found.iter().map(|r| (r.jid.user.to_string(), r.is_registered)).collect();
    assert!(registered.contains(&(BOB.to_owned(), true)), "{registered:?}");
    assert!(registered.contains(&("15559999".to_owned(), false)), "{registered:?}");
    assert!(sim.send_text(BOB, "15559999", "hello?").await.is_err());
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_uploads_more_prekeys_when_the_pool_runs_low() {
    let (sim, mut alice, device) = alice_online().await;
    sim.wait_prekeys(ALICE, device, 30, STEP).await.unwrap();
    // Each new contact takes one of the thirty.
    for n in 0..25 {
        let number = format!("1555100{n:02}");
        sim.create_account(&number, "Somebody").unwrap();
        sim.send_text(&number, ALICE, "hello").await.unwrap();
    }
    alice.messages(25).await;
    sim.wait_prekeys(ALICE, device, 30, STEP).await.unwrap();
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_cut_at_once_all_come_back_and_miss_nothing() {
    let (sim, alice, _) = alice_online().await;
    let (alice_two, _) = TestClient::pair(&sim, ALICE).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    let mut all = [alice, alice_two, bob];
    for round in 0..2 {
        sim.disconnect(ALICE).unwrap();
        sim.disconnect(BOB).unwrap();
        let mut words = [format!("{round} from Alice"), format!("{round} from Bob")];
        words.sort();
        sim.send_text(ALICE, BOB, &words[0]).await.unwrap();
        sim.send_text(BOB, ALICE, &words[1]).await.unwrap();
        for client in &mut all {
            client.connected().await;
            // What others wrote, and the copy of what the own phone wrote.
            let got = client.messages(2).await;
            let mut texts: Vec<&str> = got.iter().map(text).collect();
            texts.sort_unstable();
            assert_eq!(texts, words);
        }
    }
    let [alice, _, bob] = &mut all;
    alice.send(&pn(BOB), "still here").await;
    assert_eq!(text(&bob.message().await), "still here");
    for client in all {
        client.stop().await;
    }
    assert_understood(&sim);
}
