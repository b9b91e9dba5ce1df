//! Choices pressed by answering, threads, and albums.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Choice, Kind, ListSection, Options};

use crate::acts::{contact_sends, contact_sends_with, raw, text, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        a_number_presses_a_button
        a_row_of_a_list_is_chosen_by_its_words
        comments_are_threads_both_ways
        an_albums_pictures_name_its_notice
    }
}

fn choice(id: &str, title: &str) -> Choice {
    Choice { id: id.into(), title: title.into(), description: None }
}

async fn answer(chat: &Chat, target: &str, words: &str) -> Result<String> {
    let content = json!({
        "msgtype": "m.text", "body": words, "m.relates_to": { "m.in_reply_to": { "event_id": target } },
    });
    chat.person().send(&chat.room()?, "m.room.message", &content).await
}

async fn a_number_presses_a_button(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let buttons = vec![choice("yes-id", "Yes"), choice("no-id", "No")];
    let offer = Kind::Buttons { text: "Shall we?".into(), footer: None, buttons };
    let id = contact_sends(world, &chat, offer).await?;
    let event = wait_event(&chat, "the offer", |event| event.body().contains("Shall we?")).await?;
    ensure!(event.body().contains("2. No"), "{}", event.body());
    world.bridge.restart().await?;
    // A number right after it, without an answer's relation.
    chat.person().send_text(&chat.room()?, "2").await?;
    let is_press = |message: &Value, id: &str| message["buttonsResponseMessage"]["selectedButtonId"] == id;
    let press = wait_item(world, &chat, "the press", |message| is_press(message, "no-id")).await?;
    let info = &press.message["buttonsResponseMessage"]["contextInfo"];
    ensure!(info["stanzaId"] == id.as_str(), "{}", press.message);
    // Later a number alone is only a number, and an answer still presses.
    chat.begin("something else").await?;
    chat.person_says("1").await?;
    chat.wait_at_contact("1").await?;
    answer(&chat, &event.id, "1.").await?;
    wait_item(world, &chat, "the other press", |message| is_press(message, "yes-id")).await?;
    answer(&chat, &event.id, "neither of them").await?;
    let said = wait_item(world, &chat, "an answer", |message| message.to_string().contains("neither of them")).await?;
    ensure!(said.text.as_deref() == Some("neither of them"), "{}", said.message);
    Ok(())
}

async fn a_row_of_a_list_is_chosen_by_its_words(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let rows = vec![choice("row-tea", "Green tea"), choice("row-coffee", "Coffee")];
    let sections = vec![ListSection { title: "Drinks".into(), rows }];
    let offer = Kind::List { title: "Menu".into(), text: "What will it be?".into(), button: "Look".into(), sections };
    contact_sends(world, &chat, offer).await?;
    let event = wait_event(&chat, "the list", |event| event.body().contains("What will it be?")).await?;
    world.bridge.restart().await?;
    answer(&chat, &event.id, "green TEA").await?;
    wait_item(world, &chat, "the choice", |message| {
        message["listResponseMessage"]["singleSelectReply"]["selectedRowId"] == "row-tea"
    })
    .await?;
    Ok(())
}

async fn comments_are_threads_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let id = contact_sends(world, &chat, text("a topic")).await?;
    let topic = wait_event(&chat, "the topic", |event| event.body() == "a topic").await?;
    let in_thread = async |words: &str| {
        let relation = json!({
            "rel_type": "m.thread", "event_id": topic.id, "is_falling_back": true,
            "m.in_reply_to": { "event_id": topic.id },
        });
        let content = json!({ "msgtype": "m.text", "body": words, "m.relates_to": relation });
        chat.person().send(&chat.room()?, "m.room.message", &content).await
    };
    // Most chats have no threads: it is an answer.
    in_thread("an aside").await?;
    let aside = wait_item(world, &chat, "an answer", |message| message.to_string().contains("an aside")).await?;
    ensure!(aside.message["extendedTextMessage"]["contextInfo"]["stanzaId"] == id.as_str(), "{}", aside.message);
    // Where a comment came, threads are comments.
    let key = json!({ "remoteJid": format!("{}@lid", chat.contact().lid), "fromMe": true, "id": id });
    let said = json!({ "message": { "conversation": "a comment" }, "targetMessageKey": key });
    contact_sends(world, &chat, raw(json!({ "commentMessage": said }))).await?;
    let comment = wait_event(&chat, "the comment", |event| event.body() == "a comment").await?;
    let relation = &comment.content["m.relates_to"];
    ensure!(relation["rel_type"] == "m.thread" && relation["event_id"] == topic.id.as_str(), "{}", comment.content);
    world.bridge.restart().await?;
    in_thread("a comment of mine").await?;
    let mine = wait_item(world, &chat, "the comment", |message| message.to_string().contains("a comment of mine"));
    let mine = mine.await?;
    ensure!(mine.message["commentMessage"]["targetMessageKey"]["id"] == id.as_str(), "{}", mine.message);
    Ok(())
}

async fn an_albums_pictures_name_its_notice(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let album = contact_sends_with(world, &chat, Kind::Album { images: 2, videos: 0 }, Options::default()).await?;
    let notice =
        wait_event(&chat, "the album", |event| event.is_message("m.notice") && event.body().contains("2")).await?;
    world.bridge.restart().await?;
    let room = chat.room()?;
    matrix_bed::wait::until("both pictures", matrix_bed::wait::STEP, || async {
        let events = chat.person().history(&room).await?;
        let named = events.iter().filter(|event| event.content["org.matrix-whatsapp.album"] == notice.id.as_str());
        Ok((named.count() == 2).then_some(()))
    })
    .await?;
    ensure!(!album.is_empty());
    Ok(())
}
