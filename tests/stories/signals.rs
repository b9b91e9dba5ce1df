//! What is shown for a while: who types, who is there; and what was read where.

use std::time::Duration;

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::phones::{Account, Phones};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::Action;

use crate::people::bring_stranger;

matrix_bed::stories! {
    shared {
        a_contacts_typing_is_shown_and_ends
        the_owners_typing_is_shown_and_ends
        what_was_read_on_the_phone_is_not_reported_again
        a_voice_message_that_was_played_was_read
        hidden_read_receipts_stay_hidden
        in_a_group_authors_hear_who_read_them
        two_logins_in_a_group_read_each_for_itself
        in_a_group_typing_is_shown_both_ways
    }
    own {
        who_is_online_is_shown_both_ways_when_it_is_shared
    }
}

/// Shorter than typing lasts by itself.
const SOON: Duration = Duration::from_secs(12);

async fn a_contacts_typing_is_shown_and_ends(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let (login, bob) = (chat.login().number.clone(), chat.contact().number.clone());
    let ghost = chat.wait_in_room("hello, says bob").await?.sender;
    // Somebody without a room is shown nowhere, and gets no room by typing.
    let dora = world.phones.create_account("dora")?;
    world.phones.show(&dora.number, &login, "composing")?;
    world.phones.show(&bob, &login, "composing")?;
    alice.wait_typing(&room, &ghost, true, 0, wait::STEP).await?;
    let before = alice.typing_told(&room);
    world.phones.show(&bob, &login, "paused")?;
    alice.wait_typing(&room, &ghost, false, before, SOON).await?;
    let before = alice.typing_told(&room);
    world.phones.show(&bob, &login, "recording")?;
    alice.wait_typing(&room, &ghost, true, before, wait::STEP).await?;
    // What is said ends it, too.
    let before = alice.typing_told(&room);
    chat.contact_says("that was it").await?;
    chat.wait_in_room("that was it").await?;
    alice.wait_typing(&room, &ghost, false, before, SOON).await?;
    let rooms = world.database.number("SELECT COUNT(*) FROM portal").await?;
    ensure!(rooms == 1, "typing made a chat: {rooms}");
    Ok(())
}

/// Waits until the contact's phone was shown these states of the login, in this order, whatever else.
async fn wait_shown(phones: &Phones, chat: &Chat, states: &[&str]) -> Result<()> {
    let (number, other) = (&chat.contact().number, &chat.login().number);
    let what = format!("the contact's phone is shown {states:?}");
    wait::until(&what, wait::STEP, || async {
        let shown = phones.shown(number, other);
        let mut shown = shown.iter();
        Ok(states.iter().all(|state| shown.any(|one| one == state)).then_some(()))
    })
    .await
}

async fn the_owners_typing_is_shown_and_ends(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    // A stranger's typing is nobody's.
    let mallory = bring_stranger(world, &chat).await?;
    mallory.type_in(&room, Some(Duration::from_secs(30))).await?;
    alice.wait_typing(&room, mallory.id(), true, 0, wait::STEP).await?;
    mallory.type_in(&room, None).await?;
    ensure!(world.phones.shown(&chat.contact().number, &chat.login().number).is_empty(), "mallory types as alice");
    // WhatsApp forgets it soon, so it is said again while it lasts.
    alice.type_in(&room, Some(Duration::from_secs(60))).await?;
    wait_shown(&world.phones, &chat, &["composing", "composing"]).await?;
    alice.type_in(&room, None).await?;
    wait_shown(&world.phones, &chat, &["composing", "composing", "paused"]).await?;
    chat.person_says("typed").await?;
    chat.wait_at_contact("typed").await?;
    alice.type_in(&room, Some(Duration::from_secs(60))).await?;
    wait_shown(&world.phones, &chat, &["paused", "composing"]).await
}

/// Waits until the bridge has noted a message as read.
async fn wait_noted(world: &World, id: &str) -> Result<()> {
    let query = format!("SELECT COUNT(*) FROM message WHERE wa_id = '{id}' AND read_at > 0");
    let what = "the bridge notes what was read on the phone";
    wait::until(what, wait::STEP, || async { Ok((world.database.number(&query).await? > 0).then_some(())) }).await
}

async fn what_was_read_on_the_phone_is_not_reported_again(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let (login, bob) = (chat.login().number.clone(), chat.contact().number.clone());
    let read = chat.contact_says("read on the phone").await?;
    chat.wait_in_room("read on the phone").await?;
    world.phones.simulator().mark_read(&login, &bob, std::slice::from_ref(&read)).await?;
    wait_noted(world, &read).await?;
    let marked = chat.contact_says("the chat is marked as read").await?;
    chat.wait_in_room("the chat is marked as read").await?;
    world.phones.simulator().act(&login, &Action::MarkRead { chat: bob.clone(), read: true })?;
    wait_noted(world, &marked).await?;
    let played = chat.contact_says("played on the phone").await?;
    chat.wait_in_room("played on the phone").await?;
    world.phones.play(&login, &bob, &played).await?;
    wait_noted(world, &played).await?;
    let here = chat.contact_says("read here").await?;
    let event = chat.wait_in_room("read here").await?;
    alice.read_up_to(&room, &event.id).await?;
    let by_bridge = || {
        let receipts = world.phones.receipts(&bob);
        receipts
            .into_iter()
            .filter(|receipt| receipt.kind == "read" && receipt.device > 0)
            .flat_map(|receipt| receipt.ids)
    };
    wait::until("the contact's phone shows it as read", wait::STEP, || async {
        Ok(by_bridge().any(|id| id == here).then_some(()))
    })
    .await?;
    let again: Vec<String> = by_bridge().filter(|id| [&read, &marked, &played].contains(&id)).collect();
    ensure!(again.is_empty(), "reported again: {again:?}");
    Ok(())
}

async fn a_voice_message_that_was_played_was_read(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let sent = chat.person_says("as if it were a voice").await?;
    let item = chat.wait_at_contact("as if it were a voice").await?;
    world.phones.play(&chat.contact().number, &item.chat, &item.id).await?;
    let is_theirs = |user: &str| world.bridge.slot().is_ghost(user);
    let read = alice.wait_receipt("the contact has played it", wait::STEP, |receipt| {
        receipt.room == room && receipt.event == sent && is_theirs(&receipt.user)
    });
    read.await.map(drop)
}

async fn hidden_read_receipts_stay_hidden(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    world.phones.simulator().set_privacy(&account.number, "readreceipts", "none")?;
    let management = world.management(&alice).await?;
    management.login_by_qr(&world.phones, &account).await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    let event = chat.begin("who reads this?").await?;
    let id = chat.contact_says("and this?").await?;
    chat.wait_in_room("and this?").await?;
    alice.read_up_to(&event.room, &chat.wait_in_room("and this?").await?.id).await?;
    let has = |number: &str, kind: &str| {
        world.phones.receipts(number).iter().any(|receipt| receipt.kind == kind && receipt.ids.contains(&id))
    };
    wait::until("the own phone knows that it was read", wait::STEP, || async {
        Ok(has(&account.number, "read-self").then_some(()))
    })
    .await?;
    ensure!(!has(&chat.contact().number, "read"), "the contact was told");
    Ok(())
}

/// The messages of which an author's phone heard from `reader`'s bridge that they were read.
fn heard_read(world: &World, author: &Account, reader: &Account) -> Vec<String> {
    let receipts = world.phones.receipts(&author.number).into_iter();
    let by_bridge =
        receipts.filter(|receipt| receipt.kind == "read" && receipt.device > 0 && receipt.from == reader.number);
    by_bridge.flat_map(|receipt| receipt.ids).collect()
}

async fn wait_heard_read(world: &World, author: &Account, reader: &Account, id: &str) -> Result<()> {
    let what = format!("{} hears that {} has read", author.name, reader.name);
    wait::until(&what, wait::STEP, || async {
        Ok(heard_read(world, author, reader).iter().any(|heard| heard == id).then_some(()))
    })
    .await
}

async fn in_a_group_authors_hear_who_read_them(world: &mut World) -> Result<()> {
    let (bob, carol) = (world.phones.create_account("bob")?, world.phones.create_account("carol")?);
    let (alice, hers, _) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &bob, "Readers", &[&hers, &carol])?;
    let room = group.room_of(&alice).await?;
    let at_bobs = group.phone_says(&bob, "bob's first").await?;
    group.wait_in_room(&alice, "bob's first").await?;
    world.phones.simulator().mark_read(&hers.number, &group.jid, std::slice::from_ref(&at_bobs)).await?;
    wait_noted(world, &at_bobs).await?;
    let by_bob = group.phone_says(&bob, "bob's second").await?;
    group.wait_in_room(&alice, "bob's second").await?;
    let by_carol = group.phone_says(&carol, "carol's").await?;
    let last = group.wait_in_room(&alice, "carol's").await?;
    alice.read_up_to(&room, &last.id).await?;
    wait_heard_read(world, &bob, &hers, &by_bob).await?;
    wait_heard_read(world, &carol, &hers, &by_carol).await?;
    // To each their own, and nothing that was read on the phone.
    let (bobs, carols) = (heard_read(world, &bob, &hers), heard_read(world, &carol, &hers));
    ensure!(bobs == [by_bob] && carols == [by_carol], "bob heard of {bobs:?}, carol of {carols:?}");

    // And the other way: each reader's mark is their ghost's.
    let said = group.person_says(&alice, &hers, "read me, all of you").await?;
    for friend in [&bob, &carol] {
        let item = group.wait_at(friend, "read me, all of you").await?;
        world.phones.simulator().mark_read(&friend.number, &group.jid, std::slice::from_ref(&item.id)).await?;
        let ghost = world.bridge.slot().ghost(&format!("lid-{}", friend.lid));
        let what = format!("{} has read it", friend.name);
        let read = alice.wait_receipt(&what, wait::STEP, |receipt| {
            (&receipt.room, &receipt.event, &receipt.user) == (&room, &said, &ghost)
        });
        read.await?;
    }
    group.check_laws(&[&alice], &[&bob, &carol]).await
}

async fn two_logins_in_a_group_read_each_for_itself(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, hers, _) = world.log_in("alice").await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "Two of ours", &[&hers, &doras])?;
    let room = group.room_of(&alice).await?;
    group.room_of(&dora).await?;
    let id = group.phone_says(&bob, "who reads this?").await?;
    let event = group.wait_in_room(&alice, "who reads this?").await?;
    group.wait_in_room(&dora, "who reads this?").await?;
    alice.read_up_to(&room, &event.id).await?;
    wait_heard_read(world, &bob, &hers, &id).await?;
    ensure!(heard_read(world, &bob, &doras).is_empty(), "dora has read nothing");
    dora.read_up_to(&room, &event.id).await?;
    wait_heard_read(world, &bob, &doras, &id).await?;
    // What one of them says is read by the other as anybody's, on the phone too; and nobody has a second self in the room.
    group.person_says(&alice, &hers, "dora, do you?").await?;
    let asked = group.wait_in_room(&dora, "dora, do you?").await?;
    let item = group.wait_at(&doras, "dora, do you?").await?;
    world.bridge.wait_idle().await?;
    dora.read_up_to(&room, &asked.id).await?;
    wait_heard_read(world, &hers, &doras, &item.id).await?;
    group.phone_says(&bob, "enough").await?;
    group.wait_in_room(&alice, "enough").await?;
    world.bridge.wait_idle().await?;
    let ghost = world.bridge.slot().ghost(&format!("lid-{}", doras.lid));
    let members = alice.members(&room).await?;
    ensure!(!members.contains(&ghost), "dora is there twice: {members:?}");
    group.check_laws(&[&alice, &dora], &[&bob]).await
}

async fn in_a_group_typing_is_shown_both_ways(world: &mut World) -> Result<()> {
    let (bob, carol) = (world.phones.create_account("bob")?, world.phones.create_account("carol")?);
    let (alice, hers, _) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &bob, "Typists", &[&hers, &carol])?;
    let room = group.room_of(&alice).await?;
    let ghost = world.bridge.slot().ghost(&format!("lid-{}", carol.lid));
    alice.wait_member(&room, &ghost, "join").await?;
    world.phones.show(&carol.number, &group.jid, "composing")?;
    alice.wait_typing(&room, &ghost, true, 0, wait::STEP).await?;
    let before = alice.typing_told(&room);
    group.phone_says(&carol, "typed it").await?;
    group.wait_in_room(&alice, "typed it").await?;
    alice.wait_typing(&room, &ghost, false, before, SOON).await?;
    alice.type_in(&room, Some(Duration::from_secs(60))).await?;
    let shown = |state: &'static str| {
        let (phones, bob, hers) = (world.phones.clone(), bob.number.clone(), hers.number.clone());
        wait::until("bob's phone shows alice typing, and not", wait::STEP, move || {
            let found = phones.shown(&bob, &hers).iter().any(|one| one == state).then_some(());
            async move { Ok(found) }
        })
    };
    shown("composing").await?;
    alice.type_in(&room, None).await?;
    shown("paused").await?;
    group.check_laws(&[&alice], &[&bob, &carol]).await
}

/// Switches the homeserver's presence on, and the bridge's.
async fn share_presence(world: &mut World) -> Result<()> {
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({"network": {"presence": "shared"}}))?;
    world.synapse.stop().await?;
    let file = world.synapse.folder().path().join("homeserver.yaml");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    settings["presence"] = json!({"enabled": true});
    std::fs::write(&file, serde_json::to_vec(&settings)?)?;
    world.synapse.start_again().await?;
    world.bridge.start().await
}

async fn set_presence(person: &Person, state: &str) -> Result<()> {
    let path = ["_matrix", "client", "v3", "presence", person.id(), "status"];
    person.client().put(&path, &json!({"presence": state})).await.map(drop)
}

/// Waits until `person` sees a user's presence as wanted.
async fn wait_presence(person: &Person, user: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
    let path = ["_matrix", "client", "v3", "presence", user, "status"];
    wait::until(what, wait::STEP, || async {
        // A user without any presence is none to the homeserver.
        Ok(person.client().get(&path).await.ok().filter(|told| wanted(told)).map(drop))
    })
    .await
}

async fn who_is_online_is_shown_both_ways_when_it_is_shared(world: &mut World) -> Result<()> {
    let (alice, hers, _) = world.log_in("alice").await?;
    let (bob, his, _) = world.log_in("bob").await?;
    // A chat with each other, each with a room: so the bridge asks for both.
    let chat = world.chat(&alice, &hers, &his);
    let ghost = chat.begin("hello alice, it is bob").await?.sender;
    world.phones.send(&hers.number, &his.number, "hello bob").await?;
    bob.wait_event("bob's room", wait::STEP, |event| event.body() == "hello bob").await?;
    share_presence(world).await?;
    chat.begin("the bridge is back").await?;
    let is_online = |told: &Value| told["presence"] == "online";

    // Bob's phone comes and goes; alice sees his ghost do the same, and when he was there last.
    wait::until("somebody asks for bob", wait::STEP, || async {
        world.phones.simulator().set_presence(&his.number, "unavailable")?;
        world.phones.simulator().set_presence(&his.number, "available")?;
        let shown = world.phones.shown(&hers.number, &his.number);
        Ok(shown.contains(&"available".to_owned()).then_some(()))
    })
    .await?;
    wait_presence(&alice, &ghost, "bob's ghost is online", is_online).await?;
    world.phones.simulator().set_presence(&his.number, "unavailable")?;
    let was_there = |told: &Value| {
        let words = told["status_msg"].as_str().unwrap_or_default();
        told["presence"] == "offline" && words.starts_with("last seen")
    };
    wait_presence(&alice, &ghost, "bob's ghost is offline, and was there", was_there).await?;

    // Bob is on Matrix: his account is there on WhatsApp, so alice sees it again.
    let before = world.phones.shown(&hers.number, &his.number).len();
    let after = || world.phones.shown(&hers.number, &his.number).split_off(before);
    wait::until("alice's phone sees bob come", wait::STEP, || async {
        // Said again as clients do: of two changes that Synapse stores at the same time (the ghost's offline is one) it may
        // tell an application service none, since the later one moves its place in the stream past both.
        set_presence(&bob, "unavailable").await?;
        set_presence(&bob, "online").await?;
        let seen = || async { Ok(after().contains(&"available".to_owned()).then_some(())) };
        Ok(wait::until("for now", wait::STEP / 8, seen).await.ok())
    })
    .await?;
    set_presence(&bob, "offline").await?;
    wait::until("alice's phone sees bob go", wait::STEP, || async {
        Ok((after().last().map(String::as_str) == Some("unavailable")).then_some(()))
    })
    .await?;

    // What WhatsApp does not tell is not shown.
    world.phones.simulator().set_privacy(&his.number, "last", "none")?;
    world.phones.simulator().set_presence(&his.number, "available")?;
    wait_presence(&alice, &ghost, "bob's ghost is online again", is_online).await?;
    world.phones.simulator().set_presence(&his.number, "unavailable")?;
    let hides =
        |told: &Value| told["presence"] == "offline" && told["status_msg"].as_str().unwrap_or_default().is_empty();
    wait_presence(&alice, &ghost, "bob's ghost is offline, and nothing more", hides).await
}
