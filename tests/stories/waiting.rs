//! Messages that can not be read at first: their place is kept, and they take it when they come.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::Event;
use matrix_bed::phones::FaultKind;
use matrix_bed::wait;
use matrix_bed::world::World;
use std::time::Duration;
use whatsapp_sim::{Direction, Effect, Kind, Options, Rule};

use crate::acts::{contact_sends, contact_sends_with, count, die_at, edits, text, wait_event};

matrix_bed::stories! {
    shared {
        an_unreadable_message_keeps_its_place_and_takes_it_when_it_comes
        what_an_edit_can_not_carry_takes_the_place_of_the_notice
        what_was_deleted_before_it_could_be_read_is_not_left
        the_phone_is_asked_again_after_a_start
        nothing_is_shown_of_what_hides_itself
        a_view_once_message_says_where_it_can_be_opened
        killed_around_a_place_that_is_kept
    }
}

const LIMIT: Duration = Duration::from_secs(45);

fn is_notice(event: &Event) -> bool {
    event.content["fi.mau.whatsapp.undecryptable"] == true && event.content["m.new_content"].is_null()
}

/// The next request to the person's phone gets lost.
fn lose_request(world: &World, chat: &Chat) -> Result<()> {
    let rule = Rule::new(Effect::Drop, Direction::FromClient, "message", 1)?;
    world.phones.simulator().add_rule(&chat.login().number, rule)
}

/// The contact sends something that arrives broken and that nobody brings again for now.
async fn sends_broken(world: &World, chat: &Chat, kind: Kind, options: Options) -> Result<String> {
    let login = &chat.login().number;
    world.phones.fault(login, FaultKind::DropRetry, 5)?;
    // The phone is asked too.
    lose_request(world, chat)?;
    world.phones.fault(login, FaultKind::CorruptCiphertext, 1)?;
    let id = contact_sends_with(world, chat, kind, options).await?;
    world.phones.simulator().wait_fault_used(login, FaultKind::CorruptCiphertext, wait::STEP).await?;
    Ok(id)
}

async fn wait_notice(chat: &Chat) -> Result<Event> {
    let room = chat.room()?;
    chat.person().wait_event("the notice", LIMIT, |event| event.room == room && is_notice(event)).await
}

async fn an_unreadable_message_keeps_its_place_and_takes_it_when_it_comes(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let id = sends_broken(world, &chat, text("read me later"), Options::default()).await?;
    let notice = wait_notice(&chat).await?;
    ensure!(notice.body().contains("Waiting for this message"), "{}", notice.content);
    // What is said about it waits for it: the notice is not what was meant.
    contact_sends(world, &chat, Kind::Reaction { target: id.clone(), emoji: "👍".into() }).await?;
    // The phone is asked again after the start, and does not hear it: the sender brings it.
    lose_request(world, &chat)?;
    world.bridge.restart().await?;
    let again = Options { id: Some(id.clone()), ..Options::default() };
    contact_sends_with(world, &chat, text("read me later"), again).await?;
    let message = wait_event(&chat, "the message in its place", |event| edits(event, &notice.id)).await?;
    ensure!(message.newest_content()["body"] == "read me later", "{}", message.content);
    ensure!(message.newest_content()["msgtype"] == "m.text", "{}", message.content);
    ensure!(message.sender == notice.sender, "{} speaks for {}", message.sender, notice.sender);
    wait_event(&chat, "the reaction to it", |event| {
        event.kind == "m.reaction" && event.content["m.relates_to"]["event_id"] == notice.id.as_str()
    })
    .await?;
    // From then on it is a message like any other.
    let edit = Kind::Edit { target: id.clone(), text: Some("read me now".into()), message: None, secret: false };
    contact_sends(world, &chat, edit).await?;
    wait_event(&chat, "its edit", |event| edits(event, &notice.id) && event.newest_content()["body"] == "read me now")
        .await?;
    contact_sends_with(world, &chat, text("an answer"), Options { reply_to: Some(id), ..Options::default() }).await?;
    let answer = wait_event(&chat, "an answer to it", |event| event.body() == "an answer").await?;
    ensure!(answer.content["m.relates_to"]["m.in_reply_to"]["event_id"] == notice.id.as_str(), "{}", answer.content);
    ensure!(count(&chat, is_notice).await? == 1, "one notice");
    ensure!(count(&chat, |event| event.body() == "read me later").await? == 0, "it was said besides");
    Ok(())
}

async fn the_phone_is_asked_again_after_a_start(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    sends_broken(world, &chat, text("the phone has it"), Options::default()).await?;
    let notice = wait_notice(&chat).await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, |event| edits(event, &notice.id)).await? == 0, "nobody has brought it");
    world.bridge.restart().await?;
    let message = wait_event(&chat, "the message in its place", |event| edits(event, &notice.id)).await?;
    ensure!(message.newest_content()["body"] == "the phone has it", "{}", message.content);
    // Asked for no more.
    world.bridge.restart().await?;
    chat.begin("and a word").await?;
    world.bridge.wait_idle().await?;
    ensure!(count(&chat, |event| edits(event, &notice.id)).await? == 1, "it came twice");
    Ok(())
}

async fn what_was_deleted_before_it_could_be_read_is_not_left(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let id = sends_broken(world, &chat, text("nobody shall read this"), Options::default()).await?;
    let notice = wait_notice(&chat).await?;
    contact_sends(world, &chat, Kind::Revoke { target: id.clone() }).await?;
    chat.begin("something after it").await?;
    let again = Options { id: Some(id), ..Options::default() };
    contact_sends_with(world, &chat, text("nobody shall read this"), again).await?;
    wait::until("the notice and what it became are gone", LIMIT, || async {
        let left = count(&chat, |event| event.id == notice.id && !event.body().is_empty()).await?;
        Ok((left == 0).then_some(()))
    })
    .await
}

async fn what_an_edit_can_not_carry_takes_the_place_of_the_notice(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let question = contact_sends(world, &chat, text("a question")).await?;
    let question_event = wait_event(&chat, "the question", |event| event.body() == "a question").await?;
    let answers = Options { reply_to: Some(question), ..Options::default() };
    let id = sends_broken(world, &chat, text("its answer"), answers.clone()).await?;
    let notice = wait_notice(&chat).await?;
    world.bridge.restart().await?;
    contact_sends_with(world, &chat, text("its answer"), Options { id: Some(id), ..answers }).await?;
    let answer = wait_event(&chat, "the answer", |event| event.body() == "its answer").await?;
    let answered = &answer.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    ensure!(*answered == question_event.id.as_str(), "{}", answer.content);
    let gone = wait_event(&chat, "the notice goes", |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == notice.id.as_str()
    });
    ensure!(gone.await?.sender == notice.sender);
    ensure!(count(&chat, |event| event.body() == "its answer").await? == 1);
    Ok(())
}

async fn nothing_is_shown_of_what_hides_itself(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let target = contact_sends(world, &chat, text("like me")).await?;
    let event = wait_event(&chat, "the text", |event| event.body() == "like me").await?;
    let reaction = Kind::Reaction { target, emoji: "🎉".into() };
    let id = sends_broken(world, &chat, reaction.clone(), Options::default()).await?;
    // What is behind it waits, and is all that is seen.
    chat.contact_says("after the reaction").await?;
    chat.wait_in_room_for("after the reaction", LIMIT).await?;
    ensure!(count(&chat, is_notice).await? == 0, "a notice of a reaction");
    world.bridge.restart().await?;
    contact_sends_with(world, &chat, reaction, Options { id: Some(id), ..Options::default() }).await?;
    wait_event(&chat, "the reaction", |seen| {
        seen.kind == "m.reaction" && seen.content["m.relates_to"]["event_id"] == event.id.as_str()
    })
    .await?;
    Ok(())
}

async fn a_view_once_message_says_where_it_can_be_opened(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.phones.fault(&chat.login().number, FaultKind::WithholdViewOnce, 1)?;
    contact_sends(world, &chat, text("for the phone's eyes")).await?;
    // At once: nothing brings it, so nothing waits for it.
    let room = chat.room()?;
    let fits = |event: &Event| event.room == room && event.body().contains("view-once");
    chat.person().wait_event("a word about it", Duration::from_secs(12), fits).await?;
    chat.begin("and the next one").await?;
    ensure!(count(&chat, |event| event.body().contains("Waiting for this message")).await? == 0);
    Ok(())
}

async fn killed_around_a_place_that_is_kept(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for (round, point) in ["states.place", "states.fill", "states.free"].into_iter().enumerate() {
        let words = format!("late {round}");
        let answers = match point {
            "states.free" => {
                let question = contact_sends(world, &chat, text("again a question")).await?;
                // Else it may be this one that is broken below: it waits until the bridge is connected.
                wait_event(&chat, "the question", |event| event.body() == "again a question").await?;
                Options { reply_to: Some(question), ..Options::default() }
            }
            _ => Options::default(),
        };
        let seen = count(&chat, is_notice).await?;
        let mut id = String::new();
        if point == "states.place" {
            die_at(world, point, async |world| {
                id = sends_broken(world, &chat, text(&words), answers.clone()).await?;
                Ok(())
            })
            .await?;
        } else {
            id = sends_broken(world, &chat, text(&words), answers.clone()).await?;
        }
        wait::until("its place is kept", LIMIT, || async {
            Ok((count(&chat, is_notice).await? == seen + 1).then_some(()))
        })
        .await?;
        world.bridge.wait_idle().await?;
        let again = Options { id: Some(id), ..answers };
        if point == "states.place" {
            contact_sends_with(world, &chat, text(&words), again).await?;
        } else {
            die_at(world, point, async |world| contact_sends_with(world, &chat, text(&words), again).await.map(drop))
                .await?;
        }
        wait_event(&chat, &words, |event| event.newest_content()["body"] == words.as_str()).await?;
        world.bridge.wait_idle().await?;
        ensure!(count(&chat, |event| event.newest_content()["body"] == words.as_str()).await? == 1, "{words} doubled");
        // An edited notice is still there under its edit, one that gave way is not.
        let left = if point == "states.free" { seen } else { seen + 1 };
        ensure!(count(&chat, is_notice).await? == left, "notices after {point}");
    }
    Ok(())
}
