use whatsapp_rust::prelude::Event;

use crate::client::{STEP, TestClient, assert_understood, pn, start_simulator};

const ALICE: &str = "15550001";
const BOB: &str = "15550002";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_companion_changes_the_others_see() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    sim.create_account(BOB, "Bob").unwrap();
    let (alice, device) = TestClient::pair(&sim, ALICE).await;
    let (mut second, other) = TestClient::pair(&sim, ALICE).await;
    // Both write to one collection, the second on top of the first.
    alice.client.profile().set_push_name("Alicia").await.unwrap();
    second
        .find("the new name", |event| match event {
            Event::SelfPushNameUpdated(update) if update.new_name == "Alicia" => Some(()),
            _ => None,
        })
        .await;
    second.client.profile().set_push_name("Ally").await.unwrap();
    // A third starts from the first patch and checks every hash.
    let (third, _) = TestClient::pair(&sim, ALICE).await;
    assert_eq!(third.client.push_name(), "Ally");
    // And the phone can write on top of all that.
    sim.save_contact(ALICE, BOB, "Robert Paulson").unwrap();
    let name = second
        .find("the contact", |event| match event {
            Event::ContactUpdate(update) => update.action.full_name.clone(),
            _ => None,
        })
        .await;
    assert_eq!(name, "Robert Paulson");
    for device in [device, other] {
        sim.wait_settled(ALICE, device, STEP).await.unwrap();
    }
    for client in [alice, second, third] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_settings_are_kept() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    sim.create_account(BOB, "Bob").unwrap();
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let bob = pn(BOB);
    // The contact is known by its LID from here on.
    let infos = alice.client.contacts().get_user_info(std::slice::from_ref(&bob)).await.unwrap();
    assert_eq!(infos.len(), 1);
    alice.client.blocking().block(&bob).await.unwrap();
    assert!(alice.client.blocking().is_blocked(&bob).await.unwrap());
    alice.client.blocking().unblock(&bob).await.unwrap();
    assert!(!alice.client.blocking().is_blocked(&bob).await.unwrap());
    alice.client.profile().set_status_text("busy").await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}
