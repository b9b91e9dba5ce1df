use whatsapp_rust::{
    prelude::{Event, Jid},
    wacore::types::call::{CallAction, IncomingCall},
};
use whatsapp_sim::Addressing;

use crate::{
    client::{STEP, TestClient, assert_understood},
    people::{ALICE, BOB, CAROL, four},
};

/// Waits for one action of one call.
async fn call(client: &mut TestClient, id: &str, action: &str) -> IncomingCall {
    client
        .find(&format!("{action} of {id}"), |event| match event {
            Event::IncomingCall(call) if call.action.call_id() == id && call.action.wire_tag() == action => {
                Some(call.clone())
            }
            _ => None,
        })
        .await
}

async fn ring(addressing: Addressing) {
    let sim = four(addressing).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let id = sim.call(BOB, ALICE, true).unwrap();
    let offer = call(&mut alice, &id, "offer").await;
    assert_eq!(offer.notify.as_deref(), Some("Bob"));
    assert_eq!(offer.from.is_lid(), addressing == Addressing::Lid);
    let CallAction::Offer { is_video, audio, caller_pn, call_creator, .. } = &offer.action else { panic!("{offer:?}") };
    assert!(*is_video && audio.len() == 2);
    assert_eq!(*call_creator, offer.from);
    assert_eq!(caller_pn.as_ref().map(|pn| pn.user.as_str()), (addressing == Addressing::Lid).then_some(BOB));
    // The device says that it rings.
    sim.wait_call(&id, |info| info.events.iter().any(|e| e.action == "receipt" && e.device == device), STEP)
        .await
        .unwrap();
    // The caller gives up.
    sim.act_on_call(BOB, &id, "terminate", Some("timeout")).unwrap();
    let end = call(&mut alice, &id, "terminate").await;
    assert!(matches!(&end.action, CallAction::Terminate { reason: Some(reason), .. } if reason == "timeout"));
    assert_eq!(sim.calls()[0].state, "missed");
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_rings_a_companion_and_gives_up() {
    ring(Addressing::Lid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_rings_an_unmigrated_companion_and_gives_up() {
    ring(Addressing::Pn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_rejects_and_the_others_stop_ringing() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let (mut alice_two, _) = TestClient::pair(&sim, ALICE).await;
    let id = sim.call(BOB, ALICE, false).unwrap();
    let offer = call(&mut alice, &id, "offer").await;
    call(&mut alice_two, &id, "offer").await;
    alice.client.voip().reject(&offer).await.unwrap();
    let info = sim.wait_call(&id, |info| info.state == "rejected", STEP).await.unwrap();
    let reject = info.events.iter().find(|event| event.action == "reject").unwrap();
    assert_eq!((reject.from.as_str(), reject.device), (ALICE, device));
    let end = call(&mut alice_two, &id, "terminate").await;
    assert!(
        matches!(&end.action, CallAction::Terminate { reason: Some(reason), .. } if reason == "rejected_elsewhere")
    );
    alice.stop().await;
    alice_two.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_taken_on_the_phone_stops_ringing_on_companions() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let id = sim.call(BOB, ALICE, false).unwrap();
    call(&mut alice, &id, "offer").await;
    sim.act_on_call(ALICE, &id, "preaccept", None).unwrap();
    sim.act_on_call(ALICE, &id, "accept", None).unwrap();
    let end = call(&mut alice, &id, "terminate").await;
    assert!(
        matches!(&end.action, CallAction::Terminate { reason: Some(reason), .. } if reason == "accepted_elsewhere")
    );
    assert_eq!(sim.calls()[0].state, "accepted");
    sim.act_on_call(BOB, &id, "terminate", None).unwrap();
    assert_eq!(sim.calls()[0].state, "ended");
    // Nobody else has a part in it.
    assert!(sim.act_on_call(CAROL, &id, "terminate", None).is_err());
    assert!(sim.act_on_call(BOB, &id, "accept", None).is_err());
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_nobody_was_there_for_is_a_missed_one() {
    let sim = four(Addressing::Lid).await;
    let (alice, device) = TestClient::pair(&sim, ALICE).await;
    let backend = alice.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();
    let id = sim.call(BOB, ALICE, false).unwrap();
    sim.act_on_call(BOB, &id, "terminate", None).unwrap();
    let mut alice = TestClient::start(&sim, backend).await;
    alice
        .find("the missed call", |event| match event {
            Event::MissedCall(missed) if missed.call_id == id => Some(()),
            _ => None,
        })
        .await;
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_rung_or_told_of_a_call() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let group = sim.create_group(BOB, "Friends", &[ALICE, CAROL]).unwrap();
    let jid: Jid = group.parse().unwrap();
    let id = sim.call(BOB, &group, false).unwrap();
    let offer = call(&mut alice, &id, "offer").await;
    assert!(matches!(&offer.action, CallAction::Offer { group_jid: Some(group), joinable: true, .. } if *group == jid));
    assert_eq!(sim.calls()[0].to, [ALICE, CAROL]);
    let notice = sim.call_notice(BOB, &group, true).unwrap();
    let told = call(&mut alice, &notice, "offer_notice").await;
    assert!(matches!(told.action, CallAction::OfferNotice { is_video: true, is_group: true, .. }));
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_flow_on_after_a_call() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let id = sim.call(BOB, ALICE, false).unwrap();
    call(&mut alice, &id, "offer").await;
    sim.act_on_call(BOB, &id, "terminate", None).unwrap();
    sim.send_text(BOB, ALICE, "I tried to call").await.unwrap();
    assert_eq!(crate::client::text(&alice.message().await), "I tried to call");
    alice.stop().await;
    assert_understood(&sim);
}
