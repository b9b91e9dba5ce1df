//! A chat's timer from Matrix: by command, or by the room's state event of clients that have a switch for it.
//!
//! The owner of the login may, nobody else. In a direct chat WhatsApp is told by a message with a fixed id and content,
//! so that a repeat is shown once; a group has a setting. The room's state says what holds: a change that can not be
//! is taken back there.

use super::Bridge;
use super::from_matrix::{Event, never};
use super::people::Halt;
use super::rooms::room_id;
use super::sending::read_failure;
use crate::convert::features::{ROOM_FEATURES, Takes, room_features};
use crate::convert::outgoing::timer_setting;
use crate::ids::PortalId;
use crate::matrix::error::MatrixError;
use crate::matrix::rooms::StateEvent;
use crate::store::disappearing::ChatTimer;
use crate::store::inbox::InboxRow;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::whatsapp::outgoing::SendFailure;
use ruma::RoomId;
use serde_json::{Value, json};

/// The state event of a room's timer, as Beeper's clients have it.
pub(super) const STATE: &str = "com.beeper.disappearing_timer";
/// What WhatsApp's clients offer, and the word for it in the command.
pub const OFFERED: [(&str, u32); 4] = [("off", 0), ("24h", 86_400), ("7d", 604_800), ("90d", 7_776_000)];

/// What a chat's room takes, as its state says it.
pub(super) fn features(kind: PortalKind) -> StateEvent {
    let timers = OFFERED.map(|(_, seconds)| seconds);
    let takes = match kind {
        PortalKind::Channel => Takes::Posts,
        PortalKind::Status => Takes::Status,
        _ => Takes::Chat(&timers),
    };
    StateEvent::new(ROOM_FEATURES, "", room_features(takes))
}

/// What a timer wants.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The event that says so: it names the message on WhatsApp.
    pub event_id: &'a str,
    /// When it was said, milliseconds since 1970.
    pub ts: i64,
    /// Seconds; 0 = messages stay.
    pub seconds: u32,
}

impl Bridge {
    /// Sets a chat's timer on WhatsApp through a login; the caller records it.
    ///
    /// # Errors
    /// [`Halt`]; repeating is right where the outcome is unknown.
    pub async fn send_timer(&self, portal: &Portal, login: &Login, wish: Wish<'_>) -> Result<(), Halt> {
        if let LoginState::LoggedOut { .. } = login.state {
            let tell = "You are logged out of WhatsApp, so the timer was not changed. Say `login qr` to the bridge bot, then \
                        try again.";
            return Err(never(tell, "the login is logged out"));
        }
        let id = self.store().derive().wa_message(&login.id, wish.event_id, 0);
        let sent = if portal.chat.is_group() {
            self.whatsapp().set_group_timer(&login.id, &portal.chat, wish.seconds).await
        } else {
            let message = timer_setting(wish.seconds, wish.ts / 1000);
            self.whatsapp().send(&login.id, &portal.chat, &id, message).await
        };
        match sent {
            Ok(()) => Ok(()),
            Err(SendFailure::Refused(code)) if code == "403" || code == "401" => Err(never(
                "WhatsApp does not let you change this chat's timer. Ask one of the group's admins.",
                "WhatsApp refused a timer",
            )),
            Err(failure) => Err(read_failure(failure, &login.id)),
        }
    }

    /// Says in the room's state after how many seconds messages disappear. Saying it again makes no event.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn show_timer(&self, room: &RoomId, seconds: u32) -> Result<(), MatrixError> {
        let content = match seconds {
            0 => json!({ "type": "", "timer": 0 }),
            seconds => json!({ "type": "after_send", "timer": u64::from(seconds) * 1000 }),
        };
        self.matrix().send_state(room, self.matrix().bot(), STATE, "", &content).await.map(drop)
    }

    /// The timer a room's state says, seconds; 0 when there is none.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn shown_timer(&self, room: &RoomId) -> Result<u32, MatrixError> {
        let state = self.matrix().get_state(room, STATE, "").await?;
        let milliseconds = state.and_then(|state| state["timer"].as_u64()).unwrap_or_default();
        Ok(u32::try_from(milliseconds / 1000).unwrap_or_default())
    }

    /// Records a timer set here and says it in the room's state.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn keep_timer(&self, portal: PortalId, room: &RoomId, wish: Wish<'_>) -> Result<(), Halt> {
        self.show_timer(room, wish.seconds).await?;
        let mut tx = self.store().begin("timers.keep").await?;
        self.store().put_timer_in(&mut tx, portal, timer_of(wish)).await?;
        Ok(tx.commit().await?)
    }

    /// Somebody has set the room's timer.
    ///
    /// # Errors
    /// [`Halt`]; with words for them where it can not be, and the room's state as it was.
    pub(super) async fn timer_event(
        &self,
        row: &InboxRow,
        event: &Event,
        portal: &Portal,
        login: Option<Login>,
    ) -> Result<(), Halt> {
        if event.state_key.as_deref() != Some("") {
            return Ok(self.store().settle_row(row.seq).await?);
        }
        let known = self.store().find_timer(portal.id).await?.map_or(0, |timer| timer.seconds);
        let done = async {
            let login = self.speaker(portal, login, &event.sender)?;
            let seconds = seconds_of(&event.content).ok_or_else(|| {
                let tell =
                    "WhatsApp's messages disappear after 24 hours, 7 days or 90 days, or stay. The timer is as it was.";
                never(tell, "a timer that WhatsApp does not have")
            })?;
            let wish = Wish { event_id: &event.event_id, ts: event.origin_server_ts, seconds };
            if seconds != known {
                self.send_timer(portal, &login, wish).await?;
            }
            Ok(wish)
        };
        match done.await {
            Ok(wish) => {
                fail::fail_point!("states.timer_out", |_| super::states::die_here());
                let mut tx = self.store().begin("timers.event").await?;
                self.store().put_timer_in(&mut tx, portal.id, timer_of(wish)).await?;
                self.store().settle_row_in(&mut tx, row.seq).await?;
                Ok(tx.commit().await?)
            }
            Err(halt) => {
                if let Halt::Verdict(crate::verdict::Verdict::Never { .. }) = &halt {
                    self.show_timer(&room_id(&event.room_id)?, known).await?;
                }
                Err(halt)
            }
        }
    }
}

/// WhatsApp tells seconds: what it sets in the same one comes after.
fn timer_of(wish: Wish<'_>) -> ChatTimer {
    ChatTimer { seconds: wish.seconds, set_at: wish.ts / 1000 * 1000 }
}

/// The seconds in a state event; none when WhatsApp has no such timer.
fn seconds_of(content: &Value) -> Option<u32> {
    let Some(ms) = content.get("timer").filter(|timer| !timer.is_null()) else { return Some(0) };
    let seconds = ms.as_u64().filter(|ms| ms % 1000 == 0)? / 1000;
    OFFERED.iter().map(|(_, offered)| *offered).find(|offered| u64::from(*offered) == seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_whatsapp_offers_is_a_timer() {
        for (_, seconds) in OFFERED {
            assert_eq!(seconds_of(&json!({ "timer": u64::from(seconds) * 1000 })), Some(seconds));
        }
        assert_eq!(seconds_of(&json!({})), Some(0));
        for odd in [json!(5), json!(60_000), json!(-1), json!("24h"), json!(86_400_500)] {
            assert_eq!(seconds_of(&json!({ "timer": odd })), None);
        }
    }
}
