//! What becomes of rooms when an account is logged out, as the operator chose: each kind of room for itself.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};

use super::groups::ghost;

matrix_bed::stories! {
    shared {
        each_kind_of_room_has_its_own_cleanup
        a_room_that_others_use_is_not_deleted_as_nobodys
        killed_while_rooms_are_cleaned_up
    }
}

async fn choose(world: &mut World, manual: Value) -> Result<()> {
    world.bridge.stop().await?;
    let rules = json!({ "enabled": true, "manual": manual });
    world.bridge.reconfigure(&json!({ "bridge": { "cleanup_on_logout": rules } }))?;
    world.bridge.start().await
}

async fn wait_out(person: &Person, watcher: &Person, room: &str) -> Result<()> {
    watcher.wait_member(room, person.id(), "leave").await.map(drop)
}

/// Waits until the login of this number is done with.
async fn wait_cleaned(world: &World, account: &Account) -> Result<()> {
    let database = &world.database;
    let done = format!("SELECT COUNT(*) FROM login_watch WHERE cleaned = 1 AND login_id = '{}'", account.number);
    wait::until("the logout is done with", wait::STEP, || async {
        Ok((database.number(&done).await? == 1).then_some(()))
    })
    .await
}

async fn each_kind_of_room_has_its_own_cleanup(world: &mut World) -> Result<()> {
    choose(world, json!({"private": "kick", "shared_no_users": "unbridge", "shared_has_users": "kick"})).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let bob = world.phones.create_account("bob")?;
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("before").await?;
    let private = chat.room()?;
    let alone = Group::create(&world.phones, &bob, "Alone", &[&account])?;
    let shared = Group::create(&world.phones, &bob, "Shared", &[&account, &doras])?;
    let (hers, theirs) = (alone.room_of(&alice).await?, shared.room_of(&alice).await?);
    ensure!(shared.room_of(&dora).await? == theirs, "one room for both");
    alone.phone_says(&bob, "hello alone").await?;
    alone.wait_in_room(&alice, "hello alone").await?;
    shared.phone_says(&bob, "hello both").await?;
    shared.wait_in_room(&alice, "hello both").await?;
    shared.wait_in_room(&dora, "hello both").await?;
    alice.wait_member(&hers, &ghost(world, &bob), "join").await?;
    world.bridge.wait_idle().await?;

    management.ask("logout yes", "is logged out").await?;
    world.phones.forget(&account.number);
    wait_cleaned(world, &account).await?;
    // Direct chats: she is taken out, nobody else.
    wait_out(&alice, &alice, &private).await?;
    // The group that is hers alone: the bridge is gone, and she rules what was its room.
    let bot = world.bridge.slot().bot();
    alice.wait_member(&hers, &bot, "leave").await?;
    ensure!(alice.members(&hers).await? == [alice.id()], "{:?}", alice.members(&hers).await?);
    let powers = alice.find_state(&hers, "m.room.power_levels", "").await?.context("no powers")?;
    ensure!(powers["users"][alice.id()] == 100, "{powers}");
    let state = alice.client().get(&["_matrix", "client", "v3", "rooms", &hers, "state"]).await?;
    let bridges = state.as_array().context("no state")?.iter().filter(|one| one["type"] == "m.bridge");
    ensure!(bridges.into_iter().all(|one| one["content"] == json!({})), "the room says that it is bridged");
    alice.send_text(&hers, "a room like any other").await?;
    // The one she shared: dora goes on in it without her.
    wait_out(&alice, &dora, &theirs).await?;
    ensure!(!dora.members(&theirs).await?.contains(&alice.id().to_owned()), "she is in the shared room still");
    shared.phone_says(&bob, "only dora now").await?;
    shared.wait_in_room(&dora, "only dora now").await?;
    shared.person_says(&dora, &doras, "still here").await?;
    shared.wait_at(&bob, "still here").await?;

    // Linked again she is back: in the rooms that stayed, and in a new one of the group that was given up.
    management.relogin_by_code(&world.phones, &account).await?;
    wait::until("she is in the shared room again", wait::STEP, || async {
        Ok(dora.members(&theirs).await?.contains(&alice.id().to_owned()).then_some(()))
    })
    .await?;
    chat.contact_says("after").await?;
    ensure!(chat.wait_in_room("after").await?.room == private, "the same room as before");
    alone.phone_says(&bob, "hello again").await?;
    alice
        .wait_event("the group in a new room", wait::STEP, |event| event.room != hers && event.body() == "hello again")
        .await?;
    shared.phone_says(&bob, "all of us").await?;
    shared.wait_in_room(&alice, "all of us").await?;
    Ok(())
}

async fn a_room_that_others_use_is_not_deleted_as_nobodys(world: &mut World) -> Result<()> {
    choose(world, json!({"shared_no_users": "delete"})).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let second = world.phones.create_account("alice at work")?;
    management.login_by_qr(&world.phones, &second).await?;
    let bob = world.phones.create_account("bob")?;
    let alone = Group::create(&world.phones, &bob, "Alone", &[&account])?;
    let own = Group::create(&world.phones, &bob, "Both of hers", &[&account, &second])?;
    let shared = Group::create(&world.phones, &bob, "Shared", &[&account, &doras])?;
    let rooms = (alone.room_of(&alice).await?, own.room_of(&alice).await?, shared.room_of(&alice).await?);
    ensure!(shared.room_of(&dora).await? == rooms.2);
    world.bridge.wait_idle().await?;
    management.ask(&format!("logout {} yes", account.number), "is logged out").await?;
    world.phones.forget(&account.number);
    wait_cleaned(world, &account).await?;
    wait_out(&alice, &alice, &rooms.0).await?;
    for (room, who) in [(&rooms.1, &alice), (&rooms.2, &alice), (&rooms.2, &dora)] {
        ensure!(who.members(room).await?.contains(&who.id().to_owned()), "{} was taken out of {room}", who.name());
    }
    for (group, member, person) in [(&own, &second, &alice), (&shared, &doras, &dora)] {
        group.phone_says(&bob, "it goes on").await?;
        group.wait_in_room(person, "it goes on").await?;
        group.person_says(person, member, "so it does").await?;
        group.wait_at(&bob, "so it does").await?;
    }
    Ok(())
}

async fn killed_while_rooms_are_cleaned_up(world: &mut World) -> Result<()> {
    choose(world, json!({"private": "unbridge", "shared_no_users": "kick"})).await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let bob = world.phones.create_account("bob")?;
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("before").await?;
    let private = chat.room()?;
    let group = Group::create(&world.phones, &bob, "Alone", &[&account])?;
    let room = group.room_of(&alice).await?;
    world.bridge.wait_idle().await?;
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("states.room_cleaned=1*return").await?;
    alice.send_text(management.room(), "logout yes").await?;
    world.bridge.wait_exit(wait::STEP).await.context("the bridge did not die behind a room's end")?;
    world.phones.forget(&account.number);
    world.bridge.start_with_kill_points("states.room_cleaned=1*off->1*return").await?;
    world.bridge.wait_exit(wait::STEP).await.context("the bridge did not die behind a room")?;
    world.bridge.start().await?;
    wait_cleaned(world, &account).await?;
    wait_out(&alice, &alice, &room).await?;
    ensure!(alice.members(&private).await? == [alice.id()], "{:?}", alice.members(&private).await?);
    let kept = world.database.number("SELECT COUNT(*) FROM portal WHERE room_id IS NOT NULL AND kind = 'dm'").await?;
    ensure!(kept == 0, "{kept} direct chats have a room still");
    // Once each: who is out is not put out again.
    let outs = alice.history(&private).await?.into_iter().filter(|e| e.content["membership"] == "leave").count();
    ensure!(outs == 2, "the bot and a ghost left once each: {outs}");
    Ok(())
}
