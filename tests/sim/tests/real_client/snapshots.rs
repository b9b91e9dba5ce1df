//! App state from snapshots and in pages.

use serde_json::json;
use whatsapp_rust::prelude::Event;
use whatsapp_sim::{Action, Simulator};

use crate::{
    client::{TestClient, assert_understood, pn, start_simulator},
    people::ALICE,
};

fn action(value: serde_json::Value) -> Action {
    serde_json::from_value(value).unwrap()
}

/// Alice with so many contacts in her address book, of which the first was
/// removed and the second renamed.
fn fill(sim: &Simulator, contacts: usize) {
    sim.create_account(ALICE, "Alice").unwrap();
    for index in 0..contacts {
        let number = format!("1666{index:04}");
        sim.create_account(&number, "somebody").unwrap();
        sim.save_contact(ALICE, &number, &format!("Contact {index}")).unwrap();
    }
    sim.act(ALICE, &action(json!({ "action": "remove_contact", "contact": "16660000" }))).unwrap();
    sim.save_contact(ALICE, "16660001", "Renamed").unwrap();
}

/// The names a client that pairs now learns.
async fn names(client: &mut TestClient, count: usize) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for _ in 0..count {
        let found = client
            .find("a contact", |event| match event {
                Event::ContactUpdate(update) => {
                    Some((update.jid.user.to_string(), update.action.full_name.clone().unwrap_or_default()))
                }
                _ => None,
            })
            .await;
        names.push(found);
    }
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_companion_starts_from_the_snapshot_and_goes_on_with_patches() {
    let sim = start_simulator().await;
    fill(&sim, 10);
    assert_eq!(sim.take_snapshot(ALICE, "critical_unblock_low").unwrap(), 12);
    sim.create_account("16669999", "late").unwrap();
    sim.save_contact(ALICE, "16669999", "Late").unwrap();
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    // The removed one is not in the snapshot; the hash of all the rest fits.
    let names = names(&mut alice, 10).await;
    assert_eq!(names[0], ("16660001".to_owned(), "Renamed".to_owned()));
    assert_eq!(names[1], ("16660002".to_owned(), "Contact 2".to_owned()));
    assert_eq!(names[9], ("16669999".to_owned(), "Late".to_owned()));
    // What the companion writes on top of it is right, too.
    alice.client.chat_actions().save_contact(&pn("16660005"), Some("Mine".into()), None, true).await.unwrap();
    let last = sim.app_state(ALICE).pop().unwrap();
    assert_eq!((last.device, last.value["contactAction"]["fullName"].as_str()), (device, Some("Mine")));
    // And a snapshot over that fits the next one.
    assert_eq!(sim.take_snapshot(ALICE, "critical_unblock_low").unwrap(), 14);
    let (mut second, _) = TestClient::pair(&sim, ALICE).await;
    let names = self::names(&mut second, 10).await;
    assert!(names.contains(&("16660005".to_owned(), "Mine".to_owned())));
    alice.stop().await;
    second.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_patches_come_in_pages() {
    let sim = start_simulator().await;
    fill(&sim, 23);
    sim.set_app_state_page(ALICE, 5).unwrap();
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    // 24 times a name was set, one of them twice.
    let names = names(&mut alice, 24).await;
    assert!(names.contains(&("16660001".to_owned(), "Renamed".to_owned())));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_that_was_away_gets_the_snapshot_of_what_it_missed() {
    let sim = start_simulator().await;
    fill(&sim, 3);
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    names(&mut alice, 4).await;
    let backend = alice.stop().await;
    for index in 0..3 {
        sim.save_contact(ALICE, "16660002", &format!("Name {index}")).unwrap();
    }
    sim.take_snapshot(ALICE, "critical_unblock_low").unwrap();
    sim.save_contact(ALICE, "16660002", "Last name").unwrap();
    let mut alice = TestClient::start(&sim, backend).await;
    alice
        .find("the last name", |event| match event {
            Event::ContactUpdate(update) => (update.action.full_name.as_deref() == Some("Last name")).then_some(()),
            _ => None,
        })
        .await;
    alice.stop().await;
    assert_understood(&sim);
}
