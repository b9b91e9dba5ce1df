//! Pinned messages: WhatsApp's in the room's `m.room.pinned_events`, and a person's changes of those on WhatsApp.
//!
//! The bot sets the room's pins and its own events never come back, so nothing echoes. Only what was pinned on WhatsApp
//! is touched: entries a person pinned that are not on WhatsApp stay where they are. A person's event says what they
//! changed by the state before it (`unsigned.prev_content`), so that what the bot set meanwhile is not theirs.

use super::Bridge;
use super::effects::Scene;
use super::outgoing::{Outgoing, Saying, made};
use super::people::Halt;
use crate::convert::MessageName;
use crate::convert::outgoing::{Plan, Resolved, pins_changed};
use crate::store::messages::{Message, MessageState, PartKey};
use crate::store::pins::Pin;
use serde_json::{Value, json};

/// The state event of a room's pins (CS-API, "m.room.pinned_events").
pub(super) const PINNED: &str = "m.room.pinned_events";
/// How far a phone's clock may be ahead of the server's, milliseconds: the server tells seconds.
const CLOCK_SLACK: i64 = 1_000;

impl Bridge {
    /// Pins a message in the room, or takes the pin away, as WhatsApp has it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn pin_in_room(
        &self,
        scene: &Scene<'_>,
        name: &MessageName,
        pinned: bool,
        ts_ms: i64,
    ) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        // A clock that is ahead decides for a moment, not for good.
        let ts = if ts_ms > 0 { ts_ms.min(scene.arrival.ts_ms + CLOCK_SLACK) } else { scene.arrival.ts_ms };
        let before = self.store().find_pin(scene.portal, &target.key.wa_id).await?;
        let parts = self.store().parts_of(scene.portal, &target.key.sender, &target.key.wa_id).await?;
        let first = parts.into_iter().next().and_then(|part| part.event_id);
        let event = before.as_ref().map(|before| before.event_id.clone()).or(first);
        let Some(event_id) = event.filter(|_| before.as_ref().is_none_or(|before| before.ts <= ts)) else {
            return Ok(self.store().settle_row(scene.row.seq).await?);
        };
        if pinned || before.is_some_and(|before| before.pinned) {
            let known = self.ready_room(scene.portal, scene.login).await?;
            let now = self.matrix().get_state(&known.room, PINNED, "").await?.unwrap_or_default();
            if let Some(pins) = with_pin(&pins_of(&now), &event_id, pinned) {
                let content = json!({ "pinned": pins });
                self.matrix().send_state(&known.room, self.matrix().bot(), PINNED, "", &content).await?;
            }
        }
        fail::fail_point!("states.pin", |_| super::states::die_here());
        let pin = Pin { portal: scene.portal, wa_id: target.key.wa_id, event_id, pinned, ts };
        let mut tx = self.store().begin("pins.in").await?;
        self.store().put_pin_in(&mut tx, &pin).await?;
        self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// Pins on WhatsApp what a person has pinned in the room, and takes away what they have taken away.
    ///
    /// # Errors
    /// [`Halt`] when database or WhatsApp fail; what was sent is sent again under the same ids.
    pub(super) async fn pins_into_whatsapp(&self, saying: &Saying<'_>, after: &[String]) -> Result<(), Halt> {
        let event: Value = serde_json::from_slice(&saying.row.body).unwrap_or_default();
        let before = pins_of(event.pointer("/unsigned/prev_content").unwrap_or(&Value::Null));
        let mut part = 0;
        for plan in pins_changed(&before, after) {
            let Plan::Pin { target, pinned } = &plan else { continue };
            let Some(message) = self.on_whatsapp(saying, target).await? else { continue };
            let known = self.store().find_pin(saying.portal.id, &message.key.wa_id).await?;
            if known.as_ref().is_some_and(|known| known.pinned) != *pinned {
                let pin = Pin {
                    portal: saying.portal.id,
                    wa_id: message.key.wa_id.clone(),
                    event_id: target.clone(),
                    pinned: *pinned,
                    ts: saying.event.origin_server_ts,
                };
                part += 1;
                let key = self.send_pin(saying, &plan, &message, part).await?;
                fail::fail_point!("states.pins_out", |_| super::states::die_here());
                let mut tx = self.store().begin("pins.out").await?;
                self.store().message_was_sent_in(&mut tx, &key, None).await?;
                self.store().put_pin_in(&mut tx, &pin).await?;
                tx.commit().await?;
            }
        }
        Ok(self.store().settle_row(saying.row.seq).await?)
    }

    /// The message behind an event, when WhatsApp has it in this chat.
    async fn on_whatsapp(&self, saying: &Saying<'_>, event: &str) -> Result<Option<Message>, Halt> {
        Ok(self.in_this_chat(saying, event).await?.filter(|message| message.state == MessageState::Sent))
    }

    async fn send_pin(&self, saying: &Saying<'_>, plan: &Plan, target: &Message, part: i64) -> Result<PartKey, Halt> {
        let message = {
            let nobody = |_: &str| None;
            let mut resolved = Resolved::new(&nobody);
            resolved.target = Some(Self::key_of(saying, target));
            resolved.ts_ms = saying.event.origin_server_ts;
            made(plan, &resolved)?
        };
        let outgoing = Outgoing::new("pin", message);
        // Named by what is pinned: the same again even where the others of this event have changed meanwhile.
        let about = format!("{} {}", saying.event.event_id, target.key.wa_id);
        let wa_id = self.store().derive().wa_message(&saying.login.id, &about, 1);
        let key = super::sending::key_of_ours(saying, wa_id, part);
        self.hand_over(saying, &key, &outgoing).await?;
        Ok(key)
    }
}

/// The pins in a content, oldest first.
fn pins_of(content: &Value) -> Vec<String> {
    let pinned = content["pinned"].as_array().map_or(&[][..], Vec::as_slice);
    pinned.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The pins with one more, or without one; none when they are that already. The others keep their order.
fn with_pin(pins: &[String], event: &str, pinned: bool) -> Option<Vec<String>> {
    let is_there = pins.iter().any(|pin| pin == event);
    if is_there == pinned {
        return None;
    }
    let mut pins: Vec<String> = pins.iter().filter(|pin| *pin != event).cloned().collect();
    if pinned {
        pins.push(event.to_owned());
    }
    Some(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_entry_is_touched_and_the_order_stays() {
        let pins = ["$a", "$b", "$c"].map(str::to_owned);
        assert_eq!(with_pin(&pins, "$b", false).unwrap(), ["$a", "$c"]);
        assert_eq!(with_pin(&pins, "$d", true).unwrap(), ["$a", "$b", "$c", "$d"]);
        assert!(with_pin(&pins, "$a", true).is_none() && with_pin(&pins, "$d", false).is_none());
        assert_eq!(pins_of(&json!({ "pinned": ["$a", 7, "$b"] })), ["$a", "$b"]);
        assert!(pins_of(&Value::Null).is_empty());
    }
}
