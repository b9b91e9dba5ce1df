//! How far the chats of a new login are: one notice where its owner talks to the bot, edited until all are ready.
//!
//! The first time a login's groups are read it is noted whether there is enough to do to tell of it. The notice has a
//! transaction id made from the login, so a kill between sending and noting it makes no second one; how far the chats are
//! follows from the groups' marks, so a restart goes on with the same notice. Small logins get none.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::convert::edit::replacement;
use crate::convert::notice;
use crate::ids::LoginId;
use crate::matrix::error::MatrixError;
use crate::store::logins::{Login, LoginState};
use crate::store::progress::{Chats, ProgressRow};
use crate::whatsapp::line::LineState;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// With fewer chats to make than this nothing is told.
const ENOUGH: i64 = 10;
/// How often the chats are counted while there is something to tell.
const LOOK: Duration = Duration::from_secs(2);
/// The shortest time between two edits, milliseconds.
const PACE: i64 = 5_000;
/// How long the speed is watched before it is believed.
const WATCHED: Duration = Duration::from_secs(20);
/// How long nothing may move before the notice comes to its end without the rest.
const STUCK: Duration = Duration::from_secs(30 * 60);

/// What wakes the telling.
#[derive(Default)]
pub struct Progress {
    wake: Notify,
}

/// What this process has seen of one login's chats.
struct Watch {
    began: Instant,
    /// Work left when it began, minutes by the budgets.
    work_then: f64,
    /// The least work that was ever left, and since when.
    least: f64,
    moved_at: Instant,
    told: String,
}

impl Bridge {
    /// Notes that a login's chats were read. The first time since it was linked this decides whether a notice tells how far
    /// they are.
    pub(super) async fn begin_progress(&self, login: &LoginId) {
        if let Err(error) = self.try_begin_progress(login).await {
            tracing::warn!(%error, "how far the chats of a login are is not told");
        }
    }

    async fn try_begin_progress(&self, login: &LoginId) -> crate::store::Result<()> {
        let Some(login) = self.store().find_login(login).await? else { return Ok(()) };
        if self.store().has_progress(&login).await? {
            return Ok(());
        }
        let chats = self.store().chats_ready(&login.id).await?;
        self.store().begin_progress(&login, chats.all - chats.ready >= ENOUGH).await?;
        self.shared.progress.wake.notify_one();
        Ok(())
    }

    /// Tells how far the chats of new logins are, until the process stops.
    pub(super) async fn run_progress(&self) {
        let mut watches = HashMap::new();
        loop {
            let running = match self.store().running_progress().await {
                Ok(running) => running,
                Err(error) => {
                    tracing::warn!(%error, "how far the chats of logins are can not be read");
                    Vec::new()
                }
            };
            watches.retain(|login, _| running.iter().any(|row| row.login == *login));
            for row in &running {
                match self.tell_progress(row, &mut watches).await {
                    Ok(()) => {}
                    Err(Halt::Verdict(verdict)) => tracing::debug!(?verdict, "how far chats are was not told yet"),
                    Err(Halt::Store(error)) => tracing::warn!(%error, "the database failed under a notice"),
                }
            }
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = self.shared.progress.wake.notified() => {}
                () = tokio::time::sleep(LOOK), if !running.is_empty() => {}
            }
        }
    }

    async fn tell_progress(&self, row: &ProgressRow, watches: &mut HashMap<LoginId, Watch>) -> Result<(), Halt> {
        let login = self.store().find_login(&row.login).await?;
        let Some(login) = login.filter(|login| login.state == LoginState::Linked && login.since == row.since) else {
            // The notice of a login that is gone stays as it is; the logout is told by itself.
            return Ok(self.store().progress_is_done(&row.login).await?);
        };
        let now = self.store().clock().now_ms();
        if now - row.edited_at < PACE {
            return Ok(());
        }
        let chats = self.store().chats_ready(&row.login).await?;
        let work = self.work_in(&chats);
        let is_away = self.whatsapp().state(&row.login) != Some(LineState::Connected);
        let new = || Watch {
            began: Instant::now(),
            work_then: work,
            least: f64::MAX,
            moved_at: Instant::now(),
            told: String::new(),
        };
        let watch = watches.entry(row.login.clone()).or_insert_with(new);
        // A login that is away is not stuck.
        if work < watch.least || is_away {
            watch.least = work;
            watch.moved_at = Instant::now();
        }
        let is_all = chats.ready >= chats.all;
        let is_end = is_all || watch.moved_at.elapsed() > STUCK;
        let text = if is_end {
            end_words(&chats, now - row.began_at)
        } else {
            let left = minutes_left(work, watch.work_then, watch.began.elapsed());
            words(&chats, left)
        };
        if text != watch.told || is_end {
            self.show_progress(row, &login, &text, now).await?;
            watch.told = text;
        }
        if is_end {
            fail::fail_point!("progress.end", |_| super::states::die_here());
            self.store().progress_is_done(&row.login).await?;
        }
        Ok(())
    }

    /// Sends the notice, or edits it.
    async fn show_progress(&self, row: &ProgressRow, login: &Login, text: &str, now: i64) -> Result<(), Halt> {
        let (matrix, store) = (self.matrix(), self.store());
        let cause = format!("{}:{}", login.id, login.since);
        if row.event.is_empty() {
            let room = self.management_room(&login.mxid).await?;
            match self.say(&room, text, &cause, "progress").await {
                Ok(event) => {
                    fail::fail_point!("progress.after_notice", |_| super::states::die_here());
                    store.progress_was_told(&row.login, now, room.as_str(), event.as_str()).await?;
                }
                Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {
                    // The next try makes another.
                    store.set_management_room(&login.mxid, "").await?;
                }
                Err(error) => return Err(error.into()),
            }
            return Ok(());
        }
        // Noted before it is sent, so that no row of kills makes edits come faster.
        store.progress_was_told(&row.login, now, &row.room, &row.event).await?;
        let txn = store.derive().notice_txn(&cause, &format!("progress-{now}"));
        let content = replacement(&notice(text), &row.event);
        match matrix.send(&room_id(&row.room)?, matrix.bot(), "m.room.message", &txn, &content, None).await {
            Ok(_) => Ok(()),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {
                tracing::info!("the notice of a login's chats is gone; nothing more is told of them");
                Ok(store.progress_is_done(&row.login).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The work that is left, in minutes by the budgets: rooms and people are made side by side.
    fn work_in(&self, chats: &Chats) -> f64 {
        let budgets = &self.config().bridge.budgets;
        let of = |count: i64, per_minute: u32| count as f64 / f64::from(per_minute.max(1));
        of(chats.rooms, budgets.rooms_per_minute) + of(chats.people, budgets.memberships_per_minute)
    }
}

/// How many minutes are left: by the speed that was seen, and by the budgets before there is any.
fn minutes_left(work: f64, work_then: f64, watched: Duration) -> f64 {
    let (done, minutes) = (work_then - work, watched.as_secs_f64() / 60.0);
    if watched < WATCHED || done <= 0.0 {
        return work;
    }
    work * minutes / done
}

fn words(chats: &Chats, minutes: f64) -> String {
    let left = match minutes {
        minutes if minutes < 1.0 => "less than a minute left".to_owned(),
        minutes if minutes < 90.0 => format!("about {} min left", minutes.ceil()),
        minutes => format!("about {} h left", (minutes / 60.0).round()),
    };
    let Chats { all, ready, .. } = chats;
    format!("{ready} of {all} chats are ready, {left}. Messages do not wait for it.")
}

fn end_words(chats: &Chats, took_ms: i64) -> String {
    let Chats { all, ready, .. } = chats;
    if ready < all {
        return format!("{ready} of {all} chats are ready. The others do not work yet; I go on trying.");
    }
    match took_ms / 60_000 {
        0 => format!("All {all} chats are ready. It took less than a minute."),
        minutes => format!("All {all} chats are ready. It took {minutes} min."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_speed_that_was_seen() {
        let left = |work, then, seconds| minutes_left(work, then, Duration::from_secs(seconds));
        assert_eq!(left(4.0, 4.0, 0), 4.0, "by the budgets at first");
        assert_eq!(left(4.0, 5.0, 10), 4.0, "not watched for long enough");
        assert_eq!(left(4.0, 4.0, 100), 4.0, "nothing was done yet");
        assert_eq!(left(4.0, 5.0, 60), 4.0);
        assert_eq!(left(4.0, 5.0, 120), 8.0, "half as fast as the budgets");
        assert_eq!(left(6.0, 5.0, 120), 6.0, "more came than was done");
    }

    #[test]
    fn progress_is_told_in_words() {
        let chats = Chats { all: 350, ready: 12, rooms: 0, people: 0 };
        assert!(words(&chats, 0.4).starts_with("12 of 350 chats are ready, less than a minute left."));
        assert!(words(&chats, 2.1).contains("about 3 min left"));
        assert!(words(&chats, 89.9).contains("about 90 min left"));
        assert!(words(&chats, 200.0).contains("about 3 h left"));
        assert!(end_words(&chats, 0).starts_with("12 of 350 chats are ready. The others"));
        let all = Chats { ready: 350, ..chats };
        assert_eq!(end_words(&all, 59_999), "All 350 chats are ready. It took less than a minute.");
        assert_eq!(end_words(&all, 125_000), "All 350 chats are ready. It took 2 min.");
    }
}
