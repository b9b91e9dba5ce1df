//! Pinned messages, both ways.

use anyhow::{Context, Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::Kind;

use crate::acts::{contact_sends, die_at, pins, raw, set_pins, text, wait_event, wait_item, wait_pins};

matrix_bed::stories! {
    shared {
        pins_of_whatsapp_are_the_rooms_pins
        pins_of_the_room_are_pins_of_whatsapp
        killed_around_a_pin
        nobody_pins_a_message_of_another_chat
    }
}

fn pin(target: &str, unpin: bool) -> Kind {
    Kind::Pin { target: target.to_owned(), seconds: None, unpin }
}

fn pins_item(message: &Value, id: &str, kind: &str) -> bool {
    let pin = &message["pinInChatMessage"];
    pin["key"]["id"] == id && pin["type"] == kind
}

async fn pins_of_whatsapp_are_the_rooms_pins(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let mut said = Vec::new();
    for words in ["first", "second"] {
        let id = contact_sends(world, &chat, text(words)).await?;
        said.push((id, wait_event(&chat, words, |event| event.body() == words).await?.id));
    }
    let (first, second) = (&said[0], &said[1]);
    // One of the person's own, which is not WhatsApp's business.
    let state = chat.person().find_state(&chat.room()?, "m.room.name", "").await?;
    ensure!(state.is_some(), "the room has a name");
    let create = chat.person().history(&chat.room()?).await?.into_iter().find(|event| event.kind == "m.room.create");
    let create = create.context("no creation")?.id;
    set_pins(&chat, &[&create]).await?;
    contact_sends(world, &chat, pin(&first.0, false)).await?;
    wait_pins(&chat, "the first is pinned", &[&create, &first.1]).await?;
    world.bridge.restart().await?;
    contact_sends(world, &chat, pin(&second.0, false)).await?;
    wait_pins(&chat, "both are pinned", &[&create, &first.1, &second.1]).await?;
    contact_sends(world, &chat, pin(&first.0, true)).await?;
    wait_pins(&chat, "the second stays", &[&create, &second.1]).await?;
    // The bridge's own events come back as nothing.
    chat.begin("and a word").await?;
    world.bridge.wait_idle().await?;
    let echoes = world.phones.inbox(&chat.contact().number);
    ensure!(!echoes.iter().any(|item| item.message["pinInChatMessage"].is_object()), "{echoes:?}");
    contact_sends(world, &chat, pin(&second.0, true)).await?;
    wait_pins(&chat, "only the person's own is left", &[&create]).await?;
    // Older than what is known: nothing.
    let key = json!({ "remoteJid": format!("{}@lid", chat.contact().lid), "fromMe": true, "id": second.0 });
    let late = json!({ "pinInChatMessage": { "key": key, "type": "PIN_FOR_ALL", "senderTimestampMs": "1000" } });
    contact_sends(world, &chat, raw(late)).await?;
    chat.begin("and another word").await?;
    ensure!(pins(&chat).await? == [create], "an old pin came back");
    Ok(())
}

async fn pins_of_the_room_are_pins_of_whatsapp(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let id = contact_sends(world, &chat, text("to be pinned")).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "to be pinned").await?.id;
    let mine = chat.person().send_text(&chat.room()?, "mine").await?;
    let my_id = wait_item(world, &chat, "mine", |message| message.to_string().contains("mine")).await?.id;
    set_pins(&chat, &[&event, &mine]).await?;
    wait_item(world, &chat, "the pin", |message| pins_item(message, &id, "PIN_FOR_ALL")).await?;
    wait_item(world, &chat, "the second pin", |message| pins_item(message, &my_id, "PIN_FOR_ALL")).await?;
    world.bridge.restart().await?;
    set_pins(&chat, &[&mine]).await?;
    wait_item(world, &chat, "the pin is gone", |message| pins_item(message, &id, "UNPIN_FOR_ALL")).await?;
    // The contact takes the other one away, and the room follows.
    let key = json!({ "remoteJid": format!("{}@lid", chat.contact().lid), "fromMe": false, "id": my_id });
    let now = json!(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis().to_string());
    let unpin = json!({ "pinInChatMessage": { "key": key, "type": "UNPIN_FOR_ALL", "senderTimestampMs": now } });
    contact_sends(world, &chat, raw(unpin)).await?;
    wait_pins(&chat, "nothing is pinned", &[]).await?;
    world.bridge.wait_idle().await?;
    let sent = world.phones.inbox(&chat.contact().number);
    let pins = sent.iter().filter(|item| item.message["pinInChatMessage"].is_object()).count();
    ensure!(pins == 3, "{pins} pins were sent: {sent:?}");
    Ok(())
}

async fn killed_around_a_pin(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let id = contact_sends(world, &chat, text("pin me")).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "pin me").await?.id;
    die_at(world, "states.pin", async |world| contact_sends(world, &chat, pin(&id, false)).await.map(drop)).await?;
    wait_pins(&chat, "it is pinned", &[&event]).await?;
    world.bridge.wait_idle().await?;
    die_at(world, "states.pins_out", async |_| set_pins(&chat, &[]).await.map(drop)).await?;
    let gone = wait_item(world, &chat, "the pin is gone", |message| pins_item(message, &id, "UNPIN_FOR_ALL")).await?;
    world.bridge.wait_idle().await?;
    let sent = world.phones.inbox(&chat.contact().number);
    let shown = sent.iter().filter(|item| item.message["pinInChatMessage"].is_object()).count();
    ensure!(shown == 1 && gone.id.starts_with("3EB0"), "{sent:?}");
    Ok(())
}

async fn nobody_pins_a_message_of_another_chat(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let other = world.chat_with(chat.person(), chat.login(), "carol")?;
    let secret = contact_sends(world, &other, text("carol's words")).await?;
    let theirs = chat.person().wait_event("carol's", wait::STEP, |event| event.body() == "carol's words").await?;
    other.begin("hello, says carol").await?;
    // The contact names a message of another chat: it waits for one of that name in theirs, and nothing is pinned.
    let key = json!({ "remoteJid": format!("{}@lid", other.contact().lid), "fromMe": false, "id": secret });
    let forged = json!({ "pinInChatMessage": { "key": key, "type": "PIN_FOR_ALL", "senderTimestampMs": "1" } });
    contact_sends(world, &chat, raw(forged)).await?;
    let id = contact_sends(world, &chat, text("bob's words")).await?;
    let event = wait_event(&chat, "bob's", |event| event.body() == "bob's words").await?.id;
    // An event of another chat pinned in this room is no message of this chat.
    set_pins(&chat, &[&theirs.id]).await?;
    set_pins(&chat, &[&theirs.id, &event]).await?;
    wait_item(world, &chat, "bob's is pinned", |message| pins_item(message, &id, "PIN_FOR_ALL")).await?;
    world.bridge.wait_idle().await?;
    for person in [chat.contact(), other.contact()] {
        let items = world.phones.inbox(&person.number);
        ensure!(
            !items.iter().any(|item| item.message["pinInChatMessage"]["key"]["id"] == secret.as_str()),
            "{items:?}"
        );
    }
    ensure!(pins(&other).await?.is_empty(), "the other room is untouched");
    Ok(())
}
