//! Files up and down, pictures of people, and small pictures of what is sent.

use serde_json::json;
use whatsapp_rust::{download::DownloadParams, prelude::InboundMessage, wacore::download::MediaType};
use whatsapp_sim::{Kind, Media, Simulator};

use crate::{
    client::{TestClient, assert_understood, pn, start_simulator},
    kinds::{kind, message_of},
    people::{ALICE, BOB, two},
};

async fn fetch(sim: &Simulator, path: &str) -> reqwest::Response {
    reqwest::get(format!("{}{path}", sim.http_url())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_picture_is_served_when_set() {
    let sim = two().await;
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
    let upload = alice.client.upload(content.clone(), MediaType::Document, Default::default()).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn thumbnails_are_in_the_message_and_those_of_links_are_files_too() {
    let sim = two().await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let is_picture = |bytes: Option<&Vec<u8>>| bytes.is_some_and(|bytes| bytes.starts_with(b"\xff\xd8"));
    let inside = |got: &InboundMessage| {
        let message = &got.message;
        let image = message.image_message.as_option().and_then(|image| image.jpeg_thumbnail.clone());
        let video = message.video_message.as_option().and_then(|video| video.jpeg_thumbnail.clone());
        let document = message.document_message.as_option().and_then(|file| file.jpeg_thumbnail.clone());
        image.or(video).or(document)
    };
    for one in [Kind::Image(Media::default()), Kind::Video(Media::default()), Kind::Document(Media::default())] {
        let shown = format!("{one:?}");
        let id = sim.send_kind(ALICE, BOB, one).await.unwrap();
        assert!(is_picture(inside(&message_of(&mut bob, &id).await).as_ref()), "{shown}");
    }
    let link = json!({ "kind": "link", "text": "see https://example.org/", "url": "https://example.org/" });
    let id = sim.send_kind(ALICE, BOB, kind(link)).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let text = got.message.extended_text_message.as_option().unwrap();
    assert!(is_picture(text.jpeg_thumbnail.as_ref()));
    let large = DownloadParams {
        direct_path: text.thumbnail_direct_path.clone().unwrap(),
        media_key: text.media_key.clone(),
        file_sha256: text.thumbnail_sha256.clone().unwrap(),
        file_enc_sha256: text.thumbnail_enc_sha256.clone(),
        file_length: 0,
        media_type: MediaType::LinkThumbnail,
    };
    let file = bob.client.download_from_params(&large).await.unwrap();
    assert!(is_picture(Some(&file)) && file.len() > text.jpeg_thumbnail.as_ref().unwrap().len());
    bob.stop().await;
    assert_understood(&sim);
}
