use std::sync::Arc;

use wacore::store::InMemoryBackend;
use whatsapp_rust::{pair_code::PairCodeOptions, prelude::Event};
use whatsapp_sim::{HandshakeKind, IkPolicy};

use crate::{
    client::{STEP, TestClient, assert_understood, start_simulator},
    people::ALICE,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_scanned_code_links_a_device_that_knows_its_names() {
    let sim = start_simulator().await;
    let info = sim.create_account(ALICE, "Alice").unwrap();
    let (client, device) = TestClient::pair(&sim, ALICE).await;
    assert_eq!(device, 1);
    assert_eq!(client.client.pn().unwrap().user, ALICE);
    assert_eq!(client.client.lid().unwrap().user, info.lid);
    assert_eq!(client.client.push_name(), "Alice");
    assert_eq!(sim.connected_devices(ALICE), [1]);
    sim.wait_settled(ALICE, 1, STEP).await.unwrap();
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_code_links_a_device() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    client.qr().await;
    let options = || PairCodeOptions { phone_number: ALICE.into(), ..Default::default() };
    let code = client.client.pair_with_code(options()).await.unwrap();
    let device = sim.enter_pair_code(ALICE, &code).await.unwrap();
    client.connected().await;
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_links_nothing() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    client.qr().await;
    sim.enter_pair_code(ALICE, "ABCDEFGH").await.unwrap_err();
    let options = PairCodeOptions { phone_number: ALICE.into(), ..Default::default() };
    let code = client.client.pair_with_code(options).await.unwrap();
    let wrong = if code == "ZZZZZZZZ" { "YYYYYYYY" } else { "ZZZZZZZZ" };
    let error = sim.enter_pair_code(ALICE, wrong).await.unwrap_err();
    assert!(error.to_string().contains("wrong code"), "{error:#}");
    assert!(sim.connected_devices(ALICE).is_empty());
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_nobody_shows_and_an_unknown_number_are_refused() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    sim.create_account(ALICE, "Again").unwrap_err();
    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    let qr = client.qr().await;
    sim.scan("15559999", &qr).await.unwrap_err();
    let forged = qr.replacen("2@", "2@x", 1);
    sim.scan(ALICE, &forged).await.unwrap_err();
    sim.scan(ALICE, &qr).await.unwrap();
    client.connected().await;
    sim.scan(ALICE, &qr).await.unwrap_err();
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_device_comes_back_by_ik_and_falls_back_when_refused() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let (client, device) = TestClient::pair(&sim, ALICE).await;
    let backend = client.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();
    // Pairing and the first login know no server key that is verified.
    let before = sim.handshakes();
    assert_eq!(before[0], HandshakeKind::Xx);

    let mut client = TestClient::start(&sim, backend).await;
    client.connected().await;
    sim.wait_connected(ALICE, device, STEP).await.unwrap();
    assert_eq!(sim.handshakes().last(), Some(&HandshakeKind::Ik));
    let backend = client.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();

    sim.set_ik(IkPolicy::Refuse);
    let mut client = TestClient::start(&sim, backend).await;
    client.connected().await;
    assert_eq!(sim.handshakes().last(), Some(&HandshakeKind::XxFallback));
    let backend = client.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();

    sim.set_ik(IkPolicy::Accept);
    sim.rotate_static_key().unwrap();
    let mut client = TestClient::start(&sim, backend).await;
    client.connected().await;
    assert_eq!(sim.handshakes().last(), Some(&HandshakeKind::XxFallback));
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_replaces_the_first() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let (mut first, _) = TestClient::pair(&sim, ALICE).await;
    first.client.persistence_manager().flush().await.unwrap();
    let mut second = TestClient::start(&sim, first.backend()).await;
    second.connected().await;
    first.find("StreamReplaced", |event| matches!(event, Event::StreamReplaced(_)).then_some(())).await;
    second.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlinked_device_is_told_and_refused_from_then_on() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let (mut client, device) = TestClient::pair(&sim, ALICE).await;
    sim.unlink(ALICE, device).unwrap();
    let on_connect = |event: &Event| match event {
        Event::LoggedOut(out) => Some(out.on_connect),
        _ => None,
    };
    assert!(!client.find("LoggedOut", on_connect).await);
    assert!(sim.connected_devices(ALICE).is_empty());
    let backend = client.stop().await;
    let mut again = TestClient::start(&sim, backend).await;
    assert!(again.find("LoggedOut", on_connect).await);
    again.stop().await;

    // The account itself is well, and a companion can leave by itself.
    let (mut next, device) = TestClient::pair(&sim, ALICE).await;
    assert_eq!(device, 2);
    next.client.logout().await;
    next.find("LoggedOut", on_connect).await;
    sim.unlink(ALICE, device).unwrap_err();
    assert_understood(&sim);
}
