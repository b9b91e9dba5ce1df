//! Linking phones: by picture and by code, several users, and the end of a link.

use anyhow::{Context, Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;

matrix_bed::stories! {
    shared {
        login_by_qr
        login_by_code
        a_second_login_of_the_same_user
        two_users_see_nothing_of_each_other
        logged_out_from_the_phone
        logged_out_by_command
        unknown_words_are_answered_with_help
        an_encrypted_room_is_not_met_with_silence
        who_may_not_gets_nothing
    }
}

async fn login_by_qr(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    let management = world.management(&alice).await?;
    management.ask("list-logins", "no whatsapp account").await?;
    let picture = management.login_by_qr(&world.phones, &account).await?;
    // The code is of no use any more, so the picture is taken away.
    alice
        .wait_event("the picture is removed", wait::STEP, |event| {
            event.kind == "m.room.redaction"
                && (event.raw["redacts"] == picture.id || event.content["redacts"] == picture.id)
        })
        .await?;
    management.ask("list-logins", &account.number).await?;
    management.ask("ping", &account.number).await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello alice").await?;
    Ok(())
}

async fn login_by_code(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    let management = world.management(&alice).await?;
    management.login_by_code(&world.phones, &account).await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello by code").await?;
    chat.person_says("and back").await?;
    Ok(())
}

async fn a_second_login_of_the_same_user(world: &mut World) -> Result<()> {
    let (alice, private, management) = world.log_in("alice").await?;
    let work = world.phones.create_account("alice at work")?;
    management.login_by_qr(&world.phones, &work).await?;
    let bob = world.phones.create_account("bob")?;
    let at_home = world.chat(&alice, &private, &bob);
    let at_work = world.chat(&alice, &work, &bob);
    at_home.begin("to the private number").await?;
    at_work.begin("to the number at work").await?;
    ensure!(at_home.room()? != at_work.room()?, "two logins, two chats, two rooms");
    at_work.person_says("from work").await?;
    let item = at_work.wait_at_contact("from work").await?;
    ensure!(item.from.starts_with(&work.number), "it went through the login of the room: {}", item.from);
    Ok(())
}

async fn two_users_see_nothing_of_each_other(world: &mut World) -> Result<()> {
    let (alice, alices, _) = world.log_in("alice").await?;
    let (carol, carols, _) = world.log_in("carol").await?;
    let bob = world.phones.create_account("bob")?;
    let with_alice = world.chat(&alice, &alices, &bob);
    let with_carol = world.chat(&carol, &carols, &bob);
    with_alice.begin("only for alice").await?;
    with_carol.begin("only for carol").await?;
    with_alice.person_says("alice was here").await?;
    with_carol.person_says("carol was here").await?;
    with_alice.wait_at_contact("alice was here").await?;
    with_carol.wait_at_contact("carol was here").await?;
    let (one, other) = (with_alice.room()?, with_carol.room()?);
    ensure!(one != other, "the same contact, two users, two rooms");
    for (person, stranger, room) in [(&alice, &carol, &one), (&carol, &alice, &other)] {
        let members = person.members(room).await?;
        ensure!(!members.contains(&stranger.id().to_owned()), "{room}: {members:?}");
        for room in stranger.rooms() {
            let told = stranger.events(&room).into_iter().find(|event| event.body().contains(person.name()));
            let greeted = told.filter(|event| event.body().contains("was here") || event.body().contains("only for"));
            ensure!(greeted.is_none(), "{} was told {greeted:?}", stranger.name());
        }
    }
    Ok(())
}

async fn logged_out_from_the_phone(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("before").await?;
    let room = chat.room()?;
    world.phones.unlink(&account.number)?;
    management.wait_notice("the bot tells of the log-out", |e| e.body().to_lowercase().contains("logged out")).await?;
    // A message that can't be delivered says so in the room.
    alice.send_text(&room, "into the void").await?;
    alice
        .wait_event("a word that it was not delivered", wait::STEP, |event| {
            event.room == room && event.sender != alice.id() && event.is_message("m.notice")
        })
        .await?;
    management.login_by_qr(&world.phones, &account).await?;
    chat.begin("after").await?;
    ensure!(chat.room()? == room, "the same room as before");
    chat.person_says("and back again").await?;
    Ok(())
}

async fn logged_out_by_command(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("before").await?;
    management.ask("logout yes", "logged out").await?;
    let phones = world.phones.clone();
    phones.forget(&account.number);
    wait::until("the device is gone from WhatsApp", wait::STEP, || async {
        Ok((!phones.is_connected(&account.number)).then_some(()))
    })
    .await?;
    management.login_by_code(&world.phones, &account).await?;
    chat.begin("after").await?;
    Ok(())
}

async fn unknown_words_are_answered_with_help(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    management.ask("abracadabra", "help").await?;
    management.ask("help", "login qr").await?;
    management.ask("cancel", "nothing").await?;
    Ok(())
}

async fn an_encrypted_room_is_not_met_with_silence(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let bot = world.bridge.slot().bot();
    let room = alice.create_encrypted_dm(&bot).await?;
    alice
        .wait_event("the bot says it can't read here", wait::STEP, |event| {
            event.room == room && event.sender == bot && event.is_message("m.notice")
        })
        .await?;
    // And it opens a room in which it can.
    let fresh = alice
        .wait_event("a fresh room with the bot", wait::STEP, |event| {
            event.room != room
                && event.kind == "m.room.member"
                && event.state_key.as_deref() == Some(alice.id())
                && event.content["membership"] == "join"
        })
        .await?
        .room;
    ensure!(alice.find_state(&fresh, "m.room.encryption", "").await?.is_none(), "the new room is not encrypted");
    let management = matrix_bed::management::Management::at(&alice, &bot, &fresh);
    management.ask("help", "login qr").await?;
    Ok(())
}

async fn who_may_not_gets_nothing(world: &mut World) -> Result<()> {
    let mallory = world.person("mallory").await?;
    world.bridge.stop().await.context("stopping for new permissions")?;
    world.bridge.reconfigure(&json!({"bridge": {"permissions": {mallory.id(): "block"}}}))?;
    world.bridge.start().await?;
    let bot = world.bridge.slot().bot();
    let room = mallory.create_dm(&bot).await?;
    mallory.send_text(&room, "login qr").await?;
    // Somebody else, who may, is served after that: so the bot has seen mallory's words by now.
    let alice = world.person("alice").await?;
    world.management(&alice).await?.ask("help", "login qr").await?;
    world.bridge.wait_idle().await?;
    let pictures = mallory.history(&room).await?.iter().filter(|e| e.is_message("m.image")).count();
    ensure!(pictures == 0, "a blocked user got a code");
    Ok(())
}
