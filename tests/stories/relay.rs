//! Relay mode: people without an account write in a group's room, and its relay says it on WhatsApp with their names.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::phones::{Account, InboxItem};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options, Refusal};

use crate::acts::die_at;
use crate::people::{set_level, wait_told};

matrix_bed::stories! {
    shared {
        a_guest_is_called_by_their_new_name_at_once
        a_guests_words_go_through_the_relay
        a_guests_files_and_places_say_whose_they_are
        no_file_of_a_guests_goes_without_their_name
        guests_vote_and_ask
        what_tells_of_votes_is_not_the_poll
        another_relay_doubles_nothing
        only_who_may_chooses_a_relay
        a_default_relay_until_it_is_unset
        killed_around_what_a_guest_says
        killed_before_another_relays
        who_takes_their_account_back_says_nothing_more
    }
}

const POLL: &str = "org.matrix.msc3381.poll.start";
const RESPONSE: &str = "org.matrix.msc3381.poll.response";
const BEACON_INFO: &str = "org.matrix.msc3672.beacon_info";
const BEACON: &str = "org.matrix.msc3672.beacon";

/// A group of alice's with bob, and a guest in its room who has no account there.
struct Scene {
    alice: Person,
    account: Account,
    bob: Account,
    group: Group,
    room: String,
    guest: Person,
}

async fn scene(world: &mut World, relay: Value) -> Result<Scene> {
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({ "bridge": { "relay": relay }, "matrix": { "message_status_events": true } }))?;
    world.bridge.start().await?;
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &account, "Guests", &[&bob])?;
    let room = group.room_of(&alice).await?;
    group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][alice.id()] == 75).await?;
    let guest = bring(world, &alice, &room, "guest", "Gus").await?;
    Ok(Scene { alice, account, bob, group, room, guest })
}

pub(super) async fn bring(world: &mut World, host: &Person, room: &str, name: &str, shown: &str) -> Result<Person> {
    let guest = world.person(name).await?;
    rename(&guest, shown).await?;
    host.invite(room, guest.id()).await?;
    host.wait_member(room, guest.id(), "join").await?;
    Ok(guest)
}

async fn rename(person: &Person, shown: &str) -> Result<()> {
    let path = ["_matrix", "client", "v3", "profile", person.id(), "displayname"];
    person.client().put(&path, &json!({ "displayname": shown })).await.map(drop)
}

/// Says a command in the room and waits for its answer.
pub(super) async fn command(world: &World, person: &Person, room: &str, words: &str, answer: &str) -> Result<()> {
    let bot = world.bridge.slot().bot();
    let said =
        || person.events(room).into_iter().filter(|event| event.sender == bot && event.body().contains(answer)).count();
    let before = said();
    person.send_text(room, &format!("!wa {words}")).await?;
    let what = format!("{answer:?} to {words}");
    wait::until(&what, wait::STEP, || async { Ok((said() > before).then_some(())) }).await
}

fn holds(item: &InboxItem, text: &str) -> bool {
    item.message.to_string().contains(text)
}

fn revokes(item: &InboxItem, id: &str) -> bool {
    let protocol = &item.message["protocolMessage"];
    protocol["type"] == "REVOKE" && protocol["key"]["id"] == id
}

fn edits(item: &InboxItem, id: &str, text: &str) -> bool {
    let protocol = &item.message["protocolMessage"];
    protocol["key"]["id"] == id && protocol["editedMessage"].to_string().contains(text)
}

async fn a_guests_words_go_through_the_relay(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, group, room, guest } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    let bot = world.bridge.slot().bot();
    // Nobody relays yet.
    guest.send_text(&room, "is anybody there?").await?;
    wait_told(&guest, &bot, &room, "No WhatsApp account of yours").await?;
    command(world, &alice, &room, "set-relay", "now goes out through the account").await?;
    guest.send_text(&room, "hello").await?;
    let hello = group.wait_at(&bob, "*Gus*: hello").await?;
    ensure!(hello.from == format!("{}@s.whatsapp.net", account.number), "{} sent it", hello.from);
    guest.send(&room, "m.room.message", &json!({ "msgtype": "m.emote", "body": "waves" })).await?;
    group.wait_at(&bob, "*Gus* _waves_").await?;
    // An answer quotes what was really said.
    group.phone_says(&bob, "who are you?").await?;
    let asked = group.wait_in_room(&guest, "who are you?").await?;
    let reply = |event: &str, text: &str| json!({ "msgtype": "m.text", "body": text, "m.relates_to": { "m.in_reply_to": { "event_id": event } } });
    let event = guest.send(&room, "m.room.message", &reply(&asked.id, "a guest")).await?;
    let answer = group.wait_at(&bob, "*Gus*: a guest").await?;
    let context = &answer.message["extendedTextMessage"]["contextInfo"];
    ensure!(context["quotedMessage"].to_string().contains("who are you?"), "{context}");
    // The guest's own to change, and nobody else's, not even the account's owner's.
    let edit = |event: &str, text: &str| {
        json!({ "msgtype": "m.text", "body": format!("* {text}"), "m.new_content": { "msgtype": "m.text", "body": text },
            "m.relates_to": { "rel_type": "m.replace", "event_id": event } })
    };
    guest.send(&room, "m.room.message", &edit(&event, "your guest")).await?;
    group.wait_item(&bob, "the edit", |item| edits(item, &answer.id, "*Gus*: your guest")).await?;
    let own = group.person_says(&alice, &account, "alice's own").await?;
    let owned = group.wait_at(&bob, "alice's own").await?;
    guest.send(&room, "m.room.message", &edit(&own, "the guest's now")).await?;
    wait_told(&guest, &bot, &room, "Only what you wrote yourself").await?;
    alice.send(&room, "m.room.message", &edit(&event, "alice's now")).await?;
    wait_told(&alice, &bot, &room, "Only your own messages").await?;
    // A reaction is told in words, and taken back with them.
    let heart = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": asked.id, "key": "❤️" } });
    let heart = guest.send(&room, "m.reaction", &heart).await?;
    let told = group
        .wait_item(&bob, "the reaction", |item| {
            item.text.as_deref().is_some_and(|text| text.starts_with("*Gus* reacted with ❤"))
        })
        .await?;
    let context = &told.message["extendedTextMessage"]["contextInfo"];
    ensure!(context["quotedMessage"].to_string().contains("who are you?"), "{context}");
    guest.redact(&room, &heart).await?;
    group.wait_item(&bob, "the reaction's end", |item| revokes(item, &told.id)).await?;
    guest.redact(&room, &event).await?;
    group.wait_item(&bob, "the deletion", |item| revokes(item, &answer.id)).await?;
    // Two of a kind are told apart.
    let twin = bring(world, &alice, &room, "twin", "gUs").await?;
    twin.send_text(&room, "me too").await?;
    group.wait_at(&bob, &format!("*gUs ({})*: me too", twin.id())).await?;
    // Nor is anybody taken for somebody on WhatsApp.
    let mimic = bring(world, &alice, &room, "mimic", &bob.name).await?;
    mimic.send_text(&room, "it is me").await?;
    group.wait_at(&bob, &format!("*{} ({})*: it is me", bob.name, mimic.id())).await?;
    // Of a live location they hear once that it can't be.
    let here = json!({ "live": true, "timeout": 60_000, "org.matrix.msc3488.ts": 1, "description": "here" });
    let start = mimic.set_state(&room, BEACON_INFO, mimic.id(), &here).await?;
    for _ in 0..2 {
        let position = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": start },
            "org.matrix.msc3488.location": { "uri": "geo:1,2" }, "org.matrix.msc3488.ts": 2 });
        mimic.send(&room, BEACON, &position).await?;
    }
    mimic.set_state(&room, BEACON_INFO, mimic.id(), &json!({ "live": false, "timeout": 60_000 })).await?;
    wait_told(&mimic, &bot, &room, "Live locations need a WhatsApp account").await?;
    mimic.send_text(&room, "I was there").await?;
    group.wait_item(&bob, "what comes after the places", |item| holds(item, "I was there")).await?;
    world.bridge.wait_idle().await?;
    let told = mimic.history(&room).await?.into_iter().filter(|event| event.body().contains("Live locations")).count();
    ensure!(told == 1, "told {told} times of live locations");
    let profile = json!({ "msgtype": "m.text", "body": "Nora: from afar", "format": "org.matrix.custom.html",
        "formatted_body": "<strong data-mx-profile-fallback>Nora: </strong>from <b>afar</b>",
        "com.beeper.per_message_profile": { "id": "n", "displayname": "Nora", "has_fallback": true } });
    twin.send(&room, "m.room.message", &profile).await?;
    group.wait_at(&bob, "*Nora*: from *afar*").await?;
    // Machines are not relayed, and nobody is told they were.
    let beep = twin.send(&room, "m.room.message", &json!({ "msgtype": "m.notice", "body": "beep" })).await?;
    let status = "com.beeper.message_send_status";
    twin.wait_event("the status of a notice", wait::STEP, |event| {
        event.kind == status
            && event.content["m.relates_to"]["event_id"] == beep
            && event.content["status"] == "FAIL_PERMANENT"
    })
    .await?;
    twin.send_text(&room, "after the beep").await?;
    group.wait_item(&bob, "what comes after", |item| holds(item, "after the beep")).await?;
    ensure!(
        !group.items(&bob).iter().any(|item| holds(item, "beep") && !holds(item, "after the beep")),
        "a notice was relayed"
    );
    ensure!(
        !group.items(&bob).iter().any(|item| edits(item, &owned.id, "") || holds(item, "alice's now")),
        "edits of others went"
    );
    Ok(())
}

async fn a_guests_files_and_places_say_whose_they_are(world: &mut World) -> Result<()> {
    let Scene { alice, bob, group, room, guest, .. } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    command(world, &alice, &room, "set-relay", "now goes out").await?;
    let picture = jpeg()?;
    let mxc = guest.client().upload(picture.clone(), "image/jpeg", "a.jpg").await?;
    let info = json!({ "mimetype": "image/jpeg", "size": picture.len() });
    let captioned = json!({ "msgtype": "m.image", "body": "look", "filename": "a.jpg", "url": mxc, "info": info });
    guest.send(&room, "m.room.message", &captioned).await?;
    group.wait_item(&bob, "the picture", |item| item.message["imageMessage"]["caption"] == "*Gus*: look").await?;
    let bare = json!({ "msgtype": "m.image", "body": "a.jpg", "url": mxc, "info": info });
    guest.send(&room, "m.room.message", &bare).await?;
    group.wait_item(&bob, "the other picture", |item| item.message["imageMessage"]["caption"] == "*Gus*").await?;
    // What takes no words has them in front, and goes with them.
    let sticker = json!({ "body": "hi", "url": mxc, "info": info });
    let sticker = guest.send(&room, "m.sticker", &sticker).await?;
    let seen = group.wait_item(&bob, "the sticker", |item| item.message["stickerMessage"].is_object()).await?;
    let items = group.items(&bob);
    let at = |id: &str| items.iter().position(|item| item.id == id).unwrap_or(usize::MAX);
    let label = items.iter().find(|item| item.text.as_deref() == Some("*Gus* sent a sticker")).context("no label")?;
    ensure!(at(&label.id) < at(&seen.id), "the label comes after the sticker");
    guest.redact(&room, &sticker).await?;
    for gone in [&label.id, &seen.id] {
        group.wait_item(&bob, "both are gone", |item| revokes(item, gone)).await?;
    }
    let place = json!({ "msgtype": "m.location", "body": "The old bridge", "geo_uri": "geo:48.1,11.5" });
    guest.send(&room, "m.room.message", &place).await?;
    group.wait_item(&bob, "the place", |item| item.message["locationMessage"]["name"] == "Gus: The old bridge").await?;
    Ok(())
}

async fn no_file_of_a_guests_goes_without_their_name(world: &mut World) -> Result<()> {
    let Scene { alice, bob, group, room, guest, .. } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    command(world, &alice, &room, "set-relay", "now goes out").await?;
    let sound = include_bytes!("../../src/media/testdata/tone.mp3").to_vec();
    let sound = guest.client().upload(sound, "audio/mpeg", "tone.mp3").await?;
    let picture = guest.client().upload(jpeg()?, "image/jpeg", "a.jpg").await?;
    let card = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Carol\r\nTEL:+12025550123\r\nEND:VCARD\r\n".to_vec();
    let card = guest.client().upload(card, "text/vcard", "carol.vcf").await?;
    let position = |wanted: &dyn Fn(&InboxItem) -> bool| group.items(&bob).iter().position(wanted);
    // What it is decides, not what its event calls it.
    let named = [
        ("m.image", "quiet.jpg", "image/jpeg", &sound, "*Gus*"),
        ("m.audio", "tone.mp3", "audio/mpeg", &sound, "*Gus* sent audio"),
        ("m.file", "carol.vcf", "text/vcard", &card, "*Gus*"),
    ];
    for (at, (msgtype, name, mime, url, label)) in named.into_iter().enumerate() {
        let content = json!({ "msgtype": msgtype, "body": name, "url": url, "info": { "mimetype": mime } });
        guest.send(&room, "m.room.message", &content).await?;
        let bare =
            |item: &InboxItem| item.message["audioMessage"].is_object() || item.message["contactMessage"].is_object();
        wait::until(name, wait::STEP, || async {
            Ok((group.items(&bob).iter().filter(|item| bare(item)).count() == at + 1).then_some(()))
        })
        .await?;
        let items = group.items(&bob);
        let seen = items.iter().rposition(bare).context("no file")?;
        let before = seen.checked_sub(1).and_then(|at| items.get(at)).and_then(|item| item.text.as_deref());
        ensure!(before == Some(label), "{name} comes after {before:?}");
    }
    // A document has it under it.
    let content = json!({ "msgtype": "m.file", "filename": "a.bin", "body": "read it", "url": picture, "info": {} });
    guest.send(&room, "m.room.message", &content).await?;
    group.wait_item(&bob, "the document", |item| holds(item, "*Gus*: read it")).await?;
    // An edit leaves it there, whatever it calls itself.
    let content = json!({ "msgtype": "m.image", "filename": "a.jpg", "body": "look", "url": picture, "info": {} });
    let shown = guest.send(&room, "m.room.message", &content).await?;
    let item = group.wait_item(&bob, "the picture", |item| item.message["imageMessage"]["caption"] == "*Gus*: look");
    let item = item.await?;
    let new = json!({ "msgtype": "m.audio", "filename": "a.mp3", "body": "not mine", "url": sound, "info": {} });
    let edit = json!({ "msgtype": "m.audio", "body": "* not mine", "m.new_content": new,
        "m.relates_to": { "rel_type": "m.replace", "event_id": shown } });
    guest.send(&room, "m.room.message", &edit).await?;
    let edited = group.wait_item(&bob, "the edit", |other| edits(other, &item.id, "")).await?;
    ensure!(edits(&edited, &item.id, "*Gus* sent audio: not mine"), "{}", edited.message);
    // Each file of an album, also where the first can not go; and nobody is called together.
    let server = guest.id().split_once(':').context("a user id has a server")?.1;
    let all = json!({ "room": true });
    let items = json!([
        { "itemtype": "m.image", "body": "gone", "url": format!("mxc://{server}/nothing"), "info": {} },
        { "itemtype": "m.image", "filename": "b.jpg", "body": "@room look", "url": picture, "info": {}, "m.mentions": all },
        { "itemtype": "m.audio", "body": "tone.mp3", "url": sound, "info": { "mimetype": "audio/mpeg" } },
        { "itemtype": "m.image", "body": "c.jpg", "url": picture, "info": {} },
    ]);
    let before = group.items(&bob).len();
    let album =
        json!({ "msgtype": "dm.filament.gallery", "body": "@room our trip", "itemtypes": items, "m.mentions": all });
    let album = guest.send(&room, "m.room.message", &album).await?;
    wait_told(&guest, &world.bridge.slot().bot(), &room, "was not sent to WhatsApp").await?;
    let news: Vec<InboxItem> = group.items(&bob).into_iter().skip(before).collect();
    let captions: Vec<Value> = news.iter().map(caption_of).filter(|caption| !caption.is_null()).collect();
    ensure!(captions == ["*Gus*: @room look", "*Gus*"], "{captions:?}");
    let label = news.iter().position(|item| item.text.as_deref() == Some("*Gus* sent audio")).context("no label")?;
    let sounds = news.iter().position(|item| holds(item, "\"audioMessage\":{"));
    ensure!(sounds == Some(label + 1), "the label is not before the sound");
    ensure!(!news.iter().any(|item| holds(item, "nonJidMentions\":1")), "a guest called everybody: {news:?}");
    guest.redact(&room, &album).await?;
    let label = &news[label].id;
    group.wait_item(&bob, "the label goes with its album", |item| revokes(item, label)).await?;
    let everybody = json!({ "msgtype": "m.text", "body": "@room hello", "m.mentions": all });
    guest.send(&room, "m.room.message", &everybody).await?;
    let item = group.wait_at(&bob, "*Gus*: @room hello").await?;
    ensure!(!holds(&item, "nonJidMentions"), "a guest called everybody: {}", item.message);
    ensure!(position(&|item| holds(item, "not mine") && !holds(item, "*Gus*")).is_none(), "a name is gone");
    Ok(())
}

/// The words under a picture of an album.
fn caption_of(item: &InboxItem) -> Value {
    let image = "imageMessage";
    let places = [&item.message[image], &item.message["associatedChildMessage"]["message"][image]];
    let found = places.into_iter().find(|place| place.is_object());
    found.map_or(Value::Null, |image| image["caption"].as_str().unwrap_or_default().into())
}

fn jpeg() -> Result<Vec<u8>> {
    let picture = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([(x * 4) as u8, (y * 5) as u8, 128]));
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Jpeg)?;
    Ok(file.into_inner())
}

async fn vote_for(person: &Person, room: &str, poll: &str, answers: &[&str]) -> Result<String> {
    let vote = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": poll },
        "org.matrix.msc3381.poll.response": { "answers": answers } });
    person.send(room, RESPONSE, &vote).await
}

async fn guests_vote_and_ask(world: &mut World) -> Result<()> {
    let Scene { alice, bob, group, room, guest, .. } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    command(world, &alice, &room, "set-relay", "now goes out").await?;
    let ida = bring(world, &alice, &room, "ida", "Ida").await?;
    let poll = Kind::Poll {
        name: "Lunch?".into(),
        options: ["soup", "bread"].map(str::to_owned).to_vec(),
        selectable: Some(1),
        version: None,
        correct: None,
        end_time: None,
    };
    world.phones.simulator().send_kind(&bob.number, &group.jid, poll).await?;
    let asked = guest.wait_event("the poll", wait::STEP, |event| event.kind == POLL && event.room == room).await?;
    let soup = crate::polls::id_of(&asked, "soup")?;
    let bread = crate::polls::id_of(&asked, "bread")?;
    let first = vote_for(&guest, &room, &asked.id, &[&soup]).await?;
    let tally = group.wait_at(&bob, "📊 Votes from Matrix:\n- soup: 1 vote (Gus)").await?;
    // One message, whoever votes.
    vote_for(&ida, &room, &asked.id, &[&soup]).await?;
    group.wait_item(&bob, "two votes", |item| edits(item, &tally.id, "soup: 2 votes (Gus, Ida)")).await?;
    let second = vote_for(&guest, &room, &asked.id, &[&bread]).await?;
    group.wait_item(&bob, "another choice", |item| edits(item, &tally.id, "bread: 1 vote (Gus)")).await?;
    // The event of an older choice is nothing any more; that of the latest takes it back.
    guest.redact(&room, &first).await?;
    guest.redact(&room, &second).await?;
    let alone = |item: &InboxItem| edits(item, &tally.id, "soup: 1 vote (Ida)") && !holds(item, "Gus");
    group.wait_item(&bob, "a vote taken back", alone).await?;
    world.bridge.wait_idle().await?;
    ensure!(!group.items(&bob).iter().any(|item| revokes(item, &tally.id)), "the tally was deleted");
    // A poll of a guest has their name, and their votes count at its end.
    let start = json!({ POLL: { "question": { "body": "Colour?", "org.matrix.msc1767.text": "Colour?" }, "max_selections": 1,
        "kind": "org.matrix.msc3381.poll.disclosed",
        "answers": [{ "id": "r", "org.matrix.msc1767.text": "red" }, { "id": "g", "org.matrix.msc1767.text": "green" }] } });
    let own = guest.send(&room, POLL, &start).await?;
    let shown = group.wait_item(&bob, "the guest's poll", |item| holds(item, "Gus: Colour?")).await?;
    vote_for(&ida, &room, &own, &["g"]).await?;
    group.wait_at(&bob, "📊 Votes from Matrix:\n- green: 1 vote (Ida)").await?;
    let voted = Kind::Vote { poll: shown.id.clone(), options: vec!["green".into()] };
    world.phones.simulator().send_kind(&bob.number, &group.jid, voted).await?;
    guest
        .wait_event("bob's vote", wait::STEP, |event| {
            event.kind == RESPONSE
                && event.content["m.relates_to"]["event_id"] == own.as_str()
                && event.sender != ida.id()
        })
        .await?;
    let end = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": own },
        "org.matrix.msc3381.poll.end": {}, "org.matrix.msc1767.text": "over" });
    ida.send(&room, "org.matrix.msc3381.poll.end", &end).await?;
    let bot = world.bridge.slot().bot();
    wait_told(&ida, &bot, &room, "Only what you wrote yourself").await?;
    guest.send(&room, "org.matrix.msc3381.poll.end", &end).await?;
    group.wait_item(&bob, "the result", |item| holds(item, "green: 2 votes")).await?;
    Ok(())
}

async fn what_tells_of_votes_is_not_the_poll(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, group, room, guest } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    command(world, &alice, &room, "set-relay", "now goes out").await?;
    let ida = bring(world, &alice, &room, "ida", "Ida").await?;
    let start = json!({ POLL: { "question": { "body": "Colour?", "org.matrix.msc1767.text": "Colour?" }, "max_selections": 1,
        "answers": [{ "id": "r", "org.matrix.msc1767.text": "red" }, { "id": "g", "org.matrix.msc1767.text": "green" }] } });
    let poll = guest.send(&room, POLL, &start).await?;
    group.wait_item(&bob, "the poll", |item| holds(item, "Gus: Colour?")).await?;
    vote_for(&guest, &room, &poll, &["r"]).await?;
    let tally = group.wait_at(&bob, "📊 Votes from Matrix:\n- red: 1 vote (Gus)").await?;
    // Who answers what tells of the votes answers the poll.
    let (answer, to) = (Kind::Text { text: "well".into() }, Some(tally.id.clone()));
    let options = Options { reply_to: to, ..Options::default() };
    world.phones.simulator().send_kind_with(&bob.number, &group.jid, answer, options).await?;
    let answer = group.wait_in_room(&guest, "well").await?;
    let answered = &answer.content["m.relates_to"]["m.in_reply_to"]["event_id"];
    ensure!(answered == poll.as_str(), "{}", answer.content);
    // It is deleted on the phone: the poll stays, and the next vote is told anew.
    let revoke = Kind::Revoke { target: tally.id.clone() };
    world.phones.simulator().send_kind(&account.number, &group.jid, revoke).await?;
    group.wait_item(&bob, "the deletion", |item| revokes(item, &tally.id)).await?;
    world.bridge.wait_idle().await?;
    let theirs = vote_for(&ida, &room, &poll, &["g"]).await?;
    let both = "📊 Votes from Matrix:\n- red: 1 vote (Gus)\n- green: 1 vote (Ida)";
    let newer = group.wait_at(&bob, both).await?;
    let shown = guest.history(&room).await?.into_iter().find(|event| event.id == poll).context("no poll")?;
    ensure!(shown.content[POLL].is_object(), "the poll was deleted: {}", shown.content);
    // Who rules the room deletes a vote: it counts no more.
    alice.redact(&room, &theirs).await?;
    let alone = |item: &InboxItem| edits(item, &newer.id, "red: 1 vote (Gus)") && !holds(item, "Ida");
    group.wait_item(&bob, "a vote a moderator took away", alone).await?;
    world.bridge.wait_idle().await?;
    Ok(())
}

async fn another_relay_doubles_nothing(world: &mut World) -> Result<()> {
    let Scene { account, bob, group, room, guest, .. } = scene(world, json!({ "enabled": true })).await?;
    let bot = world.bridge.slot().bot();
    let (dora, doras, _) = world.log_in("dora").await?;
    world.phones.simulator().change_participants(&account.number, &group.jid, "add", &[&doras.number])?;
    dora.wait_member(&room, dora.id(), "join").await?;
    relays(world, &[&account]).await?;
    let event = guest.send_text(&room, "through alice").await?;
    let item = group.wait_at(&bob, "*Gus*: through alice").await?;
    relays(world, &[&doras]).await?;
    guest.send_text(&room, "through dora").await?;
    let other = group.wait_at(&bob, "*Gus*: through dora").await?;
    ensure!(other.from == format!("{}@s.whatsapp.net", doras.number), "{} sent it", other.from);
    // What went through alice's account is not dora's to change, and what dora may is not lent.
    let edit = json!({ "msgtype": "m.text", "body": "* mine", "m.new_content": { "msgtype": "m.text", "body": "mine" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": event } });
    guest.send(&room, "m.room.message", &edit).await?;
    wait_told(&guest, &bot, &room, "can't be edited there any more").await?;
    guest.redact(&room, &event).await?;
    wait_told(&guest, &bot, &room, "can't be deleted there any more").await?;
    world.bridge.wait_idle().await?;
    ensure!(!group.items(&bob).iter().any(|other| revokes(other, &item.id) || edits(other, &item.id, "")), "it went");
    Ok(())
}

/// Has these accounts relay by default from now on.
async fn relays(world: &mut World, accounts: &[&Account]) -> Result<()> {
    world.bridge.stop().await?;
    relay_from_next_start(world, accounts)?;
    world.bridge.start().await
}

fn relay_from_next_start(world: &World, accounts: &[&Account]) -> Result<()> {
    let numbers: Vec<&str> = accounts.iter().map(|account| account.number.as_str()).collect();
    let relay = json!({ "enabled": true, "default_relays": numbers });
    world.bridge.reconfigure(&json!({ "bridge": { "relay": relay } }))
}

async fn killed_before_another_relays(world: &mut World) -> Result<()> {
    let Scene { account, bob, group, room, guest, .. } = scene(world, json!({ "enabled": true })).await?;
    let bot = world.bridge.slot().bot();
    let (dora, doras, _) = world.log_in("dora").await?;
    world.phones.simulator().change_participants(&account.number, &group.jid, "add", &[&doras.number])?;
    dora.wait_member(&room, dora.id(), "join").await?;
    let mxc = guest.client().upload(jpeg()?, "image/jpeg", "a.jpg").await?;
    let sticker = json!({ "body": "hi", "url": mxc, "info": { "mimetype": "image/jpeg" } });
    for point in ["from_mx.after_reserve", "from_mx.after_send", "relay.after_label"] {
        relay_from_next_start(world, &[&account])?;
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=1*return")).await?;
        let text = format!("said at {point}");
        match point {
            "relay.after_label" => guest.send(&room, "m.sticker", &sticker).await?,
            _ => guest.send_text(&room, &text).await?,
        };
        world.bridge.wait_exit(wait::STEP * 2).await.with_context(|| format!("it did not die at {point}"))?;
        relay_from_next_start(world, &[&doras])?;
        world.bridge.start().await?;
        // What comes after it goes through dora's account.
        let after = format!("after {point}");
        guest.send_text(&room, &after).await?;
        let after = group.wait_item(&bob, &after, |item| holds(item, &after)).await?;
        ensure!(after.from == format!("{}@s.whatsapp.net", doras.number), "{} sent it", after.from);
    }
    world.bridge.wait_idle().await?;
    let items = group.items(&bob);
    let is_alices = |item: &&InboxItem| item.from == format!("{}@s.whatsapp.net", account.number);
    for text in ["*Gus*: said at from_mx.after_reserve", "*Gus*: said at from_mx.after_send", "*Gus* sent a sticker"] {
        let found: Vec<&InboxItem> = items.iter().filter(|item| item.text.as_deref() == Some(text)).collect();
        ensure!(found.len() == 1 && found.iter().all(is_alices), "{text}: {found:?}");
    }
    let found: Vec<&InboxItem> = items.iter().filter(|item| item.message["stickerMessage"].is_object()).collect();
    ensure!(found.len() == 1 && found.iter().all(is_alices), "{found:?}");
    // Its account is gone: nobody knows, and the guest hears so.
    relay_from_next_start(world, &[&account])?;
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("from_mx.after_reserve=1*return").await?;
    guest.send_text(&room, "perhaps").await?;
    world.bridge.wait_exit(wait::STEP * 2).await?;
    world.phones.unlink(&account.number)?;
    relay_from_next_start(world, &[&doras])?;
    world.bridge.start().await?;
    wait_told(&guest, &bot, &room, "may have arrived").await?;
    world.bridge.wait_idle().await?;
    ensure!(!group.items(&bob).iter().any(|item| holds(item, "perhaps")), "it went through the other account");
    Ok(())
}

async fn only_who_may_chooses_a_relay(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, group, room, guest } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    let bot = world.bridge.slot().bot();
    let (dora, doras, _) = world.log_in("dora").await?;
    world.phones.simulator().change_participants(&account.number, &group.jid, "add", &[&doras.number])?;
    dora.wait_member(&room, dora.id(), "join").await?;
    // Who has no account there, who rules nothing, and who names another's.
    command(world, &guest, &room, "set-relay", "Only the owner of this chat").await?;
    command(world, &dora, &room, "set-relay", "Only who may change the powers").await?;
    command(world, &alice, &room, &format!("set-relay {}", doras.number), "You have no such account in this chat")
        .await?;
    command(world, &dora, &room, &format!("set-relay {}", account.number), "You have no such account in this chat")
        .await?;
    guest.send_text(&room, "through whom?").await?;
    wait_told(&guest, &bot, &room, "No WhatsApp account of yours").await?;
    command(world, &alice, &room, "set-relay", "now goes out through the account").await?;
    command(world, &dora, &room, "unset-relay", "Only who may change the powers").await?;
    guest.send_text(&room, "through alice").await?;
    group.wait_at(&bob, "*Gus*: through alice").await?;
    // Everybody of ours hears it once: dora's account got it too.
    let troll = bring(world, &alice, &room, "troll", "Troll").await?;
    set_level(world, &troll, "block").await?;
    troll.send_text(&room, "from a troll").await?;
    // An administrator chooses anybody's, without being there.
    let root = bring(world, &alice, &room, "root", "Root").await?;
    set_level(world, &root, "admin").await?;
    command(world, &root, &room, &format!("set-relay {}", doras.number), &format!("account of {}", dora.id())).await?;
    guest.send_text(&room, "through dora").await?;
    let item = group.wait_at(&bob, "*Gus*: through dora").await?;
    ensure!(item.from == format!("{}@s.whatsapp.net", doras.number), "{} sent it", item.from);
    // Her own is hers to take back, though she rules nothing.
    command(world, &dora, &room, "unset-relay", "Nobody is relayed here any more").await?;
    guest.send_text(&room, "through nobody").await?;
    let refused = || {
        guest
            .events(&room)
            .into_iter()
            .filter(|event| event.sender == bot && event.body().contains("No WhatsApp account of yours"))
            .count()
    };
    wait::until("told again", wait::STEP, || async { Ok((refused() == 2).then_some(())) }).await?;
    world.bridge.wait_idle().await?;
    let heard: Vec<_> = group.items(&bob);
    ensure!(!heard.iter().any(|item| holds(item, "troll") || holds(item, "through nobody")), "{heard:?}");
    let shown = alice.history(&room).await?;
    for text in ["through alice", "through dora"] {
        let times = shown.iter().filter(|event| event.body().contains(text)).count();
        ensure!(times == 1, "{text} is {times} times in the room");
    }
    Ok(())
}

async fn a_default_relay_until_it_is_unset(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, group, room, guest } = scene(world, json!({ "enabled": true })).await?;
    let bot = world.bridge.slot().bot();
    command(world, &alice, &room, "set-relay", "Only administrators of the bridge").await?;
    world.bridge.stop().await?;
    let formats = json!({ "m.text": "[{{.Sender.FormattedName}}] {{.Message}}" });
    let relay = json!({ "enabled": true, "default_relays": [format!("+{}", account.number)], "message_formats": formats,
        "displayname_format": "{{.Displayname}} (guest)" });
    world.bridge.reconfigure(&json!({ "bridge": { "relay": relay } }))?;
    world.bridge.start().await?;
    guest.send_text(&room, "by default").await?;
    group.wait_at(&bob, "[Gus (guest)] by default").await?;
    // A relay that is logged out is told, and nothing goes.
    world.phones.unlink(&account.number)?;
    world.bridge.wait_idle().await?;
    let logged_out = async || {
        guest.send_text(&room, "is it out?").await?;
        wait_told(&guest, &bot, &room, "that relays what you write here is logged out").await
    };
    logged_out().await?;
    let management = world.management(&alice).await?;
    management.login_by_qr(&world.phones, &account).await?;
    guest.send_text(&room, "back again").await?;
    group.wait_at(&bob, "[Gus (guest)] back again").await?;
    // What failed is tried again for who is no more than relayed.
    set_level(world, &guest, "relay").await?;
    command(world, &guest, &room, "retry", "Trying one message again").await?;
    group.wait_at(&bob, "[Gus (guest)] is it out?").await?;
    command(world, &alice, &room, "unset-relay", "Nobody is relayed here any more").await?;
    guest.send_text(&room, "no more").await?;
    wait_told(&guest, &bot, &room, "No WhatsApp account of yours").await?;
    Ok(())
}

async fn killed_around_what_a_guest_says(world: &mut World) -> Result<()> {
    let Scene { alice, bob, group, room, guest, .. } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    command(world, &alice, &room, "set-relay", "now goes out").await?;
    let mxc = guest.client().upload(jpeg()?, "image/jpeg", "a.jpg").await?;
    for point in ["from_mx.after_reserve", "from_mx.after_send", "from_mx.after_settle"] {
        let text = format!("said at {point}");
        die_at(world, point, async |_| guest.send_text(&room, &text).await.map(drop)).await?;
        group.wait_item(&bob, &text, |item| holds(item, &text)).await?;
    }
    let sticker = json!({ "body": "hi", "url": mxc, "info": { "mimetype": "image/jpeg" } });
    die_at(world, "relay.after_label", async |_| guest.send(&room, "m.sticker", &sticker).await.map(drop)).await?;
    group.wait_item(&bob, "the sticker", |item| item.message["stickerMessage"].is_object()).await?;
    let start = json!({ POLL: { "question": { "body": "Colour?", "org.matrix.msc1767.text": "Colour?" }, "max_selections": 1,
        "answers": [{ "id": "r", "org.matrix.msc1767.text": "red" }, { "id": "g", "org.matrix.msc1767.text": "green" }] } });
    let poll = guest.send(&room, POLL, &start).await?;
    group.wait_item(&bob, "the poll", |item| holds(item, "Gus: Colour?")).await?;
    let mut tally = None;
    for (point, answer, word) in [
        ("relay.tally_kept", "g", "green"),
        ("relay.vote_kept", "r", "red"),
        ("relay.vote_kept", "g", "green"),
        ("from_mx.after_reserve", "r", "red"),
        ("from_mx.after_send", "g", "green"),
    ] {
        let before = group.items(&bob).len();
        die_at(world, point, async |_| vote_for(&guest, &room, &poll, &[answer]).await.map(drop)).await?;
        let text = format!("{word}: 1 vote (Gus)");
        let item = group.wait_item(&bob, &text, |item| {
            holds(item, &text) && group.items(&bob).iter().skip(before).any(|newer| newer.id == item.id)
        });
        let item = item.await.with_context(|| format!("at {point}"))?;
        let first = tally.get_or_insert_with(|| item.id.clone());
        ensure!(item.id == *first || edits(&item, first, &text), "a second message tells of the votes: {item:?}");
    }
    world.bridge.wait_idle().await?;
    let items = group.items(&bob);
    let labels = items.iter().filter(|item| item.text.as_deref() == Some("*Gus* sent a sticker")).count();
    let stickers = items.iter().filter(|item| item.message["stickerMessage"].is_object()).count();
    let tallies = items.iter().filter(|item| item.text.as_deref().is_some_and(|text| text.starts_with("📊"))).count();
    ensure!((labels, stickers, tallies) == (1, 1, 1), "{labels} labels, {stickers} stickers, {tallies} tallies");
    for point in ["from_mx.after_reserve", "from_mx.after_send", "from_mx.after_settle"] {
        let text = format!("*Gus*: said at {point}");
        let times = items.iter().filter(|item| item.text.as_deref() == Some(&text)).count();
        ensure!(times == 1, "{text}: {times} times");
    }
    Ok(())
}

async fn a_guest_is_called_by_their_new_name_at_once(world: &mut World) -> Result<()> {
    let Scene { alice, bob, group, room, guest, .. } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    command(world, &alice, &room, "set-relay", "now goes out through the account").await?;
    for (shown, words) in [("Gus", "one"), ("Augustus", "two"), ("August", "three")] {
        rename(&guest, shown).await?;
        let renamed = alice.wait_event("the room knows the name", wait::STEP, |event| {
            event.room == room
                && event.kind == "m.room.member"
                && event.state_key.as_deref() == Some(guest.id())
                && event.content["displayname"] == shown
        });
        renamed.await?;
        guest.send_text(&room, words).await?;
        group.wait_at(&bob, &format!("*{shown}*: {words}")).await?;
    }
    Ok(())
}

async fn who_takes_their_account_back_says_nothing_more(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, group, room, guest, .. } =
        scene(world, json!({ "enabled": true, "admin_only": false })).await?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    let (roots, bot) = (world.management(&root).await?, world.bridge.slot().bot());
    let (dora, doras, _) = world.log_in("dora").await?;
    world.phones.simulator().change_participants(&account.number, &group.jid, "add", &[&doras.number])?;
    dora.wait_member(&room, dora.id(), "join").await?;
    command(world, &alice, &room, "set-relay", "goes out through the account of").await?;
    // Begun through her account, which goes away.
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("from_mx.after_reserve=1*return").await?;
    guest.send_text(&room, "perhaps").await?;
    world.bridge.wait_exit(wait::STEP * 2).await?;
    let away = Refusal { reason: 503, code: None, expire: None, message: None, count: None };
    world.phones.simulator().refuse(Some(&account.number), Some(away))?;
    world.bridge.start().await?;
    command(world, &alice, &room, "unset-relay", "Nobody is relayed here any more").await?;
    roots.ask(&format!("doin {room} set-relay {}", doras.number), "goes out through the account of").await?;
    world.phones.simulator().refuse(Some(&account.number), None)?;
    wait_told(&guest, &bot, &room, "may have arrived").await?;
    guest.send_text(&room, "through dora").await?;
    let item = group.wait_at(&bob, "*Gus*: through dora").await?;
    ensure!(item.from == format!("{}@s.whatsapp.net", doras.number), "{} sent it", item.from);
    world.bridge.wait_idle().await?;
    ensure!(!group.items(&bob).iter().any(|item| holds(item, "perhaps")), "her account was used all the same");
    Ok(())
}
