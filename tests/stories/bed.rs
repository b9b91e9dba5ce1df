//! The bed itself: a homeserver of each kind, a person, a picture.

use anyhow::{Result, ensure};
use matrix_bed::database::{Database, Db};
use matrix_bed::synapse::Synapse;
use matrix_bed::wait;

async fn people_talk(db: Db) -> Result<()> {
    let synapse = Synapse::start(0, db).await?;
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
fn every_database_is_fresh() {
    run(async {
        let folder = xtask::scratch::Folder::create("fresh")?;
        let first = Database::create(Db::Postgres, folder.path(), "fresh").await?;
        let second = Database::create(Db::Postgres, folder.path(), "fresh").await?;
        ensure!(first.uri != second.uri);
        Ok(())
    });
}
