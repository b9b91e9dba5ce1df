//! The build that ships, without the simulator's exception.

use anyhow::{Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use xtask::places;

matrix_bed::stories! {
    shared {
        the_shipped_build_goes_on_with_a_paired_login
        the_shipped_build_refuses_the_simulator_at_a_pairing
    }
}

fn use_shipped_build(world: &mut World) -> Result<()> {
    let shipped = places::shipped_bridge();
    ensure!(
        shipped.exists(),
        "no {}: build it with `CARGO_TARGET_DIR={} cargo build --release -p matrix-whatsapp` (`cargo xtask test` does)",
        shipped.display(),
        places::shipped_target().display()
    );
    world.bridge.use_binary(shipped);
    Ok(())
}

async fn the_shipped_build_goes_on_with_a_paired_login(world: &mut World) -> Result<()> {
    // Paired by the test build; the certificate is then in the database, and Noise IK needs no exception.
    let chat = world.begin().await?;
    let status = world.bridge.stop().await?;
    ensure!(status.success(), "{status}");
    use_shipped_build(world)?;
    world.bridge.start().await?;
    chat.begin("to the shipped build").await?;
    chat.person_says("from the shipped build").await?;
    chat.wait_at_contact("from the shipped build").await?;
    Ok(())
}

async fn the_shipped_build_refuses_the_simulator_at_a_pairing(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    world.bridge.stop().await?;
    use_shipped_build(world)?;
    world.bridge.start().await?;
    let asked = std::time::Instant::now();
    alice.send_text(management.room(), "login qr").await?;
    let bridge = &world.bridge;
    wait::until("the certificate is refused, says the log", wait::STEP, || async {
        Ok(bridge.log()?.contains("intermediate signature failed").then_some(()))
    })
    .await?;
    let bot = world.bridge.slot().bot();
    let answer = alice
        .wait_event("the bot says why there is no code", wait::STEP * 2, |event| {
            event.room == management.room()
                && event.sender == bot
                && event.arrived >= asked
                && event.kind == "m.room.message"
        })
        .await?;
    ensure!(!answer.is_message("m.image"), "a code of a server that is not WhatsApp was shown");
    Ok(())
}
