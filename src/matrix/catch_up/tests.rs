//! Catch-ups against a scripted homeserver, on both databases.

use super::*;
use crate::matrix::homeserver_double::{Double, fine, settings};
use crate::matrix::{Matrix, incoming};
use crate::store::tests::on_both;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wiremock::ResponseTemplate;
use wiremock::matchers::{query_param, query_param_is_missing};

on_both! {
    a_first_start_takes_the_place_and_invitations => first_start;
    an_invitation_that_waits_is_not_put_again => invite_twice;
    lost_events_come_in_the_rooms_order_before_newer_ones => order;
    a_row_in_work_stays_and_settled_events_do_not_come_again => in_work;
    a_gap_in_the_answer_is_filled_page_by_page => gap;
    a_catch_up_cut_short_keeps_its_place => cut_short;
    a_refused_place_is_forgotten_and_the_present_taken => refused_place;
}

const ALICE: &str = "@alice:test.local";
const BOB: &str = "@bob:test.local";
const ROOM: &str = "!r:test.local";
const BOT: &str = "@whatsappbot:test.local";

fn intake(double: &Double, store: &Store) -> Intake {
    Intake::new(Matrix::new(settings(&double.server.uri()), store.clone()).unwrap())
}

/// A message as `/sync` tells it: without its room.
fn told(id: &str, sender: &str) -> Value {
    json!({ "event_id": id, "sender": sender, "type": "m.room.message", "content": { "body": id } })
}

fn answer(next: &str, timeline: Value) -> Value {
    json!({ "next_batch": next, "rooms": { "join": { ROOM: { "timeline": timeline } } } })
}

async fn on_sync(double: &Double, since: &str, answer: ResponseTemplate) {
    let mock = double.on("GET", "v3/sync").and(query_param("user_id", BOT)).and(query_param("since", since));
    mock.respond_with(answer).expect(1).mount(&double.server).await;
}

async fn place_at(store: &Store, token: &str) {
    let mut tx = store.begin("test").await.unwrap();
    store.put_sync_place(&mut tx, token).await.unwrap();
    tx.commit().await.unwrap();
}

/// What a transaction brings.
async fn by_transaction(intake: &Intake, number: u32, ids: &[(&str, &str)]) {
    let events: Vec<Value> = ids
        .iter()
        .map(|(id, sender)| {
            let mut event = told(id, sender);
            event["room_id"] = ROOM.into();
            event
        })
        .collect();
    let body = json!({ "events": events }).to_string();
    let transaction = intake.read_transaction(body.as_bytes()).map_err(|_| "bad body").unwrap();
    intake.store_transaction(&number.to_string(), transaction).await.unwrap();
}

async fn lane(store: &Store, sender: &str) -> Vec<String> {
    let rows = store.take_rows(&Lane::from_person(ROOM, sender), 1000).await.unwrap();
    let ids = rows.iter().map(|row| serde_json::from_slice::<Value>(&row.body).unwrap());
    ids.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

async fn first_start(store: Store) {
    let double = Double::start().await;
    let invited = json!({ "next_batch": "s1", "rooms": { "invite": { "!new:test.local": { "invite_state": { "events": [
        { "type": "m.room.member", "state_key": BOT, "sender": ALICE, "content": { "membership": "invite" } },
    ] } } } } });
    let mock = double.on("GET", "v3/sync").and(query_param_is_missing("since")).and(query_param("timeout", "0"));
    mock.respond_with(fine(invited)).expect(1).mount(&double.server).await;
    on_sync(&double, "s1", fine(json!({ "next_batch": "s2" }))).await;
    let intake = intake(&double, &store);
    intake.catch_up().await.unwrap();
    let rows = store.take_rows(&Lane::from_person("!new:test.local", ALICE), 9).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].kind, incoming::EVENT);
    assert_eq!(store.find_sync_place().await.unwrap().unwrap().token, "s1");
    intake.catch_up().await.unwrap();
    assert_eq!(store.find_sync_place().await.unwrap().unwrap().token, "s2");
    let sync = double.server.received_requests().await.unwrap();
    let asked: Vec<String> = sync.iter().map(|request| request.url.query().unwrap().to_owned()).collect();
    assert!(
        asked.iter().all(|query| query.contains("set_presence=offline") && !query.contains("device_id")),
        "{asked:?}"
    );
}

async fn refused_place(store: Store) {
    let double = Double::start().await;
    let intake = intake(&double, &store);
    place_at(&store, "s1").await;
    let refused =
        ResponseTemplate::new(400).set_body_json(json!({ "errcode": "M_UNKNOWN", "error": "Invalid stream token" }));
    on_sync(&double, "s1", refused).await;
    let present = double.on("GET", "v3/sync").and(query_param_is_missing("since")).and(query_param("timeout", "0"));
    present.respond_with(fine(json!({ "next_batch": "n1" }))).expect(1).mount(&double.server).await;
    assert!(intake.catch_up().await.is_err());
    assert!(store.find_sync_place().await.unwrap().is_none());
    intake.catch_up().await.unwrap();
    assert_eq!(store.find_sync_place().await.unwrap().unwrap().token, "n1");
}

async fn invite_twice(store: Store) {
    let double = Double::start().await;
    let intake = intake(&double, &store);
    place_at(&store, "s1").await;
    let member =
        json!({ "type": "m.room.member", "state_key": BOT, "sender": ALICE, "content": { "membership": "invite" } });
    let mut event = member.clone();
    event["event_id"] = "$real".into();
    event["room_id"] = ROOM.into();
    let transaction = intake.read_transaction(json!({ "events": [event] }).to_string().as_bytes());
    intake.store_transaction("1", transaction.map_err(|_| "bad body").unwrap()).await.unwrap();
    for (since, next) in [("s1", "s2"), ("s2", "s3")] {
        let body =
            json!({ "next_batch": next, "rooms": { "invite": { ROOM: { "invite_state": { "events": [member] } } } } });
        on_sync(&double, since, fine(body)).await;
    }
    intake.catch_up().await.unwrap();
    assert_eq!(lane(&store, ALICE).await, ["$real"]);
    // Settled, left, and invited again while no transaction came: that is a new one.
    let row = store.take_rows(&Lane::from_person(ROOM, ALICE), 1).await.unwrap().remove(0);
    store.settle_row(row.seq).await.unwrap();
    intake.catch_up().await.unwrap();
    assert_eq!(lane(&store, ALICE).await.len(), 1);
}

async fn order(store: Store) {
    let double = Double::start().await;
    let intake = intake(&double, &store);
    // Waits since before the last place; and another person's, who lost nothing.
    by_transaction(&intake, 1, &[("$a0", ALICE), ("$b0", BOB)]).await;
    place_at(&store, "s1").await;
    // The homeserver stopped: $a1, $b1 and $a2 were lost. Newer ones come by transaction; the last of them is
    // newer than what /sync will tell.
    by_transaction(&intake, 5, &[("$a3", ALICE), ("$a5", ALICE), ("$b2", BOB)]).await;
    by_transaction(&intake, 6, &[("$a4", ALICE)]).await;
    by_transaction(&intake, 7, &[("$a6", ALICE)]).await;
    let events: Vec<Value> = [
        ("$a1", ALICE),
        ("$b1", BOB),
        ("$a2", ALICE),
        ("$e", "@whatsapp_1:test.local"),
        ("$a3", ALICE),
        ("$a4", ALICE),
        ("$b2", BOB),
        ("$a5", ALICE),
    ]
    .map(|(id, sender)| told(id, sender))
    .into();
    on_sync(&double, "s1", fine(answer("s2", json!({ "events": events })))).await;
    on_sync(&double, "s2", fine(answer("s3", json!({ "events": [told("$a6", ALICE), told("$a7", ALICE)] })))).await;
    intake.catch_up().await.unwrap();
    assert_eq!(lane(&store, ALICE).await, ["$a0", "$a1", "$a2", "$a3", "$a4", "$a5", "$a6"]);
    assert_eq!(lane(&store, BOB).await, ["$b0", "$b1", "$b2"]);
    // The next one finds everything in order, and the transaction that comes late brings nothing new.
    intake.catch_up().await.unwrap();
    by_transaction(&intake, 2, &[("$a1", ALICE), ("$a2", ALICE)]).await;
    assert_eq!(lane(&store, ALICE).await, ["$a0", "$a1", "$a2", "$a3", "$a4", "$a5", "$a6", "$a7"]);
    let woken = store.bell().listen().await;
    assert!(woken.contains(&Lane::from_person(ROOM, ALICE)));
}

async fn in_work(store: Store) {
    let double = Double::start().await;
    let intake = intake(&double, &store);
    place_at(&store, "s1").await;
    by_transaction(&intake, 1, &[("$a1", ALICE), ("$a3", ALICE), ("$a4", ALICE)]).await;
    let rows = store.take_rows(&Lane::from_person(ROOM, ALICE), 9).await.unwrap();
    store.settle_row(rows[0].seq).await.unwrap();
    store.count_attempt(rows[1].seq).await.unwrap();
    let events = ["$a1", "$a2", "$a3", "$a4"].map(|id| told(id, ALICE));
    on_sync(&double, "s1", fine(answer("s2", json!({ "events": events })))).await;
    intake.catch_up().await.unwrap();
    // $a3 is on its way already; what was lost before it goes as soon as it can, and before what is untouched.
    assert_eq!(lane(&store, ALICE).await, ["$a3", "$a2", "$a4"]);
    assert_eq!(store.take_rows(&Lane::from_person(ROOM, ALICE), 1).await.unwrap()[0].seq, rows[1].seq);
}

async fn gap(store: Store) {
    let double = Double::start().await;
    let intake = intake(&double, &store);
    place_at(&store, "s1").await;
    by_transaction(&intake, 1, &[("$a5", ALICE)]).await;
    let timeline = json!({ "limited": true, "prev_batch": "p", "events": [told("$a5", ALICE)] });
    on_sync(&double, "s1", fine(answer("s2", timeline))).await;
    let messages = || double.on("GET", "v3/rooms/!r:test.local/messages").and(query_param("to", "s1"));
    let page = |end: Option<&str>, ids: &[&str]| {
        let chunk: Vec<Value> = ids.iter().map(|id| told(id, ALICE)).collect();
        fine(json!({ "start": "x", "end": end, "chunk": chunk }))
    };
    for (from, answer) in
        [("p", page(Some("q"), &["$a4", "$a3"])), ("q", page(Some("r"), &["$a2", "$a1"])), ("r", page(None, &[]))]
    {
        messages().and(query_param("from", from)).respond_with(answer).expect(1).mount(&double.server).await;
    }
    intake.catch_up().await.unwrap();
    assert_eq!(lane(&store, ALICE).await, ["$a1", "$a2", "$a3", "$a4", "$a5"]);
}

async fn cut_short(store: Store) {
    let double = Double::start().await;
    let intake = intake(&double, &store);
    place_at(&store, "s1").await;
    let timeline = json!({ "limited": true, "prev_batch": "p", "events": [told("$a2", ALICE)] });
    let both = double.on("GET", "v3/sync").and(query_param("since", "s1"));
    both.respond_with(fine(answer("s2", timeline))).expect(2).mount(&double.server).await;
    let messages = double.on("GET", "v3/rooms/!r:test.local/messages");
    messages.respond_with(ResponseTemplate::new(502)).up_to_n_times(1).expect(1).mount(&double.server).await;
    assert!(matches!(intake.catch_up().await, Err(CatchUpError::Matrix(MatrixError::Unreachable { .. }))));
    assert_eq!(store.find_sync_place().await.unwrap().unwrap().token, "s1");
    assert!(lane(&store, ALICE).await.is_empty(), "nothing newer than the gap is stored before it");
    let page = fine(json!({ "start": "p", "chunk": [told("$a1", ALICE)] }));
    let messages = double.on("GET", "v3/rooms/!r:test.local/messages");
    messages.respond_with(page).expect(1).mount(&double.server).await;
    intake.catch_up().await.unwrap();
    assert_eq!(lane(&store, ALICE).await, ["$a1", "$a2"]);
    assert_eq!(store.find_sync_place().await.unwrap().unwrap().token, "s2");
}

/// Waits until `holding` says `want`, for at most 20 s.
async fn until(holding: &mut tokio::sync::watch::Receiver<bool>, want: bool, what: &str) {
    let wait = holding.wait_for(|held| *held == want);
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("waited for {what}")).unwrap();
}

/// A homeserver for the standing watch: it answers everything; the watcher's poll stays open until the server stops.
async fn standing(store: &Store, place: &str) -> Double {
    let double = Double::start().await;
    double
        .on("GET", "v3/devices/WABRIDGE")
        .respond_with(fine(json!({ "device_id": "WABRIDGE" })))
        .mount(&double.server)
        .await;
    double.on("POST", "v3/register").respond_with(fine(json!({ "user_id": BOT }))).mount(&double.server).await;
    double.on("PUT", "v3/devices/WABRIDGE").respond_with(fine(json!({}))).mount(&double.server).await;
    let watcher = intake(&double, store).matrix().ghost_id("bridge_watch");
    let poll = || double.on("GET", "v3/sync").and(query_param("user_id", watcher.as_str()));
    let open = fine(json!({ "next_batch": "w" })).set_delay(Duration::from_secs(3600));
    poll().and(query_param("since", "w")).respond_with(open).mount(&double.server).await;
    poll()
        .and(query_param_is_missing("since"))
        .respond_with(fine(json!({ "next_batch": "w" })))
        .mount(&double.server)
        .await;
    let caught_up = double.on("GET", "v3/sync").and(query_param("user_id", BOT)).and(query_param("since", place));
    caught_up
        .respond_with(fine(answer("s9", json!({ "events": [told("$lost", ALICE)] }))))
        .up_to_n_times(1)
        .mount(&double.server)
        .await;
    double
        .on("GET", "v3/sync")
        .and(query_param("user_id", BOT))
        .respond_with(fine(json!({ "next_batch": "s9" })))
        .mount(&double.server)
        .await;
    double
}

#[tokio::test]
async fn the_lanes_are_held_from_a_break_until_one_catch_up_is_stored() {
    let fresh = crate::store::tests::fresh_sqlite().await;
    let store = fresh.store.clone();
    place_at(&store, "s1").await;
    // A door in front of the homeserver, so that the connections can be cut while its script stays.
    let double = standing(&store, "s1").await;
    let door = Door::open(double.server.address().to_string()).await;
    let intake = Intake::new(Matrix::new(settings(&format!("http://{}", door.address)), store.clone()).unwrap());
    let mut holding = intake.holding();
    assert!(*holding.borrow(), "held from the start");
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (intake, stop) = (intake.clone(), stop.clone());
        async move { intake.run(stop).await }
    });
    until(&mut holding, false, "the first catch-up").await;
    assert_eq!(lane(&store, ALICE).await, ["$lost"], "stored before the lanes are let go");
    door.cut();
    until(&mut holding, true, "the break to be seen").await;
    door.let_through();
    until(&mut holding, false, "the catch-up after the break").await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("waited for the watch to stop").unwrap();
}

/// A TCP door that can be shut: connections through it are cut, new ones refused.
struct Door {
    address: std::net::SocketAddr,
    shut: tokio::sync::watch::Sender<bool>,
}

impl Door {
    async fn open(to: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shut = tokio::sync::watch::Sender::new(false);
        let watched = shut.subscribe();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut watched, to) = (watched.clone(), to.clone());
                if *watched.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = tokio::net::TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = watched.wait_for(|shut| *shut) => {}
                    }
                });
            }
        });
        Self { address, shut }
    }

    fn cut(&self) {
        self.shut.send_replace(true);
    }

    fn let_through(&self) {
        self.shut.send_replace(false);
    }
}

#[tokio::test]
async fn a_catch_up_that_began_before_a_break_does_not_let_the_lanes_go() {
    let (matrix, _store) = crate::matrix::homeserver_double::matrix_at("http://127.0.0.1:9").await;
    let intake = Intake::new(matrix);
    let holding = intake.holding();
    intake.release(intake.epoch());
    assert!(*holding.borrow(), "no watch stands yet");
    let early = intake.epoch();
    intake.watch_is_up();
    intake.release(early);
    assert!(*holding.borrow(), "it was asked before the watch stood");
    let before = intake.epoch();
    intake.watch_broke();
    intake.watch_is_up();
    intake.release(before);
    assert!(*holding.borrow(), "the watch broke in the middle");
    intake.release(intake.epoch());
    assert!(!*holding.borrow());
}
