//! Disappearing messages: removed in time, whatever dies or is away meanwhile; the chat's timer, both ways.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::group::Group;
use matrix_bed::person::Event;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options};

use crate::acts::{
    contact_sends, contact_sends_with, count, die_at, edits, raw, set_state, text, wait_event, wait_item,
};
use crate::faults::crown;
use crate::people::{bring_stranger, wait_told};

matrix_bed::stories! {
    shared {
        a_timer_is_told_once_and_goes_with_messages
        what_disappears_and_what_is_kept_is_known
        what_has_disappeared_is_removed_with_its_edits
        nobody_makes_anothers_message_disappear
        killed_around_a_removal
        a_refused_removal_is_tried_until_it_works
        the_owner_sets_the_timer_here
        a_groups_timer_is_set_here_too
        what_is_said_in_a_forgetful_group_goes
        a_stranger_sets_no_timer
    }
    own {
        what_disappears_while_the_homeserver_is_away
    }
}

const DAY: u32 = 86_400;

fn is_news(event: &Event) -> bool {
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

/// Sent by a phone whose chat has such a timer.
fn disappearing(seconds: u32) -> Options {
    Options { expiration: seconds, ..Options::default() }
}

/// Whether the room's clients show nothing of an event any more, by the homeserver's word.
fn is_removed(event: &Event) -> bool {
    event.content.as_object().is_none_or(serde_json::Map::is_empty)
        && event.raw["unsigned"]["redacted_because"].is_object()
}

async fn find(chat: &Chat, id: &str) -> Result<Event> {
    let history = chat.person().history(&chat.room()?).await?;
    history.into_iter().find(|event| event.id == id).context("the event is not in the room")
}

async fn wait_removed(chat: &Chat, what: &str, id: &str) -> Result<()> {
    let gone = || async { Ok(is_removed(&find(chat, id).await?).then_some(())) };
    wait::until(&format!("{what} is removed"), wait::STEP, gone).await
}

/// How often an event was redacted.
async fn redactions(chat: &Chat, id: &str) -> Result<usize> {
    count(chat, |event| event.kind == "m.room.redaction" && event.content["redacts"] == id).await
}

async fn what_has_disappeared_is_removed_with_its_edits(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let stays = contact_sends(world, &chat, text("stays")).await?;
    let stays_event = wait_event(&chat, "what stays", |event| event.body() == "stays").await?;
    let id = contact_sends_with(world, &chat, text("first words"), disappearing(15)).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "first words").await?;
    let edit = Kind::Edit { target: id.clone(), text: Some("second words".into()), message: None, secret: false };
    contact_sends(world, &chat, edit).await?;
    let edit = wait_event(&chat, "the edit", |new| edits(new, &event.id)).await?;
    let kept = contact_sends_with(world, &chat, text("kept"), disappearing(15)).await?;
    let kept_event = wait_event(&chat, "what is kept", |event| event.body() == "kept").await?;
    contact_sends(world, &chat, Kind::Keep { target: kept.clone(), undo: false }).await?;
    // The chat has a timer by now, and what the person writes has it too.
    let mine = chat.person().send_text(&chat.room()?, "mine").await?;
    wait_item(world, &chat, "mine", |message| message.to_string().contains("mine")).await?;
    wait_rows(world, 1, "expiry", "kept", &format!("wa_id = '{kept}' AND kept = 1")).await?;
    for (what, event) in [("the edit", &edit.id), ("the text", &event.id), ("mine", &mine)] {
        wait_removed(&chat, what, event).await?;
    }
    wait_rows(world, 1, "message", "state", &format!("wa_id = '{id}' AND kind = 'gone' AND quote IS NULL")).await?;
    wait_rows(world, 1, "expiry", "kept", "kept >= 0").await?;
    for event in [&stays_event, &kept_event] {
        ensure!(!is_removed(&find(&chat, &event.id).await?), "{} is gone", event.body());
    }
    // An edit that comes after all shows nothing again, and an answer quotes nothing.
    let late = Kind::Edit { target: id.clone(), text: Some("third words".into()), message: None, secret: false };
    contact_sends(world, &chat, late).await?;
    contact_sends(world, &chat, Kind::Keep { target: kept, undo: true }).await?;
    wait_removed(&chat, "what is kept no longer", &kept_event.id).await?;
    ensure!(count(&chat, |event| event.content.to_string().contains("third words")).await? == 0, "shown again");
    wait_rows(world, 1, "message", "state", &format!("wa_id = '{stays}' AND kind = 'new'")).await?;
    let sent = world.phones.inbox(&chat.contact().number);
    ensure!(!sent.iter().any(|item| item.message["protocolMessage"]["type"] == "REVOKE"), "the removal went out");
    Ok(())
}

async fn nobody_makes_anothers_message_disappear(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    chat.person_says("the person's words").await?;
    let id = chat.wait_at_contact("the person's words").await?.id;
    // The contact's phone sends something of its own under the person's id.
    let forged = Options { id: Some(id), ..disappearing(1) };
    contact_sends_with(world, &chat, text("under another's id"), forged).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "under another's id").await?;
    wait_removed(&chat, "the contact's own", &event.id).await?;
    // The laws look for the person's words.
    ensure!(count(&chat, |event| event.body() == "the person's words").await? == 1, "they are gone");
    Ok(())
}

async fn killed_around_a_removal(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    die_at(world, "states.expiry", async |world| {
        contact_sends_with(world, &chat, text("gone twice"), disappearing(2)).await.map(drop)
    })
    .await?;
    let gone = count(&chat, |event| event.kind == "m.room.redaction").await?;
    ensure!(gone == 1, "it died after {gone} removals");
    wait_rows(world, 0, "expiry", "kept", "kept = 0").await?;
    let history = chat.person().history(&chat.room()?).await?;
    let removed: Vec<&Event> = history.iter().filter(|event| is_removed(event)).collect();
    ensure!(removed.len() == 1 && redactions(&chat, &removed[0].id).await? == 1, "removed once: {removed:?}");
    // Due while nobody is there to remove it.
    let id = contact_sends_with(world, &chat, text("gone later"), disappearing(5)).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "gone later").await?;
    world.bridge.kill9()?;
    let due = format!("wa_id = '{id}' AND expires_at < {}", now_ms()? + 60_000);
    wait_rows(world, 1, "expiry", "kept", &due).await?;
    world.bridge.start().await?;
    wait_removed(&chat, "what was due meanwhile", &event.id).await?;
    ensure!(redactions(&chat, &event.id).await? == 1, "removed once");
    Ok(())
}

fn now_ms() -> Result<u128> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())
}

async fn a_refused_removal_is_tried_until_it_works(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    contact_sends(world, &chat, Kind::EphemeralSetting { seconds: 3 }).await?;
    wait_event(&chat, "the timer", is_news).await?;
    // The bot may remove the person's messages no more.
    crown(world, &chat).await?;
    let (bot, room) = (world.bridge.slot().bot(), chat.room()?);
    let client = world.synapse.appservice(world.bridge.slot())?;
    let path = ["_matrix", "client", "v3", "rooms", &room, "state", "m.room.power_levels", ""];
    let query = [("user_id", bot.as_str())];
    let before = client.call(Method::GET, &path, &query, None).await?;
    let mut powers = before.clone();
    powers["users"][&bot] = json!(0);
    client.call(Method::PUT, &path, &query, Some(&powers)).await?;
    let mine = chat.person().send_text(&room, "mine").await?;
    wait_rows(world, 1, "expiry", "kept", "tries > 0 AND expires_at < due_at").await?;
    world.bridge.restart().await?;
    wait_rows(world, 1, "expiry", "kept", "tries > 1 AND expires_at < due_at").await?;
    ensure!(!is_removed(&find(&chat, &mine).await?), "the homeserver lets it");
    set_state(chat.person(), &room, "m.room.power_levels", "", &before).await?;
    wait_removed(&chat, "mine", &mine).await?;
    wait_rows(world, 0, "expiry", "kept", "kept = 0").await
}

async fn what_disappears_while_the_homeserver_is_away(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let id = contact_sends_with(world, &chat, text("gone with it"), disappearing(6)).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "gone with it").await?;
    world.synapse.stop().await?;
    // What comes meanwhile is shown only to be removed.
    contact_sends_with(world, &chat, text("never seen"), disappearing(1)).await?;
    let due = now_ms()? + 7_000;
    wait::until("it is due", wait::STEP, || async { Ok((now_ms()? > due).then_some(())) }).await?;
    wait_rows(world, 1, "expiry", "kept", &format!("wa_id = '{id}' AND tries = 0")).await?;
    world.synapse.start_again().await?;
    wait_removed(&chat, "what was due meanwhile", &event.id).await?;
    wait_rows(world, 0, "expiry", "kept", "kept = 0").await?;
    ensure!(count(&chat, |event| event.body() == "never seen").await? == 0, "it stays");
    Ok(())
}

const TIMER: &str = "com.beeper.disappearing_timer";

async fn wait_timer(chat: &Chat, seconds: u32) -> Result<()> {
    let room = chat.room()?;
    wait::until(&format!("the room's timer is {seconds} s"), wait::STEP, || async {
        let state = chat.person().find_state(&room, TIMER, "").await?.unwrap_or_default();
        Ok((state["timer"] == u64::from(seconds) * 1000).then_some(()))
    })
    .await
}

fn sets_timer(message: &Value, seconds: u32) -> bool {
    let protocol = &message["protocolMessage"];
    protocol["type"] == "EPHEMERAL_SETTING"
        && protocol["ephemeralExpiration"].as_u64().unwrap_or(0) == u64::from(seconds)
}

async fn the_owner_sets_the_timer_here(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    alice.send_text(&room, "!wa disappearing-timer 3 hours").await?;
    wait_told(&alice, &bot, &room, "disappearing-timer off | 24h").await?;
    alice.send_text(&room, "!wa disappearing-timer 7d").await?;
    wait_item(world, &chat, "the timer", |message| sets_timer(message, 7 * DAY)).await?;
    wait_told(&alice, &bot, &room, "disappear 7d after").await?;
    wait_timer(&chat, 7 * DAY).await?;
    alice.send_text(&room, "goes").await?;
    let goes = wait_item(world, &chat, "what goes", |message| message.to_string().contains("goes")).await?;
    ensure!(goes.message["extendedTextMessage"]["contextInfo"]["expiration"] == 7 * DAY, "{}", goes.message);
    // By a client's switch; what WhatsApp does not have is taken back.
    let minute = json!({ "type": "after_send", "timer": 60_000 });
    set_state(&alice, &room, TIMER, "", &minute).await?;
    wait_told(&alice, &bot, &room, "24 hours, 7 days or 90 days").await?;
    wait_timer(&chat, 7 * DAY).await?;
    world.bridge.wait_idle().await?;
    die_at(world, "states.timer_out", async |_| {
        set_state(&alice, &room, TIMER, "", &json!({ "type": "", "timer": 0 })).await.map(drop)
    })
    .await?;
    wait_item(world, &chat, "no timer", |message| sets_timer(message, 0)).await?;
    world.bridge.wait_idle().await?;
    alice.send_text(&room, "remains").await?;
    let stays = wait_item(world, &chat, "what remains", |message| message.to_string().contains("remains")).await?;
    ensure!(!stays.message.to_string().contains("expiration"), "{}", stays.message);
    let sent = world.phones.inbox(&chat.contact().number);
    let set = sent.iter().filter(|item| item.message["protocolMessage"]["type"] == "EPHEMERAL_SETTING").count();
    ensure!(set == 2, "{set} timers were set");
    // And the other way: WhatsApp's timer is the room's.
    contact_sends(world, &chat, Kind::EphemeralSetting { seconds: DAY }).await?;
    wait_timer(&chat, DAY).await
}

async fn a_stranger_sets_no_timer(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (room, bot) = (chat.room()?, world.bridge.slot().bot());
    let mallory = bring_stranger(world, &chat).await?;
    set_state(&mallory, &room, TIMER, "", &json!({ "type": "after_send", "timer": 86_400_000 })).await?;
    wait_told(&mallory, &bot, &room, "Only the owner of this WhatsApp account can write").await?;
    wait_timer(&chat, 0).await?;
    mallory.send_text(&room, "!wa disappearing-timer 24h").await?;
    wait_told(&mallory, &bot, &room, "Only the owner of this chat's WhatsApp account may").await?;
    let sent = world.phones.inbox(&chat.contact().number);
    ensure!(!sent.iter().any(|item| item.message["protocolMessage"].is_object()), "{sent:?}");
    wait_rows(world, 0, "chat_timer", "seconds", "seconds > 0").await
}

async fn a_groups_timer_is_set_here_too(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let bob = world.phones.create_account("bob")?;
    let group = Group::create(&world.phones, &bob, "Forgetful", &[&account])?;
    let (room, bot) = (group.room_of(&alice).await?, world.bridge.slot().bot());
    alice.send_text(&room, "!wa disappearing-timer 90d").await?;
    wait_told(&alice, &bot, &room, "disappear 90d after").await?;
    let set = |seconds: u32| world.phones.simulator().group(&group.jid).is_some_and(|group| group.ephemeral == seconds);
    ensure!(set(90 * DAY), "{:?}", world.phones.simulator().group(&group.jid));
    group.wait_state(&alice, TIMER, "", |timer| timer["timer"] == u64::from(90 * DAY) * 1000).await?;
    // What is set on WhatsApp is the room's.
    world.phones.simulator().set_group_setting(&bob.number, &group.jid, &format!("ephemeral:{DAY}"))?;
    group.wait_state(&alice, TIMER, "", |timer| timer["timer"] == u64::from(DAY) * 1000).await?;
    // Where only admins may change settings WhatsApp refuses, and the room says what holds.
    world.phones.simulator().set_group_setting(&bob.number, &group.jid, "locked")?;
    let locked = |levels: &Value| levels["events"]["m.room.name"] == 50;
    group.wait_state(&alice, "m.room.power_levels", "", locked).await?;
    set_state(&alice, &room, TIMER, "", &json!({ "type": "", "timer": 0 })).await?;
    wait_told(&alice, &bot, &room, "WhatsApp does not let you change this chat's timer").await?;
    group.wait_state(&alice, TIMER, "", |timer| timer["timer"] == u64::from(DAY) * 1000).await?;
    ensure!(set(DAY), "{:?}", world.phones.simulator().group(&group.jid));
    Ok(())
}

async fn what_is_said_in_a_forgetful_group_goes(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let bob = world.phones.create_account("bob")?;
    let group = Group::create(&world.phones, &bob, "Forgetful", &[&account])?;
    let room = group.room_of(&alice).await?;
    group.phone_says(&bob, "stays").await?;
    let stays = group.wait_in_room(&alice, "stays").await?;
    world.phones.simulator().set_group_setting(&bob.number, &group.jid, "ephemeral:15")?;
    group.wait_state(&alice, TIMER, "", |timer| timer["timer"] == 15_000).await?;
    let mine = group.person_says(&alice, &account, "mine").await?;
    let item = group.wait_at(&bob, "mine").await?;
    let context = &item.message["extendedTextMessage"]["contextInfo"];
    ensure!(context["expiration"] == 15, "it goes without the timer: {}", item.message);
    world.phones.simulator().send_kind_with(&bob.number, &group.jid, text("theirs"), disappearing(15)).await?;
    let theirs = group.wait_in_room(&alice, "theirs").await?;
    // What is due while nobody looks goes with the next start.
    world.bridge.restart().await?;
    let find = async |id: &str| -> Result<Event> {
        let history = alice.history(&room).await?;
        history.into_iter().find(|event| event.id == id).context("the event is not in the room")
    };
    for id in [&mine, &theirs.id] {
        let gone = || async { Ok(is_removed(&find(id).await?).then_some(())) };
        wait::until("what was said is removed", wait::STEP, gone).await?;
    }
    ensure!(!is_removed(&find(&stays.id).await?), "what was said before the timer is gone");
    Ok(())
}
