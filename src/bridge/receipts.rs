//! Read marks, both ways.
//!
//! Into WhatsApp a login's mark only moves forward and is noted before it is sent; into Matrix the ghost of the
//! reader marks the newest event it names. What the owner reads on the phone is noted, so that it is not reported again.

use super::Bridge;
use super::people::{Facts, Halt};
use super::rooms::room_id;
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use crate::matrix::error::MatrixError;
use crate::store::inbox::InboxRow;
use crate::store::messages::{Message, Unread};
use crate::store::portals::Portal;
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::intake::ReceiptRow;
use crate::whatsapp::line::LineState;
use crate::whatsapp::signals::OwnReadRow;
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
            // Who is on Matrix themselves has a mark of their own.
            if self.store().logins_in(portal).await?.iter().any(|login| login.own == reader) {
                return Ok(self.store().settle_row(row.seq).await?);
            }
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

    /// Notes what the login's owner has read on another device, so that it is not reported again, and shows it.
    pub(super) async fn own_read(&self, row: &InboxRow, portal: PortalId, login: &LoginId) -> Result<(), Halt> {
        let unreadable =
            || Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored own read can not be read".into() });
        let read: OwnReadRow = serde_json::from_slice(&row.body).map_err(|_| unreadable())?;
        let mut newest: Option<Message> = None;
        for id in &read.ids {
            let id = WaMessageId::new(id.as_str());
            let Some(found) = self.store().find_message_by_wa_id(portal, &id).await? else { continue };
            let unread = Unread { sender: found.key.sender.clone(), wa_id: id };
            self.store().message_was_read(portal, &unread).await?;
            if newest.as_ref().is_none_or(|newest| newest.ts < found.ts) {
                newest = Some(found);
            }
        }
        if let Some(until) = read.until_ms {
            loop {
                let unread = self.store().unread_until(portal, until).await?;
                for message in &unread {
                    self.store().message_was_read(portal, message).await?;
                }
                if unread.is_empty() {
                    break;
                }
            }
            let last = self.store().newest_message_until(portal, until).await?;
            newest = match (newest, last) {
                (Some(named), Some(last)) if last.ts > named.ts => Some(last),
                (None, last) => last,
                (named, _) => named,
            };
        }
        if let Some(newest) = newest {
            self.store().advance_read_mark(portal, login, newest.ts).await?;
            if let Some(event) = newest.event_id.and_then(|event| EventId::parse(event).ok()) {
                self.own_read_in_matrix(portal, login, &event).await?;
            }
        }
        Ok(self.store().settle_row(row.seq).await?)
    }

    /// Marks the room as read for the login's owner, where the bridge acts as them.
    async fn own_read_in_matrix(&self, portal: PortalId, login: &LoginId, event: &EventId) -> Result<(), Halt> {
        let Some(room) = self.store().load_portal(portal).await?.room else { return Ok(()) };
        let Some(owner) = self.store().find_login(login).await? else { return Ok(()) };
        self.puppet_mark_read(&owner.mxid, &room_id(&room)?, event).await.map(drop)
    }

    /// Reports messages of one author as read.
    async fn report_read(
        &self,
        login: &LoginId,
        portal: &Portal,
        author: Option<&GhostId>,
        messages: &[&Unread],
    ) -> Result<(), Halt> {
        let ids: Vec<&str> = messages.iter().map(|message| message.wa_id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        self.whatsapp().mark_read(login, &portal.chat, author, &ids).await.map_err(|_| {
            // While the line stands it is not the gate that is closed.
            Halt::Verdict(match self.whatsapp().state(login) {
                Some(LineState::Connected) => Verdict::Later { why: "reading could not be reported".into() },
                _ => Verdict::Blocked(Gate::Login(login.clone())),
            })
        })
    }

    /// Reports what a login has not reported yet of a shared chat, up to a time: each author hears of their own messages.
    /// Each login has a mark of its own there, and it moves when its messages are reported.
    async fn report_read_in_group(&self, portal: &Portal, login: &LoginId, until: i64) -> Result<(), Halt> {
        let own = self.store().find_login(login).await?.map(|login| login.own);
        loop {
            let reported = self.store().find_read_mark(portal.id, login).await?;
            let (unread, last) = self.store().unread_between(portal.id, reported, until).await?;
            let mut authors: Vec<&GhostId> = unread.iter().map(|message| &message.sender).collect();
            authors.sort_unstable();
            authors.dedup();
            for author in authors.into_iter().filter(|author| Some(*author) != own.as_ref()) {
                let theirs: Vec<&Unread> = unread.iter().filter(|message| message.sender == *author).collect();
                // In a channel nobody wrote them but the channel.
                let author = Some(author).filter(|_| !portal.chat.is_channel());
                self.report_read(login, portal, author, &theirs).await?;
            }
            for message in &unread {
                self.store().message_was_read(portal.id, message).await?;
            }
            let moved = self.store().advance_read_mark(portal.id, login, last).await?;
            if last >= until || !moved {
                return Ok(());
            }
        }
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
            if portal.receiver.is_none() {
                self.report_read_in_group(portal, login, read.ts).await?;
                return Ok(self.store().settle_row(row.seq).await?);
            }
            self.store().advance_read_mark(portal.id, login, read.ts).await?;
            loop {
                let unread = self.store().unread_until(portal.id, read.ts).await?;
                if unread.is_empty() {
                    break;
                }
                // In a direct chat the author is the chat; only our own copies have another one, and they need none.
                let theirs: Vec<&Unread> =
                    unread.iter().filter(|message| message.sender.as_str() == portal.chat.as_str()).collect();
                self.report_read(login, portal, None, &theirs).await?;
                for message in &unread {
                    self.store().message_was_read(portal.id, message).await?;
                }
            }
        }
        Ok(self.store().settle_row(row.seq).await?)
    }
}
