//! Files that are gone, and phones that put them up again.

use whatsapp_rust::{
    MediaRetryResult, MediaReuploadRequest,
    wacore::download::MediaType,
    waproto::whatsapp::message::{DocumentMessage, ImageMessage},
};
use whatsapp_sim::{Kind, Media, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, pn},
    kinds::message_of,
    people::{ALICE, BOB, two},
};

async fn start() -> (Simulator, TestClient) {
    let sim = two().await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    (sim, bob)
}

async fn ask(bob: &TestClient, id: &str, key: &[u8]) -> MediaRetryResult {
    let chat = pn(ALICE);
    let request =
        MediaReuploadRequest { msg_id: id, chat_jid: &chat, media_key: key, is_from_me: false, participant: None };
    bob.client.media_reupload().request(&request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_phone_puts_an_expired_file_up_again() {
    let (sim, mut bob) = start().await;
    let file = b"a picture of a file".to_vec();
    let id = sim.send_kind(ALICE, BOB, Kind::Image(Media::with_data(&file))).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let image: ImageMessage = got.message.image_message.as_option().unwrap().clone();
    assert_eq!(bob.client.download(&image).await.unwrap(), file);
    for status in [404, 410] {
        sim.expire_media(status);
        let error = bob.client.download(&image).await.unwrap_err();
        assert!(format!("{error:#}").contains(&status.to_string()), "{error:#}");
        let MediaRetryResult::Success { direct_path } = ask(&bob, &id, image.media_key.as_deref().unwrap()).await
        else {
            panic!("the phone has the file");
        };
        assert_ne!(Some(&direct_path), image.direct_path.as_ref());
        let again = ImageMessage { direct_path: Some(direct_path), ..image.clone() };
        assert_eq!(bob.client.download(&again).await.unwrap(), file);
        // The old path stays gone.
        assert!(bob.client.download(&image).await.is_err());
    }
    assert_eq!(sim.received_media(BOB, &id).await.unwrap(), file);
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_cannot_help_says_why() {
    let (sim, mut bob) = start().await;
    let id = sim.send_kind(ALICE, BOB, Kind::Image(Media::default())).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let key = got.message.image_message.as_option().unwrap().media_key.clone().unwrap();
    sim.expire_media(410);
    assert!(matches!(ask(&bob, &id, &[7; 32]).await, MediaRetryResult::DecryptionError));
    assert!(matches!(ask(&bob, "3A00", &key).await, MediaRetryResult::NotFound));
    sim.forget_media(BOB, &id).unwrap();
    assert!(matches!(ask(&bob, &id, &key).await, MediaRetryResult::NotFound));
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_credentials_are_asked_for_again() {
    let (sim, mut bob) = start().await;
    let id = sim.send_kind(ALICE, BOB, Kind::Image(Media::default())).await.unwrap();
    let got = message_of(&mut bob, &id).await;
    let image = got.message.image_message.as_option().unwrap();
    bob.client.download(image).await.unwrap();
    for status in [401, 403] {
        let before = sim.media_downloads().len();
        sim.expire_media_auth(status);
        assert_eq!(bob.client.download(image).await.unwrap(), sim.received_media(BOB, &id).await.unwrap());
        // The client fetches its history at the same time: that may be what is refused.
        let seen: Vec<u16> = sim.media_downloads()[before..].iter().map(|(_, _, status)| *status).collect();
        assert!(seen.contains(&status), "{seen:?}");
        sim.expire_media_auth(status);
        bob.client.upload(vec![1; 1000], MediaType::Document, Default::default()).await.unwrap();
    }
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_goes_on_where_it_stopped() {
    let (sim, bob) = start().await;
    // From five megabytes on clients ask how far an earlier try got.
    let content: Vec<u8> = (0..6_000_000u32).map(|at| (at % 253) as u8).collect();
    let mut options = whatsapp_rust::UploadOptions::default();
    options.media_key = Some([9; 32]);
    let faults = whatsapp_sim::MediaFaults { cut_uploads: vec![2_000_000], ..Default::default() };
    sim.set_media_faults(faults);
    let upload = || bob.client.upload(content.clone(), MediaType::Document, options.clone());
    assert!(upload().await.is_err());
    let done = upload().await.unwrap();
    // A third time there is nothing to send.
    assert_eq!(upload().await.unwrap().direct_path, done.direct_path);
    let message = DocumentMessage {
        url: Some(done.url),
        direct_path: Some(done.direct_path),
        media_key: Some(done.media_key.to_vec()),
        file_enc_sha256: Some(done.file_enc_sha256.to_vec()),
        file_sha256: Some(done.file_sha256.to_vec()),
        file_length: Some(done.file_length),
        ..Default::default()
    };
    assert_eq!(bob.client.download(&message).await.unwrap(), content);
    // The phone of whoever gets it opens it, too.
    let sent = whatsapp_rust::waproto::whatsapp::Message {
        document_message: whatsapp_rust::buffa::MessageField::some(message),
        ..Default::default()
    };
    let id = bob.client.send_message(pn(ALICE), sent).await.unwrap().message_id;
    sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(sim.received_media(ALICE, &id).await.unwrap(), content);
    bob.stop().await;
    assert_understood(&sim);
}
