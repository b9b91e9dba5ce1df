//! One row from WhatsApp into its room.

use super::Bridge;
use super::effects::Scene;
use super::people::Halt;
use crate::convert::arrival::WaArrival;
use crate::ids::{LoginId, PortalId, WaMessageId};
use crate::store::StoreError;
use crate::store::identity::MERGE;
use crate::store::inbox::{InboxRow, MISSING};
use crate::store::messages::PartKey;
use crate::verdict::Verdict;
use crate::whatsapp::calls::CALL;
use crate::whatsapp::intake::{DELIVERED, MESSAGE, RECEIPT};
use crate::whatsapp::removals::REMOVAL;
use crate::whatsapp::signals::OWN_READ;
use std::time::Duration;

/// How long the lane waits for a message that could not be read: WhatsApp's retries take seconds when both are online.
const MISSING_WAIT: i64 = 15_000;
/// Between two looks whether it came.
const MISSING_PAUSE: Duration = Duration::from_millis(200);
/// Between two looks whether an earlier message of the chat is stored.
const BEHIND_PAUSE: Duration = Duration::from_millis(10);

impl Bridge {
    /// How long the lane has to wait before this row may be worked on: one before it is not stored yet, or it is one
    /// that may still come. Never for long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn must_wait(&self, row: &InboxRow) -> Result<Option<Duration>, StoreError> {
        let is_young = || self.store().clock().now_ms() - row.received_at < MISSING_WAIT;
        if row.kind == MISSING && is_young() && self.may_come_soon(row) {
            return Ok(Some(MISSING_PAUSE));
        }
        if row.kind == MERGE {
            return Ok(self.merge_must_wait(row).await?.then_some(MISSING_PAUSE));
        }
        let (Some(portal), Some(login)) = (row.portal, &row.login) else { return Ok(None) };
        if !self.whatsapp().has_open(login, row.seq) {
            return Ok(None);
        }
        let chat = self.chat_of(portal).await?;
        Ok(self.whatsapp().is_behind(login, &chat, row.seq).await?.then_some(BEHIND_PAUSE))
    }

    /// Works on one row from WhatsApp.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn from_whatsapp(&self, row: &InboxRow) -> Result<Verdict, StoreError> {
        fail::fail_point!("from_wa.poison", |_| std::process::abort());
        let (Some(portal), Some(login)) = (row.portal, &row.login) else {
            return Ok(Verdict::Never { tell: String::new(), why: "a row from WhatsApp names no chat".into() });
        };
        if row.kind != MERGE && self.is_filtered(portal).await? {
            tracing::debug!(portal = portal.get(), kind = %row.kind, "settled: the filter lets the chat have no room");
            match row.was_tried() {
                // What was said of its failure stays true.
                true => self.store().settle_unsent_row(row, "").await?,
                false => self.store().settle_row(row.seq).await?,
            }
            return Ok(Verdict::Done);
        }
        let worked = match row.kind.as_str() {
            MESSAGE => self.message_into_room(row, portal, login).await,
            RECEIPT => self.receipt_into_room(row, portal, login).await,
            DELIVERED => self.delivered(row, portal, login).await,
            OWN_READ => self.own_read(row, portal, login).await,
            REMOVAL => self.removed_on_phone(row, portal, login).await,
            CALL => self.call_into_room(row, portal, login).await,
            MERGE => self.merge_rooms(row, portal, login).await,
            MISSING => self.placeholder_into_room(row, portal, login).await,
            other => {
                Err(Halt::Verdict(Verdict::Never { tell: String::new(), why: format!("unknown kind of row {other}") }))
            }
        };
        match worked {
            Ok(()) => Ok(Verdict::Done),
            Err(halt) => halt.into_verdict(),
        }
    }

    async fn message_into_room(&self, row: &InboxRow, portal: PortalId, login: &LoginId) -> Result<(), Halt> {
        let unreadable = |why: &str| {
            Halt::Verdict(Verdict::Never {
                tell: "A message from WhatsApp could not be read. Please look at it on your phone.".into(),
                why: why.into(),
            })
        };
        let mut arrival =
            WaArrival::from_bytes(&row.body).map_err(|_| unreadable("the stored arrival can not be read"))?;
        let message = arrival.message().map_err(|_| unreadable("the stored message can not be read"))?;
        let sender = self.canonical(&arrival.sender).await?;
        let key = PartKey { portal, sender: sender.clone(), wa_id: WaMessageId::new(arrival.id.as_str()), part: 0 };
        let chat = self.chat_of(portal).await?;
        let (is_group, is_channel) = (chat.is_group(), chat.is_channel());
        let voice = if is_group || is_channel { self.voice_of(portal, login).await? } else { login.clone() };
        let login = &voice;
        if is_group {
            // Several logins hear of it, and the row is of whichever heard it first.
            arrival.from_me = self.store().find_login(login).await?.is_some_and(|login| login.own == sender);
        }
        // A copy of what we sent ourselves proves that it arrived.
        let ours = match is_channel {
            // A channel speaks for whoever wrote in it.
            true => self.store().find_message_by_wa_id(portal, &key.wa_id).await?,
            false if arrival.from_me || is_group => {
                // Of several messages made of one event each is another part of it.
                self.store().find_any_part(portal, &key.sender, &key.wa_id).await?
            }
            false => None,
        };
        if let Some(ours) = ours.filter(|ours| ours.from_matrix) {
            let mut tx = self.store().begin("from_whatsapp.own_copy").await?;
            self.store().message_was_sent_in(&mut tx, &ours.key, None).await?;
            self.store().settle_row_in(&mut tx, row.seq).await?;
            return Ok(tx.commit().await?);
        }
        if is_channel {
            // Its ghost is made with its room, by one maker.
            self.ready_room(portal, login).await?;
        }
        let scene = Scene { row, portal, login, arrival: &arrival, sender: &sender };
        if self.is_bygone_status(&scene).await? {
            return Ok(self.store().settle_row(row.seq).await?);
        }
        if self.store().has_place(portal, &key.wa_id) {
            return self.fill_place(&scene, &message).await;
        }
        let effect = self.read_message(&scene, &message).await?;
        self.apply(&scene, &message, effect).await
    }
}
