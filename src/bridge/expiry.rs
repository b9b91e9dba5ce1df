//! Disappearing messages: removed from their rooms when their time is over, tried again until it worked.
//!
//! The time counts from the sending, as WhatsApp's clients do for sender and receiver alike. A row of `expiry` is
//! written before a message is shown (or with its settlement, when it was written on Matrix) and deleted only when every event that
//! shows it is redacted; a kill in between makes the removal run again under the same transaction ids. Edits hold the
//! text too and go first, so that the message itself is there to find them by until they are gone.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::matrix::error::MatrixError;
use crate::store::StoreError;
use crate::store::disappearing::Due;
use crate::store::messages::MessageState;
use crate::verdict::Verdict;
use ruma::{EventId, RoomId, UserId};
use std::time::Duration;

/// Messages removed between two looks into the table.
const BATCH: i64 = 50;
/// The longest time between two looks: a message may have been noted meanwhile, or the clock set.
const LONGEST_PAUSE: i64 = 10_000;
/// Pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);
/// First pause after a removal was refused, milliseconds; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: i64 = 5_000;
/// The longest pause between two tries of one removal, milliseconds.
const LAST_PAUSE: i64 = 6 * 3600 * 1000;
/// How long a message may be on its way into its room, milliseconds: failed rows are kept for `retry` for 30 days.
const ON_ITS_WAY: i64 = 40 * 24 * 3600 * 1000;

impl Bridge {
    /// When a message disappears that is sent now, milliseconds since 1970.
    pub(super) fn expires_at(&self, seconds: u32) -> i64 {
        self.store().clock().now_ms().saturating_add(i64::from(seconds) * 1000)
    }

    /// Removes messages whose time is over, until the process stops.
    pub(super) async fn run_expiry(&self) {
        loop {
            let pause = match self.remove_expired().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "messages whose time is over were not removed; tried again");
                    DATABASE_PAUSE
                }
            };
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Removes what is due, a batch of it; the pause before the next look.
    async fn remove_expired(&self) -> Result<Duration, StoreError> {
        let due = self.store().due_expiries(self.store().clock().now_ms(), BATCH).await?;
        for message in &due {
            if self.stop().is_cancelled() {
                return Ok(Duration::ZERO);
            }
            let tries = match self.remove(message).await {
                Ok(()) => continue,
                Err(Halt::Store(error)) => return Err(error),
                Err(Halt::Verdict(Verdict::Blocked(_))) => {
                    tokio::select! {
                        () = self.stop().cancelled() => return Ok(Duration::ZERO),
                        () = self.matrix().wait_until_reachable() => {}
                    }
                    // It was away: nothing counts. Others come first then, in case it is this one's own trouble.
                    message.tries
                }
                Err(Halt::Verdict(verdict)) => {
                    tracing::debug!(?verdict, tries = message.tries, "a message whose time is over is not removed yet");
                    message.tries.saturating_add(1)
                }
            };
            let due_at = self.store().clock().now_ms().saturating_add(pause_after(tries));
            self.store().put_off_expiry(&message.key, due_at, tries).await?;
        }
        let next = self.store().next_expiry().await?.unwrap_or(i64::MAX);
        let pause = next.saturating_sub(self.store().clock().now_ms()).clamp(0, LONGEST_PAUSE);
        Ok(Duration::from_millis(pause.unsigned_abs()))
    }

    /// Redacts every event of a message and forgets what it said.
    async fn remove(&self, due: &Due) -> Result<(), Halt> {
        let parts = self.store().events_of(&due.key).await?;
        let is_late = self.store().clock().now_ms() - due.expires_at > ON_ITS_WAY;
        if !is_late && (parts.is_empty() || parts.iter().any(|part| part.state == MessageState::Reserved)) {
            let why = "it is on its way into its room".into();
            return Err(Halt::Verdict(Verdict::Later { why }));
        }
        for part in &parts {
            let (Some(event), Some(room)) = (&part.event_id, &part.room) else { continue };
            let (Ok(event), room) = (EventId::parse(event), room_id(room)?) else { continue };
            for (edit, sender) in self.matrix().edits_of(&room, &event).await? {
                self.redact_expired(&room, &edit, sender.as_str()).await?;
            }
            self.redact_expired(&room, &event, &part.mx_sender).await?;
        }
        fail::fail_point!("states.expiry", |_| super::states::die_here());
        Ok(self.store().message_is_gone(&due.key).await?)
    }

    /// Redacts an event as its ghost, else as the bot. Unlike a deletion somebody asked for, a refusal is no end.
    async fn redact_expired(&self, room: &RoomId, event: &EventId, sent_by: &str) -> Result<(), Halt> {
        let bot = self.matrix().bot();
        let ghost = UserId::parse(sent_by).ok().filter(|user| self.matrix().is_ours(user));
        if let Some(ghost) = ghost.filter(|ghost| ghost != bot) {
            let txn = self.store().derive().notice_txn(event.as_str(), "expired");
            match self.matrix().redact(room, &ghost, event, &txn, None).await {
                Ok(_) | Err(MatrixError::NotFound) => return Ok(()),
                // It has left, or lost its account: the bot may remove everything.
                Err(MatrixError::Forbidden { .. } | MatrixError::UnknownDevice) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let txn = self.store().derive().notice_txn(event.as_str(), "expired-bot");
        match self.matrix().redact(room, bot, event, &txn, None).await {
            Ok(_) | Err(MatrixError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How long a removal waits after so many refusals, milliseconds.
fn pause_after(tries: i64) -> i64 {
    let doublings = u32::try_from(tries.clamp(1, 20) - 1).unwrap_or(0);
    (FIRST_PAUSE << doublings).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_never_end() {
        assert_eq!([0, 1, 2, 3].map(pause_after), [5_000, 5_000, 10_000, 20_000]);
        assert_eq!([13, 14, 1_000, i64::MAX].map(pause_after), [20_480_000, 21_600_000, 21_600_000, 21_600_000]);
    }
}
