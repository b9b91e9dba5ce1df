//! Blocked contacts: by command, on the phone, and what they may not bother anybody with.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::{Event, Person};
use matrix_bed::wait;
use matrix_bed::world::World;
use whatsapp_sim::{Direction, Effect, Rule};

use super::acts::die_at;
use super::people::bring_stranger;

matrix_bed::stories! {
    shared {
        a_contact_is_blocked_and_unblocked_by_command
        nobody_blocks_through_somebody_elses_account
        what_the_phone_blocks_is_told_once
        a_block_nobody_told_of_is_found_with_the_next_connection
        status_posts_of_the_blocked_bother_nobody
    }
}

const BLOCKED: &str = "This contact is blocked on WhatsApp: nothing";
const UNBLOCKED: &str = "This contact is no longer blocked";

async fn wait_told(person: &Person, room: &str, words: &str) -> Result<Event> {
    person.wait_event(words, wait::STEP, |event| event.room == room && event.body().contains(words)).await
}

/// A chat of an account whose list of the blocked was told once.
async fn begin(world: &mut World) -> Result<Chat> {
    let chat = world.begin().await?;
    wait::until("the first list", wait::STEP, || async {
        let known = world.database.number("SELECT COUNT(*) FROM blocked WHERE person = ''").await?;
        Ok((known == 1).then_some(()))
    })
    .await?;
    Ok(chat)
}

/// How often a room was told something.
async fn times(chat: &Chat, words: &str) -> Result<usize> {
    let history = chat.person().history(&chat.room()?).await?;
    Ok(history.iter().filter(|event| event.body().contains(words)).count())
}

async fn wait_times(chat: &Chat, words: &str, wanted: usize) -> Result<()> {
    let what = format!("{words:?} {wanted} times");
    wait::until(&what, wait::STEP, || async { Ok((times(chat, words).await? == wanted).then_some(())) }).await
}

fn is_blocked(world: &World, chat: &Chat) -> Result<bool> {
    Ok(world.phones.simulator().blocked(&chat.login().number)?.contains(&chat.contact().number))
}

async fn a_contact_is_blocked_and_unblocked_by_command(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    alice.send_text(&room, "!wa unblock").await?;
    wait_told(&alice, &room, "is not blocked").await?;
    alice.send_text(&room, "!wa block").await?;
    wait_times(&chat, BLOCKED, 1).await?;
    ensure!(is_blocked(world, &chat)?, "nobody is blocked");
    alice.send_text(&room, "!wa block").await?;
    wait_told(&alice, &room, "is blocked already").await?;
    // What is said now goes nowhere, and says so.
    let said = alice.send_text(&room, "do you hear me?").await?;
    wait_told(&alice, &room, "so this was not sent").await?;
    ensure!(chat.find_at_contact("do you hear me?").is_none(), "it was sent");
    // What was said before can still be taken back.
    world.bridge.restart().await?;
    alice.send_text(&room, "!wa unblock").await?;
    wait_times(&chat, UNBLOCKED, 1).await?;
    ensure!(!is_blocked(world, &chat)?, "somebody is blocked");
    alice.send_text(&room, &format!("!wa retry {said}")).await?;
    chat.wait_at_contact("do you hear me?").await?;
    chat.contact_says("I do again").await?;
    chat.wait_in_room("I do again").await?;
    // With a number, from elsewhere; the chat's room is told, too.
    let managing = world.management(&alice).await?;
    let number = chat.contact().number.clone();
    managing.ask(&format!("block +{number}"), "Blocked.").await?;
    wait_times(&chat, BLOCKED, 2).await?;
    managing.ask(&format!("unblock +{number}"), "No longer blocked.").await?;
    wait_times(&chat, UNBLOCKED, 2).await?;
    managing.ask("block", "no WhatsApp chat").await?;
    managing.ask("block nobody", "the number with its country code").await?;
    managing.ask(&format!("block +{}", chat.login().number), "Only other people").await?;
    Ok(())
}

async fn nobody_blocks_through_somebody_elses_account(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let room = chat.room()?;
    let carol = bring_stranger(world, &chat).await?;
    carol.send_text(&room, "!wa block").await?;
    wait_told(&carol, &room, "Only the owner").await?;
    let managing = world.management(&carol).await?;
    managing.ask(&format!("block +{}", chat.contact().number), "not logged in").await?;
    ensure!(!is_blocked(world, &chat)?, "somebody else has blocked the contact");
    Ok(())
}

async fn what_the_phone_blocks_is_told_once(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let (number, peer) = (chat.login().number.clone(), chat.contact().number.clone());
    let simulator = world.phones.simulator().clone();
    die_at(world, "states.blocked", async |world| {
        wait::until("the login is connected", wait::STEP, || async {
            Ok(world.phones.is_connected(&number).then_some(()))
        })
        .await?;
        simulator.set_blocked(&number, &peer, true)
    })
    .await?;
    wait_times(&chat, BLOCKED, 1).await?;
    world.bridge.restart().await?;
    chat.person().send_text(&chat.room()?, "into nothing").await?;
    wait_told(chat.person(), &chat.room()?, "so this was not sent").await?;
    simulator.set_blocked(&number, &peer, false)?;
    wait_times(&chat, UNBLOCKED, 1).await?;
    chat.person_says("and now?").await?;
    chat.wait_at_contact("and now?").await?;
    ensure!(times(&chat, BLOCKED).await? == 1 && times(&chat, UNBLOCKED).await? == 1, "told twice");
    Ok(())
}

async fn a_block_nobody_told_of_is_found_with_the_next_connection(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let (number, peer) = (chat.login().number.clone(), chat.contact().number.clone());
    let simulator = world.phones.simulator().clone();
    let asked = || {
        simulator
            .requests(&number)
            .iter()
            .filter(|(kind, _)| kind.starts_with("blocklist get"))
            .map(|(_, count)| *count)
            .sum::<u64>()
    };
    // The word of it is lost twice.
    simulator.add_rule(&number, Rule::new(Effect::Drop, Direction::ToClient, "notification:account_sync", 2)?)?;
    simulator.set_blocked(&number, &peer, true)?;
    chat.person_says("nobody has told me").await?;
    chat.wait_at_contact("nobody has told me").await?;
    ensure!(times(&chat, BLOCKED).await? == 0, "it was heard");
    world.bridge.kill9()?;
    let before = asked();
    world.bridge.start().await?;
    wait_times(&chat, BLOCKED, 1).await?;
    // The library asks with each connection, and nobody beside it.
    ensure!(asked() == before + 1, "the list was asked for {} times", asked() - before);
    // Now the word comes, and is nothing new.
    world.bridge.restart().await?;
    world.phones.wait_settled(wait::STEP).await?;
    chat.person().send_text(&chat.room()?, "!wa block").await?;
    wait_told(chat.person(), &chat.room()?, "is blocked already").await?;
    ensure!(times(&chat, BLOCKED).await? == 1, "told twice");
    Ok(())
}

async fn status_posts_of_the_blocked_bother_nobody(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let carol = world.phones.create_account("carol")?;
    let (alice, number) = (chat.person().clone(), chat.login().number.clone());
    let simulator = world.phones.simulator().clone();
    let post = |text: &str| simulator.post_status(&chat.contact().number, &[number.as_str()], text);
    post("at the sea")?;
    let first = alice.wait_event("the first post", wait::STEP, |event| event.body() == "at the sea").await?;
    simulator.set_blocked(&number, &chat.contact().number, true)?;
    wait_times(&chat, BLOCKED, 1).await?;
    post("in the hills")?;
    // Known from the first moment of a start on, before WhatsApp says it again.
    world.bridge.kill9()?;
    post("in the woods")?;
    simulator.post_status(&carol.number, &[number.as_str()], "a word of carol")?;
    world.bridge.start().await?;
    let last = alice.wait_event("carol's post", wait::STEP, |event| event.body() == "a word of carol").await?;
    ensure!(last.room == first.room, "a room of its own");
    let history = alice.history(&first.room).await?;
    for text in ["in the hills", "in the woods"] {
        ensure!(history.iter().all(|event| event.body() != text), "{text:?} is shown");
    }
    simulator.set_blocked(&number, &chat.contact().number, false)?;
    wait_times(&chat, UNBLOCKED, 1).await?;
    post("back home")?;
    alice.wait_event("the last post", wait::STEP, |event| event.body() == "back home").await.map(drop)
}
