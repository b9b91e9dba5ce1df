//! Tests of writes that are committed together; what Postgres has to keep as well runs on both.

use super::tests::on_both;
use super::*;
use sqlx::{AnyConnection, Connection as _};
use std::future::Future;
use tokio::task::JoinHandle;

on_both! {
    a_dropped_transaction_undoes_itself_only => undo_one;
    who_was_told_of_a_commit_is_seen_by_others => seen_by_others;
    a_transaction_cut_off_in_the_midst_blocks_nobody => cut_off;
    a_statement_that_fails_harms_nobody => harmless;
    after_the_end_nothing_is_written => closed;
}

const PUT: &str = "INSERT INTO meta (key, value) VALUES ($1, $2)";

fn put(key: &str) -> Write {
    sqlx::query(PUT).bind(key).bind(key.as_bytes())
}

async fn put_in(tx: &mut Tx, key: &str) {
    put(key).execute(tx.connection()).await.unwrap();
}

/// A connection that shares nothing with the store but the database.
async fn stranger(store: &Store) -> AnyConnection {
    AnyConnection::connect(store.pool().connect_options().database_url.as_str()).await.unwrap()
}

async fn keys(store: &Store) -> Vec<String> {
    let text = "SELECT key FROM meta WHERE key <> 'derive_key' ORDER BY key";
    let rows = sqlx::query(text).fetch_all(&mut stranger(store).await).await.unwrap();
    rows.iter().map(|row| row.try_get("key").unwrap()).collect()
}

/// Starts these one after another, so that each asks for its turn after the one before.
async fn ask_in_order<T: Send + 'static>(asking: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<JoinHandle<T>> {
    let mut tasks = Vec::new();
    for ask in asking {
        tasks.push(tokio::spawn(ask));
        tokio::task::yield_now().await;
    }
    tasks
}

/// A transaction that puts a key and is committed or dropped.
async fn transact(store: Store, key: &'static str, commit: bool) -> Result<()> {
    let mut tx = store.begin("test").await?;
    put_in(&mut tx, key).await;
    if commit { tx.commit().await } else { Ok(()) }
}

async fn undo_one(store: Store) {
    let before = store.groups();
    // On SQLite all wait for this one, and are one group with it; on Postgres they go on at once.
    let first = store.begin("test").await.unwrap();
    let asking = [("a", true), ("b", false), ("c", true), ("d", false), ("e", true)];
    let asking = asking.map(|(key, commit)| transact(store.clone(), key, commit)).into_iter().collect();
    let tasks = ask_in_order(asking).await;
    drop(first);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(keys(&store).await, ["a", "c", "e"]);
    if store.dialect() == Dialect::Sqlite {
        assert_eq!(store.groups() - before, 1, "they were to be one group, else this shows nothing");
    }
}

async fn seen_by_others(store: Store) {
    let before = store.groups();
    let writers = (0..20).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut other = stranger(&store).await;
            for number in 0..5 {
                let key = format!("{writer} {number}");
                if number % 2 == 0 {
                    store.write("test", put(&key)).await.unwrap();
                } else {
                    let mut tx = store.begin("test").await.unwrap();
                    put_in(&mut tx, &key).await;
                    tx.commit().await.unwrap();
                }
                let look = sqlx::query("SELECT key FROM meta WHERE key = $1").bind(key.as_str());
                assert!(look.fetch_optional(&mut other).await.unwrap().is_some(), "{key} was told and is not there");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(keys(&store).await.len(), 100);
    if store.dialect() == Dialect::Sqlite {
        assert!(store.groups() - before < 60, "hardly any were committed together: {}", store.groups() - before);
    }
}

async fn cut_off(store: Store) {
    for point in 0..4 {
        let (at, reached) = tokio::sync::oneshot::channel();
        let task = tokio::spawn({
            let store = store.clone();
            async move {
                let mut tx = store.begin("test").await.unwrap();
                for number in 0..point {
                    put_in(&mut tx, &format!("cut off {number}")).await;
                }
                at.send(()).unwrap();
                std::future::pending::<()>().await;
                tx.commit().await.unwrap();
            }
        });
        reached.await.unwrap();
        let behind = ask_in_order(vec![transact(store.clone(), ["a", "b", "c", "d"][point], true)]).await;
        task.abort();
        for task in behind {
            let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
            ended.expect("it waits for ever").unwrap().unwrap();
        }
    }
    assert_eq!(keys(&store).await, ["a", "b", "c", "d"]);
}

async fn harmless(store: Store) {
    let first = store.begin("test").await.unwrap();
    let write = |key: &'static str| {
        let store = store.clone();
        async move { store.write("test", put(key)).await.map(drop) }
    };
    // The second of a key is refused.
    let tasks = ask_in_order(["a", "b", "a", "c"].map(write).into_iter().collect()).await;
    drop(first);
    let mut worked = Vec::new();
    for task in tasks {
        worked.push(task.await.unwrap().is_ok());
    }
    assert_eq!(worked.iter().filter(|worked| **worked).count(), 3);
    assert!(!worked[2] || store.dialect() == Dialect::Postgres);
    assert_eq!(keys(&store).await, ["a", "b", "c"]);
}

async fn closed(store: Store) {
    let mut tx = store.begin("test").await.unwrap();
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    tokio::task::yield_now().await;
    put_in(&mut tx, "in hand").await;
    tx.commit().await.unwrap();
    closing.await.unwrap();
    assert!(store.write("test", put("late")).await.is_err());
    assert!(store.begin("test").await.is_err());
    assert_eq!(keys(&store).await, ["in hand"]);
}

async fn sqlite() -> tests::Fresh {
    tests::fresh_sqlite().await
}

#[tokio::test]
async fn a_commit_that_fails_fails_all_of_its_group() {
    let fresh = sqlite().await;
    let store = fresh.store.clone();
    // Looked at when the transaction ends, not before.
    let tables = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)";
    sqlx::raw_sql(tables).execute(store.pool()).await.unwrap();
    let orphan = "INSERT INTO child (parent) VALUES (7)";
    for by_transaction in [false, true] {
        let first = store.begin("test").await.unwrap();
        let mut tasks = ask_in_order(vec![transact(store.clone(), "a", true)]).await;
        let statement = {
            let store = store.clone();
            async move { store.write("test", put("b")).await.map(drop) }
        };
        tasks.extend(ask_in_order(vec![statement]).await);
        let culprit = {
            let store = store.clone();
            async move {
                if !by_transaction {
                    return store.write("test", sqlx::query(orphan)).await.map(drop);
                }
                let mut tx = store.begin("test").await?;
                sqlx::query(orphan).execute(tx.connection()).await.unwrap();
                tx.commit().await
            }
        };
        tasks.extend(ask_in_order(vec![culprit]).await);
        tasks.extend(ask_in_order(vec![transact(store.clone(), "c", true)]).await);
        drop(first);
        for task in tasks {
            let error = task.await.unwrap().unwrap_err();
            assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
        }
        assert_eq!(keys(&store).await, [""; 0], "nothing of them happened");
    }
    transact(store.clone(), "after", true).await.unwrap();
    assert_eq!(keys(&store).await, ["after"]);
}

#[tokio::test]
async fn turns_are_given_in_the_order_of_asking() {
    let fresh = sqlite().await;
    let store = fresh.store.clone();
    sqlx::raw_sql("CREATE TABLE turns (at INTEGER PRIMARY KEY, who BIGINT)").execute(store.pool()).await.unwrap();
    let first = store.begin("test").await.unwrap();
    let ask = |who: i64| {
        let store = store.clone();
        async move {
            let note = sqlx::query("INSERT INTO turns (who) VALUES ($1)").bind(who);
            if who % 3 == 0 {
                store.write("test", note).await.unwrap();
            } else {
                let mut tx = store.begin("test").await.unwrap();
                note.execute(tx.connection()).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
    };
    let tasks = ask_in_order((0..300).map(ask).collect()).await;
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    let rows = sqlx::query("SELECT who FROM turns ORDER BY at").fetch_all(store.pool()).await.unwrap();
    let order: Vec<i64> = rows.iter().map(|row| row.try_get("who").unwrap()).collect();
    assert_eq!(order, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_gave_up_before_the_turn_came_has_done_nothing() {
    let fresh = sqlite().await;
    let store = fresh.store.clone();
    let first = store.begin("test").await.unwrap();
    let write = {
        let store = store.clone();
        async move { store.write("test", put("given up")).await.map(drop) }
    };
    let mut tasks = ask_in_order(vec![write]).await;
    tasks.extend(ask_in_order(vec![transact(store.clone(), "given up too", true)]).await);
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    drop(first);
    transact(store.clone(), "after", true).await.unwrap();
    assert_eq!(keys(&store).await, ["after"]);
}

#[tokio::test]
async fn while_another_process_holds_the_lock_all_are_refused_and_afterwards_it_works() {
    let fresh = sqlite().await;
    let store = fresh.store.clone();
    store.write("test", sqlx::query("PRAGMA busy_timeout = 300")).await.unwrap();
    let mut other = stranger(&store).await;
    for round in 0..2 {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let asking = ["a", "b", "c"].map(|key| transact(store.clone(), key, true)).into_iter().collect();
        for task in ask_in_order(asking).await {
            let error = task.await.unwrap().unwrap_err();
            assert!(error.to_string().contains("locked"), "{error}");
        }
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        store.write("test", put(&round.to_string())).await.unwrap();
    }
    assert_eq!(keys(&store).await, ["0", "1"]);
}

#[tokio::test]
async fn the_log_does_not_grow_without_end() {
    let fresh = sqlite().await;
    let store = fresh.store.clone();
    let value = vec![7; 20_000];
    for number in 0..3000 {
        let write = sqlx::query(PUT).bind(number.to_string()).bind(value.as_slice());
        store.write("test", write).await.unwrap();
    }
    let url = store.pool().connect_options().database_url.clone();
    let log = std::fs::metadata(format!("{}-wal", url.path())).unwrap().len();
    assert!(log < 40_000_000, "of 60 MB written the log holds {log}");
    // No length is told while somebody else moves it.
    writer::move_log(&mut stranger(&store).await).await.expect("its length can not be read");
    assert_eq!(keys(&store).await.len(), 3000);
}
