//! Muted, pinned, archived and unread chats: from the phone to the person's own account, and by command to the phone.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::client;
use matrix_bed::group::Group;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Action, AppStateItem};

use super::acts::die_at;

matrix_bed::stories! {
    shared {
        what_the_phone_does_with_a_chat_is_shown_by_the_own_account
        marks_are_shown_after_a_kill_and_once_there_is_a_puppet
        commands_mark_the_chat_on_the_phone
    }
    own {}
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
