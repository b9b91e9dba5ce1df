use serde_json::{Value, json};
use whatsapp_rust::{
    features::{
        BatchGroupResult, GroupCreateOptions, GroupDescription, GroupError, GroupMetadata, GroupParticipantOptions,
        GroupSubject, JoinGroupResult, MemberAddMode, MemberLinkMode, MembershipApprovalMode, ParticipantType,
        PictureType, PreviousDescription,
    },
    prelude::{Event, Jid},
    wacore::{stanza::groups::GroupNotificationAction as Action, types::events::GroupUpdate},
};
use whatsapp_sim::{AccountOptions, Addressing, GroupOptions, Simulator};

use crate::{
    admin::{get, post},
    client::{STEP, TestClient, assert_understood, pn, start_simulator},
};

pub const ALICE: &str = "15550001";
pub const BOB: &str = "15550002";
pub const CAROL: &str = "15550003";
pub const DAVE: &str = "15550004";

/// A simulator with four accounts.
pub async fn four(addressing: Addressing) -> Simulator {
    let sim = start_simulator().await;
    for (number, name) in [(ALICE, "Alice"), (BOB, "Bob"), (CAROL, "Carol"), (DAVE, "Dave")] {
        let options = AccountOptions { push_name: name.into(), addressing, lid: None };
        sim.create_account_with(number, &options).unwrap();
    }
    sim
}

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

fn numbers(sim: &Simulator, group: &Jid) -> Vec<String> {
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
async fn people_come_and_go_each_with_a_result() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let (mut carol, _) = TestClient::pair(&sim, CAROL).await;
    let group = create(&alice, "Friends", &[BOB]).await.id;
    let groups = alice.client.groups();
    sim.set_group_adds(DAVE, false).unwrap();

    let people = [pn(BOB), pn(CAROL), pn(DAVE), pn("15559999")];
    let results = groups.add_participants(&group, &people).await.unwrap();
    let codes: Vec<Option<&str>> = results.iter().map(|one| one.error.as_deref()).collect();
    assert_eq!(codes, [Some("409"), None, Some("403"), Some("404")]);
    assert!(results[2].add_request.is_some());
    let update = told(&mut carol, &group, "add").await;
    assert!(matches!(&update.action, Action::Add { participants, .. } if participants.len() == 1));
    told(&mut bob, &group, "add").await;
    assert_eq!(numbers(&sim, &group), [ALICE, BOB, CAROL]);

    // Whom an account lets add it is a setting of its privacy, too.
    sim.set_privacy(DAVE, "groupadd", "contacts").unwrap();
    let stranger = groups.add_participants(&group, &[pn(DAVE)]).await.unwrap();
    assert_eq!(stranger[0].error.as_deref(), Some("403"));
    let invite = stranger[0].add_request.clone().unwrap();
    sim.save_contact(DAVE, BOB, "Bob").unwrap();
    let of_contact = sim.create_group(BOB, "Of a contact", &[DAVE]).unwrap();
    assert_eq!(numbers(&sim, &of_contact.parse().unwrap()), [BOB, DAVE]);
    sim.leave_group(BOB, &of_contact).unwrap();
    sim.set_privacy(DAVE, "groupadd", "none").unwrap();

    // A new group is without those who cannot be added.
    let second = create(&alice, "Second", &[CAROL, DAVE]).await.id;
    assert_eq!(numbers(&sim, &second), [ALICE, CAROL]);

    // Who could not be added follows the invite.
    let (dave, _) = TestClient::pair(&sim, DAVE).await;
    let wrong = dave.client.groups().join_with_invite_v4(&group, "nonsense", 0, pn(ALICE)).await;
    assert!(refused(wrong).contains("404"));
    let expiration = i64::try_from(invite.expiration).unwrap();
    let joined = dave.client.groups().join_with_invite_v4(&group, &invite.code, expiration, pn(ALICE)).await.unwrap();
    assert_eq!(joined, JoinGroupResult::Joined(group.clone()));
    told(&mut bob, &group, "add").await;
    assert!(numbers(&sim, &group).contains(&DAVE.to_owned()));

    // Rights.
    groups.promote_participants(&group, &[pn(BOB)]).await.unwrap();
    told(&mut bob, &group, "promote").await;
    let not_admin = carol.client.groups().remove_participants(&group, &[pn(BOB)]).await;
    assert!(refused(not_admin).contains("403"));
    let owner = bob.client.groups().remove_participants(&group, &[pn(ALICE)]).await.unwrap();
    assert_eq!(owner[0].error.as_deref(), Some("405"));
    groups.demote_participants(&group, &[pn(BOB)]).await.unwrap();
    told(&mut bob, &group, "demote").await;
    assert!(refused(bob.client.groups().set_announce(&group, true).await).contains("403"));

    // Those who are thrown out hear it, too.
    let gone = groups.remove_participants(&group, &[pn(CAROL), pn("15559999")]).await.unwrap();
    assert_eq!(gone[0].error, None);
    assert_eq!(gone[1].error.as_deref(), Some("404"));
    told(&mut carol, &group, "remove").await;
    told(&mut bob, &group, "remove").await;
    assert!(refused(carol.client.groups().get_metadata(&group).await).contains("403"));
    let unknown: Jid = "120363999999999999@g.us".parse().unwrap();
    assert!(refused(carol.client.groups().get_metadata(&unknown).await).contains("404"));

    // Leaving is a removal of oneself.
    bob.client.groups().leave(&group).await.unwrap();
    assert_eq!(numbers(&sim, &group), [ALICE, DAVE]);
    assert_eq!(bob.client.groups().get_participating().await.unwrap().len(), 0);
    // The last admin leaves: another member becomes one.
    let (mut dave, _) = (dave, ());
    alice.client.groups().leave(&group).await.unwrap();
    told(&mut dave, &group, "remove").await;
    told(&mut dave, &group, "promote").await;
    assert_eq!(sim.group(&group.to_string()).unwrap().members[0].role, "admin");
    // Who leaves twice in a day cannot be added a third time.
    sim.change_participants(DAVE, &group.to_string(), "add", &[BOB]).unwrap();
    sim.leave_group(BOB, &group.to_string()).unwrap();
    let results = sim.change_participants(DAVE, &group.to_string(), "add", &[BOB]).unwrap();
    assert_eq!(results[0].code, 408);
    for client in [alice, bob, carol, dave] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn subject_and_description_change_with_conflicts() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB]).await.id;
    let groups = alice.client.groups();
    groups.set_subject(&group, GroupSubject::new("Best friends").unwrap()).await.unwrap();
    let update = told(&mut bob, &group, "subject").await;
    let Action::Subject { subject, subject_owner, .. } = &update.action else { panic!("{update:?}") };
    assert_eq!(subject, "Best friends");
    assert!(subject_owner.as_ref().unwrap().is_lid());

    let text = |text: &str| Some(GroupDescription::new(text).unwrap());
    groups.set_description(&group, text("one"), PreviousDescription::Absent).await.unwrap();
    let update = told(&mut bob, &group, "description").await;
    assert!(matches!(&update.action, Action::Description { description: Some(text), .. } if text == "one"));
    let stale = groups.set_description(&group, text("two"), PreviousDescription::Absent).await;
    assert!(matches!(stale, Err(GroupError::DescriptionConflict)), "{stale:?}");
    groups.set_description(&group, text("two"), PreviousDescription::Resolve).await.unwrap();
    told(&mut bob, &group, "description").await;
    let seen = bob.client.groups().get_metadata(&group).await.unwrap();
    assert_eq!(seen.description.as_deref(), Some("two"));
    assert_eq!(seen.description_owner_pn.unwrap().user, ALICE);
    groups.set_description(&group, None, PreviousDescription::Resolve).await.unwrap();
    let update = told(&mut bob, &group, "description").await;
    assert!(matches!(&update.action, Action::Description { description: None, .. }));

    // A phone, too, and nobody without rights in a locked group.
    sim.set_group_subject(ALICE, &group.to_string(), "From the phone").unwrap();
    told(&mut bob, &group, "subject").await;
    sim.set_group_setting(ALICE, &group.to_string(), "locked").unwrap();
    let locked = bob.client.groups().set_subject(&group, GroupSubject::new("Mine").unwrap()).await;
    assert!(refused(locked).contains("403"));
    assert_eq!(sim.group(&group.to_string()).unwrap().subject, "From the phone");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_and_are_told() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB]).await.id;
    let groups = alice.client.groups();
    groups.set_announce(&group, true).await.unwrap();
    told(&mut bob, &group, "announcement").await;
    groups.set_locked(&group, true).await.unwrap();
    told(&mut bob, &group, "locked").await;
    groups.set_ephemeral(&group, 86_400).await.unwrap();
    let update = told(&mut bob, &group, "ephemeral").await;
    assert!(matches!(update.action, Action::Ephemeral { expiration: 86_400, .. }));
    groups.set_membership_approval(&group, MembershipApprovalMode::On).await.unwrap();
    told(&mut bob, &group, "membership_approval_mode").await;
    groups.set_member_add_mode(&group, MemberAddMode::AdminAdd).await.unwrap();
    told(&mut bob, &group, "member_add_mode").await;
    groups.set_member_link_mode(&group, MemberLinkMode::AllMemberLink).await.unwrap();
    groups.set_no_frequently_forwarded(&group, true).await.unwrap();
    told(&mut bob, &group, "no_frequently_forwarded").await;
    groups.set_limit_sharing(&group, true).await.unwrap();
    told(&mut bob, &group, "limit_sharing_enabled").await;

    let seen = bob.client.groups().get_metadata(&group).await.unwrap();
    assert!(seen.is_announcement && seen.is_locked && seen.membership_approval && seen.no_frequently_forwarded);
    assert_eq!(seen.ephemeral.unwrap().expiration, Some(86_400));
    let add = bob.client.groups().add_participants(&group, &[pn(CAROL)]).await;
    assert!(refused(add).contains("403"));

    groups.set_ephemeral(&group, 0).await.unwrap();
    told(&mut bob, &group, "ephemeral").await;
    groups.set_announce(&group, false).await.unwrap();
    told(&mut bob, &group, "not_announcement").await;
    let info = sim.group(&group.to_string()).unwrap();
    assert!(!info.announce && info.locked && info.ephemeral == 0 && info.admin_add && info.approval);
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_link_lets_people_in_until_it_is_reset() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[]).await.id;
    let link = alice.client.groups().get_invite_link(&group, false).await.unwrap();
    let preview = bob.client.groups().get_invite_info(&link).await.unwrap();
    assert_eq!((preview.subject.as_str(), preview.size, preview.participants.len()), ("Friends", Some(1), 0));
    let joined = bob.client.groups().join_with_invite_code(&link).await.unwrap();
    assert_eq!(joined, JoinGroupResult::Joined(group.clone()));
    let update = told(&mut alice, &group, "add").await;
    assert!(matches!(&update.action, Action::Add { reason: Some(reason), .. } if reason == "invite"));
    // The link is for admins, and twice nobody joins.
    assert!(refused(bob.client.groups().get_invite_link(&group, false).await).contains("401"));
    assert!(refused(bob.client.groups().join_with_invite_code(&link).await).contains("304"));

    let newer = alice.client.groups().get_invite_link(&group, true).await.unwrap();
    assert_ne!(newer, link);
    let (carol, _) = TestClient::pair(&sim, CAROL).await;
    assert!(refused(carol.client.groups().join_with_invite_code(&link).await).contains("410"));
    assert!(refused(carol.client.groups().get_invite_info("nonsense").await).contains("404"));
    sim.change_participants(ALICE, &group.to_string(), "remove", &[BOB]).unwrap();
    assert!(refused(bob.client.groups().join_with_invite_code(&newer).await).contains("405"));
    carol.client.groups().join_with_invite_code(&newer).await.unwrap();
    assert_eq!(numbers(&sim, &group), [ALICE, CAROL]);
    for client in [alice, bob, carol] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_let_people_in_or_not() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let (carol, _) = TestClient::pair(&sim, CAROL).await;
    let group = create(&alice, "Friends", &[]).await.id;
    let groups = alice.client.groups();
    groups.set_membership_approval(&group, MembershipApprovalMode::On).await.unwrap();
    let link = groups.get_invite_link(&group, false).await.unwrap();
    for client in [&bob, &carol] {
        let asked = client.client.groups().join_with_invite_code(&link).await.unwrap();
        assert_eq!(asked, JoinGroupResult::PendingApproval(group.clone()));
    }
    sim.join_group(DAVE, link.rsplit('/').next().unwrap()).unwrap();
    for _ in 0..3 {
        let update = told(&mut alice, &group, "created_membership_requests").await;
        assert!(matches!(&update.action, Action::CreatedMembershipRequests { requests, .. } if requests.len() == 1));
    }
    let groups = alice.client.groups();
    let waiting = groups.get_membership_requests(&group).await.unwrap();
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|request| request.request_time.is_some() && request.jid.is_lid()));

    let approved = groups.approve_membership_requests(&group, &[pn(BOB)]).await.unwrap();
    assert_eq!(approved[0].error, None);
    told(&mut bob, &group, "add").await;
    groups.reject_membership_requests(&group, &[pn(DAVE)]).await.unwrap();
    let own = [carol.client.lid().unwrap().to_non_ad()];
    let cancelled = carol.client.groups().cancel_membership_requests(&group, &own).await.unwrap();
    assert_eq!(cancelled[0].error, None);
    told(&mut alice, &group, "revoked_membership_requests").await;
    let none = alice.client.groups().approve_membership_requests(&group, &[pn(DAVE)]).await.unwrap();
    assert_eq!(none[0].error.as_deref(), Some("404"));
    assert_eq!(numbers(&sim, &group), [ALICE, BOB]);
    assert!(refused(bob.client.groups().get_membership_requests(&group).await).contains("403"));
    for client in [alice, bob, carol] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_a_picture() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB]).await.id;
    let set = alice.client.groups().set_profile_picture(&group, vec![0xff, 0xd8, 1, 2, 3]).await.unwrap();
    bob.find("the new picture", |event| match event {
        Event::PictureUpdate(update) if update.jid == group => Some(()),
        _ => None,
    })
    .await;
    let all = bob.client.groups().get_profile_pictures(vec![group.clone()], PictureType::Image).await.unwrap();
    assert_eq!(all[0].photo_id.as_deref(), Some(set.id.as_str()));
    let one = bob.client.contacts().get_profile_picture(&group, false).await.unwrap().unwrap();
    let file = reqwest::get(format!("{}{}", sim.http_url(), one.direct_path.unwrap())).await.unwrap();
    assert_eq!(file.bytes().await.unwrap().as_ref(), [0xff, 0xd8, 1, 2, 3]);
    alice.client.groups().remove_profile_picture(&group).await.unwrap();
    sim.wait_group(&group.to_string(), |info| info.picture.is_none(), STEP).await.unwrap();
    assert!(bob.client.contacts().get_profile_picture(&group, false).await.unwrap().is_none());
    alice.stop().await;
    bob.stop().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_makes_and_changes_groups() {
    let sim = four(Addressing::Lid).await;
    let done = |(status, answer): (u16, Value)| {
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let new = json!({ "number": ALICE, "subject": "Friends", "members": [BOB, CAROL], "addressing": "pn" });
    let made = done(post(&sim, "groups", new).await);
    let group = made["jid"].as_str().unwrap();
    let act = |extra: Value| {
        let mut body = json!({ "number": ALICE, "group": group });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let people = |action: &str, who: &str| act(json!({ "action": action, "people": [who] }));
    let results = done(post(&sim, "groups/participants", people("add", DAVE)).await);
    assert_eq!(results["results"][0]["code"], json!(200));
    done(post(&sim, "groups/participants", people("promote", BOB)).await);
    done(post(&sim, "groups/participants", people("remove", CAROL)).await);
    done(post(&sim, "groups/set", act(json!({ "subject": "Best friends" }))).await);
    done(post(&sim, "groups/set", act(json!({ "description": "All of us" }))).await);
    for setting in ["announcement", "locked", "ephemeral:604800", "approval", "admin_add"] {
        done(post(&sim, "groups/set", act(json!({ "setting": setting }))).await);
    }
    done(post(&sim, "groups/picture", act(json!({ "image": "/9g=" }))).await);
    let sent = done(post(&sim, "send", json!({ "from": BOB, "to": group, "text": "hello" })).await);
    let inbox = done(get(&sim, &format!("inbox/{DAVE}")).await);
    assert_eq!((&inbox[0]["id"], &inbox[0]["chat"]), (&sent["id"], &json!(group)));
    assert_eq!(inbox[0]["from"], json!("15550002@s.whatsapp.net"));
    let ids = json!({ "number": DAVE, "chat": group, "ids": [sent["id"]] });
    done(post(&sim, "read", ids).await);
    let receipts = done(get(&sim, &format!("receipts/{BOB}")).await);
    let read = receipts.as_array().unwrap().iter().find(|receipt| receipt["kind"] == "read").unwrap();
    assert_eq!((&read["from"], &read["recipient"]), (&json!(DAVE), &json!(group)));

    // By the link, with an approval.
    let code = done(post(&sim, "groups/invite", act(json!({}))).await);
    done(post(&sim, "groups/set", act(json!({ "setting": "approval" }))).await);
    sim.create_account("15550005", "Eve").unwrap();
    let asked = done(post(&sim, "groups/join", json!({ "number": "15550005", "code": code["code"] })).await);
    assert_eq!(asked["joined"], json!(false));
    let approve = act(json!({ "approve": true, "people": ["15550005"] }));
    assert_eq!(done(post(&sim, "groups/requests", approve).await)["results"][0]["code"], json!(200));
    done(post(&sim, "groups/leave", json!({ "number": DAVE, "group": group })).await);

    let info = done(get(&sim, &format!("groups/{group}")).await);
    let roles: Vec<(&str, &str)> = info["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["number"].as_str().unwrap(), member["role"].as_str().unwrap()))
        .collect();
    assert_eq!(roles, [(ALICE, "superadmin"), (BOB, "admin"), ("15550005", "member")]);
    assert_eq!(info["subject"], json!("Best friends"));
    assert_eq!(info["description"], json!("All of us"));
    assert_eq!(info["addressing"], json!("pn"));
    for (name, value) in [("announce", json!(true)), ("locked", json!(true)), ("ephemeral", json!(604_800))] {
        assert_eq!(info[name], value, "{name}");
    }
    assert!(info["picture"].is_string());
    assert_eq!(done(get(&sim, "groups").await).as_array().unwrap().len(), 1);

    // What may not be is refused with a reason.
    for (path, body) in [
        ("groups", json!({ "number": ALICE, "subject": "" })),
        ("groups/participants", json!({ "number": "15550005", "group": group, "action": "remove", "people": [BOB] })),
        ("groups/participants", people("bless", BOB)),
        ("groups/set", act(json!({}))),
        ("groups/set", act(json!({ "setting": "nonsense" }))),
        ("groups/set", json!({ "number": ALICE, "group": "1@g.us", "subject": "?" })),
        ("groups/join", json!({ "number": DAVE, "code": "nonsense" })),
        ("groups/picture", act(json!({ "image": "?" }))),
        ("send", json!({ "from": DAVE, "to": group, "text": "?" })),
    ] {
        let (status, answer) = post(&sim, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body} {answer}");
        assert!(answer["error"].is_string());
    }
    assert_eq!(get(&sim, "groups/1@g.us").await.0, 400);
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_does_communities_calls_status_and_newsletters() {
    let sim = four(Addressing::Lid).await;
    let done = |(status, answer): (u16, Value)| {
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let new = json!({ "number": ALICE, "subject": "Village", "community": true });
    let village = done(post(&sim, "groups", new).await)["jid"].clone();
    let choir = done(post(&sim, "groups", json!({ "number": ALICE, "subject": "Choir", "members": [BOB] })).await);
    let links = json!({ "number": ALICE, "community": village, "groups": [choir["jid"]], "link": true });
    assert_eq!(done(post(&sim, "groups/links", links).await)["results"][0]["code"], json!(200));
    let walks = json!({ "number": ALICE, "subject": "Walks", "parent": village });
    done(post(&sim, "groups", walks).await);
    let all = done(get(&sim, "groups").await);
    let parents: Vec<&Value> =
        all.as_array().unwrap().iter().filter(|group| group["parent"] == village).map(|g| &g["subject"]).collect();
    assert_eq!(parents, [&json!("Village"), &json!("Choir"), &json!("Walks")]);
    done(post(&sim, "groups/deactivate", json!({ "number": ALICE, "group": village })).await);
    assert_eq!(done(get(&sim, "groups").await).as_array().unwrap().len(), 2);

    let call = done(post(&sim, "calls", json!({ "from": BOB, "to": ALICE, "video": true })).await)["id"].clone();
    done(post(&sim, "calls/act", json!({ "number": ALICE, "id": call, "action": "accept" })).await);
    let calls = done(get(&sim, "calls").await);
    assert_eq!((&calls[0]["state"], &calls[0]["video"]), (&json!("accepted"), &json!(true)));
    assert_eq!(post(&sim, "calls/act", json!({ "number": DAVE, "id": call, "action": "reject" })).await.0, 400);

    let status = json!({ "from": BOB, "audience": [ALICE, CAROL], "text": "a status" });
    done(post(&sim, "status", status).await);
    let list = done(post(&sim, "lists", json!({ "number": BOB, "people": [ALICE, CAROL] })).await);
    done(post(&sim, "send", json!({ "from": BOB, "to": list["jid"], "text": "to the list" })).await);
    let inbox = done(get(&sim, &format!("inbox/{CAROL}")).await);
    let chats: Vec<&Value> = inbox.as_array().unwrap().iter().map(|item| &item["chat"]).collect();
    assert_eq!(chats, [&json!("status@broadcast"), &json!("15550002@s.whatsapp.net")]);
    assert_eq!(inbox[0]["text"], json!("a status"));

    let made = done(post(&sim, "newsletters", json!({ "number": ALICE, "name": "News" })).await);
    let news = made["jid"].as_str().unwrap();
    let act = |number: &str, extra: Value| {
        let mut body = json!({ "number": number, "newsletter": news });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    done(post(&sim, "newsletters/follow", act(BOB, json!({}))).await);
    let sent = done(post(&sim, "send", json!({ "from": ALICE, "to": news, "text": "a post" })).await);
    done(post(&sim, "newsletters/react", act(BOB, json!({ "server_id": 100, "code": "👍" }))).await);
    done(post(&sim, "newsletters/view", act(BOB, json!({ "ids": [sent["id"]] }))).await);
    done(post(&sim, "newsletters/edit", act(ALICE, json!({ "post": sent["id"], "text": "the post" }))).await);
    done(post(&sim, "newsletters/update", act(ALICE, json!({ "name": "Newer" }))).await);
    let info = done(get(&sim, &format!("newsletters/{news}")).await);
    assert_eq!((&info["name"], &info["followers"]), (&json!("Newer"), &json!([BOB])));
    let post_info = &info["posts"][0];
    assert_eq!((&post_info["text"], &post_info["views"]), (&json!("the post"), &json!(1)));
    assert_eq!(post_info["reactions"], json!({ "👍": 1 }));
    assert_eq!(post(&sim, "newsletters/update", act(BOB, json!({ "name": "Mine" }))).await.0, 400);
    done(post(&sim, "newsletters/delete", act(ALICE, json!({}))).await);
    assert_eq!(done(get(&sim, "newsletters").await), json!([]));
    assert_understood(&sim);
}
