//! What is sealed with another message's secret: edits, reactions, comments, events and the answers to them.

use anyhow::{Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;
use whatsapp_sim::{Kind, Options};

use crate::acts::{contact_sends_with, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        sealed_edits_reactions_and_comments_are_opened
        events_are_changed_and_answered
        an_event_is_answered_here
        a_sealed_edit_of_somebody_else_is_dropped
    }
}

async fn sealed_edits_reactions_and_comments_are_opened(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let theirs =
        contact_sends_with(world, &chat, Kind::Text { text: "meet at nein".into() }, Options::default()).await?;
    let text = wait_event(&chat, "the text", |event| event.body() == "meet at nein").await?;
    // Killed at once: the secret is with the message, not in the library's memory.
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let edit = |target: &str, text: &str| Kind::Edit {
        target: target.to_owned(),
        text: Some(text.to_owned()),
        message: None,
        secret: true,
    };
    contact_sends_with(world, &chat, edit(&theirs, "meet at nine"), Options::default()).await?;
    let edited = wait_event(&chat, "the edit", |event| event.newest_content()["body"] == "meet at nine").await?;
    ensure!(edited.content["m.relates_to"]["event_id"] == text.id.as_str(), "{}", edited.content);
    let react = Kind::SecretReaction { target: theirs.clone(), emoji: "👍".into() };
    contact_sends_with(world, &chat, react, Options::default()).await?;
    wait_event(&chat, "the reaction", |event| {
        event.kind == "m.reaction" && event.content["m.relates_to"]["event_id"] == text.id.as_str()
    })
    .await?;
    // To what the person wrote.
    let mine = chat.person().send_text(&chat.room()?, "a question").await?;
    let item = wait_item(world, &chat, "the question", |message| message.to_string().contains("a question")).await?;
    let react = Kind::SecretReaction { target: item.id.clone(), emoji: "🎉".into() };
    contact_sends_with(world, &chat, react, Options::default()).await?;
    wait_event(&chat, "the reaction to it", |event| {
        event.kind == "m.reaction" && event.content["m.relates_to"]["event_id"] == mine.as_str()
    })
    .await?;
    let comment = Kind::Comment { target: item.id, text: "a comment on it".into() };
    contact_sends_with(world, &chat, comment, Options::default()).await?;
    wait_event(&chat, "the comment", |event| event.body() == "a comment on it").await?;
    Ok(())
}

async fn events_are_changed_and_answered(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let party = Kind::Event {
        name: "Party".into(),
        description: None,
        start: 1_900_000_000,
        end: None,
        place: None,
        join_link: None,
        canceled: false,
    };
    let id = contact_sends_with(world, &chat, party, Options::default()).await?;
    let event = wait_event(&chat, "the event", |event| event.body().contains("Party")).await?;
    world.bridge.restart().await?;
    let rsvp = Kind::Rsvp { event: id.clone(), response: "maybe".into(), guests: Some(2) };
    contact_sends_with(world, &chat, rsvp, Options::default()).await?;
    let answer = wait_event(&chat, "the answer", |event| event.body().contains("Maybe going, with 2 guests")).await?;
    let answered = &answer.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    ensure!(*answered == event.id.as_str(), "{}", answer.content);
    ensure!(answer.sender == event.sender, "{} answers", answer.sender);
    let edit = Kind::EventEdit { event: id, name: "Feast".into(), start: 1_900_000_000 };
    contact_sends_with(world, &chat, edit, Options::default()).await?;
    let edited = wait_event(&chat, "the changed event", |event| event.newest_content().to_string().contains("Feast"));
    let edited = edited.await?;
    ensure!(edited.content["m.relates_to"]["event_id"] == event.id.as_str(), "{}", edited.content);
    ensure!(edited.content["m.relates_to"]["rel_type"] == "m.replace", "{}", edited.content);
    Ok(())
}

async fn an_event_is_answered_here(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let party = Kind::Event {
        name: "Party".into(),
        description: None,
        start: 1_900_000_000,
        end: None,
        place: None,
        join_link: None,
        canceled: false,
    };
    let id = contact_sends_with(world, &chat, party, Options::default()).await?;
    let event = wait_event(&chat, "the event", |event| event.body().contains("Party")).await?;
    ensure!(event.body().contains("3. Not going") && event.body().contains("Answer this message"), "{}", event.body());
    // Killed at once: the event's secret is with it.
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let room = chat.room()?;
    let answer = async |words: &str| {
        let relation = json!({ "m.in_reply_to": { "event_id": event.id } });
        let content = json!({ "msgtype": "m.text", "body": words, "m.relates_to": relation });
        chat.person().send(&room, "m.room.message", &content).await
    };
    let number = chat.contact().number.clone();
    let mut last = String::new();
    // By number and by words; the later one counts, so nobody's mind is made up for them.
    for (words, response) in [("2", "MAYBE"), ("not going", "NOT_GOING"), ("1", "GOING")] {
        last = answer(words).await?;
        let what = format!("{response} on the phone");
        let opened = wait::until(&what, wait::STEP, || async {
            let inbox = world.phones.inbox(&number);
            Ok(inbox.into_iter().find(|item| item.opened.as_ref().is_some_and(|it| it["rsvp"]["response"] == response)))
        });
        let item = opened.await?;
        let key = &item.message["encEventResponseMessage"]["eventCreationMessageKey"];
        ensure!(key["id"] == id.as_str(), "{}", item.message);
        world.bridge.restart().await?;
    }
    // It can not be taken back, and other words and a number by itself are only said.
    chat.person().redact(&room, &last).await?;
    wait_event(&chat, "a word about it", |event| event.body().contains("can't be taken back")).await?;
    answer("who else comes?").await?;
    wait_item(world, &chat, "a question", |message| message.to_string().contains("who else comes?")).await?;
    chat.person_says("3").await?;
    chat.wait_at_contact("3").await?;
    let inbox = world.phones.inbox(&number);
    let answers = inbox.iter().filter(|item| item.message["encEventResponseMessage"].is_object()).count();
    ensure!(answers == 3, "{answers} answers");
    ensure!(!inbox.iter().any(|item| item.message.to_string().contains("REVOKE")), "something was deleted");
    Ok(())
}

async fn a_sealed_edit_of_somebody_else_is_dropped(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let mine = chat.person().send_text(&chat.room()?, "what I said").await?;
    let item = wait_item(world, &chat, "the text", |message| message.to_string().contains("what I said")).await?;
    // They know its secret, and seal what their app would never let them: an edit, and a deletion that says it is one.
    let key = json!({ "remoteJid": item.chat, "fromMe": true, "id": item.id });
    let edited = json!({ "conversation": "what they say I said" });
    let forged = [
        json!({ "protocolMessage": { "type": "MESSAGE_EDIT", "key": key, "editedMessage": edited } }),
        json!({ "protocolMessage": { "type": "REVOKE", "key": key } }),
    ];
    for message in forged {
        let sealed = Kind::Sealed { target: item.id.clone(), purpose: "MESSAGE_EDIT".into(), message };
        contact_sends_with(world, &chat, sealed, Options::default()).await?;
    }
    // Under the seal of their own message they name the person's.
    let theirs =
        contact_sends_with(world, &chat, Kind::Text { text: "what they said".into() }, Options::default()).await?;
    let text = wait_event(&chat, "their text", |event| event.body() == "what they said").await?;
    let edited = json!({ "conversation": "what they say now" });
    let message = json!({ "protocolMessage": { "type": "MESSAGE_EDIT", "key": key, "editedMessage": edited } });
    let sealed = Kind::Sealed { target: theirs, purpose: "MESSAGE_EDIT".into(), message };
    contact_sends_with(world, &chat, sealed, Options::default()).await?;
    let edit = wait_event(&chat, "their edit", |event| event.newest_content()["body"] == "what they say now").await?;
    ensure!(edit.content["m.relates_to"]["event_id"] == text.id.as_str(), "{}", edit.content);
    chat.begin("and an honest word").await?;
    world.bridge.wait_idle().await?;
    let history = chat.person().history(&chat.room()?).await?;
    let said = history.iter().find(|event| event.id == mine).map(|event| event.body().to_owned());
    ensure!(said.as_deref() == Some("what I said"), "{said:?}");
    let edits = history.iter().filter(|event| event.content["m.relates_to"]["event_id"] == mine.as_str()).count();
    ensure!(edits == 0, "the person's message was edited by the contact");
    Ok(())
}
