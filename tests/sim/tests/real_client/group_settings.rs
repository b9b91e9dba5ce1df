//! What a group is called, how it looks and what it allows.

use whatsapp_rust::{
    features::{
        GroupDescription, GroupError, GroupSubject, MemberAddMode, MemberLinkMode, MembershipApprovalMode, PictureType,
        PreviousDescription,
    },
    prelude::Event,
    wacore::stanza::groups::GroupNotificationAction as Action,
};
use whatsapp_sim::Addressing;

use crate::{
    client::{STEP, TestClient, assert_understood, pn},
    groups::{create, refused, told},
    people::{ALICE, BOB, CAROL, four},
};

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
