//! What administrators do for others: act as somebody, act in another room, tell everybody something.

use super::{Call, Words, database};
use crate::matrix::error::{MatrixError, Result};
use crate::verdict::Verdict;
use ruma::{RoomId, UserId};
use serde_json::json;

/// Runs a command as somebody else: with their level and their accounts. The answers come here.
pub(super) async fn sudo(call: Call, usage: &str) -> Result<()> {
    let mut words = call.rest.iter();
    let (Some(user), Some(name)) = (words.next(), words.next()) else {
        return call.answer(&format!("Say `{usage}`.")).await;
    };
    if UserId::parse(user).is_err() {
        return call.answer("Name the person by their whole Matrix id, such as `@anna:example.com`.").await;
    }
    if call.is_for_another() {
        return call.answer("One command for somebody else at a time.").await;
    }
    let words = Words { name: name.to_lowercase(), rest: words.cloned().collect() };
    let user = user.clone();
    super::run_words(Call { sender: user, ..call }, words).await
}

/// Runs a command as if it had been said in another room. The answers come here.
pub(super) async fn do_in(call: Call, usage: &str) -> Result<()> {
    let mut words = call.rest.iter();
    let (Some(room), Some(name)) = (words.next(), words.next()) else {
        return call.answer(&format!("Say `{usage}`.")).await;
    };
    let Ok(room) = RoomId::parse(room) else {
        return call.answer("Name the room by its id, which begins with `!`.").await;
    };
    if call.is_for_another() {
        return call.answer("One command for another room at a time.").await;
    }
    let words = Words { name: name.to_lowercase(), rest: words.cloned().collect() };
    super::run_words(Call { room, ..call }, words).await
}

/// Says something in every management room.
pub(super) async fn announce(call: &Call, usage: &str) -> Result<()> {
    let text = call.rest.join(" ");
    if text.trim().is_empty() {
        return call.answer(&format!("Say `{usage}`.")).await;
    }
    let rooms = call.bridge.store().management_rooms().await.map_err(database)?;
    let (mut told, mut untold) = (0_usize, 0_usize);
    for (mxid, room) in &rooms {
        let Ok(room) = RoomId::parse(room) else { continue };
        // Each room has a name of its own for it, so that a repeated row tells nobody twice.
        match call.bridge.say(&room, &text, &call.event_id, &format!("announce:{mxid}")).await {
            Ok(_) => told += 1,
            Err(error)
                if matches!(error.verdict(), Verdict::Blocked(_) | Verdict::Later { .. } | Verdict::Away { .. }) =>
            {
                return Err(error);
            }
            Err(_) => untold += 1,
        }
    }
    let failed = if untold == 0 { String::new() } else { format!(" {untold} could not be reached.") };
    call.answer(&format!("Told {told} people.{failed}")).await
}

/// Gives somebody a power in the room, by the bot's own.
pub(super) async fn set_power(call: &Call, usage: &str) -> Result<()> {
    let (user, power) = match call.rest.as_slice() {
        [power] => (call.sender.as_str(), power),
        [user, power] => (user.as_str(), power),
        _ => return call.answer(&format!("Say `{usage}`.")).await,
    };
    let (Ok(user), Some(power)) =
        (UserId::parse(user), power.parse::<i64>().ok().filter(|power| (0..=100).contains(power)))
    else {
        return call.answer(&format!("Say `{usage}`: a whole Matrix id and a number from 0 to 100.")).await;
    };
    let matrix = call.bridge.matrix();
    if matrix.is_ours(&user) {
        // Without the bot's own power nobody could change anything here any more, the bot neither.
        return call.answer("That is one of the bridge's own; their powers are mine to keep.").await;
    }
    let Some(mut powers) = matrix.get_state(&call.room, "m.room.power_levels", "").await? else {
        return call.answer("This room has no powers that I could change.").await;
    };
    match powers["users"].as_object_mut() {
        Some(users) => drop(users.insert(user.to_string(), power.into())),
        None => powers["users"] = json!({ user.as_str(): power }),
    }
    match matrix.send_state(&call.room, matrix.bot(), "m.room.power_levels", "", &powers).await {
        Ok(_) => call.answer(&format!("{user} has the power {power} in this room now.")).await,
        Err(MatrixError::Forbidden { .. } | MatrixError::Refused { .. }) => {
            call.answer(
                "The homeserver does not let me: I may give at most my own power, and take it only from who has less.",
            )
            .await
        }
        Err(error) => Err(error),
    }
}
