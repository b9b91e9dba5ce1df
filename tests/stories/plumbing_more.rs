//! Rooms of people's own given to chats: what becomes of them when people, powers and chats change.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;
use whatsapp_sim::{Addressing, Refusal};

use super::groups::{Scene, ghost, scene};
use super::people::{set_level, wait_told};
use super::plumbing::{look, room_of, wait_phone, without_room};
use super::portals::wait_said;

matrix_bed::stories! {
    shared {
        what_waited_is_for_no_other_chat
        what_the_filter_keeps_out_comes_into_no_room_of_ones_own
        a_room_ends_when_its_bringer_leaves_the_group
        who_is_not_there_rules_no_room
        who_rules_the_room_is_not_scolded
        a_bot_without_power_still_brings_people
        two_chats_that_are_one_close_nobodys_room
        a_group_that_was_not_read_takes_no_look_away
    }
}

const BRIDGED: &str = "is bridged to the WhatsApp chat now";

/// Cuts an account off, or lets it come back.
fn cut(world: &World, account: &Account, is_off: bool) -> Result<()> {
    let away = Refusal { reason: 503, code: None, expire: None, message: None, count: None };
    world.phones.simulator().refuse(Some(&account.number), is_off.then_some(away))
}

/// A room of somebody's that is a chat's now.
async fn bridged(world: &World, person: &Person, chat: &str) -> Result<String> {
    let room = room_of(world, person, true).await?;
    person.send_text(&room, &format!("!wa bridge {chat}")).await?;
    wait_told(person, &world.bridge.slot().bot(), &room, BRIDGED).await?;
    Ok(room)
}

async fn wait_waiting(world: &World, rows: i64) -> Result<()> {
    wait::until("rows wait for WhatsApp", wait::STEP, || async {
        let waiting =
            world.database.number("SELECT COUNT(*) FROM inbox WHERE source = 'mx' AND state = 'waiting'").await?;
        Ok((waiting == rows).then_some(()))
    })
    .await
}

async fn what_waited_is_for_no_other_chat(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let choir = Group::create(&world.phones, &bob, "Choir", &[&account, &doras])?;
    let quartet = Group::create(&world.phones, &bob, "Quartet", &[&account])?;
    let first = choir.room_of(&alice).await?;
    without_room(world, &roots, &quartet.room_of(&alice).await?).await?;
    let den = bridged(world, &alice, &quartet.jid).await?;
    alice.invite(&den, dora.id()).await?;
    dora.wait_member(&den, dora.id(), "join").await?;
    let mut powers = alice.find_state(&den, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][dora.id()] = json!(100);
    alice.set_state(&den, "m.room.power_levels", "", &powers).await?;
    alice.send_text(&den, "on time").await?;
    wait_phone(world, &bob, "on time").await?;
    world.bridge.wait_idle().await?;
    // Both rooms are no chat's any more; one becomes another chat's.
    cut(world, &account, true)?;
    alice.send_text(&first, "too late").await?;
    let late = alice.send_text(&den, "for the quartet").await?;
    wait_waiting(world, 2).await?;
    for room in [&first, &den] {
        root.send_text(roots.room(), &format!("doin {room} unbridge --ignore-permissions")).await?;
        alice.wait_member(room, &bot, "leave").await?;
    }
    dora.invite(&den, &bot).await?;
    wait::until("the bot is back", wait::STEP, || async { Ok(dora.members(&den).await?.contains(&bot).then_some(())) })
        .await?;
    dora.send_text(&den, &format!("!wa bridge {}", choir.jid)).await?;
    wait::until("the choir comes into the den", wait::STEP, || async {
        let words = dora.history(&den).await?.into_iter().filter(|event| event.body().contains(BRIDGED));
        Ok((words.count() == 2).then_some(()))
    })
    .await?;
    cut(world, &account, false)?;
    world.bridge.restart().await?;
    // There while the bot has not left yet, else where its words about the account are.
    let told = |event: &Event| {
        let is_told = event.room == first || event.body().contains("can't be written to");
        is_told && event.body().contains("stopped being that WhatsApp chat's")
    };
    alice.wait_event("what waited in a room without the bot", wait::STEP, told).await?;
    let told = |event: &Event| {
        event.room == den && event.content["m.relates_to"]["m.in_reply_to"]["event_id"] == late.as_str()
    };
    let told = alice.wait_event("what waited in another chat's room", wait::STEP, told).await?;
    ensure!(told.body().contains("stopped being that WhatsApp chat's"), "{}", told.body());
    // What is said since goes to the chat that is there now.
    alice.send_text(&den, "for the choir").await?;
    wait_phone(world, &bob, "for the choir").await?;
    world.bridge.wait_idle().await?;
    let late = ["too late", "for the quartet"];
    let items = world.phones.inbox(&bob.number);
    ensure!(!items.iter().any(|item| item.text.as_deref().is_some_and(|text| late.contains(&text))), "{items:?}");
    Ok(())
}

async fn what_the_filter_keeps_out_comes_into_no_room_of_ones_own(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let roots = world.management(&root).await?;
    roots.ask("filter allow", "lets no new chat have a room").await?;
    let group = Group::create(&world.phones, &bob, "Choir", &[&account])?;
    let alices = world.management(&alice).await?;
    wait::until("she has heard of the group", wait::STEP, || async {
        Ok(alices.ask("chats", "").await?.body().contains(&group.jid).then_some(()))
    })
    .await?;
    let (den, bot) = (room_of(world, &alice, true).await?, world.bridge.slot().bot());
    alice.send_text(&den, &format!("!wa bridge {}", group.jid)).await?;
    wait_told(&alice, &bot, &den, "lets no room be made").await?;
    // Who chooses the filter goes round it.
    set_level(world, &alice, "admin").await?;
    alice.send_text(&den, &format!("!wa bridge {}", group.jid)).await?;
    wait_told(&alice, &bot, &den, BRIDGED).await?;
    world.phones.send(&bob.number, &group.jid, "let in").await?;
    ensure!(wait_said(&alice, "let in").await?.room == den, "another room");
    Ok(())
}

async fn a_room_ends_when_its_bringer_leaves_the_group(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let (mallory, mallorys, _) = world.log_in("mallory").await?;
    let (mut groups, mut lairs) = (Vec::new(), Vec::new());
    for name in ["Choir", "Quartet"] {
        let group = Group::create(&world.phones, &bob, name, &[&account, &mallorys])?;
        let room = group.room_of(&alice).await?;
        mallory.wait_member(&room, mallory.id(), "join").await?;
        without_room(world, &roots, &room).await?;
        let lair = bridged(world, &mallory, &group.jid).await?;
        mallory.wait_member(&lair, &ghost(world, &bob), "join").await?;
        alice.wait_member(&lair, alice.id(), "join").await?;
        groups.push(group);
        lairs.push(lair);
    }
    // Whose account tells the room ends that, without any power there; others do not.
    let eve = world.person("eve").await?;
    mallory.invite(&lairs[0], eve.id()).await?;
    eve.wait_member(&lairs[0], eve.id(), "join").await?;
    eve.send_text(&lairs[0], "!wa unbridge").await?;
    wait_told(&eve, &bot, &lairs[0], "Only who may change the powers in this room").await?;
    alice.send_text(&lairs[0], "!wa unbridge").await?;
    wait_told(&alice, &bot, &lairs[0], "is bridged no longer").await?;
    mallory.wait_member(&lairs[0], &bot, "leave").await?;
    // Out of the group, its bringer reads nothing of it any more.
    world.phones.send(&bob.number, &groups[1].jid, "among us").await?;
    ensure!(wait_said(&mallory, "among us").await?.room == lairs[1], "another room");
    world.phones.simulator().change_participants(&bob.number, &groups[1].jid, "remove", &[&mallorys.number])?;
    wait_told(&mallory, &bot, &lairs[1], "is in the group no more").await?;
    for user in [ghost(world, &bob), bot.clone()] {
        mallory.wait_member(&lairs[1], &user, "leave").await?;
    }
    ensure!(mallory.members(&lairs[1]).await?.contains(&mallory.id().to_owned()), "her room was taken from her");
    world.phones.send(&bob.number, &groups[1].jid, "without her").await?;
    let said = wait_said(&alice, "without her").await?;
    ensure!(!lairs.contains(&said.room), "it goes on in her room");
    ensure!(!mallory.members(&lairs[1]).await?.contains(&ghost(world, &bob)), "somebody came back");
    Ok(())
}

async fn who_is_not_there_rules_no_room(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let group = Group::create(&world.phones, &bob, "Choir", &[&account])?;
    let room = group.room_of(&alice).await?;
    alice.wait_member(&room, &ghost(world, &bob), "join").await?;
    world.bridge.wait_idle().await?;
    root.send_text(roots.room(), &format!("doin {room} unbridge --ignore-permissions")).await?;
    alice.wait_member(&room, &bot, "leave").await?;
    let powers = alice.find_state(&room, "m.room.power_levels", "").await?.context("no powers")?;
    ensure!(powers["users"][alice.id()] == 100, "nobody in it rules it: {powers}");
    ensure!(powers["users"][root.id()].is_null(), "somebody who is not in it rules it: {powers}");
    Ok(())
}

async fn who_rules_the_room_is_not_scolded(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let group = Group::create(&world.phones, &bob, "Choir", &[&account])?;
    without_room(world, &roots, &group.room_of(&alice).await?).await?;
    let den = bridged(world, &alice, &group.jid).await?;
    let eve = world.person("eve").await?;
    alice.invite(&den, eve.id()).await?;
    eve.wait_member(&den, eve.id(), "join").await?;
    let mut powers = alice.find_state(&den, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][eve.id()] = json!(100);
    alice.set_state(&den, "m.room.power_levels", "", &powers).await?;
    eve.set_state(&den, "m.room.name", "", &json!({ "name": "Eve's den" })).await?;
    eve.set_state(&den, "m.room.topic", "", &json!({ "topic": "Shoes on" })).await?;
    eve.set_state(&den, "m.room.join_rules", "", &json!({ "join_rule": "public" })).await?;
    powers["events"]["m.room.pinned_events"] = json!(0);
    eve.set_state(&den, "m.room.power_levels", "", &powers).await?;
    // What she says is not heard, and that is all she hears.
    eve.send_text(&den, "hello").await?;
    wait_told(&eve, &bot, &den, "so you can't write here").await?;
    world.bridge.wait_idle().await?;
    let told = eve.history(&den).await?;
    let told = told.iter().filter(|event| event.body().contains("was not bridged")).count();
    ensure!(told == 1, "she was scolded {told} times");
    let (name, topic, _) = look(&eve, &den).await?;
    ensure!(name == "Eve's den" && topic == "Shoes on", "{name} {topic}");
    Ok(())
}

async fn a_bot_without_power_still_brings_people(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let simulator = world.phones.simulator().clone();
    let group = Group::create(&world.phones, &bob, "Choir", &[&account])?;
    without_room(world, &roots, &group.room_of(&alice).await?).await?;
    let den = bridged(world, &alice, &group.jid).await?;
    alice.wait_member(&den, &ghost(world, &bob), "join").await?;
    world.bridge.wait_idle().await?;
    let mut powers = alice.find_state(&den, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][bot.as_str()] = json!(0);
    powers["invite"] = json!(0);
    alice.set_state(&den, "m.room.power_levels", "", &powers).await?;
    simulator.set_group_subject(&bob.number, &group.jid, "Quartet")?;
    simulator.set_group_description(&bob.number, &group.jid, Some("Mondays"))?;
    simulator.change_participants(&bob.number, &group.jid, "add", &[&carol.number])?;
    alice.wait_member(&den, &ghost(world, &carol), "join").await?;
    simulator.change_participants(&bob.number, &group.jid, "remove", &[&carol.number])?;
    alice.wait_member(&den, &ghost(world, &carol), "leave").await?;
    wait::until("nothing is left to do", wait::STEP, || async {
        let open =
            world.database.number("SELECT COUNT(*) FROM group_chat WHERE unsettled > 0 OR picture_stale > 0").await?;
        Ok((open == 0).then_some(()))
    })
    .await?;
    ensure!(look(&alice, &den).await?.0 == "Our den", "it was renamed without the power for it");
    Ok(())
}

async fn two_chats_that_are_one_close_nobodys_room(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account_by_number("alice")?;
    world.management(&alice).await?.login_by_qr(&world.phones, &account).await?;
    set_level(world, &alice, "admin").await?;
    let dave = world.phones.create_account_by_number("dave")?;
    let (network, bot) = (world.phones.simulator().clone(), world.bridge.slot().bot());
    network.set_addressing(&dave.number, Addressing::PnAlone)?;
    world.phones.send(&dave.number, &account.number, "by number alone").await?;
    wait_said(&alice, "by number alone").await?;
    let den = room_of(world, &alice, true).await?;
    alice.send_text(&den, &format!("!wa bridge +{} --overwrite", dave.number)).await?;
    wait_told(&alice, &bot, &den, BRIDGED).await?;
    world.bridge.wait_idle().await?;
    network.set_addressing(&dave.number, Addressing::LidAlone)?;
    network.set_addressing(&account.number, Addressing::Lid)?;
    world.phones.send(&dave.number, &account.number, "by LID alone").await?;
    let next = wait_said(&alice, "by LID alone").await?.room;
    ensure!(next != den, "one room already: this story proves nothing");
    network.set_addressing(&dave.number, Addressing::Lid)?;
    world.phones.send(&dave.number, &account.number, "by both").await?;
    wait_told(&alice, &bot, &den, "It goes on here").await?;
    ensure!(wait_said(&alice, "by both").await?.room == next, "the old room is in use");
    world.bridge.wait_idle().await?;
    ensure!(alice.find_state(&den, "m.room.tombstone", "").await?.is_none(), "her room was closed");
    let count = async |what: &str| world.database.number(&format!("SELECT COUNT(*) FROM {what}")).await;
    ensure!(count("inbox WHERE state = 'failed'").await? == 0, "the merge has failed");
    ensure!(count("plumbed_room").await? == 0, "it is still kept as a chat's");
    // The chat's room is not ended from here.
    alice.send_text(&den, "!wa unbridge").await?;
    wait_told(&alice, &bot, &den, "The chat has another room already").await?;
    ensure!(alice.members(&next).await?.contains(&bot), "the wrong room was given up");
    Ok(())
}

async fn a_group_that_was_not_read_takes_no_look_away(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    set_level(world, &alice, "admin").await?;
    let (alices, bot) = (world.management(&alice).await?, world.bridge.slot().bot());
    let group = Group::create(&world.phones, &bob, "Choir", &[&account])?;
    without_room(world, &alices, &group.room_of(&alice).await?).await?;
    // Else it is made another room as soon as it is read.
    alices.ask("filter allow", "lets no new chat have a room").await?;
    let den = room_of(world, &alice, true).await?;
    let before = look(&alice, &den).await?;
    world.bridge.wait_idle().await?;
    world.bridge.stop().await?;
    world.database.execute("DELETE FROM group_chat").await?;
    cut(world, &account, true)?;
    world.bridge.start().await?;
    alice.send_text(&den, &format!("!wa bridge {}", group.jid)).await?;
    wait_waiting(world, 1).await?;
    cut(world, &account, false)?;
    wait_told(&alice, &bot, &den, BRIDGED).await?;
    alice.wait_member(&den, &ghost(world, &bob), "join").await?;
    world.bridge.wait_idle().await?;
    ensure!(look(&alice, &den).await? == before, "it looks otherwise");
    Ok(())
}
