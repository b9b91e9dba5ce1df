//! Rooms of people's own given to chats, and taken back.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};

use super::acts::die_at;
use super::groups::{Scene, ghost, scene};
use super::people::{set_level, wait_told};
use super::portals::{room_in, wait_said};

matrix_bed::stories! {
    shared {
        a_room_of_ones_own_becomes_a_groups
        nobody_bridges_what_is_not_theirs
        a_direct_chat_comes_into_a_room_of_ones_own
        killed_while_a_room_is_bridged_and_cut_off
    }
}

/// A room of somebody's with the bot in it and a look of its own; with the power 50 for the bot if it shall have it.
pub(super) async fn room_of(world: &World, person: &Person, with_power: bool) -> Result<String> {
    let bot = world.bridge.slot().bot();
    let settings = json!({ "name": "Our den", "topic": "Shoes off", "preset": "private_chat" });
    let room = person.create_room(&settings).await?;
    person.invite(&room, &bot).await?;
    person.wait_member(&room, &bot, "join").await?;
    if with_power {
        empower(world, person, &room).await?;
    }
    // A room with the bot alone is where its maker talks to it, until there is another one.
    world.management(person).await?;
    Ok(room)
}

async fn empower(world: &World, person: &Person, room: &str) -> Result<()> {
    let mut powers = person.find_state(room, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][world.bridge.slot().bot().as_str()] = json!(50);
    person.set_state(room, "m.room.power_levels", "", &powers).await.map(drop)
}

pub(super) async fn look(person: &Person, room: &str) -> Result<(Value, Value, Value)> {
    let state = async |kind| Ok::<_, anyhow::Error>(person.find_state(room, kind, "").await?.unwrap_or_default());
    let (name, topic) = (state("m.room.name").await?, state("m.room.topic").await?);
    Ok((name["name"].clone(), topic["topic"].clone(), state("m.room.power_levels").await?["users"].clone()))
}

/// Has a group forget its room, so that it can have one of somebody's own.
pub(super) async fn without_room(world: &World, root: &matrix_bed::management::Management, room: &str) -> Result<()> {
    world.bridge.wait_idle().await?;
    root.ask(&format!("doin {room} delete-portal yes"), "room is deleted").await.map(drop)
}

pub(super) async fn wait_phone(world: &World, account: &Account, text: &str) -> Result<()> {
    wait::until(text, wait::STEP, || async {
        let items = world.phones.inbox(&account.number);
        Ok(items.into_iter().any(|item| item.text.as_deref() == Some(text)).then_some(()))
    })
    .await
}

async fn a_room_of_ones_own_becomes_a_groups(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let simulator = world.phones.simulator().clone();
    let group = Group::create(&world.phones, &bob, "Choir", &[&account, &carol])?;
    let first = group.room_of(&alice).await?;
    alice.wait_member(&first, &ghost(world, &carol), "join").await?;
    let den = room_of(world, &alice, false).await?;
    let eve = world.person("eve").await?;
    alice.invite(&den, eve.id()).await?;
    eve.wait_member(&den, eve.id(), "join").await?;
    alice.send_text(&den, &format!("!wa bridge {}", group.jid)).await?;
    wait_told(&alice, &bot, &den, "I need the power 50").await?;
    empower(world, &alice, &den).await?;
    let before = look(&alice, &den).await?;
    alice.send_text(&den, &format!("!wa bridge {}", group.jid)).await?;
    let told = wait_told(&alice, &bot, &den, "has a room already").await?;
    ensure!(room_in(told.body())?.starts_with(&first), "{}", told.body());
    without_room(world, &roots, &first).await?;
    alice.send_text(&den, &format!("!wa bridge {} {}", account.number, group.jid)).await?;
    wait_told(&alice, &bot, &den, "is bridged to the WhatsApp chat now").await?;
    for friend in [&bob, &carol] {
        alice.wait_member(&den, &ghost(world, friend), "join").await?;
    }
    // Words cross, the room keeps its look and its people, and so does the group.
    world.phones.send(&bob.number, &group.jid, "nice den").await?;
    let said = wait_said(&eve, "nice den").await?;
    ensure!(said.room == den && said.sender == ghost(world, &bob), "{} in {}", said.sender, said.room);
    alice.send_text(&den, "isn't it?").await?;
    wait_phone(world, &bob, "isn't it?").await?;
    world.bridge.wait_idle().await?;
    let now = look(&alice, &den).await?;
    ensure!(now == before, "{now:?} was {before:?}");
    ensure!(simulator.group(&group.jid).context("no group")?.subject == "Choir", "the group was renamed");
    // Other changes of the group, and those of the room itself, change nothing of that.
    simulator.change_participants(&bob.number, &group.jid, "remove", &[&carol.number])?;
    alice.wait_member(&den, &ghost(world, &carol), "leave").await?;
    world.bridge.restart().await?;
    world.phones.send(&bob.number, &group.jid, "after a start").await?;
    ensure!(wait_said(&alice, "after a start").await?.room == den, "another room");
    world.bridge.wait_idle().await?;
    ensure!(look(&alice, &den).await? == before, "the look has changed");
    // Until somebody changes it there.
    simulator.set_group_subject(&bob.number, &group.jid, "Quartet")?;
    wait::until("the group's name", wait::STEP, || async {
        Ok((look(&alice, &den).await?.0 == "Quartet").then_some(()))
    })
    .await?;
    ensure!(look(&alice, &den).await?.1 == "Shoes off", "the topic went with it");
    // Cut off, it is a room of its people again.
    eve.send_text(&den, "!wa unbridge").await?;
    wait_told(&eve, &bot, &den, "Only who may change the powers in this room").await?;
    alice.send_text(&den, "!wa unbridge").await?;
    wait_told(&alice, &bot, &den, "is bridged no longer").await?;
    for user in [ghost(world, &bob), bot.clone()] {
        alice.wait_member(&den, &user, "leave").await?;
    }
    let state = alice.client().get(&["_matrix", "client", "v3", "rooms", &den, "state"]).await?;
    let says = |event: &Value| event["type"] == "m.bridge" && event["content"]["protocol"]["id"] == "whatsapp";
    ensure!(!state.as_array().context("no state")?.iter().any(says), "it still says that it is a chat");
    let members = alice.members(&den).await?;
    ensure!(members.len() == 2 && members.contains(&eve.id().to_owned()), "{members:?}");
    world.phones.send(&bob.number, &group.jid, "where are you?").await?;
    let said = wait_said(&alice, "where are you?").await?;
    ensure!(said.room != den && said.room != first, "a room that is gone is in use");
    Ok(())
}

async fn nobody_bridges_what_is_not_theirs(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let group = Group::create(&world.phones, &bob, "Choir", &[&account])?;
    let first = group.room_of(&alice).await?;
    // Not hers: the chat, then the room.
    let (mallory, mallorys_account, _) = world.log_in("mallory").await?;
    let lair = room_of(world, &mallory, true).await?;
    let told = async |person: &Person, room: &str, command: &str, words: &str| -> Result<()> {
        let seen = person.events(room).len();
        person.send_text(room, &format!("!wa {command}")).await?;
        wait::until(&format!("{words:?} after {command:?}"), wait::STEP, || async {
            let events = person.events(room);
            Ok(events.iter().skip(seen).any(|one| one.sender == bot && one.body().contains(words)).then_some(()))
        })
        .await
    };
    told(&mallory, &lair, &format!("bridge {}", group.jid), "No account of yours is in such a chat").await?;
    told(&mallory, &lair, &format!("bridge {} {}", account.number, group.jid), "no such account").await?;
    for flag in ["--overwrite", "--ignore-permissions"] {
        told(&mallory, &lair, &format!("bridge {} {flag}", group.jid), "Only administrators").await?;
    }
    told(&mallory, &lair, "bridge --force x", "Say `bridge").await?;
    told(&mallory, &lair, "unbridge", "no WhatsApp chat").await?;
    let theirs = Group::create(&world.phones, &bob, "Den of thieves", &[&mallorys_account])?;
    let thieves = theirs.room_of(&mallory).await?;
    without_room(world, &roots, &thieves).await?;
    let den = room_of(world, &alice, true).await?;
    alice.invite(&den, mallory.id()).await?;
    mallory.wait_member(&den, mallory.id(), "join").await?;
    told(&mallory, &den, &format!("bridge {}", theirs.jid), "Only who may change the powers").await?;
    told(&mallory, &first, "unbridge", "").await.err().context("a room she is not in")?;
    // A room the bridge has made is not for its people to cut off, and one room is for one chat.
    told(&alice, &first, "unbridge", "This room was made by the bridge").await?;
    told(&alice, &first, &format!("bridge {}", group.jid), "Only who may change the powers").await?;
    // Rooms that can be no chat's.
    let mallorys = world.management(&mallory).await?;
    mallorys.ask(&format!("bridge {}", theirs.jid), "talks to me alone").await?;
    let mut settings = json!({ "preset": "private_chat", "creation_content": { "type": "m.space" } });
    let space = mallory.create_room(&settings).await?;
    settings["creation_content"] = json!({});
    let dark = mallory.create_room(&settings).await?;
    let silent = mallory.create_room(&settings).await?;
    for room in [&space, &dark, &silent] {
        mallory.invite(room, &bot).await?;
        mallory.wait_member(room, &bot, "join").await?;
        empower(world, &mallory, room).await?;
    }
    world.management(&mallory).await?;
    told(&mallory, &space, &format!("bridge {}", theirs.jid), "This is a space").await?;
    mallory.set_state(&dark, "m.room.encryption", "", &json!({ "algorithm": "m.megolm.v1.aes-sha2" })).await?;
    told(&mallory, &dark, &format!("bridge {}", theirs.jid), "This room is encrypted").await?;
    let mut powers = mallory.find_state(&silent, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["events_default"] = json!(10);
    mallory.set_state(&silent, "m.room.power_levels", "", &powers).await?;
    told(&mallory, &silent, &format!("bridge {}", theirs.jid), "Who speaks in this room needs the power 10").await?;
    // What is theirs works, once; and an administrator moves a chat out of the room it has.
    told(&mallory, &lair, &format!("bridge {}", theirs.jid), "is bridged to the WhatsApp chat now").await?;
    told(&mallory, &lair, &format!("bridge {}", theirs.jid), "is a WhatsApp chat already").await?;
    mallory.wait_member(&lair, &ghost(world, &bob), "join").await?;
    set_level(world, &mallory, "admin").await?;
    let next = room_of(world, &mallory, true).await?;
    told(&mallory, &next, &format!("bridge {} --overwrite", theirs.jid), "is bridged to the WhatsApp chat now").await?;
    mallory.wait_member(&lair, &ghost(world, &bob), "leave").await?;
    let events = mallory.history(&lair).await?;
    ensure!(events.iter().any(|event| event.body().contains(&next)), "the old room does not say where it goes on");
    world.phones.send(&bob.number, &theirs.jid, "new lair").await?;
    ensure!(wait_said(&mallory, "new lair").await?.room == next, "the old room is in use");
    Ok(())
}

async fn a_direct_chat_comes_into_a_room_of_ones_own(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let bot = world.bridge.slot().bot();
    world.phones.save_contact(&account.number, &bob, "Uncle Bob")?;
    let den = room_of(world, &alice, true).await?;
    let eve = world.person("eve").await?;
    alice.invite(&den, eve.id()).await?;
    eve.wait_member(&den, eve.id(), "join").await?;
    let chat = format!("{}@lid", bob.lid);
    let alices = world.management(&alice).await?;
    wait::until("he is in her address book", wait::STEP, || async {
        Ok(alices.ask("search uncle", "").await?.body().contains("Uncle Bob").then_some(()))
    })
    .await?;
    alice.send_text(&den, &format!("!wa bridge {chat}")).await?;
    // Its name never follows.
    wait_told(&alice, &bot, &den, "picture stay as they are.").await?;
    alice.wait_member(&den, &ghost(world, &bob), "join").await?;
    world.phones.send(&bob.number, &account.number, "hello you two").await?;
    ensure!(wait_said(&eve, "hello you two").await?.room == den, "another room");
    alice.send_text(&den, "hello bob").await?;
    wait_phone(world, &bob, "hello bob").await?;
    // It is her chat: nobody else speaks in it.
    eve.send_text(&den, "and hello from eve").await?;
    wait_told(&eve, &bot, &den, "Only the owner").await?;
    world.phones.save_contact(&account.number, &bob, "Bob the Great")?;
    world.phones.send(&bob.number, &account.number, "a new name").await?;
    wait_said(&alice, "a new name").await?;
    world.bridge.wait_idle().await?;
    ensure!(look(&alice, &den).await?.0 == "Our den", "the room was renamed");
    // Deleting the chat's room takes nobody's room away.
    alice.send_text(&den, "!wa delete-portal").await?;
    wait_told(&alice, &bot, &den, "Its people keep it").await?;
    alice.send_text(&den, "!wa delete-portal yes").await?;
    wait_told(&alice, &bot, &den, "is bridged no longer").await?;
    alice.wait_member(&den, &bot, "leave").await?;
    let members = alice.members(&den).await?;
    ensure!(members.len() == 2 && members.contains(&alice.id().to_owned()), "{members:?}");
    Ok(())
}

async fn killed_while_a_room_is_bridged_and_cut_off(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    set_level(world, &alice, "admin").await?;
    let bot = world.bridge.slot().bot();
    let group = Group::create(&world.phones, &bob, "Choir", &[&account, &carol])?;
    let first = group.room_of(&alice).await?;
    alice.wait_member(&first, &ghost(world, &carol), "join").await?;
    let den = room_of(world, &alice, true).await?;
    die_at(world, "plumbing.after_room", async |_| {
        alice.send_text(&den, &format!("!wa bridge {} --overwrite", group.jid)).await.map(drop)
    })
    .await?;
    wait_told(&alice, &bot, &den, "is bridged to the WhatsApp chat now").await?;
    for friend in [&bob, &carol] {
        alice.wait_member(&den, &ghost(world, friend), "join").await?;
        alice.wait_member(&first, &ghost(world, friend), "leave").await?;
    }
    world.phones.send(&bob.number, &group.jid, "in the den").await?;
    ensure!(wait_said(&alice, "in the den").await?.room == den, "another room");
    die_at(world, "plumbing.before_end", async |_| alice.send_text(&den, "!wa unbridge").await.map(drop)).await?;
    alice.wait_member(&den, &bot, "leave").await?;
    let told = alice.history(&den).await?;
    let told = told.iter().filter(|event| event.sender == bot && event.body().contains("bridged no longer")).count();
    ensure!(told == 1, "told {told} times");
    ensure!(alice.members(&den).await? == [alice.id()], "somebody is left");
    Ok(())
}
