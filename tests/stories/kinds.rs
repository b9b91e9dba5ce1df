//! The kinds of messages that are words in the room: places, contacts, invitations, shops, payments, choices, forwards,
//! mentions; and the ones of Matrix that are no text on WhatsApp.

use anyhow::{Result, ensure};
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Card, Choice, Kind, Options};

use super::acts::{contact_sends, contact_sends_with, text, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        what_phones_send_is_told_in_words
        people_are_mentioned_by_phones
        places_sounds_and_long_texts_reach_the_phone
    }
}

fn choice(id: &str, title: &str) -> Choice {
    Choice { id: id.into(), title: title.into(), description: None }
}

async fn what_phones_send_is_told_in_words(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let card = |name: &str| Card { name: name.into(), number: "491701234567".into() };
    let buttons =
        Kind::Buttons { text: "Tea?".into(), footer: None, buttons: vec![choice("y", "Yes"), choice("n", "No")] };
    let target = contact_sends(world, &chat, buttons).await?;
    let kinds: [(Kind, &str, &[&str]); 8] = [
        (
            Kind::Location { latitude: 52.5, longitude: 13.4, name: Some("The gate".into()), address: None },
            "m.location",
            &["The gate"],
        ),
        (Kind::Contact(card("Erika")), "m.file", &["Erika", "+491701234567"]),
        (Kind::Contacts { contacts: vec![card("Max"), card("Moritz")] }, "m.file", &["Max", "Moritz"]),
        (
            Kind::GroupInvite {
                group: "120363000000000002@g.us".into(),
                code: "CODE".into(),
                name: "Gardeners".into(),
                expiration: None,
                caption: Some("come along".into()),
            },
            "m.text",
            &["Invitation", "Gardeners", "come along"],
        ),
        (
            Kind::Product { title: "A shoe".into(), price_1000: 39_990, currency: "EUR".into() },
            "",
            &["A shoe", "39.99 EUR"],
        ),
        (
            Kind::Order { order: "1".into(), items: 3, total_1000: 120_500, currency: "EUR".into() },
            "m.text",
            &["Order", "3 items", "120.50 EUR"],
        ),
        (
            Kind::PaymentRequest { amount_1000: 12_340, currency: "EUR".into(), note: "dinner".into() },
            "m.notice",
            &["12.34 EUR", "dinner"],
        ),
        (Kind::Chosen { target, of: "buttons".into(), choice: choice("y", "Yes") }, "m.text", &["Yes"]),
    ];
    for (kind, msgtype, words) in kinds {
        let name = format!("{kind:?}");
        contact_sends(world, &chat, kind).await?;
        let has_words = |body: &str| words.iter().all(|word| body.contains(word));
        let not_the_question = |body: &str| !body.contains("Tea?");
        let event = wait_event(&chat, &name, |event| has_words(event.body()) && not_the_question(event.body())).await?;
        ensure!(msgtype.is_empty() || event.content["msgtype"] == msgtype, "{name}: {}", event.content);
        match msgtype {
            "m.location" => {
                ensure!(
                    event.content["geo_uri"].as_str().is_some_and(|uri| uri.starts_with("geo:52.5,13.4")),
                    "{name}"
                );
            }
            "m.file" => {
                let mxc = event.content["url"].as_str().unwrap_or_default();
                let card = String::from_utf8(chat.person().client().download(mxc).await?)?;
                ensure!(words.iter().all(|word| card.contains(word)) && card.contains("BEGIN:VCARD"), "{card}");
            }
            _ => {}
        }
    }
    let forwarded = Options { forwarded: 2, ..Options::default() };
    contact_sends_with(world, &chat, text("heard elsewhere"), forwarded).await?;
    let event = wait_event(&chat, "the forwarded text", |event| event.body().contains("heard elsewhere")).await?;
    ensure!(event.body().contains("Forwarded"), "{}", event.body());
    let wrapped = Options { ephemeral: true, expiration: 86_400, ..Options::default() };
    contact_sends_with(world, &chat, text("in a wrapper"), wrapped).await?;
    wait_event(&chat, "the wrapped text", |event| event.body() == "in a wrapper").await?;
    Ok(())
}

async fn people_are_mentioned_by_phones(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let own = &chat.login().lid;
    let mentions = Options { mentions: vec![chat.login().number.clone()], ..Options::default() };
    contact_sends_with(world, &chat, text(&format!("hey @{own}, look")), mentions).await?;
    let event = wait_event(&chat, "the mention", |event| event.body().starts_with("hey ")).await?;
    let person = chat.person().id();
    ensure!(event.content["m.mentions"]["user_ids"] == json!([person]), "{}", event.content);
    ensure!(event.content["formatted_body"].as_str().is_some_and(|html| html.contains(person)), "{}", event.content);
    ensure!(!event.body().contains(own.as_str()), "no number is left: {}", event.body());
    Ok(())
}

async fn places_sounds_and_long_texts_reach_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (person, room) = (chat.person().clone(), chat.room()?);
    let place = json!({ "msgtype": "m.location", "body": "The gate", "geo_uri": "geo:52.5163,13.3777;u=25" });
    person.send(&room, "m.room.message", &place).await?;
    let item = wait_item(world, &chat, "the place", |m| m["locationMessage"].is_object()).await?;
    let message = &item.message["locationMessage"];
    let near = |value: &Value, wanted: f64| value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-9);
    ensure!(near(&message["degreesLatitude"], 52.5163) && message["name"] == "The gate", "{message}");

    let song = include_bytes!("../../src/media/testdata/tone.mp3");
    let mxc = person.client().upload(song.to_vec(), "audio/mpeg", "tone.mp3").await?;
    let content = json!({ "msgtype": "m.audio", "body": "tone.mp3", "url": mxc, "info": { "mimetype": "audio/mpeg" } });
    person.send(&room, "m.room.message", &content).await?;
    let item = wait_item(world, &chat, "the song", |m| m["audioMessage"].is_object()).await?;
    let message = &item.message["audioMessage"];
    ensure!(message["ptt"] != true && message["seconds"].as_u64() > Some(0), "{message}");

    let everyone = json!({ "msgtype": "m.text", "body": "@room dinner", "m.mentions": { "room": true } });
    person.send(&room, "m.room.message", &everyone).await?;
    let wanted = |m: &Value| m["extendedTextMessage"]["text"].as_str().is_some_and(|text| text.contains("dinner"));
    let item = wait_item(world, &chat, "everyone", wanted).await?;
    ensure!(item.message["extendedTextMessage"]["contextInfo"]["nonJidMentions"] == 1, "{}", item.message);

    // More than Matrix takes in one event, out of WhatsApp; all of it arrives, in order.
    let long: String = (0..12_000).map(|number| format!("{number} ")).collect();
    contact_sends(world, &chat, text(&long)).await?;
    wait_event(&chat, "the end of the long text", |event| event.body().contains("11999")).await?;
    let history = person.history(&room).await?;
    let pieces: String = history
        .iter()
        .filter(|e| e.body().starts_with(|c: char| c.is_ascii_digit()))
        .map(|e| format!("{} ", e.body().trim()))
        .collect();
    ensure!(pieces.split_whitespace().eq(long.split_whitespace()), "{} of {} characters", pieces.len(), long.len());
    Ok(())
}
