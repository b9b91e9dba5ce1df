//! Steps that stories about kinds of messages share.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::InboxItem;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options};

/// A plain text.
pub fn text(text: &str) -> Kind {
    Kind::Text { text: text.to_owned() }
}

/// Any message, with the proto's field names.
pub fn raw(message: Value) -> Kind {
    Kind::Raw { message: Some(message), protobuf: None }
}

/// The contact's phone sends something to the person; its id.
pub async fn contact_sends(world: &World, chat: &Chat, kind: Kind) -> Result<String> {
    contact_sends_with(world, chat, kind, Options::default()).await
}

/// As [`contact_sends`], with options.
pub async fn contact_sends_with(world: &World, chat: &Chat, kind: Kind, options: Options) -> Result<String> {
    let (from, to) = (&chat.contact().number, &chat.login().number);
    let ids = world.phones.simulator().send_kind_with(from, to, kind, options).await?;
    ids.into_iter().next().context("nothing was sent")
}

/// Waits until the person's client has an event of the chat's room.
pub async fn wait_event(chat: &Chat, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
    let room = chat.room()?;
    chat.person().wait_event(what, wait::STEP, |event| event.room == room && wanted(event)).await
}

/// Waits until the contact's phone has a message.
pub async fn wait_item(world: &World, chat: &Chat, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<InboxItem> {
    let number = chat.contact().number.clone();
    wait::until(what, wait::STEP, || async {
        Ok(world.phones.inbox(&number).into_iter().find(|item| wanted(&item.message)))
    })
    .await
    .with_context(|| format!("the phone has {:?}", world.phones.inbox(&number)))
}

/// Whether an event is new content for another.
pub fn edits(event: &Event, target: &str) -> bool {
    let relation = &event.content["m.relates_to"];
    relation["rel_type"] == "m.replace" && relation["event_id"] == target
}

/// Events of the room as the homeserver has them, that fit.
pub async fn count(chat: &Chat, wanted: impl Fn(&Event) -> bool) -> Result<usize> {
    Ok(chat.person().history(&chat.room()?).await?.iter().filter(|event| wanted(event)).count())
}

/// Sets a piece of the chat's room state.
pub async fn set_state(person: &Person, room: &str, kind: &str, key: &str, content: &Value) -> Result<String> {
    let path = ["_matrix", "client", "v3", "rooms", room, "state", kind, key];
    let answer = person.client().put(&path, content).await?;
    Ok(answer["event_id"].as_str().context("no event id")?.to_owned())
}

/// The room's pins, oldest first.
pub async fn pins(chat: &Chat) -> Result<Vec<String>> {
    let content = chat.person().find_state(&chat.room()?, "m.room.pinned_events", "").await?.unwrap_or_default();
    let pins = content["pinned"].as_array().cloned().unwrap_or_default();
    Ok(pins.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Waits until the room has exactly these pins.
pub async fn wait_pins(chat: &Chat, what: &str, wanted: &[&str]) -> Result<()> {
    wait::until(what, wait::STEP, || async { Ok((pins(chat).await? == wanted).then_some(())) })
        .await
        .with_context(|| format!("wanted {wanted:?}"))
}

/// The person sets the room's pins.
pub async fn set_pins(chat: &Chat, pins: &[&str]) -> Result<String> {
    set_state(chat.person(), &chat.room()?, "m.room.pinned_events", "", &json!({ "pinned": pins })).await
}

/// Starts the bridge so that it dies at a point, lets something happen, waits for the death and starts it again.
pub async fn die_at(world: &mut World, point: &str, act: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points(&format!("{point}=1*return")).await?;
    act(world).await?;
    if world.bridge.is_running()? {
        world.bridge.wait_exit(wait::STEP * 2).await.with_context(|| format!("it did not die at {point}"))?;
    }
    ensure!(!world.bridge.is_running()?, "it did not die at {point}");
    world.bridge.start().await
}
