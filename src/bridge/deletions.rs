//! Chat rooms deleted by command: forgotten at once, then left one by one, and told of.
//!
//! What was asked for is written down with its rooms, so a restart goes on with them. A chat forgets its room first, in one
//! transaction: its next message makes a new one and never goes into a room that people are taken out of.
//! Everything that follows may be repeated. One room that can not be left keeps none of the others.

use super::Bridge;
use super::budget::in_background;
use super::people::Halt;
use super::rooms::room_id;
use crate::convert::edit::replacement;
use crate::convert::notice;
use crate::matrix::error::MatrixError;
use crate::matrix::rooms::BridgedChat;
use crate::store::deletions::{Deletion, Doomed, Farewell, LeftRoom, Telling};
use crate::store::portals::PortalKind;
use crate::verdict::{MAX_ATTEMPTS, Verdict, backoff};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ruma::RoomId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Rooms left at the same time.
const ROOMS: usize = 4;
/// Rooms looked up at once.
const BATCH: i64 = 40;
/// The longest pause between two looks.
const ROUND: Duration = Duration::from_secs(60);
/// Pause after the database or the homeserver failed.
const PAUSE: Duration = Duration::from_secs(3);
/// How often it is looked how far a deletion is.
const LOOK: Duration = Duration::from_millis(500);
/// The shortest time between two edits of its notice.
const PACE: Duration = Duration::from_secs(5);
/// Most rooms one notice names.
const MOST_NAMED: usize = 30;

/// What wakes the work on deletions.
#[derive(Default)]
pub struct Deletions {
    leaving_all: Notify,
    leaving_one: Notify,
    telling: Notify,
}

impl Bridge {
    /// Deletes rooms for a command, in the background; see the module. One chat's is given up at once. The same command again
    /// begins nothing.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(crate) async fn begin_deletion(
        &self,
        cause: &str,
        telling: Telling,
        tell_room: &RoomId,
        doomed: Doomed,
        farewell: &Farewell,
    ) -> Result<(), Halt> {
        self.store().put_deletion(cause, telling, tell_room.as_str(), doomed, farewell).await?;
        if let Doomed::Of(id) = doomed {
            for row in self.store().rooms_to_give_up().await?.iter().filter(|row| row.portal == Some(id)) {
                self.give_up_room(row).await?;
            }
        }
        self.shared.deletions.leaving_all.notify_one();
        self.shared.deletions.leaving_one.notify_one();
        self.shared.deletions.telling.notify_one();
        Ok(())
    }

    /// Leaves rooms that are to be deleted, and tells how far it is, until the process stops.
    pub async fn run_deletions(&self) {
        // One room is what somebody waits for; it does not stand behind all of them.
        let work = async { tokio::join!(self.run_leaving(true), self.run_leaving(false), self.run_telling()) };
        self.stop().run_until_cancelled(work).await;
    }

    async fn run_leaving(&self, of_all: bool) {
        let rung = if of_all { &self.shared.deletions.leaving_all } else { &self.shared.deletions.leaving_one };
        loop {
            let pause = match self.leave_rooms(of_all).await {
                Ok(pause) => pause,
                Err(halt) => {
                    tracing::warn!(?halt, "rooms that are to be deleted are still there; it is tried again");
                    self.matrix().wait_until_reachable().await;
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = rung.notified() => {}
            }
        }
    }

    /// One look; how long it may be until the next.
    async fn leave_rooms(&self, of_all: bool) -> Result<Duration, Halt> {
        for row in self.store().rooms_to_give_up().await? {
            self.give_up_room(&row).await?;
        }
        let rows = self.store().rooms_to_leave(of_all, BATCH).await?;
        let now = self.store().clock().now_ms();
        let (due, later): (Vec<LeftRoom>, Vec<LeftRoom>) = rows.into_iter().partition(|row| row.due_at <= now);
        if due.is_empty() {
            let next = later.first().map(|row| Duration::from_millis((row.due_at - now).unsigned_abs()));
            return Ok(next.unwrap_or(ROUND).min(ROUND));
        }
        let mut rows = due.iter();
        let mut leaving = FuturesUnordered::new();
        let mut all = Ok(Duration::ZERO);
        loop {
            while leaving.len() < ROOMS && all.is_ok() {
                let Some(row) = rows.next() else { break };
                leaving.push(self.leave_one(row, of_all));
            }
            match leaving.next().await {
                Some(Ok(())) => {}
                Some(Err(halt)) => all = Err(halt),
                None => return all,
            }
        }
    }

    /// Has a chat forget its room, if it still has it.
    pub(super) async fn give_up_room(&self, row: &LeftRoom) -> Result<(), Halt> {
        let Some(id) = row.portal else { return Ok(()) };
        let portal = self.store().load_portal(id).await?;
        let alias = self.store().derive().alias(&portal.chat, portal.receiver.as_ref(), &row.room);
        let mut tx = self.store().begin("deletions.give_up").await?;
        self.store().give_up_room_in(&mut tx, &portal, &row.room, &alias).await?;
        tx.commit().await?;
        fail::fail_point!("deletion.given_up", |_| super::states::die_here());
        self.forget_room(id);
        self.wake_spaces();
        Ok(())
    }

    async fn leave_one(&self, row: &LeftRoom, may_wait: bool) -> Result<(), Halt> {
        let left = match may_wait {
            true => in_background(self.leave_room(row)).await,
            false => self.leave_room(row).await,
        };
        match left {
            Ok(()) => {
                fail::fail_point!("deletion.room_left", |_| super::states::die_here());
                Ok(self.store().room_is_left(&row.room).await?)
            }
            Err(halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(_)))) => Err(halt),
            Err(Halt::Verdict(verdict)) => {
                let tries = row.tries + 1;
                tracing::warn!(mx.room_id = %row.room, tries, ?verdict, "a room could not be left");
                let pause = i64::try_from(backoff(tries, rand::random()).as_millis()).unwrap_or(i64::MAX);
                let due_at = self.store().clock().now_ms().saturating_add(pause);
                Ok(self.store().put_off_leaving(&row.room, tries, due_at, tries >= MAX_ATTEMPTS).await?)
            }
        }
    }

    async fn leave_room(&self, row: &LeftRoom) -> Result<(), Halt> {
        let (room, bot) = (room_id(&row.room)?, self.matrix().bot());
        let is_in = match self.matrix().membership(&room, bot).await {
            Ok(membership) => membership.as_deref() == Some("join"),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        if !is_in {
            return Ok(());
        }
        if let Some(next) = &row.goes_on {
            self.point_on(&room, next, &row.cause).await?;
        }
        // A room the bridge has not made belongs to the people in it.
        let stays = row.keeps_people || self.is_of_others(&room).await?;
        if stays {
            self.undress(&room, &row.alias).await?;
        }
        self.empty_room(&room, stays).await
    }

    /// Whether somebody else than the bridge has made a room.
    pub(super) async fn is_of_others(&self, room: &RoomId) -> Result<bool, Halt> {
        match self.matrix().creator_of(room).await {
            Ok(maker) => Ok(maker.is_some_and(|maker| maker != self.matrix().bot().as_str())),
            // The bot is not in it.
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Says in a room where its chat goes on, and closes it where the bot may.
    async fn point_on(&self, room: &RoomId, next: &str, cause: &str) -> Result<(), Halt> {
        let bot = self.matrix().bot();
        let tell = format!("This chat goes on in another room: https://matrix.to/#/{next}");
        may_refuse(self.say(room, &tell, cause, "goes-on").await)?;
        let content = json!({ "body": "This chat goes on in another room.", "replacement_room": next });
        may_refuse(self.matrix().send_state(room, bot, "m.room.tombstone", "", &content).await)
    }

    /// Takes away what the bridge has written on a room.
    pub(super) async fn undress(&self, room: &RoomId, alias: &str) -> Result<(), Halt> {
        let chat = BridgedChat { key: alias, channel_id: alias, channel_name: None };
        let mut pieces = self.matrix().bridge_state(&chat);
        pieces.push(self.matrix().functional_members());
        pieces.push(super::timers::features(PortalKind::Direct));
        for piece in pieces {
            let now = self.matrix().get_state(room, &piece.event_type, &piece.state_key).await?;
            if now.as_ref().and_then(Value::as_object).is_some_and(|now| !now.is_empty()) {
                let bot = self.matrix().bot();
                let set = self.matrix().send_state(room, bot, &piece.event_type, &piece.state_key, &json!({})).await;
                may_refuse(set)?;
            }
        }
        Ok(())
    }

    async fn run_telling(&self) {
        let mut edited: HashMap<String, Instant> = HashMap::new();
        loop {
            let open = match self.store().open_deletions().await {
                Ok(open) => open,
                Err(error) => {
                    tracing::warn!(%error, "how far deletions are can not be read");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            edited.retain(|cause, _| open.iter().any(|deletion| deletion.cause == *cause));
            for deletion in &open {
                if let Err(halt) = self.tell_deletion(deletion, &mut edited).await {
                    tracing::debug!(?halt, "how far a deletion is was not told yet");
                }
            }
            tokio::select! {
                () = self.shared.deletions.telling.notified() => {}
                () = tokio::time::sleep(LOOK), if !open.is_empty() => {}
            }
        }
    }

    async fn tell_deletion(&self, deletion: &Deletion, edited: &mut HashMap<String, Instant>) -> Result<(), Halt> {
        let (waiting, failed) = self.store().rooms_left_of(&deletion.cause).await?;
        let is_end = waiting == 0;
        let done = deletion.rooms - waiting - i64::try_from(failed.len()).unwrap_or(0);
        let is_paced = edited.get(&deletion.cause).is_none_or(|at| at.elapsed() >= PACE);
        let text = match (deletion.telling, is_end) {
            (Telling::Quiet, _) => String::new(),
            (Telling::One, false) => return Ok(()),
            (Telling::One, true) => one_deleted(&self.names_of_rooms(&failed).await),
            (Telling::All, false) if !is_paced => return Ok(()),
            (Telling::All, false) => how_far(done, deletion.rooms),
            (Telling::All, true) => all_deleted(done, deletion.rooms, &self.names_of_rooms(&failed).await),
        };
        if !text.is_empty() && text != deletion.told {
            edited.insert(deletion.cause.clone(), Instant::now());
            self.show_deletion(deletion, &text).await?;
        }
        if is_end {
            fail::fail_point!("deletion.told", |_| super::states::die_here());
            self.store().deletion_has_ended(&deletion.cause).await?;
        }
        Ok(())
    }

    async fn show_deletion(&self, deletion: &Deletion, text: &str) -> Result<(), Halt> {
        let (room, cause) = (room_id(&deletion.tell_room)?, deletion.cause.as_str());
        let mut notice_id = deletion.notice.clone();
        if notice_id.is_empty() {
            // The first words are the same with every try, since a repeat does not change what stands there.
            let first = match deletion.telling {
                Telling::All => how_far(0, deletion.rooms),
                Telling::One | Telling::Quiet => text.to_owned(),
            };
            notice_id = match self.say(&room, &first, cause, "deletion").await {
                Ok(event) => event.to_string(),
                refused => return may_refuse(refused),
            };
            self.store().deletion_was_told(cause, &notice_id, &first).await?;
            if first == text {
                return Ok(());
            }
        }
        // The same words have the same name, so a repeat makes no second edit.
        let txn = self.store().derive().notice_txn(cause, text);
        let content = replacement(&notice(text), &notice_id);
        let bot = self.matrix().bot();
        may_refuse(self.matrix().send(&room, bot, "m.room.message", &txn, &content, None).await)?;
        Ok(self.store().deletion_was_told(cause, &notice_id, text).await?)
    }

    /// Rooms as people know them.
    async fn names_of_rooms(&self, rooms: &[String]) -> Vec<String> {
        let mut names = Vec::new();
        for room in rooms.iter().take(MOST_NAMED) {
            let link = format!("https://matrix.to/#/{room}");
            let state = match RoomId::parse(room) {
                Ok(id) => self.matrix().get_state(&id, "m.room.name", "").await.ok().flatten(),
                Err(_) => None,
            };
            let name = state.as_ref().and_then(|state| state["name"].as_str());
            let name: String = name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
            names.push(if name.is_empty() { link } else { format!("{name} ({link})") });
        }
        if rooms.len() > MOST_NAMED {
            names.push(format!("and {} more", rooms.len() - MOST_NAMED));
        }
        names
    }
}

/// What the homeserver does not let the bot do is left as it is.
fn may_refuse<T>(done: Result<T, MatrixError>) -> Result<(), Halt> {
    match done {
        Ok(_) | Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn one_deleted(failed: &[String]) -> String {
    match failed {
        [] => "The chat's room is deleted.".to_owned(),
        failed => format!(
            "The homeserver did not let me take everybody out of {}. The bridge has forgotten the room all the same.",
            failed.join(", ")
        ),
    }
}

fn how_far(done: i64, rooms: i64) -> String {
    format!("{done} of {rooms} rooms are deleted. I go on.")
}

fn all_deleted(done: i64, rooms: i64, failed: &[String]) -> String {
    if failed.is_empty() {
        return format!("All {rooms} rooms are deleted.");
    }
    let lines: Vec<String> = failed.iter().map(|name| format!("- {name}")).collect();
    format!(
        "{done} of {rooms} rooms are deleted. The bridge has forgotten these too, but the homeserver did not let me take \
         everybody out:\n{}",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_told_in_words() {
        assert_eq!(one_deleted(&[]), "The chat's room is deleted.");
        assert!(one_deleted(&["Choir (link)".into()]).contains("out of Choir (link)."));
        assert_eq!(how_far(3, 40), "3 of 40 rooms are deleted. I go on.");
        assert_eq!(all_deleted(40, 40, &[]), "All 40 rooms are deleted.");
        let told = all_deleted(38, 40, &["Choir".into(), "link".into()]);
        assert!(told.starts_with("38 of 40 rooms") && told.ends_with("out:\n- Choir\n- link"), "{told}");
    }
}
