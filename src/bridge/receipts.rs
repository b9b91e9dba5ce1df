//! Read marks, both ways.
//!
//! Into WhatsApp a login's mark only moves forward and is noted before it is sent; into Matrix the ghost of the
//! reader marks the newest event it names.

use super::Bridge;
use super::people::{Facts, Halt};
use crate::ids::{LoginId, PortalId, WaMessageId};
use crate::matrix::error::MatrixError;
use crate::store::inbox::InboxRow;
use crate::store::messages::Message;
use crate::store::portals::Portal;
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::intake::ReceiptRow;
use crate::whatsapp::line::LineState;
use ruma::EventId;

impl Bridge {
    pub(super) async fn receipt_into_room(
        &self,
        row: &InboxRow,
        portal: PortalId,
        login: &LoginId,
    ) -> Result<(), Halt> {
        let unreadable =
            || Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored receipt can not be read".into() });
        let receipt: ReceiptRow = serde_json::from_slice(&row.body).map_err(|_| unreadable())?;
        let mut newest: Option<Message> = None;
        for id in &receipt.ids {
            let found = self.store().find_message_by_wa_id(portal, &WaMessageId::new(id.as_str())).await?;
            if let Some(found) = found
                && newest.as_ref().is_none_or(|newest| newest.ts < found.ts)
            {
                newest = Some(found);
            }
        }
        // None is found where the message never crossed: a later receipt names a later message.
        if let Some(event) = newest.and_then(|message| message.event_id)
            && let Ok(event) = EventId::parse(event)
        {
            let reader = self.canonical(&receipt.reader).await?;
            let user = self.ready_ghost(&reader, Facts::default()).await?;
            let known = self.ready_room(portal, login).await?;
            self.ready_member(&known, &user).await?;
            match self.matrix().mark_read(&known.room, &user, &event).await {
                Ok(()) => {}
                // Kicked, or left, since it was noted.
                Err(MatrixError::Forbidden { .. }) => {
                    self.bring_in(&known, &user).await?;
                    self.matrix().mark_read(&known.room, &user, &event).await?;
                }
                Err(error) => match error.verdict() {
                    blocked @ Verdict::Blocked(_) => return Err(Halt::Verdict(blocked)),
                    // A read mark is not worth holding the room's messages for.
                    _ => tracing::debug!(%error, "a read mark was not set"),
                },
            }
        }
        Ok(self.store().settle_row(row.seq).await?)
    }

    /// Reports everything up to an event as read through a login.
    pub(super) async fn read_mark_into_whatsapp(
        &self,
        row: &InboxRow,
        portal: &Portal,
        login: &LoginId,
        event: &str,
    ) -> Result<(), Halt> {
        if let Some(read) =
            self.store().find_message_by_event(event).await?.filter(|message| message.key.portal == portal.id)
        {
            self.store().advance_read_mark(portal.id, login, read.ts).await?;
            loop {
                let unread = self.store().unread_until(portal.id, read.ts).await?;
                if unread.is_empty() {
                    break;
                }
                // In a direct chat the author is the chat; only our own copies have another one, and they need none.
                let theirs = unread.iter().filter(|message| message.sender.as_str() == portal.chat.as_str());
                let ids: Vec<&str> = theirs.map(|message| message.wa_id.as_str()).collect();
                if !ids.is_empty() {
                    let sent = self.whatsapp().mark_read(login, &portal.chat, None, &ids).await;
                    sent.map_err(|_| {
                        // While the line stands it is not the gate that is closed.
                        Halt::Verdict(match self.whatsapp().state(login) {
                            Some(LineState::Connected) => {
                                Verdict::Later { why: "reading could not be reported".into() }
                            }
                            _ => Verdict::Blocked(Gate::Login(login.clone())),
                        })
                    })?;
                }
                for message in &unread {
                    self.store().message_was_read(portal.id, message).await?;
                }
            }
        }
        Ok(self.store().settle_row(row.seq).await?)
    }
}
