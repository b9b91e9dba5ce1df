//! Files that are gone from WhatsApp's servers while the phone does not answer: asked for again, by itself and by word.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::group::Group;
use matrix_bed::person::Event;
use matrix_bed::world::World;
use serde_json::json;
use std::time::Duration;
use whatsapp_sim::{Direction, Effect, Kind, Media, Rule};

use crate::acts::{contact_sends, count};

matrix_bed::stories! {
    shared {
        a_silent_phone_is_asked_again
        killed_as_a_phone_is_silent
        a_file_of_a_group_is_asked_of_the_phone
    }
}

/// The library waits half a minute for a phone.
const LIMIT: Duration = Duration::from_secs(120);

fn photo(caption: &str) -> Kind {
    Kind::Image(Media { caption: Some(caption.into()), ..Media::default() })
}

/// The phone does not hear the next question for a file.
fn hush(world: &World, chat: &Chat) -> Result<()> {
    let rule = Rule::new(Effect::Drop, Direction::FromClient, "receipt:server-error", 1)?;
    world.phones.simulator().add_rule(&chat.login().number, rule)
}

async fn wait(chat: &Chat, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
    let room = chat.room()?;
    chat.person().wait_event(what, LIMIT, |event| event.room == room && wanted(event)).await
}

fn is_photo(event: &Event, caption: &str) -> bool {
    event.is_message("m.image") && event.body() == caption && event.content["url"].is_string()
}

fn is_notice(event: &Event, caption: &str) -> bool {
    event.is_message("m.notice") && event.body().contains("did not answer") && event.body().contains(caption)
}

async fn a_silent_phone_is_asked_again(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.bridge.stop().await?;
    for caption in ["the first", "the second"] {
        contact_sends(world, &chat, photo(caption)).await?;
    }
    world.phones.simulator().expire_media(404);
    hush(world, &chat)?;
    world.bridge.start().await?;
    let notice = wait(&chat, "a word about the second", |event| is_notice(event, "the second")).await?;
    wait(&chat, "a word about the first", |event| is_notice(event, "the first")).await?;
    world.bridge.wait_idle().await?;
    // What the phone was asked for is known after a kill.
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let retry = async |target: &str| {
        let relation = json!({ "m.in_reply_to": { "event_id": target } });
        let content = json!({ "msgtype": "m.text", "body": "!wa retry", "m.relates_to": relation });
        chat.person().send(&chat.room()?, "m.room.message", &content).await
    };
    let innocent = chat.person().send_text(&chat.room()?, "has not failed").await?;
    retry(&innocent).await?;
    wait(&chat, "words about it", |event| event.body().contains("That message has not failed")).await?;
    // One is meant; as the phone answers for it, the other one is asked for by itself.
    retry(&notice.id).await?;
    wait(&chat, "an answer", |event| event.body() == "Trying that message again.").await?;
    wait(&chat, "the second photo", |event| is_photo(event, "the second")).await?;
    wait(&chat, "the first photo, by itself", |event| is_photo(event, "the first")).await?;
    world.bridge.wait_idle().await?;
    for caption in ["the first", "the second"] {
        ensure!(count(&chat, |event| is_photo(event, caption)).await? == 1, "{caption} is there twice");
        ensure!(count(&chat, |event| is_notice(event, caption)).await? == 1, "{caption} was told twice");
    }
    Ok(())
}

async fn killed_as_a_phone_is_silent(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.bridge.kill9()?;
    contact_sends(world, &chat, photo("in the end")).await?;
    world.phones.simulator().expire_media(404);
    hush(world, &chat)?;
    world.bridge.start_with_kill_points("files.asked=1*return").await?;
    world.bridge.wait_exit(LIMIT).await?;
    world.bridge.start().await?;
    wait(&chat, "the photo", |event| is_photo(event, "in the end")).await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, |event| is_photo(event, "in the end")).await? == 1, "it is there twice");
    // When it is time, a connect asks again by itself.
    world.bridge.stop().await?;
    contact_sends(world, &chat, photo("in time")).await?;
    world.phones.simulator().expire_media(404);
    hush(world, &chat)?;
    world.bridge.start().await?;
    wait(&chat, "a word about it", |event| is_notice(event, "in time")).await?;
    world.bridge.wait_idle().await?;
    world.bridge.kill9()?;
    ensure!(world.database.execute("UPDATE file_wish SET next_at = 0").await? == 1, "one file is asked for");
    world.bridge.start().await?;
    wait(&chat, "the other photo", |event| is_photo(event, "in time")).await?;
    Ok(())
}

async fn a_file_of_a_group_is_asked_of_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let group = Group::create(&world.phones, chat.contact(), "Photos", &[chat.login()])?;
    let room = group.room_of(chat.person()).await?;
    world.bridge.kill9()?;
    let simulator = world.phones.simulator();
    simulator.send_kind(&chat.contact().number, &group.jid, photo("of a group")).await?;
    simulator.expire_media(410);
    world.bridge.start().await?;
    chat.person().wait_event("the photo", LIMIT, |event| event.room == room && is_photo(event, "of a group")).await?;
    Ok(())
}
