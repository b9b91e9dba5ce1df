//! Messages whose place is not what their stanza says: broadcast lists, own notes, and WhatsApp's bot.

use anyhow::{Context, Result, ensure};
use matrix_bed::person::{Event, Person};
use matrix_bed::wait;
use matrix_bed::world::World;
use whatsapp_sim::{AccountOptions, Addressing};

use crate::acts::{die_at, edits};

matrix_bed::stories! {
    shared {
        a_lists_message_is_in_the_chat_with_its_sender
        what_the_own_phone_sends_to_a_list_is_in_chats_with_rooms
        notes_to_oneself_have_one_room
        a_bot_writes_its_answer_piece_by_piece
    }
}

const LIST: &str = "fi.mau.whatsapp.source_broadcast_list";

async fn wait_text(person: &Person, text: &str) -> Result<Event> {
    person.wait_event(&format!("{text:?}"), wait::STEP, |event| event.body() == text).await
}

/// How often the rooms of somebody have a text, as the homeserver says.
async fn times(person: &Person, text: &str) -> Result<usize> {
    let mut count = 0;
    for room in person.rooms() {
        count += person.history(&room).await?.iter().filter(|event| event.body() == text).count();
    }
    Ok(count)
}

async fn a_lists_message_is_in_the_chat_with_its_sender(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, account, bob) = (chat.person().clone(), chat.login().clone(), chat.contact().clone());
    let carol = world.phones.create_account("carol")?;
    let simulator = world.phones.simulator().clone();
    let people = [account.number.as_str(), carol.number.as_str()];
    // Newer clients send direct messages, older ones name the list.
    let newer = simulator.create_broadcast_list(&bob.number, &people)?;
    let older = simulator.create_told_list(&bob.number, &people)?;
    world.phones.send(&bob.number, &newer, "to many").await?;
    let first = wait_text(&alice, "to many").await?;
    world.phones.send(&bob.number, &older, "to many, and said so").await?;
    let second = wait_text(&alice, "to many, and said so").await?;
    ensure!(first.room == chat.room()? && second.room == first.room, "they are elsewhere");
    ensure!(second.sender == first.sender, "{} said it", second.sender);
    ensure!(second.content[LIST] == older.as_str() && first.content[LIST].is_null(), "{}", second.content);
    // Somebody who has never written before, in the moment of a kill.
    let list = simulator.create_told_list(&carol.number, &[&account.number])?;
    die_at(world, "from_wa.after_store", async |world| {
        world.phones.send(&carol.number, &list, "hello from carol").await.map(drop)
    })
    .await?;
    let hello = wait_text(&alice, "hello from carol").await?;
    world.phones.send(&carol.number, &account.number, "and just to you").await?;
    ensure!(wait_text(&alice, "and just to you").await?.room == hello.room, "carol has two rooms");
    ensure!(times(&alice, "hello from carol").await? == 1, "it is there twice");
    Ok(())
}

async fn what_the_own_phone_sends_to_a_list_is_in_chats_with_rooms(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, account, bob) = (chat.person().clone(), chat.login().clone(), chat.contact().clone());
    let carol = world.phones.create_account("carol")?;
    let simulator = world.phones.simulator().clone();
    let both = simulator.create_broadcast_list(&account.number, &[&bob.number, &carol.number])?;
    world.phones.send(&account.number, &both, "to bob and carol").await?;
    let event = wait_text(&alice, "to bob and carol").await?;
    ensure!(event.room == chat.room()? && event.content[LIST] == both.as_str(), "{}", event.content);
    // Nobody there has a room: among the own notes it is not lost.
    let one = simulator.create_broadcast_list(&account.number, &[&carol.number])?;
    world.phones.send(&account.number, &one, "to carol").await?;
    let event = wait_text(&alice, "to carol").await?;
    let name = alice.find_state(&event.room, "m.room.name", "").await?.unwrap_or_default();
    ensure!(name["name"] == "WhatsApp: notes to yourself", "{name}");
    world.bridge.restart().await?;
    world.bridge.wait_idle().await?;
    for text in ["to bob and carol", "to carol"] {
        ensure!(times(&alice, text).await? == 1, "{text} is not there once");
    }
    Ok(())
}

async fn notes_to_oneself_have_one_room(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    world.phones.send(&account.number, &account.number, "buy bread").await?;
    let note = wait_text(&alice, "buy bread").await?;
    let name = alice.find_state(&note.room, "m.room.name", "").await?.unwrap_or_default();
    ensure!(name["name"] == "WhatsApp: notes to yourself", "{name}");
    alice.send_text(&note.room, "and butter").await?;
    let on_phone =
        || world.phones.inbox(&account.number).into_iter().any(|item| item.text.as_deref() == Some("and butter"));
    wait::until("the note is on the phone", wait::STEP, || async { Ok(on_phone().then_some(())) }).await?;
    management.ask(&format!("start-chat +{}", account.number), &note.room).await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    world.phones.send(&account.number, &account.number, "and milk").await?;
    ensure!(wait_text(&alice, "and milk").await?.room == note.room, "another room after the start");
    world.bridge.wait_idle().await?;
    for text in ["buy bread", "and butter", "and milk"] {
        ensure!(times(&alice, text).await? == 1, "{text} is not there once");
    }
    Ok(())
}

async fn a_bot_writes_its_answer_piece_by_piece(world: &mut World) -> Result<()> {
    const BOT: &str = "13135550002";
    let simulator = world.phones.simulator().clone();
    // It has no name and no LID.
    let options = AccountOptions { push_name: String::new(), addressing: Addressing::PnAlone, lid: None };
    simulator.create_account_with(BOT, &options)?;
    let (alice, account, management) = world.log_in("alice").await?;
    management.ask(&format!("start-chat +{BOT}"), "The chat is here").await?;
    let named = |event: &Event| {
        event.kind == "m.room.name" && event.content["name"].as_str().is_some_and(|name| name.starts_with("Meta AI"))
    };
    let room = alice.wait_event("the bot's room", wait::STEP, named).await?.room;
    alice.send_text(&room, "what is the time?").await?;
    let asked = || simulator.inbox(BOT).into_iter().any(|item| item.text.as_deref() == Some("what is the time?"));
    wait::until("the bot is asked", wait::STEP, || async { Ok(asked().then_some(())) }).await?;
    // Its answer is sealed with the question's secret, so there must be one.
    let question = simulator.inbox(BOT).into_iter().find(|item| item.text.is_some()).context("no question")?;
    let secret = question.message.pointer("/messageContextInfo/messageSecret").and_then(serde_json::Value::as_str);
    ensure!(secret.is_some_and(|secret| !secret.is_empty()), "a question without a secret: {:?}", question.message);
    let first = simulator.send_bot_piece(BOT, &account.number, "It", "first", None).await?;
    let event = wait_text(&alice, "It").await?;
    ensure!(event.room == room, "it answers elsewhere");
    let pieces = [("It is", "inner"), ("It is late", "inner"), ("It is late.", "last")];
    for (text, piece) in pieces {
        if piece == "last" {
            world.bridge.kill9()?;
            world.bridge.start().await?;
        }
        simulator.send_bot_piece(BOT, &account.number, text, piece, Some(&first)).await?;
        let shown = alice
            .wait_event(text, wait::STEP, |other| edits(other, &event.id) && other.newest_content()["body"] == text);
        ensure!(shown.await?.sender == event.sender, "somebody else edits");
    }
    let history = alice.history(&room).await?;
    let said: Vec<&Event> =
        history.iter().filter(|event| event.is_message("m.text") && event.sender != alice.id()).collect();
    let new = said.iter().filter(|event| event.content["m.relates_to"].is_null()).count();
    ensure!((new, said.len()) == (1, 4), "{} of {} are new", new, said.len());
    alice.members(&room).await?.iter().find(|member| **member == event.sender).context("the bot is not in its room")?;
    Ok(())
}
