//! Rooms of chats made and deleted by command.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::{Event, Person};
use matrix_bed::wait;
use matrix_bed::world::World;

use super::acts::die_at;
use super::groups::{Scene, ghost, scene};
use super::people::{set_level, wait_told};

matrix_bed::stories! {
    shared {
        a_chats_room_is_made_by_command
        an_administrator_deletes_anybodys_room
        all_rooms_are_deleted_though_the_bridge_dies
    }
}

/// The room a link in a text leads to.
pub(super) fn room_in(text: &str) -> Result<String> {
    let (_, room) = text.split_once("https://matrix.to/#/").context("no link")?;
    Ok(room.split_whitespace().next().unwrap_or_default().to_owned())
}

pub(super) async fn wait_joined(person: &Person, room: &str) -> Result<()> {
    let what = format!("{} is in {room}", person.name());
    wait::until(&what, wait::STEP, || async { Ok(person.rooms().iter().any(|known| known == room).then_some(())) })
        .await
}

/// A text in a room somebody is in, other than one that is gone.
pub(super) async fn wait_said(person: &Person, text: &str) -> Result<Event> {
    person.wait_event(&format!("{text:?} in a room"), wait::STEP, |event| event.body() == text).await
}

async fn count_rooms(world: &World) -> Result<i64> {
    world.database.number("SELECT COUNT(*) FROM portal WHERE room_id IS NOT NULL").await
}

async fn a_chats_room_is_made_by_command(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let alices = world.management(&alice).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let roots = world.management(&root).await?;
    alices.ask("create-portal", "Say `create-portal").await?;
    alices.ask("create-portal not-a-chat", "Say `create-portal").await?;
    // Somebody in her address book, with whom she never spoke.
    let id = format!("{}@lid", bob.lid);
    alices.ask(&format!("create-portal {id}"), "No account of yours is in such a chat").await?;
    world.phones.save_contact(&account.number, &bob, "Bob from the choir")?;
    let made = async || {
        let told = alices.ask(&format!("create-portal {id}"), "").await?;
        Ok(told.body().contains("The chat is here").then_some(told))
    };
    let told = wait::until("his chat has a room", wait::STEP, made).await?;
    let room = room_in(told.body())?;
    wait_joined(&alice, &room).await?;
    alice.send_text(&room, "hello, says alice").await?;
    wait::until("it arrives", wait::STEP, || async {
        let items = world.phones.inbox(&bob.number);
        Ok(items.into_iter().any(|item| item.text.as_deref() == Some("hello, says alice")).then_some(()))
    })
    .await?;
    let again = alices.ask(&format!("create-portal {} +{}", account.number, bob.number), "has a room already").await?;
    ensure!(again.body().contains(&room), "{}", again.body());
    alices.ask(&format!("create-portal {} {id}", bob.number), "You have no such account").await?;
    // A group whose room is gone gets another, with its people.
    let group = Group::create(&world.phones, &bob, "Choir", &[&account, &carol])?;
    let old = group.room_of(&alice).await?;
    alice.wait_member(&old, &ghost(world, &carol), "join").await?;
    world.bridge.wait_idle().await?;
    roots.ask(&format!("doin {old} delete-portal yes"), "room is deleted").await?;
    let told = alices.ask(&format!("create-portal {}", group.jid), "The chat is here").await?;
    let new = room_in(told.body())?;
    ensure!(new != old, "the old room is in use");
    wait_joined(&alice, &new).await?;
    for friend in [&bob, &carol] {
        alice.wait_member(&new, &ghost(world, friend), "join").await?;
    }
    // Somebody else's chats are nobody else's to open: not even an administrator's.
    let (_, _, mallorys) = world.log_in("mallory").await?;
    for chat in [&group.jid, &id] {
        mallorys.ask(&format!("create-portal {chat}"), "No account of yours is in such a chat").await?;
        mallorys.ask(&format!("create-portal {} {chat}", account.number), "You have no such account").await?;
        roots.ask(&format!("create-portal {} {chat}", account.number), "no such account").await?;
    }
    Ok(())
}

async fn an_administrator_deletes_anybodys_room(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let group = Group::create(&world.phones, &bob, "Together", &[&account, &doras, &carol])?;
    let room = group.room_of(&alice).await?;
    ensure!(group.room_of(&dora).await? == room, "they have two rooms");
    alice.wait_member(&room, &ghost(world, &carol), "join").await?;
    // Who is no administrator deletes nobody's.
    alice.send_text(&room, "!wa delete-portal yes").await?;
    wait_told(&alice, &bot, &room, "To get rid of a group's room, leave the group").await?;
    let (mallory, _, mallorys) = world.log_in("mallory").await?;
    mallorys.ask(&format!("doin {room} delete-portal yes"), "may not use this command").await?;
    mallorys.ask("delete-all-portals", "may not use this command").await?;
    drop(mallory);
    world.phones.send(&bob.number, &group.jid, "still here").await?;
    ensure!(wait_said(&alice, "still here").await?.room == room, "another room");

    roots.ask(&format!("doin {room} delete-portal"), &format!("doin {room} delete-portal yes")).await?;
    ensure!(alice.members(&room).await?.contains(&alice.id().to_owned()), "deleted without a yes");
    roots.ask(&format!("doin {room} delete-portal yes"), "room is deleted").await?;
    for person in [&alice, &dora] {
        person.wait_member(&room, person.id(), "leave").await?;
    }
    world.bridge.wait_idle().await?;
    ensure!(count_rooms(world).await? == 0, "a room was made at once");
    roots.ask(&format!("doin {room} delete-portal yes"), "no WhatsApp chat").await?;
    // WhatsApp keeps the chat: with its next message all are there again.
    ensure!(world.phones.simulator().group(&group.jid).context("no group")?.members.len() == 4, "somebody left");
    world.phones.send(&carol.number, &group.jid, "where is everybody?").await?;
    let again = wait_said(&alice, "where is everybody?").await?;
    ensure!(again.room != room && wait_said(&dora, "where is everybody?").await?.room == again.room, "no new room");
    for friend in [&bob, &carol] {
        alice.wait_member(&again.room, &ghost(world, friend), "join").await?;
    }
    let levels = alice.find_state(&again.room, "m.room.power_levels", "").await?.unwrap_or_default();
    wait::until("the maker's power", wait::STEP, || async {
        let levels = alice.find_state(&again.room, "m.room.power_levels", "").await?.unwrap_or_default();
        Ok((levels["users"][ghost(world, &bob)] == 75).then_some(()))
    })
    .await
    .with_context(|| format!("they were {levels}"))?;
    alice.send_text(&again.room, "here again").await?;
    group.wait_at(&bob, "here again").await.map(drop)
}

async fn all_rooms_are_deleted_though_the_bridge_dies(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let roots = world.management(&root).await?;
    roots.ask("delete-all-portals", "No chat has a room").await?;
    let group = Group::create(&world.phones, &bob, "Together", &[&account, &doras, &carol])?;
    group.room_of(&dora).await?;
    for (round, point) in ["deletion.given_up", "deletion.room_left", "deletion.told"].into_iter().enumerate() {
        // A group of both, a chat of each.
        let texts = [format!("all, {round}"), format!("alice, {round}"), format!("dora, {round}")];
        world.phones.send(&bob.number, &group.jid, &texts[0]).await?;
        world.phones.send(&bob.number, &account.number, &texts[1]).await?;
        world.phones.send(&carol.number, &doras.number, &texts[2]).await?;
        let mut gone = Vec::new();
        for (person, text) in [(&alice, &texts[0]), (&dora, &texts[0]), (&alice, &texts[1]), (&dora, &texts[2])] {
            gone.push((person, wait_said(person, text).await?.room));
        }
        alice.wait_member(&gone[0].1, &ghost(world, &carol), "join").await?;
        world.bridge.wait_idle().await?;
        ensure!(count_rooms(world).await? == 3, "there are {} rooms", count_rooms(world).await?);
        for wrong in ["delete-all-portals", "delete-all-portals yes", "delete-all-portals yes 2"] {
            roots.ask(wrong, "delete-all-portals yes 3").await?;
        }
        ensure!(count_rooms(world).await? == 3, "deleted without a yes");
        let before = root.history(roots.room()).await?.len();
        die_at(world, point, async |_| root.send_text(roots.room(), "delete-all-portals yes 3").await.map(drop))
            .await?;
        for (person, room) in &gone {
            person.wait_member(room, person.id(), "leave").await?;
        }
        let of_this_round = async || {
            let history = root.history(roots.room()).await?;
            let told = history.into_iter().skip(before).filter(|event| event.sender != root.id());
            Ok::<_, anyhow::Error>(told.collect::<Vec<Event>>())
        };
        wait::until("the end is told", wait::STEP, || async {
            let told = of_this_round().await?;
            Ok(told.iter().any(|event| event.newest_content()["body"] == "All 3 rooms are deleted.").then_some(()))
        })
        .await?;
        world.bridge.wait_idle().await?;
        let told = of_this_round().await?;
        let notices = told.iter().filter(|event| event.content["m.relates_to"]["rel_type"] != "m.replace").count();
        ensure!(notices == 1, "{notices} notices after {point}");
        ensure!(count_rooms(world).await? == 0, "rooms are there after {point}");
        let left = world.database.number("SELECT COUNT(*) FROM left_room").await?;
        ensure!(left == 0, "{left} rooms are still to be left after {point}");
    }
    // What is said now comes into new rooms, and goes out of them.
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("and again").await?;
    chat.person_says("yes, again").await?;
    chat.wait_at_contact("yes, again").await.map(drop)
}
