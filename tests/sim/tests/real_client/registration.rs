//! What happens to whole accounts and their companions.

use std::sync::Arc;

use wacore::{
    store::{InMemoryBackend, traits::SignalStore as _},
    types::jid::JidExt as _,
};
use whatsapp_rust::{
    passkey::Assertion,
    prelude::{Event, Jid},
};
use whatsapp_sim::{ArrivalOutcome, Refusal};

use crate::{
    client::{STEP, TestClient, assert_understood, eventually, pn, start_simulator, text},
    people::{ALICE, BOB, alice_online},
};

fn logged_out(event: &Event) -> Option<bool> {
    match event {
        Event::LoggedOut(out) => Some(out.on_connect),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_companion_is_not_linked() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(TestClient::pair(&sim, ALICE).await.0);
    }
    let mut fifth = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    let qr = fifth.qr().await;
    let error = sim.scan(ALICE, &qr).await.unwrap_err();
    assert!(error.to_string().contains("4 linked devices"), "{error:#}");
    assert_eq!(sim.connected_devices(ALICE).len(), 4);
    sim.unlink(ALICE, 2).unwrap();
    assert_eq!(sim.scan(ALICE, &qr).await.unwrap(), 5);
    fifth.connected().await;
    fifth.stop().await;
    for client in clients {
        client.stop().await;
    }
    assert_understood(&sim);
}

/// What Alice's companion keeps of Bob's phone.
async fn identity_of_bobs_phone(alice: &TestClient) -> Option<[u8; 32]> {
    let lid = alice.client.get_lid_pn_entry(&pn(BOB)).await.unwrap().unwrap().lid;
    let address = Jid::lid(lid.to_string()).to_protocol_address_string();
    alice.backend().load_identity(&address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_registered_anew_has_another_identity_and_no_companions() {
    let (sim, mut alice, _) = alice_online().await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    sim.send_text(BOB, ALICE, "old phone").await.unwrap();
    alice.message().await;
    let id = alice.send(&pn(BOB), "to the old phone").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();

    sim.send_text(ALICE, BOB, "between phones").await.unwrap();
    let known = identity_of_bobs_phone(&alice).await;

    sim.register_again(BOB).unwrap();
    assert!(!bob.find("LoggedOut", logged_out).await);
    alice.find("IdentityChange", |event| matches!(event, Event::IdentityChange(_)).then_some(())).await;
    assert!(sim.connected_devices(BOB).is_empty());
    let id = alice.send(&pn(BOB), "to the new phone").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    eventually("the new identity is kept", async || identity_of_bobs_phone(&alice).await != known).await;
    // Alice's phone, too, knows that it has to begin anew.
    sim.send_text(ALICE, BOB, "to the new phone, from a phone").await.unwrap();
    assert!(sim.arrival_log().iter().all(|arrival| arrival.outcome == ArrivalOutcome::Shown));
    assert_eq!(text(&alice.message().await), "between phones");
    assert_eq!(text(&alice.message().await), "to the new phone, from a phone");
    sim.send_text(BOB, ALICE, "new phone").await.unwrap();
    assert_eq!(text(&alice.message().await), "new phone");
    bob.stop().await;
    // The new phone links companions like any other.
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    let id = bob.send(&pn(ALICE), "here I am").await;
    sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(text(&alice.message().await), "here I am");
    bob.stop().await;
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn companions_outlive_their_phone_for_thirteen_days() {
    let (sim, mut alice, device) = alice_online().await;
    sim.phone_away(ALICE, 13).unwrap();
    assert!(sim.has_device(ALICE, device));
    sim.phone_away(ALICE, 14).unwrap();
    assert!(!alice.find("LoggedOut", logged_out).await);
    assert!(!sim.has_device(ALICE, device));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_says_why_and_for_how_long_and_ends() {
    let (sim, mut alice, device) = alice_online().await;
    let ban = Refusal { reason: 402, code: Some(101), expire: Some(3600), ..Default::default() };
    sim.refuse(Some(ALICE), Some(ban)).unwrap();
    let (code, seconds) = alice
        .find("TemporaryBan", |event| match event {
            Event::TemporaryBan(ban) => Some((ban.code.clone(), ban.expire.num_seconds())),
            _ => None,
        })
        .await;
    assert_eq!((i64::from(u16::try_from(code.code()).unwrap()), seconds), (101, 3600));
    let backend = alice.stop().await;
    sim.refuse(Some(ALICE), None).unwrap();
    let mut alice = TestClient::start(&sim, backend).await;
    alice.connected().await;
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_every_kind_are_told_apart() {
    let (sim, alice, _) = alice_online().await;
    let mut backend = alice.stop().await;
    for reason in [401, 403, 406, 405, 409, 415, 503] {
        let refusal = Refusal { reason, count: Some(1), ..Default::default() };
        sim.refuse(Some(ALICE), Some(refusal)).unwrap();
        let mut alice = TestClient::start(&sim, backend).await;
        let told = alice
            .find("the refusal", |event| match event {
                Event::LoggedOut(out) if out.on_connect => Some("logged out"),
                Event::ClientOutdated(_) => Some("outdated"),
                Event::ConnectFailure(_) => Some("failure"),
                Event::Connected(_) => Some("connected"),
                _ => None,
            })
            .await;
        let expected = match reason {
            401 | 403 | 406 => "logged out",
            405 => "outdated",
            _ => "failure",
        };
        assert_eq!(told, expected, "{reason}");
        backend = alice.stop().await;
    }
    // A new companion is refused as well, if everybody is.
    let outdated = Refusal { reason: 405, ..Default::default() };
    sim.refuse(None, Some(outdated)).unwrap();
    let mut new = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    new.find("ClientOutdated", |event| matches!(event, Event::ClientOutdated(_)).then_some(())).await;
    new.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_passkey_is_linked_by_it() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    sim.set_passkey(ALICE, true).unwrap();
    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    let qr = client.qr().await;
    let scan = tokio::spawn({
        let sim = sim.clone();
        async move { sim.scan(ALICE, &qr).await }
    });
    let options = client
        .find("the request", |event| match event {
            Event::PairPasskeyRequest(request) => Some(request.request_options_json.clone()),
            _ => None,
        })
        .await;
    assert!(options.contains("web.whatsapp.com"), "{options}");
    let assertion = Assertion { assertion_json: b"{}".to_vec(), credential_id: vec![1] };
    client.client.send_passkey_response(assertion).await.unwrap();
    let code = client
        .find("the code", |event| match event {
            Event::PairPasskeyConfirmation(confirmation) => Some(confirmation.code.clone()),
            _ => None,
        })
        .await;
    assert_eq!(sim.wait_passkey_code(STEP).await.unwrap(), code.replace('-', ""));
    client.client.send_passkey_confirmation().await.unwrap();
    let device = scan.await.unwrap().unwrap();
    client.connected().await;
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_prekeys_are_uploaded_again_when_the_server_asks() {
    let (sim, alice, device) = alice_online().await;
    sim.wait_prekeys(ALICE, device, 30, STEP).await.unwrap();
    sim.lose_prekeys(ALICE, device).unwrap();
    sim.ask_digest(ALICE, device).unwrap();
    sim.wait_prekeys(ALICE, device, 30, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}
