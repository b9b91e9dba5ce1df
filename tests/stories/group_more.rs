//! More kinds of messages in a group that two people of ours share: whatever comes is there once, whoever hears it,
//! from who sent it, live and after a start.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::{Account, FaultKind, InboxItem};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use whatsapp_sim::{Choice, Direction, Effect, GroupOptions, Kind, ListSection, Media, Options, Rule};

use super::acts::{edits, text};
use super::groups::{self, ghost};

matrix_bed::stories! {
    shared {
        every_file_crosses_in_a_shared_group
        places_move_in_a_shared_group
        events_and_seals_in_a_shared_group
        choices_threads_and_albums_in_a_shared_group
        what_can_not_be_read_in_a_shared_group
        calls_ring_once_in_a_shared_group
        reactions_and_comments_go_sealed_in_announcements
    }
}

const LIMIT: Duration = Duration::from_secs(60);

struct Scene {
    alice: Person,
    alices: Account,
    dora: Person,
    doras: Account,
    bob: Account,
    carol: Account,
    group: Group,
    room: String,
}

async fn scene(world: &mut World) -> Result<Scene> {
    let groups::Scene { alice, account: alices, bob, carol } = groups::scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "Shared", &[&alices, &doras, &carol])?;
    let room = group.room_of(&alice).await?;
    ensure!(group.room_of(&dora).await? == room, "they have two rooms");
    Ok(Scene { alice, alices, dora, doras, bob, carol, group, room })
}

impl Scene {
    async fn phone_sends(&self, world: &World, member: &Account, kind: Kind) -> Result<String> {
        self.phone_sends_with(world, member, kind, Options::default()).await
    }

    async fn phone_sends_with(&self, world: &World, member: &Account, kind: Kind, options: Options) -> Result<String> {
        let ids = world.phones.simulator().send_kind_with(&member.number, &self.group.jid, kind, options).await?;
        ids.into_iter().next().context("nothing was sent")
    }

    /// Waits until both have an event, and gives it.
    async fn wait(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let fits = |event: &Event| event.room == self.room && wanted(event);
        let event = self.alice.wait_event(what, LIMIT, fits).await?;
        let same = self.dora.wait_event(what, LIMIT, |seen| seen.id == event.id).await?;
        ensure!(same.content == event.content, "dora sees something else");
        Ok(event)
    }

    /// Waits until every phone of others has a message, and gives bob's.
    async fn wait_at_all(&self, from: &Account, what: &str, wanted: impl Fn(&InboxItem) -> bool) -> Result<InboxItem> {
        let wanted = |item: &InboxItem| item.from.starts_with(&from.number) && wanted(item);
        let item = self.group.wait_item(&self.bob, what, wanted).await?;
        for phone in [&self.carol, &self.alices, &self.doras].into_iter().filter(|phone| phone.name != from.name) {
            let same = self.group.wait_item(phone, what, wanted).await?;
            ensure!(same.id == item.id, "{} has another", phone.name);
        }
        Ok(item)
    }

    async fn count(&self, wanted: impl Fn(&Event) -> bool) -> Result<usize> {
        Ok(self.alice.history(&self.room).await?.iter().filter(|event| wanted(event)).count())
    }

    async fn answer(&self, person: &Person, target: &str, words: &str) -> Result<String> {
        let relation = json!({ "m.in_reply_to": { "event_id": target } });
        let content = json!({ "msgtype": "m.text", "body": words, "m.relates_to": relation });
        person.send(&self.room, "m.room.message", &content).await
    }
}

async fn every_file_crosses_in_a_shared_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    let from_carol = ghost(world, &scene.carol);
    let words = Media { caption: Some("look".into()), ..Media::default() };
    let named = Media { file_name: Some("plan.pdf".into()), ..words.clone() };
    let kinds: [(&str, Kind, &str); 9] = [
        ("video", Kind::Video(words.clone()), "m.video"),
        ("gif", Kind::Gif(words.clone()), "m.video"),
        ("round", Kind::Ptv(Media::default()), "m.video"),
        ("song", Kind::Audio(Media::default()), "m.audio"),
        ("voice", Kind::Voice(Media::default()), "m.audio"),
        ("document", Kind::Document(named), "m.file"),
        ("sticker", Kind::Sticker(Media::default()), ""),
        ("moving sticker", Kind::AnimatedSticker(Media::default()), ""),
        ("lottie sticker", Kind::LottieSticker(Media::default()), ""),
    ];
    let wanted = kinds.len();
    let mut seen: Vec<String> = Vec::new();
    for (name, kind, msgtype) in kinds {
        scene.phone_sends(world, &scene.carol, kind).await?;
        let event = scene.wait(name, |event| event.content["url"].is_string() && !seen.contains(&event.id)).await?;
        seen.push(event.id.clone());
        ensure!(event.sender == from_carol, "{name} is of {}", event.sender);
        let fits = if msgtype.is_empty() { event.kind == "m.sticker" } else { event.is_message(msgtype) };
        ensure!(fits, "{name} came as {}", event.content);
        ensure!((name == "gif") == event.content["info"]["fi.mau.gif"].is_boolean(), "{name}: {}", event.content);
        ensure!((name == "voice") == event.content["org.matrix.msc3245.voice"].is_object(), "{name}");
        let mxc = event.content["url"].as_str().context("no url")?;
        ensure!(!scene.dora.client().download(mxc).await?.is_empty(), "{name} is empty");
        if name == "song" {
            world.bridge.kill9()?;
            world.bridge.start().await?;
        }
    }
    world.bridge.wait_idle().await?;
    ensure!(scene.count(|event| event.content["url"].is_string() && event.sender == from_carol).await? == wanted);

    // The other way, from each of ours through her own login.
    let simulator = world.phones.simulator().clone();
    let film = include_bytes!("../../src/media/testdata/film.mp4").to_vec();
    let voice = include_bytes!("../../src/media/testdata/voice.ogg").to_vec();
    let drawing = png();
    let card = b"BEGIN:VCARD\nVERSION:3.0\nFN:Erika Muster\nTEL:+49 30 1234\nEND:VCARD\n".to_vec();
    let files = [
        (&scene.alice, &scene.alices, "m.video", "video/mp4", film.clone(), "videoMessage"),
        (&scene.dora, &scene.doras, "m.audio", "audio/ogg", voice.clone(), "audioMessage"),
        (&scene.alice, &scene.alices, "m.sticker", "image/png", drawing.clone(), "stickerMessage"),
        (&scene.dora, &scene.doras, "m.file", "text/vcard", card, "contactMessage"),
        (&scene.alice, &scene.alices, "m.image", "image/png", drawing, "imageMessage"),
    ];
    for (person, account, kind, mime, bytes, field) in files {
        let mxc = person.client().upload(bytes.clone(), mime, "a").await?;
        let mut content = json!({ "body": "a", "url": mxc, "info": { "mimetype": mime } });
        let event_type = if kind == "m.sticker" { kind } else { "m.room.message" };
        if kind != "m.sticker" {
            content["msgtype"] = kind.into();
        }
        if kind == "m.audio" {
            content["org.matrix.msc3245.voice"] = json!({});
        }
        person.send(&scene.room, event_type, &content).await?;
        let item = scene.wait_at_all(account, field, |item| item.message[field].is_object()).await?;
        match kind {
            "m.video" | "m.audio" => {
                ensure!(simulator.received_media(&scene.carol.number, &item.id).await? == bytes, "other bytes");
            }
            _ => {}
        }
        if kind == "m.audio" {
            ensure!(item.message[field]["ptt"] == true, "{}", item.message);
        }
    }
    world.bridge.restart().await?;
    let mut items = Vec::new();
    for _ in 0..2 {
        let mxc = scene.dora.client().upload(png(), "image/png", "a").await?;
        items.push(json!({ "itemtype": "m.image", "body": "a", "url": mxc, "info": { "mimetype": "image/png" } }));
    }
    let content = json!({ "msgtype": "dm.filament.gallery", "body": "our trip", "itemtypes": items });
    scene.dora.send(&scene.room, "m.room.message", &content).await?;
    let album = scene.wait_at_all(&scene.doras, "the album", |item| item.message["albumMessage"].is_object()).await?;
    let parent = |item: &InboxItem| {
        item.message["messageContextInfo"]["messageAssociation"]["parentMessageKey"]["id"] == album.id.as_str()
    };
    wait::until("both pictures", wait::STEP, || async {
        let there =
            [&scene.bob, &scene.alices].map(|phone| scene.group.items(phone).iter().filter(|i| parent(i)).count());
        Ok((there == [2, 2]).then_some(()))
    })
    .await?;
    world.bridge.wait_idle().await?;
    for field in ["videoMessage", "audioMessage", "stickerMessage", "contactMessage", "albumMessage"] {
        let times = scene
            .group
            .items(&scene.bob)
            .iter()
            .filter(|item| ours(&scene, item) && item.message[field].is_object())
            .count();
        ensure!(times == 1, "{field} is on bob's phone {times} times");
    }
    Ok(())
}

/// Whether something on a phone was sent by one of ours.
fn ours(scene: &Scene, item: &InboxItem) -> bool {
    [&scene.alices, &scene.doras]
        .iter()
        .any(|who| item.from.starts_with(&who.lid) || item.from.starts_with(&who.number))
}

fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::DynamicImage::ImageRgb8(image::RgbImage::from_pixel(64, 48, image::Rgb([200, 80, 20])));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

const BEACON_INFO: &str = "org.matrix.msc3672.beacon_info";
const BEACON: &str = "org.matrix.msc3672.beacon";

fn at(latitude: f64, sequence: i64) -> Kind {
    Kind::LiveLocation { latitude, longitude: 2.5, caption: None, sequence: Some(sequence) }
}

fn is_at(content: &Value, latitude: &str) -> bool {
    content["geo_uri"].as_str().is_some_and(|uri| uri.starts_with(&format!("geo:{latitude}")))
}

async fn places_move_in_a_shared_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    // Two at once: each has an event of their own that moves.
    let mut firsts = Vec::new();
    for (member, begins) in [(&scene.bob, 10.5), (&scene.carol, 20.5)] {
        scene.phone_sends(world, member, at(begins, 0)).await?;
        let first = scene.wait("the beginning", |event| is_at(&event.content, &begins.to_string())).await?;
        ensure!(first.sender == ghost(world, member), "{} is there", first.sender);
        firsts.push(first);
    }
    world.bridge.kill9()?;
    world.bridge.start().await?;
    for (member, first, moved) in [(&scene.carol, &firsts[1], 21.5), (&scene.bob, &firsts[0], 11.5)] {
        scene.phone_sends(world, member, at(moved, 1)).await?;
        let edit = scene.wait("a move", |event| is_at(event.newest_content(), &moved.to_string())).await?;
        ensure!(edits(&edit, &first.id) && edit.sender == first.sender, "{}", edit.content);
    }
    // And two of ours.
    for (person, account, latitude) in [(&scene.alice, &scene.alices, 30.5), (&scene.dora, &scene.doras, 40.5)] {
        let start = json!({ "description": "walking", "live": true, "timeout": 3_600_000,
            "org.matrix.msc3488.ts": 1_000_000, "org.matrix.msc3488.asset": { "type": "m.self" } });
        let start = person.set_state(&scene.room, BEACON_INFO, person.id(), &start).await?;
        for step in 0..2 {
            let latitude = latitude + f64::from(step);
            let ts = 1_000_000 + 30_000 * i64::from(step);
            let position = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": start },
                "org.matrix.msc3488.location": { "uri": format!("geo:{latitude},3.5;u=20") },
                "org.matrix.msc3488.ts": ts });
            person.send(&scene.room, BEACON, &position).await?;
            let here = |item: &InboxItem| item.message["liveLocationMessage"]["degreesLatitude"] == latitude;
            scene.wait_at_all(account, "a position", here).await?;
            world.bridge.restart().await?;
        }
    }
    world.bridge.wait_idle().await?;
    let moved = |event: &Event| event.is_message("m.location");
    ensure!(scene.count(moved).await? == 4, "two beginnings and two moves: {}", scene.count(moved).await?);
    let live = |item: &InboxItem| item.message["liveLocationMessage"].is_object() && ours(&scene, item);
    ensure!(scene.group.items(&scene.bob).iter().filter(|item| live(item)).count() == 4);
    Ok(())
}

async fn events_and_seals_in_a_shared_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    let party = Kind::Event {
        name: "Party".into(),
        description: None,
        start: 1_900_000_000,
        end: None,
        place: None,
        join_link: None,
        canceled: false,
    };
    let id = scene.phone_sends(world, &scene.bob, party).await?;
    let event = scene.wait("the event", |event| event.body().contains("Party")).await?;
    ensure!(event.sender == ghost(world, &scene.bob), "{} invites", event.sender);
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let rsvp = Kind::Rsvp { event: id.clone(), response: "maybe".into(), guests: Some(2) };
    scene.phone_sends(world, &scene.carol, rsvp).await?;
    let answer = scene.wait("carol's answer", |event| event.body().contains("Maybe going")).await?;
    ensure!(answer.sender == ghost(world, &scene.carol), "{} answers", answer.sender);
    ensure!(answer.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event.id.as_str(), "{}", answer.content);
    for (person, account, words, response) in
        [(&scene.alice, &scene.alices, "1", "GOING"), (&scene.dora, &scene.doras, "not going", "NOT_GOING")]
    {
        scene.answer(person, &event.id, words).await?;
        let opened = |item: &InboxItem| item.opened.as_ref().is_some_and(|it| it["rsvp"]["response"] == response);
        let item = scene.wait_at_all(account, "an answer to the event", opened).await?;
        let key = &item.message["encEventResponseMessage"]["eventCreationMessageKey"];
        let names_bob = key["participant"] == format!("{}@lid", scene.bob.lid);
        ensure!(key["id"] == id.as_str() && names_bob, "{}", item.message);
    }
    scene
        .phone_sends(world, &scene.bob, Kind::EventEdit { event: id, name: "Feast".into(), start: 1_900_000_000 })
        .await?;
    let edit = scene.wait("the changed event", |event| event.newest_content().to_string().contains("Feast")).await?;
    ensure!(edits(&edit, &event.id) && edit.sender == event.sender, "{}", edit.content);

    // Sealed with the secrets of what others said, and of what one of ours said here.
    let bobs = scene.phone_sends(world, &scene.bob, text("bob's topic")).await?;
    let bobs_event = scene.wait("bob's topic", |event| event.body() == "bob's topic").await?;
    let mine = scene.alice.send_text(&scene.room, "alice's topic").await?;
    let item = scene.wait_at_all(&scene.alices, "alice's topic", |item| item.text.as_deref() == Some("alice's topic"));
    let item = item.await?;
    world.bridge.restart().await?;
    for (target, shown) in [(&bobs, &bobs_event.id), (&item.id, &mine)] {
        let react = Kind::SecretReaction { target: target.clone(), emoji: "🎉".into() };
        scene.phone_sends(world, &scene.carol, react).await?;
        let is_it =
            |event: &Event| event.kind == "m.reaction" && event.content["m.relates_to"]["event_id"] == shown.as_str();
        let reaction = scene.wait("a sealed reaction", is_it).await?;
        ensure!(reaction.sender == ghost(world, &scene.carol), "{} reacts", reaction.sender);
        let words = format!("a comment on {target}");
        scene.phone_sends(world, &scene.carol, Kind::Comment { target: target.clone(), text: words.clone() }).await?;
        let comment = scene.wait("a comment", |event| event.body() == words).await?;
        let relation = &comment.content["m.relates_to"];
        ensure!(relation["rel_type"] == "m.thread" && relation["event_id"] == shown.as_str(), "{}", comment.content);
    }
    let edit = Kind::Edit { target: bobs, text: Some("bob's new topic".into()), message: None, secret: true };
    scene.phone_sends(world, &scene.bob, edit).await?;
    let edit = scene.wait("a sealed edit", |event| event.newest_content()["body"] == "bob's new topic").await?;
    ensure!(edits(&edit, &bobs_event.id), "{}", edit.content);
    world.bridge.wait_idle().await?;
    ensure!(scene.count(|event| event.kind == "m.reaction").await? == 2, "each reaction once");
    ensure!(scene.count(|event| event.body().starts_with("a comment on")).await? == 2, "each comment once");
    Ok(())
}

fn choice(id: &str, title: &str) -> Choice {
    Choice { id: id.into(), title: title.into(), description: None }
}

async fn choices_threads_and_albums_in_a_shared_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    let buttons = vec![choice("yes-id", "Yes"), choice("no-id", "No")];
    let offer = Kind::Buttons { text: "Shall we?".into(), footer: None, buttons };
    let id = scene.phone_sends(world, &scene.bob, offer).await?;
    let event = scene.wait("the offer", |event| event.body().contains("Shall we?")).await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    for (person, account, words, wanted) in
        [(&scene.alice, &scene.alices, "2", "no-id"), (&scene.dora, &scene.doras, "yes", "yes-id")]
    {
        scene.answer(person, &event.id, words).await?;
        let press = |item: &InboxItem| item.message["buttonsResponseMessage"]["selectedButtonId"] == wanted;
        let item = scene.wait_at_all(account, "the press", press).await?;
        let info = &item.message["buttonsResponseMessage"]["contextInfo"];
        ensure!(info["stanzaId"] == id.as_str(), "{}", item.message);
        ensure!(info["participant"] == format!("{}@lid", scene.bob.lid), "bob's: {}", item.message);
    }
    let rows = vec![choice("row-tea", "Green tea"), choice("row-coffee", "Coffee")];
    let sections = vec![ListSection { title: "Drinks".into(), rows }];
    let offer = Kind::List { title: "Menu".into(), text: "What will it be?".into(), button: "Look".into(), sections };
    scene.phone_sends(world, &scene.carol, offer).await?;
    let event = scene.wait("the list", |event| event.body().contains("What will it be?")).await?;
    scene.answer(&scene.dora, &event.id, "coffee").await?;
    let chosen =
        |item: &InboxItem| item.message["listResponseMessage"]["singleSelectReply"]["selectedRowId"] == "row-coffee";
    scene.wait_at_all(&scene.doras, "the choice", chosen).await?;

    // Where somebody has commented, threads are comments; the key of what is commented names its author.
    let topic_id = scene.phone_sends(world, &scene.bob, text("a topic")).await?;
    let topic = scene.wait("the topic", |event| event.body() == "a topic").await?;
    let comment = Kind::Comment { target: topic_id.clone(), text: "carol's comment".into() };
    scene.phone_sends(world, &scene.carol, comment).await?;
    let comment = scene.wait("carol's comment", |event| event.body() == "carol's comment").await?;
    ensure!(comment.content["m.relates_to"]["event_id"] == topic.id.as_str(), "{}", comment.content);
    world.bridge.restart().await?;
    let content = json!({ "msgtype": "m.text", "body": "alice's comment", "m.relates_to": {
        "rel_type": "m.thread", "event_id": topic.id, "is_falling_back": true,
        "m.in_reply_to": { "event_id": topic.id },
    } });
    scene.alice.send(&scene.room, "m.room.message", &content).await?;
    let said = |item: &InboxItem| item.message.to_string().contains("alice's comment");
    let item = scene.wait_at_all(&scene.alices, "alice's comment", said).await?;
    let key = &item.message["commentMessage"]["targetMessageKey"];
    let names_bob = key["participant"] == format!("{}@lid", scene.bob.lid);
    ensure!(key["id"] == topic_id.as_str() && names_bob, "{}", item.message);

    scene.phone_sends(world, &scene.carol, Kind::Album { images: 2, videos: 1 }).await?;
    let notice = scene.wait("the album", |event| event.is_message("m.notice") && event.body().contains("2")).await?;
    wait::until("three files", wait::STEP, || async {
        let named = scene.count(|event| event.content["org.matrix-whatsapp.album"] == notice.id.as_str()).await?;
        Ok((named == 3).then_some(()))
    })
    .await?;
    world.bridge.wait_idle().await?;
    ensure!(scene.count(|event| event.content["url"].is_string()).await? == 3, "each file once");
    Ok(())
}

fn is_notice(event: &Event) -> bool {
    event.body().starts_with("Waiting for this message") && event.content["m.new_content"].is_null()
}

/// What arrives at a login is broken, and nobody brings it again for now.
fn garble(world: &World, login: &Account) -> Result<()> {
    world.phones.fault(&login.number, FaultKind::DropRetry, 5)?;
    let rule = Rule::new(Effect::Drop, Direction::FromClient, "message", 1)?;
    world.phones.simulator().add_rule(&login.number, rule)?;
    world.phones.fault(&login.number, FaultKind::CorruptCiphertext, 1)
}

async fn what_can_not_be_read_in_a_shared_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    scene.group.phone_says(&scene.bob, "the keys are there").await?;
    scene.group.wait_in_room(&scene.dora, "the keys are there").await?;
    // One of two can not read it: the other one's copy is shown.
    garble(world, &scene.alices)?;
    scene.group.phone_says(&scene.bob, "read by one").await?;
    scene.group.wait_in_room(&scene.alice, "read by one").await?;
    // Neither can: its place is kept, and taken.
    for login in [&scene.alices, &scene.doras] {
        garble(world, login)?;
    }
    let id = scene.phone_sends(world, &scene.carol, text("read later")).await?;
    let notice = scene.wait("the notice", is_notice).await?;
    ensure!(notice.sender == ghost(world, &scene.carol), "{} is waited for", notice.sender);
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let again = Options { id: Some(id), ..Options::default() };
    scene.phone_sends_with(world, &scene.carol, text("read later"), again).await?;
    let message =
        scene.wait("the message in its place", |event| event.newest_content()["body"] == "read later").await?;
    ensure!(edits(&message, &notice.id) && message.sender == notice.sender, "{}", message.content);
    // What opens on phones alone.
    for login in [&scene.alices, &scene.doras] {
        world.phones.fault(&login.number, FaultKind::WithholdViewOnce, 1)?;
    }
    scene.phone_sends(world, &scene.carol, text("for the phone's eyes")).await?;
    let withheld = scene.wait("a word about it", |event| event.body().contains("view-once")).await?;
    ensure!(withheld.sender == ghost(world, &scene.carol), "{} sent it", withheld.sender);
    // What goes goes for both, at once.
    scene
        .phone_sends_with(world, &scene.bob, text("soon gone"), Options { expiration: 5, ..Options::default() })
        .await?;
    let goes = scene.wait("what goes", |event| event.body() == "soon gone").await?;
    let removed = |event: &Event| event.kind == "m.room.redaction" && event.content["redacts"] == goes.id.as_str();
    scene.wait("its removal", removed).await?;
    world.bridge.wait_idle().await?;
    let notices = scene.count(is_notice).await?;
    ensure!(notices == 1, "{notices} notices of one message");
    ensure!(scene.count(removed).await? == 1, "one removal");
    ensure!(scene.count(|event| event.body().contains("view-once")).await? == 1, "one word about what opens once");
    ensure!(scene.count(|event| event.body() == "read by one").await? == 1);
    Ok(())
}

fn call_state(event: &Event) -> &str {
    event.newest_content()["com.beeper.action_message"]["state"].as_str().unwrap_or_default()
}

fn is_ring(event: &Event) -> bool {
    call_state(event) == "ringing" && event.content["m.new_content"].is_null()
}

async fn calls_ring_once_in_a_shared_group(world: &mut World) -> Result<()> {
    let scene = scene(world).await?;
    for friend in [&scene.bob, &scene.carol] {
        scene.alice.wait_member(&scene.room, &ghost(world, friend), "join").await?;
    }
    let phones = world.phones.simulator().clone();
    // Nobody answers; one of ours declines, which is hers alone.
    let call = phones.call(&scene.bob.number, &scene.group.jid, true)?;
    let ring = scene.wait("the ring", is_ring).await?;
    ensure!(ring.sender == ghost(world, &scene.bob), "{} calls", ring.sender);
    ensure!(ring.body().contains("Incoming group video call"), "{}", ring.content);
    phones.act_on_call(&scene.alices.number, &call, "reject", None)?;
    world.bridge.restart().await?;
    // Somebody of ours is where news of calls are heard.
    scene.group.phone_says(&scene.bob, "are you there?").await?;
    scene.group.wait_in_room(&scene.dora, "are you there?").await?;
    phones.act_on_call(&scene.bob.number, &call, "terminate", Some("timeout"))?;
    let missed = scene.wait("the missed call", |event| call_state(event) == "missed").await?;
    ensure!(edits(&missed, &ring.id) && missed.sender == ring.sender, "{}", missed.content);
    // A call that is over at once.
    let call = phones.call(&scene.carol.number, &scene.group.jid, false)?;
    phones.act_on_call(&scene.carol.number, &call, "terminate", None)?;
    let ring = scene.wait("carol's ring", |event| is_ring(event) && event.sender == ghost(world, &scene.carol)).await?;
    scene.wait("its end", |event| edits(event, &ring.id)).await?;
    // Who is not in the group does not ring in its room, whatever their call says.
    let stranger = world.phones.create_account("eve")?;
    phones.call(&stranger.number, &scene.group.jid, false)?;
    let eve = ghost(world, &stranger);
    scene.alice.wait_event("eve's ring", LIMIT, |event| is_ring(event) && event.sender == eve).await?;
    scene.group.phone_says(&scene.bob, "and a word").await?;
    scene.group.wait_in_room(&scene.dora, "and a word").await?;
    world.bridge.wait_idle().await?;
    ensure!(scene.count(is_ring).await? == 2, "each call rings once");
    ensure!(scene.count(|event| event.sender == eve).await? == 0, "eve rings in a group she is not in");
    Ok(())
}

async fn reactions_and_comments_go_sealed_in_announcements(world: &mut World) -> Result<()> {
    let groups::Scene { alice, account, bob, carol } = groups::scene(world).await?;
    let simulator = world.phones.simulator().clone();
    let options = GroupOptions {
        subject: "Roof".to_owned(),
        members: vec![account.number.clone(), carol.number.clone()],
        community: true,
        ..GroupOptions::default()
    };
    let community = simulator.create_group_with(&bob.number, &options)?;
    let all = simulator.groups();
    let announcements =
        all.iter().find(|group| group.parent.as_deref() == Some(community.as_str()) && group.announcements);
    let jid = announcements.context("a community has announcements")?.jid.clone();
    // Who is no admin may only read there, on Matrix too.
    simulator.change_participants(&bob.number, &jid, "promote", &[&account.number])?;
    let carols = ghost(world, &carol);
    let is_there =
        |event: &Event| event.state_key.as_deref() == Some(carols.as_str()) && event.content["membership"] == "join";
    alice.wait_event("carol in the room", LIMIT, is_there).await?;
    let id = simulator.send_kind(&bob.number, &jid, text("the roof is closed")).await?;
    let event = alice.wait_event("the announcement", LIMIT, |event| event.body() == "the roof is closed").await?;
    world.bridge.wait_idle().await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let opened = async |what: &str, wanted: &Value| {
        wait::until(what, LIMIT, || async {
            let inbox = world.phones.inbox(&carol.number);
            Ok(inbox
                .into_iter()
                .find(|item| item.opened.as_ref().is_some_and(|it| it.to_string().contains(&wanted.to_string()))))
        })
        .await
        .with_context(|| format!("carol's phone has {:?}", world.phones.inbox(&carol.number)))
    };
    let relation = json!({ "rel_type": "m.annotation", "event_id": event.id, "key": "🎉" });
    alice.send(&event.room, "m.reaction", &json!({ "m.relates_to": relation })).await?;
    let reaction = opened("alice's reaction", &json!("🎉")).await?;
    let key = &reaction.message["encReactionMessage"]["targetMessageKey"];
    ensure!(key["id"] == id.as_str() && key["participant"] == format!("{}@lid", bob.lid), "{}", reaction.message);
    wait::until("alice may write", LIMIT, || async {
        let levels = alice.find_state(&event.room, "m.room.power_levels", "").await?.unwrap_or_default();
        Ok((levels["users"][alice.id()].as_i64() >= Some(50)).then_some(()))
    })
    .await?;
    let relation = json!({ "rel_type": "m.thread", "event_id": event.id });
    let content = json!({ "msgtype": "m.text", "body": "until when?", "m.relates_to": relation });
    alice.send(&event.room, "m.room.message", &content).await?;
    let comment = opened("alice's comment", &json!("until when?")).await?;
    ensure!(comment.message["encCommentMessage"]["targetMessageKey"]["id"] == id.as_str(), "{}", comment.message);
    let inbox = world.phones.inbox(&carol.number);
    let plain =
        |item: &InboxItem| item.message["reactionMessage"].is_object() || item.message["commentMessage"].is_object();
    ensure!(!inbox.iter().any(plain), "something went in clear");
    // What is sealed with the comment's own secret is opened.
    let react = Kind::SecretReaction { target: comment.id, emoji: "👍".into() };
    simulator.send_kind(&bob.number, &jid, react).await?;
    alice
        .wait_event("bob's reaction", LIMIT, |seen| seen.kind == "m.reaction" && seen.sender == ghost(world, &bob))
        .await?;
    Ok(())
}
