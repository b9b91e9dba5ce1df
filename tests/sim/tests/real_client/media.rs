use whatsapp_sim::Simulator;

use crate::client::{TestClient, assert_understood, pn, start_simulator};

const ALICE: &str = "15550001";
const BOB: &str = "15550002";

async fn fetch(sim: &Simulator, path: &str) -> reqwest::Response {
    reqwest::get(format!("{}{path}", sim.http_url())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_picture_is_served_when_set() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    sim.create_account(BOB, "Bob").unwrap();
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let bob = pn(BOB);
    let none = alice.client.contacts().get_profile_picture(&bob, true).await;
    assert!(none.ok().flatten().is_none());

    sim.set_picture(BOB, Some(b"a picture".to_vec())).unwrap();
    let picture = alice.client.contacts().get_profile_picture(&bob, false).await.unwrap().unwrap();
    let path = picture.direct_path.unwrap();
    assert!(picture.url.ends_with(&path));
    let file = fetch(&sim, &path).await;
    assert_eq!(file.bytes().await.unwrap(), "a picture");
    sim.clear_media();
    assert_eq!(fetch(&sim, &path).await.status(), 404);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_file_can_be_downloaded() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let content = vec![7u8; 200_000];
    let upload = alice
        .client
        .upload(content.clone(), whatsapp_rust::wacore::download::MediaType::Document, Default::default())
        .await
        .unwrap();
    let message = whatsapp_rust::waproto::whatsapp::message::DocumentMessage {
        url: Some(upload.url.clone()),
        direct_path: Some(upload.direct_path.clone()),
        media_key: Some(upload.media_key.to_vec()),
        file_enc_sha256: Some(upload.file_enc_sha256.to_vec()),
        file_sha256: Some(upload.file_sha256.to_vec()),
        file_length: Some(upload.file_length),
        ..Default::default()
    };
    let back = alice.client.download(&message).await.unwrap();
    assert_eq!(back, content);
    alice.stop().await;
    assert_understood(&sim);
}
