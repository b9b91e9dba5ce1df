//! Muted, pinned, archived and unread chats: from the phone to the person's own account, and by command to the phone.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::client;
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Action, AppStateItem, Direction, Effect, Rule};

use super::acts::die_at;

matrix_bed::stories! {
    puppets {
        what_the_phone_does_with_a_chat_is_shown_by_the_own_account
        marks_are_shown_after_a_kill_and_once_there_is_a_puppet
        commands_mark_the_chat_on_the_phone
        killed_as_the_phone_does_something_with_a_chat
        what_was_told_before_a_kill_and_never_read_is_read_at_the_start
    }
}

async fn act_as_people(world: &mut World, wanted: bool) -> Result<()> {
    world.bridge.reconfigure(&json!({ "double_puppet": { "automatic": wanted } }))?;
    world.bridge.restart().await
}

/// What the person's homeserver answers, `null` for what is not there.
async fn own(chat: &Chat, path: &[&str]) -> Result<Value> {
    match chat.person().client().get(&[&["_matrix", "client", "v3"], path].concat()).await {
        Ok(content) => Ok(content),
        Err(error) if client::refusal(&error).is_some_and(|refusal| refusal.errcode == "M_NOT_FOUND") => {
            Ok(Value::Null)
        }
        Err(error) => Err(error),
    }
}

/// Whether the room is muted, pinned, archived, unread for the person.
async fn shown(chat: &Chat) -> Result<[bool; 4]> {
    let (me, room) = (chat.person().id().to_owned(), chat.room()?);
    let rule = own(chat, &["pushrules", "global", "room", &room]).await?;
    let tags = own(chat, &["user", &me, "rooms", &room, "tags"]).await?;
    let unread = own(chat, &["user", &me, "rooms", &room, "account_data", "m.marked_unread"]).await?;
    Ok([
        rule["actions"].as_array().is_some_and(Vec::is_empty),
        tags["tags"]["m.favourite"].is_object(),
        tags["tags"]["m.lowpriority"].is_object(),
        unread["unread"] == true,
    ])
}

async fn wait_shown(chat: &Chat, what: &str, wanted: [bool; 4]) -> Result<()> {
    wait::until(what, wait::STEP, || async { Ok((shown(chat).await? == wanted).then_some(())) })
        .await
        .with_context(|| format!("wanted {wanted:?}"))
}

fn act(world: &World, chat: &Chat, action: &Action) -> Result<()> {
    world.phones.simulator().act(&chat.login().number, action)
}

async fn what_the_phone_does_with_a_chat_is_shown_by_the_own_account(world: &mut World) -> Result<()> {
    act_as_people(world, true).await?;
    let chat = world.begin().await?;
    let peer = || chat.contact().number.clone();
    wait_shown(&chat, "nothing at first", [false; 4]).await?;
    act(world, &chat, &Action::Mute { chat: peer(), until: None, muted: true })?;
    wait_shown(&chat, "muted", [true, false, false, false]).await?;
    act(world, &chat, &Action::Pin { chat: peer(), pinned: true })?;
    wait_shown(&chat, "pinned", [true, true, false, false]).await?;
    act(world, &chat, &Action::MarkRead { chat: peer(), read: false })?;
    wait_shown(&chat, "unread", [true, true, false, true]).await?;
    act(world, &chat, &Action::Mute { chat: peer(), until: None, muted: false })?;
    act(world, &chat, &Action::Pin { chat: peer(), pinned: false })?;
    act(world, &chat, &Action::Archive { chat: peer(), archived: true })?;
    act(world, &chat, &Action::MarkRead { chat: peer(), read: true })?;
    wait_shown(&chat, "archived alone", [false, false, true, false]).await?;
    act(world, &chat, &Action::Archive { chat: peer(), archived: false })?;
    wait_shown(&chat, "nothing", [false; 4]).await?;
    // One that has ended by itself while nobody looked.
    act(world, &chat, &Action::Mute { chat: peer(), until: Some(1_000), muted: true })?;
    act(world, &chat, &Action::Pin { chat: peer(), pinned: true })?;
    wait_shown(&chat, "a mute that is over", [false, true, false, false]).await
}

async fn marks_are_shown_after_a_kill_and_once_there_is_a_puppet(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let peer = || chat.contact().number.clone();
    let alice = chat.login().number.clone();
    act(world, &chat, &Action::Mute { chat: peer(), until: None, muted: true })?;
    let kept = "UPDATE chat_mark SET reached = reached WHERE reached = 0";
    wait::until("the mark is kept", wait::STEP, || async {
        Ok((world.database.execute(kept).await? == 1).then_some(()))
    })
    .await?;
    ensure!(shown(&chat).await? == [false; 4], "nobody is acted as");
    act_as_people(world, true).await?;
    wait_shown(&chat, "muted once there is a puppet", [true, false, false, false]).await?;
    let person = chat.clone();
    die_at(world, "puppet.after_mark_shown", async move |world| {
        wait::until("the login is connected", wait::STEP, || async {
            Ok(world.phones.is_connected(&alice).then_some(()))
        })
        .await?;
        act(world, &person, &Action::Pin { chat: person.contact().number.clone(), pinned: true })
    })
    .await?;
    wait_shown(&chat, "pinned", [true, true, false, false]).await?;
    wait::until("nothing is left to show", wait::STEP, || async {
        Ok((world.database.execute(kept).await? == 0).then_some(()))
    })
    .await
}

async fn commands_mark_the_chat_on_the_phone(world: &mut World) -> Result<()> {
    act_as_people(world, true).await?;
    let chat = world.begin().await?;
    let room = chat.room()?;
    let simulator = world.phones.simulator().clone();
    let number = chat.login().number.clone();
    for (command, answer, field, wanted) in [
        ("mute", "Muted", "/muteAction/muted", json!(true)),
        ("unmute", "No longer muted", "/muteAction/muted", json!(false)),
        ("mute 8h", "Muted", "/muteAction/muted", json!(true)),
        ("pin", "Pinned", "/pinAction/pinned", json!(true)),
        ("archive", "Archived", "/archiveChatAction/archived", json!(true)),
        ("mark-unread", "Marked as unread", "/markChatAsReadAction/read", json!(false)),
        ("unpin", "No longer pinned", "/pinAction/pinned", json!(false)),
        ("unarchive", "No longer archived", "/archiveChatAction/archived", json!(false)),
    ] {
        let before = simulator.app_state(&number).len();
        chat.person().send_text(&room, &format!("!wa {command}")).await?;
        let written = wait::until(command, wait::STEP, || async {
            let log = simulator.app_state(&number);
            Ok(log.into_iter().skip(before).find(|item| item.device != 0 && item.value.pointer(field).is_some()))
        });
        let written = written.await.with_context(|| format!("after {command}"))?;
        ensure!(written.value.pointer(field) == Some(&wanted), "{command}: {written:?}");
        let told = |event: &matrix_bed::person::Event| event.room == room && event.body().contains(answer);
        chat.person().wait_event(answer, wait::STEP, told).await?;
    }
    wait_shown(&chat, "muted and unread", [true, false, false, true]).await?;
    // In a group everybody's word is for their own phone.
    let (dora, doras, managing) = world.log_in("dora").await?;
    managing.ask("mute", "no WhatsApp chat").await?;
    let group = Group::create(&world.phones, chat.contact(), "Together", &[chat.login(), &doras])?;
    let room = group.room_of(&dora).await?;
    let before = simulator.app_state(&number).len();
    dora.send_text(&room, "!wa pin").await?;
    let pinned = |item: &AppStateItem| item.device != 0 && item.index.contains(&group.jid);
    simulator.wait_app_state(&doras.number, pinned, wait::STEP).await?;
    world.bridge.wait_idle().await?;
    ensure!(simulator.app_state(&number).len() == before, "somebody else's phone was changed");
    Ok(())
}

/// What reading the app state is called among the requests of a device.
const READING: &str = "w:sync:app:state set sync";

async fn wait_room_name(person: &Person, room: &str, name: &str) -> Result<()> {
    wait::until(&format!("the room is called {name:?}"), wait::STEP, || async {
        let state = person.find_state(room, "m.room.name", "").await?.unwrap_or_default();
        Ok((state["name"] == name).then_some(()))
    })
    .await
}

async fn wait_connected(world: &World, chat: &Chat) -> Result<()> {
    let number = chat.login().number.clone();
    wait::until("the login is connected", wait::STEP, || async { Ok(world.phones.is_connected(&number).then_some(())) })
        .await
}

async fn killed_as_the_phone_does_something_with_a_chat(world: &mut World) -> Result<()> {
    act_as_people(world, true).await?;
    let chat = world.begin().await?;
    let peer = || chat.contact().number.clone();
    let room = chat.room()?;
    // The library has noted that it read them, and nobody has stored what they said; or has, and not noted it.
    for (round, point) in
        ["appstate.before_stored", "appstate.before_noted", "appstate.after_noted"].into_iter().enumerate()
    {
        let pinned = round % 2 == 0;
        die_at(world, point, async |world| {
            wait_connected(world, &chat).await?;
            act(world, &chat, &Action::Pin { chat: peer(), pinned })
        })
        .await?;
        wait_shown(&chat, point, [false, pinned, false, false]).await?;
        // What changed is in the address book, which takes another way.
        let name = format!("Bob the {round}th");
        die_at(world, point, async |world| {
            wait_connected(world, &chat).await?;
            act(world, &chat, &Action::Contact { contact: peer(), full_name: name.clone(), first_name: None })
        })
        .await?;
        wait_room_name(chat.person(), &room, &name).await?;
    }
    // The collections go on as before, in both directions.
    act(world, &chat, &Action::Pin { chat: peer(), pinned: false })?;
    wait_shown(&chat, "not pinned any more", [false; 4]).await?;
    chat.person().send_text(&room, "!wa archive").await?;
    let archived = |item: &AppStateItem| {
        item.device != 0 && item.value.pointer("/archiveChatAction/archived") == Some(&json!(true))
    };
    world.phones.simulator().wait_app_state(&chat.login().number, archived, wait::STEP).await?;
    wait_shown(&chat, "archived", [false, false, true, false]).await
}

async fn what_was_told_before_a_kill_and_never_read_is_read_at_the_start(world: &mut World) -> Result<()> {
    act_as_people(world, true).await?;
    let chat = world.begin().await?;
    let simulator = world.phones.simulator().clone();
    let number = chat.login().number.clone();
    let asked = || simulator.requests(&number).get(READING).copied().unwrap_or(0);
    // A start asks once whether there is anything; what the one before it asks is not counted.
    world.bridge.kill9()?;
    let before = asked();
    world.bridge.start().await?;
    chat.begin("after the start").await?;
    wait::until("the start's question", wait::STEP, || async { Ok((asked() > before).then_some(())) }).await?;
    ensure!(asked() == before + 1, "asked {} times", asked() - before);
    // WhatsApp is told at once that the news has come, and what the news says is never answered.
    let before = asked();
    die_at(world, "appstate.before_fetched", async |_| {
        wait::until("the start's question", wait::STEP, || async { Ok((asked() > before).then_some(())) }).await?;
        simulator.add_rule(&number, Rule::new(Effect::Drop, Direction::FromClient, "iq:w:sync:app:state", 1)?)?;
        simulator.act(&number, &Action::Pin { chat: chat.contact().number.clone(), pinned: true })
    })
    .await?;
    wait_shown(&chat, "pinned", [false, true, false, false]).await
}
