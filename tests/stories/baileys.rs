//! The contact uses Baileys, which shares no code with the simulator or with the bridge's WhatsApp library: what both of
//! those might get wrong in the same way is wrong here.

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
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
        baileys_and_the_person_send_files
        baileys_and_the_person_vote
    }
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

/// A picture and a voice note, each way. What the bridge passes on is the same file, byte by byte.
async fn baileys_and_the_person_send_files(world: &mut World) -> Result<()> {
    let (chat, mut baileys) = begin(world).await?;
    let (room, client) = (chat.room()?, chat.person().client());
    let picture = jpeg()?;
    let voice = include_bytes!("../../src/media/testdata/voice.ogg");
    let encoded = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);

    let image = json!({ "to": person(&chat), "data": encoded(&picture), "caption": "look", "mimetype": "image/jpeg" });
    baileys.send("image", image).await?;
    let event = wait_event(&chat, "the picture", |event| event.is_message("m.image")).await?;
    ensure!(event.body() == "look" && event.content["info"]["mimetype"] == "image/jpeg", "{}", event.content);
    ensure!(client.download(event.content["url"].as_str().context("no file")?).await? == picture);
    baileys.send("voice", json!({ "to": person(&chat), "data": encoded(voice), "seconds": 1 })).await?;
    let event = wait_event(&chat, "the voice note", |event| event.is_message("m.audio")).await?;
    ensure!(event.content["org.matrix.msc3245.voice"].is_object(), "{}", event.content);
    ensure!(client.download(event.content["url"].as_str().context("no file")?).await? == voice);

    let mxc = client.upload(picture.clone(), "image/jpeg", "a.jpg").await?;
    let content = json!({
        "msgtype": "m.image", "body": "and this", "filename": "a.jpg", "url": mxc,
        "info": { "mimetype": "image/jpeg", "size": picture.len() },
    });
    chat.person().send(&room, "m.room.message", &content).await?;
    let (id, message) = baileys.wait_message("the picture", |message| message["imageMessage"].is_object()).await?;
    ensure!(message["imageMessage"]["caption"] == "and this", "{message}");
    ensure!(baileys.call("fetch", json!({ "id": id })).await?["data"] == encoded(&picture));
    let mxc = client.upload(voice.to_vec(), "audio/ogg", "voice.ogg").await?;
    let content = json!({
        "msgtype": "m.audio", "body": "voice.ogg", "url": mxc, "org.matrix.msc3245.voice": {},
        "info": { "mimetype": "audio/ogg", "duration": 1_000 },
    });
    chat.person().send(&room, "m.room.message", &content).await?;
    let (id, message) = baileys.wait_message("the voice note", |message| message["audioMessage"].is_object()).await?;
    ensure!(message["audioMessage"]["ptt"] == true, "{message}");
    ensure!(baileys.call("fetch", json!({ "id": id })).await?["data"] == encoded(voice));
    Ok(())
}

/// A small real picture.
fn jpeg() -> Result<Vec<u8>> {
    let picture = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([(x * 4) as u8, (y * 5) as u8, 128]));
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Jpeg)?;
    Ok(file.into_inner())
}

async fn baileys_and_the_person_vote(world: &mut World) -> Result<()> {
    let (chat, mut baileys) = begin(world).await?;
    let room = chat.room()?;
    let options = json!(["tea", "soup"]);
    let poll = json!({ "to": person(&chat), "name": "Lunch?", "options": options, "selectable": 1 });
    let asked = baileys.send("poll", poll).await?;
    let is_poll = |event: &Event| event.kind.ends_with("poll.start");
    let poll = wait_event(&chat, "the poll", is_poll).await?;
    let answers = &poll.content["org.matrix.msc3381.poll.start"]["answers"];
    let soup = answers.as_array().into_iter().flatten().find(|answer| answer.to_string().contains("soup"));
    let soup = soup.with_context(|| format!("no soup in {}", poll.content))?;
    let content = json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": poll.id },
        "org.matrix.msc3381.poll.response": { "answers": [soup["id"]] },
    });
    chat.person().send(&room, "org.matrix.msc3381.poll.response", &content).await?;
    let (vote, _) = baileys.wait_message("the vote", |message| message["pollUpdateMessage"].is_object()).await?;
    let voted = baileys.call("voted", json!({ "poll": asked, "id": vote, "options": options })).await?;
    ensure!(voted["options"] == json!(["soup"]), "{voted}");

    let answer = |id: &str, text: &str| json!({ "id": id, "org.matrix.msc1767.text": text });
    let content = json!({ "org.matrix.msc3381.poll.start": {
        "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1,
        "question": { "org.matrix.msc1767.text": "Tea?", "body": "Tea?" },
        "answers": [answer("y", "yes"), answer("n", "no")],
    } });
    let own = chat.person().send(&room, "org.matrix.msc3381.poll.start", &content).await?;
    let is_tea = |message: &Value| message.to_string().contains("\"Tea?\"");
    let (id, _) = baileys.wait_message("the person's poll", is_tea).await?;
    baileys.send("vote", json!({ "to": person(&chat), "id": id, "options": ["yes"] })).await?;
    let vote = wait_event(&chat, "Baileys' vote", |event| {
        event.kind.ends_with("poll.response") && event.content["m.relates_to"]["event_id"] == own.as_str()
    });
    let vote = vote.await?;
    ensure!(vote.content["org.matrix.msc3381.poll.response"]["answers"] == json!(["y"]), "{}", vote.content);
    Ok(())
}

fn redacts(event: &Event, target: &str) -> bool {
    event.kind == "m.room.redaction" && event.content["redacts"] == target
}
