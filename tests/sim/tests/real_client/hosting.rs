//! What suites made for another server find here: TLS, and a phone that scans
//! whatever it is shown.

use std::sync::Arc;

use wacore::store::InMemoryBackend;
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_sim::{Encryption, Simulator};

use crate::client::{STEP, TestClient, assert_understood, pn, start_simulator, text};

fn trusting(sim: &Simulator) -> reqwest::Client {
    let certificate = reqwest::Certificate::from_pem(sim.certificate().as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap()
}

#[tokio::test]
async fn the_port_speaks_tls_and_plain_http_and_tls_only_if_told() {
    let both = start_simulator().await;
    let path = format!("{}/admin/unknown", both.addr());
    assert_eq!(trusting(&both).get(format!("https://{path}")).send().await.unwrap().status(), 200);
    assert_eq!(reqwest::get(format!("http://{path}")).await.unwrap().status(), 200);
    let stranger = reqwest::get(format!("https://{path}")).await;
    assert!(stranger.is_err(), "a self-signed certificate is nobody's");

    let tls = Simulator::start_with("127.0.0.1:0".parse().unwrap(), Encryption::TlsOnly).await.unwrap();
    let path = format!("{}/admin/unknown", tls.addr());
    assert_eq!(trusting(&tls).get(format!("https://{path}")).send().await.unwrap().status(), 200);
    reqwest::get(format!("http://{path}")).await.unwrap_err();
    both.shutdown().await;
    tls.shutdown().await;
}

async fn named(sim: &Simulator, name: &str) -> TestClient {
    let backend = Arc::new(InMemoryBackend::new());
    let manager = PersistenceManager::new(backend.clone()).await.unwrap();
    manager.modify_device(|device| device.push_name = name.to_owned()).await;
    manager.flush().await.unwrap();
    TestClient::start(sim, backend).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mock_phone_links_companions_of_one_name_to_one_account() {
    let sim = start_simulator().await;
    let mut linked = Vec::new();
    for name in ["Alice", "Alice", "Bob"] {
        let mut client = named(&sim, name).await;
        let qr = client.qr().await;
        let url = format!("{}/admin/mock-phone/scan-qr", sim.http_url());
        let answer = reqwest::Client::new().post(url).body(qr).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: serde_json::Value = answer.json().await.unwrap();
        client.connected().await;
        linked.push((client, answer["number"].as_str().unwrap().to_owned(), answer["device"].clone()));
    }
    assert_eq!(linked[0].1, linked[1].1);
    assert_ne!(linked[0].1, linked[2].1);
    assert_eq!(linked[1].2, serde_json::json!(2));
    let number = linked[0].1.clone();
    let id = linked[2].0.send(&pn(&number), "to both").await;
    for alice in &mut linked[..2] {
        let message = alice.0.message().await;
        assert_eq!((text(&message), message.info.id.as_str()), ("to both", id.as_str()));
    }
    sim.wait_inbox(&number, |m| m.id == id, STEP).await.unwrap();
    for (client, ..) in linked {
        client.stop().await;
    }
    assert_understood(&sim);
}
