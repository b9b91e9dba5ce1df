use super::*;
use crate::store::tests::on_both;

on_both! {
    a_poll_is_kept_once_with_its_secret => keep;
    what_a_poll_asks_changes_and_it_ends_once => change;
    a_person_has_one_vote_and_the_latest_counts => latest;
    polls_and_votes_follow_a_person_and_a_chat => follow;
}

fn poll(portal: i64) -> Poll {
    let answer =
        |text: &str| Answer { hash: format!("hash of {text}"), id: format!("id of {text}"), text: text.into() };
    Poll {
        portal: PortalId::new(portal),
        wa_id: WaMessageId::new("3A"),
        author: GhostId::new("1555@s.whatsapp.net"),
        question: "Lunch?".into(),
        answers: vec![answer("soup"), answer("bread")],
        max_selections: 1,
        growth: Growth::ByAnybody,
        ends_at: None,
        ended_at: None,
    }
}

fn vote(voter: &str, chosen: &[&str], ts: i64, event: Option<&str>) -> Vote {
    Vote {
        key: VoteKey { portal: PortalId::new(1), poll: WaMessageId::new("3A"), voter: GhostId::new(voter) },
        chosen: chosen.iter().map(|text| format!("hash of {text}")).collect(),
        ts,
        event_id: event.map(str::to_owned),
        mx_sender: "@a:b".into(),
        shown_at: ts + 1,
    }
}

async fn put(store: &Store, vote: &Vote) {
    let mut tx = store.begin("test").await.unwrap();
    store.put_vote_in(&mut tx, vote).await.unwrap();
    tx.commit().await.unwrap();
}

async fn keep(store: Store) {
    let sealer = Sealer::new("key");
    store.put_poll(&sealer, &poll(1), Some(b"secret")).await.unwrap();
    let other = Poll { question: "forged".into(), author: GhostId::new("9@lid"), ..poll(1) };
    store.put_poll(&sealer, &other, Some(b"forged")).await.unwrap();
    assert_eq!(store.find_poll(PortalId::new(1), &WaMessageId::new("3A")).await.unwrap(), Some(poll(1)));
    assert_eq!(store.poll_secret(&sealer, &poll(1)).await.unwrap().as_deref(), Some(&b"secret"[..]));
    assert_eq!(store.find_poll(PortalId::new(2), &WaMessageId::new("3A")).await.unwrap(), None, "of another chat");
    assert!(store.poll_secret(&Sealer::new("another"), &poll(1)).await.is_err());
    let row = sqlx::query("SELECT secret FROM poll").fetch_one(store.pool()).await.unwrap();
    let kept: Vec<u8> = row.try_get("secret").unwrap();
    assert!(!kept.windows(6).any(|window| window == b"secret"), "sealed");
    let without = Poll { wa_id: WaMessageId::new("3B"), ..poll(1) };
    store.put_poll(&sealer, &without, None).await.unwrap();
    assert_eq!(store.poll_secret(&sealer, &without).await.unwrap(), None);
}

async fn change(store: Store) {
    let sealer = Sealer::new("key");
    store.put_poll(&sealer, &poll(1), Some(b"secret")).await.unwrap();
    let find = async || store.find_poll(PortalId::new(1), &WaMessageId::new("3A")).await.unwrap().unwrap();
    let mut changed = Poll { question: "Dinner?".into(), max_selections: 2, ends_at: Some(50), ..poll(1) };
    changed.answers.push(Answer { hash: "h".into(), id: "i".into(), text: "cake".into() });
    store.change_poll(&Poll { author: GhostId::new("9@lid"), ..changed.clone() }).await.unwrap();
    assert_eq!(find().await, changed, "who asked stays");
    assert_eq!(store.poll_secret(&sealer, &poll(1)).await.unwrap().as_deref(), Some(&b"secret"[..]));
    assert!(store.overdue_polls(49).await.unwrap().is_empty());
    assert_eq!(store.overdue_polls(50).await.unwrap(), [changed.clone()]);
    for at in [60, 70] {
        let mut tx = store.begin("test").await.unwrap();
        store.end_poll_in(&mut tx, changed.portal, &changed.wa_id, at).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(find().await.ended_at, Some(60));
    }
    assert!(store.overdue_polls(100).await.unwrap().is_empty());
}

async fn latest(store: Store) {
    let first = vote("1@lid", &["soup"], 10, Some("$1"));
    put(&store, &first).await;
    assert_eq!(store.find_vote(&first.key).await.unwrap(), Some(first.clone()));
    put(&store, &vote("1@lid", &["bread"], 9, Some("$0"))).await;
    assert_eq!(store.find_vote(&first.key).await.unwrap(), Some(first.clone()), "an older one changes nothing");
    // Two in the same moment: the later one to come.
    let second = vote("1@lid", &["bread", "soup"], 10, Some("$2"));
    put(&store, &second).await;
    assert_eq!(store.find_vote_by_event("$2").await.unwrap(), Some(second));
    assert_eq!(store.find_vote_by_event("$1").await.unwrap(), None);
    put(&store, &vote("2@lid", &["soup"], 1, None)).await;
    let counts = async || store.results_of(&poll(1)).await.unwrap();
    assert_eq!(counts().await, [("soup".to_owned(), 2), ("bread".to_owned(), 1)]);
    put(&store, &vote("1@lid", &[], 11, None)).await;
    assert_eq!(counts().await, [("soup".to_owned(), 1), ("bread".to_owned(), 0)]);
    assert_eq!(store.results_of(&poll(2)).await.unwrap()[0].1, 0, "of another chat");
}

async fn follow(store: Store) {
    let sealer = Sealer::new("key");
    let (pn, lid) = (GhostId::new("1555@s.whatsapp.net"), GhostId::new("100@lid"));
    store.put_poll(&sealer, &poll(1), Some(b"secret")).await.unwrap();
    put(&store, &vote(pn.as_str(), &["soup"], 10, Some("$1"))).await;
    let other = Poll { wa_id: WaMessageId::new("3B"), ..poll(1) };
    store.put_poll(&sealer, &other, None).await.unwrap();
    for voter in [&pn, &lid] {
        let both = vote(voter.as_str(), &["soup"], 10, None);
        put(&store, &Vote { key: VoteKey { poll: other.wa_id.clone(), ..both.key.clone() }, ..both }).await;
    }
    let mut tx = store.begin("test").await.unwrap();
    store.join_ids_in(&mut tx, &pn, &lid).await.unwrap();
    store.merge_portals_in(&mut tx, PortalId::new(1), PortalId::new(2)).await.unwrap();
    tx.commit().await.unwrap();
    let moved = store.find_poll(PortalId::new(2), &WaMessageId::new("3A")).await.unwrap().unwrap();
    assert_eq!(moved, Poll { author: lid.clone(), ..poll(2) });
    assert_eq!(store.poll_secret(&sealer, &moved).await.unwrap().as_deref(), Some(&b"secret"[..]));
    let key = VoteKey { portal: PortalId::new(2), poll: moved.wa_id, voter: lid };
    assert_eq!(store.find_vote(&key).await.unwrap().unwrap().event_id.as_deref(), Some("$1"));
    let other = Poll { portal: PortalId::new(2), ..other };
    assert_eq!(store.results_of(&other).await.unwrap()[0].1, 1, "one person has one vote");
}
