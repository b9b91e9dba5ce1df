//! The bed itself: a homeserver of each kind, a person, a picture.

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use matrix_bed::baileys::Baileys;
use matrix_bed::database::{Database, Db};
use matrix_bed::phones::Phones;
use matrix_bed::synapse::{Loaded, Synapse};
use matrix_bed::wait;
use serde_json::json;
use whatsapp_sim::{Kind, Media};

async fn people_talk(db: Db) -> Result<()> {
    let synapse = Synapse::start(0, db, Loaded::Bridges).await?;
    let alice = synapse.create_user("alice").await?;
    let bob = synapse.create_user("bob").await?;
    let room = alice.create_dm(bob.id()).await?;
    alice.wait_member(&room, bob.id(), "join").await?;
    let hello = alice.send_text(&room, "hello").await?;
    let heard = bob.wait_text(&room, "hello").await?;
    ensure!(heard.id == hello);
    bob.read_up_to(&room, &hello).await?;
    alice.wait_receipt("bob read it", wait::STEP, |r| r.event == hello && r.user == bob.id()).await?;

    // Killed and started again on the same data, it still knows everything, and clients go on by themselves.
    synapse.kill().await?;
    synapse.start_again().await?;
    bob.send_text(&room, "still here").await?;
    alice.wait_text(&room, "still here").await?;
    let texts: Vec<String> =
        alice.history(&room).await?.iter().map(|e| e.body().to_owned()).filter(|b| !b.is_empty()).collect();
    ensure!(texts == ["hello", "still here"], "{texts:?}");

    let mxc = alice.client().upload(b"bytes".to_vec(), "application/octet-stream", "file").await?;
    ensure!(bob.client().download(&mxc).await? == b"bytes");
    alice.redact(&room, &hello).await?;
    bob.wait_event("the removal", wait::STEP, |e| e.kind == "m.room.redaction").await?;
    synapse.stop().await
}

/// What stories ask of a contact who uses Baileys, against nothing but phones.
async fn baileys_does_what_it_is_told() -> Result<()> {
    let phones = Phones::start().await?;
    let (alice, bob) = (phones.create_account("alice")?, phones.create_account("bob")?);
    let mut baileys = Baileys::link(&phones, &bob).await?;
    let simulator = phones.simulator();
    let to = format!("{}@s.whatsapp.net", alice.number);
    let shown = async |id: &str| simulator.wait_inbox(&alice.number, |item| item.id == id, wait::STEP).await;

    let file = b"what a picture holds".to_vec();
    let data = BASE64_STANDARD.encode(&file);
    let id = baileys.send("image", json!({ "to": to, "data": data, "caption": "look" })).await?;
    let item = shown(&id).await?;
    ensure!(item.message["imageMessage"]["caption"] == "look", "{}", item.message);
    ensure!(simulator.received_media(&alice.number, &id).await? == file);
    let id = baileys.send("voice", json!({ "to": to, "data": data, "seconds": 2 })).await?;
    let item = shown(&id).await?;
    ensure!(item.message["audioMessage"]["ptt"] == true, "{}", item.message);

    let id = simulator.send_kind(&alice.number, &bob.number, Kind::Image(Media::with_data(&file))).await?;
    let (seen, _) = baileys.wait_message("a picture", |message| message["imageMessage"].is_object()).await?;
    ensure!(seen == id);
    ensure!(baileys.call("fetch", json!({ "id": id })).await?["data"] == data);
    baileys.call("read", json!({ "id": id })).await?;
    simulator.wait_receipt(&alice.number, |r| r.kind == "read" && r.ids.contains(&id), wait::STEP).await?;

    let options = json!(["tea", "soup"]);
    let poll = json!({ "to": to, "name": "Lunch?", "options": options, "selectable": 1 });
    let poll = baileys.send("poll", poll).await?;
    shown(&poll).await?;
    let choice = Kind::Vote { poll: poll.clone(), options: vec!["soup".into()] };
    let vote = simulator.send_kind(&alice.number, &bob.number, choice).await?;
    baileys.wait("the vote", |line| line["event"] == "message" && line["id"] == vote.as_str()).await?;
    let voted = baileys.call("voted", json!({ "poll": poll, "id": vote, "options": options })).await?;
    ensure!(voted["options"] == json!(["soup"]), "{voted}");
    let poll: Kind = serde_json::from_value(json!({ "kind": "poll", "name": "Tea?", "options": ["yes", "no"] }))?;
    let poll = simulator.send_kind(&alice.number, &bob.number, poll).await?;
    baileys.wait("the poll", |line| line["event"] == "message" && line["id"] == poll.as_str()).await?;
    let vote = baileys.send("vote", json!({ "to": to, "id": poll, "options": ["yes"] })).await?;
    let opened = shown(&vote).await?.opened.context("a vote")?;
    ensure!(opened["vote"] == json!(["yes"]), "{opened}");

    ensure!(baileys.call("dance", json!({})).await.is_err());
    ensure!(phones.unknown_stanzas().is_empty(), "{:?}", phones.unknown_stanzas());
    Ok(())
}

fn run(story: impl Future<Output = Result<()>>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(story).expect("the story holds");
}

#[test]
fn people_talk_over_a_homeserver_on_sqlite() {
    run(people_talk(Db::Sqlite));
}

#[test]
fn people_talk_over_a_homeserver_on_postgres() {
    run(people_talk(Db::Postgres));
}

#[test]
fn a_contact_with_baileys_does_what_stories_ask() {
    run(baileys_does_what_it_is_told());
}

#[test]
fn every_database_is_fresh() {
    run(async {
        let folder = xtask::scratch::Folder::create("fresh")?;
        let first = Database::create(Db::Postgres, folder.path(), "fresh").await?;
        let second = Database::create(Db::Postgres, folder.path(), "fresh").await?;
        ensure!(first.uri != second.uri);
        Ok(())
    });
}
