//! Calls: one notice each that follows the call's life.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::Event;
use matrix_bed::wait;
use matrix_bed::world::World;

use crate::acts::{count, die_at, edits, wait_event};

matrix_bed::stories! {
    shared {
        a_call_is_one_notice_that_follows_its_life
        a_call_while_away_is_a_missed_one
        killed_around_a_call
    }
}

fn state(event: &Event) -> &str {
    event.newest_content()["com.beeper.action_message"]["state"].as_str().unwrap_or_default()
}

fn is_ringing(event: &Event) -> bool {
    state(event) == "ringing" && event.content["m.new_content"].is_null()
}

/// A call to somebody who is away is a missed one: the ring is for who is there.
async fn wait_connected(world: &World, number: &str) -> Result<()> {
    let there = || async { Ok(world.phones.is_connected(number).then_some(())) };
    wait::until("the login is connected", wait::STEP, there).await
}

async fn wait_ring(chat: &Chat, before: usize) -> Result<Event> {
    let room = chat.room()?;
    wait::until("it rings", wait::STEP, || async {
        let rings: Vec<Event> = chat.person().history(&room).await?.into_iter().filter(is_ringing).collect();
        Ok(rings.into_iter().nth(before))
    })
    .await
}

async fn wait_state(chat: &Chat, ring: &Event, wanted: &str) -> Result<Event> {
    let event = wait_event(chat, wanted, |event| edits(event, &ring.id) && state(event) == wanted).await?;
    ensure!(event.sender == ring.sender, "{} tells, not {}", event.sender, ring.sender);
    Ok(event)
}

async fn a_call_is_one_notice_that_follows_its_life(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (bob, alice) = (chat.contact().number.clone(), chat.login().number.clone());
    let ghost = chat.person().history(&chat.room()?).await?.into_iter().find(|e| e.body() == "hello, says bob");
    let ghost = ghost.map(|event| event.sender).unwrap_or_default();
    let phones = world.phones.simulator().clone();
    // Nobody answers.
    let call = phones.call(&bob, &alice, true)?;
    let ring = wait_ring(&chat, 0).await?;
    ensure!(ring.sender == ghost && ring.body().contains("Incoming video call"), "{}", ring.content);
    world.bridge.restart().await?;
    wait_connected(world, &alice).await?;
    phones.act_on_call(&bob, &call, "terminate", Some("timeout"))?;
    let missed = wait_state(&chat, &ring, "missed").await?;
    ensure!(missed.newest_content()["body"].as_str().is_some_and(|body| body.contains("Missed video call")));
    // Answered on the phone.
    let call = phones.call(&bob, &alice, false)?;
    let ring = wait_ring(&chat, 1).await?;
    phones.act_on_call(&alice, &call, "accept", None)?;
    wait_state(&chat, &ring, "answered_elsewhere").await?;
    phones.act_on_call(&bob, &call, "terminate", None)?;
    wait_state(&chat, &ring, "ended").await?;
    // Declined on the phone.
    let call = phones.call(&bob, &alice, false)?;
    let ring = wait_ring(&chat, 2).await?;
    phones.act_on_call(&alice, &call, "reject", None)?;
    wait_state(&chat, &ring, "rejected").await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, is_ringing).await? == 3, "one notice for each call");
    Ok(())
}

async fn a_call_while_away_is_a_missed_one(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (bob, alice) = (chat.contact().number.clone(), chat.login().number.clone());
    let phones = world.phones.simulator().clone();
    world.bridge.stop().await?;
    let call = phones.call(&bob, &alice, false)?;
    phones.act_on_call(&bob, &call, "terminate", Some("timeout"))?;
    world.bridge.start().await?;
    let missed = wait_event(&chat, "the missed call", |event| state(event) == "missed").await?;
    ensure!(missed.body().contains("Missed"), "{}", missed.content);
    chat.begin("and a word").await?;
    ensure!(count(&chat, |event| !state(event).is_empty()).await? == 1);
    Ok(())
}

async fn killed_around_a_call(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (bob, alice) = (chat.contact().number.clone(), chat.login().number.clone());
    let phones = world.phones.simulator().clone();
    let mut call = String::new();
    die_at(world, "states.call", async |_| {
        chat.begin("somebody is there").await?;
        call = phones.call(&bob, &alice, false)?;
        Ok(())
    })
    .await?;
    let ring = wait_ring(&chat, 0).await?;
    world.bridge.wait_idle().await?;
    die_at(world, "states.call", async |_| {
        chat.begin("and still is").await?;
        phones.act_on_call(&bob, &call, "terminate", Some("timeout"))
    })
    .await?;
    wait_state(&chat, &ring, "missed").await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, is_ringing).await? == 1, "it rang once");
    ensure!(count(&chat, |event| edits(event, &ring.id)).await? == 1, "and was missed once");
    Ok(())
}
