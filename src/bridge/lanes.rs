//! Who works on which lane.
//!
//! A lane with rows has one worker; the worker takes rows from the lowest waiting number on and ends when there
//! are none. Rows stay in the table, so a worker may die at any await: the next wake takes the same row again.

use super::Bridge;
use crate::ids::Lane;
use crate::numbers::{self, Direction, Outcome};
use crate::store::inbox::{InboxRow, Source};
use crate::verdict::{AWAY_LIMIT, Gate, MAX_ATTEMPTS, Verdict, backoff};
use crate::whatsapp::LineNews;
use crate::whatsapp::line::LineState;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::sync::mpsc;

/// Rows taken at once.
const BATCH: i64 = 32;
/// Blocks in a row after which a lane pauses with growing steps instead of trying whenever the homeserver answers.
const BLOCKS_BEFORE_PAUSE: u32 = 3;
/// Blocks in a row after which they count as the row's own trouble.
const BLOCKS_BEFORE_BLAME: u32 = 12;
/// Pause before the next try of what waits for something away that has no gate.
const AWAY_PAUSE: Duration = Duration::from_secs(5);
/// Pause after the database failed under a worker.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// How a row was taken.
#[derive(Clone, Copy)]
struct Taken {
    /// [`crate::store::bell::Bell::shuffles`] from before.
    shuffles: u64,
    /// Whether its attempt was counted with it.
    counted: bool,
    /// Whether more rows stand behind it.
    more: bool,
}

/// What a worker does after a row.
enum Next {
    Row,
    Reread,
    End,
}

/// What became of a lane's first row.
enum First {
    /// It was worked on, or has to be taken again.
    Worked {
        /// Whether others may wait.
        more: bool,
    },
    /// It was not taken.
    Unknown,
    /// The worker ends.
    End,
}

impl Bridge {
    /// Wakes lanes as the bell rings, until the process stops. Lanes with rows from before are woken first.
    ///
    /// # Errors
    /// When the database fails at the start.
    pub async fn run_lanes(&self) -> crate::store::Result<()> {
        self.store().unpark_all().await?;
        self.store().load_places().await?;
        for lane in self.store().waiting_lanes().await? {
            self.wake(lane);
        }
        let follow = self.clone();
        self.spawn(async move { follow.follow_holding().await });
        loop {
            let rung = tokio::select! {
                () = self.stop().cancelled() => return Ok(()),
                rung = self.store().bell().listen() => rung,
            };
            for lane in rung {
                self.wake(lane);
            }
        }
    }

    /// Opens gates as lines connect, and tells owners what happened to their lines, until the process stops.
    pub async fn follow_lines(&self, mut news: mpsc::Receiver<LineNews>) {
        loop {
            let news = tokio::select! {
                () = self.stop().cancelled() => return,
                news = news.recv() => match news {
                    Some(news) => news,
                    None => return,
                },
            };
            self.ring_watch();
            match &news.state {
                LineState::Connected => {
                    self.open(&Gate::Login(news.login.clone()));
                    self.will_read_groups_of(&news.login);
                    self.line_is_up(&news.login);
                    self.ask_soon(&news.login);
                    self.wake_spaces();
                    let (bridge, login) = (self.clone(), news.login.clone());
                    self.spawn(async move { bridge.read_groups_of(&login).await });
                }
                LineState::LoggedOut(_) => {
                    self.line_is_down(&news.login);
                    // What waits for it is told now, not when it comes back.
                    self.open(&Gate::Login(news.login.clone()));
                    self.wake_spaces();
                    let bridge = self.clone();
                    self.spawn(async move { bridge.tell_logouts().await });
                }
                LineState::Connecting | LineState::Offline(_) => self.line_is_down(&news.login),
            }
        }
    }

    /// Does a lane's long work with files. Its place is another lane's meanwhile: texts of other chats do not wait for
    /// files.
    pub(super) async fn with_files_place<T>(&self, work: impl Future<Output = T>) -> T {
        let lanes = &self.shared.lanes;
        lanes.into_matrix.add_permits(1);
        // Neither semaphore is ever closed.
        let place = lanes.files.acquire().await;
        let done = work.await;
        drop(place);
        if let Ok(place) = lanes.into_matrix.acquire().await {
            place.forget();
        }
        done
    }

    pub(super) async fn work(&self, lane: Lane) {
        let lanes = &self.shared.lanes;
        let places = if lane.is_of_a_person() { &lanes.into_whatsapp } else { &lanes.into_matrix };
        let Ok(_place) = places.acquire().await else { return };
        loop {
            if self.stop().is_cancelled() {
                return;
            }
            if lane.is_of_a_person() && *self.intake().holding().borrow() {
                self.hold(lane);
                return;
            }
            let shuffles = self.store().bell().shuffles();
            match self.work_on_first(&lane, shuffles).await {
                First::Worked { more } => {
                    if !more && self.end_unless_woken(&lane) {
                        return;
                    }
                    continue;
                }
                First::End => return,
                First::Unknown => {}
            }
            let rows = match self.store().take_rows(&lane, BATCH).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(%error, "the inbox can not be read");
                    self.pause(lane, DATABASE_PAUSE);
                    return;
                }
            };
            // Fewer than asked for: that was all there was, and whatever came since has woken the lane.
            let mut was_all = i64::try_from(rows.len()).is_ok_and(|count| count < BATCH);
            let mut left = rows.len();
            for row in rows {
                left -= 1;
                if self.stop().is_cancelled() {
                    return;
                }
                // While events may be missing the order of what is in hand may change: take it anew later.
                if row.source == Source::Matrix && *self.intake().holding().borrow() {
                    was_all = false;
                    break;
                }
                match self.work_on(&lane, &row, Taken { shuffles, counted: false, more: left > 0 || !was_all }).await {
                    Next::Row => {}
                    // What stands in front now may be another lane's: nobody wakes this one for it.
                    Next::Reread => {
                        was_all = false;
                        break;
                    }
                    Next::End => return,
                }
            }
            if was_all && self.end_unless_woken(&lane) {
                return;
            }
        }
    }

    /// Takes the lane's first row and counts its attempt in one step, and works on it: the usual case, when it was never
    /// tried and nothing is on its way that may belong before it.
    async fn work_on_first(&self, lane: &Lane, shuffles: u64) -> First {
        if self.whatsapp().has_any_open() {
            return First::Unknown;
        }
        let (row, more) = match self.store().take_and_count(lane).await {
            Ok(Some(taken)) => taken,
            Ok(None) => return First::Unknown,
            Err(error) => {
                tracing::error!(%error, "the inbox can not be read");
                self.pause(lane.clone(), DATABASE_PAUSE);
                return First::End;
            }
        };
        if self.stop().is_cancelled() || row.source == Source::Matrix && *self.intake().holding().borrow() {
            self.forgive(&row).await;
            return First::Worked { more: true };
        }
        match self.work_on(lane, &row, Taken { shuffles, counted: true, more }).await {
            Next::Row => First::Worked { more },
            Next::Reread => First::Worked { more: true },
            Next::End => First::End,
        }
    }

    /// Works on one row and does what its verdict says.
    async fn work_on(&self, lane: &Lane, row: &InboxRow, taken: Taken) -> Next {
        let Taken { shuffles, counted, more } = taken;
        let wait = quarantine(row.attempts).saturating_sub(self.shared.lanes.began.elapsed());
        if !wait.is_zero() && row.attempts < MAX_ATTEMPTS {
            tracing::info!(
                row = row.seq,
                attempts = row.attempts,
                "a row that may have ended the process waits before its next try"
            );
            self.pause(lane.clone(), wait);
            return Next::End;
        }
        let waits = match self.must_wait(row).await {
            // What it waited for may stand before it now.
            Ok(None) if self.store().bell().shuffles() != shuffles => Some(None),
            Ok(None) => None,
            Ok(Some(pause)) => Some(Some(pause)),
            Err(error) => {
                tracing::error!(%error, "the database failed under a row");
                Some(Some(DATABASE_PAUSE))
            }
        };
        if let Some(pause) = waits {
            if counted {
                self.forgive(row).await;
            }
            let Some(pause) = pause else { return Next::Reread };
            self.pause(lane.clone(), pause);
            return Next::End;
        }
        let verdict = match self.try_row(row, counted, more).await {
            Ok(Some(verdict)) => verdict,
            Ok(None) => return Next::Reread,
            Err(error) => {
                tracing::error!(%error, "the database failed under a row");
                self.forgive(row).await;
                self.pause(lane.clone(), DATABASE_PAUSE);
                return Next::End;
            }
        };
        let blocks = self.count_blocks(row.seq, verdict == Verdict::Blocked(Gate::Homeserver));
        let verdict = match verdict {
            Verdict::Blocked(Gate::Homeserver) if blocks > BLOCKS_BEFORE_BLAME => {
                Verdict::Later { why: "the homeserver answers others, and never this row".into() }
            }
            other => other,
        };
        let verdict = match verdict {
            Verdict::Away { why } if self.store().clock().now_ms() - row.received_at > AWAY_LIMIT => {
                Verdict::Later { why }
            }
            other => other,
        };
        let direction = match row.source {
            Source::Whatsapp => Direction::IntoMatrix,
            Source::Matrix => Direction::IntoWhatsapp,
        };
        numbers::count_verdict(direction, outcome_of(&verdict), row.attempts);
        match verdict {
            Verdict::Done => {
                if self.tells_outcome(row) {
                    self.shared.outcomes.notify_one();
                }
                numbers::note_delivery(direction, self.store().clock().now_ms() - row.received_at);
                Next::Row
            }
            Verdict::Blocked(gate) => {
                self.forgive(row).await;
                if matches!(gate, Gate::Login(_)) {
                    self.tell_waiting(row).await;
                }
                if blocks > BLOCKS_BEFORE_PAUSE {
                    self.pause(lane.clone(), backoff(i64::from(blocks), rand::random()));
                } else {
                    self.park(lane.clone(), gate);
                }
                Next::End
            }
            Verdict::Away { why } => {
                tracing::warn!(row = row.seq, why, "a row waits for something that is away");
                self.forgive(row).await;
                self.pause(lane.clone(), AWAY_PAUSE);
                Next::End
            }
            Verdict::Later { why } => {
                tracing::warn!(row = row.seq, attempt = row.attempts + 1, why, "a row did not work and is tried again");
                if let Err(error) = self.store().note_row_error(row.seq, &why).await {
                    tracing::warn!(%error, "a row's error was not noted");
                }
                self.pause(lane.clone(), backoff(row.attempts + 1, rand::random()));
                Next::End
            }
            Verdict::Never { tell, why } => self.give_up(lane, row, &tell, &why).await,
        }
    }

    /// The row's verdict; none when the row moved to another number since it was taken.
    async fn try_row(&self, row: &InboxRow, counted: bool, more: bool) -> crate::store::Result<Option<Verdict>> {
        if row.attempts >= MAX_ATTEMPTS {
            let tell = "It did not work in several tries. Say `retry` here to try again.";
            return Ok(Some(Verdict::Never { tell: tell.into(), why: "too many attempts".into() }));
        }
        if !counted && !self.store().count_attempt(row.seq).await? {
            return Ok(None);
        }
        if row.was_tried() {
            self.expect_correction(row).await?;
        }
        let worked = match row.source {
            Source::Whatsapp => AssertUnwindSafe(self.from_whatsapp(row)).catch_unwind().await,
            Source::Matrix => AssertUnwindSafe(self.from_matrix(row, more)).catch_unwind().await,
        };
        // The panic hook has logged where; the row is counted and comes again.
        worked.unwrap_or_else(|_| Ok(Verdict::Later { why: "a panic".into() })).map(Some)
    }

    /// Takes the counted attempt back: the trouble was not the row's.
    async fn forgive(&self, row: &InboxRow) {
        if let Err(error) = self.store().forgive_attempt(row.seq).await {
            tracing::warn!(%error, "an attempt was not taken back");
        }
    }

    /// Tells the person, then settles the row as failed. The telling has a fixed transaction id: repeated, it is
    /// said once.
    async fn give_up(&self, lane: &Lane, row: &InboxRow, tell: &str, why: &str) -> Next {
        tracing::warn!(row = row.seq, why, "a row is settled as failed");
        let told = match tell.is_empty() {
            true => Ok(()),
            false => self.tell_failure(row, tell).await,
        };
        let told = match told {
            Ok(()) => self.tell_failed_status(row, tell, why).await,
            failed => failed,
        };
        if let Err(error) = told {
            if let Verdict::Blocked(gate) = error.verdict() {
                self.park(lane.clone(), gate);
                return Next::End;
            }
            tracing::error!(%error, row = row.seq, "nobody could be told of a failed row");
        }
        if let Err(error) = self.store().fail_row(row, why).await {
            tracing::error!(%error, "a failed row could not be settled");
            self.pause(lane.clone(), DATABASE_PAUSE);
            return Next::End;
        }
        if self.tells_outcome(row)
            && let Err(error) = self.store().forget_failed_outcomes().await
        {
            tracing::warn!(%error, row = row.seq, "the outcome of a failed row was not forgotten");
        }
        Next::Row
    }
}

fn outcome_of(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Done => Outcome::Done,
        Verdict::Blocked(_) => Outcome::Blocked,
        Verdict::Away { .. } => Outcome::Away,
        Verdict::Later { .. } => Outcome::Later,
        Verdict::Never { .. } => Outcome::Never,
    }
}

/// How old the process must be before a row with so many attempts is tried.
///
/// An attempt that ended neither way was cut off: by a row that kills the process, or by somebody else killing it
/// while the row was in hand. The head of a lane is in hand at every start, so without this a few quick kills in a
/// row would settle an innocent row as failed; with it, only a row that is tried alone in a process that has lived
/// for a while can use up its attempts.
fn quarantine(attempts: i64) -> Duration {
    match attempts {
        ..=1 => Duration::ZERO,
        more => Duration::from_secs(1 << more.min(4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_waits_longer_each_time_and_an_innocent_row_does_not() {
        let waits: Vec<u64> = (0..6).map(|attempts| quarantine(attempts).as_secs()).collect();
        assert_eq!(waits, [0, 0, 4, 8, 16, 16]);
    }
}
