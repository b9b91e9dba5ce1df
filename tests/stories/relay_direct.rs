//! Relay mode in a chat of two, in a room of its owner's own: a guest whom they have brought writes through their account.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;

use crate::acts::wait_item;
use crate::people::wait_told;
use crate::plumbing::room_of;
use crate::relay::{bring, command};

matrix_bed::stories! {
    shared {
        a_guest_writes_in_a_chat_of_two
    }
}

/// What somebody hears for whom nobody relays.
const NOT_THEIRS: &str = "Only the owner of this WhatsApp account can write here";

async fn a_guest_writes_in_a_chat_of_two(world: &mut World) -> Result<()> {
    world.bridge.stop().await?;
    let relay = json!({ "enabled": true, "admin_only": false });
    world.bridge.reconfigure(&json!({ "bridge": { "relay": relay } }))?;
    world.bridge.start().await?;
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let chat = Chat::new(&world.phones, &alice, &account, &bob);
    let (room, bot) = (room_of(world, &alice, true).await?, world.bridge.slot().bot());
    let alices = world.management(&alice).await?;
    world.phones.save_contact(&account.number, &bob, "Uncle Bob")?;
    wait::until("he is in her address book", wait::STEP, || async {
        Ok(alices.ask("search uncle", "").await?.body().contains("Uncle Bob").then_some(()))
    })
    .await?;
    command(world, &alice, &room, &format!("bridge {}@lid", bob.lid), "is bridged to the WhatsApp chat now").await?;
    let guest = bring(world, &alice, &room, "guest", "Gus").await?;
    guest.send_text(&room, "is anybody there?").await?;
    wait_told(&guest, &bot, &room, NOT_THEIRS).await?;
    // The account is not the guest's to lend.
    command(world, &guest, &room, "set-relay", "Only").await?;
    command(world, &alice, &room, "set-relay", "now goes out through the account").await?;
    let event = guest.send_text(&room, "hello").await?;
    let hello = wait_item(world, &chat, "the guest's words", |m| m.to_string().contains("*Gus*: hello")).await?;
    ensure!(hello.from == format!("{}@s.whatsapp.net", chat.login().number), "{} sent it", hello.from);
    // The owner's own words bear no name, and the contact's answer is in the same room.
    alice.send_text(&room, "and me").await?;
    wait_item(world, &chat, "the owner's words", |m| {
        m["conversation"] == "and me" || m["extendedTextMessage"]["text"] == "and me"
    })
    .await?;
    world.phones.send(&bob.number, &account.number, "welcome, both").await?;
    guest.wait_event("the answer", wait::STEP, |event| event.room == room && event.body() == "welcome, both").await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let edit = json!({
        "msgtype": "m.text", "body": "* hello there", "m.new_content": { "msgtype": "m.text", "body": "hello there" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": event },
    });
    guest.send(&room, "m.room.message", &edit).await?;
    wait_item(world, &chat, "its new words", |m| {
        let protocol = &m["protocolMessage"];
        protocol["key"]["id"] == hello.id.as_str()
            && protocol["editedMessage"].to_string().contains("*Gus*: hello there")
    })
    .await?;
    let like = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": "👍" } });
    guest.send(&room, "m.reaction", &like).await?;
    wait_item(world, &chat, "the guest's reaction as words", |m| {
        let text = m.to_string();
        text.contains("Gus") && text.contains("👍")
    })
    .await?;
    guest.redact(&room, &event).await?;
    wait_item(world, &chat, "its deletion", |m| {
        m["protocolMessage"]["type"] == "REVOKE" && m["protocolMessage"]["key"]["id"] == hello.id.as_str()
    })
    .await?;
    command(world, &alice, &room, "unset-relay", "").await?;
    let refused = || guest.events(&room).into_iter().filter(|event| event.body().contains(NOT_THEIRS)).count();
    let before = refused();
    guest.send_text(&room, "still here?").await?;
    wait::until("the guest is refused again", wait::STEP, || async { Ok((refused() > before).then_some(())) }).await?;
    world.bridge.wait_idle().await?;
    let shown = world.phones.inbox(&chat.contact().number);
    ensure!(shown.iter().all(|item| !item.message.to_string().contains("still here")), "{shown:?}");
    // Words, the owner's words, the edit, the reaction, the deletion.
    ensure!(shown.len() == 5, "{shown:?}");
    Ok(())
}
