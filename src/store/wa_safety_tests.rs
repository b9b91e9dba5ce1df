//! What keeps a message from being lost between ratchet and inbox: poison, unknown duplicates, marked sends, aliases.

use super::tests::on_both;
use super::wa_backend::{LineBackend, UnknownDuplicate};
use super::wa_tests::{line, mapping};
use super::*;
use crate::ids::{DeviceKey, GhostId};
use crate::store::seal::Sealer;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::wacore::store::traits::*;

on_both! {
    a_failed_pending_write_stops_every_ratchet => poison;
    a_short_failure_is_ridden_out => short_failure;
    a_ratchet_waits_for_pending_writes_in_hand => ratchet_waits;
    an_abandoned_pending_write_counts_as_failed => abandoned;
    pending_rows_come_and_go => pending;
    settled_copies_are_deleted_many_at_once => settled;
    a_copy_stored_again_outlives_the_deletion_of_the_first => stored_again;
    a_duplicate_nobody_knows_is_noted => unknown;
    a_sent_message_can_be_taken_twice => sent;
    aliases_join_what_was_kept_under_both_ids => aliases;
    ids_of_strangers_can_not_stop_a_line => strangers;
}

async fn run(store: &Store, text: &'static str) {
    sqlx::query(text).execute(store.pool()).await.unwrap();
}

const TAKE_AWAY: &str = "ALTER TABLE wa_pending RENAME TO wa_pending_away";
const GIVE_BACK: &str = "ALTER TABLE wa_pending_away RENAME TO wa_pending";

/// Every write that could let a ratchet overtake a message.
async fn signal_writes(line: &LineBackend) -> Vec<bool> {
    vec![
        line.put_session("1@lid", b"x").await.is_ok(),
        line.put_sessions_batch(&[(Arc::from("1@lid"), Bytes::from_static(b"x"))]).await.is_ok(),
        line.delete_session("1@lid").await.is_ok(),
        line.put_identity("1@lid", [1; 32]).await.is_ok(),
        line.put_identities_batch(&[(Arc::from("1@lid"), [1; 32])]).await.is_ok(),
        line.delete_identity("1@lid").await.is_ok(),
        line.put_sender_key("g", b"x").await.is_ok(),
        line.put_sender_keys_batch(&[(Arc::from("g"), Bytes::from_static(b"x"))]).await.is_ok(),
        line.delete_sender_key("g").await.is_ok(),
        line.remove_prekey(1).await.is_ok(),
        line.remove_signed_prekey(1).await.is_ok(),
        line.store_pending_inbound("c", "s", "n", b"n").await.is_ok(),
        line.store_pending_inbound_batch(&[PendingInboundRow { chat: "c", sender: "s", id: "n", message: b"n" }])
            .await
            .is_ok(),
    ]
}

async fn poison(store: Store) {
    let first = line(&store, "d").await;
    first.put_session("1@lid", b"before").await.unwrap();
    run(&store, TAKE_AWAY).await;
    assert!(first.store_pending_inbound("c", "s", "m", b"m").await.is_err());
    run(&store, GIVE_BACK).await;
    assert!(first.is_poisoned());
    first.wait_poisoned().await;
    assert!(signal_writes(&first).await.iter().all(|worked| !worked), "the database works again, the line may not");
    assert_eq!(first.get_session("1@lid").await.unwrap().unwrap(), "before", "reading goes on");
    first.store_prekey(9, b"new", false).await.unwrap();

    let rebuilt = LineBackend::new(store.clone(), Sealer::new("pickle"), DeviceKey::new("d"));
    assert!(!rebuilt.is_poisoned());
    assert!(signal_writes(&rebuilt).await.iter().all(|worked| *worked));
}

async fn short_failure(store: Store) {
    let line = line(&store, "d").await;
    run(&store, TAKE_AWAY).await;
    let before = line.cost().statements;
    let writer = tokio::spawn({
        let line = line.clone();
        async move { line.store_pending_inbound("c", "s", "m", b"m").await }
    });
    until("the first try", || line.cost().statements > before).await;
    run(&store, GIVE_BACK).await;
    writer.await.unwrap().unwrap();
    assert!(!line.is_poisoned());
    assert_eq!(line.get_pending_inbound("c", "s", "m").await.unwrap(), Some(b"m".to_vec()));
}

/// Waits for a condition; a minute is a failure that says what was waited for.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "waited for {what}");
}

/// Keeps every other writer out of `wa_pending` until it is dropped.
async fn lock_pending(store: &Store) -> Tx {
    let mut tx = store.begin("test.lock").await.unwrap();
    if store.dialect() == Dialect::Postgres {
        sqlx::query("LOCK TABLE wa_pending IN ACCESS EXCLUSIVE MODE").execute(tx.connection()).await.unwrap();
    }
    tx
}

async fn ratchet_waits(store: Store) {
    let line = line(&store, "d").await;
    let lock = lock_pending(&store).await;
    let before = line.cost().statements;
    let pending = tokio::spawn({
        let line = line.clone();
        async move { line.store_pending_inbound("c", "s", "m", b"m").await }
    });
    until("the pending write to begin", || line.cost().statements > before).await;
    let ratchet = tokio::spawn({
        let line = line.clone();
        async move { line.put_session("1@lid", b"r").await }
    });
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert!(!ratchet.is_finished());
    assert_eq!(line.cost().statements, before + 1, "the ratchet has not touched the database");
    drop(lock);
    pending.await.unwrap().unwrap();
    ratchet.await.unwrap().unwrap();
    assert_eq!(line.cost().statements, before + 2);
}

async fn abandoned(store: Store) {
    let line = line(&store, "d").await;
    let lock = lock_pending(&store).await;
    let before = line.cost().statements;
    let pending = tokio::spawn({
        let line = line.clone();
        async move { line.store_pending_inbound("c", "s", "m", b"m").await }
    });
    until("the pending write to begin", || line.cost().statements > before).await;
    pending.abort();
    assert!(pending.await.unwrap_err().is_cancelled());
    drop(lock);
    assert!(line.is_poisoned(), "its message is decrypted, and nobody knows whether it is stored");
    assert!(line.put_session("1@lid", b"r").await.is_err());
}

async fn pending(store: Store) {
    let line = line(&store, "d").await;
    let row = |id, message| PendingInboundRow { chat: "c", sender: "s:1", id, message };
    line.store_pending_inbound_batch(&[row("a", b"1"), row("b", b"2"), row("a", b"3")]).await.unwrap();
    line.store_pending_inbound_batch(&[row("b", b"4")]).await.unwrap();
    assert_eq!(line.get_pending_inbound("c", "s:1", "a").await.unwrap(), Some(b"3".to_vec()));
    assert_eq!(line.get_pending_inbound("c", "s:1", "b").await.unwrap(), Some(b"4".to_vec()));
    assert_eq!(line.get_pending_inbound("c", "s:2", "a").await.unwrap(), None, "another device is another sender");
    let key = |id| PendingInboundKey { chat: "c", sender: "s:1", id };
    line.delete_pending_inbound_batch(&[key("a"), key("none")]).await.unwrap();
    line.delete_pending_inbound_batch(&[]).await.unwrap();
    line.store_pending_inbound_batch(&[]).await.unwrap();
    assert_eq!(line.get_pending_inbound("c", "s:1", "a").await.unwrap(), None);
    let now = store.clock().now_ms() / 1000;
    assert_eq!(line.delete_expired_pending_inbound(now).await.unwrap(), 0, "not older than the cutoff");
    assert_eq!(line.delete_expired_pending_inbound(now + 1).await.unwrap(), 1);
}

async fn unknown(store: Store) {
    let line = line(&store, "d").await;
    line.store_pending_inbound("c", "s", "known", b"m").await.unwrap();
    line.get_pending_inbound("c", "s", "known").await.unwrap();
    line.get_pending_inbound("0@s.whatsapp.net", "0@s.whatsapp.net", "__wa_durability_probe_1_1__").await.unwrap();
    assert!(line.take_unknown_duplicates(10).await.unwrap().is_empty());
    for _ in 0..2 {
        assert_eq!(line.get_pending_inbound("c@lid", "s:3@lid", "lost").await.unwrap(), None);
    }
    line.wait_unknown_duplicate().await;
    let want = UnknownDuplicate { chat: "c@lid".into(), sender: "s:3@lid".into(), id: "lost".into() };
    assert_eq!(line.take_unknown_duplicates(10).await.unwrap(), std::slice::from_ref(&want));
    // A process that dies before it has looked finds it again.
    let rebuilt = LineBackend::new(store.clone(), Sealer::new("pickle"), DeviceKey::new("d"));
    assert_eq!(rebuilt.take_unknown_duplicates(10).await.unwrap(), std::slice::from_ref(&want));
    rebuilt.settle_unknown_duplicate(&want).await.unwrap();
    assert!(rebuilt.take_unknown_duplicates(10).await.unwrap().is_empty());

    run(&store, "ALTER TABLE wa_unknown RENAME TO wa_unknown_away").await;
    assert!(
        line.get_pending_inbound("c@lid", "s:3@lid", "lost").await.is_err(),
        "what can't be noted is not acknowledged"
    );
}

async fn sent(store: Store) {
    let line = line(&store, "d").await;
    line.store_sent_message("c", "m", b"one").await.unwrap();
    assert_eq!(line.take_sent_message("c", "m").await.unwrap(), Some(b"one".to_vec()));
    assert_eq!(
        line.take_sent_message("c", "m").await.unwrap(),
        Some(b"one".to_vec()),
        "a second retry, or after a kill"
    );
    line.store_sent_message("c", "m", b"two").await.unwrap();
    assert_eq!(line.take_sent_message("c", "m").await.unwrap(), Some(b"two".to_vec()));
    assert_eq!(line.take_sent_message("c", "n").await.unwrap(), None);
    let now = store.clock().now_ms() / 1000;
    assert_eq!(line.delete_expired_sent_messages(now).await.unwrap(), 0);
    assert_eq!(line.delete_expired_sent_messages(now + 1).await.unwrap(), 1);
    assert_eq!(line.take_sent_message("c", "m").await.unwrap(), None);
}

async fn aliases(store: Store) {
    let one = line(&store, "one").await;
    let two = line(&store, "two").await;
    let ghost = "INSERT INTO ghost (ghost_id, localpart, name, name_rank, name_set, avatar_id, avatar_mxc, avatar_set,
        avatar_checked_at, registered) VALUES ('15552@s.whatsapp.net', 'l', '', 0, 0, '', '', 0, 0, 0)";
    run(&store, ghost).await;
    one.put_lid_mappings(&[mapping("100", "15551", 10), mapping("101", "15552", 0)]).await.unwrap();
    let joined = store.find_ghost(&GhostId::new("101@lid")).await.unwrap();
    assert_eq!(joined.unwrap().localpart, "l", "joined in the same transaction");
    two.put_lid_mapping(&mapping("900", "15551", 0)).await.unwrap();
    assert_eq!(alias_of(&store, "15551").await, ("100@lid".into(), 10_000), "a stale source replaces nothing");
    two.put_lid_mappings(&[mapping("200", "15551", 30), mapping("201", "15551", 29)]).await.unwrap();
    assert_eq!(alias_of(&store, "15551").await, ("200@lid".into(), 30_000));
}

async fn alias_of(store: &Store, number: &str) -> (String, i64) {
    let row = sqlx::query("SELECT lid, learnt_at FROM wa_alias WHERE pn = $1")
        .bind(format!("{number}@s.whatsapp.net"))
        .fetch_one(store.pool())
        .await
        .unwrap();
    (row.try_get("lid").unwrap(), row.try_get("learnt_at").unwrap())
}

async fn strangers(store: Store) {
    let line = line(&store, "d").await;
    for id in ["a\0b".to_owned(), "x".repeat(10_000), "ü'\"--;☎".to_owned(), String::new()] {
        line.store_pending_inbound(&id, &id, &id, b"\0\xff").await.unwrap();
        assert_eq!(line.get_pending_inbound(&id, &id, &id).await.unwrap(), Some(b"\0\xff".to_vec()));
        line.delete_pending_inbound(&id, &id, &id).await.unwrap();
        assert_eq!(line.get_pending_inbound(&id, &id, &id).await.unwrap(), None);
        let noted = line.take_unknown_duplicates(9).await.unwrap().remove(0);
        assert_eq!((noted.chat.as_str(), noted.sender.as_str(), noted.id.as_str()), (&*id, &*id, &*id));
        line.settle_unknown_duplicate(&noted).await.unwrap();
        line.put_msg_secret(&id, &id, &id, &[1; 32]).await.unwrap();
        assert!(line.get_msg_secret(&id, &id, &id).await.unwrap().is_some());
        line.store_sent_message(&id, &id, b"x").await.unwrap();
        assert!(line.take_sent_message(&id, &id).await.unwrap().is_some());
        line.put_session(&id, b"x").await.unwrap();
        assert!(line.get_session(&id).await.unwrap().is_some());
    }
    assert!(!line.is_poisoned());
}

async fn count_pending(store: &Store) -> i64 {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM wa_pending").fetch_one(store.pool()).await.unwrap();
    sqlx::Row::try_get(&row, "n").unwrap()
}

async fn settled(store: Store) {
    let line = line(&store, "d").await;
    let ids: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    for id in &ids {
        line.store_pending_inbound("c", "s", id, b"m").await.unwrap();
        if id != "7" {
            line.delete_pending_inbound("c", "s", id).await.unwrap();
        }
    }
    assert!(line.cost().statements <= 320, "each was deleted by itself: {}", line.cost().statements);
    assert_eq!(line.get_pending_inbound("c", "s", "8").await.unwrap(), None, "for the library it is gone at once");
    line.delete_settled().await;
    assert_eq!(count_pending(&store).await, 1);
    assert_eq!(line.get_pending_inbound("c", "s", "7").await.unwrap(), Some(b"m".to_vec()));
    // Without anybody asking for it, too.
    line.delete_pending_inbound("c", "s", "7").await.unwrap();
    let gone = async {
        while count_pending(&store).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
}

async fn stored_again(store: Store) {
    let line = line(&store, "d").await;
    for round in 0..3 {
        line.store_pending_inbound("c", "s", "m", b"first").await.unwrap();
        line.delete_pending_inbound("c", "s", "m").await.unwrap();
        if round == 0 {
            line.store_pending_inbound("c", "s", "m", b"second").await.unwrap();
            line.delete_settled().await;
        } else {
            // The deletion is on its way.
            let lock = lock_pending(&store).await;
            let deleting = tokio::spawn({
                let line = line.clone();
                async move { line.delete_settled().await }
            });
            let before = line.cost().statements;
            until("the deletion to begin", || line.cost().statements > before).await;
            let storing = tokio::spawn({
                let line = line.clone();
                async move { line.store_pending_inbound("c", "s", "m", b"second").await }
            });
            tokio::task::yield_now().await;
            drop(lock);
            storing.await.unwrap().unwrap();
            deleting.await.unwrap();
        }
        assert_eq!(line.get_pending_inbound("c", "s", "m").await.unwrap(), Some(b"second".to_vec()), "round {round}");
    }
}
