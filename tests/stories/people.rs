//! Who may do what: owners of numbers, people with fewer rights, and strangers in rooms.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::management::Management;
use matrix_bed::person::{Event, Person};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;

use crate::faults::crown;

matrix_bed::stories! {
    shared {
        a_number_changes_hands
        the_same_number_is_linked_again
        commands_without_a_login_of_ones_own
        who_is_only_relayed_gets_no_answer
        a_stranger_in_a_chats_room
        somebody_elses_login_is_out_of_reach
        where_codes_are_shown
    }
}

/// Waits for the bot's answer to `event`'s words in a room.
pub(super) async fn wait_told(person: &Person, bot: &str, room: &str, words: &str) -> Result<Event> {
    let told = |event: &Event| event.room == room && event.sender == bot && event.body().contains(words);
    person.wait_event(&format!("the bot says {words:?}"), wait::STEP, told).await
}

/// Whether the contact's phone, or the login's, ever got this text.
fn is_on_whatsapp(world: &World, chat: &Chat, text: &str) -> bool {
    [chat.contact(), chat.login()]
        .iter()
        .any(|account| world.phones.inbox(&account.number).iter().any(|item| item.text.as_deref() == Some(text)))
}

async fn a_number_changes_hands(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let contact = world.phones.create_account("carol")?;
    let hers = world.chat(&alice, &account, &contact);
    hers.begin("for alice only").await?;
    hers.person_says("alice to carol").await?;
    hers.wait_at_contact("alice to carol").await?;
    let room = hers.room()?;

    // While it is hers, nobody else gets it, and hers goes on.
    let bob = world.person("bob").await?;
    let bobs = world.management(&bob).await?;
    let asked = bobs.link_by_code(&world.phones, &account).await?;
    world.phones.forget(&account.number);
    let refused = |event: &Event| event.arrived >= asked && event.body().contains("already linked by another person");
    bobs.wait_notice("bob is refused", refused).await?;
    bobs.ask("list-logins", "no whatsapp account").await?;
    hers.begin("still for alice").await?;

    // She lets it go; bob begins with nothing of hers.
    alices.ask("logout yes", "is logged out").await?;
    world.phones.forget(&account.number);
    bobs.login_by_qr(&world.phones, &account).await?;
    let his = world.chat(&bob, &account, &contact);
    let first = his.begin("for bob only").await?;
    ensure!(first.room != room, "bob gets rooms of his own");
    his.person_says("bob to carol").await?;
    his.wait_at_contact("bob to carol").await?;
    let members = bob.members(&first.room).await?;
    ensure!(!members.contains(&alice.id().to_owned()), "{members:?}");
    ensure!(!bob.rooms().contains(&room), "bob is not in alice's room");
    ensure!(bob.history(&room).await.is_err(), "and may not read it");
    for room in bob.rooms() {
        let leaked = bob.history(&room).await?.into_iter().find(|e| e.body().contains("alice"));
        ensure!(leaked.is_none(), "bob sees {leaked:?}");
    }
    ensure!(!alice.rooms().contains(&first.room), "alice is not in bob's room");

    // Her old room refuses with words, and nothing goes out.
    alice.send_text(&room, "through bob's login?").await?;
    wait_told(&alice, &world.bridge.slot().bot(), &room, "Only the owner").await?;
    alices.ask("list-logins", "no whatsapp account").await?;
    ensure!(!is_on_whatsapp(world, &his, "through bob's login?"), "alice spoke through bob's login");
    Ok(())
}

async fn the_same_number_is_linked_again(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("through the first device").await?;
    chat.person_says("from the first device").await?;
    chat.wait_at_contact("from the first device").await?;
    let simulator = world.phones.simulator().clone();
    let devices = simulator.connected_devices(&account.number);
    let [first] = devices[..] else { anyhow::bail!("one device: {devices:?}") };

    // Linked again without a logout: the new device takes over, and the phone does not keep the old one in its list.
    world.phones.forget(&account.number);
    management.login_by_qr(&world.phones, &account).await?;
    wait::until("one device, and a new one", wait::STEP, || async {
        let devices = simulator.connected_devices(&account.number);
        Ok((devices.len() == 1 && devices[0] != first).then_some(()))
    })
    .await?;
    wait::until("the old device is gone from WhatsApp", wait::STEP, || async {
        Ok((!simulator.has_device(&account.number, first)).then_some(()))
    })
    .await?;
    chat.begin("through the second device").await?;
    chat.person_says("from the second device").await?;
    chat.wait_at_contact("from the second device").await?;
    management.ask("list-logins", "connected").await?;
    let logged_out = alice.events(management.room()).into_iter().find(|e| e.body().contains("is logged out"));
    ensure!(logged_out.is_none(), "nobody is told of a logout: {logged_out:?}");

    // And after a logout; what was said meanwhile went to the phone alone, as WhatsApp has it.
    management.ask("logout yes", "is logged out").await?;
    world.phones.forget(&account.number);
    world.phones.send(&chat.contact().number, &account.number, "to the phone alone").await?;
    management.login_by_code(&world.phones, &account).await?;
    chat.begin("through the third device").await?;
    chat.person_says("from the third device").await?;
    chat.wait_at_contact("from the third device").await?;
    world.bridge.restart().await?;
    chat.begin("after a start").await?;
    Ok(())
}

pub(super) async fn set_level(world: &mut World, person: &Person, level: &str) -> Result<()> {
    world.bridge.stop().await.context("stopping for new permissions")?;
    world.bridge.reconfigure(&json!({"bridge": {"permissions": {person.id(): level}}}))?;
    world.bridge.start().await
}

async fn commands_without_a_login_of_ones_own(world: &mut World) -> Result<()> {
    let trent = world.person("trent").await?;
    set_level(world, &trent, "commands").await?;
    let management = world.management(&trent).await?;
    for command in ["login qr", "login phone +1 202 555 0100", "logout", "list-logins"] {
        management.ask(command, "may not use this command").await?;
    }
    let help = management.ask("help", "ping").await?;
    ensure!(!help.body().contains("login qr"), "help shows what he may use: {}", help.body());
    management.ask("ping", "no whatsapp account").await?;
    let pictures = trent.history(management.room()).await?.iter().filter(|e| e.is_message("m.image")).count();
    ensure!(pictures == 0, "he got a code");
    Ok(())
}

async fn who_is_only_relayed_gets_no_answer(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let mallory = world.person("mallory").await?;
    set_level(world, &mallory, "relay").await?;
    let bot = world.bridge.slot().bot();
    let room = mallory.create_dm(&bot).await?;
    mallory.send_text(&room, "login qr").await?;
    mallory.send_text(&room, "!wa help").await?;
    // Somebody else, who may, is served after that: so the bot has seen mallory's words by now.
    chat.person_says("served").await?;
    chat.wait_at_contact("served").await?;
    world.bridge.wait_idle().await?;
    let words = mallory.history(&room).await?.into_iter().find(|e| e.sender == bot && e.kind == "m.room.message");
    ensure!(words.is_none(), "mallory got an answer: {words:?}");
    let members = mallory.members(&room).await?;
    ensure!(members == [mallory.id()], "the bot did not come: {members:?}");
    Ok(())
}

/// A stranger, brought into a chat's room by its owner.
pub(crate) async fn bring_stranger(world: &mut World, chat: &Chat) -> Result<Person> {
    let (room, stranger) = (chat.room()?, world.person("mallory").await?);
    crown(world, chat).await?;
    chat.person().invite(&room, stranger.id()).await?;
    chat.person().wait_member(&room, stranger.id(), "join").await?;
    Ok(stranger)
}

async fn a_stranger_in_a_chats_room(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (bot, room) = (world.bridge.slot().bot(), chat.room()?);
    let mallory = bring_stranger(world, &chat).await?;
    mallory.send_text(&room, "mallory was here").await?;
    wait_told(&mallory, &bot, &room, "Only the owner").await?;
    // Nor does a read mark of theirs count.
    let id = chat.contact_says("who reads this?").await?;
    let event = chat.wait_in_room("who reads this?").await?;
    mallory.wait_text(&room, "who reads this?").await?;
    mallory.read_up_to(&room, &event.id).await?;
    mallory.send_text(&room, "!wa retry").await?;
    wait_told(&mallory, &bot, &room, "Trying one message again").await?;
    chat.person_says("the owner goes on").await?;
    chat.wait_at_contact("the owner goes on").await?;
    world.bridge.wait_idle().await?;
    ensure!(!is_on_whatsapp(world, &chat, "mallory was here"), "a stranger spoke through alice's login");
    let receipts = world.phones.receipts(&chat.contact().number);
    ensure!(!receipts.iter().any(|r| r.kind == "read" && r.ids.contains(&id)), "a stranger's look counts as hers");
    Ok(())
}

async fn somebody_elses_login_is_out_of_reach(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello alice").await?;
    let (bot, room) = (world.bridge.slot().bot(), chat.room()?);
    let (_, _, mallorys) = world.log_in("mallory").await?;
    mallorys.ask(&format!("logout {}", account.number), "no such account").await?;
    let listed = mallorys.ask("list-logins", "connected").await?;
    ensure!(!listed.body().contains(&account.number), "mallory sees alice's number: {}", listed.body());

    // A message of alice's fails; nobody else can make it go again, and she can.
    world.phones.fault(&account.number, matrix_bed::phones::FaultKind::Nack(463), 1)?;
    alice.send_text(&room, "refused once").await?;
    wait_told(&alice, &bot, &room, "was not bridged").await?;
    mallorys.ask("retry", "nothing in this room").await?;
    alices.ask("retry", "nothing in this room").await?;
    alice.send_text(&room, "!wa retry").await?;
    wait_told(&alice, &bot, &room, "Trying one message again").await?;
    chat.wait_at_contact("refused once").await?;

    alice.send_text(&room, "!wa set-management-room").await?;
    wait_told(&alice, &bot, &room, "keep their prefix").await?;
    // Bare words are still words for the contact.
    chat.person_says("help").await?;
    chat.wait_at_contact("help").await?;
    alices.ask("ping", "connected").await?;
    chat.begin("still linked").await?;
    Ok(())
}

async fn where_codes_are_shown(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let carol = world.person("carol").await?;
    let bot = world.bridge.slot().bot();
    let management = world.management(&alice).await?;

    // Not where others read along.
    let shared = alice.create_room(&json!({"preset": "private_chat", "invite": [carol.id()]})).await?;
    alice.wait_member(&shared, carol.id(), "join").await?;
    alice.invite(&shared, &bot).await?;
    alice.wait_member(&shared, &bot, "join").await?;
    let there = Management::at(&alice, &bot, &shared);
    there.wait_notice("the bot's greeting", |_| true).await?;
    there.ask("!wa login qr", "others can read this room").await?;
    there.ask("!wa login phone +12025550100", "others can read this room").await?;
    there.ask("!wa set-management-room", "only you and me").await?;
    // The room that was hers is still hers: inviting the bot elsewhere among others changes nothing.
    management.ask("list-logins", "no whatsapp account").await?;

    // And where they were shown, they are taken away, also when nobody used them.
    alice.send_text(management.room(), "login qr").await?;
    let shown = |event: &Event| event.room == management.room() && event.is_message("m.image");
    let picture = alice.wait_event("a picture", wait::STEP, shown).await?;
    management.ask("cancel", "cancelled").await?;
    let gone = |event: &Event| {
        event.kind == "m.room.redaction"
            && (event.raw["redacts"] == picture.id || event.content["redacts"] == picture.id)
    };
    alice.wait_event("the picture is removed", wait::STEP, gone).await?;
    for room in [management.room(), &shared] {
        let left = alice.history(room).await?.into_iter().find(|e| e.content["url"].is_string());
        ensure!(left.is_none(), "a code is left: {left:?}");
    }
    Ok(())
}
