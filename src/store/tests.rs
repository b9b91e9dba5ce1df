//! Store tests: every body runs on SQLite and on Postgres.
//!
//! Postgres is found through `MATRIX_WHATSAPP_TEST_POSTGRES` (`cargo xtask test` starts one and sets it);
//! without it the Postgres half fails and says so. Nothing is skipped.

use super::*;
use crate::ids::{Lane, LoginId, PortalId};
use crate::store::inbox::{Arrival, MISSING, Source};

/// A fresh store and what keeps it alive.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    _dir: Option<tempfile::TempDir>,
}

pub(crate) async fn fresh_sqlite() -> Fresh {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("test.db").display());
    Fresh { store: Store::open(&url, Clock::by_hand(1_700_000_000_000)).await.unwrap(), _dir: Some(dir) }
}

pub(crate) async fn fresh_postgres() -> Fresh {
    let base = std::env::var("MATRIX_WHATSAPP_TEST_POSTGRES").expect(
        "store tests need a Postgres server: set MATRIX_WHATSAPP_TEST_POSTGRES to a superuser URL such as \
         postgres://postgres@127.0.0.1:5432/postgres, or run `cargo xtask test`, which starts one",
    );
    install_default_drivers();
    let name = format!("store_{}", crate::derive::hex(&rand::random::<[u8; 8]>()));
    let admin = AnyPoolOptions::new().max_connections(1).connect(&base).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await.unwrap();
    admin.close().await;
    let (front, _) = base.rsplit_once('/').unwrap();
    Fresh {
        store: Store::open(&format!("{front}/{name}"), Clock::by_hand(1_700_000_000_000)).await.unwrap(),
        _dir: None,
    }
}

/// Runs one body on both databases as two tests.
macro_rules! on_both {
    ($($name:ident => $body:ident;)*) => { $(
        mod $name {
            #[tokio::test]
            async fn sqlite() { super::$body($crate::store::tests::fresh_sqlite().await.store.clone()).await; }
            #[tokio::test]
            async fn postgres() { super::$body($crate::store::tests::fresh_postgres().await.store.clone()).await; }
        }
    )* };
}
#[allow(unused_imports, reason = "used by the test modules of the other store files")]
pub(crate) use on_both;

on_both! {
    an_arrival_is_put_once_for_good => put_once;
    rows_leave_a_lane_in_order => order;
    rows_of_a_kind_are_read_ahead => bodies;
    a_first_attempt_is_counted_as_the_row_is_taken => take_and_count;
    a_rolled_back_arrival_was_never_there => rollback;
    the_installation_key_stays => key_stays;
    a_missing_message_finds_its_place_kept => keep_place;
    bytes_of_strangers_survive => odd_bytes;
}

fn arrival(n: u8, lane: &str) -> Arrival {
    Arrival {
        dedup: format!("d{n}"),
        lane: Lane::new(lane),
        source: Source::Whatsapp,
        login: Some(LoginId::new("1")),
        portal: Some(PortalId::new(7)),
        kind: "test",
        body: vec![n],
        seq: None,
    }
}

async fn put(store: &Store, arrival: &Arrival) -> bool {
    let mut tx = store.begin("test").await.unwrap();
    let new = store.put_arrival(&mut tx, arrival).await.unwrap();
    tx.commit().await.unwrap();
    new
}

async fn put_once(store: Store) {
    assert!(put(&store, &arrival(1, "a")).await);
    assert!(!put(&store, &arrival(1, "a")).await);
    let row = store.take_rows(&Lane::new("a"), 10).await.unwrap().remove(0);
    store.settle_row(row.seq).await.unwrap();
    assert!(!put(&store, &arrival(1, "a")).await, "a second delivery after the settlement changes nothing");
    assert!(store.take_rows(&Lane::new("a"), 10).await.unwrap().is_empty());
    assert!(store.was_seen("d1").await.unwrap());
    assert!(!store.was_seen("d2").await.unwrap());
}

async fn bodies(store: Store) {
    for n in 1..=4 {
        let kind = if n % 2 == 0 { "redaction" } else { "event" };
        put(&store, &Arrival { kind, ..arrival(n, "a") }).await;
    }
    put(&store, &Arrival { kind: "redaction", ..arrival(9, "b") }).await;
    let found = async |limit| store.waiting_bodies(&Lane::new("a"), "redaction", limit).await.unwrap();
    assert_eq!(found(9).await, [[2], [4]]);
    assert_eq!(found(3).await, [[2]], "the limit counts all kinds");
    assert!(store.waiting_bodies(&Lane::new("a"), "other", 9).await.unwrap().is_empty());
}

async fn order(store: Store) {
    for n in 1..=3 {
        put(&store, &arrival(n, "a")).await;
    }
    put(&store, &arrival(9, "b")).await;
    let rows = store.take_rows(&Lane::new("a"), 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.body[0]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(rows[0].login, Some(LoginId::new("1")));
    assert_eq!(rows[0].portal, Some(PortalId::new(7)));
    store.count_attempt(rows[0].seq).await.unwrap();
    assert_eq!(store.take_rows(&Lane::new("a"), 1).await.unwrap()[0].attempts, 1);
    store.fail_row(&rows[0], "because").await.unwrap();
    assert_eq!(store.take_rows(&Lane::new("a"), 1).await.unwrap()[0].body, [2]);
    let counts = store.inbox_counts().await.unwrap();
    assert_eq!((counts.waiting, counts.failed, counts.oldest_at), (3, 1, 1_700_000_000_000));
    assert_eq!(store.retry_failed(&Lane::new("a")).await.unwrap(), 1);
    assert_eq!(store.take_rows(&Lane::new("a"), 1).await.unwrap()[0].body, [1], "a retried row keeps its place");
    let mut lanes = store.waiting_lanes().await.unwrap();
    lanes.sort();
    assert_eq!(lanes, [Lane::new("a"), Lane::new("b")]);
}

async fn take_and_count(store: Store) {
    let (lane, take) = (Lane::new("a"), async || store.take_and_count(&Lane::new("a")).await.unwrap());
    assert!(take().await.is_none());
    for n in [2, 1] {
        put(&store, &Arrival { seq: Some(i64::from(n)), ..arrival(n, "a") }).await;
    }
    put(&store, &arrival(9, "b")).await;
    let (row, more) = take().await.unwrap();
    assert_eq!((row.body.as_slice(), row.attempts, more), (&[1][..], 0, true));
    let counted = store.take_rows(&lane, 10).await.unwrap();
    assert_eq!(counted.iter().map(|row| row.attempts).collect::<Vec<_>>(), [1, 0], "counted, and that one only");
    assert!(take().await.is_none(), "tried before: its attempts decide, and nothing overtakes it");
    store.forgive_attempt(row.seq).await.unwrap();
    assert_eq!(take().await.unwrap().0.seq, row.seq);
    store.settle_row(row.seq).await.unwrap();
    let (row, more) = take().await.unwrap();
    assert_eq!((row.body.as_slice(), more), (&[2][..], false), "the other lane's rows are not waited for");
    store.fail_row(&row, "because").await.unwrap();
    assert!(take().await.is_none());
    let mut tx = store.begin("test").await.unwrap();
    store.put_missing(&mut tx, &arrival(3, "a")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(take().await.is_none(), "a place kept is waited for first");
    assert_eq!(store.take_rows(&lane, 10).await.unwrap()[0].attempts, 0);
}

async fn keep_place(store: Store) {
    let keep = async |n: u8, seq: i64| {
        let mut tx = store.begin("test").await.unwrap();
        let place = Arrival { seq: Some(seq), ..arrival(n, "a") };
        let kept = store.put_missing(&mut tx, &place).await.unwrap();
        tx.commit().await.unwrap();
        kept
    };
    put(&store, &Arrival { seq: Some(20), ..arrival(2, "a") }).await;
    assert!(keep(1, 10).await);
    assert!(!keep(1, 30).await, "it has a place");
    assert!(!keep(2, 40).await, "it is here");
    assert!(!store.was_seen("d1").await.unwrap());
    let kinds = async || {
        let rows = store.take_rows(&Lane::new("a"), 10).await.unwrap();
        rows.iter().map(|row| (row.seq, row.kind.clone())).collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, [(10, MISSING.to_owned()), (20, "test".to_owned())]);
    store.fail_row(&store.take_rows(&Lane::new("a"), 1).await.unwrap()[0], "it did not come").await.unwrap();
    assert!(put(&store, &Arrival { seq: Some(50), ..arrival(1, "a") }).await, "it came after all");
    assert_eq!(kinds().await, [(10, "test".to_owned()), (20, "test".to_owned())]);
    assert!(!put(&store, &arrival(1, "a")).await, "once");
    assert!(store.was_seen("d1").await.unwrap());
}

async fn rollback(store: Store) {
    let mut tx = store.begin("test").await.unwrap();
    store.put_arrival(&mut tx, &arrival(1, "a")).await.unwrap();
    drop(tx);
    assert!(put(&store, &arrival(1, "a")).await);
}

async fn key_stays(store: Store) {
    let before = store.find_meta("derive_key").await.unwrap().unwrap();
    assert_eq!(load_or_make_key(store.pool()).await.unwrap().as_slice(), before);
}

async fn odd_bytes(store: Store) {
    let mut odd = arrival(1, "a");
    odd.body = vec![0, 255, 0, 1];
    put(&store, &odd).await;
    assert_eq!(store.take_rows(&Lane::new("a"), 1).await.unwrap()[0].body, [0, 255, 0, 1]);
}
