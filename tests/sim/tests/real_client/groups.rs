//! Groups: made, asked for, large.

use whatsapp_rust::{
    features::{BatchGroupResult, GroupCreateOptions, GroupMetadata, GroupParticipantOptions, ParticipantType},
    prelude::{Event, Jid},
    wacore::types::events::GroupUpdate,
};
use whatsapp_sim::{Addressing, GroupOptions, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, pn, start_simulator},
    people::{ALICE, BOB, CAROL, four},
};

/// A new group made by a client.
pub async fn create(client: &TestClient, subject: &str, others: &[&str]) -> GroupMetadata {
    let people = others.iter().map(|number| GroupParticipantOptions::from_phone(pn(number))).collect();
    let options = GroupCreateOptions::new(subject).with_participants(people);
    client.client.groups().create_group(options).await.unwrap().metadata
}

/// Waits for a notification of one kind about a group.
pub async fn told(client: &mut TestClient, group: &Jid, kind: &str) -> GroupUpdate {
    client
        .find(&format!("{kind} of {group}"), |event| match event {
            Event::GroupUpdate(update) if update.group_jid == *group && update.action.wire_tag() == kind => {
                Some(update.clone())
            }
            _ => None,
        })
        .await
}

/// Who is in a group.
pub fn numbers(sim: &Simulator, group: &Jid) -> Vec<String> {
    sim.group(&group.to_string()).unwrap().members.into_iter().map(|member| member.number).collect()
}

/// The code an IQ was refused with.
pub fn refused<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    format!("{:?}", result.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_made_and_known_to_all_its_members() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut alice_two, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, device) = TestClient::pair(&sim, BOB).await;
    let made = create(&alice, "Friends", &[BOB, CAROL]).await;
    assert_eq!(made.subject, "Friends");
    assert_eq!(made.participants.len(), 3);

    // All other devices hear of it; the one that made it has its answer.
    for client in [&mut alice_two, &mut bob] {
        let update = told(client, &made.id, "create").await;
        assert!(update.is_lid_addressing_mode);
        assert_eq!(update.participant_pn.unwrap().user, ALICE);
        assert_eq!(update.notify.as_deref(), Some("Alice"));
    }
    let seen = bob.client.groups().get_metadata(&made.id).await.unwrap();
    assert_eq!(seen.subject, "Friends");
    let mut people: Vec<(String, ParticipantType)> = seen
        .participants
        .iter()
        .map(|person| (person.phone_number.as_ref().unwrap().user.to_string(), person.participant_type))
        .collect();
    people.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        people,
        [
            (ALICE.to_owned(), ParticipantType::SuperAdmin),
            (BOB.to_owned(), ParticipantType::Member),
            (CAROL.to_owned(), ParticipantType::Member)
        ]
    );
    assert!(seen.participants.iter().all(|person| person.jid.is_lid()));
    assert_eq!(seen.creator_pn.unwrap().user, ALICE);
    let all = bob.client.groups().get_participating().await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), [&made.id]);
    sim.wait_settled(BOB, device, STEP).await.unwrap();
    // The maker's own device got no notification about it.
    let mut own = 0;
    alice.client.groups().set_locked(&made.id, true).await.unwrap();
    alice.client.groups().set_locked(&made.id, false).await.unwrap();
    told(&mut bob, &made.id, "unlocked").await;
    while let Some(event) = alice.take_seen() {
        own += usize::from(matches!(&*event, Event::GroupUpdate(_)));
    }
    assert_eq!(own, 0);
    for client in [alice, alice_two, bob] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_group_knows_its_members_by_number() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let options = GroupOptions {
        subject: "Old".into(),
        members: vec![ALICE.into()],
        addressing: Some(Addressing::Pn),
        ..Default::default()
    };
    let group: Jid = sim.create_group_with(BOB, &options).unwrap().parse().unwrap();
    let seen = alice.client.groups().get_metadata(&group).await.unwrap();
    assert!(seen.participants.iter().all(|person| person.jid.is_pn()));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_groups_are_asked_for_at_once() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let mine: Jid = sim.create_group(BOB, "Mine", &[ALICE]).unwrap().parse().unwrap();
    let foreign: Jid = sim.create_group(BOB, "Foreign", &[]).unwrap().parse().unwrap();
    let missing: Jid = "120363999999999999@g.us".parse().unwrap();
    let answers = alice.client.groups().batch_get_info(vec![mine, foreign, missing]).await.unwrap();
    assert!(matches!(&answers[0], BatchGroupResult::Full(info) if info.subject == "Mine"));
    assert!(matches!(&answers[1], BatchGroupResult::Forbidden(_)));
    assert!(matches!(&answers[2], BatchGroupResult::NotFound(_)));
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_holds_1024_people() {
    let sim = start_simulator().await;
    let numbers: Vec<String> = (0..1025).map(|n| format!("1555{n:05}")).collect();
    for number in &numbers {
        sim.create_account(number, "Somebody").unwrap();
    }
    let (mut alice, _) = TestClient::pair(&sim, &numbers[1]).await;
    let others: Vec<&str> = numbers[1..1024].iter().map(String::as_str).collect();
    let group = sim.create_group(&numbers[0], "Everybody", &others).unwrap();
    let jid: Jid = group.parse().unwrap();
    told(&mut alice, &jid, "create").await;
    let seen = alice.client.groups().get_metadata(&jid).await.unwrap();
    assert_eq!((seen.size, seen.participants.len()), (Some(1024), 1024));
    let results = sim.change_participants(&numbers[0], &group, "add", &[&numbers[1024]]).unwrap();
    assert_eq!(results[0].code, 419);
    alice.stop().await;
    assert_understood(&sim);
}
