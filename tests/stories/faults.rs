//! Things that break under the bridge: its database, what the homeserver remembers, rooms, copies of messages.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::client::Client;
use matrix_bed::database::Db;
use matrix_bed::phones::FaultKind;
use matrix_bed::process::Process;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::json;
use xtask::{places, tether};

matrix_bed::stories! {
    shared {
        the_library_can_not_keep_a_message
        the_inbox_can_not_be_written_once
        the_database_goes_away_for_a_while
        a_ghosts_device_is_deleted
        a_ghosts_device_is_deleted_after_a_send_of_unknown_outcome
        a_ghost_is_kicked
        the_bridges_copy_of_an_own_message_is_garbled
        a_garbled_message_keeps_its_place
        a_second_process_is_refused
        stopped_in_the_midst_of_traffic
        the_homeserver_forgets_a_transaction_as_it_recovers
    }
    own {
        the_homeserver_has_forgotten_a_send_of_unknown_outcome
    }
}

/// How often the bridge has connected to WhatsApp so far: more later means that a line was built anew.
fn count_connections(world: &World) -> usize {
    world.phones.simulator().handshakes().len()
}

async fn wait_connected(world: &World, chat: &Chat) -> Result<()> {
    wait::until("the login is connected", wait::STEP, || async {
        Ok(world.phones.is_connected(&chat.login().number).then_some(()))
    })
    .await
}

async fn the_library_can_not_keep_a_message(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.bridge.stop().await?;
    // The first write is the library's own trial, the next one a message; then all four attempts at one message fail.
    world.bridge.start_with_kill_points("wa_store.pending=2*off->4*return").await?;
    chat.begin("kept at once").await?;
    let before = count_connections(world);
    for number in 0..6 {
        chat.contact_says(&format!("kept or not {number}")).await?;
    }
    chat.wait_all(wait::STEP).await?;
    ensure!(count_failed_writes(world)? == 1, "the fault was not met once");
    ensure!(count_connections(world) > before, "the line was not built anew");
    chat.person_says("and back").await?;
    Ok(())
}

async fn the_inbox_can_not_be_written_once(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for passed in [0, 2] {
        world.bridge.stop().await?;
        world.bridge.start_with_kill_points(&format!("from_wa.before_store={passed}*off->1*return")).await?;
        wait_connected(world, &chat).await?;
        let before = count_connections(world);
        // Each by itself: what is sent in one breath is one batch.
        for number in 0..passed {
            chat.begin(&format!("before {passed}, number {number}")).await?;
        }
        for number in 0..5 {
            chat.contact_says(&format!("after {passed}, number {number}")).await?;
        }
        chat.wait_all(wait::STEP).await?;
        ensure!(count_connections(world) > before, "the line was not built anew: was the fault met?");
    }
    Ok(())
}

fn count_failed_writes(world: &World) -> Result<usize> {
    Ok(world.bridge.log()?.matches("the line refuses ratchet writes until it is rebuilt").count())
}

async fn the_database_goes_away_for_a_while(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let token = world.bridge.slot().text("/appservice/hs_token")?.to_owned();
    let before = count_connections(world);
    for round in 0..2 {
        let met = count_failed_writes(world)?;
        let outage = world.database.take_away().await?;
        for number in 0..4 {
            chat.contact_says(&format!("contact, without a database, round {round}, {number}")).await?;
            chat.person_says(&format!("person, without a database, round {round}, {number}")).await?;
        }
        let empty = br#"{"events": []}"#.to_vec();
        let (status, answer) = world.bridge.put_transaction(&token, &format!("lost{round}"), empty).await?;
        ensure!(status == 503, "what can't be stored is not taken: {status} {answer}");
        ensure!(world.bridge.is_running()?, "the bridge lives");
        wait::until("a received message can't be stored", wait::STEP, || async {
            Ok((count_failed_writes(world)? > met).then_some(()))
        })
        .await?;
        outage.end().await?;
        chat.contact_says(&format!("contact, all is well, round {round}")).await?;
        chat.person_says(&format!("person, all is well, round {round}")).await?;
        chat.wait_all(Duration::from_secs(120)).await?;
    }
    ensure!(count_connections(world) > before, "no line was built anew: did nothing fail?");
    // The lock was a session's, too: it is taken again.
    if world.db == Db::Postgres {
        let held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        wait::until("the bridge holds the database's lock", wait::STEP, || async {
            Ok((world.database.execute(held).await? > 0).then_some(()))
        })
        .await?;
    }
    refuse_second(world).await
}

/// Puts out what keeps a homeserver from making an event twice, as its daily sweep does.
async fn make_homeserver_forget(world: &World) -> Result<()> {
    world.synapse.stop().await?;
    let forgotten = world.synapse.database().execute("DELETE FROM event_txn_id_device_id").await?;
    ensure!(forgotten > 0, "the homeserver remembered nothing");
    world.synapse.start_again().await
}

async fn the_homeserver_has_forgotten_a_send_of_unknown_outcome(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let times = async |text: &str| anyhow::Ok(alice.history(&room).await?.iter().filter(|e| e.body() == text).count());

    // To show that it does forget: tried a moment ago, so the bridge trusts its memory, sends again, and it doubles.
    world.bridge.stop().await?;
    world.bridge.start_with_kill_points("from_wa.after_send=return").await?;
    let doubled = "doubled by a homeserver without memory";
    world.phones.send(&chat.contact().number, &chat.login().number, doubled).await?;
    world.bridge.wait_exit(wait::STEP).await?;
    make_homeserver_forget(world).await?;
    world.bridge.start().await?;
    chat.begin("behind the doubled one").await?;
    ensure!(times(doubled).await? == 2, "the homeserver remembers; then this story proves nothing");

    // The same, tried more than a day ago.
    world.bridge.stop().await?;
    world.bridge.start_with_kill_points("from_wa.after_send=return").await?;
    chat.contact_says("sent, but was it?").await?;
    world.bridge.wait_exit(wait::STEP).await?;
    let day = "UPDATE message SET tried_at = tried_at - 90000000 WHERE state = 'reserved'";
    let touched = world.database.execute(day).await?;
    ensure!(touched == 1, "{touched} messages of unknown outcome");
    ensure!(times("sent, but was it?").await? == 1, "it was sent before the end");
    make_homeserver_forget(world).await?;
    world.bridge.start().await?;
    chat.begin("behind it").await?;
    ensure!(times("sent, but was it?").await? == 1, "looked up, not sent again");

    // And reserved more than a day ago, but never sent: looked up in vain, sent.
    world.bridge.stop().await?;
    world.bridge.start_with_kill_points("from_wa.after_reserve=return").await?;
    chat.contact_says("never sent").await?;
    world.bridge.wait_exit(wait::STEP).await?;
    ensure!(world.database.execute(day).await? == 1, "one message of unknown outcome");
    world.bridge.start().await?;
    chat.begin("behind that").await?;
    ensure!(times("never sent").await? == 1, "sent once");
    Ok(())
}

async fn delete_device(world: &World, ghost: &str) -> Result<()> {
    let client = world.synapse.appservice(world.bridge.slot())?;
    let path = ["_matrix", "client", "v3", "devices"];
    let devices = client.call(Method::GET, &path, &[("user_id", ghost)], None).await?;
    let devices = devices["devices"].as_array().context("no devices")?;
    ensure!(devices.len() == 1, "one device per ghost: {devices:?}");
    let device = devices[0]["device_id"].as_str().context("no device_id")?;
    client.call(Method::DELETE, &[&path[..], &[device]].concat(), &[("user_id", ghost)], Some(&json!({}))).await?;
    Ok(())
}

async fn a_ghosts_device_is_deleted(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for round in 0..2 {
        let ghost = chat.begin(&format!("before {round}")).await?.sender;
        delete_device(world, &ghost).await?;
        chat.begin(&format!("after {round}")).await?;
        chat.person_says(&format!("and back {round}")).await?;
    }
    Ok(())
}

async fn a_ghosts_device_is_deleted_after_a_send_of_unknown_outcome(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let ghost = chat.begin("before").await?.sender;
    world.bridge.stop().await?;
    world.bridge.start_with_kill_points("from_wa.after_send=return").await?;
    chat.contact_says("sent, but was it?").await?;
    world.bridge.wait_exit(wait::STEP).await?;
    // The homeserver's memory of transactions goes with the device.
    delete_device(world, &ghost).await?;
    world.bridge.start().await?;
    chat.begin("after").await?;
    Ok(())
}

/// Lets a person rule a portal's room, as somebody with a homeserver's admin rights can.
pub(super) async fn crown(world: &World, chat: &Chat) -> Result<()> {
    let (bot, room) = (world.bridge.slot().bot(), chat.room()?);
    let client = world.synapse.appservice(world.bridge.slot())?;
    let path = ["_matrix", "client", "v3", "rooms", &room, "state", "m.room.power_levels", ""];
    let query = [("user_id", bot.as_str())];
    let mut powers = client.call(Method::GET, &path, &query, None).await?;
    powers["users"][chat.person().id()] = json!(100);
    client.call(Method::PUT, &path, &query, Some(&powers)).await.map(drop)
}

async fn kick(client: &Client, room: &str, user: &str) -> Result<()> {
    client.post(&["_matrix", "client", "v3", "rooms", room, "kick"], &json!({"user_id": user})).await.map(drop)
}

async fn a_ghost_is_kicked(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    crown(world, &chat).await?;
    let ghost = chat.begin("still here").await?.sender;
    kick(alice.client(), &room, &ghost).await?;
    let back = chat.begin("back again").await?;
    ensure!(back.sender == ghost, "the same ghost");
    ensure!(alice.members(&room).await?.contains(&ghost), "it is in the room");
    // What the person writes crosses without the ghost; that it was read brings the ghost back.
    kick(alice.client(), &room, &ghost).await?;
    let event = chat.person_says("nobody here?").await?;
    let item = chat.wait_at_contact("nobody here?").await?;
    world.phones.read(&chat.contact().number, &item).await?;
    let seen = |receipt: &matrix_bed::person::Receipt| receipt.event == event && receipt.user == ghost;
    alice.wait_receipt("the contact has read it", wait::STEP, seen).await?;
    chat.begin("here").await?;
    // Kicked while the bridge is down.
    world.bridge.stop().await?;
    kick(alice.client(), &room, &ghost).await?;
    world.bridge.start().await?;
    chat.begin("and here after a start").await?;
    let told = alice.events(&room).into_iter().find(|event| event.is_message("m.notice"));
    ensure!(told.is_none(), "nothing failed, so nothing is told: {told:?}");
    Ok(())
}

async fn the_bridges_copy_of_an_own_message_is_garbled(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    chat.own_phone_says("typed on the phone").await?;
    chat.wait_in_room("typed on the phone").await?;
    world.phones.fault(&login, FaultKind::CorruptCiphertext, 1)?;
    chat.own_phone_says("garbled for the bridge").await?;
    world.phones.simulator().wait_fault_used(&login, FaultKind::CorruptCiphertext, wait::STEP).await?;
    // The next one can be read at once: the laws ask that it does not overtake.
    chat.own_phone_says("typed after it").await?;
    chat.wait_in_room("garbled for the bridge").await?;
    chat.begin("and the contact").await?;
    Ok(())
}

async fn a_garbled_message_keeps_its_place(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    for round in 0..3 {
        // It comes again some time after the next ones, which can be read at once: the laws ask that it is shown first.
        world.phones.fault(&login, FaultKind::CorruptCiphertext, 1)?;
        chat.contact_says(&format!("garbled {round}")).await?;
        world.phones.simulator().wait_fault_used(&login, FaultKind::CorruptCiphertext, wait::STEP).await?;
        chat.contact_says(&format!("after it {round}")).await?;
        chat.own_phone_says(&format!("own phone, after it {round}")).await?;
        chat.wait_all(wait::STEP).await?;
    }
    Ok(())
}

/// Starts another process on the same configuration: it must end at once with a plain word.
async fn refuse_second(world: &World) -> Result<()> {
    let mut command = tether::command(&places::bridge());
    places::clear_environment(&mut command);
    command.arg("-c").arg(world.folder().path().join("config.yaml")).current_dir(world.folder().path());
    let mut second = Process::start("a second bridge", command, &world.folder().path().join("second.log"))?;
    let status = second.wait_exit(Duration::from_secs(15)).await?;
    let log = second.log_tail(10);
    ensure!(status.code() == Some(1), "the second process ended with {status}:\n{log}");
    ensure!(log.contains("another bridge is running on this database"), "it says why: {log}");
    Ok(())
}

async fn a_second_process_is_refused(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for round in 0..2 {
        refuse_second(world).await?;
        ensure!(world.bridge.is_running()?, "the first goes on");
        chat.begin(&format!("to the first, round {round}")).await?;
        chat.person_says(&format!("from the first, round {round}")).await?;
        // A kill leaves no lock behind.
        world.bridge.restart().await?;
    }
    Ok(())
}

async fn stopped_in_the_midst_of_traffic(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    for round in 0..4 {
        // In the last round sends wait for an acknowledgement that does not come.
        let silent = round == 3;
        if silent {
            world.phones.fault(&login, FaultKind::Hold, 0)?;
        }
        let talk = async {
            for number in 0..15 {
                chat.contact_says(&format!("contact, round {round}, {number}")).await?;
                chat.person_says(&format!("person, round {round}, {number}")).await?;
            }
            anyhow::Ok(())
        };
        let stop = async {
            // Some are through, some are under way.
            let first = format!("contact, round {round}, 0");
            if !silent {
                chat.wait_in_room(&first).await?;
            }
            let asked = Instant::now();
            let status = world.bridge.stop().await?;
            ensure!(status.success(), "round {round}: asked to stop, it ended with {status}");
            ensure!(asked.elapsed() < Duration::from_secs(10), "round {round}: it took {:?}", asked.elapsed());
            Ok(())
        };
        let (talked, stopped) = futures_util::future::join(talk, stop).await;
        talked.and(stopped)?;
        if silent {
            world.phones.fault(&login, FaultKind::Release, 0)?;
        }
        world.bridge.start().await?;
    }
    chat.begin("all is well").await?;
    Ok(())
}

/// Gives the bridge one event of a room in a transaction, as old as said.
async fn hand_over(world: &World, chat: &Chat, token: &str, txn: &str, event: &str, age: u64) -> Result<()> {
    let room = chat.room()?;
    let mut event = chat.person().client().get(&["_matrix", "client", "v3", "rooms", &room, "event", event]).await?;
    event["unsigned"] = json!({"age": age});
    let body = serde_json::to_vec(&json!({"events": [event]}))?;
    let (status, answer) = world.bridge.put_transaction(token, txn, body).await?;
    ensure!(status == 200, "{status}: {answer}");
    Ok(())
}

/// Synapse 1.163, when it has delivered what it kept for an application service that was away, can keep one more
/// transaction at that very moment, and then delivers newer ones before it (the recoverer finds nothing left and says
/// so, while a new transaction is being kept because it has not said so yet). Here the homeserver's own transactions
/// are refused, and the story hands over what that would look like.
async fn the_homeserver_forgets_a_transaction_as_it_recovers(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.bridge.stop().await?;
    let token = "of-the-story-and-not-of-the-homeserver-0123456789abcdef0123456789";
    world.bridge.reconfigure(&json!({"appservice": {"hs_token": token}}))?;
    world.bridge.start().await?;
    for round in 0..3 {
        let number = |step: u64| (100 * (round + 1) + step).to_string();
        let kept = chat.person_says(&format!("kept while the bridge was away {round}")).await?;
        hand_over(world, &chat, token, &number(0), &kept, 5000).await?;
        chat.wait_at_contact(&format!("kept while the bridge was away {round}")).await?;
        chat.person_says(&format!("forgotten {round}")).await?;
        let newer = chat.person_says(&format!("overtakes {round}")).await?;
        hand_over(world, &chat, token, &number(7), &newer, 10).await?;
        chat.wait_at_contact(&format!("overtakes {round}")).await?;
    }
    Ok(())
}
