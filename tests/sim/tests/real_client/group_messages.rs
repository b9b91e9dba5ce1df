use whatsapp_rust::{
    NodeBuilder, NodeFilter,
    prelude::{Event, Jid},
    types::presence::ReceiptType,
    waproto::whatsapp::Message,
};
use whatsapp_sim::{Addressing, ArrivalOutcome, FaultKind, GroupOptions, Simulator};

use crate::{
    client::{STEP, TestClient, assert_understood, start_simulator, text},
    groups::{create, told},
    people::{ALICE, BOB, CAROL, DAVE, four},
};

async fn talk(addressing: Addressing, family: Addressing) {
    let sim = four(addressing).await;
    let (mut alice, device) = TestClient::pair(&sim, ALICE).await;
    let (mut alice_two, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let options = GroupOptions {
        subject: "Friends".into(),
        members: vec![ALICE.into(), BOB.into(), CAROL.into()],
        addressing: Some(family),
        ..Default::default()
    };
    // Dave's group, who is only a phone.
    let group = sim.create_group_with(DAVE, &options).unwrap();
    let jid: Jid = group.parse().unwrap();

    // A phone writes: companions and phones of all read it.
    let id = sim.send_text(DAVE, &group, "from a phone").await.unwrap();
    for client in [&mut alice, &mut alice_two, &mut bob] {
        let got = client.message().await;
        assert_eq!((text(&got), &got.info.id, &got.info.source.chat), ("from a phone", &id, &jid));
        assert_eq!(got.info.source.sender.is_lid(), family == Addressing::Lid);
        assert_eq!(got.info.push_name, "Dave");
    }
    for number in [ALICE, BOB, CAROL] {
        let item = sim.wait_inbox(number, |m| m.id == id, STEP).await.unwrap();
        assert_eq!((item.chat.as_str(), item.from.as_str()), (group.as_str(), "15550004@s.whatsapp.net"));
        assert!(!item.from_me);
    }

    // A companion writes: all read it, its own other devices, too.
    let id = alice.send(&jid, "from a companion").await;
    assert_eq!(alice.ack(&id).await, None);
    let copy = alice_two.message().await;
    assert_eq!(text(&copy), "from a companion");
    assert!(copy.info.source.is_from_me);
    assert_eq!(text(&bob.message().await), "from a companion");
    for number in [ALICE, BOB, CAROL, DAVE] {
        let item = sim.wait_inbox(number, |m| m.id == id, STEP).await.unwrap();
        assert_eq!((item.chat.as_str(), item.from.as_str()), (group.as_str(), "15550001@s.whatsapp.net"));
        assert_eq!(item.from_me, number == ALICE);
    }

    // With the keys everybody has by now.
    for n in 0..3 {
        sim.send_text(DAVE, &group, &format!("phone {n}")).await.unwrap();
        assert_eq!(text(&bob.message().await), format!("phone {n}"));
        let id = bob.send(&jid, &format!("companion {n}")).await;
        sim.wait_inbox(DAVE, |m| m.id == id, STEP).await.unwrap();
    }
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    for number in [ALICE, BOB, CAROL, DAVE] {
        assert!(sim.receipts(number).iter().all(|r| r.kind != "retry"), "{:?}", sim.receipts(number));
    }
    assert!(sim.arrival_log().iter().all(|arrival| arrival.outcome != ArrivalOutcome::Undecryptable));
    for client in [alice, alice_two, bob] {
        client.stop().await;
    }
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_by_lid_talks() {
    talk(Addressing::Lid, Addressing::Lid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_group_of_migrated_accounts_talks() {
    talk(Addressing::Lid, Addressing::Pn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_group_of_unmigrated_accounts_talks() {
    talk(Addressing::Pn, Addressing::Pn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_in_a_group_name_who_and_reach_the_author() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, device) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB, CAROL]).await.id;
    let id = alice.send(&group, "who reads this?").await;
    let got = bob.message().await;
    let delivered = sim.wait_receipt(ALICE, |r| r.from == CAROL && r.ids.contains(&id), STEP).await.unwrap();
    assert_eq!((delivered.kind.as_str(), delivered.recipient), ("delivery", Some(group.to_string())));

    let source = &got.info.source;
    bob.client.mark_as_read(&group, Some(&source.sender), &[&id]).await.unwrap();
    sim.mark_read(CAROL, &group.to_string(), std::slice::from_ref(&id)).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..2 {
        let reader = alice
            .find("a read receipt", |event| match event {
                Event::Receipt(r) if r.r#type == ReceiptType::Read && r.message_ids.contains(&id) => {
                    assert_eq!(r.source.chat, group);
                    r.source.sender_alt.as_ref().map(|alt| alt.user.to_string())
                }
                _ => None,
            })
            .await;
        readers.push(reader);
    }
    readers.sort();
    assert_eq!(readers, [BOB, CAROL]);
    // Bob's own phone learns what his companion read.
    sim.wait_receipt(BOB, |r| r.from == BOB && r.device == device && r.kind == "read", STEP).await.unwrap();
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

/// The next text but these: what was asked for at the sender and at the own
/// phone at once may come twice.
async fn next(client: &mut TestClient, but: &[&str]) -> String {
    loop {
        let got = client.message().await;
        if !but.contains(&text(&got)) {
            return text(&got).to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_in_a_group_is_asked_for_and_sent_again() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB, CAROL]).await.id;
    // A phone's message to a companion ...
    sim.send_text(CAROL, &group.to_string(), "fine").await.unwrap();
    assert_eq!(text(&bob.message().await), "fine");
    sim.fault(BOB, FaultKind::CorruptCiphertext, 1).unwrap();
    let id = sim.send_text(CAROL, &group.to_string(), "broken").await.unwrap();
    let got = bob.message().await;
    assert_eq!((text(&got), &got.info.id), ("broken", &id));
    sim.wait_receipt(CAROL, |r| r.from == BOB && r.kind == "retry" && r.ids.contains(&id), STEP).await.unwrap();
    // ... a companion's to a phone ...
    let id = alice.send(&group, "fine, too").await;
    sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
    sim.fault(CAROL, FaultKind::CorruptToPhone, 1).unwrap();
    let id = alice.send(&group, "broken for Carol").await;
    let item = sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
    assert_eq!((item.text.as_deref(), item.chat), (Some("broken for Carol"), group.to_string()));
    // ... and a companion's to a companion.
    assert_eq!(next(&mut bob, &["broken"]).await, "fine, too");
    assert_eq!(next(&mut bob, &["broken"]).await, "broken for Carol");
    sim.fault(BOB, FaultKind::CorruptCiphertext, 1).unwrap();
    alice.send(&group, "broken for Bob").await;
    assert_eq!(next(&mut bob, &["broken"]).await, "broken for Bob");
    // All go on afterwards.
    sim.send_text(CAROL, &group.to_string(), "on").await.unwrap();
    assert_eq!(next(&mut bob, &["broken", "broken for Bob"]).await, "on");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_out_reads_and_writes_no_more() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB, CAROL]).await.id;
    let id = alice.send(&group, "one").await;
    assert_eq!(alice.ack(&id).await, None);
    sim.send_text(CAROL, &group.to_string(), "two").await.unwrap();
    assert_eq!(text(&bob.message().await), "one");
    assert_eq!(text(&bob.message().await), "two");
    let id = bob.send(&group, "three").await;
    assert_eq!(bob.ack(&id).await, None);

    alice.client.groups().remove_participants(&group, &[crate::client::pn(BOB)]).await.unwrap();
    told(&mut bob, &group, "remove").await;
    let id = alice.send(&group, "without Bob").await;
    sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
    let id = sim.send_text(CAROL, &group.to_string(), "without Bob, too").await.unwrap();
    sim.wait_inbox(ALICE, |m| m.id == id, STEP).await.unwrap();
    assert!(sim.inbox(BOB).iter().all(|m| !m.text.as_deref().unwrap_or_default().starts_with("without")));
    assert!(sim.send_text(BOB, &group.to_string(), "let me in").await.is_err());
    // A client that has not understood yet is refused by the server.
    let id = bob.force_send(&group).await;
    assert_eq!(bob.ack(&id).await.as_deref(), Some("403"));

    // Back again he needs the keys, and gets them.
    sim.change_participants(ALICE, &group.to_string(), "add", &[BOB]).unwrap();
    told(&mut bob, &group, "add").await;
    let id = sim.send_text(CAROL, &group.to_string(), "welcome back").await.unwrap();
    let got = bob.message().await;
    assert_eq!((text(&got), &got.info.id), ("welcome back", &id));
    told(&mut alice, &group, "add").await;
    alice.send(&group, "yes, welcome").await;
    assert_eq!(text(&bob.message().await), "yes, welcome");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_write_where_only_they_may() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "News", &[BOB, CAROL]).await.id;
    alice.client.groups().set_announce(&group, true).await.unwrap();
    told(&mut bob, &group, "announcement").await;
    let id = bob.send(&group, "may I?").await;
    assert_eq!(bob.ack(&id).await.as_deref(), Some("403"));
    assert!(sim.send_text(CAROL, &group.to_string(), "may I?").await.is_err());
    alice.send(&group, "news").await;
    assert_eq!(text(&bob.message().await), "news");
    sim.change_participants(ALICE, &group.to_string(), "promote", &[CAROL]).unwrap();
    sim.send_text(CAROL, &group.to_string(), "news of an admin").await.unwrap();
    assert_eq!(text(&bob.message().await), "news of an admin");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_linked_later_gets_the_keys() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let group = create(&alice, "Friends", &[BOB, CAROL]).await.id;
    let id = alice.send(&group, "early").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    sim.send_text(CAROL, &group.to_string(), "early, too").await.unwrap();
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    sim.send_text(CAROL, &group.to_string(), "late").await.unwrap();
    assert_eq!(text(&bob.message().await), "late");
    alice.send(&group, "late, too").await;
    assert_eq!(text(&bob.message().await), "late, too");
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn group_messages_wait_for_those_who_are_offline() {
    let sim = four(Addressing::Lid).await;
    let (alice, device) = TestClient::pair(&sim, ALICE).await;
    let group = sim.create_group(BOB, "Friends", &[ALICE, CAROL]).unwrap();
    let backend = alice.stop().await;
    sim.wait_disconnected(ALICE, STEP).await.unwrap();
    sim.set_group_subject(BOB, &group, "Renamed").unwrap();
    for n in 0..20 {
        let from = if n % 2 == 0 { BOB } else { CAROL };
        sim.send_text(from, &group, &n.to_string()).await.unwrap();
    }
    let mut alice = TestClient::start(&sim, backend).await;
    let got = alice.messages(20).await;
    let texts: Vec<&str> = got.iter().map(text).collect();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
    told(&mut alice, &group.parse().unwrap(), "subject").await;
    sim.wait_settled(ALICE, device, STEP).await.unwrap();
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_in_a_group_is_shown_to_the_others() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let group = create(&alice, "Friends", &[BOB, CAROL]).await.id;
    sim.send_chatstate(CAROL, &group.to_string(), "composing").unwrap();
    bob.find("composing in the group", |event| match event {
        Event::ChatPresence(shown) if shown.source.chat == group => Some(()),
        _ => None,
    })
    .await;
    alice.client.chatstate().send_composing(&group).await.unwrap();
    let id = alice.send(&group, "typed").await;
    sim.wait_inbox(CAROL, |m| m.id == id, STEP).await.unwrap();
    assert!(sim.presences(CAROL).iter().any(|shown| shown.from == ALICE && shown.state == "composing"));
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_writes_to_a_hundred() {
    let sim = start_simulator().await;
    let numbers: Vec<String> = (0..100).map(|n| format!("1555{n:05}")).collect();
    for number in &numbers {
        sim.create_account(number, "Somebody").unwrap();
    }
    let (mut alice, _) = TestClient::pair(&sim, &numbers[0]).await;
    let others: Vec<&str> = numbers[1..].iter().map(String::as_str).collect();
    let group = sim.create_group(&numbers[0], "Everybody", &others).unwrap();
    let jid: Jid = group.parse().unwrap();
    let id = alice.send(&jid, "hello, all").await;
    assert_eq!(alice.ack(&id).await, None);
    for number in &numbers {
        sim.wait_inbox(number, |m| m.id == id, STEP).await.unwrap();
    }
    sim.send_text(&numbers[99], &group, "hello back").await.unwrap();
    assert_eq!(text(&alice.message().await), "hello back");
    alice.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_tells_whose_list_of_devices_is_another() {
    let sim = four(Addressing::Lid).await;
    let (alice, _) = TestClient::pair(&sim, ALICE).await;
    let (bob, _) = TestClient::pair(&sim, BOB).await;
    for family in [Addressing::Lid, Addressing::Pn] {
        let options = GroupOptions {
            subject: "Friends".into(),
            members: vec![ALICE.into(), BOB.into()],
            addressing: Some(family),
            ..Default::default()
        };
        let group: Jid = sim.create_group_with(CAROL, &options).unwrap().parse().unwrap();
        // A client that knows all devices gets no hash back ...
        let ack = alice.client.wait_for_node(NodeFilter::tag("ack").attr("class", "message"));
        alice.send(&group, "to all of us").await;
        let ack = tokio::time::timeout(STEP, ack).await.unwrap().unwrap();
        assert_eq!(ack.get().get_attr("phash").map(|hash| hash.as_str().into_owned()), None);
        // ... and one that does not gets the right one.
        let id = alice.client.generate_message_id();
        let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", "skmsg").bytes(vec![0x33; 32]).build();
        let node = NodeBuilder::new("message")
            .attr("to", &group)
            .attr("id", id.as_str())
            .attr("type", "text")
            .attr("phash", "2:nonsense")
            .children([enc])
            .build();
        let ack = alice.client.wait_for_node(NodeFilter::tag("ack").attr("id", id));
        alice.client.send_node(node).await.unwrap();
        let ack = tokio::time::timeout(STEP, ack).await.unwrap().unwrap();
        let info = alice.client.groups().query_info(&group).await.unwrap();
        assert_eq!(info.participants.len(), 3);
        let hash = ack.get().get_attr("phash").unwrap().as_str().into_owned();
        assert!(hash.starts_with("2:") && hash.len() == 10, "{hash}");
    }
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

/// Which ciphertexts a message of a phone comes with.
async fn sealed(sim: &Simulator, from: &str, group: &Jid, to: &TestClient, id: &str) -> Vec<String> {
    let came = to.client.wait_for_node(NodeFilter::tag("message").attr("id", id));
    let message = Message { conversation: Some(id.to_owned()), ..Default::default() };
    sim.send_message_with_id(from, &group.to_string(), message, id).await.unwrap();
    let node = tokio::time::timeout(STEP, came).await.unwrap().unwrap();
    let encs = node.get().get_children_by_tag("enc").map(|enc| enc.get_attr("type").unwrap().as_str().into_owned());
    encs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_gives_its_key_out_once_and_a_new_one_when_somebody_is_out() {
    let sim = four(Addressing::Lid).await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let group: Jid = sim.create_group(CAROL, "Friends", &[ALICE, BOB, DAVE]).unwrap().parse().unwrap();
    // The own ciphertext comes first.
    assert_eq!(sealed(&sim, CAROL, &group, &alice, "ONE").await, ["pkmsg", "skmsg"]);
    assert_eq!(sealed(&sim, CAROL, &group, &alice, "TWO").await, ["skmsg"]);
    sim.change_participants(CAROL, &group.to_string(), "remove", &[BOB]).unwrap();
    assert_eq!(sealed(&sim, CAROL, &group, &alice, "THREE").await.len(), 2);
    sim.leave_group(DAVE, &group.to_string()).unwrap();
    assert_eq!(sealed(&sim, CAROL, &group, &alice, "FOUR").await.len(), 2);
    assert_eq!(sealed(&sim, CAROL, &group, &alice, "FIVE").await, ["skmsg"]);
    let texts: Vec<String> = alice.messages(5).await.iter().map(|got| text(got).to_owned()).collect();
    assert_eq!(texts, ["ONE", "TWO", "THREE", "FOUR", "FIVE"]);
    alice.stop().await;
    assert_understood(&sim);
}
