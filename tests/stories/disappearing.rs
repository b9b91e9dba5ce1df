//! Disappearing messages: what the removal will need is known, and messages of Matrix carry the chat's timer.

use anyhow::{Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options};

use crate::acts::{contact_sends, contact_sends_with, count, die_at, raw, text, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        a_timer_is_told_once_and_goes_with_messages
        what_disappears_and_what_is_kept_is_known
    }
    own {}
}

const DAY: u32 = 86_400;

fn is_news(event: &matrix_bed::person::Event) -> bool {
    event.content["com.beeper.action_message"]["type"] == "disappearing_timer"
}

/// Waits until exactly `rows` rows of a table of the bridge are such.
async fn wait_rows(world: &World, rows: u64, table: &str, column: &str, such: &str) -> Result<()> {
    let text = format!("UPDATE {table} SET {column} = {column} WHERE {such}");
    wait::until(&text, wait::STEP, || async { Ok((world.database.execute(&text).await? == rows).then_some(())) }).await
}

async fn a_timer_is_told_once_and_goes_with_messages(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let before = chat.person().send_text(&chat.room()?, "stays").await?;
    let stays = wait_item(world, &chat, "what stays", |message| message.to_string().contains("stays")).await?;
    ensure!(!stays.message.to_string().contains("expiration"), "{}: {}", before, stays.message);
    die_at(world, "states.timer", async |world| {
        contact_sends(world, &chat, Kind::EphemeralSetting { seconds: DAY }).await.map(drop)
    })
    .await?;
    wait_event(&chat, "the timer", is_news).await?;
    contact_sends(world, &chat, Kind::EphemeralSetting { seconds: DAY }).await?;
    chat.begin("after the timer").await?;
    ensure!(count(&chat, is_news).await? == 1, "told once");
    wait_rows(world, 1, "chat_timer", "seconds", &format!("seconds = {DAY} AND set_at > 1600000000000")).await?;
    world.bridge.restart().await?;
    chat.person().send_text(&chat.room()?, "goes").await?;
    let goes = wait_item(world, &chat, "what goes", |message| message.to_string().contains("goes")).await?;
    let info = &goes.message["extendedTextMessage"]["contextInfo"];
    ensure!(info["expiration"] == DAY && info["ephemeralSettingTimestamp"].to_string().len() >= 10, "{}", goes.message);
    wait_rows(world, 1, "expiry", "kept", &format!("wa_id = '{}' AND kept = 0", goes.id)).await?;
    // Older news changes nothing.
    let old = json!({ "protocolMessage": {
        "type": "EPHEMERAL_SETTING", "ephemeralExpiration": 60, "ephemeralSettingTimestamp": "1500000000",
    } });
    contact_sends(world, &chat, raw(old)).await?;
    contact_sends(world, &chat, Kind::EphemeralSetting { seconds: 0 }).await?;
    wait_event(&chat, "no timer", |event| is_news(event) && event.content["com.beeper.action_message"]["timer"] == 0)
        .await?;
    ensure!(count(&chat, is_news).await? == 2, "the old one is not told");
    chat.person().send_text(&chat.room()?, "remains").await?;
    let stays = wait_item(world, &chat, "what remains", |message| message.to_string().contains("remains")).await?;
    ensure!(!stays.message.to_string().contains("expiration"), "{}", stays.message);
    Ok(())
}

async fn what_disappears_and_what_is_kept_is_known(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let gone = Options { expiration: DAY, ..Options::default() };
    let id = contact_sends_with(world, &chat, text("soon gone"), gone.clone()).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "soon gone").await?;
    ensure!(event.content["com.beeper.disappearing_timer"]["timer"] == u64::from(DAY) * 1000, "{}", event.content);
    let row = |kept: u8| format!("wa_id = '{id}' AND kept = {kept} AND expires_at > 1600000000000");
    wait_rows(world, 1, "expiry", "kept", &row(0)).await?;
    // The chat's timer was set before the bridge was there: the message has told of it.
    wait_rows(world, 1, "chat_timer", "seconds", &format!("seconds = {DAY}")).await?;
    contact_sends(world, &chat, Kind::Keep { target: id.clone(), undo: false }).await?;
    wait_rows(world, 1, "expiry", "kept", &row(1)).await?;
    world.bridge.restart().await?;
    contact_sends(world, &chat, Kind::Keep { target: id.clone(), undo: true }).await?;
    wait_rows(world, 1, "expiry", "kept", &row(0)).await?;
    // Somebody of another chat keeps nothing here.
    let other = world.chat_with(chat.person(), chat.login(), "carol")?;
    other.begin("hello, says carol").await?;
    let key = json!({ "remoteJid": format!("{}@lid", chat.contact().lid), "fromMe": false, "id": id });
    let keep: Value = json!({ "keepInChatMessage": { "key": key, "keepType": "KEEP_FOR_ALL", "timestampMs": "1" } });
    contact_sends(world, &other, raw(keep)).await?;
    other.begin("and a word of carol").await?;
    world.bridge.wait_idle().await?;
    wait_rows(world, 1, "expiry", "kept", &row(0)).await?;
    wait_rows(world, 1, "inbox", "state", "state = 'parked'").await?;
    Ok(())
}
