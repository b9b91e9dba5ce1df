use whatsapp_rust::{
    features::{CommunitySubgroup, CreateCommunityOptions, GroupType, group_type},
    prelude::Jid,
    wacore::stanza::groups::GroupNotificationAction as Action,
};
use whatsapp_sim::{Addressing, GroupOptions, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, pn, text},
    groups::{create, refused, told},
    people::{ALICE, BOB, CAROL, DAVE, four},
};

async fn community(client: &TestClient, name: &str) -> (Jid, Vec<CommunitySubgroup>) {
    let made = client.client.community().create(CreateCommunityOptions::new(name)).await.unwrap().metadata;
    assert_eq!(group_type(&made), GroupType::Community);
    let groups = client.client.community().get_subgroups(&made.id).await.unwrap();
    (made.id, groups)
}

fn members(sim: &Simulator, group: &Jid) -> Vec<String> {
    sim.group(&group.to_string()).unwrap().members.into_iter().map(|member| member.number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_community_has_an_announcement_group_and_a_general_chat() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let mut options = CreateCommunityOptions::new("Village");
    options.description = Some("All of us".into());
    options.closed = true;
    let made = alice.client.community().create(options).await.unwrap().metadata;
    let seen = alice.client.groups().get_metadata(&made.id).await.unwrap();
    assert!(seen.is_parent_group && seen.parent_membership_approval_required);
    assert_eq!(seen.description.as_deref(), Some("All of us"));

    let groups = alice.client.community().get_subgroups(&made.id).await.unwrap();
    assert_eq!(groups.len(), 2);
    assert!(groups[0].is_default_sub_group && groups[0].subject == "Village");
    assert!(groups[1].is_general_chat);
    let announcements = alice.client.groups().get_metadata(&groups[0].id).await.unwrap();
    assert_eq!(group_type(&announcements), GroupType::LinkedAnnouncementGroup);
    assert!(announcements.is_announcement);
    assert_eq!(announcements.parent_group_jid, Some(made.id.clone()));
    let general = alice.client.groups().get_metadata(&groups[1].id).await.unwrap();
    assert_eq!(group_type(&general), GroupType::LinkedGeneralGroup);

    let mine = alice.client.community().get_participating().await.unwrap();
    assert_eq!(mine.keys().collect::<Vec<_>>(), [&made.id]);
    assert_eq!(alice.client.groups().get_participating().await.unwrap().len(), 3);
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_linked_and_unlinked_with_their_people() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let (parent, own) = community(&alice, "Village").await;
    let group = create(&alice, "Choir", &[BOB, CAROL]).await.id;
    let foreign: Jid = sim.create_group(DAVE, "Foreign", &[ALICE]).unwrap().parse().unwrap();
    let missing: Jid = "120363999999999999@g.us".parse().unwrap();
    let linked = [group.clone(), foreign.clone(), missing.clone()];
    let result = alice.client.community().link_subgroups(&parent, &linked).await.unwrap();
    assert_eq!(result.linked_jids, std::slice::from_ref(&group));
    assert_eq!(result.failed_groups, [(foreign, 403), (missing, 404)]);

    // The people of the group are in the community now, and hear of it.
    let update = told(&mut bob, &group, "link").await;
    assert!(matches!(&update.action, Action::Link { link_type, .. } if link_type == "parent_group"));
    told(&mut bob, &parent, "add").await;
    let update = told(&mut bob, &parent, "link").await;
    assert!(matches!(&update.action, Action::Link { link_type, .. } if link_type == "sub_group"));
    told(&mut bob, &own[0].id, "add").await;
    assert_eq!(members(&sim, &parent), [ALICE, BOB, CAROL]);
    let seen = bob.client.groups().get_metadata(&group).await.unwrap();
    assert_eq!(seen.parent_group_jid, Some(parent.clone()));
    let counts = bob.client.community().get_subgroup_participant_counts(&parent).await.unwrap();
    assert!(counts.contains(&(group.clone(), 3)), "{counts:?}");
    let everybody = bob.client.community().get_linked_groups_participants(&parent).await.unwrap();
    assert_eq!(everybody.len(), 3);
    let queried = bob.client.community().query_linked_group(&parent, &group).await.unwrap();
    assert_eq!(queried.subject, "Choir");
    assert!(
        refused(bob.client.community().unlink_subgroups(&parent, std::slice::from_ref(&group), false).await)
            .contains("403")
    );

    let result = alice.client.community().unlink_subgroups(&parent, std::slice::from_ref(&group), true).await.unwrap();
    assert_eq!(result.unlinked_jids, std::slice::from_ref(&group));
    let update = told(&mut bob, &group, "unlink").await;
    assert!(matches!(&update.action, Action::Unlink { unlink_type, .. } if unlink_type == "parent_group"));
    // In no group of it any more, so out of it.
    told(&mut bob, &parent, "remove").await;
    assert_eq!(members(&sim, &parent), [ALICE]);
    assert_eq!(members(&sim, &group), [ALICE, BOB, CAROL]);
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_community_join_its_groups() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let (dave, _) = TestClient::pair(&sim, DAVE).await;
    let (parent, _) = community(&alice, "Village").await;
    let choir = alice.client.community().create_subgroup("Choir", &[pn(BOB)], &parent).await.unwrap().metadata;
    assert_eq!(group_type(&choir), GroupType::LinkedSubgroup);
    told(&mut bob, &choir.id, "create").await;
    told(&mut bob, &parent, "add").await;
    let walks = alice.client.community().create_subgroup("Walks", &[], &parent).await.unwrap().metadata;
    told(&mut bob, &parent, "link").await;

    let joined = bob.client.community().join_subgroup(&parent, &walks.id).await.unwrap();
    assert_eq!(joined.participants.len(), 2);
    assert_eq!(members(&sim, &walks.id), [ALICE, BOB]);
    assert!(refused(dave.client.community().join_subgroup(&parent, &walks.id).await).contains("403"));
    assert!(refused(bob.client.community().create_subgroup("Mine", &[], &parent).await).contains("403"));

    // Out of the community is out of all of it.
    alice.client.community().remove_participants(&parent, &[pn(BOB)]).await.unwrap();
    for group in [&parent, &choir.id, &walks.id] {
        told(&mut bob, group, "remove").await;
        assert_eq!(members(&sim, group), [ALICE]);
    }
    for client in [alice, bob, dave] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_write_announcements() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let (parent, own) = community(&alice, "Village").await;
    let (announcements, general) = (own[0].id.clone(), own[1].id.clone());
    let options = GroupOptions {
        subject: "Choir".into(),
        members: vec![BOB.into()],
        parent: Some(parent.to_string()),
        ..Default::default()
    };
    sim.create_group_with(ALICE, &options).unwrap();
    told(&mut bob, &announcements, "add").await;
    alice.send(&announcements, "the feast is on Sunday").await;
    assert_eq!(text(&bob.message().await), "the feast is on Sunday");
    let id = bob.send(&announcements, "can I come?").await;
    assert_eq!(bob.ack(&id).await.as_deref(), Some("403"));
    bob.client.community().join_subgroup(&parent, &general).await.unwrap();
    let id = bob.send(&general, "can I come?").await;
    assert_eq!(bob.ack(&id).await, None);
    sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_community_ends_and_its_groups_stay() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let (parent, own) = community(&alice, "Village").await;
    let group: Jid = sim.create_group(ALICE, "Choir", &[BOB]).unwrap().parse().unwrap();
    let results = sim.link_groups(ALICE, &parent.to_string(), &[&group.to_string()], true).unwrap();
    assert_eq!(results[0].code, 200);
    told(&mut bob, &parent, "link").await;
    assert!(refused(bob.client.community().deactivate(&parent).await).contains("403"));
    alice.client.community().deactivate(&parent).await.unwrap();
    let update = told(&mut bob, &group, "unlink").await;
    assert!(matches!(&update.action, Action::Unlink { unlink_reason: Some(why), .. } if why == "delete_parent"));
    told(&mut bob, &parent, "delete").await;
    told(&mut bob, &own[0].id, "delete").await;
    assert!(refused(bob.client.groups().get_metadata(&parent).await).contains("404"));
    assert_eq!(sim.group(&group.to_string()).unwrap().parent, None);
    sim.send_text(ALICE, &group.to_string(), "still here").await.unwrap();
    assert_eq!(text(&bob.message().await), "still here");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}
