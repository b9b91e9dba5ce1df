//! What a message brings beside its words, kept for later: when it disappears, what can be pressed in it, what was
//! commented; and the chat's timer.

use super::Bridge;
use super::deliver::Delivery;
use super::effects::Scene;
use super::people::{Facts, Halt};
use crate::convert::choices::{Press, choices};
use crate::convert::{MessageName, MxPart};
use crate::ids::WaMessageId;
use crate::store::disappearing::ChatTimer;
use serde_json::json;
use whatsapp_rust::prelude::wa;

/// Ends the process as a kill would, where a story asks for it between what was sent and its record.
#[cfg_attr(not(feature = "simulator"), allow(dead_code, reason = "fail points are compiled in for stories only"))]
pub(super) fn die_here() -> ! {
    std::process::abort()
}

impl Bridge {
    /// Keeps what a message brings beside its words, before it is shown: a repeat keeps the same.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn note_states(
        &self,
        scene: &Scene<'_>,
        message: &wa::Message,
        parts: &[MxPart],
    ) -> Result<(), Halt> {
        let is_status = self.note_end_of_status(scene).await?;
        // A status post has no timer but the one of all of them.
        let expires_s = parts.iter().find_map(|part| part.expires_s).filter(|_| !is_status);
        let mut choices = choices(message);
        if scene.arrival.from_me {
            // What the own phone offers others is not for its owner to press, but they may say whether they come.
            choices.retain(|choice| matches!(choice.press, Press::Rsvp { .. }));
        }
        let root = parts.iter().find_map(|part| part.thread_of.as_ref());
        if expires_s.is_none() && choices.is_empty() && root.is_none() {
            return Ok(());
        }
        let timer = match expires_s {
            Some(seconds) => self.store().find_timer(scene.portal).await?.is_none_or(|known| known.seconds != seconds),
            None => false,
        };
        let id = WaMessageId::new(scene.arrival.id.as_str());
        let sent_at = scene.arrival.ts_ms;
        if let Some(seconds) = expires_s.filter(|_| timer) {
            let known = self.ready_room(scene.portal, scene.login).await?;
            self.show_timer(&known.room, seconds).await?;
        }
        let mut tx = self.store().begin("states.note").await?;
        if let Some(seconds) = expires_s {
            let expires_at = sent_at.saturating_add(i64::from(seconds) * 1000);
            self.store().put_expiry_in(&mut tx, &scene.key(0), expires_at).await?;
            if timer {
                // Set before we were there: the message tells of it.
                self.store().put_timer_in(&mut tx, scene.portal, ChatTimer { seconds, set_at: sent_at }).await?;
            }
        }
        if let Some(kept) = Some(&choices).filter(|choices| !choices.is_empty()) {
            let kept = serde_json::to_vec(kept).unwrap_or_default();
            self.store().put_choices_in(&mut tx, scene.portal, &id, &kept).await?;
        }
        if let Some(root) = root {
            self.store().put_thread_root_in(&mut tx, scene.portal, &WaMessageId::new(root.id.as_str())).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Remembers a chat's timer and tells the room, when it is news.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn set_timer(
        &self,
        scene: &Scene<'_>,
        seconds: u32,
        ts_ms: Option<i64>,
        parts: &[MxPart],
    ) -> Result<(), Halt> {
        // A clock that is ahead decides for a moment, not for good.
        let set_at = ts_ms.map_or(scene.arrival.ts_ms, |ts| ts.min(scene.arrival.ts_ms + 1_000));
        let known = self.store().find_timer(scene.portal).await?;
        if known.is_none_or(|known| known.seconds != seconds && known.set_at <= set_at) {
            self.say_unsettled(scene, "notice", parts, None).await?;
        }
        if known.is_none_or(|known| known.set_at <= set_at) {
            let room = self.ready_room(scene.portal, scene.login).await?;
            self.show_timer(&room.room, seconds).await?;
        }
        fail::fail_point!("states.timer", |_| die_here());
        let mut tx = self.store().begin("states.timer").await?;
        self.store().put_timer_in(&mut tx, scene.portal, ChatTimer { seconds, set_at }).await?;
        self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// Records that a disappearing message of this chat is kept, or no longer.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn keep_message(&self, scene: &Scene<'_>, name: &MessageName, kept: bool) -> Result<(), Halt> {
        let Some(target) = self.target_or_park(scene, name).await? else { return Ok(()) };
        let mut tx = self.store().begin("states.keep").await?;
        self.store().keep_in(&mut tx, &target.key, kept).await?;
        self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// Sends a message's parts as `new` or `notice` and leaves its row to be settled with what else it changes.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn say_unsettled(
        &self,
        scene: &Scene<'_>,
        kind: &'static str,
        parts: &[MxPart],
        quote: Option<&[u8]>,
    ) -> Result<(), Halt> {
        let facts =
            Facts { push_name: &scene.arrival.push_name, business_name: scene.arrival.business_name.as_deref() };
        let user = self.author(scene, facts).await?;
        let known = self.ready_room(scene.portal, scene.login).await?;
        for (at, part) in parts.iter().enumerate() {
            let delivery = Delivery {
                key: scene.key(at),
                kind,
                part,
                ghost: scene.sender,
                user: &user,
                login: scene.login,
                ts: scene.arrival.ts_ms,
                quote: quote.filter(|_| at == 0),
                reaction: None,
                settles: None,
            };
            self.deliver(&known, &delivery).await?;
        }
        Ok(())
    }

    /// Names the events of a part's thread and album; see [`Bridge::with_relations`] for what it answers.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn with_groups(&self, scene: &Scene<'_>, mut part: MxPart) -> Result<MxPart, Halt> {
        if let Some(root) = part.thread_of.take()
            && let Some(event) = self.find_target(scene, &root).await?.and_then(|root| root.event_id)
        {
            // For clients without threads it answers the thread's first message, unless it answers another one.
            let answered = part.content.pointer("/m.relates_to/m.in_reply_to/event_id").cloned();
            part.content["m.relates_to"] = json!({
                "rel_type": "m.thread",
                "event_id": event,
                "is_falling_back": answered.is_none(),
                "m.in_reply_to": { "event_id": answered.unwrap_or_else(|| event.clone().into()) },
            });
        }
        if let Some(album) = part.album.take()
            && let Some(event) = self.find_target(scene, &album).await?.and_then(|album| album.event_id)
        {
            part.content["org.matrix-whatsapp.album"] = event.into();
        }
        Ok(part)
    }
}
