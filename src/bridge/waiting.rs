//! Messages that can not be read yet: a notice keeps their place in the room and becomes them when they come.
//!
//! Mostly by an edit of the notice's event. What an edit can not carry (another type of event, a file, an answer, a
//! place in a thread) is sent as an event of its own, and the notice is taken away. Every step has a fixed transaction
//! id and may be repeated; table `placeholder` says until when it has to be.

use super::Bridge;
use super::deliver::Delivery;
use super::effects::Scene;
use super::people::{Facts, Halt};
use super::rooms::Known;
use crate::convert::absent::Absent;
use crate::convert::arrival::WaArrival;
use crate::convert::incoming::Effect;
use crate::convert::{MxPart, edit, quote};
use crate::ids::{LoginId, PortalId, WaMessageId};
use crate::matrix::error::MatrixError;
use crate::store::inbox::InboxRow;
use crate::store::messages::{Message, MessageState, PartKey, Reservation};
use crate::store::places::{WAITING, WITHHELD};
use crate::verdict::Verdict;
use ruma::OwnedEventId;
use serde_json::Value;
use whatsapp_rust::prelude::wa;

/// Tries of one request under one transaction id: a ghost's device may have to be made anew in between.
const TRIES: usize = 2;

impl Bridge {
    /// Whether a row that keeps a place has to be given time: what it stands for may come, and is not told yet.
    pub(super) fn may_come_soon(&self, row: &InboxRow) -> bool {
        let Ok(arrival) = WaArrival::from_bytes(&row.body) else { return true };
        let told =
            row.portal.is_some_and(|portal| self.store().has_place(portal, &WaMessageId::new(arrival.id.as_str())));
        arrival.absent.unwrap_or(Absent::Unreadable).may_come_soon() && !told
    }

    /// Puts a notice in the place of a message that did not come in time; the row that kept its place is settled.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn placeholder_into_room(
        &self,
        row: &InboxRow,
        portal: PortalId,
        login: &LoginId,
    ) -> Result<(), Halt> {
        let arrival = WaArrival::from_bytes(&row.body).map_err(|_| {
            Halt::Verdict(Verdict::Never { tell: String::new(), why: "a place that is kept can not be read".into() })
        })?;
        let sender = self.canonical(&arrival.sender).await?;
        let scene = Scene { row, portal, login, arrival: &arrival, sender: &sender };
        let part = arrival.absent.unwrap_or(Absent::Unreadable).part();
        let known = self.store().find_message(&scene.key(0)).await?;
        if let Some(part) = part.filter(|_| known.is_none_or(|known| known.state == MessageState::Reserved)) {
            tracing::warn!(row = row.seq, "a message could not be read and did not come in time: its place is kept");
            self.tell_place(&scene, &part).await?;
        }
        fail::fail_point!("states.place", |_| super::states::die_here());
        let mut tx = self.store().begin("waiting.settle").await?;
        self.store().settle_missing_in(&mut tx, row.seq).await?;
        tx.commit().await?;
        // Reactions and the like may be about what is not going to come; the others wait for the message itself.
        Ok(self.store().unpark(portal, &WaMessageId::new(arrival.id.as_str())).await?)
    }

    /// Sends the notice, once; it is noted before.
    async fn tell_place(&self, scene: &Scene<'_>, part: &MxPart) -> Result<(), Halt> {
        let facts =
            Facts { push_name: &scene.arrival.push_name, business_name: scene.arrival.business_name.as_deref() };
        let user = self.author(scene, facts).await?;
        let known = self.ready_room(scene.portal, scene.login).await?;
        let key = scene.key(0);
        self.note_end_of_status(scene).await?;
        self.store().put_place(key.portal, &key.wa_id).await?;
        let is_asked_for = scene.arrival.absent.unwrap_or(Absent::Unreadable).may_come_soon();
        let kind = if is_asked_for { WAITING } else { WITHHELD };
        // Another name than the message's own: that one stays free for what an edit can not carry.
        let txn = self.store().derive().notice_txn(&scene.row.dedup, WAITING);
        let reservation = Reservation {
            key: &key,
            event_id: None,
            txn_id: Some(&txn),
            mx_sender: user.as_str(),
            login: scene.login,
            ts: scene.arrival.ts_ms,
            kind,
            body: None,
            quote: None,
        };
        self.store().reserve(&reservation).await?;
        let delivery = Delivery {
            key,
            kind,
            part,
            ghost: scene.sender,
            user: &user,
            login: scene.login,
            ts: scene.arrival.ts_ms,
            quote: None,
            reaction: None,
            settles: None,
        };
        self.deliver(&known, &delivery).await
    }

    /// Does what a message wants whose place a notice may keep.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; then all of it is done again.
    pub(super) async fn fill_place(&self, scene: &Scene<'_>, message: &wa::Message) -> Result<(), Halt> {
        let effect = self.read_message(scene, message).await?;
        let key = scene.key(0);
        if let Some(place) = self.find_place(scene, &key).await? {
            if let Effect::Say(parts) = &effect
                && let Some(event) = place.event_id.as_deref()
                && parts.first().is_some_and(fits_an_edit)
            {
                let parts = parts.clone();
                return self.become_message(scene, message, &place, event, parts).await;
            }
            let known = self.ready_room(scene.portal, scene.login).await?;
            if let Some(event) = &place.event_id {
                self.redact_once(&known.room, event, &place.mx_sender, &scene.row.dedup, "gives way").await?;
            }
        }
        fail::fail_point!("states.free", |_| super::states::die_here());
        let mut tx = self.store().begin("waiting.free").await?;
        self.store().free_place_in(&mut tx, &key).await?;
        tx.commit().await?;
        self.store().forget_place(&key);
        self.apply(scene, message, effect).await
    }

    /// The notice in a message's place. One that was cut off in the sending is sent to its end, to know its event.
    async fn find_place(&self, scene: &Scene<'_>, key: &PartKey) -> Result<Option<Message>, Halt> {
        let Some(place) = self.store().find_message(key).await? else { return Ok(None) };
        // Not by its transaction id: the sender may be known by another id since.
        let is_notice = matches!(place.kind.as_str(), WAITING | WITHHELD);
        if !is_notice || place.state != MessageState::Reserved {
            return Ok(Some(place).filter(|_| is_notice));
        }
        if let Some(part) = Absent::Unreadable.part() {
            self.tell_place(scene, &part).await?;
        }
        Ok(self.store().find_message(key).await?)
    }

    /// Makes the notice the message, by an edit; parts behind the first are events of their own.
    async fn become_message(
        &self,
        scene: &Scene<'_>,
        message: &wa::Message,
        place: &Message,
        event: &str,
        parts: Vec<MxPart>,
    ) -> Result<(), Halt> {
        self.note_states(scene, message, &parts).await?;
        let known = self.ready_room(scene.portal, scene.login).await?;
        let Some(first) = parts.first() else { return Ok(()) };
        let kind = if first.content["msgtype"] == "m.notice" { "notice" } else { "new" };
        let content = edit::replacement(&first.content, event);
        self.revise(&known, scene, &place.mx_sender, "becomes", &content).await?;
        fail::fail_point!("states.fill", |_| super::states::die_here());
        let mut tx = self.store().begin("waiting.fill").await?;
        self.store().fill_place_in(&mut tx, &place.key, kind, &quote::keep(message)).await?;
        if parts.len() == 1 {
            self.store().settle_row_in(&mut tx, scene.row.seq).await?;
        }
        tx.commit().await?;
        self.store().forget_place(&place.key);
        if parts.len() > 1 {
            // The first one is known as sent by now.
            return self.say_parts(scene, message, parts).await;
        }
        Ok(self.store().unpark(scene.portal, &place.key.wa_id).await?)
    }

    /// Sends new content for an event of ours, as who sent it; `which` names it among what a row makes, so that a
    /// repeat changes nothing. An edit that comes twice changes nothing either.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub(super) async fn revise(
        &self,
        known: &Known,
        scene: &Scene<'_>,
        sent_by: &str,
        which: &str,
        content: &Value,
    ) -> Result<OwnedEventId, Halt> {
        let user = match self.acting(sent_by).await? {
            Some(user) => user,
            None => self.author(scene, Facts::default()).await?,
        };
        let txn = self.store().derive().notice_txn(&scene.row.dedup, which);
        let ts = Some(scene.arrival.ts_ms);
        self.ready_member(known, &user).await?;
        for _ in 1..TRIES {
            match self.matrix().send(&known.room, &user, "m.room.message", &txn, content, ts).await {
                // The device is back.
                Err(MatrixError::UnknownDevice) => {}
                Err(MatrixError::Forbidden { .. }) => self.bring_in(known, &user).await?,
                sent => return Ok(sent?),
            }
        }
        Ok(self.matrix().send(&known.room, &user, "m.room.message", &txn, content, ts).await?)
    }
}

/// Whether an edit of a notice can become this: plain words without a file or a relation of their own.
fn fits_an_edit(part: &MxPart) -> bool {
    part.event_type == "m.room.message"
        && part.media.is_none()
        && part.preview.is_none()
        && part.thumbnail.is_none()
        && part.reply_to.is_none()
        && part.thread_of.is_none()
        && part.album.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::MessageName;
    use serde_json::json;

    #[test]
    fn only_plain_words_are_an_edit() {
        let plain = MxPart::new("m.room.message", json!({ "msgtype": "m.text", "body": "a" }));
        assert!(fits_an_edit(&plain));
        assert!(!fits_an_edit(&MxPart::new("m.sticker", json!({}))));
        let key = wa::MessageKey { id: Some("3A".into()), ..Default::default() };
        let name = MessageName::of_key(&key);
        assert!(name.is_some());
        assert!(!fits_an_edit(&MxPart { reply_to: name.clone(), ..plain.clone() }));
        assert!(!fits_an_edit(&MxPart { thread_of: name.clone(), ..plain.clone() }));
        assert!(!fits_an_edit(&MxPart { album: name, ..plain.clone() }));
        assert!(!fits_an_edit(&MxPart { thumbnail: Some(vec![1]), ..plain }));
    }
}
