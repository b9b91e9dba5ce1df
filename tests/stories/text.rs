//! Plain text in direct chats: both ways, from the own phone, and who has read it.

use anyhow::{Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::wait;
use matrix_bed::world::World;

matrix_bed::stories! {
    shared {
        text_crosses_both_ways
        the_own_phones_messages_appear_too
        receipts_cross_both_ways
        many_messages_keep_their_order
        many_chats_at_once
        number_and_lid_are_one_person
        strange_texts_cross_unchanged
        logs_hold_nothing_of_people
    }
}

async fn text_crosses_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let event = chat.begin("how are you?").await?;
    ensure!(world.bridge.slot().is_ghost(&event.sender), "a ghost of the contact speaks: {}", event.sender);
    ensure!(event.is_message("m.text"), "{}", event.content);
    chat.person_says("fine, and you?").await?;
    let item = chat.wait_at_contact("fine, and you?").await?;
    ensure!(!item.from_me && item.arrivals == 1, "{item:?}");
    chat.begin("fine too").await?;
    // The ghost has the contact's name.
    let room = chat.room()?;
    let member = chat.person().find_state(&room, "m.room.member", &event.sender).await?.unwrap_or_default();
    let name = member["displayname"].as_str().unwrap_or_default().to_owned();
    ensure!(name.contains("bob"), "the ghost is called {name:?}");
    ensure!(room_name(&chat, &room).await? == name, "the room has the contact's name");
    // And the room says what it is (MSC2346).
    let state = chat.person().client().get(&["_matrix", "client", "v3", "rooms", &room, "state"]).await?;
    let kinds: Vec<&str> = state.as_array().into_iter().flatten().filter_map(|e| e["type"].as_str()).collect();
    ensure!(kinds.contains(&"m.bridge") || kinds.contains(&"uk.half-shot.bridge"), "no bridge state: {kinds:?}");
    Ok(())
}

async fn room_name(chat: &Chat, room: &str) -> Result<String> {
    let state = chat.person().find_state(room, "m.room.name", "").await?.unwrap_or_default();
    Ok(state["name"].as_str().unwrap_or_default().to_owned())
}

async fn the_own_phones_messages_appear_too(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    chat.own_phone_says("typed on my phone").await?;
    chat.wait_in_room("typed on my phone").await?;
    chat.begin("answered").await?;
    chat.person_says("typed in Matrix").await?;
    // Somebody who has not told a name yet: the room takes theirs when they do.
    let carol = world.phones.create_account("carol")?;
    let chat = world.chat(chat.person(), chat.login(), &carol);
    chat.own_phone_says("hello carol").await?;
    chat.wait_in_room("hello carol").await?;
    let room = chat.room()?;
    let before = room_name(&chat, &room).await?;
    ensure!(!before.contains("carol"), "nobody has told a name yet: {before:?}");
    let answered = chat.begin("hello alice").await?;
    let member = chat.person().find_state(&room, "m.room.member", &answered.sender).await?.unwrap_or_default();
    let after = room_name(&chat, &room).await?;
    ensure!(after.contains("carol") && member["displayname"] == after.as_str(), "{before:?}, then {after:?}: {member}");
    Ok(())
}

async fn receipts_cross_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let alice = chat.person().clone();
    let sent = chat.person_says("read me").await?;
    let item = chat.wait_at_contact("read me").await?;
    world.phones.read(&chat.contact().number, &item).await?;
    alice
        .wait_receipt("the contact has read it", wait::STEP, |receipt| {
            receipt.room == room && receipt.event == sent && world.bridge.slot().is_ghost(&receipt.user)
        })
        .await?;
    let id = chat.contact_says("and you read me").await?;
    let event = chat.wait_in_room("and you read me").await?;
    alice.read_up_to(&room, &event.id).await?;
    let number = chat.contact().number.clone();
    wait::until("the contact's phone shows it as read", wait::STEP, || async {
        let receipts = world.phones.receipts(&number);
        Ok(receipts.iter().any(|r| r.kind == "read" && r.ids.contains(&id)).then_some(()))
    })
    .await
}

async fn many_messages_keep_their_order(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let from_whatsapp = async {
        for number in 0..60 {
            chat.contact_says(&format!("contact {number}")).await?;
        }
        anyhow::Ok(())
    };
    let from_matrix = async {
        for number in 0..60 {
            chat.person_says(&format!("person {number}")).await?;
        }
        anyhow::Ok(())
    };
    let (there, back) = futures_util::future::join(from_whatsapp, from_matrix).await;
    there.and(back)
}

/// What is stored late in one chat must not stop the others.
async fn many_chats_at_once(world: &mut World) -> Result<()> {
    let (alice, login, _) = world.log_in("alice").await?;
    let mut chats = Vec::new();
    for number in 0..12 {
        let chat = world.chat_with(&alice, &login, &format!("contact {number}"))?;
        chat.begin(&format!("hello from {number}")).await?;
        chats.push(chat);
    }
    // In each round all lanes are idle when it begins: what is stored in one falls into the taking of another.
    for round in 0..12 {
        for (number, chat) in chats.iter().enumerate() {
            chat.contact_says(&format!("{number} says {round}")).await?;
        }
        for chat in &chats {
            chat.wait_all(wait::STEP).await?;
        }
    }
    Ok(())
}

async fn number_and_lid_are_one_person(world: &mut World) -> Result<()> {
    // A contact whom the network addresses by number; the own phone knows the LID, too.
    let (alice, account, _) = world.log_in("alice").await?;
    let bob = world.phones.create_account_by_number("bob")?;
    let chat = world.chat(&alice, &account, &bob);
    let first = chat.begin("by my number").await?;
    let lid = format!("{}@lid", bob.lid);
    world.phones.send(&account.number, &lid, "to your lid").await?;
    let second = chat.wait_in_room("to your lid").await?;
    ensure!(first.room == second.room, "one room");
    chat.person_says("one answer").await?;
    let third = chat.begin("from my number again").await?;
    ensure!(first.sender == third.sender, "one ghost: {} and {}", first.sender, third.sender);
    Ok(())
}

async fn strange_texts_cross_unchanged(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let long = "long ".repeat(4000);
    let texts = [
        "two\nlines",
        " spaces around ",
        "<b>no bold</b> & so",
        "*stars* _lines_",
        "😀👩‍👩‍👧‍👦🇪🇺",
        "\u{202e}right to left",
        long.trim(),
    ];
    for text in texts {
        chat.begin(text).await?;
    }
    for text in texts {
        // The same words again, so that each text is said once per direction.
        let text = format!("back: {text}");
        chat.person_says(&text).await?;
        chat.wait_at_contact(&text).await?;
    }
    Ok(())
}

async fn logs_hold_nothing_of_people(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for round in 0..3 {
        chat.begin(&format!("secret of bob's, {round}")).await?;
        chat.own_phone_says(&format!("secret of the own phone, {round}")).await?;
        chat.person_says(&format!("secret of alice's, {round}")).await?;
        chat.wait_at_contact(&format!("secret of alice's, {round}")).await?;
        world.bridge.restart().await?;
    }
    chat.wait_all(wait::STEP).await?;
    let log = world.bridge.log()?;
    let (login, contact) = (chat.login(), chat.contact());
    for word in ["secret of", &login.number, &contact.number, &login.lid, &contact.lid] {
        let line = log.lines().find(|line| line.contains(word));
        ensure!(line.is_none(), "{word:?} is in the log: {line:?}");
    }
    let token = world.bridge.slot().text("/appservice/as_token")?;
    ensure!(!log.contains(token), "the token is in the log");
    Ok(())
}
