//! Who is in a group: added, removed, let in, leaving, and with which rights.

use whatsapp_rust::{
    features::{JoinGroupResult, MembershipApprovalMode},
    prelude::Jid,
    wacore::stanza::groups::GroupNotificationAction as Action,
};
use whatsapp_sim::Addressing;

use crate::{
    client::{TestClient, assert_understood, pn},
    groups::{create, numbers, refused, told},
    people::{ALICE, BOB, CAROL, DAVE, four},
};

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
