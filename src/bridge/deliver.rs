//! One part into Matrix: reserve its names, send, settle.
//!
//! The transaction id is fixed and the request names the ghost's device, so within 24 hours the homeserver's own
//! database answers a repeat with the first event. After that, or when the device was gone, the room is searched
//! for the transaction id before anything is sent again.

use super::Bridge;
use super::people::Halt;
use super::puppets::Resumed;
use super::rooms::Known;
use crate::convert::MxPart;
use crate::ids::{GhostId, LoginId};
use crate::matrix::error::MatrixError;
use crate::store::messages::{MessageState, PartKey, Reservation};
use crate::store::reactions::Reaction;
use crate::verdict::Verdict;
use ruma::{OwnedEventId, UserId};

/// How long a homeserver is trusted to remember a transaction id, milliseconds: Synapse keeps it 24 hours.
const HOMESERVER_MEMORY: i64 = 20 * 3600 * 1000;
/// The look-up reads back to this long before the first attempt, milliseconds: clocks differ.
const CLOCK_SLACK: i64 = 3600 * 1000;

/// What to deliver as whom.
pub struct Delivery<'a> {
    /// The part's name.
    pub key: PartKey,
    /// What kind of row it makes: `new`, `notice`, `edit` or `reaction`.
    pub kind: &'static str,
    /// The part.
    pub part: &'a MxPart,
    /// Its WhatsApp author.
    pub ghost: &'a GhostId,
    /// The author's user.
    pub user: &'a UserId,
    /// The login it came through.
    pub login: &'a LoginId,
    /// WhatsApp time, milliseconds since 1970.
    pub ts: i64,
    /// What a reply quotes of the message.
    pub quote: Option<&'a [u8]>,
    /// The reaction this event shows, recorded with it.
    pub reaction: Option<&'a Reaction>,
    /// The inbox row to settle with it: set on the last part.
    pub settles: Option<i64>,
}

impl Bridge {
    /// Delivers one part, once.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; the reservation stays.
    pub async fn deliver(&self, known: &Known, delivery: &Delivery<'_>) -> Result<(), Halt> {
        let key = &delivery.key;
        let txn = self.store().derive().mx_txn(key.portal, &key.sender, &key.wa_id, key.part);
        let reservation = Reservation {
            key,
            event_id: None,
            txn_id: Some(&txn),
            mx_sender: delivery.user.as_str(),
            login: delivery.login,
            ts: delivery.ts,
            kind: delivery.kind,
            body: None,
            quote: delivery.quote,
        };
        let is_new = self.store().reserve(&reservation).await?;
        fail::fail_point!("from_wa.after_reserve", |_| std::process::abort());
        let (mut txn, mut look_since) = (txn, None);
        let mut user = delivery.user.to_owned();
        if !is_new && let Some(before) = self.store().find_message(key).await? {
            if before.state == MessageState::Sent {
                return self.settle_delivery(known, delivery, None).await;
            }
            // As it was reserved: the facts may have changed since, and another id would send it twice.
            txn = before.txn_id.clone().unwrap_or(txn);
            if self.store().clock().now_ms() - before.tried_at > HOMESERVER_MEMORY {
                look_since = Some(before.tried_at.min(delivery.ts) - CLOCK_SLACK);
            }
            user = match self.resume_as(known, delivery, &before, &txn).await? {
                Resumed::As(user) => user,
                Resumed::Sent(event) => return self.settle_delivery(known, delivery, Some(event.as_str())).await,
            };
        }
        let delivery = &Delivery { user: &user, key: delivery.key.clone(), ..*delivery };
        let sent = async {
            self.ready_member(known, delivery.user).await?;
            match look_since {
                Some(since) => self.look_then_send(known, delivery, &txn, since).await,
                None => self.send_part(known, delivery, &txn).await,
            }
        };
        let event = match sent.await {
            Ok(event) => event,
            // The puppet is no more: what it was to send is looked for, and then goes as the ghost.
            Err(_) if !self.matrix().is_ours(&user) && !self.matrix().is_puppet(&user) => {
                return Box::pin(self.deliver(known, delivery)).await;
            }
            Err(halt) => return Err(self.leave_dead_room(known, halt).await),
        };
        fail::fail_point!("from_wa.after_send", |_| std::process::abort());
        self.settle_delivery(known, delivery, Some(event.as_str())).await?;
        fail::fail_point!("from_wa.after_settle", |_| std::process::abort());
        Ok(())
    }

    async fn look_then_send(
        &self,
        known: &Known,
        delivery: &Delivery<'_>,
        txn: &str,
        since: i64,
    ) -> Result<OwnedEventId, Halt> {
        match self.matrix().find_sent(&known.room, delivery.user, txn, since).await? {
            Some(event) => Ok(event),
            None => Ok(self.send_once(known, delivery, txn).await?),
        }
    }

    async fn send_part(&self, known: &Known, delivery: &Delivery<'_>, txn: &str) -> Result<OwnedEventId, Halt> {
        match self.send_once(known, delivery, txn).await {
            Ok(event) => Ok(event),
            // The device is back, but what it remembered is gone.
            Err(MatrixError::UnknownDevice) => {
                self.look_then_send(known, delivery, txn, delivery.ts.min(self.store().clock().now_ms()) - CLOCK_SLACK)
                    .await
            }
            // Kicked, left, or a homeserver that lost its accounts.
            Err(MatrixError::Forbidden { .. }) if self.matrix().is_puppet(delivery.user) => {
                let again = match self.matrix().ensure_joined(&known.room, delivery.user).await {
                    Ok(()) => self.send_once(known, delivery, txn).await,
                    Err(error) => Err(error),
                };
                if let Err(MatrixError::Forbidden { .. }) = again {
                    self.distrust_puppet(delivery.user);
                }
                Ok(again?)
            }
            Err(MatrixError::Forbidden { .. }) => {
                self.forget_ghost(delivery.ghost).await?;
                self.matrix().ensure_user(delivery.user).await?;
                self.bring_in(known, delivery.user).await?;
                match self.send_once(known, delivery, txn).await {
                    Err(MatrixError::Forbidden { errcode, .. }) => Err(Halt::Verdict(Verdict::Never {
                        tell: "The bridge may not write in this chat's room any more.".into(),
                        why: format!("a ghost may not send: {errcode}"),
                    })),
                    sent => Ok(sent?),
                }
            }
            Err(other) => Err(other.into()),
        }
    }

    /// A room the bot is no longer in can not be used any more: forgotten, so that the next try makes another.
    pub(super) async fn leave_dead_room(&self, known: &Known, halt: Halt) -> Halt {
        let Halt::Verdict(Verdict::Later { .. } | Verdict::Never { .. }) = halt else { return halt };
        let gone = match self.matrix().membership(&known.room, self.matrix().bot()).await {
            Ok(membership) => membership.as_deref() != Some("join"),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => true,
            Err(_) => false,
        };
        if !gone {
            return halt;
        }
        let alias =
            self.store().derive().alias(&known.portal.chat, known.portal.receiver.as_ref(), known.room.as_str());
        let forgotten = self.store().forget_portal_room(&known.portal, known.room.as_str(), &alias).await;
        self.forget_room(known.portal.id);
        match forgotten {
            Ok(_) => Halt::Verdict(Verdict::Later { why: "the room is gone; the next try makes another".into() }),
            Err(error) => error.into(),
        }
    }

    async fn send_once(&self, known: &Known, delivery: &Delivery<'_>, txn: &str) -> Result<OwnedEventId, MatrixError> {
        let mut content = delivery.part.content.clone();
        let key = &delivery.key;
        content["org.matrix-whatsapp.part"] =
            self.store().derive().marker(key.portal, &key.sender, &key.wa_id, key.part).into();
        self.matrix().send(&known.room, delivery.user, delivery.part.event_type, txn, &content, Some(delivery.ts)).await
    }

    async fn settle_delivery(&self, known: &Known, delivery: &Delivery<'_>, event: Option<&str>) -> Result<(), Halt> {
        let mut tx = self.store().begin("deliver.settle").await?;
        if let Some(event) = event {
            let place = (known.portal.id, known.room.as_str());
            if !self.store().message_was_shown_in(&mut tx, &delivery.key, event, place).await? {
                // Where the chat goes on it is sent anew.
                self.forget_room(known.portal.id);
                let why = "the room was given up while something was sent into it".into();
                return Err(Halt::Verdict(Verdict::Later { why }));
            }
        }
        if let Some(reaction) = delivery.reaction {
            // The event's id is not known again where an earlier try has settled it.
            let event_id = match event {
                Some(event) => Some(event.to_owned()),
                None => self.store().find_message(&delivery.key).await?.and_then(|message| message.event_id),
            };
            self.store().put_reaction_in(&mut tx, &Reaction { event_id, ..reaction.clone() }).await?;
        }
        if let Some(row) = delivery.settles {
            self.store().settle_row_in(&mut tx, row).await?;
        }
        Ok(tx.commit().await?)
    }
}
