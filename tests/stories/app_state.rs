//! `sync appstate`: the account's own data read again in full, shown where it was missed, and nothing done twice.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::management::Management;
use matrix_bed::person::Event;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::{Value, json};
use whatsapp_sim::{Action, AppStateItem, Direction, Effect, Rule};

use crate::acts::die_at;
use crate::removals::said;

matrix_bed::stories! {
    puppets {
        what_was_missed_of_the_own_data_is_read_again
        what_is_shown_already_makes_no_events_when_it_is_read_again
        reading_the_own_data_again_outlives_cuts_and_kills
        deletions_of_long_ago_take_nothing_of_today
    }
}

/// What reading the app state is called among the requests of a device.
const READING: &str = "w:sync:app:state set sync";
const WITHOUT_ROW: &str = "UPDATE chat_mark SET reached = reached WHERE reached = 0";

/// A chat of Alice, whom the bridge acts as, and the room where she talks to the bot.
async fn begin(world: &mut World) -> Result<(Chat, Management)> {
    let settings = json!({ "double_puppet": { "automatic": true }, "bridge": { "sync_account_data": false } });
    world.bridge.reconfigure(&settings)?;
    world.bridge.restart().await?;
    let (alice, account, alices) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello").await?;
    Ok((chat, alices))
}

fn act(world: &World, chat: &Chat, action: &Action) -> Result<()> {
    world.phones.simulator().act(&chat.login().number, action)
}

async fn is_pinned(chat: &Chat) -> Result<bool> {
    let (me, room) = (chat.person().id().to_owned(), chat.room()?);
    let path = ["_matrix", "client", "v3", "user", &me, "rooms", &room, "tags"];
    Ok(chat.person().client().get(&path).await?["tags"]["m.favourite"].is_object())
}

async fn wait_pinned(chat: &Chat, wanted: bool) -> Result<()> {
    let reached = async || Ok((is_pinned(chat).await? == wanted).then_some(()));
    wait::until("the room is a favourite, or no longer", wait::STEP, reached).await.with_context(|| wanted.to_string())
}

async fn name_of(chat: &Chat) -> Result<String> {
    let state = chat.person().find_state(&chat.room()?, "m.room.name", "").await?.unwrap_or_default();
    Ok(state["name"].as_str().unwrap_or_default().to_owned())
}

async fn wait_name(chat: &Chat, wanted: &str) -> Result<()> {
    let reached = async || Ok((name_of(chat).await? == wanted).then_some(()));
    wait::until("the room's name", wait::STEP, reached).await.with_context(|| wanted.to_owned())
}

/// Pins the chat and gives the contact a name, on the phone, and waits until the room shows it.
async fn do_on_phone(world: &World, chat: &Chat, name: &str) -> Result<()> {
    let peer = || chat.contact().number.clone();
    act(world, chat, &Action::Pin { chat: peer(), pinned: true })?;
    act(world, chat, &Action::Contact { contact: peer(), full_name: name.into(), first_name: None })?;
    wait_pinned(chat, true).await?;
    wait_name(chat, name).await
}

/// Has bridge and room stand as if the pin and the name had never been heard of.
async fn undo_here(world: &World, chat: &Chat, alices: &Management) -> Result<()> {
    wait_all_shown(world).await?;
    ensure!(world.database.execute("UPDATE chat_mark SET value = 0 WHERE kind = 'pin'").await? == 1, "no pin is known");
    let (me, room) = (chat.person().id().to_owned(), chat.room()?);
    let path = ["_matrix", "client", "v3", "user", &me, "rooms", &room, "tags", "m.favourite"];
    chat.person().client().call(Method::DELETE, &path, &[], None).await?;
    let other = "UPDATE contact SET full_name = 'Somebody of Old', first_name = ''";
    ensure!(world.database.execute(other).await? == 1, "no contact is known");
    alices.ask("sync contacts", "look at one chat again").await?;
    wait_name(chat, "Somebody of Old").await
}

async fn wait_all_shown(world: &World) -> Result<()> {
    let shown = async || Ok((world.database.execute(WITHOUT_ROW).await? == 0).then_some(()));
    wait::until("all marks are shown", wait::STEP, shown).await
}

async fn what_was_missed_of_the_own_data_is_read_again(world: &mut World) -> Result<()> {
    let (chat, alices) = begin(world).await?;
    let simulator = world.phones.simulator().clone();
    let number = chat.login().number.clone();
    let asked = || simulator.requests(&number).get(READING).copied().unwrap_or(0);
    // The phone's data as changes since ever, as a snapshot as new as what is known, and as one with changes behind it.
    for round in 0..3 {
        let name = format!("Bob the {round}th");
        if round == 2 {
            act(world, &chat, &Action::Pin { chat: chat.contact().number.clone(), pinned: false })?;
            wait_pinned(&chat, false).await?;
        }
        do_on_phone(world, &chat, &name).await?;
        if round == 1 {
            for collection in ["regular_low", "critical_unblock_low"] {
                simulator.take_snapshot(&number, collection)?;
            }
        }
        undo_here(world, &chat, &alices).await?;
        if round < 2 {
            alices.ask("sync appstate critical_unblock_low", "`critical_unblock_low` was read again").await?;
            wait_name(&chat, &name).await?;
            ensure!(!is_pinned(&chat).await?, "more was read than was asked for");
            alices.ask("sync appstate REGULAR_LOW regular", "`regular`, `regular_low` was read again").await?;
        } else {
            alices.ask("sync appstate", "All of your account's data was read again").await?;
            wait_name(&chat, &name).await?;
        }
        wait_pinned(&chat, true).await?;
    }
    let told = alices.ask("sync appstate regular_low mutes", "Say `sync appstate` alone").await?;
    for name in ["critical_block", "critical_unblock_low", "regular_high", "regular", "regular_low"] {
        ensure!(told.body().contains(name), "{} is not named: {}", name, told.body());
    }
    // Only of the account whose owner says it.
    let before = asked();
    let (_, _, mallorys) = world.log_in("mallory").await?;
    mallorys.ask("sync appstate", "was read again").await?;
    let nora = world.person("nora").await?;
    world.management(&nora).await?.ask("sync appstate", "not logged in").await?;
    ensure!(asked() == before, "somebody else had it read");
    // The collections go on as before, in both directions.
    chat.person().send_text(&chat.room()?, "!wa archive").await?;
    let archived = |item: &AppStateItem| item.device != 0 && item.value.pointer("/archiveChatAction").is_some();
    simulator.wait_app_state(&number, archived, wait::STEP).await?;
    act(world, &chat, &Action::Pin { chat: chat.contact().number.clone(), pinned: false })?;
    wait_pinned(&chat, false).await
}

/// What a person's client is told since a place in `/sync`, and the next place.
async fn told_since(chat: &Chat, since: Option<&str>) -> Result<(Value, String)> {
    let query: Vec<(&str, &str)> = since.map(|since| ("since", since)).into_iter().collect();
    let told = chat.person().client().call(Method::GET, &["_matrix", "client", "v3", "sync"], &query, None).await?;
    let next = told["next_batch"].as_str().context("no place")?.to_owned();
    Ok((told, next))
}

async fn what_is_shown_already_makes_no_events_when_it_is_read_again(world: &mut World) -> Result<()> {
    let (chat, alices) = begin(world).await?;
    let peer = || chat.contact().number.clone();
    let id = chat.contact_says("a word with a star").await?;
    chat.wait_in_room("a word with a star").await?;
    do_on_phone(world, &chat, "Bob the Known").await?;
    for action in [
        Action::Mute { chat: peer(), until: None, muted: true },
        Action::Archive { chat: peer(), archived: true },
        Action::Archive { chat: peer(), archived: false },
        Action::Star { id, starred: true },
        Action::MarkRead { chat: peer(), read: true },
        Action::MarkRead { chat: peer(), read: false },
    ] {
        act(world, &chat, &action)?;
    }
    let marks = "UPDATE chat_mark SET ts = ts WHERE (kind = 'unread' AND value = 1) OR (kind = 'archive' AND value = 0)
        OR (kind IN ('pin', 'mute') AND value <> 0)";
    wait::until("all is known", wait::STEP, async || Ok((world.database.execute(marks).await? == 4).then_some(())))
        .await?;
    wait_all_shown(world).await?;
    // What goes with a new name comes behind it.
    for kind in ["m.bridge", "uk.half-shot.bridge"] {
        let says = |event: &Event| event.kind == kind && event.content["channel"]["displayname"] == "Bob the Known";
        chat.person().wait_event(kind, wait::STEP, says).await?;
    }
    world.bridge.wait_idle().await?;
    let (_, since) = told_since(&chat, None).await?;
    for collections in ["", " regular_high", ""] {
        alices.ask(&format!("sync appstate{collections}"), "was read again").await?;
        wait_all_shown(world).await?;
        world.bridge.wait_idle().await?;
    }
    let (told, _) = told_since(&chat, Some(&since)).await?;
    ensure!(told["rooms"]["join"][alices.room()].is_object(), "the answers are not told: {told}");
    let chats = &told["rooms"]["join"][&chat.room()?];
    ensure!(chats.is_null(), "news of the chat's room: {chats}");
    let general = told["account_data"]["events"].as_array().map_or(0, Vec::len);
    ensure!(general == 0, "news of the account: {told}");
    Ok(())
}

async fn reading_the_own_data_again_outlives_cuts_and_kills(world: &mut World) -> Result<()> {
    let (chat, alices) = begin(world).await?;
    let simulator = world.phones.simulator().clone();
    let number = chat.login().number.clone();
    do_on_phone(world, &chat, "Bob the Lasting").await?;
    // The connection ends instead of the first answer; the library asks again by itself.
    undo_here(world, &chat, &alices).await?;
    simulator.add_rule(&number, Rule::new(Effect::Cut, Direction::FromClient, "iq:w:sync:app:state", 1)?)?;
    chat.person().send_text(alices.room(), "sync appstate").await?;
    wait_pinned(&chat, true).await?;
    wait_name(&chat, "Bob the Lasting").await?;
    for point in ["appstate.before_stored", "appstate.before_noted", "appstate.after_noted"] {
        undo_here(world, &chat, &alices).await?;
        die_at(world, point, async |_| chat.person().send_text(alices.room(), "sync appstate").await.map(drop)).await?;
        wait_pinned(&chat, true).await.context(point)?;
        wait_name(&chat, "Bob the Lasting").await.context(point)?;
    }
    Ok(())
}

async fn deletions_of_long_ago_take_nothing_of_today(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    // Two chats are deleted on the phone; one goes on, and for the other there is a new room without a word.
    let (bobs, carols) = (world.chat_with(&alice, &account, "bob")?, world.chat_with(&alice, &account, "carol")?);
    let mut old = Vec::new();
    for (chat, words) in [(&bobs, "bob's, soon gone"), (&carols, "carol's, soon gone")] {
        let (gone, _) = said(world, chat, &alice, words).await?;
        act(world, chat, &Action::DeleteChat { chat: chat.contact().number.clone() })?;
        alice.wait_member(&gone.room, alice.id(), "leave").await?;
        old.push(gone.room);
    }
    let (again, _) = said(world, &bobs, &alice, "said since then").await?;
    let told = alices.ask(&format!("start-chat +{}", carols.contact().number), "The chat is here").await?;
    let empty = told.body().rsplit('/').next().unwrap_or_default().to_owned();
    ensure!(!old.contains(&empty) && !old.contains(&again.room), "the old rooms are in use");
    alice.wait_member(&empty, alice.id(), "join").await?;
    // Long ago: nobody remembers that it was done.
    world.bridge.stop().await?;
    world.database.execute("DELETE FROM seen").await?;
    world.bridge.start().await?;
    alices.ask("sync appstate", "was read again").await?;
    world.bridge.wait_idle().await?;
    for room in [&again.room, &empty] {
        let member = alice.find_state(room, "m.room.member", alice.id()).await?.unwrap_or_default();
        ensure!(member["membership"] == "join", "{room} is gone: {member}");
    }
    let (there, _) = said(world, &bobs, &alice, "still there").await?;
    ensure!(there.room == again.room, "another room");
    Ok(())
}
