use serde_json::json;
use whatsapp_rust::prelude::Event;
use whatsapp_sim::{Action, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, pn, start_simulator},
    people::{ALICE, BOB, two},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_companion_changes_the_others_see() {
    let sim = two().await;
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
    let sim = two().await;
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

fn action(value: serde_json::Value) -> Action {
    serde_json::from_value(value).unwrap()
}

/// Waits until a client's first look at all collections is over.
async fn first_sync(sim: &Simulator, client: &TestClient, device: u16) {
    sim.wait_app_state_asked(ALICE, device, "regular", STEP).await.unwrap();
    idle(client).await;
}

/// Waits until a client is busy with no collection: it drops news of one that
/// come while it is, and a change of its own waits until it is not.
async fn idle(client: &TestClient) {
    let chat = pn(ALICE);
    client.client.chat_actions().unmute_chat(&chat).await.unwrap();
    client.client.chat_actions().unpin_chat(&chat).await.unwrap();
    client.client.labels().delete_label("99").await.unwrap();
    client.client.chat_actions().save_contact(&chat, Some("Me".into()), None, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_phone_does_its_companions_learn() {
    let sim = two().await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    first_sync(&sim, &alice, device).await;
    let id = sim.send_text(BOB, ALICE, "star me").await.unwrap();
    let chat = alice.message().await.info.source.chat.to_non_ad();
    macro_rules! expect {
        ($action:tt, $event:ident, $check:expr) => {
            idle(&alice).await;
            sim.act(ALICE, &action(json!($action))).unwrap();
            alice
                .find(stringify!($event), |event| match event {
                    Event::$event(update) => $check(update).then_some(()),
                    _ => None,
                })
                .await;
        };
    }
    type Update<'a, T> = &'a T;
    use whatsapp_rust::types::events as ev;
    expect!({ "action": "mute", "chat": BOB }, MuteUpdate, |u: Update<ev::MuteUpdate>| {
        u.jid == chat && u.action.muted == Some(true) && u.action.mute_end_timestamp == Some(-1)
    });
    expect!({ "action": "mute", "chat": BOB, "muted": false }, MuteUpdate, |u: Update<ev::MuteUpdate>| {
        u.jid == chat && u.action.muted == Some(false)
    });
    expect!({ "action": "pin", "chat": BOB }, PinUpdate, |u: Update<ev::PinUpdate>| {
        u.jid == chat && u.action.pinned == Some(true)
    });
    expect!({ "action": "archive", "chat": BOB }, ArchiveUpdate, |u: Update<ev::ArchiveUpdate>| {
        u.jid == chat && u.action.archived == Some(true)
    });
    expect!({ "action": "star", "id": id }, StarUpdate, |u: Update<ev::StarUpdate>| {
        u.chat_jid == chat && u.message_id == id && !u.from_me && u.participant_jid.is_none()
    });
    expect!({ "action": "mark_read", "chat": BOB }, MarkChatAsReadUpdate, |u: Update<ev::MarkChatAsReadUpdate>| {
        let range = u.action.message_range.as_option().unwrap();
        u.action.read == Some(true) && range.messages[0].key.id.as_ref() == Some(&id)
    });
    expect!({ "action": "mark_read", "chat": BOB, "read": false }, MarkChatAsReadUpdate,
        |u: Update<ev::MarkChatAsReadUpdate>| u.action.read == Some(false));
    expect!({ "action": "contact", "contact": BOB, "full_name": "Bob B" }, ContactUpdate,
        |u: Update<ev::ContactUpdate>| u.action.lid_jid == Some(chat.to_string()));
    expect!({ "action": "push_name", "name": "Alicia" }, SelfPushNameUpdated,
        |u: Update<ev::SelfPushNameUpdated>| u.new_name == "Alicia");
    expect!({ "action": "label", "label": "7", "name": "work", "color": 2 }, LabelEditUpdate,
        |u: Update<ev::LabelEditUpdate>| u.label_id == "7");
    expect!({ "action": "label_chat", "label": "7", "chat": BOB }, LabelAssociationUpdate,
        |u: Update<ev::LabelAssociationUpdate>| u.label_id == "7");
    expect!({ "action": "delete_message", "id": id }, DeleteMessageForMeUpdate,
        |u: Update<ev::DeleteMessageForMeUpdate>| u.message_id == id);
    expect!({ "action": "clear_chat", "chat": BOB }, ClearChatUpdate, |u: Update<ev::ClearChatUpdate>| u.jid == chat);
    expect!({ "action": "delete_chat", "chat": BOB }, DeleteChatUpdate, |u: Update<ev::DeleteChatUpdate>| u.jid == chat);
    // What whatsapp-rust has no event for goes down all the same: the next
    // patch of each collection would not fit otherwise.
    for value in [
        json!({ "action": "unarchive_setting", "unarchive": true }),
        json!({ "action": "nct_salt", "salt": "AAECAw==" }),
        json!({ "action": "remove_contact", "contact": BOB }),
        json!({ "action": "raw", "collection": "regular", "index": ["favorites"], "version": 1,
            "value": { "favoritesAction": { "favorites": [{ "id": chat.to_string() }] } } }),
    ] {
        sim.act(ALICE, &action(value)).unwrap();
    }
    expect!({ "action": "pin", "chat": BOB, "pinned": false }, PinUpdate, |u: Update<ev::PinUpdate>| {
        u.jid == chat && u.action.pinned == Some(false)
    });
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_companion_does_the_phone_reads() {
    let sim = two().await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let id = sim.send_text(BOB, ALICE, "hello").await.unwrap();
    let chat = alice.message().await.info.source.chat.to_non_ad();
    let actions = alice.client.chat_actions();
    let jid = chat.to_string();
    actions.mute_chat(&chat).await.unwrap();
    actions.pin_chat(&chat).await.unwrap();
    actions.archive_chat(&chat, None).await.unwrap();
    actions.star_message(&chat, None, &id, false).await.unwrap();
    actions.mark_chat_as_read(&chat, true, None).await.unwrap();
    actions.delete_message_for_me(&chat, None, &id, false, true, Some(1)).await.unwrap();
    actions.save_contact(&pn(BOB), Some("Bob B".into()), None, true).await.unwrap();
    actions.clear_chat(&chat, true, false, None).await.unwrap();
    actions.delete_chat(&chat, true, None).await.unwrap();
    let expected = [
        (vec!["mute", &jid], "muteAction"),
        (vec!["pin_v1", &jid], "pinAction"),
        (vec!["archive", &jid], "archiveChatAction"),
        (vec!["star", &jid, &id, "0", "0"], "starAction"),
        (vec!["markChatAsRead", &jid], "markChatAsReadAction"),
        (vec!["deleteMessageForMe", &jid, &id, "0", "0"], "deleteMessageForMeAction"),
        (vec!["contact", "15550002@s.whatsapp.net"], "contactAction"),
        (vec!["clearChat", &jid, "1", "0"], "clearChatAction"),
        (vec!["deleteChat", &jid, "1"], "deleteChatAction"),
    ];
    for (index, field) in expected {
        let item = sim.wait_app_state(ALICE, |item| item.index == index && item.device == 1, STEP).await.unwrap();
        assert_eq!(item.operation, "set");
        assert!(item.value[field].is_object(), "{item:?}");
    }
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_companions_that_write_at_once_both_succeed() {
    let sim = two().await;
    let (one, first) = TestClient::pair(&sim, ALICE).await;
    let (two, second) = TestClient::pair(&sim, ALICE).await;
    let bob = pn(BOB);
    // One of the two builds on a version that is not the last any more, gets a
    // conflict with what won, and writes again on top of it.
    for round in 0..5 {
        let (a, b) = (one.client.chat_actions(), two.client.chat_actions());
        let (a, b) = tokio::join!(a.pin_chat(&bob), b.archive_chat(&bob, None));
        a.unwrap();
        b.unwrap();
        for (device, kind) in [(first, "pin_v1"), (second, "archive")] {
            let count = |sim: &Simulator| {
                let written = sim.app_state(ALICE);
                written.iter().filter(|item| item.device == device && item.index[0] == kind).count()
            };
            assert_eq!(count(&sim), round + 1);
        }
    }
    for client in [one, two] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_the_companion_lacks_is_asked_for() {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    let bob = sim.create_account(BOB, "Bob").unwrap();
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    first_sync(&sim, &alice, device).await;
    for shared in [true, false] {
        idle(&alice).await;
        sim.rotate_app_state_key(ALICE, shared).unwrap();
        sim.act(ALICE, &action(json!({ "action": "pin", "chat": BOB, "pinned": shared }))).unwrap();
        alice
            .find("the pin", |event| match event {
                Event::PinUpdate(update) => {
                    (update.jid.user == bob.lid && update.action.pinned == Some(shared)).then_some(())
                }
                _ => None,
            })
            .await;
    }
    alice.stop().await;
    assert_understood(&sim);
}
