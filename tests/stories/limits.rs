//! What one side takes and the other does not: limits, each told in words that name it; and the network's own notes.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::world::World;
use serde_json::{Value, json};

use crate::acts::{contact_sends, count, raw, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        limits_of_whatsapp_are_told
        a_text_as_long_as_matrix_has_them_arrives_whole
        notes_of_the_network_are_told
        emotes_notices_and_stable_polls_reach_the_phone
    }
}

/// Sends something that WhatsApp does not take, and waits until its sender is told so.
async fn is_told(chat: &Chat, kind: &str, content: &Value, words: &str) -> Result<()> {
    let sent = chat.person().send(&chat.room()?, kind, content).await?;
    let told = wait_event(chat, words, |event| event.is_message("m.notice") && event.body().contains(words)).await?;
    let answered = &told.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    ensure!(*answered == sent.as_str(), "it is told of {answered}: {}", told.content);
    Ok(())
}

fn poll(answers: &[String]) -> Value {
    let answers: Vec<Value> = answers
        .iter()
        .enumerate()
        .map(|(at, text)| json!({ "id": at.to_string(), "org.matrix.msc1767.text": text }))
        .collect();
    json!({ "org.matrix.msc3381.poll.start": {
        "question": { "body": "Which?", "org.matrix.msc1767.text": "Which?" },
        "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1, "answers": answers,
    } })
}

async fn limits_of_whatsapp_are_told(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let theirs = chat.begin("what they said").await?;
    let reaction = json!({ "m.relates_to": {
        "rel_type": "m.annotation", "event_id": theirs.id, "key": "mxc://test.local/party", "shortcode": "party",
    } });
    is_told(&chat, "m.reaction", &reaction, "no custom emoji").await?;
    const POLL: &str = "org.matrix.msc3381.poll.start";
    let numbered: Vec<String> = (0..13).map(|number| format!("answer {number}")).collect();
    is_told(&chat, POLL, &poll(&numbered), "at most 12 answers").await?;
    is_told(&chat, POLL, &poll(&["yes".into(), "n".repeat(101)]), "at most 100 characters").await?;
    is_told(&chat, POLL, &poll(&["yes".into(), "yes".into()]), "no two equal answers").await?;
    let one = json!({ "itemtype": "m.image", "body": "a", "url": "mxc://test.local/a", "info": {} });
    let gallery = json!({ "msgtype": "dm.filament.gallery", "body": "all", "itemtypes": vec![one; 101] });
    is_told(&chat, "m.room.message", &gallery, "at most 100 files").await?;
    let huge = json!({ "msgtype": "m.file", "body": "big.bin", "url": "mxc://test.local/a",
        "info": { "mimetype": "application/octet-stream", "size": 2_000_u64 * 1024 * 1024 + 1 } });
    is_told(&chat, "m.room.message", &huge, "at most 2000 MiB").await?;
    // Too late for WhatsApp: a quarter of an hour, and two days and a half. The time is turned back where it is kept.
    let mine = chat.person().send_text(&chat.room()?, "an hour ago").await?;
    wait_item(world, &chat, "the text", |message| message.to_string().contains("an hour ago")).await?;
    world.bridge.wait_idle().await?;
    let back = async |ms: i64| {
        let changed =
            world.database.execute(&format!("UPDATE message SET ts = ts - {ms} WHERE event_id = '{mine}'")).await?;
        ensure!(changed == 1, "{changed} messages were made older");
        Ok(())
    };
    back(3_600_000).await?;
    let edit = json!({ "msgtype": "m.text", "body": "* now", "m.new_content": { "msgtype": "m.text", "body": "now" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": mine } });
    is_told(&chat, "m.room.message", &edit, "for 15 minutes only").await?;
    back(61 * 3_600_000).await?;
    chat.person().redact(&chat.room()?, &mine).await?;
    wait_event(&chat, "a word about the deletion", |event| event.body().contains("for 60 hours only")).await?;
    let inbox = world.phones.inbox(&chat.contact().number);
    let text = format!("{:?}", inbox.iter().map(|item| &item.message).collect::<Vec<_>>());
    for gone in ["pollCreation", "albumMessage", "documentMessage", "REVOKE", "MESSAGE_EDIT", "reactionMessage"] {
        ensure!(!text.contains(gone), "{gone} reached the phone");
    }
    Ok(())
}

async fn a_text_as_long_as_matrix_has_them_arrives_whole(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    // An event has 65,536 bytes, the names and times in it too.
    let long: String = (0..12_000).map(|number| format!("{number} ")).collect();
    ensure!((55_000..62_000).contains(&long.len()), "{} bytes", long.len());
    chat.person().send_text(&chat.room()?, long.trim()).await?;
    let item = wait_item(world, &chat, "the end of it", |message| message.to_string().contains("11999")).await?;
    ensure!(item.text.as_deref() == Some(long.trim()), "{} bytes arrive", item.text.unwrap_or_default().len());
    Ok(())
}

async fn notes_of_the_network_are_told(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let said = |text: &str| json!({ "messageType": "AI_RICH_RESPONSE_TEXT", "messageText": text });
    let key = json!({ "remoteJid": "120363000000000001@g.us", "fromMe": false, "id": "TARGET1" });
    let limit = json!({ "type": "LIMIT_SHARING", "limitSharing": { "sharingLimited": true } });
    let notes = [
        (
            json!({ "richResponseMessage": { "messageType": "AI_RICH_RESPONSE_TYPE_STANDARD",
                "submessages": [said("The *answer*"), said("is 42")] } }),
            "is 42",
        ),
        (
            json!({ "messageHistoryNotice": { "messageHistoryMetadata": { "messageCount": 5 } } }),
            "Shared earlier messages with a new member",
        ),
        (json!({ "protocolMessage": { "type": "SHARE_PHONE_NUMBER" } }), "Shared their phone number"),
        (
            json!({ "limitSharingMessage": { "message": { "protocolMessage": limit } } }),
            "Switched advanced chat privacy on",
        ),
        (
            json!({ "groupStatusMentionMessage": { "message": {
                "protocolMessage": { "key": key, "type": "STATUS_MENTION_MESSAGE" } } } }),
            "Mentioned you in their status",
        ),
    ];
    for (at, (note, words)) in notes.into_iter().enumerate() {
        contact_sends(world, &chat, raw(note)).await?;
        wait_event(&chat, words, |event| event.body().contains(words)).await?;
        if at == 1 {
            world.bridge.restart().await?;
        }
    }
    ensure!(count(&chat, |event| event.body().contains("Shared their phone number")).await? == 1);
    Ok(())
}

async fn emotes_notices_and_stable_polls_reach_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (person, room) = (chat.person().clone(), chat.room()?);
    for (msgtype, body, wanted) in [("m.emote", "waves", "waves"), ("m.notice", "beep", "beep")] {
        person.send(&room, "m.room.message", &json!({ "msgtype": msgtype, "body": body })).await?;
        wait_item(world, &chat, body, |message| message.to_string().contains(wanted)).await?;
    }
    let words = |text: &str| json!([{ "body": text }]);
    let poll = json!({
        "m.poll": { "question": { "m.text": words("When?") }, "kind": "m.undisclosed", "max_selections": 2,
            "answers": [{ "m.id": "a", "m.text": words("today") }, { "m.id": "b", "m.text": words("never") }] },
        "m.text": words("When?"),
    });
    person.send(&room, "m.poll.start", &poll).await?;
    let item = wait_item(world, &chat, "the poll", |message| message.to_string().contains("When?")).await?;
    ensure!(item.message.to_string().contains("\"never\""), "{}", item.message);
    // Height and uncertainty are no obstacle.
    let place = json!({ "msgtype": "m.location", "body": "the summit", "geo_uri": "geo:46.5,8.1,4107;u=12" });
    person.send(&room, "m.room.message", &place).await?;
    let item = wait_item(world, &chat, "the place", |message| message["locationMessage"].is_object()).await?;
    let place = &item.message["locationMessage"];
    ensure!(place["degreesLatitude"] == 46.5 && place["accuracyInMeters"] == 12, "{place}");
    Ok(())
}
