//! What accounts show: names, texts, pictures, and to whom.

use whatsapp_rust::{
    prelude::Event,
    wacore::iq::privacy::{PrivacyCategory, PrivacyValue},
};
use whatsapp_sim::Simulator;

use crate::{
    client::{STEP, TestClient, assert_understood, eventually, pn, text},
    people::{ALICE, BOB, two},
};

async fn alice_and_bob() -> (Simulator, TestClient, TestClient) {
    let sim = two().await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    // Who has asked for somebody's devices hears of them from then on.
    alice.client.contacts().get_user_info(&[pn(BOB)]).await.unwrap();
    (sim, alice, bob)
}

async fn end(sim: &Simulator, alice: TestClient, bob: TestClient) {
    alice.stop().await;
    bob.stop().await;
    assert_understood(sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_beside_the_name_is_seen_and_its_change_told() {
    let (sim, mut alice, bob) = alice_and_bob().await;
    bob.client.profile().set_status_text("at the sea").await.unwrap();
    let told = alice
        .find("the new text", |event| match event {
            Event::UserAboutUpdate(update) => Some(update.status.clone()),
            _ => None,
        })
        .await;
    assert_eq!(told, "at the sea");
    assert_eq!(sim.about(BOB).unwrap(), "at the sea");
    let info = alice.client.contacts().get_user_info(&[pn(BOB)]).await.unwrap();
    assert!(info.values().any(|i| i.status.as_deref() == Some("at the sea")), "{info:?}");

    sim.set_privacy(BOB, "status", "none").unwrap();
    let info = alice.client.contacts().get_user_info(&[pn(BOB)]).await.unwrap();
    assert!(info.values().all(|i| i.status.as_deref() == Some("")), "{info:?}");
    end(&sim, alice, bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_set_hidden_and_removed() {
    let (sim, mut alice, bob) = alice_and_bob().await;
    let set = bob.client.profile().set_profile_picture(b"jpeg".to_vec()).await.unwrap();
    let update = |removed| {
        move |event: &Event| match event {
            Event::PictureUpdate(update) if update.removed == removed => Some(update.picture_id.clone()),
            _ => None,
        }
    };
    assert_eq!(alice.find("the new picture", update(false)).await, Some(set.id));
    let contacts = alice.client.contacts();
    assert!(contacts.get_profile_picture(&pn(BOB), false).await.unwrap().is_some());
    sim.set_privacy(BOB, "profile", "contacts").unwrap();
    assert!(contacts.get_profile_picture(&pn(BOB), false).await.ok().flatten().is_none());
    sim.save_contact(BOB, ALICE, "Alice").unwrap();
    assert!(contacts.get_profile_picture(&pn(BOB), false).await.unwrap().is_some());
    bob.client.profile().remove_profile_picture().await.unwrap();
    alice.find("its removal", update(true)).await;
    assert!(alice.client.contacts().get_profile_picture(&pn(BOB), false).await.ok().flatten().is_none());
    end(&sim, alice, bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privacy_settings_are_kept_and_nonsense_refused() {
    let (sim, alice, bob) = alice_and_bob().await;
    let before = alice.client.fetch_privacy_settings().await.unwrap();
    assert_eq!(before.get_value(&PrivacyCategory::Last), Some(&PrivacyValue::All));
    alice.client.set_privacy_setting(PrivacyCategory::Last, PrivacyValue::Contacts).await.unwrap();
    assert_eq!(sim.privacy(ALICE, "last").unwrap(), "contacts");
    let after = alice.client.fetch_privacy_settings().await.unwrap();
    assert_eq!(after.get_value(&PrivacyCategory::Last), Some(&PrivacyValue::Contacts));
    let odd = PrivacyValue::Other("sometimes".into());
    let unknown = PrivacyCategory::Other("moods".into());
    alice.client.set_privacy_setting(unknown, odd).await.unwrap_err();
    sim.set_privacy(ALICE, "last", "sometimes").unwrap_err();
    end(&sim, alice, bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_blocked_one_writes_does_not_arrive() {
    let (sim, mut alice, mut bob) = alice_and_bob().await;
    alice.client.blocking().block(&pn(BOB)).await.unwrap();
    assert_eq!(sim.blocked(ALICE).unwrap(), [BOB]);
    assert!(alice.client.blocking().is_blocked(&pn(BOB)).await.unwrap());
    let id = bob.send(&pn(ALICE), "are you there?").await;
    assert_eq!(bob.ack(&id).await, None, "the blocked one is not told");
    sim.send_text(BOB, ALICE, "and from the phone?").await.unwrap();
    alice.client.blocking().unblock(&pn(BOB)).await.unwrap();
    assert!(sim.blocked(ALICE).unwrap().is_empty());
    let id = bob.send(&pn(ALICE), "again").await;
    assert_eq!(text(&alice.message().await), "again");
    sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    assert_eq!(sim.inbox(ALICE).len(), 1);
    end(&sim, alice, bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_is_known_by_its_verified_name() {
    let (sim, mut alice, bob) = alice_and_bob().await;
    sim.set_business_name(BOB, Some("Bob's Bikes")).unwrap();
    let named = alice
        .find("the name", |event| match event {
            Event::BusinessStatusUpdate(update) => update.verified_name.clone(),
            _ => None,
        })
        .await;
    assert_eq!(named, "Bob's Bikes");
    let info = alice.client.contacts().get_user_info(&[pn(BOB)]).await.unwrap();
    let found = info.values().find_map(|i| i.verified_name.clone()).unwrap();
    assert_eq!(found.name.as_deref(), Some("Bob's Bikes"));
    sim.send_text(BOB, ALICE, "on sale").await.unwrap();
    let message = alice.message().await;
    assert_eq!(message.info.verified_name.as_ref().unwrap().name.as_deref(), Some("Bob's Bikes"));
    // A business's companions get its name at pairing.
    let (mut second, _) = TestClient::pair(&sim, BOB).await;
    let paired = second
        .find("PairSuccess", |event| match event {
            Event::PairSuccess(paired) => Some(paired.business_name.clone()),
            _ => None,
        })
        .await;
    assert_eq!(paired, "Bob's Bikes");
    second.stop().await;
    end(&sim, alice, bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_account_takes_strangers_by_token_only() {
    let (sim, mut alice, bob) = alice_and_bob().await;
    sim.set_restricted(BOB, true).unwrap();
    let id = alice.send(&pn(BOB), "you do not know me").await;
    assert_eq!(alice.ack(&id).await.as_deref(), Some("463"));
    assert!(sim.inbox(BOB).is_empty());
    // Writing to somebody gives them a token.
    bob.send(&pn(ALICE), "now I do").await;
    alice.message().await;
    let lid = alice.client.get_lid_pn_entry(&pn(BOB)).await.unwrap().unwrap().lid.to_string();
    // The token comes in a notification of its own, after the message.
    let has_token = async || {
        let token = alice.client.tc_token().get(&lid).await.unwrap();
        token.is_some_and(|token| !token.token.is_empty())
    };
    eventually("the token is there", has_token).await;
    let id = alice.send(&pn(BOB), "thank you").await;
    assert_eq!(alice.ack(&id).await, None);
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    end(&sim, alice, bob).await;
}
