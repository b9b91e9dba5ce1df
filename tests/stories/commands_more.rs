//! Commands to find people, to look at chats again, and to give powers.

use anyhow::{Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::wait;
use matrix_bed::world::World;

use crate::people::{set_level, wait_told};

matrix_bed::stories! {
    shared {
        people_are_searched_and_chats_looked_at_again
        only_administrators_give_powers
    }
    own {}
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

    // What changed unheard shows when it is asked for.
    let group = Group::create(&world.phones, bob.contact(), "Singers", &[&account])?;
    let room = group.room_of(&alice).await?;
    alices.ask("sync nothing", "Say `sync").await?;
    alices.ask("sync groups", "I look at one chat again").await?;
    alices.ask("sync contacts", "chat").await?;
    alices.ask("sync", "2 chats again").await?;
    mallorys.ask("sync", "nothing to look at").await?;
    world.bridge.wait_idle().await?;
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
    alice.send_text(&room, "!wa set-pl 60").await?;
    wait_told(&alice, &bot, &room, "has the power 60").await?;
    ensure!(power().await? == 60, "it is not so");
    let said = alice.events(&room).into_iter().filter(|one| one.sender == bot && one.body().contains("Say `set-pl"));
    ensure!(said.count() == 4, "wrong words are told");
    Ok(())
}
