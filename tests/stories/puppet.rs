//! Double puppets: what somebody writes on their phone comes from their own account, is not sent back, is there once
//! whatever dies, and never stands in somebody else's room.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::client::{self, Client};
use matrix_bed::group::Group;
use matrix_bed::management::Management;
use matrix_bed::person::{Event, Person, Receipt};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Media, Options};

use super::acts::{count, die_at, edits, text, wait_event};

matrix_bed::stories! {
    puppets {
        the_own_phone_speaks_from_the_persons_account
        files_and_polls_of_the_own_phone_come_from_the_person
        a_copy_of_what_a_puppet_said_is_the_persons
        killed_around_what_a_puppet_says
        a_lost_token_is_told_once_and_nothing_is_missing
        what_a_lost_puppet_has_sent_is_not_sent_again
        two_people_never_speak_in_each_others_rooms
        everybody_speaks_for_themselves_in_a_group
        what_is_read_on_the_phone_is_read_in_the_room
        nobody_is_acted_as_who_does_not_want_it
    }
    own {
        a_puppets_words_are_there_once_when_both_servers_die
        the_registration_is_not_loaded
    }
}

const POINTS: [&str; 5] =
    ["puppet.after_mark", "puppet.after_send", "puppet.after_note", "puppet.at_echo", "from_wa.after_send"];

/// Lets the bridge act as everybody.
async fn act_as_people(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "double_puppet": { "automatic": true } }))?;
    world.bridge.restart().await
}

async fn begin(world: &mut World) -> Result<Chat> {
    act_as_people(world).await?;
    world.begin().await
}

/// The own phone sends something to the contact; its id.
async fn own_sends(world: &World, chat: &Chat, kind: Kind) -> Result<String> {
    let (from, to) = (&chat.login().number, &chat.contact().number);
    let ids = world.phones.simulator().send_kind_with(from, to, kind, Options::default()).await?;
    ids.into_iter().next().context("nothing was sent")
}

/// The own phone says something, and it comes from this user.
async fn own_says(chat: &Chat, words: &str, from: &str) -> Result<Event> {
    chat.own_phone_says(words).await?;
    let event = chat.wait_in_room(words).await?;
    ensure!(event.sender == from, "{words:?} comes from {}, not from {from}", event.sender);
    Ok(event)
}

/// Everything the own phone sent is at the contact once, and nothing besides: nothing was bridged back.
async fn nothing_came_back(world: &World, chat: &Chat, sent: usize) -> Result<()> {
    // What was still on its way is in front of this.
    let last = format!("the last word {sent}");
    chat.person_says(&last).await?;
    chat.wait_at_contact(&last).await?;
    world.bridge.wait_idle().await?;
    let items = world.phones.inbox(&chat.contact().number);
    ensure!(items.len() == sent + 1, "{} items for {sent} that were sent: {items:#?}", items.len() - 1);
    Ok(())
}

async fn account_data(person: &Person, kind: &str) -> Result<Value> {
    let path = ["_matrix", "client", "v3", "user", person.id(), "account_data", kind];
    match person.client().get(&path).await {
        Ok(content) => Ok(content),
        Err(error) if client::refusal(&error).is_some_and(|refusal| refusal.errcode == "M_NOT_FOUND") => {
            Ok(Value::Null)
        }
        Err(error) => Err(error),
    }
}

async fn the_own_phone_speaks_from_the_persons_account(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let (alice, room) = (chat.person().id().to_owned(), chat.room()?);
    let theirs = chat.begin("look at this").await?;
    let bob = theirs.sender.clone();
    let first = own_says(&chat, "typed on my phone", &alice).await?;
    // The room is among the person's direct chats, without a client of theirs.
    let direct = account_data(chat.person(), "m.direct").await?;
    ensure!(direct[&bob].as_array().is_some_and(|rooms| rooms.contains(&json!(room))), "{direct}");
    let members = chat.person().members(&room).await?;
    ensure!(
        members.len() == 3,
        "the bot, the person and the contact are there, and no ghost of the person: {members:?}"
    );

    let slip = own_sends(world, &chat, text("typed wiht haste")).await?;
    let shown = wait_event(&chat, "the slip", |event| event.body() == "typed wiht haste").await?;
    let edit = Kind::Edit { target: slip.clone(), text: Some("typed with haste".into()), message: None, secret: false };
    own_sends(world, &chat, edit).await?;
    let edited = wait_event(&chat, "the edit", |event| edits(event, &shown.id)).await?;
    ensure!(edited.sender == alice && edited.newest_content()["body"] == "typed with haste", "{edited:?}");
    own_sends(world, &chat, Kind::Revoke { target: slip }).await?;
    let is_gone = |id: String| move |event: &Event| event.kind == "m.room.redaction" && event.content["redacts"] == id;
    let gone = wait_event(&chat, "the deletion", is_gone(shown.id.clone())).await?;
    ensure!(gone.sender == alice, "{} takes it away", gone.sender);

    let known =
        world.phones.inbox(&chat.login().number).into_iter().find(|item| item.text.as_deref() == Some("look at this"));
    let target = known.context("the own phone has no such message")?.id;
    let mut before: Option<Event> = None;
    for emoji in ["👍", "🎉", ""] {
        own_sends(world, &chat, Kind::Reaction { target: target.clone(), emoji: emoji.into() }).await?;
        if let Some(before) = &before {
            let gone = wait_event(&chat, "the older one goes", is_gone(before.id.clone())).await?;
            ensure!(gone.sender == alice, "{} takes the reaction away", gone.sender);
        }
        if !emoji.is_empty() {
            let is_it = |event: &Event| {
                event.kind == "m.reaction"
                    && event.content["m.relates_to"]["key"].as_str().is_some_and(|key| key.starts_with(emoji))
            };
            let reaction = wait_event(&chat, emoji, is_it).await?;
            ensure!(reaction.sender == alice, "{} reacts", reaction.sender);
            before = Some(reaction);
        }
    }
    // And what was written here is edited and deleted on the phone.
    let mine = chat.person_says("written here").await?;
    let item = chat.wait_at_contact("written here").await?;
    let edit = Kind::Edit { target: item.id.clone(), text: Some("written there".into()), message: None, secret: false };
    own_sends(world, &chat, edit).await?;
    let edited = wait_event(&chat, "the edit of what was written here", |event| edits(event, &mine)).await?;
    ensure!(edited.sender == alice, "{} edits", edited.sender);
    ensure!(first.sender == alice);
    // The contact has: two texts, an edit, a deletion, three reactions; one text of here and its edit.
    nothing_came_back(world, &chat, 9).await
}

async fn files_and_polls_of_the_own_phone_come_from_the_person(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let alice = chat.person().id().to_owned();
    own_sends(world, &chat, Kind::Image(Media::default())).await?;
    let picture = wait_event(&chat, "the picture", |event| event.is_message("m.image")).await?;
    ensure!(picture.sender == alice, "{} shows the picture", picture.sender);
    let url = picture.content["url"].as_str().context("no url")?;
    ensure!(!chat.person().client().download(url).await?.is_empty(), "the picture is there");
    let poll = Kind::Poll {
        name: "tea?".into(),
        options: vec!["yes".into(), "no".into()],
        selectable: Some(1),
        version: None,
        correct: None,
        end_time: None,
    };
    own_sends(world, &chat, poll).await?;
    let poll = wait_event(&chat, "the poll", |event| event.kind.ends_with("poll.start")).await?;
    ensure!(poll.sender == alice, "{} asks", poll.sender);
    nothing_came_back(world, &chat, 2).await
}

async fn a_copy_of_what_a_puppet_said_is_the_persons(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let event = own_says(&chat, "forward me", chat.person().id()).await?;
    world.bridge.wait_idle().await?;
    ensure!(event.content.to_string().contains("org.matrix-whatsapp"), "no mark: this story proves nothing");
    // With everything the event holds, as clients forward.
    let mut content = event.content.clone();
    content["body"] = json!("forwarded by me");
    for _ in 0..2 {
        chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    }
    wait::until("both copies are at the contact", wait::STEP, || async {
        let items = world.phones.inbox(&chat.contact().number);
        let copies = items.iter().filter(|item| item.message.to_string().contains("forwarded by me")).count();
        Ok((copies == 2).then_some(()))
    })
    .await
}

async fn killed_around_what_a_puppet_says(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let (alice, room) = (chat.person().id().to_owned(), chat.room()?);
    own_says(&chat, "at first", &alice).await?;
    let mut sent = 1;
    for point in POINTS {
        let (words, act) = (format!("dies at {point}"), chat.clone());
        let said = words.clone();
        die_at(world, point, async move |_| act.own_phone_says(&said).await.map(drop)).await?;
        let event = chat.wait_in_room(&words).await?;
        ensure!(event.sender == alice, "{} says it", event.sender);
        sent += 1;
        world.bridge.wait_idle().await?;
        chat.check_laws().await.with_context(|| format!("after dying at {point}"))?;
        if point.starts_with("from_wa") {
            continue;
        }
        // Deletions have no row of their own.
        let target = own_sends(world, &chat, text(&format!("to go at {point}"))).await?;
        let shown = wait_event(&chat, "what is to go", |event| event.body() == format!("to go at {point}")).await?;
        world.bridge.wait_idle().await?;
        let act = chat.clone();
        die_at(world, point, async move |world| own_sends(world, &act, Kind::Revoke { target }).await.map(drop))
            .await?;
        sent += 2;
        wait_event(&chat, "the deletion", |event| {
            event.kind == "m.room.redaction" && event.content["redacts"] == shown.id.as_str()
        })
        .await?;
        world.bridge.wait_idle().await?;
        let gone =
            count(&chat, |event| event.kind == "m.room.redaction" && event.content["redacts"] == shown.id.as_str());
        ensure!(gone.await? == 1, "one deletion in {room}");
    }
    nothing_came_back(world, &chat, sent).await
}

async fn a_puppets_words_are_there_once_when_both_servers_die(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let alice = chat.person().id().to_owned();
    own_says(&chat, "at first", &alice).await?;
    for number in 0..3 {
        let words = format!("both die {number}");
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points("puppet.after_send=1*return").await?;
        chat.own_phone_says(&words).await?;
        world.bridge.wait_exit(wait::STEP).await?;
        // What it remembered in its memory is gone.
        world.synapse.kill().await?;
        world.synapse.start_again().await?;
        world.bridge.start().await?;
        let event = chat.wait_in_room(&words).await?;
        ensure!(event.sender == alice, "{} says it", event.sender);
    }
    world.bridge.wait_idle().await?;
    nothing_came_back(world, &chat, 4).await
}

/// A further session of a person: its token and a client with it.
async fn session(world: &World, person: &Person) -> Result<(String, Client)> {
    let path = ["_matrix", "client", "v3", "login"];
    let body = json!({ "type": "m.login.password", "password": person.password(),
        "identifier": { "type": "m.id.user", "user": person.id() } });
    let answer = person.client().post(&path, &body).await?;
    let token = answer["access_token"].as_str().context("no token")?.to_owned();
    let client = Client::new(client::http(), &world.synapse.url(), &token)?;
    Ok((token, client))
}

async fn log_out(session: &Client) -> Result<()> {
    session.post(&["_matrix", "client", "v3", "logout"], &json!({})).await.map(drop)
}

/// Somebody who gave a token of their own, and a chat of theirs.
async fn begin_with_token(world: &mut World) -> Result<(Chat, Management, Client)> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    let ghost = {
        chat.own_phone_says("before").await?;
        chat.wait_in_room("before").await?.sender
    };
    ensure!(world.bridge.slot().is_ghost(&ghost), "nobody is acted as unasked here: {ghost}");
    let (token, session) = session(world, &alice).await?;
    management.ask(&format!("login-matrix {token}"), "I act as you").await?;
    let token_is_gone = |event: &Event| event.kind == "m.room.redaction" && event.room == management.room();
    alice.wait_event("the message with the token goes", wait::STEP, token_is_gone).await?;
    management.ask("ping-matrix", "takes the token").await?;
    own_says(&chat, "by a token", alice.id()).await?;
    world.bridge.restart().await?;
    own_says(&chat, "by a token after a start", alice.id()).await?;
    // Nothing is left over for the next start.
    world.bridge.wait_idle().await?;
    Ok((chat, management, session))
}

fn told_of_loss(management: &Management) -> usize {
    let events = management.person().events(management.room());
    events.iter().filter(|event| event.body().contains("does not let me act as you any more")).count()
}

async fn a_lost_token_is_told_once_and_nothing_is_missing(world: &mut World) -> Result<()> {
    let (chat, management, session) = begin_with_token(world).await?;
    log_out(&session).await?;
    for number in 0..3 {
        chat.own_phone_says(&format!("after the loss {number}")).await?;
        let event = chat.wait_in_room(&format!("after the loss {number}")).await?;
        ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
    }
    management.wait_notice("the loss is told", |event| event.body().contains("does not let me act as you")).await?;
    world.bridge.restart().await?;
    chat.own_phone_says("after a start").await?;
    chat.wait_in_room("after a start").await?;
    management.ask("ping-matrix", "refuses the token").await?;
    ensure!(told_of_loss(&management) == 1, "told {} times", told_of_loss(&management));
    // Bad tokens and those of others are no good.
    management.ask("login-matrix nonsense", "does not take this token").await?;
    let mallory = world.person("mallory").await?;
    let (token, _) = self::session(world, &mallory).await?;
    management.ask(&format!("login-matrix {token}"), "another user's token").await?;
    // A new one is.
    let (token, _) = self::session(world, chat.person()).await?;
    management.ask(&format!("login-matrix {token}"), "I act as you").await?;
    own_says(&chat, "by a new token", chat.person().id()).await?;
    management.ask("logout-matrix", "don't act as you any more").await?;
    chat.own_phone_says("logged out").await?;
    let event = chat.wait_in_room("logged out").await?;
    ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
    let stored = std::fs::read(world.folder().path().join("bridge.log"))?;
    ensure!(!String::from_utf8_lossy(&stored).contains(&token), "the token is in the log");
    Ok(())
}

async fn what_a_lost_puppet_has_sent_is_not_sent_again(world: &mut World) -> Result<()> {
    for (point, is_there) in [("puppet.after_send", true), ("puppet.after_mark", false)] {
        let (chat, _, session) = begin_with_token(world).await?;
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=1*return")).await?;
        chat.own_phone_says("the last by the puppet").await?;
        world.bridge.wait_exit(wait::STEP).await?;
        log_out(&session).await?;
        world.bridge.start().await?;
        let event = chat.wait_in_room("the last by the puppet").await?;
        ensure!((event.sender == chat.person().id()) == is_there, "{point}: {} says it", event.sender);
        chat.own_phone_says("the first by the ghost").await?;
        let event = chat.wait_in_room("the first by the ghost").await?;
        ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
        world.bridge.wait_idle().await?;
        chat.check_laws().await.with_context(|| format!("after dying at {point}"))?;
    }
    Ok(())
}

async fn two_people_never_speak_in_each_others_rooms(world: &mut World) -> Result<()> {
    act_as_people(world).await?;
    let (alice, alices, _) = world.log_in("alice").await?;
    let (bob, bobs, _) = world.log_in("bob").await?;
    let (at_alice, at_bob) = (world.chat(&alice, &alices, &bobs), world.chat(&bob, &bobs, &alices));
    // The phones of both talk; each hears it in their own room.
    for round in 0..2 {
        for (from, to, words) in [(&at_alice, &at_bob, "alice types"), (&at_bob, &at_alice, "bob types")] {
            let words = format!("{words} {round}");
            from.own_phone_says(&words).await?;
            let own = from.wait_in_room(&words).await?;
            ensure!(own.sender == from.person().id(), "{words:?} in the own room is from {}", own.sender);
            let there = to.person().wait_event("the word at the other one", wait::STEP, |event| {
                event.body() == words && event.room != own.room
            });
            let there = there.await?;
            ensure!(
                world.bridge.slot().is_ghost(&there.sender),
                "{words:?} in the other room is from {}",
                there.sender
            );
        }
        world.bridge.restart().await?;
    }
    let (alices_room, bobs_room) = (at_alice.room()?, at_bob.room()?);
    ensure!(alices_room != bobs_room);
    for (room, owner, stranger) in [(&alices_room, &alice, &bob), (&bobs_room, &bob, &alice)] {
        let members = owner.members(room).await?;
        ensure!(!members.iter().any(|member| member == stranger.id()), "{members:?}");
        let history = owner.history(room).await?;
        ensure!(!history.iter().any(|event| event.sender == stranger.id()), "{} acts in {room}", stranger.id());
        ensure!(history.iter().filter(|event| event.body().contains("types")).count() == 4, "each once");
    }
    Ok(())
}

async fn everybody_speaks_for_themselves_in_a_group(world: &mut World) -> Result<()> {
    act_as_people(world).await?;
    let bob = world.phones.create_account("bob")?;
    let (alice, alices, _) = world.log_in("alice").await?;
    let (dora, doras, managing) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "Together", &[&alices, &doras])?;
    let room = group.room_of(&alice).await?;
    ensure!(group.room_of(&dora).await? == room, "two rooms");
    // Whichever login hears it first.
    for round in 0..3 {
        for (person, account) in [(&alice, &alices), (&dora, &doras)] {
            let words = format!("{} types {round}", account.name);
            group.phone_says(account, &words).await?;
            let event = group.wait_in_room(&alice, &words).await?;
            ensure!(event.sender == person.id(), "{words:?} comes from {}", event.sender);
        }
    }
    // An admin deletes what Alice said: it was not her.
    let slip = group.phone_says(&alices, "alice slips").await?;
    let shown = group.wait_in_room(&alice, "alice slips").await?;
    let simulator = world.phones.simulator();
    simulator.send_kind(&bob.number, &group.jid, Kind::Revoke { target: slip }).await?;
    let gone = alice.wait_event("the deletion", wait::STEP, |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == shown.id.as_str()
    });
    ensure!(gone.await?.sender != alice.id(), "she did not take it away");
    managing.ask("logout-matrix", "don't act as you any more").await?;
    group.phone_says(&doras, "dora as a ghost").await?;
    let event = group.wait_in_room(&alice, "dora as a ghost").await?;
    ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
    // Who leaves the group is taken out of its room, and heard of there no more.
    world.phones.simulator().change_participants(&bob.number, &group.jid, "remove", &[&alices.number])?;
    dora.wait_member(&room, alice.id(), "leave").await?;
    group.phone_says(&bob, "alice is gone").await?;
    group.wait_in_room(&dora, "alice is gone").await?;
    world.bridge.wait_idle().await?;
    // Nothing of the own phones was sent back to the group.
    let items = group.items(&bob);
    let typed = items.iter().filter(|item| item.text.as_deref().is_some_and(|text| text.contains("types"))).count();
    ensure!(typed == 6, "{typed} of 6: {items:#?}");
    ensure!(!dora.members(&room).await?.iter().any(|member| member == alice.id()));
    Ok(())
}

/// Waits until the person themselves has read up to an event.
async fn wait_own_read(person: &Person, room: &str, event: &Event) -> Result<()> {
    let read = |receipt: &Receipt| receipt.event == event.id && receipt.user == person.id() && receipt.room == room;
    person.wait_receipt("the room is read", wait::STEP, read).await.map(drop)
}

async fn what_is_read_on_the_phone_is_read_in_the_room(world: &mut World) -> Result<()> {
    let chat = begin(world).await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let (login, bob) = (chat.login().clone(), chat.contact().clone());
    chat.begin("not opened by itself").await?;
    let id = chat.contact_says("opened on the phone").await?;
    let event = chat.wait_in_room("opened on the phone").await?;
    world.phones.simulator().mark_read(&login.number, &bob.number, std::slice::from_ref(&id)).await?;
    wait_own_read(&alice, &room, &event).await?;
    let path = ["_matrix", "client", "v3", "user", alice.id(), "rooms", &room, "account_data", "m.fully_read"];
    // The homeserver sets it behind the receipt.
    wait::until("it is read fully", wait::STEP, || async {
        let fully = alice.client().get(&path).await.unwrap_or_default();
        Ok((fully["event_id"] == event.id.as_str()).then_some(()))
    })
    .await?;
    // In a group each for themselves.
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "Together", &[&login, &doras])?;
    let shared = group.room_of(&alice).await?;
    group.room_of(&dora).await?;
    let id = group.phone_says(&bob, "read by dora").await?;
    let event = group.wait_in_room(&dora, "read by dora").await?;
    let item = group.wait_at(&doras, "read by dora").await?;
    ensure!(item.id == id);
    world.phones.read(&doras.number, &item).await?;
    wait_own_read(&dora, &shared, &event).await?;
    world.bridge.wait_idle().await?;
    let history = alice.client().get(&["_matrix", "client", "v3", "rooms", &shared, "joined_members"]).await?;
    ensure!(history["joined"][alice.id()].is_object(), "Alice is in the group");
    let path = ["_matrix", "client", "v3", "user", alice.id(), "rooms", &shared, "account_data", "m.fully_read"];
    let fully = alice.client().get(&path).await.unwrap_or_default();
    ensure!(fully["event_id"] != event.id.as_str(), "Dora's reading is not Alice's");
    // What the mark brings back to the bridge is not reported by it: the phone has done that.
    let receipts = world.phones.receipts(&bob.number);
    let by_bridge = receipts.iter().filter(|receipt| receipt.kind == "read" && receipt.device > 0).count();
    ensure!(by_bridge == 0, "{receipts:#?}");
    Ok(())
}

async fn nobody_is_acted_as_who_does_not_want_it(world: &mut World) -> Result<()> {
    act_as_people(world).await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    own_says(&chat, "wanted", alice.id()).await?;
    management.ask("logout-matrix", "don't act as you any more").await?;
    for round in ["", ", after a start"] {
        let words = format!("not wanted{round}");
        chat.own_phone_says(&words).await?;
        let event = chat.wait_in_room(&words).await?;
        ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
        world.bridge.restart().await?;
    }
    management.ask("ping-matrix", "turned it off").await?;
    management.ask("login-matrix", "I act as you").await?;
    own_says(&chat, "wanted again", alice.id()).await?;
    // Who may not log in may not be acted as.
    world.bridge.reconfigure(&json!({ "bridge": { "permissions": { alice.id(): "commands" } } }))?;
    world.bridge.restart().await?;
    management.ask("login-matrix", "may not use this command").await?;
    chat.own_phone_says("no longer allowed").await?;
    let event = chat.wait_in_room("no longer allowed").await?;
    ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
    Ok(())
}

async fn the_registration_is_not_loaded(world: &mut World) -> Result<()> {
    let path = world.synapse.folder().path().join("homeserver.yaml");
    let all = std::fs::read_to_string(&path)?;
    let load = |with_puppets: bool| -> Result<()> {
        let mut settings: Value = serde_json::from_str(&all)?;
        let files = settings["app_service_config_files"].as_array_mut().context("no registrations")?;
        files.retain(|file| with_puppets || !file.to_string().contains("doublepuppet"));
        Ok(std::fs::write(&path, settings.to_string())?)
    };
    let restart = async |world: &mut World| -> Result<()> {
        world.synapse.stop().await?;
        world.synapse.start_again().await
    };
    act_as_people(world).await?;
    load(false)?;
    restart(world).await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    chat.own_phone_says("without").await?;
    let event = chat.wait_in_room("without").await?;
    ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
    management.ask("login-matrix", "registration is not loaded").await?;
    load(true)?;
    restart(world).await?;
    management.ask("login-matrix", "I act as you").await?;
    own_says(&chat, "with", alice.id()).await?;
    // Gone again, in the middle of the run: told once, and nothing is missing.
    load(false)?;
    restart(world).await?;
    chat.own_phone_says("without again").await?;
    let event = chat.wait_in_room_for("without again", Duration::from_secs(60)).await?;
    ensure!(world.bridge.slot().is_ghost(&event.sender), "{} says it", event.sender);
    management.wait_notice("the loss is told", |event| event.body().contains("does not let me act as you")).await?;
    ensure!(told_of_loss(&management) == 1, "told {} times", told_of_loss(&management));
    Ok(())
}
