//! Commands of administrators that look for faults: connections made anew, account data said by hand.

use anyhow::{Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::Value;
use whatsapp_sim::AppStateItem;

use crate::people::{set_level, wait_told};

matrix_bed::stories! {
    shared {
        administrators_have_connections_made_anew
        account_data_is_said_by_hand
    }
}

/// What each new connection asks once.
const BEGINNING: &str = "w:sync:app:state set sync";

async fn administrators_have_connections_made_anew(world: &mut World) -> Result<()> {
    let (alice, account, alices) = world.log_in("alice").await?;
    let (dora, doras_account, doras) = world.log_in("dora").await?;
    let (bob, carol) = (world.chat_with(&alice, &account, "bob")?, world.chat_with(&dora, &doras_account, "carol")?);
    bob.begin("before").await?;
    carol.begin("before").await?;
    for command in
        ["debug-reset-network", "debug-register-push", "debug-account-data m.tag {}", "discard-megolm-session"]
    {
        doras.ask(command, "may not use this command").await?;
    }
    let simulator = world.phones.simulator().clone();
    let begun = |number: &str| simulator.requests(number).get(BEGINNING).copied().unwrap_or(0);
    let both = || [begun(&account.number), begun(&doras_account.number)];
    let after = async |before: [u64; 2]| {
        let anew = before.map(|times| times + 1);
        wait::until("both have connected", wait::STEP * 2, async || Ok((both() == anew).then_some(()))).await?;
        Ok::<_, anyhow::Error>(anew)
    };
    let before = both();
    set_level(world, &alice, "admin").await?;
    let before = after(before).await?;
    alices.ask("debug-reset-network", "2 connections to WhatsApp are made anew").await?;
    let anew = after(before).await?;
    for (chat, words) in [(&bob, "after"), (&carol, "after, too")] {
        chat.begin(words).await?;
        chat.person_says(&format!("{words}, answered")).await?;
        chat.wait_at_contact(&format!("{words}, answered")).await?;
    }
    ensure!(both() == anew, "more than one connection each: {:?} after {before:?}", both());
    alices.ask("debug-register-push", "no push to register").await?;
    alices.ask("discard-megolm-session", "does not encrypt Matrix rooms").await?;
    Ok(())
}

async fn account_data_is_said_by_hand(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room, bot) = (chat.person().clone(), chat.room()?, world.bridge.slot().bot());
    set_level(world, &alice, "admin").await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    set_level(world, &dora, "admin").await?;
    let simulator = world.phones.simulator().clone();
    let log = || simulator.app_state(&chat.login().number);
    let written = |item: &AppStateItem| item.device != 0;
    let before = log().len();
    for (words, answer) in [
        ("m.tag", "is no JSON"),
        ("m.tag {\"tags\"", "is no JSON"),
        ("m.direct {}", "I do nothing with that"),
        ("m.tag {\"tags\": {}}", "knows that already"),
    ] {
        alice.send_text(&room, &format!("!wa debug-account-data {words}")).await?;
        wait_told(&alice, &bot, &room, answer).await?;
    }
    ensure!(log().len() == before, "something was written");
    // In somebody else's chat administrators have no account data.
    let hers = world.chat_with(&dora, &doras, "carol")?;
    hers.begin("for dora").await?;
    alice.send_text(&room, &format!("!wa doin {} debug-account-data m.tag {{}}", hers.room()?)).await?;
    wait_told(&alice, &bot, &room, "Only the owner of this chat").await?;
    let tagged = "!wa debug-account-data m.tag {\"tags\": {\"m.favourite\": {\"order\": 0.5}}}";
    alice.send_text(&room, tagged).await?;
    wait_told(&alice, &bot, &room, "Pinned on WhatsApp.").await?;
    alice.send_text(&room, "!wa debug-account-data m.marked_unread {\"unread\": true}").await?;
    wait_told(&alice, &bot, &room, "Marked as unread on WhatsApp.").await?;
    let did: Vec<Value> = log().into_iter().skip(before).filter(written).map(|item| item.value).collect();
    ensure!(did.len() == 2, "{did:?}");
    ensure!(did[0]["pinAction"]["pinned"] == true && did[1]["markChatAsReadAction"]["read"] == false, "{did:?}");
    Ok(())
}
