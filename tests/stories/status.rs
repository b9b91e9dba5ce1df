//! Status posts: one room per login that only shows, and from which posts go after a day.

use anyhow::{Context, Result, ensure};
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::{Account, InboxItem};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};

use crate::acts::{die_at, raw};

matrix_bed::stories! {
    shared {
        status_posts_have_a_room_of_their_own
        a_status_room_is_its_owners_alone
        posts_go_when_their_author_or_time_says_so
        killed_around_a_status_post
        status_can_be_switched_off
        statuses_are_posted_for_those_who_may_see_them
        answers_and_reactions_to_posts_reach_their_author
        killed_around_an_own_post
    }
    puppets {
        a_status_room_is_muted_for_who_is_acted_as
    }
}

/// Waits until somebody has a post in a room that is called as status rooms are.
async fn wait_post(person: &Person, text: &str) -> Result<Event> {
    person.wait_event(text, wait::STEP, |event| event.body() == text).await
}

async fn name_of(person: &Person, room: &str) -> Result<Value> {
    Ok(person.find_state(room, "m.room.name", "").await?.unwrap_or_default()["name"].clone())
}

fn post(world: &World, from: &Account, to: &[&Account], text: &str) -> Result<String> {
    let to: Vec<&str> = to.iter().map(|account| account.number.as_str()).collect();
    world.phones.simulator().post_status(&from.number, &to, text)
}

/// How often the homeserver has a text in a room.
async fn times(person: &Person, room: &str, text: &str) -> Result<usize> {
    Ok(person.history(room).await?.iter().filter(|event| event.body() == text).count())
}

async fn status_posts_have_a_room_of_their_own(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("a word for alice alone").await?;
    post(world, &bob, &[&account], "bob is at the sea")?;
    let first = wait_post(&alice, "bob is at the sea").await?;
    let room = first.room.clone();
    ensure!(room != chat.room()?, "a post is in the chat's room");
    ensure!(name_of(&alice, &room).await? == "WhatsApp status", "it is called {}", name_of(&alice, &room).await?);
    let features = alice.find_state(&room, "com.beeper.room_features", "").await?.context("it says nothing")?;
    ensure!(features["poll"] == -2 && features["file"]["m.file"]["mime_types"]["*/*"] == -2, "{features}");
    let ghost = chat.begin("and another word").await?.sender;
    ensure!(first.sender == ghost, "{} is not {ghost}", first.sender);
    post(world, &carol, &[&account], "carol is in the hills")?;
    let second = wait_post(&alice, "carol is in the hills").await?;
    ensure!(second.room == room && second.sender != first.sender, "{} in {}", second.sender, second.room);
    // What the own phone posts is there too.
    post(world, &account, &[&bob], "alice is at home")?;
    let own = wait_post(&alice, "alice is at home").await?;
    ensure!(own.room == room && own.sender != alice.id(), "{} in {}", own.sender, own.room);
    world.bridge.restart().await?;
    post(world, &bob, &[&account], "bob is back")?;
    ensure!(wait_post(&alice, "bob is back").await?.room == room, "another room after the start");
    for text in ["bob is at the sea", "carol is in the hills", "alice is at home", "bob is back"] {
        ensure!(times(&alice, &room, text).await? == 1, "{text}");
    }
    let odd = world.database.execute("UPDATE wa_alias SET lid = lid WHERE lid NOT LIKE '%@lid'").await?;
    ensure!(odd == 0, "{odd} people are taken for a chat they post in");
    alice.read_up_to(&room, &own.id).await?;
    chat.person_says("a word to bob").await?;
    chat.wait_at_contact("a word to bob").await?;
    let seen = world.phones.receipts(&bob.number);
    ensure!(!seen.iter().any(|receipt| receipt.kind == "read" && receipt.recipient.is_some()), "{seen:?}");
    Ok(())
}

async fn a_status_room_is_its_owners_alone(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let (dave, other, _) = world.log_in("dave").await?;
    post(world, &bob, &[&account, &other], "for both of you")?;
    let (hers, his) = (wait_post(&alice, "for both of you").await?, wait_post(&dave, "for both of you").await?);
    ensure!(hers.room != his.room, "one room for two logins");
    post(world, &bob, &[&account], "for alice")?;
    post(world, &bob, &[&other], "for dave")?;
    wait_post(&alice, "for alice").await?;
    wait_post(&dave, "for dave").await?;
    ensure!(times(&dave, &his.room, "for alice").await? == 0 && times(&alice, &hers.room, "for dave").await? == 0);
    ensure!(!alice.members(&hers.room).await?.contains(&dave.id().to_owned()), "dave is in alice's room");
    // What is said there is not posted, and that is told.
    alice.send_text(&hers.room, "words of mine").await?;
    alice.wait_text(&hers.room, "is not posted").await?;
    ensure!(at_phone(world, &bob, "words of mine").is_none(), "it was posted");
    // Nobody else comes in, and who has no account posts nothing.
    ensure!(alice.invite(&hers.room, dave.id()).await.is_err(), "the owner lets others in");
    let eve = world.person("eve").await?;
    world.management(&eve).await?.ask("post-status words of hers", "You are not logged in").await?;
    ensure!(at_phone(world, &bob, "words of hers").is_none(), "it was posted");
    Ok(())
}

/// Whether nothing of an event is shown any more.
async fn is_removed(person: &Person, event: &Event) -> Result<bool> {
    let history = person.history(&event.room).await?;
    let now = history.iter().find(|now| now.id == event.id).context("the event is not in the room")?;
    Ok(now.content.as_object().is_none_or(serde_json::Map::is_empty))
}

async fn wait_removed(person: &Person, event: &Event) -> Result<()> {
    let what = format!("{} is removed", event.body());
    wait::until(&what, wait::STEP, || async { Ok(is_removed(person, event).await?.then_some(())) }).await
}

async fn posts_go_when_their_author_or_time_says_so(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, account, bob) = (chat.person().clone(), chat.login().clone(), chat.contact().clone());
    let taken_back = post(world, &bob, &[&account], "said too much")?;
    let old = post(world, &bob, &[&account], "of yesterday")?;
    post(world, &bob, &[&account], "of today")?;
    let events = [
        wait_post(&alice, "said too much").await?,
        wait_post(&alice, "of yesterday").await?,
        wait_post(&alice, "of today").await?,
    ];
    let day = "expires_at - (SELECT ts FROM message WHERE message.wa_id = expiry.wa_id AND part = 0) = 86400000";
    let noted = world.database.execute(&format!("UPDATE expiry SET tries = tries WHERE {day}")).await?;
    ensure!(noted == 3, "{noted} posts go after a day");
    let key = json!({ "remoteJid": "status@broadcast", "fromMe": true, "id": taken_back });
    let revoke = json!({ "protocolMessage": { "type": "REVOKE", "key": key } });
    world.phones.simulator().send_kind(&bob.number, "status@broadcast", raw(revoke)).await?;
    wait_removed(&alice, &events[0]).await?;
    // A day passes.
    world.bridge.kill9()?;
    let past = format!("UPDATE expiry SET expires_at = 1000000000000, due_at = 1000000000000 WHERE wa_id = '{old}'");
    ensure!(world.database.execute(&past).await? == 1, "no such post");
    world.bridge.start().await?;
    wait_removed(&alice, &events[1]).await?;
    ensure!(!is_removed(&alice, &events[2]).await?, "the post of today is gone");
    Ok(())
}

async fn killed_around_a_status_post(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let mut room = None;
    for point in ["from_wa.after_room", "from_wa.after_store", "from_wa.after_reserve", "from_wa.after_send"] {
        let text = format!("posted, then {point}");
        die_at(world, point, async |world| post(world, &bob, &[&account], &text).map(drop)).await?;
        let event = wait_post(&alice, &text).await?;
        let room = room.get_or_insert(event.room.clone());
        ensure!(*room == event.room, "another room after {point}");
        ensure!(times(&alice, room, &text).await? == 1, "{text} is there twice");
    }
    let mut rooms = 0;
    for room in alice.rooms() {
        rooms += usize::from(name_of(&alice, &room).await? == "WhatsApp status");
    }
    ensure!(rooms == 1, "{rooms} status rooms");
    Ok(())
}

async fn a_status_room_is_muted_for_who_is_acted_as(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "double_puppet": { "automatic": true } }))?;
    world.bridge.restart().await?;
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    post(world, &bob, &[&account], "bob posts")?;
    let room = wait_post(&alice, "bob posts").await?.room;
    wait::until("the room is muted", wait::STEP, || async {
        let rule = alice.client().get(&["_matrix", "client", "v3", "pushrules", "global", "room", &room]).await;
        Ok(rule.is_ok_and(|rule| rule["actions"].as_array().is_some_and(Vec::is_empty)).then_some(()))
    })
    .await?;
    // What the own phone posts comes from no account that may not write there.
    post(world, &account, &[&bob], "alice posts")?;
    let own = wait_post(&alice, "alice posts").await?;
    ensure!(own.room == room && own.sender == alice.id(), "{} in {}", own.sender, own.room);
    Ok(())
}

/// What a phone has of a status post or an answer, by its text.
fn at_phone(world: &World, account: &Account, text: &str) -> Option<InboxItem> {
    let said = |item: &InboxItem| item.message.to_string().contains(&format!("\"{text}\""));
    world.phones.inbox(&account.number).into_iter().find(said)
}

async fn wait_at_phone(world: &World, account: &Account, text: &str) -> Result<InboxItem> {
    let what = format!("{} has {text}", account.name);
    wait::until(&what, wait::STEP, || async { Ok(at_phone(world, account, text)) }).await
}

/// Puts people into the login's address book.
async fn know(world: &World, login: &Account, people: &[&Account]) -> Result<()> {
    for person in people {
        world.phones.save_contact(&login.number, person, &format!("Friend {}", person.name))?;
    }
    let wanted = u64::try_from(people.len())?;
    wait::until("the address book", wait::STEP, || async {
        let known = world.database.execute("UPDATE contact SET at = at WHERE full_name LIKE 'Friend %'").await?;
        Ok((known == wanted).then_some(()))
    })
    .await
}

async fn may_post(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "network": { "disable_status_broadcast_send": false } }))?;
    world.bridge.restart().await
}

async fn statuses_are_posted_for_those_who_may_see_them(world: &mut World) -> Result<()> {
    may_post(world).await?;
    let (bob, carol, eve) = (
        world.phones.create_account("bob")?,
        world.phones.create_account("carol")?,
        world.phones.create_account("eve")?,
    );
    let (alice, account, management) = world.log_in("alice").await?;
    for friend in [&bob, &carol, &eve] {
        world.chat(&alice, &account, friend).begin(&format!("hello from {}", friend.name)).await?;
    }
    management.ask("post-status too early", "Nobody would see it").await?;
    know(world, &account, &[&bob, &carol]).await?;
    let simulator = world.phones.simulator().clone();
    post(world, &bob, &[&account], "bob is at the sea")?;
    let room = wait_post(&alice, "bob is at the sea").await?.room;
    let said = alice.send_text(&room, "alice is home").await?;
    for friend in [&bob, &carol] {
        let item = wait_at_phone(world, friend, "alice is home").await?;
        ensure!(item.chat == "status@broadcast", "it came to {}", item.chat);
    }
    // All but one, then one alone; who is in no address book sees nothing.
    simulator.set_status_audience(&account.number, "blacklist", &[&bob.number])?;
    alice.send_text(&room, "not for bob").await?;
    wait_at_phone(world, &carol, "not for bob").await?;
    simulator.set_status_audience(&account.number, "whitelist", &[&bob.number])?;
    management.ask("post-status for bob alone", "Posted").await?;
    wait_at_phone(world, &bob, "for bob alone").await?;
    let shown = wait_post(&alice, "for bob alone").await?;
    ensure!(shown.room == room, "the post is shown in {}", shown.room);
    // Deleting it takes it back, from those who had it.
    alice.redact(&room, &said).await?;
    for friend in [&bob, &carol] {
        wait::until("it is taken back", wait::STEP, || async {
            let items = world.phones.inbox(&friend.number);
            let is_revoke = |item: &InboxItem| item.message["protocolMessage"]["type"] == "REVOKE";
            Ok(items.iter().any(is_revoke).then_some(()))
        })
        .await?;
    }
    alice.send(&room, "m.location", &json!({ "body": "here" })).await?;
    ensure!(at_phone(world, &bob, "not for bob").is_none() && at_phone(world, &carol, "for bob alone").is_none());
    for text in ["alice is home", "not for bob", "for bob alone"] {
        ensure!(at_phone(world, &eve, text).is_none(), "eve has {text}");
    }
    // Own posts go after a day, too.
    let noted =
        world.database.execute("UPDATE expiry SET tries = tries WHERE sender IN (SELECT lid FROM login)").await?;
    ensure!(noted >= 2, "{noted} own posts go after a day");
    Ok(())
}

async fn answers_and_reactions_to_posts_reach_their_author(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("a word for alice alone").await?;
    post(world, &bob, &[&account], "bob is at the sea")?;
    let first = wait_post(&alice, "bob is at the sea").await?;
    post(world, &bob, &[&account], "bob is in the sea")?;
    let second = wait_post(&alice, "bob is in the sea").await?;
    let relation = &second.content["m.relates_to"];
    ensure!(relation["rel_type"] == "m.thread" && relation["event_id"] == first.id, "no thread: {relation}");
    let answer = json!({ "msgtype": "m.text", "body": "take me with you",
        "m.relates_to": { "m.in_reply_to": { "event_id": second.id } } });
    alice.send(&first.room, "m.room.message", &answer).await?;
    let item = wait_at_phone(world, &bob, "take me with you").await?;
    ensure!(!item.chat.contains("status"), "it came to {}", item.chat);
    let context = item.message["extendedTextMessage"]["contextInfo"].clone();
    ensure!(context["remoteJid"] == "status@broadcast", "{context}");
    // It stands in the chat with bob, too.
    let direct = chat.room()?;
    alice.wait_text(&direct, "take me with you").await.context("the answer is not in the chat")?;
    // In the thread, as clients write there: the answer is to the newest.
    let threaded = json!({ "msgtype": "m.text", "body": "how is the water", "m.relates_to": {
        "rel_type": "m.thread", "event_id": first.id, "is_falling_back": true,
        "m.in_reply_to": { "event_id": second.id } } });
    alice.send(&first.room, "m.room.message", &threaded).await?;
    wait_at_phone(world, &bob, "how is the water").await?;
    let heart = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": first.id, "key": "❤️" } });
    alice.send(&first.room, "m.reaction", &heart).await?;
    wait::until("the heart", wait::STEP, || async {
        let items = world.phones.inbox(&bob.number);
        let is_heart = |item: &InboxItem| item.message["reactionMessage"]["key"]["remoteJid"] == "status@broadcast";
        Ok(items.iter().any(is_heart).then_some(()))
    })
    .await?;
    let gone = json!({ "msgtype": "m.text", "body": "to nobody",
        "m.relates_to": { "m.in_reply_to": { "event_id": "$gone" } } });
    alice.send(&first.room, "m.room.message", &gone).await?;
    alice.wait_text(&first.room, "is not on WhatsApp any more").await.map(drop)
}

async fn killed_around_an_own_post(world: &mut World) -> Result<()> {
    may_post(world).await?;
    let bob = world.phones.create_account("bob")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("hello").await?;
    know(world, &account, &[&bob]).await?;
    post(world, &bob, &[&account], "bob posts")?;
    let theirs = wait_post(&alice, "bob posts").await?;
    let room = theirs.room.clone();
    for point in ["states.status_audience", "from_mx.after_reserve", "from_mx.after_send", "from_mx.after_settle"] {
        let text = format!("posted around {point}");
        die_at(world, point, async |_| alice.send_text(&room, &text).await.map(drop)).await?;
        wait_at_phone(world, &bob, &text).await?;
        let answer = json!({ "msgtype": "m.text", "body": format!("answered around {point}"),
            "m.relates_to": { "m.in_reply_to": { "event_id": theirs.id } } });
        if point != "states.status_audience" {
            die_at(world, point, async |_| alice.send(&room, "m.room.message", &answer).await.map(drop)).await?;
            wait_at_phone(world, &bob, &format!("answered around {point}")).await?;
            alice.wait_text(&chat.room()?, &format!("answered around {point}")).await?;
        }
    }
    let bot_room = management.room().to_owned();
    die_at(world, "states.status_posted", async |_| {
        alice.send_text(&bot_room, "post-status by command").await.map(drop)
    })
    .await?;
    alice.wait_text(&bot_room, "Posted").await?;
    ensure!(times(&alice, &room, "by command").await? == 1, "the post is not shown once");
    let items = world.phones.inbox(&bob.number);
    let twice = items.iter().filter(|item| items.iter().filter(|other| other.id == item.id).count() > 1).count();
    ensure!(twice == 0, "{twice} items are shown twice");
    ensure!(items.iter().filter(|item| item.message.to_string().contains("around")).count() == 7, "{items:?}");
    Ok(())
}

async fn status_can_be_switched_off(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "network": { "enable_status_broadcast": false } }))?;
    world.bridge.restart().await?;
    let chat = world.begin().await?;
    post(world, chat.contact(), &[chat.login()], "nobody asked for this")?;
    chat.begin("said after it").await?;
    world.bridge.wait_idle().await?;
    let noted = world.database.execute("UPDATE portal SET kind = kind WHERE kind = 'status'").await?;
    ensure!(noted == 0, "there is a status chat");
    let rooms = chat.person().rooms();
    for room in rooms {
        ensure!(name_of(chat.person(), &room).await? != "WhatsApp status", "there is a room");
    }
    Ok(())
}
