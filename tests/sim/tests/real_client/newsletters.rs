use std::time::Duration;

use whatsapp_rust::{
    features::{NewsletterRole, NewsletterState},
    prelude::{Event, InboundMessage, Jid, MessageExt as _},
    waproto::whatsapp::Message,
};
use whatsapp_sim::Addressing;

use crate::{
    client::{STEP, TestClient, assert_understood, text},
    people::{ALICE, BOB, CAROL, four},
};

/// Waits for a note about a newsletter.
async fn noted(client: &mut TestClient, op: &str) -> serde_json::Value {
    client
        .find(op, |event| match event {
            Event::MexNotification(note) if note.op_name == op => Some(note.payload.clone()),
            _ => None,
        })
        .await
}

fn words(words: &str) -> Message {
    Message { conversation: Some(words.into()), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newsletter_is_made_found_followed_and_left() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut alice_two, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let made = alice.client.newsletter().create("Village news", Some("What happens")).await.unwrap();
    assert_eq!((made.name.as_str(), made.description.as_deref()), ("Village news", Some("What happens")));
    assert_eq!((made.role, made.subscriber_count), (Some(NewsletterRole::Owner), 1));
    assert_eq!(made.state, NewsletterState::Active);
    noted(&mut alice_two, "NotificationNewsletterJoin").await;

    let seen = bob.client.newsletter().get_metadata(&made.jid).await.unwrap();
    assert_eq!(seen.role, Some(NewsletterRole::Guest));
    let by_link = bob.client.newsletter().get_metadata_by_invite(&made.invite_code.unwrap()).await.unwrap();
    assert_eq!(by_link.jid, made.jid);
    assert!(bob.client.newsletter().list_subscribed().await.unwrap().is_empty());
    let followed = bob.client.newsletter().join(&made.jid).await.unwrap();
    assert_eq!((followed.role, followed.subscriber_count), (Some(NewsletterRole::Subscriber), 2));
    let mine = bob.client.newsletter().list_subscribed().await.unwrap();
    assert_eq!(mine.iter().map(|one| &one.jid).collect::<Vec<_>>(), [&made.jid]);
    bob.client.newsletter().set_follower_mute(&made.jid, true).await.unwrap();

    assert!(bob.client.newsletter().update(&made.jid, Some("Mine"), None).await.is_err());
    let changed = alice.client.newsletter().update(&made.jid, Some("News"), Some("All of it")).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.description.as_deref()), ("News", Some("All of it")));
    let note = noted(&mut bob, "NotificationNewsletterUpdate").await;
    let told = &note["data"]["xwa2_notify_newsletter_on_metadata_update"]["thread_metadata"]["name"]["text"];
    assert_eq!(told, "News");

    bob.client.newsletter().leave(&made.jid).await.unwrap();
    assert!(sim.newsletter(&made.jid.to_string()).unwrap().followers.is_empty());
    assert!(alice.client.newsletter().leave(&made.jid).await.is_err());
    let missing: Jid = "120363999999999999@newsletter".parse().unwrap();
    assert!(bob.client.newsletter().get_metadata(&missing).await.is_err());
    assert!(bob.client.newsletter().join(&missing).await.is_err());
    for client in [alice, alice_two, bob] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_reach_those_who_follow_and_are_kept() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, device) = TestClient::pair(&sim, BOB).await;
    // A phone's newsletter.
    let jid: Jid = sim.create_newsletter(CAROL, "News", "").unwrap().parse().unwrap();
    let name = jid.to_string();
    bob.client.newsletter().join(&jid).await.unwrap();
    sim.follow_newsletter(ALICE, &name, true).unwrap();
    noted(&mut alice, "NotificationNewsletterJoin").await;
    let mut got: Vec<InboundMessage> = Vec::new();
    for n in 0..5 {
        sim.send_text(CAROL, &name, &format!("post {n}")).await.unwrap();
        got.push(bob.message().await);
    }
    for (n, post) in (0i32..).zip(&got) {
        assert_eq!((text(post), post.info.server_id), (format!("post {n}").as_str(), 100 + n));
        assert_eq!(post.info.source.chat, jid);
    }
    assert_eq!(alice.messages(5).await.len(), 5);
    sim.wait_inbox(ALICE, |m| m.chat == name && m.text.as_deref() == Some("post 4"), STEP).await.unwrap();
    sim.wait_settled(BOB, device, STEP).await.unwrap();

    // What was said before, page by page.
    let newest = bob.client.newsletter().get_messages(&jid, 2, None).await.unwrap();
    let ids: Vec<u64> = newest.iter().map(|post| post.server_id).collect();
    assert_eq!(ids, [103, 104]);
    let older = bob.client.newsletter().get_messages(&jid, 2, Some(103)).await.unwrap();
    let words: Vec<&str> = older.iter().map(|post| post.message.as_ref().unwrap().text_content().unwrap()).collect();
    assert_eq!(words, ["post 1", "post 2"]);
    assert!(!older[0].is_sender && older[0].message_id == got[1].info.id);

    // Only the owner writes.
    let id = bob.send(&jid, "me, too").await;
    assert_eq!(bob.ack(&id).await.as_deref(), Some("403"));
    assert!(sim.send_text(BOB, &name, "me, too").await.is_err());
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_writes_changes_and_takes_back_from_a_companion() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let jid = alice.client.newsletter().create("News", None).await.unwrap().jid;
    let name = jid.to_string();
    bob.client.newsletter().join(&jid).await.unwrap();
    let id = alice.send(&jid, "frist").await;
    assert_eq!(alice.ack(&id).await, None);
    assert_eq!(text(&bob.message().await), "frist");
    alice.client.newsletter().edit_message(&jid, &id, words("first")).await.unwrap();
    let edited = bob.message().await;
    assert_eq!((text(&edited), &edited.info.id), ("first", &id));
    let kept = bob.client.newsletter().get_messages(&jid, 10, None).await.unwrap();
    assert_eq!((kept.len(), kept[0].message_id.as_str()), (1, id.as_str()));
    let mine = alice.client.newsletter().get_messages(&jid, 10, None).await.unwrap();
    assert!(mine[0].is_sender);
    alice.client.newsletter().revoke_message(&jid, &id).await.unwrap();
    sim.wait_newsletter(&name, |info| info.posts[0].text.is_none(), STEP).await.unwrap();
    // The same id twice is one post.
    assert_eq!(sim.newsletter(&name).unwrap().posts.len(), 1);
    sim.delete_newsletter(ALICE, &name).unwrap();
    noted(&mut bob, "NotificationNewsletterStateChange").await;
    assert!(bob.client.newsletter().get_metadata(&jid).await.is_err());
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_and_views_are_counted_and_told_live() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let jid: Jid = sim.create_newsletter(CAROL, "News", "").unwrap().parse().unwrap();
    let name = jid.to_string();
    let id = sim.send_text(CAROL, &name, "post").await.unwrap();
    for client in [&alice, &bob] {
        client.client.newsletter().join(&jid).await.unwrap();
    }
    let duration = bob.client.newsletter().subscribe_live_updates(&jid).await.unwrap();
    assert!(Duration::from_secs(duration) > Duration::from_secs(60));
    alice.client.newsletter().send_reaction(&jid, 100, "👍").await.unwrap();
    let update = bob
        .find("live counts", |event| match event {
            Event::NewsletterLiveUpdate(update) => Some(update.clone()),
            _ => None,
        })
        .await;
    assert_eq!((update.newsletter_jid.clone(), update.messages[0].server_id), (jid.clone(), 100));
    assert_eq!((update.messages[0].reactions[0].code.as_str(), update.messages[0].reactions[0].count), ("👍", 1));
    sim.react_to_post(CAROL, &name, 100, "👍").unwrap();
    sim.react_to_post(CAROL, &name, 100, "❤️").unwrap();
    bob.client.newsletter().send_reaction(&jid, 100, "👍").await.unwrap();
    sim.wait_newsletter(&name, |info| info.posts[0].reactions.get("👍") == Some(&2), STEP).await.unwrap();
    let kept = bob.client.newsletter().get_messages(&jid, 1, None).await.unwrap();
    assert_eq!(kept[0].reactions.len(), 2);
    bob.client.newsletter().send_reaction(&jid, 100, "").await.unwrap();
    sim.wait_newsletter(&name, |info| info.posts[0].reactions.get("👍") == Some(&1), STEP).await.unwrap();

    bob.client.mark_as_read(&jid, None, &[&id]).await.unwrap();
    sim.view_posts(ALICE, &name, std::slice::from_ref(&id)).unwrap();
    sim.wait_newsletter(&name, |info| info.posts[0].views == 2, STEP).await.unwrap();
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}
