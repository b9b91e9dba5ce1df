//! Commands to find people, to look at chats again, and to give powers.

use anyhow::{Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::wait;
use matrix_bed::world::World;
use whatsapp_sim::{Direction, Effect, Rule};

use crate::groups::tiny_jpeg;
use crate::people::{set_level, wait_told};

matrix_bed::stories! {
    shared {
        people_are_searched_and_chats_looked_at_again
        only_administrators_give_powers
    }
}

async fn people_are_searched_and_chats_looked_at_again(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let bob = world.chat_with(&alice, &account, "bob")?;
    world.phones.save_contact(&account.number, bob.contact(), "Bob from the choir")?;
    bob.begin("hello from bob").await?;
    let is_listed = async || {
        let told = alices.ask("search CHOIR", "").await?;
        Ok(told.body().contains(&bob.room()?).then_some(()))
    };
    wait::until("bob is found by name", wait::STEP, is_listed).await?;
    let number = &bob.contact().number;
    let told = alices.ask(&format!("search +{}", &number[..5]), "Bob from the choir").await?;
    ensure!(told.body().contains(&format!("+{number}")), "{}", told.body());
    alices.ask("search nobody of this name", "Nobody of that name").await?;
    alices.ask("search", "Say `search").await?;
    // Nobody else finds whom she knows.
    let (_, _, mallorys) = world.log_in("mallory").await?;
    mallorys.ask("search choir", "Nobody of that name").await?;

    // What changed unheard shows when it is asked for, and only what is asked for.
    let group = Group::create(&world.phones, bob.contact(), "Singers", &[&account])?;
    let room = group.room_of(&alice).await?;
    let ghost = bob.wait_in_room("hello from bob").await?.sender;
    let name = async || Ok::<_, anyhow::Error>(alice.find_state(&room, "m.room.name", "").await?.unwrap_or_default());
    let has_picture = async || {
        let shown = alice.find_state(&bob.room()?, "m.room.member", &ghost).await?.unwrap_or_default();
        Ok::<_, anyhow::Error>(shown["avatar_url"].as_str().is_some_and(|url| !url.is_empty()))
    };
    let (simulator, number) = (world.phones.simulator().clone(), &bob.contact().number);
    wait::until("the group has its name", wait::STEP, async || {
        Ok(name().await?["name"].as_str().is_some_and(|name| name.contains("Singers")).then_some(()))
    })
    .await?;
    let unheard = Rule::new(Effect::Drop, Direction::ToClient, "notification:w:gp2", 1)?;
    simulator.add_rule(&account.number, unheard)?;
    simulator.set_group_subject(number, &group.jid, "Choir of Sundays")?;
    simulator.set_privacy(number, "profile", "none")?;
    simulator.set_picture(number, Some(tiny_jpeg()))?;
    simulator.set_privacy(number, "profile", "all")?;
    alices.ask("sync nothing", "Say `sync").await?;
    world.bridge.wait_idle().await?;
    ensure!(!name().await?.to_string().contains("Sundays") && !has_picture().await?, "it was heard of");

    alices.ask("sync groups", "I look at one chat again").await?;
    wait::until("the group's new name", wait::STEP, async || {
        Ok(name().await?.to_string().contains("Choir of Sundays").then_some(()))
    })
    .await?;
    ensure!(!has_picture().await?, "contacts were not asked for");
    alices.ask("sync contacts", "chat").await?;
    wait::until("bob's picture", wait::STEP, async || Ok(has_picture().await?.then_some(()))).await?;
    alices.ask("sync", "2 chats again").await?;
    mallorys.ask("sync", "nothing to look at").await?;
    world.bridge.wait_idle().await?;
    // What was lost comes again with the next connection.
    simulator.disconnect(&account.number)?;
    alice.send_text(&room, "!wa id").await?;
    wait_told(&alice, &world.bridge.slot().bot(), &room, "@g.us").await.map(drop)
}

async fn only_administrators_give_powers(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    let power = async || -> Result<i64> {
        let powers = alice.find_state(&room, "m.room.power_levels", "").await?.unwrap_or_default();
        Ok(powers["users"][alice.id()].as_i64().or_else(|| powers["users_default"].as_i64()).unwrap_or(0))
    };
    let before = power().await?;
    ensure!(before != 60, "it would show nothing");
    alice.send_text(&room, "!wa set-pl 60").await?;
    wait_told(&alice, &bot, &room, "may not use this command").await?;
    ensure!(power().await? == before, "she gave herself a power");
    set_level(world, &alice, "admin").await?;
    for wrong in ["set-pl", "set-pl 101", "set-pl alice 50", "set-pl 1 2 3"] {
        alice.send_text(&room, &format!("!wa {wrong}")).await?;
    }
    // Without the bot's own power nothing in the room could be changed any more.
    let powers = async || Ok::<_, anyhow::Error>(alice.find_state(&room, "m.room.power_levels", "").await?);
    let bots = powers().await?;
    alice.send_text(&room, &format!("!wa set-pl {bot} 0")).await?;
    wait_told(&alice, &bot, &room, "one of the bridge's own").await?;
    ensure!(powers().await? == bots, "the bot's power was changed");
    alice.send_text(&room, "!wa set-pl 60").await?;
    wait_told(&alice, &bot, &room, "has the power 60").await?;
    ensure!(power().await? == 60, "it is not so");
    let said = alice.events(&room).into_iter().filter(|one| one.sender == bot && one.body().contains("Say `set-pl"));
    ensure!(said.count() == 4, "wrong words are told");
    Ok(())
}
