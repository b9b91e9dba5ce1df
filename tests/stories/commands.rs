//! What people and administrators steer the bridge with.

use anyhow::{Result, ensure};
use matrix_bed::phones::FaultKind;
use matrix_bed::wait;
use matrix_bed::world::World;

use crate::people::{bring_stranger, set_level, wait_told};

matrix_bed::stories! {
    shared {
        status_tells_what_failed_and_chats_are_listed
        the_preferred_account_is_used
        an_administrator_acts_for_others
        nobody_else_acts_for_others
        an_account_is_linked_again_by_its_number
    }
}

async fn status_tells_what_failed_and_chats_are_listed(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    alices.ask("status", "Nothing has failed").await?;
    let bob = world.chat_with(&alice, &account, "bob")?;
    bob.begin("hello from bob").await?;
    let carol = world.chat_with(&alice, &account, "carol")?;
    carol.begin("hello from carol").await?;

    let all = alices.ask("chats", &bob.room()?).await?;
    ensure!(all.body().contains(&carol.room()?), "both chats are listed: {}", all.body());
    let one = alices.ask("chats CAROL", &carol.room()?).await?;
    ensure!(!one.body().contains(&bob.room()?), "only carol's was asked for: {}", one.body());
    alices.ask("chats nobody of this name", "No such chat").await?;
    let (bot, room) = (world.bridge.slot().bot(), bob.room()?);
    alice.send_text(&room, "!wa id").await?;
    wait_told(&alice, &bot, &room, &format!("room `{room}`, through +{}", account.number)).await?;
    alices.ask("id", "no WhatsApp chat").await?;
    alices.ask("help chats", "List your chats").await?;
    alices.ask(&format!("resolve-identifier +{}", bob.contact().number), &room).await?;
    alices.ask("resolve-identifier +99 1234567", "is not on WhatsApp").await?;

    world.phones.fault(&account.number, FaultKind::Nack(463), 1)?;
    alice.send_text(&room, "refused once").await?;
    wait_told(&alice, &bot, &room, "was not bridged").await?;
    let status = alices.ask("status", "to WhatsApp in").await?;
    ensure!(status.body().contains(&room), "it says where: {}", status.body());
    ensure!(!status.body().contains("refused once"), "it holds no text: {}", status.body());
    // In a room with others it is told where they are alone, and there it is hers only.
    let mallory = bring_stranger(world, &bob).await?;
    alice.send_text(&room, "!wa status").await?;
    wait_told(&alice, &bot, &room, "where we are alone").await?;
    let heard = mallory.history(&room).await?;
    ensure!(heard.iter().all(|event| !event.body().contains("Could not be bridged")), "told before everybody");
    world.management(&mallory).await?.ask("status", "No WhatsApp account is linked").await?;

    alice.send_text(&room, "!wa retry").await?;
    wait_told(&alice, &bot, &room, "Trying one message again").await?;
    let arrived = |item: &whatsapp_sim::InboxItem| item.text.as_deref() == Some("refused once");
    world.phones.simulator().wait_inbox(&bob.contact().number, arrived, wait::STEP).await?;
    world.bridge.wait_idle().await?;
    alices.ask("status", "Nothing has failed").await?;
    // Something changes while nobody listens, and is asked for.
    alice.send_text(&room, "!wa sync-portal").await?;
    wait_told(&alice, &bot, &room, "I look at this chat again").await?;
    Ok(())
}

async fn the_preferred_account_is_used(world: &mut World) -> Result<()> {
    let (alice, first, alices) = world.log_in("alice").await?;
    let second = world.phones.create_account("alice's other phone")?;
    alices.login_by_qr(&world.phones, &second).await?;
    let bob = world.phones.create_account("bob")?;
    let (one, other) = (world.chat(&alice, &first, &bob), world.chat(&alice, &second, &bob));
    one.begin("to your first phone").await?;
    other.begin("to your second phone").await?;
    ensure!(one.room()? != other.room()?, "two accounts, two chats");
    let command = format!("start-chat +{}", bob.number);
    for (own, chat) in [(&second, &other), (&first, &one)] {
        alices.ask(&format!("set-preferred-login +{}", own.number), "is used where you name no account").await?;
        alices.ask(&command, &chat.room()?).await?;
    }
    // It stays so.
    world.bridge.restart().await?;
    one.begin("first, are you there?").await?;
    other.begin("second, are you there?").await?;
    alices.ask(&command, &one.room()?).await?;
    alices.ask(&format!("set-preferred-login +{}", bob.number), "no such account").await?;
    alices.ask("logout", "several such accounts").await?;
    Ok(())
}

async fn an_administrator_acts_for_others(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    let room = chat.room()?;
    let root = world.person("root").await?;
    set_level(world, &root, "admin").await?;
    chat.begin("are you back?").await?;
    let roots = world.management(&root).await?;

    let listed = roots.ask("all-logins", &account.number).await?;
    ensure!(listed.body().contains(alice.id()) && listed.body().contains("connected"), "{}", listed.body());
    roots.ask("all-logins nobody", "No account").await?;
    roots.ask(&format!("sudo {} list-logins", alice.id()), &account.number).await?;
    roots.ask(&format!("sudo {} all-logins", alice.id()), "may not use this command").await?;
    roots.ask(&format!("doin {room} sudo {} ping", alice.id()), "at a time").await?;
    // A chat is its owner's, also to administrators; as its owner they reach it.
    roots.ask(&format!("doin {room} id"), "Only the owner").await?;
    roots.ask("doin nowhere id", "begins with").await?;
    roots.ask("announce The bridge moves tonight.", "Told 2 people").await?;
    alices.wait_notice("the announcement", |event| event.body() == "The bridge moves tonight.").await?;

    roots.ask(&format!("logout {}", account.number), &format!("logout {} yes", account.number)).await?;
    let listed = roots.ask("all-logins", &account.number).await?;
    ensure!(listed.body().contains("connected"), "unlinked without a yes: {}", listed.body());
    roots.ask(&format!("logout {} yes", account.number), "is logged out").await?;
    world.phones.forget(&account.number);
    alices.wait_notice("the owner hears of it", |event| event.body().contains("by the bridge's administrator")).await?;
    Ok(())
}

async fn nobody_else_acts_for_others(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let (_, _, mallorys) = world.log_in("mallory").await?;
    for command in [
        "all-logins".to_owned(),
        format!("sudo {} logout yes", alice.id()),
        format!("doas {} list-logins", alice.id()),
        format!("doin {} retry", alices.room()),
        "announce I am in charge".to_owned(),
    ] {
        let answer = mallorys.ask(&command, "may not use this command").await?;
        ensure!(!answer.body().contains(&account.number), "{}", answer.body());
    }
    for command in ["logout {} yes", "relogin {}", "set-preferred-login {}"] {
        mallorys.ask(&command.replace("{}", &account.number), "no such account").await?;
    }
    mallorys.ask(&format!("chats {}", account.number), "No such chat").await?;
    alices.ask("list-logins", "connected").await?;
    let said = alice.history(alices.room()).await?;
    ensure!(said.iter().all(|event| !event.body().contains("I am in charge")), "an announcement of a stranger's");
    Ok(())
}

async fn an_account_is_linked_again_by_its_number(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    let room = chat.room()?;
    alices.ask(&format!("relogin {}", chat.login().number), "no such account").await?;
    alices.ask("logout", "yes`").await?;
    alices.ask("logout yes", "is logged out").await?;
    world.phones.forget(&account.number);
    alices.relogin_by_code(&world.phones, chat.login()).await?;
    chat.person_says("linked again").await?;
    chat.wait_at_contact("linked again").await?;
    ensure!(chat.room()? == room, "the room goes on");
    Ok(())
}
