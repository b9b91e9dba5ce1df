//! What becomes of messages is told: by status events, by read marks, by notices that stay true; and what has failed is tried
//! again by a reaction.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::FaultKind;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::json;
use whatsapp_sim::Refusal;

use crate::acts::die_at;
use crate::faults::crown;
use crate::people::{bring_stranger, wait_told};

matrix_bed::stories! {
    shared {
        what_became_of_a_message_is_told
        killed_around_what_is_told
        a_message_that_waits_says_so_once
        what_is_not_sent_is_no_success
        a_room_that_takes_nothing_keeps_no_other_waiting
        killed_around_another_try
        what_has_failed_is_tried_again_by_a_reaction
        a_reaction_on_what_has_not_failed_is_one
    }
    own {}
}

const STATUS: &str = "com.beeper.message_send_status";

async fn with_reports(world: &mut World) -> Result<Chat> {
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({"matrix": {"message_status_events": true, "delivery_receipts": true}}))?;
    world.bridge.start().await?;
    world.begin().await
}

/// The status events about an event that the homeserver has, oldest first.
async fn told(person: &Person, room: &str, event: &str) -> Result<Vec<Event>> {
    let all = person.history(room).await?.into_iter();
    Ok(all.filter(|one| one.kind == STATUS && one.content["m.relates_to"]["event_id"] == event).collect())
}

async fn wait_status(chat: &Chat, event: &str, status: &str) -> Result<Event> {
    let what = format!("{status} of {event}");
    let found = chat.person().wait_event(&what, wait::STEP, |one| {
        one.kind == STATUS && one.content["m.relates_to"]["event_id"] == event && one.content["status"] == status
    });
    found.await
}

/// How many events of Matrix the bridge has ever stored.
async fn stored(world: &World) -> Result<i64> {
    world.database.number("SELECT COUNT(*) FROM seen WHERE dedup LIKE 'k%'").await
}

/// Waits until the bridge has stored `count` events of Matrix.
async fn wait_stored(world: &World, count: i64) -> Result<()> {
    wait::until("all is stored", wait::STEP, || async { Ok((stored(world).await? >= count).then_some(())) }).await
}

async fn react(chat: &Chat, target: &str, key: &str) -> Result<String> {
    react_as(chat.person(), &chat.room()?, target, key).await
}

async fn react_as(person: &Person, room: &str, target: &str, key: &str) -> Result<String> {
    let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": target, "key": key } });
    person.send(room, "m.reaction", &content).await
}

async fn what_became_of_a_message_is_told(world: &mut World) -> Result<()> {
    let chat = with_reports(world).await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    let ghost = chat.begin("who are you?").await?.sender;
    let sent = chat.person_says("on its way").await?;
    let success = wait_status(&chat, &sent, "SUCCESS").await?;
    ensure!(success.sender == bot, "the bot tells: {}", success.sender);
    ensure!(success.content["m.relates_to"]["rel_type"] == "m.reference", "{}", success.content);
    chat.wait_at_contact("on its way").await?;
    let delivered = alice.wait_event("who has it", wait::STEP, |one| {
        one.kind == STATUS
            && one.content["m.relates_to"]["event_id"] == sent
            && one.content["delivered_to_users"].as_array().is_some_and(|users| users.len() == 1)
    });
    let delivered = delivered.await?;
    ensure!(delivered.content["delivered_to_users"] == json!([ghost]), "{}", delivered.content);
    let is_bots = |receipt: &matrix_bed::person::Receipt| receipt.user == bot && receipt.event == sent;
    alice.wait_receipt("the bot's read mark", wait::STEP, is_bots).await?;

    // What fails says why, also to clients.
    world.phones.fault(&chat.login().number, FaultKind::Nack(463), 1)?;
    let refused = alice.send_text(&room, "refused once").await?;
    let failed = wait_status(&chat, &refused, "FAIL_RETRIABLE").await?;
    ensure!(failed.content["reason"] == "m.foreign_network_error", "{}", failed.content);
    ensure!(failed.content["message"].as_str().is_some_and(|text| text.contains("Wait until")), "{}", failed.content);
    let strange = json!({ "msgtype": "m.unheard_of", "body": "what is it?" });
    let strange = alice.send(&room, "m.room.message", &strange).await?;
    let failed = wait_status(&chat, &strange, "FAIL_PERMANENT").await?;
    ensure!(failed.content["reason"] == "com.beeper.unsupported_event", "{}", failed.content);

    // Commands are no messages.
    let command = alice.send_text(&room, "!wa id").await?;
    wait_told(&alice, &bot, &room, &room).await?;
    let last = chat.person_says("the last").await?;
    wait_status(&chat, &last, "SUCCESS").await?;
    ensure!(told(&alice, &room, &command).await?.is_empty(), "a command has no such status");
    Ok(())
}

async fn killed_around_what_is_told(world: &mut World) -> Result<()> {
    let chat = with_reports(world).await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    // A delivery would be told in the place of a success that is told twice.
    world.phones.simulator().set_phone_silent(&chat.contact().number, true)?;
    for point in ["outcome.expected", "from_mx.after_send", "from_mx.after_settle", "outcome.told"] {
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=1*return")).await?;
        let event = chat.person_says(&format!("killed at {point}")).await?;
        world.bridge.wait_exit(wait::STEP).await.with_context(|| format!("nobody passed {point}"))?;
        world.bridge.start().await?;
        wait_status(&chat, &event, "SUCCESS").await?;
        chat.wait_at_contact(&format!("killed at {point}")).await?;
        let after = chat.person_says(&format!("after {point}")).await?;
        wait_status(&chat, &after, "SUCCESS").await?;
        world.bridge.wait_idle().await?;
        // That it waits, it says while the account is not connected again.
        let mut told = told(&alice, &room, &event).await?;
        told.retain(|one| one.content["status"] != "PENDING");
        ensure!(told.len() == 1, "{point}: told {} times: {told:?}", told.len());
        ensure!(told.iter().all(|one| one.content["status"] == "SUCCESS"), "{point}: {told:?}");
    }
    // A failure is told once too.
    world.phones.fault(&chat.login().number, FaultKind::Nack(463), 1)?;
    let refused = alice.send_text(&room, "refused").await?;
    wait_status(&chat, &refused, "FAIL_RETRIABLE").await?;
    world.bridge.wait_idle().await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let after = chat.person_says("after the failure").await?;
    wait_status(&chat, &after, "SUCCESS").await?;
    let told = told(&alice, &room, &refused).await?;
    ensure!(told.len() == 1, "a failure is no success: {told:?}");
    Ok(())
}

async fn a_message_that_waits_says_so_once(world: &mut World) -> Result<()> {
    let chat = with_reports(world).await?;
    let (alice, room, number) = (chat.person().clone(), chat.room()?, chat.login().number.clone());
    world.phones.simulator().set_phone_silent(&chat.contact().number, true)?;
    let away = Refusal { reason: 503, code: None, expire: None, message: None, count: None };
    world.phones.simulator().refuse(Some(&number), Some(away))?;
    let kept = chat.person_says("it waits").await?;
    wait_status(&chat, &kept, "PENDING").await?;
    // Also after a start.
    world.bridge.restart().await?;
    let before = stored(world).await?;
    let dropped = alice.send_text(&room, "taken back").await?;
    // One waits behind the other, and only the first is tried.
    alice.redact(&room, &dropped).await?;
    let first = alice.send_text(&room, "the last one").await?;
    wait_stored(world, before + 3).await?;
    world.phones.simulator().refuse(Some(&number), None)?;
    world.bridge.restart().await?;
    wait_status(&chat, &kept, "SUCCESS").await?;
    wait_status(&chat, &first, "SUCCESS").await?;
    chat.wait_at_contact("the last one").await?;
    world.bridge.wait_idle().await?;
    let of_kept: Vec<_> = told(&alice, &room, &kept).await?.iter().map(|one| one.content["status"].clone()).collect();
    ensure!(of_kept == ["PENDING", "SUCCESS"], "{of_kept:?}");
    ensure!(chat.find_at_contact("taken back").is_none(), "it was taken back");
    Ok(())
}

async fn what_is_not_sent_is_no_success(world: &mut World) -> Result<()> {
    let chat = with_reports(world).await?;
    let (alice, room, number) = (chat.person().clone(), chat.room()?, chat.login().number.clone());
    // It is tried, waits, and is deleted meanwhile.
    let away = Refusal { reason: 503, code: None, expire: None, message: None, count: None };
    world.phones.simulator().refuse(Some(&number), Some(away))?;
    let dropped = alice.send_text(&room, "never mind").await?;
    wait_status(&chat, &dropped, "PENDING").await?;
    let before = stored(world).await?;
    let removal = alice.redact(&room, &dropped).await?;
    wait_stored(world, before + 1).await?;
    world.phones.simulator().refuse(Some(&number), None)?;
    world.bridge.restart().await?;
    let unsent = wait_status(&chat, &dropped, "FAIL_PERMANENT").await?;
    ensure!(unsent.content["message"].as_str().is_some_and(|why| why.contains("was deleted")), "{}", unsent.content);
    // It was tried, so WhatsApp is told all the same.
    wait_status(&chat, &removal, "SUCCESS").await?;
    // A deletion of what never came there.
    world.phones.fault(&number, FaultKind::Nack(463), 1)?;
    let refused = alice.send_text(&room, "refused").await?;
    wait_status(&chat, &refused, "FAIL_RETRIABLE").await?;
    let deletion = alice.redact(&room, &refused).await?;
    wait_status(&chat, &deletion, "FAIL_PERMANENT").await?;
    let last = chat.person_says("the last").await?;
    wait_status(&chat, &last, "SUCCESS").await?;
    for event in [&dropped, &refused, &deletion] {
        let told = told(&alice, &room, event).await?;
        ensure!(told.iter().all(|one| one.content["status"] != "SUCCESS"), "{told:?}");
    }
    ensure!(chat.find_at_contact("never mind").is_none(), "it was deleted before it was sent");
    Ok(())
}

async fn a_room_that_takes_nothing_keeps_no_other_waiting(world: &mut World) -> Result<()> {
    let chat = with_reports(world).await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    let other = world.chat_with(&alice, chat.login(), "carol")?;
    other.begin("hello").await?;
    crown(world, &chat).await?;
    let client = world.synapse.appservice(world.bridge.slot())?;
    let path = ["_matrix", "client", "v3", "rooms", &room, "state", "m.room.power_levels", ""];
    let query = [("user_id", bot.as_str())];
    let mut powers = client.call(Method::GET, &path, &query, None).await?;
    powers["users"][&bot] = json!(0);
    powers["events"][STATUS] = json!(100);
    client.call(Method::PUT, &path, &query, Some(&powers)).await?;
    chat.person_says("nobody can tell of this").await?;
    chat.wait_at_contact("nobody can tell of this").await?;
    let heard = other.person_says("and of this").await?;
    wait_status(&other, &heard, "SUCCESS").await?;
    // It is not tried for ever.
    world.bridge.wait_idle().await?;
    let database = &world.database;
    wait::until("nothing waits to be told", wait::STEP * 2, || async {
        Ok((database.number("SELECT COUNT(*) FROM outcome").await? == 0).then_some(()))
    })
    .await
}

async fn killed_around_another_try(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    world.phones.fault(&chat.login().number, FaultKind::Nack(463), 1)?;
    let refused = alice.send_text(&room, "refused once").await?;
    wait_told(&alice, &bot, &room, "was not bridged").await?;
    world.bridge.wait_idle().await?;
    die_at(world, "outcome.retried", async |_| react(&chat, &refused, "🔁").await.map(drop)).await?;
    chat.wait_at_contact("refused once").await?;
    chat.person_says("afterwards").await?;
    chat.wait_at_contact("afterwards").await?;
    world.bridge.wait_idle().await?;
    let inbox = world.phones.inbox(&chat.contact().number);
    ensure!(!inbox.iter().any(|item| item.message["reactionMessage"].is_object()), "the wish went as a reaction");
    let notices = alice.events(&room);
    let told = notices.iter().filter(|one| one.sender == bot && one.body().contains("Trying that message again"));
    ensure!(told.count() == 1, "it is said once");
    Ok(())
}

async fn what_has_failed_is_tried_again_by_a_reaction(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    let mallory = bring_stranger(world, &chat).await?;
    let number = &chat.login().number;
    let notice_of = async |event: &str, before: usize| {
        let wanted = |one: &Event| {
            one.sender == bot
                && one.body().contains("was not bridged")
                && one.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event
        };
        wait::until("a notice of the failure", wait::STEP, async || {
            let found: Vec<Event> = alice.events(&room).into_iter().filter(|one| wanted(one)).collect();
            Ok(found.get(before).cloned())
        })
        .await
    };

    // Twice refused: each failure is told. Once on the message, once on the notice.
    world.phones.fault(number, FaultKind::Nack(463), 2)?;
    let refused = alice.send_text(&room, "refused twice").await?;
    notice_of(&refused, 0).await?;
    // Nobody else's reaction does it.
    react_as(&mallory, &room, &refused, "🔁").await?;
    wait_told(&alice, &bot, &room, "is not yours to try again").await?;
    ensure!(chat.find_at_contact("refused twice").is_none(), "a stranger had it sent");
    react(&chat, &refused, "🔁").await?;
    let second = notice_of(&refused, 1).await?;
    react(&chat, &second.id, "🔄\u{fe0f}").await?;
    chat.wait_at_contact("refused twice").await?;
    // The notices say that they are no longer true.
    for at in 0..2 {
        let notice = notice_of(&refused, at).await?;
        let corrected = alice.wait_event("a corrected notice", wait::STEP, |one| {
            one.content["m.relates_to"]["rel_type"] == "m.replace"
                && one.content["m.relates_to"]["event_id"] == notice.id
        });
        ensure!(corrected.await?.body().contains("another try has worked"), "it says so");
    }
    world.bridge.wait_idle().await?;
    // None of the reactions is on WhatsApp.
    let reactions = world
        .phones
        .inbox(&chat.contact().number)
        .iter()
        .filter(|item| item.message["reactionMessage"].is_object())
        .count();
    ensure!(reactions == 0, "a wish to try again is no reaction");
    Ok(())
}

async fn a_reaction_on_what_has_not_failed_is_one(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let event = chat.person_says("arrived").await?;
    chat.wait_at_contact("arrived").await?;
    react(&chat, &event, "🔁").await?;
    let is_reaction = |item: &matrix_bed::phones::InboxItem| item.message["reactionMessage"].is_object();
    world.phones.simulator().wait_inbox(&chat.contact().number, is_reaction, wait::STEP).await?;
    Ok(())
}
