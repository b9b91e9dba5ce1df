//! The endpoints over a real listener, on both databases where the store matters.

use super::*;
use crate::ids::Lane;
use crate::matrix::homeserver_double::{matrix_at, settings};
use crate::store::Store;
use crate::store::tests::on_both;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_both! {
    an_event_crosses_once_however_often_its_transaction_comes => repeated;
    the_same_number_with_other_events_is_no_repeat => counts_again;
    a_legitimate_ten_megabytes_are_taken => ten_megabytes;
    one_bad_event_is_kept_as_failed_and_the_rest_crosses => one_bad_event;
    null_bytes_cross_and_odd_ids_do_no_harm => null_bytes;
    echoes_and_other_ephemeral_events_are_dropped => echoes;
    without_a_database_the_homeserver_keeps_the_transaction => no_database;
}

/// The running endpoints.
struct Served {
    base: String,
    http: reqwest::Client,
    store: Store,
}

async fn serve(store: Store) -> Served {
    let matrix = Matrix::new(settings("http://127.0.0.1:9"), store.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, appservice_router(Intake::new(matrix))).await });
    Served { base, http: reqwest::Client::builder().no_proxy().build().unwrap(), store }
}

async fn serve_alone() -> Served {
    let (matrix, store) = matrix_at("http://127.0.0.1:9").await;
    drop(matrix);
    serve(store).await
}

impl Served {
    async fn put(&self, txn: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.put(format!("{}/_matrix/app/v1/transactions/{txn}", self.base));
        let answer = request.bearer_auth("hs-secret").body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn put_events(&self, txn: &str, events: &[Value]) -> (u16, Value) {
        self.put(txn, json!({ "events": events }).to_string()).await
    }

    async fn waiting(&self, sender: &str) -> Vec<Value> {
        let lane = Lane::from_person("!r:test.local", sender);
        let rows = self.store.take_rows(&lane, 1000).await.unwrap();
        rows.iter().map(|row| serde_json::from_slice(&row.body).unwrap()).collect()
    }
}

const ALICE: &str = "@alice:test.local";

fn says(id: &str, text: &str) -> Value {
    json!({ "event_id": id, "room_id": "!r:test.local", "sender": ALICE, "type": "m.room.message",
            "origin_server_ts": 1, "content": { "msgtype": "m.text", "body": text } })
}

async fn repeated(store: Store) {
    let served = serve(store).await;
    let first = says("$1", "one");
    assert_eq!(served.put_events("1", std::slice::from_ref(&first)).await, (200, json!({})));
    let mut older = first.clone();
    older["unsigned"] = json!({ "age": 99 });
    assert_eq!(served.put_events("1", std::slice::from_ref(&older)).await, (200, json!({})));
    assert_eq!(served.put_events("2", &[older, says("$2", "two")]).await.0, 200);
    assert_eq!(served.waiting(ALICE).await, [first, says("$2", "two")]);
    assert!(!served.store.bell().listen().await.is_empty());
}

async fn counts_again(store: Store) {
    let served = serve(store).await;
    let mut tx = served.store.begin("test").await.unwrap();
    served.store.put_sync_place(&mut tx, "s1").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(served.put_events("1", &[says("$1", "one")]).await.0, 200);
    assert!(served.store.find_sync_place().await.unwrap().is_some());
    assert_eq!(served.put_events("1", &[says("$2", "two")]).await.0, 200);
    assert_eq!(served.waiting(ALICE).await.len(), 2);
    let place = served.store.find_sync_place().await.unwrap();
    assert!(place.is_some(), "a restarted Synapse on SQLite counts from one again, and its /sync goes on");
}

async fn ten_megabytes(store: Store) {
    let served = serve(store).await;
    let long = "a".repeat(60_000);
    let events: Vec<Value> = (0..100).map(|n| says(&format!("${n}"), &long)).collect();
    let to_device: Vec<Value> = (0..100).map(|_| json!({ "content": long })).collect();
    let body = json!({ "events": events, "de.sorunome.msc2409.to_device": to_device }).to_string();
    assert!(body.len() > 10_000_000);
    assert_eq!(served.put("1", body).await.0, 200);
    let got = served.waiting(ALICE).await;
    assert_eq!(got.len(), 100);
    assert_eq!(got, events, "in order and whole");
}

async fn one_bad_event(store: Store) {
    let served = serve(store).await;
    let deep = format!("{{\"event_id\":\"$deep\",\"sender\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let body = format!(
        r#"{{"events":[{},{deep},null,{{"event_id":"$lone","sender":"\ud800"}},{}]}}"#,
        says("$1", "one"),
        says("$2", "two")
    );
    for _ in 0..2 {
        assert_eq!(served.put("1", body.clone()).await.0, 200);
    }
    assert_eq!(served.waiting(ALICE).await, [says("$1", "one"), says("$2", "two")]);
    let counts = served.store.inbox_counts().await.unwrap();
    assert_eq!((counts.waiting, counts.failed), (2, 3));
}

async fn null_bytes(store: Store) {
    let served = serve(store).await;
    let mut odd_room = says("$2", "x");
    odd_room["room_id"] = "!\0".into();
    let mut odd_sender = says("$3", "x");
    odd_sender["sender"] = "@a\0:x".into();
    let mut long_room = says("$4", "x");
    long_room["room_id"] = format!("!{}", "a".repeat(9000)).into();
    let events = [says("$1\0", "nul \0 inside"), odd_room, odd_sender, long_room];
    assert_eq!(served.put_events("a%00b", &events).await.0, 200);
    assert_eq!(served.put_events(&"9".repeat(5000), &[says("$5", "five")]).await.0, 200);
    assert_eq!(served.waiting(ALICE).await, [says("$1\0", "nul \0 inside"), says("$5", "five")]);
    assert_eq!(served.store.inbox_counts().await.unwrap().failed, 3);
}

async fn echoes(store: Store) {
    let served = serve(store).await;
    let mut ghost = says("$1", "echo");
    ghost["sender"] = "@whatsapp_1:test.local".into();
    let mut bot = says("$2", "echo");
    bot["sender"] = "@whatsappbot:test.local".into();
    let receipt = json!({ "type": "m.receipt", "room_id": "!r:test.local",
                          "content": { "$9": { "m.read": { ALICE: { "ts": 5 }, "@whatsapp_1:test.local": {} } } } });
    let typing = json!({ "type": "m.typing", "room_id": "!r:test.local", "content": { "user_ids": [ALICE] } });
    let body = json!({ "events": [ghost, bot], "ephemeral": [receipt, typing, 7],
                       "de.sorunome.msc2409.to_device": [{ "type": "m.room_key" }] });
    assert_eq!(served.put("1", body.to_string()).await.0, 200);
    assert_eq!(served.store.inbox_counts().await.unwrap().waiting, 1);
    let marks = served.store.take_rows(&Lane::read_marks("!r:test.local", ALICE), 9).await.unwrap();
    let mark: Value = serde_json::from_slice(&marks[0].body).unwrap();
    assert_eq!(mark, json!({ "room_id": "!r:test.local", "user_id": ALICE, "event_id": "$9", "ts": 5 }));
}

async fn no_database(store: Store) {
    let served = serve(store).await;
    served.store.close().await;
    let (status, body) = served.put_events("1", &[says("$1", "one")]).await;
    assert_eq!((status, body["errcode"].as_str()), (503, Some("M_UNKNOWN")));
}

#[tokio::test]
async fn only_the_homeserver_gets_in() {
    let served = serve_alone().await;
    let at = format!("{}/_matrix/app/v1/transactions/1", served.base);
    let body = json!({ "events": [says("$1", "one")] }).to_string();
    let ask = |request: reqwest::RequestBuilder| async {
        let answer = request.body(body.clone()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap()["errcode"].as_str().unwrap_or_default().to_owned())
    };
    let missing = (401, "M_MISSING_TOKEN".to_owned());
    let wrong = (403, "M_FORBIDDEN".to_owned());
    assert_eq!(ask(served.http.put(&at)).await, missing);
    assert_eq!(ask(served.http.put(format!("{at}?access_token=hs-secret"))).await, missing);
    assert_eq!(ask(served.http.put(&at).header("authorization", "Basic hs-secret")).await, missing);
    for token in ["hs-secre", "hs-secret2", "as-secret"] {
        assert_eq!(ask(served.http.put(&at).bearer_auth(token)).await, wrong, "{token}");
    }
    assert_eq!(ask(served.http.get(format!("{}/_matrix/app/v1/users/x", served.base))).await, missing);
    assert_eq!(served.store.inbox_counts().await.unwrap().waiting, 0);
    assert_eq!(ask(served.http.put(&at).bearer_auth("hs-secret")).await, (200, String::new()));
}

#[tokio::test]
async fn what_is_no_transaction_is_refused_plainly() {
    let served = serve_alone().await;
    for (body, status, errcode) in [
        ("", 400, "M_NOT_JSON"),
        ("<html>", 400, "M_NOT_JSON"),
        ("{\"events\":[", 400, "M_NOT_JSON"),
        ("{\"events\":7}", 400, "M_BAD_JSON"),
        ("7", 400, "M_BAD_JSON"),
    ] {
        let (got, answer) = served.put("1", body).await;
        assert_eq!((got, answer["errcode"].as_str()), (status, Some(errcode)), "{body}");
    }
    assert_eq!(served.put("1", "{}").await.0, 200);
    for (verb, at) in [("GET", "/_matrix/app/v1/thirdparty/protocol/x"), ("PUT", "/transactions/1")] {
        let request = served.http.request(verb.parse().unwrap(), format!("{}{at}", served.base));
        let answer = request.bearer_auth("hs-secret").send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.json::<Value>().await.unwrap()["errcode"], "M_UNRECOGNIZED");
    }
    let ping = served.http.post(format!("{}/_matrix/app/v1/ping", served.base)).bearer_auth("hs-secret");
    assert_eq!(ping.body("{\"transaction_id\":\"x\"}").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn more_than_64_mib_are_refused_by_their_announcement_and_by_their_length() {
    let served = serve_alone().await;
    let mut plain = tokio::net::TcpStream::connect(served.base.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "PUT /_matrix/app/v1/transactions/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hs-secret\r\n\
         Content-Length: {}\r\n\r\n",
        LARGEST_BODY + 1
    );
    plain.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(10), plain.read_exact(&mut answer));
    read.await.expect("an answer to the announcement within 10 s").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    let mut plain = tokio::net::TcpStream::connect(served.base.trim_start_matches("http://")).await.unwrap();
    let head = "PUT /_matrix/app/v1/transactions/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hs-secret\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    plain.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    for _ in 0..65 {
        // The answer may come, and the connection close, before the last chunk is written.
        if plain.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let read = tokio::time::timeout(Duration::from_secs(30), plain.read_exact(&mut answer));
    read.await.expect("an answer to the long body within 30 s").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn strangers_and_unknown_rooms_are_not_there() {
    let served = serve_alone().await;
    for at in ["users/@alice:test.local", "users/@whatsapp_1:test.local", "users/%00", "rooms/%23whatsapp_x:test.local"]
    {
        let request = served.http.get(format!("{}/_matrix/app/v1/{at}", served.base));
        let answer = request.bearer_auth("hs-secret").send().await.unwrap();
        assert_eq!(answer.status(), 404, "{at}");
        assert_eq!(answer.json::<Value>().await.unwrap()["errcode"], "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_jump_of_the_numbers_calls_for_a_catch_up_but_not_at_every_step() {
    let (matrix, store) = matrix_at("http://127.0.0.1:9").await;
    let intake = Intake::new(matrix);
    let nudged = || async { tokio::time::timeout(Duration::from_millis(1), intake.nudged()).await.is_ok() };
    for (number, jump) in
        [("5", false), ("6", false), ("6", false), ("8", true), ("10", false), ("1", true), ("2", false), ("x", false)]
    {
        intake.note_number(number);
        assert_eq!(nudged().await, jump, "{number}");
    }
    store.clock().advance(HINT_EVERY_MS);
    intake.note_number("4");
    assert!(nudged().await);
}

#[tokio::test]
async fn a_jump_long_after_a_late_transaction_still_holds_the_lanes() {
    let (matrix, store) = matrix_at("http://127.0.0.1:9").await;
    let intake = Intake::new(matrix);
    let caught_up = || {
        intake.watch_is_up();
        intake.release(intake.epoch());
        assert!(!*intake.holding().borrow());
    };
    for (later, holds) in [(0, true), (10_000, true), (RECOVERING_MS, false)] {
        caught_up();
        intake.doubt_order("5", LATE_MS);
        intake.note_number("5");
        store.clock().advance(later);
        intake.doubt_order("6", 20);
        assert!(!*intake.holding().borrow(), "no jump, {later} ms later");
        intake.doubt_order("7", 20);
        assert_eq!(*intake.holding().borrow(), holds, "a jump, {later} ms later");
    }
}
