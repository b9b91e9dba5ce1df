//! Live locations: one message that moves, both ways.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::Kind;

use crate::acts::{contact_sends, count, die_at, edits, set_state, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        a_live_location_of_whatsapp_is_one_message_that_moves
        a_live_location_of_matrix_moves_on_whatsapp
        killed_around_a_live_location
    }
}

const BEACON_INFO: &str = "org.matrix.msc3672.beacon_info";
const BEACON: &str = "org.matrix.msc3672.beacon";

fn at(latitude: f64, sequence: i64) -> Kind {
    Kind::LiveLocation { latitude, longitude: 2.5, caption: Some("on my way".into()), sequence: Some(sequence) }
}

fn is_at(content: &Value, latitude: &str) -> bool {
    content["geo_uri"].as_str().is_some_and(|uri| uri.starts_with(&format!("geo:{latitude}")))
}

async fn a_live_location_of_whatsapp_is_one_message_that_moves(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    contact_sends(world, &chat, at(10.5, 0)).await?;
    let first = wait_event(&chat, "the beginning", |event| is_at(&event.content, "10.5")).await?;
    ensure!(first.is_message("m.location") && first.body().contains("on my way"), "{}", first.content);
    contact_sends(world, &chat, at(11.5, 2)).await?;
    wait_event(&chat, "the move", |event| edits(event, &first.id) && is_at(event.newest_content(), "11.5")).await?;
    world.bridge.restart().await?;
    // Overtaken by the one before it.
    contact_sends(world, &chat, at(12.5, 1)).await?;
    contact_sends(world, &chat, at(13.5, 3)).await?;
    wait_event(&chat, "the next move", |event| edits(event, &first.id) && is_at(event.newest_content(), "13.5"))
        .await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, |event| is_at(event.newest_content(), "12.5")).await? == 0, "an old position was shown");
    // The contact's own phone moved, not the person's: another sharing is another message.
    contact_sends(world, &chat, at(14.5, 0)).await?;
    let another = wait_event(&chat, "another sharing", |event| is_at(&event.content, "14.5")).await?;
    ensure!(another.content["m.relates_to"].is_null(), "{}", another.content);
    let is_new =
        |event: &matrix_bed::person::Event| event.is_message("m.location") && event.content["m.new_content"].is_null();
    ensure!(count(&chat, is_new).await? == 2);
    Ok(())
}

async fn begin_sharing(chat: &Chat, live: bool) -> Result<String> {
    let content = json!({
        "description": "walking", "live": live, "timeout": 3_600_000, "org.matrix.msc3488.ts": 1_000_000,
        "org.matrix.msc3488.asset": { "type": "m.self" },
    });
    set_state(chat.person(), &chat.room()?, BEACON_INFO, chat.person().id(), &content).await
}

async fn position(chat: &Chat, start: &str, latitude: f64, ts: i64) -> Result<String> {
    let content = json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": start },
        "org.matrix.msc3488.location": { "uri": format!("geo:{latitude},3.5;u=20") },
        "org.matrix.msc3488.ts": ts,
    });
    chat.person().send(&chat.room()?, BEACON, &content).await
}

async fn a_live_location_of_matrix_moves_on_whatsapp(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let start = begin_sharing(&chat, true).await?;
    position(&chat, &start, 20.5, 1_000_000).await?;
    let here = |latitude: f64| move |message: &Value| message["liveLocationMessage"]["degreesLatitude"] == latitude;
    let first = wait_item(world, &chat, "the beginning", here(20.5)).await?;
    ensure!(first.message["liveLocationMessage"]["sequenceNumber"].to_string().contains('1'), "{}", first.message);
    world.bridge.restart().await?;
    position(&chat, &start, 21.5, 1_030_000).await?;
    let second = wait_item(world, &chat, "the move", here(21.5)).await?;
    ensure!(second.message["liveLocationMessage"]["sequenceNumber"].to_string().contains('2'), "{}", second.message);
    // Older than what is shown, of another sharing, and too soon after the last: none of them is sent.
    position(&chat, &start, 22.5, 1_010_000).await?;
    position(&chat, &first_event(&chat).await?, 23.5, 1_060_000).await?;
    position(&chat, &start, 24.5, 1_031_000).await?;
    begin_sharing(&chat, false).await?;
    wait_item(world, &chat, "the end", |message| message.to_string().contains("Live location ended")).await?;
    position(&chat, &start, 25.5, 1_090_000).await?;
    chat.person_says("and a word").await?;
    chat.wait_at_contact("and a word").await?;
    let items = world.phones.inbox(&chat.contact().number);
    let live = items.iter().filter(|item| item.message["liveLocationMessage"].is_object()).count();
    ensure!(live == 2, "{live} positions: {items:?}");
    Ok(())
}

async fn first_event(chat: &Chat) -> Result<String> {
    let events = chat.person().history(&chat.room()?).await?;
    Ok(events.into_iter().find(|event| event.kind == "m.room.message").map(|event| event.id).unwrap_or_default())
}

async fn killed_around_a_live_location(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    die_at(world, "states.live", async |world| contact_sends(world, &chat, at(10.5, 0)).await.map(drop)).await?;
    let first = wait_event(&chat, "the beginning", |event| is_at(&event.content, "10.5")).await?;
    world.bridge.wait_idle().await?;
    die_at(world, "states.live", async |world| contact_sends(world, &chat, at(11.5, 1)).await.map(drop)).await?;
    wait_event(&chat, "the move", |event| edits(event, &first.id) && is_at(event.newest_content(), "11.5")).await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, |event| event.is_message("m.location")).await? == 2, "the beginning and one move");
    let start = begin_sharing(&chat, true).await?;
    world.bridge.wait_idle().await?;
    die_at(world, "states.live_out", async |_| position(&chat, &start, 20.5, 1_000_000).await.map(drop)).await?;
    wait_item(world, &chat, "a position", |message| message["liveLocationMessage"].is_object()).await?;
    world.bridge.wait_idle().await?;
    die_at(world, "states.live_out", async |_| begin_sharing(&chat, false).await.map(drop)).await?;
    let is_end = |message: &Value| message.to_string().contains("Live location ended");
    wait_item(world, &chat, "the end", is_end).await?;
    world.bridge.wait_idle().await?;
    let items = world.phones.inbox(&chat.contact().number);
    ensure!(items.iter().filter(|item| is_end(&item.message)).count() == 1, "{items:?}");
    ensure!(items.iter().filter(|item| item.message["liveLocationMessage"].is_object()).count() == 1, "{items:?}");
    Ok(())
}
