//! Polls and votes: both ways, live and after a start, from the own phone, too early, and by those who may not.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::Event;
use matrix_bed::phones::{FaultKind, InboxItem};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options};

use crate::acts::{contact_sends_with, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        the_contacts_votes_are_shown
        a_vote_waits_for_its_poll
        a_poll_from_matrix_is_voted_on_by_the_phone
        votes_from_matrix_are_read_by_the_phone
        a_person_votes_here_and_on_the_phone
        polls_end_both_ways
        a_poll_ends_when_its_time_is_over
        answers_are_added_to_a_poll
        a_poll_is_changed_by_who_asked
        polls_work_with_a_contact_known_by_number_only
        nobody_votes_as_somebody_else
        a_vote_is_cast_once_whatever_dies
    }
}

const RESPONSE: &str = "org.matrix.msc3381.poll.response";

fn lunch(selectable: u32) -> Kind {
    let options = ["soup", "bread", "cake"].map(str::to_owned).to_vec();
    Kind::Poll {
        name: "Lunch?".into(),
        options,
        selectable: Some(selectable),
        version: None,
        correct: None,
        end_time: None,
    }
}

pub(super) fn vote(poll: &str, options: &[&str]) -> Kind {
    Kind::Vote { poll: poll.to_owned(), options: options.iter().map(|&option| option.to_owned()).collect() }
}

/// The poll of an event, under its unstable name or its stable one.
pub(super) fn start_of(event: &Event) -> &Value {
    &event.content["org.matrix.msc3381.poll.start"]
}

pub(super) fn is_poll(event: &Event) -> bool {
    event.kind == "org.matrix.msc3381.poll.start" && event.content["m.new_content"].is_null()
}

/// The id of an answer by its text.
pub(super) fn id_of(poll: &Event, text: &str) -> Result<String> {
    let answers = start_of(poll)["answers"].as_array().context("a poll has answers")?;
    let answer = answers.iter().find(|answer| answer["org.matrix.msc1767.text"] == text);
    let id = answer.and_then(|answer| answer["id"].as_str()).with_context(|| format!("no {text} in {answers:?}"))?;
    Ok(id.to_owned())
}

/// A poll of the contact's phone, in the room.
async fn contact_asks(world: &World, chat: &Chat, selectable: u32) -> Result<(String, Event)> {
    let id = contact_sends_with(world, chat, lunch(selectable), Options::default()).await?;
    let event = wait_event(chat, "the poll", is_poll).await?;
    ensure!(start_of(&event)["question"]["body"] == "Lunch?", "{}", event.content);
    Ok((id, event))
}

pub(super) async fn wait_vote(chat: &Chat, poll: &str, answers: &[String], after: Option<&Event>) -> Result<Event> {
    wait_event(chat, &format!("a vote for {answers:?}"), |event| {
        let relation = &event.content["m.relates_to"];
        event.kind == RESPONSE
            && relation["rel_type"] == "m.reference"
            && relation["event_id"] == poll
            && event.content[RESPONSE]["answers"] == json!(answers)
            && after.is_none_or(|after| event.ts > after.ts && event.id != after.id)
    })
    .await
}

pub(super) async fn person_votes(chat: &Chat, poll: &str, answers: &[&str]) -> Result<String> {
    let relation = json!({ "rel_type": "m.reference", "event_id": poll });
    let content = json!({ "m.relates_to": relation, RESPONSE: { "answers": answers } });
    chat.person().send(&chat.room()?, RESPONSE, &content).await
}

/// Waits until the contact's phone has read a vote for these and no other answers, later than `after`.
pub(super) async fn wait_read(world: &World, chat: &Chat, answers: &[&str], after: &[InboxItem]) -> Result<InboxItem> {
    let number = chat.contact().number.clone();
    let opened = json!({ "vote": answers });
    wait::until(&format!("the phone reads a vote for {answers:?}"), wait::STEP, || async {
        let items = world.phones.inbox(&number).into_iter();
        let mut new = items.filter(|item| !after.iter().any(|before| before.id == item.id));
        Ok(new.find(|item| item.opened.as_ref() == Some(&opened)))
    })
    .await
    .with_context(|| format!("the phone has {:?}", world.phones.inbox(&number)))
}

async fn the_contacts_votes_are_shown(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    ensure!(start_of(&poll)["max_selections"] == 1, "{}", poll.content);
    let (soup, bread) = (id_of(&poll, "soup")?, id_of(&poll, "bread")?);
    contact_sends_with(world, &chat, vote(&id, &["soup"]), Options::default()).await?;
    let first = wait_vote(&chat, &poll.id, std::slice::from_ref(&soup), None).await?;
    ensure!(first.sender == poll.sender, "{} votes", first.sender);
    // The same again is nothing new.
    contact_sends_with(world, &chat, vote(&id, &["soup"]), Options::default()).await?;
    contact_sends_with(world, &chat, vote(&id, &["bread"]), Options::default()).await?;
    let second = wait_vote(&chat, &poll.id, &[bread], Some(&first)).await?;
    world.bridge.restart().await?;
    contact_sends_with(world, &chat, vote(&id, &[]), Options::default()).await?;
    let last = wait_vote(&chat, &poll.id, &[], Some(&second)).await?;
    contact_sends_with(world, &chat, vote(&id, &["soup"]), Options::default()).await?;
    wait_vote(&chat, &poll.id, &[soup], Some(&last)).await?;
    // Of several answers.
    let (id, _) = {
        let id = contact_sends_with(world, &chat, lunch(0), Options::default()).await?;
        let event = wait_event(&chat, "the other poll", |event| is_poll(event) && event.id != poll.id).await?;
        ensure!(start_of(&event)["max_selections"] == 3, "{}", event.content);
        contact_sends_with(world, &chat, vote(&id, &["cake", "soup"]), Options::default()).await?;
        let both = [id_of(&event, "cake")?, id_of(&event, "soup")?];
        (id, wait_vote(&chat, &event.id, &both, None).await?)
    };
    ensure!(!id.is_empty());
    world.bridge.wait_idle().await?;
    let history = chat.person().history(&chat.room()?).await?;
    let votes = history.iter().filter(|event| event.kind == RESPONSE).count();
    ensure!(votes == 5, "{votes} votes are in the room");
    Ok(())
}

async fn a_vote_waits_for_its_poll(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    // The poll is lost on its way and comes with the next connection; the vote is there first.
    world.phones.fault(&login, FaultKind::Drop, 1)?;
    let id = contact_sends_with(world, &chat, lunch(1), Options::default()).await?;
    world.phones.simulator().wait_fault_used(&login, FaultKind::Drop, wait::STEP).await?;
    contact_sends_with(world, &chat, vote(&id, &["cake"]), Options::default()).await?;
    let parked = "UPDATE inbox SET state = state WHERE state = 'parked'";
    wait::until("the vote waits", wait::STEP, || async {
        Ok((world.database.execute(parked).await? == 1).then_some(()))
    })
    .await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let poll = wait_event(&chat, "the late poll", is_poll).await?;
    wait_vote(&chat, &poll.id, &[id_of(&poll, "cake")?], None).await?;
    Ok(())
}

async fn a_poll_from_matrix_is_voted_on_by_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let unstable = json!({
        "org.matrix.msc1767.text": "Colour?",
        "org.matrix.msc3381.poll.start": {
            "kind": "org.matrix.msc3381.poll.disclosed",
            "max_selections": 2,
            "question": { "org.matrix.msc1767.text": "Colour?" },
            "answers": [
                { "id": "r", "org.matrix.msc1767.text": "red" },
                { "id": "g", "org.matrix.msc1767.text": "green" },
                { "id": "b", "org.matrix.msc1767.text": "blue" },
            ],
        },
    });
    let stable = json!({
        "m.text": [{ "body": "Size?" }],
        "m.poll": {
            "kind": "m.undisclosed",
            "max_selections": 1,
            "question": { "m.text": [{ "body": "Size?" }] },
            "answers": [
                { "m.id": "l", "m.text": [{ "body": "large" }] },
                { "m.id": "s", "m.text": [{ "body": "small" }] },
            ],
        },
    });
    let polls = [
        ("org.matrix.msc3381.poll.start", unstable, "pollCreationMessage", "Colour?", (["green", "red"], ["g", "r"])),
        ("m.poll.start", stable, "pollCreationMessageV3", "Size?", (["small", ""], ["s", ""])),
    ];
    for (kind, content, field, name, (chosen, ids)) in polls {
        let event = chat.person().send(&room, kind, &content).await?;
        let item = wait_item(world, &chat, name, |message| message[field]["name"] == name).await?;
        ensure!(item.arrivals == 1, "{item:?}");
        // The poll and its secret are in the database: votes are read by the next process too.
        world.bridge.restart().await?;
        let chosen: Vec<&str> = chosen.into_iter().filter(|text| !text.is_empty()).collect();
        let ids: Vec<String> = ids.into_iter().filter(|id| !id.is_empty()).map(str::to_owned).collect();
        contact_sends_with(world, &chat, vote(&item.id, &chosen), Options::default()).await?;
        let shown = wait_vote(&chat, &event, &ids, None).await?;
        ensure!(world.bridge.slot().is_ghost(&shown.sender), "{} votes", shown.sender);
        contact_sends_with(world, &chat, vote(&item.id, &[]), Options::default()).await?;
        wait_vote(&chat, &event, &[], Some(&shown)).await?;
    }
    Ok(())
}

async fn votes_from_matrix_are_read_by_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (_, poll) = contact_asks(world, &chat, 0).await?;
    let (soup, cake) = (id_of(&poll, "soup")?, id_of(&poll, "cake")?);
    let mut read = Vec::new();
    let first = person_votes(&chat, &poll.id, &[&soup]).await?;
    read.push(wait_read(world, &chat, &["soup"], &read).await?);
    world.bridge.restart().await?;
    let second = person_votes(&chat, &poll.id, &[&soup, &cake]).await?;
    read.push(wait_read(world, &chat, &["soup", "cake"], &read).await?);
    // One vote of a person stands in the room, so that taking it back leaves none.
    wait_event(&chat, "the older vote goes", |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == first.as_str()
    })
    .await?;
    person_votes(&chat, &poll.id, &[]).await?;
    read.push(wait_read(world, &chat, &[], &read).await?);
    let last = person_votes(&chat, &poll.id, &[&cake]).await?;
    read.push(wait_read(world, &chat, &["cake"], &read).await?);
    chat.person().redact(&chat.room()?, &last).await?;
    read.push(wait_read(world, &chat, &[], &read).await?);
    let times: Vec<u64> = read.iter().map(cast_at).collect::<Result<_>>()?;
    ensure!(times.is_sorted_by(|one, other| one < other), "each is later than the one before: {times:?}");
    ensure!(!second.is_empty());
    // What is no answer of the poll is told, and so is what is no poll.
    person_votes(&chat, &poll.id, &["nonsense"]).await?;
    wait_event(&chat, "a word about it", |event| event.body().contains("no answer of this poll")).await?;
    let text = chat.begin("no poll").await?;
    person_votes(&chat, &text.id, &["nonsense"]).await?;
    wait_event(&chat, "a word about that", |event| event.body().contains("is not on WhatsApp")).await?;
    Ok(())
}

fn cast_at(item: &InboxItem) -> Result<u64> {
    let time = &item.message["pollUpdateMessage"]["senderTimestampMs"];
    let text = time.as_str().map(str::to_owned).unwrap_or_else(|| time.to_string());
    text.parse().with_context(|| format!("{time} is no time"))
}

async fn a_person_votes_here_and_on_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    let (soup, bread) = (id_of(&poll, "soup")?, id_of(&poll, "bread")?);
    let here = person_votes(&chat, &poll.id, &[&soup]).await?;
    let first = wait_read(world, &chat, &["soup"], &[]).await?;
    // On the phone: the person's ghost votes, and what they voted here goes.
    let (own, contact) = (chat.login().number.clone(), chat.contact().number.clone());
    let on_phone = async |options: &[&str]| {
        world.phones.simulator().send_kind_with(&own, &contact, vote(&id, options), Options::default()).await
    };
    on_phone(&["bread"]).await?;
    let shown = wait_vote(&chat, &poll.id, &[bread], None).await?;
    ensure!(world.bridge.slot().is_ghost(&shown.sender) && shown.sender != poll.sender, "{} votes", shown.sender);
    wait_event(&chat, "the vote from here goes", |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == here.as_str()
    })
    .await?;
    // And here again: it counts on WhatsApp, and the ghost's is taken back.
    world.bridge.restart().await?;
    person_votes(&chat, &poll.id, &[&soup]).await?;
    let second = wait_read(world, &chat, &["soup"], &[first]).await?;
    let empty = wait_vote(&chat, &poll.id, &[], Some(&shown)).await?;
    ensure!(empty.sender == shown.sender, "{} takes it back", empty.sender);
    let phones: Vec<u64> = world
        .phones
        .inbox(&contact)
        .iter()
        .filter(|item| item.opened == Some(json!({ "vote": ["bread"] })))
        .map(cast_at)
        .collect::<Result<_>>()?;
    ensure!(phones.iter().all(|time| *time < cast_at(&second).unwrap_or(0)), "the last one counts: {phones:?}");
    Ok(())
}

async fn polls_end_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let end = async |poll: &str| {
        let relation = json!({ "rel_type": "m.reference", "event_id": poll });
        let content = json!({
            "m.relates_to": relation,
            "org.matrix.msc3381.poll.end": {},
            "org.matrix.msc1767.text": "Ended poll",
        });
        chat.person().send(&room, "org.matrix.msc3381.poll.end", &content).await
    };
    // The person's own poll.
    let content = json!({
        "org.matrix.msc3381.poll.start": {
            "max_selections": 1,
            "question": { "org.matrix.msc1767.text": "Tea?" },
            "answers": [
                { "id": "y", "org.matrix.msc1767.text": "yes" },
                { "id": "n", "org.matrix.msc1767.text": "no" },
            ],
        },
    });
    let mine = chat.person().send(&room, "org.matrix.msc3381.poll.start", &content).await?;
    let item = wait_item(world, &chat, "the poll", |m| m["pollCreationMessageV3"]["name"] == "Tea?").await?;
    contact_sends_with(world, &chat, vote(&item.id, &["yes"]), Options::default()).await?;
    wait_vote(&chat, &mine, &["y".into()], None).await?;
    person_votes(&chat, &mine, &["y"]).await?;
    wait_read(world, &chat, &["yes"], &[]).await?;
    world.bridge.restart().await?;
    end(&mine).await?;
    let told = wait_item(world, &chat, "the result", |message| {
        let text = message["extendedTextMessage"]["text"].as_str().unwrap_or_default();
        text.contains("yes: 2 votes") && text.contains("no: 0 votes")
    })
    .await?;
    let quoted = &told.message["extendedTextMessage"]["contextInfo"]["stanzaId"];
    ensure!(*quoted == item.id.as_str(), "it answers the poll: {}", told.message);
    person_votes(&chat, &mine, &["n"]).await?;
    wait_event(&chat, "a word about it", |event| event.body().contains("This poll has ended")).await?;
    // The contact's.
    let (id, poll) = {
        let id = contact_sends_with(world, &chat, lunch(1), Options::default()).await?;
        let of_ghost = |event: &Event| is_poll(event) && event.id != mine;
        (id, wait_event(&chat, "the contact's poll", of_ghost).await?)
    };
    end(&poll.id).await?;
    wait_event(&chat, "a word about that", |event| event.body().contains("Only who asked a poll can end it")).await?;
    contact_sends_with(world, &chat, vote(&id, &["soup"]), Options::default()).await?;
    wait_vote(&chat, &poll.id, &[id_of(&poll, "soup")?], None).await?;
    contact_sends_with(world, &chat, Kind::PollEnd { poll: id }, Options::default()).await?;
    let ended = wait_event(&chat, "the end of the contact's poll", |event| {
        event.kind == "org.matrix.msc3381.poll.end" && event.sender == poll.sender
    })
    .await?;
    ensure!(ended.content["m.relates_to"]["event_id"] == poll.id.as_str(), "{}", ended.content);
    let result = ended.content["org.matrix.msc1767.text"].as_str().unwrap_or_default();
    ensure!(result.contains("soup: 1 vote") && result.contains("cake: 0 votes"), "{result}");
    // The own phone's, which is the ghost's on Matrix and the person's on WhatsApp.
    let (own, contact) = (chat.login().number.clone(), chat.contact().number.clone());
    world.phones.simulator().send_kind_with(&own, &contact, lunch(0), Options::default()).await?;
    let of_own = |event: &Event| is_poll(event) && start_of(event)["max_selections"] == 3;
    let poll = wait_event(&chat, "the own phone's poll", of_own).await?;
    end(&poll.id).await?;
    wait_item(world, &chat, "its result", |message| message.to_string().contains("soup: 0 votes")).await?;
    wait_event(&chat, "its end", |event| {
        let about = &event.content["m.relates_to"]["event_id"];
        event.kind == "org.matrix.msc3381.poll.end" && event.sender == poll.sender && *about == poll.id.as_str()
    })
    .await?;
    Ok(())
}

async fn a_poll_ends_when_its_time_is_over(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 5;
    let mut poll = lunch(1);
    if let Kind::Poll { end_time, .. } = &mut poll {
        *end_time = Some(i64::try_from(soon)?);
    }
    let id = contact_sends_with(world, &chat, poll, Options::default()).await?;
    let poll = wait_event(&chat, "the poll", is_poll).await?;
    contact_sends_with(world, &chat, vote(&id, &["bread"]), Options::default()).await?;
    wait_vote(&chat, &poll.id, &[id_of(&poll, "bread")?], None).await?;
    let ended = wait_event(&chat, "its end", |event| event.kind == "org.matrix.msc3381.poll.end").await?;
    ensure!(ended.sender == poll.sender && ended.ts >= soon * 1000, "{} at {}", ended.sender, ended.ts);
    let result = ended.content["org.matrix.msc1767.text"].as_str().unwrap_or_default();
    ensure!(result.contains("bread: 1 vote"), "{result}");
    Ok(())
}

async fn answers_are_added_to_a_poll(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    world.bridge.restart().await?;
    let add = |option: &str| Kind::PollAddOption { poll: id.clone(), option: option.to_owned() };
    contact_sends_with(world, &chat, add("pie"), Options::default()).await?;
    let grown = wait_event(&chat, "the poll with its new answer", |event| {
        let relation = &event.content["m.relates_to"];
        relation["rel_type"] == "m.replace" && relation["event_id"] == poll.id.as_str()
    })
    .await?;
    ensure!(grown.kind == poll.kind && grown.sender == poll.sender, "{} {}", grown.kind, grown.sender);
    let start = &grown.newest_content()["org.matrix.msc3381.poll.start"];
    let texts: Vec<&Value> =
        start["answers"].as_array().into_iter().flatten().map(|answer| &answer["org.matrix.msc1767.text"]).collect();
    ensure!(texts == ["soup", "bread", "cake", "pie"], "{start}");
    let pie = start["answers"][3]["id"].as_str().context("an answer has an id")?.to_owned();
    person_votes(&chat, &poll.id, &[&pie]).await?;
    wait_read_raw(world, &chat).await?;
    // Only who asked may, where the poll does not allow it to everybody.
    let (own, contact) = (chat.login().number.clone(), chat.contact().number.clone());
    world.phones.simulator().send_kind_with(&own, &contact, add("forged"), Options::default()).await?;
    chat.begin("and an honest word").await?;
    world.bridge.wait_idle().await?;
    let history = chat.person().history(&chat.room()?).await?;
    ensure!(!history.iter().any(|event| event.content.to_string().contains("forged")), "anybody adds answers");
    Ok(())
}

async fn a_poll_is_changed_by_who_asked(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    contact_sends_with(world, &chat, vote(&id, &["bread"]), Options::default()).await?;
    let first = wait_vote(&chat, &poll.id, &[id_of(&poll, "bread")?], None).await?;
    let options: Vec<Value> = ["bread", "rice"].iter().map(|name| json!({ "optionName": name })).collect();
    let changed =
        json!({ "pollCreationMessageV3": { "name": "Dinner?", "options": options, "selectableOptionsCount": 1 } });
    let edit = |target: &str| Kind::Sealed {
        target: target.to_owned(),
        purpose: "POLL_EDIT".into(),
        message: changed.clone(),
    };
    contact_sends_with(world, &chat, edit(&id), Options::default()).await?;
    let edited = wait_event(&chat, "the changed poll", |event| {
        let relation = &event.content["m.relates_to"];
        relation["rel_type"] == "m.replace" && relation["event_id"] == poll.id.as_str()
    })
    .await?;
    let start = &edited.newest_content()["org.matrix.msc3381.poll.start"];
    ensure!(start["question"]["body"] == "Dinner?", "{start}");
    ensure!(start["answers"][0]["id"] == id_of(&poll, "bread")?.as_str(), "an answer keeps its votes: {start}");
    let rice = start["answers"][1]["id"].as_str().context("an answer has an id")?.to_owned();
    contact_sends_with(world, &chat, edit(&id), Options::default()).await?;
    person_votes(&chat, &poll.id, &[&rice]).await?;
    wait_read_raw(world, &chat).await?;
    ensure!(!first.id.is_empty());
    // The person's poll is not the contact's to change, though they know its secret.
    let content = json!({
        "org.matrix.msc3381.poll.start": {
            "max_selections": 1,
            "question": { "org.matrix.msc1767.text": "Tea?" },
            "answers": [
                { "id": "y", "org.matrix.msc1767.text": "yes" },
                { "id": "n", "org.matrix.msc1767.text": "no" },
            ],
        },
    });
    let mine = chat.person().send(&chat.room()?, "org.matrix.msc3381.poll.start", &content).await?;
    let item = wait_item(world, &chat, "the poll", |m| m["pollCreationMessageV3"]["name"] == "Tea?").await?;
    contact_sends_with(world, &chat, edit(&item.id), Options::default()).await?;
    contact_sends_with(world, &chat, vote(&item.id, &["yes"]), Options::default()).await?;
    wait_vote(&chat, &mine, &["y".into()], None).await?;
    let history = chat.person().history(&chat.room()?).await?;
    let about = |event: &&Event| event.kind != RESPONSE && event.content.to_string().contains(&mine);
    ensure!(history.iter().find(about).is_none(), "the contact changed the person's poll");
    Ok(())
}

async fn polls_work_with_a_contact_known_by_number_only(world: &mut World) -> Result<()> {
    let (person, login, _) = world.log_in("alice").await?;
    let contact = world.phones.create_account_by_number("bob")?;
    let chat = world.chat(&person, &login, &contact);
    chat.begin("hello, says bob").await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    contact_sends_with(world, &chat, vote(&id, &["soup"]), Options::default()).await?;
    wait_vote(&chat, &poll.id, &[id_of(&poll, "soup")?], None).await?;
    person_votes(&chat, &poll.id, &[&id_of(&poll, "cake")?]).await?;
    wait_read(world, &chat, &["cake"], &[]).await?;
    let (own, contact) = (chat.login().number.clone(), chat.contact().number.clone());
    let bread = vote(&id, &["bread"]);
    world.phones.simulator().send_kind_with(&own, &contact, bread, Options::default()).await?;
    wait_vote(&chat, &poll.id, &[id_of(&poll, "bread")?], None).await?;
    Ok(())
}

/// Waits until the contact's phone has opened a vote; the simulator's phones do not follow added answers, and show the hash.
async fn wait_read_raw(world: &World, chat: &Chat) -> Result<Value> {
    let number = chat.contact().number.clone();
    wait::until("the phone opens a vote", wait::STEP, || async {
        let opened = world.phones.inbox(&number).into_iter().find_map(|item| item.opened);
        Ok(opened.filter(|opened| opened["vote"].as_array().is_some_and(|chosen| chosen.len() == 1)))
    })
    .await
}

async fn nobody_votes_as_somebody_else(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    person_votes(&chat, &poll.id, &[&id_of(&poll, "cake")?]).await?;
    let mine = wait_read(world, &chat, &["cake"], &[]).await?;
    let raw = |message: Value| Kind::Raw { message: Some(message), protobuf: None };
    // The contact says the person's sealed vote again as their own, and seals one with a wrong secret.
    let mut replayed = json!({ "pollUpdateMessage": mine.message["pollUpdateMessage"] });
    replayed["pollUpdateMessage"]["senderTimestampMs"] = json!(4_000_000_000_000_u64);
    let mut forged = replayed.clone();
    forged["pollUpdateMessage"]["vote"]["encPayload"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    // Somebody else names the poll in their own chat.
    let carol = world.chat_with(chat.person(), chat.login(), "carol")?;
    carol.begin("hello, says carol").await?;
    for message in [replayed.clone(), forged] {
        contact_sends_with(world, &chat, raw(message), Options::default()).await?;
    }
    contact_sends_with(world, &carol, raw(replayed), Options::default()).await?;
    // The secret itself is of no use to them there either: the poll is none of that chat's.
    let own = contact_sends_with(world, &carol, lunch(1), Options::default()).await?;
    wait_event(&carol, "carol's poll", is_poll).await?;
    let mut swapped = json!({ "pollUpdateMessage": {} });
    contact_sends_with(world, &carol, vote(&own, &["soup"]), Options::default()).await?;
    let carols = wait_event(&carol, "carol's vote", |event| event.kind == RESPONSE).await?;
    let items = world.phones.inbox(&chat.login().number);
    let sealed = items.iter().rfind(|item| item.message["pollUpdateMessage"].is_object() && !item.from_me);
    swapped["pollUpdateMessage"] =
        sealed.context("the own phone has carol's vote")?.message["pollUpdateMessage"].clone();
    swapped["pollUpdateMessage"]["pollCreationMessageKey"] =
        json!({ "remoteJid": mine.chat, "fromMe": true, "id": id });
    contact_sends_with(world, &chat, raw(swapped), Options::default()).await?;
    ensure!(carols.room != poll.room, "carol has a chat of her own");
    // An honest vote is the first and only one of the contact.
    contact_sends_with(world, &chat, vote(&id, &["soup"]), Options::default()).await?;
    wait_vote(&chat, &poll.id, &[id_of(&poll, "soup")?], None).await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    let history = chat.person().history(&chat.room()?).await?;
    let votes: Vec<&Event> =
        history.iter().filter(|event| event.kind == RESPONSE && event.sender != chat.person().id()).collect();
    ensure!(votes.len() == 1, "{} votes of the contact", votes.len());
    Ok(())
}

async fn a_vote_is_cast_once_whatever_dies(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (id, poll) = contact_asks(world, &chat, 1).await?;
    let soup = id_of(&poll, "soup")?;
    for point in ["from_mx.after_reserve", "from_mx.after_write", "from_mx.after_send"] {
        let before = votes_at(world, &chat);
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=return")).await?;
        person_votes(&chat, &poll.id, &[&soup]).await?;
        world.bridge.wait_exit(wait::STEP).await?;
        world.bridge.start().await?;
        wait_read(world, &chat, &["soup"], &before).await.with_context(|| format!("after dying at {point}"))?;
        world.bridge.wait_idle().await?;
        let new = votes_at(world, &chat).len() - before.len();
        ensure!(new == 1, "{new} votes after dying at {point}");
    }
    let options = [["bread"], ["cake"], ["soup"]];
    for (point, option) in
        ["from_wa.after_store", "from_wa.after_reserve", "from_wa.after_send"].into_iter().zip(options)
    {
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=return")).await?;
        contact_sends_with(world, &chat, vote(&id, &option), Options::default()).await?;
        world.bridge.wait_exit(wait::STEP).await?;
        world.bridge.start().await?;
        wait_vote(&chat, &poll.id, &[id_of(&poll, option[0])?], None).await?;
        world.bridge.wait_idle().await?;
    }
    let history = chat.person().history(&chat.room()?).await?;
    let shown = history.iter().filter(|event| event.kind == RESPONSE && event.sender != chat.person().id()).count();
    ensure!(shown == 3, "{shown} votes of the contact");
    Ok(())
}

fn votes_at(world: &World, chat: &Chat) -> Vec<InboxItem> {
    let mut items = world.phones.inbox(&chat.contact().number);
    items.retain(|item| item.opened.as_ref().is_some_and(|opened| opened["vote"].is_array()));
    items
}
