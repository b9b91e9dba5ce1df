//! What newsletters show beside their words; messages that name another place than their chat.

use whatsapp_rust::prelude::{Event, Jid};
use whatsapp_rust::wacore::types::message::BotEditType;
use whatsapp_sim::{Addressing, Kind, Media};

use crate::{
    client::{STEP, TestClient, assert_understood, text},
    people::{ALICE, BOB, CAROL, four},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_newsletter_has_a_picture_and_open_files_and_can_be_muted() {
    let sim = four(Addressing::Lid).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let name = sim.create_newsletter(CAROL, "News", "").unwrap();
    let jid: Jid = name.parse().unwrap();
    bob.client.newsletter().join(&jid).await.unwrap();
    assert!(bob.client.newsletter().get_metadata(&jid).await.unwrap().picture_url.is_none());
    assert!(sim.set_newsletter_picture(BOB, &name, Some(vec![1])).is_err(), "only the owner may");
    sim.set_newsletter_picture(CAROL, &name, Some(vec![1, 2, 3])).unwrap();
    let note = bob
        .find("the picture", |event| match event {
            Event::MexNotification(note) if note.op_name == "NotificationNewsletterUpdate" => {
                Some(note.payload.clone())
            }
            _ => None,
        })
        .await;
    let told = &note["data"]["xwa2_notify_newsletter_on_metadata_update"]["thread_metadata"]["picture"]["direct_path"];
    let path = bob.client.newsletter().get_metadata(&jid).await.unwrap().picture_url.unwrap();
    assert_eq!(told, &path);
    assert!(path.starts_with('/'));

    let image = Kind::Image(Media { caption: Some("look".into()), ..Media::with_data(b"not a picture") });
    sim.send_kind(CAROL, &name, image).await.unwrap();
    let post = bob.message().await;
    let file = post.message.image_message.as_option().unwrap();
    assert!(file.media_key.is_none() && file.file_enc_sha256.is_none());
    assert_eq!(bob.client.download(file).await.unwrap(), b"not a picture");

    bob.client.newsletter().set_follower_mute(&jid, true).await.unwrap();
    assert_eq!(sim.newsletter(&name).unwrap().muted, [BOB]);
    sim.mute_newsletter(BOB, &name, false).unwrap();
    assert!(sim.newsletter(&name).unwrap().muted.is_empty());
    sim.set_newsletter_picture(CAROL, &name, None).unwrap();
    assert!(bob.client.newsletter().get_metadata(&jid).await.unwrap().picture_url.is_none());
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_can_be_lost_and_newsletters_keep_it() {
    let sim = four(Addressing::Lid).await;
    let name = sim.create_newsletter(CAROL, "News", "").unwrap();
    let jid: Jid = name.parse().unwrap();
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    bob.client.newsletter().join(&jid).await.unwrap();
    let backend = bob.stop().await;
    sim.send_text(CAROL, &name, "missed").await.unwrap();
    sim.drop_offline(BOB).unwrap();
    let mut bob = TestClient::start(&sim, backend).await;
    sim.send_text(CAROL, &name, "heard").await.unwrap();
    assert_eq!(text(&bob.message().await), "heard");
    let kept = bob.client.newsletter().get_messages(&jid, 10, None).await.unwrap();
    assert_eq!(kept.len(), 2);
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_told_list_and_a_bots_pieces_name_what_they_belong_to() {
    let sim = four(Addressing::Lid).await;
    let (mut bob, device) = TestClient::pair(&sim, BOB).await;
    let list = sim.create_told_list(ALICE, &[BOB, CAROL]).unwrap();
    let id = sim.send_text(ALICE, &list, "to all of you").await.unwrap();
    let got = bob.message().await;
    assert_eq!((text(&got), &got.info.id, got.info.source.chat.to_string()), ("to all of you", &id, list));
    assert!(!got.info.source.is_from_me && got.info.source.broadcast_list_owner.is_some());
    sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();

    let first = sim.send_bot_piece(ALICE, BOB, "It", "first", None).await.unwrap();
    assert_eq!(text(&bob.message().await), "It");
    sim.send_bot_piece(ALICE, BOB, "It is.", "last", Some(&first)).await.unwrap();
    let last = bob.message().await;
    let bot = last.info.bot_info.as_ref().unwrap();
    assert_eq!(
        (text(&last), bot.edit_type, bot.edit_target_id.as_ref()),
        ("It is.", Some(BotEditType::Last), Some(&first))
    );
    sim.wait_settled(BOB, device, STEP).await.unwrap();
    bob.stop().await;
    assert_understood(&sim);
}
