//! The contact uses Baileys, which shares no code with the simulator or with the bridge's WhatsApp library: what both of
//! those might get wrong in the same way is wrong here.

use anyhow::{Result, ensure};
use matrix_bed::baileys::{Baileys, text};
use matrix_bed::chat::Chat;
use matrix_bed::person::Event;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};

matrix_bed::stories! {
    shared {
        baileys_says_something_and_is_answered
        baileys_and_the_person_react
        baileys_and_the_person_edit
        baileys_and_the_person_delete
    }
    own {}
}

/// A chat with a contact whose client is Baileys, and that client.
async fn begin(world: &mut World) -> Result<(Chat, Baileys)> {
    let chat = world.begin().await?;
    let baileys = Baileys::link(&world.phones, chat.contact()).await?;
    Ok((chat, baileys))
}

/// Where Baileys finds the person.
fn person(chat: &Chat) -> String {
    format!("{}@s.whatsapp.net", chat.login().number)
}

async fn wait_event(chat: &Chat, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
    let room = chat.room()?;
    chat.person().wait_event(what, wait::STEP, |event| event.room == room && wanted(event)).await
}

/// Baileys says something; returns its id and the event it became.
async fn says(chat: &Chat, baileys: &mut Baileys, words: &str) -> Result<(String, Event)> {
    let id = baileys.send("text", json!({ "to": person(chat), "text": words })).await?;
    let event = wait_event(chat, words, |event| event.body() == words).await?;
    Ok((id, event))
}

/// The person says something; returns the event's id, and the message's as Baileys has it.
async fn is_told(chat: &Chat, baileys: &mut Baileys, words: &str) -> Result<(String, String)> {
    let event = chat.person().send_text(&chat.room()?, words).await?;
    let (id, _) = baileys.wait_message(words, |message| text(message) == words).await?;
    Ok((event, id))
}

async fn baileys_says_something_and_is_answered(world: &mut World) -> Result<()> {
    let (chat, mut baileys) = begin(world).await?;
    let (id, question) = says(&chat, &mut baileys, "is that *you*?").await?;
    ensure!(question.content["formatted_body"].to_string().contains("<strong>you</strong>"), "{}", question.content);
    let content = json!({
        "msgtype": "m.text", "body": "it is", "format": "org.matrix.custom.html", "formatted_body": "it <b>is</b>",
        "m.relates_to": { "m.in_reply_to": { "event_id": question.id } },
    });
    let answer = chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let (answer_id, message) = baileys.wait_message("the answer", |message| text(message) == "it *is*").await?;
    let context = &message["extendedTextMessage"]["contextInfo"];
    ensure!(context["stanzaId"] == id.as_str(), "it answers {}, not {id}", context["stanzaId"]);
    ensure!(text(&context["quotedMessage"]) == "is that *you*?", "{context}");
    let thanks = json!({ "to": person(&chat), "text": "thanks", "reply": answer_id });
    baileys.send("text", thanks).await?;
    let event = wait_event(&chat, "thanks", |event| event.body() == "thanks").await?;
    let answered = &event.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    ensure!(*answered == answer.as_str(), "it answers {answered}, not {answer}");
    // After a start they still understand each other.
    world.bridge.restart().await?;
    says(&chat, &mut baileys, "still there?").await?;
    is_told(&chat, &mut baileys, "still here").await?;
    Ok(())
}

async fn baileys_and_the_person_react(world: &mut World) -> Result<()> {
    let (chat, mut baileys) = begin(world).await?;
    let (mine, id) = is_told(&chat, &mut baileys, "look at this").await?;
    baileys.send("react", json!({ "to": person(&chat), "id": id, "emoji": "👍" })).await?;
    let is_thumb = |event: &Event| {
        let relation = &event.content["m.relates_to"];
        let key = relation["key"].as_str().unwrap_or_default();
        event.kind == "m.reaction" && relation["event_id"] == mine.as_str() && key.starts_with('👍')
    };
    let thumb = wait_event(&chat, "the reaction", is_thumb).await?;
    baileys.send("react", json!({ "to": person(&chat), "id": id, "emoji": "" })).await?;
    wait_event(&chat, "it is taken back", |event| redacts(event, &thumb.id)).await?;

    let (theirs, event) = says(&chat, &mut baileys, "and this").await?;
    let relation = json!({ "rel_type": "m.annotation", "event_id": event.id, "key": "🎉" });
    let reaction = chat.person().send(&chat.room()?, "m.reaction", &json!({ "m.relates_to": relation })).await?;
    let reacted = |emoji: &'static str| {
        let theirs = theirs.clone();
        move |line: &Value| line["event"] == "reaction" && line["id"] == theirs.as_str() && line["emoji"] == emoji
    };
    baileys.wait("the person's reaction", reacted("🎉")).await?;
    chat.person().redact(&chat.room()?, &reaction).await?;
    baileys.wait("its end", reacted("")).await?;
    Ok(())
}

async fn baileys_and_the_person_edit(world: &mut World) -> Result<()> {
    let (chat, mut baileys) = begin(world).await?;
    let (id, first) = says(&chat, &mut baileys, "meet at nein").await?;
    baileys.send("edit", json!({ "to": person(&chat), "id": id, "text": "meet at nine" })).await?;
    let edited = wait_event(&chat, "the edit", |event| event.newest_content()["body"] == "meet at nine").await?;
    let relation = &edited.content["m.relates_to"];
    ensure!(relation["rel_type"] == "m.replace" && relation["event_id"] == first.id.as_str(), "{relation}");

    let (mine, id) = is_told(&chat, &mut baileys, "see you tehre").await?;
    let content = json!({
        "msgtype": "m.text", "body": "* see you there",
        "m.new_content": { "msgtype": "m.text", "body": "see you there" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": mine },
    });
    chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let is_edit = |line: &Value| {
        line["event"] == "update"
            && line["id"] == id.as_str()
            && text(&line["update"]["message"]["editedMessage"]["message"]) == "see you there"
    };
    baileys.wait("the person's edit", is_edit).await?;
    Ok(())
}

async fn baileys_and_the_person_delete(world: &mut World) -> Result<()> {
    let (chat, mut baileys) = begin(world).await?;
    let (id, slip) = says(&chat, &mut baileys, "a slip").await?;
    baileys.send("revoke", json!({ "to": person(&chat), "id": id })).await?;
    let gone = wait_event(&chat, "the deletion", |event| redacts(event, &slip.id)).await?;
    ensure!(gone.sender == slip.sender, "its author takes it back");

    let (mine, id) = is_told(&chat, &mut baileys, "my slip").await?;
    chat.person().redact(&chat.room()?, &mine).await?;
    let is_gone = |line: &Value| {
        let update = &line["update"];
        line["event"] == "update"
            && line["id"] == id.as_str()
            && update["message"].is_null()
            && update.as_object().is_some_and(|update| update.contains_key("message"))
    };
    baileys.wait("the person's deletion", is_gone).await?;
    Ok(())
}

fn redacts(event: &Event, target: &str) -> bool {
    event.kind == "m.room.redaction" && event.content["redacts"] == target
}
