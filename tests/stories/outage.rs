//! One of the parts is away for a while.

use anyhow::{Result, ensure};
use matrix_bed::phones::FaultKind;
use matrix_bed::wait;
use matrix_bed::world::World;

matrix_bed::stories! {
    shared {
        what_was_said_while_the_bridge_was_down
        whatsapp_cuts_the_connection_in_mid_send
        whatsapp_sends_everything_twice
        whatsapp_goes_silent_and_comes_back
        a_send_is_refused
        one_login_that_waits_does_not_stop_another
    }
    own {
        the_homeserver_is_down_for_a_while
        the_homeserver_stops_behind_a_transaction_in_flight
        the_homeserver_is_killed_again_and_again
    }
}

async fn what_was_said_while_the_bridge_was_down(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let status = world.bridge.stop().await?;
    ensure!(status.success(), "{status}");
    for number in 0..5 {
        chat.contact_says(&format!("contact, bridge down {number}")).await?;
        chat.own_phone_says(&format!("own phone, bridge down {number}")).await?;
        chat.person_says(&format!("person, bridge down {number}")).await?;
    }
    world.bridge.start().await?;
    chat.begin("contact, bridge up").await?;
    chat.person_says("person, bridge up").await?;
    Ok(())
}

async fn whatsapp_cuts_the_connection_in_mid_send(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    for (fault, word) in [
        (FaultKind::Cut, "cut before the ack"),
        (FaultKind::CutUnseen, "cut before anything"),
        (FaultKind::CutAfterAck, "cut after the ack"),
        (FaultKind::DropAck, "no ack"),
    ] {
        world.phones.fault(&login, fault, 1)?;
        for number in 0..4 {
            chat.person_says(&format!("{word} {number}")).await?;
            chat.contact_says(&format!("meanwhile, {word} {number}")).await?;
        }
        chat.wait_at_contact_for(&format!("{word} 3"), std::time::Duration::from_secs(90)).await?;
    }
    Ok(())
}

async fn whatsapp_sends_everything_twice(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.phones.fault(&chat.login().number, FaultKind::Double, 10)?;
    for number in 0..10 {
        chat.contact_says(&format!("twice on the wire {number}")).await?;
    }
    chat.begin("once").await?;
    Ok(())
}

async fn whatsapp_goes_silent_and_comes_back(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let login = chat.login().number.clone();
    world.phones.fault(&login, FaultKind::Hold, 0)?;
    for number in 0..5 {
        chat.contact_says(&format!("held {number}")).await?;
        chat.person_says(&format!("unacked {number}")).await?;
    }
    // The bridge is killed while it waits for acks: it must not think the messages sent, nor send them as new ones.
    world.bridge.restart().await?;
    world.phones.fault(&login, FaultKind::Release, 0)?;
    chat.begin("released").await?;
    Ok(())
}

async fn a_send_is_refused(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let room = chat.room()?;
    let alice = chat.person().clone();
    world.phones.fault(&chat.login().number, FaultKind::Nack(463), 1)?;
    alice.send_text(&room, "refused").await?;
    alice
        .wait_event("a word that it was not delivered", wait::STEP, |event| {
            event.room == room && event.sender != alice.id() && event.is_message("m.notice")
        })
        .await?;
    chat.person_says("the next one goes through").await?;
    Ok(())
}

async fn one_login_that_waits_does_not_stop_another(world: &mut World) -> Result<()> {
    let held = world.begin().await?;
    let (carol, account, _) = world.log_in("carol").await?;
    let free = world.chat(&carol, &account, held.contact());
    free.begin("hello carol").await?;
    world.phones.fault(&held.login().number, FaultKind::Hold, 0)?;
    for number in 0..3 {
        held.person_says(&format!("waits for its ack {number}")).await?;
        free.person_says(&format!("goes through {number}")).await?;
        free.wait_at_contact(&format!("goes through {number}")).await?;
        free.begin(&format!("and back {number}")).await?;
    }
    world.phones.fault(&held.login().number, FaultKind::Release, 0)
}

async fn the_homeserver_is_down_for_a_while(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    chat.person_says("before").await?;
    world.synapse.stop().await?;
    for number in 0..10 {
        chat.contact_says(&format!("homeserver down {number}")).await?;
    }
    world.synapse.start_again().await?;
    chat.person_says("after").await?;
    chat.begin("all is well").await?;
    Ok(())
}

async fn the_homeserver_stops_behind_a_transaction_in_flight(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    // The frozen bridge holds the first transaction open; what follows waits in Synapse's memory only, and is gone
    // with its stop. Only a look at the rooms themselves can find it.
    world.bridge.process()?.freeze()?;
    for number in 0..6 {
        chat.person_says(&format!("in flight or behind {number}")).await?;
    }
    world.synapse.stop().await?;
    world.bridge.process()?.thaw()?;
    world.synapse.start_again().await?;
    for number in 0..3 {
        chat.person_says(&format!("after the stop {number}")).await?;
    }
    chat.wait_at_contact_for("after the stop 2", std::time::Duration::from_secs(120)).await?;
    Ok(())
}

async fn the_homeserver_is_killed_again_and_again(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for round in 0..3 {
        for number in 0..10 {
            chat.contact_says(&format!("round {round}, contact {number}")).await?;
            chat.person_says(&format!("round {round}, person {number}")).await?;
        }
        world.synapse.kill().await?;
        chat.contact_says(&format!("round {round}, without a homeserver")).await?;
        world.synapse.start_again().await?;
    }
    Ok(())
}
