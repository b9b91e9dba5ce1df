//! Kinds of messages in a group: from several members, with names of messages that say whose they are.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Card, Kind, Media};

use super::groups::{self, ghost};

matrix_bed::stories! {
    shared {
        files_cross_in_a_group
        polls_cross_in_a_group
        places_contacts_pins_and_mentions_in_a_group
    }
}

const POLL: &str = "org.matrix.msc3381.poll.start";
const RESPONSE: &str = "org.matrix.msc3381.poll.response";

struct Scene {
    alice: Person,
    account: Account,
    bob: Account,
    carol: Account,
    group: Group,
    room: String,
}

async fn scene(world: &mut World) -> Result<Scene> {
    let groups::Scene { alice, account, bob, carol } = groups::scene(world).await?;
    let group = Group::create(&world.phones, &bob, "Kinds", &[&account, &carol])?;
    let room = group.room_of(&alice).await?;
    Ok(Scene { alice, account, bob, carol, group, room })
}

impl Scene {
    async fn phone_sends(&self, world: &World, member: &Account, kind: Kind) -> Result<String> {
        world.phones.simulator().send_kind(&member.number, &self.group.jid, kind).await
    }

    async fn wait(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        self.alice.wait_event(what, wait::STEP, |event| event.room == self.room && wanted(event)).await
    }
}

async fn files_cross_in_a_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    for round in ["live", "after a start"] {
        for (kind, msgtype) in [
            (Kind::Image(Media { caption: Some(format!("look, {round}")), ..Media::default() }), "m.image"),
            (Kind::Voice(Media::default()), "m.audio"),
            (Kind::Document(Media { file_name: Some(format!("{round}.pdf")), ..Media::default() }), "m.file"),
        ] {
            let before = scene.alice.events(&scene.room).len();
            scene.phone_sends(world, &scene.carol, kind).await?;
            let what = format!("carol's {msgtype}, {round}");
            let shown = wait::until(&what, wait::STEP, || async {
                let events = scene.alice.events(&scene.room);
                Ok(events.into_iter().skip(before).find(|event| event.is_message(msgtype)))
            });
            let shown = shown.await?;
            ensure!(shown.sender == ghost(world, &scene.carol), "{} sends it", shown.sender);
            let mxc = shown.content["url"].as_str().context("no url")?;
            ensure!(!scene.alice.client().download(mxc).await?.is_empty(), "an empty file");
        }
        let bytes = format!("a file of alice's, {round}").into_bytes();
        let mxc = scene.alice.client().upload(bytes.clone(), "text/plain", "note.txt").await?;
        let name = format!("note {round}.txt");
        let content = json!({ "msgtype": "m.file", "body": name, "url": mxc, "info": { "mimetype": "text/plain" } });
        scene.alice.send(&scene.room, "m.room.message", &content).await?;
        for friend in [&scene.bob, &scene.carol] {
            let item = scene
                .group
                .wait_item(friend, "the file", |item| item.message["documentMessage"]["fileName"] == name.as_str())
                .await?;
            ensure!(world.phones.simulator().received_media(&friend.number, &item.id).await? == bytes, "other bytes");
        }
        world.bridge.kill9()?;
        world.bridge.start().await?;
    }
    Ok(())
}

async fn polls_cross_in_a_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    let lunch = Kind::Poll {
        name: "Lunch?".into(),
        options: ["soup", "bread"].map(str::to_owned).to_vec(),
        selectable: Some(1),
        version: None,
        correct: None,
        end_time: None,
    };
    let id = scene.phone_sends(world, &scene.bob, lunch).await?;
    let poll = scene.wait("bob's poll", |event| event.kind == POLL && event.sender != scene.alice.id()).await?;
    let answer = |text: &str| -> Result<String> {
        let answers = poll.content[POLL]["answers"].as_array().context("no answers")?;
        let found = answers.iter().find(|answer| answer["org.matrix.msc1767.text"] == text);
        Ok(found.and_then(|answer| answer["id"].as_str()).context("no such answer")?.to_owned())
    };
    // Somebody else's vote, and alice's, of one poll.
    scene.phone_sends(world, &scene.carol, Kind::Vote { poll: id.clone(), options: vec!["bread".into()] }).await?;
    let bread = answer("bread")?;
    let vote = scene.wait("carol's vote", |event| event.kind == RESPONSE && event.sender != scene.alice.id()).await?;
    ensure!(vote.sender == ghost(world, &scene.carol) && vote.content[RESPONSE]["answers"] == json!([bread]));
    let relation = json!({ "rel_type": "m.reference", "event_id": poll.id });
    let soup = json!({ "m.relates_to": relation, RESPONSE: { "answers": [answer("soup")?] } });
    scene.alice.send(&scene.room, RESPONSE, &soup).await?;
    let opened = json!({ "vote": ["soup"] });
    for friend in [&scene.bob, &scene.carol] {
        scene.group.wait_item(friend, "alice's vote", |item| item.opened.as_ref() == Some(&opened)).await?;
    }
    // Alice's own poll is voted on by both.
    let words = |text: &str| json!({ "body": text, "org.matrix.msc1767.text": text, "msgtype": "m.text" });
    let asked = json!({ POLL: {
        "question": words("When?"), "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1,
        "answers": [{ "id": "a", "org.matrix.msc1767.text": "today" }, { "id": "b", "org.matrix.msc1767.text": "never" }],
    } });
    let asked = scene.alice.send(&scene.room, POLL, &asked).await?;
    let is_hers = |message: &Value| message.to_string().contains("When?");
    let item = scene.group.wait_item(&scene.bob, "alice's poll", |item| is_hers(&item.message)).await?;
    scene.group.wait_item(&scene.carol, "alice's poll", |item| is_hers(&item.message)).await?;
    for friend in [&scene.bob, &scene.carol] {
        let vote = Kind::Vote { poll: item.id.clone(), options: vec!["today".into()] };
        scene.phone_sends(world, friend, vote).await?;
        let who = ghost(world, friend);
        let what = format!("{}'s vote", friend.name);
        let shown = scene.wait(&what, |event| {
            event.kind == RESPONSE && event.sender == who && event.content["m.relates_to"]["event_id"] == asked.as_str()
        });
        ensure!(shown.await?.content[RESPONSE]["answers"] == json!(["a"]));
    }
    Ok(())
}

async fn places_contacts_pins_and_mentions_in_a_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    let place = Kind::Location { latitude: 52.5, longitude: 13.4, name: Some("the wall".into()), address: None };
    scene.phone_sends(world, &scene.bob, place).await?;
    let shown = scene.wait("bob's place", |event| event.is_message("m.location")).await?;
    ensure!(shown.sender == ghost(world, &scene.bob), "{} is there", shown.sender);
    let here = json!({ "msgtype": "m.location", "body": "here", "geo_uri": "geo:48.1,11.5" });
    scene.alice.send(&scene.room, "m.room.message", &here).await?;
    scene.group.wait_item(&scene.carol, "alice's place", |item| !item.message["locationMessage"].is_null()).await?;
    let card = Card { name: "Dora".into(), number: "12025550150".into() };
    scene.phone_sends(world, &scene.carol, Kind::Contact(card)).await?;
    scene.wait("a contact", |event| event.body().contains("Dora")).await?;
    // A pin of carol's message by bob names its author, in both directions.
    let said = scene.group.phone_says(&scene.carol, "remember this").await?;
    let event = scene.group.wait_in_room(&scene.alice, "remember this").await?;
    let item = scene.group.wait_at(&scene.bob, "remember this").await?;
    ensure!(item.id == said);
    scene.phone_sends(world, &scene.bob, Kind::Pin { target: said.clone(), seconds: None, unpin: false }).await?;
    let pinned = |state: &Value| state["pinned"] == json!([event.id]);
    scene.group.wait_state(&scene.alice, "m.room.pinned_events", "", pinned).await?;
    scene.alice.set_state(&scene.room, "m.room.pinned_events", "", &json!({ "pinned": [] })).await?;
    let unpinned = scene.group.wait_item(&scene.carol, "alice's unpinning", |item| {
        let pin = &item.message["pinInChatMessage"];
        let names_carol = pin["key"]["participant"] == format!("{}@lid", scene.carol.lid);
        pin["key"]["id"] == said.as_str() && pin["type"] == "UNPIN_FOR_ALL" && names_carol
    });
    unpinned.await?;
    // Everybody, and one of them.
    let text = json!({ "msgtype": "m.text", "body": "@room come", "m.mentions": { "room": true } });
    scene.alice.send(&scene.room, "m.room.message", &text).await?;
    let all = scene.group.wait_item(&scene.bob, "the call for all", |item| {
        item.text.as_deref().is_some_and(|text| text.contains("come"))
    });
    let all = all.await?;
    ensure!(all.message.to_string().contains("nonJidMentions"), "nobody is called: {}", all.message);
    let account = &scene.account;
    let mention = json!({ "extendedTextMessage": { "text": format!("hello @{}", account.lid),
        "contextInfo": { "mentionedJid": [format!("{}@lid", account.lid)] } } });
    scene.phone_sends(world, &scene.bob, Kind::Raw { message: Some(mention), protobuf: None }).await?;
    let called = scene.wait("bob's call", |event| event.body().starts_with("hello ")).await?;
    ensure!(called.content["m.mentions"]["user_ids"] == json!([scene.alice.id()]), "{}", called.content);
    Ok(())
}
