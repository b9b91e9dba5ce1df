//! Killed at any moment, the bridge loses nothing and doubles nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use matrix_bed::chance::Chance;
use matrix_bed::chat::Chat;
use matrix_bed::wait;
use matrix_bed::world::World;

matrix_bed::stories! {
    shared {
        killed_at_every_named_point
        killed_twenty_times_by_chance
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    FromWhatsApp,
    FromMatrix,
}

/// Finds every named place where the bridge can be made to die, in its sources: none can be forgotten here.
fn find_points() -> Result<Vec<(String, Direction)>> {
    let mut points = Vec::new();
    let mut folders = vec![xtask::places::root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                points.extend(std::fs::read_to_string(&path)?.split("fail_point!(").skip(1).filter_map(read_point));
            }
        }
    }
    points.sort_by(|one, other| one.0.cmp(&other.0));
    points.dedup_by(|one, other| one.0 == other.0);
    Ok(points)
}

/// Reads `"name", |_| std::process::abort())`; points that do something else, and poison, have their own stories.
fn read_point(text: &str) -> Option<(String, Direction)> {
    let statement = text.split(';').next()?;
    let name = statement.split('"').nth(1)?;
    let direction = if name.starts_with("from_wa.") { Direction::FromWhatsApp } else { Direction::FromMatrix };
    // Those of files, of people's own accounts, of what they do with chats and of outcomes are passed by these only: their stories go through them.
    let kills = statement.contains("abort()")
        && !name.ends_with(".poison")
        && !name.starts_with("files.")
        && !name.starts_with("logins.")
        && !name.starts_with("puppet.")
        && !name.starts_with("appstate.")
        && !name.starts_with("outcome.");
    kills.then(|| (name.to_owned(), direction))
}

impl std::fmt::Debug for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::FromWhatsApp { "from WhatsApp" } else { "from Matrix" })
    }
}

async fn killed_at_every_named_point(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let points = find_points()?;
    for (point, direction) in points.clone() {
        die_at(world, &chat, &point, direction, 0).await?;
        // A room is only made once, so its point is not passed again in this chat.
        if point != "from_wa.after_room" {
            die_at(world, &chat, &point, direction, 2).await?;
        }
    }
    for step in ["from_wa.after_store", "from_wa.after_send", "mx.txn.", "from_mx.after_reserve", "from_mx.after_send"]
    {
        ensure!(points.iter().any(|(name, _)| name.starts_with(step)), "no kill point {step}: {points:?}");
    }
    Ok(())
}

/// Says one thing after another until the bridge dies, as it does when the point is reached after `passed` times; then
/// some more, which it finds when it starts again.
async fn die_at(world: &mut World, chat: &Chat, point: &str, direction: Direction, passed: u32) -> Result<()> {
    let word = format!("{point}, after {passed}");
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points(&format!("{point}={passed}*off->return")).await?;
    // Somebody new the first time, so that the room itself is in the making when the bridge dies.
    let stranger = match (direction, passed) {
        (Direction::FromWhatsApp, 0) => {
            Some(world.chat_with(chat.person(), chat.login(), &format!("stranger {point}"))?)
        }
        _ => None,
    };
    let chat = stranger.as_ref().unwrap_or(chat);
    let mut left_to_say = 3;
    for number in 0..20 {
        let text = format!("{word}: {number}");
        match direction {
            Direction::FromWhatsApp => chat.contact_says(&text).await.map(drop)?,
            Direction::FromMatrix => chat.person_says(&text).await.map(drop)?,
        }
        if !world.bridge.is_running()? {
            left_to_say -= 1;
            if left_to_say == 0 {
                break;
            }
            continue;
        }
        // Each thing by itself, so that it passes the point by itself.
        let arrived = async {
            match direction {
                Direction::FromWhatsApp => chat.wait_in_room(&text).await.map(drop),
                Direction::FromMatrix => chat.wait_at_contact(&text).await.map(drop),
            }
        };
        tokio::select! {
            arrived = arrived => arrived?,
            died = world.bridge.wait_exit(wait::STEP * 2) => died.map(drop)?,
        }
    }
    let limit = Duration::from_secs(60);
    ensure!(!world.bridge.is_running()?, "the bridge did not die at {word}");
    world.bridge.start().await?;
    chat.wait_all(limit).await.with_context(|| format!("after dying at {word}"))?;
    // What is wrong is found at the point it came from.
    world.bridge.wait_idle().await?;
    chat.check_laws().await.with_context(|| format!("after dying at {word}"))
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
