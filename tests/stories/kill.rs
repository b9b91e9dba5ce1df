//! Killed at any moment, the bridge loses nothing and doubles nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use matrix_bed::chance::Chance;
use matrix_bed::chat::Chat;
use matrix_bed::world::World;

matrix_bed::stories! {
    shared {
        killed_at_every_named_point
        killed_twenty_times_by_chance
    }
    own {}
}

/// After each durable step, in both directions.
const FROM_WHATSAPP: [&str; 4] =
    ["from_wa.after_store", "from_wa.after_reserve", "from_wa.after_send", "from_wa.after_settle"];
const FROM_MATRIX: [&str; 5] = [
    "mx.txn.after_commit",
    "from_mx.after_store",
    "from_mx.after_reserve",
    "from_mx.after_send",
    "from_mx.after_settle",
];

#[derive(Clone, Copy)]
enum Direction {
    FromWhatsApp,
    FromMatrix,
}

async fn killed_at_every_named_point(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for point in FROM_WHATSAPP {
        die_at(world, &chat, point, Direction::FromWhatsApp).await?;
    }
    for point in FROM_MATRIX {
        die_at(world, &chat, point, Direction::FromMatrix).await?;
    }
    Ok(())
}

/// Says five things; the bridge dies at the first, and then, started again, at the third that passes the point.
async fn die_at(world: &mut World, chat: &Chat, point: &str, direction: Direction) -> Result<()> {
    for passed in [0, 2] {
        let word = format!("{point}, after {passed}");
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}={passed}*off->return")).await?;
        for number in 0..5 {
            let text = format!("{word}: {number}");
            match direction {
                Direction::FromWhatsApp => chat.contact_says(&text).await.map(drop)?,
                Direction::FromMatrix => chat.person_says(&text).await.map(drop)?,
            }
        }
        let limit = Duration::from_secs(60);
        let status = world.bridge.wait_exit(limit).await.with_context(|| format!("dying at {word}"))?;
        ensure!(!status.success(), "the bridge died at {word}, it did not end: {status}");
        world.bridge.start().await?;
        chat.wait_all(limit).await.with_context(|| format!("after dying at {word}"))?;
        // What is wrong is found at the point it came from.
        world.bridge.wait_idle().await?;
        chat.check_laws().await.with_context(|| format!("after dying at {word}"))?;
    }
    Ok(())
}

async fn killed_twenty_times_by_chance(world: &mut World) -> Result<()> {
    const KILLS: usize = 20;
    const MESSAGES: usize = 200;
    let mut chance = Chance::from_environment();
    let chat = world.begin().await?;
    for kill in 0..KILLS {
        let range = kill * MESSAGES / KILLS..(kill + 1) * MESSAGES / KILLS;
        let said = async {
            for number in range {
                chat.contact_says(&format!("contact {number}")).await?;
                chat.person_says(&format!("person {number}")).await?;
            }
            anyhow::Ok(())
        };
        // Talking goes on while the bridge dies, wherever it is.
        let moment = Duration::from_millis(chance.below(700));
        let killed = async {
            tokio::time::sleep(moment).await;
            world.bridge.kill9()
        };
        let (said, killed) = futures_util::future::join(said, killed).await;
        said.and(killed)?;
        world.bridge.start().await.with_context(|| format!("start after kill {kill}"))?;
    }
    Ok(())
}
