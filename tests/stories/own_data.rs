//! What people do to the rooms of their chats in their own clients, done on WhatsApp where the operator wants it.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::{Value, json};
use whatsapp_sim::{Action, AppStateItem};

use super::acts::die_at;

matrix_bed::stories! {
    puppets {
        what_is_done_to_a_room_is_done_to_the_chat
        what_the_bridge_has_shown_is_not_sent_back
        what_was_done_while_the_bridge_was_down_is_done_later
        without_the_switch_nothing_is_followed
        a_group_is_left_with_its_room_where_that_is_wanted
    }
}

async fn begin(world: &mut World, followed: bool) -> Result<Chat> {
    let bridge = json!({ "sync_account_data": followed });
    world.bridge.reconfigure(&json!({ "double_puppet": { "automatic": true }, "bridge": bridge }))?;
    world.bridge.restart().await?;
    let chat = world.begin().await?;
    if followed {
        // What is so before the first look is not done.
        wait_followed(world).await?;
    }
    Ok(chat)
}

async fn wait_followed(world: &World) -> Result<()> {
    wait::until("the account data is followed", wait::STEP, || async {
        Ok((world.database.execute("UPDATE own_data SET since = since").await? == 1).then_some(()))
    })
    .await
}

async fn set(person: &Person, path: &[&str], content: &Value) -> Result<()> {
    person.client().put(&[&["_matrix", "client", "v3"], path].concat(), content).await.map(drop)
}

async fn take(person: &Person, path: &[&str]) -> Result<()> {
    let path = [&["_matrix", "client", "v3"], path].concat();
    person.client().call(Method::DELETE, &path, &[], None).await.map(drop)
}

async fn tag(person: &Person, room: &str, tag: &str) -> Result<()> {
    set(person, &["user", person.id(), "rooms", room, "tags", tag], &json!({})).await
}

/// What the bridge wrote into the app state, behind the first entries.
fn written(world: &World, chat: &Chat, behind: usize) -> Vec<AppStateItem> {
    let log = world.phones.simulator().app_state(&chat.login().number);
    log.into_iter().skip(behind).filter(|item| item.device != 0).collect()
}

fn entries(world: &World, chat: &Chat) -> usize {
    world.phones.simulator().app_state(&chat.login().number).len()
}

async fn wait_written(world: &World, chat: &Chat, behind: usize, field: &str, wanted: &Value) -> Result<()> {
    wait::until(field, wait::STEP * 2, || async {
        let found = written(world, chat, behind).into_iter().any(|item| item.value.pointer(field) == Some(wanted));
        Ok(found.then_some(()))
    })
    .await
    .with_context(|| format!("wanted {wanted}: {:?}", written(world, chat, behind)))
}

async fn what_is_done_to_a_room_is_done_to_the_chat(world: &mut World) -> Result<()> {
    let chat = begin(world, true).await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let me = alice.id().to_owned();
    let mut seen = entries(world, &chat);
    tag(&alice, &room, "m.favourite").await?;
    wait_written(world, &chat, seen, "/pinAction/pinned", &json!(true)).await?;
    take(&alice, &["user", &me, "rooms", &room, "tags", "m.favourite"]).await?;
    wait_written(world, &chat, seen, "/pinAction/pinned", &json!(false)).await?;
    tag(&alice, &room, "m.lowpriority").await?;
    wait_written(world, &chat, seen, "/archiveChatAction/archived", &json!(true)).await?;
    set(&alice, &["pushrules", "global", "room", &room], &json!({ "actions": [] })).await?;
    wait_written(world, &chat, seen, "/muteAction/muted", &json!(true)).await?;
    take(&alice, &["pushrules", "global", "room", &room]).await?;
    wait_written(world, &chat, seen, "/muteAction/muted", &json!(false)).await?;
    let unread = ["user", &me, "rooms", &room, "account_data", "m.marked_unread"];
    set(&alice, &unread, &json!({ "unread": true })).await?;
    wait_written(world, &chat, seen, "/markChatAsReadAction/read", &json!(false)).await?;
    // The phone marks it, and reading it here takes that away.
    seen = entries(world, &chat);
    let last = chat.begin("read me").await?;
    let markers = json!({ "m.fully_read": last.id, "m.read": last.id });
    let path = ["_matrix", "client", "v3", "rooms", &room, "read_markers"];
    alice.client().post(&path, &markers).await?;
    wait_written(world, &chat, seen, "/markChatAsReadAction/read", &json!(true)).await?;
    // In a group it is for the own phone alone.
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, chat.contact(), "Together", &[chat.login(), &doras])?;
    let shared = group.room_of(&dora).await?;
    wait::until("both are followed", wait::STEP * 2, || async {
        Ok((world.database.execute("UPDATE own_data SET since = since").await? == 2).then_some(()))
    })
    .await?;
    seen = entries(world, &chat);
    tag(&dora, &shared, "m.favourite").await?;
    let pinned = |item: &AppStateItem| item.device != 0 && item.index.contains(&group.jid);
    world.phones.simulator().wait_app_state(&doras.number, pinned, wait::STEP * 2).await?;
    ensure!(entries(world, &chat) == seen, "somebody else's phone was changed");
    Ok(())
}

async fn what_the_bridge_has_shown_is_not_sent_back(world: &mut World) -> Result<()> {
    let chat = begin(world, true).await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let peer = || chat.contact().number.clone();
    let seen = entries(world, &chat);
    for on in [true, false, true, false, true] {
        let actions = [
            Action::Mute { chat: peer(), until: None, muted: on },
            Action::Pin { chat: peer(), pinned: on },
            Action::MarkRead { chat: peer(), read: !on },
        ];
        // All at once: the library passes over news that come while it reads those before.
        for action in actions {
            world.phones.simulator().act(&chat.login().number, &action)?;
        }
        wait::until("the marks are known", wait::STEP, || async {
            let set = world.database.execute("UPDATE chat_mark SET reached = reached WHERE value <> 0").await?;
            Ok((set == if on { 3 } else { 0 }).then_some(()))
        })
        .await?;
    }
    // What comes behind it all is done; what was shown came back before.
    wait::until("it is all shown", wait::STEP, || async {
        let open = world.database.execute("UPDATE chat_mark SET reached = reached WHERE reached = 0").await?;
        let set = world.database.execute("UPDATE chat_mark SET reached = reached WHERE value <> 0").await?;
        Ok((open == 0 && set == 3).then_some(()))
    })
    .await?;
    tag(&alice, &room, "m.lowpriority").await?;
    wait_written(world, &chat, seen, "/archiveChatAction/archived", &json!(true)).await?;
    let done = written(world, &chat, seen);
    ensure!(done.len() == 1, "the bridge sent back what it has shown: {done:?}");
    Ok(())
}

async fn what_was_done_while_the_bridge_was_down_is_done_later(world: &mut World) -> Result<()> {
    let chat = begin(world, true).await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let seen = entries(world, &chat);
    world.bridge.kill9()?;
    tag(&alice, &room, "m.favourite").await?;
    world.bridge.start().await?;
    wait_written(world, &chat, seen, "/pinAction/pinned", &json!(true)).await?;
    let person = alice.clone();
    let there = room.clone();
    die_at(world, "puppet.after_wish", async move |_| {
        set(&person, &["pushrules", "global", "room", &there], &json!({ "actions": [] })).await
    })
    .await?;
    wait_written(world, &chat, seen, "/muteAction/muted", &json!(true)).await?;
    wait::until("nothing is left to do", wait::STEP * 2, || async {
        Ok((world.database.execute("UPDATE own_wish SET at = at").await? == 0).then_some(()))
    })
    .await
}

async fn without_the_switch_nothing_is_followed(world: &mut World) -> Result<()> {
    let chat = begin(world, false).await?;
    let seen = entries(world, &chat);
    tag(chat.person(), &chat.room()?, "m.favourite").await?;
    chat.person_says("said after it").await?;
    chat.wait_at_contact("said after it").await?;
    world.bridge.wait_idle().await?;
    ensure!(world.database.execute("UPDATE own_data SET since = since").await? == 0, "somebody is followed");
    ensure!(written(world, &chat, seen).is_empty(), "something was written");
    Ok(())
}

async fn a_group_is_left_with_its_room_where_that_is_wanted(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let simulator = world.phones.simulator().clone();
    let members = |jid: &str| -> Result<usize> { Ok(simulator.group(jid).context("no group")?.members.len()) };
    let kept = Group::create(&world.phones, &bob, "Kept", &[&account, &doras])?;
    let room = kept.room_of(&alice).await?;
    alice.leave(&room).await?;
    kept.phone_says(&bob, "still here?").await?;
    kept.wait_in_room(&dora, "still here?").await?;
    world.bridge.wait_idle().await?;
    ensure!(members(&kept.jid)? == 3, "leaving a room left the group");
    world.bridge.reconfigure(&json!({ "bridge": { "bridge_matrix_leave": true } }))?;
    world.bridge.restart().await?;
    let left = Group::create(&world.phones, &bob, "Left", &[&account, &doras])?;
    let (room, theirs) = (left.room_of(&alice).await?, left.room_of(&dora).await?);
    ensure!(room == theirs, "two rooms for one group");
    die_at(world, "groups.after_leave", async |_| alice.leave(&room).await).await?;
    wait::until("alice is out of the group", wait::STEP, || async { Ok((members(&left.jid)? == 2).then_some(())) })
        .await?;
    // For her alone: the others are where they were.
    left.phone_says(&bob, "who is left?").await?;
    left.wait_in_room(&dora, "who is left?").await?;
    Ok(())
}
