//! What must not hurt: strange, broken and hostile input.

use anyhow::{Result, ensure};
use matrix_bed::phones::FaultKind;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;

matrix_bed::stories! {
    shared {
        transactions_that_are_wrong
        transactions_that_are_large
        one_bad_event_in_a_good_transaction
        a_text_with_a_zero_character
        a_row_that_can_not_be_read
        a_row_that_kills_the_process_whenever_it_is_tried
        whatsapp_says_what_nobody_knows
        whatsapp_sends_what_can_not_be_decrypted
    }
}

async fn transactions_that_are_wrong(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let token = world.bridge.slot().text("/appservice/hs_token")?.to_owned();
    let empty = || br#"{"events": []}"#.to_vec();
    let cases = [
        ("not the token", empty(), 403),
        ("", empty(), 403),
        (&token[..token.len() - 1], empty(), 403),
        (&token, b"this is not JSON".to_vec(), 400),
        (&token, b"[]".to_vec(), 400),
        (&token, Vec::new(), 400),
        (&token, b"\xff\xfe".to_vec(), 400),
        (&token, empty(), 200),
    ];
    for (number, (token, body, wanted)) in cases.into_iter().enumerate() {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let (status, answer) = world.bridge.put_transaction(token, &format!("wrong{number}"), body).await?;
        // Without any token it may also be 401 (application service API, "Authorization").
        let fits = status == wanted || (token.is_empty() && status == 401);
        ensure!(fits, "{wanted} expected for {shown:?} with {token:?}, got {status}: {answer}");
    }
    ensure!(world.bridge.is_running()?, "the bridge lives");
    chat.begin("all is well").await?;
    chat.person_says("indeed").await?;
    Ok(())
}

async fn transactions_that_are_large(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let token = world.bridge.slot().text("/appservice/hs_token")?.to_owned();
    let events: Vec<_> = (0..200)
        .map(|number| {
            json!({"type": "m.room.message", "event_id": format!("$large{number}"), "room_id": "!nowhere:test.local",
                "sender": "@nobody:test.local", "origin_server_ts": 1, "content": {"msgtype": "m.text",
                "body": "x".repeat(50_000)}})
        })
        .collect();
    let large = serde_json::to_vec(&json!({"events": events}))?;
    ensure!(large.len() > 10_000_000, "{}", large.len());
    let (status, answer) = world.bridge.put_transaction(&token, "large", large).await?;
    ensure!(status == 200, "a transaction of 10 MB is legitimate: {status} {answer}");
    // Refused by what it says of itself, before anything is read.
    let status = world.bridge.announce_transaction(&token, "too large", 65 << 20).await?;
    ensure!(status == 413, "one above 64 MiB is refused: {status}");
    chat.person_says("all is well").await?;
    Ok(())
}

async fn one_bad_event_in_a_good_transaction(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let token = world.bridge.slot().text("/appservice/hs_token")?.to_owned();
    let (room, alice) = (chat.room()?, chat.person().id().to_owned());
    let good = |id: &str, text: &str| {
        json!({"type": "m.room.message", "event_id": id, "room_id": room, "sender": alice,
            "origin_server_ts": 1, "content": {"msgtype": "m.text", "body": text}})
    };
    let bad = json!({"type": "m.room.message", "event_id": "$bad", "room_id": room, "sender": alice,
        "origin_server_ts": "yesterday", "content": {"msgtype": 7, "body": ["not", "text"]}});
    let worse = json!({"what": "is this"});
    let events =
        json!({"events": [good("$first", "before the bad one"), bad, worse, good("$last", "after the bad one")]});
    let (status, answer) = world.bridge.put_transaction(&token, "mixed", serde_json::to_vec(&events)?).await?;
    ensure!(status == 200, "{status} {answer}");
    chat.wait_at_contact("before the bad one").await?;
    chat.wait_at_contact("after the bad one").await?;
    world.bridge.wait_idle().await?;
    let health = world.bridge.health().await?;
    ensure!(health["inbox"]["failed"].as_u64().is_some_and(|failed| failed >= 1), "kept as failed: {health}");
    chat.person_says("all is well").await?;
    Ok(())
}

async fn a_text_with_a_zero_character(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    // What becomes of the character is free; that the text comes is not.
    world.phones.send(&chat.contact().number, &chat.login().number, "zero\0character").await?;
    let cleaned = |body: &str| body.contains("zero") && body.contains("character");
    chat.person().wait_event("the text around the zero", wait::STEP, |event| cleaned(event.body())).await?;
    chat.begin("the next one").await?;
    Ok(())
}

async fn a_row_that_can_not_be_read(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let garbage = world.database.literal(b"\xff\x00 this was a row");
    let spoil = format!("UPDATE inbox SET body = {garbage} WHERE state = 'waiting'");
    for point in ["from_wa.after_store", "from_mx.poison"] {
        world.bridge.stop().await?;
        world.bridge.start_with_kill_points(&format!("{point}=return")).await?;
        if point == "from_wa.after_store" {
            world.phones.send(&chat.contact().number, &chat.login().number, "to be spoiled").await?;
        } else {
            chat.person().send_text(&room, "to be spoiled, too").await?;
        }
        world.bridge.wait_exit(wait::STEP).await?;
        let spoiled = world.database.execute(&spoil).await?;
        ensure!(spoiled >= 1, "a row waits after {point}");
        world.bridge.start().await?;
        chat.begin(&format!("after the row of {point}")).await?;
        let on = format!("on after the row of {point}");
        chat.person_says(&on).await?;
        // Nothing else may wait when the next round spoils what waits.
        chat.wait_at_contact(&on).await?;
        world.bridge.wait_idle().await?;
    }
    Ok(())
}

async fn a_row_that_kills_the_process_whenever_it_is_tried(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let alice = chat.person().clone();
    world.bridge.stop().await?;
    alice.send_text(&room, "deadly").await?;
    // Until the row is given up, every start ends at it.
    let mut deaths = 0;
    loop {
        world.bridge.start_with_kill_points("from_mx.poison=return").await?;
        let told = alice.wait_event("a word that it was not delivered", wait::STEP, |event| {
            event.room == room && event.sender != alice.id() && event.is_message("m.notice")
        });
        let died = world.bridge.wait_exit(wait::STEP * 2);
        tokio::select! {
            told = told => break told.map(drop)?,
            died = died => died.map(drop)?,
        }
        deaths += 1;
        ensure!(deaths < 6, "the row is never given up");
    }
    ensure!(deaths >= 1, "the kill point was never reached");
    world.bridge.restart().await?;
    chat.person_says("the next one").await?;
    chat.wait_at_contact("the next one").await?;
    Ok(())
}

async fn whatsapp_says_what_nobody_knows(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.phones.fault(&chat.login().number, FaultKind::UnknownStanza, 1)?;
    chat.begin("all is well").await?;
    chat.person_says("indeed").await?;
    Ok(())
}

async fn whatsapp_sends_what_can_not_be_decrypted(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    // The phone is asked to send it again, and does.
    world.phones.fault(&chat.login().number, FaultKind::CorruptCiphertext, 1)?;
    chat.contact_says("garbled at first").await?;
    chat.wait_in_room("garbled at first").await?;
    chat.begin("and on").await?;
    Ok(())
}
