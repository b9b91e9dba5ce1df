//! Messages about messages: marks and mentions, answers, edits, deletions, reactions; both ways, and after a start.

use anyhow::{Context, Result, ensure};
use matrix_bed::person::Event;
use matrix_bed::phones::FaultKind;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options};

use super::acts::{contact_sends_with, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        marks_cross_both_ways
        answers_quote_both_ways
        edits_cross_both_ways
        deletions_cross_both_ways
        reactions_cross_both_ways
        a_reaction_waits_for_its_message
        what_is_shown_and_not_recorded_yet_is_answered
        nobody_edits_or_deletes_what_others_said
    }
    own {
        what_was_deleted_before_it_left_is_never_sent
    }
}

fn related(content: Value, relation: Value) -> Value {
    let mut content = content;
    content["m.relates_to"] = relation;
    content
}

async fn marks_cross_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let text = "*bold* and _slanted_ and `code`, <b>not</b>";
    chat.contact_says(text).await?;
    let event = wait_event(&chat, "the marked text", |event| event.content["formatted_body"].is_string()).await?;
    let html = event.content["formatted_body"].as_str().unwrap_or_default();
    for piece in ["<strong>bold</strong>", "<em>slanted</em>", "<code>code</code>", "&lt;b&gt;not&lt;/b&gt;"] {
        ensure!(html.contains(piece), "no {piece} in {html}");
    }
    let ghost = event.sender;
    let content = json!({
        "msgtype": "m.text",
        "body": "bold and you",
        "format": "org.matrix.custom.html",
        "formatted_body": format!("<b>bold</b> and <a href=\"https://matrix.to/#/{ghost}\">you</a>"),
        "m.mentions": { "user_ids": [ghost] },
    });
    chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let item = wait_item(world, &chat, "the marked text at the contact", |message| {
        message["extendedTextMessage"]["text"].as_str().is_some_and(|text| text.starts_with("*bold* and @"))
    })
    .await?;
    let mentioned = &item.message["extendedTextMessage"]["contextInfo"]["mentionedJid"][0];
    let lid = format!("{}@lid", chat.contact().lid);
    ensure!(*mentioned == lid.as_str(), "{mentioned} is mentioned, not {lid}");
    Ok(())
}

async fn answers_quote_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for round in ["live", "after a start"] {
        let question = chat.begin(&format!("a question, {round}")).await?;
        let asked = format!("an answer, {round}");
        let relation = json!({ "m.in_reply_to": { "event_id": question.id } });
        let content = related(json!({ "msgtype": "m.text", "body": asked }), relation);
        let answer = chat.person().send(&chat.room()?, "m.room.message", &content).await?;
        let item =
            wait_item(world, &chat, "the answer", |message| message["extendedTextMessage"]["text"] == asked.as_str());
        let item = item.await?;
        let context = &item.message["extendedTextMessage"]["contextInfo"];
        let quoted = context["quotedMessage"].to_string();
        ensure!(quoted.contains(&format!("a question, {round}")), "the real words are quoted: {context}");
        // And the contact answers the answer.
        let options = Options { reply_to: Some(item.id.clone()), ..Options::default() };
        let text = format!("thanks, {round}");
        contact_sends_with(world, &chat, Kind::Text { text: text.clone() }, options).await?;
        let event = wait_event(&chat, &text, |event| event.body() == text).await?;
        let answered = &event.content["m.relates_to"]["m.in_reply_to"]["event_id"];
        ensure!(*answered == answer.as_str(), "it answers {answered}, not {answer}: {}", event.content);
        let mentioned = event.content["m.mentions"]["user_ids"].to_string();
        ensure!(mentioned.contains(chat.person().id()), "who is answered is mentioned: {mentioned}");
        world.bridge.restart().await?;
    }
    Ok(())
}

async fn edits_cross_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let theirs =
        contact_sends_with(world, &chat, Kind::Text { text: "meet at nein".into() }, Options::default()).await?;
    let first = wait_event(&chat, "the text", |event| event.body() == "meet at nein").await?;
    let room = chat.room()?;
    let mine = chat.person().send_text(&room, "see you tehre").await?;
    let item = wait_item(world, &chat, "the person's text", |m| m.to_string().contains("see you tehre")).await?;
    world.bridge.restart().await?;
    let edit = Kind::Edit { target: theirs, text: Some("meet at nine".into()), message: None, secret: false };
    contact_sends_with(world, &chat, edit, Options::default()).await?;
    let edited = wait_event(&chat, "the edit", |event| event.newest_content()["body"] == "meet at nine").await?;
    let relation = &edited.content["m.relates_to"];
    ensure!(relation["rel_type"] == "m.replace" && relation["event_id"] == first.id.as_str(), "{relation}");
    ensure!(edited.sender == first.sender, "{} edits", edited.sender);
    let content = json!({
        "msgtype": "m.text",
        "body": "* see you there",
        "m.new_content": { "msgtype": "m.text", "body": "see you there" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": mine },
    });
    chat.person().send(&room, "m.room.message", &content).await?;
    let edit = wait_item(world, &chat, "the edit at the contact", |message| {
        message["protocolMessage"]["editedMessage"].to_string().contains("see you there")
    })
    .await?;
    ensure!(edit.message["protocolMessage"]["key"]["id"] == item.id.as_str(), "{}", edit.message);
    // Somebody else's message can not be edited, and the person is told.
    let content = related(
        json!({ "msgtype": "m.text", "body": "* no", "m.new_content": { "msgtype": "m.text", "body": "no" } }),
        json!({ "rel_type": "m.replace", "event_id": first.id }),
    );
    chat.person().send(&room, "m.room.message", &content).await?;
    wait_event(&chat, "a word about it", |event| event.body().contains("Only your own messages can be edited")).await?;
    Ok(())
}

async fn deletions_cross_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let theirs = contact_sends_with(world, &chat, Kind::Text { text: "a slip".into() }, Options::default()).await?;
    let slip = wait_event(&chat, "the slip", |event| event.body() == "a slip").await?;
    let room = chat.room()?;
    let mine = chat.person().send_text(&room, "my slip").await?;
    let item = wait_item(world, &chat, "the person's slip", |m| m.to_string().contains("my slip")).await?;
    world.bridge.restart().await?;
    contact_sends_with(world, &chat, Kind::Revoke { target: theirs }, Options::default()).await?;
    let gone = wait_event(&chat, "the deletion", |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == slip.id.as_str()
    });
    ensure!(gone.await?.sender == slip.sender, "its author takes it back");
    chat.person().redact(&room, &mine).await?;
    let revoke = wait_item(world, &chat, "the deletion at the contact", |m| m["protocolMessage"]["type"] == "REVOKE");
    let revoke = revoke.await?;
    ensure!(revoke.message["protocolMessage"]["key"]["id"] == item.id.as_str(), "{}", revoke.message);
    Ok(())
}

async fn reactions_cross_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let mine = chat.person().send_text(&room, "look at this").await?;
    let item = wait_item(world, &chat, "the text", |message| message.to_string().contains("look at this")).await?;
    let mut shown: Option<Event> = None;
    for emoji in ["👍", "🎉", ""] {
        let kind = Kind::Reaction { target: item.id.clone(), emoji: emoji.into() };
        contact_sends_with(world, &chat, kind, Options::default()).await?;
        if let Some(before) = &shown {
            wait_event(&chat, "the older one goes", |event| {
                event.kind == "m.room.redaction" && event.content["redacts"] == before.id.as_str()
            })
            .await?;
        }
        if !emoji.is_empty() {
            let is_it = |event: &Event| {
                let relation = &event.content["m.relates_to"];
                event.kind == "m.reaction"
                    && relation["event_id"] == mine.as_str()
                    && relation["key"].as_str().is_some_and(|key| key.starts_with(emoji))
            };
            shown = Some(wait_event(&chat, emoji, is_it).await?);
        }
        world.bridge.restart().await?;
    }
    // The person's: the second takes the place of the first, and taking it back takes it back.
    let theirs = chat.begin("and this").await?;
    let react = async |key: &str| {
        let relation = json!({ "rel_type": "m.annotation", "event_id": theirs.id, "key": key });
        chat.person().send(&room, "m.reaction", &json!({ "m.relates_to": relation })).await
    };
    let first = react("❤️").await?;
    let is_heart = |text: &str| text.starts_with('\u{2764}');
    wait_item(world, &chat, "the heart", |m| m["reactionMessage"]["text"].as_str().is_some_and(is_heart)).await?;
    let second = react("😂").await?;
    wait_item(world, &chat, "the laugh", |message| message["reactionMessage"]["text"] == "😂").await?;
    wait_event(&chat, "the heart goes", |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == first.as_str()
    })
    .await?;
    chat.person().redact(&room, &second).await?;
    wait_item(world, &chat, "nothing is left", |message| {
        message["reactionMessage"].is_object()
            && message["reactionMessage"]["text"].as_str().unwrap_or_default().is_empty()
    })
    .await?;
    Ok(())
}

async fn a_reaction_waits_for_its_message(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    // The message is lost on its way and comes with the next connection; the reaction to it is there first.
    world.phones.fault(&login, FaultKind::Drop, 1)?;
    let lost = contact_sends_with(world, &chat, Kind::Text { text: "late".into() }, Options::default()).await?;
    world.phones.simulator().wait_fault_used(&login, FaultKind::Drop, wait::STEP).await?;
    contact_sends_with(world, &chat, Kind::Reaction { target: lost, emoji: "👍".into() }, Options::default()).await?;
    let parked = "UPDATE inbox SET state = state WHERE state = 'parked'";
    wait::until("the reaction waits", wait::STEP, || async {
        Ok((world.database.execute(parked).await? == 1).then_some(()))
    })
    .await?;
    // Nothing of it is kept in memory alone.
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let late = wait_event(&chat, "the late message", |event| event.body() == "late").await?;
    wait_event(&chat, "the reaction to it", |event| {
        event.kind == "m.reaction" && event.content["m.relates_to"]["event_id"] == late.id.as_str()
    })
    .await?;
    Ok(())
}

async fn what_is_shown_and_not_recorded_yet_is_answered(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    // The bridge pauses where a kill would leave an event in the room that no row names yet.
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("from_wa.after_send=1*sleep(4000)->off").await?;
    let id = chat.contact_says("be quick").await?;
    let event = chat.wait_in_room("be quick").await?;
    let recorded = format!("UPDATE message SET state = state WHERE wa_id = '{id}' AND state = 'sent'");
    ensure!(world.database.execute(&recorded).await? == 0, "it is recorded already; then this story proves nothing");
    let room = chat.room()?;
    let relation = json!({ "rel_type": "m.annotation", "event_id": event.id, "key": "👍" });
    chat.person().send(&room, "m.reaction", &json!({ "m.relates_to": relation })).await?;
    let relation = json!({ "m.in_reply_to": { "event_id": event.id } });
    let content = related(json!({ "msgtype": "m.text", "body": "I was" }), relation);
    chat.person().send(&room, "m.room.message", &content).await?;
    let item =
        wait_item(world, &chat, "the answer", |message| message["extendedTextMessage"]["text"] == "I was").await?;
    let context = &item.message["extendedTextMessage"]["contextInfo"];
    ensure!(context["stanzaId"] == id.as_str() || context["stanzaID"] == id.as_str(), "it answers nothing: {context}");
    wait_item(world, &chat, "the reaction", |message| message["reactionMessage"]["key"]["id"] == id.as_str()).await?;
    Ok(())
}

async fn nobody_edits_or_deletes_what_others_said(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let mine = chat.person().send_text(&chat.room()?, "what I said").await?;
    let item = wait_item(world, &chat, "the text", |message| message.to_string().contains("what I said")).await?;
    // Forged by the contact: clients of theirs would never offer it.
    let key = json!({ "remoteJid": item.chat, "fromMe": true, "id": item.id });
    let edited = json!({ "conversation": "what they say I said" });
    let forged = [
        json!({ "protocolMessage": { "type": "MESSAGE_EDIT", "key": key, "editedMessage": edited } }),
        json!({ "protocolMessage": { "type": "REVOKE", "key": key } }),
    ];
    for message in forged {
        contact_sends_with(world, &chat, Kind::Raw { message: Some(message), protobuf: None }, Options::default())
            .await?;
    }
    chat.begin("and an honest word").await?;
    world.bridge.wait_idle().await?;
    let room = chat.room()?;
    let history = chat.person().history(&room).await?;
    let said = history.iter().find(|event| event.id == mine).context("the message is gone")?;
    ensure!(said.body() == "what I said", "{}", said.content);
    ensure!(!history.iter().any(|event| event.content.to_string().contains("what they say")), "a forged edit came in");
    Ok(())
}

async fn what_was_deleted_before_it_left_is_never_sent(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    world.bridge.stop().await?;
    let slip = chat.person().send_text(&room, "never to be seen").await?;
    chat.person().redact(&room, &slip).await?;
    chat.person().send_text(&room, "to be seen").await?;
    world.bridge.start().await?;
    wait_item(world, &chat, "the other message", |message| message.to_string().contains("to be seen")).await?;
    world.bridge.wait_idle().await?;
    let seen = world.phones.inbox(&chat.contact().number);
    ensure!(!seen.iter().any(|item| item.message.to_string().contains("never to be seen")), "{seen:?}");
    Ok(())
}
