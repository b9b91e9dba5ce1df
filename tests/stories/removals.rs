//! What people delete for themselves, on the phone and by command: chats, their messages, one message.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::group::Group;
use matrix_bed::person::{Event, Person};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;
use whatsapp_sim::Action;

use super::acts::die_at;
use super::people::{bring_stranger, wait_told};

matrix_bed::stories! {
    shared {
        a_chat_deleted_on_the_phone_takes_its_room_with_it
        rooms_of_deleted_chats_can_be_kept
        cleared_messages_stay
        cleared_messages_go_where_the_operator_wants_it
        a_message_deleted_for_oneself_goes_from_rooms_of_ones_own
        chats_are_deleted_and_cleared_by_command
    }
}

fn act(world: &World, chat: &Chat, action: &Action) -> Result<()> {
    world.phones.simulator().act(&chat.login().number, action)
}

/// The contact says something that is to go: the laws of chats ask for all that was said by their own means.
pub(super) async fn said(world: &World, chat: &Chat, person: &Person, text: &str) -> Result<(Event, String)> {
    let id = world.phones.send(&chat.contact().number, &chat.login().number, text).await?;
    Ok((person.wait_event(text, wait::STEP, |event| event.body() == text).await?, id))
}

async fn is_removed(person: &Person, event: &Event) -> Result<bool> {
    let history = person.history(&event.room).await?;
    let now = history.iter().find(|now| now.id == event.id).context("the event is not in the room")?;
    Ok(now.content.as_object().is_none_or(serde_json::Map::is_empty))
}

async fn wait_removed(person: &Person, event: &Event) -> Result<()> {
    let what = format!("{} is removed", event.body());
    wait::until(&what, wait::STEP, || async { Ok(is_removed(person, event).await?.then_some(())) }).await
}

/// Starts a chat whose words are not remembered as having to stay.
async fn begin(world: &mut World) -> Result<(Chat, Person)> {
    let (alice, account, _) = world.log_in("alice").await?;
    Ok((world.chat_with(&alice, &account, "bob")?, alice))
}

async fn a_chat_deleted_on_the_phone_takes_its_room_with_it(world: &mut World) -> Result<()> {
    let (chat, alice) = begin(world).await?;
    let (first, _) = said(world, &chat, &alice, "before").await?;
    let peer = chat.contact().number.clone();
    // It is done once whatever dies.
    die_at(world, "states.removed", async |world| act(world, &chat, &Action::DeleteChat { chat: peer.clone() }))
        .await?;
    alice.wait_member(&first.room, alice.id(), "leave").await?;
    let again = chat.begin("after").await?;
    ensure!(again.room != first.room, "the old room is in use");
    // In a group the account is still in, there is nothing to take away.
    let group = Group::create(&world.phones, chat.contact(), "Together", &[chat.login()])?;
    let room = group.room_of(&alice).await?;
    act(world, &chat, &Action::DeleteChat { chat: group.jid.clone() })?;
    group.phone_says(chat.contact(), "are you there?").await?;
    ensure!(group.wait_in_room(&alice, "are you there?").await?.room == room, "another room");
    Ok(())
}

async fn rooms_of_deleted_chats_can_be_kept(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "bridge": { "delete_chat_rooms": false } }))?;
    world.bridge.restart().await?;
    let chat = world.begin().await?;
    let first = chat.begin("before").await?;
    act(world, &chat, &Action::DeleteChat { chat: chat.contact().number.clone() })?;
    let again = chat.begin("after").await?;
    ensure!(again.room == first.room && !is_removed(chat.person(), &first).await?, "the room is not kept");
    Ok(())
}

/// Two messages of the contact, the second starred.
async fn with_a_star(world: &World, chat: &Chat, alice: &Person) -> Result<(Event, Event)> {
    let (plain, _) = said(world, chat, alice, "a plain word").await?;
    let (starred, id) = said(world, chat, alice, "a starred word").await?;
    act(world, chat, &Action::Star { id, starred: true })?;
    wait::until("the star is kept", wait::STEP, || async {
        Ok((world.database.execute("UPDATE star SET ts = ts WHERE starred = 1").await? == 1).then_some(()))
    })
    .await?;
    Ok((plain, starred))
}

async fn cleared_messages_stay(world: &mut World) -> Result<()> {
    let (chat, alice) = begin(world).await?;
    let (plain, _) = with_a_star(world, &chat, &alice).await?;
    act(world, &chat, &Action::ClearChat { chat: chat.contact().number.clone() })?;
    act(world, &chat, &Action::Pin { chat: chat.contact().number.clone(), pinned: true })?;
    // What was done behind it is here.
    wait::until("the pin is kept", wait::STEP, || async {
        Ok((world.database.execute("UPDATE chat_mark SET ts = ts WHERE kind = 'pin'").await? == 1).then_some(()))
    })
    .await?;
    said(world, &chat, &alice, "said after it").await?;
    world.bridge.wait_idle().await?;
    ensure!(!is_removed(&alice, &plain).await?, "something was removed");
    Ok(())
}

async fn cleared_messages_go_where_the_operator_wants_it(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "bridge": { "clear_chat_messages": true } }))?;
    world.bridge.restart().await?;
    let (chat, alice) = begin(world).await?;
    let (plain, starred) = with_a_star(world, &chat, &alice).await?;
    let index = |starred: &str| {
        let jid = format!("{}@lid", chat.contact().lid);
        ["clearChat", jid.as_str(), starred, "0"].map(str::to_owned).to_vec()
    };
    let clear = |starred: &str| Action::Raw {
        collection: "regular_high".into(),
        index: index(starred),
        version: 6,
        value: Some(json!({ "clearChatAction": { "messageRange": {} } })),
    };
    act(world, &chat, &clear("0"))?;
    wait_removed(&alice, &plain).await?;
    ensure!(!is_removed(&alice, &starred).await?, "the starred message is gone");
    let (behind, _) = said(world, &chat, &alice, "said behind it").await?;
    wait::until("a second has passed", wait::STEP, || async {
        act(world, &chat, &clear("1"))?;
        Ok(is_removed(&alice, &starred).await?.then_some(()))
    })
    .await?;
    wait_removed(&alice, &behind).await
}

async fn a_message_deleted_for_oneself_goes_from_rooms_of_ones_own(world: &mut World) -> Result<()> {
    let (chat, alice) = begin(world).await?;
    let (event, id) = said(world, &chat, &alice, "for nobody else").await?;
    let (stays, _) = said(world, &chat, &alice, "for all to see").await?;
    act(world, &chat, &Action::DeleteMessage { id, delete_media: true })?;
    wait_removed(&alice, &event).await?;
    ensure!(!is_removed(&alice, &stays).await?, "another one is gone");
    // In a room that others of the bridge are in it stays.
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, chat.contact(), "Together", &[chat.login(), &doras])?;
    group.room_of(&alice).await?;
    let id = group.phone_says(chat.contact(), "for both of you").await?;
    let shown = group.wait_in_room(&dora, "for both of you").await?;
    group.wait_at(chat.login(), "for both of you").await?;
    act(world, &chat, &Action::DeleteMessage { id, delete_media: true })?;
    wait::until("it is worked on", wait::STEP, || async {
        Ok((world.database.execute("UPDATE seen SET at = at").await? > 0).then_some(()))
    })
    .await?;
    group.phone_says(chat.contact(), "behind it").await?;
    group.wait_in_room(&dora, "behind it").await?;
    world.bridge.wait_idle().await?;
    ensure!(!is_removed(&dora, &shown).await?, "it is gone for dora");
    Ok(())
}

async fn chats_are_deleted_and_cleared_by_command(world: &mut World) -> Result<()> {
    let (chat, alice) = begin(world).await?;
    let (first, _) = said(world, &chat, &alice, "before").await?;
    let (room, bot) = (first.room.clone(), world.bridge.slot().bot());
    let simulator = world.phones.simulator().clone();
    let number = chat.login().number.clone();
    let written = |field: &str| {
        simulator.app_state(&number).into_iter().any(|item| item.device != 0 && item.value.pointer(field).is_some())
    };
    let other = world.chat_with(&alice, chat.login(), "carol")?;
    other.begin("a word from carol").await?;
    let mallory = bring_stranger(world, &other).await?;
    for command in ["delete-chat yes", "clear-chat yes"] {
        mallory.send_text(&other.room()?, &format!("!wa {command}")).await?;
        wait_told(&mallory, &bot, &other.room()?, "Only the owner of this chat's WhatsApp account may").await?;
    }
    for command in ["clear-chat", "delete-chat"] {
        alice.send_text(&room, &format!("!wa {command}")).await?;
        wait_told(&alice, &bot, &room, &format!("{command} yes")).await?;
    }
    alice.send_text(&room, "!wa delete-chat yes --for-everyone").await?;
    wait_told(&alice, &bot, &room, "lets nobody delete a chat for others").await?;
    ensure!(!written("/clearChatAction") && !written("/deleteChatAction"), "done without a second word");
    // Said while nobody is there: it comes before the account is connected.
    world.bridge.kill9()?;
    alice.send_text(&room, "!wa clear-chat yes").await?;
    world.bridge.start().await?;
    wait_told(&alice, &bot, &room, "messages are deleted on WhatsApp").await?;
    ensure!(written("/clearChatAction"), "nothing is cleared");
    die_at(world, "states.removed_here", async |_| alice.send_text(&room, "!wa delete-chat yes").await.map(drop))
        .await?;
    alice.wait_member(&room, alice.id(), "leave").await?;
    ensure!(written("/deleteChatAction"), "nothing is deleted");
    Ok(())
}
