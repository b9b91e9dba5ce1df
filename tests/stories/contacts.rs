//! Names and pictures: whose they are, who sees them, and what happens when they change.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::person::Person;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::Value;

matrix_bed::stories! {
    shared {
        an_address_book_names_its_owners_rooms_only
        names_that_were_heard_while_the_bridge_was_down
        a_picture_comes_changes_and_goes
        a_business_has_its_name_as_long_as_it_is_one
        a_contact_with_a_new_number_is_the_same_person
        an_about_text_is_told_to_who_asks
    }
}

async fn wait_room_name(person: &Person, room: &str, name: &str) -> Result<()> {
    wait::until(&format!("the room is called {name:?}"), wait::STEP, || async {
        let state = person.find_state(room, "m.room.name", "").await?.unwrap_or_default();
        Ok((state["name"] == name).then_some(()))
    })
    .await
}

/// A user's profile as a room has it: its homeserver tells each change to every room the user is in.
async fn profile(person: &Person, room: &str, user: &str) -> Result<Value> {
    Ok(person.find_state(room, "m.room.member", user).await?.unwrap_or_default())
}

/// Every name the ghost ever had in a room, and every name of the room.
async fn names_ever(person: &Person, room: &str) -> Result<Vec<String>> {
    let events = person.history(room).await?;
    let named = events.iter().filter(|event| matches!(event.kind.as_str(), "m.room.member" | "m.room.name"));
    let text = |event: &matrix_bed::person::Event, key: &str| event.content[key].as_str().map(str::to_owned);
    Ok(named.filter_map(|event| text(event, "displayname").or_else(|| text(event, "name"))).collect())
}

async fn an_address_book_names_its_owners_rooms_only(world: &mut World) -> Result<()> {
    let (alice, hers, _) = world.log_in("alice").await?;
    let (bob, his, _) = world.log_in("bob").await?;
    let carol = world.phones.create_account("carol")?;
    world.phones.save_contact(&hers.number, &carol, "Aunt Carol")?;
    wait::until("the address book is here", wait::STEP, || async {
        let known = world.database.number("SELECT COUNT(*) FROM contact").await?;
        Ok((known > 0).then_some(()))
    })
    .await?;
    let (at_alice, at_bob) = (world.chat(&alice, &hers, &carol), world.chat(&bob, &his, &carol));
    let ghost = at_alice.begin("hello alice").await?.sender;
    ensure!(at_bob.begin("hello bob").await?.sender == ghost, "one person, one ghost");
    let (her_room, his_room) = (at_alice.room()?, at_bob.room()?);
    wait_room_name(&alice, &her_room, "Aunt Carol").await?;
    let own = profile(&alice, &her_room, &ghost).await?["displayname"].as_str().context("a name")?.to_owned();
    ensure!(own.contains("carol"), "the ghost has her own name: {own}");
    wait_room_name(&bob, &his_room, &own).await?;

    // Each may call her what they like, in turn, and change it.
    world.phones.save_contact(&his.number, &carol, "Carol from work")?;
    wait_room_name(&bob, &his_room, "Carol from work").await?;
    world.phones.save_contact(&hers.number, &carol, "Dear Aunt")?;
    wait_room_name(&alice, &her_room, "Dear Aunt").await?;
    at_alice.begin("still carol").await?;
    at_bob.begin("still carol, too").await?;
    ensure!(profile(&bob, &his_room, &ghost).await?["displayname"] == own.as_str(), "the ghost's name does not follow");
    // An empty entry is none.
    world.phones.save_contact(&hers.number, &carol, "")?;
    wait_room_name(&alice, &her_room, &own).await?;
    for (person, room, others) in [(&alice, &her_room, vec!["work"]), (&bob, &his_room, vec!["Aunt"])] {
        let names = names_ever(person, room).await?;
        let leaked = names.iter().find(|name| others.iter().any(|other| name.contains(other)));
        ensure!(leaked.is_none(), "{} learns what somebody else calls her: {names:?}", person.name());
    }
    Ok(())
}

async fn names_that_were_heard_while_the_bridge_was_down(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    world.bridge.kill9()?;
    world.phones.save_contact(&chat.login().number, chat.contact(), "Bob the builder")?;
    world.bridge.start().await?;
    wait_room_name(chat.person(), &room, "Bob the builder").await
}

/// The first bytes of a JPEG, and others behind them: nobody decodes profile pictures.
fn jpeg(tail: &[u8]) -> Vec<u8> {
    [&[0xFF, 0xD8, 0xFF, 0xE0, 0, 0x10][..], b"JFIF\0", tail].concat()
}

/// Begins a chat in which both have spoken: WhatsApp tells of a person's changes to those who have asked for them.
async fn begin(world: &mut World) -> Result<(Chat, String)> {
    let chat = world.begin().await?;
    let ghost = chat.wait_in_room("hello, says bob").await?.sender;
    chat.person_says("hello bob").await?;
    chat.wait_at_contact("hello bob").await?;
    Ok((chat, ghost))
}

async fn wait_picture(chat: &Chat, ghost: &str, what: &str, wanted: Option<&[u8]>) -> Result<()> {
    wait::until(what, wait::STEP, || async {
        let shown =
            profile(chat.person(), &chat.room()?, ghost).await?["avatar_url"].as_str().unwrap_or_default().to_owned();
        let is_shown = match wanted {
            Some(bytes) if !shown.is_empty() => chat.person().client().download(&shown).await? == bytes,
            Some(_) => false,
            None => shown.is_empty(),
        };
        Ok(is_shown.then_some(()))
    })
    .await
}

async fn a_picture_comes_changes_and_goes(world: &mut World) -> Result<()> {
    let (chat, ghost) = begin(world).await?;
    let (simulator, bob) = (world.phones.simulator().clone(), chat.contact().number.clone());
    simulator.set_picture(&bob, Some(jpeg(b"first")))?;
    wait_picture(&chat, &ghost, "the first picture", Some(&jpeg(b"first"))).await?;
    simulator.set_picture(&bob, Some(jpeg(b"second")))?;
    wait_picture(&chat, &ghost, "the second picture", Some(&jpeg(b"second"))).await?;
    // What changes while nobody listens is told later.
    world.bridge.stop().await?;
    simulator.set_picture(&bob, None)?;
    world.bridge.start().await?;
    wait_picture(&chat, &ghost, "no picture", None).await
}

async fn a_business_has_its_name_as_long_as_it_is_one(world: &mut World) -> Result<()> {
    let (chat, ghost) = begin(world).await?;
    let (room, bob) = (chat.room()?, chat.contact().number.clone());
    let name = async || -> Result<String> {
        Ok(profile(chat.person(), &room, &ghost).await?["displayname"].as_str().unwrap_or_default().to_owned())
    };
    let own = name().await?;
    let simulator = world.phones.simulator().clone();
    simulator.set_business_name(&bob, Some("Bob's Bricks"))?;
    wait::until("the ghost has the business name", wait::STEP, || async {
        Ok(name().await?.contains("Bob's Bricks").then_some(()))
    })
    .await?;
    wait_room_name(chat.person(), &room, &name().await?).await?;
    simulator.set_business_name(&bob, None)?;
    // The own name comes with a message; the look for the business may still be on its way.
    let mut count = 0;
    wait::until("the ghost has its own name again", wait::STEP, || {
        count += 1;
        let (chat, own, name) = (&chat, &own, &name);
        async move {
            chat.begin(&format!("only bob again {count}")).await?;
            Ok((name().await? == *own).then_some(()))
        }
    })
    .await
}

async fn a_contact_with_a_new_number_is_the_same_person(world: &mut World) -> Result<()> {
    let (chat, ghost) = begin(world).await?;
    let room = chat.room()?;
    let moved = world.chat_with(chat.person(), chat.login(), "bob")?;
    world.phones.simulator().tell_number_change(&chat.contact().number, &moved.contact().number)?;
    let lid = &moved.contact().lid;
    wait::until("the chat goes by the new id", wait::STEP, || async {
        let query = format!("SELECT COUNT(*) FROM portal WHERE chat = '{lid}@lid'");
        Ok((world.database.number(&query).await? == 1).then_some(()))
    })
    .await?;
    let first = moved.begin("my new number").await?;
    ensure!((&first.room, &first.sender) == (&room, &ghost), "{first:?} is not in {room} by {ghost}");
    moved.person_says("to the new number").await?;
    moved.wait_at_contact("to the new number").await?;
    world.bridge.restart().await?;
    let later = moved.begin("still me").await?;
    ensure!((&later.room, &later.sender) == (&room, &ghost), "{later:?} is not in {room} by {ghost}");
    Ok(())
}

async fn an_about_text_is_told_to_who_asks(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room, bob) = (chat.person().clone(), chat.room()?, chat.contact().number.clone());
    world.phones.simulator().set_about(&bob, "gone fishing")?;
    alice.send_text(&room, "!wa about").await?;
    let told = alice.wait_text(&room, "About: gone fishing").await?;
    ensure!(told.body().contains(&format!("Number: +{bob}")), "{}", told.body());
    world.phones.simulator().set_privacy(&bob, "status", "none")?;
    alice.send_text(&room, "!wa about").await?;
    alice.wait_text(&room, "nothing that you may see").await.map(drop)
}
