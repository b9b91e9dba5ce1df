//! One person, two ids: the phone number, and the LID the network moves everybody to.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use whatsapp_sim::Addressing;

matrix_bed::stories! {
    shared {
        a_contact_moves_to_its_lid
        the_own_account_moves_to_its_lid
        both_move_to_their_lids_while_the_bridge_is_down
        two_rooms_turn_out_to_be_one_chat
    }
    own {
        a_contact_moves_to_its_lid_while_messages_wait
    }
}

/// Everybody says something, and everything arrives; returns who speaks for the contact.
async fn talk(chat: &Chat, when: &str) -> Result<String> {
    let first = chat.begin(&format!("contact, {when}")).await?;
    chat.person_says(&format!("person, {when}")).await?;
    let item = chat.wait_at_contact(&format!("person, {when}")).await?;
    ensure!(!item.from_me, "{item:?}");
    chat.own_phone_says(&format!("own phone, {when}")).await?;
    chat.wait_in_room(&format!("own phone, {when}")).await?;
    Ok(first.sender)
}

/// Begins a chat with two accounts addressed by their numbers.
async fn begin(world: &mut World) -> Result<(Chat, String)> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account_by_number("alice")?;
    let management = world.management(&alice).await?;
    management.login_by_qr(&world.phones, &account).await?;
    let bob = world.phones.create_account_by_number("bob")?;
    let chat = world.chat(&alice, &account, &bob);
    let ghost = talk(&chat, "by number").await?;
    Ok((chat, ghost))
}

fn migrate(world: &World, account: &Account) -> Result<()> {
    world.phones.simulator().set_addressing(&account.number, Addressing::Lid)
}

/// After the move: the same room (the chat sees to that), the same ghost, and receipts that name the right messages.
async fn go_on(world: &World, chat: &Chat, ghost: &str) -> Result<()> {
    let room = chat.room()?;
    let before = chat.person().members(&room).await?;
    ensure!(talk(chat, "by LID").await? == ghost, "one ghost");
    let event = chat.person_says("read this").await?;
    let item = chat.wait_at_contact("read this").await?;
    world.phones.read(&chat.contact().number, &item).await?;
    let read = |receipt: &matrix_bed::person::Receipt| receipt.event == event && receipt.user == ghost;
    chat.person().wait_receipt("the contact has read it", wait::STEP, read).await?;
    let after = chat.person().members(&room).await?;
    ensure!(after == before, "nobody came: {before:?}, {after:?}");
    Ok(())
}

async fn a_contact_moves_to_its_lid(world: &mut World) -> Result<()> {
    let (chat, ghost) = begin(world).await?;
    migrate(world, chat.contact())?;
    go_on(world, &chat, &ghost).await?;
    // What is remembered is also what is stored.
    world.bridge.restart().await?;
    ensure!(talk(&chat, "after a start").await? == ghost, "one ghost");
    Ok(())
}

async fn the_own_account_moves_to_its_lid(world: &mut World) -> Result<()> {
    let (chat, ghost) = begin(world).await?;
    migrate(world, chat.login())?;
    go_on(world, &chat, &ghost).await
}

async fn both_move_to_their_lids_while_the_bridge_is_down(world: &mut World) -> Result<()> {
    let (chat, ghost) = begin(world).await?;
    world.bridge.kill9()?;
    chat.contact_says("contact, the last by number").await?;
    chat.own_phone_says("own phone, the last by number").await?;
    chat.person_says("person, bridge down").await?;
    migrate(world, chat.contact())?;
    migrate(world, chat.login())?;
    chat.contact_says("contact, the first by LID").await?;
    chat.own_phone_says("own phone, the first by LID").await?;
    world.bridge.start().await?;
    chat.wait_all(wait::STEP).await?;
    go_on(world, &chat, &ghost).await
}

async fn a_contact_moves_to_its_lid_while_messages_wait(world: &mut World) -> Result<()> {
    let (known, _) = begin(world).await?;
    let dave = world.phones.create_account_by_number("dave")?;
    world.phones.simulator().set_addressing(&dave.number, Addressing::PnAlone)?;
    let chat = world.chat(known.person(), known.login(), &dave);
    world.synapse.stop().await?;
    // Somebody new, stored under the number; the LID is learnt before that is worked on.
    for number in 0..3 {
        chat.contact_says(&format!("by number, homeserver down {number}")).await?;
    }
    wait_waiting(world, 3).await?;
    let by_number = "UPDATE portal SET alias = alias WHERE chat LIKE '%@s.whatsapp.net'";
    ensure!(world.database.execute(by_number).await? > 0, "the LID was known: this story proves nothing");
    migrate(world, chat.contact())?;
    for number in 0..3 {
        chat.contact_says(&format!("by LID, homeserver down {number}")).await?;
    }
    wait_waiting(world, 6).await?;
    ensure!(world.database.execute(by_number).await? == 0, "the LID was learnt");
    world.synapse.start_again().await?;
    chat.wait_all(wait::STEP).await?;
    let first = chat.wait_in_room("by number, homeserver down 0").await?;
    ensure!(talk(&chat, "homeserver up").await? == first.sender, "one ghost");
    go_on(world, &chat, &first.sender).await
}

async fn two_rooms_turn_out_to_be_one_chat(world: &mut World) -> Result<()> {
    let (known, _) = begin(world).await?;
    let dave = world.phones.create_account_by_number("dave")?;
    let network = world.phones.simulator().clone();
    network.set_addressing(&dave.number, Addressing::PnAlone)?;
    let old = world.chat(known.person(), known.login(), &dave);
    old.begin("by number alone").await?;
    network.set_addressing(&dave.number, Addressing::LidAlone)?;
    network.set_addressing(&known.login().number, Addressing::Lid)?;
    let new = world.chat(known.person(), known.login(), &dave);
    new.begin("by LID alone").await?;
    let (old_room, new_room) = (old.room()?, new.room()?);
    ensure!(old_room != new_room, "one room already: this story proves nothing");
    network.set_addressing(&dave.number, Addressing::Lid)?;
    new.begin("by both").await?;
    wait::until("the old room names the new one", wait::STEP, || async {
        let tombstone = old.person().find_state(&old_room, "m.room.tombstone", "").await?;
        Ok(tombstone.filter(|tombstone| tombstone["replacement_room"] == new_room.as_str()))
    })
    .await?;
    world.bridge.wait_idle().await?;
    let notices = old.person().events(&old_room).into_iter().filter(|event| event.is_message("m.notice")).count();
    ensure!(notices == 1, "the old room is told once: {notices}");
    for (chat, text) in [(&old, "written in the room that was left"), (&new, "written in the one that stays")] {
        chat.person_says(text).await?;
        chat.wait_at_contact(text).await?;
    }
    world.bridge.restart().await?;
    new.begin("after a start").await?;
    Ok(())
}

async fn wait_waiting(world: &World, rows: u64) -> Result<()> {
    let what = format!("{rows} rows wait in the bridge's inbox");
    wait::until(&what, wait::STEP, || async {
        let waiting = world.bridge.health().await?["inbox"]["waiting"].as_u64();
        Ok(waiting.is_some_and(|waiting| waiting >= rows).then_some(()))
    })
    .await
}
