//! Live locations: one message that moves.
//!
//! From WhatsApp the first position is an event and later ones are edits of it. From Matrix (MSC3489 and MSC3672) a
//! `beacon_info` begins and ends a sharing and each `beacon` is a position: a message with a growing number, as WhatsApp
//! has no edits of them.

use super::Bridge;
use super::effects::Scene;
use super::outgoing::{Outgoing, Saying, made};
use super::people::Halt;
use super::sending::key_of_ours;
use crate::convert::outgoing::{Plan, Resolved};
use crate::convert::{MxPart, edit, quote};
use crate::ids::WaMessageId;
use crate::store::disappearing::GONE;
use crate::store::live::{LiveOrigin, LiveShare};
use crate::store::messages::PartKey;
use whatsapp_rust::prelude::wa;

/// Longest sharing WhatsApp has: eight hours, milliseconds (its clients' limit).
const LONGEST: i64 = 8 * 3600 * 1000;
/// Least time between two positions of one sharing sent to WhatsApp, milliseconds by the sender's clock: each is a
/// message there, and floods get accounts banned.
const GAP: i64 = 10_000;

impl Bridge {
    /// Shows where somebody on WhatsApp is: a new event, or the new content of the one that stands.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn show_live(
        &self,
        scene: &Scene<'_>,
        message: &wa::Message,
        sequence: i64,
        parts: &[MxPart],
    ) -> Result<(), Halt> {
        let before = self.store().find_live(scene.portal, scene.sender, LiveOrigin::Whatsapp).await?;
        let live = match before {
            Some(live) if continues(&live, scene.arrival.id.as_str(), sequence, scene.arrival.ts_ms) => {
                if sequence <= live.sequence || !self.move_live(scene, &live, parts).await? {
                    // Overtaken by a newer one, or nothing stands there any more.
                    return Ok(self.store().settle_row(scene.row.seq).await?);
                }
                LiveShare { sequence, ..live }
            }
            _ => {
                self.note_states(scene, message, parts).await?;
                self.say_unsettled(scene, "new", parts, Some(&quote::compact(message))).await?;
                LiveShare {
                    portal: scene.portal,
                    sender: scene.sender.clone(),
                    origin: LiveOrigin::Whatsapp,
                    name: scene.arrival.id.clone(),
                    sequence,
                    began_at: scene.arrival.ts_ms,
                    moved_at: 0,
                    ends_at: scene.arrival.ts_ms + LONGEST,
                }
            }
        };
        fail::fail_point!("states.live", |_| super::states::die_here());
        let mut tx = self.store().begin("live.in").await?;
        self.store().put_live_in(&mut tx, &live).await?;
        self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        tx.commit().await?;
        Ok(self.store().unpark(scene.portal, &WaMessageId::new(scene.arrival.id.as_str())).await?)
    }

    /// Moves the event that shows a sharing; false when there is none.
    async fn move_live(&self, scene: &Scene<'_>, live: &LiveShare, parts: &[MxPart]) -> Result<bool, Halt> {
        let key = PartKey {
            portal: live.portal,
            sender: live.sender.clone(),
            wa_id: WaMessageId::new(live.name.as_str()),
            part: 0,
        };
        let shown = self.store().find_message(&key).await?;
        let shown = shown.filter(|shown| shown.kind != GONE);
        let Some((shown, part)) = shown.zip(parts.first()) else { return Ok(false) };
        let Some(event) = &shown.event_id else { return Ok(false) };
        let known = self.ready_room(scene.portal, scene.login).await?;
        self.revise(&known, scene, &shown.mx_sender, "moves", &edit::replacement(&part.content, event)).await?;
        Ok(true)
    }

    /// Takes a person's live location to WhatsApp: its beginning, a position, or its end.
    ///
    /// # Errors
    /// [`Halt`] when database or WhatsApp fail.
    pub(super) async fn live_into_whatsapp(&self, saying: &Saying<'_>, plan: &Plan) -> Result<(), Halt> {
        let sender = &saying.login.own;
        let before = self.store().find_live(saying.portal.id, sender, LiveOrigin::Matrix).await?;
        let now = saying.event.origin_server_ts;
        let live = match plan {
            Plan::LiveStart { timeout_ms, .. } => Some(LiveShare {
                portal: saying.portal.id,
                sender: sender.clone(),
                origin: LiveOrigin::Matrix,
                name: saying.event.event_id.clone(),
                sequence: 0,
                began_at: now,
                moved_at: 0,
                ends_at: now.saturating_add(i64::try_from(*timeout_ms).unwrap_or(LONGEST).min(LONGEST)),
            }),
            Plan::LiveMove { start, ts_ms, .. } => {
                let live = before.filter(|live| live.name == *start && now <= live.ends_at);
                let ts = if *ts_ms > 0 { *ts_ms } else { now };
                match live.filter(|live| live.moved_at == 0 || ts - live.moved_at >= GAP) {
                    Some(live) => {
                        let moved = LiveShare { sequence: live.sequence + 1, moved_at: ts, ..live };
                        self.send_live(saying, plan, moved.sequence).await?;
                        Some(moved)
                    }
                    None => None,
                }
            }
            _ => match before.filter(|live| live.ends_at > 0) {
                Some(live) => {
                    // Of one that showed no position nobody on WhatsApp knows.
                    if live.sequence > 0 && now <= live.ends_at {
                        self.send_live(saying, plan, 0).await?;
                    }
                    Some(LiveShare { ends_at: 0, ..live })
                }
                None => None,
            },
        };
        fail::fail_point!("states.live_out", |_| super::states::die_here());
        let mut tx = self.store().begin("live.out").await?;
        if let Some(live) = &live {
            self.store().put_live_in(&mut tx, live).await?;
        }
        self.store().message_was_sent_in(&mut tx, &key_of_ours(saying, self.live_id(saying), 0), None).await?;
        self.store().settle_row_in(&mut tx, saying.row.seq).await?;
        Ok(tx.commit().await?)
    }

    async fn send_live(&self, saying: &Saying<'_>, plan: &Plan, sequence: i64) -> Result<(), Halt> {
        let timer = saying.timer();
        let message = {
            let nobody = |_: &str| None;
            let mut resolved = Resolved::new(&nobody);
            resolved.secret = Some(saying.secret);
            resolved.sequence = sequence;
            resolved.ts_ms = saying.event.origin_server_ts;
            resolved.timer = timer;
            made(plan, &resolved)?
        };
        let outgoing = Outgoing::new("new", message);
        self.hand_over(saying, &key_of_ours(saying, self.live_id(saying), 0), &outgoing).await.map(drop)
    }

    /// What a position is called on WhatsApp.
    fn live_id(&self, saying: &Saying<'_>) -> WaMessageId {
        self.store().derive().wa_message(&saying.login.id, &saying.event.event_id, 0)
    }
}

/// Whether a position belongs to a sharing: one that begins has the number 0, or comes when the last one is over. A
/// repeat of the first message is the sharing's own.
fn continues(live: &LiveShare, id: &str, sequence: i64, ts_ms: i64) -> bool {
    live.name != id && ts_ms <= live.ends_at && (sequence > 0 || ts_ms < live.began_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GhostId, PortalId};

    #[test]
    fn a_sharing_goes_on_until_another_begins() {
        let live = LiveShare {
            portal: PortalId::new(1),
            sender: GhostId::new("1@lid"),
            origin: LiveOrigin::Whatsapp,
            name: "first".into(),
            sequence: 5,
            began_at: 1000,
            moved_at: 0,
            ends_at: 2000,
        };
        assert!(continues(&live, "next", 6, 1500) && continues(&live, "late", 4, 1500));
        assert!(!continues(&live, "another", 0, 1500), "it begins anew");
        assert!(!continues(&live, "another", 6, 2001), "the last one is over");
        assert!(continues(&live, "the one before", 0, 999), "an older beginning that comes late");
        assert!(!continues(&live, "first", 0, 1000), "again after a kill");
    }
}
